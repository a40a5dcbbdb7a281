//! How the list looks: tabs of views, chips of what is chosen, one table, a pager, and the form behind it all, which needs no script.

use super::super::parts::{
    band_mark, count, day, distance, empty, ends, form_with, late_mark, plain, short_date, status_mark, term,
};
use super::Shown;
use super::filters::{AGES, DUE, SORTS, statuses, written};
use crate::http::auth::Who;
use crate::http::view::Lens;
use jiff::civil::Date;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redress_domain::deadline::Band;
use redress_domain::{Permit, RequestType};
use redress_store::{DsrColumn, DsrRow};

/// Lists that everybody has: a name and the address behind it.
const VIEWS: [(&str, &str); 7] = [
    ("Open", ""),
    ("Overdue", "due=overdue"),
    ("Due today", "due=today"),
    ("Will be late", "late=true"),
    ("Needs attention", "status=needs_attention"),
    ("Awaiting controller", "status=awaiting_controller"),
    ("Ended", "open=false"),
];

/// The whole page.
pub(super) fn list(shown: &Shown<'_>) -> Markup {
    html! {
        header.page {
            h1 { "Requests" }
            p.lead { (lead(shown)) }
        }
        (tabs(shown))
        (chips(shown))
        (form(shown))
        @if shown.page.rows.is_empty() { (nothing(shown)) } @else { (table(shown)) (pager(shown)) }
        (kept(shown))
    }
}

fn address(query: &str) -> String {
    if query.is_empty() { "/requests".to_owned() } else { format!("/requests?{query}") }
}

fn lead(shown: &Shown<'_>) -> Markup {
    let (number, more) = (shown.count.count, if shown.count.or_more { "+" } else { "" });
    let noun = if number == 1 && more.is_empty() { "request" } else { "requests" };
    html! {
        b { (count(number)) (more) } " " (noun)
        @if shown.filters.chosen().is_empty() { " open, the most urgent first." } @else { " as chosen below." }
        " " a href={ "/requests.csv?" (shown.filters.query()) } download { "Export as CSV" }
    }
}

fn tabs(shown: &Shown<'_>) -> Markup {
    let here = shown.filters.query();
    html! {
        nav.tabs aria-label="Views" {
            @for (name, query) in VIEWS { a href=(address(query)) aria-current=[(here == query).then_some("page")] { (name) } }
            @for view in shown.views {
                a href=(address(&view.query)) aria-current=[(here == view.query).then_some("page")] { bdi { (view.name) } }
            }
        }
    }
}

/// What is chosen, each with a way to take it back.
fn chips(shown: &Shown<'_>) -> Markup {
    let chosen = shown.filters.chosen();
    html! {
        @if !chosen.is_empty() {
            ul.chips aria-label="Chosen filters" {
                @for (name, value) in &chosen {
                    li { a.chip href=(address(&shown.filters.with(name, None))) title="Take this filter away" {
                        (label(name)) ": " b { bdi { (spoken(name, value)) } } span aria-hidden="true" { " ×" } span.hidden { ", take away" }
                    } }
                }
                li { a.chip href="/requests" { "Clear all" } }
            }
        }
    }
}

fn label(name: &str) -> &'static str {
    match name {
        "q" => "Search",
        "controller" => "Controller",
        "status" => "Status",
        "band" => "Band",
        "due" => "Due",
        "late" => "Foreseen late",
        "type" => "Type",
        "regulation" => "Law",
        "system" => "System",
        "age" => "Age in days",
        "paused" => "Clock paused",
        "open" => "Show",
        _ => "Order",
    }
}

fn spoken(name: &str, value: &str) -> String {
    match (name, value) {
        ("late" | "paused", "true") => "yes".to_owned(),
        ("late" | "paused", "false") => "no".to_owned(),
        ("open", "true") => "open".to_owned(),
        ("open", "false") => "ended".to_owned(),
        ("open", _) => "open and ended".to_owned(),
        ("due", "week") => "within a week".to_owned(),
        ("due", "ahead") => "not over yet".to_owned(),
        ("q" | "controller" | "system" | "regulation" | "age", text) => text.replace("over-90", "over 90"),
        (_, word) => plain(word),
    }
}

/// A choice among words; the first choice is none.
fn choice(shown: &Shown<'_>, name: &'static str, none: &str, words: &[&str]) -> Markup {
    let chosen = shown.filters.text(name);
    html! {
        label { (label(name)) " "
            select name=(name) {
                option value="" { (none) }
                @for word in words { option value=(word) selected[chosen == Some(*word)] { (spoken(name, word)) } }
            }
        }
    }
}

fn form(shown: &Shown<'_>) -> Markup {
    let filters = shown.filters;
    let names: Vec<&str> = shown.seen.controllers.iter().map(|controller| controller.name.as_str()).collect();
    let bands: Vec<&str> = Band::ALL.iter().rev().map(|band| band.as_str()).collect();
    let types: Vec<&str> = RequestType::ALL.iter().map(|kind| kind.as_str()).collect();
    let laws: Vec<&str> = shown.regulations.iter().map(String::as_str).collect();
    let sort = filters.text("sort");
    html! {
        details.filters open[!filters.chosen().is_empty()] {
            summary { "Filter and search" }
            form.filters method="get" action="/requests" role="search" aria-label="Filter requests" {
                label { "Search "
                    input type="search" name="q" value=[filters.text("q")] maxlength="200" autocomplete="off"
                        placeholder=(if shown.viewer.may(Permit::Reveal) { "Id, or the controller's reference" } else { "Id or its start" });
                }
                @if names.len() > 1 { (choice(shown, "controller", "all", &names)) }
                (choice(shown, "status", "any", &statuses()))
                (choice(shown, "band", "any", &bands))
                (choice(shown, "due", "any", &DUE))
                (choice(shown, "late", "any", &["true", "false"]))
                (choice(shown, "type", "any", &types))
                (choice(shown, "regulation", "any", &laws))
                label { "System " input type="text" name="system" value=[filters.text("system")] maxlength="64" autocomplete="off"; }
                (choice(shown, "age", "any", &AGES))
                (choice(shown, "paused", "any", &["true", "false"]))
                (choice(shown, "open", "open", &["false", "any"]))
                @if let Some(sort) = sort { input type="hidden" name="sort" value=(sort); }
                button.primary type="submit" { "Show" }
                a href="/requests" { "Clear" }
            }
        }
    }
}

/// A column head that orders by it, or the other way round if it does already.
fn head(shown: &Shown<'_>, column: DsrColumn, text: &str) -> Markup {
    let now = shown.filters.sort();
    let first_descending = matches!(column, DsrColumn::Received | DsrColumn::Ended);
    let descending = if now.column == column { !now.descending } else { first_descending };
    let word = SORTS.iter().find(|(_, c, d)| (*c, *d) == (column, descending)).map(|(word, ..)| *word);
    let state = (now.column == column).then_some(if now.descending { "descending" } else { "ascending" });
    html! {
        th scope="col" aria-sort=[state] {
            a href=(address(&shown.filters.with("sort", word))) { (text)
                @match state { Some("descending") => { span aria-hidden="true" { " ↓" } } Some(_) => { span aria-hidden="true" { " ↑" } } None => {} }
            }
        }
    }
}

fn table(shown: &Shown<'_>) -> Markup {
    let lenses = shown.seen.lenses(shown.now);
    let several = shown.seen.controllers.len() > 1;
    html! {
        div.scroll tabindex="0" role="region" aria-label="Requests" data-region="requests" {
            table.data {
                caption.hidden { "Requests with due date, band, forecast and status" }
                thead { tr {
                    (head(shown, DsrColumn::Due, "Due"))
                    th scope="col" { (term("band", "Band")) }
                    (head(shown, DsrColumn::Foreseen, "Forecast"))
                    th scope="col" { "Request" }
                    @if several { th scope="col" { (term("controller", "Controller")) } }
                    th scope="col" { "Type" }
                    th scope="col" { "Status" }
                    (head(shown, DsrColumn::Received, "Received"))
                    (head(shown, DsrColumn::Ended, "Ended"))
                    th scope="col" { "Needs attention" }
                } }
                tbody { @for row in &shown.page.rows {
                    @if let Some((name, lens)) = lenses.get(&row.controller_id) {
                        (line(row, lens, shown.now, several.then_some(*name)))
                    }
                } }
            }
        }
    }
}

fn line(row: &DsrRow, lens: &Lens, now: i64, controller: Option<&str>) -> Markup {
    let due_on = row.deadlines["effective"]["due_on"].as_str().and_then(|text| text.parse::<Date>().ok());
    let open = row.closed_at.is_none();
    let foreseen = row.forecast.as_ref().filter(|_| open);
    html! {
        tr.ended[!open] data-row {
            td.date { (due_on.map(day).unwrap_or_default())
                @if open { " " span.quiet { (due_on.map(|due| distance(due, now, lens.zone())).unwrap_or_default()) } } }
            td { @if let Some(band) = lens.band(row).filter(|_| open) { (band_mark(band)) } }
            td.when { @if let Some(foreseen) = foreseen { (ends(foreseen, lens.zone())) " " (late_mark(foreseen)) } }
            td { a.id href={ "/requests/" (row.id) } { (row.id) } }
            @if let Some(name) = controller { td { (name) } }
            td { (row.kind) }
            td { (status_mark(&row.status)) @if row.clock_state == "paused" && open { " " span.badge { "clock paused" } } }
            td.date { (short_date(row.instruction_received_at, lens.zone())) }
            td.date { @if let Some(at) = row.closed_at { (short_date(at, lens.zone())) @if at >= row.due_before { ", late" } } }
            td.attention { @if let Some(attention) = &row.attention { div.clip title=(attention) { bdi { (attention) } } } }
        }
    }
}

fn pager(shown: &Shown<'_>) -> Markup {
    let column = shown.filters.sort().column;
    let rows = &shown.page.rows;
    let (back, on) = match &shown.filters.from {
        Some((_, true)) => (shown.page.next.clone(), rows.last().map(|row| column.place(row))),
        Some((_, false)) => (rows.first().map(|row| column.place(row)), shown.page.next.clone()),
        None => (None, shown.page.next.clone()),
    };
    let query = shown.filters.query();
    let to = |name: &str, place: &redress_store::DsrPlace| {
        let place = written(place);
        address(&if query.is_empty() { format!("{name}={place}") } else { format!("{query}&{name}={place}") })
    };
    html! {
        @if back.is_some() || on.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(place) = &back { a rel="prev" href=(to("before", place)) { "← Earlier rows" } }
                @if let Some(place) = &on { a rel="next" href=(to("after", place)) { "Further rows →" } }
            }
        }
    }
}

fn nothing(shown: &Shown<'_>) -> Markup {
    if let Some(place) = &shown.page.next {
        let query = shown.filters.query();
        let query = if query.is_empty() { String::new() } else { format!("{query}&") };
        return empty(
            "None among those looked at so far",
            &html! { p { "Many requests were looked at and none is as chosen. " a href={ "/requests?" (query) "after=" (written(place)) } { "Look further" } } },
        );
    }
    if shown.filters.chosen().is_empty() {
        return empty(
            "No open request",
            &html! {
                p { "Nothing waits to be done. " a href="/requests?open=false" { "Show those that have ended" } }
                p { "The first one is submitted by " code { "redress submit --type access --email person@example.com" } " or by " code { "POST /v1/requests" } "." }
            },
        );
    }
    let searched = shown.filters.text("q").is_some();
    let title = match shown.filters.chosen().as_slice() {
        [("status", status)] => format!("No request is {}", plain(status)),
        _ => "No request is as chosen".to_owned(),
    };
    empty(
        &title,
        &html! {
            p { "Take a filter away above, or " a href="/requests" { "show all open requests" } "." }
            @if searched {
                p.quiet { "A search finds an id or how it begins (dsr_ and at least four more letters)"
                    @if shown.viewer.may(Permit::Reveal) { ", or the whole reference of the controller, exactly as it was given; not of requests whose personal data were destroyed" }
                    "." }
            }
        },
    )
}

/// Keep these filters under a name, or remove the view that is shown.
fn kept(shown: &Shown<'_>) -> Markup {
    if matches!(shown.viewer.who, Who::Local) {
        return html! {};
    }
    let here = shown.filters.kept();
    let view = shown.views.iter().find(|view| view.query == here);
    html! {
        @if let Some(view) = view {
            @let path = format!("/v1/views/{}", utf8_percent_encode(&view.name, NON_ALPHANUMERIC));
            (form_with(shown.viewer, &path, "/requests", "removed", Some("delete"), &html! {
                button type="submit" { "Remove the view " bdi { (view.name) } }
            }))
        } @else if !here.is_empty() {
            details.action {
                summary { "Save these filters as a view" }
                (form_with(shown.viewer, "/v1/views", &address(&here), "saved", Some("put"), &html! {
                    label { "Name " input type="text" name="name" required maxlength="60" autocomplete="off"; }
                    input type="hidden" name="query" value=(here);
                    button type="submit" { "Save the view" }
                }))
            }
        }
    }
}

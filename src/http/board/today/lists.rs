//! The lists of Today: at most a few rows each, the most urgent ones, with the way to all of them.

use super::words::{help, waits_for, why};
use super::{ROWS, Snapshot, due_on, when};
use crate::http::auth::{Viewer, Who};
use crate::http::board::parts::{count, day, distance, form, late_mark, plain, span, system_path, term};
use crate::http::board::systems::Expiry;
use maud::{Markup, html};
use redress_domain::Permit;
use redress_store::{StuckSystem, TodayRow};

/// A list with its heading, how many there are in all, and where all of them are.
fn card(title: &Markup, total: i64, shown: usize, all: &str, empty: &str, table: &Markup) -> Markup {
    html! {
        section.card {
            h2 { (title) @if total > 0 { " " span.badge { (count(total)) } } }
            @if shown == 0 { p.quiet { (empty) } } @else {
                (table)
                @if total > shown as i64 { p { a href=(all) { "Show all " (count(total)) } } }
            }
        }
    }
}

fn scroll(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (table) } }
}

fn id(row: &TodayRow) -> Markup {
    html! { a.id href={ "/requests/" (row.id) } { (row.id) } " " span.quiet { (plain(row.kind.as_str())) } }
}

fn whose(seen: &Snapshot, row: &TodayRow) -> Markup {
    html! { bdi { (seen.name(&row.controller_id)) } }
}

fn due_date(seen: &Snapshot, row: &TodayRow) -> Markup {
    let zone = seen.zone(&row.controller_id);
    let due = due_on(row.due_before, zone);
    html! { (day(due)) " " span.quiet { (distance(due, seen.now, zone)) } }
}

/// What will be late, whatever is decided: why, and what would help.
pub(super) fn late(seen: &Snapshot) -> Markup {
    let rows = &seen.today.late_rows;
    let table = html! {
        table.data {
            caption.hidden { "Requests that will be late, those first that are due first" }
            thead { tr {
                th scope="col" { "Request" } th scope="col" { "Controller" } th scope="col" { "Due" }
                th scope="col" { "Foreseen end" } th scope="col" { "Why" } th scope="col" { "What to do" }
            } }
            tbody { @for row in rows {
                @let zone = seen.zone(&row.controller_id);
                @let help = help(seen, row);
                tr data-row {
                    td { (id(row)) }
                    td { (whose(seen, row)) }
                    td.date { (due_date(seen, row)) }
                    td.date { @if let Some(foreseen) = &row.forecast {
                        @if let Some(at) = foreseen.finishes_at { (when(at.as_millisecond(), seen.now, zone)) " " } @else { "not known " }
                        (late_mark(foreseen))
                    } }
                    td { bdi { (row.forecast.as_ref().map_or("", why)) } }
                    td { a href=(help.href) { (help.what) } }
                }
            } }
        }
    };
    let title = html! { (term("forecast", "Will be late")) };
    let empty = "No request is foreseen to end too late.";
    card(&title, seen.today.late, rows.len(), "/requests?late=true&due=ahead", empty, &scroll("Will be late", &table))
}

/// What is in time only if somebody acts until then.
pub(super) fn act(seen: &Snapshot) -> Markup {
    let rows = &seen.today.act_rows;
    if rows.is_empty() {
        return html! {};
    }
    let table = html! {
        table.data {
            caption.hidden { "Requests that end in time only if somebody acts, the most pressing ones first" }
            thead { tr {
                th scope="col" { "Act by" } th scope="col" { "Request" } th scope="col" { "Controller" } th scope="col" { "Due" }
                th scope="col" { "Why" } th scope="col" { "What to do" }
            } }
            tbody { @for row in rows {
                @let zone = seen.zone(&row.controller_id);
                @let help = help(seen, row);
                @let act_by = row.forecast.as_ref().and_then(|foreseen| foreseen.act_by);
                tr data-row {
                    td.date { @if let Some(at) = act_by { (when(at.as_millisecond(), seen.now, zone)) } }
                    td { (id(row)) }
                    td { (whose(seen, row)) }
                    td.date { (due_date(seen, row)) }
                    td { bdi { (row.forecast.as_ref().map_or("", why)) } }
                    td { a href=(help.href) { (help.what) } }
                }
            } }
        }
    };
    html! {
        section.card {
            h2 { "In time only if somebody acts" @if seen.today.to_act > 0 { " " span.badge { (count(seen.today.to_act)) " within a week" } } }
            (scroll("In time only if somebody acts", &table))
        }
    }
}

/// A short list: what, whose, and one more column.
fn short(seen: &Snapshot, label: &str, head: &str, rows: &[TodayRow], cell: impl Fn(&TodayRow) -> Markup) -> Markup {
    let table = html! {
        table.data {
            caption.hidden { (label) }
            thead { tr { th scope="col" { "Due" } th scope="col" { "Request" } th scope="col" { "Controller" } th scope="col" { (head) } } }
            tbody { @for row in rows { tr data-row {
                td.date { (due_date(seen, row)) }
                td { (id(row)) }
                td { (whose(seen, row)) }
                td { (cell(row)) }
            } } }
        }
    };
    scroll(label, &table)
}

/// How a request stands: what it waits for, or where it is.
fn standing(row: &TodayRow) -> Markup {
    html! { (plain(&row.status)) @if let Some(foreseen) = &row.forecast { " " (late_mark(foreseen)) } }
}

pub(super) fn due(seen: &Snapshot) -> Markup {
    let rows = &seen.today.due_rows;
    let table = short(seen, "Due today", "Status", rows, standing);
    let empty = "Nothing is due today.";
    card(&html! { "Due today" }, seen.today.due_today, rows.len(), "/requests?due=today", empty, &table)
}

pub(super) fn overdue(seen: &Snapshot) -> Markup {
    let rows = &seen.today.overdue_rows;
    let table = short(seen, "Overdue", "Status", rows, standing);
    let title = term("overdue", "Overdue");
    card(&title, seen.today.overdue, rows.len(), "/requests?due=overdue", "Nothing is overdue.", &table)
}

fn waited(seen: &Snapshot, row: &TodayRow) -> Markup {
    html! {
        bdi { (waits_for(row)) }
        @if let Some(since) = row.since { " " span.quiet { "for " (span((seen.now - since).max(0))) } }
        " " a href=(help(seen, row).href) { (help(seen, row).what) }
    }
}

pub(super) fn controller(seen: &Snapshot) -> Markup {
    let rows = &seen.today.controller_rows;
    let table = short(seen, "Waiting for the controller", "Waits for", rows, |row| waited(seen, row));
    let total = count_of(seen, &["awaiting_controller"]);
    let empty = "No request waits for its controller.";
    card(
        &html! { "Waiting for the controller" },
        total,
        rows.len(),
        "/requests?status=awaiting_controller",
        empty,
        &table,
    )
}

pub(super) fn person(seen: &Snapshot) -> Markup {
    let rows = &seen.today.person_rows;
    let table = short(seen, "Needs a person", "Waits for", rows, |row| waited(seen, row));
    let total = count_of(seen, &["needs_attention", "awaiting_approval", "review"]);
    card(&html! { "Needs a person" }, total, rows.len(), "/queue", "Nothing waits for one of us.", &table)
}

/// How many have one of these statuses.
pub(super) fn count_of(seen: &Snapshot, words: &[&str]) -> i64 {
    seen.today.statuses.iter().filter(|(status, _)| words.contains(&status.as_str())).map(|(_, n)| n).sum()
}

/// Systems in which nothing moves.
pub(super) fn stuck(seen: &Snapshot, viewer: &Viewer) -> Markup {
    let systems = &seen.today.stuck;
    html! {
        section.card {
            h2 { "Stuck systems" @if !systems.is_empty() { " " span.badge { (systems.len()) @if systems.len() >= ROWS { "+" } } } }
            @if systems.is_empty() { p.quiet { "Every connected system works." } } @else {
                (scroll("Stuck systems", &html! {
                    table.data {
                        caption.hidden { "Systems in which nothing moves, those first for which the most waits" }
                        thead { tr {
                            th scope="col" { "System" } th scope="col" { "Controller" } th scope="col" { "Since" }
                            th.number scope="col" { "Steps waiting" } th scope="col" { "What is wrong" } th scope="col" { "What to do" }
                        } }
                        tbody { @for system in systems { (stuck_row(seen, viewer, system)) } }
                    }
                }))
                @if systems.len() >= ROWS { p { a href="/systems" { "Show all systems" } } }
            }
        }
    }
}

/// Credentials that end soon: after that day nothing works there.
pub(super) fn expiring(seen: &Snapshot) -> Markup {
    html! {
        @for (system, last, near) in seen.expiring.iter().take(ROWS) {
            @let controller = seen.name(&system.controller_id);
            @let over = *near == Expiry::Over;
            p.notice.alert[*near >= Expiry::Soon] {
                "The credentials of " a href=(system_path(controller, &system.name)) { bdi { (controller) "/" (system.name) } }
                @if over { " ended on " } @else { " end on " } (day(*last)) ", "
                (distance(*last, seen.now, seen.zone(&system.controller_id))) ". Set new ones" @if !over { " before" } "."
            }
        }
    }
}

fn stuck_row(seen: &Snapshot, viewer: &Viewer, system: &StuckSystem) -> Markup {
    let zone = seen.zone(&system.controller_id);
    let controller = seen.name(&system.controller_id);
    html! {
        tr data-row {
            td { a href=(system_path(controller, &system.name)) { bdi { (system.name) } } }
            td { bdi { (controller) } }
            td.date { @if let Some(since) = system.since { (when(since, seen.now, zone)) } @else { "not known" } }
            td.number { (count(system.waiting)) @if system.more { "+" } }
            td {
                @if system.paused { "It is paused. " }
                @if let Some((code, detail)) = &system.problem { (plain(code)) @if !detail.is_empty() { ": " bdi { (detail) } } }
                @else if system.failing { "It does not answer; nothing is sent there for a while." }
            }
            td { (remedy(viewer, controller, system)) }
        }
    }
}

/// The button that helps, for those who may press it; for the others whom to ask.
fn remedy(viewer: &Viewer, controller: &str, system: &StuckSystem) -> Markup {
    if !viewer.may(Permit::Operate) {
        return html! { "Ask an operator to " @if system.paused { "resume it." } @else { "look at it." } };
    }
    let (verb, done, button) =
        if system.paused { ("resume", "resumed", "Resume") } else { ("check", "checked", "Check it now") };
    // Whoever sees several controllers says whose system is meant.
    let named = if matches!(viewer.who, Who::Key(_)) {
        String::new()
    } else {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("controller", controller).finish();
        format!("?{query}")
    };
    let path = format!("/v1/systems/{}/{verb}{named}", system.name);
    form(
        viewer,
        &path,
        "/",
        done,
        &html! { button type="submit" aria-label={ (button) ": " (system.name) } { (button) } },
    )
}

//! How the board looks: one table, the words of the contract in plain letters, colour only beside a word.

use super::Count;
use super::parts::{band_mark, day, distance, ends, late_mark, plain, short_date, status_mark};
use crate::http::view::Lens;
use jiff::civil::Date;
use maud::{Markup, html};
use redress_domain::deadline::Band;
use redress_domain::forecast::Foreseen;
use redress_store::DsrRow;

/// One request in the list.
pub(super) struct Line {
    id: String,
    controller: String,
    kind: &'static str,
    status: String,
    band: Option<Band>,
    due: String,
    near: String,
    attention: Option<String>,
    forecast: Option<Foreseen>,
    ends: String,
    ended: Option<String>,
}

impl Line {
    pub(super) fn of(controller: &str, lens: &Lens, row: &DsrRow, now: i64) -> Self {
        let due_on = row.deadlines["effective"]["due_on"].as_str().and_then(|text| text.parse::<Date>().ok());
        let late = row.closed_at.is_some_and(|at| at >= row.due_before);
        let ended = row
            .closed_at
            .map(|at| format!("ended {}{}", short_date(at, lens.zone()), if late { ", late" } else { "" }));
        Self {
            id: row.id.to_string(),
            controller: controller.to_owned(),
            kind: row.kind.as_str(),
            status: row.status.clone(),
            band: lens.band(row).filter(|_| row.closed_at.is_none()),
            due: due_on.map(day).unwrap_or_default(),
            near: due_on.map(|due| distance(due, now, lens.zone())).unwrap_or_default(),
            attention: row.attention.clone(),
            ends: row.forecast.as_ref().map(|foreseen| ends(foreseen, lens.zone())).unwrap_or_default(),
            forecast: row.forecast.clone().filter(|_| row.closed_at.is_none()),
            ended,
        }
    }
}

/// The list.
pub(super) fn board(lines: &[Line], counts: &[Count], paused: &[String], status: Option<&str>, all: bool) -> Markup {
    let total: i64 = counts.iter().map(|(_, count, _)| count).sum();
    let capped = counts.iter().any(|(.., capped)| *capped);
    html! {
        @if !paused.is_empty() {
            p.notice role="status" { "Paused: " (paused.join(", ")) ". Nothing new is begun there; deadlines go on." }
        }
        (glance(lines))
        nav aria-label="Requests by status" {
            (chip(None, "all", total, capped, status))
            @for (word, count, capped) in counts { (chip(Some(word), word, *count, *capped, status)) }
        }
        section {
            @if lines.is_empty() { (nothing(status)) } @else {
                table {
                    thead { tr {
                        th { "Due" } th { "Band" } th { "Forecast" } th { "Request" }
                        @if all { th { "Controller" } }
                        th { "Type" } th { "Status" } th { "Needs attention" }
                    } }
                    tbody { @for line in lines { (row(line, all)) } }
                }
            }
        }
    }
}

/// How many of the open requests on the page are in each band, the worst first.
fn glance(lines: &[Line]) -> Markup {
    let counted =
        Band::ALL.iter().rev().map(|band| (*band, lines.iter().filter(|line| line.band == Some(*band)).count()));
    let counted: Vec<(Band, usize)> = counted.filter(|(_, count)| *count > 0).collect();
    html! {
        @if !counted.is_empty() {
            p.glance { @for (band, count) in counted { span { b { (count) } " " (band_mark(band)) } } }
        }
    }
}

fn row(line: &Line, all: bool) -> Markup {
    html! {
        tr.ended[line.ended.is_some()] {
            td.due { span.date { (line.due) } " " span.quiet { (line.ended.as_deref().unwrap_or(&line.near)) } }
            td { @if let Some(band) = line.band { (band_mark(band)) } }
            td.when { @if let Some(foreseen) = &line.forecast { (line.ends) " " (late_mark(foreseen)) } }
            td { a.id href={ "/requests/" (line.id) } { (line.id) } }
            @if all { td { (line.controller) } }
            td { (line.kind) }
            td { (status_mark(&line.status)) }
            td.attention { @if let Some(attention) = &line.attention { div.clip title=(attention) { (attention) } } }
        }
    }
}

fn chip(status: Option<&str>, word: &str, count: i64, capped: bool, chosen: Option<&str>) -> Markup {
    let target = status.map_or_else(|| "/requests".to_owned(), |status| format!("/requests?status={status}"));
    html! {
        a.chip.alert[word == "needs_attention"] href=(target) aria-current=[(status == chosen).then_some("page")] {
            (plain(word)) " " b { (count) @if capped { "+" } }
        }
    }
}

fn nothing(status: Option<&str>) -> Markup {
    html! {
        section.empty {
            @if let Some(status) = status {
                h2 { "No request is " (plain(status)) }
                p { a href="/requests" { "Show all requests" } }
            } @else {
                h2 { "No requests yet" }
                ol {
                    li { "Create a controller and keep its API key: " code { "redress controller create acme --country DE --timezone Europe/Berlin" } }
                    li { "Connect the systems that hold its data: " code { "redress apply acme.toml" } }
                    li { "Submit the first request: " code { "redress submit --type access --email person@example.com" } }
                }
                p.quiet { "Or see a batch of requests being fulfilled at once: " code { "redress demo" } }
            }
        }
    }
}

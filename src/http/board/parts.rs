//! Parts are what pages are made of: marks, dates, facts, forms and empty states, each written once.

use super::glossary;
use crate::http::auth::Viewer;
use crate::http::view::{instant, time};
use jiff::Unit;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use redress_domain::deadline::Band;
use redress_domain::forecast::Foreseen;

/// A word of the contract in plain letters.
pub(super) fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// A word with its definition and where that comes from, on hover or focus.
pub(super) fn term(word: &str, shown: &str) -> Markup {
    let Some(entry) = glossary::explained(word) else { return html! { (shown) } };
    html! {
        span.term {
            button type="button" { (shown) }
            span.tip role="tooltip" { (entry.meaning) @if !entry.source.is_empty() { " " cite { (entry.source) } } }
        }
    }
}

/// A band as a word with a mark: colour is never the only signal.
pub(super) fn band_mark(band: Band) -> Markup {
    html! { span class={ "band " (band.as_str()) } { (plain(band.as_str())) } }
}

/// A status as a word.
pub(super) fn status_mark(status: &str) -> Markup {
    html! { span.status.alert[status == "needs_attention"] { (plain(status)) } }
}

/// When a request is foreseen to end, or what it waits for.
pub(super) fn ends(foreseen: &Foreseen, zone: &TimeZone) -> String {
    match (foreseen.finishes_at, foreseen.blocked_by) {
        (Some(at), _) => format!("ends {}", short_date(at.as_millisecond(), zone)),
        (None, Some(blocker)) => format!("waits: {}", plain(blocker.as_str())),
        (None, None) => String::new(),
    }
}

/// That a request is foreseen to end late, and by how much.
pub(super) fn late_mark(foreseen: &Foreseen) -> Markup {
    html! {
        @if let Some(days) = foreseen.late_by_days {
            span.status.alert { "late by " (days) @if days == 1 { " day" } @else { " days" } }
        }
    }
}

/// `21 Dec 2026`
pub(super) fn day(day: Date) -> String {
    day.strftime("%-d %b %Y").to_string()
}

/// An instant with day and time in a zone.
pub(super) fn moment(ms: i64, zone: &TimeZone) -> String {
    instant(ms).map(|at| at.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M %Z").to_string()).unwrap_or_default()
}

/// The same as an element that programs can read too.
pub(super) fn at(ms: i64, zone: &TimeZone) -> Markup {
    html! { time datetime=[time(ms)] { (moment(ms, zone)) } }
}

/// `21 Dec`
pub(super) fn short_date(ms: i64, zone: &TimeZone) -> String {
    instant(ms).map(|at| at.to_zoned(zone.clone()).strftime("%-d %b").to_string()).unwrap_or_default()
}

/// How far a day is from today in the controller's zone.
pub(super) fn distance(due: Date, now: i64, zone: &TimeZone) -> String {
    let Some(today) = instant(now).map(|at| at.to_zoned(zone.clone()).date()) else { return String::new() };
    match today.until((Unit::Day, due)).map_or(0, |span| span.get_days()) {
        0 => "today".to_owned(),
        1 => "tomorrow".to_owned(),
        -1 => "1 day late".to_owned(),
        days if days < 0 => format!("{} days late", -days),
        days => format!("in {days} days"),
    }
}

/// How long something took or lasts: `3 min`, `2 h 5 min`, `4 days`.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => {
            let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
            if minutes == 0 { format!("{hours} h") } else { format!("{hours} h {minutes} min") }
        }
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number with its thousands apart: `10,000`.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

/// A form of the board: its fields are sent as the call `path` of the native API (`act.rs`). `next` is the page shown afterwards.
pub(super) fn form(viewer: &Viewer, path: &str, next: &str, done: &str, fields: &Markup) -> Markup {
    form_with(viewer, path, next, done, None, fields)
}

/// The same with a method other than POST (`put`, `delete`).
pub(super) fn form_with(
    viewer: &Viewer,
    path: &str,
    next: &str,
    done: &str,
    method: Option<&str>,
    fields: &Markup,
) -> Markup {
    html! {
        form.act method="post" action={ "/act" (path) } {
            input type="hidden" name="csrf" value=(viewer.token());
            input type="hidden" name="_next" value=(next);
            input type="hidden" name="_done" value=(done);
            @if let Some(method) = method { input type="hidden" name="_method" value=(method); }
            (fields)
        }
    }
}

/// What a part of a path may hold as it is: what names are made of. All else is escaped, whoever made the name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The page of a controller.
pub(super) fn controller_path(controller: &str) -> String {
    format!("/controllers/{}", part(controller))
}

/// The page of a controller's system.
pub(super) fn system_path(controller: &str, system: &str) -> String {
    format!("/systems/{}/{}", part(controller), part(system))
}

/// A name as a part of a path.
pub(super) fn part(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

/// The page of a task: a request's step in a system that people work in.
pub(super) fn task_path(id: &redress_domain::DsrId, system: &str) -> String {
    format!("/queue/{id}/{}", part(system))
}

/// An address with its parameters.
pub(super) fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

/// The call that does something with a controller's system.
pub(super) fn system_call(controller: &str, system: &str, verb: &str) -> String {
    address(&format!("/v1/systems/{}/{verb}", part(system)), &[("controller", controller)])
}

/// What stands where there is nothing: why, and what to do first.
pub(super) fn empty(title: &str, what_to_do: &Markup) -> Markup {
    html! { section.empty { h2 { (title) } (what_to_do) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_written_as_people_read_them() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (-1_500, "-1,500")] {
            assert_eq!(count(number), text);
        }
        for (ms, text) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(span(ms), text);
        }
    }
}

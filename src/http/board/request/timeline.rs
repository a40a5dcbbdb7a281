//! Everything that happened to a request, in words, by day, the newest last.

use super::super::parts::day;
use super::super::words::sentence;
use super::Shown;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_store::AuditEvent;

pub(super) fn card(shown: &Shown<'_>) -> Markup {
    let zone = shown.lens.zone();
    let id = &shown.detail.row.id;
    let mut days: Vec<(Option<Date>, Vec<&AuditEvent>)> = Vec::new();
    for event in &shown.events {
        let date = zoned(&event.at, zone).map(|at| at.date());
        match days.last_mut() {
            Some((last, events)) if *last == date => events.push(event),
            _ => days.push((date, vec![event])),
        }
    }
    html! {
        section.card #history data-region="history" {
            h2 { "What happened" }
            @if let Some(earlier) = shown.earlier {
                nav.pager aria-label="Older events" { a href={ "/requests/" (id) "?events_before=" (earlier) "#history" } { "← Earlier events" } }
            }
            @for (date, events) in &days {
                h3 { (date.map(day).unwrap_or_default()) }
                ol.timeline { @for event in events {
                    li {
                        time datetime=(event.at) { (clock(&event.at, zone)) }
                        " " bdi { (said(shown, event)) } " " span.quiet { "by " (shown.actor(&event.actor)) }
                    }
                } }
            }
            @if shown.later {
                nav.pager aria-label="Newer events" { a href={ "/requests/" (id) "#history" } { "To the newest" } }
            }
            p.quiet { a href={ "/v1/requests/" (id) "/events" } { "All events as JSON" } }
        }
    }
}

/// An event in words.
pub(super) fn said(shown: &Shown<'_>, event: &AuditEvent) -> String {
    sentence(event, &|id| shown.named(id))
}

/// Day and time of an event.
pub(super) fn when(text: &str, zone: &TimeZone) -> String {
    zoned(text, zone).map(|at| at.strftime("%-d %b %Y, %H:%M %Z").to_string()).unwrap_or_default()
}

fn clock(text: &str, zone: &TimeZone) -> String {
    zoned(text, zone).map(|at| at.strftime("%H:%M").to_string()).unwrap_or_default()
}

fn zoned(text: &str, zone: &TimeZone) -> Option<jiff::Zoned> {
    Some(text.parse::<Timestamp>().ok()?.to_zoned(zone.clone()))
}

//! What this installation is: versions, database, rules that run out, and the key that signs.

use crate::http::Edge;
use crate::http::board::parts::day;
use crate::http::problem::Problem;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_store::Dialect;

pub(super) async fn content(edge: &Edge) -> Result<Markup, Problem> {
    let schema = edge.store.check_schema().await;
    let now = crate::http::view::instant(edge.store.now_ms()).unwrap_or_default();
    let ending = edge.rules.ending_calendars(now.to_zoned(TimeZone::UTC).date());
    let key = |name: &str| edge.signing_key[name].as_str().unwrap_or_default().to_owned();
    let not_ready = (edge.ready)();
    Ok(html! {
        @if !ending.is_empty() {
            p.notice.alert {
                "Calendars that end soon, newer ones are needed: "
                @for (i, (id, until)) in ending.iter().enumerate() { @if i > 0 { ", " } (id) " (" (day(*until)) ")" }
                ". Dates after that are counted without holidays."
            }
        }
        @for reason in &not_ready { p.notice.alert { "This process is not ready: " (reason) "." } }
        section.card {
            h2 { "This installation" }
            dl.facts {
                dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
                dt { "Database" } dd { @match edge.store.dialect() { Dialect::Sqlite => "SQLite, embedded", Dialect::Postgres => "PostgreSQL" } }
                dt { "Schema" } dd { @match schema { Ok(()) => "up to date", Err(_) => span.badge.alert { "not this version's: run redress migrate" } } }
                dt { "Regulations" } dd { (edge.rules.rules.table.version) }
                dt { "Holidays" } dd { (edge.rules.rules.calendars.version) @if ending.is_empty() { ", no calendar in use ends soon" } }
            }
        }
        section.card {
            h2 { "The key that signs certificates" }
            dl.facts {
                dt { "Name" } dd.id { (key("key_id")) }
                dt { "Algorithm" } dd { (key("algorithm")) }
                dt { "Public key" } dd.id { (key("public_key")) }
            }
            p { "Give it to whoever checks certificates: " code { "redress verify FILE --key …" } ". Programs read it at " a href="/v1/signing-key" { "/v1/signing-key" } "." }
        }
    })
}

//! The figures of Today: tiles that lead to what they count, and two charts.

use super::lists::count_of;
use super::{AGES, Snapshot};
use crate::http::board::chart::{About, Series, bars, lines};
use crate::http::board::parts::count;
use maud::{Markup, html};
use redress_store::Today;

/// Counts, each of which leads to what it counts.
pub(super) fn tiles(today: &Today) -> Markup {
    let band = |word: &str| today.bands.iter().find(|(band, _)| band == word).map_or(0, |(_, n)| *n);
    let status = |word: &str| today.statuses.iter().find(|(status, _)| status == word).map_or(0, |(_, n)| *n);
    let tile = |class: &'static str, number: i64, label: &str, href: &str| {
        let class = if number > 0 { class } else { "" };
        html! {
            a.tile.alert[class == "alert"].warn[class == "warn"] href=(href) {
                b.figure { (count(number)) } " " span.label { (label) }
            }
        }
    };
    html! {
        div.tiles {
            (tile("warn", today.due_today, "due today", "/requests?due=today"))
            (tile("alert", today.late, "late by forecast", "/requests?late=true&due=ahead"))
            (tile("alert", today.overdue, "overdue", "/requests?due=overdue"))
            (tile("alert", band("critical"), "critical", "/requests?band=critical&open=true"))
            (tile("warn", band("at_risk"), "at risk", "/requests?band=at_risk&open=true"))
            (tile("alert", status("needs_attention"), "needs attention", "/requests?status=needs_attention"))
            (tile("warn", status("awaiting_approval") + status("review"), "to approve", "/queue"))
            (tile("", status("awaiting_controller"), "awaiting controller", "/requests?status=awaiting_controller"))
            (tile("", today.paused, "paused", "/requests?paused=true"))
            (tile("", today.open, "open", "/requests?open=true"))
        }
        p.quiet { "Critical and at risk are as of the last look of the watch, at most a minute ago; everything else is of the moment below." }
    }
}

/// How what is open goes down if each ends on its due date, and as it is foreseen; and how old it is.
pub(super) fn charts(seen: &Snapshot) -> Markup {
    let today = &seen.today;
    let labels: Vec<String> = seen.days.iter().map(|day| day.strftime("%-d %b").to_string()).collect();
    let left = |before: i64, ended: &mut dyn Iterator<Item = i64>| -> Vec<i64> {
        let mut open = today.open - before;
        ended
            .map(|n| {
                open -= n;
                open
            })
            .collect()
    };
    let due = left(today.before.0, &mut today.by_day.iter().map(|(due, _)| *due));
    let ends = left(today.before.1, &mut today.by_day.iter().map(|(_, ends)| *ends));
    let foreseen = format!(
        "Open requests at the end of each of the next 30 days: if each ended on its due date, and as foreseen. Where the second line is above the first, requests are late. {} that have no foreseeable end stay open in the second.",
        if today.unforeseen == 1 { "1 request".to_owned() } else { format!("{} requests", count(today.unforeseen)) }
    );
    let age_labels: Vec<String> = AGES
        .iter()
        .enumerate()
        .map(|(n, from)| match AGES.get(n + 1) {
            Some(next) => format!("{from}–{}", next - 1),
            None => format!(">{}", from - 1),
        })
        .collect();
    let waiting = count_of(seen, &["awaiting_controller"]);
    html! {
        div.cols {
            section.card {
                h2 { "The next 30 days" }
                (lines(
                    &About { id: "burn-down", title: "Open requests over the next 30 days", tells: &foreseen, of: "End of" },
                    &labels,
                    &[Series { name: "due", values: &due }, Series { name: "foreseen", values: &ends }],
                ))
                p.quiet { "Days of " (seen.zone.iana_name().unwrap_or("UTC")) "." }
            }
            section.card {
                h2 { "Age of what is open" }
                (bars(
                    &About {
                        id: "ages",
                        title: "Open requests by age",
                        tells: &format!("Open requests by days since we received them; {} of them wait for their controller.", count(waiting)),
                        of: "Days since received",
                    },
                    &age_labels,
                    &Series { name: "open requests", values: &today.by_age },
                ))
            }
        }
    }
}

//! What Today says in words: the state of everything in a few sentences, why something is late, and what helps.

use super::{Snapshot, due_on, when};
use crate::http::board::parts::{count, day, plain, system_path};
use maud::{Markup, html};
use redress_domain::forecast::{Blocker, Foreseen};
use redress_store::TodayRow;

/// What helps, and where that is done.
pub(super) struct Help {
    pub(super) what: String,
    pub(super) href: String,
}

/// The state of everything, worst first.
pub(super) fn lead(seen: &Snapshot) -> Markup {
    let today = &seen.today;
    let (late, to_act) = (today.late, today.to_act);
    html! {
        @if !today.any.0 {
            "There is no request yet."
        } @else if today.open == 0 {
            "No request is open. What comes next is shown here."
        } @else {
            @if let Some(next) = today.late_rows.first() {
                b { (requests(late)) " will be late as things stand. " }
                (next_one(seen, next))
            } @else if let Some(next) = today.act_rows.first().filter(|_| to_act > 0) {
                b { (requests(to_act)) " will be late unless somebody acts within a week. " }
                (next_one(seen, next))
            } @else {
                "Every open request whose end can be foreseen will end in time. "
            }
            @if today.overdue > 0 { " " b { (requests(today.overdue)) (is(today.overdue)) " overdue." } }
            @match today.due_today {
                0 => { " Nothing is due today." }
                n => { " " (requests(n)) (is(n)) " due today." }
            }
        }
    }
}

fn next_one(seen: &Snapshot, row: &TodayRow) -> Markup {
    let zone = seen.zone(&row.controller_id);
    html! {
        "The next is " a.id href={ "/requests/" (row.id) } { (row.id) } " of " bdi { (seen.name(&row.controller_id)) }
        ", due " (day(due_on(row.due_before, zone)))
        @if let Some(foreseen) = &row.forecast {
            ": " bdi { (why(foreseen)) } " "
            @let help = help(seen, row);
            @if let Some(act_by) = foreseen.act_by.filter(|_| !foreseen.late) {
                "Until " (when(act_by.as_millisecond(), seen.now, zone)) ": "
            }
            a href=(help.href) { (help.what) } @if !help.what.ends_with('.') { "." }
        } @else { "." }
    }
}

fn requests(n: i64) -> String {
    if n == 1 { "1 request".to_owned() } else { format!("{} requests", count(n)) }
}

const fn is(n: i64) -> &'static str {
    if n == 1 { " is" } else { " are" }
}

/// Why a request ends when it ends, in one sentence: what blocks it, or what its slowest system has to do before.
pub(super) fn why(foreseen: &Foreseen) -> &str {
    let because = &foreseen.because;
    let of_bottleneck = foreseen.bottleneck.as_ref().filter(|_| foreseen.blocked_by.is_none());
    let told = of_bottleneck.and_then(|name| because.iter().find(|sentence| sentence.starts_with(name.as_str())));
    told.or(because.first()).map_or("", String::as_str)
}

/// What helps a request that is or will be late, or waits.
pub(super) fn help(seen: &Snapshot, row: &TodayRow) -> Help {
    help_of(seen.name(&row.controller_id), row)
}

fn help_of(controller: &str, row: &TodayRow) -> Help {
    let at_request = format!("/requests/{}", row.id);
    let foreseen = row.forecast.as_ref();
    let system = foreseen.and_then(|foreseen| blocking_system(foreseen));
    let at_system = system.map_or_else(|| "/systems".to_owned(), |system| system_path(controller, system));
    let blocked = foreseen.and_then(|foreseen| foreseen.blocked_by);
    let (what, href) = match (row.status.as_str(), blocked) {
        (_, Some(Blocker::Paused)) => ("Resume the system", at_system),
        (_, Some(Blocker::Failing)) => ("Find out why the system does not answer", at_system),
        (_, Some(Blocker::Disconnected)) => ("Connect the system again", "/systems".to_owned()),
        (_, Some(Blocker::Hold)) => ("Release the hold, or keep the data", at_request),
        (_, Some(Blocker::NoSystem)) => ("Connect a system for this right, then retry", at_request),
        ("awaiting_approval", _) | (_, Some(Blocker::Approval)) => ("Approve or reject it", at_request),
        ("review", _) | (_, Some(Blocker::Review)) => ("Look at the result and approve it", at_request),
        ("awaiting_controller", _) | (_, Some(Blocker::Controller)) => {
            ("Get the controller's answer, then resume it", at_request)
        }
        ("needs_attention", _) | (_, Some(Blocker::Attention)) => ("See what went wrong and retry", at_request),
        (_, None) => {
            let remedy = foreseen.into_iter().flat_map(|foreseen| &foreseen.because).find(|text| is_remedy(text));
            return match remedy {
                Some(remedy) => Help { what: remedy.clone(), href: at_request },
                None if foreseen.is_some_and(|foreseen| foreseen.late) => {
                    Help { what: "Extend it if the law allows that, and tell the controller".into(), href: at_request }
                }
                None => Help { what: "Look at it".into(), href: at_request },
            };
        }
    };
    Help { what: what.to_owned(), href }
}

/// The system that blocks a request: the sentence about it begins with its name.
fn blocking_system(foreseen: &Foreseen) -> Option<&str> {
    let sentence = foreseen.because.first()?;
    let (name, _) = sentence.split_once(" is paused").or_else(|| sentence.split_once(": every call has failed"))?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (plain && !name.is_empty()).then_some(name)
}

/// The sentences of a forecast that say what speed would do.
fn is_remedy(text: &str) -> bool {
    text.starts_with("With ") && text.ends_with("would be in time.")
}

/// What is waited for, in words.
pub(super) fn waits_for(row: &TodayRow) -> String {
    if let Some(attention) = &row.attention {
        return attention.clone();
    }
    match row.status.as_str() {
        "awaiting_approval" => "an approval before it begins".into(),
        "review" => "an approval of the result".into(),
        "awaiting_controller" => "the controller's answer".into(),
        other => plain(other),
    }
}

/// What to do in an installation without requests.
pub(super) fn first_steps(seen: &Snapshot) -> Markup {
    let (controllers, systems) = (!seen.controllers.is_empty(), seen.today.any.1);
    html! {
        section.empty {
            h2 { "No requests yet" }
            ol {
                li { @if controllers { "Done: there is a controller. Another one is made by " } @else { "Create a controller and keep its API key: " }
                    code { "redress controller create acme --country DE --timezone Europe/Berlin" } }
                li { @if systems { "Done: a system is connected. Others are connected by " } @else { "Connect the systems that hold its data: " }
                    code { "redress apply acme.toml" } }
                li { "Submit the first request: " code { "redress submit --type access --email person@example.com" } }
            }
            p.quiet { "Or see a batch of requests being fulfilled at once: " code { "redress demo" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redress_domain::forecast::Confidence;
    use redress_domain::{ControllerId, DsrId, RequestType};

    fn foreseen(blocked_by: Option<Blocker>, because: &[&str]) -> Foreseen {
        Foreseen {
            finishes_at: None,
            late: true,
            late_by_days: Some(1),
            late_since: None,
            bottleneck: Some("crm".into()),
            blocked_by,
            act_by: None,
            confidence: Confidence::Measured,
            because: because.iter().map(|&text| text.to_owned()).collect(),
            computed_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn row(status: &str, forecast: Option<Foreseen>) -> TodayRow {
        TodayRow {
            id: DsrId::from_parts(1, [1; 10]),
            controller_id: ControllerId::from_parts(1, [2; 10]),
            kind: RequestType::Deletion,
            status: status.into(),
            due_before: 0,
            attention: None,
            since: None,
            forecast,
        }
    }

    #[test]
    fn the_reason_is_the_blocker_or_what_the_slowest_system_has_to_do() {
        let way = ["Until Monday it can be withdrawn.", "crm: 5 steps are due before this one.", "It is due."];
        assert_eq!(why(&foreseen(None, &way)), way[1]);
        assert_eq!(why(&foreseen(Some(Blocker::Paused), &["crm is paused.", "crm: 5 steps."])), "crm is paused.");
        assert_eq!(why(&foreseen(None, &[])), "");
    }

    #[test]
    fn every_reason_to_wait_has_something_that_helps_and_a_place_for_it() {
        for blocker in Blocker::ALL {
            let help = help_of("acme", &row("in_progress", Some(foreseen(Some(*blocker), &["It waits."]))));
            assert!(!help.what.is_empty() && help.href.starts_with('/'), "{blocker}");
        }
        let faster = "With 40 calls a day crm would be in time.";
        assert_eq!(help_of("acme", &row("in_progress", Some(foreseen(None, &["crm: x", faster])))).what, faster);
        let hopeless =
            help_of("acme", &row("in_progress", Some(foreseen(None, &["No speed of crm brings it in time: x."]))));
        assert!(hopeless.what.starts_with("Extend it"), "{}", hopeless.what);
        let paused = help_of("acme", &row("in_progress", Some(foreseen(Some(Blocker::Paused), &["crm is paused."]))));
        assert_eq!(paused.href, "/systems/acme/crm");
        for status in ["needs_attention", "awaiting_approval", "review", "awaiting_controller"] {
            assert_ne!(help_of("acme", &row(status, None)).what, "Look at it", "{status}");
        }
    }
}

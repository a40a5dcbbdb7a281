//! Which changes of a clock are made, and why others are refused.

use super::*;
use crate::regulation::PauseKind::{Clarification, Controller, Fee, Identity};

const NOW: &str = "2026-06-20T12:00:00Z";

fn received() -> ClockFacts {
    let mut facts = berlin(RequestType::Access, "2026-06-02T08:00:00Z");
    facts.data_subject_received_at = Some(at("2026-06-01T08:00:00Z"));
    facts
}

fn after(facts: &ClockFacts, change: Change) -> Result<ClockFacts, Refusal> {
    facts.after(change, at(NOW))
}

fn paused(kind: PauseKind, from: &str) -> Change {
    Change::Pause { kind, from: at(from) }
}

fn resumed(kind: Option<PauseKind>, to: &str) -> Change {
    Change::Resume { kind, to: at(to) }
}

fn told(granted_at: &str, until: Option<&str>) -> Change {
    Change::Extend(ExtensionNotice { granted_at: at(granted_at), until: until.map(on) })
}

fn acknowledged(when: &str) -> Change {
    Change::Acknowledge { at: at(when) }
}

fn fault(member: &'static str, detail: &str) -> Result<ClockFacts, Refusal> {
    Err(Refusal::Fault(member, detail.to_owned()))
}

fn conflict(detail: &str) -> Result<ClockFacts, Refusal> {
    Err(Refusal::Conflict(detail.to_owned()))
}

#[test]
fn a_pause_begins_and_ends_and_is_kept() {
    let asked = after(&received(), paused(Identity, "2026-06-03T08:00:00Z")).expect("possible");
    assert!(asked.is_waiting());
    let both = after(&asked, paused(Clarification, "2026-06-04T08:00:00Z")).expect("possible");
    let one = after(&both, resumed(Some(Identity), "2026-06-10T08:00:00Z")).expect("possible");
    assert!(one.is_waiting());
    let none = after(&one, resumed(None, "2026-06-11T08:00:00Z")).expect("one only is open, so it need not be named");
    assert!(!none.is_waiting());
    assert_eq!(
        none.pauses,
        [
            pause(Identity, "2026-06-03T08:00:00Z", Some("2026-06-10T08:00:00Z")),
            pause(Clarification, "2026-06-04T08:00:00Z", Some("2026-06-11T08:00:00Z")),
        ]
    );
    let again = after(&none, paused(Identity, "2026-06-12T08:00:00Z")).expect("it may be asked for again");
    assert_eq!(again.pauses.len(), 3);
    let at_once = after(&again, resumed(None, "2026-06-12T08:00:00Z")).expect("it came at once");
    assert_eq!(at_once.pauses[2].to, Some(at("2026-06-12T08:00:00Z")));
}

#[test]
fn the_same_thing_is_not_awaited_twice_at_a_time() {
    let asked = after(&received(), paused(Fee, "2026-06-03T08:00:00Z")).expect("possible");
    let refused = after(&asked, paused(Fee, "2026-06-04T08:00:00Z"));
    assert_eq!(refused, conflict("it waits for fee since 2026-06-03T08:00:00Z already; resume it first"));
}

#[test]
fn what_is_not_awaited_cannot_come() {
    let nothing = conflict("it waits for nothing: there is no pause to end");
    assert_eq!(after(&received(), resumed(None, NOW)), nothing);
    assert_eq!(after(&received(), resumed(Some(Fee), NOW)), nothing);
    let asked = after(&received(), paused(Fee, "2026-06-03T08:00:00Z")).expect("possible");
    assert_eq!(after(&asked, resumed(Some(Identity), NOW)), conflict("it does not wait for identity, but for fee"));
    let both = after(&asked, paused(Controller, "2026-06-04T08:00:00Z")).expect("possible");
    let which = fault("kind", "it waits for several things; name one of fee, controller");
    assert_eq!(after(&both, resumed(None, NOW)), which);
    let closed = after(&asked, resumed(None, NOW)).expect("possible");
    assert_eq!(after(&closed, resumed(None, NOW)), nothing, "not twice");
}

#[test]
fn a_pause_cannot_end_before_it_began() {
    let asked = after(&received(), paused(Fee, "2026-06-03T08:00:00Z")).expect("possible");
    let refused = after(&asked, resumed(None, "2026-06-03T07:59:59Z"));
    assert_eq!(refused, fault("to", "lies before 2026-06-03T08:00:00Z, when the pause began"));
    let future = after(&asked, resumed(None, "2026-06-20T12:05:01Z"));
    assert_eq!(future, fault("to", "lies in the future"));
}

#[test]
fn nothing_happened_before_the_request_or_in_the_future() {
    let early = "lies before the receipt of the request at 2026-06-01T08:00:00Z";
    for member in ["from", "granted_at", "acknowledged_at"] {
        let change = |when| match member {
            "from" => paused(Identity, when),
            "granted_at" => told(when, None),
            _ => acknowledged(when),
        };
        assert_eq!(after(&received(), change("2026-06-01T07:59:59Z")), fault(member, early), "{member}");
        assert!(after(&received(), change("2026-06-01T08:00:00Z")).is_ok(), "{member}: at the same instant");
        // Five minutes of clock difference are no future.
        assert!(after(&received(), change("2026-06-20T12:05:00Z")).is_ok(), "{member}");
        assert_eq!(after(&received(), change("2026-06-20T12:05:01Z")), fault(member, "lies in the future"), "{member}");
    }
    // If nobody knows when the person wrote, the instruction is the first that is known.
    let mut facts = received();
    facts.data_subject_received_at = None;
    let refused = after(&facts, acknowledged("2026-06-02T07:59:59Z"));
    assert_eq!(refused, fault("acknowledged_at", "lies before the receipt of the request at 2026-06-02T08:00:00Z"));
}

#[test]
fn a_person_is_told_of_one_extension_and_one_acknowledgement() {
    let extended = after(&received(), told("2026-06-10T08:00:00Z", None)).expect("possible");
    assert_eq!(extended.extension, Some(ExtensionNotice { granted_at: at("2026-06-10T08:00:00Z"), until: None }));
    let again = after(&extended, told("2026-06-11T08:00:00Z", None));
    assert_eq!(again, conflict("it was extended once already, as the person was told at 2026-06-10T08:00:00Z"));
    let known = after(&received(), acknowledged("2026-06-03T08:00:00Z")).expect("possible");
    assert_eq!(known.acknowledged_at, Some(at("2026-06-03T08:00:00Z")));
    let again = after(&known, acknowledged("2026-06-04T08:00:00Z"));
    assert_eq!(again, conflict("its receipt was acknowledged at 2026-06-03T08:00:00Z already"));
}

/// Whether an extension under these laws counts.
fn counts(laws: &[&str], granted_at: &str, until: Option<&str>) -> Result<(), Refusal> {
    let mut facts = under(received(), laws);
    facts.extension = Some(ExtensionNotice { granted_at: at(granted_at), until: until.map(on) });
    computed(&facts).extension_counts(until.map(on))
}

#[test]
fn an_extension_counts_if_one_law_takes_it_and_is_void_if_none_does() {
    assert_eq!(counts(&["EU-GDPR"], "2026-07-01T21:59:59Z", None), Ok(()));
    let void = |by: &str| {
        Err(Refusal::Conflict(format!(
            "the extension is void: the person had to be told, with the reasons, by {by}; the date stays"
        )))
    };
    assert_eq!(counts(&["EU-GDPR"], "2026-07-01T22:00:00Z", None), void("2026-07-01"));
    // California has 45 days: in time for one of both is in time.
    assert_eq!(counts(&["EU-GDPR", "US-CA-CCPA"], "2026-07-05T08:00:00Z", None), Ok(()));
    assert_eq!(counts(&["EU-GDPR", "US-CA-CCPA"], "2026-07-17T08:00:00Z", None), void("2026-07-16"));
    let none = "the extension is void: ca-qc.access knows none";
    assert_eq!(counts(&["CA-QC-LAW25"], "2026-06-05T08:00:00Z", None), Err(Refusal::Conflict(none.to_owned())));
    let none = "the extension is void: br-lgpd.access_full and ca-qc.access knows none";
    let two = counts(&["BR-LGPD", "CA-QC-LAW25"], "2026-06-05T08:00:00Z", None);
    assert_eq!(two, Err(Refusal::Conflict(none.to_owned())));
}

#[test]
fn where_no_law_sets_a_date_there_is_nothing_to_extend() {
    let mut facts = in_place(received(), "NG", "Africa/Lagos");
    facts.extension = Some(ExtensionNotice { granted_at: at("2026-06-10T08:00:00Z"), until: None });
    let refused = computed(&facts).extension_counts(None);
    let why = "no law that governs this request sets a date, so there is nothing to extend";
    assert_eq!(refused, Err(Refusal::Conflict(why.to_owned())));
}

#[test]
fn a_notice_that_has_to_name_the_new_date_names_a_later_one() {
    // Korea: ten days, so until Thu 11 June.
    let named = |until| counts(&["KR-PIPA"], "2026-06-10T08:00:00Z", until);
    assert_eq!(named(Some("2026-06-30")), Ok(()));
    let missing = "is missing; under this rule the notice itself names the new date";
    assert_eq!(named(None), Err(Refusal::Fault("until", missing.to_owned())));
    let early = "is no later than 2026-06-11, by when the person is to be answered anyway";
    assert_eq!(named(Some("2026-06-10")), Err(Refusal::Fault("until", early.to_owned())));
    // Beside a law that lengthens by itself the named date may be anything.
    assert_eq!(counts(&["KR-PIPA", "EU-GDPR"], "2026-06-10T08:00:00Z", Some("2026-06-10")), Ok(()));
    assert_eq!(counts(&["KR-PIPA", "EU-GDPR"], "2026-06-10T08:00:00Z", None), Ok(()), "the other one counts");
}

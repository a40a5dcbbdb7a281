//! What waiting and extensions do to one clock, and when the watch looks.

use super::*;
use crate::regulation::PauseKind::{Clarification, Controller, Fee, Identity};

/// One rule's clock in its law's own zone, with weekends and no holidays.
struct One {
    rule: &'static str,
    started_at: &'static str,
    pauses: Vec<Pause>,
    extension: Option<ExtensionNotice>,
    as_of: &'static str,
}

fn one(rule: &'static str, started_at: &'static str) -> One {
    One { rule, started_at, pauses: Vec::new(), extension: None, as_of: "2029-01-01T00:00:00Z" }
}

impl One {
    fn waits(mut self, kind: PauseKind, from: &str, to: Option<&str>) -> Self {
        self.pauses.push(pause(kind, from, to));
        self
    }

    fn extended(mut self, granted_at: &str, until: Option<&str>) -> Self {
        self.extension = Some(ExtensionNotice { granted_at: at(granted_at), until: until.map(on) });
        self
    }

    fn dates(&self) -> ClockDates {
        let (law, rule) = RULES.table.rule(self.rule).expect("in the table");
        let days = WorkingDays::new(None, &law.weekend, []);
        run(&ClockInput {
            rule,
            started_at: at(self.started_at),
            zone: &zone(&law.default_timezone).expect("it exists"),
            calendar: &days.calendar(),
            pauses: &self.pauses,
            extension: self.extension,
            as_of: at(self.as_of),
            ignore_pauses: false,
        })
        .expect("computable")
    }

    fn due_on(&self) -> Date {
        self.dates().due_on
    }
}

const UK: &str = "uk-gdpr.access";
const EU: &str = "eu-gdpr.all";

#[test]
fn a_reset_moves_day_zero_to_the_day_on_which_the_last_thing_came() {
    let both = one(UK, "2026-06-01T10:00:00Z").waits(Identity, "2026-06-02T10:00:00Z", Some("2026-06-10T10:00:00Z"));
    assert_eq!((both.dates().started_on, both.due_on()), (on("2026-06-10"), on("2026-07-10")));
    let both = both.waits(Fee, "2026-06-02T10:00:00Z", Some("2026-06-08T10:00:00Z"));
    assert_eq!(both.due_on(), on("2026-07-10"), "the later of both");
    let open = both.waits(Fee, "2026-06-12T10:00:00Z", None);
    assert_eq!(open.dates().state, ClockState::NotStarted);
}

#[test]
fn what_is_asked_for_after_the_due_date_moves_nothing_not_even_a_start() {
    // Due on Wed 1 July; asked on that day it counts, a day later it cannot undo the breach.
    let late = one(UK, "2026-06-01T10:00:00Z").waits(Identity, "2026-07-02T10:00:00Z", Some("2026-07-20T10:00:00Z"));
    assert_eq!((late.dates().started_on, late.due_on()), (on("2026-06-01"), on("2026-07-01")));
    assert_eq!((late.dates().effective_pauses, late.dates().state), (Vec::new(), ClockState::Running));
    let open = one(UK, "2026-06-01T10:00:00Z").waits(Identity, "2026-07-02T10:00:00Z", None);
    assert_eq!((open.dates().state, open.due_on()), (ClockState::Running, on("2026-07-01")));
    let in_time = one(UK, "2026-06-01T10:00:00Z").waits(Identity, "2026-07-01T10:00:00Z", Some("2026-07-20T10:00:00Z"));
    assert_eq!(in_time.due_on(), on("2026-08-20"));
    // What came before it had moved the date, so the second question is in time.
    let second = in_time.waits(Fee, "2026-08-19T10:00:00Z", Some("2026-08-25T10:00:00Z"));
    assert_eq!(second.due_on(), on("2026-09-25"));
    let extended = late.extended("2026-06-20T10:00:00Z", None);
    assert_eq!(extended.due_on(), on("2026-10-20"), "due on 1 September when it was asked for, so it was in time");
    let eu = one(EU, "2026-06-01T10:00:00Z").waits(Identity, "2026-07-02T10:00:00Z", Some("2026-07-20T10:00:00Z"));
    assert_eq!((eu.due_on(), eu.dates().excluded.len()), (on("2026-07-01"), 0));
}

#[test]
fn both_end_days_of_an_english_clarification_and_only_the_later_of_a_european_one_are_left_out() {
    let asked = |rule| {
        one(rule, "2026-06-01T10:00:00Z").waits(Clarification, "2026-06-03T10:00:00Z", Some("2026-06-08T10:00:00Z"))
    };
    let (uk, eu) = (asked(UK).dates(), asked(EU).dates());
    assert_eq!((uk.excluded.len(), uk.due_on), (6, on("2026-07-07")));
    assert_eq!((eu.excluded.len(), eu.due_on), (5, on("2026-07-06")));
    // A pause within one day: a day in England, none on the continent.
    let asked = |rule| {
        one(rule, "2026-06-01T10:00:00Z").waits(Clarification, "2026-06-03T10:00:00Z", Some("2026-06-03T11:00:00Z"))
    };
    assert_eq!((asked(UK).dates().excluded.len(), asked(EU).dates().excluded.len()), (1, 0));
}

#[test]
fn days_in_two_pauses_are_left_out_once() {
    let clock = one(EU, "2026-06-01T10:00:00Z")
        .waits(Identity, "2026-06-03T10:00:00Z", Some("2026-06-08T10:00:00Z"))
        .waits(Clarification, "2026-06-05T10:00:00Z", Some("2026-06-10T10:00:00Z"));
    assert_eq!((clock.dates().excluded.len(), clock.due_on()), (7, on("2026-07-08")));
}

#[test]
fn an_open_pause_gives_a_date_that_moves_on_with_the_day() {
    let mut clock = one(EU, "2026-06-01T10:00:00Z").waits(Clarification, "2026-06-03T10:00:00Z", None);
    clock.as_of = "2026-06-03T12:00:00Z";
    assert_eq!((clock.dates().state, clock.due_on()), (ClockState::Paused, on("2026-07-01")));
    clock.as_of = "2026-06-13T12:00:00Z";
    assert_eq!((clock.dates().state, clock.due_on()), (ClockState::Paused, on("2026-07-13")), "the 11th is a Saturday");
}

#[test]
fn the_controllers_silence_stops_only_the_contracts_clock() {
    let mut facts = deletion("2026-06-01T08:00:00Z");
    facts.pauses = vec![pause(Controller, "2026-06-03T08:00:00Z", Some("2026-06-09T08:00:00Z"))];
    let deadlines = computed(&facts);
    assert_eq!(deadlines.contract.due_on, on("2026-07-17"), "four working days later than 13 July");
    assert_eq!(deadlines.contract.paused_days, 6);
    let law = deadlines.statutory.expect("a law governs");
    assert_eq!((law.due_on, law.paused_days), (on("2026-07-01"), 0));
    assert_eq!(deadlines.internal_target, on("2026-06-19"), "ten working days without those four");
    facts.pauses[0].to = None;
    let open = compute(&RULES, &facts, at("2026-06-09T08:00:00Z")).expect("computable");
    assert_eq!((open.contract.clock, open.clock), (ClockState::Paused, ClockState::Running), "the law binds and runs");
}

#[test]
fn an_extension_counts_from_the_start_and_only_if_told_within_the_first_period() {
    let clock = || one(EU, "2026-01-31T10:00:00Z");
    // One month ends on Sat 28 February, so on Mon 2 March; three on Thu 30 April.
    let in_time = clock().extended("2026-03-02T22:59:59Z", None).dates();
    assert_eq!((in_time.extension_valid, in_time.due_on), (Some(true), on("2026-04-30")));
    assert_eq!(in_time.extension_notice_by, Some(on("2026-03-02")));
    let late = clock().extended("2026-03-02T23:00:00Z", None).dates();
    assert_eq!((late.extension_valid, late.due_on), (Some(false), on("2026-03-02")));
    let unknown = one("us-ca-ccpa.optout", "2026-01-31T10:00:00Z").extended("2026-02-01T10:00:00Z", None).dates();
    assert_eq!((unknown.extension_valid, unknown.extension_notice_by), (Some(false), None));
}

#[test]
fn a_pause_moves_the_day_of_the_notice_in_england_and_not_on_the_continent() {
    let asked = |rule| {
        one(rule, "2026-06-01T10:00:00Z").waits(Clarification, "2026-06-03T10:00:00Z", Some("2026-06-12T10:00:00Z"))
    };
    let by = |rule| asked(rule).dates().extension_notice_by.expect("it knows one");
    assert_eq!((by(UK), by(EU)), (on("2026-07-13"), on("2026-07-01")), "ten days on is a Saturday");
    assert_eq!(asked(EU).extended("2026-07-02T10:00:00Z", None).dates().extension_valid, Some(false));
    assert_eq!(asked(UK).extended("2026-07-02T10:00:00Z", None).due_on(), on("2026-09-11"));
}

#[test]
fn an_open_ended_extension_lasts_to_the_date_that_its_notice_names() {
    let clock = || one("kr.all", "2026-09-18T01:00:00Z");
    assert_eq!(clock().due_on(), on("2026-09-28"));
    assert_eq!(clock().extended("2026-09-28T01:00:00Z", Some("2026-10-04")).due_on(), on("2026-10-04"), "a Sunday");
    assert_eq!(
        clock().extended("2026-09-28T15:00:00Z", Some("2026-10-04")).due_on(),
        on("2026-09-28"),
        "29 September in Seoul"
    );
    assert_eq!(
        clock().extended("2026-09-20T01:00:00Z", Some("2026-09-22")).due_on(),
        on("2026-09-28"),
        "never a shorter time"
    );
    let nameless = clock().extended("2026-09-20T01:00:00Z", None).dates();
    assert_eq!((nameless.extension_valid, nameless.due_on), (Some(false), on("2026-09-28")));
}

#[test]
fn the_part_of_the_time_that_has_passed_is_counted_from_the_clocks_own_start() {
    // Identity came after three weeks: then the whole month is left, and nothing is at risk.
    let mut facts = in_place(berlin(RequestType::Access, "2026-06-01T08:00:00Z"), "GB", "Europe/London");
    facts.instruction_received_at = at("2026-06-20T08:00:00Z");
    facts.pauses = vec![pause(Identity, "2026-06-02T08:00:00Z", Some("2026-06-22T08:00:00Z"))];
    let deadlines = computed(&facts);
    assert_eq!(deadlines.effective.due_on, on("2026-07-15"), "five working days before Wed 22 July");
    assert_eq!(deadlines.effective.binding, Binding::Statutory);
    // 24 days from 22 June, 0:00; 60 % of them end on 6 July, 9:36. Five working days are left on the 8th only.
    assert_eq!(deadlines.milestones.at_risk_at, at("2026-07-06T08:36:00Z"));
}

#[test]
fn the_band_follows_the_business_days_left_and_the_part_of_the_time_that_has_passed() {
    let zone = zone("Europe/Berlin").expect("it exists");
    let days = WorkingDays::new(None, &RULES.table.regulations[0].weekend, []);
    let band_at = |due_on: &str, now: &str| {
        let due = EffectiveDue {
            due_on: on(due_on),
            due_before: clock::day_after(on(due_on), &zone).expect("in range"),
            binding: Binding::Contract,
            buffer_exhausted: false,
            buffered_statutory_on: None,
        };
        let inputs = milestones::Inputs {
            sla: &RULES.table.sla,
            due: &due,
            started_at: at("2026-05-31T22:00:00Z"),
            zone: &zone,
            calendar: &days.calendar(),
            extension: None,
            acknowledge_by: None,
        };
        Milestones::of(&inputs).expect("in range").band(at(now))
    };
    // Due on Mon 29 June: 29 days, of which 60 % are over at the end of 17.4 days, on Thu 18 June at 09:36.
    assert_eq!(band_at("2026-06-29", "2026-06-18T07:35:59Z"), Band::OnTrack);
    assert_eq!(band_at("2026-06-29", "2026-06-18T07:36:00Z"), Band::AtRisk);
    // Due on Fri 12 June: 12 days; on Thu 4 June six working days are left, on Fri 5 June five.
    assert_eq!(band_at("2026-06-12", "2026-06-04T21:59:59Z"), Band::OnTrack);
    assert_eq!(band_at("2026-06-12", "2026-06-04T22:00:00Z"), Band::AtRisk);
    assert_eq!(band_at("2026-06-12", "2026-06-09T22:00:00Z"), Band::Critical, "Wednesday, two days left");
    assert_eq!(band_at("2026-06-12", "2026-06-12T21:59:59Z"), Band::Critical);
    assert_eq!(band_at("2026-06-12", "2026-06-12T22:00:00Z"), Band::Overdue);
    // Due on Sun 14 June: nothing is left after Friday, two working days on Wednesday.
    assert_eq!(band_at("2026-06-14", "2026-06-09T21:59:59Z"), Band::AtRisk);
    assert_eq!(band_at("2026-06-14", "2026-06-09T22:00:00Z"), Band::Critical);
}

#[test]
fn nothing_is_critical_later_than_it_is_overdue_even_where_the_due_date_is_another_zones() {
    // With nothing left to count, the day of 14 June is critical from its first instant; in Samoa that comes after its end in Kiribati.
    let (here, there) = (zone("Pacific/Pago_Pago").expect("it exists"), zone("Pacific/Kiritimati").expect("it exists"));
    let days = WorkingDays::new(None, &[], []);
    let due = EffectiveDue {
        due_on: on("2026-06-14"),
        due_before: clock::day_after(on("2026-06-14"), &there).expect("in range"),
        binding: Binding::Statutory,
        buffer_exhausted: false,
        buffered_statutory_on: None,
    };
    let marks = Milestones::of(&milestones::Inputs {
        sla: &crate::regulation::Sla { critical_business_days_left: 0, ..RULES.table.sla.clone() },
        due: &due,
        started_at: at("2026-06-01T00:00:00Z"),
        zone: &here,
        calendar: &days.calendar(),
        extension: None,
        acknowledge_by: None,
    });
    let marks = marks.expect("in range");
    assert_eq!((marks.critical_at, marks.overdue_at), (at("2026-06-14T10:00:00Z"), at("2026-06-14T10:00:00Z")));
}

#[test]
fn who_has_acknowledged_or_extended_is_not_reminded_of_it() {
    let mut facts = in_place(deletion("2026-06-01T18:00:00Z"), "US", "America/Los_Angeles");
    facts.jurisdiction = Some("US-CA".to_owned());
    let milestones = computed(&facts).milestones;
    // Ten working days after 1 June end on Mon 15 June, two before that on Thu 11 June.
    assert_eq!(milestones.acknowledgement_warning_at, Some(at("2026-06-11T07:00:00Z")));
    // 45 days end on Thu 16 July; five working days before is Thu 9 July.
    assert_eq!(milestones.extension_decision_at, Some(at("2026-07-09T07:00:00Z")));
    facts.acknowledged_at = Some(at("2026-06-05T18:00:00Z"));
    facts.extension = Some(ExtensionNotice { granted_at: at("2026-07-01T18:00:00Z"), until: None });
    let milestones = computed(&facts).milestones;
    assert_eq!((milestones.acknowledgement_warning_at, milestones.extension_decision_at), (None, None));
}

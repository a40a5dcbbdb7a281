//! What was agreed with a controller moves the contract's date, and the law's only where its place decides.

use super::*;

fn with(terms: Value, facts: &ClockFacts) -> Deadlines {
    compute(&agreed(terms), facts, facts.instruction_received_at).expect("computable")
}

fn own_rule() -> Value {
    json!({
        "id": "acme.deletion", "request_types": ["deletion"], "clock_start": "instruction_received", "first_day": "excluded",
        "due": { "amount": 10, "unit": "business_days" },
        "pause": { "identity": "none", "clarification": "none", "fee": "none", "controller": "suspend" },
        "month_end": "clamp_last_day", "roll": "none", "confidence": "high",
    })
}

#[test]
fn a_rule_of_its_own_replaces_the_promise_for_its_types_only() {
    let terms = json!({ "version": "2026-03-01", "basis": "DPA of 1 March 2026, section 7", "rule": [own_rule()] });
    let facts = deletion("2026-06-01T08:00:00Z");
    let deadlines = with(terms.clone(), &facts);
    assert_eq!((deadlines.contract.rule.as_str(), deadlines.contract.due_on), ("acme.deletion", on("2026-06-15")));
    assert_eq!((deadlines.effective.binding, deadlines.effective.due_on), (Binding::Contract, on("2026-06-15")));
    assert_eq!(deadlines.terms_version.as_deref(), Some("2026-03-01"));
    assert_eq!(deadlines.statutory, computed(&facts).statutory, "the law's date is no matter of agreement");
    assert!(deadlines.trace[1].ends_with("under DPA of 1 March 2026, section 7."), "{}", deadlines.trace[1]);
    let access = with(terms, &berlin(RequestType::Access, "2026-06-01T08:00:00Z"));
    assert_eq!(access.contract.rule, "contract.access");
    assert_eq!(computed(&facts).terms_version, None);
}

#[test]
fn receipt_is_acknowledged_whatever_is_still_awaited() {
    let mut rule = own_rule();
    rule["ack"] = json!({ "amount": 2, "unit": "business_days" });
    rule["pause"]["identity"] = json!("reset");
    let mut facts = deletion("2026-06-01T08:00:00Z");
    facts.pauses = vec![pause(PauseKind::Identity, "2026-06-02T08:00:00Z", Some("2026-06-10T08:00:00Z"))];
    let deadlines = with(json!({ "version": "1", "rule": [rule] }), &facts);
    assert_eq!((deadlines.contract.started_on, deadlines.contract.due_on), (on("2026-06-10"), on("2026-06-24")));
    assert_eq!(
        deadlines.acknowledge_by,
        Some(on("2026-06-03")),
        "two working days after the request, not after the proof"
    );
}

#[test]
fn a_chosen_region_moves_the_law_where_the_controllers_place_decides() {
    // 1 November 2027 is a Monday, and All Saints' in Bavaria. 3 August 2026 is a Monday, and a bank holiday in Scotland.
    let due = |facts: &ClockFacts, calendar: &str| {
        let deadlines = with(json!({ "version": "1", "calendar": calendar }), facts);
        (deadlines.statutory.expect("a law governs").due_on, deadlines.calendars)
    };
    let germany = berlin(RequestType::Access, "2027-10-01T08:00:00Z");
    assert_eq!(statutory(&germany).due_on, on("2027-11-01"));
    assert_eq!(due(&germany, "de-by"), (on("2027-11-02"), vec!["de-by".to_owned()]));
    let scotland = in_place(berlin(RequestType::Access, "2026-07-03T08:00:00Z"), "GB", "Europe/London");
    assert_eq!(statutory(&scotland).due_on, on("2026-08-03"));
    assert_eq!(due(&scotland, "gb-sct").0, on("2026-08-04"));
    assert_eq!(due(&scotland, "uk-scotland").1, ["gb-sct"], "an alias is the same calendar");
    // A controller that says nothing of its country but chose a region of a Member State is in it.
    let mut somewhere = under(germany.clone(), &["EU-GDPR"]);
    somewhere.controller_country = None;
    assert_eq!(due(&somewhere, "de-by").0, on("2027-11-02"));
}

#[test]
fn a_calendar_of_another_country_counts_for_the_contract_only() {
    let facts = deletion("2026-06-14T12:00:00Z");
    let deadlines = with(json!({ "version": "1", "calendar": "fr" }), &facts);
    assert_eq!(deadlines.calendars, ["fr", "de"]);
    assert_eq!(
        deadlines.statutory.expect("a law governs").due_on,
        on("2026-07-14"),
        "Bastille Day is a working day in Berlin"
    );
    assert_eq!((deadlines.contract.due_on, computed(&facts).contract.due_on), (on("2026-07-27"), on("2026-07-24")));
    // California counts federal holidays whatever was chosen.
    let mut california = in_place(deletion("2026-03-23T18:00:00Z"), "US", "America/Los_Angeles");
    california.jurisdiction = Some("US-CA".to_owned());
    let deadlines = with(json!({ "version": "1", "calendar": "us-ca" }), &california);
    assert_eq!(deadlines.calendars, ["us-ca", "us-federal"]);
    assert_eq!(deadlines.acknowledge_by, computed(&california).acknowledge_by);
}

#[test]
fn a_request_that_kept_only_the_calendars_that_counted_has_the_same_dates() {
    let scotland = in_place(berlin(RequestType::Access, "2026-07-03T08:00:00Z"), "GB", "Europe/London");
    let ticino = in_place(berlin(RequestType::Access, "2026-05-14T08:00:00Z"), "CH", "Europe/Zurich");
    for (facts, calendar) in
        [(scotland, "gb-sct"), (ticino, "ch-ti"), (berlin(RequestType::Access, "2027-10-01T08:00:00Z"), "de-by")]
    {
        let rules = agreed(json!({ "version": "1", "calendar": calendar }));
        let deadlines = compute(&rules, &facts, facts.instruction_received_at).expect("computable");
        assert_eq!(deadlines.calendars, [calendar]);
        let kept = RULES.calendars.find(calendar).expect("shipped").as_ref().clone();
        let frozen =
            Rules { calendars: Arc::new(CalendarSet::of(deadlines.calendar_version.clone(), [kept])), ..rules };
        assert_eq!(compute(&frozen, &facts, facts.instruction_received_at), Ok(deadlines), "{calendar}");
    }
    // A calendar that the table names and that is not there is an error, not a calendar without holidays.
    let facts = under(deletion("2026-06-01T08:00:00Z"), &["KR-PIPA"]);
    let rules = Rules { calendars: Arc::default(), ..RULES.clone() };
    let refused = compute(&rules, &facts, facts.instruction_received_at);
    assert_eq!(refused, Err(DeadlineError::UnknownCalendar { calendar: "kr-national".to_owned() }));
}

#[test]
fn an_unknown_calendar_is_refused_and_not_left_out() {
    let facts = deletion("2026-06-01T08:00:00Z");
    let refused =
        compute(&agreed(json!({ "version": "1", "calendar": "de-xx" })), &facts, facts.instruction_received_at);
    assert_eq!(refused, Err(DeadlineError::UnknownCalendar { calendar: "de-xx".to_owned() }));
}

#[test]
fn closed_days_and_an_own_weekend_move_the_contracts_date_and_no_law() {
    let facts = deletion("2026-06-01T08:00:00Z");
    let closed = with(
        json!({ "version": "1", "closed": { "2026-06-05": "company closed", "2026-06-06": "and on Saturday" } }),
        &facts,
    );
    assert_eq!(closed.contract.due_on, on("2026-07-14"), "one of both is a Saturday anyway");
    assert_eq!(closed.statutory, computed(&facts).statutory);
    let weekend = with(json!({ "version": "1", "weekend": ["fri", "sat"] }), &facts);
    assert_eq!(weekend.contract.due_on, on("2026-07-13"));
    assert_eq!(weekend.acknowledge_by, Some(on("2026-06-02")));
    assert_eq!(weekend.statutory, computed(&facts).statutory);
    // The law's own day is closed at the company: it does not move.
    let last = with(json!({ "version": "1", "closed": { "2026-07-01": "company closed" } }), &facts);
    assert_eq!(last.statutory.expect("a law governs").due_on, on("2026-07-01"));
}

#[test]
fn a_closed_company_does_not_work_on_a_day_that_others_make_up_for() {
    // Sat 10 October 2026 is a working day in China.
    let facts = in_place(berlin(RequestType::Deletion, "2026-10-08T02:00:00Z"), "CN", "Asia/Shanghai");
    let open = with(json!({ "version": "1", "rule": [own_rule()] }), &facts);
    assert_eq!(open.contract.due_on, on("2026-10-21"), "9, 10, 12 to 16, 19, 20, 21 October");
    let closed =
        with(json!({ "version": "1", "rule": [own_rule()], "closed": { "2026-10-10": "no make-up day" } }), &facts);
    assert_eq!(closed.contract.due_on, on("2026-10-22"));
}

#[test]
fn an_own_buffer_leaves_the_controller_more_or_less_time() {
    let facts = deletion("2026-06-01T08:00:00Z");
    let effective =
        |days: u16| with(json!({ "version": "1", "controller_buffer_business_days": days }), &facts).effective;
    assert_eq!(effective(0).due_on, on("2026-07-01"));
    assert_eq!(effective(3).due_on, on("2026-06-26"));
    assert_eq!(effective(20).due_on, on("2026-06-03"));
    assert!(!effective(20).buffer_exhausted);
}

#[test]
fn pauses_count_outside_access_only_if_the_controller_chose_so() {
    let mut facts = deletion("2026-06-01T08:00:00Z");
    facts.pauses = vec![pause(PauseKind::Identity, "2026-06-03T08:00:00Z", Some("2026-06-08T08:00:00Z"))];
    assert_eq!(statutory(&facts).due_on, on("2026-07-01"));
    let chosen = json!({ "version": "1", "pauses_suspend_all_types": true });
    let law = with(chosen.clone(), &facts).statutory.expect("a law governs");
    assert_eq!((law.due_on, law.paused_days), (on("2026-07-06"), 5));
    let access = ClockFacts { request_type: RequestType::Access, ..facts.clone() };
    assert_eq!(statutory(&access).due_on, on("2026-07-06"), "for access the guidelines suspend it anyway");
    // Where the law itself knows no pause there is nothing to choose.
    let california = with(chosen, &under(facts, &["US-CA-CCPA"]));
    assert_eq!(california.statutory.expect("named").paused_days, 0);
}

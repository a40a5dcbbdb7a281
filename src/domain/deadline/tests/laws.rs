//! Which law, whose days and whose zone.

use super::*;

fn said(deadlines: &Deadlines, part: &str) -> bool {
    deadlines.trace.iter().any(|sentence| sentence.contains(part))
}

#[test]
fn of_two_laws_the_earlier_date_governs_and_both_are_told() {
    // 31 Aug 2026 is a Monday, and a bank holiday in England.
    let facts = under(berlin(RequestType::Access, "2026-07-31T08:00:00Z"), &["UK-GDPR", "EU-GDPR"]);
    let deadlines = computed(&facts);
    let all: Vec<_> = deadlines.statutory_all.iter().map(|law| (law.rule.as_str(), law.due_on)).collect();
    assert_eq!(all, [("eu-gdpr.all", on("2026-08-31")), ("uk-gdpr.access", on("2026-09-01"))]);
    assert_eq!(deadlines.statutory.as_ref(), deadlines.statutory_all.first());
    assert_eq!(deadlines.statutory_all[1].due_before, at("2026-09-01T23:00:00Z"), "London's day, not Berlin's");
    assert_eq!((deadlines.effective.due_on, deadlines.effective.binding), (on("2026-08-24"), Binding::Statutory));
    assert_eq!(deadlines.extension_notice_by, Some(on("2026-08-31")));
    assert_eq!(deadlines.calendars, ["de", "gb-eng"]);
    assert!(said(&deadlines, "2 laws govern; the earliest date counts: that of EU-GDPR."));
    // One law named twice is one law.
    let once = computed(&under(facts, &["EU-GDPR", "EU-GDPR"]));
    assert_eq!((once.statutory_all.len(), once.statutory.expect("named").due_on), (0, on("2026-08-31")));
}

#[test]
fn the_earlier_of_two_laws_counts_as_an_instant_and_not_as_a_date() {
    // Both are due on 16 March; the day ends in Auckland's zone long before it ends in California's.
    let facts = in_place(berlin(RequestType::Access, "2026-02-16T09:00:00Z"), "US", "America/Los_Angeles");
    let deadlines = computed(&under(facts, &["US-VA", "EU-GDPR", "CA-AB-PIPA"]));
    let bounds: Vec<_> = deadlines.statutory_all.iter().map(|law| law.due_before).collect();
    assert!(bounds.is_sorted(), "{bounds:?}");
    let all: Vec<_> = deadlines.statutory_all.iter().map(|law| (law.regulation.as_str(), law.due_on)).collect();
    assert_eq!(
        all,
        [("EU-GDPR", on("2026-03-16")), ("US-VA", on("2026-04-02")), ("CA-AB-PIPA", on("2026-04-02"))],
        "Virginia's day ends two hours before Alberta's"
    );
}

#[test]
fn of_two_laws_the_one_with_the_earlier_plan_binds() {
    // Both are due on Mon 29 June, less five working days on Mon 22 June. The instruction came on the 22nd in Berlin, so nothing is left
    // of the European buffer, and on the 21st in London.
    let mut facts = under(berlin(RequestType::Access, "2026-06-21T22:30:00Z"), &["EU-GDPR", "UK-GDPR"]);
    facts.data_subject_received_at = Some(at("2026-05-28T08:00:00Z"));
    let deadlines = computed(&facts);
    assert_eq!(deadlines.statutory.as_ref().map(|law| law.regulation.as_str()), Some("EU-GDPR"));
    let effective = &deadlines.effective;
    assert_eq!((effective.due_on, effective.due_before), (on("2026-06-22"), at("2026-06-22T23:00:00Z")));
    assert!(!effective.buffer_exhausted);
    assert!(said(
        &deadlines,
        "5 business days before the date of UK-GDPR are left to the controller: that is Mon 2026-06-22."
    ));
    let alone = computed(&under(facts, &["EU-GDPR"])).effective;
    assert_eq!((alone.due_on, alone.buffer_exhausted), (on("2026-06-29"), true));
}

#[test]
fn a_law_of_a_trade_counts_beside_the_general_one_and_only_for_what_it_knows() {
    let facts = in_place(berlin(RequestType::Access, "2026-07-03T17:00:00Z"), "US", "America/Los_Angeles");
    let access = computed(&under(facts.clone(), &["US-CA-CCPA", "US-HIPAA"]));
    let all: Vec<_> = access.statutory_all.iter().map(|law| (law.rule.as_str(), law.due_on)).collect();
    assert_eq!(all, [("us-hipaa.access", on("2026-08-02")), ("us-ca-ccpa.requests", on("2026-08-17"))]);
    assert_eq!(access.acknowledge_by, Some(on("2026-07-17")), "California's, though HIPAA's date governs");
    let deletion =
        computed(&under(ClockFacts { request_type: RequestType::Deletion, ..facts }, &["US-CA-CCPA", "US-HIPAA"]));
    assert_eq!(deletion.statutory.as_ref().map(|law| law.rule.as_str()), Some("us-ca-ccpa.requests"));
    assert!(deletion.statutory_all.is_empty());
    assert!(said(&deletion, "No statutory date: US-HIPAA sets none for deletion (45 CFR 164.524"));
}

#[test]
fn an_unknown_receipt_is_assumed_to_be_the_instructions_and_said_to_be() {
    let known = statutory(&deletion("2026-06-01T08:00:00Z"));
    let mut facts = deletion("2026-06-01T08:00:00Z");
    facts.data_subject_received_at = None;
    assert_eq!(statutory(&facts), StatutoryDue { assumed: true, ..known });
    assert!(said(&computed(&facts), "assumed from the receipt of the instruction; the true date may be earlier"));
}

#[test]
fn without_a_law_the_contract_stands_alone() {
    for (country, jurisdiction) in [(None, None), (Some("NG"), None), (Some("US"), None), (Some("DE"), Some("IN"))] {
        let mut facts = deletion("2026-06-01T08:00:00Z");
        facts.controller_country = country.map(str::to_owned);
        facts.jurisdiction = jurisdiction.map(str::to_owned);
        let deadlines = computed(&facts);
        assert_eq!(deadlines.statutory, None, "{country:?} {jurisdiction:?}");
        assert_eq!(deadlines.effective.due_before, deadlines.contract.due_before);
        assert_eq!(deadlines.effective.binding, Binding::Contract);
        assert_eq!(deadlines.effective.buffered_statutory_on, None);
        assert!(deadlines.trace.iter().any(|sentence| sentence.starts_with("No statutory date: ")));
    }
    let mut california = berlin(RequestType::Restriction, "2026-06-01T08:00:00Z");
    california.jurisdiction = Some("US-CA".to_owned());
    assert_eq!(computed(&california).statutory, None, "the CCPA has no such right");
}

#[test]
fn a_law_that_is_not_in_force_yet_counts_only_where_it_is_named_and_as_a_target() {
    let deadlines = computed(&under(deletion("2027-05-12T08:00:00Z"), &["IN-DPDP"]));
    let due = deadlines.statutory.clone().expect("it is named");
    assert_eq!((due.due_on, due.policy_target), (on("2027-08-10"), true), "90 days");
    assert!(said(&deadlines, "in force from Thu 2027-05-13 only"));
    let mut facts = deletion("2027-05-12T08:00:00Z");
    facts.jurisdiction = Some("IN".to_owned());
    assert_eq!(computed(&facts).statutory, None);
    // It is 13 May in India when it is 12 May, 18:30, in London.
    facts.data_subject_received_at = Some(at("2027-05-12T18:29:59Z"));
    assert_eq!(computed(&facts).statutory, None);
    facts.data_subject_received_at = Some(at("2027-05-12T18:30:00Z"));
    assert_eq!(statutory(&facts).rule, "in.rights");
}

#[test]
fn however_sure_its_text_is_a_law_is_a_mere_target_before_it_is_in_force() {
    let text = include_str!("../../../../config/regulations.toml");
    let (from, to) = (
        "status = \"in_force\"\neffective = \"2026-02-05\"",
        "status = \"not_yet_in_force\"\neffective = \"2026-02-05\"",
    );
    assert!(text.contains(from));
    let table = RuleTable::parse(&text.replacen(from, to, 1)).expect("well formed");
    let rules = Rules { table: Arc::new(table), ..RULES.clone() };
    let is_target = |received_at| {
        let facts = under(berlin(RequestType::Access, received_at), &["UK-GDPR"]);
        let deadlines = compute(&rules, &facts, facts.instruction_received_at).expect("computable");
        deadlines.statutory.expect("named").policy_target
    };
    assert!(is_target("2026-02-04T23:59:59Z"));
    assert!(!is_target("2026-02-05T00:00:00Z"));
}

#[test]
fn a_law_in_force_has_its_dates_and_is_no_mere_target() {
    assert!(!statutory(&deletion("2026-06-01T08:00:00Z")).policy_target);
    assert!(
        statutory(&under(deletion("2026-06-01T08:00:00Z"), &["JP-APPI"])).policy_target,
        "\"without delay\" is no date"
    );
}

#[test]
fn the_controllers_zone_counts_where_it_is_under_the_law_and_the_laws_own_elsewhere() {
    // 23:30 in London is the next day in Berlin and Brussels.
    let received_at = "2026-03-04T23:30:00Z";
    for (country, zone, law, started_on) in [
        ("DE", "Europe/Berlin", "EU-GDPR", "2026-03-05"),
        ("IE", "Europe/Dublin", "EU-GDPR", "2026-03-04"),
        ("GB", "Europe/London", "EU-GDPR", "2026-03-05"),
        ("DE", "Europe/Berlin", "UK-GDPR", "2026-03-04"),
        ("FR", "America/Martinique", "EU-GDPR", "2026-03-04"),
        ("NO", "Europe/Oslo", "EU-GDPR", "2026-03-05"),
    ] {
        let due = statutory(&under(in_place(deletion(received_at), country, zone), &[law]));
        assert_eq!(due.started_on, on(started_on), "{law} for {country}");
    }
}

#[test]
fn the_holidays_of_the_gdpr_are_those_of_the_member_state_in_which_the_controller_is() {
    // Received on 3 September: due on Sat 3 October, the day of German unity. On 14 June: Tue 14 July, Bastille Day.
    let due = |country, zone, jurisdiction: Option<&str>, received_at| {
        let mut facts = under(in_place(deletion(received_at), country, zone), &["EU-GDPR"]);
        facts.jurisdiction = jurisdiction.map(str::to_owned);
        let deadlines = computed(&facts);
        (deadlines.statutory.expect("named").due_on, deadlines.calendars.last().expect("one").clone())
    };
    let june = "2026-06-14T12:00:00Z";
    assert_eq!(due("FR", "Europe/Paris", None, june), (on("2026-07-15"), "fr".to_owned()));
    assert_eq!(
        due("DE", "Europe/Berlin", Some("FR"), june),
        (on("2026-07-14"), "de".to_owned()),
        "where the controller is"
    );
    assert_eq!(
        due("US", "America/New_York", Some("FR"), june),
        (on("2026-07-15"), "fr".to_owned()),
        "it is nowhere in the EU"
    );
    assert_eq!(due("US", "America/New_York", Some("FR-75"), june), (on("2026-07-15"), "fr".to_owned()));
    assert_eq!(due("US", "America/New_York", Some("EU"), june), (on("2026-07-14"), "weekends only".to_owned()));
    assert_eq!(due("US", "America/New_York", None, june), (on("2026-07-14"), "weekends only".to_owned()));
    assert_eq!(due("NO", "Europe/Oslo", None, "2026-04-17T12:00:00Z"), (on("2026-05-18"), "no".to_owned()));
}

#[test]
fn without_a_holiday_calendar_the_trace_says_that_only_weekends_count() {
    let facts = under(in_place(deletion("2026-06-14T12:00:00Z"), "US", "America/New_York"), &["EU-GDPR"]);
    assert!(said(&computed(&facts), "No holiday calendar is known for the controller's place"));
    assert!(!said(&computed(&deletion("2026-06-14T12:00:00Z")), "No holiday calendar"));
}

#[test]
fn the_deadlines_of_a_place_name_the_rule_of_the_nation_that_was_asked() {
    for (jurisdiction, request_type, rule, due_on) in [
        ("CH", RequestType::Access, "ch-fadp.access", "2026-07-01"),
        ("US-IA", RequestType::Access, "us-ia.requests", "2026-08-30"),
        ("CA-QC", RequestType::Access, "ca-qc.access", "2026-07-01"),
        ("CA-ON", RequestType::Access, "ca-pipeda.access", "2026-07-01"),
        ("NZ", RequestType::Access, "nz.ipp6_ipp7", "2026-06-29"),
        ("ZA", RequestType::Access, "za-paia.access", "2026-07-01"),
        ("ZA", RequestType::Deletion, "za-popia.correct", "2026-07-01"),
        ("AR", RequestType::Deletion, "ar.rectify", "2026-06-08"),
        ("KR", RequestType::Access, "kr.all", "2026-06-11"),
    ] {
        let mut facts = in_place(berlin(request_type, "2026-06-01T10:00:00Z"), "NG", "Africa/Lagos");
        facts.jurisdiction = Some(jurisdiction.to_owned());
        let due = statutory(&facts);
        assert_eq!((due.rule.as_str(), due.due_on), (rule, on(due_on)), "{jurisdiction}");
    }
}

#[test]
fn the_answer_to_the_controller_has_the_members_of_the_contract() {
    let deadlines = computed(&deletion("2026-06-01T08:00:00Z"));
    let mut json = serde_json::to_value(&deadlines).expect("plain data");
    assert_eq!(serde_json::from_value::<Deadlines>(json.clone()).expect("the same form"), deadlines);
    json["trace"].take();
    json["calendar_version"].take();
    json["tz_version"].take();
    assert_eq!(
        json,
        json!({
            "acknowledge_by": "2026-06-02",
            "contract": {
                "rule": "contract.deletion", "started_on": "2026-06-01", "due_on": "2026-07-13",
                "due_before": "2026-07-13T22:00:00Z", "clock": "running", "paused_days": 0,
            },
            "statutory": {
                "regulation": "EU-GDPR", "rule": "eu-gdpr.all", "started_on": "2026-06-01", "due_on": "2026-07-01",
                "due_before": "2026-07-01T22:00:00Z", "assumed": false, "clock": "running", "paused_days": 0,
                "extension_notice_by": "2026-07-01",
            },
            "effective": {
                "due_on": "2026-06-24", "due_before": "2026-06-24T22:00:00Z", "binding": "statutory",
                "buffered_statutory_on": "2026-06-24",
            },
            "internal_target": "2026-06-15",
            "extension_notice_by": "2026-07-01",
            "milestones": {
                // 60 % of 1 June, 10:00, to 25 June, 0:00, in Berlin are over on 15 June, 13:36; that is before five days are left.
                "at_risk_at": "2026-06-15T11:36:00Z",
                "critical_at": "2026-06-21T22:00:00Z",
                "overdue_at": "2026-06-24T22:00:00Z",
                "extension_decision_at": "2026-06-23T22:00:00Z",
            },
            "clock": "running",
            "table_version": "2026-11-21.1",
            "calendar_version": null,
            "tz_version": null,
            "calendars": ["de"],
            "trace": null,
        })
    );
}

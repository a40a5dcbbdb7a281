//! Facts about deadlines, checked by hand.

use super::*;

const NONE: &[Date] = &[];

fn table() -> RuleTable {
    RuleTable::parse(include_str!("../../../config/regulations.toml")).expect("the shipped table is well formed")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn on(text: &str) -> Date {
    text.parse().expect(text)
}

/// A deletion for a controller in Germany; person and instruction at the same instant.
fn berlin(received_at: &str) -> DeadlineInput<'static> {
    DeadlineInput {
        request_type: RequestType::Deletion,
        regulation: None,
        jurisdiction: None,
        controller_country: Some("DE"),
        controller_timezone: "Europe/Berlin",
        data_subject_received_at: Some(at(received_at)),
        instruction_received_at: at(received_at),
        holidays: NONE,
    }
}

fn statutory(input: &DeadlineInput<'_>) -> StatutoryDue {
    compute(&table(), input).expect("computable").statutory.expect("a law governs")
}

#[test]
fn a_month_from_31_january_ends_on_the_last_of_february_and_rolls_off_its_weekend() {
    // 28 Feb 2025 is a Friday, 28 Feb 2026 a Saturday, 29 Feb 2028 a Tuesday.
    for (received_at, due_on, due_before) in [
        ("2025-01-31T12:00:00Z", "2025-02-28", "2025-02-28T23:00:00Z"),
        ("2026-01-31T12:00:00Z", "2026-03-02", "2026-03-02T23:00:00Z"),
        ("2028-01-31T12:00:00Z", "2028-02-29", "2028-02-29T23:00:00Z"),
    ] {
        let due = statutory(&berlin(received_at));
        assert_eq!((due.due_on, due.due_before), (on(due_on), at(due_before)), "{received_at}");
    }
}

#[test]
fn a_due_date_on_a_chain_of_holidays_and_weekend_moves_behind_all_of_them() {
    // 25 and 26 Dec 2026 are Friday and Saturday.
    let holidays = [on("2026-12-25"), on("2026-12-26")];
    let due = statutory(&DeadlineInput { holidays: &holidays, ..berlin("2026-11-25T12:00:00Z") });
    assert_eq!(due.due_on, on("2026-12-28"));
}

#[test]
fn the_local_date_decides_which_day_is_day_zero() {
    // One second before midnight in Berlin, and midnight.
    assert_eq!(statutory(&berlin("2026-04-30T21:59:59Z")).due_on, on("2026-06-01"), "30 May is a Saturday");
    assert_eq!(statutory(&berlin("2026-05-31T22:00:00Z")).due_on, on("2026-07-01"), "1 June in Berlin");
}

#[test]
fn california_counts_45_days_does_not_roll_and_acknowledges_in_ten_business_days() {
    let input = DeadlineInput {
        jurisdiction: Some("US-CA"),
        controller_country: Some("US"),
        controller_timezone: "America/New_York",
        // 23:30 on 30 July in Los Angeles, 31 July in New York: the law's zone decides, for New York is not under it.
        ..berlin("2026-07-31T06:30:00Z")
    };
    let deadlines = compute(&table(), &input).expect("computable");
    let due = deadlines.statutory.expect("a law governs");
    assert_eq!((due.rule.as_str(), due.due_on), ("us-ca-ccpa.requests", on("2026-09-13")), "a Sunday");
    assert_eq!(due.due_before, at("2026-09-14T07:00:00Z"));
    assert_eq!(deadlines.acknowledge_by, Some(on("2026-08-13")), "the tenth working day after Thu 30 July");
    assert_eq!(deadlines.contract.due_on, on("2026-09-11"), "30 business days after Fri 31 July in New York");
}

#[test]
fn the_contract_counts_business_days_from_the_instruction_and_skips_holidays() {
    let input = berlin("2026-06-01T08:00:00Z");
    let deadlines = compute(&table(), &input).expect("computable");
    assert_eq!((deadlines.contract.rule.as_str(), deadlines.contract.due_on), ("contract.deletion", on("2026-07-13")));
    assert_eq!(deadlines.acknowledge_by, Some(on("2026-06-02")));
    let holidays = [on("2026-06-04"), on("2026-06-06")];
    let later = compute(&table(), &DeadlineInput { holidays: &holidays, ..input }).expect("computable");
    assert_eq!(later.contract.due_on, on("2026-07-14"), "one of both is a Saturday anyway");
}

#[test]
fn the_law_less_five_business_days_binds_before_the_contract() {
    let input =
        DeadlineInput { data_subject_received_at: Some(at("2026-05-28T08:00:00Z")), ..berlin("2026-06-01T08:00:00Z") };
    let effective = compute(&table(), &input).expect("computable").effective;
    // The month ends on Sun 28 June, so on Mon 29 June; five working days earlier is Mon 22 June.
    assert_eq!((effective.due_on, effective.due_before), (on("2026-06-22"), at("2026-06-22T22:00:00Z")));
    assert_eq!((effective.binding, effective.buffer_exhausted), (Binding::Statutory, false));
}

#[test]
fn a_buffer_that_would_end_before_the_instruction_is_given_up() {
    let input =
        DeadlineInput { data_subject_received_at: Some(at("2026-05-28T08:00:00Z")), ..berlin("2026-06-22T08:00:00Z") };
    let effective = compute(&table(), &input).expect("computable").effective;
    assert_eq!((effective.due_on, effective.binding), (on("2026-06-29"), Binding::Statutory));
    assert!(effective.buffer_exhausted);
    let day_before = DeadlineInput { instruction_received_at: at("2026-06-21T08:00:00Z"), ..input };
    assert!(!compute(&table(), &day_before).expect("computable").effective.buffer_exhausted);
}

#[test]
fn a_long_law_leaves_the_contract_binding() {
    let input = DeadlineInput { regulation: Some("US-IA"), ..berlin("2026-06-01T15:00:00Z") };
    let effective = compute(&table(), &input).expect("computable").effective;
    assert_eq!((effective.due_on, effective.binding), (on("2026-07-13"), Binding::Contract));
}

#[test]
fn an_unknown_receipt_is_assumed_to_be_the_instructions() {
    let known = statutory(&berlin("2026-06-01T08:00:00Z"));
    let input = DeadlineInput { data_subject_received_at: None, ..berlin("2026-06-01T08:00:00Z") };
    assert_eq!(statutory(&input), StatutoryDue { assumed: true, ..known });
}

#[test]
fn without_a_law_the_contract_stands_alone() {
    for (country, jurisdiction) in [(None, None), (Some("NG"), None), (Some("DE"), Some("IN"))] {
        let input = DeadlineInput { controller_country: country, jurisdiction, ..berlin("2026-06-01T08:00:00Z") };
        let deadlines = compute(&table(), &input).expect("computable");
        assert_eq!(deadlines.statutory, None, "{country:?} {jurisdiction:?}");
        assert_eq!(deadlines.effective.due_before, deadlines.contract.due_before);
        assert_eq!(deadlines.effective.binding, Binding::Contract);
        assert!(deadlines.trace.iter().any(|sentence| sentence.starts_with("No statutory date: ")));
    }
    let california = DeadlineInput {
        request_type: RequestType::Restriction,
        jurisdiction: Some("US-CA"),
        ..berlin("2026-06-01T08:00:00Z")
    };
    assert_eq!(compute(&table(), &california).expect("computable").statutory, None, "the CCPA has no such right");
}

#[test]
fn a_law_that_is_not_in_force_yet_counts_only_where_it_is_named() {
    let input = DeadlineInput { regulation: Some("IN-DPDP"), ..berlin("2027-05-12T08:00:00Z") };
    let deadlines = compute(&table(), &input).expect("computable");
    assert_eq!(deadlines.statutory.expect("it is named").due_on, on("2027-08-10"), "90 days");
    assert!(deadlines.trace.iter().any(|sentence| sentence.contains("in force from Thu 2027-05-13 only")));
    let input = DeadlineInput { jurisdiction: Some("IN"), ..berlin("2027-05-12T08:00:00Z") };
    assert_eq!(compute(&table(), &input).expect("computable").statutory, None);
    let day_after = DeadlineInput { data_subject_received_at: Some(at("2027-05-13T08:00:00Z")), ..input };
    assert_eq!(statutory(&day_after).rule, "in.rights");
}

#[test]
fn the_bound_is_the_first_instant_of_the_next_local_day_even_where_that_is_not_midnight() {
    for (zone_name, day, bound) in [
        ("Africa/Cairo", "2026-04-23", "2026-04-24T01:00:00+03:00"), // clocks go forward at midnight
        ("America/Havana", "2026-10-31", "2026-11-01T00:00:00-04:00"), // and back to midnight: its first one
        ("Pacific/Apia", "2011-12-29", "2011-12-31T00:00:00+14:00"), // the day between was left out
        ("Asia/Kathmandu", "2026-04-23", "2026-04-24T00:00:00+05:45"),
        ("Europe/Berlin", "2026-03-28", "2026-03-29T00:00:00+01:00"), // a day of 23 hours begins
    ] {
        let zone = zone(zone_name).expect(zone_name);
        assert_eq!(day_after(on(day), &zone), Ok(at(bound)), "{zone_name}");
    }
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let refused = |input: &DeadlineInput<'_>| compute(&table(), input).expect_err("refused");
    let input = berlin("2026-06-01T08:00:00Z");
    let error = refused(&DeadlineInput { controller_timezone: "Berlin", ..input });
    assert_eq!(error, DeadlineError::UnknownTimeZone { zone: "Berlin".to_owned() });
    let error = refused(&DeadlineInput { regulation: Some("GDPR"), ..input });
    assert!(matches!(error, DeadlineError::Choice(ChoiceError::UnknownRegulation { .. })));
    let error = refused(&DeadlineInput { instruction_received_at: Timestamp::MAX, ..input });
    assert_eq!(error, DeadlineError::OutOfRange);
}

#[test]
fn the_answer_to_the_controller_has_the_members_of_the_contract() {
    let deadlines = compute(&table(), &berlin("2026-06-01T08:00:00Z")).expect("computable");
    let mut json = serde_json::to_value(&deadlines).expect("plain data");
    assert_eq!(serde_json::from_value::<Deadlines>(json.clone()).expect("the same form"), deadlines);
    let trace = json["trace"].take();
    assert_eq!(
        json,
        serde_json::json!({
            "acknowledge_by": "2026-06-02",
            "contract": {"rule": "contract.deletion", "due_on": "2026-07-13", "due_before": "2026-07-13T22:00:00Z"},
            "statutory": {
                "rule": "eu-gdpr.all", "due_on": "2026-07-01", "due_before": "2026-07-01T22:00:00Z", "assumed": false
            },
            "effective": {"due_on": "2026-06-24", "due_before": "2026-06-24T22:00:00Z", "binding": "statutory"},
            "table_version": "2026-11-21.1",
            "trace": null,
        })
    );
    assert_eq!(
        trace,
        serde_json::json!([
            "The contract clock (contract.deletion) started on Mon 2026-06-01 in Europe/Berlin, when the processor \
             received the controller's instruction; that day is not counted.",
            "30 business days after it (working days without sat, sun and 0 given holidays) is Mon 2026-07-13, under \
             Founding documents; GDPR Art. 28(3)(a),(e),(g).",
            "Receipt must be acknowledged within 1 business day, by Tue 2026-06-02, under Founding documents; GDPR \
             Art. 28(3)(a),(e),(g).",
            "EU-GDPR governs because the controller is established in DE and the request names no other law.",
            "The statutory clock (eu-gdpr.all) started on Mon 2026-06-01 in Europe/Berlin, when the controller \
             received the request; that day is not counted.",
            "1 calendar month after it is Wed 2026-07-01, under GDPR Art. 12(3)-(4); Regulation (EEC, Euratom) \
             1182/71 Art. 2-3; EDPB Guidelines 01/2022 v2.1 s.5.3; CJEU C-171/03 Toeters.",
            "5 business days before the statutory date are left to the controller: that is Wed 2026-06-24.",
            "The earlier of both binds: the statutory date, Wed 2026-06-24 (GDPR Art. 28(3)(e): the processor helps \
             the controller to be in time).",
        ])
    );
}

#[test]
fn the_band_follows_the_business_days_left_and_the_part_of_the_time_that_has_passed() {
    let (table, zone) = (table(), zone("Europe/Berlin").expect("it exists"));
    let calendar = Calendar { weekend: &[DayName::Sat, DayName::Sun], holidays: &[], extra_working_days: &[] };
    let band_at = |due_on: &str, now: &str| {
        let due_before = day_after(on(due_on), &zone).expect("in range");
        let due = EffectiveDue { due_on: on(due_on), due_before, binding: Binding::Contract, buffer_exhausted: false };
        band(&table.sla, &due, at("2026-05-31T22:00:00Z"), at(now), &zone, &calendar)
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
}

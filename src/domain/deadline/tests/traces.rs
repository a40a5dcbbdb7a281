//! Whole traces, word by word: which law, which day, which article.
//!
//! Each date was checked by hand.

use super::*;

/// Compares sentence by sentence; `expected` has one in each line.
pub(super) fn says(rules: &Rules, facts: &ClockFacts, as_of: &str, expected: &str) {
    let deadlines = compute(rules, facts, at(as_of)).expect("computable");
    for (found, expected) in deadlines.trace.iter().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(deadlines.trace.len(), expected.lines().count(), "{:#?}", deadlines.trace);
}

#[test]
fn a_month_that_is_shorter_is_clamped_and_rolled() {
    let facts = berlin(RequestType::Access, "2026-01-31T22:30:00Z");
    says(
        &RULES,
        &facts,
        "2026-02-01T00:00:00Z",
        "\
The contract clock (contract.access) started on Sat 2026-01-31 in Europe/Berlin, when the processor received the controller's instruction; that day is not counted.
30 calendar days after it is Mon 2026-03-02, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
Receipt must be acknowledged within 1 business day, by Mon 2026-02-02, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
EU-GDPR governs because the controller is established in DE and the request names no other law.
The statutory clock (eu-gdpr.all) started on Sat 2026-01-31 in Europe/Berlin, when the controller received the request; that day is not counted.
1 calendar month after it is Sat 2026-02-28, the last day of a month that is shorter, under GDPR Art. 12(3)-(4); Regulation (EEC, Euratom) 1182/71 Art. 2-3; EDPB Guidelines 01/2022 v2.1 s.5.3; CJEU C-171/03 Toeters.
Sat 2026-02-28 is a Saturday and not a working day, so the date moves to Mon 2026-03-02, under GDPR Art. 12(3)-(4); Regulation (EEC, Euratom) 1182/71 Art. 2-3; EDPB Guidelines 01/2022 v2.1 s.5.3; CJEU C-171/03 Toeters.
5 business days before the date of EU-GDPR are left to the controller: that is Mon 2026-02-23.
The earlier of both binds: the statutory date, Mon 2026-02-23 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

#[test]
fn two_laws_and_an_unknown_receipt() {
    let mut facts = under(berlin(RequestType::Access, "2026-07-31T08:00:00Z"), &["UK-GDPR", "EU-GDPR"]);
    facts.data_subject_received_at = None;
    says(
        &RULES,
        &facts,
        "2026-08-01T00:00:00Z",
        "\
The contract clock (contract.access) started on Fri 2026-07-31 in Europe/Berlin, when the processor received the controller's instruction; that day is not counted.
30 calendar days after it is Sun 2026-08-30, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
That is a Sunday, but contract.access does not move the date.
Receipt must be acknowledged within 1 business day, by Mon 2026-08-03, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
UK-GDPR governs because the request names it.
The controller did not say when it received the person's request, so the statutory date is assumed from the receipt of the instruction; the true date may be earlier.
The statutory clock (uk-gdpr.access) started on Fri 2026-07-31 in Europe/London, when the controller had the request and what it needed to act on it; that day is not counted.
1 calendar month after it is Mon 2026-08-31, under UK GDPR Art. 12(3), 12A (in force 5 Feb 2026, SI 2026/82); ICO right of access guidance (Dec 2025).
Mon 2026-08-31 is a holiday (gb-eng) and not a working day, so the date moves to Tue 2026-09-01, under UK GDPR Art. 12(3), 12A (in force 5 Feb 2026, SI 2026/82); ICO right of access guidance (Dec 2025).
EU-GDPR governs because the request names it.
The controller did not say when it received the person's request, so the statutory date is assumed from the receipt of the instruction; the true date may be earlier.
The statutory clock (eu-gdpr.all) started on Fri 2026-07-31 in Europe/Berlin, when the controller received the request; that day is not counted.
1 calendar month after it is Mon 2026-08-31, under GDPR Art. 12(3)-(4); Regulation (EEC, Euratom) 1182/71 Art. 2-3; EDPB Guidelines 01/2022 v2.1 s.5.3; CJEU C-171/03 Toeters.
2 laws govern; the earliest date counts: that of EU-GDPR.
5 business days before the date of EU-GDPR are left to the controller: that is Mon 2026-08-24.
The earlier of both binds: the statutory date, Mon 2026-08-24 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

#[test]
fn a_law_that_does_not_roll_and_an_instruction_that_came_late() {
    let mut facts = in_place(deletion("2026-07-02T20:00:00Z"), "US", "America/Los_Angeles");
    facts.jurisdiction = Some("US-CA".to_owned());
    facts.instruction_received_at = at("2026-08-10T20:00:00Z");
    says(
        &RULES,
        &facts,
        "2026-08-11T00:00:00Z",
        "\
The contract clock (contract.deletion) started on Mon 2026-08-10 in America/Los_Angeles, when the processor received the controller's instruction; that day is not counted.
30 business days after it (working days without sat, sun and the holidays of the calendar us-federal) is Tue 2026-09-22, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
Receipt must be acknowledged within 1 business day, by Tue 2026-08-11, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
US-CA-CCPA governs because it is the law of US-CA, which the request names.
The statutory clock (us-ca-ccpa.requests) started on Thu 2026-07-02 in America/Los_Angeles, when the controller received the request; that day is not counted.
45 calendar days after it is Sun 2026-08-16, under Cal. Civ. Code 1798.130(a)(2), 1798.135; 11 CCR 7021, 7022, 7026(f), 7027(g), 7101, 7102.
That is a Sunday, but us-ca-ccpa.requests does not move the date, though Cal. Civ. Code s.10-11 (general computation) may allow it.
Receipt must be acknowledged within 10 business days, by Fri 2026-07-17, under Cal. Civ. Code 1798.130(a)(2), 1798.135; 11 CCR 7021, 7022, 7026(f), 7027(g), 7101, 7102.
5 business days before the date of US-CA-CCPA would be Mon 2026-08-10, not after the instruction of Mon 2026-08-10: the buffer is exhausted and the statutory date itself counts.
The earlier of both binds: the statutory date, Sun 2026-08-16 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

#[test]
fn own_terms_and_a_closed_day() {
    let rules = agreed(json!({
        "version": "1", "basis": "DPA, section 7", "calendar": "de-by", "closed": { "2026-12-24": "company closed" },
        "rule": [{
            "id": "acme.deletion", "request_types": ["deletion"], "clock_start": "instruction_received",
            "first_day": "excluded", "due": { "amount": 10, "unit": "calendar_days" },
            "pause": { "identity": "none", "clarification": "none", "fee": "none", "controller": "suspend" },
            "month_end": "clamp_last_day", "roll": "next_working_day", "confidence": "high",
        }],
    }));
    let facts = deletion("2026-12-14T08:00:00Z");
    says(
        &rules,
        &facts,
        "2026-12-14T08:00:00Z",
        "\
The contract clock (acme.deletion) started on Mon 2026-12-14 in Europe/Berlin, when the processor received the controller's instruction; that day is not counted.
10 calendar days after it is Thu 2026-12-24, under DPA, section 7.
Thu 2026-12-24 is a holiday (de-by) and not a working day, so the date moves to Mon 2026-12-28, under DPA, section 7.
EU-GDPR governs because the controller is established in DE and the request names no other law.
The statutory clock (eu-gdpr.all) started on Mon 2026-12-14 in Europe/Berlin, when the controller received the request; that day is not counted.
1 calendar month after it is Thu 2027-01-14, under GDPR Art. 12(3)-(4); Regulation (EEC, Euratom) 1182/71 Art. 2-3; EDPB Guidelines 01/2022 v2.1 s.5.3; CJEU C-171/03 Toeters.
5 business days before the date of EU-GDPR are left to the controller: that is Thu 2027-01-07.
The earlier of both binds: the contract date, Mon 2026-12-28 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

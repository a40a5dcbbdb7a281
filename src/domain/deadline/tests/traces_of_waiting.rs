//! Whole traces of requests that waited or were extended, word by word.

use super::traces::says;
use super::*;

#[test]
fn an_english_clock_that_waited_thrice_and_was_extended() {
    let mut facts = in_place(berlin(RequestType::Access, "2026-06-01T08:00:00Z"), "GB", "Europe/London");
    facts.pauses = vec![
        pause(PauseKind::Identity, "2026-06-02T08:00:00Z", Some("2026-06-10T08:00:00Z")),
        pause(PauseKind::Clarification, "2026-06-09T08:00:00Z", Some("2026-06-15T08:00:00Z")),
        pause(PauseKind::Fee, "2027-01-01T08:00:00Z", Some("2027-01-02T08:00:00Z")),
    ];
    facts.extension = Some(ExtensionNotice { granted_at: at("2026-07-15T08:00:00Z"), until: None });
    says(
        &RULES,
        &facts,
        "2028-08-11T00:00:00Z",
        "\
The contract clock (contract.access) started on Mon 2026-06-01 in Europe/London, when the processor received the controller's instruction; that day is not counted.
3 time(s) of waiting do not move this clock: contract.access runs on while that is awaited, or the date had passed when it began.
contract.access knows no extension: that of Wed 2026-07-15 does not move this clock.
30 calendar days after it is Wed 2026-07-01, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
Receipt must be acknowledged within 1 business day, by Tue 2026-06-02, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
UK-GDPR governs because the controller is established in GB and the request names no other law.
The statutory clock (uk-gdpr.access) started on Wed 2026-06-10 in Europe/London, when the last thing that it waited for came (the request itself on Mon 2026-06-01); that day is not counted.
The proof of identity asked for on Tue 2026-06-02 came on Wed 2026-06-10: the clock starts with it.
The clarification asked for on Tue 2026-06-09 came on Mon 2026-06-15: from the one day to the other, both included, no day counts.
1 time(s) of waiting do not move this clock: uk-gdpr.access runs on while that is awaited, or the date had passed when it began.
Extended by 2 calendar months, counted from the start of the clock: the person was told on Wed 2026-07-15, in time, under UK GDPR Art. 12(3), 12A (in force 5 Feb 2026, SI 2026/82); ICO right of access guidance (Dec 2025).
1 calendar month and 2 calendar months after it, with 5 days that are not counted, is Tue 2026-09-15, under UK GDPR Art. 12(3), 12A (in force 5 Feb 2026, SI 2026/82); ICO right of access guidance (Dec 2025).
5 business days before the date of UK-GDPR are left to the controller: that is Tue 2026-09-08.
The earlier of both binds: the contract date, Wed 2026-07-01 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

#[test]
fn a_controller_that_is_silent_and_an_extension_that_came_late() {
    let mut facts = deletion("2026-06-01T08:00:00Z");
    facts.pauses = vec![
        pause(PauseKind::Identity, "2026-06-03T08:00:00Z", None),
        pause(PauseKind::Controller, "2026-06-04T08:00:00Z", None),
    ];
    facts.extension = Some(ExtensionNotice { granted_at: at("2026-07-02T08:00:00Z"), until: None });
    says(
        &RULES,
        &facts,
        "2026-07-05T00:00:00Z",
        "\
The contract clock (contract.deletion) started on Mon 2026-06-01 in Europe/Berlin, when the processor received the controller's instruction; that day is not counted.
The controller's answer asked for on Thu 2026-06-04 has not come yet: no day after the asking counts, up to and including the answer's.
1 time(s) of waiting do not move this clock: contract.deletion runs on while that is awaited, or the date had passed when it began.
contract.deletion knows no extension: that of Thu 2026-07-02 does not move this clock.
30 business days after it (working days without sat, sun and the holidays of the calendar de), with 31 days that are not counted, is Tue 2026-08-11, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
Receipt must be acknowledged within 1 business day, by Tue 2026-06-02, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
EU-GDPR governs because the controller is established in DE and the request names no other law.
The statutory clock (eu-gdpr.all) started on Mon 2026-06-01 in Europe/Berlin, when the controller received the request; that day is not counted.
2 time(s) of waiting do not move this clock: the controller did not choose that waiting counts for this type of request.
The extension is void: the person was told on Thu 2026-07-02, and had to be told by Wed 2026-07-01 with a valid notice, under GDPR Art. 12(3)-(4); Regulation (EEC, Euratom) 1182/71 Art. 2-3; EDPB Guidelines 01/2022 v2.1 s.5.3; CJEU C-171/03 Toeters.
1 calendar month after it is Wed 2026-07-01, under GDPR Art. 12(3)-(4); Regulation (EEC, Euratom) 1182/71 Art. 2-3; EDPB Guidelines 01/2022 v2.1 s.5.3; CJEU C-171/03 Toeters.
5 business days before the date of EU-GDPR are left to the controller: that is Wed 2026-06-24.
The earlier of both binds: the statutory date, Wed 2026-06-24 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

#[test]
fn a_clock_that_has_not_started() {
    let mut facts = under(deletion("2026-06-01T08:00:00Z"), &["UK-GDPR"]);
    facts.pauses = vec![pause(PauseKind::Identity, "2026-06-03T08:00:00Z", None)];
    facts.extension = Some(ExtensionNotice { granted_at: at("2026-07-02T08:00:00Z"), until: None });
    says(
        &RULES,
        &facts,
        "2026-06-08T00:00:00Z",
        "\
The contract clock (contract.deletion) started on Mon 2026-06-01 in Europe/Berlin, when the processor received the controller's instruction; that day is not counted.
1 time(s) of waiting do not move this clock: contract.deletion runs on while that is awaited, or the date had passed when it began.
contract.deletion knows no extension: that of Thu 2026-07-02 does not move this clock.
30 business days after it (working days without sat, sun and the holidays of the calendar de) is Mon 2026-07-13, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
Receipt must be acknowledged within 1 business day, by Tue 2026-06-02, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
UK-GDPR governs because the request names it.
The statutory clock (uk-gdpr.other) has not started: what starts it is still awaited. If it came on Mon 2026-06-08 in Europe/London:
The proof of identity asked for on Wed 2026-06-03 has not come yet: the clock starts with it.
Extended by 2 calendar months, counted from the start of the clock: the person was told on Thu 2026-07-02, in time, under UK GDPR Art. 12(3), 12A (in force 5 Feb 2026, SI 2026/82); ICO right of access guidance (Dec 2025).
1 calendar month and 2 calendar months after it is Tue 2026-09-08, under UK GDPR Art. 12(3), 12A (in force 5 Feb 2026, SI 2026/82); ICO right of access guidance (Dec 2025).
5 business days before the date of UK-GDPR are left to the controller: that is Tue 2026-09-01.
The earlier of both binds: the contract date, Mon 2026-07-13 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

#[test]
fn a_notice_that_names_the_date_itself() {
    let mut facts = under(berlin(RequestType::Access, "2026-09-18T01:00:00Z"), &["KR-PIPA"]);
    facts.extension = Some(ExtensionNotice { granted_at: at("2026-09-20T08:00:00Z"), until: Some(on("2026-10-06")) });
    says(
        &RULES,
        &facts,
        "2026-09-21T08:00:00Z",
        "\
The contract clock (contract.access) started on Fri 2026-09-18 in Europe/Berlin, when the processor received the controller's instruction; that day is not counted.
contract.access knows no extension: that of Sun 2026-09-20 does not move this clock.
30 calendar days after it is Sun 2026-10-18, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
That is a Sunday, but contract.access does not move the date.
Receipt must be acknowledged within 1 business day, by Mon 2026-09-21, under Founding documents; GDPR Art. 28(3)(a),(e),(g).
KR-PIPA governs because the request names it.
The statutory clock (kr.all) started on Fri 2026-09-18 in Asia/Seoul, when the controller received the request; that day is not counted.
Extended to the date that the notice of Sun 2026-09-20 names, in time, under PIPA Arts. 35-37; Decree Arts. 41-44.
5 business days before the date of KR-PIPA are left to the controller: that is Mon 2026-09-28.
The earlier of both binds: the statutory date, Mon 2026-09-28 (GDPR Art. 28(3)(e): the processor helps the controller to be in time).
",
    );
}

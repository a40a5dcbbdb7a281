//! Facts about regulations, checked by hand.

use super::*;

const FILE: &str = include_str!("../../../config/regulations.toml");

fn table() -> RuleTable {
    RuleTable::parse(FILE).expect("the shipped table is well formed")
}

fn chosen(regulation: Option<&str>, jurisdiction: Option<&str>, country: Option<&str>) -> Option<String> {
    let table = table();
    let choice = table.choose(RequestType::Deletion, regulation, jurisdiction, country).expect("all are known");
    choice.map(|choice| choice.regulation.id.clone())
}

#[test]
fn the_shipped_table_is_read_whole() {
    let table = table();
    assert_eq!((table.version.as_str(), table.regulations.len()), ("2026-11-21.1", 52));
    assert_eq!(table.regulations.iter().map(|regulation| regulation.rules.len()).sum::<usize>(), 98);
    let (regulation, rule) = table.rule("eu-gdpr.all").expect("it is there");
    assert_eq!((regulation.id.as_str(), rule.due), ("EU-GDPR", Period { amount: 1, unit: Unit::CalendarMonths }));
    let by = Period { amount: 2, unit: Unit::CalendarMonths };
    assert_eq!(rule.extension, Some(Extension::Fixed { by, max_times: 1 }));
    assert_eq!(rule.pause.of(PauseKind::Identity), PauseMode::Suspend);
    let (_, swiss) = table.rule("ch-fadp.access").expect("it is there");
    assert_eq!(swiss.extension, Some(Extension::OpenEnded));
    assert_eq!(table.conventions.controller_buffer_business_days, 5);
}

#[test]
fn a_table_with_anything_unknown_in_it_is_refused() {
    let refused = |from: &str, to: &str| {
        assert!(FILE.contains(from), "{from}");
        RuleTable::parse(&FILE.replacen(from, to, 1)).expect_err(to)
    };
    let syntax = [
        ("schema_version = 1", "schema_version = 1\nsurprise = 1"),
        ("[sla]", "[sla]\nsurprise = 1"),
        ("first_day = \"excluded\"", "first_day = \"included\""),
        ("due = { amount = 1, unit", "due = { amount = 0, unit"),
        ("due = { amount = 1, unit", "due = { surprise = 1, amount = 1, unit"),
        ("roll = \"next_working_day\"", "roll = \"back\""),
        ("max_times = 1, ", ""),
        ("as_of = \"2026-11-21\"", "as_of = \"21 Nov\""),
    ];
    for (from, to) in syntax {
        assert!(matches!(refused(from, to), TableFault::Syntax(_)), "{to}");
    }
    assert!(matches!(refused("schema_version = 1", "schema_version = 2"), TableFault::Schema { found: 2 }));
    assert!(matches!(refused("id = \"UK-GDPR\"", "id = \"EU-GDPR\""), TableFault::Duplicate { .. }));
    assert!(matches!(refused("\"Europe/Brussels\"", "\"Europe/Nowhere\""), TableFault::Zone { .. }));
    assert!(matches!(refused("\"relevant_time\", ", ""), TableFault::Spellings { list: "clock_starts" }));
    let twice = refused("request_types = [\"access\"]", "request_types = [\"access\", \"deletion\"]");
    assert!(matches!(twice, TableFault::Ambiguous { .. }), "{twice}");
    assert!(matches!(refused("\"CONTRACT-DEFAULT\"", "\"OTHER\""), TableFault::NoContract { .. }));
}

#[test]
fn a_law_is_chosen_by_its_id_then_by_jurisdiction_then_by_the_controllers_country() {
    assert_eq!(chosen(Some("KR-PIPA"), Some("DE"), Some("GB")).as_deref(), Some("KR-PIPA"));
    assert_eq!(chosen(None, Some("DE"), Some("GB")).as_deref(), Some("EU-GDPR"));
    assert_eq!(chosen(None, None, Some("GB")).as_deref(), Some("UK-GDPR"));
    assert_eq!(chosen(None, None, None), None);
}

#[test]
fn a_jurisdiction_leads_to_the_law_that_lists_it() {
    for (place, law) in [
        ("EU", "EU-GDPR"),
        ("fr", "EU-GDPR"),
        ("NO", "EU-GDPR"),
        ("DE-BY", "EU-GDPR"),
        ("GB", "UK-GDPR"),
        ("US-CA", "US-CA-CCPA"),
        ("US-WA", "US-WA-MHMDA"),
        ("CA-QC", "CA-QC-LAW25"),
        ("CA-ON", "CA-PIPEDA"),
        ("ZA", "ZA-POPIA"),
    ] {
        assert_eq!(chosen(None, Some(place), None).as_deref(), Some(law), "{place}");
    }
    let table = table();
    let access = table.choose(RequestType::Access, None, Some("ZA"), None).expect("known").expect("found");
    assert_eq!(access.regulation.id, "ZA-PAIA");
}

#[test]
fn no_law_of_one_trade_is_concluded_from_a_country() {
    assert_eq!(chosen(None, None, Some("US")), None);
    let unknown = table().choose(RequestType::Deletion, None, Some("US-NY"), None).map(|_| ());
    assert!(matches!(unknown, Err(ChoiceError::UnknownJurisdiction { .. })));
}

#[test]
fn what_is_unknown_is_refused_with_what_is_known() {
    let table = table();
    let error = |regulation, jurisdiction| {
        table.choose(RequestType::Access, regulation, jurisdiction, Some("DE")).expect_err("unknown").to_string()
    };
    let regulation = error(Some("GDPR"), None);
    assert!(regulation.starts_with("unknown regulation GDPR; known are EU-GDPR, UK-GDPR, "), "{regulation}");
    assert!(!regulation.contains("CONTRACT"), "a contract is not a law: {regulation}");
    assert!(error(Some("CONTRACT-DEFAULT"), None).starts_with("unknown regulation"));
    let jurisdiction = error(None, Some("XX"));
    assert!(jurisdiction.contains("the jurisdiction XX; known are AR, AT, AU, "), "{jurisdiction}");
}

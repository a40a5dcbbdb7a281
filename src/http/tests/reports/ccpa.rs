//! The CCPA table equals a fixture that was counted by hand.

use super::super::{Edge, edge};
use super::{Rows, ms, reject, report, submitted};
use serde_json::{Value, json};

/// A request as the fixture has it: type, law, receipt, and end if it ended.
struct Case(&'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

const CCPA: &str = "US-CA-CCPA";

/// California is at UTC-8 in winter and UTC-7 in summer. What counts for 2025 has its days behind it.
const FIXTURE: [Case; 16] = [
    // Deletion. The first instant of 2025 in California; 1 to 11 January: 10 days.
    Case("deletion", CCPA, "2025-01-01T08:00:00Z", Some(("completed", "2025-01-11T08:00:00Z"))),
    // The last one of 2024: not in 2025.
    Case("deletion", CCPA, "2025-01-01T07:59:59.999Z", Some(("completed", "2025-01-11T08:00:00Z"))),
    // 1 March to 30 March, 23:59 in California although it is the 31st in UTC: 29 days.
    Case("deletion", CCPA, "2025-03-01T20:00:00Z", Some(("completed", "2025-03-31T06:59:00Z"))),
    // 1 June to 16 July: 45 days.
    Case("deletion", CCPA, "2025-06-01T12:00:00Z", Some(("partially_completed", "2025-07-16T12:00:00Z"))),
    // 1 to 5 August: 4 days.
    Case("deletion", CCPA, "2025-08-01T12:00:00Z", Some(("identity_unverified", "2025-08-05T12:00:00Z"))),
    // The same day: 0 days.
    Case("deletion", CCPA, "2025-09-01T12:00:00Z", Some(("identity_unverified", "2025-09-01T13:00:00Z"))),
    // Taken back: no response, no days.
    Case("deletion", CCPA, "2025-10-01T12:00:00Z", Some(("withdrawn", "2025-10-02T12:00:00Z"))),
    // The last second of 2025, still open.
    Case("deletion", CCPA, "2026-01-01T07:59:59Z", None),
    // The first instant of 2026: not in 2025.
    Case("deletion", CCPA, "2026-01-01T08:00:00Z", None),
    // Correction. 5 to 6 May: 1 day.
    Case("correction", CCPA, "2025-05-05T12:00:00Z", Some(("completed", "2025-05-06T12:00:00Z"))),
    // 5 to 7 May: 2 days.
    Case("correction", CCPA, "2025-05-05T12:00:00Z", Some(("disproportionate_effort", "2025-05-07T12:00:00Z"))),
    // Know. 1 to 21 February: 20 days.
    Case("access", CCPA, "2025-02-01T12:00:00Z", Some(("completed", "2025-02-21T12:00:00Z"))),
    // 1 February to 3 March: 30 days.
    Case("portability", CCPA, "2025-02-01T12:00:00Z", Some(("completed", "2025-03-03T12:00:00Z"))),
    // Under another law: not in the table.
    Case("access", "EU-GDPR", "2025-02-01T12:00:00Z", Some(("completed", "2025-02-02T12:00:00Z"))),
    // Of a type without a row.
    Case("objection", CCPA, "2025-02-01T12:00:00Z", None),
    // Received on 30 December 2025, handed to us on 10 January, answered on 1 February: 33 days. The test moves its receipt.
    Case("access", CCPA, "2026-01-10T12:00:00Z", Some(("completed", "2026-02-01T12:00:00Z"))),
];

async fn fixture(edge: &Edge) -> Rows {
    let rows = Rows::of(edge).await;
    for (i, Case(kind, law, received, end)) in FIXTURE.iter().enumerate() {
        let id = submitted(edge, kind, law).await;
        rows.set(&id, &format!("instruction_received_at = {}", ms(received))).await;
        match end {
            None => {}
            Some((stage @ ("completed" | "partially_completed" | "withdrawn"), at)) => {
                rows.set(&id, &format!("stage = '{stage}', status = '{stage}', closed_at = {}", ms(at))).await;
            }
            Some((reason, at)) => {
                reject(edge, &id, reason).await;
                rows.set(&id, &format!("closed_at = {}", ms(at))).await;
            }
        }
        if i == FIXTURE.len() - 1 {
            rows.set(&id, &format!("data_subject_received_at = {}", ms("2025-12-30T12:00:00Z"))).await;
        }
    }
    // Under two laws, of which the other one is due first; open.
    let both = submitted(edge, "access", "EU-GDPR").await;
    let clock = json!({ "regulations": ["EU-GDPR", CCPA] });
    rows.set(&both, &format!("clock = '{clock}', instruction_received_at = {}", ms("2025-07-01T12:00:00Z"))).await;
    rows
}

/// `[received, whole, part, denied, withdrawn, expired, open]`, median, mean, and over how many.
fn row(report: &Value, kind: &str) -> (Vec<u64>, Value, Value, Value) {
    let rows = report["controllers"][0]["requests"].as_array().unwrap();
    let row = rows.iter().find(|row| row["type"] == kind).expect(kind);
    let counts = ["received", "complied_in_whole", "complied_in_part", "denied", "withdrawn", "expired", "open"];
    let days = &row["days_to_respond"];
    let counts: Vec<u64> = counts.iter().map(|name| row[name].as_u64().unwrap()).collect();
    assert_eq!(counts[0], counts[1..].iter().sum::<u64>(), "received is the sum of the others: {row}");
    (counts, days["median"].clone(), days["mean"].clone(), days["requests"].clone())
}

#[tokio::test]
async fn the_metrics_of_a_year_equal_those_counted_by_hand() {
    let edge = edge().await;
    fixture(&edge).await;
    // The clock stands in November 2026, so 2025 is the year before this.
    let report = report(&edge, "/v1/reports/ccpa-7102").await;
    assert_eq!((&report["year"], &report["year_is_over"]), (&json!(2025), &json!(true)));
    assert_eq!(report["timezone"], "America/Los_Angeles");
    assert_eq!(report["controllers"].as_array().unwrap().len(), 1);
    assert_eq!(report["controllers"][0]["controller"], "acme");
    // Responded after 10, 29, 45, 4 and 0 days: in order 0 4 10 29 45, together 88, by 5 is 17.6.
    assert_eq!(row(&report, "delete"), (vec![7, 2, 1, 2, 1, 0, 1], json!(10.0), json!(17.6), json!(5)));
    // After 1 and 2 days.
    assert_eq!(row(&report, "correct"), (vec![2, 1, 0, 1, 0, 0, 0], json!(1.5), json!(1.5), json!(2)));
    // After 20, 30 and 33 days: together 83, by 3 is 27.67; one more under two laws is open.
    assert_eq!(row(&report, "know"), (vec![4, 3, 0, 0, 0, 0, 1], json!(30.0), json!(27.7), json!(3)));
    for kind in ["opt_out_of_sale_sharing", "limit"] {
        assert_eq!(row(&report, kind), (vec![0; 7], json!(null), json!(null), json!(0)), "{kind}");
    }
    let rows = report["controllers"][0]["requests"].as_array().unwrap();
    let types: Vec<&str> = rows.iter().map(|row| row["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["delete", "correct", "know", "opt_out_of_sale_sharing", "limit"], "in the regulation's order");
    assert_eq!(rows[0]["denials"], json!([{ "reason": "identity_unverified", "count": 2 }]));
    assert_eq!(rows[1]["denials"], json!([{ "reason": "disproportionate_effort", "count": 1 }]));
    assert!(rows[2]["note"].is_null() && rows[3]["note"].is_string() && rows[4]["note"].is_string());
    assert_eq!(report["controllers"][0]["not_in_table"], json!([{ "type": "objection", "received": 1 }]));
}

#[tokio::test]
async fn each_year_has_its_own_requests_and_this_one_is_not_over() {
    let edge = edge().await;
    fixture(&edge).await;
    let last = report(&edge, "/v1/reports/ccpa-7102?year=2024").await;
    assert_eq!(row(&last, "delete"), (vec![1, 1, 0, 0, 0, 0, 0], json!(11.0), json!(11.0), json!(1)));
    let this = report(&edge, "/v1/reports/ccpa-7102?year=2026").await;
    assert_eq!((row(&this, "delete").0, row(&this, "know").0), (vec![1, 0, 0, 0, 0, 0, 1], vec![0; 7]));
    assert_eq!(this["year_is_over"], false);
    for year in ["2019", "2027", "26", "x", ""] {
        assert_eq!(edge.get(&format!("/v1/reports/ccpa-7102?year={year}")).await.status, 422, "{year}");
    }
}

#[tokio::test]
async fn another_controller_has_a_table_of_its_own() {
    let edge = edge().await;
    fixture(&edge).await;
    let answer = edge.call(&edge.other.auditor, "GET", "/v1/reports/ccpa-7102", None).await.json();
    assert_eq!((&answer["controllers"][0]["controller"], row(&answer, "delete").0), (&json!("other"), vec![0; 7]));
}

#[tokio::test]
async fn the_tables_have_the_same_counts() {
    let edge = edge().await;
    fixture(&edge).await;
    let csv = edge.get("/v1/reports/ccpa-7102?format=csv").await;
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"redress-ccpa-7102-2025-metrics.csv\"");
    let lines: Vec<String> = csv.text().split_terminator("\r\n").map(str::to_owned).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[1], "acme,2025,delete,7,2,1,2,1,0,1,10.0,17.6,5,");
    assert!(lines[4].starts_with("acme,2025,opt_out_of_sale_sharing,0,0,0,0,0,0,0,,,0,"), "{}", lines[4]);
    let denials = edge.get("/v1/reports/ccpa-7102?format=csv&table=denials").await.text();
    assert!(denials.contains("\r\nacme,2025,delete,identity_unverified,2\r\n"), "{denials}");
    let others = edge.get("/v1/reports/ccpa-7102?format=csv&table=not_in_table&year=2025").await.text();
    assert_eq!(others, "controller,year,type,received\r\nacme,2025,objection,1\r\n");
}

//! The SLA report equals what was counted by hand, whether or not the watch has looked.

use super::super::{ALL, Edge, edge};
use super::{Rows, ms, reject, report, submitted};
use serde_json::{Value, json};

/// Gives a request its dates: when it was received, and when each band begins. The clock shows 20 November 2026, 11:00 in Berlin.
async fn dated(rows: &Rows, id: &str, received: &str, [at_risk, critical, overdue]: [&str; 3]) {
    let milestones = json!({ "milestones": { "at_risk_at": at_risk, "critical_at": critical, "overdue_at": overdue } });
    let (received, due) = (ms(received), ms(overdue));
    let what = format!(
        "instruction_received_at = {received}, due_before = {due}, deadlines = '{milestones}', statutory_due_before = NULL, stage = 'in_progress', status = 'in_progress', attention = NULL"
    );
    rows.set(id, &what).await;
}

/// Six open requests: what each is counted as stands beside it.
async fn open_fixture(edge: &Edge, rows: &Rows) {
    let far = ["2026-12-01T00:00:00Z", "2026-12-10T00:00:00Z", "2026-12-20T23:00:00Z"];
    // On track, received today (0 days).
    let id = submitted(edge, "access", "EU-GDPR").await;
    dated(rows, &id, "2026-11-19T23:00:00Z", far).await;
    // At risk since the 20th, 10 days old.
    let id = submitted(edge, "deletion", "EU-GDPR").await;
    dated(rows, &id, "2026-11-10T10:00:00Z", ["2026-11-19T23:00:00Z", "2026-11-25T23:00:00Z", "2026-11-30T23:00:00Z"])
        .await;
    // Critical, and today is its last day; 31 days old. It was extended, and the forecast says it will be late.
    let id = submitted(edge, "deletion", "US-CA-CCPA").await;
    dated(rows, &id, "2026-10-20T10:00:00Z", ["2026-11-12T23:00:00Z", "2026-11-18T23:00:00Z", "2026-11-20T23:00:00Z"])
        .await;
    rows.set(&id, "extended_at = 1, forecast_late = 1").await;
    // Overdue since its last day, the 19th, ended in Berlin; past the law's date too; needs a person; 100 days old.
    let id = submitted(edge, "access", "EU-GDPR").await;
    dated(rows, &id, "2026-08-12T10:00:00Z", ["2026-11-01T23:00:00Z", "2026-11-10T23:00:00Z", "2026-11-19T23:00:00Z"])
        .await;
    rows.set(&id, &format!("status = 'needs_attention', statutory_due_before = {}", ms("2026-11-20T10:00:00Z"))).await;
    // Paused for proof of identity before anything was near: on track, whatever the row says. 15 days old.
    let id = submitted(edge, "access", "EU-GDPR").await;
    let pause = json!({ "kind": "identity" });
    let paused = edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{id}/pause"), Some(&pause)).await;
    assert!(paused.json()["clock"].as_str().is_some_and(|clock| clock.starts_with("paused")), "{}", paused.text());
    dated(rows, &id, "2026-11-05T10:00:00Z", ["2026-11-15T23:00:00Z", "2026-11-18T23:00:00Z", "2026-11-20T23:00:00Z"])
        .await;
    rows.set(&id, "stage = 'in_progress', status = 'in_progress'").await;
    // Its clock has not started, because the controller is asked; 7 days old.
    let id = submitted(edge, "access", "EU-GDPR").await;
    dated(rows, &id, "2026-11-13T10:00:00Z", far).await;
    rows.set(
        &id,
        "clock_state = 'not_started', clock = NULL, stage = 'awaiting_controller', status = 'awaiting_controller'",
    )
    .await;
}

/// A request that ended: type and law; receipt, end and due date; how it ended; and the law's own date.
struct Ended(&'static str, &'static str, [&'static str; 3], &'static str, Option<&'static str>);

const CLOSED: [Ended; 7] = [
    // In time for both, after 5 days. Ended half an hour into November in Berlin, still October in UTC.
    Ended(
        "access",
        "EU-GDPR",
        ["2026-10-27T10:00:00Z", "2026-10-31T23:30:00Z", "2026-11-20T23:00:00Z"],
        "completed",
        Some("2026-11-27T23:00:00Z"),
    ),
    // Half an hour before November: not in the period.
    Ended(
        "access",
        "EU-GDPR",
        ["2026-10-27T10:00:00Z", "2026-10-31T22:30:00Z", "2026-11-20T23:00:00Z"],
        "completed",
        None,
    ),
    // Late, but within the law, after 30 days.
    Ended(
        "deletion",
        "EU-GDPR",
        ["2026-10-10T10:00:00Z", "2026-11-09T10:00:00Z", "2026-11-09T10:00:00Z"],
        "completed",
        Some("2026-11-09T10:00:01Z"),
    ),
    // Late, and late under the law, after 40 days.
    Ended(
        "deletion",
        "EU-GDPR",
        ["2026-10-01T10:00:00Z", "2026-11-10T10:00:00Z", "2026-11-01T23:00:00Z"],
        "unfounded",
        Some("2026-11-05T23:00:00Z"),
    ),
    // In time; no law sets a date; after 10 days.
    Ended(
        "access",
        "US-CA-CCPA",
        ["2026-11-02T10:00:00Z", "2026-11-12T10:00:00Z", "2026-12-01T23:00:00Z"],
        "partially_completed",
        None,
    ),
    // Taken back when it was late already.
    Ended(
        "access",
        "EU-GDPR",
        ["2026-10-01T10:00:00Z", "2026-11-12T10:00:00Z", "2026-11-01T23:00:00Z"],
        "withdrawn",
        None,
    ),
    // Taken back in time.
    Ended(
        "access",
        "EU-GDPR",
        ["2026-11-11T10:00:00Z", "2026-11-12T10:00:00Z", "2026-12-01T23:00:00Z"],
        "withdrawn",
        None,
    ),
];

async fn closed_fixture(edge: &Edge, rows: &Rows) {
    for Ended(kind, law, [received, ended, due], how, statutory) in CLOSED {
        let id = submitted(edge, kind, law).await;
        if how == "unfounded" {
            reject(edge, &id, how).await;
        } else {
            rows.set(&id, &format!("stage = '{how}', status = '{how}'")).await;
        }
        let statutory = statutory.map_or("NULL".to_owned(), |at| ms(at).to_string());
        let (received, ended, due) = (ms(received), ms(ended), ms(due));
        let what = format!(
            "instruction_received_at = {received}, closed_at = {ended}, due_before = {due}, statutory_due_before = {statutory}"
        );
        rows.set(&id, &what).await;
        if how == "partially_completed" {
            rows.set(&id, "extended_at = 5").await;
        }
    }
}

fn slice<'r>(report: &'r Value, list: &str, key: &str, value: &str) -> &'r Value {
    report[list].as_array().unwrap().iter().find(|slice| slice[key] == value).expect(value)
}

#[tokio::test]
async fn open_requests_are_counted_by_what_they_are_now() {
    let edge = edge().await;
    let rows = Rows::of(&edge).await;
    open_fixture(&edge, &rows).await;
    let sla = report(&edge, "/v1/reports/sla").await;
    let open = &sla["totals"]["open"];
    let counts = |names: &[&str]| names.iter().map(|name| open[name].as_u64().unwrap()).collect::<Vec<_>>();
    // The sweep has not run: every row still says on_track.
    assert_eq!(counts(&["total", "on_track", "at_risk", "critical", "overdue"]), [6, 3, 1, 1, 1]);
    assert_eq!(counts(&["due_today", "past_statutory", "needs_attention", "awaiting_controller"]), [1, 1, 1, 1]);
    assert_eq!(counts(&["clock_not_started", "extended", "forecast_late"]), [1, 1, 1]);
    assert_eq!(open["paused"]["total"], 1);
    assert_eq!((&open["paused"]["by_kind"]["identity"], &open["paused"]["by_kind"]["fee"]), (&json!(1), &json!(0)));
    let ages: Vec<(&str, u64)> = open["ageing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["days"].as_str().unwrap(), a["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        ages,
        [("0-7", 2), ("8-14", 1), ("15-21", 1), ("22-30", 0), ("31-45", 1), ("46-60", 0), ("61-90", 0), ("> 90", 1)]
    );
    assert_eq!(slice(&sla, "by_regulation", "regulation", "US-CA-CCPA")["open"]["critical"], 1);
    assert_eq!(slice(&sla, "by_type", "type", "deletion")["open"]["total"], 2);
    assert_eq!(sla["by_controller"].as_array().unwrap().len(), 1);
    assert_eq!(sla["by_controller"][0]["open"], *open, "one controller's own report");
    // A week later, without any sweep in between.
    edge.clock.advance(jiff::SignedDuration::from_hours(24 * 7));
    let later = report(&edge, "/v1/reports/sla").await;
    let bands =
        ["on_track", "at_risk", "critical", "overdue"].map(|name| later["totals"]["open"][name].as_u64().unwrap());
    assert_eq!(bands, [3, 0, 1, 2], "the paused one stays where it stopped");
}

#[tokio::test]
async fn closed_requests_are_counted_by_the_days_of_their_controller() {
    let edge = edge().await;
    let rows = Rows::of(&edge).await;
    closed_fixture(&edge, &rows).await;
    let sla = report(&edge, "/v1/reports/sla").await;
    assert_eq!(sla["period"], json!({ "from": "2026-11-01", "to": "2026-11-20" }));
    let closed = &sla["totals"]["closed"];
    let counts = ["total", "completed", "partially_completed", "rejected", "withdrawn", "expired", "answered"];
    assert_eq!(counts.map(|name| closed[name].as_u64().unwrap()), [6, 2, 1, 1, 2, 0, 4]);
    assert_eq!(closed["on_time"], json!({ "numerator": 2, "denominator": 4, "percent": 50.0 }));
    assert_eq!(closed["statutory_on_time"], json!({ "numerator": 2, "denominator": 3, "percent": 66.6 }));
    assert_eq!(closed["extended"], json!({ "numerator": 1, "denominator": 4, "percent": 25.0 }));
    assert_eq!(closed["late_without_answer"], 1);
    // 5, 10, 30 and 40 days: in the middle 20, together 85, by 4 is 21.25.
    assert_eq!(closed["days_to_answer"], json!({ "median": 20.0, "p95": 40, "mean": 21.3, "requests": 4 }));
    let deletions = &slice(&sla, "by_type", "type", "deletion")["closed"];
    assert_eq!(deletions["on_time"], json!({ "numerator": 0, "denominator": 2, "percent": 0.0 }));
    let october = report(&edge, "/v1/reports/sla?from=2026-10-01&to=2026-10-31").await;
    assert_eq!(october["totals"]["closed"]["total"], 1);
    let day = report(&edge, "/v1/reports/sla?to=2026-11-01").await;
    assert_eq!((&day["period"]["from"], &day["totals"]["closed"]["total"]), (&json!("2026-11-01"), &json!(1)));
    let nothing = report(&edge, "/v1/reports/sla?from=2020-01-01&to=2020-01-31").await;
    assert_eq!(nothing["totals"]["closed"]["on_time"], json!({ "numerator": 0, "denominator": 0, "percent": null }));
    assert_eq!(nothing["totals"]["closed"]["days_to_answer"]["median"], Value::Null);
    let ahead = report(&edge, "/v1/reports/sla?from=2027-01-01").await;
    assert_eq!(ahead["period"], json!({ "from": "2027-01-01", "to": "2027-01-01" }));
}

#[tokio::test]
async fn systems_show_what_waits_in_them_and_what_they_did() {
    let edge = edge().await;
    let rows = Rows::of(&edge).await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    edge.connect(&edge.acme, "mail", ALL, &[]).await;
    let open = submitted(&edge, "access", "EU-GDPR").await;
    let done = submitted(&edge, "access", "EU-GDPR").await;
    edge.store.advance_due(10).await.unwrap();
    let (begun, ended) = (ms("2026-11-18T10:00:00Z"), ms("2026-11-19T10:00:00Z"));
    rows.set(&done, &format!("stage = 'completed', closed_at = {ended}")).await;
    for (system, seconds) in [("crm", 4), ("mail", 90)] {
        rows.sql(&format!("UPDATE steps SET state = 'done', q = NULL, created_at = {begun}, acted_at = {begun} + {seconds} * 1000 WHERE dsr_id = '{done}' AND system_id = (SELECT id FROM systems WHERE name = '{system}')")).await;
    }
    rows.sql(&format!("UPDATE steps SET failures = 2, attention = 1, silent_since = {begun} WHERE dsr_id = '{open}' AND system_id = (SELECT id FROM systems WHERE name = 'mail')")).await;
    rows.sql(&format!("INSERT INTO paces (system_id, hour, done, failed, busy_ms, busy_until) SELECT id, {begun} / 3600000, 3, 1, 0, 0 FROM systems WHERE name = 'mail'")).await;
    let sla = report(&edge, "/v1/reports/sla").await;
    let (crm, mail) = (slice(&sla, "by_system", "system", "crm"), slice(&sla, "by_system", "system", "mail"));
    assert_eq!(
        (&crm["open"]["requests"], &crm["open"]["on_track"], &crm["open"]["stuck"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(crm["closed"]["step_duration_seconds"], json!({ "median": 4.0, "p95": 4.0, "steps": 1 }));
    assert_eq!(crm["error_rate"]["percent"], Value::Null, "nothing was tried there in this time");
    assert_eq!(mail["closed"]["step_duration_seconds"], json!({ "median": 90.0, "p95": 90.0, "steps": 1 }));
    assert_eq!(mail["closed"]["on_time"], json!({ "numerator": 1, "denominator": 1, "percent": 100.0 }));
    assert_eq!(mail["error_rate"], json!({ "numerator": 1, "denominator": 4, "percent": 25.0 }));
    let oldest = &mail["open"]["oldest_stuck"];
    assert_eq!((&oldest["request"], &oldest["since"]), (&json!(open), &json!("2026-11-18T10:00:00Z")));
    let csv = edge.get("/v1/reports/sla?format=csv&table=systems").await.text();
    assert!(csv.contains(&format!(",{open},2026-11-18T10:00:00Z,1,1,100.0,1,90.0,90.0,4,1,25.0\r\n")), "{csv}");
}

#[tokio::test]
async fn the_table_has_a_row_for_the_total_and_each_slice() {
    let edge = edge().await;
    let rows = Rows::of(&edge).await;
    open_fixture(&edge, &rows).await;
    closed_fixture(&edge, &rows).await;
    let csv = edge.get("/v1/reports/sla?format=csv&from=2026-11-01&to=2026-11-30").await;
    assert_eq!(
        csv.header("content-disposition"),
        "attachment; filename=\"redress-sla-2026-11-01-2026-11-30-figures.csv\""
    );
    let text = csv.text();
    let lines: Vec<Vec<&str>> = text.split_terminator("\r\n").map(|line| line.split(',').collect()).collect();
    let slices: Vec<(&str, &str)> = lines[1..].iter().map(|row| (row[2], row[3])).collect();
    assert_eq!(
        slices,
        [
            ("total", ""),
            ("controller", "acme"),
            ("regulation", "EU-GDPR"),
            ("regulation", "US-CA-CCPA"),
            ("type", "access"),
            ("type", "deletion")
        ]
    );
    let cell = |row: usize, column: &str| lines[row][lines[0].iter().position(|name| *name == column).expect(column)];
    let total = [
        "open",
        "overdue",
        "paused_identity",
        "age_over_90",
        "closed",
        "answered",
        "on_time",
        "on_time_percent",
        "days_median",
    ];
    assert_eq!(total.map(|column| cell(1, column)), ["6", "1", "1", "1", "6", "4", "2", "50.0", "20.0"]);
    assert_eq!((cell(6, "open"), cell(6, "on_time_percent")), ("2", "0.0"));
}

#[tokio::test]
async fn a_request_from_before_bands_were_kept_has_the_band_that_was_seen_last_until_it_is_overdue() {
    let edge = edge().await;
    let rows = Rows::of(&edge).await;
    let id = submitted(&edge, "access", "EU-GDPR").await;
    let due = ms("2026-11-20T23:00:00Z");
    rows.set(&id, &format!("deadlines = '{{}}', clock = NULL, band = 'critical', due_before = {due}")).await;
    assert_eq!(report(&edge, "/v1/reports/sla").await["totals"]["open"]["critical"], 1);
    edge.clock.advance(jiff::SignedDuration::from_hours(13));
    assert_eq!(report(&edge, "/v1/reports/sla").await["totals"]["open"]["overdue"], 1);
}

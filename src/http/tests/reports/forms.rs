//! A report comes in the form that is asked for, and what is asked wrongly is named.

use super::super::edge;
use super::get_as;

const PATHS: [&str; 3] = ["/v1/reports/sla", "/v1/reports/ccpa-7102", "/v1/reports/processing-record"];

#[tokio::test]
async fn the_form_is_that_of_the_query_else_of_the_header_else_json() {
    let edge = edge().await;
    let csv = "text/csv; charset=utf-8; header=present";
    for path in PATHS {
        for (accept, query, kind) in [
            ("*/*", "", "application/json"),
            ("text/csv", "", csv),
            ("Text/CSV", "", csv),
            ("text/html, text/csv;q=0.9, */*;q=0.8", "", csv),
            ("text/*", "", csv),
            ("application/json, text/csv", "", "application/json"),
            ("application/json;q=0.5, text/csv", "", csv),
            ("text/csv;q=0.5, application/json;q=0.9", "", "application/json"),
            ("text/csv;q=0", "", "application/json"),
            ("text/html", "", "application/json"),
            ("text/csv", "?format=json", "application/json"),
            ("application/json", "?format=csv", csv),
        ] {
            let answer = get_as(&edge, accept, &format!("{path}{query}")).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{path}{query} {accept}");
            assert_eq!(answer.header("vary"), "Accept");
            assert_eq!(
                answer.header("content-disposition").starts_with("attachment; filename=\"redress-"),
                kind == csv
            );
        }
    }
}

#[tokio::test]
async fn every_table_has_a_header_and_rows_of_its_width() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", super::super::ALL, &[]).await;
    for (path, tables) in [
        (PATHS[0], &["figures", "systems"][..]),
        (PATHS[1], &["metrics", "denials", "not_in_table"]),
        (PATHS[2], &["processing", "controllers", "processor", "measures"]),
    ] {
        let first = edge.get(&format!("{path}?format=csv")).await.text();
        for (i, table) in tables.iter().enumerate() {
            let text = edge.get(&format!("{path}?format=csv&table={table}")).await.text();
            assert_eq!(text == first, i == 0, "{table}");
            let width = |line: &str| {
                let outside: String = line.split('"').step_by(2).collect();
                outside.matches(',').count()
            };
            let lines: Vec<&str> = text.split_terminator("\r\n").collect();
            assert!(lines.iter().all(|line| width(line) == width(lines[0])), "{text}");
        }
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_named_all_at_once() {
    let edge = edge().await;
    for (query, wanted) in [
        (
            "sla?from=2026-13-01&to=yesterday&format=xml&table=figures&year=2025",
            &["format", "from", "table", "to", "year"][..],
        ),
        ("sla?from=2026-11-02&to=2026-11-01", &["to"]),
        ("sla?from=2026-11-1", &["from"]),
        ("sla?from=1999-12-31", &["from"]),
        ("sla?from=20261101", &["from"]),
        ("sla?from=2026-02-30", &["from"]),
        ("sla?table=systems", &["table"]),
        ("sla?format=csv&table=metrics", &["table"]),
        ("sla?controller=other", &["controller"]),
        ("ccpa-7102?from=2025-01-01", &["from"]),
        ("processing-record?year=2025", &["year"]),
    ] {
        let answer = edge.get(&format!("/v1/reports/{query}")).await;
        assert_eq!(answer.status, 422, "{query}");
        let problem = answer.problem();
        let mut named: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["parameter"].as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!(named, wanted, "{query}");
    }
}

#[tokio::test]
async fn every_role_may_read_a_report_and_reading_leaves_the_audit_log_as_it_is() {
    let edge = edge().await;
    let log = edge.get("/v1/audit").await.text();
    for path in PATHS {
        for key in [&edge.acme.admin, &edge.acme.user, &edge.acme.auditor] {
            assert_eq!(edge.call(key, "GET", path, None).await.status, 200, "{path}");
        }
    }
    assert_eq!(edge.get("/v1/audit").await.text(), log, "as other lists of states do");
}

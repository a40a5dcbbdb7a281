//! Reports as the operator asks for them: of one controller or of all, for people and for programs.

use crate::support::{Kind, Person, Systems, TestApp};
use serde_json::{Value, json};

/// What each controller's open and closed requests come to.
fn by_controller(report: &Value) -> Vec<(&str, u64, u64)> {
    let slices = report["by_controller"].as_array().expect("a list");
    let number = |value: &Value| value.as_u64().expect("a number");
    slices
        .iter()
        .map(|s| {
            (s["controller"].as_str().expect("a name"), number(&s["open"]["total"]), number(&s["closed"]["total"]))
        })
        .collect()
}

#[tokio::test]
async fn an_operator_reads_the_reports_of_one_controller_and_of_all() {
    let (app, systems) = tokio::join!(TestApp::builder().quick_leases().start(), Systems::of(&[Kind::Sqlite]));
    app.cli(&["report", "sla"]).await.refused(1);
    let ann = Person::new("ann");
    systems.fill(std::slice::from_ref(&ann)).await;
    let acme = app.controller(&systems.toml("acme")).await;
    acme.fulfilled(&ann.access()).await;
    // The only controller need not be named.
    let report = app.cli(&["report", "sla", "--json"]).await.json();
    assert_eq!(by_controller(&report), [("acme", 0, 1)]);
    assert_eq!(report["totals"]["closed"]["on_time"], json!({ "numerator": 1, "denominator": 1, "percent": 100.0 }));
    assert_eq!(report["by_system"][0]["closed"]["step_duration_seconds"]["steps"], 1);
    let mine = acme.read("/v1/reports/sla").await.expect(200);
    assert_eq!(mine["totals"], report["totals"], "the controller sees the same figures");

    app.cli(&["controller", "create", "rival", "--country", "US", "--timezone", "America/Los_Angeles"]).await.ok();
    assert!(app.cli(&["report", "sla"]).await.refused(1).contains("--all"));
    assert!(app.cli(&["report", "sla", "--controller", "nobody"]).await.refused(1).contains("nobody"));
    let all = app.cli(&["report", "sla", "--all", "--json"]).await.json();
    assert_eq!(by_controller(&all), [("acme", 0, 1), ("rival", 0, 0)]);
    assert_eq!(all["totals"]["closed"]["total"], 1);
    let one = app.cli(&["report", "sla", "--controller", "rival", "--csv"]).await;
    assert!(
        one.ok().starts_with("from,to,slice,name,open,") && one.stdout.contains(",controller,rival,0,"),
        "{one:#?}"
    );
    let text = app.cli(&["report", "sla", "--all"]).await;
    assert!(text.ok().contains("days_median") && text.stdout.contains("sqlite"), "{text:#?}");

    let ccpa = app.cli(&["report", "ccpa-7102", "--all", "--year", "2024", "--csv"]).await;
    assert_eq!(ccpa.ok().lines().count(), 1 + 2 * 5, "{ccpa:#?}");
    let name =
        app.cli_with(&[("REDRESS_PROCESSOR__NAME", "Example GmbH")], &["report", "processing-record", "--all"]).await;
    for words in ["Example GmbH", "not given", "acme", "rival", "sqlite", "AES-256-GCM"] {
        assert!(name.ok().contains(words), "{words} is not in {name:#?}");
    }
}

#[tokio::test]
async fn a_report_that_is_asked_for_wrongly_is_refused_with_what_would_be_right() {
    let app = TestApp::builder().installed().await;
    app.cli(&["controller", "create", "acme", "--country", "DE", "--timezone", "Europe/Berlin"]).await.ok();
    for (arguments, code, words) in [
        (&["report", "sla", "--from", "2026-02-30"][..], 2, "2026-11-30"),
        (&["report", "sla", "--from", "2026-02-02", "--to", "2026-02-01"], 1, "before"),
        (&["report", "sla", "--csv", "--table", "metrics"], 1, "figures, systems"),
        (&["report", "sla", "--table", "figures"], 2, "--csv"),
        (&["report", "sla", "--csv", "--json"], 2, "--json"),
        (&["report", "sla", "--all", "--controller", "acme"], 2, "--all"),
        (&["report", "sla", "--year", "2025"], 2, "--year"),
        (&["report", "ccpa-7102", "--year", "2019"], 1, "2020"),
        (&["report", "everything"], 2, "everything"),
    ] {
        let ran = app.cli(arguments).await;
        assert!(ran.refused(code).contains(words), "{words} is not in {ran:#?}");
    }
}

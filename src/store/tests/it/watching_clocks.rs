//! The watch over clocks that wait: while a date moves from day to day nobody is told of it, and afterwards of the new one, once.

use crate::lab::{Lab, Wish};
use crate::lookout::{at, sweep};
use redress_domain::deadline::{Change, compute};
use redress_domain::regulation::PauseKind;
use redress_domain::{Clock as _, ControllerId, DsrId};
use redress_store::{ClockChange, ClockNow, Error};
use serde_json::json;

on_both!(
    a_date_that_a_pause_moves_is_not_told_until_it_stands,
    a_date_that_no_pause_moves_is_told_in_spite_of_one,
    an_extended_request_is_told_again_for_its_new_date,
);

const DAY: i64 = 86_400_000;

impl Lab {
    async fn clock_changes(&self, controller: &ControllerId, id: &DsrId, change: Change) {
        let now = self.clock.now();
        self.store
            .change_clock::<Error>(controller, id, "key", None, |before: &ClockNow| {
                let facts = before.clock.facts.after(change, now).expect("it can be done");
                let deadlines = compute(&before.rules, &facts, now).expect("dates");
                let event = ("clock_changed", json!({}));
                Ok(ClockChange { facts, deadlines, event, note: None, stage_event: None, books: None })
            })
            .await
            .expect("changed");
    }

    async fn due(&self, id: &DsrId) -> i64 {
        self.query(&format!("SELECT CAST(due_before AS TEXT) FROM dsrs WHERE id = '{id}'")).await[0]
            .parse()
            .expect("set")
    }

    async fn band(&self, id: &DsrId) -> String {
        self.query(&format!("SELECT band FROM dsrs WHERE id = '{id}'")).await.remove(0)
    }
}

/// Saturday, 21 November 2026: the law's month ends on 21 December, which less five business days binds.
async fn an_access(lab: &Lab) -> (ControllerId, DsrId) {
    let controller = lab.with_systems(&["crm"]).await;
    lab.system(&controller, "crm").await;
    let id = lab.submit(&controller, Wish::access().due(lab.now() + 20 * DAY)).await;
    (controller, id)
}

async fn a_date_that_a_pause_moves_is_not_told_until_it_stands(lab: Lab) {
    let (controller, id) = an_access(&lab).await;
    lab.travel(2 * DAY);
    let asked = Change::Pause { kind: PauseKind::Clarification, from: lab.clock.now() };
    lab.clock_changes(&controller, &id, asked).await;
    let mut due = lab.due(&id).await;
    let mut moved = 0;
    for _ in 0..5 {
        lab.travel(DAY);
        assert_eq!(sweep(&lab).await.looked, 1, "its dates are those of today");
        let today = lab.due(&id).await;
        moved += i64::from(today > due);
        due = today;
        assert_eq!((lab.noticed(&id).await.len(), lab.band(&id).await.as_str()), (0, "on_track"));
    }
    assert!(moved >= 3, "{moved}");
    let stored = lab.query(&format!("SELECT deadlines FROM dsrs WHERE id = '{id}'")).await;
    let shown: serde_json::Value = serde_json::from_str(&stored[0]).expect("JSON");
    assert_eq!(shown["effective"]["due_before"], at(due).to_string());
    assert_eq!(lab.count(&format!("steps WHERE dsr_id = '{id}' AND due_at = {due}")).await, 1, "the queue goes by it");
    lab.clock_changes(&controller, &id, Change::Resume { kind: None, to: lab.clock.now() }).await;
    sweep(&lab).await;
    let due = lab.due(&id).await;
    lab.travel(due - lab.now());
    sweep(&lab).await;
    assert_eq!(lab.noticed(&id).await.last().map(String::as_str), Some("overdue"));
    assert_eq!(lab.count(&format!("notices WHERE kind = 'overdue' AND due_at = {due}")).await, 1);
}

async fn a_date_that_no_pause_moves_is_told_in_spite_of_one(lab: Lab) {
    let (controller, id) = an_access(&lab).await;
    let asked = Change::Pause { kind: PauseKind::Clarification, from: lab.clock.now() };
    lab.clock_changes(&controller, &id, asked).await;
    // The contract's thirty days run on; once the law's date lies behind them, they bind.
    let mut told = Vec::new();
    for day in 0..40 {
        sweep(&lab).await;
        let kinds = lab.noticed(&id).await;
        if kinds.len() > told.len() {
            told = kinds;
        }
        if day == 8 {
            assert!(told.is_empty(), "{told:?}");
        }
        lab.travel(DAY);
    }
    assert_eq!(lab.band(&id).await, "overdue");
    let levels: Vec<&String> = told.iter().filter(|kind| !kind.contains("decision")).collect();
    assert_eq!(levels, ["at_risk", "critical", "overdue"]);
}

async fn an_extended_request_is_told_again_for_its_new_date(lab: Lab) {
    let (controller, id) = an_access(&lab).await;
    let first = lab.due(&id).await;
    lab.travel(first - lab.now() - 3_600_000);
    sweep(&lab).await;
    let critical = lab.noticed(&id).await;
    assert!(critical.contains(&"critical".to_owned()), "{critical:?}");
    let deadlines = json!({
        "effective": { "due_on": "2027-03-01" },
        "milestones": { "at_risk_at": at(first + 40 * DAY), "critical_at": at(first + 55 * DAY), "overdue_at": at(first + 60 * DAY) },
    });
    lab.sql(&format!(
        "UPDATE dsrs SET deadlines = '{deadlines}', due_before = {}, watch_at = {} WHERE id = '{id}'",
        first + 60 * DAY,
        lab.now()
    ))
    .await
    .expect("extended");
    sweep(&lab).await;
    assert_eq!((lab.noticed(&id).await.len(), lab.band(&id).await.as_str()), (critical.len(), "on_track"));
    for days in [41, 15, 5] {
        lab.travel(days * DAY);
        for _ in 0..2 {
            sweep(&lab).await;
        }
    }
    let again = &lab.noticed(&id).await[critical.len()..];
    assert_eq!(again, ["at_risk", "critical", "overdue"]);
    lab.detail(&controller, &id).await;
}

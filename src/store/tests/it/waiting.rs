//! While a request waits for its controller nothing begins, and nothing of what ran at that moment is forgotten.

use crate::lab::{Lab, Wish, acted, attention, done, later, residue};
use redress_domain::deadline::{Change, compute};
use redress_domain::regulation::PauseKind;
use redress_domain::stage::Event;
use redress_domain::step::StepState;
use redress_domain::{Clock as _, ControllerId, DsrId};
use redress_store::{ClockChange, ClockNow, Dialect, Error, StepResult};
use serde_json::json;
use sqlx::Connection as _;

on_both!(what_came_of_a_running_step_goes_on_after_the_pause, a_pause_is_told_though_a_need_for_attention_hides_it,);

impl Lab {
    async fn waits(&self, controller: &ControllerId, id: &DsrId, waits: bool) {
        let now = self.clock.now();
        let (change, event) = if waits {
            (Change::Pause { kind: PauseKind::Clarification, from: now }, Event::ControllerAsked)
        } else {
            (Change::Resume { kind: None, to: now }, Event::ControllerAnswered)
        };
        let change = |before: &ClockNow| {
            let facts = before.clock.facts.after(change, now).expect("it can be done");
            let deadlines = compute(&before.rules, &facts, now).expect("dates");
            let event = (("clock_changed", json!({})), Some(event));
            Ok::<_, Error>(ClockChange {
                facts,
                deadlines,
                event: event.0,
                note: None,
                stage_event: event.1,
                books: None,
            })
        };
        self.store.change_clock(controller, id, "key", None, change).await.expect("changed");
    }
}

async fn what_came_of_a_running_step_goes_on_after_the_pause(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let at = lab.now() + 60_000;
    let came = [
        StepResult::External { receipt: "order".into(), check_at: at, completes_by: None },
        later(at, true, false),
        later(at, false, true),
        done(Some(at)),
        done(Some(lab.now())),
        residue(),
        attention(),
        acted(StepState::NothingFound, 0),
    ];
    for result in came {
        let id = lab.begun(&ctl, Wish::deletion()).await;
        let lease = lab.claim_step().await;
        lab.waits(&ctl, &id, true).await;
        assert_eq!(lab.finish(&lease, result.clone()).await, 0, "recorded");
        let due = lab.count(&format!("steps WHERE dsr_id = '{id}' AND q IN ('ready', 'wait')")).await;
        assert_eq!(due, 0, "{result:?}: parked while the controller is waited for");
        lab.waits(&ctl, &id, false).await;
        lab.advance().await;
        let moves =
            format!("steps WHERE dsr_id = '{id}' AND verb <> 'notify' AND (q IN ('ready', 'wait') OR attention = 1)");
        assert_eq!(lab.count(&moves).await, 1, "{result:?}: goes on");
        lab.sql(&format!("UPDATE steps SET q = NULL WHERE dsr_id = '{id}'")).await.expect("out of the way");
    }
}

async fn a_pause_is_told_though_a_need_for_attention_hides_it(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    lab.finish(&lab.claim_step().await, attention()).await;
    lab.waits(&ctl, &id, true).await;
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention");
    let told = format!("steps WHERE dsr_id = '{id}' AND verb = 'notify' AND payload LIKE '%awaiting_controller%'");
    assert_eq!(lab.count(&told).await, 1);
}

/// SQLite has one writer, so there is nothing between the look at the stage and the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_would_begin_while_a_withdrawal_is_committed_does_not_begin() {
    let lab = Lab::new(Dialect::Postgres).await;
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    let mut person = sqlx::PgConnection::connect(&lab.url).await.expect("the database is there");
    let mut withdrawal = person.begin().await.expect("begun");
    sqlx::raw_sql("UPDATE dsrs SET stage = 'withdrawn'").execute(&mut *withdrawal).await.expect("written");
    let store = lab.store.clone();
    let intent = tokio::spawn(async move { store.intend(&lease, &key, "what it will change").await });
    let waits = "SELECT CAST(COUNT(*) AS TEXT) FROM pg_locks WHERE NOT granted";
    while !intent.is_finished() && lab.query(waits).await[0] == "0" {
        tokio::task::yield_now().await;
    }
    withdrawal.commit().await.expect("committed");
    let intent = intent.await.expect("it ran");
    assert!(matches!(intent, Err(Error::LeaseLost)), "{intent:?}");
}

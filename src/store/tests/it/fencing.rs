//! Whoever lost a lease can write nothing more, and what is written twice is written once.

use crate::lab::{Lab, Wish, attention, done, later, residue, verified};
use redress_domain::{Clock as _, DsrId};
use redress_store::{ArtifactMeta, Decision, Error, Lease, NewPackage, StepResult, WorkKind};
use serde_json::json;

on_both!(
    an_executor_that_lost_its_lease_writes_nothing_more,
    an_answer_whose_lease_was_lost_is_not_recorded,
    every_outcome_recorded_twice_is_recorded_once,
    only_the_artifacts_of_the_run_that_counts_are_packed,
    a_withdrawn_request_keeps_the_fact_but_nothing_follows,
    nothing_more_is_done_or_kept_for_a_withdrawn_request,
    a_worker_that_died_over_a_withdrawn_request_is_not_replaced,
);

const META: fn() -> ArtifactMeta = || ArtifactMeta::Records { collection: "customers".into() };

/// Everything of a request that can be seen to differ.
async fn everything(lab: &Lab, id: &DsrId) -> Vec<String> {
    let (pg, columns) = match lab.store.dialect() {
        redress_store::Dialect::Postgres => (true, None),
        redress_store::Dialect::Sqlite => (false, Some(())),
    };
    let mut all = Vec::new();
    for (table, key) in [("dsrs", "id"), ("steps", "dsr_id"), ("events", "dsr_id"), ("artifacts", "dsr_id")] {
        if pg {
            let sql = format!("SELECT t::text FROM {table} t WHERE {key} = '{id}' ORDER BY 1");
            all.extend(lab.query(&sql).await);
        }
        if columns.is_some() {
            let names = lab.query(&format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let row = names.iter().map(|n| format!("quote({n})")).collect::<Vec<_>>().join(" || '|' || ");
            all.extend(lab.query(&format!("SELECT {row} AS row FROM {table} WHERE {key} = '{id}' ORDER BY 1")).await);
        }
    }
    all
}

async fn an_executor_that_lost_its_lease_writes_nothing_more(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    let lost = lab.claim_and_die().await;
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    lab.store.expire_leases().await.expect("taken back");
    for taken in [false, true] {
        if taken {
            lab.claim_step().await;
        }
        let before = everything(&lab, &id).await;
        assert!(matches!(lab.store.intend(&lost, &key, "x").await, Err(Error::LeaseLost)));
        assert!(matches!(lab.store.put_artifact(&lost, &key, 0, &META(), b"{}").await, Err(Error::LeaseLost)));
        assert!(matches!(lab.store.put_package_chunk(&lost, &key, 0, b"PK").await, Err(Error::LeaseLost)));
        assert!(matches!(lab.store.answered(&lost, &json!({}), None).await, Err(Error::LeaseLost)));
        for result in [done(None), verified(), residue(), attention(), later(0, true, true)] {
            assert_eq!(lab.finish(&lost, result).await, 1, "dropped");
        }
        lab.store.release(std::slice::from_ref(&lost)).await.expect("nothing to release");
        assert_eq!(everything(&lab, &id).await, before);
    }
}

async fn an_answer_whose_lease_was_lost_is_not_recorded(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    lab.obey(&lab.claim_step().await).await;
    let lost = lab.claim_and_die().await;
    assert_eq!(lost.kind, WorkKind::Answer);
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    lab.store.put_package_chunk(&lost, &key, 0, b"half a package").await.expect("kept while the lease holds");
    lab.store.expire_leases().await.expect("taken back");
    let package = NewPackage { bytes: 1, chunks: 1, sha256: "00".into(), records: 0, expires_at: 0 };
    assert!(matches!(lab.store.answered(&lost, &json!({}), Some(&package)).await, Err(Error::LeaseLost)));
    assert!(matches!(lab.store.certificate(&ctl, &id).await, Err(Error::NotFound)));
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_eq!(lab.count("package_chunks").await, 2, "what the first maker left is gone");
    let package = lab.store.package(&ctl, &id).await.expect("read").expect("there");
    let chunk = lab.store.package_chunk(&ctl, &id, &key, &package, 0).await.expect("there");
    assert_eq!(chunk.expose(), b"canary-package ");
}

async fn every_outcome_recorded_twice_is_recorded_once(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let now = lab.clock.now_ms();
    let results: [fn(i64) -> StepResult; 7] = [
        |now| done(Some(now)),
        |_| residue(),
        |_| verified(),
        |now| later(now + 1, true, true),
        |_| attention(),
        |now| StepResult::External { receipt: "canary-receipt".into(), check_at: now + 9_000, completes_by: None },
        |_| StepResult::Dismissed { achieved: true, code: "200".into() },
    ];
    for result in results {
        let id = lab.begun(&ctl, Wish::deletion().told()).await;
        let mut lease = lab.claim_step().await;
        if matches!(result(now), StepResult::Residue { .. } | StepResult::Verified { .. }) {
            lab.finish(&lease, done(Some(now))).await;
            lease = lab.claim_step().await;
        }
        if matches!(result(now), StepResult::Dismissed { .. }) {
            lab.obey(&lease).await;
            let mut leases =
                lab.store.claim("one", std::slice::from_ref(&lease.lane), 1, 60_000).await.expect("claimed");
            lease = leases.pop().expect("a notice");
            assert_eq!(lease.kind, WorkKind::Notify);
        }
        assert_eq!(lab.finish(&lease, result(now)).await, 0, "{:?}", result(now));
        let before = everything(&lab, &id).await;
        assert_eq!(lab.finish(&lease, result(now)).await, 1, "{:?}", result(now));
        assert_eq!(everything(&lab, &id).await, before, "{:?}", result(now));
        lab.work_off().await;
        lab.sql(&format!("UPDATE steps SET q = NULL WHERE dsr_id = '{id}'")).await.expect("out of the way");
    }
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn only_the_artifacts_of_the_run_that_counts_are_packed(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    let first = lab.claim_and_die().await;
    for n in 0..3 {
        lab.store.put_artifact(&first, &key, n, &META(), b"{\"run\":1}\n").await.expect("kept");
    }
    lab.store.expire_leases().await.expect("taken back");
    let second = lab.claim_step().await;
    lab.store.put_artifact(&second, &key, 0, &META(), b"{\"run\":2}\n").await.expect("kept");
    lab.finish(&second, done(None)).await;
    assert_eq!(lab.store.artifact_count(&second.step_id).await.expect("read"), 1);
    let artifact = lab.store.artifact(&ctl, &id, &second.step_id, 0).await.expect("there");
    assert_eq!((artifact.meta, artifact.body.expose().as_slice()), (META(), &b"{\"run\":2}\n"[..]));
}

async fn withdraw(lab: &Lab, lease: &Lease) {
    lab.store.decide(&lease.controller_id, &lease.dsr_id, Decision::Withdraw, "key_test").await.expect("withdrawn");
}

/// No row of a step or of an answer is in the queue.
async fn assert_still(lab: &Lab) {
    assert_eq!(lab.count("steps WHERE verb <> 'notify' AND (q IS NOT NULL OR attention = 1)").await, 0);
}

async fn a_withdrawn_request_keeps_the_fact_but_nothing_follows(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let now = lab.now();
    for result in [done(Some(now)), done(Some(now + 9)), residue(), verified(), attention(), later(now, true, true)] {
        let id = lab.begun(&ctl, Wish::deletion()).await;
        let mut lease = lab.claim_step().await;
        if matches!(result, StepResult::Residue { .. } | StepResult::Verified { .. }) {
            lab.finish(&lease, done(Some(now))).await;
            lease = lab.claim_step().await;
        }
        withdraw(&lab, &lease).await;
        let acted = matches!(result, StepResult::Acted { .. });
        assert_eq!(lab.finish(&lease, result.clone()).await, 0, "the fact is recorded: {result:?}");
        let detail = lab.detail(&ctl, &id).await;
        assert_eq!(detail.row.status, "withdrawn");
        assert!(!acted || detail.steps[0].changed == Some(1));
        assert_still(&lab).await;
        let retry = lab.store.decide(&ctl, &id, Decision::Retry(lab.plan(&ctl, detail.row.kind).await), "x").await;
        assert!(matches!(retry, Err(Error::Conflict(_))), "{retry:?}");
        let system = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
        lab.store.record_check(&system, None).await.expect("recorded");
        assert_still(&lab).await;
    }
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn nothing_more_is_done_or_kept_for_a_withdrawn_request(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    let running = lab.claim_step().await;
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    withdraw(&lab, &running).await;
    assert!(lab.claim().await.is_empty(), "what has not begun never will");
    assert!(matches!(lab.store.intend(&running, &key, "x").await, Err(Error::LeaseLost)));
    assert!(matches!(lab.store.put_artifact(&running, &key, 0, &META(), b"{}").await, Err(Error::LeaseLost)));
    lab.store.release(&[running]).await.expect("released");
    assert!(lab.claim().await.is_empty());
    assert_still(&lab).await;
}

async fn a_worker_that_died_over_a_withdrawn_request_is_not_replaced(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let dead = lab.claim_and_die().await;
    withdraw(&lab, &dead).await;
    assert_eq!(lab.store.expire_leases().await.expect("taken back"), 1);
    assert!(lab.claim().await.is_empty());
    assert_still(&lab).await;
    assert_eq!(lab.status(&ctl, &id).await, "withdrawn");
}

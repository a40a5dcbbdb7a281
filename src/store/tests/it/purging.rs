//! A purge destroys the key and what it sealed; that it happened, and what was done, stays provable.

use crate::lab::{KEEP, Lab, Wish, render};
use crate::secrecy::every_byte;
use redress_domain::RequestType;
use redress_store::{ArtifactMeta, Decision, Dialect, Error, Submitted};

on_both!(
    a_purge_comes_when_the_time_is_over_and_never_to_an_open_request,
    a_purge_destroys_everything_personal_and_keeps_the_proof,
    the_destroyed_key_is_in_no_byte_that_is_left,
    a_withdrawn_request_is_purged_with_what_its_run_left,
    a_worker_that_outlives_the_purge_writes_nothing,
);

async fn a_purge_comes_when_the_time_is_over_and_never_to_an_open_request(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let closed = lab.begun(&ctl, Wish::deletion()).await;
    lab.work_off().await;
    let open = lab.begun(&ctl, Wish::deletion()).await;
    lab.travel(KEEP - 1);
    assert_eq!(lab.store.purge_due(100).await.expect("looked"), 0);
    lab.travel(1);
    assert_eq!(lab.store.purge_due(100).await.expect("purged"), 1);
    assert_eq!(lab.store.purge_due(100).await.expect("looked"), 0, "once");
    lab.travel(10 * KEEP);
    assert_eq!(lab.store.purge_due(100).await.expect("looked"), 0);
    assert!(lab.detail(&ctl, &closed).await.row.purged_at.is_some());
    assert_eq!(lab.store.identifiers(&ctl, &open).await.expect("still there").len(), 3);
}

async fn a_purge_destroys_everything_personal_and_keeps_the_proof(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access().told().key("k", "b")).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let package = lab.store.package(&ctl, &id).await.expect("read").expect("there");
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    let certificate = lab.store.certificate(&ctl, &id).await.expect("there");
    lab.travel(KEEP);
    assert_eq!(lab.store.purge_due(100).await.expect("purged"), 1);

    let tries = [
        lab.store.dsr_key(&ctl, &id).await.map(drop),
        lab.store.identifiers(&ctl, &id).await.map(drop),
        lab.store.callback_url(&ctl, &id).await.map(drop),
    ];
    for (i, tried) in tries.into_iter().enumerate() {
        assert!(matches!(tried, Err(Error::Purged)), "{i}: {tried:?}");
    }
    assert!(matches!(lab.store.package_chunk(&ctl, &id, &key, &package, 0).await, Err(Error::NotFound)));
    for table in ["artifacts", "package_chunks", "idempotency", "steps WHERE receipt IS NOT NULL"] {
        assert_eq!(lab.count(table).await, 0, "{table}");
    }
    assert_eq!(lab.count("dsrs WHERE wrapped_key IS NOT NULL OR sealed IS NOT NULL").await, 0);

    let detail = lab.detail(&ctl, &id).await;
    assert!(detail.row.reference.is_none());
    assert_eq!((detail.row.status.as_str(), detail.steps.len()), ("completed", 1));
    assert_eq!(lab.store.certificate(&ctl, &id).await.expect("kept"), certificate);
    let events = crate::audit::assert_chain(&lab.store, &ctl).await;
    assert_eq!(events.last().expect("one").kind, "purged");
    crate::stages::assert_replay(&lab, &ctl, &id).await;
    let again = lab.new_dsr(&ctl, &Wish::access().key("k", "b")).await;
    let again = lab.store.submit(again, render).await.expect("taken");
    assert!(matches!(again, Submitted::New(..)), "the first answer is forgotten: {again:?}");
}

async fn the_destroyed_key_is_in_no_byte_that_is_left(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.work_off().await;
    let hex = match lab.store.dialect() {
        Dialect::Sqlite => "lower(hex(wrapped_key))",
        Dialect::Postgres => "encode(wrapped_key, 'hex')",
    };
    let wrapped = lab.query(&format!("SELECT {hex} FROM dsrs WHERE id = '{id}'")).await.remove(0);
    let bytes: Vec<u8> =
        (0..wrapped.len()).step_by(2).map(|i| u8::from_str_radix(&wrapped[i..i + 2], 16).expect("hex")).collect();
    let is_in = |all: &[u8]| {
        all.windows(bytes.len()).any(|w| w == bytes) || all.windows(wrapped.len()).any(|w| w == wrapped.as_bytes())
    };
    assert!(is_in(&every_byte(&lab).await), "the search finds what is there");
    lab.travel(KEEP);
    assert_eq!(lab.store.purge_due(100).await.expect("purged"), 1);
    assert!(!is_in(&every_byte(&lab).await), "not in a free page, nor in the write-ahead log");
}

async fn a_withdrawn_request_is_purged_with_what_its_run_left(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    let lease = lab.claim_step().await;
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    let meta = ArtifactMeta::Records { collection: "customers".into() };
    lab.store.put_artifact(&lease, &key, 0, &meta, b"{}").await.expect("kept");
    lab.store.decide(&ctl, &id, Decision::Withdraw, "key_person").await.expect("withdrawn");
    lab.travel(KEEP);
    assert_eq!(lab.store.purge_due(100).await.expect("purged"), 1);
    assert_eq!(lab.count("artifacts").await, 0);
}

async fn a_worker_that_outlives_the_purge_writes_nothing(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::of(RequestType::Access)).await;
    let lease = lab.claim_step().await;
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    lab.store.decide(&ctl, &id, Decision::Withdraw, "key_person").await.expect("withdrawn");
    lab.travel(KEEP);
    lab.store.purge_due(100).await.expect("purged");
    assert!(lab.store.open_work(vec![lease.clone()]).await.expect("opened").is_empty());
    let meta = ArtifactMeta::Records { collection: "customers".into() };
    assert!(matches!(lab.store.put_artifact(&lease, &key, 0, &meta, b"{}").await, Err(Error::LeaseLost)));
    assert_eq!(lab.finish(&lease, crate::lab::done(None)).await, 1, "dropped");
    assert_eq!(lab.count("artifacts").await + lab.count("steps WHERE receipt IS NOT NULL").await, 0);
}

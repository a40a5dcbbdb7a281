//! What a batch ends with is read and written together, and yet each request has its own fence and its own fate.

use crate::lab::{Lab, Wish, done};
use redress_domain::{ControllerId, DsrId};
use redress_store::{
    Answered, ArtifactMeta, Decision, Error, Finish, Key, Lease, NewArtifact, NewPackage, Recorded, SealedChunk,
    WorkKind,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

on_both!(
    the_answers_of_a_hundred_requests_take_a_handful_of_statements,
    each_of_many_answers_is_fenced_by_its_own_lease,
    a_request_that_ended_meanwhile_is_not_answered,
    each_of_many_intents_is_fenced_by_its_own_lease,
    of_many_artifacts_those_without_a_lease_are_named,
    a_damaged_request_does_not_hide_its_neighbours,
    one_artifact_may_hold_several_collections,
    what_is_told_of_a_batch_is_read_at_once,
);

const MANY: usize = 100;

/// Leases so many rows, which may take several batches.
async fn claim(lab: &Lab, count: usize) -> Vec<Lease> {
    let mut leases = Vec::new();
    while leases.len() < count {
        let batch = lab.claim().await;
        assert!(!batch.is_empty(), "{} of {count}", leases.len());
        leases.extend(batch);
    }
    leases.sort_by(|a, b| a.step_id.cmp(&b.step_id));
    leases
}

async fn keys(lab: &Lab, leases: &[Lease]) -> BTreeMap<DsrId, Arc<Key>> {
    let mut keys = BTreeMap::new();
    for lease in leases {
        keys.insert(lease.dsr_id.clone(), lab.store.dsr_key(&lease.controller_id, &lease.dsr_id).await.expect("a key"));
    }
    keys
}

fn found<'a>(lease: &'a Lease, keys: &'a BTreeMap<DsrId, Arc<Key>>) -> NewArtifact<'a> {
    let meta = ArtifactMeta::Records { collection: "customers".into() };
    NewArtifact { lease, key: &keys[&lease.dsr_id], n: 0, meta, body: Cow::Borrowed(b"{\"a\":\"canary-artifact\"}\n") }
}

/// Access requests whose export is done, and the leases of their answers.
async fn ready(lab: &Lab, ctl: &ControllerId, count: usize) -> Vec<Lease> {
    for _ in 0..count {
        lab.submit(ctl, Wish::access()).await;
    }
    lab.advance().await;
    let exports = claim(lab, count).await;
    let keys = keys(lab, &exports).await;
    let artifacts: Vec<_> = exports.iter().map(|lease| found(lease, &keys)).collect();
    assert!(lab.store.put_artifacts(&artifacts).await.expect("kept").is_empty());
    let finish = |lease: &Lease| Finish { lease: lease.clone(), result: done(None) };
    lab.store.finish(exports.iter().map(finish).collect()).await.expect("recorded");
    let answers = claim(lab, count).await;
    assert!(answers.len() == count && answers.iter().all(|l| l.kind == WorkKind::Answer));
    answers
}

fn answered(lab: &Lab, lease: &Lease, key: &Key) -> Answered {
    Answered {
        lease: lease.clone(),
        certificate: format!("{{\"certificate\":\"{}\"}}", lease.dsr_id),
        package: Some(NewPackage {
            bytes: 14,
            chunks: 1,
            sha256: "00".into(),
            records: 1,
            expires_at: lab.now() + 86_400_000,
        }),
        chunks: vec![SealedChunk::seal(lease, key, 0, b"canary-package").expect("sealed")],
    }
}

async fn all_answered(lab: &Lab, leases: &[Lease]) -> Vec<Answered> {
    let keys = keys(lab, leases).await;
    leases.iter().map(|lease| answered(lab, lease, &keys[&lease.dsr_id])).collect()
}

async fn the_answers_of_a_hundred_requests_take_a_handful_of_statements(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let leases = ready(&lab, &ctl, MANY).await;
    let made = all_answered(&lab, &leases).await;
    let before = lab.store.statements();
    let read = lab.store.answerable(&leases).await.expect("read");
    let controllers = lab.store.controllers_of(&leases).await.expect("read");
    let ids: Vec<DsrId> = leases.iter().map(|l| l.dsr_id.clone()).collect();
    let artifacts = lab.store.artifacts_of(&ids).await.expect("read");
    let recorded = lab.store.answered_all(&made).await.expect("recorded");
    let statements = lab.store.statements() - before;
    println!("{statements} statements for {MANY} answers");
    assert!(statements < 3 * MANY as u64, "{statements} statements for {MANY} answers");
    assert!(read.iter().all(|r| r.as_ref().is_ok_and(|r| r.steps.len() == 1 && r.identifiers.len() == 3)));
    assert_eq!((controllers.len(), artifacts.len()), (1, MANY));
    assert_eq!(recorded, vec![Recorded::Yes; MANY]);
    for (lease, read) in leases.iter().zip(&read) {
        let (id, read) = (&lease.dsr_id, read.as_ref().expect("read"));
        let (_, sealed) = artifacts.iter().find(|(of, _)| of == id).expect("found");
        let artifact = sealed.open(&ctl, id, &read.key).expect("opens");
        assert_eq!(artifact.body.expose().as_slice(), b"{\"a\":\"canary-artifact\"}\n");
        assert_eq!(lab.status(&ctl, id).await, "completed");
        let package = lab.store.package(&ctl, id).await.expect("read").expect("there");
        let chunk = lab.store.package_chunk(&ctl, id, &read.key, &package, 0).await.expect("there");
        assert_eq!(chunk.expose(), b"canary-package");
        assert_eq!(lab.store.certificate(&ctl, id).await.expect("there")["certificate"], id.as_str());
        // What was read before is where the log of the request stood then.
        let events = lab.store.events_of(&ctl, id).await.expect("read");
        let last = events.iter().rev().nth(events.len() - read.audit.events as usize).expect("an event");
        assert_eq!((last.seq, &last.hash), (read.audit.seq, &read.audit.hash));
    }
    assert_eq!(lab.count("artifacts").await, 0, "packed");
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn each_of_many_answers_is_fenced_by_its_own_lease(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let leases = ready(&lab, &ctl, 5).await;
    let made = all_answered(&lab, &leases).await;
    let lost = &leases[2];
    lab.store.release(std::slice::from_ref(lost)).await.expect("released");
    let recorded = lab.store.answered_all(&made).await.expect("recorded");
    let yes = Recorded::Yes;
    assert_eq!(recorded, [yes, yes, Recorded::LeaseLost, yes, yes]);
    assert_eq!(lab.status(&ctl, &lost.dsr_id).await, "delivering");
    assert!(lab.store.package(&ctl, &lost.dsr_id).await.expect("read").is_none());
    assert!(matches!(lab.store.certificate(&ctl, &lost.dsr_id).await, Err(Error::NotFound)));
    assert_eq!((lab.count("artifacts").await, lab.count("package_chunks").await), (1, 4));
    let again = lab.store.answered_all(&made).await.expect("recorded");
    assert_eq!(again, vec![Recorded::LeaseLost; 5], "what is recorded twice is recorded once");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &lost.dsr_id).await, "completed");
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn a_request_that_ended_meanwhile_is_not_answered(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let leases = ready(&lab, &ctl, 3).await;
    let made = all_answered(&lab, &leases).await;
    let ended = &leases[1].dsr_id;
    let over = format!("UPDATE dsrs SET stage = 'withdrawn', status = 'withdrawn', closed_at = 1 WHERE id = '{ended}'");
    lab.sql(&over).await.expect("ended");
    let recorded = lab.store.answered_all(&made).await.expect("recorded");
    assert_eq!(recorded, [Recorded::Yes, Recorded::Ended, Recorded::Yes]);
    assert_eq!(lab.status(&ctl, ended).await, "withdrawn");
    assert!(lab.store.package(&ctl, ended).await.expect("read").is_none());
    assert!(matches!(lab.store.certificate(&ctl, ended).await, Err(Error::NotFound)), "nothing says it was completed");
    lab.work_off().await;
    assert_eq!(lab.count("steps WHERE q IS NOT NULL").await, 0);
}

async fn each_of_many_intents_is_fenced_by_its_own_lease(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for _ in 0..MANY {
        lab.submit(&ctl, Wish::deletion()).await;
    }
    lab.advance().await;
    let leases = claim(&lab, MANY).await;
    let keys = keys(&lab, &leases).await;
    lab.store.release(std::slice::from_ref(&leases[7])).await.expect("released");
    lab.store.decide(&ctl, &leases[8].dsr_id, Decision::Withdraw, "key_test").await.expect("withdrawn");
    let mut items: Vec<_> = leases.iter().map(|l| (l, &*keys[&l.dsr_id], "canary-receipt")).collect();
    items.push((&leases[0], &*keys[&leases[0].dsr_id], "the last one"));
    let before = lab.store.statements();
    let intended = lab.store.intend_all(&items).await.expect("recorded");
    assert_eq!(lab.store.statements() - before, 4, "BEGIN, one lock, one UPDATE, COMMIT");
    let refused: Vec<usize> = (0..items.len()).filter(|n| !intended[*n]).collect();
    assert_eq!(refused, [7, 8]);
    let opened = lab.store.open_work(leases.clone()).await.expect("opened");
    for work in opened {
        let wanted = match &work.lease.step_id {
            id if *id == leases[0].step_id => Some("the last one"),
            id if [&leases[7].step_id, &leases[8].step_id].contains(&id) => None,
            _ => Some("canary-receipt"),
        };
        assert_eq!(work.prior.as_deref(), wanted);
    }
}

async fn of_many_artifacts_those_without_a_lease_are_named(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for _ in 0..4 {
        lab.submit(&ctl, Wish::access()).await;
    }
    lab.advance().await;
    let leases = claim(&lab, 4).await;
    let keys = keys(&lab, &leases).await;
    lab.store.release(std::slice::from_ref(&leases[0])).await.expect("released");
    lab.store.decide(&ctl, &leases[3].dsr_id, Decision::Withdraw, "key_test").await.expect("withdrawn");
    // One is too large to be written with the others.
    let large = vec![b'x'; 300_000];
    let mut artifacts: Vec<_> = leases.iter().map(|lease| found(lease, &keys)).collect();
    for lease in &leases {
        artifacts.push(NewArtifact { n: 1, body: Cow::Borrowed(&large), ..found(lease, &keys) });
    }
    let missing = lab.store.put_artifacts(&artifacts).await.expect("written");
    assert_eq!(missing.len(), 2);
    assert!(missing.contains(&leases[0].step_id) && missing.contains(&leases[3].step_id));
    assert_eq!(lab.count("artifacts").await, 4);
    let back = lab.store.artifact(&ctl, &leases[1].dsr_id, &leases[1].step_id, 1).await.expect("there");
    assert_eq!(back.body.expose().len(), large.len());
}

async fn a_damaged_request_does_not_hide_its_neighbours(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let leases = ready(&lab, &ctl, 4).await;
    for (n, damage) in ["deadlines = '{}'", "sealed = NULL", "identifier_types = 'x'"].into_iter().enumerate() {
        let id = &leases[n].dsr_id;
        lab.sql(&format!("UPDATE dsrs SET {damage} WHERE id = '{id}'")).await.expect("damaged");
    }
    let read = lab.store.answerable(&leases).await.expect("read");
    assert!(matches!(read[0], Err(Error::Inconsistent { column: "deadlines", .. })));
    assert!(matches!(read[1], Err(Error::Purged)));
    assert!(matches!(read[2], Err(Error::Inconsistent { column: "identifier_types", .. })));
    assert!(read[3].is_ok());
    let stranger = lab.controller("other").await;
    let foreign = Lease { controller_id: stranger, ..leases[3].clone() };
    assert!(matches!(lab.store.answerable(&[foreign]).await.expect("read")[0], Err(Error::NotFound)));
}

async fn one_artifact_may_hold_several_collections(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    let lease = lab.claim_step().await;
    let key = lab.store.dsr_key(&ctl, &id).await.expect("a key");
    let meta = ArtifactMeta::Collections { collections: vec![("customers".into(), 8), ("orders".into(), 16)] };
    let body = b"{\"a\":1}\n{\"b\":2}\n{\"b\":3}\n";
    lab.store.put_artifact(&lease, &key, 0, &meta, body).await.expect("kept");
    let back = lab.store.artifact(&ctl, &id, &lease.step_id, 0).await.expect("there");
    assert_eq!((back.meta, back.body.expose().as_slice()), (meta, &body[..]));
}

async fn what_is_told_of_a_batch_is_read_at_once(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for _ in 0..9 {
        lab.submit(&ctl, Wish::deletion().told()).await;
    }
    lab.submit(&ctl, Wish::deletion()).await;
    lab.advance().await;
    assert_eq!(
        lab.count("steps s JOIN dsrs d ON d.id = s.dsr_id WHERE s.verb = 'notify' AND d.has_callback = 0").await,
        0
    );
    let notices = loop {
        let leases = lab.claim().await;
        if leases.first().is_none_or(|lease| lease.kind == WorkKind::Notify) {
            break leases;
        }
    };
    assert!(notices.len() >= 9);
    let before = lab.store.statements();
    let told = lab.store.tellable(&notices).await.expect("read");
    assert_eq!(lab.store.statements() - before, 1);
    let secret = lab.store.webhook_secret_text(&ctl).await.expect("made");
    for of in told {
        let of = of.expect("read");
        assert_eq!(of.callback_url.expect("an address").expose(), "https://hooks.canary.example/dsr");
        assert_eq!((of.secret.expose(), of.reference.expect("a name").expose().as_str()), (&secret, "TICKET-canary"));
        assert!(of.due_on.is_some());
    }
}

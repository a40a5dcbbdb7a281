//! What one system tells about a person reaches the systems that accept it, and no others; and a refused credential is one trouble.

use crate::lab::{Lab, Wish, a_system, acted, done, later, verified};
use redress_domain::IdentifierType::{CrmId, Email, Phone};
use redress_domain::step::{CREDENTIALS_REFUSED, Phase, StepState};
use redress_domain::{ControllerId, Identifier, IdentifierType, RequestType};
use redress_store::{Finish, Lease, OpenWork, StepResult, SystemUpsert};

on_both!(
    a_system_that_accepts_what_another_found_acts_again_with_it,
    what_was_found_before_a_step_began_is_known_to_it_and_costs_no_second_run,
    a_system_without_a_usable_identifier_is_searched_once_there_is_one,
    a_step_at_work_while_another_finds_something_acts_again,
    what_is_found_is_sealed_and_destroyed_with_the_request,
    a_lost_lease_tells_nothing,
    a_refused_credential_is_news_once_and_the_system_is_left_alone,
    a_credential_that_is_taken_again_lets_everything_go_on,
);

fn accepting(name: &str, identifiers: &[IdentifierType]) -> SystemUpsert {
    SystemUpsert { identifiers: identifiers.to_vec(), ..a_system(name) }
}

async fn three(lab: &Lab) -> ControllerId {
    let ctl = lab.controller("acme").await;
    for (name, kinds) in [("books", &[CrmId][..]), ("crm", &[Email]), ("mail", &[Email])] {
        lab.store.upsert_system(&ctl, &accepting(name, kinds), "operator").await.expect("stored");
    }
    ctl
}

fn crm_id() -> Identifier {
    Identifier::parse(CrmId, "003-canary-crm", None).expect("an id")
}

async fn open(lab: &Lab, lease: &Lease) -> OpenWork {
    lab.store.open_work(vec![lease.clone()]).await.expect("opened").pop().expect("there")
}

/// Claims the step of this system.
async fn claim_of(lab: &Lab, ctl: &ControllerId, system: &str) -> Lease {
    let id = lab.store.system_by_name(ctl, system).await.expect("read").expect("there").id;
    let lanes: Vec<String> =
        lab.store.systems(ctl).await.expect("read").iter().map(|s| s.id.as_str().to_owned()).collect();
    let others: Vec<String> =
        lanes.into_iter().filter(|lane| lane != id.as_str()).chain(["notify".into(), "answer".into()]).collect();
    let mut leases = lab.store.claim("one", &others, 1, 60_000).await.expect("claimed");
    leases.pop().unwrap_or_else(|| panic!("no step of {system} is due"))
}

fn kinds(work: &OpenWork) -> Vec<IdentifierType> {
    work.subject.identifiers.iter().map(Identifier::kind).collect()
}

async fn a_system_that_accepts_what_another_found_acts_again_with_it(lab: Lab) {
    let ctl = three(&lab).await;
    // It accepts both, and was searched by the one that the request had.
    lab.store.upsert_system(&ctl, &accepting("books", &[Email, CrmId]), "operator").await.expect("stored");
    let id = lab.begun(&ctl, Wish::deletion()).await;
    for system in ["books", "mail"] {
        let lease = claim_of(&lab, &ctl, system).await;
        lab.finish(&lease, acted(StepState::NothingFound, 0)).await;
    }
    let lease = claim_of(&lab, &ctl, "crm").await;
    let work = open(&lab, &lease).await;
    assert!(lab.store.yield_identifiers(&work, &[crm_id()]).await.expect("recorded"));
    lab.finish(&lease, done(Some(lab.now()))).await;

    let detail = lab.detail(&ctl, &id).await;
    let of = |name: &str| detail.steps.iter().find(|s| s.system == name).expect("there");
    assert_eq!((of("books").status, of("mail").status), (StepState::Queued, StepState::NothingFound));
    assert_eq!(of("crm").yields, [CrmId]);
    let lease = claim_of(&lab, &ctl, "books").await;
    let work = open(&lab, &lease).await;
    assert!(work.subject.identifiers.contains(&crm_id()), "it is searched by what was found");
    lab.finish(&lease, done(Some(lab.now()))).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let kinds: Vec<String> = lab.store.events_of(&ctl, &id).await.expect("read").into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds.iter().filter(|k| *k == "step_widened").count(), 1, "{kinds:?}");
    assert!(!kinds.contains(&"residue_found".to_owned()), "nothing came back: {kinds:?}");
}

async fn what_was_found_before_a_step_began_is_known_to_it_and_costs_no_second_run(lab: Lab) {
    let ctl = three(&lab).await;
    lab.store.upsert_system(&ctl, &accepting("books", &[Email, CrmId]), "operator").await.expect("stored");
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let lease = claim_of(&lab, &ctl, "crm").await;
    let work = open(&lab, &lease).await;
    lab.store.yield_identifiers(&work, &[crm_id()]).await.expect("recorded");
    lab.finish(&lease, done(Some(lab.now()))).await;
    let lease = claim_of(&lab, &ctl, "books").await;
    let work = open(&lab, &lease).await;
    assert!(kinds(&work).contains(&CrmId));
    lab.finish(&lease, done(Some(lab.now()))).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let events = lab.store.events_of(&ctl, &id).await.expect("read");
    assert!(events.iter().all(|event| event.kind != "step_widened"));
}

async fn a_system_without_a_usable_identifier_is_searched_once_there_is_one(lab: Lab) {
    let ctl = three(&lab).await;
    let mut new = lab.new_dsr(&ctl, &Wish::deletion()).await;
    let systems = lab.store.systems(&ctl).await.expect("read");
    let facts: Vec<_> = systems.iter().map(redress_store::SystemRow::facts).collect();
    new.plan = redress_domain::plan::fan_out(RequestType::Deletion, &[Email, Phone], &[], &facts, None);
    let redress_store::Submitted::New(id, _) = lab.store.submit(new, crate::lab::render).await.expect("accepted")
    else {
        panic!("new")
    };
    lab.advance().await;
    let status = |detail: &redress_store::DsrDetail, name: &str| {
        detail.steps.iter().find(|s| s.system == name).expect("there").status
    };
    assert_eq!(status(&lab.detail(&ctl, &id).await, "books"), StepState::Retained);
    let lease = claim_of(&lab, &ctl, "crm").await;
    let work = open(&lab, &lease).await;
    lab.store.yield_identifiers(&work, &[crm_id()]).await.expect("recorded");
    lab.finish(&lease, done(Some(lab.now()))).await;
    assert_eq!(status(&lab.detail(&ctl, &id).await, "books"), StepState::Queued);
    lab.work_off().await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.row.status, "completed", "nothing stays for want of an identifier");
    assert_eq!(status(&detail, "books"), StepState::Verified);
}

async fn a_step_at_work_while_another_finds_something_acts_again(lab: Lab) {
    let ctl = three(&lab).await;
    lab.store.upsert_system(&ctl, &accepting("books", &[Email, CrmId]), "operator").await.expect("stored");
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let books = claim_of(&lab, &ctl, "books").await;
    let crm = claim_of(&lab, &ctl, "crm").await;
    assert!(!kinds(&open(&lab, &books).await).contains(&CrmId));
    let work = open(&lab, &crm).await;
    lab.store.yield_identifiers(&work, &[crm_id()]).await.expect("recorded");
    lab.finish(&crm, done(Some(lab.now()))).await;
    lab.finish(&books, acted(StepState::NothingFound, 0)).await;
    let detail = lab.detail(&ctl, &id).await;
    let books = detail.steps.iter().find(|s| s.system == "books").expect("there");
    assert_eq!(books.status, StepState::Queued, "what it could not know makes it act again");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn what_is_found_is_sealed_and_destroyed_with_the_request(lab: Lab) {
    let ctl = three(&lab).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let lease = claim_of(&lab, &ctl, "crm").await;
    let work = open(&lab, &lease).await;
    lab.store.yield_identifiers(&work, &[crm_id()]).await.expect("recorded");
    assert_eq!(lab.count("steps WHERE yielded IS NOT NULL").await, 1);
    let hex = lab.query(if lab.url.starts_with("sqlite") {
        "SELECT hex(yielded) FROM steps WHERE yielded IS NOT NULL"
    } else {
        "SELECT upper(encode(yielded, 'hex')) FROM steps WHERE yielded IS NOT NULL"
    });
    let clear: Vec<String> = "canary-crm".bytes().map(|b| format!("{b:02X}")).collect();
    assert!(!hex.await[0].contains(&clear.concat()));
    lab.finish(&lease, done(Some(lab.now()))).await;
    lab.work_off().await;
    assert!(lab.detail(&ctl, &id).await.row.closed_at.is_some());
    lab.travel(crate::lab::KEEP + 1);
    lab.store.purge_due(10).await.expect("purged");
    assert_eq!(lab.count("steps WHERE yielded IS NOT NULL").await, 0);
}

async fn a_lost_lease_tells_nothing(lab: Lab) {
    let ctl = three(&lab).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let lease = claim_of(&lab, &ctl, "crm").await;
    let work = open(&lab, &lease).await;
    lab.sql("UPDATE steps SET token = token + 1 WHERE q = 'run'").await.expect("taken away");
    assert!(!lab.store.yield_identifiers(&work, &[crm_id()]).await.expect("answered"));
    assert_eq!(lab.count("steps WHERE yielded IS NOT NULL").await, 0);
    assert_eq!(lab.count("dsrs WHERE yields > 0").await, 0);
}

fn refused(until: i64, attention: bool) -> StepResult {
    StepResult::Later {
        not_before: until,
        failed: true,
        attention,
        code: CREDENTIALS_REFUSED.into(),
        detail: "set others".into(),
    }
}

async fn a_refused_credential_is_news_once_and_the_system_is_left_alone(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let first = lab.begun(&ctl, Wish::deletion()).await;
    let second = lab.begun(&ctl, Wish::deletion()).await;
    let system = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    let leases = [lab.claim_step().await, lab.claim_step().await];
    let (until, news) = lab.store.credentials_refused(&system, "set others").await.expect("recorded");
    assert!(news && until > lab.now());
    let finishes = leases.iter().zip([true, false]);
    let finishes = finishes.map(|(lease, tell)| Finish { lease: lease.clone(), result: refused(until, tell) });
    lab.store.finish(finishes.collect()).await.expect("recorded");
    let mut statuses = [lab.status(&ctl, &first).await, lab.status(&ctl, &second).await];
    statuses.sort();
    assert_eq!(statuses, ["in_progress", "needs_attention"], "one request shows it, the other waits");
    let third = lab.begun(&ctl, Wish::deletion()).await;
    assert!(lab.claim().await.iter().all(|lease| lease.system_id.is_none()), "nothing is sent there");
    let detail = lab.detail(&ctl, &third).await;
    assert_eq!(detail.steps[0].error.as_ref().map(|(code, _)| code.as_str()), Some(CREDENTIALS_REFUSED));
    let marked = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    assert_eq!(marked.problem.map(|(code, _)| code).as_deref(), Some(CREDENTIALS_REFUSED));
    // Tried again later, in vain: no news.
    lab.travel(until - lab.now() + 1);
    lab.store.promote().await.expect("promoted");
    let system = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    let (_, news) = lab.store.credentials_refused(&system, "set others").await.expect("recorded");
    assert!(!news);
}

async fn a_credential_that_is_taken_again_lets_everything_go_on(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let system = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    let lease = lab.claim_step().await;
    let (until, news) = lab.store.credentials_refused(&system, "set others").await.expect("recorded");
    lab.finish(&lease, refused(until, news)).await;
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention");
    // Somebody set another password, and the check of the system passed.
    lab.store.record_check(&system, None).await.expect("recorded");
    lab.advance().await;
    assert_eq!(lab.status(&ctl, &id).await, "in_progress");
    let lease = lab.claim_step().await;
    assert_eq!(lease.phase, Phase::Act);
    lab.finish(&lease, done(Some(lab.now()))).await;
    let lease = lab.claim_step().await;
    lab.finish(&lease, later(lab.now(), false, false)).await;
    lab.store.promote().await.expect("promoted");
    let lease = lab.claim_step().await;
    lab.finish(&lease, verified()).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

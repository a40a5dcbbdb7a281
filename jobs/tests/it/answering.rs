//! A request that goes well ends with an answer that anybody can check.

use crate::lab::{GRACE, Lab};
use redress_domain::DsrId;
use redress_domain::RequestType;
use redress_domain::step::StepState;
use redress_jobs::certificate::{CertifiedOutcome, PublicKey, Signer, verify_certificate};
use redress_jobs::package::verify_package;
use redress_store::{Lease, WorkKind};
use std::io::Cursor;
use std::time::Instant;

async fn package_of(lab: &Lab, id: &DsrId) -> Vec<u8> {
    let store = lab.store();
    let package = store.package(&lab.ctl, id).await.expect("read").expect("there");
    let key = store.dsr_key(&lab.ctl, id).await.expect("a key");
    let mut bytes = Vec::new();
    for n in 0..package.chunks {
        bytes.extend_from_slice(store.package_chunk(&lab.ctl, id, &key, &package, n).await.expect("there").expose());
    }
    assert_eq!(bytes.len() as i64, package.bytes);
    bytes
}

/// The text of one file of a package.
fn file_of(package: &[u8], name: &str) -> String {
    let mut zip = zip::ZipArchive::new(Cursor::new(package)).expect("a ZIP");
    std::io::read_to_string(zip.by_name(name).expect(name)).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_request_ends_with_a_package_that_verifies() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    lab.system("shop").await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Access, "jane@example.com", None).await;
    lab.until(&id, "completed", 0).await;
    let bytes = package_of(&lab, &id).await;
    let report = verify_package(Cursor::new(&bytes), Some(&lab.keys())).expect("it holds");
    assert_eq!((report.request_id.as_str(), report.records, report.sources), (id.as_str(), 6, 2));
    for system in ["crm", "shop"] {
        let customers = file_of(&bytes, &format!("data/{system}/customers.jsonl"));
        assert!(customers.contains("jane@example.com") && !customers.contains("joan@"), "{customers}");
        let orders = file_of(&bytes, &format!("data/{system}/orders.jsonl"));
        assert!(orders.contains("Oak Street") && !orders.contains("Ash Street"), "{orders}");
    }
    assert_eq!(lab.count("crm", "customers").await, 2, "nothing was changed");
    let stranger = *Signer::from_seed(&[1; 32]).public_key();
    assert!(verify_package(Cursor::new(&bytes), Some(&[stranger])).is_err());
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_of_many_chunks_is_whole() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    // Random, so that it does not shrink: some 4 MB in the ZIP, and as many artifacts.
    lab.sql(
        "crm",
        "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 409)
         INSERT INTO orders SELECT i, 'C-1', hex(randomblob(10000)) FROM n",
    )
    .await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Access, "jane@example.com", None).await;
    lab.until(&id, "completed", 0).await;
    let package = lab.store().package(&lab.ctl, &id).await.expect("read").expect("there");
    assert!(package.chunks > 3, "{} chunks of {} bytes", package.chunks, package.bytes);
    let report = verify_package(Cursor::new(package_of(&lab, &id).await), Some(&lab.keys())).expect("it holds");
    assert_eq!(report.records, 403);
    workers.shut_down(GRACE).await;
}

/// Access requests of which only the answer is still to be made, and the leases of these answers.
async fn ready(lab: &Lab, count: usize) -> (Vec<DsrId>, Vec<Lease>) {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(lab.submit(RequestType::Access, "jane@example.com", None).await);
    }
    let (store, mut answers) = (lab.store(), Vec::new());
    while answers.len() < count {
        store.advance_due(100).await.expect("advanced");
        let leases = store.claim("one", &[], 100, 60_000).await.expect("claimed");
        match leases.first().map(|lease| lease.kind) {
            Some(WorkKind::Step(verb)) => redress_jobs::run_step::run(&lab.engine, verb, leases).await,
            Some(WorkKind::Answer) => answers.extend(leases),
            _ => {}
        }
    }
    (ids, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answers_of_a_batch_are_made_together_and_each_is_whole() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let (ids, leases) = ready(&lab, 30).await;
    let before = lab.store().statements();
    redress_jobs::answer::run(&lab.engine, leases).await;
    let statements = lab.store().statements() - before;
    println!("{statements} statements for 30 answers");
    assert!(statements < 3 * 30, "{statements} statements for 30 answers");
    for id in &ids {
        let report = verify_package(Cursor::new(package_of(&lab, id).await), Some(&lab.keys())).expect("it holds");
        assert_eq!((report.request_id.as_str(), report.records), (id.as_str(), 3));
        let certificate = certificate_of(&lab, id, Some(&lab.keys())).await;
        assert_eq!(certificate.request.id, id.as_str());
        assert_eq!(certificate.package.expect("packed").records, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_answer_cannot_be_made_holds_up_none_of_its_batch() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let (ids, leases) = ready(&lab, 9).await;
    // What cannot be read, what cannot be packed, and what cannot be recorded.
    lab.own_sql(&format!("UPDATE dsrs SET sealed = x'00' WHERE id = '{}'", ids[1])).await;
    lab.own_sql(&format!("UPDATE artifacts SET sealed = x'00' WHERE dsr_id = '{}'", ids[4])).await;
    lab.own_sql(&format!("UPDATE dsrs SET policy = 'x' WHERE id = '{}'", ids[6])).await;
    redress_jobs::answer::run(&lab.engine, leases).await;
    for (n, id) in ids.iter().enumerate() {
        let answered = lab.store().certificate(&lab.ctl, id).await.is_ok();
        assert_eq!(answered, ![1, 4, 6].contains(&n), "the {n}th");
        if answered {
            assert_eq!(lab.detail(id).await.row.status, "completed");
            verify_package(Cursor::new(package_of(&lab, id).await), Some(&lab.keys())).expect("it holds");
        }
    }
    // The first two are tried again later; what cannot even be recorded keeps its lease until that runs out.
    let counts = lab.store().queue_counts().await.expect("counted");
    let of = |state: &str| counts.get(&("answer".into(), state.into())).copied();
    assert_eq!((of("wait"), of("run"), of("ready")), (Some(2), Some(1), None), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_which_a_piece_could_not_be_kept_does_not_count() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    lab.sql(
        "crm",
        "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 409)
         INSERT INTO orders SELECT i, 'C-1', hex(randomblob(10000)) FROM n",
    )
    .await;
    // Some pieces are kept, the third one is not, and those after it could be.
    lab.own_sql("CREATE TRIGGER full BEFORE INSERT ON artifacts WHEN NEW.n = 2 BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Access, "jane@example.com", None).await;
    let detail = lab.until_that(&id, 0, |detail| detail.steps[0].attempts > 1).await;
    assert!(!detail.steps[0].status.has_acted(), "{:?}", detail.steps[0]);
    lab.own_sql("DROP TRIGGER full").await;
    lab.until(&id, "completed", 1_000).await;
    let report = verify_package(Cursor::new(package_of(&lab, &id).await), Some(&lab.keys())).expect("it holds");
    assert_eq!(report.records, 403);
    workers.shut_down(GRACE).await;
}

async fn certificate_of(lab: &Lab, id: &DsrId, keys: Option<&[PublicKey]>) -> redress_jobs::certificate::Certificate {
    let text = lab.store().certificate(&lab.ctl, id).await.expect("there").to_string();
    for personal in ["jane", "Roe", "Elm Street", "TICKET-1", "Newname"] {
        assert!(!text.contains(personal), "{personal} in {text}");
    }
    verify_certificate(&text, keys).expect("it holds").certificate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_with_a_certificate_that_verifies() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    lab.system("shop").await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "Jane@Example.com", None).await;
    let detail = lab.until(&id, "completed", 0).await;
    assert!(detail.steps.iter().all(|s| s.status == StepState::Verified), "{:?}", detail.steps);
    for system in ["crm", "shop"] {
        assert_eq!((lab.count(system, "customers").await, lab.count(system, "orders").await), (1, 1));
        assert_eq!(lab.count(system, "customers WHERE id = 'C-2'").await, 1, "somebody else's stay");
    }
    let certificate = certificate_of(&lab, &id, Some(&lab.keys())).await;
    assert_eq!(certificate.request.outcome, CertifiedOutcome::Completed);
    assert!(certificate.deadlines.met);
    for step in &certificate.steps {
        assert_eq!((step.status.as_str(), step.found, step.changed, step.attempts), ("verified", Some(3), Some(3), 1));
        assert!(step.verified_at.is_some() && !step.verification.is_empty());
    }
    let last = certificate.audit.last_event_seq as i64;
    let events = lab.store().events_after(&lab.ctl, last - 1, 1).await.expect("read");
    assert_eq!(events[0].hash, certificate.audit.last_event_hash);
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_changes_the_field_and_nothing_else() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Correction, "jane@example.com", None).await;
    lab.until(&id, "completed", 0).await;
    assert_eq!(lab.count("crm", "customers WHERE id = 'C-1' AND last_name = 'Newname'").await, 1);
    assert_eq!(lab.count("crm", "customers WHERE id = 'C-2' AND last_name = 'Doe'").await, 1);
    assert_eq!(certificate_of(&lab, &id, None).await.steps[0].status, "verified");
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_is_in_no_system_gets_an_answer_that_says_so() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let workers = lab.start("one");
    for kind in [RequestType::Access, RequestType::Deletion] {
        let id = lab.submit(kind, "nobody@example.com", None).await;
        let detail = lab.until(&id, "completed", 0).await;
        assert_eq!(detail.steps[0].status, StepState::NothingFound);
        assert_eq!(certificate_of(&lab, &id, None).await.steps[0].status, "nothing_found");
    }
    assert_eq!(lab.count("crm", "customers").await, 2);
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_on_an_idle_engine_takes_less_than_a_second() {
    let lab = Lab::new().await;
    for system in ["crm", "shop", "mail"] {
        lab.system(system).await;
    }
    let workers = lab.start("one");
    // The first request also opens the connections.
    for (what, email) in [("first", "jane@example.com"), ("second", "joan@example.com")] {
        let began = Instant::now();
        let id = lab.submit(RequestType::Deletion, email, None).await;
        lab.until(&id, "completed", 0).await;
        let took = began.elapsed();
        println!("the {what} request with three systems took {took:?} from submit to completed");
        // Other tests use the same processors; alone it is some tens of milliseconds.
        assert!(took.as_secs() < 5, "{took:?}");
    }
    workers.shut_down(GRACE).await;
}

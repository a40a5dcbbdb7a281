//! Marketo: errors under status 200, a limit for everybody, three hundred leads in one call.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, Person, ann, bea, confirmed, done, only, trouble, work};
use crate::{Effect, Trouble, Work};
use redress_domain::{IdentifierType, Subject, Verb};
use redress_sandbox::Fault;
use redress_sandbox::vendors::asked::KEY;
use redress_sandbox::vendors::marketo::allowance;
use serde_json::json;
use std::time::Duration;

pub(super) async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("marketo").await.setting("munchkin", "123-ABC-456");
    let target = target.setting("client_id", "b6a1").secret("client_secret", KEY);
    let target = target.cannot_carry("the values of a filter are a list with commas, for which there is no escape");
    target.correcting("first_name", "leads", "/email", "/firstName").known_as(|world, person, kind| {
        let own = world.all("leads").into_iter().find(|(_, lead)| lead["email"] == *person.email);
        own.filter(|_| kind == IdentifierType::LeadId).map(|(id, _)| id)
    })
}

fn said(code: &str) -> Fault {
    let body =
        json!({"requestId": "a#1", "success": false, "errors": [{"code": code, "message": "as the vendor says"}]});
    Fault::Status(200, body.to_string(), None)
}

fn by_email(email: &str) -> Subject {
    conformance::subject(&[(IdentifierType::Email, email)])
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn three_thousand_leads_are_deleted_by_ten_calls_and_none_is_refused() {
    let target = target().await;
    target.world().allow(allowance());
    let people: Vec<Person> = (0..3_000)
        .map(|n| Person::new(&format!("C-{n}"), &format!("person.number.{n:04}@shop.example"), "+4915112345678", "A B"))
        .collect();
    people.iter().chain([&ann()]).for_each(|person| target.put(person));
    let connector = target.connector();
    let size = connector.manifest().batch;
    assert_eq!(size, 300);
    let subjects: Vec<Subject> = people.iter().map(|person| by_email(&person.email)).collect();
    let keys: Vec<String> = (0..3_000).map(|n| format!("k{n}")).collect();
    let journal = MemoryJournal::default();
    for (keys, subjects) in keys.chunks(size).zip(subjects.chunks(size)) {
        let batch: Vec<Work<'_>> = keys.iter().zip(subjects).map(|(key, subject)| work(key, subject)).collect();
        for answer in connector.erase(&batch, &journal).await {
            let erased = done(answer);
            assert_eq!((erased.found, erased.changed, erased.effect), (1, 1, Some(Effect::Permanent)));
        }
        for verdict in connector.verify(Verb::Erase, &batch).await {
            confirmed(verdict);
        }
    }
    assert_eq!(target.calls("POST", "/leads/delete.json").len(), 10);
    assert_eq!(target.world().refused(), 0);
    assert!(target.world().hits().iter().all(|hit| hit.status == 200), "no 414 either");
    assert_eq!(target.world().all("leads").len(), 1, "Ann was not asked for");
    assert!(target.world().spent() <= 40, "{}", target.world().spent());
}

#[tokio::test]
async fn a_limit_is_waited_for_and_costs_no_attempt() {
    for (code, wait) in [("606", 20), ("615", 20), ("607", 3_600)] {
        let target = target().await;
        target.put(&ann());
        target.world().fault(said(code), Some("leads.json"));
        let (subject, connector) = (ann().subject(), target.connector());
        let answer = trouble(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
        assert_eq!(answer, Trouble::Throttled(Duration::from_secs(wait)), "{code}");
        assert_eq!(target.left(&ann().email), 1);
    }
}

#[tokio::test]
async fn a_limit_met_by_the_deletion_itself_leaves_the_item_to_be_finished() {
    let target = target().await;
    target.put(&ann());
    target.world().fault(said("606"), Some("delete.json"));
    let (subject, connector, journal) = (ann().subject(), target.connector(), MemoryJournal::default());
    let answer = trouble(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!(answer, Trouble::Throttled(Duration::from_secs(20)));
    let prior = journal.announced("e").expect("it was announced");
    let item = Work { prior: Some(&prior), ..work("e", &subject) };
    let erased = done(only(connector.erase(&[item], &journal).await));
    assert_eq!((erased.found, erased.changed), (1, 1));
    assert_eq!(target.left(&ann().email), 0);
}

#[tokio::test]
async fn an_ended_token_is_fetched_anew_once() {
    let target = target().await;
    target.put(&ann());
    let (subject, connector) = (ann().subject(), target.connector());
    done(only(connector.discover(&[work("d", &subject)]).await));
    // 602: its hour is over. 601: the vendor knows it no more.
    target.world().travel(Duration::from_secs(3_601));
    done(only(connector.discover(&[work("d", &subject)]).await));
    target.world().take("tokens", "b6a1");
    done(only(connector.discover(&[work("d", &subject)]).await));
    assert_eq!(target.calls("GET", "/oauth/token").len(), 3);
    // And not for ever.
    for _ in 0..4 {
        target.world().fault(said("601"), Some("leads.json"));
    }
    let calls = target.world().hits().len();
    match trouble(only(connector.discover(&[work("d", &subject)]).await)) {
        Trouble::Denied(problem) => assert_eq!(problem.code, "credentials_refused"),
        other => panic!("{other:?}"),
    }
    assert!(target.world().hits().len() - calls <= 6);
}

#[tokio::test]
async fn an_address_with_a_comma_is_never_sent_and_keeps_nobody_else_back() {
    let target = target().await;
    target.put(&ann());
    target.put(&bea());
    let (comma, other) = (by_email("\"x,ann@shop.example,y\"@shop.example"), by_email(&bea().email));
    let (connector, journal) = (target.connector(), MemoryJournal::default());
    let answers = connector.erase(&[work("1", &comma), work("2", &other)], &journal).await;
    let [first, second] = <[_; 2]>::try_from(answers).expect("one answer each");
    match trouble(first) {
        Trouble::Denied(problem) => assert_eq!(problem.code, "identifier_not_sendable"),
        other => panic!("{other:?}"),
    }
    assert_eq!(done(second).changed, 1);
    assert_eq!((target.left(&ann().email), target.left(&bea().email)), (1, 0));
    assert!(target.world().hits().iter().all(|hit| !hit.query.contains("y%22")), "it was not sent");
}

#[tokio::test]
async fn every_lead_of_an_address_goes_and_no_lead_of_a_similar_one() {
    let target = target().await;
    for _ in 0..3 {
        target.put(&ann());
    }
    target.put(&Person::new("C-1", "\u{e1}nn@shop.example", "+4915112345679", "A B"));
    let (subject, journal) = (by_email(&ann().email), MemoryJournal::default());
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed), (3, 3));
    assert_eq!(target.calls("POST", "/leads/delete.json").len(), 1);
    assert_eq!(target.world().all("leads").len(), 1, "the simulator's collation takes á for a; we do not");
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_told_with_the_same_counts() {
    let target = target().await;
    target.put(&ann());
    target.world().fault(Fault::EffectThen500, Some("delete.json"));
    let (subject, connector, journal) = (ann().subject(), target.connector(), MemoryJournal::default());
    assert!(matches!(trouble(only(connector.erase(&[work("e", &subject)], &journal).await)), Trouble::Retry(_)));
    let prior = journal.announced("e").expect("it was announced");
    let item = Work { prior: Some(&prior), ..work("e", &subject) };
    let erased = done(only(connector.erase(&[item], &journal).await));
    assert_eq!((erased.found, erased.changed), (1, 1));
}

#[tokio::test]
async fn half_an_answer_or_a_page_for_people_is_never_nobody() {
    for fault in [Fault::Truncated, Fault::Html, Fault::Status(200, "{}".into(), None)] {
        let target = target().await;
        target.put(&ann());
        target.world().fault(fault.clone(), Some("leads.json"));
        let subject = ann().subject();
        let answer = trouble(only(target.connector().discover(&[work("d", &subject)]).await));
        assert!(matches!(answer, Trouble::Retry(_)), "{fault:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_missing_permission_is_told_as_one() {
    let target = target().await;
    target.put(&ann());
    target.world().fault(said("603"), Some("leads.json"));
    let subject = ann().subject();
    match trouble(only(target.connector().discover(&[work("d", &subject)]).await)) {
        Trouble::Denied(problem) => assert_eq!(problem.code, "permission_missing"),
        other => panic!("{other:?}"),
    }
}

/// Runs in CI, where packages can be installed.
#[tokio::test]
#[ignore = "installs a package"]
async fn an_unrelated_client_drives_the_simulator() {
    let target = target().await;
    target.world().allow(allowance());
    let (url, script) = (target.url(), concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/clients/marketo.py"));
    let run = move || std::process::Command::new("python3").args([script, &url, KEY]).output();
    let output = tokio::task::spawn_blocking(run).await.expect("it ran").expect("python3 is there");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

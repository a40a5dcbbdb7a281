//! Zendesk: a search engine that finds too much, a deletion in two calls, tickets that stand in the way.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, Person, ann, confirmed, done, only, trouble, work};
use crate::{Trouble, Work};
use redress_domain::{IdentifierType, Verb};
use redress_sandbox::Fault;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

pub(super) async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("zendesk").await.setting("subdomain", "shop");
    let target = target.setting("email", "admin@shop.example").secret("api_token", KEY);
    let target = target.hands_over_more("a user's identities are handed over, and go with the user");
    let target = target.cannot_carry("the search knows no escape for a quotation mark, a backslash or a wildcard");
    target.correcting("name", "users", "/email", "/name").known_as(|world, person, kind| {
        let own = world.all("users").into_iter().find(|(_, user)| user["email"] == *person.email);
        own.filter(|_| kind == IdentifierType::CrmId).map(|(id, _)| id)
    })
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn tickets_go_first_then_the_user_for_good() {
    let target = target().await;
    target.put(&ann());
    let (id, user) = target.world().all("users").remove(0);
    let longer = user["id"].as_u64().map(|own| own * 10 + 7);
    for (ticket, requester) in [("71", user["id"].clone()), ("72", json!(longer))] {
        let ticket_id: u64 = ticket.parse().expect("a number");
        target.world().put("tickets", ticket, json!({"id": ticket_id, "requester_id": requester, "status": "open"}));
    }
    let (subject, connector) = (ann().subject(), target.connector());
    let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (2, 2), "a user and a ticket");
    let shell = target.world().get("deleted_users", &id).expect("a shell stays");
    assert_eq!((shell["name"].as_str(), shell["email"].is_null()), (Some("Permanently Deleted User"), true));
    assert!(target.world().all("deleted_tickets").is_empty());
    assert_eq!(target.world().all("tickets").len(), 1, "somebody else's ticket stays");
    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    confirmed(only(connector.verify(Verb::Erase, &[item]).await));
}

#[tokio::test]
async fn a_run_that_ended_between_the_two_calls_is_finished_by_the_next() {
    let target = target().await;
    target.put(&ann());
    target.world().fault(Fault::Status(500, "{}".into(), None), Some("deleted_users"));
    let (subject, connector, journal) = (ann().subject(), target.connector(), MemoryJournal::default());
    let answer = trouble(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert!(matches!(answer, Trouble::Retry(_)), "{answer:?}");
    assert_eq!(target.left(&ann().email), 1, "hidden, not gone");
    let prior = journal.announced("e").expect("it was announced");
    let item = Work { prior: Some(&prior), ..work("e", &subject) };
    let erased = done(only(connector.erase(&[item], &journal).await));
    assert_eq!((erased.found, erased.changed), (1, 1));
    assert_eq!(target.left(&ann().email), 0);
}

#[tokio::test]
async fn a_user_who_was_only_hidden_is_not_confirmed() {
    let target = target().await;
    target.put(&ann());
    let (subject, connector, journal) = (ann().subject(), target.connector(), MemoryJournal::default());
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    // As if the second call had said yes without doing it.
    let (id, mut user) = target.world().all("deleted_users").remove(0);
    user.insert("name".into(), "Ann Vorbild".into());
    target.world().put("deleted_users", &id, serde_json::Value::Object(user));
    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    let verdict = only(connector.verify(Verb::Erase, &[item]).await);
    assert!(matches!(verdict, crate::Verdict::Residue { remaining: 1, .. }), "{verdict:?}");
}

#[tokio::test]
async fn a_wrong_subdomain_is_no_empty_account() {
    let target = target().await;
    target.put(&ann());
    let page = json!({"error": {"title": "No help desk at that address"}}).to_string();
    target.world().fault(Fault::Status(404, page, None), None);
    let subject = ann().subject();
    let answer = trouble(only(target.connector().discover(&[work("d", &subject)]).await));
    assert!(matches!(answer, Trouble::Denied(_)), "{answer:?}");
}

#[tokio::test]
async fn more_hits_than_a_page_are_all_compared() {
    let target = target().await;
    for n in 0..250 {
        target.put(&Person::new(&format!("C-{n}"), &format!("x{n}ann@shop.example"), "+4915012345678", "A B"));
    }
    target.put(&ann());
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    assert_eq!(done(only(target.connector().discover(&[work("d", &subject)]).await)).found, 1);
    assert_eq!(target.calls("GET", "/users/search").len(), 3);
}

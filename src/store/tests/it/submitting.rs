//! A submission is durable with everything that belongs to it, or it was not accepted at all.

use crate::lab::{Lab, Wish, a_system, render};
use redress_domain::step::StepState;
use redress_domain::{ControllerId, IdentifierType};
use redress_store::{Error, Submitted};
use std::collections::BTreeSet;

on_both!(
    an_accepted_request_is_there_with_steps_event_and_person_after_a_restart,
    a_system_that_cannot_be_searched_is_itemised_from_the_start,
    the_same_key_and_body_replays_the_first_answer,
    the_same_key_with_another_body_is_refused,
    the_same_key_of_another_controller_is_another_key,
    twenty_submissions_at_once_with_one_key_make_one_request,
    twenty_submissions_at_once_without_a_key_make_twenty_requests,
    a_submission_for_an_unknown_controller_is_not_found,
    a_submission_that_fails_leaves_nothing,
);

async fn an_accepted_request_is_there_with_steps_event_and_person_after_a_restart(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.submit(&ctl, Wish::deletion().told()).await;
    let store = lab.another().await;
    let detail = store.dsr(&ctl, &id).await.expect("there");
    assert_eq!((detail.row.status.as_str(), detail.row.due_before), ("in_progress", 2_000_000_000_000));
    let steps: Vec<_> = detail.steps.iter().map(|s| (s.system.as_str(), s.verb.as_str(), s.status)).collect();
    assert_eq!(steps, [("crm", "erase", StepState::Queued), ("shop", "erase", StepState::Queued)]);
    assert_eq!(detail.row.reference.expect("kept").expose(), "TICKET-canary");
    let people = store.identifiers(&ctl, &id).await.expect("opened");
    assert_eq!(people.len(), 3);
    assert!(people.contains(&("email".into(), "canary.jane@example.com".into())));
    let events = store.events_of(&ctl, &id).await.expect("read");
    assert_eq!(
        events.iter().map(|e| (e.kind.as_str(), e.actor.as_str())).collect::<Vec<_>>(),
        [("received", "key_test"), ("work_began", "engine")]
    );
    assert_eq!(lab.count("steps WHERE verb = 'notify'").await, 2);
}

async fn a_system_that_cannot_be_searched_is_itemised_from_the_start(lab: Lab) {
    let ctl = lab.controller("acme").await;
    let mut blind = a_system("blind");
    blind.identifiers = vec![];
    lab.store.upsert_system(&ctl, &blind, "operator").await.expect("stored");
    let mut seeing = a_system("seeing");
    seeing.identifiers = vec![IdentifierType::Email];
    lab.store.upsert_system(&ctl, &seeing, "operator").await.expect("stored");
    let id = lab.submit(&ctl, Wish::deletion()).await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.steps[0].status, StepState::Retained);
    let why = detail.steps[0].result.as_ref().expect("a reason").to_string();
    assert!(why.contains("no_usable_identifier"), "{why}");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "partially_completed");
}

async fn answer_of(lab: &Lab, ctl: &ControllerId, key: &str, body: &str) -> Submitted {
    let new = lab.new_dsr(ctl, &Wish::deletion().key(key, body)).await;
    lab.store.submit(new, render).await.expect("answered")
}

async fn the_same_key_and_body_replays_the_first_answer(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let Submitted::New(id, first) = answer_of(&lab, &ctl, "k", "b").await else { panic!("new") };
    // The answer is the first one, whatever happened since.
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let Submitted::Replayed(again) = answer_of(&lab, &ctl, "k", "b").await else { panic!("replayed") };
    assert_eq!(again.to_string(), first.to_string());
    assert_eq!(lab.count("dsrs").await, 1);
}

async fn the_same_key_with_another_body_is_refused(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    answer_of(&lab, &ctl, "k", "b").await;
    assert!(matches!(answer_of(&lab, &ctl, "k", "c").await, Submitted::KeyReused));
    assert_eq!(lab.count("dsrs").await, 1);
}

async fn the_same_key_of_another_controller_is_another_key(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    answer_of(&lab, &ctl, "k", "b").await;
    assert!(matches!(answer_of(&lab, &other, "k", "c").await, Submitted::New(..)));
}

async fn twenty_submissions_at_once_with_one_key_make_one_request(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let other = lab.another().await;
    let all = futures::future::join_all((0..20).map(|n| {
        let store = if n % 2 == 0 { lab.store.clone() } else { other.clone() };
        let (lab, ctl) = (&lab, &ctl);
        async move {
            let new = lab.new_dsr(ctl, &Wish::deletion().told().key("k", "b")).await;
            let submit = async move { store.submit(new, render).await.expect("answered") };
            tokio::spawn(submit).await.expect("no panic")
        }
    }))
    .await;
    let mut answers = BTreeSet::new();
    let mut new = 0;
    for submitted in all {
        match submitted {
            Submitted::New(_, answer) => {
                new += 1;
                answers.insert(answer.to_string());
            }
            Submitted::Replayed(answer) => drop(answers.insert(answer.to_string())),
            Submitted::KeyReused => panic!("the same body"),
        }
    }
    assert_eq!((new, answers.len()), (1, 1));
    assert_eq!((lab.count("dsrs").await, lab.count("steps WHERE verb <> 'notify'").await), (1, 2));
}

async fn twenty_submissions_at_once_without_a_key_make_twenty_requests(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let other = lab.another().await;
    let all = futures::future::join_all((0..20).map(|n| {
        let store = if n % 2 == 0 { lab.store.clone() } else { other.clone() };
        let (lab, ctl) = (&lab, &ctl);
        async move {
            let new = lab.new_dsr(ctl, &Wish::deletion().told()).await;
            tokio::spawn(async move { store.submit(new, render).await }).await.expect("no panic")
        }
    }))
    .await;
    for submitted in all {
        assert!(matches!(submitted, Ok(Submitted::New(..))), "{submitted:?}");
    }
    assert_eq!(lab.count("dsrs").await, 20);
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn a_submission_for_an_unknown_controller_is_not_found(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let mut new = lab.new_dsr(&ctl, &Wish::deletion()).await;
    new.controller_id = ControllerId::from_parts(1, [1; 10]);
    assert!(matches!(lab.store.submit(new, render).await, Err(Error::NotFound)));
}

async fn a_submission_that_fails_leaves_nothing(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    // Its last statement moves the head of the audit log; without the table of steps it does not get there.
    lab.sql("ALTER TABLE steps RENAME TO elsewhere").await.expect("renamed");
    let new = lab.new_dsr(&ctl, &Wish::deletion().key("k", "b")).await;
    assert!(lab.store.submit(new, render).await.is_err());
    lab.sql("ALTER TABLE elsewhere RENAME TO steps").await.expect("renamed");
    assert_eq!((lab.count("dsrs").await, lab.count("idempotency").await), (0, 0));
    assert_eq!(lab.count("events WHERE dsr_id IS NOT NULL").await, 0);
}

//! The desk shows what a person has to do: one entry for each cause, the one that makes something late first being the first, and
//! nothing of other controllers.

use crate::lab::{Lab, Wish, attention};
use crate::lookout::sweep;
use crate::watching::route;
use redress_domain::notice::{Channel, Delivery, NotifyRole};
use redress_domain::{MessageId, Verb};
use redress_store::{Dead, Error, MessageOutcome, StepResult, WorkKind};

on_both!(
    one_cause_is_one_entry_however_many_requests_it_stops,
    a_request_without_any_system_is_on_the_desk,
    a_task_is_on_the_desk_until_it_is_reported_and_names_nobody,
    what_waits_for_approval_says_who_submitted_it,
    a_step_over_which_three_workers_died_is_a_dead_letter_and_not_stuck,
    statuses_that_were_given_up_are_told_again,
    a_message_that_was_given_up_is_sent_again_by_its_own_route_only,
);

/// Leases whatever is due in any lane.
async fn claim_all(lab: &Lab) -> Vec<redress_store::Lease> {
    let mut all = Vec::new();
    loop {
        let some = lab.claim().await;
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

async fn one_cause_is_one_entry_however_many_requests_it_stops(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    lab.system(&other, "crm").await;
    for due in [2_000_000_000_300, 2_000_000_000_100, 2_000_000_000_200] {
        lab.begun(&acme, Wish::deletion().due(due)).await;
    }
    let theirs = lab.begun(&other, Wish::deletion().due(2_000_000_000_150)).await;
    for lease in claim_all(&lab).await {
        lab.finish(&lease, attention()).await;
    }
    let all = lab.store.stuck_groups(None).await.expect("read");
    let outline: Vec<_> = all.iter().map(|g| (g.controller_id == acme, g.count, g.code.as_str())).collect();
    assert_eq!(outline, [(true, 3, "credentials_refused"), (false, 1, "credentials_refused")]);
    let dues: Vec<i64> = all[0].first.iter().map(|stopped| stopped.due_before).collect();
    assert_eq!(dues, [2_000_000_000_100, 2_000_000_000_200, 2_000_000_000_300]);
    assert_eq!((all[0].system.as_deref(), all[0].first[0].since), (Some("crm"), Some(lab.now())));
    let own = lab.store.stuck_groups(Some(std::slice::from_ref(&other))).await.expect("read");
    assert_eq!((own.len(), &own[0].first[0].dsr_id), (1, &theirs));
    assert!(lab.store.stuck_groups(Some(&[])).await.expect("read").is_empty());
}

async fn a_request_without_any_system_is_on_the_desk(lab: Lab) {
    let acme = lab.controller("acme").await;
    let id = lab.begun(&acme, Wish::access()).await;
    let all = lab.store.stuck_groups(None).await.expect("read");
    assert_eq!((all.len(), all[0].count, all[0].code.as_str()), (1, 1, "no_system_instructed"));
    assert!(all[0].first[0].dsr_id == id && all[0].detail.contains("connect one"), "{all:?}");
}

async fn a_task_is_on_the_desk_until_it_is_reported_and_names_nobody(lab: Lab) {
    let acme = lab.with_systems(&["office", "crm"]).await;
    lab.sql("UPDATE systems SET connector = 'manual' WHERE name = 'office'").await.expect("changed");
    let id = lab.begun(&acme, Wish::deletion()).await;
    let by = lab.now() + 86_400_000;
    for lease in claim_all(&lab).await {
        let result =
            StepResult::External { receipt: "canary-receipt".into(), check_at: by - 1_000, completes_by: Some(by) };
        lab.finish(&lease, result).await;
    }
    // A vendor that takes its time is nobody's task.
    let tasks = lab.store.desk_tasks(None).await.expect("read");
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let task = &tasks[0];
    assert_eq!((&task.request.dsr_id, task.system.as_str(), task.verb), (&id, "office", Verb::Erase));
    assert_eq!((task.report_by, task.late), (Some(by), false));
    assert!(!format!("{tasks:?}").contains("canary"));
    lab.sql("UPDATE steps SET q = NULL, attention = 1, error_code = 'task_overdue' WHERE state = 'external'")
        .await
        .expect("changed");
    assert!(lab.store.desk_tasks(None).await.expect("read")[0].late);
    let stuck = lab.store.stuck_groups(None).await.expect("read");
    assert_eq!((stuck.len(), stuck[0].system.as_deref()), (1, Some("crm")), "the task is told once: {stuck:?}");
}

async fn what_waits_for_approval_says_who_submitted_it(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let first = lab.begun(&acme, Wish::deletion().policy(true, 0, false).due(1_999_999_999_999)).await;
    lab.begun(&acme, Wish::deletion().policy(true, 0, false)).await;
    lab.begun(&acme, Wish::deletion()).await;
    let all = lab.store.desk_approvals(Some(std::slice::from_ref(&acme))).await.expect("read");
    assert_eq!(all.len(), 2);
    assert_eq!((&all[0].request.dsr_id, all[0].submitter.as_str(), all[0].is_review), (&first, "key_test", false));
    assert_eq!(lab.store.submitter(&acme, &first).await.expect("read"), "key_test");
    let other = lab.controller("other").await;
    assert!(matches!(lab.store.submitter(&other, &first).await, Err(Error::NotFound)));
    assert!(lab.store.desk_approvals(Some(&[other])).await.expect("read").is_empty());
}

async fn a_step_over_which_three_workers_died_is_a_dead_letter_and_not_stuck(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&acme, Wish::deletion()).await;
    for _ in 0..3 {
        lab.claim_and_die().await;
        lab.store.expire_leases().await.expect("expired");
    }
    let dead = lab.store.dead_letters(None).await.expect("read");
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(matches!(&dead[0].what, Dead::Step { dsr_id, system: Some(crm), .. } if *dsr_id == id && crm == "crm"));
    assert!(dead[0].what.can_be_replayed(&dead[0].code));
    assert!(lab.store.stuck_groups(None).await.expect("read").is_empty());
}

async fn statuses_that_were_given_up_are_told_again(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&acme, Wish::deletion().told()).await;
    let systems = lab.query("SELECT id FROM systems").await;
    let notices = || lab.store.claim("one", &systems, 10, 60_000);
    let first = notices().await.expect("claimed");
    assert!(first.len() > 1 && first.iter().all(|lease| lease.kind == WorkKind::Notify));
    for lease in &first {
        lab.finish(lease, StepResult::Dismissed { achieved: false, code: "gone".into() }).await;
    }
    let dead = lab.store.dead_letters(None).await.expect("read");
    let count = first.len() as i64;
    assert!(
        matches!(&dead[..], [letter] if matches!(&letter.what, Dead::Callback { dsr_id, count: n } if *dsr_id == id && *n == count)),
        "{dead:?}"
    );
    let other = lab.controller("other").await;
    assert!(matches!(lab.store.replay_callbacks(&other, &id, "key_x").await, Err(Error::NotFound)));
    assert_eq!(lab.store.replay_callbacks(&acme, &id, "key_x").await.expect("replayed"), first.len() as u64);
    assert!(matches!(lab.store.replay_callbacks(&acme, &id, "key_x").await, Err(Error::Conflict(_))));
    assert!(lab.store.dead_letters(None).await.expect("read").is_empty());
    let again = notices().await.expect("claimed");
    let ids = |leases: &[redress_store::Lease]| {
        let mut ids: Vec<String> = leases.iter().map(|lease| lease.step_id.to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&again), ids(&first), "by the same ids");
    for lease in &again {
        lab.finish(lease, StepResult::Dismissed { achieved: true, code: "200".into() }).await;
    }
    // What follows is told again too.
    lab.work_off().await;
    let told = lab.store.events_of(&acme, &id).await.expect("read");
    assert!(told.iter().filter(|event| event.kind == "controller_told").count() > first.len());
    assert!(told.iter().any(|event| event.kind == "callbacks_replayed" && event.actor == "key_x"));
}

async fn a_message_that_was_given_up_is_sent_again_by_its_own_route_only(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let mail = route("mail", NotifyRole::PrivacyTeam, Channel::Email, Delivery::Auto);
    lab.store.apply_routes(Some(&acme), std::slice::from_ref(&mail), false, "operator").await.expect("applied");
    lab.store.apply_routes(None, &[mail], false, "operator").await.expect("applied");
    lab.begun(&acme, Wish::deletion().due(lab.now() - 1)).await;
    sweep(&lab).await;
    let mut given_up = Vec::new();
    while let Some(lease) = lab.store.claim_message("one", &[], 60_000).await.expect("claimed") {
        let code = MessageOutcome::GivenUp { code: "given_up" };
        assert!(lab.store.finish_message(&lease, &code).await.expect("recorded"));
        given_up.push(lease.id);
    }
    assert_eq!(given_up.len(), 2);
    let mine = lab.store.dead_letters(Some(std::slice::from_ref(&acme))).await.expect("read");
    let all = lab.store.dead_letters(None).await.expect("read");
    assert_eq!((mine.len(), all.len()), (1, 2));
    let id = |letter: &redress_store::DeadLetter| -> MessageId {
        let Dead::Message { id, .. } = &letter.what else { panic!("{letter:?}") };
        id.clone()
    };
    let own = id(&mine[0]);
    let operators = all.iter().map(id).find(|id| *id != own).expect("another");
    let replay = |who, everybody, id| lab.store.replay_message(who, everybody, id, "usr_x");
    assert!(matches!(replay(&other, true, &own).await, Err(Error::NotFound)));
    assert!(matches!(replay(&acme, false, &operators).await, Err(Error::NotFound)));
    replay(&acme, false, &own).await.expect("replayed");
    assert!(matches!(replay(&acme, false, &own).await, Err(Error::Conflict(_))), "once");
    replay(&acme, true, &operators).await.expect("replayed");
    assert!(lab.store.dead_letters(None).await.expect("read").is_empty());
    let mut again = Vec::new();
    while let Some(lease) = lab.store.claim_message("one", &[], 60_000).await.expect("claimed") {
        assert!(lab.store.finish_message(&lease, &MessageOutcome::Sent { in_part: false }).await.expect("recorded"));
        again.push(lease.id);
    }
    again.sort();
    given_up.sort();
    assert_eq!(again, given_up, "by the same ids");
    assert!(matches!(replay(&acme, false, &own).await, Err(Error::Conflict(_))), "what was sent is not sent again");
}

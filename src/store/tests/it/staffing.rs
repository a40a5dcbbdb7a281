//! The staff log is one chain that nobody can change, fork or forget.

use crate::audit::hash_of;
use crate::lab::Lab;
use crate::watching::route;
use jiff::SignedDuration;
use redress_domain::notice::{Channel, Delivery, NotifyRole};
use redress_domain::{ControllerId, Permit, Role, Roles, UserId};
use redress_store::{
    Emergency, EndedBy, Error, Identified, MessageLease, MessageOutcome, NewRoute, StaffEvent, Store, UserChange,
};
use serde_json::json;
use std::time::Duration;

on_both!(
    the_staff_log_is_a_chain_by_the_documented_rule,
    the_database_itself_refuses_to_change_the_staff_log,
    writers_of_two_processes_never_fork_the_staff_log,
    a_change_of_somebody_holds_at_once_and_is_in_the_staff_log,
    the_last_administrator_stays_even_if_two_leave_at_once,
    sessions_are_listed_and_ended_by_those_who_may,
    broken_glass_is_told_everywhere_and_mends_by_itself,
    emergency_rights_are_announced_by_messages_that_no_death_loses,
    nobody_gets_emergency_rights_untold,
    an_announcement_does_not_wait_for_others_that_its_route_did_not_take,
    a_staff_log_that_was_rewritten_is_found,
);

async fn signed_in(store: &Store, name: &str, roles: &[Role], scope: Option<Vec<ControllerId>>) -> (UserId, String) {
    let who = Identified {
        issuer: "https://idp.example".into(),
        subject: name.to_owned().into(),
        name: name.to_owned().into(),
        email: Some(format!("{name}@staff.example").into()),
        roles: Roles::new(roles.iter().copied()),
        controllers: scope,
    };
    let (id, _, text) = store.sign_in(&who, Duration::from_hours(12)).await.expect("signed in");
    (id, text)
}

fn given(roles: &[Role]) -> UserChange {
    UserChange { roles: Some(Roles::new(roles.iter().copied())), controllers: None, disabled: false }
}

async fn a_change_of_somebody_holds_at_once_and_is_in_the_staff_log(lab: Lab) {
    let store = &lab.store;
    let ctl = lab.controller("acme").await;
    let (admin, _) = signed_in(store, "ada", &[Role::Admin], None).await;
    let (id, text) = signed_in(store, "bo", &[Role::Auditor], None).await;
    let change = UserChange { controllers: Some(vec![ctl.clone()]), ..given(&[Role::PrivacyLead]) };
    store.change_user(&id, &change, admin.as_str()).await.expect("changed");
    let session = store.session(&text).await.expect("read").expect("it holds");
    assert!(session.roles.may(Permit::Decide) && session.controllers == Some(vec![ctl]));
    // What an administrator gave, another sign-in does not take away.
    signed_in(store, "bo", &[Role::Auditor], None).await;
    let users = store.users(None, 10).await.expect("read");
    assert_eq!(users.len(), 2);
    let bo = users.iter().find(|user| user.id == id).expect("listed");
    assert!(bo.given && bo.roles == Role::PrivacyLead.into());
    assert_eq!(bo.email.as_ref().map(|email| email.expose().as_str()), Some("bo@staff.example"));
    // Back to the groups: signed out, no roles until the next sign-in, then those of the groups.
    let back = UserChange { roles: None, controllers: None, disabled: false };
    store.change_user(&id, &back, admin.as_str()).await.expect("changed");
    assert!(store.session(&text).await.expect("read").is_none());
    assert!(store.user(&id).await.expect("there").roles.is_empty());
    let (_, text) = signed_in(store, "bo", &[Role::Operator], None).await;
    assert_eq!(store.session(&text).await.expect("read").expect("it holds").roles, Role::Operator.into());
    // Disabled: out at once, and never in again; let in again, the old session does not come back.
    store.change_user(&id, &UserChange { disabled: true, ..given(&[]) }, admin.as_str()).await.expect("changed");
    assert!(store.session(&text).await.expect("read").is_none());
    store.change_user(&id, &given(&[Role::Operator]), admin.as_str()).await.expect("changed");
    assert!(store.session(&text).await.expect("read").is_none());
    let kinds: Vec<String> = assert_staff_chain(store).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "user_changed").count(), 4, "{kinds:?}");
    let nobody = UserId::from_parts(1, [9; 10]);
    assert!(matches!(store.change_user(&nobody, &back, "x").await, Err(Error::NotFound)));
    let known = store.names_of(&[id.as_str(), "engine", nobody.as_str()]).await.expect("read");
    assert_eq!(known.len(), 1);
}

async fn the_last_administrator_stays_even_if_two_leave_at_once(lab: Lab) {
    let ctl = lab.controller("acme").await;
    let (one, _) = signed_in(&lab.store, "one", &[Role::Admin], None).await;
    // Neither counts: one sees a part only, the other only sounds like it.
    signed_in(&lab.store, "part", &[Role::Admin], Some(vec![ctl.clone()])).await;
    signed_in(&lab.store, "tenant", &[Role::ControllerAdmin], None).await;
    let confined = UserChange { controllers: Some(vec![ctl]), ..given(&[Role::Admin]) };
    let disabled = UserChange { disabled: true, ..given(&[Role::Admin]) };
    let groups = UserChange { roles: None, ..given(&[]) };
    for change in [given(&[Role::Operator]), confined, disabled, groups] {
        let refused = lab.store.change_user(&one, &change, one.as_str()).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{change:?}: {refused:?}");
    }
    let (two, _) = signed_in(&lab.store, "two", &[Role::Admin, Role::Operator], None).await;
    let another = lab.another().await;
    let (gone, change) = (given(&[Role::Operator]), given(&[Role::Auditor]));
    let (a, b) = tokio::join!(
        lab.store.change_user(&one, &gone, two.as_str()),
        another.change_user(&two, &change, one.as_str())
    );
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    let users = lab.store.users(None, 10).await.expect("read");
    let left = users.iter().filter(|user| user.controllers.is_none() && user.roles.may(Permit::People));
    assert_eq!(left.count(), 1);
}

async fn sessions_are_listed_and_ended_by_those_who_may(lab: Lab) {
    let store = &lab.store;
    let (ada, first) = signed_in(store, "ada", &[Role::Admin], None).await;
    let (_, second) = signed_in(store, "ada", &[Role::Admin], None).await;
    let (bo, third) = signed_in(store, "bo", &[Role::Auditor], None).await;
    assert_eq!(store.sessions(None, 10).await.expect("read").len(), 3);
    let own = store.sessions(Some(&ada), 10).await.expect("read");
    assert_eq!(own.len(), 2);
    let foreign = store.revoke_session(&own[0].id, Some(&bo), bo.as_str()).await;
    assert!(matches!(foreign, Err(Error::NotFound)), "{foreign:?}");
    let id = store.session(&first).await.expect("read").expect("it holds").id;
    store.revoke_session(&id, Some(&ada), ada.as_str()).await.expect("ended");
    assert!(matches!(store.revoke_session(&id, None, ada.as_str()).await, Err(Error::NotFound)));
    assert!(store.session(&first).await.expect("read").is_none());
    assert_eq!(store.sign_out_everywhere(&ada, bo.as_str()).await.expect("ended"), 1);
    assert!(store.session(&second).await.expect("read").is_none());
    assert!(store.session(&third).await.expect("read").is_some());
    let kinds: Vec<String> = assert_staff_chain(store).await.into_iter().map(|event| event.kind).collect();
    assert!(kinds.ends_with(&["session_ended".into(), "signed_out_everywhere".into()]), "{kinds:?}");
}

async fn broken_glass_is_told_everywhere_and_mends_by_itself(lab: Lab) {
    let store = &lab.store;
    let (acme, other) = (lab.controller("acme").await, lab.controller("other").await);
    let (id, text) = signed_in(store, "ada", &[Role::BreakGlass], Some(vec![acme.clone()])).await;
    let session = || async { store.session(&text).await.expect("read").expect("it holds") };
    assert!(!session().await.roles.may(Permit::Reveal));
    let until = store.break_glass(&session().await, "the database of the CRM is down", 30).await.expect("taken up");
    assert_eq!(until, lab.now() + 30 * 60_000);
    assert!(session().await.roles.may(Permit::Reveal));
    let twice = store.break_glass(&session().await, "once more, because I can", 30).await;
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
    let broken = store.broken_glass().await.expect("read");
    assert_eq!((broken.len(), &broken[0].user_id, broken[0].until), (1, &id, until));
    // Each controller that they see is told, without a word of theirs; others are not.
    let told = crate::audit::assert_chain(store, &acme).await.pop().expect("an event");
    assert_eq!((told.kind.as_str(), told.actor.as_str()), ("break_glass", id.as_str()));
    assert!(!told.data.to_string().contains("CRM"), "{told:?}");
    assert_ne!(crate::audit::assert_chain(store, &other).await.pop().expect("an event").kind, "break_glass");
    assert_eq!(store.sweep_glass().await.expect("swept"), 0);
    // The rights end at the instant, the event follows once, whoever sweeps.
    lab.clock.advance(SignedDuration::from_mins(30));
    assert!(!session().await.roles.may(Permit::Reveal));
    let another = lab.another().await;
    let (a, b) = tokio::join!(store.sweep_glass(), another.sweep_glass());
    assert_eq!(a.expect("swept") + b.expect("swept"), 1);
    assert!(store.broken_glass().await.expect("read").is_empty());
    // Taken up again and ended by hand, and by the end of the session.
    store.break_glass(&session().await, "the database of the CRM is down", 5).await.expect("taken up");
    store.mend_glass(&session().await).await.expect("ended");
    assert!(matches!(store.mend_glass(&session().await).await, Err(Error::Conflict(_))));
    store.break_glass(&session().await, "the database of the CRM is down", 5).await.expect("taken up");
    store.sign_out_everywhere(&id, "usr_x").await.expect("ended");
    assert_eq!(store.sweep_glass().await.expect("swept"), 1);
    let by: Vec<String> = assert_staff_chain(store)
        .await
        .iter()
        .filter(|event| event.kind == "break_glass_ended")
        .map(|event| event.data["by"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(by, ["time", "person", "session"]);
    crate::audit::assert_chain(store, &acme).await;
}

fn operators(name: &str, role: NotifyRole) -> NewRoute {
    route(name, role, Channel::Slack, Delivery::Digest)
}

async fn emergency_rights_are_announced_by_messages_that_no_death_loses(lab: Lab) {
    let store = &lab.store;
    lab.controller("acme").await;
    let wanted = [operators("desk", NotifyRole::Operator), operators("privacy", NotifyRole::PrivacyTeam)];
    store.apply_routes(None, &wanted, false, "operator").await.expect("applied");
    let (id, text) = signed_in(store, "ada", &[Role::BreakGlass], None).await;
    let session = store.session(&text).await.expect("read").expect("it holds");
    let until = store.break_glass(&session, "the database of the CRM is down", 30).await.expect("taken up");
    // Nothing but the database knows of it now: whoever begins anew finds it, and whoever dies with it leaves it to another.
    let reborn = lab.another().await;
    let claim = async |store: &Store| store.claim_message("one", &[], 60_000).await.expect("claimed");
    let first = claim(&reborn).await.expect("the operator's route is told at once");
    assert!(claim(&reborn).await.is_none(), "the privacy team is not, while there is somebody who operates");
    lab.sql("UPDATE messages SET lease_until = 0").await.expect("it died");
    assert_eq!(store.expire_messages().await.expect("taken back"), 1);
    let again = claim(store).await.expect("it is told by another");
    assert_eq!((&again.id, again.announces), (&first.id, true));
    let said = store.announcement(&again.id).await.expect("read").expect("an announcement");
    assert_eq!((said.emergency, &said.user), (Emergency::TakenUp { until }, &id));
    assert_eq!(said.name.expose(), "ada");
    assert!(!lab.query("SELECT announces FROM messages").await[0].contains("ada"), "names are kept sealed");
    // A route that does not answer is tried again; what came of it stands in the staff log.
    let finish = async |lease: &MessageLease, outcome| store.finish_message(lease, &outcome).await.expect("recorded");
    assert!(finish(&again, MessageOutcome::Later { not_before: lab.now() + 5_000, reached: 0 }).await);
    assert!(claim(store).await.is_none());
    lab.travel(5_000);
    let third = claim(store).await.expect("tried again");
    assert!(finish(&third, MessageOutcome::Sent { in_part: false }).await);
    // So is its end. A route that was removed meanwhile was not told, and that is recorded.
    let session = store.session(&text).await.expect("read").expect("it holds");
    store.mend_glass(&session).await.expect("ended");
    store.apply_routes(None, &[], false, "operator").await.expect("applied");
    let ended = claim(store).await.expect("the end is announced");
    let said = store.announcement(&ended.id).await.expect("read").expect("an announcement");
    assert_eq!(said.emergency, Emergency::Ended { by: EndedBy::Person });
    assert!(finish(&ended, MessageOutcome::GivenUp { code: "route_removed" }).await);
    let log = assert_staff_chain(store).await;
    let told: Vec<_> = log.iter().filter(|event| event.kind == "break_glass_announced").map(|e| &e.data).collect();
    assert_eq!(told[0]["told"], json!(["desk"]));
    assert_eq!((&told[1]["of"], &told[1]["not_told"]), (&json!("break_glass_ended"), &json!(["desk"])));
    // One over which three died is put aside, and that is recorded too.
    store.apply_routes(None, &[operators("team", NotifyRole::PrivacyTeam)], false, "operator").await.expect("applied");
    store.break_glass(&session, "the database of the CRM is down", 5).await.expect("taken up, without an operator");
    for _ in 0..3 {
        claim(store).await.expect("leased");
        lab.sql("UPDATE messages SET lease_until = 0 WHERE q = 'run'").await.expect("it died");
        store.expire_messages().await.expect("taken back");
    }
    let last = assert_staff_chain(store).await.pop().expect("an event");
    assert_eq!((&last.data["outcome"], &last.data["not_told"]), (&json!("quarantined"), &json!(["team"])));
}

async fn nobody_gets_emergency_rights_untold(lab: Lab) {
    let store = &lab.store;
    store.apply_routes(None, &[operators("desk", NotifyRole::Operator)], false, "operator").await.expect("applied");
    let (_, text) = signed_in(store, "ada", &[Role::BreakGlass], None).await;
    let session = async || store.session(&text).await.expect("read").expect("it holds");
    lab.sql("ALTER TABLE messages RENAME TO away").await.expect("renamed");
    store.break_glass(&session().await, "the database of the CRM is down", 30).await.expect_err("it cannot be told");
    assert!(!session().await.roles.may(Permit::Reveal));
    assert!(assert_staff_chain(store).await.iter().all(|event| event.kind != "break_glass"));
    lab.sql("ALTER TABLE away RENAME TO messages").await.expect("renamed");
    store.break_glass(&session().await, "the database of the CRM is down", 30).await.expect("taken up");
    assert!(session().await.roles.may(Permit::Reveal));
    assert_eq!(lab.count("messages WHERE announces IS NOT NULL").await, 1);
}

async fn an_announcement_does_not_wait_for_others_that_its_route_did_not_take(lab: Lab) {
    let store = &lab.store;
    store.apply_routes(None, &[operators("desk", NotifyRole::Operator)], false, "operator").await.expect("applied");
    let (_, text) = signed_in(store, "ada", &[Role::BreakGlass], None).await;
    let session = async || store.session(&text).await.expect("read").expect("it holds");
    store.break_glass(&session().await, "the database of the CRM is down", 30).await.expect("taken up");
    store.mend_glass(&session().await).await.expect("ended");
    let first = store.claim_message("one", &[], 60_000).await.expect("claimed").expect("that they were taken up");
    let tomorrow = MessageOutcome::Later { not_before: lab.now() + 86_400_000, reached: 0 };
    assert!(store.finish_message(&first, &tomorrow).await.expect("recorded"));
    let second = store.claim_message("one", &[], 60_000).await.expect("claimed").expect("that they ended");
    assert_ne!(second.id, first.id);
}

async fn a_staff_log_that_was_rewritten_is_found(lab: Lab) {
    let empty = lab.store.check_staff_chain(10).await.expect("read");
    assert_eq!((empty.broken_at, empty.checked), (None, 0));
    for n in 0..30 {
        lab.store.record_staff_event("usr_x", "noted", json!({ "n": n })).await.expect("recorded");
    }
    for most in [1, 2, 10, 30, 31, 10_000] {
        let whole = lab.store.check_staff_chain(most).await.expect("read");
        assert_eq!((whole.broken_at, whole.checked), (None, most.min(30)), "{most}");
    }
    let off = match lab.store.dialect() {
        redress_store::Dialect::Postgres => "ALTER TABLE staff_events DISABLE TRIGGER USER",
        redress_store::Dialect::Sqlite => {
            "DROP TRIGGER staff_events_no_update; DROP TRIGGER staff_events_no_delete; DROP TRIGGER staff_events_no_replace"
        }
    };
    lab.sql(off).await.expect("an intruder with all rights");
    lab.sql("UPDATE staff_events SET actor = 'nobody' WHERE seq = 20").await.expect("changed");
    assert_eq!(lab.store.check_staff_chain(10_000).await.expect("read").broken_at, Some(20));
    assert_eq!(lab.store.check_staff_chain(5).await.expect("read").broken_at, None, "it was not looked at");
    lab.sql("DELETE FROM staff_events WHERE seq = 28").await.expect("taken out");
    assert_eq!(lab.store.check_staff_chain(5).await.expect("read").broken_at, Some(28));
}

/// Checks the whole staff log and gives it back.
pub(crate) async fn assert_staff_chain(store: &Store) -> Vec<StaffEvent> {
    let all = store.staff_events(0, 1_000_000).await.expect("read");
    let mut before = String::new();
    for (i, event) in all.iter().enumerate() {
        assert_eq!(event.seq, i as i64 + 1, "the numbers have no gap");
        assert_eq!(event.prev_hash, before, "event {} names the one before", event.seq);
        assert_eq!(event.hash, hash_of(event), "event {} is whole", event.seq);
        before.clone_from(&event.hash);
    }
    all
}

async fn the_staff_log_is_a_chain_by_the_documented_rule(lab: Lab) {
    for n in 0..3 {
        let data = json!({ "z": n, "a": ["x", { "c": 1, "b": "\u{1f600} \"quoted\"\n" }] });
        lab.store.record_staff_event("usr_test", "noted", data).await.expect("noted");
    }
    let all = assert_staff_chain(&lab.store).await;
    assert_eq!(all.len(), 3);
    assert_eq!((all[1].at.as_str(), &all[1].data["z"]), ("2026-11-21T10:00:00Z", &json!(1)));
    assert_eq!(lab.store.staff_events(1, 1).await.expect("read"), all[1..2]);
    let newest: Vec<i64> =
        lab.store.staff_events_before(3, 10).await.expect("read").iter().map(|event| event.seq).collect();
    assert_eq!(newest, [2, 1]);
    let changes: [fn(&mut StaffEvent); 3] = [|e| e.actor = "x".into(), |e| e.data = json!({}), |e| e.seq = 9];
    for change in changes {
        let mut changed = all[0].clone();
        change(&mut changed);
        assert_ne!(hash_of(&changed), changed.hash);
    }
}

async fn the_database_itself_refuses_to_change_the_staff_log(lab: Lab) {
    for _ in 0..2 {
        lab.store.record_staff_event("usr_test", "noted", json!({})).await.expect("noted");
    }
    let mut tries = vec!["UPDATE staff_events SET kind = 'x'", "DELETE FROM staff_events WHERE seq = 2"];
    tries.push(match lab.store.dialect() {
        redress_store::Dialect::Postgres => "TRUNCATE staff_events",
        redress_store::Dialect::Sqlite => "REPLACE INTO staff_events SELECT * FROM staff_events WHERE seq = 1",
    });
    for sql in tries {
        let refused = lab.sql(sql).await.expect_err(sql);
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(assert_staff_chain(&lab.store).await.len(), 2);
}

async fn writers_of_two_processes_never_fork_the_staff_log(lab: Lab) {
    let stores = [lab.store.clone(), lab.another().await];
    let writers = (0..6).map(|n| {
        let store = stores[n % 2].clone();
        tokio::spawn(async move {
            for i in 0..8 {
                store.record_staff_event("usr_test", "noted", json!({ "n": n, "i": i })).await.expect("noted");
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("no panic");
    }
    assert_eq!(assert_staff_chain(&lab.store).await.len(), 48);
}

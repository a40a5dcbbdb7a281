//! Every change of what is instructed makes a version, whoever changes it and by whatever way.

use crate::lab::{Lab, Wish, a_system};
use redress_domain::{ControllerId, RequestType, UserId};
use redress_store::{ControllerPolicy, Error, Instructed, Instructions, NewController};

on_both!(
    whatever_changes_what_is_instructed_makes_a_version,
    new_instructions_hold_and_tell_the_difference,
    who_has_not_seen_what_is_in_force_overwrites_nothing,
    four_eyes_want_a_second_person_to_say_the_same,
    a_request_tells_by_which_version_it_was_planned,
    two_who_instruct_at_the_same_time_make_two_versions_or_one_is_refused,
    another_controllers_instructions_are_its_own,
);

async fn version(lab: &Lab, ctl: &ControllerId) -> i64 {
    lab.store.instructions(ctl).await.expect("read").0.version
}

async fn in_force(lab: &Lab, ctl: &ControllerId) -> Instructions {
    lab.store.instructions(ctl).await.expect("read").0.instructions
}

fn again(name: &str, policy: ControllerPolicy) -> NewController {
    NewController {
        name: name.into(),
        country: Some("DE".into()),
        timezone: "Europe/Berlin".into(),
        region: None,
        contact: None,
        policy,
        terms: None,
        weight: 1,
    }
}

async fn kinds(lab: &Lab, ctl: &ControllerId, kind: &str) -> Vec<serde_json::Value> {
    let events = lab.store.events_after(ctl, 0, 1_000).await.expect("read");
    events.into_iter().filter(|event| event.kind == kind).map(|event| event.data).collect()
}

async fn whatever_changes_what_is_instructed_makes_a_version(lab: Lab) {
    let ctl = lab.controller("acme").await;
    assert_eq!(version(&lab, &ctl).await, 1);
    let mut system = a_system("crm");
    system.allow = vec![RequestType::Deletion, RequestType::Access];
    lab.store.upsert_system(&ctl, &system, "operator").await.expect("connected");
    assert_eq!(version(&lab, &ctl).await, 2);
    // What does not instruct makes none, and neither does another order of the same rights.
    system.batch = 7;
    lab.store.upsert_system(&ctl, &system, "operator").await.expect("changed");
    system.allow.reverse();
    lab.store.upsert_system(&ctl, &system, "operator").await.expect("changed");
    assert_eq!(version(&lab, &ctl).await, 2);
    let policy = ControllerPolicy { cooling_off_hours: 24, ..ControllerPolicy::default() };
    let old = lab.store.controller(&ctl).await.expect("there");
    let same_policy = NewController { contact: Some("privacy@acme.example".into()), ..again("acme", old.policy) };
    lab.store.update_controller(&ctl, &same_policy, "operator").await.expect("changed");
    assert_eq!(version(&lab, &ctl).await, 2);
    lab.store.update_controller(&ctl, &again("acme", policy), "operator").await.expect("changed");
    assert_eq!(version(&lab, &ctl).await, 3);
    let told = kinds(&lab, &ctl, "controller_updated").await;
    assert_eq!(told[1]["changes"]["cooling_off_hours"], serde_json::json!({ "before": 0, "after": 24 }), "{told:?}");
    lab.store.delete_system(&ctl, "crm", "operator").await.expect("disconnected");
    assert_eq!(version(&lab, &ctl).await, 4);
    assert!(in_force(&lab, &ctl).await.allow.is_empty());
    let versions = lab.store.instructions_versions(&ctl, None, 10).await.expect("read");
    assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(versions[1].instructions.allow["crm"], [RequestType::Access, RequestType::Deletion]);
    assert_eq!(versions[1].set_by.as_deref(), Some("operator"));
    let earlier = lab.store.instructions_versions(&ctl, Some(3), 1).await.expect("read");
    assert_eq!(earlier.iter().map(|v| v.version).collect::<Vec<_>>(), [2]);
}

async fn new_instructions_hold_and_tell_the_difference(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let before = lab.store.instructions(&ctl).await.expect("read").0;
    let mut wanted = before.instructions.clone();
    wanted.allow.remove("shop");
    wanted.require_approval = vec![RequestType::Deletion, RequestType::Deletion];
    wanted.package_expires_days = Some(7);
    let said = lab.store.set_instructions(&ctl, &wanted, before.version, "key_x").await.expect("set");
    assert_eq!(said, Instructed::InForce);
    let now = lab.store.instructions(&ctl).await.expect("read").0;
    assert_eq!((now.version, now.set_by.as_deref()), (before.version + 1, Some("key_x")));
    assert!(now.instructions.allow["shop"].is_empty(), "what is not named is allowed nothing");
    assert_eq!(now.instructions.require_approval, [RequestType::Deletion]);
    let controller = lab.store.controller(&ctl).await.expect("there");
    assert_eq!(controller.policy.package_expires_days, Some(7));
    assert!(lab.store.system_by_name(&ctl, "shop").await.expect("read").expect("there").allow.is_empty());
    let told = kinds(&lab, &ctl, "instructions_changed").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["instructions"], now.version);
    assert_eq!(told[0]["changes"]["require_approval"], serde_json::json!({ "before": [], "after": ["deletion"] }));
    assert_eq!(told[0]["changes"]["allow.shop"]["after"], serde_json::json!([]));
    assert!(told[0]["changes"].get("allow.crm").is_none());
    let same = lab.store.set_instructions(&ctl, &now.instructions, now.version, "key_x").await.expect("the same");
    assert_eq!((same, version(&lab, &ctl).await), (Instructed::Same, now.version));
}

async fn who_has_not_seen_what_is_in_force_overwrites_nothing(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let now = lab.store.instructions(&ctl).await.expect("read").0;
    for based_on in [0, now.version - 1, now.version + 1] {
        let wanted = Instructions { cooling_off_hours: 5, ..now.instructions.clone() };
        let refused = lab.store.set_instructions(&ctl, &wanted, based_on, "key_x").await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{based_on}");
    }
    let mut wanted = now.instructions.clone();
    wanted.allow.insert("nowhere".into(), vec![RequestType::Access]);
    let refused = lab.store.set_instructions(&ctl, &wanted, now.version, "key_x").await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
    assert_eq!(in_force(&lab, &ctl).await, now.instructions);
}

async fn four_eyes_want_a_second_person_to_say_the_same(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let [ann, bob] = [1, 2].map(|n| UserId::from_parts(n, [0; 10]).to_string());
    let now = lab.store.instructions(&ctl).await.expect("read").0;
    let strict = Instructions { four_eyes: true, ..now.instructions };
    let set = async |wanted: &Instructions, actor: &str| {
        let based_on = version(&lab, &ctl).await;
        lab.store.set_instructions(&ctl, wanted, based_on, actor).await.expect("said")
    };
    assert_eq!(set(&strict, "key_x").await, Instructed::InForce);
    // From now on nobody loosens them alone, not even to see with two eyes again.
    let loose = Instructions { four_eyes: false, cooling_off_hours: 1, ..strict.clone() };
    assert_eq!(set(&loose, &ann).await, Instructed::Proposed);
    assert_eq!(set(&loose, &ann).await, Instructed::Proposed, "the same eyes again");
    assert_eq!(set(&loose, "key_x").await, Instructed::Proposed, "nobody knows whose eyes are behind a key");
    assert_eq!(in_force(&lab, &ctl).await, strict);
    let proposal = lab.store.instructions(&ctl).await.expect("read").1.expect("it waits");
    assert_eq!((proposal.by.as_str(), &proposal.instructions), (ann.as_str(), &loose));
    assert_eq!(kinds(&lab, &ctl, "instructions_proposed").await.len(), 1);
    // Another person who says something else proposes that instead.
    let other = Instructions { cooling_off_hours: 2, ..loose.clone() };
    assert_eq!(set(&other, &bob).await, Instructed::Proposed);
    assert_eq!(set(&other, &ann).await, Instructed::InForce);
    assert_eq!(in_force(&lab, &ctl).await, other);
    let told = kinds(&lab, &ctl, "instructions_changed").await;
    assert_eq!(told.last().expect("told")["proposed_by"], bob);
    assert!(lab.store.instructions(&ctl).await.expect("read").1.is_none());
    assert!(matches!(lab.store.withdraw_proposal(&ctl, &ann).await, Err(Error::Conflict(_))));
}

async fn a_request_tells_by_which_version_it_was_planned(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let first = lab.submit(&ctl, Wish::deletion()).await;
    let planned_under = async |id| lab.store.events_of(&ctl, id).await.expect("read")[0].data["instructions"].clone();
    let now = lab.store.instructions(&ctl).await.expect("read").0;
    assert_eq!(planned_under(&first).await, now.version);
    let wanted = Instructions { cooling_off_hours: 3, ..now.instructions };
    lab.store.set_instructions(&ctl, &wanted, now.version, "key_x").await.expect("set");
    let second = lab.submit(&ctl, Wish::deletion()).await;
    assert_eq!(planned_under(&second).await, now.version + 1);
    assert_eq!(planned_under(&first).await, now.version, "it stays as it was");
}

async fn two_who_instruct_at_the_same_time_make_two_versions_or_one_is_refused(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let now = lab.store.instructions(&ctl).await.expect("read").0;
    let said = futures::future::join_all((1..=8_u32).map(|n| {
        let wanted = Instructions { cooling_off_hours: n, ..now.instructions.clone() };
        let (store, ctl, version) = (lab.store.clone(), ctl.clone(), now.version);
        async move {
            let mut wanted = wanted;
            wanted.allow.insert("crm".into(), vec![RequestType::ALL[n as usize % RequestType::ALL.len()]]);
            store.set_instructions(&ctl, &wanted, version, "key_x").await
        }
    }))
    .await;
    let held = said.iter().filter(|said| matches!(said, Ok(Instructed::InForce))).count();
    assert_eq!(held, 1, "{said:?}");
    assert_eq!(version(&lab, &ctl).await, now.version + 1);
}

async fn another_controllers_instructions_are_its_own(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let now = lab.store.instructions(&other).await.expect("read").0;
    let wanted = Instructions { cooling_off_hours: 9, ..now.instructions };
    lab.store.set_instructions(&other, &wanted, now.version, "key_x").await.expect("set");
    assert_eq!(in_force(&lab, &ctl).await.cooling_off_hours, 0);
    assert!(
        lab.store
            .instructions_versions(&ctl, None, 10)
            .await
            .expect("read")
            .iter()
            .all(|v| v.instructions.cooling_off_hours == 0)
    );
}

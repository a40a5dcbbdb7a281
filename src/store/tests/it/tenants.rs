//! A controller sees its own rows; everybody else's do not exist.

use crate::lab::{Lab, Wish};
use redress_domain::Role;
use redress_domain::plan::FanOut;
use redress_domain::{ControllerId, KeyId};
use redress_store::{Decision, DsrFilter, Error};

on_both!(
    another_controllers_request_does_not_exist,
    another_controllers_system_and_key_do_not_exist,
    a_list_holds_only_ones_own,
    a_key_opens_its_own_controller_until_it_is_revoked,
);

async fn another_controllers_request_does_not_exist(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let id = lab.begun(&ctl, Wish::access().told()).await;
    let lease = lab.claim_step().await;
    lab.obey(&lease).await;
    let step = lease.step_id;
    let store = &lab.store;
    assert!(matches!(store.artifact(&other, &id, &step, 0).await, Err(Error::NotFound)));
    lab.work_off().await;
    let package = store.package(&ctl, &id).await.expect("read").expect("there");
    let key = store.dsr_key(&ctl, &id).await.expect("a key");
    let chunk = store.package_chunk(&ctl, &id, &key, &package, 0).await.expect("there");
    assert_eq!(chunk.expose(), b"canary-package ");
    let tries = [
        store.dsr(&other, &id).await.map(drop),
        store.dsr_key(&other, &id).await.map(drop),
        store.identifiers(&other, &id).await.map(drop),
        store.callback_url(&other, &id).await.map(drop),
        store.certificate(&other, &id).await.map(drop),
        store.package_chunk(&other, &id, &key, &package, 0).await.map(drop),
        store.decide(&other, &id, Decision::Approve, "x").await,
        store.decide(&other, &id, Decision::Withdraw, "x").await,
        store.decide(&other, &id, Decision::Reject("no".into()), "x").await,
        store.decide(&other, &id, Decision::Retry(FanOut::default()), "x").await,
    ];
    for (i, tried) in tries.into_iter().enumerate() {
        assert!(matches!(tried, Err(Error::NotFound)), "{i}: {tried:?}");
    }
    assert!(store.package(&other, &id).await.expect("read").is_none());
    assert!(store.events_of(&other, &id).await.expect("read").is_empty());
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn another_controllers_system_and_key_do_not_exist(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let crm = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    let (key, _) = lab.store.create_key(&ctl, Role::Auditor, "operator").await.expect("made");
    let store = &lab.store;
    let mut foreign = crm.clone();
    foreign.controller_id = other.clone();
    let nobody = ControllerId::from_parts(1, [1; 10]);
    let tries = [
        store.system(&other, &crm.id).await.map(drop),
        store.system_secrets(&foreign).await.map(drop),
        store.pause_system(&other, "crm", true, "x").await,
        store.delete_system(&other, "crm", "x").await,
        store.revoke_key(&other, &key, "x").await,
        store.revoke_key(&ctl, &KeyId::from_parts(1, [1; 10]), "x").await,
        store.create_key(&nobody, Role::Auditor, "x").await.map(drop),
        store.controller(&nobody).await.map(drop),
        store.audit_head(&nobody).await.map(drop),
    ];
    for (i, tried) in tries.into_iter().enumerate() {
        assert!(matches!(tried, Err(Error::NotFound)), "{i}: {tried:?}");
    }
    assert!(store.system_by_name(&other, "crm").await.expect("read").is_none());
    assert!(store.systems(&other).await.expect("read").is_empty());
    assert!(store.keys(&other).await.expect("read").is_empty());
    assert!(!store.system_by_name(&ctl, "crm").await.expect("read").expect("there").paused);
}

async fn a_list_holds_only_ones_own(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let own = lab.submit(&ctl, Wish::deletion()).await;
    let theirs = lab.submit(&other, Wish::access()).await;
    let filter = DsrFilter { limit: 10, ..DsrFilter::default() };
    let ids = async |controller: Option<&ControllerId>, filter: &DsrFilter| {
        let rows = lab.store.dsrs(controller, filter).await.expect("read");
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some(&ctl), &filter).await, std::slice::from_ref(&own));
    assert_eq!(ids(Some(&other), &filter).await, [theirs]);
    assert_eq!(ids(None, &filter).await.len(), 2);
    let of_crm = DsrFilter { system: Some("crm".into()), ..filter.clone() };
    assert_eq!(ids(Some(&ctl), &of_crm).await, [own]);
    assert!(ids(Some(&other), &of_crm).await.is_empty());
}

async fn a_key_opens_its_own_controller_until_it_is_revoked(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (id, text) = lab.store.create_key(&ctl, Role::ControllerUser, "operator").await.expect("made");
    let caller = lab.store.authenticate(&text).await.expect("read").expect("known");
    assert_eq!((&caller.controller_id, &caller.key_id, caller.role), (&ctl, &id, Role::ControllerUser));
    for wrong in ["", "rk_", &text[..text.len() - 1], &text.replace("rk_", "rk-"), &format!("{text}x")] {
        assert!(lab.store.authenticate(wrong).await.expect("read").is_none(), "{wrong}");
    }
    let bytes = crate::secrecy::every_byte(&lab).await;
    let secret = text.rsplit_once(&id.as_str()[4..]).expect("its id").1.trim_start_matches('_').to_owned();
    assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "only its hash is kept");
    lab.store.revoke_key(&ctl, &id, "operator").await.expect("revoked");
    assert!(lab.store.authenticate(&text).await.expect("read").is_none());
}

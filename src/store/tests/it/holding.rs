//! What a legal hold reaches is not changed, whenever the hold comes, and a request never looks as if it had been.

use crate::lab::{KEEP, Lab, Wish, acted, attention, done, render, residue};
use redress_domain::forecast::Blocker;
use redress_domain::step::StepState;
use redress_domain::{ControllerId, DsrId, HoldId, Identifier, IdentifierType};
use redress_store::{
    Decision, Error, HoldSet, Lease, NewHold, NewScope, OpenWork, StepResult, Store, Submitted, WorkKind,
};

on_both!(
    a_hold_stops_the_person_however_spelled_and_nobody_else,
    a_request_that_comes_under_a_hold_is_under_it_from_the_start,
    a_hold_between_the_claim_and_the_call_stops_the_call,
    what_was_announced_before_the_hold_is_counted_and_read_again,
    an_identifier_that_is_found_later_brings_the_hold,
    a_hold_on_one_system_leaves_the_others_and_what_it_keeps_ends_the_request_in_part,
    a_gagged_hold_is_told_to_nobody_outside,
    nothing_under_a_hold_is_purged,
    a_withdrawn_request_stays_withdrawn_when_the_hold_ends,
    no_other_write_lets_a_held_step_run,
    two_holds_are_two_holds,
    exports_go_on_under_a_hold,
    a_hold_is_its_controllers_own_and_is_set_once_for_each_key,
    requests_of_an_older_release_are_found_too,
    a_damaged_request_does_not_keep_a_hold_from_coming_into_force,
    a_hold_that_nobody_finished_setting_is_carried_on,
    a_hold_set_while_requests_come_misses_none,
    a_hold_set_while_an_identifier_is_found_does_not_miss_it,
    a_hold_set_at_any_moment_of_the_work_stops_what_has_not_been_done,
    the_forecast_says_that_a_hold_blocks_it,
);

fn email(text: &str) -> Identifier {
    Identifier::parse(IdentifierType::Email, text, None).expect("an address")
}

fn a_hold(controller: &ControllerId, scope: NewScope) -> NewHold {
    NewHold {
        controller_id: controller.clone(),
        scope,
        systems: None,
        basis: "court order".into(),
        matter: Some("canary.jane against Canarysmith".into()),
        starts_at: 0,
        review_on: "2027-01-01".into(),
        review_at: 1_800_000_000_000,
        gag: false,
        idempotency: None,
    }
}

async fn set(store: &Store, hold: &NewHold) -> HoldId {
    match store.set_hold(hold, "usr_lead").await.expect("set") {
        HoldSet::New(id) => id,
        other => panic!("{other:?}"),
    }
}

impl Lab {
    async fn hold(&self, controller: &ControllerId, scope: NewScope) -> HoldId {
        set(&self.store, &a_hold(controller, scope)).await
    }

    async fn release(&self, controller: &ControllerId, id: &HoldId) {
        self.store.release_hold(controller, id, "usr_lead", "the case is over").await.expect("released");
    }

    /// A deletion about somebody with this address and nothing else.
    async fn about(&self, controller: &ControllerId, address: &str) -> DsrId {
        let mut new = self.new_dsr(controller, &Wish::deletion()).await;
        new.submission.subject.identifiers = vec![email(address)];
        match self.store.submit(new, render).await.expect("accepted") {
            Submitted::New(id, _) => id,
            other => panic!("{other:?}"),
        }
    }

    async fn kinds(&self, controller: &ControllerId, id: &DsrId) -> Vec<String> {
        self.store.events_of(controller, id).await.expect("read").into_iter().map(|event| event.kind).collect()
    }

    async fn open(&self, lease: &Lease) -> Option<OpenWork> {
        self.store.open_work(vec![lease.clone()]).await.expect("opened").pop()
    }

    /// What every worker asks before it changes anything.
    async fn may_act(&self, work: &OpenWork) -> bool {
        self.store.intend_all(&[(&work.lease, &work.key, "receipt")]).await.expect("asked")[0]
    }
}

async fn a_hold_stops_the_person_however_spelled_and_nobody_else(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (held, other) = (lab.about(&ctl, "Jane.Doe@Example.COM").await, lab.about(&ctl, "jane.do@example.com").await);
    let hold = lab.hold(&ctl, NewScope::Subject(vec![email("  jane.doe@EXAMPLE.com ")])).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &other).await, "completed");
    let detail = lab.detail(&ctl, &held).await;
    assert_eq!((detail.row.status.as_str(), detail.row.stage.as_str()), ("on_hold", "in_progress"));
    assert_eq!((detail.steps[0].status, detail.steps[0].attempts), (StepState::Blocked, 0));
    assert_eq!(detail.steps[0].error.as_ref().map(|(code, _)| code.as_str()), Some("legal_hold"));
    let on: Vec<HoldId> =
        lab.store.holds_on(&ctl, &held, false).await.expect("read").into_iter().map(|on| on.hold.id).collect();
    assert_eq!(on, std::slice::from_ref(&hold));
    let reach = lab.store.hold_reach(&hold).await.expect("read");
    assert_eq!((reach.requests, reach.stopped, reach.under_way, reach.acted_after), (1, 1, 0, 0));
    for word in ["jane", "court", "Canarysmith"] {
        assert_eq!(lab.count(&format!("events WHERE data LIKE '%{word}%'")).await, 0, "{word} stands in the log");
    }

    lab.release(&ctl, &hold).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &held).await, "completed");
    let kinds = lab.kinds(&ctl, &held).await;
    for kind in ["hold_began", "hold_ended"] {
        assert_eq!(kinds.iter().filter(|k| *k == kind).count(), 1, "{kind} in {kinds:?}");
    }
}

async fn a_request_that_comes_under_a_hold_is_under_it_from_the_start(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.hold(&ctl, NewScope::Subject(vec![email("jane@example.com")])).await;
    let held = lab.about(&ctl, "JANE@example.com").await;
    let other = lab.about(&ctl, "john@example.com").await;
    assert_eq!(lab.status(&ctl, &held).await, "on_hold");
    lab.work_off().await;
    assert_eq!(
        (lab.status(&ctl, &held).await.as_str(), lab.status(&ctl, &other).await.as_str()),
        ("on_hold", "completed")
    );
    let approved = lab.submit(&ctl, Wish::deletion().policy(true, 0, false)).await;
    let hold = lab.hold(&ctl, NewScope::Request(approved.clone())).await;
    assert_eq!(lab.status(&ctl, &approved).await, "awaiting_approval", "that can go on");
    lab.store.decide(&ctl, &approved, Decision::Approve, "usr_lead").await.expect("approved");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &approved).await, "on_hold");
    lab.release(&ctl, &hold).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &approved).await, "completed");
}

async fn a_hold_between_the_claim_and_the_call_stops_the_call(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    // Set after the claim: what is sealed is not even opened.
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    let hold = lab.hold(&ctl, NewScope::Request(id.clone())).await;
    assert_eq!(lab.store.hold_reach(&hold).await.expect("read").under_way, 1);
    assert!(lab.open(&lease).await.is_none());
    assert_eq!(lab.store.hold_reach(&hold).await.expect("read").under_way, 0);
    assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].attempts, 0, "it was not tried");
    lab.release(&ctl, &hold).await;
    lab.store.promote().await.expect("promoted");

    // Set after it was opened: the first effect is not allowed, and nothing counts as a failure.
    let lease = lab.claim_step().await;
    let work = lab.open(&lease).await.expect("open");
    let hold = lab.hold(&ctl, NewScope::Controller).await;
    assert!(!lab.may_act(&work).await);
    let lost = StepResult::Later {
        not_before: lab.now() + 1_000,
        failed: true,
        attention: false,
        code: "interrupted".into(),
        detail: "our own database could not be asked".into(),
    };
    assert_eq!(lab.finish(&lease, lost).await, 0);
    assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    assert_eq!(
        lab.count("steps WHERE failures > 0 OR silent_since IS NOT NULL OR q IN ('ready', 'wait', 'run')").await,
        0
    );
    let failed = lab.kinds(&ctl, &id).await.contains(&"step_failed".to_owned());
    assert!(!failed, "nothing failed");

    // A worker that died over it leaves nothing that another one could begin.
    lab.release(&ctl, &hold).await;
    lab.travel(1_000);
    lab.store.promote().await.expect("promoted");
    lab.claim_and_die().await;
    lab.hold(&ctl, NewScope::Controller).await;
    assert_eq!(lab.store.expire_leases().await.expect("expired"), 1);
    lab.work_off().await;
    assert_eq!(lab.count("steps WHERE q IN ('ready', 'wait', 'run')").await, 0);
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].changed, None);
}

async fn what_was_announced_before_the_hold_is_counted_and_read_again(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    let work = lab.open(&lease).await.expect("open");
    assert!(lab.may_act(&work).await);
    lab.travel(10);
    let hold = lab.hold(&ctl, NewScope::Request(id.clone())).await;
    assert_eq!(lab.store.hold_reach(&hold).await.expect("read").under_way, 1, "whoever sets it is told");
    assert!(!lab.may_act(&work).await, "nothing more begins");
    lab.finish(&lease, done(Some(lab.now()))).await;
    assert!(lab.kinds(&ctl, &id).await.contains(&"hold_came_too_late".to_owned()));
    assert_eq!(lab.store.hold_reach(&hold).await.expect("read").acted_after, 1);
    // The second read changes nothing and is made; a residue is not touched any more.
    let lease = lab.claim_step().await;
    lab.finish(&lease, residue()).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    lab.release(&ctl, &hold).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn an_identifier_that_is_found_later_brings_the_hold(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let crm_id = Identifier::parse(IdentifierType::CrmId, "003-canary-crm", None).expect("an id");
    let id = lab.about(&ctl, "jane@example.com").await;
    lab.hold(&ctl, NewScope::Subject(vec![crm_id.clone()])).await;
    let lease = lab.claim_step().await;
    let work = lab.open(&lease).await.expect("open");
    assert!(lab.store.yield_identifiers(&work, &[crm_id]).await.expect("recorded"));
    lab.finish(&lease, done(Some(lab.now()))).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    let steps = lab.detail(&ctl, &id).await.steps;
    let other = steps.iter().find(|step| step.id != lease.step_id).expect("two");
    assert_eq!((other.status, other.changed), (StepState::Blocked, None));
}

async fn a_hold_on_one_system_leaves_the_others_and_what_it_keeps_ends_the_request_in_part(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    let mut hold = a_hold(&ctl, NewScope::Request(id.clone()));
    hold.systems = Some(vec!["crm".into()]);
    let hold = set(&lab.store, &hold).await;
    let keep = || Decision::Keep { reason: "needed for the case".into(), with_gagged: false };
    assert_eq!(lab.status(&ctl, &id).await, "in_progress", "the shop can still be done");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    let told = lab.query("SELECT payload FROM steps WHERE verb = 'notify'").await;
    assert!(told.iter().any(|payload| payload.contains("on_hold")), "{told:?}");
    lab.store.decide(&ctl, &id, keep(), "usr_lead").await.expect("kept");
    lab.work_off().await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.row.status, "partially_completed");
    let of = |name: &str| detail.steps.iter().find(|step| step.system == name).expect("there");
    assert_eq!((of("crm").status, of("shop").status), (StepState::Retained, StepState::Verified));
    let reason = of("crm").result.as_ref().expect("a result")["retained"][0]["reason"].clone();
    assert_eq!(reason, format!("legal_hold({hold})"));
    let again = lab.store.decide(&ctl, &id, keep(), "usr_lead").await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    lab.release(&ctl, &hold).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "partially_completed", "what was decided stays");
}

async fn a_gagged_hold_is_told_to_nobody_outside(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    let mut hold = a_hold(&ctl, NewScope::Request(id.clone()));
    hold.gag = true;
    let hold = set(&lab.store, &hold).await;
    lab.work_off().await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!((detail.row.status.as_str(), detail.steps[0].status), ("in_progress", StepState::Waiting));
    assert!(detail.steps[0].error.is_none());
    let logged = lab.query("SELECT kind || data FROM events").await;
    assert!(!logged.iter().any(|event| event.contains("hold") || event.contains("hld_")), "{logged:?}");
    let staff: Vec<String> = lab.store.staff_events(0, 10).await.expect("read").into_iter().map(|e| e.kind).collect();
    assert_eq!(staff, ["hold_set"]);
    assert!(matches!(lab.store.hold(&ctl, &hold, false).await, Err(Error::NotFound)));
    assert!(lab.store.hold(&ctl, &hold, true).await.is_ok());
    assert!(lab.store.holds_on(&ctl, &id, false).await.expect("read").is_empty());

    let keep = |with_gagged| Decision::Keep { reason: "needed".into(), with_gagged };
    let unknowing = lab.store.decide(&ctl, &id, keep(false), "key").await;
    assert!(matches!(unknowing, Err(Error::Conflict(_))), "{unknowing:?}");
    lab.store.decide(&ctl, &id, keep(true), "usr_lead").await.expect("kept");
    lab.work_off().await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.row.status, "partially_completed");
    assert_eq!(detail.steps[0].result.as_ref().expect("a result")["retained"][0]["reason"], "exempt_legal_claims");
    let told = lab.query("SELECT payload FROM steps WHERE verb = 'notify'").await;
    assert!(!told.iter().any(|payload| payload.contains("hold")), "{told:?}");
}

async fn nothing_under_a_hold_is_purged(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let ended = lab.about(&ctl, "jane@example.com").await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &ended).await, "completed");
    let hold = lab.hold(&ctl, NewScope::Subject(vec![email("jane@example.com")])).await;
    assert_eq!(lab.status(&ctl, &ended).await, "completed", "what ended stays ended");
    lab.travel(KEEP * 3);
    assert_eq!(lab.store.purge_due(100).await.expect("looked"), 0);
    assert_eq!(lab.store.identifiers(&ctl, &ended).await.expect("still there").len(), 1);
    lab.release(&ctl, &hold).await;
    assert_eq!(lab.store.purge_due(100).await.expect("purged"), 1);
    assert_eq!(lab.count("dsrs WHERE subject_marks IS NOT NULL").await, 0, "its hashes are gone too");
    let purged = lab.store.set_hold(&a_hold(&ctl, NewScope::Request(ended)), "usr_lead").await;
    assert!(matches!(purged, Err(Error::Purged)), "{purged:?}");
}

async fn a_withdrawn_request_stays_withdrawn_when_the_hold_ends(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let hold = lab.hold(&ctl, NewScope::Controller).await;
    lab.store.decide(&ctl, &id, Decision::Withdraw, "key").await.expect("withdrawn");
    lab.release(&ctl, &hold).await;
    lab.travel(86_400_000);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "withdrawn");
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].changed, None);
}

async fn no_other_write_lets_a_held_step_run(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, attention()).await;
    lab.hold(&ctl, NewScope::Controller).await;
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention");
    let nothing_runs = async |what: &str| {
        lab.work_off().await;
        assert_eq!(lab.count("steps WHERE q IN ('ready', 'wait', 'run') AND verb <> 'notify'").await, 0, "{what}");
        assert_eq!(lab.detail(&ctl, &id).await.steps[0].changed, None, "{what}");
    };
    nothing_runs("a need for attention").await;
    let plan = lab.plan(&ctl, redress_domain::RequestType::Deletion).await;
    lab.store.decide(&ctl, &id, Decision::Retry(plan), "key").await.expect("retried");
    nothing_runs("a retry").await;
    assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    let mut changed = crate::lab::a_system("crm");
    changed.definition = serde_json::json!({ "settings": { "path": "other" }, "max_matches": 25 });
    lab.store.upsert_system(&ctl, &changed, "operator").await.expect("stored");
    nothing_runs("another definition").await;
    for q in ["ready", "wait"] {
        lab.sql(&format!("UPDATE steps SET q = '{q}', not_before = 0 WHERE dsr_id = '{id}'")).await.expect("written");
        nothing_runs("a row written by somebody else").await;
    }
    lab.travel(86_400_000);
    lab.store.reconcile().await.expect("looked");
    nothing_runs("a day").await;
}

async fn two_holds_are_two_holds(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let everything = lab.hold(&ctl, NewScope::Controller).await;
    let mut second = a_hold(&ctl, NewScope::Request(id.clone()));
    second.systems = Some(vec!["shop".into()]);
    let second = set(&lab.store, &second).await;
    lab.release(&ctl, &everything).await;
    lab.work_off().await;
    let detail = lab.detail(&ctl, &id).await;
    let states: Vec<StepState> = detail.steps.iter().map(|step| step.status).collect();
    assert_eq!((detail.row.status.as_str(), states), ("on_hold", vec![StepState::Verified, StepState::Blocked]));
    lab.release(&ctl, &second).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let released = lab.store.release_hold(&ctl, &second, "usr_lead", "again").await;
    assert!(matches!(released, Err(Error::Conflict(_))), "{released:?}");
}

async fn exports_go_on_under_a_hold(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.hold(&ctl, NewScope::Controller).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn a_hold_is_its_controllers_own_and_is_set_once_for_each_key(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    lab.system(&other, "crm").await;
    let (own, theirs) = (lab.about(&ctl, "jane@example.com").await, lab.about(&other, "jane@example.com").await);
    let foreign = lab.store.set_hold(&a_hold(&other, NewScope::Request(own.clone())), "usr_lead").await;
    assert!(matches!(foreign, Err(Error::NotFound)), "{foreign:?}");

    let mut hold = a_hold(&ctl, NewScope::Subject(vec![email("jane@example.com")]));
    hold.idempotency = Some(("key".into(), "body".into()));
    let id = set(&lab.store, &hold).await;
    assert_eq!(lab.store.set_hold(&hold, "usr_lead").await.expect("set"), HoldSet::Replayed(id.clone()));
    hold.idempotency = Some(("key".into(), "another".into()));
    assert_eq!(lab.store.set_hold(&hold, "usr_lead").await.expect("read"), HoldSet::KeyReused);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &own).await, "on_hold");
    assert_eq!(lab.status(&other, &theirs).await, "completed", "the same person elsewhere is somebody else");
    assert!(matches!(lab.store.hold(&other, &id, true).await, Err(Error::NotFound)));
    assert!(matches!(lab.store.release_hold(&other, &id, "x", "y").await, Err(Error::NotFound)));
    lab.store.review_hold(&ctl, &id, "usr_lead", ("2028-01-01", 9), "still open").await.expect("reviewed");
    let row = lab.store.hold(&ctl, &id, false).await.expect("read");
    assert_eq!((row.review_on.as_str(), row.notes[0].reason.as_str()), ("2028-01-01", "still open"));
    assert_eq!(lab.store.holds_to_review(None, false, 10).await.expect("read").len(), 1);
}

async fn requests_of_an_older_release_are_found_too(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (held, other) = (lab.about(&ctl, "jane@example.com").await, lab.about(&ctl, "john@example.com").await);
    lab.sql("UPDATE dsrs SET subject_marks = NULL").await.expect("written");
    lab.hold(&ctl, NewScope::Subject(vec![email("Jane@Example.com")])).await;
    lab.work_off().await;
    assert_eq!(
        (lab.status(&ctl, &held).await.as_str(), lab.status(&ctl, &other).await.as_str()),
        ("on_hold", "completed")
    );
}

async fn a_damaged_request_does_not_keep_a_hold_from_coming_into_force(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let damaged = lab.about(&ctl, "john@example.com").await;
    let (held, other) = (lab.about(&ctl, "jane@example.com").await, lab.about(&ctl, "jim@example.com").await);
    let sealed = format!("(SELECT sealed FROM dsrs WHERE id = '{held}')");
    lab.sql(&format!("UPDATE dsrs SET sealed = {sealed} WHERE id = '{damaged}'")).await.expect("moved");
    lab.sql("UPDATE dsrs SET subject_marks = NULL").await.expect("written");
    let hold = lab.hold(&ctl, NewScope::Subject(vec![email("jane@example.com")])).await;
    assert!(lab.store.hold(&ctl, &hold, false).await.expect("read").in_force_at.is_some());
    lab.work_off().await;
    assert_eq!(
        (lab.status(&ctl, &held).await.as_str(), lab.status(&ctl, &other).await.as_str()),
        ("on_hold", "completed")
    );
}

async fn a_hold_that_nobody_finished_setting_is_carried_on(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let hold = lab.hold(&ctl, NewScope::Request(id.clone())).await;
    // As its setter leaves it who dies right after the first transaction.
    for sql in [
        "DELETE FROM held_requests",
        "UPDATE dsrs SET held = 0",
        "UPDATE steps SET held = 0, q = 'ready' WHERE q = 'hold'",
        "UPDATE holds SET pending = 1, in_force_at = NULL",
    ] {
        lab.sql(sql).await.expect(sql);
    }
    assert_eq!(lab.store.carry_holds().await.expect("carried"), 1);
    assert_eq!(lab.store.carry_holds().await.expect("nothing to do"), 0);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    // And the release of one that was never carried through.
    lab.sql("UPDATE holds SET pending = 1, released_at = 1, released_by = 'x'").await.expect("written");
    assert_eq!(lab.store.carry_holds().await.expect("carried"), 1);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert!(lab.store.hold(&ctl, &hold, false).await.expect("read").released_at.is_some());
}

async fn a_hold_set_while_requests_come_misses_none(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for round in 0..8 {
        let address = format!("jane{round}@example.com");
        let hold = a_hold(&ctl, NewScope::Subject(vec![email(&address)]));
        let another = lab.another().await;
        let submits = futures::future::join_all((0..6).map(|_| lab.about(&ctl, &address)));
        let (ids, _hold) = tokio::join!(submits, set(&another, &hold));
        for id in ids {
            let marked = lab.count(&format!("steps WHERE dsr_id = '{id}' AND held = 1 AND q = 'hold'")).await;
            assert_eq!(marked, 1, "round {round}: {id} slipped through");
            assert_eq!(lab.status(&ctl, &id).await, "on_hold");
        }
    }
    assert_eq!(lab.count("steps WHERE q IN ('ready', 'wait') AND verb <> 'notify'").await, 0);
}

async fn a_hold_set_while_an_identifier_is_found_does_not_miss_it(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    for round in 0..8 {
        let id = lab.about(&ctl, &format!("jane{round}@example.com")).await;
        let crm_id = Identifier::parse(IdentifierType::CrmId, &format!("003-{round}"), None).expect("an id");
        let lease = lab.claim_step().await;
        let work = lab.open(&lease).await.expect("open");
        let hold = a_hold(&ctl, NewScope::Subject(vec![crm_id.clone()]));
        let another = lab.another().await;
        let found = [crm_id];
        let (yielded, _hold) = tokio::join!(lab.store.yield_identifiers(&work, &found), set(&another, &hold));
        assert!(yielded.expect("recorded"));
        let marked = lab.count(&format!("steps WHERE dsr_id = '{id}' AND held = 1")).await;
        assert_eq!(marked, 2, "round {round}");
        lab.finish(&lease, acted(StepState::NothingFound, 0)).await;
        lab.work_off().await;
        assert_eq!(lab.status(&ctl, &id).await, "on_hold");
    }
}

/// The store's part of an erasure, a hold before each of its moments: whatever has not been announced by then is not done.
async fn a_hold_set_at_any_moment_of_the_work_stops_what_has_not_been_done(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    for moment in 0..14 {
        let address = format!("jane{moment}@example.com");
        let (mut at, mut hold, mut erased_before) = (0, None, Vec::new());
        let mut erased: Vec<String> = Vec::new();
        let mut tick = async |erased: &[String]| {
            if at == moment {
                hold = Some(lab.hold(&ctl, NewScope::Subject(vec![email(&address)])).await);
                erased_before = erased.to_vec();
            }
            at += 1;
        };
        tick(&erased).await;
        let id = lab.about(&ctl, &address).await;
        tick(&erased).await;
        loop {
            lab.advance().await;
            lab.store.promote().await.expect("promoted");
            let leases = lab.store.claim("one", &["notify".into()], 1, 60_000).await.expect("claimed");
            let Some(lease) = leases.into_iter().next() else { break };
            tick(&erased).await;
            if matches!(lease.kind, WorkKind::Answer) || lease.phase.as_str() == "verify" {
                lab.obey(&lease).await;
                continue;
            }
            let Some(work) = lab.open(&lease).await else { continue };
            tick(&erased).await;
            if lab.may_act(&work).await {
                erased.push(lease.step_id.to_string());
                tick(&erased).await;
                lab.finish(&lease, done(Some(lab.now()))).await;
            } else {
                lab.finish(
                    &lease,
                    StepResult::Later {
                        not_before: lab.now(),
                        failed: true,
                        attention: false,
                        code: "interrupted".into(),
                        detail: String::new(),
                    },
                )
                .await;
            }
            tick(&erased).await;
        }
        let status = lab.status(&ctl, &id).await;
        if hold.is_some() {
            assert_eq!(erased, erased_before, "moment {moment}: something was erased under the hold");
            assert_eq!(status, if erased.len() == 2 { "completed" } else { "on_hold" }, "moment {moment}");
        } else {
            assert_eq!((erased.len(), status.as_str()), (2, "completed"));
        }
    }
}

async fn the_forecast_says_that_a_hold_blocks_it(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let hold = lab.hold(&ctl, NewScope::Request(id.clone())).await;
    let blocked = async || {
        let queue = lab.store.forecast_facts(&ctl, &id, 50).await.expect("read").expect("short enough");
        queue.backlog.forecasts(queue.now)[0].blocked
    };
    assert_eq!(blocked().await, Some(Blocker::Hold));
    lab.release(&ctl, &hold).await;
    assert_eq!(blocked().await, None);
    let mut gagged = a_hold(&ctl, NewScope::Request(id.clone()));
    gagged.gag = true;
    set(&lab.store, &gagged).await;
    assert_eq!(blocked().await, None, "that would tell of it");
}

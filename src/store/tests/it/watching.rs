//! Whatever comes due is noticed once, at the first sweep after its instant, and told once to each route that hears it,
//! even if sweeps die at every point or run beside each other.

use crate::lab::{Lab, Wish, attention, done, later};
use crate::lookout::{Weekdays, at, sweep};
use redress_domain::notice::{Channel, Delivery, NotifyRole};
use redress_domain::{ControllerId, DsrId, Personal};
use redress_store::{Decision, NewRoute, RouteTarget, SweepOptions};
use std::pin::Pin;
use std::task::{Context, Poll};

on_both!(
    a_request_is_looked_at_when_its_first_instant_comes_and_not_before,
    each_level_is_noticed_once_however_often_is_swept,
    a_request_that_ended_in_time_is_not_told,
    a_request_that_ended_after_its_date_is_told_even_if_nobody_looked_in_between,
    a_controller_that_is_waited_for_is_reminded,
    what_needs_a_person_is_told_each_time_that_it_arises,
    a_system_that_only_fails_is_silent_after_three_business_days_and_told_once,
    a_system_that_answers_again_is_not_silent,
    a_row_that_cannot_be_read_holds_up_no_other,
    a_missed_date_is_in_the_audit_log_once,
    many_sweepers_beside_each_other_tell_nothing_twice,
    a_sweep_that_dies_at_any_point_is_made_good_by_the_next,
    a_sweep_with_nothing_to_see_writes_nothing,
);

const DAY: i64 = 86_400_000;

pub(crate) fn route(name: &str, role: NotifyRole, channel: Channel, delivery: Delivery) -> NewRoute {
    NewRoute {
        name: name.into(),
        role,
        channel,
        kinds: None,
        delivery,
        timezone: "Europe/Berlin".into(),
        controllers: None,
        target: RouteTarget {
            to: vec![Personal::from("canary-address@acme.example")],
            url: Some(Personal::from("https://canary-hook.acme.example/x")),
            secret: None,
        },
    }
}

impl Lab {
    /// A request whose instants are these, in days from now.
    pub(crate) async fn watched(&self, controller: &ControllerId, at_risk: i64, critical: i64, due: i64) -> DsrId {
        let id = self.submit(controller, Wish::deletion()).await;
        self.redate(&id, self.now() + at_risk * DAY, self.now() + critical * DAY, self.now() + due * DAY).await;
        id
    }

    /// Gives a request other instants, as an extension would.
    pub(crate) async fn redate(&self, id: &DsrId, at_risk: i64, critical: i64, due: i64) {
        let deadlines = serde_json::json!({
            "effective": { "due_on": at(due - 1).to_zoned(jiff::tz::TimeZone::UTC).date() },
            "milestones": { "at_risk_at": at(at_risk), "critical_at": at(critical), "overdue_at": at(due) },
        });
        let now = self.now();
        self.sql(&format!(
            "UPDATE dsrs SET deadlines = '{deadlines}', due_before = {due}, watch_at = {now} WHERE id = '{id}'"
        ))
        .await
        .expect("written");
    }

    /// Waits until the database has undone what the dead left open: until then their rows are passed over.
    async fn noticed_the_death(&self) {
        let open =
            "pg_stat_activity WHERE datname = current_database() AND application_name = 'redress' AND state <> 'idle'";
        while self.store.dialect() == redress_store::Dialect::Postgres && self.count(open).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// The notices of a request in the order of their instants: kind, and a mark if it is superseded.
    pub(crate) async fn noticed(&self, id: &DsrId) -> Vec<String> {
        self.query(&format!("SELECT kind || CASE WHEN superseded = 1 THEN ' (superseded)' ELSE '' END FROM notices WHERE dsr_id = '{id}' ORDER BY due_at, id")).await
    }
}

async fn a_request_is_looked_at_when_its_first_instant_comes_and_not_before(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    lab.system(&controller, "crm").await;
    let due = lab.now() + 60 * DAY;
    let id = lab.submit(&controller, Wish::deletion().due(due)).await;
    let first: i64 =
        lab.query(&format!("SELECT CAST(watch_at AS TEXT) FROM dsrs WHERE id = '{id}'")).await[0].parse().expect("set");
    assert!(first > lab.now() + 5 * DAY && first < due, "{first}");
    assert_eq!(sweep(&lab).await.looked, 0);
    lab.travel(first - lab.now() - 1);
    assert_eq!(sweep(&lab).await.looked, 0);
    lab.travel(1);
    assert_eq!(sweep(&lab).await.looked, 1);
}

async fn each_level_is_noticed_once_however_often_is_swept(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    let id = lab.watched(&controller, 18, 28, 30).await;
    let band = || async { lab.query(&format!("SELECT band FROM dsrs WHERE id = '{id}'")).await.remove(0) };
    for (days, seen, band_then) in [
        (0, vec![], "on_track"),
        (18, vec!["at_risk"], "at_risk"),
        (10, vec!["at_risk", "critical"], "critical"),
        (2, vec!["at_risk", "critical", "overdue"], "overdue"),
        (9, vec!["at_risk", "critical", "overdue"], "overdue"),
    ] {
        lab.travel(days * DAY);
        for _ in 0..3 {
            sweep(&lab).await;
            lab.sql(&format!("UPDATE dsrs SET watch_at = {} WHERE id = '{id}'", lab.now())).await.expect("woken");
        }
        sweep(&lab).await;
        assert_eq!(lab.noticed(&id).await, seen);
        assert_eq!(band().await, band_then);
    }
    // Another date is another occasion.
    lab.redate(&id, lab.now() + 5 * DAY, lab.now() + 8 * DAY, lab.now() + 10 * DAY).await;
    sweep(&lab).await;
    assert_eq!(band().await, "on_track");
    lab.travel(9 * DAY);
    sweep(&lab).await;
    let all = lab.noticed(&id).await;
    assert_eq!(all[3..], ["at_risk (superseded)", "critical"]);
}

async fn a_request_that_ended_in_time_is_not_told(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    let (one, two) = (lab.watched(&controller, 1, 2, 3).await, lab.watched(&controller, 1, 5, 9).await);
    sweep(&lab).await;
    lab.store.decide(&controller, &one, Decision::Withdraw, "key").await.expect("withdrawn");
    assert_eq!(
        lab.query(&format!("SELECT watch_at FROM dsrs WHERE id = '{one}' AND watch_at IS NOT NULL")).await.len(),
        0
    );
    // At risk when it ended, which nobody had seen: recorded, not told.
    lab.travel(DAY + 1);
    lab.store.decide(&controller, &two, Decision::Withdraw, "key").await.expect("withdrawn");
    lab.travel(90 * DAY);
    sweep(&lab).await;
    assert!(lab.noticed(&one).await.is_empty());
    assert_eq!(lab.noticed(&two).await, ["at_risk (superseded)"]);
    assert_eq!(lab.count("dsrs WHERE watch_at IS NOT NULL").await, 0);
}

async fn a_request_that_ended_after_its_date_is_told_even_if_nobody_looked_in_between(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    let id = lab.watched(&controller, 1, 2, 3).await;
    sweep(&lab).await;
    lab.travel(3 * DAY);
    lab.store.decide(&controller, &id, Decision::Withdraw, "key").await.expect("withdrawn");
    lab.travel(DAY);
    sweep(&lab).await;
    assert_eq!(lab.noticed(&id).await, ["at_risk (superseded)", "critical (superseded)", "overdue"]);
}

async fn a_controller_that_is_waited_for_is_reminded(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    lab.system(&controller, "crm").await;
    // 21 November 2026 is a Saturday: the second business day after it is Tuesday, the fifth Friday.
    let id = lab.submit(&controller, Wish::deletion().policy(true, 0, false).due(lab.now() + 90 * DAY)).await;
    lab.advance().await;
    assert_eq!(lab.status(&controller, &id).await, "awaiting_approval");
    let reminders = || lab.count("notices WHERE kind = 'awaiting_controller'");
    sweep(&lab).await;
    assert_eq!(reminders().await, 1);
    lab.travel(2 * DAY);
    sweep(&lab).await;
    assert_eq!(reminders().await, 1, "Monday");
    lab.travel(DAY);
    sweep(&lab).await;
    assert_eq!(reminders().await, 2, "Tuesday");
    lab.travel(DAY);
    lab.store.decide(&controller, &id, Decision::Approve, "key").await.expect("approved");
    lab.travel(9 * DAY);
    sweep(&lab).await;
    assert_eq!(reminders().await, 2, "nobody is waited for any more");
    assert_eq!(lab.count("dsrs WHERE waiting_since IS NOT NULL").await, 0);
}

async fn what_needs_a_person_is_told_each_time_that_it_arises(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    lab.system(&controller, "crm").await;
    let id = lab.begun(&controller, Wish::deletion().due(lab.now() + 90 * DAY)).await;
    let told = || lab.count("notices WHERE kind = 'needs_attention'");
    let lease = lab.claim_step().await;
    lab.finish(&lease, attention()).await;
    for _ in 0..2 {
        sweep(&lab).await;
        assert_eq!(told().await, 1);
        lab.travel(DAY);
    }
    let plan = lab.plan(&controller, redress_domain::RequestType::Deletion).await;
    lab.store.decide(&controller, &id, Decision::Retry(plan), "key").await.expect("retried");
    sweep(&lab).await;
    assert_eq!(told().await, 1);
    let lease = lab.claim_step().await;
    lab.finish(&lease, attention()).await;
    sweep(&lab).await;
    assert_eq!(told().await, 2);
}

async fn a_system_that_only_fails_is_silent_after_three_business_days_and_told_once(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    lab.system(&controller, "crm").await;
    let id = lab.begun(&controller, Wish::deletion().due(lab.now() + 90 * DAY)).await;
    let silent = || lab.count("notices WHERE kind = 'connector_silent'");
    // Saturday, 10:00 UTC. The third business day after it is Wednesday.
    for days in 0..12 {
        lab.store.promote().await.expect("promoted");
        let lease = lab.claim_step().await;
        lab.finish(&lease, later(lab.now() + DAY / 2, true, false)).await;
        sweep(&lab).await;
        assert_eq!(silent().await, i64::from(days >= 4), "day {days}");
        lab.travel(DAY);
    }
    let data =
        lab.query(&format!("SELECT data FROM notices WHERE dsr_id = '{id}' AND kind = 'connector_silent'")).await;
    assert!(data[0].contains("\"system\":\"crm\""), "{data:?}");
}

async fn a_system_that_answers_again_is_not_silent(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    lab.system(&controller, "crm").await;
    lab.begun(&controller, Wish::deletion().due(lab.now() + 90 * DAY)).await;
    let lease = lab.claim_step().await;
    lab.finish(&lease, later(lab.now(), true, false)).await;
    assert_eq!(lab.count("steps WHERE silent_since IS NOT NULL").await, 1);
    lab.store.promote().await.expect("promoted");
    // Neither success nor failure: it stays as it is.
    let lease = lab.claim_step().await;
    lab.finish(&lease, later(lab.now(), false, false)).await;
    assert_eq!(lab.count("steps WHERE silent_since IS NOT NULL").await, 1);
    lab.store.promote().await.expect("promoted");
    let lease = lab.claim_step().await;
    lab.finish(&lease, done(Some(lab.now()))).await;
    assert_eq!(lab.count("steps WHERE silent_since IS NOT NULL OR silent_watch_at IS NOT NULL").await, 0);
    lab.travel(30 * DAY);
    sweep(&lab).await;
    assert_eq!(lab.count("notices WHERE kind = 'connector_silent'").await, 0);
}

async fn a_row_that_cannot_be_read_holds_up_no_other(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    let (broken, sound) = (lab.watched(&controller, 1, 2, 3).await, lab.watched(&controller, 1, 2, 3).await);
    lab.sql(&format!("UPDATE dsrs SET deadlines = 'nonsense', watch_at = 1 WHERE id = '{broken}'"))
        .await
        .expect("broken");
    lab.travel(3 * DAY);
    sweep(&lab).await;
    assert_eq!(lab.noticed(&sound).await.len(), 3);
    assert_eq!(lab.count(&format!("dsrs WHERE id = '{broken}' AND watch_at > {}", lab.now())).await, 1);
}

async fn a_missed_date_is_in_the_audit_log_once(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    let id = lab.watched(&controller, 1, 2, 3).await;
    for _ in 0..5 {
        lab.travel(DAY);
        sweep(&lab).await;
    }
    let events = lab.store.events_of(&controller, &id).await.expect("read");
    let missed: Vec<_> = events.iter().filter(|e| e.kind == "deadline_missed").collect();
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0].actor, "engine");
}

async fn many_sweepers_beside_each_other_tell_nothing_twice(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    let routes = [
        route("ops", NotifyRole::Operator, Channel::Webhook, Delivery::Auto),
        route("mail", NotifyRole::PrivacyTeam, Channel::Email, Delivery::Auto),
    ];
    lab.store.apply_routes(Some(&controller), &routes, false, "operator").await.expect("applied");
    for _ in 0..60 {
        lab.watched(&controller, 1, 2, 3).await;
    }
    sweep(&lab).await;
    for _ in 0..3 {
        lab.travel(DAY);
        let stores = [lab.another().await, lab.another().await, lab.another().await, lab.another().await];
        let sweeps = stores.iter().map(|store| async {
            let options = SweepOptions { limit: 7, ..SweepOptions::default() };
            // A round that finds nothing may have found everything taken by others.
            for _ in 0..12 {
                store.watch_due(&Weekdays, options).await.expect("swept");
            }
        });
        futures::future::join_all(sweeps).await;
        sweep(&lab).await;
    }
    assert_eq!(lab.count("notices").await, 180);
    assert_eq!(lab.count("notices WHERE superseded = 1").await, 0);
    // The operator hears of 120, the privacy team of all.
    assert_eq!(lab.count("message_notices").await, 300);
    assert_eq!(lab.count("(SELECT notice_id FROM message_notices m JOIN messages g ON g.id = m.message_id GROUP BY notice_id, route_id HAVING COUNT(*) > 1) x").await, 0);
}

/// Polls a future and gives it up at the `nth` time that it has to wait.
struct DropAt<F> {
    inner: Pin<Box<F>>,
    left: u32,
}

impl<F: Future> Future for DropAt<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.inner.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left <= 1 => Poll::Ready(None),
            Poll::Pending => {
                self.left -= 1;
                Poll::Pending
            }
        }
    }
}

/// What every notice and message says, without the ids that differ from run to run.
async fn picture(lab: &Lab) -> Vec<String> {
    let mut all = lab.query("SELECT n.kind || ' ' || CAST(n.superseded AS TEXT) || ' ' || CAST(n.due_at AS TEXT) || ' ' || d.jurisdiction FROM notices n JOIN dsrs d ON d.id = n.dsr_id ORDER BY 1").await;
    all.extend(lab.query("SELECT r.name || ' ' || CAST(m.digest AS TEXT) || ' ' || n.kind || ' ' || d.jurisdiction FROM message_notices mn JOIN messages m ON m.id = mn.message_id JOIN notify_routes r ON r.id = m.route_id JOIN notices n ON n.id = mn.notice_id JOIN dsrs d ON d.id = n.dsr_id ORDER BY 1").await);
    all.extend(lab.query("SELECT d.jurisdiction || ' ' || d.band || ' ' || COALESCE(CAST(d.watch_at AS TEXT), '-') FROM dsrs d ORDER BY 1").await);
    all.extend(lab.query("SELECT kind || ' ' || data FROM events WHERE kind = 'deadline_missed' ORDER BY 1").await);
    all
}

/// Requests at every level, one of each waiting and stuck, and routes of every kind.
async fn a_scene(lab: &Lab, at: i64) {
    let controller = lab.with_systems(&["crm"]).await;
    let routes = [
        route("ops", NotifyRole::Operator, Channel::Webhook, Delivery::Auto),
        route("mail", NotifyRole::PrivacyTeam, Channel::Email, Delivery::Auto),
        route("boss", NotifyRole::Management, Channel::Slack, Delivery::Digest),
    ];
    lab.store.apply_routes(Some(&controller), &routes, false, "operator").await.expect("applied");
    for i in 0..24 {
        let id = lab.watched(&controller, 1, 2, 3).await;
        let (risk, critical, due) = (at + (i % 4) * DAY, at + (i % 4 + 1) * DAY, at + (i % 4 + 2) * DAY);
        lab.redate(&id, risk, critical, due).await;
        let since = if i % 5 == 0 { (at - DAY).to_string() } else { "NULL".to_owned() };
        lab.sql(&format!("UPDATE dsrs SET jurisdiction = 'case{i:02}', watch_at = {at}, waiting_since = {since}, attention_since = {since} WHERE id = '{id}'"))
            .await
            .expect("written");
    }
    lab.travel(at - lab.now());
}

async fn a_sweep_that_dies_at_any_point_is_made_good_by_the_next(lab: Lab) {
    let undisturbed = Lab::new(lab.store.dialect()).await;
    let start = lab.now() + DAY;
    a_scene(&lab, start).await;
    a_scene(&undisturbed, start).await;
    let options = SweepOptions { limit: 10, ..SweepOptions::default() };
    let mut deaths = 0;
    for _ in 0..6 {
        sweep(&undisturbed).await;
        undisturbed.travel(DAY);
        // Each death is at a later point than the one before, until a whole day is swept without one.
        let mut point = 1;
        loop {
            let work = async { while lab.store.watch_due(&Weekdays, options).await.expect("swept").looked > 0 {} };
            match (DropAt { inner: Box::pin(work), left: point }).await {
                Some(()) => break,
                None => deaths += 1,
            }
            lab.noticed_the_death().await;
            point += 1;
        }
        lab.travel(DAY);
    }
    assert!(deaths > 30, "{deaths} deaths are too few to prove anything");
    assert_eq!(picture(&lab).await, picture(&undisturbed).await);
    assert!(lab.count("notices").await > 60);
}

async fn a_sweep_with_nothing_to_see_writes_nothing(lab: Lab) {
    let controller = lab.with_systems(&["crm"]).await;
    lab.watched(&controller, 1, 2, 3).await;
    sweep(&lab).await;
    for _ in 0..3 {
        let swept = lab.store.watch_due(&Weekdays, SweepOptions::default()).await.expect("swept");
        assert_eq!((swept.looked, swept.notices, swept.messages), (0, 0, 0));
    }
    assert!(lab.store.claim_message("one", &[], 1_000).await.expect("read").is_none());
}

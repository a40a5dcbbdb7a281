//! People get few messages, programs get theirs at once; a message is sent by one holder of its lease, and a route that
//! does not answer holds up nobody else.

use crate::lab::Lab;
use crate::lookout::sweep;
use crate::watching::route;
use redress_domain::notice::{Channel, Delivery, NoticeKind, NotifyRole};
use redress_domain::{ControllerId, Personal};
use redress_store::{MessageLease, MessageOutcome, NewRoute, RouteChange, WEBHOOK_NOTICES};

on_both!(
    a_flood_at_night_is_one_digest_in_the_morning,
    a_flood_of_critical_requests_is_few_messages_to_people_and_full_ones_to_programs,
    a_message_that_was_sent_gets_no_more_notices,
    a_route_hears_what_it_names_of_the_controllers_it_names,
    who_lost_the_lease_on_a_message_records_nothing,
    a_message_that_kills_its_sender_three_times_is_put_aside,
    a_route_that_does_not_answer_waits_with_all_its_messages_and_others_go_on,
    what_is_handed_back_is_sent_by_another,
    routes_are_what_the_file_says,
    a_dry_run_changes_no_route,
    a_removed_route_is_sent_nothing,
    addresses_and_secret_urls_are_sealed,
);

const DAY: i64 = 86_400_000;
const SENT: MessageOutcome = MessageOutcome::Sent { in_part: false };

impl Lab {
    async fn routed(&self, routes: &[NewRoute]) -> ControllerId {
        let controller = self.with_systems(&["crm"]).await;
        self.store.apply_routes(Some(&controller), routes, false, "operator").await.expect("applied");
        controller
    }

    async fn lease(&self) -> Option<MessageLease> {
        self.store.claim_message("one", &[], 60_000).await.expect("claimed")
    }

    async fn sent(&self, lease: &MessageLease) {
        assert!(self.store.finish_message(lease, &SENT).await.expect("recorded"));
    }

    /// How many notices a message has.
    async fn carries(&self, lease: &MessageLease) -> i64 {
        let contents = self.store.message_contents(&lease.id, 1_000).await.expect("read");
        contents.kinds.iter().map(|(_, n)| n).sum()
    }
}

fn mail() -> NewRoute {
    route("mail", NotifyRole::PrivacyTeam, Channel::Email, Delivery::Auto)
}

fn hook() -> NewRoute {
    route("hook", NotifyRole::PrivacyTeam, Channel::Webhook, Delivery::Auto)
}

async fn a_flood_at_night_is_one_digest_in_the_morning(lab: Lab) {
    let controller = lab.routed(&[mail()]).await;
    // Monday, 23 November 2026, 03:00 in Berlin.
    let night: jiff::Timestamp = "2026-11-23T02:00:00Z".parse().expect("an instant");
    for _ in 0..500 {
        lab.watched(&controller, 30, 31, 40).await;
    }
    let soon = night.as_millisecond();
    lab.sql(&format!("UPDATE dsrs SET deadlines = '{{\"effective\":{{}},\"milestones\":{{\"at_risk_at\":\"{night}\",\"critical_at\":\"2026-12-24T00:00:00Z\",\"overdue_at\":\"2026-12-27T00:00:00Z\"}}}}', watch_at = {soon}")).await.expect("written");
    for step in [soon - lab.now(), 1_000, 60_000, 3_600_000] {
        lab.travel(step);
        sweep(&lab).await;
        assert!(lab.lease().await.is_none(), "nobody is woken");
    }
    lab.travel("2026-11-23T07:00:00Z".parse::<jiff::Timestamp>().expect("an instant").as_millisecond() - lab.now());
    let digest = lab.lease().await.expect("it is eight in the morning");
    assert!(digest.digest);
    assert_eq!(lab.carries(&digest).await, 500);
    lab.sent(&digest).await;
    assert!(lab.lease().await.is_none());
    assert_eq!(lab.count("messages").await, 1);
}

async fn a_flood_of_critical_requests_is_few_messages_to_people_and_full_ones_to_programs(lab: Lab) {
    let controller = lab.routed(&[mail(), hook()]).await;
    for second in 0..5_i64 {
        for _ in 0..50 {
            lab.watched(&controller, 0, 0, 9).await;
        }
        // One sweep a second, and a sender that is never idle.
        sweep(&lab).await;
        while let Some(lease) = lab.lease().await {
            lab.sent(&lease).await;
        }
        lab.travel(if second == 0 { 0 } else { 1_000 });
    }
    lab.travel(60_000);
    while let Some(lease) = lab.lease().await {
        lab.sent(&lease).await;
    }
    let of = |name: &str| format!("messages m JOIN notify_routes r ON r.id = m.route_id WHERE r.name = '{name}'");
    assert_eq!(lab.count(&of("mail")).await, 2, "the first at once, the rest in one a minute later");
    assert_eq!(lab.count(&of("hook")).await, 5);
    assert_eq!(lab.count("message_notices").await, 500);
    for _ in 0..250 {
        lab.watched(&controller, 0, 0, 9).await;
    }
    sweep(&lab).await;
    assert_eq!(lab.count(&format!("{} AND m.notices = {WEBHOOK_NOTICES}", of("hook"))).await, 2);
    assert_eq!(lab.count(&format!("{} AND m.notices = 50 AND m.q = 'wait'", of("hook"))).await, 1);
}

async fn a_message_that_was_sent_gets_no_more_notices(lab: Lab) {
    let controller = lab.routed(&[mail()]).await;
    lab.watched(&controller, 0, 0, 9).await;
    sweep(&lab).await;
    let first = lab.lease().await.expect("due");
    lab.watched(&controller, 0, 0, 9).await;
    sweep(&lab).await;
    assert_eq!(lab.carries(&first).await, 1);
    lab.store
        .finish_message(&first, &MessageOutcome::Later { not_before: lab.now(), reached: 1 })
        .await
        .expect("recorded");
    lab.watched(&controller, 0, 0, 9).await;
    sweep(&lab).await;
    let again = lab.lease().await.expect("due");
    assert_eq!((again.id.clone(), again.failures, again.reached), (first.id, 1, 1));
    assert_eq!(lab.carries(&again).await, 1);
    lab.sent(&again).await;
    assert!(lab.lease().await.is_none(), "messages to people are a minute apart");
    lab.travel(60_000);
    let second = lab.lease().await.expect("due");
    assert_eq!(lab.carries(&second).await, 2);
}

async fn a_route_hears_what_it_names_of_the_controllers_it_names(lab: Lab) {
    let (acme, other) = (lab.with_systems(&["crm"]).await, lab.controller("other").await);
    lab.system(&other, "crm").await;
    let of = |name: &str, kinds: Option<Vec<NoticeKind>>, controllers: Option<Vec<String>>| NewRoute {
        kinds,
        controllers,
        ..route(name, NotifyRole::Operator, Channel::Webhook, Delivery::Now)
    };
    let operators = [
        of("all", Some(NoticeKind::ALL.to_vec()), None),
        of("critical", Some(vec![NoticeKind::Critical]), None),
        of("by_role", None, None),
        of("other_only", Some(NoticeKind::ALL.to_vec()), Some(vec!["other".into()])),
    ];
    lab.store.apply_routes(None, &operators, false, "operator").await.expect("applied");
    lab.store.apply_routes(Some(&acme), &[hook()], false, "operator").await.expect("applied");
    lab.watched(&acme, 0, 8, 9).await;
    lab.watched(&other, 0, 8, 9).await;
    sweep(&lab).await;
    lab.travel(8 * DAY);
    sweep(&lab).await;
    let heard = lab.query("SELECT r.name || ' ' || c.name || ' ' || n.kind FROM message_notices mn JOIN messages m ON m.id = mn.message_id JOIN notify_routes r ON r.id = m.route_id JOIN notices n ON n.id = mn.notice_id JOIN controllers c ON c.id = n.controller_id").await;
    let mut heard: Vec<String> = heard;
    heard.sort();
    assert_eq!(
        heard,
        [
            "all acme at_risk",
            "all acme critical",
            "all other at_risk",
            "all other critical",
            "by_role acme critical",
            "by_role other critical",
            "critical acme critical",
            "critical other critical",
            "hook acme at_risk",
            "hook acme critical",
            "other_only other at_risk",
            "other_only other critical",
        ]
    );
}

async fn who_lost_the_lease_on_a_message_records_nothing(lab: Lab) {
    let controller = lab.routed(&[hook()]).await;
    lab.watched(&controller, 0, 0, 9).await;
    sweep(&lab).await;
    let dead = lab.store.claim_message("dead", &[], -1).await.expect("claimed").expect("due");
    assert!(lab.lease().await.is_none(), "it is being sent");
    assert_eq!(lab.store.expire_messages().await.expect("expired"), 1);
    let alive = lab.lease().await.expect("due again");
    assert_eq!(alive.id, dead.id);
    for outcome in [SENT, MessageOutcome::GivenUp { code: "gone" }] {
        assert!(!lab.store.finish_message(&dead, &outcome).await.expect("read"));
    }
    assert_eq!(lab.store.renew_messages("dead", 60_000).await.expect("renewed"), 0);
    assert_eq!(lab.store.renew_messages("one", 60_000).await.expect("renewed"), 1);
    lab.sent(&alive).await;
}

async fn a_message_that_kills_its_sender_three_times_is_put_aside(lab: Lab) {
    let controller = lab.routed(&[hook()]).await;
    lab.watched(&controller, 0, 0, 9).await;
    sweep(&lab).await;
    for _ in 0..3 {
        lab.store.claim_message("dead", &[], -1).await.expect("claimed").expect("due");
        assert_eq!(lab.store.expire_messages().await.expect("expired"), 1);
    }
    assert!(lab.lease().await.is_none());
    assert_eq!(
        lab.store.message_counts().await.expect("counted"),
        [("wait".into(), 0), ("run".into(), 0), ("quarantined".into(), 1)]
    );
    let lost = lab.store.messages_lost(0).await.expect("read");
    assert_eq!(lost, [("hook".to_owned(), "quarantined".to_owned(), 1)]);
}

async fn a_route_that_does_not_answer_waits_with_all_its_messages_and_others_go_on(lab: Lab) {
    let dead = NewRoute { name: "dead".into(), ..hook() };
    let controller = lab.routed(&[dead, NewRoute { name: "well".into(), ..hook() }]).await;
    for _ in 0..250 {
        lab.watched(&controller, 0, 0, 9).await;
    }
    sweep(&lab).await;
    let mut done = 0;
    while let Some(lease) = lab.lease().await {
        let (route, _) = lab.store.route_target(&lease.route_id).await.expect("there");
        if route.name == "dead" {
            let outcome = MessageOutcome::Later { not_before: lab.now() + 5_000, reached: 0 };
            lab.store.finish_message(&lease, &outcome).await.expect("recorded");
        } else {
            lab.sent(&lease).await;
            done += 1;
        }
        // A route that is busy is passed over.
        if let Some(other) =
            lab.store.claim_message("one", std::slice::from_ref(&lease.route_id), 60_000).await.expect("claimed")
        {
            assert_ne!(other.route_id, lease.route_id);
            lab.store.hand_back_messages("one").await.expect("handed back");
        }
    }
    assert_eq!(done, 3);
    assert_eq!(lab.count("messages WHERE q = 'wait'").await, 3);
    assert_eq!(lab.count("messages WHERE attempts > 0 AND q = 'wait'").await, 1, "one was tried for all");
    // It answers again, to whichever is tried first: the others follow at once.
    lab.travel(5_000);
    for _ in 0..3 {
        let lease = lab.lease().await.expect("due");
        lab.sent(&lease).await;
    }
}

async fn what_is_handed_back_is_sent_by_another(lab: Lab) {
    let controller = lab.routed(&[hook()]).await;
    lab.watched(&controller, 0, 0, 9).await;
    sweep(&lab).await;
    let first = lab.lease().await.expect("due");
    assert_eq!(lab.store.hand_back_messages("one").await.expect("handed back"), 1);
    let second = lab.store.claim_message("two", &[], 60_000).await.expect("claimed").expect("due");
    assert_eq!(first.id, second.id);
    assert!(!lab.store.finish_message(&first, &SENT).await.expect("read"));
    assert_eq!(lab.count("messages WHERE deaths > 0").await, 0, "nobody died");
}

async fn routes_are_what_the_file_says(lab: Lab) {
    let controller = lab.routed(&[mail(), hook()]).await;
    let apply = async |routes: &[NewRoute]| {
        lab.store.apply_routes(Some(&controller), routes, false, "operator").await.expect("applied")
    };
    assert!(apply(&[mail(), hook()]).await.is_empty());
    assert!(apply(&[hook(), mail()]).await.is_empty());
    let mut changed = hook();
    changed.target.url = Some(Personal::from("https://elsewhere.example/x"));
    assert_eq!(
        apply(&[changed.clone()]).await,
        [("hook".into(), RouteChange::Changed), ("mail".into(), RouteChange::Removed)]
    );
    assert!(apply(&[changed.clone()]).await.is_empty());
    // One that comes back is a new one.
    assert_eq!(apply(&[changed, mail()]).await, [("mail".into(), RouteChange::Added)]);
    // The operator's routes are others, whatever their names.
    let operators = lab.store.apply_routes(None, &[mail()], false, "operator").await.expect("applied");
    assert_eq!(operators, [("mail".into(), RouteChange::Added)]);
    assert_eq!(lab.store.routes().await.expect("read").len(), 3);
    let events = lab.store.events_after(&controller, 0, 100).await.expect("read");
    assert_eq!(events.iter().filter(|e| e.kind == "notify_routes_changed").count(), 3);
    assert!(!format!("{events:?}").contains("canary"));
}

async fn a_dry_run_changes_no_route(lab: Lab) {
    let controller = lab.routed(&[mail()]).await;
    let would = lab.store.apply_routes(Some(&controller), &[hook()], true, "operator").await.expect("read");
    assert_eq!(would, [("mail".into(), RouteChange::Removed), ("hook".into(), RouteChange::Added)]);
    let names: Vec<String> = lab.store.routes().await.expect("read").into_iter().map(|route| route.name).collect();
    assert_eq!(names, ["mail"]);
}

async fn a_removed_route_is_sent_nothing(lab: Lab) {
    let controller = lab.routed(&[mail(), hook()]).await;
    lab.watched(&controller, 0, 5, 9).await;
    sweep(&lab).await;
    lab.store.apply_routes(Some(&controller), &[], false, "operator").await.expect("applied");
    lab.travel(5 * DAY);
    sweep(&lab).await;
    assert!(lab.lease().await.is_none());
    assert_eq!(lab.count("messages WHERE outcome = 'route_removed'").await, 2);
    assert_eq!(lab.count("notices").await, 2, "they are noticed all the same");
    assert!(lab.store.messages_lost(0).await.expect("read").is_empty(), "that is nobody's fault");
}

async fn addresses_and_secret_urls_are_sealed(lab: Lab) {
    let controller = lab.routed(&[mail(), hook()]).await;
    lab.store.apply_routes(None, &[mail()], false, "operator").await.expect("applied");
    for route in lab.store.routes().await.expect("read") {
        let (_, target) = lab.store.route_target(&route.id).await.expect("opens");
        assert_eq!(target.to[0].expose(), "canary-address@acme.example");
        // A controller's webhooks are signed with its own secret if the route has none.
        let own = route.controller_id.is_some() && route.channel == Channel::Webhook;
        assert_eq!(target.secret.is_some(), own);
        assert!(!format!("{route:?} {target:?}").contains("canary"));
    }
    let sealed =
        if lab.store.dialect() == redress_store::Dialect::Sqlite { "hex(target)" } else { "encode(target, 'hex')" };
    let needle = "63616e617279"; // "canary"
    for text in lab.query(&format!("SELECT {sealed} FROM notify_routes")).await {
        assert!(text.len() > 100 && !text.to_lowercase().contains(needle));
    }
    let clear = lab.query("SELECT id || COALESCE(controllers, '') || name || role || channel || COALESCE(kinds, '') || delivery || timezone FROM notify_routes").await;
    assert!(!clear.concat().contains("canary"));
    assert_eq!(lab.count(&format!("notify_routes WHERE controller_id = '{controller}'")).await, 2);
}

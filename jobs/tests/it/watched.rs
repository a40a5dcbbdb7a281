//! What comes due is told to people and programs outside, at least once and always by the same id, and says nothing of
//! the person.

use crate::lab::{GRACE, Lab, engine};
use redress_domain::notice::{Channel, Delivery, NoticeKind, NotifyRole};
use redress_domain::{Personal, RequestType, Role, Roles};
use redress_jobs::message::{self, Mailer, Messenger, Smtp, StartTls};
use redress_jobs::webhook::Secret;
use redress_jobs::{Engine, watch};
use redress_store::{Identified, NewRoute, RouteTarget};
use redress_testkit::{Answer, Receiver, Smtp as MailServer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

const DAY: i64 = 86_400_000;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn route(name: &str, channel: Channel) -> NewRoute {
    NewRoute {
        name: name.into(),
        role: NotifyRole::PrivacyTeam,
        channel,
        kinds: None,
        delivery: Delivery::Now,
        timezone: "Europe/Berlin".into(),
        controllers: None,
        target: RouteTarget::default(),
    }
}

fn hook(name: &str, url: &str) -> NewRoute {
    let target = RouteTarget { url: Some(url.into()), secret: Some(SECRET.into()), ..RouteTarget::default() };
    NewRoute { target, ..route(name, Channel::Webhook) }
}

fn mail(to: &[&str]) -> NewRoute {
    let to = to.iter().map(|to| Personal::from(*to)).collect();
    NewRoute { target: RouteTarget { to, ..RouteTarget::default() }, ..route("mail", Channel::Email) }
}

/// What says who the person is, or what its controller calls the request.
const CANARIES: [&str; 3] = ["jane", "example.com/dsr", "TICKET-1"];

impl Lab {
    async fn routes(&self, routes: &[NewRoute]) {
        self.store().apply_routes(Some(&self.ctl), routes, false, "operator").await.expect("applied");
    }

    /// Requests that nobody works on and whose date is missed.
    async fn overdue(&self, count: usize) {
        self.system("crm").await;
        self.store().pause_system(&self.ctl, "crm", true, "operator").await.expect("paused");
        for _ in 0..count {
            self.submit(RequestType::Deletion, "jane@example.com", None).await;
        }
        self.store().advance_due(1_000).await.expect("advanced");
        self.travel(31 * DAY);
        watch::sweep(&self.engine).await.expect("swept");
    }

    async fn counts(&self) -> BTreeMap<String, i64> {
        let counts = self.store().message_counts().await.expect("counted");
        counts.into_iter().filter(|(_, n)| *n > 0).collect()
    }
}

/// Sends what is due, one after the other.
async fn send(engine: &Engine) -> usize {
    let mut sent = 0;
    while let Some(lease) = engine.store.claim_message("one", &[], 60_000).await.expect("claimed") {
        message::attempt(engine, &lease).await.expect("recorded");
        sent += 1;
    }
    sent
}

/// Kinds and requests of each message, by its id, as a program heard them.
fn heard(receiver: &Receiver) -> BTreeMap<String, Vec<(String, String)>> {
    let mut all = BTreeMap::new();
    for request in receiver.requests() {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let notices = body["data"]["notices"].as_array().expect("notices");
        let said: Vec<_> = notices.iter().map(|n| (text(&n["kind"]), text(&n["request"]))).collect();
        let id = request.header("webhook-id").expect("an id").to_owned();
        assert_eq!(body["data"]["message"], id.as_str());
        if let Some(before) = all.insert(id, said.clone()) {
            assert_eq!(before, said, "the same message says the same");
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_told_by_a_signed_webhook_that_is_tried_again_by_the_same_id() {
    let lab = Lab::new().await;
    let receiver = Receiver::start().await;
    receiver.answer([500, 0]);
    receiver.answer_with(Answer::from(503).header("Retry-After", "1800"));
    lab.routes(&[hook("pager", &receiver.url_of("/page"))]).await;
    lab.overdue(3).await;
    for wait in [0, 5_500, 330_000] {
        lab.travel(wait);
        assert_eq!(send(&lab.engine).await, 1);
        assert_eq!(send(&lab.engine).await, 0, "not before its time");
    }
    lab.travel(1_700_000);
    assert_eq!(send(&lab.engine).await, 0, "the endpoint asked for half an hour");
    lab.travel(300_000);
    assert_eq!(send(&lab.engine).await, 1);
    let messages = receiver.requests();
    assert_eq!(messages.len(), 4);
    let secret = Secret::parse(SECRET).expect("a secret");
    for message in &messages {
        let header = |name: &str| message.header(name).expect(name).to_owned();
        let at: i64 = header("webhook-timestamp").parse().expect("seconds");
        assert_eq!(header("webhook-signature"), secret.sign(&header("webhook-id"), at, &message.body));
        assert_eq!((message.path.as_str(), &message.body), ("/page", &messages[0].body));
        assert!(CANARIES.iter().all(|canary| !message.text().contains(canary)), "{}", message.text());
    }
    let heard = heard(&receiver);
    assert_eq!(heard.len(), 1);
    let (id, said) = heard.iter().next().expect("one");
    assert!(id.starts_with("msg_") && said.len() == 3 && said.iter().all(|(kind, _)| kind == "overdue"));
    assert!(lab.counts().await.is_empty(), "sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_rights_are_told_to_the_operator_until_it_is_taken_and_so_is_their_end() {
    let lab = Lab::new().await;
    let receiver = Receiver::start().await;
    receiver.answer([500]);
    let desk = NewRoute { role: NotifyRole::Operator, ..hook("desk", &receiver.url()) };
    lab.store().apply_routes(None, &[desk], false, "operator").await.expect("applied");
    let who = Identified {
        issuer: "https://idp.example".into(),
        subject: Personal::from("bo"),
        name: Personal::from("Bo Canary"),
        email: None,
        roles: Roles::new([Role::BreakGlass]),
        controllers: None,
    };
    let (user, _, text) = lab.store().sign_in(&who, Duration::from_hours(12)).await.expect("signed in");
    let session = lab.store().session(&text).await.expect("read").expect("it holds");
    lab.store().break_glass(&session, "the CRM is down at night", 30).await.expect("taken up");
    assert_eq!(send(&lab.engine).await, 1, "it was not taken");
    lab.travel(6_000);
    assert_eq!(send(&lab.engine).await, 1);
    lab.travel(30 * 60_000);
    lab.store().sweep_glass().await.expect("swept");
    assert_eq!(send(&lab.engine).await, 1);
    let said = receiver.requests();
    let bodies: Vec<Value> = said.iter().map(|r| serde_json::from_slice(&r.body).expect("JSON")).collect();
    let kinds: Vec<&str> = bodies.iter().filter_map(|body| body["type"].as_str()).collect();
    assert_eq!(kinds, ["redress.break_glass", "redress.break_glass", "redress.break_glass_ended"]);
    assert_eq!(bodies[0], bodies[1], "the same message says the same");
    assert!(bodies.iter().all(|body| body["data"]["user"] == user.as_str()), "{bodies:?}");
    assert_eq!(bodies[2]["data"]["by"], "time");
    assert!(said.iter().all(|request| !request.text().contains("Canary") && !request.text().contains("at night")));
    assert!(lab.counts().await.is_empty(), "sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_gone_or_never_answers_is_given_up_where_it_can_be_seen() {
    let lab = Lab::new().await;
    let (gone, dead) = (Receiver::start().await, Receiver::start().await);
    gone.otherwise(410);
    dead.otherwise(500);
    lab.routes(&[hook("gone", &gone.url()), hook("dead", &dead.url())]).await;
    lab.overdue(1).await;
    send(&lab.engine).await;
    assert_eq!(lab.counts().await, BTreeMap::from([("gone".to_owned(), 1), ("wait".to_owned(), 1)]));
    for _ in 0..12 {
        lab.travel(2 * DAY);
        send(&lab.engine).await;
    }
    assert_eq!((gone.requests().len(), dead.requests().len()), (1, 10));
    let lost = lab.store().messages_lost(0).await.expect("read");
    assert_eq!(lost, [("dead".into(), "given_up".into(), 1), ("gone".to_owned(), "gone".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slack_gets_a_text_and_blocks() {
    let lab = Lab::new().await;
    let receiver = Receiver::start().await;
    let target = RouteTarget { url: Some(receiver.url_of("/services/T/B/x").into()), ..RouteTarget::default() };
    lab.routes(&[NewRoute { target, ..route("chat", Channel::Slack) }]).await;
    lab.overdue(2).await;
    assert_eq!(send(&lab.engine).await, 1);
    let message = &receiver.requests()[0];
    let body: Value = serde_json::from_slice(&message.body).expect("JSON");
    assert_eq!(body["text"], "[redress] 2 requests of acme are overdue");
    assert_eq!(body["blocks"][0]["type"], "header");
    let section = body["blocks"][1]["text"]["text"].as_str().expect("a section");
    assert!(
        section.contains("https://dsr.example.com/requests/dsr_") && section.contains("(Europe/Berlin)"),
        "{section}"
    );
    assert!(CANARIES.iter().all(|canary| !message.text().contains(canary)), "{}", message.text());
    assert!(message.header("webhook-signature").is_none());
}

async fn mailing(lab: &Lab, url: String, starttls: StartTls, server: &MailServer) -> Arc<Engine> {
    let ca = std::fs::read_to_string(server.ca_file()).expect("an authority");
    let smtp = Smtp { url: url.into(), from: "Redress <redress@processor.example>".into(), starttls, ca };
    let mailer = Mailer::new(&smtp).expect("sound");
    let mut engine = engine(lab.store().clone()).await;
    engine.messenger = Messenger::new(Some(mailer), "https://dsr.example.com".into()).expect("a client");
    Arc::new(engine)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_by_mail_over_tls_with_a_password() {
    let lab = Lab::new().await;
    let server = MailServer::start().await;
    lab.routes(&[mail(&["dpo@acme.example", "team@acme.example"])]).await;
    lab.overdue(2).await;
    // No server, a password that is wrong, an authority that is unknown: nothing is sent.
    let (plain, tls) = (server.port(), server.smtps_port());
    let wrong = mailing(&lab, format!("smtps://redress:no@127.0.0.1:{tls}"), StartTls::Required, &server).await;
    let other = MailServer::start().await;
    let unknown = mailing(&lab, format!("smtps://redress:pw@127.0.0.1:{tls}"), StartTls::Required, &other).await;
    for engine in [&lab.engine, &wrong, &unknown] {
        assert_eq!(send(engine).await, 1);
        lab.travel(DAY);
    }
    assert!(server.mails().is_empty());
    let by_starttls = mailing(&lab, format!("smtp://redress:pw@127.0.0.1:{plain}"), StartTls::Required, &server).await;
    assert_eq!(send(&by_starttls).await, 1);
    let mails = server.wait_for(2).await;
    let abouts: BTreeSet<&str> = mails.iter().map(|mail| mail.about.as_str()).collect();
    assert_eq!(
        abouts,
        BTreeSet::from([
            r#"{"from": "redress@processor.example", "to": ["dpo@acme.example"], "user": "redress", "tls": true}"#,
            r#"{"from": "redress@processor.example", "to": ["team@acme.example"], "user": "redress", "tls": true}"#,
        ])
    );
    for mail in &mails {
        assert_eq!(mail.header("Subject"), Some("[redress] 2 requests of acme are overdue"));
        assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
        assert_eq!(mail.header("Message-ID"), mails[0].header("Message-ID"));
        assert!(mail.text.contains("/requests/dsr_") && mail.text.contains("<h3>Overdue (2)</h3>"), "{}", mail.text);
        assert!(CANARIES.iter().all(|canary| !mail.text.contains(canary)), "{}", mail.text);
    }
    // From the start by TLS, too.
    lab.store().apply_routes(Some(&lab.ctl), &[mail(&["dpo@acme.example"])], false, "operator").await.expect("applied");
    lab.submit(RequestType::Access, "jane@example.com", None).await;
    lab.store().advance_due(10).await.expect("advanced");
    lab.travel(31 * DAY);
    watch::sweep(&lab.engine).await.expect("swept");
    let by_tls = mailing(&lab, format!("smtps://redress:pw@127.0.0.1:{tls}"), StartTls::Required, &server).await;
    assert_eq!(send(&by_tls).await, 1);
    assert!(server.wait_for(3).await[2].about.contains("\"tls\": true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_refused_keeps_nobody_else_from_hearing_and_nobody_hears_twice() {
    let lab = Lab::new().await;
    let server = MailServer::start().await;
    lab.routes(&[mail(&["refused@acme.example", "one@acme.example", "later@acme.example", "two@acme.example"])]).await;
    lab.overdue(1).await;
    let url = format!("smtp://127.0.0.1:{}", server.port());
    let engine = mailing(&lab, url, StartTls::Never, &server).await;
    assert_eq!(send(&engine).await, 1);
    assert_eq!(server.mails().len(), 1, "the server is not asked for others when it wants to be left alone");
    lab.travel(6_000);
    assert_eq!(send(&engine).await, 1);
    let mut told: Vec<String> = server.mails().iter().filter_map(|mail| mail.header("To").map(str::to_owned)).collect();
    told.sort();
    assert_eq!(told, ["later@acme.example", "one@acme.example", "two@acme.example"]);
    assert_eq!(lab.counts().await, BTreeMap::from([("sent_in_part".to_owned(), 1)]));
    lab.routes(&[mail(&["refused@acme.example"])]).await;
    lab.submit(RequestType::Access, "jane@example.com", None).await;
    lab.store().advance_due(10).await.expect("advanced");
    lab.travel(31 * DAY);
    watch::sweep(&lab.engine).await.expect("swept");
    send(&engine).await;
    assert_eq!(lab.counts().await["refused"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_tell_what_comes_due_and_an_endpoint_that_hangs_holds_up_only_its_own_route() {
    let lab = Lab::new().await;
    let (well, hanging) = (Receiver::start().await, Receiver::start().await);
    hanging.otherwise(Answer::from(200).after(Duration::from_secs(4)));
    lab.routes(&[hook("a_hanging", &hanging.url()), hook("well", &well.url())]).await;
    lab.overdue(500).await;
    let workers = lab.start("one");
    let messages = well.wait_for(5).await;
    assert_eq!(messages.len(), 5);
    let said: usize = heard(&well).values().map(Vec::len).sum();
    assert_eq!(said, 500);
    assert!(hanging.requests().len() <= 4, "a route has few of the places");
    // The work goes on meanwhile, and what is being sent may end.
    lab.store().pause_system(&lab.ctl, "crm", false, "operator").await.expect("resumed");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    lab.until(&id, "completed", 0).await;
    workers.shut_down(GRACE).await;
    let told = heard(&hanging).len();
    assert!(told >= 1);
    let counts = lab.counts().await;
    assert_eq!(counts.get("run"), None, "nothing is left leased: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_of_a_worker_sees_a_request_that_begins_to_wait_at_once() {
    let lab = Lab::new().await;
    let receiver = Receiver::start().await;
    lab.system("crm").await;
    // The table is not there: the step needs a person.
    lab.sql("crm", "DROP TABLE orders").await;
    lab.routes(&[hook("pager", &receiver.url())]).await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    lab.until(&id, "needs_attention", 2_000).await;
    receiver.wait_for(1).await;
    let heard = heard(&receiver);
    assert_eq!(heard.values().next(), Some(&vec![("needs_attention".to_owned(), id.to_string())]));
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_can_be_tried() {
    let lab = Lab::new().await;
    let receiver = Receiver::start().await;
    lab.routes(&[hook("pager", &receiver.url()), mail(&["dpo@acme.example"])]).await;
    let routes = lab.store().routes().await.expect("read");
    let id = |name: &str| routes.iter().find(|r| r.name == name).expect("there").id.clone();
    message::test(&lab.engine, &id("pager")).await.expect("taken");
    assert_eq!(heard(&receiver).len(), 1);
    receiver.otherwise(500);
    assert!(message::test(&lab.engine, &id("pager")).await.is_err());
    let fault = message::test(&lab.engine, &id("mail")).await.expect_err("no mail server");
    assert_eq!(fault.to_string(), "smtp.url is not set, so no mail can be sent");
    assert!(lab.counts().await.is_empty(), "a test leaves nothing behind");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_dies_at_any_point_sends_again_by_the_same_id_and_no_notice_has_two() {
    // How often a life has to wait, and so where it can end, is the machine's affair: as many lives as it takes to see enough deaths.
    let (mut deaths, mut repeated) = (0, 0);
    for _ in 0..20 {
        let (died, more) = senders_that_die().await;
        deaths += died;
        repeated += more;
        if deaths >= 20 && repeated > 0 {
            break;
        }
    }
    assert!(deaths >= 20, "{deaths} deaths prove little");
    assert!(repeated > 0, "some were sent more than once");
}

/// Sends 350 notices with a sender that dies at each point in turn; says how often it died, and how many messages were sent again.
async fn senders_that_die() -> (u32, usize) {
    let lab = Lab::new().await;
    let receiver = Receiver::start().await;
    lab.routes(&[hook("pager", &receiver.url())]).await;
    lab.overdue(350).await;
    let mut deaths = 0;
    let mut point = 1;
    // A lease of no length: whoever takes over needs not wait, and deaths are not held against the message.
    loop {
        let work = async {
            let Some(lease) = lab.store().claim_message("one", &[], 60_000).await.expect("claimed") else {
                return false;
            };
            message::attempt(&lab.engine, &lease).await.expect("recorded");
            true
        };
        match (DropAt { inner: Box::pin(work), left: point }).await {
            Some(false) => break,
            Some(true) => point = 1,
            None => {
                deaths += 1;
                point += 1;
                lab.store().hand_back_messages("one").await.expect("handed back");
            }
        }
    }
    let heard = heard(&receiver);
    assert_eq!(heard.len(), 4);
    let mut said: Vec<_> = heard.values().flatten().collect();
    let all = said.len();
    said.sort();
    said.dedup();
    assert_eq!((all, said.len()), (350, 350), "each notice has one message");
    assert!(lab.counts().await.is_empty());
    assert_eq!(NoticeKind::Overdue.as_str(), said[0].0);
    (deaths, receiver.requests().len() - heard.len())
}

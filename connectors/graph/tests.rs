use super::*;
use crate::conformance::{self, MemoryJournal, MemorySink, Target as _, confirmed, done, only, trouble, work};
use crate::mailservice::tests::{Simulated, ann, assert_no_wrong_answer_is_believed, code};
use crate::{Outcome, Trouble, Verdict, Work};
use redress_sandbox::Fault;
use redress_sandbox::vendors::graph::{
    CLIENT_ID, MAILBOXES, SECRET, TENANT, VENDOR, deliver, organisation, user, user_id,
};
use serde_json::{Value, json};

const SUPPORT: &str = MAILBOXES[1];
const ANN: (&str, &str) = ("Ann", "ann@shop.example");

fn settings(url: &str) -> Value {
    json!({ "tenant": TENANT, "client_id": CLIENT_ID, "login_url": url, "base_url": url })
}

async fn graph() -> Simulated {
    let graph = Simulated::serve(VENDOR, settings, &[("client_secret", SECRET)]).await;
    let graph = graph.cannot_carry("a search knows no escape for a quotation mark or a backslash in an address");
    organisation(graph.world());
    graph
}

fn put(graph: &Simulated, folder: &str, from: (&str, &str)) -> String {
    deliver(graph.world(), SUPPORT, folder, from, &[("Support", SUPPORT)], &[])
}

async fn erase(connector: &Arc<dyn Connector>) -> Outcome {
    only(connector.erase(&[work("e", &ann())], &MemoryJournal::default()).await)
}

#[tokio::test]
async fn graph_conforms() {
    conformance::run(&graph().await).await;
}

#[tokio::test]
async fn graph_is_not_believed_when_it_is_wrong() {
    assert_no_wrong_answer_is_believed(&graph().await, "/v1.0/users/", ("$batch", 0)).await;
    assert_no_wrong_answer_is_believed(&graph().await, "/v1.0/users", ("$batch", 0)).await;
}

#[test]
fn every_fault_of_the_settings_is_told_at_once() {
    let spec = SystemSpec {
        name: "mail".into(),
        connector: "graph".into(),
        settings: json!({ "mailboxes": [], "base_url": "ftp://x", "user": "x" })
            .as_object()
            .cloned()
            .unwrap_or_default(),
        secrets: std::collections::BTreeMap::new(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: crate::Network::default(),
    };
    let faults: Vec<String> = connect(&spec).err().unwrap_or_default().into_iter().map(|fault| fault.path).collect();
    let expected = [
        "settings.tenant",
        "settings.client_id",
        "settings.mailboxes",
        "settings.base_url",
        "settings.user",
        "secrets.client_secret",
    ];
    assert_eq!(faults, expected);
}

#[tokio::test]
async fn hits_of_the_search_that_are_other_people_stay() {
    let graph = graph().await;
    for other in
        [("ann@shop.example", "bob@x.example"), ("Joann", "joann@shop.example"), ("A", "ann@shop.example.evil.org")]
    {
        put(&graph, "inbox", other);
    }
    put(&graph, "inbox", ("", "ANN@shop.example"));
    put(&graph, "recoverableitemsdeletions", ANN);
    let erased = done(erase(&graph.connector()).await);
    assert_eq!((erased.found, erased.changed), (2, 2));
    assert_eq!(erased.effect, Some(Effect::Scheduled { within_days: 14 }));
    let left = graph.world().all(&format!("messages:{}", user_id(SUPPORT)));
    assert_eq!(left.iter().filter(|(_, message)| message["parentFolderId"] == "inbox").count(), 3);
}

#[tokio::test]
async fn twenty_messages_go_with_one_call_and_never_five_at_once() {
    let graph = graph().await;
    for _ in 0..50 {
        put(&graph, "inbox", ANN);
    }
    let connector = graph.connector();
    let journal = MemoryJournal::default();
    let subject = ann();
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed), (50, 50));
    assert_eq!(graph.calls("POST", "$batch"), 3);
    // Half of them were gone before the next run, which must not stop at them.
    let again = put(&graph, "inbox", ANN);
    let prior = journal.announced("e");
    let item = Work { prior: prior.as_ref(), ..work("e", &subject) };
    let second = done(only(connector.erase(&[item], &MemoryJournal::default()).await));
    assert_eq!((second.found, second.changed), (51, 51));
    assert_ne!(
        graph.world().get(&format!("messages:{}", user_id(SUPPORT)), &again).expect("purged later")["parentFolderId"],
        "inbox"
    );
    let item = Work { prior: second.receipt.as_ref(), ..work("v", &subject) };
    confirmed(only(connector.verify(Verb::Erase, &[item]).await));
}

#[tokio::test]
async fn a_search_that_ends_at_its_thousandth_hit_is_not_believed() {
    let graph = graph().await;
    for _ in 0..1_100 {
        deliver(graph.world(), SUPPORT, "inbox", ("Support", SUPPORT), &[("x", "joann@shop.example")], &[]);
    }
    for _ in 0..3 {
        let to = [("x", "joann@shop.example"), ("Ann", "ann@shop.example")];
        deliver(graph.world(), SUPPORT, "inbox", ("Support", SUPPORT), &to, &[]);
    }
    let found = done(only(graph.connector().discover(&[work("d", &ann())]).await)).found;
    assert_eq!(found, 3);
}

#[tokio::test]
async fn a_part_that_is_throttled_throttles_the_rest_and_loses_nothing() {
    let graph = graph().await;
    put(&graph, "inbox", ANN);
    put(&graph, "inbox", ANN);
    let parts = json!({ "responses": [
        { "id": "0", "status": 429, "headers": { "Retry-After": "7" }, "body": { "error": { "code": "ApplicationThrottled" } } },
        { "id": "1", "status": 424, "body": {} },
    ]});
    graph.world().fault(Fault::Status(200, parts.to_string(), None), Some("$batch"));
    let (connector, journal, subject) = (graph.connector(), MemoryJournal::default(), ann());
    let first = trouble(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!(first, Trouble::Throttled(Duration::from_secs(7)));
    let prior = journal.announced("e");
    let item = Work { prior: prior.as_ref(), ..work("e", &subject) };
    assert_eq!(done(only(connector.erase(&[item], &journal).await)).changed, 2);
}

#[tokio::test]
async fn a_batch_that_answers_for_some_of_its_parts_is_not_believed() {
    let graph = graph().await;
    put(&graph, "inbox", ANN);
    put(&graph, "inbox", ANN);
    let parts = json!({ "responses": [{ "id": "1", "status": 204 }] });
    graph.world().fault(Fault::Status(200, parts.to_string(), None), Some("$batch"));
    assert_eq!(code(&trouble(erase(&graph.connector()).await)), "answer_unreadable");
}

#[tokio::test]
async fn the_next_page_is_asked_for_only_at_the_same_place() {
    let graph = graph().await;
    for elsewhere in
        ["https://evil.example/v1.0/users", "http://127.0.0.1:1/v1.0/users/x", "/v1.0/users", "file:///etc"]
    {
        let page = json!({ "value": [], "@odata.nextLink": elsewhere }).to_string();
        graph.world().fault(Fault::Status(200, page, None), Some("/messages"));
        let answer = trouble(erase(&graph.with(&json!({ "mailboxes": [SUPPORT] }))).await);
        assert!(["host_not_pinned", "answer_unreadable"].contains(&code(&answer)), "{elsewhere}: {answer:?}");
    }
    let page =
        json!({ "value": [], "@odata.nextLink": format!("{}/v1.0/users/again", graph.served.url()) }).to_string();
    for _ in 0..5 {
        graph.world().fault(Fault::Status(200, page.clone(), None), Some("/v1.0/users"));
    }
    assert_eq!(code(&trouble(erase(&graph.with(&json!({ "mailboxes": [SUPPORT] }))).await)), "list_endless");
}

#[tokio::test]
async fn a_bad_mailbox_is_never_an_empty_one() {
    let graph = graph().await;
    put(&graph, "inbox", ANN);
    user(graph.world(), "old@corp.test", "on_premises");
    assert_eq!(code(&trouble(erase(&graph.connector()).await)), "mailbox_unavailable");
    let never = json!({ "mailboxes": [SUPPORT, "never@corp.test"] });
    assert_eq!(code(&trouble(erase(&graph.with(&never)).await)), "mailbox_unavailable");
    graph.world().put("settings", "access", json!({ "denied": [SUPPORT] }));
    let some = json!({ "mailboxes": [SUPPORT] });
    assert_eq!(code(&trouble(erase(&graph.with(&some)).await)), "permission_missing");
    graph.world().take("settings", "access");
    assert_eq!(done(erase(&graph.with(&json!({ "except": ["old@corp.test"] }))).await).changed, 1);
}

#[tokio::test]
async fn a_message_that_was_brought_back_is_residue() {
    let graph = graph().await;
    let id = put(&graph, "inbox", ANN);
    let connector = graph.connector();
    let erased = done(erase(&connector).await);
    let (subject, collection) = (ann(), format!("messages:{}", user_id(SUPPORT)));
    let mut message = graph.world().get(&collection, &id).expect("it waits for its purge");
    message.insert("parentFolderId".into(), json!("inbox"));
    message.insert("from".into(), json!(null));
    graph.world().put(&collection, &id, Value::Object(message));
    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    match only(connector.verify(Verb::Erase, &[item]).await) {
        Verdict::Residue { remaining: 1, .. } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_export_is_the_message_itself() {
    let graph = graph().await;
    put(&graph, "inbox", ANN);
    let sink = MemorySink::default();
    assert_eq!(done(only(graph.connector().export(&[work("x", &ann())], &sink).await)).found, 1);
    let bytes = only(sink.attachments("x")).bytes;
    assert!(String::from_utf8_lossy(&bytes).starts_with("From: \"Ann\" <ann@shop.example>\r\n"));
}

mod cyrus;

use super::*;
use crate::conformance::{self, MemoryJournal, MemorySink, confirmed, done, only, trouble, work};
use crate::mailservice::tests::{Simulated, ann, assert_no_wrong_answer_is_believed, code};
use crate::{Outcome, Trouble, Verdict, Work};
use redress_sandbox::Fault;
use redress_sandbox::vendors::jmap::{PASSWORD, USER, VENDOR, deliver};
use serde_json::{Value, json};

fn settings(url: &str) -> Value {
    json!({ "session_url": format!("{url}/jmap/session"), "username": USER })
}

async fn jmap() -> Simulated {
    Simulated::serve(VENDOR, settings, &[("password", PASSWORD)]).await
}

fn to(address: &str) -> String {
    format!("From: Support <support@corp.test>\r\nTo: {address}\r\nSubject: invoice\r\n\r\nHello\r\n")
}

async fn erase(connector: &Arc<dyn Connector>) -> Outcome {
    only(connector.erase(&[work("e", &ann())], &MemoryJournal::default()).await)
}

#[tokio::test]
async fn jmap_conforms() {
    conformance::run(&jmap().await).await;
}

#[tokio::test]
async fn jmap_is_not_believed_when_it_is_wrong() {
    assert_no_wrong_answer_is_believed(&jmap().await, "/jmap/api", ("/jmap/api", 3)).await;
}

#[test]
fn every_fault_of_the_settings_is_told_at_once() {
    let spec = SystemSpec {
        name: "mail".into(),
        connector: "jmap".into(),
        settings: json!({ "session_url": "ftp://x", "auth": "digest", "user": "x" })
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
    let expected = ["settings.session_url", "settings.auth", "settings.username", "settings.user", "secrets.password"];
    assert_eq!(faults, expected);
}

#[tokio::test]
async fn a_large_account_is_searched_by_headers_and_only_if_its_search_finds_what_is_there() {
    let jmap = jmap().await;
    for address in ["joann@shop.example", "Ann\r\n <ANN@shop.example>", "ann@shop.example.evil.org"] {
        deliver(jmap.world(), &to(address));
    }
    let searching = jmap.with(&json!({ "scan_max": 0 }));
    assert_eq!(done(only(searching.discover(&[work("d", &ann())]).await)).found, 1);
    jmap.world().put("settings", "search", json!({ "blind": true }));
    assert_eq!(code(&trouble(erase(&searching).await)), "search_not_believed");
    assert_eq!(searching.check().await.expect_err("told").code, "search_not_believed");
    assert_eq!(done(erase(&jmap.with(&json!({}))).await).changed, 1, "read as a whole, it needs no search");
    assert_eq!(jmap.world().all("mail").len(), 2);
}

#[tokio::test]
async fn many_messages_are_read_and_destroyed_in_pieces_that_the_server_takes() {
    let jmap = jmap().await;
    for _ in 0..120 {
        deliver(jmap.world(), &to("ann@shop.example"));
        deliver(jmap.world(), &to("joann@shop.example"));
    }
    let erased = done(erase(&jmap.with(&json!({ "residual_days": 7 }))).await);
    assert_eq!((erased.found, erased.changed), (120, 120));
    assert_eq!(erased.effect, Some(Effect::Soft { residual_days: Some(7) }));
    assert_eq!(jmap.world().all("mail").len(), 120);
    confirmed(only(jmap.with(&json!({})).verify(Verb::Erase, &[work("v", &ann())]).await));
}

#[tokio::test]
async fn what_the_server_does_not_account_for_was_not_destroyed() {
    let jmap = jmap().await;
    deliver(jmap.world(), &to("ann@shop.example"));
    let connector = jmap.with(&json!({}));
    let said = |set: Value| json!({ "methodResponses": [["Email/set", set, "0"]], "sessionState": "0" }).to_string();
    for (set, expected) in [
        (json!({ "accountId": USER, "destroyed": [] }), "answer_unreadable"),
        (
            json!({ "accountId": USER, "destroyed": null, "notDestroyed": { "M1": { "type": "forbidden" } } }),
            "permission_missing",
        ),
        (json!({ "accountId": USER, "notDestroyed": { "M1": { "type": "stateMismatch" } } }), "vendor_error"),
        (json!({ "accountId": "other", "destroyed": [] }), "answer_unreadable"),
    ] {
        // Reading an account of one message takes three calls.
        let pass = || Fault::Slow(Duration::ZERO);
        (0..3).for_each(|_| jmap.world().fault(pass(), Some("/jmap/api")));
        jmap.world().fault(Fault::Status(200, said(set), None), Some("/jmap/api"));
        assert_eq!(code(&trouble(erase(&connector).await)), expected);
    }
    let sink = MemorySink::default();
    done(only(connector.export(&[work("x", &ann())], &sink).await));
    assert_eq!(only(sink.attachments("x")).bytes, to("ann@shop.example").as_bytes());
}

#[tokio::test]
async fn a_session_that_points_to_a_place_without_tls_is_refused_and_accounts_are_chosen() {
    let jmap = jmap().await;
    let choose = |accounts: Value| jmap.with(&json!({ "accounts": accounts }));
    assert_eq!(code(&trouble(erase(&choose(json!(["other"]))).await)), "account_missing");
    assert!(matches!(erase(&choose(json!(["*"]))).await, Outcome::NothingFound(_)));
    let limit = json!({ "type": "urn:ietf:params:jmap:error:limit", "limit": "maxConcurrentRequests" }).to_string();
    jmap.world().fault(Fault::Status(400, limit, None), Some("/jmap/api"));
    assert!(matches!(trouble(erase(&choose(json!(["*"]))).await), Trouble::Throttled(_)));
}

#[tokio::test]
async fn a_message_that_was_brought_back_is_residue() {
    let jmap = jmap().await;
    let id = deliver(jmap.world(), &to("ann@shop.example"));
    let connector = jmap.with(&json!({}));
    let erased = done(erase(&connector).await);
    jmap.world().put("mail", &id, json!({ "raw": "From: x\r\n\r\n", "at": 1 }));
    let subject = ann();
    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    match only(connector.verify(Verb::Erase, &[item]).await) {
        Verdict::Residue { remaining: 1, .. } => {}
        other => panic!("{other:?}"),
    }
}

use super::*;
use crate::conformance::{
    self, MemoryJournal, MemorySink, Target as _, confirmed, done, nothing_found, only, subject, trouble, work,
};
use crate::mailservice::tests::{Simulated, ann, assert_no_wrong_answer_is_believed, code};
use crate::{Outcome, Trouble, Verdict, Work};
use redress_sandbox::vendors::gmail::{ADMIN, MAILBOXES, PRIVATE_KEY, SERVICE_ACCOUNT, VENDOR, deliver, workspace};
use redress_sandbox::{Fault, World};
use serde_json::{Value, json};

const SECRETS: &[(&str, &str)] = &[("private_key", PRIVATE_KEY)];
const SUPPORT: &str = MAILBOXES[1];

fn settings(url: &str) -> Value {
    json!({
        "service_account": SERVICE_ACCOUNT, "admin": ADMIN, "token_url": format!("{url}/token"), "base_url": url,
        "directory_url": url,
    })
}

async fn gmail() -> Simulated {
    let gmail = Simulated::serve(VENDOR, settings, SECRETS).await;
    let gmail = gmail.cannot_carry("a search knows no escape for a quotation mark or a backslash in an address");
    workspace(gmail.world());
    gmail
}

fn to(address: &str) -> String {
    format!("From: {SUPPORT}\r\nTo: {address}\r\nSubject: invoice\r\n\r\nHello\r\n")
}

async fn erase(connector: &Arc<dyn Connector>) -> Outcome {
    only(connector.erase(&[work("e", &ann())], &MemoryJournal::default()).await)
}

#[tokio::test]
async fn gmail_conforms() {
    conformance::run(&gmail().await).await;
}

#[tokio::test]
async fn gmail_is_not_believed_when_it_is_wrong() {
    assert_no_wrong_answer_is_believed(&gmail().await, "/gmail/v1/", ("batchDelete", 0)).await;
    assert_no_wrong_answer_is_believed(&gmail().await, "/admin/directory", ("batchDelete", 0)).await;
}

#[test]
fn every_fault_of_the_settings_is_told_at_once() {
    let mut spec = SystemSpec {
        name: "mail".into(),
        connector: "gmail".into(),
        settings: json!({
            "mailboxes": ["support"], "quota": "2025", "base_url": "ftp://x", "user": "x",
        })
        .as_object()
        .cloned()
        .unwrap_or_default(),
        secrets: [("private_key".to_owned(), "no key".into())].into(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: crate::Network::default(),
    };
    let faults = |spec: &SystemSpec| -> Vec<String> {
        connect(spec).err().unwrap_or_default().into_iter().map(|fault| fault.path).collect()
    };
    let expected = [
        "settings.service_account",
        "settings.mailboxes",
        "settings.quota",
        "settings.base_url",
        "settings.user",
        "secrets.private_key",
    ];
    assert_eq!(faults(&spec), expected);
    spec.settings = json!({ "service_account": "a@b" }).as_object().cloned().unwrap_or_default();
    assert_eq!(faults(&spec), ["settings.admin", "secrets.private_key"]);
}

#[tokio::test]
async fn messages_of_people_with_alike_addresses_stay() {
    let gmail = gmail().await;
    let others = [
        "joann@shop.example",
        "ann@shop.example.evil.org",
        "\"ann@shop.example\" <bob@x.example>",
        "bob@x.example (ann@shop.example)",
        // Gmail decodes it to `ann@shop.example <bob@x.example>`.
        "=?utf-8?q?ann=40shop.example?= <bob@x.example>",
    ];
    for other in others {
        deliver(gmail.world(), SUPPORT, &to(other));
    }
    deliver(gmail.world(), SUPPORT, &to("J\u{f6}rg <ANN@shop.example>"));
    deliver(gmail.world(), SUPPORT, &to("=?utf-8?q?J=C3=B6rg,_A=2E?= <ann@shop.example>"));
    let done = done(erase(&gmail.connector()).await);
    assert_eq!((done.found, done.changed), (2, 2));
    assert_eq!(done.effect, Some(Effect::Soft { residual_days: Some(25) }));
    assert_eq!(gmail.world().all(&format!("mailbox:{SUPPORT}")).len(), others.len());
}

#[tokio::test]
async fn a_thousand_messages_go_with_one_call_and_are_looked_up_by_one_list() {
    let gmail = gmail().await;
    for _ in 0..1_100 {
        deliver(gmail.world(), SUPPORT, &to("ann@shop.example"));
    }
    // More units than there are in a minute would be waited for.
    let connector = gmail.with(&json!({ "quota": "legacy", "mailboxes": [SUPPORT] }));
    let journal = MemoryJournal::default();
    let subject = ann();
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed), (1_100, 1_100));
    assert_eq!(gmail.calls("POST", "batchDelete"), 2);
    let before = gmail.world().hits().len();
    let prior = erased.receipt;
    let again = Work { prior: prior.as_ref(), ..work("e", &subject) };
    confirmed(only(connector.verify(Verb::Erase, &[again]).await));
    assert_eq!(gmail.world().hits().len() - before, 2, "one search and one list");
}

#[tokio::test]
async fn a_deleted_message_that_the_search_still_lists_is_gone() {
    let gmail = gmail().await;
    let id = deliver(gmail.world(), SUPPORT, &to("ann@shop.example"));
    let connector = gmail.connector();
    gmail.world().put(&format!("ghosts:{SUPPORT}"), "19a00000000fffff", json!({}));
    gmail.world().put(&format!("ghosts:{SUPPORT}"), &id, json!({}));
    let erased = done(erase(&connector).await);
    assert_eq!((erased.found, erased.changed), (1, 1));
    confirmed(only(connector.verify(Verb::Erase, &[work("v", &ann())]).await));
}

#[tokio::test]
async fn a_removed_message_that_only_the_search_forgot_is_residue() {
    let gmail = gmail().await;
    let id = deliver(gmail.world(), SUPPORT, &to("ann@shop.example"));
    let connector = gmail.connector();
    let erased = done(erase(&connector).await);
    // An administrator brought it back, and the index does not know it yet.
    gmail.world().put(&format!("mailbox:{SUPPORT}"), &id, json!({ "raw": "From: x\r\n\r\n", "labels": [] }));
    let (subject, receipt) = (ann(), erased.receipt);
    let item = Work { prior: receipt.as_ref(), ..work("v", &subject) };
    match only(connector.verify(Verb::Erase, &[item]).await) {
        Verdict::Residue { remaining: 1, .. } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn spam_and_trash_are_searched_and_the_export_is_the_message_itself() {
    let gmail = gmail().await;
    let raw = to("Ann <ann@shop.example>");
    let id = deliver(gmail.world(), SUPPORT, &raw);
    gmail.world().put(&format!("mailbox:{SUPPORT}"), &id, json!({ "raw": raw, "labels": ["TRASH"] }));
    let sink = MemorySink::default();
    let exported = done(only(gmail.connector().export(&[work("x", &ann())], &sink).await));
    assert_eq!(exported.found, 1);
    assert_eq!(only(sink.attachments("x")).bytes, raw.as_bytes());
}

#[tokio::test]
async fn a_bad_mailbox_is_never_an_empty_one() {
    let gmail = gmail().await;
    deliver(gmail.world(), SUPPORT, &to("ann@shop.example"));
    let user = |more: Value| {
        let mut record = json!({ "primaryEmail": "left@corp.test", "isMailboxSetup": true });
        record.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        record
    };
    gmail.world().put("users", "left@corp.test", user(json!({ "suspended": true })));
    assert_eq!(code(&trouble(erase(&gmail.connector()).await)), "mailbox_unavailable");
    let listed = json!({ "mailboxes": [SUPPORT, "left@corp.test"] });
    let answer = trouble(erase(&gmail.with(&listed)).await);
    assert_eq!(code(&answer), "mailbox_unavailable");
    let gone = json!({ "mailboxes": [SUPPORT, "never@corp.test"] });
    assert_eq!(code(&trouble(erase(&gmail.with(&gone)).await)), "mailbox_unavailable");
    assert_eq!(gmail.world().all(&format!("mailbox:{SUPPORT}")).len(), 1, "nothing is touched before all were read");
    // Who has no mailbox has no mail; who is left out is left out.
    gmail.world().put("users", "left@corp.test", user(json!({ "isMailboxSetup": false })));
    assert_eq!(done(only(gmail.connector().discover(&[work("d", &ann())]).await)).found, 1);
    assert_eq!(code(&trouble(erase(&gmail.with(&listed)).await)), "mailbox_unavailable", "named, so it must be there");
    gmail.world().put("users", "left@corp.test", user(json!({ "suspended": true })));
    assert_eq!(done(erase(&gmail.with(&json!({ "except": ["left@corp.test"] }))).await).changed, 1);
}

#[tokio::test]
async fn a_missing_delegation_says_what_to_do() {
    let gmail = gmail().await;
    gmail.world().put(
        "settings",
        "delegation",
        json!({ "scopes": ["https://www.googleapis.com/auth/gmail.readonly"] }),
    );
    let answer = trouble(erase(&gmail.connector()).await);
    let Trouble::Denied(problem) = answer else { panic!("{answer:?}") };
    assert_eq!(problem.code, "delegation_missing");
    assert!(problem.detail.contains("Domain-wide delegation"), "{}", problem.detail);
    gmail.world().put("settings", "delegation", json!({ "scopes": ["https://mail.google.com/"] }));
    nothing_found(erase(&gmail.with(&json!({ "mailboxes": [SUPPORT] }))).await);
}

#[tokio::test]
async fn a_mailbox_whose_minute_is_spent_is_waited_for_and_goes_on_where_it_was() {
    let gmail = gmail().await;
    for _ in 0..8 {
        deliver(gmail.world(), SUPPORT, &to("ann@shop.example"));
    }
    // A list and four messages a minute.
    gmail.world().put("settings", "quota", json!({ "mailbox": 90 }));
    let connector = gmail.with(&json!({ "mailboxes": [SUPPORT] }));
    let mut waited = 0;
    let found = loop {
        match only(connector.discover(&[work("d", &ann())]).await) {
            Outcome::Done(done) => break done.found,
            Outcome::Trouble(Trouble::Throttled(wait)) => {
                gmail.world().travel(std::time::Duration::from_secs(61));
                tokio::time::sleep(wait.min(std::time::Duration::from_secs(5))).await;
                waited += 1;
            }
            other => panic!("{other:?}"),
        }
        assert!(waited < 5, "it begins anew each time");
    };
    assert_eq!(found, 8);
    assert!(waited >= 1, "the limit was not met");
}

#[tokio::test]
async fn reasons_tell_limits_from_permissions() {
    let gmail = gmail().await;
    let body = |reason: &str| json!({ "error": { "code": 403, "errors": [{ "reason": reason }] } }).to_string();
    for (reason, waits) in [("rateLimitExceeded", true), ("dailyLimitExceeded", true), ("accessNotConfigured", false)] {
        gmail.world().fault(Fault::Status(403, body(reason), None), Some("/messages"));
        let connector = gmail.with(&json!({ "mailboxes": [SUPPORT] }));
        match trouble(only(connector.discover(&[work("d", &ann())]).await)) {
            Trouble::Throttled(_) if waits => {}
            Trouble::Denied(problem) if !waits => assert_eq!(problem.code, "permission_missing"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn pages_that_repeat_themselves_end() {
    let gmail = gmail().await;
    let page = json!({ "messages": [], "nextPageToken": "page500", "resultSizeEstimate": 201 }).to_string();
    for _ in 0..3 {
        gmail.world().fault(Fault::Status(200, page.clone(), None), Some("/messages"));
    }
    let connector = gmail.with(&json!({ "mailboxes": [SUPPORT] }));
    assert_eq!(code(&trouble(only(connector.discover(&[work("d", &ann())]).await))), "list_endless");
}

#[tokio::test]
async fn one_token_is_fetched_for_a_mailbox_and_renewed_when_it_is_refused() {
    let gmail = gmail().await;
    for _ in 0..20 {
        deliver(gmail.world(), SUPPORT, &to("ann@shop.example"));
    }
    let connector = gmail.with(&json!({ "mailboxes": [SUPPORT] }));
    done(only(connector.discover(&[work("d", &ann())]).await));
    assert_eq!(gmail.calls("POST", "/token"), 1);
    forget_tokens(gmail.world());
    done(only(connector.discover(&[work("d", &ann())]).await));
    assert_eq!(gmail.calls("POST", "/token"), 2);
}

fn forget_tokens(world: &World) {
    world.tables().remove("tokens");
}

#[tokio::test]
async fn an_address_that_gmail_cannot_be_asked_for_is_told() {
    let gmail = gmail().await;
    let quoted = subject(&[(IdentifierType::Email, "\"a b\"@shop.example")]);
    let answer = trouble(only(gmail.connector().discover(&[work("d", &quoted)]).await));
    assert_eq!(code(&answer), "identifier_not_sendable");
    assert_eq!(gmail.calls("GET", "/messages"), 0);
}

#[tokio::test]
async fn the_check_tells_what_is_there() {
    let gmail = gmail().await;
    let report = gmail.connector().check().await.expect("in order");
    assert_eq!(report.ok, ["signed in as the service account", "3 mailboxes, of which 3 were read"]);
}

#[tokio::test]
#[ignore = "installs google-api-python-client once, from the network"]
async fn googles_own_client_agrees_with_the_simulator() {
    let gmail = gmail().await;
    for person in &conformance::everybody() {
        gmail.put(person);
    }
    let key = std::env::temp_dir().join(format!("redress-gmail-{}.pem", std::process::id()));
    std::fs::write(&key, PRIVATE_KEY).expect("a temporary file");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/clients/gmail.py");
    let arguments =
        [gmail.served.url().as_str(), SERVICE_ACCOUNT, key.to_str().expect("UTF-8"), ADMIN, SUPPORT].map(str::to_owned);
    let run = move || std::process::Command::new(script).args(arguments).output();
    let output = tokio::task::spawn_blocking(run).await.expect("it ran").expect("there is Python");
    std::fs::remove_file(key).expect("ours");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

#[tokio::test]
async fn gmails_own_file_has_every_call_we_make() {
    let Some(judge) = crate::manifest::tests::judging::judge("gmail/judge.json") else { return };
    let gmail = gmail().await;
    deliver(gmail.world(), SUPPORT, &to("ann@shop.example"));
    let (connector, subject) = (gmail.connector(), ann());
    connector.discover(&[work("d", &subject)]).await;
    connector.export(&[work("x", &subject)], &MemorySink::default()).await;
    let erased = done(erase(&connector).await);
    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    connector.verify(Verb::Erase, &[item]).await;
    let besides = ["/token", "/admin/"];
    let refused = crate::manifest::tests::judging::refused(&judge, &gmail.world().hits(), &besides);
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

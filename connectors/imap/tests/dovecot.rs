//! Against a real Dovecot, looked at through its Maildir on the disk.

use super::{ODD, UNCLEAR, ann, code, message, spec, to};
use crate::conformance::{
    self, Broken, MemoryJournal, MemorySink, Person, Target, confirmed, done, nothing_found, only, subject, trouble,
    work,
};
use crate::imap::connect;
use crate::{Connector, Outcome, Trouble, Verdict};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Verb};
use redress_testkit::Dovecot;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const USER: &str = "support@corp.test";

async fn server() -> Dovecot {
    let server = Dovecot::start().await;
    server.user(USER, "pw");
    server
}

fn connector(server: &Dovecot, more: &Value) -> Arc<dyn Connector> {
    let mut settings = json!({ "host": server.host(), "port": server.imap_port(), "tls": "none", "username": USER });
    let all = settings.as_object_mut().expect("an object");
    all.extend(more.as_object().cloned().unwrap_or_default());
    all.retain(|_, value| !value.is_null());
    connect(&spec(&settings)).expect("valid")
}

async fn erase(connector: &Arc<dyn Connector>) -> Outcome {
    only(connector.erase(&[work("e", &ann())], &MemoryJournal::default()).await)
}

async fn verify(connector: &Arc<dyn Connector>) -> Verdict {
    only(connector.verify(Verb::Erase, &[work("v", &ann())]).await)
}

/// Every message that is on the disk below a folder.
fn on_disk(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let (inner, kind) = (entry.path(), entry.file_type().expect("readable"));
        if kind.is_dir() {
            found.extend(on_disk(&inner));
        } else if ["cur", "new"].iter().any(|part| path.ends_with(part)) {
            found.push(String::from_utf8_lossy(&fs::read(inner).expect("readable")).into_owned());
        }
    }
    found
}

struct Conforming {
    server: Dovecot,
    seeded: AtomicU64,
}

impl Conforming {
    fn user(&self) -> String {
        format!("support{}@corp.test", self.seeded.load(Ordering::Relaxed))
    }

    fn with(&self, more: &Value) -> Arc<dyn Connector> {
        let mut all = json!({ "username": self.user() });
        all.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        connector(&self.server, &all)
    }
}

#[async_trait]
impl Target for Conforming {
    async fn seed(&self, people: &[Person]) {
        self.seeded.fetch_add(1, Ordering::Relaxed);
        let user = self.user();
        self.server.user(&user, "pw");
        for person in people {
            let address = &person.email;
            self.server.deliver(&user, "INBOX", to(address));
            let named = format!("\"{}\" <{address}>", person.full_name);
            self.server.deliver(&user, "Sent", message(&named, "shop@corp.test", "question"));
            let delivered = format!("Delivered-To: {address}\r\nFrom: shop@corp.test\r\n\r\nHello");
            self.server.deliver(&user, "Trash", delivered);
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.with(&json!({}))
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        Some(self.with(&json!({ "max_messages": 1 })))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let people = conformance::everybody().into_iter().chain(conformance::crowd());
        let emails: BTreeSet<String> = people.map(|person| person.email).collect();
        let mut counts = BTreeMap::new();
        for message in on_disk(&self.server.maildir(&self.user())) {
            for email in &emails {
                let forms = [format!("To: {email}"), format!("Delivered-To: {email}")];
                let is_theirs = |line: &str| forms.iter().any(|f| f == line) || line.ends_with(&format!("<{email}>"));
                if message.lines().any(is_theirs) {
                    *counts.entry(email.clone()).or_default() += 1;
                }
            }
        }
        counts
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        Some(match how {
            Broken::Unreachable => self.with(&json!({ "port": 1 })),
            Broken::WrongPassword => {
                let mut spec = spec(&json!({
                    "host": self.server.host(), "port": self.server.imap_port(), "tls": "none", "username": self.user(),
                }));
                spec.secrets.insert("password".into(), "Wr0ng-Password".into());
                connect(&spec).expect("valid")
            }
        })
    }

    fn secrets(&self) -> Vec<String> {
        vec!["Wr0ng-Password".into()]
    }
}

#[tokio::test]
async fn it_conforms() {
    let target = Conforming { server: Dovecot::start().await, seeded: AtomicU64::new(0) };
    conformance::run(&target).await;
}

#[tokio::test]
async fn hits_of_the_servers_substring_search_that_are_other_people_stay() {
    let server = server().await;
    let others: Vec<String> = [
        "joann@shop.example",
        "ann@shop.example.evil.org",
        "\"ann@shop.example\" <bob@x.example>",
        "bob@x.example (ann@shop.example)",
    ]
    .iter()
    .map(|address| to(address))
    .chain([message("bob@x.example", "shop@corp.test", "write to ann@shop.example")])
    .collect();
    for text in &others {
        server.deliver(USER, "INBOX", text);
    }
    server.deliver(USER, "INBOX", to("Ann <ANN@shop.example>"));
    assert_eq!(done(erase(&connector(&server, &json!({}))).await).changed, 1);
    let left: BTreeSet<_> = on_disk(&server.maildir(USER)).into_iter().collect();
    assert_eq!(left, others.into_iter().collect());
}

#[tokio::test]
async fn every_mailbox_is_searched_whatever_its_name() {
    let server = server().await;
    for folder in ["INBOX", "Trash", "Kunden/M\u{fc}ller", "A & B", "With \"quotes\" and \\", "{5}", "*", "\u{1f600}"] {
        server.deliver(USER, folder, to("ann@shop.example"));
        server.deliver(USER, folder, to("joann@shop.example"));
    }
    let connector = connector(&server, &json!({}));
    let sink = MemorySink::default();
    done(only(connector.export(&[work("x", &ann())], &sink).await));
    let names: BTreeSet<String> = sink.attachments("x").into_iter().map(|file| file.name).collect();
    assert!(names.contains("Kunden/M\u{fc}ller/1.eml") && names.contains("\u{1f600}/1.eml"), "{names:?}");
    let erased = done(erase(&connector).await);
    assert_eq!((erased.found, erased.changed), (8, 8));
    assert_eq!(on_disk(&server.maildir(USER)).len(), 8);
    confirmed(verify(&connector).await);
}

#[tokio::test]
async fn only_the_mailboxes_of_the_settings_are_touched() {
    let server = server().await;
    for folder in ["INBOX", "Archive/2026", "Archive/2025", "Trash", "Private"] {
        server.deliver(USER, folder, to("ann@shop.example"));
    }
    let some = connector(&server, &json!({ "mailboxes": ["inbox", "Archive/*"], "trash": "Trash" }));
    assert_eq!(done(erase(&some).await).changed, 4);
    assert_eq!(on_disk(&server.folder(USER, "Private")).len(), 1);
    let missing = connector(&server, &json!({ "mailboxes": ["INBOX", "Gone"] }));
    assert_eq!(code(&trouble(erase(&missing).await)), "mailbox_missing");
}

#[tokio::test]
async fn a_message_that_somebody_else_marked_as_deleted_stays() {
    let server = server().await;
    server.deliver(USER, "INBOX", to("ann@shop.example"));
    let other = server.deliver(USER, "INBOX", to("bob@shop.example"));
    let name = format!("{}:2,ST", other.file_name().and_then(|name| name.to_str()).expect("ours"));
    let marked = server.folder(USER, "INBOX").join("cur").join(name);
    fs::rename(other, &marked).expect("ours");
    assert_eq!(done(erase(&connector(&server, &json!({}))).await).changed, 1);
    assert!(marked.exists(), "it is there, and still marked");
}

#[tokio::test]
async fn odd_but_valid_addresses_are_found_and_nothing_else_is() {
    let server = server().await;
    for address in ["o'brien+news@shop.example", "{5}@shop.example", "\"a b\"@shop.example", "a%b*c@shop.example"] {
        server.deliver(USER, "INBOX", to(address));
        server.deliver(USER, "INBOX", to("ann@shop.example"));
        let subject = subject(&[(IdentifierType::Email, address)]);
        let connector = connector(&server, &json!({}));
        let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
        assert_eq!((erased.found, erased.changed), (1, 1), "{address}");
    }
    assert_eq!(on_disk(&server.maildir(USER)).len(), 4);
}

#[tokio::test]
async fn an_international_address_is_found_in_either_form() {
    let server = server().await;
    let forms = ["jos\u{e9}@b\u{fc}cher.example", "jose\u{301}@xn--bcher-kva.example", "JOS\u{c9}@B\u{dc}CHER.example"];
    for form in forms {
        server.deliver(USER, "INBOX", to(form));
    }
    let subject = subject(&[(IdentifierType::Email, forms[0])]);
    let connector = connector(&server, &json!({}));
    let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (3, 3));
}

#[tokio::test]
async fn many_messages_are_exported_whole_and_erased() {
    let server = server().await;
    let large = format!("{}{}", to("ann@shop.example"), "0123456789\r\n".repeat(100_000));
    server.deliver(USER, "INBOX", &large);
    for _ in 0..250 {
        server.deliver(USER, "INBOX", to("ann@shop.example"));
        server.deliver(USER, "INBOX", to("joann@shop.example"));
    }
    let connector = connector(&server, &json!({}));
    let sink = MemorySink::default();
    assert_eq!(done(only(connector.export(&[work("x", &ann())], &sink).await)).found, 251);
    assert!(sink.attachments("x").iter().any(|file| file.bytes == large.as_bytes()));
    assert_eq!(done(erase(&connector).await).changed, 251);
    assert_eq!(on_disk(&server.maildir(USER)).len(), 250);
}

#[tokio::test]
async fn tls_is_verified_in_both_forms() {
    let server = server().await;
    let ca = json!(server.ca_file());
    server.deliver(USER, "INBOX", to("ann@shop.example"));
    for (tls, port) in [("implicit", server.imaps_port()), ("starttls", server.imap_port())] {
        let trusted = connector(&server, &json!({ "tls": tls, "port": port, "ca_file": ca, "host": "localhost" }));
        done(only(trusted.discover(&[work("d", &ann())]).await));
        let unknown = connector(&server, &json!({ "tls": tls, "port": port }));
        assert_eq!(code(&trouble(erase(&unknown).await)), "tls_refused", "{tls}");
        let elsewhere = connector(&server, &json!({ "tls": tls, "port": port, "ca_file": ca, "host": "127.0.0.2" }));
        let answer = trouble(erase(&elsewhere).await);
        assert!(["tls_refused", "unreachable"].contains(&code(&answer)), "{answer:?}");
    }
    let plain = connector(&server, &json!({ "tls": "implicit", "port": server.imap_port(), "ca_file": ca }));
    assert_eq!(code(&trouble(erase(&plain).await)), "tls_refused");
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_again_and_then_served() {
    let server = server().await;
    server.deliver(USER, "INBOX", to("ann@shop.example"));
    let connector = connector(&server, &json!({}));
    server.kill9().await;
    assert!(matches!(trouble(erase(&connector).await), Trouble::Retry(p) if p.code == "unreachable"));
    server.start_again().await;
    assert_eq!(done(erase(&connector).await).changed, 1);
    nothing_found(erase(&connector).await);
}

#[tokio::test]
async fn the_check_tells_what_is_there() {
    let server = server().await;
    server.deliver(USER, "INBOX", to("ann@shop.example"));
    let report = connector(&server, &json!({})).check().await.expect("in order");
    let expected =
        ["signed in", "3 mailboxes with 1 messages", "messages can be deleted one by one (UIDPLUS)"].map(String::from);
    assert_eq!(report.ok, expected);
    assert_eq!(report.warnings.len(), 1, "{report:?}");
}

#[tokio::test]
async fn an_address_in_an_odd_form_is_found() {
    for text in ODD {
        let server = server().await;
        server.deliver(USER, "INBOX", text);
        server.deliver(
            USER,
            "INBOX",
            text.replace("ann@", "joann@").replace("ann=", "joann=").replace("\"ann", "\"joann"),
        );
        let connector = connector(&server, &json!({}));
        let sink = MemorySink::default();
        let exported = only(connector.export(&[work("x", &ann())], &sink).await);
        assert!(matches!(&exported, Outcome::Done(done) if done.found == 1), "{text:?}: {exported:?}");
        assert_eq!(only(sink.attachments("x")).bytes, text.as_bytes());
        assert_eq!(done(erase(&connector).await).changed, 1, "{text:?}");
        assert_eq!(on_disk(&server.maildir(USER)).len(), 1, "{text:?}");
    }
}

#[tokio::test]
async fn a_message_with_a_malformed_mention_stops_for_a_person() {
    let server = server().await;
    server.deliver(USER, "INBOX", to("ann@shop.example"));
    let mut odd = vec![server.deliver(USER, "Trash", UNCLEAR[0])];
    odd.extend(UNCLEAR.iter().map(|text| server.deliver(USER, "Kunden/Ann", text)));
    let connector = connector(&server, &json!({}));
    let (ann, sink) = (ann(), MemorySink::default());
    let item = || [work("e", &ann)];
    let verdict = match verify(&connector).await {
        Verdict::Trouble(trouble) => trouble,
        other => panic!("{other:?}"),
    };
    for trouble in [
        trouble(only(connector.discover(&item()).await)),
        trouble(only(connector.export(&item(), &sink).await)),
        trouble(erase(&connector).await),
        verdict,
    ] {
        let Trouble::Ambiguous { matched: 5, problem } = trouble else { panic!("{trouble:?}") };
        assert_eq!(problem.code, "message_unclear");
        assert!(problem.detail.contains(": 1 in Trash, 3 in other mailboxes;"), "{}", problem.detail);
    }
    assert!(sink.attachments("e").is_empty());
    assert_eq!(on_disk(&server.maildir(USER)).len(), 5, "nothing was touched");
    for file in odd {
        remove(&file);
    }
    assert_eq!(done(erase(&connector).await).changed, 1);
    confirmed(verify(&connector).await);
}

/// Removes a delivered message, whose file the server may have moved from `new` to `cur` meanwhile.
fn remove(delivered: &Path) {
    let name = delivered.file_name().and_then(|name| name.to_str()).expect("ours");
    let folder = delivered.parent().and_then(Path::parent).expect("ours");
    for part in ["new", "cur"] {
        for entry in fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(name) {
                fs::remove_file(entry.path()).expect("ours");
            }
        }
    }
}

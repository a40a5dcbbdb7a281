//! Against a real Cyrus, looked at by IMAP.

use super::ann;
use crate::conformance::{self, Broken, MemoryJournal, MemorySink, Person, Target, done, only, work};
use crate::jmap::connect;
use crate::{Connector, Network, SystemSpec};
use async_trait::async_trait;
use redress_testkit::Cyrus;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PASSWORD: &str = "pw-of-support";

async fn server() -> Option<Cyrus> {
    let server = Cyrus::start().await;
    if server.is_none() {
        println!("passed over: Cyrus was not fetched; scripts/servers does so");
    }
    server
}

fn message(from: &str, to: &str, n: u64) -> String {
    format!("From: {from}\r\nTo: {to}\r\nSubject: number {n}\r\nMessage-ID: <{n}@corp.test>\r\n\r\nHello\r\n")
}

struct Conforming {
    server: Cyrus,
    seeded: AtomicU64,
    scan_max: u64,
}

impl Conforming {
    fn user(&self) -> String {
        format!("support{}", self.seeded.load(Ordering::Relaxed))
    }

    fn with(&self, url: &str, password: &str, more: &Value) -> Arc<dyn Connector> {
        let mut settings = json!({ "session_url": url, "username": self.user(), "scan_max": self.scan_max });
        settings.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let spec = SystemSpec {
            name: "mail".into(),
            connector: "jmap".into(),
            settings: settings.as_object().cloned().unwrap_or_default(),
            secrets: [("password".to_owned(), password.into())].into(),
            tables: Vec::new(),
            max_matches: 25,
            base_dir: None,
            network: Network::default(),
        };
        connect(&spec).unwrap_or_else(|faults| panic!("{faults:?}"))
    }
}

#[async_trait]
impl Target for Conforming {
    async fn seed(&self, people: &[Person]) {
        self.seeded.fetch_add(1, Ordering::Relaxed);
        let user = self.user();
        self.server.user(&user, PASSWORD);
        for (n, person) in (0..).zip(people) {
            let address = &person.email;
            let put = |folder: &str, text: &str| self.server.deliver(&user, PASSWORD, folder, text);
            put("INBOX", &message("shop@corp.test", address, 3 * n));
            put("INBOX/Sent", &message(&format!("\"{}\" <{address}>", person.full_name), "shop@corp.test", 3 * n + 1));
            let delivered =
                format!("Delivered-To: {address}\r\n{}", message("shop@corp.test", "shop@corp.test", 3 * n + 2));
            put("INBOX/Trash", &delivered);
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.with(&self.server.jmap_url(), PASSWORD, &json!({}))
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        Some(self.with(&self.server.jmap_url(), PASSWORD, &json!({ "max_messages": 1 })))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let people = conformance::everybody().into_iter().chain(conformance::crowd());
        let emails: BTreeSet<String> = people.map(|person| person.email).collect();
        let mut counts = BTreeMap::new();
        for message in self.server.messages(&self.user(), PASSWORD) {
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
            Broken::Unreachable => self.with("http://127.0.0.1:1/jmap/", PASSWORD, &json!({})),
            Broken::WrongPassword => self.with(&self.server.jmap_url(), "Wr0ng-Password", &json!({})),
        })
    }

    fn secrets(&self) -> Vec<String> {
        vec!["Wr0ng-Password".into(), PASSWORD.into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jmap_conforms_on_a_real_server_read_as_a_whole() {
    let Some(server) = server().await else { return };
    conformance::run(&Conforming { server, seeded: AtomicU64::new(0), scan_max: 20_000 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jmap_conforms_on_a_real_server_searched_by_headers() {
    let Some(server) = server().await else { return };
    conformance::run(&Conforming { server, seeded: AtomicU64::new(0), scan_max: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folded_and_encoded_headers_are_read_as_a_real_server_has_them() {
    let Some(server) = server().await else { return };
    let target = Conforming { server, seeded: AtomicU64::new(0), scan_max: 20_000 };
    target.seed(&[]).await;
    let (user, connector) = (target.user(), target.connector());
    let hers = [
        "From: shop@corp.test\r\nTo: joe@x.example,\r\n Ann <ANN@shop.example>\r\nSubject: 1\r\n\r\n1\r\n",
        "From: shop@corp.test\r\nTo: =?utf-8?q?ann=40shop.example?=\r\nSubject: 2\r\n\r\n2\r\n",
        "From: shop@corp.test\r\nResent-To: \"ann\"@shop.example\r\nTo: x@x.example\r\nSubject: 3\r\n\r\n3\r\n",
    ];
    let others = ["From: shop@corp.test\r\nTo: \"ann@shop.example\" <bob@x.example>\r\nSubject: 4\r\n\r\n4\r\n"];
    for text in hers.iter().chain(&others) {
        target.server.deliver(&user, PASSWORD, "INBOX", text);
    }
    let sink = MemorySink::default();
    assert_eq!(done(only(connector.export(&[work("x", &ann())], &sink).await)).found, 3);
    let files: BTreeSet<Vec<u8>> = sink.attachments("x").into_iter().map(|file| file.bytes).collect();
    assert_eq!(files, hers.iter().map(|text| text.as_bytes().to_vec()).collect());
    let erased = done(only(connector.erase(&[work("e", &ann())], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (3, 3));
    assert_eq!(target.server.messages(&user, PASSWORD), others);
    assert!(connector.check().await.expect("in order").ok.contains(&"1 accounts with 1 messages".to_owned()));
}

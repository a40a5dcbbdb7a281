mod dovecot;
mod fake;

use super::*;
use crate::conformance::subject;
use redress_domain::Subject;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn spec(settings: &Value) -> SystemSpec {
    SystemSpec {
        name: "mail".into(),
        connector: "imap".into(),
        settings: settings.as_object().cloned().unwrap_or_default(),
        secrets: BTreeMap::from([("password".to_owned(), "pw".into())]),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: crate::Network::default(),
    }
}

fn faults(spec: &SystemSpec) -> Vec<String> {
    connect(spec).err().unwrap_or_default().into_iter().map(|fault| fault.path).collect()
}

fn ann() -> Subject {
    subject(&[(IdentifierType::Email, "ann@shop.example")])
}

fn code(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Retry(problem) | Trouble::Denied(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

fn message(from: &str, to: &str, subject: &str) -> String {
    format!("From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{subject}\r\n")
}

fn to(address: &str) -> String {
    message("shop@corp.test", address, "invoice")
}

/// Messages to her in which the address is in an odd form.
const ODD: &[&str] = &[
    "From: shop@corp.test\r\nTo: joe@x.example\r\n <ann@shop.example>\r\n\r\n1",
    "From: shop@corp.test\r\nTo: <@relay.example:ann@shop.example>\r\n\r\n2",
    "From: shop@corp.test\r\nTo: ann@shop.example.\r\n\r\n3",
    "From: shop@corp.test\r\nTo: =?utf-8?q?ann=40shop.example?=\r\n\r\n4",
    "\u{feff}To: ann@shop.example\r\nFrom: shop@corp.test\r\n\r\n5",
    "\r\nTo: ann@shop.example\r\nFrom: shop@corp.test\r\n\r\n6",
    "From: shop@corp.test\r\nDelivered-To: \"ann\"@shop.example\r\nTo: x@x.example\r\n\r\n7",
    "From: shop@corp.test\r\nTo: \"ann\"@shop.example\r\n\r\n8",
    "From: shop@corp.test\r\nTo: x@x.example\r\nDelivered-To: =?utf-8?q?ann=40shop.example?=\r\n\r\n9",
    "To: x@x.example\r\nFrom: 'ann@shop.example'\r\n\r\n10",
];

/// Messages of which nobody can say whether they are hers.
const UNCLEAR: &[&str] = &[
    "From: shop@corp.test\r\nTo: <joe@x.example> ann@shop.example\r\n\r\n11",
    "From: shop@corp.test\r\nTo: \"unclosed <ann@shop.example>, joe <joe@x.example>\r\n\r\n12",
    "From: shop@corp.test\r\nDelivered-To: ann@shop.\r\n example\r\nTo: x@x.example\r\n\r\n13",
];

#[test]
fn every_fault_is_told_at_once() {
    let mut faulty = spec(&json!({
        "port": 0, "tls": "maybe", "mailboxes": [], "user": "x", "ca_file": "/nowhere.pem", "host": "imap.acme.example",
    }));
    faulty.secrets = BTreeMap::from([("token".to_owned(), "x".into())]);
    let expected = [
        "settings.username",
        "settings.tls",
        "settings.port",
        "settings.mailboxes",
        "settings.ca_file",
        "settings.user",
        "secrets.token",
        "secrets.password",
    ];
    assert_eq!(faults(&faulty), expected);
    assert_eq!(faults(&spec(&json!({}))), ["settings.host", "settings.username"]);
    let mut with_newline = spec(&json!({ "host": "imap.acme.example", "username": "u" }));
    assert!(faults(&with_newline).is_empty());
    with_newline.secrets.insert("password".to_owned(), "a\r\nb".into());
    assert_eq!(faults(&with_newline), ["secrets.password"]);
}

#[test]
fn a_password_does_not_travel_in_clear() {
    for (host, allowed) in
        [("127.0.0.1", true), ("::1", true), ("localhost", true), ("10.0.0.1", false), ("imap.x", false)]
    {
        let faults = faults(&spec(&json!({ "host": host, "username": "u", "tls": "none" })));
        assert_eq!(faults.is_empty(), allowed, "{host}: {faults:?}");
    }
}

use super::*;
use crate::conformance::subject;

fn ann() -> Addressee {
    Addressee::of(&subject(&[(IdentifierType::Email, "ann@shop.example")])).expect("she has an address")
}

fn owns(header: &str) -> bool {
    ann().relation(header.as_bytes()) == Relation::Theirs
}

fn relation(header: &str) -> Relation {
    ann().relation(header.as_bytes())
}

#[test]
fn an_address_in_any_address_header_makes_the_message_theirs() {
    for header in [
        "From: ann@shop.example\r\n",
        "From: Ann <ann@shop.example>\r\n",
        "from:ANN@Shop.Example\n",
        "Sender: <ann@shop.example>\r\n",
        "Reply-To: \"Vorbild, Ann\" <ann@shop.example>\r\n",
        "To: bob@x.example, Ann <ann@shop.example>\r\n",
        "Cc: bob@x.example,\r\n\tAnn\r\n <ann@shop.example>\r\n",
        "Bcc: ann@shop.example\r\n",
        "To: friends: bob@x.example, ann@shop.example;\r\n",
        "To: undisclosed-recipients:;\r\nCc: ann@shop.example\r\n",
        "From: =?utf-8?q?Ann_=C3=84?= <ann@shop.example>\r\n",
        "From: ann@shop.example (Ann Vorbild)\r\n",
        "From: \"ann\"@shop.example\r\n",
        "Resent-From: ann@shop.example\r\n",
        "Resent-Sender: ann@shop.example\r\n",
        "Resent-To: ann@shop.example\r\n",
        "Resent-Cc: ann@shop.example\r\n",
        "Resent-Bcc: ann@shop.example\r\n",
        "Return-Path: <ann@shop.example>\r\n",
        "Delivered-To: ann@shop.example\r\n",
        "X-Original-To: ann@shop.example\r\n",
        "DELIVERED-TO: ann@shop.example\n",
        "To: ann@shop.example; bob@x.example\r\n",
        "To : ann@shop.example\r\n",
        "To: \"Ann <ann@shop.example>\r\n",
        "To: Ann ann@shop.example\r\n",
        "To: bob@x.example\r\nTo: ann@shop.example\r\n",
        "Subject: x\r\n\tfolded\r\nX-Mailer: \"unclosed\r\nTo: ann@shop.example",
    ] {
        assert!(owns(header), "{header:?} {:?}", shown(header));
    }
}

#[test]
fn a_mention_is_not_an_address() {
    for header in [
        "Subject: about ann@shop.example\r\n",
        "To: \"ann@shop.example\" <bob@x.example>\r\n",
        "To: \"<ann@shop.example>\" <bob@x.example>\r\n",
        "To: bob@x.example (ann@shop.example)\r\n",
        "From: =?utf-8?q?ann=40shop=2Eexample?= <bob@x.example>\r\n",
        "Message-ID: <ann@shop.example>\r\n",
        "References: <ann@shop.example>\r\n",
        "X-Note: ann@shop.example\r\n",
        "Subject: x\r\n\r\nTo: ann@shop.example\r\n",
        "Subject: x\n\nTo: ann@shop.example\n",
        "",
    ] {
        assert!(!owns(header), "{header:?} {:?}", shown(header));
    }
}

#[test]
fn another_persons_address_is_not_theirs() {
    for address in [
        "joann@shop.example",
        "ann@shop.example.evil.org",
        "ann+x@shop.example",
        "\u{430}nn@shop.example",
        "\u{e1}nn@shop.example",
        "\"ann@shop.example\"@evil.org",
        "\"jo ann\"@shop.example",
        "\"jo\" ann+y@shop.example",
        "jo.ann@shop.example",
        "ann@shop.example@evil.org",
        "ann@shop",
        "@shop.example",
    ] {
        for header in [format!("To: {address}\r\n"), format!("To: Ann <{address}>\r\n")] {
            assert!(!owns(&header), "{header:?} {:?}", shown(&header));
        }
    }
}

#[test]
fn an_address_in_an_odd_form_is_the_same_address() {
    for header in [
        "To: joe@x.example\r\n <ann@shop.example>\r\n",
        "To: joe@x.example <ann@shop.example>\r\n",
        "To: ann@shop.example <ann@shop.example>\r\n",
        "To: <@relay.example:ann@shop.example>\r\n",
        "To: Ann <@a.example,@b.example:ann@shop.example>\r\n",
        "To: ann@shop.example.\r\n",
        "To: Ann <ann@shop.example.>\r\n",
        "To: =?utf-8?q?ann=40shop.example?=\r\n",
        "To: <=?utf-8?q?ann=40shop.example?=>\r\n",
        "To: =?UTF-8?B?QW5uIDxhbm5Ac2hvcC5leGFtcGxlPg==?=\r\n",
        "To: =?utf-8?q?ann=40?=\r\n =?utf-8?q?shop.example?=\r\n",
        "\u{feff}To: ann@shop.example\r\n",
        "\u{feff}\r\nTo: ann@shop.example\r\n",
        "\r\nTo: ann@shop.example\r\n\r\n",
        "\n \n\nSubject: x\nTo: ann@shop.example\n",
        " To: ann@shop.example\r\n",
        "From bob@x.example Thu Nov 19 09:00:00 2026\nTo: ann@shop.example\n",
        "\nFrom bob@x.example Thu Nov 19 09:00:00 2026\nTo: ann@shop.example\n",
        "Delivered-To: \"ann\"@shop.example\r\n",
        "To: Ann <\"ann\"@shop.example>\r\n",
        "To: \"a\\nn\"@shop.example\r\n",
        "To: 'ann@shop.example'\r\n",
        "To: 'Ann' <'ann@shop.example'>\r\n",
        "To: ann (Ann) @ (shop) shop.example\r\n",
        "To: Dr. Ann Vorbild <ann@shop.example>\r\n",
        "To: , ,ann@shop.example,,\r\n",
        "To: \"unclosed <joe@x.example>, Ann <ann@shop.example>\r\n",
        "To: ann@shop.example, \"unclosed <joe@x.example>\r\n",
        "To: ann@shop.example (unclosed\r\n",
        "To: broken <, ann@shop.example\r\nCc: ann@shop.example\r\n",
    ] {
        assert_eq!(relation(header), Relation::Theirs, "{header:?} {:?}", shown(header));
    }
}

#[test]
fn a_mention_in_a_malformed_header_is_unclear() {
    for header in [
        "To: <joe@x.example> ann@shop.example\r\n",
        "To: \"unclosed <ann@shop.example>, joe <joe@x.example>\r\n",
        "To: \"ann@shop.example\r\n",
        "To: ann@shop.example <joe@x.example>\r\n",
        "To: ANN@Shop.Example\r\n <joe@x.example>\r\n",
        "To: joe <joe@x.example, ann@shop.example\r\n",
        "To: joe@x.example (unclosed, ann@shop.example\r\n",
        "To: <mailto:ann@shop.example>\r\n",
        "To: <'ann@shop.example>, 'ann@shop.example <x\r\n",
        "To: Dr. ann@shop.example\r\n",
        "To: ann@shop.\r\n example\r\n",
        "To: ann@shop.example@evil.org\r\n",
        "To: ann@shop.example\u{200b}\r\n",
        "To: =?utf-8?q?ann?=@shop.example\r\n",
        "To: =?utf-8?q?ann=40shop.example?= joe <joe@x.example\r\n",
        "To: =?UTF-8?B?YW5uQHNob3AuZXhhbXBsZQ==?= \"joe <joe@x.example>\r\n",
        "To: joe \"<joe@x.example> \"ann\"@shop.example\r\n",
        "To: joe@x.example,\r\nann@shop.example\r\nSubject: x\r\n",
        "To: joe@x.example\r\nX Note: ann@shop.example\r\n",
        "To: ann@shop.example. joe@x.example\r\n",
        "To: a: b: ann@shop.example: c;\r\n",
    ] {
        assert_eq!(relation(header), Relation::Unclear, "{header:?} {:?}", shown(header));
    }
}

#[test]
fn a_mention_in_a_name_or_comment_of_a_well_formed_header_is_nothing() {
    for header in [
        "To: \"ann@shop.example\" <joann@shop.example>\r\n",
        "To: (ann@shop.example) joe@x.example\r\n",
        "To: joe@x.example (was (ann@shop.example)\r\n and so on)\r\n",
        "To: =?utf-8?q?ann=40shop.example?= <joe@x.example>\r\n",
        "To: \"ann@shop.example\": joe@x.example, <bob@x.example>;\r\n",
        "To: \"say \\\"ann@shop.example\\\"\" <joe@x.example>; bob@x.example\r\n",
        "To: \"ann@shop.example\"@evil.org, <@ann.example:joe@x.example>, <>\r\n",
        "Return-Path: <> (ann@shop.example)\r\n",
    ] {
        assert_eq!(relation(header), Relation::Nothing, "{header:?} {:?}", shown(header));
    }
}

#[test]
fn another_address_in_a_malformed_header_is_nothing() {
    for address in [
        "joann@shop.example",
        "jo.ann@shop.example",
        "jo+ann@shop.example",
        "jo'ann@shop.example",
        "ann@shop.example.org",
        "ann@shop.example-x.org",
        "ann@shop.example_",
        "ann@shop.examples",
        "ann@shop.exampl\u{e9}",
        "\u{e4}ann@shop.example",
        "=?utf-8?q?jo?=ann@shop.example",
    ] {
        let header = format!("To: <joe@x.example> {address}\r\n");
        assert_eq!(relation(&header), Relation::Nothing, "{header:?} {:?}", shown(&header));
    }
}

#[test]
fn a_hostile_header_is_read_in_no_time() {
    let started = std::time::Instant::now();
    for part in
        ["(", "\"", "<", "a.", "a ", "=?", "=?a?q?", "@", "a@b ", "a@b,", "\\", ":", "=?a?q?=40?= ", "\n", "x:\n "]
    {
        let header = format!("To: ann@shop.example, {}", part.repeat(300_000 / part.len()));
        relation(&header);
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn what_is_said_about_unclear_messages_names_nobody() {
    let counts = [("INBOX", 2), ("Clients/Ann", 1), ("Ann", 3)];
    let Trouble::Ambiguous { matched: 6, problem } = message_unclear(6, counts) else { panic!("not ambiguous") };
    assert_eq!(problem.code, "message_unclear");
    assert!(problem.detail.contains(": 2 in INBOX, 4 in other mailboxes;"), "{}", problem.detail);
    assert!(!problem.detail.contains("Ann"));
}

#[test]
fn an_international_domain_is_the_same_in_both_forms() {
    let subject = subject(&[(IdentifierType::Email, "ann@b\u{fc}cher.example")]);
    let ann = Addressee::of(&subject).expect("she has an address");
    for address in ["ann@xn--bcher-kva.example", "Ann@B\u{dc}CHER.example", "ann@bu\u{308}cher.example"] {
        assert!(ann.relation(format!("To: {address}\r\n").as_bytes()) == Relation::Theirs, "{address}");
    }
    assert!(ann.spellings().iter().any(|s| s.expose() == "ann@xn--bcher-kva.example"));
}

#[test]
fn a_subject_without_an_address_is_refused_rather_than_not_found() {
    let subject = subject(&[(IdentifierType::CustomerId, "C-1007")]);
    assert!(matches!(Addressee::of(&subject), Err(Trouble::Denied(p)) if p.code == "no_usable_identifier"));
}

#[test]
fn the_header_section_ends_at_the_first_empty_line() {
    assert_eq!(header_end(b"A: b\r\n\r\nbody"), Some(8));
    assert_eq!(header_end(b"A: b\n\nbody"), Some(6));
    assert_eq!(header_end(b"\nbody"), Some(1));
    assert_eq!(header_end(b"A: b\r\nC: d\r\n"), None);
    assert_eq!(header_end(b"\xef\xbb\xbf\r\nA: b\n\nbody"), Some(11));
    assert_eq!(header_end(b"\n\nA: b\n"), None);
    assert_eq!(header_end(b"\n\nno header\n\n"), Some(1));
}

#[test]
fn a_summary_is_decoded() {
    let header = b"Date: Thu, 19 Nov 2026 09:00:00 +0100\r\nFrom: =?utf-8?q?Zo=C3=AB?= <zoe@x.example>\r\n\
        To: a@x.example, b@x.example\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMessage-ID: <1@x.example>\r\n\r\n";
    let expected = serde_json::json!({
        "date": "2026-11-19T09:00:00+01:00", "from": ["Zo\u{eb} <zoe@x.example>"],
        "to": ["a@x.example", "b@x.example"], "subject": "Gr\u{fc}\u{df}e", "size": 7, "message_id": "1@x.example",
    });
    assert_eq!(Value::Object(summary(header, 7)), expected);
}

#[test]
fn a_mailbox_named_by_a_person_is_not_told() {
    let mut tally = Tally::new(&["Billing".to_owned()]);
    for mailbox in ["INBOX", "Clients/Ann Vorbild", "Billing", "inbox", "INBOX.Trash", "Clients.Trash"] {
        tally.add(mailbox, "search", 1, 0, 1);
    }
    let evidence = tally.evidence();
    let counts: Vec<_> = evidence.collections.iter().map(|c| (c.collection.as_str(), c.before)).collect();
    assert_eq!(counts, [("Billing", 1), ("INBOX", 2), ("Trash", 1), ("other mailboxes", 2)]);
}

fn shown(header: &str) -> Vec<String> {
    Addresses::read(header.as_bytes()).found.iter().map(|a| a.expose().clone()).collect()
}

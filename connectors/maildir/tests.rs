use super::*;
use crate::conformance::{
    self, Answer, Broken, MemoryJournal, MemorySink, Person, Target, confirmed, done, nothing_found, only, subject,
    trouble, work,
};
use redress_domain::Subject;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("redress-maildir-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }

    fn mailbox(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(path.join(part)).expect("writable");
        }
        path
    }

    fn deliver(&self, mailbox: &str, part: &str, message: &str) -> PathBuf {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let flags = if part == "cur" { ":2,S" } else { "" };
        let file = self.mailbox(mailbox).join(part).join(format!("17000{number}.M{number}.host{flags}"));
        fs::write(&file, message).expect("writable");
        file
    }

    fn spec(&self, settings: &[(&str, serde_json::Value)]) -> SystemSpec {
        let mut all = serde_json::Map::from_iter([("path".to_owned(), json!(self.0))]);
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        SystemSpec {
            name: "mail".into(),
            connector: "maildir".into(),
            settings: all,
            secrets: BTreeMap::new(),
            tables: Vec::new(),
            max_matches: 25,
            base_dir: None,
            network: crate::Network::default(),
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        connect(&self.spec(&[])).expect("valid")
    }

    fn messages(&self) -> Vec<String> {
        fn walk(path: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                let kind = entry.file_type().expect("readable");
                if kind.is_dir() {
                    walk(&entry.path(), found);
                } else if kind.is_file() {
                    found.push(fs::read_to_string(entry.path()).expect("readable"));
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.0, &mut found);
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn message(from: &str, to: &str, text: &str) -> String {
    format!("From: {from}\r\nTo: {to}\r\nSubject: {text}\r\nMessage-ID: <{text}@x.example>\r\n\r\n{text}\r\n")
}

fn to(address: &str) -> String {
    message("shop@corp.test", address, "invoice")
}

fn ann() -> Subject {
    subject(&[(IdentifierType::Email, "ann@shop.example")])
}

async fn erase(connector: &Arc<dyn Connector>) -> Outcome {
    only(connector.erase(&[work("e", &ann())], &MemoryJournal::default()).await)
}

fn problem(outcome: Outcome) -> &'static str {
    match trouble(outcome) {
        Trouble::Retry(problem) | Trouble::Denied(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

struct Conforming(Folder);

#[async_trait]
impl Target for Conforming {
    async fn seed(&self, people: &[Person]) {
        for entry in fs::read_dir(&self.0.0).expect("readable").flatten() {
            fs::remove_dir_all(entry.path()).expect("removable");
        }
        for person in people {
            self.0.deliver("", "new", &to(&person.email));
            let name = format!("\"{}\" <{}>", person.full_name, person.email);
            self.0.deliver(".Archive.2026", "cur", &message(&name, "shop@corp.test", "question"));
            self.0.deliver(
                "nested/Sent",
                "cur",
                &format!("Delivered-To: {}\nFrom: shop@corp.test\n\nHello", person.email),
            );
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.0.connector()
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        Some(connect(&self.0.spec(&[("max_messages", json!(1))])).expect("valid"))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for message in self.0.messages() {
            let people = conformance::everybody().into_iter().chain(conformance::crowd());
            let emails: BTreeSet<String> = people.map(|person| person.email).collect();
            for email in emails {
                let lines = [format!("To: {email}\r"), format!("Delivered-To: {email}")];
                let is_theirs = |line: &str| lines.iter().any(|l| l == line) || line.ends_with(&format!("<{email}>\r"));
                if message.split('\n').any(is_theirs) {
                    *counts.entry(email).or_default() += 1;
                }
            }
        }
        counts
    }

    fn broken(&self, _how: Broken) -> Option<Arc<dyn Connector>> {
        None
    }
}

#[tokio::test]
async fn it_conforms() {
    conformance::run(&Conforming(Folder::new())).await;
}

#[tokio::test]
async fn a_message_that_only_mentions_the_address_stays() {
    let folder = Folder::new();
    folder.deliver("", "cur", &to("ann@shop.example"));
    let text = message("bob@x.example", "shop@corp.test", "write to ann@shop.example");
    folder.deliver("", "cur", &text);
    assert_eq!(done(erase(&folder.connector()).await).changed, 1);
    assert_eq!(folder.messages(), [text]);
}

#[tokio::test]
async fn every_folder_is_searched_in_new_and_cur_but_not_in_tmp() {
    let folder = Folder::new();
    for mailbox in ["", ".Trash", ".Kunden.M&APw-ller", "corp/bob", "corp/bob/.Sent", "a/b/c/d"] {
        folder.deliver(mailbox, "new", &to("ann@shop.example"));
        folder.deliver(mailbox, "cur", &to("ann@shop.example"));
    }
    let unfinished = folder.deliver("", "tmp", &to("ann@shop.example"));
    assert_eq!(done(erase(&folder.connector()).await).changed, 12);
    assert!(unfinished.exists());
    assert_eq!(folder.messages().len(), 1);
}

#[tokio::test]
async fn no_link_is_followed() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let outside = elsewhere.deliver("", "cur", &to("ann@shop.example"));
    folder.mailbox("");
    symlink(&elsewhere.0, folder.0.join(".Linked")).expect("writable");
    symlink(&outside, folder.0.join("cur").join("17.linked:2,S")).expect("writable");
    nothing_found(erase(&folder.connector()).await);
    assert!(outside.exists());
    let report = folder.connector().check().await.expect("in order");
    assert!(report.warnings.iter().any(|w| w.contains("symbolic links")), "{report:?}");
}

#[tokio::test]
async fn a_path_that_is_a_link_is_the_operators_choice() {
    let (folder, real) = (Folder::new(), Folder::new());
    real.deliver("", "cur", &to("ann@shop.example"));
    symlink(&real.0, folder.0.join("mail")).expect("writable");
    let spec = folder.spec(&[("path", json!("mail"))]);
    let connector = connect(&SystemSpec { base_dir: Some(folder.0.clone()), ..spec }).expect("valid");
    assert_eq!(done(erase(&connector).await).changed, 1);
}

#[tokio::test]
async fn a_missing_or_empty_path_is_never_an_empty_mailbox() {
    let folder = Folder::new();
    assert_eq!(problem(erase(&folder.connector()).await), "not_a_maildir");
    let missing = connect(&folder.spec(&[("path", json!(folder.0.join("gone")))])).expect("valid");
    assert_eq!(problem(erase(&missing).await), "path_missing");
    assert_eq!(missing.check().await.expect_err("missing").code, "path_missing");
}

#[tokio::test]
async fn what_cannot_be_read_stops_the_work() {
    let folder = Folder::new();
    folder.deliver("", "cur", &to("ann@shop.example"));
    let file = folder.deliver("", "cur", "x");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("ours");
    if fs::File::open(&file).is_ok() {
        return; // root reads everything
    }
    assert_eq!(problem(erase(&folder.connector()).await), "permission_denied");
    assert_eq!(folder.0.join("cur").read_dir().expect("readable").count(), 2);
}

#[tokio::test]
async fn compressed_messages_are_refused_rather_than_overlooked() {
    let folder = Folder::new();
    fs::write(folder.mailbox("").join("cur/17.gz:2,SZ"), b"\x1f\x8b\x08rest").expect("writable");
    assert_eq!(problem(erase(&folder.connector()).await), "messages_encoded");
}

#[tokio::test]
async fn a_message_whose_flags_changed_between_two_runs_is_the_same_message() {
    let folder = Folder::new();
    let (connector, ann) = (folder.connector(), ann());
    let file = folder.deliver("", "new", &to("ann@shop.example"));
    let dying = MemoryJournal::answering(Answer::Die);
    let item = [work("e", &ann)];
    tokio::select! {
        answers = connector.erase(&item, &dying) => panic!("{answers:?}"),
        () = dying.wait_for_announcement() => {}
    }
    let name = file.file_name().and_then(|n| n.to_str()).expect("ours");
    fs::rename(&file, folder.0.join("cur").join(format!("{name}:2,FS"))).expect("ours");
    let prior = dying.announced("e");
    let item = Work { prior: prior.as_ref(), ..work("e", &ann) };
    let erased = done(only(connector.erase(&[item], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (1, 1));
}

#[tokio::test]
async fn two_people_of_one_message_are_both_answered() {
    let folder = Folder::new();
    folder.deliver("", "cur", &message("ann@shop.example", "bea@shop.example", "hello"));
    let (ann, bea) = (ann(), subject(&[(IdentifierType::Email, "bea@shop.example")]));
    let batch = [work("1", &ann), work("2", &bea)];
    for answer in folder.connector().erase(&batch, &MemoryJournal::default()).await {
        assert_eq!(done(answer).changed, 1);
    }
    assert!(folder.messages().is_empty());
}

#[tokio::test]
async fn an_export_hands_over_each_message_with_a_record() {
    let folder = Folder::new();
    let text = to("ann@shop.example");
    folder.deliver(".Kunden.M&APw-ller", "cur", &text);
    let sink = MemorySink::default();
    done(only(folder.connector().export(&[work("x", &ann())], &sink).await));
    let (collection, record) = only(sink.records("x"));
    assert_eq!(collection, "Kunden/M\u{fc}ller");
    assert_eq!(record["to"], json!(["ann@shop.example"]));
    assert_eq!(record["size"], json!(text.len()));
    let file = only(sink.attachments("x"));
    assert_eq!((file.bytes, file.media_type.as_str()), (text.into_bytes(), "message/rfc822"));
    assert_eq!(file.name, format!("Kunden/M\u{fc}ller/{}.eml", record["name"].as_str().expect("a text")));
}

#[tokio::test]
async fn a_subject_without_an_address_is_refused_and_the_others_are_served() {
    let folder = Folder::new();
    folder.deliver("", "cur", &to("ann@shop.example"));
    let (ann, unknown) = (ann(), subject(&[(IdentifierType::CustomerId, "C-1007")]));
    let batch = [work("1", &unknown), work("2", &ann)];
    let mut answers = folder.connector().erase(&batch, &MemoryJournal::default()).await;
    assert_eq!(done(answers.remove(1)).changed, 1);
    assert_eq!(problem(answers.remove(0)), "no_usable_identifier");
}

#[tokio::test]
async fn names_of_folders_and_messages_stay_out_of_the_evidence() {
    let folder = Folder::new();
    folder.deliver(".Clients.ann@shop-example", "cur", &to("ann@shop.example"));
    folder.deliver(".Trash", "cur", &to("ann@shop.example"));
    let erased = done(erase(&folder.connector()).await);
    let names: Vec<_> = erased.evidence.collections.iter().map(|c| c.collection.as_str()).collect();
    assert_eq!(names, ["Trash", "other mailboxes"]);
    let verdict = only(folder.connector().verify(Verb::Erase, &[work("v", &ann())]).await);
    confirmed(verdict);
}

#[tokio::test]
async fn an_address_in_an_odd_form_is_found() {
    let folder = Folder::new();
    let odd = [
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
    for text in odd {
        folder.deliver("", "cur", text);
    }
    let sink = MemorySink::default();
    done(only(folder.connector().export(&[work("x", &ann())], &sink).await));
    let handed_over: BTreeSet<Vec<u8>> = sink.attachments("x").into_iter().map(|file| file.bytes).collect();
    assert_eq!(handed_over, odd.iter().map(|text| text.as_bytes().to_vec()).collect());
    assert_eq!(done(erase(&folder.connector()).await).changed, odd.len() as u64);
    assert!(folder.messages().is_empty());
}

#[tokio::test]
async fn a_message_with_a_malformed_mention_stops_for_a_person_and_for_nobody_else() {
    let folder = Folder::new();
    folder.deliver("", "cur", &to("ann@shop.example"));
    folder.deliver("", "cur", &to("bea@shop.example"));
    let unclear = [
        "From: shop@corp.test\r\nTo: <joe@x.example> ann@shop.example\r\n\r\n11",
        "From: shop@corp.test\r\nTo: \"unclosed <ann@shop.example>, joe <joe@x.example>\r\n\r\n12",
        "From: shop@corp.test\r\nDelivered-To: ann@shop.\r\n example\r\nTo: x@x.example\r\n\r\n13",
    ];
    let mut files = vec![folder.deliver(".Trash", "cur", unclear[0])];
    files.extend(unclear.iter().map(|text| folder.deliver(".Clients.Ann", "new", text)));
    let (connector, sink) = (folder.connector(), MemorySink::default());
    let (ann, bea) = (ann(), subject(&[(IdentifierType::Email, "bea@shop.example")]));
    let verdict = match only(connector.verify(Verb::Erase, &[work("v", &ann)]).await) {
        Verdict::Trouble(trouble) => trouble,
        other => panic!("{other:?}"),
    };
    let mut answers = connector.erase(&[work("1", &ann), work("2", &bea)], &MemoryJournal::default()).await;
    assert_eq!(done(answers.remove(1)).changed, 1);
    for trouble in [
        trouble(only(connector.discover(&[work("d", &ann)]).await)),
        trouble(only(connector.export(&[work("x", &ann)], &sink).await)),
        trouble(answers.remove(0)),
        verdict,
    ] {
        let Trouble::Ambiguous { matched: 5, problem } = trouble else { panic!("{trouble:?}") };
        assert_eq!(problem.code, "message_unclear");
        assert!(problem.detail.contains(": 1 in Trash, 3 in other mailboxes;"), "{}", problem.detail);
    }
    assert!(sink.attachments("x").is_empty());
    assert_eq!(folder.messages().len(), 5, "nothing of hers was touched");
    for file in files {
        fs::remove_file(file).expect("ours");
    }
    assert_eq!(done(erase(&connector).await).changed, 1);
}

#[test]
fn every_fault_is_told_at_once() {
    let folder = Folder::new();
    let mut spec = folder.spec(&[("max_messages", json!(0)), ("pathh", json!("x")), ("path", json!(7))]);
    spec.secrets.insert("password".into(), "pw".into());
    let faults = connect(&spec).err().expect("faulty");
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["settings.path", "settings.max_messages", "settings.pathh", "secrets.password"]);
}

//! Against a scripted server that lies, breaks off, or lacks what real ones have.

use super::{ann, code, spec, to};
use crate::conformance::{MemoryJournal, done, nothing_found, only, trouble, work};
use crate::imap::connect;
use crate::{Connector, Trouble, Verdict};
use redress_domain::Verb;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// What the server answers to a command (with its literals, without its tag). `None` closes the connection. An answer
/// ends with the status that gets the tag; what follows a `|` is sent behind it.
type Script = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

struct Fake {
    connector: Arc<dyn Connector>,
    commands: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    async fn start(greeting: &'static str, script: Script) -> Self {
        Self::start_with(greeting, "none", script).await
    }

    async fn start_with(greeting: &'static str, tls: &str, script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&commands);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                tokio::spawn(async move { drop(serve(stream, greeting, script, seen).await) });
            }
        });
        let settings = json!({ "host": "127.0.0.1", "port": port, "tls": tls, "username": "u" });
        Self { connector: connect(&spec(&settings)).expect("valid"), commands }
    }

    fn commands(&self) -> Vec<String> {
        self.commands.lock().expect("no panic holds it").clone()
    }

    async fn erase(&self) -> crate::Outcome {
        only(self.connector.erase(&[work("e", &ann())], &MemoryJournal::default()).await)
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    greeting: &str,
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(greeting.as_bytes()).await?;
    loop {
        let mut command = String::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            command.push_str(&line);
            let literal = line.trim_end().strip_suffix('}').and_then(|rest| rest.rsplit_once('{'));
            let Some((_, length)) = literal else { break };
            if !length.ends_with('+') {
                stream.write_all(b"+ go on\r\n").await?;
            }
            let mut bytes = vec![0; length.trim_end_matches('+').parse().expect("a length")];
            stream.read_exact(&mut bytes).await?;
            command.push_str(&String::from_utf8_lossy(&bytes));
        }
        let (tag, text) = command.trim_end().split_once(' ').expect("a tag");
        seen.lock().expect("no panic holds it").push(text.to_owned());
        let Some(answer) = script(text) else { return Ok(()) };
        let (data, status) = answer.rsplit_once('\n').map_or(("", answer.as_str()), |(data, status)| (data, status));
        let data = if data.is_empty() { String::new() } else { format!("{}\r\n", data.trim_end()) };
        stream.write_all(format!("{data}{tag} {status}\r\n").replace('|', "\r\n").as_bytes()).await?;
    }
}

const HELLO: &str = "* OK ready\r\n";

/// A server with one mailbox in which message 7 is the person's, and message 8 is not although it is a hit.
fn ordinary(command: &str) -> String {
    let word = command.split(' ').next().unwrap_or_default();
    match word {
        "CAPABILITY" => "* CAPABILITY IMAP4rev1 UIDPLUS\r\nOK".into(),
        "LIST" => "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\Noselect) \"/\" Nowhere\r\nOK".into(),
        "EXAMINE" | "SELECT" => {
            "* 2 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\n* OK [PERMANENTFLAGS (\\Deleted \\Seen)] x\r\nOK [READ-WRITE] x"
                .into()
        }
        "UID" if command.starts_with("UID SEARCH") => "* SEARCH 7 8\r\nOK".into(),
        "UID" if command.starts_with("UID FETCH") => {
            let (theirs, other) = (to("ann@shop.example"), to("joann@shop.example"));
            let part =
                if command.contains("HEADER.FIELDS") { "BODY[HEADER.FIELDS (\"From\" TO)]" } else { "BODY[HEADER]" };
            format!(
                "* 1 FETCH (UID 7 {part} {{{}}}\r\n{theirs})\r\n* 2 FETCH ({part} {{{}}}\r\n{other} UID 8)\r\nOK",
                theirs.len(),
                other.len()
            )
        }
        _ => "OK".into(),
    }
}

fn scripted(special: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) -> Script {
    Arc::new(move |command| Some(special(command).map_or_else(|| ordinary(command), str::to_owned)))
}

#[tokio::test]
async fn a_server_that_says_it_expunged_and_did_not_leaves_residue() {
    let fake = Fake::start(HELLO, scripted(|_| None)).await;
    let erased = done(fake.erase().await);
    assert_eq!((erased.found, erased.changed), (1, 0), "what is still there was not changed");
    assert_eq!(erased.evidence.collections[0].after, 1);
    match only(fake.connector.verify(Verb::Erase, &[work("v", &ann())]).await) {
        Verdict::Residue { remaining: 1, .. } => {}
        other => panic!("{other:?}"),
    }
    let commands = fake.commands();
    let times = |text: &str| commands.iter().filter(|command| *command == text).count();
    assert_eq!(times("UID STORE 7 +FLAGS.SILENT (\\Deleted)"), 1, "{commands:?}");
    assert_eq!(times("UID EXPUNGE 7"), 1, "it is not asked again and again");
    assert_eq!(times("EXPUNGE") + times("CLOSE"), 0);
}

#[tokio::test]
async fn an_address_is_sent_as_a_literal_and_never_as_part_of_a_command() {
    let fake = Fake::start(HELLO, scripted(|_| None)).await;
    fake.erase().await;
    let searches: Vec<_> = fake.commands().into_iter().filter(|command| command.starts_with("UID SEARCH OR")).collect();
    for search in &searches {
        assert_eq!(search.matches("{16}\r\nann@shop.example").count(), search.matches("ann@").count(), "{search}");
        assert_eq!(search.matches("\r\nann").count(), search.matches("ann").count(), "{search}");
        assert_eq!(
            search.matches("\r\nshop").count() + search.matches("@shop").count(),
            search.matches("shop").count()
        );
    }
    let whole = "HEADER Delivered-To {16}\r\nann@shop.example";
    let parts = "(HEADER Delivered-To {3}\r\nann HEADER Delivered-To {12}\r\nshop.example)";
    for (expected, bcc) in [(whole, "OR BCC {16}\r\n"), (parts, "OR (BCC {3}\r\n")] {
        assert!(searches.iter().any(|search| search.contains(expected) && search.contains(bcc)), "{searches:?}");
    }
    let login = fake.commands().into_iter().find(|command| command.starts_with("LOGIN"));
    assert_eq!(login.as_deref(), Some("LOGIN {1}\r\nu {2}\r\npw"));
}

#[tokio::test]
async fn a_literal_needs_no_round_trip_where_the_server_offers_that() {
    for offer in ["LITERAL+", "LITERAL-"] {
        let script: Script = Arc::new(move |command: &str| {
            let capable = format!("* CAPABILITY IMAP4rev1 UIDPLUS {offer}\r\nOK");
            Some(if command == "CAPABILITY" { capable } else { ordinary(command) })
        });
        let fake = Fake::start(HELLO, script).await;
        assert_eq!(done(fake.erase().await).found, 1);
        assert!(fake.commands().iter().any(|command| command.contains("{16+}\r\nann@shop.example")));
    }
}

#[tokio::test]
async fn a_server_without_uidplus_is_refused_before_any_effect() {
    let fake = Fake::start(HELLO, scripted(|c| (c == "CAPABILITY").then_some("* CAPABILITY IMAP4rev1\r\nOK"))).await;
    assert_eq!(code(&trouble(fake.erase().await)), "uidplus_missing");
    assert!(!fake.commands().iter().any(|c| c.contains("STORE") || c.contains("EXPUNGE") || c.starts_with("SELECT")));
    let report = fake.connector.check().await.expect("reachable");
    assert!(report.warnings.iter().any(|warning| warning.contains("UIDPLUS")));
}

#[tokio::test]
async fn what_a_server_refuses_is_told_by_what_has_to_happen_next() {
    for (command, answer, expected, again) in [
        ("LOGIN", "NO [AUTHENTICATIONFAILED] x", "credentials_refused", false),
        ("LOGIN", "NO x", "credentials_refused", false),
        ("LOGIN", "NO [UNAVAILABLE] x", "busy", true),
        ("LOGIN", "NO [PRIVACYREQUIRED] x", "tls_required", false),
        ("CAPABILITY", "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nOK", "tls_required", false),
        ("EXAMINE", "NO [INUSE] x", "busy", true),
        ("EXAMINE", "NO [NOPERM] x", "permission_denied", false),
        ("EXAMINE", "NO [NONEXISTENT] x", "mailbox_changed", true),
        ("EXAMINE", "NO x", "refused", true),
        ("EXAMINE", "* 2 EXISTS\r\nOK", "protocol_error", false),
        ("SELECT", "* OK [UIDVALIDITY 9] x\r\nOK [READ-ONLY] x", "mailbox_read_only", false),
        ("SELECT", "* OK [UIDVALIDITY 9] x\r\n* OK [PERMANENTFLAGS (\\Seen)] x\r\nOK", "mailbox_read_only", false),
        ("SELECT", "* OK [UIDVALIDITY 10] x\r\nOK", "mailbox_changed", true),
        ("UID STORE", "NO [LIMIT] x", "busy", true),
        ("UID EXPUNGE", "NO [NOPERM] x", "permission_denied", false),
        ("UID EXPUNGE", "BAD x", "protocol_error", false),
        ("UID SEARCH", "* BYE x\r\nOK", "unreachable", true),
        ("UID SEARCH", "* SEARCH 7 x\r\nOK", "protocol_error", false),
        ("UID FETCH", "* 1 FETCH (UID 7 BODY[HEADER] NIL)\r\nOK", "protocol_error", false),
        ("UID FETCH", "* 1 FETCH (UID 7 BODY[HEADER] {99999999999}\r\nOK", "message_too_large", false),
        ("UID FETCH", "* 1 FETCH (UID 7 FLAGS ())\r\nOK", "protocol_error", false),
        ("LIST", "* LIST () \"/\" \"unclosed\r\nOK", "protocol_error", false),
        ("LIST", "OK", "mailbox_missing", false),
    ] {
        let fake = Fake::start(HELLO, scripted(move |c| c.starts_with(command).then_some(answer))).await;
        let trouble = trouble(fake.erase().await);
        assert_eq!(code(&trouble), expected, "{command}: {answer}");
        assert_eq!(matches!(trouble, Trouble::Retry(_)), again, "{command}: {answer}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_is_unreachable() {
    for command in ["CAPABILITY", "LOGIN", "LIST", "EXAMINE", "UID SEARCH", "UID FETCH", "SELECT", "UID EXPUNGE"] {
        let script: Script = Arc::new(move |c: &str| (!c.starts_with(command)).then(|| ordinary(c)));
        let fake = Fake::start(HELLO, script).await;
        assert_eq!(code(&trouble(fake.erase().await)), "unreachable", "{command}");
    }
    let full = Fake::start("* BYE too many connections\r\n", scripted(|_| None)).await;
    assert_eq!(code(&trouble(full.erase().await)), "unreachable");
    let other = Fake::start("220 smtp.example ESMTP\r\n", scripted(|_| None)).await;
    assert_eq!(code(&trouble(other.erase().await)), "protocol_error");
}

#[tokio::test]
async fn refused_credentials_are_tried_once_for_a_whole_batch() {
    let fake = Fake::start(HELLO, scripted(|c| c.starts_with("LOGIN").then_some("NO x"))).await;
    let ann = ann();
    let batch = [work("1", &ann), work("2", &ann), work("3", &ann)];
    assert_eq!(fake.connector.erase(&batch, &MemoryJournal::default()).await.len(), 3);
    assert_eq!(fake.commands().iter().filter(|c| c.starts_with("LOGIN")).count(), 1);
}

#[tokio::test]
async fn one_persons_broken_connection_does_not_end_the_batch() {
    let broke = std::sync::atomic::AtomicBool::new(false);
    let script: Script = Arc::new(move |c: &str| {
        let first = c.starts_with("UID FETCH") && !broke.swap(true, std::sync::atomic::Ordering::SeqCst);
        (!first).then(|| ordinary(c))
    });
    let fake = Fake::start(HELLO, script).await;
    let ann = ann();
    let mut answers = fake.connector.discover(&[work("1", &ann), work("2", &ann)]).await;
    assert_eq!(done(answers.remove(1)).found, 1);
    assert_eq!(code(&trouble(answers.remove(0))), "unreachable");
}

#[tokio::test]
async fn what_is_sent_in_clear_behind_starttls_is_not_taken_for_encrypted() {
    let script = scripted(|c| (c == "STARTTLS").then_some("OK go|* OK injected"));
    let fake = Fake::start_with(HELLO, "starttls", script).await;
    assert_eq!(code(&trouble(fake.erase().await)), "protocol_error");
    assert!(!fake.commands().iter().any(|c| c.contains("LOGIN") || c.contains("AUTH")));
    let preauth = Fake::start_with("* PREAUTH hello\r\n", "starttls", scripted(|_| None)).await;
    assert_eq!(code(&trouble(preauth.erase().await)), "protocol_error");
}

#[tokio::test]
async fn a_server_without_utf8_search_is_searched_by_the_ascii_part() {
    let script = scripted(|c| c.contains("CHARSET").then_some("NO [BADCHARSET (US-ASCII)] x"));
    let fake = Fake::start(HELLO, script).await;
    let subject = crate::conformance::subject(&[(redress_domain::IdentifierType::Email, "jos\u{e9}@shop.example")]);
    nothing_found(only(fake.connector.discover(&[work("d", &subject)]).await));
    assert!(fake.commands().iter().any(|c| c.contains("{13}\r\n@shop.example")), "{:?}", fake.commands());
}

#[tokio::test]
async fn under_a_new_uidvalidity_the_messages_are_searched_again() {
    let fake = Fake::start(HELLO, scripted(|_| None)).await;
    let prior = crate::Receipt("{\"INBOX\":{\"uidvalidity\":1,\"uids\":[1,2,3]}}".into());
    let ann = ann();
    let item = crate::Work { prior: Some(&prior), ..work("e", &ann) };
    let erased = done(only(fake.connector.erase(&[item], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (3, 2), "the greater count, less the one that is still there");
    assert!(!fake.commands().iter().any(|c| c.starts_with("UID STORE 1")), "old UIDs are not used");
    let unreadable = crate::Receipt("nonsense".into());
    let item = crate::Work { prior: Some(&unreadable), ..work("e", &ann) };
    let answer = only(fake.connector.erase(&[item], &MemoryJournal::default()).await);
    assert_eq!(code(&trouble(answer)), "receipt_unreadable");
}

#[tokio::test]
async fn a_message_in_which_the_server_sees_no_headers_is_read_from_its_beginning() {
    let script: Script = Arc::new(|c: &str| {
        let text = "\r\nTo: ann@shop.example\r\n\r\nHello";
        Some(match c {
            _ if c.starts_with("UID SEARCH UID") => "* SEARCH 7\r\nOK".into(),
            _ if c.starts_with("UID SEARCH") => "* SEARCH\r\nOK".into(),
            _ if c.contains("HEADER.FIELDS") => "* 1 FETCH (UID 7 BODY[HEADER.FIELDS (TO)] \"\")\r\nOK".into(),
            _ if c.contains("BODY.PEEK[HEADER]") => "* 1 FETCH (UID 7 BODY[HEADER] {2}\r\n\r\n)\r\nOK".into(),
            _ if c.contains("BODY.PEEK[]<0.") => {
                format!("* 1 FETCH (UID 7 BODY[]<0> {{{}}}\r\n{text})\r\nOK", text.len())
            }
            _ => ordinary(c),
        })
    });
    let fake = Fake::start(HELLO, script).await;
    assert_eq!(done(fake.erase().await).found, 1);
    assert!(fake.commands().iter().any(|c| c == "UID EXPUNGE 7"), "{:?}", fake.commands());
}

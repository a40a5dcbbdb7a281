//! The kit's servers start, serve, refuse, come back and leave nothing behind.

use redress_testkit::{Answer, Dovecot, Mariadb, Postgres, Receiver, Redis, Smtp, which};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

#[tokio::test]
async fn postgres_serves_refuses_a_wrong_password_and_keeps_its_rows_over_a_crash() {
    let postgres = Postgres::start().await;
    let url = postgres.database("shop").await;
    postgres.sql("shop", "CREATE TABLE t (name text); INSERT INTO t VALUES ('Jörg'), (NULL);").await;
    assert_eq!(postgres.query("shop", "SELECT lower('JÖRG'), count(*) FROM t").await, "jörg|2");
    postgres.database_from("copy", "shop").await;
    assert_eq!(postgres.query("copy", "SELECT count(*) FROM t").await, "2");

    let psql = which("psql").expect("the server started");
    let wrong = Command::new(psql).args([&url.replace(":pw@", ":no@"), "-c", "select 1"]).output().expect("psql runs");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("password authentication failed"), "{wrong:?}");

    let port = postgres.port();
    postgres.kill9().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    postgres.start_again().await;
    assert_eq!(postgres.query("shop", "SELECT count(*) FROM t").await, "2");
    postgres.stop().await;
    postgres.start_again().await;
    postgres.drop_database("copy").await;
    drop(postgres);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn many_postgres_servers_start_side_by_side() {
    let (a, b, c) = tokio::join!(Postgres::start(), Postgres::start(), Postgres::start_with(&["log_statement=all"]));
    c.query("postgres", "SELECT 'seen in the log'").await;
    assert!(c.log().contains("seen in the log"));
    assert!(a.port() != b.port() && b.port() != c.port());
}

#[tokio::test]
async fn mariadb_serves_refuses_a_wrong_password_and_keeps_its_rows_over_a_crash() {
    let mariadb = Mariadb::start().await;
    mariadb.database("shop").await;
    mariadb.sql("shop", "CREATE TABLE t (name varchar(20)); INSERT INTO t VALUES ('Jörg'), (NULL);").await;
    assert_eq!(mariadb.query("shop", "SELECT count(*) FROM t WHERE name = 'JÖRG'").await, "1");
    assert_eq!(
        mariadb.query("shop", "SELECT @@collation_database, @@log_bin, current_user()").await,
        "utf8mb4_general_ci\t1\tdsr@%"
    );
    let client = which("mariadb").or_else(|| which("mysql")).expect("the server started");
    let port = mariadb.port();
    let wrong = Command::new(client)
        .args(["--no-defaults", "-h127.0.0.1", &format!("-P{port}"), "-udsr", "-pno", "-e", "select 1"])
        .output()
        .expect("the client runs");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("Access denied"), "{wrong:?}");
    mariadb.kill9().await;
    mariadb.start_again().await;
    assert_eq!(mariadb.query("shop", "SELECT count(*) FROM t").await, "2");
    mariadb.stop().await;
    mariadb.start_again().await;
    mariadb.drop_database("shop").await;
}

#[tokio::test]
async fn redis_forgets_everything_when_it_is_killed() {
    let redis = Redis::start().await;
    redis.command(&["SET", "k", "a b"]).await;
    assert_eq!(redis.command(&["GET", "k"]).await, "a b");
    redis.kill9_and_restart().await;
    assert_eq!(redis.command(&["GET", "k"]).await, "");
    redis.command(&["RPUSH", "l", "1", "2"]).await;
    assert_eq!(redis.command(&["LRANGE", "l", "0", "-1"]).await, "1\n2");
    redis.flushall().await;
    assert_eq!(redis.command(&["DBSIZE"]).await, "0");
}

/// Sends each command when the one before it was answered; everything that was answered.
fn imap(port: u16, commands: &[&str]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("dovecot listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let mut lines = BufReader::new(&stream).lines().map(|line| line.expect("dovecot answers"));
    let mut answers = vec![lines.next().expect("a greeting")];
    for command in commands {
        (&stream).write_all(format!("a {command}\r\n").as_bytes()).expect("dovecot reads");
        loop {
            let line = lines.next().expect("dovecot stays");
            let last = line.starts_with("a ");
            answers.push(line);
            if last {
                break;
            }
        }
    }
    answers.join("\n")
}

#[tokio::test]
async fn dovecot_serves_delivered_mail_and_refuses_a_wrong_password_without_delay() {
    let dovecot = Dovecot::start().await;
    dovecot.user("a@corp.test", "pw");
    dovecot.user("b@corp.test", "p w");
    let message = b"From: x@y.test\r\nSubject: Hello\r\n\r\nBody\r\n";
    dovecot.deliver("a@corp.test", "INBOX", message);
    dovecot.deliver("a@corp.test", "Archive/Entwürfe", message);
    dovecot.deliver("a@corp.test", "Archive/Entwürfe", message);
    let port = dovecot.imap_port();

    let commands = [
        "LOGIN a@corp.test pw",
        "LIST \"\" *",
        "SELECT \"Archive/Entw&APw-rfe\"",
        "FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]",
        "UID STORE 1 +FLAGS (\\Deleted)",
        "UID EXPUNGE 1",
        "SELECT INBOX",
    ];
    let answer = imap(port, &commands);
    for expected in ["* 2 EXISTS", "Subject: Hello", "* 1 EXPUNGE", "* 1 EXISTS", "UIDPLUS", "\\Trash) \"/\" Trash"] {
        assert!(answer.contains(expected), "{expected} is not in\n{answer}\n{}", dovecot.log());
    }
    let gone = dovecot.folder("a@corp.test", "Archive/Entwürfe");
    let files = |part: &str| std::fs::read_dir(gone.join(part)).expect("it is a Maildir").count();
    assert_eq!(files("cur") + files("new"), 1);

    let begun = std::time::Instant::now();
    for _ in 0..3 {
        let refused = imap(port, &["LOGIN a@corp.test wrong"]);
        assert!(refused.contains("a NO [AUTHENTICATIONFAILED]"), "{refused}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    dovecot.user("a@corp.test", "changed");
    assert!(imap(port, &["LOGIN a@corp.test pw"]).contains("a NO"));
    assert!(imap(port, &["LOGIN nobody@corp.test pw"]).contains("a NO [AUTHENTICATIONFAILED]"));

    dovecot.stop().await;
    dovecot.deliver("b@corp.test", "INBOX", message);
    dovecot.start_again().await;
    let answer = imap(port, &["LOGIN b@corp.test \"p w\"", "SELECT INBOX"]);
    assert!(answer.contains("* 1 EXISTS"), "{answer}");
}

#[tokio::test]
async fn dovecots_certificate_is_trusted_by_its_own_authority_on_both_ports() {
    let dovecot = Dovecot::start().await;
    for (port, starttls) in [(dovecot.imaps_port(), None), (dovecot.imap_port(), Some("imap"))] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile"]);
        command.arg(dovecot.ca_file()).args(["-connect", &format!("127.0.0.1:{port}")]);
        command.args(starttls.into_iter().flat_map(|protocol| ["-starttls", protocol]));
        let output = command.stdin(std::process::Stdio::null()).output().expect("openssl runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn a_receiver_records_requests_and_answers_as_scripted() {
    let receiver = Receiver::start().await;
    receiver.answer([500, 0]);
    receiver.answer_with(Answer::from(429).header("Retry-After", "3").body("slow down"));
    let send = |framing: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).expect("it listens");
        let request = format!("POST /hook?x=1 HTTP/1.1\r\nHost: h\r\nX-Sig: s\r\nConnection: close\r\n{framing}");
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(send("Content-Length: 2\r\n\r\nhi").starts_with("HTTP/1.1 500"));
    assert_eq!(send("Content-Length: 2\r\n\r\nhi"), "");
    let third = send("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n");
    assert!(third.starts_with("HTTP/1.1 429") && third.contains("Retry-After: 3") && third.ends_with("slow down"));
    assert!(send("\r\n").starts_with("HTTP/1.1 200"));
    let requests = receiver.wait_for(4).await;
    assert_eq!((requests[0].path.as_str(), requests[0].header("x-sig")), ("/hook?x=1", Some("s")));
    assert_eq!(requests[2].text(), "hi!");
}

#[tokio::test]
async fn a_dropped_server_leaves_no_folder() {
    let dovecot = Dovecot::start().await;
    dovecot.user("a@corp.test", "pw");
    let maildir = dovecot.maildir("a@corp.test");
    assert!(maildir.exists());
    let folder = dovecot.ca_file().parent().expect("in a folder").to_owned();
    drop(dovecot);
    assert!(!folder.exists());
}

/// Sends each command when the one before it was answered; the answers' codes.
fn smtp(port: u16, commands: &[&str]) -> Vec<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let mut lines = BufReader::new(&stream).lines().map(|line| line.expect("it answers"));
    let mut codes = vec![lines.next().expect("a greeting")[..3].to_owned()];
    for command in commands {
        (&stream).write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
        let last = lines.find(|line| line.as_bytes()[3] == b' ').expect("it answers");
        codes.push(last[..3].to_owned());
    }
    codes
}

#[tokio::test]
async fn the_mail_server_keeps_what_it_takes_and_refuses_what_it_should() {
    let server = Smtp::start().await;
    let codes = smtp(
        server.port(),
        &[
            "EHLO test",
            "MAIL FROM:<me@x.example>",
            "RCPT TO:<refused@y.example>",
            "RCPT TO:<later@y.example>",
            "RCPT TO:<later@y.example>",
            "DATA",
            "Subject: Hello\r\n\r\ntext\r\n.",
        ],
    );
    assert_eq!(codes, ["220", "250", "250", "550", "451", "250", "354", "250"]);
    let mails = server.wait_for(1).await;
    assert_eq!(mails[0].header("subject"), Some("Hello"));
    assert_eq!(mails[0].about, r#"{"from": "me@x.example", "to": ["later@y.example"], "user": null, "tls": false}"#);
    server.kill9().await;
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.start_again().await;
    assert_eq!(server.mails().len(), 1);
}

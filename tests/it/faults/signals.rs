//! A signal ends a worker in order (SIGTERM), or stops it and lets it go on when its work is long somebody else's (SIGSTOP).

use super::scene::{Case, Right, Rows, Scene};
use crate::support::{Backend, Builder, Kind, Roles, TestApp, poll};
use redress_testkit::{Port, free_port};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Leases so long that nothing here can be explained by one that ran out.
fn long_leases(grace_seconds: u32) -> Builder {
    TestApp::builder()
        .env("REDRESS_WORKER__LEASE_SECONDS", "120")
        .env("REDRESS_WORKER__RENEW_SECONDS", "10")
        .env("REDRESS_WORKER__SWEEP_INTERVAL_SECONDS", "1")
        .env("REDRESS_WORKER__SHUTDOWN_GRACE_SECONDS", grace_seconds.to_string())
        .env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1")
}

fn fleet(builder: Builder) -> Builder {
    builder.backend(Backend::PostgresRedis).roles(Roles::Fleet(2))
}

fn rows(app: &TestApp) -> Rows {
    Rows::Postgres { url: app.postgres().url("redress") }
}

fn mixed(count: usize) -> Vec<Case> {
    let rights = [Right::Deletion, Right::Access, Right::Correction];
    (0..count).map(|n| Case::new(rights[n % rights.len()], &format!("person{n}"))).collect()
}

fn signal(name: &str, pid: &str) {
    let sent = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", name, pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "process {pid} takes no {name}");
}

/// Stops a process at a moment at which it has no file locked. A process that is stopped in the middle of a look into a
/// controller's SQLite file keeps its shared lock for as long as it is stopped, and nobody can commit there: that is how
/// SQLite is, and not what these tests are about.
async fn freeze(pid: &str) {
    for _ in 0..200 {
        signal("STOP", pid);
        let status = || std::fs::read_to_string(format!("/proc/{pid}/stat"));
        // Without /proc (not Linux) we take what comes.
        while status().is_ok_and(|text| !text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        if !locks.lines().any(|line| line.contains("POSIX") && line.split_whitespace().nth(4) == Some(pid)) {
            return;
        }
        signal("CONT", pid);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    panic!("process {pid} always has a file locked");
}

/// A controller's database that nobody else can write to for the time being.
struct Locked(SqliteConnection);

impl Locked {
    async fn lock(file: &Path) -> Self {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(20));
        let mut connection = options.connect().await.expect("the file opens");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("we get the lock");
        Self(connection)
    }

    async fn release(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.expect("we had the lock");
        self.0.close().await.expect("nothing is open");
    }
}

/// The process that has the lease of a step outside the Maildir, other than this one. A lease's owner begins with the number of its process.
async fn holder(scene: &Scene, other_than: &str) -> String {
    poll("a worker is at a step", Duration::from_secs(20), || async {
        let sql = "SELECT s.owner FROM steps s JOIN systems y ON y.id = s.system_id WHERE s.q = 'run' AND y.connector <> 'maildir'";
        let rows = scene.rows.query(sql).await;
        let pids = rows.iter().filter_map(|row| row[0].split('-').next());
        pids.filter(|pid| *pid != other_than).map(str::to_owned).next()
    })
    .await
}

#[tokio::test]
async fn a_worker_that_is_asked_to_end_ends_what_it_has_begun_and_the_others_do_the_rest() {
    let app = fleet(long_leases(20)).start().await;
    let rows = rows(&app);
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], mixed(6)).await;
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let mut ids = vec![scene.submit(0).await];
    let pid = holder(&scene, "").await;
    signal("TERM", &pid);
    for nth in 1..6 {
        ids.push(scene.submit(nth).await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let held = format!("SELECT COUNT(*) FROM steps WHERE q = 'run' AND owner LIKE '{pid}-%'");
    assert!(scene.rows.number(&held).await > 0, "it was asked to end and should still work on what it has");
    lock.release().await;
    let (_, status) = scene.app.wait_for_death(Duration::from_secs(15)).await;
    assert!(status.success(), "{status}\n{}", scene.app.logs());
    scene.judge(&ids).await;
    assert_eq!(scene.rows.number("SELECT SUM(deaths) FROM steps").await, 0, "nobody died");
}

#[tokio::test]
async fn a_worker_whose_grace_is_over_hands_its_steps_back_and_another_takes_them_over_at_once() {
    let app = fleet(long_leases(2)).start().await;
    let rows = rows(&app);
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], mixed(2)).await;
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let mut ids = vec![scene.submit(0).await];
    let pid = holder(&scene, "").await;
    ids.push(scene.submit(1).await);
    signal("TERM", &pid);
    let asked = Instant::now();
    let (_, status) = scene.app.wait_for_death(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}\n{}", scene.app.logs());
    assert!(asked.elapsed() < Duration::from_secs(5), "two seconds of grace took {:?}", asked.elapsed());
    let left = format!("SELECT COUNT(*) FROM steps WHERE q = 'run' AND owner LIKE '{pid}-%'");
    assert_eq!(scene.rows.number(&left).await, 0, "a lease was left behind");
    let gone = Instant::now();
    holder(&scene, &pid).await;
    assert!(gone.elapsed() < Duration::from_secs(3), "it was taken over after {:?}", gone.elapsed());
    lock.release().await;
    scene.judge(&ids).await;
    assert_eq!(scene.rows.number("SELECT SUM(deaths) FROM steps").await, 0, "nobody died");
}

#[tokio::test]
async fn a_caller_who_never_ends_and_a_step_that_never_ends_hold_a_process_for_one_grace_only() {
    let app = long_leases(3).start().await;
    let rows = Rows::of(&app, None);
    let scene = Scene::set(app, rows, &[Kind::Sqlite], mixed(3)).await;
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let ids = scene.submit_all(Duration::ZERO).await;
    let pid = holder(&scene, "").await;
    let address = scene.app.base().replace("http://", "");
    let mut caller = TcpStream::connect(&address).expect("the service listens");
    let head = format!(
        "POST /v1/requests HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        scene.api.key
    );
    caller.write_all(head.as_bytes()).expect("it is read");
    tokio::time::sleep(Duration::from_millis(300)).await;
    signal("TERM", &pid);
    let asked = Instant::now();
    let (_, status) = scene.app.wait_for_death(Duration::from_secs(15)).await;
    assert!(status.success(), "{status}\n{}", scene.app.logs());
    assert!(asked.elapsed() < Duration::from_secs(5), "three seconds of grace took {:?}", asked.elapsed());
    lock.release().await;
    scene.app.start().await;
    let again = Instant::now();
    for id in &ids {
        scene.api.closed(id).await;
    }
    assert!(again.elapsed() < Duration::from_secs(20), "leases of 120 s were waited for");
    scene.judge(&ids).await;
}

#[tokio::test]
async fn a_service_that_is_stopped_and_started_in_mid_run_loses_nothing_on_sqlite() {
    let app = long_leases(20).start().await;
    let rows = Rows::of(&app, None);
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], mixed(30)).await;
    let stop = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            for status in scene.app.sigterm().await {
                assert!(status.success(), "{status}\n{}", scene.app.logs());
            }
            assert_eq!(
                scene.rows.number("SELECT COUNT(*) FROM steps WHERE q = 'run'").await,
                0,
                "a lease was left behind"
            );
            scene.app.start().await;
        }
    };
    let (ids, ()) = tokio::join!(scene.submit_all(Duration::from_millis(40)), stop);
    scene.judge(&ids).await;
    assert_eq!(scene.rows.number("SELECT SUM(deaths) FROM steps").await, 0, "nobody died");
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_in_front_of_a_locked_database_changes_nothing_any_more() {
    let app = fleet(TestApp::builder().quick_leases().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1")).start().await;
    let rows = rows(&app);
    let cases = vec![Case::new(Right::Deletion, "ann"), Case::new(Right::Correction, "carol")];
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases).await.rough();
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let mut ids = vec![scene.submit(0).await];
    let sleeper = holder(&scene, "").await;
    freeze(&sleeper).await;
    holder(&scene, &sleeper).await;
    lock.release().await;
    ids.push(scene.submit(1).await);
    for id in &ids {
        scene.api.closed(id).await;
    }
    signal("CONT", &sleeper);
    poll("the sleeper sees that it came too late", Duration::from_secs(20), || async {
        let logs = scene.app.logs();
        (logs.contains("lease was lost") || logs.contains("may not act")).then_some(())
    })
    .await;
    scene.judge(&ids).await;
    assert!(scene.app.is_running());
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_between_reading_and_deleting_mail_deletes_nothing() {
    let app = fleet(TestApp::builder().quick_leases().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1")).start().await;
    let rows = rows(&app);
    let cases = vec![Case::new(Right::Deletion, "ann")];
    let detour = Arc::new(Detour::default());
    let entry = free_port();
    let number = entry.number();
    let edit = |text: &str| {
        // The connector reaches the server through the test, in clear.
        let port =
            text.split("port = ").nth(1).and_then(|rest| rest.split(',').next()).expect("the IMAP system has a port");
        text.replace(&format!("port = {port}"), &format!("port = {number}"))
            .replace("tls = \"implicit\"", "tls = \"none\"")
    };
    let scene = Scene::set_with(app, rows, &[Kind::Imap], cases, edit).await.rough();
    detour.open(entry, scene.systems.dovecot().imap_port());

    // The first connection waits for the last it has to read before it deletes.
    let id = scene.submit(0).await;
    let sleeper = holder(&scene, "").await;
    poll("the first worker has read", Duration::from_secs(20), || async { detour.holds().then_some(()) }).await;
    signal("STOP", &sleeper);
    scene.api.closed(&id).await;
    let heard = detour.heard(0);
    signal("CONT", &sleeper);
    detour.release();
    poll("the first worker is refused", Duration::from_secs(20), || async {
        scene.app.logs().contains("may not act").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let later = detour.heard(0)[heard.len()..].to_ascii_uppercase();
    assert!(!later.contains("STORE") && !later.contains("EXPUNGE"), "it acted without a lease: {later}");
    assert!(
        (1..detour.connections()).any(|n| detour.heard(n).to_ascii_uppercase().contains("EXPUNGE")),
        "nobody acted"
    );
    scene.judge(&[id]).await;
}

/// A way to a server that passes through the test: it hears what is said, and holds back an answer.
#[derive(Default)]
struct Detour {
    state: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Default)]
struct Heard {
    /// What was said to the server, by connection.
    said: Vec<String>,
    has_read: bool,
    released: bool,
}

impl Detour {
    fn open(self: &Arc<Self>, entry: Port, to: u16) {
        let listener = TcpListener::bind(("127.0.0.1", entry.number())).expect("the port is reserved");
        let detour = self.clone();
        std::thread::spawn(move || {
            let _reserved = entry;
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
                let n = {
                    let mut state = detour.state.lock().expect("no thread panics");
                    state.said.push(String::new());
                    state.said.len() - 1
                };
                let (up, down) = (detour.clone(), detour.clone());
                let (from_client, to_server) =
                    (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                std::thread::spawn(move || up.carry(from_client, to_server, |detour, text| detour.hear(n, text)));
                std::thread::spawn(move || down.carry(server, client, |detour, _| detour.wait(n)));
            }
        });
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, with: impl Fn(&Self, &str)) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            with(self, &String::from_utf8_lossy(&buffer[..length]));
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }

    fn hear(&self, n: usize, text: &str) {
        let mut state = self.state.lock().expect("no thread panics");
        state.said[n] += text;
        state.has_read |= n == 0 && state.said[0].matches("UID FETCH").count() >= 2;
    }

    /// What the first connection is to read of the second of its mailboxes is held back until it is released.
    fn wait(&self, n: usize) {
        let state = self.state.lock().expect("no thread panics");
        let held = |state: &mut Heard| n == 0 && state.has_read && !state.released;
        drop(self.changed.wait_while(state, held).expect("no thread panics"));
    }

    fn holds(&self) -> bool {
        self.state.lock().expect("no thread panics").has_read
    }

    fn release(&self) {
        self.state.lock().expect("no thread panics").released = true;
        self.changed.notify_all();
    }

    fn heard(&self, n: usize) -> String {
        self.state.lock().expect("no thread panics").said[n].clone()
    }

    fn connections(&self) -> usize {
        self.state.lock().expect("no thread panics").said.len()
    }
}

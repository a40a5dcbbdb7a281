//! Faults of the processes: killed, stopped, of one name, with another clock, of another version; and people who change
//! their minds meanwhile.

use crate::cells::{Cell, Dice, Ended, switch};
use crate::checker::duplicates;
use crate::load::{Plan, cases, fleet, patient, quick, resumes, rows, through};
use crate::matrix::send;
use crate::scene::{Case, Right, Scene, changes};
use crate::support::{Backend, Kind, PATIENCE, Setup, poll, status_of};
use redress_testkit::which;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// What a killed worker may cost, in the 99th percentile.
const ORPHANED: Duration = Duration::from_secs(15);

pub(crate) fn cells() -> Vec<Cell> {
    vec![
        Cell::new("worker/killed-30-times-orphans-recovered", || orphans(30)).within(10),
        Cell::new("worker/killed-6-times-orphans-recovered", || orphans(6)).only_in_slice(),
        Cell::new("worker/stopped-15s/fleet", || stopped(Backend::PostgresRedis)).in_slice(),
        Cell::new("worker/stopped-15s/sqlite", || stopped(Backend::Sqlite)),
        Cell::new("worker/two-of-one-name", one_name).in_slice(),
        Cell::new("worker/clock-120s-ahead", || skewed("+120s")).in_slice(),
        Cell::new("worker/clock-120s-behind", || skewed("-120s")).in_slice(),
        Cell::new("worker/rolling-restart", || rolling(None)).in_slice(),
        Cell::new("worker/rolling-restart-from-the-previous-version", || {
            let previous = switch("REDRESS_PREVIOUS_BINARY");
            async move {
                match previous {
                    Some(previous) => rolling(Some(previous)).await,
                    None => Ended::Skipped("REDRESS_PREVIOUS_BINARY names no executable".into()),
                }
            }
        }),
        Cell::new("people/withdrawn-in-mid-run/sqlite", || withdrawn(Backend::Sqlite)).in_slice(),
        Cell::new("people/withdrawn-in-mid-run/fleet", || withdrawn(Backend::PostgresRedis)),
    ]
}

/// A controller's database that nobody else can write to for the time being.
pub(crate) struct Locked(SqliteConnection);

impl Locked {
    pub(crate) async fn lock(file: &Path) -> Self {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).busy_timeout(20 * SECOND);
        let mut connection = options.connect().await.expect("the file opens");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("we get the lock");
        Self(connection)
    }

    pub(crate) async fn release(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.expect("we had the lock");
        self.0.close().await.expect("nothing is open");
    }
}

/// Workers are killed with work in their hands; how long until somebody else has it?
async fn orphans(kills: usize) -> Ended {
    const EACH: usize = 4;
    let app = fleet(patient(), 3).start().await;
    app.allow_errors();
    let rows = rows(&app, Backend::PostgresRedis);
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases(kills * EACH)).await.rough();
    let orphaned: RefCell<BTreeMap<String, (u64, Instant)>> = RefCell::default();
    let killed_all = std::cell::Cell::new(false);
    let killing = async {
        let mut ids = Vec::new();
        for kill in 0..kills {
            let lock = Locked::lock(&scene.systems.sqlite_file()).await;
            for nth in kill * EACH..(kill + 1) * EACH {
                ids.push(scene.submit(nth).await);
            }
            let victim = poll("a worker is at a step", 30 * SECOND, || async {
                let running = "SELECT owner FROM steps WHERE q = 'run' AND system_id IS NOT NULL";
                let owners = scene.rows.query(running).await.concat();
                (1..4).find(|nth| {
                    let pid = scene.app.pid(*nth).map(|pid| format!("{pid}-")).unwrap_or_default();
                    !pid.is_empty() && owners.iter().any(|owner| owner.starts_with(&pid))
                })
            })
            .await;
            let pid = scene.app.pid(victim).expect("it was there just now");
            scene.app.kill9_one(victim);
            let died = Instant::now();
            let left = format!("SELECT id, CAST(token AS TEXT) FROM steps WHERE q = 'run' AND owner LIKE '{pid}-%'");
            for row in scene.rows.query(&left).await {
                orphaned.borrow_mut().insert(row[0].clone(), (row[1].parse().expect("a number"), died));
            }
            lock.release().await;
            scene.app.start_unready();
            tokio::time::sleep(SECOND / 2).await;
        }
        killed_all.set(true);
        ids
    };
    let watching = async {
        let mut costs: Vec<Duration> = Vec::new();
        let mut end = None;
        loop {
            tokio::time::sleep(SECOND / 10).await;
            for row in scene.rows.query("SELECT id, CAST(token AS TEXT) FROM steps").await {
                // One more when the lease is taken back, another one when it is given to somebody.
                let taken = |token: u64| row[1].parse::<u64>().is_ok_and(|now| now >= token + 2);
                let mut orphaned = orphaned.borrow_mut();
                if orphaned.get(&row[0]).is_some_and(|(token, _)| taken(*token))
                    && let Some((_, died)) = orphaned.remove(&row[0])
                {
                    costs.push(died.elapsed());
                }
            }
            if killed_all.get() {
                if orphaned.borrow().is_empty() {
                    return costs;
                }
                let end = *end.get_or_insert(Instant::now() + 60 * SECOND);
                assert!(Instant::now() < end, "orphans are left: {:?}", orphaned.borrow());
            }
        }
    };
    let (ids, mut costs) = tokio::join!(killing, watching);
    costs.sort();
    let at = |share: usize| costs[(costs.len() * share / 100).min(costs.len() - 1)].as_secs_f32();
    println!(
        "NOTE {} orphans of {kills} killed workers were somebody else's after {:.1} s (median), {:.1} s (p90), {:.1} s (p99), {:.1} s (most)",
        costs.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    assert!(costs.len() >= kills, "the kills hit nothing");
    assert!(at(99) <= ORPHANED.as_secs_f32(), "a killed worker cost more than {} s", ORPHANED.as_secs());
    crate::checker::judge(&scene, &ids).await;
    Ended::Well
}

/// A worker is stopped for longer than its leases last, and goes on.
async fn stopped(backend: Backend) -> Ended {
    let app = match backend {
        Backend::Sqlite => patient().start().await,
        Backend::PostgresRedis => fleet(patient(), 2).start().await,
    };
    let worker = app.processes() - 1;
    through(app, backend, Plan::lasting(15 * SECOND), async |scene: &Scene| {
        let pid = scene.app.pid(worker).expect("it runs");
        send("STOP", pid);
        tokio::time::sleep(15 * SECOND).await;
        send("CONT", pid);
    })
    .await
}

/// Two workers that cannot be told apart by host and process number, of which one dies and is born again, twice.
async fn one_name() -> Ended {
    let Some(_) = which("unshare") else { return Ended::Skipped("unshare is not installed".into()) };
    let alone = ["--pid", "--fork", "--kill-child"];
    let allowed = std::process::Command::new("unshare").args(alone).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        return Ended::Skipped("this needs the right to make process namespaces".into());
    }
    let app = fleet(quick(), 2).installed().await;
    let under: Vec<String> = std::iter::once("unshare").chain(alone).map(str::to_owned).collect();
    for nth in [1, 2] {
        app.set_up(nth, Setup { under: under.clone(), ..Setup::default() });
    }
    app.start().await;
    app.allow_errors();
    let rows = rows(&app, Backend::PostgresRedis);
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases(40)).await.rough();
    let staging = async {
        for nth in [1, 2] {
            tokio::time::sleep(2 * SECOND).await;
            scene.app.kill9_one(nth);
            // It is the process above it that is killed, and it follows.
            let port: String = scene.app.base_of(nth).replace("http://", "");
            poll("its port is free", 10 * SECOND, || async { std::net::TcpListener::bind(&port).ok().map(drop) }).await;
            scene.app.start_unready();
        }
        resumes(&scene, crate::load::RESUME).await;
        let owners = scene.rows.query("SELECT DISTINCT owner FROM steps WHERE owner IS NOT NULL").await.concat();
        assert!(owners.iter().all(|owner| owner.starts_with("1-")), "they can be told apart: {owners:?}");
    };
    let (ids, ()) = tokio::join!(scene.submit_all(Duration::from_millis(150)), staging);
    crate::checker::judge(&scene, &ids).await;
    assert!(scene.app.is_running(), "{}", scene.app.logs());
    Ended::Well
}

/// One of two workers has a clock that is two minutes off.
async fn skewed(by: &str) -> Ended {
    let libraries = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let found =
        libraries.iter().map(|folder| format!("{folder}/faketime/libfaketimeMT.so.1")).find(|p| Path::new(p).exists());
    let Some(library) = found else { return Ended::Skipped("libfaketime is not installed".into()) };
    let app = fleet(quick(), 2).installed().await;
    let variables = [("LD_PRELOAD", library.as_str()), ("FAKETIME", by), ("DONT_FAKE_MONOTONIC", "1")];
    let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    app.set_up(2, Setup { env, ..Setup::default() });
    app.start().await;
    through(app, Backend::PostgresRedis, Plan::lasting(9 * SECOND), async |scene: &Scene| {
        // For now everybody is well, and so is every lease.
        tokio::time::sleep(2 * SECOND).await;
        crate::calm::no_lease_lost(scene);
        // The one with the right clock dies in between: the other one alone decides what has run out.
        tokio::time::sleep(2 * SECOND).await;
        let pid = scene.app.pid(1).expect("it runs");
        send("STOP", pid);
        tokio::time::sleep(5 * SECOND).await;
        send("CONT", pid);
    })
    .await
}

/// Each process in turn is asked to end and started anew, from another executable perhaps.
async fn rolling(previous: Option<String>) -> Ended {
    let app = fleet(quick(), 2);
    let app = app.installed().await;
    for nth in 0..3 {
        app.set_up(nth, Setup { program: previous.clone(), ..Setup::default() });
    }
    app.start().await;
    app.allow_errors();
    let rows = rows(&app, Backend::PostgresRedis);
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases(60)).await.rough();
    let staging = async {
        for nth in [1, 2, 0] {
            tokio::time::sleep(2 * SECOND).await;
            let asked = Instant::now();
            let status = scene.app.sigterm_one(nth).await.expect("it ran");
            assert!(status.success(), "process {nth}: {status}\n{}", scene.app.logs());
            assert!(asked.elapsed() < 30 * SECOND, "process {nth} took {} s to end", asked.elapsed().as_secs());
            scene.app.set_up(nth, Setup::default());
            scene.app.start().await;
        }
        resumes(&scene, crate::load::RESUME).await;
    };
    let (ids, ()) = tokio::join!(scene.submit_all(Duration::from_millis(150)), staging);
    crate::checker::judge(&scene, &ids).await;
    // Who is asked to end hands back what it has.
    crate::calm::no_lease_lost(&scene);
    Ended::Well
}

/// Half of the requests are withdrawn at some moment, while a worker dies now and then. Nothing happens to whoever was
/// withdrawn before an effect was announced.
async fn withdrawn(backend: Backend) -> Ended {
    const PEOPLE: usize = 40;
    let app = match backend {
        Backend::Sqlite => quick().start().await,
        Backend::PostgresRedis => fleet(quick(), 2).start().await,
    };
    app.allow_errors();
    let rows = rows(&app, backend);
    let people: Vec<Case> = (0..PEOPLE).map(|n| Case::new(Right::Deletion, &format!("person{n}"))).collect();
    let scene = Scene::set(app, rows, &[Kind::Sqlite], people).await.rough();
    let mut wanted = Vec::new();
    for case in &scene.cases {
        wanted.push(changes(&scene.systems, Kind::Sqlite, std::slice::from_ref(case)).await);
    }
    let mut dice = Dice::new();
    let moments: Vec<u64> = (0..PEOPLE).map(|_| dice.below(400)).collect();
    let worker = scene.app.processes() - 1;
    let kills = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(1_700)).await;
            scene.app.kill9_one(worker);
            scene.app.start_unready();
        }
    };
    // Whose withdrawal was answered before anything was announced about them.
    let requests = async {
        let (mut ids, mut spared) = (Vec::new(), Vec::new());
        for (nth, moment) in moments.iter().enumerate() {
            let id = scene.submit(nth).await;
            if nth % 2 == 0 {
                // Every second one at once: on a quick machine little else comes in time.
                let moment = if nth % 4 == 0 { 0 } else { *moment };
                tokio::time::sleep(Duration::from_millis(moment)).await;
                let path = format!("/v1/requests/{id}/withdraw");
                let answer = poll("the withdrawal is answered", PATIENCE, || async {
                    scene.api.try_send("POST", &path, &[], "").await.filter(|answer| answer.status < 500)
                });
                let answered = answer.await.status;
                assert!([200, 409].contains(&answered), "{answered}");
                let announced = format!("SELECT COUNT(*) FROM steps WHERE dsr_id = '{id}' AND receipt IS NOT NULL");
                let is_withdrawn = status_of(&scene.api.until_view(&id, |_| true, PATIENCE).await) == "withdrawn";
                if is_withdrawn && scene.rows.number(&announced).await == 0 {
                    spared.push(nth);
                }
            }
            ids.push(id);
        }
        (ids, spared)
    };
    let ((ids, spared), ()) = tokio::join!(requests, kills);
    scene.app.start().await;
    let mut done = 0;
    for id in &ids {
        let view = poll("a request ends", PATIENCE, || async {
            let view = scene.api.get(id).await;
            if status_of(&view) == "needs_attention" {
                scene.api.act(id, "retry").await;
            }
            (!view["closed_at"].is_null()).then_some(view)
        })
        .await;
        done += usize::from(status_of(&view) == "completed");
    }
    poll("the queue is empty", PATIENCE, || async {
        (scene.rows.number("SELECT COUNT(*) FROM steps WHERE q IS NOT NULL").await == 0).then_some(())
    })
    .await;
    println!("NOTE {} withdrawn in time, {done} completed, of {PEOPLE}", spared.len());
    let journal = scene.journal().await;
    let lost = crate::checker::lost(&scene, &ids).await;
    println!("TALLY accepted={} lost={lost} duplicates={}", ids.len(), duplicates(&journal));
    assert_eq!((lost, duplicates(&journal)), (0, 0));
    assert!(spared.len() >= 3, "hardly anybody was withdrawn in time, so this shows little");
    for (nth, id) in ids.iter().enumerate() {
        let happened = wanted[nth].iter().filter(|entry| journal.contains(&format!("sqlite {entry}"))).count();
        let status = status_of(&scene.api.get(id).await).to_owned();
        if spared.contains(&nth) {
            assert_eq!((status.as_str(), happened), ("withdrawn", 0), "{id} was withdrawn before anything had begun");
        } else if status == "completed" {
            assert_eq!(happened, wanted[nth].len(), "{id} is completed, and not everything has happened");
        } else {
            // What had begun ends, whole or not at all.
            assert!(happened == 0 || happened == wanted[nth].len(), "half of {id} has happened");
        }
    }
    scene.verify("audit.ndjson", &scene.api.audit().await, &[]).await;
    Ended::Well
}

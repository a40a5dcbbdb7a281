//! The kill matrix: for each named point of the code, the process dies exactly there, is started again, and everything ends.

use super::scene::{Case, Right, Rows, Scene};
use crate::support::{Backend, Builder, Kind, Roles, TestApp, poll};
use redress_testkit::{Postgres, Redis};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

/// SIGABRT, by which a crash point ends its process.
pub(super) const ABORTED: i32 = 6;
/// So many cells at once, over all tests of this file: each mostly waits for a lease to run out.
static CELLS_AT_ONCE: Semaphore = Semaphore::const_new(12);

/// What is asked for in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    /// Two deletions, an access and a correction, all told.
    Mixed,
    /// The same, untold, and the systems are paused until all are there: each batch has several steps.
    Batched,
    /// One deletion.
    Deletion,
    /// One correction.
    Correction,
    /// An access whose package has several chunks.
    Large,
    /// Four that nobody works on have missed their dates, which is told.
    Watched,
    /// The batched ones, whose time to be advanced has come.
    Woken,
    /// The mixed ones end, and the time after which their personal data are destroyed is over.
    Purged,
    /// Two deletions that wait, and a legal hold on the first of them.
    Held,
}

/// One death: the point, the requests, the systems.
pub(super) type Cell = (&'static str, Mix, &'static [Kind]);

/// How a process ends, or does not, at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "tests/chaos uses it")]
pub(super) enum Manner {
    /// It dies at once, and is started again.
    Abort,
    /// `kill -9`, and it is started again.
    Kill,
    /// SIGTERM arrives there; it ends in order, and is started again.
    Term,
    /// SIGSTOP for fifteen seconds, which is longer than a lease, and SIGCONT.
    Stop,
}

const FILES: &[Kind] = &[Kind::Sqlite, Kind::Maildir];
const MAIL: &[Kind] = &[Kind::Sqlite, Kind::Imap];

/// Deaths in the store and in the jobs.
pub(super) const ENGINE: &[Cell] = &[
    ("submit.before_commit", Mix::Mixed, FILES),
    ("submit.before_commit:3", Mix::Mixed, FILES),
    ("submit.after_commit", Mix::Mixed, FILES),
    ("submit.after_commit:4", Mix::Mixed, FILES),
    ("advance.before_commit", Mix::Woken, FILES),
    ("advance.after_commit", Mix::Woken, FILES),
    ("queue.before_claim_commit", Mix::Mixed, FILES),
    ("queue.before_claim_commit:4", Mix::Mixed, FILES),
    ("queue.after_claim", Mix::Mixed, FILES),
    ("queue.after_claim:2", Mix::Mixed, FILES),
    ("queue.after_claim:5", Mix::Mixed, FILES),
    ("step.before_call", Mix::Mixed, FILES),
    ("step.before_call:4", Mix::Mixed, FILES),
    ("queue.before_intend_commit", Mix::Mixed, FILES),
    ("queue.before_intend_commit:2", Mix::Batched, FILES),
    ("queue.after_intend", Mix::Mixed, FILES),
    ("queue.after_intend:2", Mix::Batched, FILES),
    ("step.after_call", Mix::Mixed, FILES),
    ("step.after_call:3", Mix::Mixed, FILES),
    ("step.after_artifacts", Mix::Mixed, FILES),
    ("step.after_artifacts", Mix::Large, FILES),
    ("step.after_flush", Mix::Mixed, FILES),
    ("step.after_flush:2", Mix::Large, FILES),
    ("step.after_verify", Mix::Mixed, FILES),
    ("step.after_verify:2", Mix::Mixed, FILES),
    ("queue.before_finish", Mix::Mixed, FILES),
    ("queue.before_finish:5", Mix::Mixed, FILES),
    ("queue.between_finishes", Mix::Batched, FILES),
    ("queue.between_finishes:3", Mix::Batched, FILES),
    ("queue.before_events", Mix::Mixed, FILES),
    ("queue.before_events:4", Mix::Batched, FILES),
    ("queue.before_finish_commit", Mix::Mixed, FILES),
    ("queue.before_finish_commit:6", Mix::Mixed, FILES),
    ("queue.after_finish", Mix::Mixed, FILES),
    ("queue.after_finish:6", Mix::Mixed, FILES),
    ("answer.between_chunks", Mix::Large, FILES),
    ("answer.between_chunks:2", Mix::Large, FILES),
    ("answer.made", Mix::Mixed, FILES),
    ("answer.made:3", Mix::Mixed, FILES),
    ("answer.before", Mix::Mixed, FILES),
    ("answer.before:2", Mix::Large, FILES),
    ("answer.between_writes", Mix::Mixed, FILES),
    ("answer.between_writes:2", Mix::Large, FILES),
    ("answer.before_commit", Mix::Mixed, FILES),
    ("answer.before_commit:2", Mix::Large, FILES),
    ("answer.after_commit", Mix::Mixed, FILES),
    ("answer.after_commit:2", Mix::Large, FILES),
    ("notify.before_send", Mix::Mixed, FILES),
    ("notify.before_send:5", Mix::Mixed, FILES),
    ("notify.after_send", Mix::Mixed, FILES),
    ("notify.after_send:3", Mix::Mixed, FILES),
    ("watch.before_commit", Mix::Watched, FILES),
    ("watch.after_commit", Mix::Watched, FILES),
    ("message.before_send", Mix::Watched, FILES),
    ("message.before_send:2", Mix::Watched, FILES),
    ("message.after_send", Mix::Watched, FILES),
    ("message.after_send:2", Mix::Watched, FILES),
    ("purge.before_commit", Mix::Purged, FILES),
    ("purge.before_commit:3", Mix::Purged, FILES),
    ("hold.before_set", Mix::Held, FILES),
    ("hold.after_set", Mix::Held, FILES),
    ("hold.before_commit", Mix::Held, FILES),
    ("hold.between", Mix::Held, FILES),
    ("hold.before_carried", Mix::Held, FILES),
    ("hold.after_release", Mix::Held, FILES),
];

/// Deaths in the connectors.
pub(super) const CONNECTORS: &[Cell] = &[
    ("sql.before_effect", Mix::Deletion, &[Kind::Sqlite]),
    ("sql.before_commit", Mix::Deletion, &[Kind::Sqlite]),
    ("sql.after_commit", Mix::Deletion, &[Kind::Sqlite]),
    ("sql.before_effect", Mix::Correction, &[Kind::Sqlite]),
    ("sql.before_commit", Mix::Correction, &[Kind::Sqlite]),
    ("sql.after_commit", Mix::Correction, &[Kind::Sqlite]),
    ("sql.before_commit:2", Mix::Batched, &[Kind::Sqlite]),
    ("sql.after_commit:2", Mix::Batched, &[Kind::Sqlite]),
    ("maildir.before_effect", Mix::Mixed, FILES),
    ("maildir.after_effect", Mix::Mixed, FILES),
    ("maildir.after_effect", Mix::Batched, FILES),
    ("maildir.before_effect:2", Mix::Batched, FILES),
    ("imap.before_effect", Mix::Mixed, MAIL),
    ("imap.after_effect", Mix::Mixed, MAIL),
    ("imap.after_effect:2", Mix::Batched, MAIL),
];

/// Deaths in the transactions of the other two databases.
const SERVERS: &[Cell] = &[
    ("sql.before_effect", Mix::Mixed, &[Kind::Postgres]),
    ("sql.before_commit", Mix::Deletion, &[Kind::Postgres]),
    ("sql.after_commit", Mix::Deletion, &[Kind::Postgres]),
    ("sql.before_commit", Mix::Correction, &[Kind::Postgres]),
    ("sql.after_commit", Mix::Correction, &[Kind::Postgres]),
    ("sql.after_commit:2", Mix::Batched, &[Kind::Postgres]),
    ("sql.before_effect", Mix::Mixed, &[Kind::Mysql]),
    ("sql.before_commit", Mix::Deletion, &[Kind::Mysql]),
    ("sql.after_commit", Mix::Deletion, &[Kind::Mysql]),
    ("sql.before_commit", Mix::Correction, &[Kind::Mysql]),
    ("sql.after_commit", Mix::Correction, &[Kind::Mysql]),
    ("sql.after_commit:2", Mix::Batched, &[Kind::Mysql]),
];

/// Deaths of one role while the other one lives.
const FLEET: &[Cell] = &[
    ("submit.before_commit", Mix::Mixed, FILES),
    ("submit.after_commit", Mix::Mixed, FILES),
    ("advance.before_commit", Mix::Woken, FILES),
    ("queue.after_intend", Mix::Mixed, FILES),
    ("maildir.after_effect", Mix::Mixed, FILES),
    ("queue.before_finish_commit:3", Mix::Mixed, FILES),
];

#[test]
fn every_crash_point_of_the_sources_is_in_the_matrix() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut points = BTreeSet::new();
    for folder in ["src", "jobs", "connectors"] {
        collect_points(&root.join(folder), &mut points);
    }
    let vendors = super::vendors::POINTS.iter().map(|(at, _)| (*at).to_owned());
    let tried = ENGINE.iter().chain(CONNECTORS).map(|(at, ..)| at.split(':').next().unwrap_or(at).to_owned());
    assert_eq!(tried.chain(vendors).collect::<BTreeSet<_>>(), points);
    assert!(points.len() > 25, "{points:?}");
}

fn collect_points(folder: &Path, points: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_points(&path, points);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source is text");
            let calls = text.split("crash_point(\"").skip(1).filter_map(|rest| rest.split('"').next());
            points.extend(calls.map(str::to_owned));
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn a_death_anywhere_in_the_engine_loses_nothing_and_repeats_nothing_on_sqlite() {
    run(ENGINE, None).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn a_death_anywhere_in_the_engine_loses_nothing_and_repeats_nothing_on_postgres_and_redis() {
    run(ENGINE, Some(Servers::start().await)).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn a_death_between_an_effect_and_its_record_repeats_nothing_on_sqlite() {
    run(CONNECTORS, None).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn a_death_between_an_effect_and_its_record_repeats_nothing_on_postgres_and_redis() {
    run(CONNECTORS, Some(Servers::start().await)).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn a_death_around_a_commit_in_a_controllers_postgres_or_mysql_repeats_nothing() {
    run(SERVERS, None).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn one_role_of_a_fleet_dies_and_the_others_need_no_restart() {
    all_at_once(FLEET, async |_, cell| {
        let app = quick().backend(Backend::PostgresRedis).roles(Roles::Fleet(1)).installed().await;
        let url = app.postgres().url("redress");
        die_and_recover(app, Rows::Postgres { url }, cell, Manner::Abort).await;
    })
    .await;
}

/// The servers that the cells of one test share; each cell has a database of its own.
struct Servers {
    postgres: Postgres,
    redis: Redis,
}

impl Servers {
    async fn start() -> Self {
        let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
        Self { postgres, redis }
    }
}

async fn run(cells: &'static [Cell], servers: Option<Servers>) {
    let servers = Rc::new(servers);
    all_at_once(cells, async move |nth, cell| {
        let (app, rows) = installed(nth, servers.as_ref().as_ref()).await;
        die_and_recover(app, rows, cell, Manner::Abort).await;
    })
    .await;
}

/// Runs all cells to their end, and then says how many failed.
async fn all_at_once<F>(cells: &'static [Cell], one: F)
where
    F: AsyncFn(usize, Cell) + 'static,
{
    let one = Rc::new(one);
    let mut running = JoinSet::new();
    let here = LocalSet::new();
    for (nth, cell) in cells.iter().enumerate() {
        let one = one.clone();
        let task = async move {
            let _turn = CELLS_AT_ONCE.acquire().await.expect("it is never closed");
            one(nth, *cell).await;
        };
        running.spawn_local_on(task, &here);
    }
    let ended = here.run_until(async move {
        let mut failed = 0;
        while let Some(ended) = running.join_next().await {
            failed += usize::from(ended.is_err());
        }
        failed
    });
    assert_eq!(ended.await, 0, "cells failed: see the panics above");
}

pub(super) fn quick() -> Builder {
    TestApp::builder().quick_leases().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1")
}

async fn installed(nth: usize, servers: Option<&Servers>) -> (TestApp, Rows) {
    let Some(servers) = servers else {
        let app = quick().installed().await;
        let rows = Rows::of(&app, None);
        return (app, rows);
    };
    let database = format!("cell_{nth}");
    let url = servers.postgres.database(&database).await;
    let builder = quick().env("REDRESS_DATABASE_URL", url).env("REDRESS_REDIS_URL", servers.redis.url());
    let app = builder.env("REDRESS_DATABASE__MAX_CONNECTIONS", "6").installed().await;
    app.cli(&["migrate"]).await.ok();
    let rows = Rows::of(&app, Some((&servers.postgres, &database)));
    (app, rows)
}

pub(super) async fn die_and_recover(app: TestApp, rows: Rows, cell: Cell, manner: Manner) {
    let (at, mix, kinds) = cell;
    let waits = matches!(mix, Mix::Batched | Mix::Watched | Mix::Woken | Mix::Held);
    let case = |right, local| {
        let case = Case::new(right, local);
        if waits { case.untold() } else { case }
    };
    let cases = match mix {
        Mix::Mixed | Mix::Batched | Mix::Watched | Mix::Woken | Mix::Purged => vec![
            case(Right::Deletion, "ann"),
            case(Right::Access, "bob"),
            case(Right::Correction, "carol"),
            case(Right::Deletion, "dora"),
        ],
        Mix::Held => vec![case(Right::Deletion, "ann"), case(Right::Deletion, "dora")],
        Mix::Deletion => vec![case(Right::Deletion, "ann")],
        Mix::Correction => vec![case(Right::Correction, "carol")],
        Mix::Large => vec![case(Right::Access, "bob").large(), case(Right::Deletion, "ann")],
    };
    let hold = |toml: &str| {
        if waits { toml.replace("\nallow =", "\npaused = true\nallow =") } else { toml.to_owned() }
    };
    let scene = Scene::set_with(app, rows, kinds, cases, hold).await;
    // A signal may hit more than one death explains: a process that is stopped loses all its leases.
    let scene = if manner == Manner::Abort { scene } else { scene.rough() };
    let app = &scene.app;
    match manner {
        Manner::Abort => {}
        Manner::Kill => app.set_env("REDRESS_CRASH_BY", "KILL"),
        Manner::Term => app.set_env("REDRESS_CRASH_BY", "TERM"),
        Manner::Stop => app.set_env("REDRESS_CRASH_BY", "STOP"),
    }
    match mix {
        Mix::Purged => return purge_dies(&scene, at, manner).await,
        Mix::Watched => return super::watched::dies(&scene, at, manner).await,
        Mix::Woken => return woken_dies(&scene, at, manner).await,
        Mix::Held => return super::holding::dies(&scene, at, manner).await,
        _ => {}
    }
    app.set_env("REDRESS_CRASH_AT", at);
    app.start().await;
    let submitting = async {
        let ids = scene.submit_all(Duration::ZERO).await;
        if mix == Mix::Batched {
            app.apply(&scene.systems.toml("acme").replace("\nallow =", "\npaused = false\nallow =")).await;
        }
        ids
    };
    let (ids, ()) = tokio::join!(submitting, async {
        end_at(&scene, cell.0, manner).await;
        scene.app.start().await;
    });
    scene.judge(&ids).await;
    assert!(app.is_running(), "{at}: it died once more\n{}", app.logs());
}

/// Waits until a process has ended, or was stopped for a while, at this point. What ended is not started again yet.
pub(super) async fn end_at(scene: &Scene, at: &str, manner: Manner) {
    let app = &scene.app;
    if manner == Manner::Stop {
        // What is started from now on, which is nothing, would not stop; what runs stops once.
        let stopped = poll(&format!("a process stops at {at}"), Duration::from_secs(40), || async {
            (0..app.processes()).filter_map(|nth| app.pid(nth)).find(|pid| is_stopped(*pid))
        })
        .await;
        tokio::time::sleep(PAST_THE_LEASE).await;
        // Another one may have come to the same point meanwhile.
        for pid in (0..app.processes()).filter_map(|nth| app.pid(nth)).filter(|pid| is_stopped(*pid)) {
            send("CONT", pid);
        }
        assert!(!is_stopped(stopped), "{at}: process {stopped} does not go on");
    } else {
        let (nth, status) = app.wait_for_death(Duration::from_secs(45)).await;
        match manner {
            Manner::Kill => assert_eq!(status.signal(), Some(9), "{at}: process {nth} ended with {status}"),
            Manner::Term => assert!(status.success(), "{at}: process {nth} ended with {status}\n{}", app.logs()),
            _ => assert_eq!(status.signal(), Some(ABORTED), "{at}: process {nth} ended with {status}"),
        }
    }
    app.unset_env("REDRESS_CRASH_AT");
    app.unset_env("REDRESS_CRASH_BY");
}

/// Longer than a lease, even one of the default length.
const PAST_THE_LEASE: Duration = Duration::from_secs(15);

/// Sends a signal to a process of ours.
pub(super) fn send(signal: &str, pid: u32) {
    let sent = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", signal, &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "process {pid} takes no {signal}");
}

/// Whether SIGSTOP has taken effect on a process.
pub(super) fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// What is accepted needs no advance; these are woken all the same, and the process dies over them before their work began.
async fn woken_dies(scene: &Scene, at: &str, manner: Manner) {
    let app = &scene.app;
    app.start().await;
    let ids = scene.submit_all(Duration::ZERO).await;
    app.kill9();
    scene.rows.query("UPDATE dsrs SET wake_at = 1 RETURNING id").await;
    app.set_env("REDRESS_CRASH_AT", at);
    app.start_unready();
    end_at(scene, at, manner).await;
    app.start().await;
    app.apply(&scene.systems.toml("acme").replace("\nallow =", "\npaused = false\nallow =")).await;
    scene.judge(&ids).await;
    assert!(app.is_running(), "{at}: it died once more\n{}", app.logs());
}

/// Everything ends; then the day of the purge has come, and the purge dies in the middle.
async fn purge_dies(scene: &Scene, at: &str, manner: Manner) {
    let app = &scene.app;
    app.start().await;
    let ids = scene.submit_all(Duration::ZERO).await;
    scene.judge(&ids).await;
    app.kill9();
    scene.rows.query("UPDATE dsrs SET purge_at = 1 RETURNING id").await;
    app.set_env("REDRESS_CRASH_AT", at);
    app.start_unready();
    end_at(scene, at, manner).await;
    app.start().await;
    poll("every request is purged", Duration::from_secs(20), || async {
        let left = scene.rows.number("SELECT COUNT(*) FROM dsrs WHERE purged_at IS NULL").await;
        (left == 0).then_some(())
    })
    .await;
    for sql in [
        "SELECT COUNT(*) FROM dsrs WHERE wrapped_key IS NOT NULL OR sealed IS NOT NULL",
        "SELECT COUNT(*) FROM steps WHERE receipt IS NOT NULL OR q IS NOT NULL",
        "SELECT COUNT(*) FROM package_chunks",
        "SELECT COUNT(*) FROM artifacts",
        "SELECT COUNT(*) FROM idempotency",
    ] {
        assert_eq!(scene.rows.number(sql).await, 0, "{sql}");
    }
    let key = scene.api.signing_key().await;
    for id in &ids {
        let events = scene.api.events(id).await;
        assert_eq!(events.iter().filter(|event| event["kind"] == "purged").count(), 1, "{events:#?}");
        scene.verify(&format!("{id}.json"), &scene.api.certificate(id).await, &["--key", &key]).await;
        assert!(scene.api.read(&format!("/v1/requests/{id}/package")).await.status >= 400);
    }
    scene.verify("audit.ndjson", &scene.api.audit().await, &[]).await;
}

//! Nothing goes wrong here, or only in the connected systems: what is seen at rest must be right to the last count.

use crate::cells::{Cell, Ended};
use crate::load::{cases, fleet, patient, quick, rows};
use crate::matrix::send;
use crate::scene::{Case, Right, Scene};
use crate::support::{Backend, Kind, PATIENCE, Person, poll, status_of};
use crate::workers::Locked;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn cells() -> Vec<Cell> {
    vec![
        Cell::new("calm/sqlite", || calm(Backend::Sqlite)).in_slice(),
        Cell::new("calm/fleet", || calm(Backend::PostgresRedis)).in_slice(),
        Cell::new("calm/a-system-that-is-slower-than-a-lease", slow_system).in_slice(),
        Cell::new("calm/two-controllers-with-the-same-people", two_controllers).in_slice(),
        Cell::new("calm/what-is-deleted-comes-back", comes_back).in_slice(),
        Cell::new("worker/poisoned", poisoned),
        Cell::new("worker/stopped-in-front-of-a-locked-system", stopped_before_the_effect).in_slice(),
        Cell::new("worker/sigterm-in-front-of-a-locked-system", ended_before_the_effect).in_slice(),
        Cell::new("people/withdrawn-while-a-worker-waits", withdrawn_while_waiting).in_slice(),
    ]
}

/// Much at once, and nobody loses a lease.
async fn calm(backend: Backend) -> Ended {
    let app = match backend {
        Backend::Sqlite => patient().start().await,
        Backend::PostgresRedis => fleet(patient(), 3).start().await,
    };
    let rows = rows(&app, backend);
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases(48)).await;
    let ids = scene.submit_all(Duration::ZERO).await;
    crate::checker::judge(&scene, &ids).await;
    nobody_died(&scene).await;
    Ended::Well
}

/// No lease was lost, and nothing was done twice.
async fn nobody_died(scene: &Scene) {
    no_lease_lost(scene);
    let again = "SELECT COUNT(*) FROM steps WHERE system_id IS NOT NULL AND attempts > 1 AND failures = 0";
    assert_eq!(scene.rows.number(again).await, 0, "nothing failed, and something was tried again");
}

/// Nobody wrote of a lease that ran out. The column that counts them is set back by each success.
pub(crate) fn no_lease_lost(scene: &Scene) {
    let logs = scene.app.logs();
    let words = ["lease was lost", " ran out\"", "may not act"];
    let line = logs.lines().find(|line| words.iter().any(|word| line.contains(word)));
    assert!(line.is_none(), "somebody lost a lease: {line:?}");
}

/// Work that takes three times as long as a lease is one piece of work.
async fn slow_system() -> Ended {
    let app = fleet(quick(), 2).start().await;
    let rows = rows(&app, Backend::PostgresRedis);
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases(4)).await.rough();
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let release = async {
        tokio::time::sleep(9 * SECOND).await;
        lock.release().await;
    };
    let (ids, ()) = tokio::join!(scene.submit_all(Duration::ZERO), release);
    crate::checker::judge(&scene, &ids).await;
    no_lease_lost(&scene);
    Ended::Well
}

/// What one controller asks for concerns nothing of the other one, who cannot even see it.
async fn two_controllers() -> Ended {
    let app = quick().start().await;
    let rows = rows(&app, Backend::Sqlite);
    let cases: Vec<Case> = ["ann", "bob"].map(|name| Case::new(Right::Deletion, name)).into();
    let people: Vec<Person> = cases.iter().map(|case| case.person.clone()).collect();
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases).await;
    let others = crate::support::Systems::of(&[Kind::Sqlite]).await;
    others.fill(&people).await;
    let before = others.snapshot().await;
    let other = scene.app.controller(&others.toml("globex")).await;
    let ids = scene.submit_all(Duration::ZERO).await;
    crate::checker::judge(&scene, &ids).await;
    assert_eq!(others.snapshot().await, before, "another controller's records were touched");
    for id in &ids {
        for path in ["", "/events", "/certificate"] {
            let answer = other.read(&format!("/v1/requests/{id}{path}")).await;
            assert_eq!(answer.status, 404, "another controller sees {id}{path}: {}", answer.text());
        }
        assert_eq!(other.act(id, "withdraw").await.status, 404);
    }
    Ended::Well
}

/// A system that puts back what is deleted: the second read finds it, and nobody is told that it is done.
async fn comes_back() -> Ended {
    let app = quick().start().await;
    let rows = rows(&app, Backend::Sqlite);
    let cases = vec![Case::new(Right::Deletion, "ann")];
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases).await;
    let script = "CREATE TABLE later (id INTEGER, email TEXT, subject TEXT, owner TEXT);
        CREATE TRIGGER tickets_later AFTER DELETE ON tickets BEGIN INSERT INTO later VALUES (OLD.id + 50000, OLD.email, OLD.subject, OLD.owner); END;
        CREATE TRIGGER customers_back AFTER DELETE ON customers BEGIN
          INSERT INTO tickets VALUES (abs(random() % 1000000) + 100000, lower(OLD.email), 'restored', OLD.owner); END;";
    scene.systems.sql(Kind::Sqlite, script).await;
    // A second customer of the same person keeps the trigger busy when the deletion is tried again.
    let more = "CREATE TRIGGER tickets_back AFTER DELETE ON tickets WHEN OLD.subject = 'restored' BEGIN
          INSERT INTO tickets VALUES (abs(random() % 1000000) + 100000, OLD.email, 'restored', OLD.owner); END;";
    scene.systems.sql(Kind::Sqlite, more).await;
    let id = scene.submit(0).await;
    let view = scene.api.settled(&id).await;
    let left = scene.systems.census(&scene.cases[0].person.email).await;
    assert!(left > 0, "the system puts back what is deleted");
    assert_eq!(status_of(&view), "needs_attention", "{left} record(s) are there: {view:#}");
    assert!(view["attention"].as_str().is_some_and(|why| why.contains("residue")), "{view:#}");
    println!("TALLY accepted=1 lost=0 duplicates=0");
    Ended::Well
}

/// A step that kills every worker that takes it is left to a person after the third.
async fn poisoned() -> Ended {
    let app = quick().installed().await;
    let rows = rows(&app, Backend::Sqlite);
    let cases = vec![Case::new(Right::Deletion, "ann").untold()];
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases).await.rough();
    scene.app.set_env("REDRESS_CRASH_AT", "maildir.before_effect");
    scene.app.start().await;
    let id = scene.submit(0).await;
    for _ in 0..3 {
        scene.app.wait_for_death(30 * SECOND).await;
        scene.app.start_unready();
    }
    let view = scene.api.until(&id, |status| status == "needs_attention", 30 * SECOND).await;
    assert!(view["attention"].as_str().is_some_and(|why| why.contains("quarantined")), "{view:#}");
    tokio::time::sleep(5 * SECOND).await;
    assert!(scene.app.is_running(), "a fourth worker died");
    scene.app.unset_env("REDRESS_CRASH_AT");
    scene.app.restart().await;
    crate::checker::judge(&scene, &[id]).await;
    Ended::Well
}

/// The number of the process that has the lease of a step of the database, other than this one.
async fn holder(scene: &Scene, other_than: u32) -> u32 {
    poll("a worker is at a step", 30 * SECOND, || async {
        let sql = "SELECT owner FROM steps WHERE q = 'run' AND system_id IS NOT NULL";
        let owners = scene.rows.query(sql).await.concat();
        let pids = owners.iter().filter_map(|owner| owner.split('-').next()?.parse::<u32>().ok());
        pids.filter(|pid| *pid != other_than).find(|pid| (0..3).any(|nth| scene.app.pid(nth) == Some(*pid)))
    })
    .await
}

/// Stops a process while it has no file locked: a lock would be kept for as long.
async fn freeze(pid: u32) {
    for _ in 0..300 {
        send("STOP", pid);
        poll("it is stopped", 10 * SECOND, || async { crate::matrix::is_stopped(pid).then_some(()) }).await;
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let ours = pid.to_string();
        if !locks.lines().any(|line| line.contains("POSIX") && line.split_whitespace().nth(4) == Some(&ours)) {
            return;
        }
        send("CONT", pid);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    panic!("process {pid} always has a file locked");
}

/// A worker sleeps in front of a locked system until another one has done its work; then it wakes up and goes on.
async fn stopped_before_the_effect() -> Ended {
    let app = fleet(quick(), 2).start().await;
    app.allow_errors();
    let rows = rows(&app, Backend::PostgresRedis);
    let cases = vec![Case::new(Right::Deletion, "ann"), Case::new(Right::Correction, "carol")];
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases).await.rough();
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let mut ids = vec![scene.submit(0).await];
    let sleeper = holder(&scene, 0).await;
    freeze(sleeper).await;
    holder(&scene, sleeper).await;
    lock.release().await;
    ids.push(scene.submit(1).await);
    for id in &ids {
        scene.api.closed(id).await;
    }
    let state = "SELECT state, CAST(token AS TEXT), CAST(found AS TEXT), CAST(acted_at AS TEXT) FROM steps WHERE system_id IS NOT NULL ORDER BY id";
    let settled = scene.rows.query(state).await;
    send("CONT", sleeper);
    poll("the sleeper sees that it came too late", 30 * SECOND, || async {
        let logs = scene.app.logs();
        (logs.contains("lease was lost") || logs.contains("may not act")).then_some(())
    })
    .await;
    assert_eq!(scene.rows.query(state).await, settled, "who lost a lease wrote nevertheless");
    crate::checker::judge(&scene, &ids).await;
    assert!(scene.app.is_running());
    Ended::Well
}

/// A worker is asked to end while it waits for a locked system: what it has is somebody else's long before a lease ends.
async fn ended_before_the_effect() -> Ended {
    let builder = patient()
        .env("REDRESS_WORKER__LEASE_SECONDS", "120")
        .env("REDRESS_WORKER__RENEW_SECONDS", "10")
        .env("REDRESS_WORKER__SHUTDOWN_GRACE_SECONDS", "2");
    let app = fleet(builder, 2).start().await;
    app.allow_errors();
    let rows = rows(&app, Backend::PostgresRedis);
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases(3)).await.rough();
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let ids = scene.submit_all(Duration::ZERO).await;
    let first = holder(&scene, 0).await;
    let nth = (1..3).find(|nth| scene.app.pid(*nth) == Some(first)).expect("it is a worker");
    let asked = Instant::now();
    let status = scene.app.sigterm_one(nth).await.expect("it ran");
    assert!(status.success() && asked.elapsed() < 30 * SECOND, "{status} after {:?}", asked.elapsed());
    let left = format!("SELECT COUNT(*) FROM steps WHERE q = 'run' AND owner LIKE '{first}-%'");
    assert_eq!(scene.rows.number(&left).await, 0, "a lease was left behind");
    lock.release().await;
    scene.app.start().await;
    crate::checker::judge(&scene, &ids).await;
    no_lease_lost(&scene);
    Ended::Well
}

/// A request is withdrawn while a worker has its step and waits for a locked system: nothing happens when the lock is gone.
async fn withdrawn_while_waiting() -> Ended {
    let app = quick().start().await;
    app.allow_errors();
    let rows = rows(&app, Backend::Sqlite);
    let cases = vec![Case::new(Right::Deletion, "ann"), Case::new(Right::Deletion, "bob")];
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases).await.rough();
    let lock = Locked::lock(&scene.systems.sqlite_file()).await;
    let id = scene.submit(0).await;
    holder(&scene, 0).await;
    scene.api.act(&id, "withdraw").await.expect(200);
    let announced = format!("SELECT COUNT(*) FROM steps WHERE dsr_id = '{id}' AND receipt IS NOT NULL");
    assert_eq!(scene.rows.number(&announced).await, 0, "nothing can be announced while the system is locked");
    lock.release().await;
    let other = scene.submit(1).await;
    let view = scene.api.closed(&other).await;
    assert_eq!(status_of(&view), "completed", "{view:#}");
    poll("the queue is empty", PATIENCE, || async {
        (scene.rows.number("SELECT COUNT(*) FROM steps WHERE q IS NOT NULL").await == 0).then_some(())
    })
    .await;
    let (ann, bob) = (&scene.cases[0].person, &scene.cases[1].person);
    assert!(scene.systems.census(&ann.email).await > 0, "a withdrawn request had an effect");
    assert_eq!(scene.systems.census(&bob.email).await, 0);
    assert_eq!(status_of(&scene.api.get(&id).await), "withdrawn");
    println!("TALLY accepted=2 lost=0 duplicates={}", crate::checker::duplicates(&scene.journal().await));
    Ended::Well
}

//! A fleet from outside: paused and drained by its operator, ended whatever hangs, and ended by itself when it stands still.

use crate::support::{Backend, Builder, Kind, Person, Roles, Systems, TestApp, poll};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use std::path::Path;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

fn builder() -> Builder {
    TestApp::builder().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1")
}

/// Locks a file of SQLite against everybody else.
async fn lock_file(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(20));
    let mut connection = options.connect().await.expect("the file opens");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("we get the lock");
    connection
}

async fn unlock(mut connection: SqliteConnection) {
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.expect("we had the lock");
    connection.close().await.expect("nothing is open");
}

/// Lets nobody else near the queue, while the database answers everything else.
async fn lock_queue(app: &TestApp) -> PgConnection {
    let options = PgConnectOptions::from_str(&app.postgres().url("redress")).expect("a URL");
    let mut connection = options.connect().await.expect("the server is up");
    sqlx::raw_sql("BEGIN; LOCK TABLE steps IN ACCESS EXCLUSIVE MODE").execute(&mut connection).await.expect("locked");
    connection
}

#[tokio::test]
async fn a_fleet_is_paused_drained_and_resumed_by_its_operator() {
    let app = builder().backend(Backend::PostgresRedis).roles(Roles::Fleet(2)).start().await;
    let systems = Systems::of(&[Kind::Sqlite]).await;
    let people: Vec<Person> = ["ann", "bob", "carol"].into_iter().map(Person::new).collect();
    systems.fill(&people).await;
    let api = app.controller(&systems.toml("acme")).await;
    let said = app.cli(&["pause", "--controller", "acme"]).await;
    assert!(said.ok().contains("controller acme is paused: nothing new is begun"), "{said:#?}");
    let first = api.submitted(&people[0].deletion()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let view = api.get(&first).await;
    assert_eq!(
        (&view["steps"][0]["status"], &view["steps"][0]["error"]["code"]),
        (&"waiting".into(), &"paused".into()),
        "{view:#}"
    );
    assert!(app.cli(&["systems"]).await.ok().contains("controller acme is paused"));
    app.cli(&["pause"]).await.ok();
    let said = app.cli(&["resume", "--controller", "acme"]).await;
    assert!(said.ok().contains("still paused: everything"), "{said:#?}");
    assert_eq!(api.get(&first).await["steps"][0]["error"]["code"], "paused");

    // What runs holds up the drain, and only that.
    let lock = lock_file(&systems.sqlite_file()).await;
    app.cli(&["resume"]).await.ok();
    poll("a worker is at it", Duration::from_secs(20), || async {
        (app.postgres().query("redress", "SELECT COUNT(*) FROM steps WHERE q = 'run'").await.trim() != "0")
            .then_some(())
    })
    .await;
    let waits = app.cli(&["drain", "--timeout", "1"]).await;
    assert!(waits.refused(1).contains("erase in acme/"), "{waits:#?}");
    let second = api.submitted(&people[1].deletion()).await;
    unlock(lock).await;
    let drained = app.cli(&["drain", "--timeout", "60"]).await;
    assert!(drained.ok().contains("drained: nothing of everything is under way"), "{drained:#?}");
    assert_eq!(api.get(&second).await["steps"][0]["error"]["code"], "paused");
    app.cli(&["resume"]).await.ok();
    for id in [&first, &second] {
        api.closed(id).await;
    }
    assert_eq!(systems.census(&people[0].email).await + systems.census(&people[1].email).await, 0);
}

#[tokio::test]
async fn a_process_ends_in_its_time_although_the_database_is_locked() {
    let app = builder().env("REDRESS_WORKER__SHUTDOWN_GRACE_SECONDS", "1").start().await;
    let lock = lock_file(&app.folder().join("data/redress.db")).await;
    // Its own parts wait for the lock.
    tokio::time::sleep(Duration::from_secs(2)).await;
    app.allow_errors();
    let asked = Instant::now();
    let status = app.sigterm_one(0).await;
    let code = status.and_then(|status| status.code());
    assert!(matches!(code, Some(0 | 74)), "{status:?}\n{}", app.logs());
    assert!(asked.elapsed() < Duration::from_secs(12), "one second of grace took {:?}", asked.elapsed());
    unlock(lock).await;
}

#[tokio::test]
async fn a_worker_that_stands_still_is_not_ready_and_then_ends_for_its_supervisor() {
    let app = builder()
        .backend(Backend::PostgresRedis)
        .roles(Roles::Fleet(1))
        .env("REDRESS_WORKER__WATCHDOG_SECONDS", "5")
        .start()
        .await;
    app.allow_errors();
    let worker = app.base_of(1);
    let lock = lock_queue(&app).await;
    let reason = poll("it is not ready", Duration::from_mins(1), || async {
        let ready = reqwest::get(format!("{worker}/readyz")).await.ok()?;
        let status = ready.status();
        let text = ready.text().await.ok()?;
        (status == 503).then_some(text)
    })
    .await;
    assert!(reason.contains("the claimer has not looked for work for"), "{reason}");
    let (nth, status) = app.wait_for_death(Duration::from_mins(1)).await;
    assert_eq!((nth, status.code()), (1, Some(70)), "{}", app.logs());
    lock.close().await.expect("closed");
    app.restart().await;
    assert!(app.is_running());
}

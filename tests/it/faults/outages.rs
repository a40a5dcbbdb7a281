//! An outage of a store is sat out: no process ends, work goes on by itself, and what was accepted is done.

use super::scene::{Case, Right, Rows, Scene};
use crate::support::{Backend, Kind, Roles, TestApp, poll};
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;
use std::time::{Duration, Instant};

const OUTAGE: Duration = Duration::from_secs(5);

fn cases(count: usize) -> Vec<Case> {
    let rights = [Right::Deletion, Right::Access, Right::Correction];
    (0..count).map(|n| Case::new(rights[n % rights.len()], &format!("person{n}"))).collect()
}

#[tokio::test]
async fn work_goes_on_within_ten_seconds_when_postgres_was_away_and_no_process_ends() {
    let builder = TestApp::builder().backend(Backend::PostgresRedis).roles(Roles::Fleet(2)).quick_leases();
    let app = builder.env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").start().await;
    app.allow_errors();
    let rows = Rows::Postgres { url: app.postgres().url("redress") };
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases(30)).await.rough();
    let outage = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        scene.app.postgres().stop().await;
        tokio::time::sleep(OUTAGE).await;
        assert!(scene.app.is_running(), "a process did not survive the outage:\n{}", scene.app.logs());
        scene.app.postgres().start_again().await;
        let back = Instant::now();
        let acted = "SELECT COUNT(*) FROM steps WHERE acted_at IS NOT NULL";
        let before = scene.rows.number(acted).await;
        poll("work goes on", Duration::from_secs(10), || async {
            (scene.rows.number(acted).await > before).then_some(())
        })
        .await;
        println!("work went on {} ms after PostgreSQL was back", back.elapsed().as_millis());
    };
    let (ids, ()) = tokio::join!(scene.submit_all(Duration::from_millis(100)), outage);
    scene.judge(&ids).await;
    assert!(scene.app.is_running(), "a process did not survive the outage:\n{}", scene.app.logs());
}

/// Keeps others from writing for some time.
async fn lock_for(file: &Path, time: Duration) {
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(Duration::from_secs(20))
        .connect()
        .await
        .expect("the file opens");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("we get the lock");
    tokio::time::sleep(time).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.expect("we had the lock");
    connection.close().await.expect("nothing is open");
}

#[tokio::test]
async fn another_process_that_locks_our_sqlite_for_five_seconds_costs_only_time() {
    let app = TestApp::builder().quick_leases().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").start().await;
    let rows = Rows::of(&app, None);
    let database = app.folder().join("data").join("redress.db");
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases(24)).await.rough();
    let lock = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lock_for(&database, OUTAGE).await;
    };
    let (ids, ()) = tokio::join!(scene.submit_all(Duration::from_millis(80)), lock);
    scene.judge(&ids).await;
}

#[tokio::test]
async fn another_process_that_locks_the_controllers_sqlite_for_five_seconds_costs_only_time() {
    let app = TestApp::builder().quick_leases().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").start().await;
    let rows = Rows::of(&app, None);
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases(24)).await.rough();
    let shop = scene.systems.sqlite_file();
    let lock = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        lock_for(&shop, OUTAGE).await;
    };
    let (ids, ()) = tokio::join!(scene.submit_all(Duration::from_millis(60)), lock);
    scene.judge(&ids).await;
}

#[tokio::test]
async fn a_fleet_that_never_finds_its_redis_works_by_polling() {
    let builder = TestApp::builder().backend(Backend::PostgresRedis).roles(Roles::Fleet(2)).quick_leases();
    let app = builder.env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").installed().await;
    app.redis().stop().await;
    app.start().await;
    let rows = Rows::Postgres { url: app.postgres().url("redress") };
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases(9)).await;
    let begun = Instant::now();
    let ids = scene.submit_all(Duration::ZERO).await;
    for id in &ids {
        scene.api.closed(id).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{} s by polling", begun.elapsed().as_secs());
    scene.judge(&ids).await;
    assert!(scene.app.is_running(), "a process ended:\n{}", scene.app.logs());
}

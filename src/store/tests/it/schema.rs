//! The schema is applied once, whoever asks and however often, and a database of another version is refused.

use crate::lab::{Lab, MASTER};
use redress_store::{Dialect, Error};

on_both!(
    migrating_again_applies_nothing,
    an_edited_migration_is_refused,
    a_newer_database_is_refused,
    a_database_without_all_migrations_says_what_to_run,
);

async fn migrating_again_applies_nothing(lab: Lab) {
    assert!(lab.store.migrate().await.expect("migrated").is_empty());
    lab.store.check_schema().await.expect("complete");
}

async fn an_edited_migration_is_refused(lab: Lab) {
    lab.sql("UPDATE schema_migrations SET checksum = 'edited' WHERE version = 1").await.expect("edited");
    for refused in [lab.store.migrate().await.map(drop), lab.store.check_schema().await] {
        let Err(Error::Schema(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("migration 1"), "{why}");
    }
}

async fn a_newer_database_is_refused(lab: Lab) {
    lab.sql("INSERT INTO schema_migrations VALUES (99, 'later', 'x', 0)").await.expect("inserted");
    for refused in [lab.store.migrate().await.map(drop), lab.store.check_schema().await] {
        let Err(Error::Schema(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("99") && why.contains("newer binary"), "{why}");
    }
}

async fn a_database_without_all_migrations_says_what_to_run(lab: Lab) {
    lab.sql("DELETE FROM schema_migrations WHERE version > 1").await.expect("deleted");
    let Err(Error::Schema(why)) = lab.store.check_schema().await else { panic!("taken") };
    assert!(why.contains("redress migrate"), "{why}");
    lab.sql("DROP TABLE schema_migrations").await.expect("dropped");
    let Err(Error::Schema(why)) = lab.store.check_schema().await else { panic!("taken") };
    assert!(why.contains("redress migrate"), "{why}");
}

async fn processes_that_start_at_once_apply_each_migration_once(dialect: Dialect) {
    let lab = Lab::bare(dialect).await;
    let starts = (0..6).map(|_| async {
        let store = lab.with_master(MASTER).await;
        store.migrate().await.expect("migrated")
    });
    let applied: Vec<&str> = futures::future::join_all(starts).await.concat();
    let wanted = lab.query("SELECT name FROM schema_migrations ORDER BY version").await;
    assert_eq!(applied, wanted);
    lab.store.check_schema().await.expect("complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_on_sqlite_apply_each_migration_once() {
    processes_that_start_at_once_apply_each_migration_once(Dialect::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_on_postgres_apply_each_migration_once() {
    processes_that_start_at_once_apply_each_migration_once(Dialect::Postgres).await;
}

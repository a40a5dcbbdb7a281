//! What the store promises, stated as facts, on SQLite and on a real PostgreSQL server.

/// Makes one test per fact and database.
macro_rules! on_both {
    ($($fact:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() { super::$fact(crate::lab::Lab::new(redress_store::Dialect::Sqlite).await).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() { super::$fact(crate::lab::Lab::new(redress_store::Dialect::Postgres).await).await; })+
        }
    };
}

mod answering;
mod audit;
mod auditing;
mod backlog;
mod breaking;
mod changing;
mod concurrency;
mod deciding;
mod desk;
mod evidence;
mod fairness;
mod fencing;
mod foreseeing;
mod holding;
mod instructing;
mod key_use;
mod lab;
mod listing;
mod lookout;
mod messaging;
mod pacing;
mod pausing;
mod purging;
mod queue;
mod random;
mod recording;
mod reports;
mod schema;
mod secrecy;
mod sixty_days;
mod staffing;
mod stages;
mod submitting;
mod telling;
mod tenants;
mod today;
mod volumes;
mod waiting;
mod watching;
mod watching_clocks;
mod webhooks;
mod yielding;

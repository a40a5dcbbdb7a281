//! A crowd is a great many open requests, made by the database from one real request: as many rows, of the same size.

use super::bare::Database;
use super::customers;
use super::service::{Caller, Service};
use anyhow::{Context as _, Result};
use redress_domain::{Clock as _, SystemClock};
use sqlx::{AssertSqlSafe, Row as _};
use std::fmt::Write as _;
use url::Url;

/// The controller whose requests they are.
pub(super) const CONTROLLER: &str = "crowd";

/// What a crowd is made from.
#[derive(Debug)]
pub(super) struct Crowd {
    template: String,
    /// How many there are.
    pub(super) size: u64,
    systems: usize,
    dsr_columns: Vec<String>,
    step_columns: Vec<String>,
}

impl Crowd {
    /// Provisions the controller with so many systems, and submits the one request that the others are made from.
    pub(super) async fn begin(service: &mut Service, database: &Database, systems: usize) -> Result<Self> {
        service.set("BENCH_PASSWORD", "nothing");
        let nowhere = Url::parse("postgres://nobody:nothing@127.0.0.1:1/nowhere")?;
        let file = customers::controller(CONTROLLER, &nowhere);
        let (head, system) = file.split_once("[[system]]").context("a system")?;
        let mut all = head.to_owned();
        for n in 0..systems {
            // Paused, so that no worker reaches for what is not there.
            let named = system.replacen("name = \"shop\"", &format!("name = \"shop{n:02}\"\npaused = true"), 1);
            let _ = writeln!(all, "[[system]]{named}");
        }
        let key = service.provision(CONTROLLER, &all).await?;
        let mut api = service.start("api").await?;
        let template = Caller::connect(api.port(), &key).await?.submit("access", "template@example.com").await?;
        api.running.stop("TERM");
        let dsr_columns = database.columns("dsrs").await?;
        let step_columns = database.columns("steps").await?;
        Ok(Self { template, size: 0, systems, dsr_columns, step_columns })
    }

    /// The one request that was really submitted.
    pub(super) fn template(&self) -> &str {
        &self.template
    }

    /// Makes it so large. All are in progress; their steps are ready, but the one on the last system waits until tomorrow if
    /// `held`, so that no request ends.
    pub(super) async fn grow(&mut self, database: &Database, size: u64, held: bool) -> Result<()> {
        let now = SystemClock.now_ms();
        let tomorrow = now + 86_400_000;
        let template = &self.template;
        let dsr = database.id("dsr", "g.n");
        let step = database.id("stp", "g.n * 100 + t.rank");
        // Spread over 30 days, in an order that is not that of the ids.
        let due = format!("{tomorrow} + (g.n * 7919) % 2592000 * 1000");
        let values: Vec<String> = self
            .dsr_columns
            .iter()
            .map(|column| match column.as_str() {
                "id" => dsr.clone(),
                "stage" | "status" => "'in_progress'".to_owned(),
                "wake_at" => "NULL".to_owned(),
                "due_before" => due.clone(),
                "watch_at" => format!("{due} - 3600000"),
                other => format!("t.{other}"),
            })
            .collect();
        let numbers = |from: u64, to: u64| {
            format!(
                "WITH RECURSIVE g(n) AS (SELECT CAST({from} AS BIGINT) UNION ALL SELECT n + 1 FROM g WHERE n < {to})"
            )
        };
        let last = self.systems;
        let step_values: Vec<String> = self
            .step_columns
            .iter()
            .map(|column| match column.as_str() {
                "id" => step.clone(),
                "dsr_id" => dsr.clone(),
                "idem" => format!("{dsr} || ':' || t.rank"),
                "due_at" => due.clone(),
                "state" => "'queued'".to_owned(),
                "phase" => "'act'".to_owned(),
                "q" if held => format!("CASE WHEN t.rank = {last} THEN 'wait' ELSE 'ready' END"),
                "q" => "'ready'".to_owned(),
                "not_before" if held => format!("CASE WHEN t.rank = {last} THEN {tomorrow} ELSE {now} END"),
                "not_before" => now.to_string(),
                other => format!("t.{other}"),
            })
            .collect();
        while self.size < size {
            let (from, to) = (self.size + 1, size.min(self.size + 100_000));
            let sql = format!(
                "{} INSERT INTO dsrs ({}) SELECT {} FROM dsrs t, g WHERE t.id = '{template}'",
                numbers(from, to),
                self.dsr_columns.join(", "),
                values.join(", ")
            );
            database.script(&sql).await.context("a crowd of requests")?;
            let sql = format!(
                "{} INSERT INTO steps ({}) SELECT {} FROM (SELECT s.*, row_number() OVER (ORDER BY s.lane) AS rank FROM steps s WHERE s.dsr_id = '{template}') t, g",
                numbers(from, to),
                self.step_columns.join(", "),
                step_values.join(", ")
            );
            database.script(&sql).await.context("a crowd's steps")?;
            self.size = to;
        }
        database.script("ANALYZE").await
    }
}

impl Database {
    pub(super) async fn columns(&self, table: &str) -> Result<Vec<String>> {
        let sql = AssertSqlSafe(format!("SELECT * FROM {table} LIMIT 1"));
        let names = |columns: Vec<&str>| columns.into_iter().map(str::to_owned).collect();
        Ok(match self {
            Self::Sqlite(pool) => {
                let row = sqlx::query(sql).fetch_one(pool).await?;
                names(row.columns().iter().map(sqlx::Column::name).collect())
            }
            Self::Postgres(pool) => {
                let row = sqlx::query(sql).fetch_one(pool).await?;
                names(row.columns().iter().map(sqlx::Column::name).collect())
            }
        })
    }

    /// An id of ours made from a number: digits are letters of its alphabet.
    pub(super) fn id(&self, prefix: &str, number: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("printf('{prefix}_%026d', {number})"),
            Self::Postgres(_) => format!("'{prefix}_' || lpad(({number})::text, 26, '0')"),
        }
    }

    /// Lets the crowd's systems work, or not.
    pub(super) async fn pause(&self, paused: bool) -> Result<()> {
        let sql = format!(
            "UPDATE systems SET paused = {} WHERE controller_id = (SELECT id FROM controllers WHERE name = '{CONTROLLER}')",
            i64::from(paused)
        );
        self.script(&sql).await
    }
}

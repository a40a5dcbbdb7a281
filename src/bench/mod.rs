//! The bench measures Redress from outside, as its users run it, and judges what it finds by its aims.
//!
//! It starts what it needs (PostgreSQL, Redis, the service's own processes) in a temporary folder and ends all of it whatever
//! happens. Before a figure is printed, the bench has looked whether what was asked really happened.

#![expect(clippy::cast_precision_loss, reason = "figures are not that exact")]

mod bare;
mod crowd;
mod customers;
mod fairness;
mod growth;
mod lab;
mod leases;
mod limits;
mod report;
mod requests;
mod servers;
mod service;
mod start;
mod submit;
mod today;
mod usage;

pub(crate) use fairness::{Fairness, run as fairness};
pub(crate) use growth::{Growth, run as growth};
pub(crate) use leases::{Leases, run as leases};
pub(crate) use limits::{Limits, run as limits};
pub(crate) use report::Report;
pub(crate) use requests::{Requests, run as requests};
pub(crate) use start::run as start;
pub(crate) use submit::{Submit, run as submit};
pub(crate) use today::{TodayPage, run as today};

use anyhow::Result;
use futures::future::LocalBoxFuture;
use lab::Lab;
use servers::{Postgres, Redis};
use std::path::Path;
use std::sync::Arc;
use url::Url;

/// Where a bench works.
#[derive(Debug)]
pub(crate) struct Common {
    lab: Arc<Lab>,
    /// The variable `PATH`, in which servers are looked for.
    path: String,
    postgres_url: Option<Url>,
    redis_url: Option<String>,
    quiet: bool,
}

impl Common {
    /// A bench below `folder`. Without a URL a server is started.
    pub(crate) fn new(
        folder: &Path,
        path: String,
        postgres_url: Option<Url>,
        redis_url: Option<String>,
        quiet: bool,
    ) -> Result<Self> {
        Ok(Self { lab: Lab::new(folder)?, path, postgres_url, redis_url, quiet })
    }

    /// Says what is being done, to whoever waits.
    fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("· {text}");
        }
    }

    async fn postgres(&self, name: &str) -> Result<Postgres> {
        match &self.postgres_url {
            Some(url) => Postgres::on(url, name).await,
            None => Postgres::start(&self.lab, name, &self.path).await,
        }
    }

    async fn redis(&self) -> Result<Redis> {
        match &self.redis_url {
            Some(url) => Redis::on(url).await,
            None => Redis::start(&self.lab, &self.path).await,
        }
    }
}

/// Everything with its defaults, each in a folder of its own. What fails is reported, and the rest goes on.
pub(crate) async fn all(open: impl Fn() -> Result<Common>) -> Report {
    let mut report = Report::default();
    let each: [(&str, Part); 8] = [
        ("requests", |common| Box::pin(requests(common, &REQUESTS))),
        ("submit", |common| Box::pin(submit(common, &SUBMIT))),
        ("leases", |common| {
            Box::pin(async { leases(common, &Leases { backlog: vec![10_000, 100_000], loops: 4 }).await })
        }),
        ("growth", |common| Box::pin(growth(common, &GROWTH))),
        ("start", |common| Box::pin(start(common))),
        ("limits", |common| Box::pin(limits(common, &LIMITS))),
        ("fairness", |common| Box::pin(fairness(common, &FAIRNESS))),
        ("today", |common| Box::pin(today(common, &TODAY))),
    ];
    for (name, part) in each {
        let outcome = match open() {
            Ok(common) => part(&common).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(found) => report.add(found),
            Err(error) => report.failures.push(format!("{name}: {error:#}")),
        }
    }
    report
}

type Part = for<'a> fn(&'a Common) -> LocalBoxFuture<'a, Result<Report>>;

const REQUESTS: Requests =
    Requests { access: 300, erasure: 300, submitters: 8, workers: 1, batch: None, statements: false };
const SUBMIT: Submit = Submit { rate: 200.0, seconds: 20.0, concurrency: 8 };
const GROWTH: Growth = Growth { most: 1_000_000, sqlite_only: false };
const LIMITS: Limits = Limits { calls: 100, window: 2, seconds: 20, workers: 4, deletions: 3_000 };
const FAIRNESS: Fairness = Fairness { queued: 100_000, quiet: 100 };
const TODAY: TodayPage = TodayPage { open: 100_000, ended: 900_000, pages: 200, sqlite_only: false, stay: false };

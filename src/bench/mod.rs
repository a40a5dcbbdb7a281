//! The bench measures Redress from outside, as its users run it, and judges what it finds by its aims.
//!
//! It starts what it needs (PostgreSQL, Redis, the service's own processes) in a temporary folder and ends all of it whatever
//! happens. Before a figure is printed, the bench has looked whether what was asked really happened.

mod bare;
mod customers;
mod lab;
mod report;
mod requests;
mod servers;
mod service;
mod usage;

pub(crate) use report::Report;
pub(crate) use requests::{Requests, run as requests};

use anyhow::Result;
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

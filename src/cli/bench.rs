//! `redress bench`: figures from this machine, from the real executable, with the ceiling beside them.

use crate::bench::{self, Common, Report, Requests};
use crate::config::Environment;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use url::Url;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    requests: RequestsArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Access and erasure requests on a customer database of 100,000 people, from submission to their end (the default).
    Requests {
        #[command(flatten)]
        requests: RequestsArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Clone, Args)]
struct CommonArgs {
    /// A PostgreSQL server to use, as an administrator (databases are made there); none starts one's own.
    #[arg(long, value_name = "URL")]
    postgres_url: Option<Url>,
    /// A Redis server to use; none starts one's own.
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// Where the temporary folder is made; its disk is what is measured.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print the tables as Markdown.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Debug, Clone, Args)]
struct RequestsArgs {
    /// Access requests.
    #[arg(long, default_value_t = 300)]
    access: u32,
    /// Erasure requests.
    #[arg(long, default_value_t = 300)]
    erasure: u32,
    /// How many submit at the same time.
    #[arg(long, default_value_t = 8)]
    submitters: usize,
    /// Worker processes.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Most steps of one claim (worker.batch); none leaves the default.
    #[arg(long)]
    batch: Option<usize>,
    /// List the statements that were made most often.
    #[arg(long)]
    statements: bool,
}

impl RequestsArgs {
    fn asked(&self) -> Requests {
        Requests {
            access: self.access,
            erasure: self.erasure,
            submitters: self.submitters,
            workers: self.workers,
            batch: self.batch,
            statements: self.statements,
        }
    }
}

impl CommonArgs {
    fn open(&self, environment: &Environment) -> Result<Common> {
        let folder = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let path = environment.get("PATH").unwrap_or_default().to_owned();
        Common::new(&folder, path, self.postgres_url.clone(), self.redis_url.clone(), self.json)
    }

    /// Prints what was found. What did not happen as it was asked is an error.
    fn print(&self, report: &Report) -> Result<()> {
        if self.json {
            println!("{}", report.json());
        } else if self.markdown {
            print!("{}\n{}", report.markdown(), report.aims());
        } else {
            print!("{}", report.text());
        }
        match report.failures.first() {
            None => Ok(()),
            Some(failure) => bail!("{failure}"),
        }
    }
}

impl Bench {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let what = self.what.unwrap_or(What::Requests { requests: self.requests, common: self.common });
        match what {
            What::Requests { requests, common } => {
                let report = bench::requests(&common.open(environment)?, &requests.asked()).await?;
                common.print(&report)
            }
        }
    }
}

//! `redress bench`: figures from this machine, from the real executable, with the ceiling beside them.

use crate::bench::{self, Common, Fairness, Growth, Leases, Limits, Report, Requests, Submit, TodayPage};
use crate::config::Environment;
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
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
    /// Durable submissions a second, and how long one takes at a steady rate; SQLite and PostgreSQL.
    Submit {
        #[command(flatten)]
        submit: SubmitArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Claim, no-op, finish; SQLite and PostgreSQL.
    Leases {
        #[command(flatten)]
        leases: LeasesArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// What things cost with a thousand and with a million open requests, and how much memory they take.
    Growth {
        #[command(flatten)]
        growth: GrowthArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// From nothing to ready with the embedded database, and memory at rest.
    Start {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// How much of a vendor's allowed rate a fleet uses, and how many calls a deletion costs.
    Limits {
        #[command(flatten)]
        limits: LimitsArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// How long a quiet controller waits while another one has a great many requests queued.
    Fairness {
        #[command(flatten)]
        fairness: FairnessArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// How long the board's first page takes with a million requests of which a hundred thousand are open.
    Today {
        #[command(flatten)]
        today: TodayArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Everything, one after another, each with its defaults.
    All {
        /// A page whose text between `<!-- bench -->` and `<!-- /bench -->` is replaced by the tables.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Clone, Args)]
struct SubmitArgs {
    /// Submissions a second of the steady part.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// How long the steady part takes; saturation takes half of it.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// How many submit at the same time at saturation, and in the bare loop.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
}

#[derive(Debug, Clone, Args)]
struct LeasesArgs {
    /// How many steps are ready.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    backlog: Vec<u64>,
    /// How many loops lease on PostgreSQL.
    #[arg(long, default_value_t = 4)]
    loops: usize,
}

#[derive(Debug, Clone, Args)]
struct GrowthArgs {
    /// The most open requests.
    #[arg(long, default_value_t = 1_000_000)]
    most: u64,
    /// Only the embedded database.
    #[arg(long)]
    sqlite_only: bool,
}

#[derive(Debug, Clone, Args)]
struct TodayArgs {
    /// Open requests.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    open: u64,
    /// Ended requests.
    #[arg(long, default_value_t = 900_000)]
    ended: u64,
    /// How often the page is asked for in each way; 0 measures nothing.
    #[arg(long, default_value_t = 200)]
    pages: usize,
    /// Only the embedded database.
    #[arg(long)]
    sqlite_only: bool,
    /// Afterwards the boards stay up, until this is interrupted.
    #[arg(long)]
    stay: bool,
}

#[derive(Debug, Clone, Args)]
struct LimitsArgs {
    /// Calls that the vendor allows in a window.
    #[arg(long, default_value_t = 100)]
    calls: usize,
    /// The window in seconds.
    #[arg(long, default_value_t = 2)]
    window: u64,
    /// How long the rate is watched, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Worker processes.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Deletions for the count of calls.
    #[arg(long, default_value_t = 3_000)]
    deletions: u32,
}

#[derive(Debug, Clone, Args)]
struct FairnessArgs {
    /// Requests that the loud controller has queued.
    #[arg(long, default_value_t = 100_000)]
    queued: u32,
    /// Requests of the quiet one.
    #[arg(long, default_value_t = 100)]
    quiet: u32,
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
        let (report, common) = match what {
            What::Requests { requests, common } => {
                (bench::requests(&common.open(environment)?, &requests.asked()).await?, common)
            }
            What::Submit { submit: SubmitArgs { rate, seconds, concurrency }, common } => {
                let asked = Submit { rate, seconds, concurrency };
                (bench::submit(&common.open(environment)?, &asked).await?, common)
            }
            What::Leases { leases: LeasesArgs { backlog, loops }, common } => {
                (bench::leases(&common.open(environment)?, &Leases { backlog, loops }).await?, common)
            }
            What::Growth { growth: GrowthArgs { most, sqlite_only }, common } => {
                (bench::growth(&common.open(environment)?, &Growth { most, sqlite_only }).await?, common)
            }
            What::Start { common } => (bench::start(&common.open(environment)?).await?, common),
            What::Limits { limits: LimitsArgs { calls, window, seconds, workers, deletions }, common } => {
                let asked = Limits { calls, window, seconds, workers, deletions };
                (bench::limits(&common.open(environment)?, &asked).await?, common)
            }
            What::Fairness { fairness: FairnessArgs { queued, quiet }, common } => {
                (bench::fairness(&common.open(environment)?, &Fairness { queued, quiet }).await?, common)
            }
            What::Today { today: TodayArgs { open, ended, pages, sqlite_only, stay }, common } => {
                let asked = TodayPage { open, ended, pages, sqlite_only, stay };
                (bench::today(&common.open(environment)?, &asked).await?, common)
            }
            What::All { into, common } => {
                let report = bench::all(|| common.open(environment)).await;
                if let Some(page) = into {
                    write_into(&page, &report)?;
                }
                (report, common)
            }
        };
        common.print(&report)
    }
}

/// Where the tables of a page begin and end.
const BEGIN: &str = "<!-- bench -->";
const END: &str = "<!-- /bench -->";

fn write_into(page: &Path, report: &Report) -> Result<()> {
    let name = page.display();
    let text = std::fs::read_to_string(page).with_context(|| format!("{name} cannot be read"))?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.with_context(|| format!("{name} has no {BEGIN} … {END}"))?;
    let text = format!("{head}{BEGIN}\n{}\n{}{END}{tail}", report.aims(), report.markdown());
    std::fs::write(page, text).with_context(|| format!("{name} cannot be written"))
}

//! Reports for the operator, from the installation's own database: of one controller, or of all.

use crate::app::App;
use crate::config::Config;
use crate::report::{self, Asked, Report};
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use jiff::civil::Date;
use redress_store::{Controller, Store};

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// How near open requests are to their due date, and how many were answered in time.
    Sla {
        /// First day of the time in which requests ended; else the first of the last day's month.
        #[arg(long, value_name = "DATE", value_parser = day)]
        from: Option<Date>,
        /// Last day of it; else today.
        #[arg(long, value_name = "DATE", value_parser = day)]
        to: Option<Date>,
        #[command(flatten)]
        scope: Scope,
        #[command(flatten)]
        output: Output,
    },
    /// The metrics of a calendar year that 11 CCR 7102 asks of a business under the CCPA.
    #[command(name = "ccpa-7102")]
    Ccpa7102 {
        /// The year; else the one before this.
        #[arg(long)]
        year: Option<i16>,
        #[command(flatten)]
        scope: Scope,
        #[command(flatten)]
        output: Output,
    },
    /// The processor's record of processing, GDPR Art. 30(2).
    ProcessingRecord {
        #[command(flatten)]
        scope: Scope,
        #[command(flatten)]
        output: Output,
    },
}

/// Of whom.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// The controller's name; may be left out if there is only one.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    controller: Option<String>,
    /// Every controller.
    #[arg(long)]
    all: bool,
}

/// In which form.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print one table as CSV.
    #[arg(long)]
    csv: bool,
    /// Which table; docs/reports.md names them. Else the most important one.
    #[arg(long, value_name = "TABLE", requires = "csv")]
    table: Option<String>,
}

fn day(text: &str) -> Result<Date, String> {
    report::read_date(text).ok_or_else(|| "a date such as 2026-11-30 is needed".to_owned())
}

impl ReportCommand {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let app = App::open(config).await?;
        let store = app.store();
        match self {
            Self::Sla { from, to, scope, output } => {
                if let (Some(from), Some(to)) = (from, to)
                    && from > to
                {
                    bail!("--to {to} is before --from {from}");
                }
                let table = output.table(report::SLA_TABLES)?;
                output.print(&report::sla(store, &scope.controllers(store).await?, Asked { from, to }).await?, table);
            }
            Self::Ccpa7102 { year, scope, output } => {
                let last = report::this_year(store.now_ms());
                if year.is_some_and(|year| !(report::YEAR_MIN..=last).contains(&year)) {
                    bail!("--year must be from {} to {last}", report::YEAR_MIN);
                }
                let table = output.table(report::CCPA_TABLES)?;
                output.print(&report::ccpa_7102(store, &scope.controllers(store).await?, year).await?, table);
            }
            Self::ProcessingRecord { scope, output } => {
                let table = output.table(report::RECORD_TABLES)?;
                let controllers = scope.controllers(store).await?;
                output.print(&report::processing_record(store, &controllers, &app.config().processor).await?, table);
            }
        }
        Ok(())
    }
}

impl Scope {
    async fn controllers(&self, store: &Store) -> Result<Vec<Controller>> {
        if let Some(name) = &self.controller {
            let found = store.controller_by_name(name).await?;
            return Ok(vec![
                found
                    .ok_or_else(|| anyhow!("no controller is named {name:?}; `redress controller list` shows them"))?,
            ]);
        }
        let all = store.controllers().await?;
        match all.len() {
            0 => bail!("there is no controller yet; `redress apply` or `redress controller create` makes one"),
            1 => Ok(all),
            _ if self.all => Ok(all),
            n => bail!("there are {n} controllers; say which with --controller NAME, or --all"),
        }
    }
}

impl Output {
    /// The table that is wanted, if one is named.
    fn table(&self, tables: &'static [&'static str]) -> Result<Option<&'static str>> {
        let Some(name) = &self.table else { return Ok(None) };
        let known = tables.iter().copied().find(|table| table == name);
        known.map(Some).ok_or_else(|| anyhow!("--table {name:?} is none of {}", tables.join(", ")))
    }

    fn print(&self, report: &Report, table: Option<&str>) {
        if self.json {
            println!("{}", report.json);
        } else if self.csv {
            print!("{}", report.csv(table));
        } else {
            print!("{}", report.text());
        }
    }
}

//! The clock of a request from a terminal: pause, resume, extend, acknowledge; and, for the operator, recompute.

use super::client::{Act, Client, print};
use crate::app::App;
use crate::config::{Config, Environment};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;
use redress_domain::DsrId;
use redress_domain::deadline::{ClockFacts, Deadlines, compute};
use redress_store::{ClockChange, Controller, DsrFilter, DsrRow, Error, FrozenClock};
use reqwest::Method;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Extend {
    #[command(flatten)]
    act: Act,
    /// The reasons that the person was told.
    #[arg(long)]
    reason: String,
    /// When the person was told, RFC 3339; now if left out.
    #[arg(long)]
    granted_at: Option<String>,
    /// The date that the notice names, where the law lets it name one.
    #[arg(long)]
    until: Option<String>,
}

impl Extend {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let members = [("reason", Some(self.reason)), ("granted_at", self.granted_at), ("until", self.until)];
        send(&self.act, environment, "extend", members).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Acknowledge {
    #[command(flatten)]
    act: Act,
    /// When receipt was acknowledged to the person, RFC 3339; now if left out.
    #[arg(long)]
    at: Option<String>,
}

impl Acknowledge {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        send(&self.act, environment, "acknowledge", [("acknowledged_at", self.at)]).await
    }
}

pub(super) async fn send(
    act: &Act,
    environment: &Environment,
    verb: &str,
    members: impl IntoIterator<Item = (&str, Option<String>)>,
) -> Result<()> {
    let client: Client = act.connection.open(environment)?;
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))));
    let body = Value::Object(given.collect());
    let view = client.json(Method::POST, &format!("/v1/requests/{}/{verb}", act.id), Some(&body)).await?;
    print(&view, act.output.json);
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct Recompute {
    /// Requests, `dsr_…`; every open request of the controller if left out.
    ids: Vec<String>,
    /// Name of the controller; every controller if left out.
    #[arg(long)]
    controller: Option<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Requests read at once.
const CHUNK: i64 = 200;

impl Recompute {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let ids = self
            .ids
            .iter()
            .map(|text| DsrId::parse(text).map_err(|_| anyhow::anyhow!("{text} is not the id of a request")));
        let ids: Vec<DsrId> = ids.collect::<Result<_>>()?;
        let app = App::open(config).await?;
        let store = app.store();
        let controllers = match &self.controller {
            None => store.controllers().await?,
            Some(name) => vec![
                store.controller_by_name(name).await?.with_context(|| format!("no controller is named {name:?}"))?,
            ],
        };
        let (mut looked, mut moved, mut found) = (0_u64, 0_u64, Vec::new());
        for controller in &controllers {
            let mut before = None;
            loop {
                let filter =
                    DsrFilter { open: ids.is_empty(), before: before.clone(), limit: CHUNK, ..DsrFilter::default() };
                let rows = store.dsrs(Some(&controller.id), &filter).await?;
                before = rows.last().map(|row| row.id.clone());
                for row in rows.iter().filter(|row| ids.is_empty() || ids.contains(&row.id)) {
                    looked += 1;
                    found.push(row.id.clone());
                    moved += u64::from(self.one(&app, controller, &row.id).await.with_context(|| row.id.to_string())?);
                }
                if rows.is_empty() {
                    break;
                }
            }
        }
        if let Some(id) = ids.iter().find(|id| !found.contains(id)) {
            bail!("there is no request {id} here");
        }
        println!(
            "{looked} requests looked at, {moved} with other dates{}",
            if self.dry_run { " (nothing was changed)" } else { "" }
        );
        Ok(())
    }

    /// One request; true if its dates are others now.
    async fn one(&self, app: &App, controller: &Controller, id: &DsrId) -> Result<bool> {
        let store = app.store();
        let now = store.clock().now();
        let rules = app.rules().for_controller(controller)?;
        let row = store.dsr(&controller.id, id).await?.row;
        // A request of a release that kept no clocks gets one now.
        let (facts, adopt) = match &row.clock {
            Some(clock) => (clock.facts.clone(), false),
            None => (facts_of(&row, controller)?, true),
        };
        let dates = compute(&rules, &facts, now)?;
        let before: Option<Deadlines> = serde_json::from_value(row.deadlines.clone()).ok();
        let before_on = row.deadlines["effective"]["due_on"].as_str().unwrap_or_default().to_owned();
        let moves = |dates: &Deadlines| {
            (
                dates.effective.due_before,
                dates.statutory.as_ref().map(|law| law.due_before),
                dates.acknowledge_by,
                dates.internal_target,
            )
        };
        let moved = before.as_ref().map(moves) != Some(moves(&dates));
        if moved {
            println!("{id}: due on {} instead of {before_on}", dates.effective.due_on);
        }
        if self.dry_run {
            return Ok(moved);
        }
        let books = app.rules().keep(store, controller, &dates).await?;
        let data = json!({
            "due_on": { "before": before_on, "after": dates.effective.due_on },
            "table_version": { "before": row.deadlines["table_version"], "after": dates.table_version },
            "calendar_version": { "before": row.deadlines["calendar_version"], "after": dates.calendar_version },
        });
        let adopted = adopt.then(|| FrozenClock {
            facts: facts.clone(),
            books: books.clone(),
            regulations: row.regulation.clone().into_iter().collect(),
        });
        let change = |_: &redress_store::ClockNow| -> Result<ClockChange, Error> {
            Ok(ClockChange {
                facts: facts.clone(),
                deadlines: dates,
                event: ("deadlines_recomputed", data),
                note: None,
                stage_event: None,
                books: Some(books),
            })
        };
        store.change_clock(&controller.id, id, "operator", adopted, change).await?;
        Ok(moved)
    }
}

/// The facts of a request that was accepted before they were kept, as far as its columns tell them.
fn facts_of(row: &DsrRow, controller: &Controller) -> Result<ClockFacts> {
    let instant = |ms| Timestamp::from_millisecond(ms).context("an instant of the row");
    Ok(ClockFacts {
        request_type: row.kind,
        regulations: row.regulation.clone().into_iter().collect(),
        jurisdiction: row.jurisdiction.clone(),
        controller_country: controller.country.clone(),
        controller_timezone: controller.timezone.clone(),
        data_subject_received_at: row.data_subject_received_at.map(instant).transpose()?,
        instruction_received_at: instant(row.instruction_received_at)?,
        pauses: Vec::new(),
        extension: None,
        acknowledged_at: None,
    })
}

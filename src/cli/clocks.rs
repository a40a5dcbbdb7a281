//! The clock of a request from a terminal: pause, resume, extend, acknowledge; and, for the operator, recompute.

use super::client::{Act, Client, print};
use crate::app::App;
use crate::config::{Config, Environment};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use redress_domain::DsrId;
use redress_domain::deadline::{Deadlines, compute};
use redress_store::{ClockChange, Controller, DsrFilter, Error};
use reqwest::Method;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    act: Act,
    /// What is awaited: identity, clarification, fee or controller.
    #[arg(long)]
    kind: String,
    /// When it was asked for, RFC 3339; now if left out.
    #[arg(long)]
    from: Option<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
}

impl Pause {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let members = [("kind", Some(self.kind)), ("from", self.from), ("reason", self.reason)];
        send(&self.act, environment, "pause", members).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    act: Act,
    /// Which of several things that were awaited came.
    #[arg(long)]
    kind: Option<String>,
    /// When it came, RFC 3339; now if left out.
    #[arg(long)]
    to: Option<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
}

impl Resume {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        send(&self.act, environment, "resume", [("kind", self.kind), ("to", self.to), ("reason", self.reason)]).await
    }
}

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

async fn send(
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
        let Some((clock, _)) = store.clock_of(&controller.id, id).await? else {
            println!("{id}: was accepted before clocks were kept; its dates stay");
            return Ok(false);
        };
        let dates = compute(&rules, &clock.facts, now)?;
        let row = store.dsr(&controller.id, id).await?.row;
        let before: Deadlines = serde_json::from_value(row.deadlines)?;
        let moves = |dates: &Deadlines| {
            (
                dates.effective.due_before,
                dates.statutory.as_ref().map(|law| law.due_before),
                dates.acknowledge_by,
                dates.internal_target,
            )
        };
        let moved = moves(&before) != moves(&dates);
        if moved {
            println!("{id}: due on {} instead of {}", dates.effective.due_on, before.effective.due_on);
        }
        if self.dry_run {
            return Ok(moved);
        }
        let books = app.rules().keep(store, controller, &dates).await?;
        let data = json!({
            "due_on": { "before": before.effective.due_on, "after": dates.effective.due_on },
            "table_version": { "before": before.table_version, "after": dates.table_version },
            "calendar_version": { "before": before.calendar_version, "after": dates.calendar_version },
        });
        let change = |_: &redress_store::ClockNow| -> Result<ClockChange, Error> {
            Ok(ClockChange {
                facts: clock.facts.clone(),
                deadlines: dates,
                event: ("deadlines_recomputed", data),
                note: None,
                stage_event: None,
                books: Some(books),
            })
        };
        store.change_clock(&controller.id, id, "operator", change).await?;
        Ok(moved)
    }
}

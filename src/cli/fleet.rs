//! The fleet from a terminal: pause, resume and drain a system, a controller or everything, and see how they stand.

use super::Json;
use super::client::Act;
use super::client::Connection;
use super::clocks::send;
use super::operator::named;
use crate::app::App;
use crate::config::{Config, Environment};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;
use redress_domain::ControllerId;
use redress_store::{Controller, Scope, Store, SystemRow, UnderWay};
use serde_json::json;
use std::time::{Duration, Instant};

const ACTOR: &str = "operator";

/// How much is meant; everything, if nothing is named.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// Name of a controller; without it the whole installation is meant.
    #[arg(long)]
    controller: Option<String>,
    /// Name of one of its systems.
    #[arg(long, requires = "controller")]
    system: Option<String>,
}

impl Where {
    async fn scope(&self, store: &Store) -> Result<(Scope, String)> {
        let Some(name) = &self.controller else { return Ok((Scope::All, "everything".to_owned())) };
        let controller = named(store, name).await?;
        let Some(system) = &self.system else {
            return Ok((Scope::Controller(controller.id), format!("controller {name}")));
        };
        let row = store.system_by_name(&controller.id, system).await?;
        let row =
            row.with_context(|| format!("{name} has no system named {system:?}; `redress systems` shows them"))?;
        Ok((Scope::System(controller.id, row.id), format!("system {name}/{system}")))
    }

    const fn is_given(&self) -> bool {
        self.controller.is_some() || self.system.is_some()
    }
}

/// So long a wake-up has to leave this process for the rest of the fleet. If it does not, they look by themselves.
const WAKE: Duration = Duration::from_millis(200);

async fn set(config: Config, place: &Where, paused: bool) -> Result<()> {
    let fleet = config.redis.url.is_some();
    let app = App::open(config).await?;
    let (scope, name) = place.scope(app.store()).await?;
    let changed = app.store().pause(&scope, paused, ACTOR).await?;
    let already = if changed { "" } else { " already" };
    if paused {
        println!("{name} is paused{already}: nothing new is begun, what runs ends, deadlines go on");
    } else {
        println!("{name} is resumed{already}");
        let other = app.store().paused(None).await?;
        if other.any() {
            println!("still paused: {}", paused_names(app.store(), &other).await?);
        }
    }
    if fleet {
        tokio::time::sleep(WAKE).await;
    }
    Ok(())
}

async fn paused_names(store: &Store, paused: &redress_store::Paused) -> Result<String> {
    let all = store.controllers().await?;
    let of = |id: &ControllerId| all.iter().find(|c| c.id == *id).map_or("?", |c| c.name.as_str());
    let mut names: Vec<String> = paused.all.then(|| "everything".to_owned()).into_iter().collect();
    names.extend(paused.controllers.iter().map(|id| format!("controller {}", of(id))));
    names.extend(paused.systems.iter().map(|(id, system)| format!("system {}/{system}", of(id))));
    Ok(names.join(", "))
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// A request, `dsr_…`, whose clock stops. Without it work is paused: see --controller and --system.
    id: Option<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Json,
    /// What is awaited for the request: identity, clarification, fee or controller.
    #[arg(long, requires = "id")]
    kind: Option<String>,
    /// When it was asked for, RFC 3339; now if left out.
    #[arg(long, requires = "id")]
    from: Option<String>,
    /// Why.
    #[arg(long, requires = "id")]
    reason: Option<String>,
}

impl Pause {
    pub(super) async fn run(self, environment: &Environment, settings: impl FnOnce() -> Result<Config>) -> Result<()> {
        let Some(id) = self.id else { return set(settings()?, &self.place, true).await };
        if self.place.is_given() {
            bail!("a request is paused by its id alone; --controller and --system pause all work there");
        }
        if self.kind.is_none() {
            bail!("--kind says what is awaited: identity, clarification, fee or controller");
        }
        let act = Act { connection: self.connection, id, output: self.output };
        send(&act, environment, "pause", [("kind", self.kind), ("from", self.from), ("reason", self.reason)]).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// A request, `dsr_…`, whose clock goes on. Without it work is resumed: see --controller and --system.
    id: Option<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Json,
    /// Which of several things that were awaited came.
    #[arg(long, requires = "id")]
    kind: Option<String>,
    /// When it came, RFC 3339; now if left out.
    #[arg(long, requires = "id")]
    to: Option<String>,
    /// Why.
    #[arg(long, requires = "id")]
    reason: Option<String>,
}

impl Resume {
    pub(super) async fn run(self, environment: &Environment, settings: impl FnOnce() -> Result<Config>) -> Result<()> {
        let Some(id) = self.id else { return set(settings()?, &self.place, false).await };
        if self.place.is_given() {
            bail!("a request is resumed by its id alone; --controller and --system resume all work there");
        }
        let act = Act { connection: self.connection, id, output: self.output };
        send(&act, environment, "resume", [("kind", self.kind), ("to", self.to), ("reason", self.reason)]).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    place: Where,
    /// Seconds after which to give up waiting; it stays paused.
    #[arg(long)]
    timeout: Option<u64>,
}

/// Between two looks at what is under way.
const LOOK: Duration = Duration::from_millis(500);
/// A worker that looked just before the pause may be a moment late: nothing must be under way for so many looks.
const CALM: u32 = 4;

impl Drain {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let app = App::open(config).await?;
        let (scope, name) = self.place.scope(app.store()).await?;
        app.store().pause(&scope, true, ACTOR).await?;
        println!("{name} is paused: nothing new is begun, what runs ends, deadlines go on");
        let began = Instant::now();
        let (mut calm, mut told) = (0, Vec::new());
        loop {
            let under_way = app.store().under_way(&scope).await?;
            calm = if under_way.is_empty() { calm + 1 } else { 0 };
            if calm == CALM {
                println!("drained: nothing of {name} is under way; `redress resume` lets it go on");
                return Ok(());
            }
            if !under_way.is_empty() && under_way != told {
                println!("under way: {}", list(&under_way));
                told = under_way;
            }
            if self.timeout.is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds)) && calm == 0 {
                bail!("after {} s there is still under way: {}", began.elapsed().as_secs(), list(&told));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn list(under_way: &[UnderWay]) -> String {
    let one = |w: &UnderWay| {
        if w.place == w.verb {
            format!("{} {} of {}", w.rows, w.verb, w.controller)
        } else {
            format!("{} {} in {}/{}", w.rows, w.verb, w.controller, w.place)
        }
    };
    under_way.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Args)]
pub(crate) struct Systems {
    /// Name of a controller; every controller if left out.
    #[arg(long)]
    controller: Option<String>,
    #[command(flatten)]
    output: Json,
}

impl Systems {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let app = App::open(config).await?;
        let store = app.store();
        let controllers = match &self.controller {
            Some(name) => vec![named(store, name).await?],
            None => store.controllers().await?,
        };
        let all = store.paused(None).await?.all;
        let mut shown = Vec::new();
        if all && !self.output.json {
            println!("everything is paused");
        }
        for controller in &controllers {
            if controller.paused && !self.output.json {
                println!("controller {} is paused", controller.name);
            }
            for system in store.systems(&controller.id).await? {
                let state = state(all, controller, &system, store.now_ms());
                if self.output.json {
                    shown.push(json!({
                        "controller": controller.name,
                        "system": system.name,
                        "connector": system.connector,
                        "state": state.0,
                        "detail": state.1,
                        "failures": system.breaker.failures,
                    }));
                } else {
                    println!("{}/{}  {}  {}{}", controller.name, system.name, system.connector, state.0, state.1);
                }
            }
        }
        if self.output.json {
            println!("{}", json!({ "paused": all, "systems": shown }));
        }
        Ok(())
    }
}

/// How a system stands, in a word and what there is to say.
fn state(all: bool, controller: &Controller, system: &SystemRow, now: i64) -> (&'static str, String) {
    if all || controller.paused || system.paused {
        let by = if system.paused { "" } else { " (with everything around it)" };
        return ("paused", by.to_owned());
    }
    let (Some(until), failures) = (system.breaker.until, system.breaker.failures) else {
        let problem = system.problem.as_ref().map(|(code, detail)| format!(" ({code}: {detail})"));
        return ("works", problem.unwrap_or_default());
    };
    let at = Timestamp::from_millisecond(until).map(|at| at.to_string()).unwrap_or_default();
    let next =
        if until > now { format!("one step tries again at {at}") } else { "one step tries again now".to_owned() };
    ("left alone", format!(" ({failures} calls in a row failed; {next})"))
}

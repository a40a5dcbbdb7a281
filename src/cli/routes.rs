//! Routes from the command line: what `redress apply` makes of `[[notify]]`, and `redress notify`, which shows and tries them.

use super::Json;
use crate::app::App;
use crate::config::Config;
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use redress_domain::ControllerId;
use redress_domain::notice::Channel;
use redress_store::{NewRoute, Route, RouteChange, Store};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const ACTOR: &str = "operator";

/// Refuses routes of the operator that share a name or are about controllers that nobody knows.
pub(super) async fn check_operators(store: &Store, routes: &[NewRoute], in_command: &[&str]) -> Result<()> {
    let mut names = BTreeSet::new();
    for route in routes {
        if !names.insert(&route.name) {
            bail!("two of the operator's routes are named {}; names are unique", route.name);
        }
        for name in route.controllers.iter().flatten() {
            if !in_command.contains(&name.as_str()) && store.controller_by_name(name).await?.is_none() {
                bail!("notify.{}.controllers: no controller is named {name:?}; apply its file first", route.name);
            }
        }
    }
    Ok(())
}

/// Makes an owner's routes those of its file; prints a line for each that changed, and tells whether one did. An owner is
/// a controller's name with its id, which it has unless it would only be made by this command.
pub(super) async fn apply(
    store: &Store,
    owner: Option<(&str, Option<&ControllerId>)>,
    routes: &[NewRoute],
    dry_run: bool,
) -> Result<bool> {
    let changes = match owner {
        Some((_, None)) => routes.iter().map(|route| (route.name.clone(), RouteChange::Added)).collect(),
        Some((_, id)) => store.apply_routes(id, routes, dry_run, ACTOR).await?,
        None => store.apply_routes(None, routes, dry_run, ACTOR).await?,
    };
    let would = if dry_run { "would be " } else { "" };
    let whose = owner.map_or("operator", |(name, _)| name);
    for (name, change) in &changes {
        println!("route {whose}/{name}: {would}{}", change.as_str());
    }
    Ok(!changes.is_empty())
}

/// Says so if one of these routes needs a mail server and there is none.
pub(super) fn mention_mail<'a>(app: &App, mut routes: impl Iterator<Item = &'a NewRoute>) {
    if !app.engine().messenger.has_mail() && routes.any(|route| route.channel == Channel::Email) {
        println!("note: a route is by e-mail, but smtp.url is not set: its messages wait until it is");
    }
}

/// For how long a message that could not be sent is a fault.
const LOST_MS: i64 = 7 * 86_400_000;

/// Says whom notices reach, or why they do not.
pub(super) async fn check(app: &App) -> Result<String> {
    let routes = app.store().routes().await?;
    if routes.iter().any(|route| route.channel == Channel::Email) && !app.engine().messenger.has_mail() {
        bail!("a route is by e-mail, but smtp.url is not set");
    }
    let lost = app.store().messages_lost(app.store().now_ms() - LOST_MS).await?;
    if !lost.is_empty() {
        let each: Vec<String> = lost.iter().map(|(route, why, n)| format!("{n} to {route} ({why})")).collect();
        bail!(
            "messages of the last seven days were not sent: {}; `redress notify test` tries a route",
            each.join(", ")
        );
    }
    Ok(match routes.len() {
        0 => "nobody is told: [[notify]] in a file for `redress apply` says whom".to_owned(),
        1 => "1 route".to_owned(),
        n => format!("{n} routes"),
    })
}

#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// List the routes: who is told, how, and of what.
    List(Json),
    /// Send a test message to a route.
    Test(NotifyTest),
}

#[derive(Debug, Args)]
pub(crate) struct NotifyTest {
    /// The route's name.
    #[arg(long)]
    route: String,
    /// Its controller's name, or `operator`; may be left out if only one route has that name.
    #[arg(long)]
    controller: Option<String>,
}

impl NotifyCommand {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let app = App::open(config).await?;
        let names: BTreeMap<ControllerId, String> =
            app.store().controllers().await?.into_iter().map(|c| (c.id, c.name)).collect();
        let owner = |route: &Route| {
            route.controller_id.as_ref().map_or("operator", |id| names.get(id).map_or("?", String::as_str)).to_owned()
        };
        let routes = app.store().routes().await?;
        match self {
            Self::List(output) if output.json => {
                let all: Vec<_> = routes
                    .iter()
                    .map(|r| {
                        json!({
                            "name": r.name, "owner": owner(r), "role": r.role, "channel": r.channel, "delivery": r.delivery,
                            "kinds": r.kinds, "timezone": r.timezone, "controllers": r.controllers,
                        })
                    })
                    .collect();
                println!("{}", json!({ "routes": all }));
            }
            Self::List(_) => {
                for r in &routes {
                    let kinds = r.kinds.as_ref().map_or("what its role hears".to_owned(), |kinds| {
                        kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
                    });
                    println!("{}/{}  {}  {}  {}  {kinds}", owner(r), r.name, r.role, r.channel, r.delivery);
                }
            }
            Self::Test(test) => {
                let of = |r: &&Route| test.controller.as_ref().is_none_or(|name| *name == owner(r));
                let found: Vec<&Route> = routes.iter().filter(|r| r.name == test.route).filter(of).collect();
                let route = match found.as_slice() {
                    [route] => route,
                    [] => bail!("no route is named {:?}; `redress notify list` shows them", test.route),
                    _ => bail!("several routes are named {:?}; say whose with --controller", test.route),
                };
                let sent = redress_jobs::message::test(app.engine(), &route.id).await;
                sent.with_context(|| format!("route {}/{}", owner(route), route.name))?;
                println!("{}/{} took the message", owner(route), route.name);
            }
        }
        Ok(())
    }
}

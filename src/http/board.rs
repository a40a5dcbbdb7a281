//! The board is what a privacy team looks at: which requests are open, what is due first, and what waits for a person.
//!
//! It is rendered here and reads without a script. Pages hold no personal data until somebody reveals them on purpose: ids, words,
//! dates and counts. Whoever sits at this machine may look where the service listens to it only; who acts has signed in ([`super::auth`]).

mod act;
mod assets;
mod audit;
mod chart;
mod controllers;
mod errors;
mod glass;
mod glossary;
mod holds;
mod parts;
mod queue;
mod reports;
mod request;
mod requests;
mod settings;
mod shell;
pub(super) mod sign_in;
mod systems;
mod task;
#[cfg(test)]
mod tests;
mod today;
mod words;

pub(crate) use act::act;
pub(crate) use assets::asset;
pub(crate) use audit::audit;
pub(crate) use controllers::{controller, controllers, make_key};
pub(crate) use errors::as_page;
pub(crate) use queue::queue;
pub(crate) use reports::reports;
pub(crate) use request::request;
pub(crate) use requests::{csv as requests_csv, kept_query, requests};
pub(crate) use settings::{first as settings, own as own_sessions, tab as settings_tab};
pub(crate) use systems::{system, systems};
pub(crate) use task::{open_task, report_task, task};
pub(crate) use today::{Shared, today};

use redress_domain::ControllerId;
use redress_store::Paused;

/// What is paused in a scope, by name; none: everywhere.
fn paused_names<'n>(
    paused: &Paused,
    scope: Option<&[ControllerId]>,
    name: impl Fn(&ControllerId) -> &'n str,
) -> Vec<String> {
    let seen = |id: &ControllerId| scope.is_none_or(|scope| scope.contains(id));
    let mut names: Vec<String> = paused.all.then(|| "everything".to_owned()).into_iter().collect();
    names.extend(paused.controllers.iter().filter(|id| seen(id)).map(|id| format!("all of {}", name(id))));
    let systems = paused.systems.iter().filter(|(id, _)| seen(id));
    names.extend(systems.map(|(id, system)| format!("{}/{system}", name(id))));
    names
}

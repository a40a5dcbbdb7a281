//! What the demonstration leaves open, so that its board shows what a privacy team sees on an ordinary morning: something that waits for
//! a decision, for a person's hands, for the data subject, for a system that is paused; something due, and something late.

use super::super::client::Client;
use super::super::operator;
use crate::demo_seed::DemoWorld;
use crate::provision::ControllerFile;
use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Unit};
use redress_store::Store;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;

/// A second controller, who decides about deletions itself and has an archive on paper.
const OUTLET: &str = r#"# The demonstration's second controller. Everything here is made up.

[controller]
name = "harbor-outlet"
country = "FR"
timezone = "Europe/Paris"
region = "eu"
contact = "privacy@harbor-outlet.example"
require_approval = ["deletion"]

[[system]]
name = "archive"
family = "files"
connector = "manual"
settings = { instructions = ["Look into the binders of the year of purchase.", "Copy or shred what is about the person."], due_days = 5 }
allow = ["access", "deletion"]
"#;

/// One request that stays open: what kind, at which systems, received how many days ago.
type Left = (&'static str, &'static [&'static str], i64);

/// Those of the first controller wait for its newsletter system, which is paused.
const GOODS: [Left; 5] = [
    ("deletion", &["newsletter"], 34),
    ("access", &["crm", "newsletter"], 29),
    ("deletion", &["newsletter"], 27),
    ("access", &["newsletter"], 12),
    ("access", &["newsletter"], 3),
];
const OUTLET_LEFT: [Left; 5] = [
    ("deletion", &["archive"], 24),
    ("deletion", &["archive"], 2),
    ("access", &["archive"], 28),
    ("access", &["archive"], 9),
    ("access", &["archive"], 1),
];

/// Submits them; how many there are.
pub(super) async fn leave_open(
    store: &Store,
    client: &Client,
    base: &str,
    dir: &Path,
    world: &DemoWorld,
) -> Result<usize> {
    let path = dir.join("outlet.toml");
    std::fs::write(&path, OUTLET).with_context(|| path.display().to_string())?;
    let file = ControllerFile::load(&path, &|_| None)?;
    operator::apply(store, &file, false).await?;
    let outlet = store.controller_by_name(&file.controller.name).await?.context("the controller that was just made")?;
    let (_, key) = store.create_key(&outlet.id, redress_domain::Role::ControllerAdmin, "demo").await?;
    let second = Client::new(base, key)?;

    client.json(Method::POST, "/v1/systems/newsletter/pause", None).await?;
    let asked: Vec<&str> = world.requests.iter().map(|request| request.email.as_str()).collect();
    let mut people = world.people.iter().filter(|person| !asked.contains(&person.email.as_str()));
    let now = store.now_ms();
    let mut left = 0;
    for (client, requests) in [(client, GOODS), (&second, OUTLET_LEFT)] {
        let mut last = Value::Null;
        for (kind, systems, days) in requests {
            let person = people.next().context("nobody is left")?;
            left += 1;
            let body = json!({
                "type": kind,
                "reference": format!("DEMO-OPEN-{left}"),
                "systems": systems,
                "data_subject_received_at": days_before(now, days)?.to_string(),
                "subject": { "identifiers": [{ "type": "email", "value": person.email }] },
            });
            last = client.json(Method::POST, "/v1/requests", Some(&body)).await?;
        }
        // The newest of each controller waits for the person, who was asked who they are.
        let id = last["id"].as_str().unwrap_or_default();
        let pause = json!({ "kind": "identity", "reason": "two people with this name" });
        client.json(Method::POST, &format!("/v1/requests/{id}/pause"), Some(&pause)).await?;
    }
    Ok(left)
}

/// The same hour some days ago, in the middle of the controllers' day.
fn days_before(now: i64, days: i64) -> Result<Timestamp> {
    let zone = TimeZone::get("Europe/Berlin").context("the time zone")?;
    let then = Timestamp::from_millisecond(now)?.to_zoned(zone).checked_sub(days.days())?;
    Ok(then.round(Unit::Second)?.timestamp())
}

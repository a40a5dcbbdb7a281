//! The sandbox: vendors' servers, simulated on this machine, with made-up people in all of them, and a controller's file that
//! connects them, so that the whole flow can be tried before anything real is touched.

use super::{Json, stop_on_signal};
use crate::demo_seed;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use redress_sandbox::{ALL, Person, Sandbox as Simulators, Vendor};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(crate) struct Sandbox {
    /// Which vendors to serve, by the names of their connectors; all of them if none is named.
    vendors: Vec<String>,
    /// The port of the side door; the vendors follow on the next ones. 0 takes free ports.
    #[arg(long, default_value_t = 4800)]
    port: u16,
    /// How many people every vendor knows; near-twins are among them.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=300))]
    people: u16,
    /// Where the controller's file goes.
    #[arg(long, default_value = "redress-sandbox")]
    dir: PathBuf,
    #[command(flatten)]
    json: Json,
}

impl Sandbox {
    pub(super) async fn run(self) -> Result<()> {
        let mut vendors: Vec<Vendor> = Vec::new();
        for name in &self.vendors {
            match ALL.iter().find(|vendor| vendor.name == name) {
                Some(vendor) => vendors.push(*vendor),
                None => bail!(
                    "no vendor {name:?} is simulated; there are {}",
                    ALL.iter().map(|vendor| vendor.name).collect::<Vec<_>>().join(", ")
                ),
            }
        }
        if vendors.is_empty() {
            vendors.extend(ALL);
        }
        let people: Vec<Person> =
            demo_seed::sample_people(usize::from(self.people)).into_iter().map(|p| in_sandbox(&p)).collect();
        let first = if self.port == 0 { 0 } else { self.port.saturating_add(1) };
        let simulators = Arc::new(
            Simulators::start(&vendors, first, people)
                .await
                .context("a port of the sandbox cannot be had; name another with --port, or 0 for free ones")?,
        );
        let control = simulators
            .control(self.port)
            .await
            .context("the side door's port cannot be had; name another with --port")?;
        std::fs::create_dir_all(&self.dir).with_context(|| self.dir.display().to_string())?;
        let file = self.dir.join("controller.toml");
        std::fs::write(&file, controller(&simulators)).with_context(|| file.display().to_string())?;

        if self.json.json {
            let vendors: Vec<_> =
                simulators.vendors().map(|(name, url)| json!({ "vendor": name, "url": url })).collect();
            println!("{}", json!({ "control": format!("http://{control}"), "file": file, "vendors": vendors }));
        } else {
            println!("{} vendors know the same {} people (made up):", vendors.len(), simulators.people().len());
            for (name, url) in simulators.vendors() {
                println!("  {name:<16} {url}");
            }
            println!(
                "The side door is http://{control}/ (docs/sandbox.md): people, what is left of them, calls, faults, limits, time."
            );
            println!("Connect them: redress apply {}", file.display());
            if let Some(person) = simulators.people().first() {
                println!("Then, for example: redress submit --type deletion --email {}", person.email);
            }
            println!("Ctrl-C ends it; nothing is kept.");
        }
        let stop = CancellationToken::new();
        stop_on_signal(stop).await;
        Ok(())
    }
}

/// A person of the demo as the simulators seed them.
pub(crate) fn in_sandbox(person: &demo_seed::DemoPerson) -> Person {
    let (first_name, last_name) = person.full_name.rsplit_once(' ').unwrap_or(("", &person.full_name));
    Person {
        email: person.email.clone(),
        phone: person.phone.clone(),
        customer_id: person.customer_id.clone(),
        first_name: first_name.to_owned(),
        last_name: last_name.to_owned(),
    }
}

fn controller(simulators: &Simulators) -> String {
    let mut text = String::from(
        "# Simulated vendors of `redress sandbox`. Everything here is made up, keys included.\n\n[controller]\nname = \"sandbox\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\nregion = \"eu\"\n",
    );
    for (name, url) in simulators.vendors() {
        let _never_fails = write!(text, "\n{}", redress_sandbox::connections::system(name, name, &url));
    }
    text
}

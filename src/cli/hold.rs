//! Legal holds from a terminal: set, list, release.

use super::Json;
use super::client::Connection;
use crate::config::Environment;
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Keep what is there from being erased or changed: about a person, of a request, or of everything of the controller.
    Set(Box<Set>),
    /// List holds, newest first.
    List(List),
    /// Let what a hold stopped go on.
    Release(Release),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    connection: Connection,
    /// An identifier of the person, TYPE=VALUE such as email=jane@example.com; several point at the same person. Others on this
    /// machine may see it: `-` reads them from standard input, one a line.
    #[arg(long, value_name = "TYPE=VALUE", conflicts_with_all = ["request", "everything"])]
    identifier: Vec<String>,
    /// One request, `dsr_…`.
    #[arg(long, value_name = "ID", conflicts_with = "everything")]
    request: Option<String>,
    /// Everything of the controller.
    #[arg(long)]
    everything: bool,
    /// The law or order that asks for it; names no person.
    #[arg(long)]
    basis: String,
    /// What it is about; kept sealed.
    #[arg(long)]
    matter: Option<String>,
    /// A connected system to which it is restricted; every system if left out.
    #[arg(long, value_name = "NAME")]
    system: Vec<String>,
    /// Since when the data are to be kept, RFC 3339; now if left out.
    #[arg(long)]
    starts_at: Option<String>,
    /// The day on which somebody looks whether it is still needed.
    #[arg(long, value_name = "DATE")]
    review_on: String,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
    /// Those that are released too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    connection: Connection,
    /// The hold, `hld_…`.
    id: String,
    /// Why the data need not be kept any more; kept sealed.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: Json,
}

impl HoldCommand {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        match self {
            Self::Set(set) => set.run(environment).await,
            Self::List(list) => list.run(environment).await,
            Self::Release(release) => release.run(environment).await,
        }
    }
}

impl Set {
    async fn run(self, environment: &Environment) -> Result<()> {
        let mut body = json!({ "basis": self.basis, "review_on": self.review_on });
        if self.everything {
            body["scope"] = json!("controller");
        } else if let Some(id) = &self.request {
            (body["scope"], body["request"]) = (json!("request"), json!(id));
        } else {
            let mut given = Vec::new();
            for text in self.identifier {
                if text == "-" {
                    let lines = std::io::read_to_string(std::io::stdin()).context("standard input")?;
                    given.extend(lines.lines().map(str::to_owned).filter(|line| !line.trim().is_empty()));
                } else {
                    given.push(text);
                }
            }
            if given.is_empty() {
                bail!("say what is held: --identifier TYPE=VALUE, --request ID or --everything");
            }
            let mut identifiers = Vec::new();
            for text in &given {
                // The value is not repeated: it may be somebody's.
                let Some((kind, value)) = text.split_once('=') else {
                    bail!("an identifier is TYPE=VALUE, such as email=jane@example.com");
                };
                identifiers.push(json!({ "type": kind.trim(), "value": value }));
            }
            (body["scope"], body["identifiers"]) = (json!("subject"), json!(identifiers));
        }
        if let Some(matter) = self.matter {
            body["matter"] = json!(matter);
        }
        if let Some(at) = self.starts_at {
            body["starts_at"] = json!(at);
        }
        if !self.system.is_empty() {
            body["systems"] = json!(self.system);
        }
        let client = self.connection.open(environment)?;
        let view = client.json(Method::POST, "/v1/holds", Some(&body)).await?;
        print(&view, self.output.json);
        Ok(())
    }
}

impl List {
    async fn run(self, environment: &Environment) -> Result<()> {
        let client = self.connection.open(environment)?;
        let mut path = if self.all { "/v1/holds?limit=200" } else { "/v1/holds?limit=200&state=open" }.to_owned();
        let first = path.clone();
        loop {
            let page = client.json(Method::GET, &path, None).await?;
            for hold in page["holds"].as_array().into_iter().flatten() {
                print(hold, self.output.json);
            }
            let Some(cursor) = page["next_cursor"].as_str() else { return Ok(()) };
            path = format!("{first}&cursor={cursor}");
        }
    }
}

impl Release {
    async fn run(self, environment: &Environment) -> Result<()> {
        let client = self.connection.open(environment)?;
        let path = format!("/v1/holds/{}/release", self.id);
        let view = client.json(Method::POST, &path, Some(&json!({ "reason": self.reason }))).await?;
        print(&view, self.output.json);
        Ok(())
    }
}

fn print(hold: &Value, json: bool) {
    if json {
        println!("{hold}");
        return;
    }
    let text = |name: &str| hold[name].as_str().unwrap_or("-").to_owned();
    let overdue = if hold["review_overdue"] == true { " (over)" } else { "" };
    println!(
        "{}  {:<9} {:<10} review {}{overdue}  {}",
        text("id"),
        text("state"),
        text("scope"),
        text("review_on"),
        text("basis")
    );
    let reach = &hold["reach"];
    if reach.is_object() {
        let number = |name: &str| reach[name].as_i64().unwrap_or_default();
        println!("  reaches {} request(s), stops {} step(s)", number("requests"), number("stopped"));
        if number("under_way") > 0 {
            println!("  {} step(s) were at work when it came: look again in a moment", number("under_way"));
        }
        if number("acted_after") > 0 {
            println!("  {} step(s) had begun before it came and reported after", number("acted_after"));
        }
    }
}

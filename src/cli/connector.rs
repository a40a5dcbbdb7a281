//! Connectors and the systems they reach: what there is, whether a manifest is sound, whether a system answers.

use super::Json;
use crate::app::{App, know_manifests};
use crate::config::{Config, Environment};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use redress_connectors::manifest::judge::{Judge, Judged};
use redress_connectors::manifest::{Finding, Listed, Loaded, Severity, case, schema};
use redress_connectors::registry;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where judges are looked for if nothing is said.
const JUDGES: &str = "../shared/judges";

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// List the connectors with their settings and verbs.
    List {
        /// Print the table of docs/connectors.md.
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
        #[command(flatten)]
        output: Json,
    },
    /// Say everything that is wrong with manifests, with the line and what to do.
    Lint(Files),
    /// Lint manifests and run their cases, without the vendor; with the vendor's OpenAPI file too where it is found
    /// (below the folder REDRESS_JUDGES, or ../shared/judges).
    Test(Files),
    /// Print the JSON Schema of manifests, for your editor.
    Schema,
    /// Sign in to a connected system and compare what is declared with what is there.
    Check {
        /// The system's name.
        system: String,
        /// Its controller's name; may be left out if only one controller has a system of that name.
        #[arg(long)]
        controller: Option<String>,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Manifests.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Json,
}

impl ConnectorCommand {
    pub(super) async fn run(
        self,
        settings: impl FnOnce() -> Result<Config>,
        quiet: impl FnOnce() -> Result<Config>,
        environment: &Environment,
    ) -> Result<()> {
        match self {
            Self::List { markdown, output } => {
                know_manifests(&quiet()?)?;
                list(&registry::listed(), markdown, output.json);
                Ok(())
            }
            Self::Lint(files) => files.lint(),
            Self::Test(files) => files.test(environment.get("REDRESS_JUDGES").map_or(Path::new(JUDGES), Path::new)),
            Self::Schema => {
                print!("{}", schema::text());
                Ok(())
            }
            Self::Check { system, controller, output } => {
                check(settings()?, &system, controller.as_ref(), output.json).await
            }
        }
    }
}

fn list(connectors: &[Listed], markdown: bool, as_json: bool) {
    if as_json {
        println!("{}", json!({ "connectors": connectors }));
    } else if markdown {
        print!("{}", redress_connectors::manifest::markdown(connectors));
    } else {
        for listed in connectors {
            println!(
                "{}: {}\n    verbs: {}\n    settings = {}",
                listed.name,
                listed.about,
                listed.verbs.join(", "),
                listed.settings
            );
            if !listed.secrets.is_empty() {
                println!("    secrets: {}", listed.secrets.join(", "));
            }
        }
    }
}

/// What came of one manifest.
struct Report {
    file: PathBuf,
    findings: Vec<Finding>,
    /// Case or request by name, and what is wrong with it.
    cases: Vec<(String, Vec<String>)>,
    /// Why no judge was asked.
    unjudged: Option<String>,
}

impl Report {
    fn is_sound(&self) -> bool {
        !self.findings.iter().any(|finding| finding.severity == Severity::Error)
            && self.cases.iter().all(|(_, faults)| faults.is_empty())
    }

    fn to_json(&self) -> Value {
        let cases: Vec<Value> =
            self.cases.iter().map(|(name, faults)| json!({ "name": name, "faults": faults })).collect();
        json!({
            "file": self.file, "sound": self.is_sound(), "findings": self.findings, "cases": cases, "unjudged": self.unjudged,
        })
    }

    fn print(&self, with_cases: bool) {
        let file = self.file.display();
        for finding in &self.findings {
            println!("{file}: {finding}");
        }
        for (name, faults) in &self.cases {
            println!("{file}: {} {name}", if faults.is_empty() { "ok  " } else { "FAIL" });
            for fault in faults {
                println!("{file}:      {fault}");
            }
        }
        if let Some(why) = &self.unjudged {
            println!("{file}: not judged: {why}");
        }
        if self.is_sound() {
            println!("{file}: {}", if with_cases { "sound, and its cases hold" } else { "sound" });
        }
    }
}

impl Files {
    fn read(file: &Path) -> Result<(Option<Loaded>, Vec<Finding>)> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Ok(match Loaded::parse(&text) {
            Ok(loaded) => {
                let warnings = loaded.warnings.clone();
                (Some(loaded), warnings)
            }
            Err(findings) => (None, findings),
        })
    }

    fn lint(self) -> Result<()> {
        let mut reports = Vec::new();
        for file in &self.files {
            let (_, findings) = Self::read(file)?;
            reports.push(Report { file: file.clone(), findings, cases: Vec::new(), unjudged: None });
        }
        self.tell(&reports, false)
    }

    fn test(self, judges: &Path) -> Result<()> {
        let mut reports = Vec::new();
        for file in &self.files {
            let (loaded, findings) = Self::read(file)?;
            let mut report = Report { file: file.clone(), findings, cases: Vec::new(), unjudged: None };
            if let Some(loaded) = loaded {
                report.cases = case::run(&loaded).into_iter().map(|ran| (ran.name, ran.faults)).collect();
                match judge(&loaded, judges) {
                    Ok(None) => {}
                    Ok(Some(judge)) => report.cases.extend(judged(&loaded, &judge)),
                    Err(why) => report.unjudged = Some(why),
                }
            }
            reports.push(report);
        }
        self.tell(&reports, true)
    }

    fn tell(&self, reports: &[Report], with_cases: bool) -> Result<()> {
        if self.output.json {
            let files: Vec<Value> = reports.iter().map(Report::to_json).collect();
            println!("{}", json!({ "files": files }));
        } else {
            for report in reports {
                report.print(with_cases);
            }
        }
        let broken = reports.iter().filter(|report| !report.is_sound()).count();
        if broken > 0 {
            bail!("{broken} of {} manifests cannot be used as they are; mend what is told above", reports.len());
        }
        Ok(())
    }
}

/// The judge that a manifest names; none if it names none.
fn judge(loaded: &Loaded, judges: &Path) -> Result<Option<Judge>, String> {
    let Some(name) = &loaded.file.connector.judge else { return Ok(None) };
    let path = judges.join(name);
    Judge::read(&path)
        .map(Some)
        .map_err(|fault| format!("{}: {fault} (REDRESS_JUDGES names the folder of judges)", path.display()))
}

fn judged(loaded: &Loaded, judge: &Judge) -> Vec<(String, Vec<String>)> {
    let one = |(name, shown): (String, case::Shown)| {
        let (path, query) = shown.url.split_once('?').unwrap_or((&shown.url, ""));
        let request = Judged { method: &shown.method, path, query, headers: &shown.headers, body: &shown.body };
        (
            format!("the vendor's interface has the request of {name:?}"),
            judge.verdict(request).err().unwrap_or_default(),
        )
    };
    case::requests(loaded).into_iter().map(one).collect()
}

async fn check(config: Config, system: &str, controller: Option<&String>, as_json: bool) -> Result<()> {
    let app = App::open(config).await?;
    let store = app.store();
    let mut found = Vec::new();
    for candidate in store.controllers().await? {
        if controller.is_none_or(|name| *name == candidate.name)
            && let Some(row) = store.system_by_name(&candidate.id, system).await?
        {
            found.push((candidate.name, row));
        }
    }
    let (name, row) = match found.len() {
        0 => bail!("no connected system is named {system:?}; `redress apply` connects one"),
        1 => found.remove(0),
        _ => bail!("several controllers have a system named {system:?}; say which with --controller"),
    };
    match App::check_system(app.engine(), &row).await {
        Ok(report) if as_json => println!("{report}"),
        Ok(report) => {
            println!("{name}/{system} answers");
            for (mark, key) in [("ok", "ok"), ("note", "warnings")] {
                for line in report[key].as_array().into_iter().flatten() {
                    println!("  {mark}: {}", line.as_str().unwrap_or_default());
                }
            }
        }
        Err((code, detail)) => bail!("{name}/{system}: {code}: {detail}"),
    }
    Ok(())
}

//! The demonstration: sample systems on disk, sixty requests through the real service, and the proof that it did what it says.

mod left_open;

use super::{client::Client, operator, stop_on_signal};
use crate::app::{self, App, Role};
use crate::config::Config;
use crate::demo_seed::{self, DEFAULT_SEED, DemoRequest, DemoWorld};
use crate::link::Invited;
use crate::provision::ControllerFile;
use crate::telemetry;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use redress_domain::RequestType;
use redress_jobs::certificate::verify_certificate;
use redress_sandbox::{ALL, Sandbox, Vendor, connections};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The vendors that are simulated beside the systems on disk.
const VENDORS: [&str; 2] = ["marketo", "salesforce"];
/// How long one request of the demonstration may take.
const LIMIT: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where the sample systems and the demonstration's own data go; what an earlier run left there is replaced.
    #[arg(long, default_value = "redress-demo")]
    dir: PathBuf,
    /// End when the requests are fulfilled instead of keeping the board up.
    #[arg(long)]
    exit: bool,
}

impl Demo {
    pub(super) async fn run(self, mut config: Config) -> Result<()> {
        let began = Instant::now();
        let world = demo_seed::seed(&self.dir, DEFAULT_SEED).await?;
        let vendors = simulate(&world).await?;
        let before = census(&self.dir, &world, &vendors).await?;
        println!(
            "Five systems with {} people: a shop's database, a newsletter (SQLite) and a mail store (Maildir) in {}, and two simulated vendors, a Salesforce CRM and Marketo.",
            world.people.len(),
            self.dir.display()
        );

        config.data_dir = self.dir.join("data");
        config.database.url = None;
        config.redis.url = None;
        config.keys.master_key_file = None;
        replace_folder(&config.data_dir)?;
        replace_folder(&self.dir.join("answers"))?;
        log_to_file(&config, &self.dir.join("redress.log"))?;
        // The board of a demonstration is looked at soon: what is foreseen is known after seconds.
        config.worker.forecast_interval_seconds = config.worker.forecast_interval_seconds.min(10);
        config.worker.sweep_interval_seconds = config.worker.sweep_interval_seconds.min(10);
        let listener = listen_somewhere(config.http.listen).await?;
        let address = listener.local_addr()?;
        // The board is where we listen, which may be another port than the configured one.
        config.http.public_url = Some(format!("http://{address}"));
        config.oidc.issuer = None;
        let app = App::open(config).await?;
        let key = provision(&app, &self.dir, &vendors).await?;

        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        let client = Client::new(&format!("http://{address}"), key.clone())?;
        let store = app.store().clone();
        let signing_key = app.signing_key();
        let work = async {
            let outcome = self.fulfil(&client, &world, &vendors, &before, &signing_key).await;
            if let Ok((fulfilled, all)) = &outcome {
                println!(
                    "\n{fulfilled} of {all} fulfilled in {:.1} s (from an empty folder)",
                    began.elapsed().as_secs_f64()
                );
                let stays = if self.exit { "without --exit it stays up" } else { "Ctrl-C ends it" };
                if !self.exit {
                    let left =
                        left_open::leave_open(&store, &client, &format!("http://{address}"), &self.dir, &world).await?;
                    println!(
                        "{left} more are left open for the board to show: some wait for a paused system, a decision, a person's hands or the data subject, and some are late. They are not among the {all}."
                    );
                }
                println!("The board: http://{address}/   ({stays})");
                if !self.exit {
                    let link = Invited::first_administrator().link(&store, &format!("http://{address}")).await?;
                    println!("To act on it, sign in once, within fifteen minutes: {link}");
                    println!("Try the API: REDRESS_URL=http://{address} REDRESS_API_KEY={key} redress list");
                    stop.cancelled().await;
                }
            }
            stop.cancel();
            outcome
        };
        let (served, outcome) = tokio::join!(app.serve(Role::All, listener, stop.clone()), work);
        drop(store);
        served?;
        let (fulfilled, all) = outcome?;
        ensure!(
            fulfilled == all,
            "{} request(s) were not fulfilled; {} tells why",
            all - fulfilled,
            self.dir.join("redress.log").display()
        );
        Ok(())
    }

    async fn fulfil(
        &self,
        client: &Client,
        world: &DemoWorld,
        vendors: &Sandbox,
        before: &BTreeMap<String, u64>,
        signing_key: &Value,
    ) -> Result<(usize, usize)> {
        let bar = ProgressBar::new(world.requests.len() as u64).with_style(
            ProgressStyle::with_template("{bar:40} {pos}/{len} requests fulfilled, {elapsed}")?.progress_chars("=> "),
        );
        let began = Instant::now();
        let views: Vec<(&DemoRequest, Value)> = stream::iter(&world.requests)
            .map(|request| {
                let bar = &bar;
                async move {
                    let view = fulfil_one(client, &request.to_json()).await?;
                    bar.inc(1);
                    anyhow::Ok((request, view))
                }
            })
            .buffer_unordered(16)
            .try_collect()
            .await?;
        bar.finish_and_clear();
        println!("Sixty requests took {:.2} s:", began.elapsed().as_secs_f64());
        summarize(&views);
        self.prove(client, world, vendors, before, &views, signing_key).await?;
        latency(client, world).await?;
        let fulfilled = views.iter().filter(|(_, view)| is_fulfilled(view)).count();
        for (_, view) in views.iter().filter(|(_, view)| !is_fulfilled(view)) {
            println!("  not fulfilled: {} is {}: {}", view["id"], view["status"], view["attention"]);
        }
        Ok((fulfilled, views.len()))
    }

    /// Shows the proof: a certificate that verifies, a package, and that nobody else's records changed.
    async fn prove(
        &self,
        client: &Client,
        world: &DemoWorld,
        vendors: &Sandbox,
        before: &BTreeMap<String, u64>,
        views: &[(&DemoRequest, Value)],
        signing_key: &Value,
    ) -> Result<()> {
        let first = |kind: RequestType| views.iter().find(|(r, view)| r.kind == kind && is_fulfilled(view));
        if let Some((_, view)) = first(RequestType::Deletion) {
            let id = view["id"].as_str().unwrap_or_default();
            let path = self.dir.join("answers").join(format!("{id}.certificate.json"));
            let document = client.bytes(&format!("/v1/requests/{id}/certificate")).await?;
            std::fs::write(&path, &document)?;
            let report = verify_certificate(&String::from_utf8(document)?, None).context("the certificate")?;
            println!("\nA deletion's certificate, {}:\n{}", path.display(), indent(&report.to_string()));
            println!(
                "  check it with: redress verify {} --key {}",
                path.display(),
                signing_key["public_key"].as_str().unwrap_or_default()
            );
        }
        if let Some((_, view)) = first(RequestType::Access) {
            let id = view["id"].as_str().unwrap_or_default();
            let path = self.dir.join("answers").join(format!("{id}.zip"));
            std::fs::write(&path, client.bytes(&format!("/v1/requests/{id}/package")).await?)?;
            println!("\nAn access package (open its index.html): {}", path.display());
        }
        let after = census(&self.dir, world, vendors).await?;
        let deleted: Vec<&str> = views
            .iter()
            .filter(|(r, v)| r.kind == RequestType::Deletion && is_fulfilled(v))
            .map(|(r, _)| r.email.as_str())
            .collect();
        let left = deleted.iter().filter(|email| after.get(**email).is_some_and(|n| *n > 0)).count();
        let touched: Vec<&str> = before
            .iter()
            .filter(|(email, n)| !deleted.contains(&email.as_str()) && after.get(*email) != Some(n))
            .map(|(email, _)| email.as_str())
            .collect();
        println!(
            "\nCounted again in the systems themselves: {} of {} deleted people still there, {} of the other {} people touched (among them {} near-twins).",
            left,
            deleted.len(),
            touched.len(),
            before.len() - deleted.len(),
            world.twins.len()
        );
        // Whoever is named here is made up.
        ensure!(left == 0 && touched.is_empty(), "the systems do not look as they should: {}", touched.join(", "));
        Ok(())
    }
}

/// How many records each of the people has, read from the systems themselves. The shop's own addresses, which lose the
/// messages they exchanged with deleted people, are nobody's.
async fn census(dir: &Path, world: &DemoWorld, vendors: &Sandbox) -> Result<BTreeMap<String, u64>> {
    let mut counts = demo_seed::census(dir).await?;
    counts.retain(|email, _| world.people.iter().any(|person| person.email == *email));
    for person in &world.people {
        let there: u64 = VENDORS.iter().map(|vendor| vendors.left(vendor, &person.email)).sum();
        *counts.entry(person.email.clone()).or_default() += there;
    }
    Ok(counts)
}

async fn fulfil_one(client: &Client, body: &Value) -> Result<Value> {
    let view = client.json(Method::POST, "/v1/requests", Some(body)).await?;
    client.until_settled(view["id"].as_str().unwrap_or_default(), LIMIT).await
}

/// The vendors' simulators, which know the same people.
async fn simulate(world: &DemoWorld) -> Result<Sandbox> {
    let vendors: Vec<Vendor> = ALL.iter().filter(|vendor| VENDORS.contains(&vendor.name)).copied().collect();
    let people = world.people.iter().map(super::sandbox::in_sandbox).collect();
    Sandbox::start(&vendors, 0, people).await.context("a port for a simulated vendor")
}

/// One request with three systems while nothing else runs.
async fn latency(client: &Client, world: &DemoWorld) -> Result<()> {
    let asked: Vec<&str> = world.requests.iter().map(|r| r.email.as_str()).collect();
    let Some(person) =
        world.people.iter().find(|p| !asked.contains(&p.email.as_str()) && !world.twins.contains(&p.email))
    else {
        bail!("nobody is left")
    };
    let body = json!({ "type": "access", "reference": "DEMO-LATENCY", "systems": ["crm", "newsletter", "mail"], "subject": { "identifiers": [{ "type": "email", "value": person.email }] } });
    let began = Instant::now();
    let view = fulfil_one(client, &body).await?;
    println!(
        "One request with three systems, idle service: {:.0} ms from submit to {}.",
        began.elapsed().as_secs_f64() * 1_000.0,
        view["status"].as_str().unwrap_or_default()
    );
    Ok(())
}

fn is_fulfilled(view: &Value) -> bool {
    matches!(view["status"].as_str(), Some("completed" | "partially_completed"))
}

fn summarize(views: &[(&DemoRequest, Value)]) {
    for kind in [RequestType::Access, RequestType::Correction, RequestType::Deletion] {
        let of_kind: Vec<&Value> = views.iter().filter(|(r, _)| r.kind == kind).map(|(_, view)| view).collect();
        let mut by_status: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut found, mut changed) = (0, 0);
        for view in &of_kind {
            *by_status.entry(view["status"].as_str().unwrap_or("?")).or_default() += 1;
            for step in view["steps"].as_array().into_iter().flatten() {
                found += step["found"].as_u64().unwrap_or_default();
                changed += step["changed"].as_u64().unwrap_or_default();
            }
        }
        let statuses: Vec<String> = by_status.iter().map(|(status, n)| format!("{n} {status}")).collect();
        println!(
            "  {:<11} {:>2}: {}; {found} records found, {changed} changed",
            kind.as_str(),
            of_kind.len(),
            statuses.join(", ")
        );
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

async fn provision(app: &App, dir: &Path, vendors: &Sandbox) -> Result<String> {
    let path = dir.join("controller.toml");
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (vendor, url) in vendors.vendors() {
        text.push('\n');
        text.push_str(&connections::system(vendor, vendor, &url));
        // The vendors' own limits would make the demonstration a matter of minutes.
        text.push_str("limits = { rates = [\"1000/s\"] }\n");
    }
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    let file = ControllerFile::load(&path, &|_| None)?;
    operator::apply(app.store(), &file, false).await?;
    let controller =
        app.store().controller_by_name(&file.controller.name).await?.context("the controller that was just made")?;
    let (_, key) = app.store().create_key(&controller.id, redress_domain::Role::ControllerAdmin, "demo").await?;
    Ok(key)
}

/// An empty folder in place of the one of an earlier run. The demonstration's folder bears its mark, see [`demo_seed`].
fn replace_folder(path: &Path) -> Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
    }
    std::fs::create_dir_all(path).with_context(|| path.display().to_string())
}

fn log_to_file(config: &Config, path: &Path) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
    let subscriber = telemetry::subscriber(&config.log, false, std::sync::Mutex::new(file));
    // A second demonstration in one process keeps the first one's log.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Listens where the configuration says, or on a free port if something else is there.
async fn listen_somewhere(wanted: SocketAddr) -> Result<tokio::net::TcpListener> {
    match app::listen(wanted).await {
        Ok(listener) => Ok(listener),
        Err(_) => app::listen(SocketAddr::new(wanted.ip(), 0)).await,
    }
}

//! Commands of the operator: they work on the installation's own database.

use super::instructed::Instructed;
use super::{Json, routes};
use crate::app::{App, know_manifests, open_store};
use crate::config::{Config, Environment};
use crate::connected;
use crate::provision::{ApplyFile, ControllerDef, ControllerFile, read_controller};
use crate::rules::RulesInUse;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use redress_domain::terms::Terms;
use redress_domain::{ControllerId, KeyId, Role};
use redress_jobs::certificate::{PublicKey, verify_any};
use redress_store::{BookKind, Controller, ControllerPolicy, Dialect, NewController, Store};
use serde_json::json;
use std::path::PathBuf;

const ACTOR: &str = "operator";

/// An instant as programs write it.
fn instant(ms: Option<i64>) -> Option<String> {
    ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map(|at| at.to_string())
}

fn wanted(def: &ControllerDef) -> NewController {
    NewController {
        name: def.name.clone(),
        country: Some(def.country.clone()),
        timezone: def.timezone.clone(),
        region: Some(def.region.clone()),
        contact: def.contact.clone(),
        policy: ControllerPolicy {
            require_approval: def.require_approval.clone(),
            review: def.review.clone(),
            four_eyes: def.four_eyes,
            cooling_off_hours: def.cooling_off_hours,
            package_expires_days: def.package_expires_days,
        },
        terms: def.terms.clone(),
        weight: def.weight,
    }
}

pub(super) async fn named(store: &Store, name: &str) -> Result<Controller> {
    store
        .controller_by_name(name)
        .await?
        .ok_or_else(|| anyhow!("no controller is named {name:?}; `redress controller list` shows them"))
}

/// Brings the schema up to date.
pub(super) async fn migrate(config: Config) -> Result<()> {
    let store = open_store(&config).await?;
    let applied = store.migrate().await?;
    if applied.is_empty() {
        println!("the schema is up to date");
    } else {
        println!("applied: {}", applied.join(", "));
    }
    Ok(())
}

/// Whether the rules can be read, and no calendar in use by default ends while requests of today are open.
fn rules(config: &Config) -> Result<String> {
    let in_use = RulesInUse::load(config)?;
    let today = redress_domain::Clock::now(&redress_domain::SystemClock).to_zoned(jiff::tz::TimeZone::UTC).date();
    let ending = in_use.ending_calendars(today);
    let ending: Vec<String> = ending.iter().map(|(id, until)| format!("{id} ({until})")).collect();
    let rules = in_use.rules;
    let versions = format!("regulations {}, holidays {}", rules.table.version, rules.calendars.version);
    if ending.is_empty() {
        Ok(versions)
    } else {
        Ok(format!("{versions}; calendars that end soon, newer ones are needed: {}", ending.join(", ")))
    }
}

/// Says what is wrong with this installation.
pub(super) async fn doctor(config: Config) -> Result<()> {
    let mut faults = 0;
    let mut say = |name: &str, outcome: Result<String>| match outcome {
        Ok(text) => println!("ok    {name}: {text}"),
        Err(error) => {
            faults += 1;
            println!("FAULT {name}: {error:#}");
        }
    };
    say("configuration", Ok("valid".into()));
    say("regulations and holidays", rules(&config));
    if config.connectors.manifests.is_some() {
        let manifests = know_manifests(&config);
        let sound = manifests.is_ok();
        say("manifests", manifests.map(|()| "sound".into()));
        // Nothing opens without them.
        if !sound {
            bail!("1 fault");
        }
    }
    let store = open_store(&config).await;
    let store = match store {
        Ok(store) => {
            say("database", store.ping().await.map(|()| format!("{:?} answers", store.dialect())).map_err(Into::into));
            Some(store)
        }
        Err(error) => {
            say("database", Err(error));
            None
        }
    };
    if let Some(store) = store {
        let schema = if store.dialect() == Dialect::Sqlite {
            store.migrate().await.map(drop)
        } else {
            store.check_schema().await
        };
        say("schema", schema.map(|()| "up to date".into()).map_err(Into::into));
        say("master key", store.signing_seed().await.map(|_| "opens what is sealed".into()).map_err(Into::into));
        if let Some(url) = &config.redis.url {
            say(
                "redis",
                redress_store::ping_redis(url.expose()).await.map(|()| "answers".into()).map_err(|e| anyhow!(e)),
            );
        }
        let app = App::open(config).await?;
        say("notices", routes::check(&app).await);
        for controller in store.controllers().await? {
            for system in store.systems(&controller.id).await? {
                let name = format!("system {} of {}", system.name, controller.name);
                let checked = App::check_system(app.engine(), &system).await;
                say(&name, checked.map(|_| "answers".into()).map_err(|(code, detail)| anyhow!("{code}: {detail}")));
            }
        }
    }
    if faults > 0 {
        bail!("{faults} fault(s)");
    }
    Ok(())
}

#[derive(Debug, Subcommand)]
pub(crate) enum ControllerCommand {
    /// Create a controller and print its API key once.
    Create {
        /// Name, unique in this installation: a-z, 0-9, - and _.
        name: String,
        /// ISO 3166-1 alpha-2 code of its country: decides its law and how its phone numbers are read.
        #[arg(long)]
        country: String,
        /// IANA time zone in which its days end.
        #[arg(long)]
        timezone: String,
        /// Where its data are kept.
        #[arg(long)]
        region: Option<String>,
        /// E-mail address of its privacy team.
        #[arg(long)]
        contact: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// List controllers.
    List(Json),
    /// Print the secret with which a controller's webhooks are signed.
    WebhookSecret {
        /// Its name.
        name: String,
    },
}

impl ControllerCommand {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let app = App::open(config).await?;
        let store = app.store();
        match self {
            Self::Create { name, country, timezone, region, contact, output } => {
                let mut value = json!({ "name": name, "country": country.to_uppercase(), "timezone": timezone });
                if let Some(region) = region {
                    value["region"] = json!(region);
                }
                if let Some(contact) = contact {
                    value["contact"] = json!(contact);
                }
                let def = read_controller(&value).map_err(|faults| {
                    anyhow!(
                        faults
                            .iter()
                            .map(|f| format!("--{} {}", f.pointer.trim_start_matches('/'), f.detail))
                            .collect::<Vec<_>>()
                            .join("; ")
                    )
                })?;
                let controller = store.create_controller(&wanted(&def), ACTOR).await?;
                let (_, key) = store.create_key(&controller.id, Role::ControllerAdmin, ACTOR).await?;
                let secret = store.webhook_secret_text(&controller.id).await?;
                if output.json {
                    println!(
                        "{}",
                        json!({ "id": controller.id, "name": controller.name, "api_key": key, "webhook_secret": secret })
                    );
                } else {
                    println!(
                        "controller {} is {}\nAPI key, shown this once: {key}\nwebhook secret: {secret}",
                        controller.name, controller.id
                    );
                }
            }
            Self::List(output) => {
                let all = store.controllers().await?;
                if output.json {
                    let all: Vec<_> = all
                        .iter()
                        .map(|c| json!({ "id": c.id, "name": c.name, "country": c.country, "timezone": c.timezone, "region": c.region }))
                        .collect();
                    println!("{}", json!({ "controllers": all }));
                } else {
                    for c in all {
                        println!("{}  {}  {}  {}", c.id, c.name, c.country.unwrap_or_default(), c.timezone);
                    }
                }
            }
            Self::WebhookSecret { name } => {
                let controller = named(store, &name).await?;
                println!("{}", store.webhook_secret_text(&controller.id).await?);
            }
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it once.
    Create {
        /// Name of the controller.
        #[arg(long)]
        controller: String,
        /// controller_admin, controller_user or auditor.
        #[arg(long, default_value = "controller_user")]
        role: String,
        #[command(flatten)]
        output: Json,
    },
    /// List a controller's keys.
    List {
        /// Name of the controller.
        #[arg(long)]
        controller: String,
        #[command(flatten)]
        output: Json,
    },
    /// Revoke a key at once.
    Revoke {
        /// The key's id, `key_…`.
        id: String,
        /// Name of the controller.
        #[arg(long)]
        controller: String,
    },
}

impl KeyCommand {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let app = App::open(config).await?;
        let store = app.store();
        match self {
            Self::Create { controller, role, output } => {
                let known = Role::KEYS.map(Role::as_str).join(", ");
                let found = Role::parse(&role).filter(|role| Role::KEYS.contains(role));
                let role = found.ok_or_else(|| anyhow!("--role {role:?} is none of {known}"))?;
                let controller = named(store, &controller).await?;
                let (id, key) = store.create_key(&controller.id, role, ACTOR).await?;
                if output.json {
                    println!(
                        "{}",
                        json!({ "id": id, "controller": controller.name, "role": role.as_str(), "api_key": key })
                    );
                } else {
                    println!("{id} ({})\nAPI key, shown this once: {key}", role.as_str());
                }
            }
            Self::List { controller, output } => {
                let controller = named(store, &controller).await?;
                let keys = store.keys(&controller.id).await?;
                if output.json {
                    let all: Vec<_> = keys
                        .iter()
                        .map(|k| json!({ "id": k.id, "role": k.role.as_str(), "revoked": k.revoked_at.is_some(), "last_used_at": instant(k.last_used_at) }))
                        .collect();
                    println!("{}", json!({ "keys": all }));
                } else {
                    for key in keys {
                        println!(
                            "{}  {}  {}{}",
                            key.id,
                            key.role.as_str(),
                            instant(key.last_used_at)
                                .map_or_else(|| "no use recorded".to_owned(), |at| format!("used {at}")),
                            if key.revoked_at.is_some() { "  revoked" } else { "" }
                        );
                    }
                }
            }
            Self::Revoke { id, controller } => {
                let controller = named(store, &controller).await?;
                let id = KeyId::parse(&id).context("the key's id")?;
                store
                    .revoke_key(&controller.id, &id, ACTOR)
                    .await
                    .map_err(|_| anyhow!("{id} is no key of {}", controller.name))?;
                println!("revoked {id}");
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Controllers' files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    pub(super) async fn run(self, config: Config, environment: &Environment) -> Result<()> {
        let env = |name: &str| environment.get(name).map(str::to_owned);
        // Every file is read before any is applied: nothing is half applied.
        let files = self.files.iter().map(|path| ApplyFile::load(path, &env)).collect::<Result<Vec<_>, _>>()?;
        let app = App::open(config).await?;
        let mut operators = None;
        let mut controllers = Vec::new();
        for (file, path) in files.into_iter().zip(&self.files) {
            match file {
                ApplyFile::Controller(file) => {
                    let terms = file.controller.terms.as_deref();
                    app.rules().check_terms(terms).with_context(|| path.display().to_string())?;
                    controllers.push(file);
                }
                ApplyFile::Operator(routes) => operators.get_or_insert_with(Vec::new).extend(routes),
            }
        }
        if let Some(routes) = &operators {
            let named: Vec<&str> = controllers.iter().map(|file| file.controller.name.as_str()).collect();
            routes::check_operators(app.store(), routes, &named).await?;
        }
        for file in &controllers {
            apply(app.store(), file, self.dry_run).await?;
        }
        if let Some(routes) = &operators
            && !routes::apply(app.store(), None, routes, self.dry_run).await?
        {
            println!("the operator's routes: nothing to change");
        }
        let all = controllers.iter().flat_map(|file| &file.notify).chain(operators.iter().flatten());
        routes::mention_mail(&app, all);
        Ok(())
    }
}

/// Keeps what was agreed, so that changed terms under an old version are refused before they count.
async fn keep_terms(store: &Store, controller_id: &ControllerId, terms: Option<&str>) -> Result<()> {
    let Some(text) = terms else { return Ok(()) };
    let version = serde_json::from_str::<Terms>(text)?.version;
    store.keep_book(BookKind::Terms, controller_id.as_str(), &version, text).await?;
    Ok(())
}

/// Applies one file; prints a line for each thing that changed.
pub(super) async fn apply(store: &Store, file: &ControllerFile, dry_run: bool) -> Result<()> {
    let wanted = wanted(&file.controller);
    let would = if dry_run { "would be " } else { "" };
    let existing = store.controller_by_name(&wanted.name).await?;
    let mut instructed = Instructed::before(store, existing.as_ref(), &wanted.policy).await?;
    let mut changed = false;
    let controller = if let Some(existing) = existing {
        let same = existing.country == wanted.country
            && existing.timezone == wanted.timezone
            && existing.region == wanted.region
            && existing.contact == wanted.contact
            && existing.policy == wanted.policy
            && existing.terms == wanted.terms
            && existing.weight == wanted.weight;
        if !same {
            changed = true;
            if !dry_run {
                keep_terms(store, &existing.id, wanted.terms.as_deref()).await?;
                store.update_controller(&existing.id, &wanted, ACTOR).await?;
            }
            println!("controller {}: {would}changed", wanted.name);
        }
        Some(existing)
    } else {
        changed = true;
        println!("controller {}: {would}created", wanted.name);
        if dry_run {
            None
        } else {
            let created = store.create_controller(&wanted, ACTOR).await?;
            keep_terms(store, &created.id, wanted.terms.as_deref()).await?;
            Some(created)
        }
    };
    for system in &file.systems {
        let upsert = connected::upsert(system, false).map_err(|faults| {
            anyhow!(faults.iter().map(|f| format!("{}: {}", f.path, f.detail)).collect::<Vec<_>>().join("; "))
        })?;
        instructed.system(&upsert);
        let old = match &controller {
            Some(controller) => store.system_by_name(&controller.id, &system.name).await?,
            None => None,
        };
        let what = if old.is_some() { "changed" } else { "connected" };
        let was_paused = old.as_ref().is_some_and(|old| old.paused);
        let turn = system.paused.filter(|paused| *paused != was_paused);
        if turn.is_some() && old.is_some() {
            changed = true;
            println!(
                "system {}/{}: {would}{}",
                wanted.name,
                system.name,
                if was_paused { "resumed" } else { "paused" }
            );
        }
        // Paused first and resumed last: nothing runs in between that the file does not want.
        if let (Some(controller), Some(true), false, true) = (&controller, turn, dry_run, old.is_some()) {
            store.pause_system(&controller.id, &system.name, true, ACTOR).await?;
        }
        let differs = match (&controller, dry_run) {
            (Some(controller), false) => store.upsert_system(&controller.id, &upsert, ACTOR).await?,
            (Some(_), true) => store.system_differs(old.as_ref(), &upsert).await?,
            (None, _) => true,
        };
        if let (Some(controller), Some(paused), false) = (&controller, turn, dry_run)
            && !(paused && old.is_some())
        {
            store.pause_system(&controller.id, &system.name, paused, ACTOR).await?;
        }
        if system.allow.is_none() && differs {
            println!(
                "system {}/{}: no `allow` is given, so every right that {} can honour is allowed",
                wanted.name, system.name, system.connector
            );
        }
        if differs {
            changed = true;
            println!("system {}/{}: {would}{what} ({})", wanted.name, system.name, system.connector);
        }
    }
    if let Some(controller) = &controller {
        for gone in
            store.systems(&controller.id).await?.iter().filter(|s| file.systems.iter().all(|f| f.name != s.name))
        {
            println!(
                "system {}/{}: is connected but not in the file; DELETE /v1/systems/{} disconnects it",
                wanted.name, gone.name, gone.name
            );
        }
    }
    instructed.tell(&wanted.name, would);
    let owner = (wanted.name.as_str(), controller.as_ref().map(|controller| &controller.id));
    changed |= routes::apply(store, Some(owner), &file.notify, dry_run).await?;
    if !changed {
        println!("controller {}: nothing to change", wanted.name);
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A certificate (JSON), a package or evidence (ZIP) or an audit export (NDJSON).
    file: PathBuf,
    /// The installation's public key in base64 (GET /v1/signing-key); without it only integrity is checked, not who signed.
    #[arg(long, value_name = "BASE64")]
    key: Vec<String>,
}

impl Verify {
    pub(super) fn run(self) -> Result<()> {
        let keys =
            self.key.iter().map(|text| PublicKey::parse(text)).collect::<Result<Vec<_>, _>>().context("--key")?;
        let report = verify_any(&self.file, (!keys.is_empty()).then_some(keys.as_slice()))
            .with_context(|| self.file.display().to_string())?;
        println!("{report}");
        Ok(())
    }
}

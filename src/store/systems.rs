//! A connected system is one place of one controller that may hold personal data, with what is needed to reach it.

use crate::db::{Row, args};
use crate::events::NewEvent;
use crate::gather::for_all;
use crate::sealed::place;
use crate::sql::push_hex;
use crate::{Error, Store};
use futures::FutureExt as _;
use jiff::civil::Date;
use redress_domain::plan::SystemFacts;
use redress_domain::{ControllerId, IdentifierType, Personal, RequestType, SystemId, Verb};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A connected system as it is stored; its secrets stay sealed until [`Store::system_secrets`].
#[derive(Debug, Clone)]
pub struct SystemRow {
    /// Its id.
    pub id: SystemId,
    /// Whose it is.
    pub controller_id: ControllerId,
    /// The controller's name for it.
    pub name: String,
    /// `crm`, `marketing`, `email`, `database`, …
    pub family: String,
    /// Which connector reaches it.
    pub connector: String,
    /// Settings, tables and limits as JSON, without secrets.
    pub definition: Value,
    /// Rights for which the controller instructed us to act there.
    pub allow: Vec<RequestType>,
    /// Verbs its connector performs.
    pub verbs: Vec<Verb>,
    /// Identifier types by which it can be searched.
    pub identifiers: Vec<IdentifierType>,
    /// Fields that a correction can change there.
    pub fields: Vec<String>,
    /// Grows with each change.
    pub version: i64,
    /// Most steps that its connector takes in one call.
    pub batch: i64,
    /// Days that it takes by itself after it was asked; 0 if it acts at once.
    pub completes_within_days: i64,
    /// Nothing is sent there for now.
    pub paused: bool,
    /// Whether it is tried at all after calls that failed.
    pub breaker: crate::Breaker,
    /// Unix ms of the last check.
    pub checked_at: Option<i64>,
    /// What the last check found wrong: code and sentence.
    pub problem: Option<(String, String)>,
}

impl SystemRow {
    /// What the plan must know about it.
    pub fn facts(&self) -> SystemFacts {
        SystemFacts {
            id: self.id.clone(),
            name: self.name.clone(),
            allow: self.allow.clone(),
            verbs: self.verbs.clone(),
            identifiers: self.identifiers.clone(),
            fields: self.fields.clone(),
        }
    }

    /// Whose allowance at the vendor its calls are counted against: its own, unless its controller says that several systems use one
    /// `account`. An id or a hash, for it stands in Redis.
    pub fn allowance_key(&self) -> String {
        let Some(account) = self.definition["account"].as_str() else { return self.id.as_str().to_owned() };
        let text = format!("{}\n{account}", self.controller_id.as_str());
        let mut key = "acc_".to_owned();
        push_hex(&mut key, &digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        key
    }

    /// The last day on which its credentials are good, if somebody said so.
    pub fn credentials_expire_on(&self) -> Option<Date> {
        self.definition["credentials_expire_on"].as_str().and_then(|text| text.parse().ok())
    }
}

pub(crate) const DAY_MS: i64 = 86_400_000;

/// What a new request must know of a connected system: what the plan needs, and what is shown of its step.
#[derive(Debug, Clone)]
pub struct SystemOutline {
    /// What the plan must know.
    pub facts: SystemFacts,
    /// See [`SystemRow::family`].
    pub family: String,
    /// See [`SystemRow::connector`].
    pub connector: String,
    /// See [`SystemRow::completes_within_days`].
    pub completes_within_days: i64,
}

/// A connected system to be created or replaced.
#[derive(Debug, Clone)]
pub struct SystemUpsert {
    /// See [`SystemRow::name`].
    pub name: String,
    /// See [`SystemRow::family`].
    pub family: String,
    /// See [`SystemRow::connector`].
    pub connector: String,
    /// See [`SystemRow::definition`].
    pub definition: Value,
    /// Secrets by name; `None` keeps those that are stored.
    pub secrets: Option<BTreeMap<String, Personal<String>>>,
    /// See [`SystemRow::allow`].
    pub allow: Vec<RequestType>,
    /// See [`SystemRow::verbs`].
    pub verbs: Vec<Verb>,
    /// See [`SystemRow::identifiers`].
    pub identifiers: Vec<IdentifierType>,
    /// See [`SystemRow::fields`].
    pub fields: Vec<String>,
    /// Most steps that its connector takes in one call.
    pub batch: i64,
    /// See [`SystemRow::completes_within_days`].
    pub completes_within_days: i64,
}

/// What of a definition says what is done: how often it may be done is no part of that.
fn without_limits(definition: &Value) -> Value {
    let mut rest = definition.clone();
    if let Some(table) = rest.as_object_mut() {
        table.retain(|key, _| {
            !matches!(key.as_str(), "limits" | "account" | "rate_per_second" | "credentials_expire_on")
        });
    }
    rest
}

fn words<T: Copy>(all: &[T], spell: impl Fn(T) -> &'static str) -> String {
    json!(all.iter().map(|w| spell(*w)).collect::<Vec<_>>()).to_string()
}

fn read_words<T>(row: &Row, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
    let inconsistent = || Error::Inconsistent { table: "systems", column };
    let texts: Vec<String> = serde_json::from_str(&row.text(column)?).map_err(|_| inconsistent())?;
    texts.iter().map(|t| parse(t).ok_or_else(inconsistent)).collect()
}

pub(crate) fn read(row: &Row) -> Result<SystemRow, Error> {
    let inconsistent = |column| Error::Inconsistent { table: "systems", column };
    Ok(SystemRow {
        id: SystemId::parse(&row.text("id")?).map_err(|_| inconsistent("id"))?,
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| inconsistent("controller_id"))?,
        name: row.text("name")?,
        family: row.text("family")?,
        connector: row.text("connector")?,
        definition: serde_json::from_str(&row.text("definition")?).map_err(|_| inconsistent("definition"))?,
        allow: read_words(row, "allow", RequestType::parse)?,
        verbs: read_words(row, "verbs", Verb::parse)?,
        identifiers: read_words(row, "identifiers", IdentifierType::parse)?,
        fields: read_words(row, "fields", |t| Some(t.to_owned()))?,
        version: row.int("version")?,
        batch: row.int("batch")?,
        completes_within_days: row.int("completes_within_days")?,
        paused: row.int("paused")? != 0,
        breaker: crate::Breaker { failures: row.int("breaker_failures")?, until: row.opt_int("breaker_until")? },
        checked_at: row.opt_int("checked_at")?,
        problem: row
            .opt_text("problem_code")?
            .map(|c| Ok::<_, Error>((c, row.opt_text("problem_detail")?.unwrap_or_default())))
            .transpose()?,
    })
}

fn read_facts(row: &Row) -> Result<SystemFacts, Error> {
    Ok(SystemFacts {
        id: SystemId::parse(&row.text("id")?).map_err(|_| Error::Inconsistent { table: "systems", column: "id" })?,
        name: row.text("name")?,
        allow: read_words(row, "allow", RequestType::parse)?,
        verbs: read_words(row, "verbs", Verb::parse)?,
        identifiers: read_words(row, "identifiers", IdentifierType::parse)?,
        fields: read_words(row, "fields", |t| Some(t.to_owned()))?,
    })
}

fn read_outline(row: &Row) -> Result<SystemOutline, Error> {
    Ok(SystemOutline {
        facts: read_facts(row)?,
        family: row.text("family")?,
        connector: row.text("connector")?,
        completes_within_days: row.int("completes_within_days")?,
    })
}

impl Store {
    /// The outlines of a controller's systems, by name, as they are now. Callers at the same time share one read, which begins
    /// after the last of them came.
    ///
    /// # Errors
    /// The database is away, or a row is damaged.
    pub async fn outlines(&self, controller_id: &ControllerId) -> Result<Arc<Vec<SystemOutline>>, Error> {
        let db = self.db.clone();
        let read = move |ids: Vec<String>| {
            let db = db.clone();
            let read = async move {
                let sql = "-- outlines\nSELECT controller_id, id, name, family, connector, allow, verbs, identifiers, fields, completes_within_days FROM systems WHERE controller_id {in $1} AND deleted_at IS NULL ORDER BY name";
                let rows = match db.rows(sql, args![ids.clone()]).await {
                    Ok(rows) => rows,
                    Err(error) => return for_all(ids.len(), error),
                };
                let mut read: HashMap<String, Result<Arc<Vec<SystemOutline>>, Arc<Error>>> = HashMap::new();
                for id in &ids {
                    if !read.contains_key(id) {
                        let own = rows.iter().filter(|row| row.text("controller_id").is_ok_and(|own| own == *id));
                        let outlines = own.map(read_outline).collect::<Result<Vec<_>, _>>();
                        read.insert(id.clone(), outlines.map(Arc::new).map_err(Arc::new));
                    }
                }
                ids.iter().map(|id| read[id].clone().map_err(Error::Shared)).collect()
            };
            read.boxed()
        };
        self.gathered.outlines.ask(controller_id.as_str().to_owned(), read).await
    }

    /// Creates a system or replaces the one of this name; false if it was the same already. Steps of this system that
    /// wait for a person or for a later try are due again at once: the change may be what they waited for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn upsert_system(
        &self,
        controller_id: &ControllerId,
        new: &SystemUpsert,
        actor: &str,
    ) -> Result<bool, Error> {
        let old = self.system_by_name(controller_id, &new.name).await?;
        let key = self.controller_key(controller_id).await?;
        // One of this name that was disconnected comes back as itself, so that steps which wait for it find it again.
        let before = match &old {
            Some(old) => Some(old.clone()),
            None => self.disconnected(controller_id, &new.name).await?,
        };
        let id = if let Some(before) = &before {
            before.id.clone()
        } else {
            let (ms, bytes) = self.id_parts()?;
            SystemId::from_parts(ms, bytes)
        };
        if old.is_some() && !self.system_differs(old.as_ref(), new).await? {
            return Ok(false);
        }
        let sealed = match &new.secrets {
            None => None,
            Some(secrets) => {
                let clear: BTreeMap<&str, &str> =
                    secrets.iter().map(|(k, v)| (k.as_str(), v.expose().as_str())).collect();
                let text = serde_json::to_vec(&clear)
                    .map_err(|_| Error::Inconsistent { table: "systems", column: "secrets" })?;
                Some(key.seal(&place(&[controller_id.as_str(), id.as_str(), "secrets"]), &text)?)
            }
        };
        let mut tx = self.db.begin("upsert system").await?;
        let arguments = args![
            id.as_str(),
            controller_id.as_str(),
            &new.name,
            &new.family,
            &new.connector,
            new.definition.to_string(),
            sealed,
            words(&new.allow, RequestType::as_str),
            words(&new.verbs, Verb::as_str),
            words(&new.identifiers, IdentifierType::as_str),
            json!(new.fields).to_string(),
            self.now_ms(),
            new.completes_within_days,
            new.batch
        ];
        tx.exec(
            "-- upsert_system\nINSERT INTO systems (id, controller_id, name, family, connector, definition, secrets, allow, verbs, identifiers, fields, created_at, completes_within_days, batch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (id) DO UPDATE SET family = excluded.family, connector = excluded.connector, definition = excluded.definition, secrets = COALESCE(excluded.secrets, systems.secrets), allow = excluded.allow, verbs = excluded.verbs, identifiers = excluded.identifiers, fields = excluded.fields, completes_within_days = excluded.completes_within_days, batch = excluded.batch, version = systems.version + 1, problem_code = NULL, problem_detail = NULL, deleted_at = NULL",
            arguments,
        )
        .await?;
        if let Some(before) = &before
            && (without_limits(&before.definition) != without_limits(&new.definition)
                || before.connector != new.connector)
        {
            let elsewhere =
                before.definition["settings"] != new.definition["settings"] || before.connector != new.connector;
            self.restart_system(&mut tx, &id, elsewhere).await?;
        }
        if let Some(before) = &before {
            self.reorder_system(&mut tx, &id, before.completes_within_days - new.completes_within_days).await?;
        }
        self.requeue_system(&mut tx, &id).await?;
        let kind = if old.is_some() { "system_changed" } else { "system_connected" };
        let mut data = json!({ "system": id, "name": new.name, "connector": new.connector, "allow": new.allow });
        self.record_instructions(&mut tx, controller_id, actor, &mut data).await?;
        self.append_events(&mut tx, controller_id, actor, vec![NewEvent::new(None, kind, data)]).await?;
        tx.wakes.push(id.as_str().to_owned());
        self.commit(tx).await?;
        Ok(true)
    }

    /// The system of this name that was disconnected last.
    async fn disconnected(&self, controller_id: &ControllerId, name: &str) -> Result<Option<SystemRow>, Error> {
        let row = self
            .db
            .row(
                "-- disconnected_system\nSELECT * FROM systems WHERE controller_id = $1 AND name = $2 AND deleted_at IS NOT NULL ORDER BY deleted_at DESC LIMIT 1",
                args![controller_id.as_str(), name],
            )
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Whether storing this definition would change anything.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn system_differs(&self, old: Option<&SystemRow>, new: &SystemUpsert) -> Result<bool, Error> {
        let Some(old) = old else { return Ok(true) };
        let same_secrets = match &new.secrets {
            None => true,
            Some(secrets) => self.system_secrets(old).await? == *secrets,
        };
        Ok(!(same_secrets
            && old.definition == new.definition
            && old.family == new.family
            && old.connector == new.connector
            && old.allow == new.allow
            && (old.completes_within_days, old.batch) == (new.completes_within_days, new.batch)
            && (&old.verbs, &old.identifiers, &old.fields) == (&new.verbs, &new.identifiers, &new.fields)))
    }

    /// A controller's systems, by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn systems(&self, controller_id: &ControllerId) -> Result<Vec<SystemRow>, Error> {
        self.db
            .rows(
                "-- systems\nSELECT * FROM systems WHERE controller_id = $1 AND deleted_at IS NULL ORDER BY name",
                args![controller_id.as_str()],
            )
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// One system by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn system_by_name(&self, controller_id: &ControllerId, name: &str) -> Result<Option<SystemRow>, Error> {
        let row = self
            .db
            .row("-- system_by_name\nSELECT * FROM systems WHERE controller_id = $1 AND name = $2 AND deleted_at IS NULL", args![controller_id.as_str(), name])
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// One system by id, also one that was disconnected since.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn system(&self, controller_id: &ControllerId, id: &SystemId) -> Result<SystemRow, Error> {
        let row = self
            .db
            .row(
                "-- system\nSELECT * FROM systems WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?;
        read(&row.ok_or(Error::NotFound)?)
    }

    /// A system's secrets in clear.
    ///
    /// # Errors
    /// The master key is another one.
    pub async fn system_secrets(&self, system: &SystemRow) -> Result<BTreeMap<String, Personal<String>>, Error> {
        let row = self
            .db
            .row(
                "-- system_secrets\nSELECT secrets FROM systems WHERE controller_id = $1 AND id = $2",
                args![system.controller_id.as_str(), system.id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let Some(sealed) = row.opt_bytes("secrets")? else { return Ok(BTreeMap::new()) };
        let key = self.controller_key(&system.controller_id).await?;
        let clear = key.open(&place(&[system.controller_id.as_str(), system.id.as_str(), "secrets"]), &sealed)?;
        let secrets: BTreeMap<String, String> =
            serde_json::from_slice(&clear).map_err(|_| Error::Inconsistent { table: "systems", column: "secrets" })?;
        Ok(secrets.into_iter().map(|(name, value)| (name, Personal::new(value))).collect())
    }

    /// Records what a check of a system saw: nothing wrong, or a code and a sentence.
    ///
    /// # Errors
    /// The database is away.
    pub async fn record_check(&self, system: &SystemRow, problem: Option<(&str, &str)>) -> Result<(), Error> {
        let mut tx = self.db.begin("record check").await?;
        tx.exec(
            "-- record_check\nUPDATE systems SET checked_at = $3, problem_code = $4, problem_detail = $5 WHERE controller_id = $1 AND id = $2",
            args![system.controller_id.as_str(), system.id.as_str(), self.now_ms(), problem.map(|p| p.0), problem.map(|p| p.1)],
        )
        .await?;
        if problem.is_none() {
            self.requeue_system(&mut tx, &system.id).await?;
        }
        tx.wakes.push(system.id.as_str().to_owned());
        self.commit(tx).await
    }

    /// Stops or resumes sending anything to a system.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pause_system(
        &self,
        controller_id: &ControllerId,
        name: &str,
        paused: bool,
        actor: &str,
    ) -> Result<(), Error> {
        let system = self.system_by_name(controller_id, name).await?.ok_or(Error::NotFound)?;
        let scope = crate::Scope::System(controller_id.clone(), system.id);
        self.pause(&scope, paused, actor).await.map(drop)
    }

    /// Disconnects a system. Open steps there are not skipped: they need a person's decision, even if it was paused.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_system(&self, controller_id: &ControllerId, name: &str, actor: &str) -> Result<(), Error> {
        let system = self.system_by_name(controller_id, name).await?.ok_or(Error::NotFound)?;
        let mut tx = self.db.begin("delete system").await?;
        tx.exec(
            "-- delete_system\nUPDATE systems SET deleted_at = $3, secrets = NULL, paused = 0, paused_at = NULL WHERE controller_id = $1 AND id = $2",
            args![controller_id.as_str(), system.id.as_str(), self.now_ms()],
        )
        .await?;
        let mut data = json!({ "system": system.id });
        self.record_instructions(&mut tx, controller_id, actor, &mut data).await?;
        let event = NewEvent::new(None, "system_disconnected", data);
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        tx.wakes.push(system.id.as_str().to_owned());
        self.commit(tx).await
    }
}

//! A controller is our customer: it decides, we process; everything else in the database belongs to one.

use crate::db::{Row, args};
use crate::events::NewEvent;
use crate::gather::for_all;
use crate::sealed::{Key, place, random};
use crate::{Error, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use redress_domain::{ControllerId, Personal, RequestType};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// What a controller wants before, during and after the work. All off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControllerPolicy {
    /// Types that a person approves before anything is done.
    pub require_approval: Vec<RequestType>,
    /// Types whose result a person looks at before it is handed over.
    pub review: Vec<RequestType>,
    /// Whoever approves is a person who signed in, and another than whoever submitted the request.
    pub four_eyes: bool,
    /// Hours in which a deletion can still be withdrawn before anything is done.
    pub cooling_off_hours: u32,
    /// Days until an access package is no longer handed out; the installation's default if absent.
    pub package_expires_days: Option<u32>,
}

/// A controller as it is stored.
#[derive(Debug, Clone)]
pub struct Controller {
    /// Its id.
    pub id: ControllerId,
    /// Its name, unique in this installation.
    pub name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// IANA time zone in which its dates are computed.
    pub timezone: String,
    /// Where its data may be processed, such as `eu`.
    pub region: Option<String>,
    /// Who answers for it.
    pub contact: Option<String>,
    /// What it wants.
    pub policy: ControllerPolicy,
    /// What was agreed with it about time ([`redress_domain::terms::Terms`]), JSON; none if nothing was.
    pub terms: Option<String>,
    /// Its share of the workers, where several controllers wait with work that is equally urgent: from 1.
    pub weight: u32,
    /// Nothing new is begun for it.
    pub paused: bool,
    /// The version of its standing instructions that is in force ([`crate::Instructions`]).
    pub instructions: i64,
    /// Its place in time (Unix ms).
    pub created_at: i64,
}

/// A controller to be created or brought up to date.
#[derive(Debug, Clone)]
pub struct NewController {
    /// See [`Controller::name`].
    pub name: String,
    /// See [`Controller::country`].
    pub country: Option<String>,
    /// See [`Controller::timezone`].
    pub timezone: String,
    /// See [`Controller::region`].
    pub region: Option<String>,
    /// See [`Controller::contact`].
    pub contact: Option<String>,
    /// See [`Controller::policy`].
    pub policy: ControllerPolicy,
    /// See [`Controller::terms`].
    pub terms: Option<String>,
    /// See [`Controller::weight`].
    pub weight: u32,
}

pub(crate) fn read(row: &Row) -> Result<Controller, Error> {
    let inconsistent = |column| Error::Inconsistent { table: "controllers", column };
    Ok(Controller {
        id: ControllerId::parse(&row.text("id")?).map_err(|_| inconsistent("id"))?,
        name: row.text("name")?,
        country: row.opt_text("country")?,
        timezone: row.text("timezone")?,
        region: row.opt_text("region")?,
        contact: row.opt_text("contact")?,
        policy: serde_json::from_str(&row.text("policy")?).map_err(|_| inconsistent("policy"))?,
        terms: row.opt_text("terms")?,
        weight: u32::try_from(row.int("weight")?.max(1)).unwrap_or(u32::MAX),
        paused: row.int("paused")? != 0,
        instructions: row.int("instructions")?,
        created_at: row.int("created_at")?,
    })
}

impl Store {
    /// Creates a controller with keys of its own.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken.
    pub async fn create_controller(&self, new: &NewController, actor: &str) -> Result<Controller, Error> {
        let (ms, bytes) = self.id_parts()?;
        let id = ControllerId::from_parts(ms, bytes);
        let (key, wrapped) = self.master.generate(&place(&[id.as_str(), "controller_key"]))?;
        let secret = random::<32>()?;
        let webhook_secret = key.seal(&place(&[id.as_str(), "webhook_secret"]), &secret)?;
        let policy = serde_json::to_string(&new.policy)
            .map_err(|_| Error::Inconsistent { table: "controllers", column: "policy" })?;
        let mut tx = self.db.begin("create controller").await?;
        tx.exec(
            "-- create_controller\nINSERT INTO controllers (id, name, country, timezone, region, contact, policy, wrapped_key, webhook_secret, created_at, terms, weight) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            args![
                id.as_str(), &new.name, new.country.clone(), &new.timezone, new.region.clone(), new.contact.clone(), policy, wrapped, webhook_secret, self.now_ms(), new.terms.clone(), i64::from(new.weight)
            ],
        )
        .await
        .map_err(|e| if e.is_duplicate() { Error::Conflict(format!("a controller named {} exists already", new.name)) } else { e })?;
        let mut data = json!({ "country": new.country, "timezone": new.timezone });
        self.record_instructions(&mut tx, &id, actor, &mut data).await?;
        let event = NewEvent::new(None, "controller_created", data);
        self.append_events(&mut tx, &id, actor, vec![event]).await?;
        self.commit(tx).await?;
        self.controller(&id).await
    }

    /// Brings an existing controller up to date; false if nothing changed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn update_controller(&self, id: &ControllerId, new: &NewController, actor: &str) -> Result<bool, Error> {
        let old = self.controller(id).await?;
        let same = old.country == new.country
            && old.timezone == new.timezone
            && old.region == new.region
            && old.contact == new.contact
            && old.policy == new.policy
            && old.terms == new.terms
            && old.weight == new.weight;
        if same {
            return Ok(false);
        }
        let policy = serde_json::to_string(&new.policy)
            .map_err(|_| Error::Inconsistent { table: "controllers", column: "policy" })?;
        let mut tx = self.db.begin("update controller").await?;
        tx.exec(
            "-- update_controller\nUPDATE controllers SET country = $2, timezone = $3, region = $4, contact = $5, policy = $6, terms = $7, weight = $8 WHERE id = $1",
            args![
                id.as_str(), new.country.clone(), &new.timezone, new.region.clone(), new.contact.clone(), policy, new.terms.clone(), i64::from(new.weight)
            ],
        )
        .await?;
        let mut data = json!({});
        self.record_instructions(&mut tx, id, actor, &mut data).await?;
        self.append_events(&mut tx, id, actor, vec![NewEvent::new(None, "controller_updated", data)]).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// One controller.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn controller(&self, id: &ControllerId) -> Result<Controller, Error> {
        let row = self.db.row("-- controller\nSELECT * FROM controllers WHERE id = $1", args![id.as_str()]).await?;
        read(&row.ok_or(Error::NotFound)?)
    }

    /// One controller as it is now. Callers at the same time share one read, which begins after the last of them came.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn controller_shared(&self, id: &ControllerId) -> Result<Arc<Controller>, Error> {
        let db = self.db.clone();
        let read_all = move |ids: Vec<String>| {
            let db = db.clone();
            let read_all = async move {
                let sql = "-- controllers_of\nSELECT * FROM controllers WHERE id {in $1}";
                let rows = match db.rows(sql, args![ids.clone()]).await {
                    Ok(rows) => rows,
                    Err(error) => return for_all(ids.len(), error),
                };
                let mut all: HashMap<String, Result<Arc<Controller>, Arc<Error>>> = HashMap::new();
                for row in &rows {
                    let Ok(id) = row.text("id") else { continue };
                    all.insert(id, read(row).map(Arc::new).map_err(Arc::new));
                }
                ids.iter().map(|id| all.get(id).cloned().transpose().map_err(Error::Shared)).collect()
            };
            read_all.boxed()
        };
        self.gathered.controllers.ask(id.as_str().to_owned(), read_all).await?.ok_or(Error::NotFound)
    }

    /// One controller by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn controller_by_name(&self, name: &str) -> Result<Option<Controller>, Error> {
        let row = self.db.row("-- controller_by_name\nSELECT * FROM controllers WHERE name = $1", args![name]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Every controller, by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn controllers(&self) -> Result<Vec<Controller>, Error> {
        self.db
            .rows("-- controllers\nSELECT * FROM controllers ORDER BY name", vec![])
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// The secret with which a controller's webhooks are signed, as raw bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the master key is another one.
    pub async fn webhook_secret(&self, id: &ControllerId) -> Result<Personal<Vec<u8>>, Error> {
        let row = self
            .db
            .row("-- webhook_secret\nSELECT webhook_secret FROM controllers WHERE id = $1", args![id.as_str()])
            .await?
            .ok_or(Error::NotFound)?;
        let key = self.controller_key(id).await?;
        Ok(Personal::new(key.open(&place(&[id.as_str(), "webhook_secret"]), &row.bytes("webhook_secret")?)?))
    }

    /// The webhook secret as controllers write it down (Standard Webhooks: `whsec_` and base64).
    ///
    /// # Errors
    /// As [`Store::webhook_secret`].
    pub async fn webhook_secret_text(&self, id: &ControllerId) -> Result<String, Error> {
        Ok(format!("whsec_{}", STANDARD.encode(self.webhook_secret(id).await?.expose())))
    }

    /// The key that wraps this controller's request keys.
    pub(crate) async fn controller_key(&self, id: &ControllerId) -> Result<Arc<Key>, Error> {
        if let Some(key) = self.controller_keys.lock().expect("never held across a panic").get(id.as_str()) {
            return Ok(key.clone());
        }
        let row = self
            .db
            .row("-- controller_key\nSELECT wrapped_key FROM controllers WHERE id = $1", args![id.as_str()])
            .await?
            .ok_or(Error::NotFound)?;
        let key = Arc::new(self.master.unwrap(&place(&[id.as_str(), "controller_key"]), &row.bytes("wrapped_key")?)?);
        self.controller_keys.lock().expect("never held across a panic").insert(id.as_str().to_owned(), key.clone());
        Ok(key)
    }

    /// The installation's signing seed (Ed25519, 32 bytes), made at the first call and sealed under the master key.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn signing_seed(&self) -> Result<[u8; 32], Error> {
        let at = place(&["installation", "signing_seed"]);
        let mut tx = self.db.begin("signing seed").await?;
        let fresh = self.master.seal(&at, &random::<32>()?)?;
        tx.exec("-- signing_seed_once\nINSERT INTO meta (name, value) VALUES ('signing_seed', $1) ON CONFLICT (name) DO NOTHING", args![fresh])
            .await?;
        let row = tx
            .row("-- signing_seed\nSELECT value FROM meta WHERE name = 'signing_seed'", vec![])
            .await?
            .ok_or(Error::NotFound)?;
        let seed = self.master.open(&at, &row.bytes("value")?)?;
        self.commit(tx).await?;
        seed.try_into().map_err(|_| Error::Sealing)
    }
}

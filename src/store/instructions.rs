//! Standing instructions are what a controller has documented that we do by ourselves (GDPR Art. 28(3)(a)): which rights in which of
//! its systems, and what a person approves or looks at before.
//!
//! They live where they act: with the controller and with each of its systems. Whatever changes them, a call, a page or `redress apply`,
//! writes a version in the same transaction, so that it is known at any time by which instructions a request was planned.

use crate::controllers::ControllerPolicy;
use crate::db::{Row, Tx, args};
use crate::events::NewEvent;
use crate::{Error, Store};
use redress_domain::{ControllerId, RequestType, SystemId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// The rights that are carried out, by the name of the connected system.
    pub allow: BTreeMap<String, Vec<RequestType>>,
    /// See [`ControllerPolicy::require_approval`].
    pub require_approval: Vec<RequestType>,
    /// See [`ControllerPolicy::review`].
    pub review: Vec<RequestType>,
    /// See [`ControllerPolicy::four_eyes`].
    pub four_eyes: bool,
    /// See [`ControllerPolicy::cooling_off_hours`].
    pub cooling_off_hours: u32,
    /// See [`ControllerPolicy::package_expires_days`].
    pub package_expires_days: Option<u32>,
}

/// Instructions as they were set.
#[derive(Debug, Clone)]
pub struct InstructionsVersion {
    /// From 1; 0 are those of a time before versions were kept.
    pub version: i64,
    /// What they say.
    pub instructions: Instructions,
    /// Who set them: a key, a person, the operator.
    pub set_by: Option<String>,
    /// Since when they hold (Unix ms).
    pub set_at: Option<i64>,
}

/// Instructions that a second person has to confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// What they would say.
    pub instructions: Instructions,
    /// Who proposed them.
    pub by: String,
    /// When (Unix ms).
    pub at: i64,
}

/// What became of new instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructed {
    /// They say what those in force say.
    Same,
    /// They hold.
    InForce,
    /// The controller asks for four eyes: another person has to say the same.
    Proposed,
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "instructions", column };

impl Instructions {
    /// What a controller's policy and its systems say together.
    pub fn of<'a>(policy: &ControllerPolicy, systems: impl IntoIterator<Item = (&'a str, &'a [RequestType])>) -> Self {
        let allow = systems.into_iter().map(|(name, allow)| (name.to_owned(), allow.to_vec())).collect();
        Self {
            allow,
            require_approval: policy.require_approval.clone(),
            review: policy.review.clone(),
            four_eyes: policy.four_eyes,
            cooling_off_hours: policy.cooling_off_hours,
            package_expires_days: policy.package_expires_days,
        }
        .sorted()
    }

    /// With every list in one order and without repetitions, so that what says the same is the same.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        for list in self.allow.values_mut().chain([&mut self.require_approval, &mut self.review]) {
            list.sort_unstable();
            list.dedup();
        }
        self
    }

    fn policy(&self) -> ControllerPolicy {
        ControllerPolicy {
            require_approval: self.require_approval.clone(),
            review: self.review.clone(),
            four_eyes: self.four_eyes,
            cooling_off_hours: self.cooling_off_hours,
            package_expires_days: self.package_expires_days,
        }
    }

    /// What is different in later ones: each member with what it said before and says after.
    pub fn changes_to(&self, later: &Self) -> Map<String, Value> {
        let flat = |of: &Self| -> BTreeMap<String, Value> {
            let mut all: BTreeMap<String, Value> =
                of.allow.iter().map(|(system, allow)| (format!("allow.{system}"), json!(allow))).collect();
            if let Value::Object(rest) = json!(of) {
                all.extend(rest.into_iter().filter(|(name, _)| name != "allow"));
            }
            all
        };
        let (before, after) = (flat(self), flat(later));
        let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        names
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name))
            .map(|name| (name.clone(), json!({ "before": before.get(name), "after": after.get(name) })))
            .collect()
    }
}

impl Store {
    /// The instructions in force, and those that wait for a second person.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a controller.
    pub async fn instructions(
        &self,
        controller_id: &ControllerId,
    ) -> Result<(InstructionsVersion, Option<Proposal>), Error> {
        let mut tx = self.db.begin("read instructions").await?;
        let now = read_now(&mut tx, controller_id, "").await?;
        let row = tx
            .row(
                "-- instructions\nSELECT actor, set_at FROM instructions WHERE controller_id = $1 AND version = $2",
                args![controller_id.as_str(), now.version],
            )
            .await?;
        let (set_by, set_at) = match &row {
            Some(row) => (Some(row.text("actor")?), Some(row.int("set_at")?)),
            None => (None, None),
        };
        Ok((InstructionsVersion { version: now.version, instructions: now.instructions, set_by, set_at }, now.proposed))
    }

    /// Earlier versions and the one in force, the newest first, before `before` if it is given.
    ///
    /// # Errors
    /// The database is away.
    pub async fn instructions_versions(
        &self,
        controller_id: &ControllerId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<InstructionsVersion>, Error> {
        let rows = self
            .db
            .rows(
                "-- instructions_versions\nSELECT version, document, actor, set_at FROM instructions WHERE controller_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3",
                args![controller_id.as_str(), before.unwrap_or(i64::MAX), limit],
            )
            .await?;
        rows.iter().map(read_version).collect()
    }

    /// Sets the instructions, which were written with version `based_on` in view. Where the controller asks for four eyes they are
    /// proposed first, and hold when another person says the same.
    ///
    /// # Errors
    /// [`Error::Conflict`] if others are in force meanwhile, or a system is named that is not connected.
    pub async fn set_instructions(
        &self,
        controller_id: &ControllerId,
        wanted: &Instructions,
        based_on: i64,
        actor: &str,
    ) -> Result<Instructed, Error> {
        let wanted = wanted.clone().sorted();
        let mut tx = self.db.begin("set instructions").await?;
        let now = read_now(&mut tx, controller_id, "").await?;
        still(&now, based_on)?;
        if let Some(unknown) = wanted.allow.keys().find(|name| !now.systems.contains_key(*name)) {
            return Err(Error::Conflict(format!("no system named {unknown} is connected")));
        }
        let mut wanted = wanted;
        // What is not named is allowed nothing.
        for name in now.systems.keys() {
            wanted.allow.entry(name.clone()).or_default();
        }
        if wanted == now.instructions {
            return Ok(Instructed::Same);
        }
        let changes = now.instructions.changes_to(&wanted);
        let proposed = now.proposed.filter(|proposal| proposal.instructions == wanted);
        let confirmed = proposed.as_ref().is_some_and(|p| p.by != actor && UserId::parse(actor).is_ok());
        if now.instructions.four_eyes && !confirmed {
            if proposed.is_none() {
                still(&read_now(&mut tx, controller_id, "{for_update}").await?, based_on)?;
                let proposal = Proposal { instructions: wanted, by: actor.to_owned(), at: self.now_ms() };
                tx.exec(
                    "-- propose_instructions\nUPDATE controllers SET instructions_proposed = $2 WHERE id = $1",
                    args![controller_id.as_str(), json!(proposal).to_string()],
                )
                .await?;
                let data = json!({ "based_on": based_on, "changes": changes });
                let event = NewEvent::new(None, "instructions_proposed", data);
                self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
                self.commit(tx).await?;
            }
            return Ok(Instructed::Proposed);
        }
        // Systems, requests and steps are locked before their controller, as everywhere. Whoever changes what is instructed meanwhile makes
        // another version, which is seen under the lock.
        for (name, id) in &now.systems {
            if wanted.allow.get(name) == now.instructions.allow.get(name) {
                continue;
            }
            tx.exec(
                "-- instruct_system\nUPDATE systems SET allow = $3, version = version + 1 WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), id.as_str(), json!(wanted.allow[name]).to_string()],
            )
            .await?;
            // A step may have waited for just this instruction.
            self.requeue_system(&mut tx, id).await?;
            tx.wakes.push(id.as_str().to_owned());
        }
        still(&read_now(&mut tx, controller_id, "{for_update}").await?, based_on)?;
        let policy = serde_json::to_string(&wanted.policy())
            .map_err(|_| Error::Inconsistent { table: "controllers", column: "policy" })?;
        tx.exec(
            "-- instruct_controller\nUPDATE controllers SET policy = $2 WHERE id = $1",
            args![controller_id.as_str(), policy],
        )
        .await?;
        let mut data = json!({ "proposed_by": proposed.map(|proposal| proposal.by) });
        self.record_instructions(&mut tx, controller_id, actor, &mut data).await?;
        let event = NewEvent::new(None, "instructions_changed", data);
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await?;
        Ok(Instructed::InForce)
    }

    /// Takes back what waits for a second person.
    ///
    /// # Errors
    /// [`Error::Conflict`] if nothing waits.
    pub async fn withdraw_proposal(&self, controller_id: &ControllerId, actor: &str) -> Result<(), Error> {
        let mut tx = self.db.begin("withdraw proposal").await?;
        let dropped = tx
            .exec(
                "-- withdraw_proposal\nUPDATE controllers SET instructions_proposed = NULL WHERE id = $1 AND instructions_proposed IS NOT NULL",
                args![controller_id.as_str()],
            )
            .await?;
        if dropped == 0 {
            return Err(Error::Conflict("no instructions wait for a second person".into()));
        }
        let event = NewEvent::new(None, "instructions_proposal_withdrawn", json!({}));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await
    }

    /// Writes a version if this transaction has changed what is instructed, and adds its number and the difference to an event's data.
    pub(crate) async fn record_instructions(
        &self,
        tx: &mut Tx,
        controller_id: &ControllerId,
        actor: &str,
        data: &mut Value,
    ) -> Result<(), Error> {
        let now = read_now(tx, controller_id, "{for_update}").await?;
        let last = tx
            .row(
                "-- last_instructions\nSELECT version, document, actor, set_at FROM instructions WHERE controller_id = $1 AND version = $2",
                args![controller_id.as_str(), now.version],
            )
            .await?;
        let last = last.as_ref().map(read_version).transpose()?;
        if last.as_ref().is_some_and(|last| last.instructions == now.instructions) {
            return Ok(());
        }
        let version = now.version + 1;
        tx.exec(
            "-- keep_instructions\nINSERT INTO instructions (controller_id, version, document, actor, set_at) VALUES ($1, $2, $3, $4, $5)",
            args![controller_id.as_str(), version, json!(now.instructions).to_string(), actor, self.now_ms()],
        )
        .await?;
        // What was proposed was proposed of others.
        tx.exec(
            "-- instructions_in_force\nUPDATE controllers SET instructions = $2, instructions_proposed = NULL WHERE id = $1",
            args![controller_id.as_str(), version],
        )
        .await?;
        data["instructions"] = json!(version);
        if let Some(last) = last {
            data["changes"] = Value::Object(last.instructions.changes_to(&now.instructions));
        }
        Ok(())
    }
}

/// Refuses what was decided with others in view than are in force.
fn still(now: &InForce, based_on: i64) -> Result<(), Error> {
    if now.version == based_on {
        return Ok(());
    }
    Err(Error::Conflict(format!("version {} is in force, not {based_on}; read it and decide again", now.version)))
}

/// What is in force, as a transaction sees it.
struct InForce {
    version: i64,
    instructions: Instructions,
    proposed: Option<Proposal>,
    systems: BTreeMap<String, SystemId>,
}

async fn read_now(tx: &mut Tx, controller_id: &ControllerId, lock: &str) -> Result<InForce, Error> {
    let row = tx
        .row(
            &format!("-- instructing\nSELECT policy, instructions, instructions_proposed FROM controllers WHERE id = $1 {lock}"),
            args![controller_id.as_str()],
        )
        .await?
        .ok_or(Error::NotFound)?;
    let broken = |column| Error::Inconsistent { table: "controllers", column };
    let policy: ControllerPolicy = serde_json::from_str(&row.text("policy")?).map_err(|_| broken("policy"))?;
    let proposed = row.opt_text("instructions_proposed")?.map(|text| serde_json::from_str(&text));
    let rows = tx
        .rows(
            "-- instructed_systems\nSELECT id, name, allow FROM systems WHERE controller_id = $1 AND deleted_at IS NULL ORDER BY name",
            args![controller_id.as_str()],
        )
        .await?;
    let (mut allow, mut systems) = (Vec::with_capacity(rows.len()), BTreeMap::new());
    for row in &rows {
        let broken = |column| Error::Inconsistent { table: "systems", column };
        let types: Vec<RequestType> = serde_json::from_str(&row.text("allow")?).map_err(|_| broken("allow"))?;
        allow.push((row.text("name")?, types));
        systems.insert(row.text("name")?, SystemId::parse(&row.text("id")?).map_err(|_| broken("id"))?);
    }
    Ok(InForce {
        version: row.int("instructions")?,
        instructions: Instructions::of(&policy, allow.iter().map(|(name, allow)| (name.as_str(), allow.as_slice()))),
        proposed: proposed.transpose().map_err(|_| broken("instructions_proposed"))?,
        systems,
    })
}

fn read_version(row: &Row) -> Result<InstructionsVersion, Error> {
    Ok(InstructionsVersion {
        version: row.int("version")?,
        instructions: serde_json::from_str(&row.text("document")?).map_err(|_| INCONSISTENT("document"))?,
        set_by: Some(row.text("actor")?),
        set_at: Some(row.int("set_at")?),
    })
}

//! A data subject request as it is stored: what is personal in one sealed value, everything else in columns.

use crate::clock::FrozenClock;
use crate::db::{Arg, Row, args};
use crate::filter::{Conditions, DsrFilter};
use crate::sealed::place;
use crate::work::{StepRow, read_step};
use crate::{Error, Key, Store, SystemOutline};
use redress_domain::deadline::Deadlines;
use redress_domain::forecast::Foreseen;
use redress_domain::plan::{FanOut, OutOfScope, Policy};
use redress_domain::stage::Stage;
use redress_domain::submission::Submission;
use redress_domain::{ControllerId, Correction, DsrId, Identifier, IdentifierType, Personal, RequestType, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// A request about to be accepted.
#[derive(Debug)]
pub struct NewDsr {
    /// Whose it is.
    pub controller_id: ControllerId,
    /// What was sent.
    pub submission: Submission,
    /// The regulation that governs it.
    pub regulation: Option<String>,
    /// The dates and why.
    pub deadlines: Deadlines,
    /// What the dates follow from.
    pub clock: FrozenClock,
    /// What its controller wants.
    pub policy: Policy,
    /// The version of the standing instructions that it was planned by.
    pub instructions: i64,
    /// Its frozen plan.
    pub plan: FanOut,
    /// The controller's systems, of which the plan was made.
    pub systems: Arc<Vec<SystemOutline>>,
    /// SHA-256 (hex) of the idempotency key and of the body, if a key was given.
    pub idempotency: Option<(String, String)>,
    /// Who submitted it.
    pub actor: String,
}

/// What became of a submission.
#[derive(Debug)]
pub enum Submitted {
    /// It is durable; this is the answer.
    New(DsrId, Value),
    /// The same key with the same body was answered before; this is that answer.
    Replayed(Value),
    /// The same key came with another body.
    KeyReused,
}

/// A request as it is stored, opened for its controller.
#[derive(Debug, Clone)]
pub struct DsrRow {
    /// Its id.
    pub id: DsrId,
    /// Whose it is.
    pub controller_id: ControllerId,
    /// Which right.
    pub kind: RequestType,
    /// Which regulation governs it.
    pub regulation: Option<String>,
    /// As submitted.
    pub jurisdiction: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// The stage, or an overlay (`needs_attention`).
    pub status: String,
    /// What needs attention, in words.
    pub attention: Option<String>,
    /// When we got it (Unix ms).
    pub instruction_received_at: i64,
    /// When the person asked (Unix ms).
    pub data_subject_received_at: Option<i64>,
    /// The dates and why, as they are shown.
    pub deadlines: Value,
    /// The first instant that is too late (Unix ms).
    pub due_before: i64,
    /// What the dates follow from; none for a request of a release that kept no clocks.
    pub clock: Option<FrozenClock>,
    /// `not_started`, `running` or `paused`.
    pub clock_state: String,
    /// When it will end, as the last pass foresaw it.
    pub forecast: Option<Foreseen>,
    /// Systems in which nothing is done, and why.
    pub out_of_scope: Vec<(String, String)>,
    /// Which types of identifiers it names.
    pub identifier_types: Vec<IdentifierType>,
    /// When it ended (Unix ms).
    pub closed_at: Option<i64>,
    /// When its personal data were destroyed (Unix ms).
    pub purged_at: Option<i64>,
    /// The controller's own name for it; gone after the purge.
    pub reference: Option<Personal<String>>,
}

/// A request with its steps.
#[derive(Debug, Clone)]
pub struct DsrDetail {
    /// The request.
    pub row: DsrRow,
    /// Its steps, by system.
    pub steps: Vec<StepRow>,
}

/// What is sealed of a request.
pub(crate) struct Sealed {
    pub(crate) subject: Subject,
    pub(crate) corrections: Vec<Correction>,
    pub(crate) reference: Option<Personal<String>>,
    pub(crate) callback_url: Option<Personal<String>>,
}

#[derive(Serialize, Deserialize)]
struct SealedForm {
    identifiers: Vec<(String, String)>,
    region: Option<String>,
    corrections: Vec<(String, String)>,
    reference: Option<String>,
    callback_url: Option<String>,
}

fn subject_place(controller_id: &ControllerId, dsr_id: &DsrId) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), "subject"])
}

pub(crate) fn key_place(controller_id: &ControllerId, dsr_id: &DsrId) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), "request_key"])
}

pub(crate) fn response_place(controller_id: &ControllerId, dsr_id: &DsrId) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), "first_answer"])
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

pub(crate) fn open_personal(
    key: &Key,
    controller_id: &ControllerId,
    dsr_id: &DsrId,
    sealed: &[u8],
) -> Result<Sealed, Error> {
    let clear = Personal::new(key.open(&subject_place(controller_id, dsr_id), sealed)?);
    let form: SealedForm = serde_json::from_slice(clear.expose()).map_err(|_| INCONSISTENT("sealed"))?;
    let mut identifiers = Vec::with_capacity(form.identifiers.len());
    for (kind, value) in &form.identifiers {
        let kind = IdentifierType::parse(kind).ok_or(INCONSISTENT("sealed"))?;
        identifiers.push(Identifier::parse(kind, value, form.region.as_deref()).map_err(|_| INCONSISTENT("sealed"))?);
    }
    Ok(Sealed {
        subject: Subject { identifiers, region: form.region },
        corrections: form
            .corrections
            .into_iter()
            .map(|(field, value)| Correction { field, value: value.into() })
            .collect(),
        reference: form.reference.map(Personal::from),
        callback_url: form.callback_url.map(Personal::from),
    })
}

pub(crate) fn seal_personal(
    key: &Key,
    controller_id: &ControllerId,
    dsr_id: &DsrId,
    s: &Submission,
) -> Result<Vec<u8>, Error> {
    let expose = |p: &Option<Personal<String>>| p.as_ref().map(|p| p.expose().clone());
    let form = SealedForm {
        identifiers: s
            .subject
            .identifiers
            .iter()
            .map(|i| (i.kind().as_str().into(), i.given().expose().clone()))
            .collect(),
        region: s.subject.region.clone(),
        corrections: s.corrections.iter().map(|c| (c.field.clone(), c.value.expose().clone())).collect(),
        reference: expose(&s.reference),
        callback_url: expose(&s.callback_url),
    };
    let clear = Personal::new(serde_json::to_vec(&form).map_err(|_| INCONSISTENT("sealed"))?);
    key.seal(&subject_place(controller_id, dsr_id), clear.expose())
}

pub(crate) fn out_of_scope_json(all: &[OutOfScope]) -> Value {
    json!(all.iter().map(|o| (o.system.as_str(), o.reason)).collect::<Vec<_>>())
}

impl Store {
    pub(crate) async fn unwrap_dsr_key(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        wrapped: &[u8],
    ) -> Result<Key, Error> {
        self.controller_key(controller_id).await?.unwrap(&key_place(controller_id, dsr_id), wrapped)
    }

    /// The key of a request.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Purged`].
    pub async fn dsr_key(&self, controller_id: &ControllerId, dsr_id: &DsrId) -> Result<Arc<Key>, Error> {
        let row = self
            .db
            .row(
                "-- dsr_key\nSELECT wrapped_key FROM dsrs WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), dsr_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let wrapped = row.opt_bytes("wrapped_key")?.ok_or(Error::Purged)?;
        Ok(Arc::new(self.unwrap_dsr_key(controller_id, dsr_id, &wrapped).await?))
    }

    /// A request with its steps.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not this controller's.
    pub async fn dsr(&self, controller_id: &ControllerId, id: &DsrId) -> Result<DsrDetail, Error> {
        let row = self
            .db
            .row(
                "-- dsr\nSELECT * FROM dsrs WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let row = self.read_dsr(&row).await?;
        let steps = self
            .db
            .rows(
                "-- steps_of\nSELECT st.*, sy.name AS system_name, sy.family AS system_family, sy.connector AS system_connector, sy.breaker_until, sy.problem_code, (SELECT d.held FROM dsrs d WHERE d.id = st.dsr_id) AS dsr_held, sy.paused + (SELECT c.paused FROM controllers c WHERE c.id = st.controller_id) + (SELECT COUNT(*) FROM meta WHERE name = 'paused') AS held_back FROM steps st JOIN systems sy ON sy.id = st.system_id WHERE st.controller_id = $1 AND st.dsr_id = $2 ORDER BY sy.name",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .iter()
            .map(read_step)
            .collect::<Result<_, _>>()?;
        Ok(DsrDetail { row, steps })
    }

    /// Requests, newest first. `controller_id` none lists every controller's: for the operator's board only.
    ///
    /// # Errors
    /// The database is away.
    pub async fn dsrs(&self, controller_id: Option<&ControllerId>, filter: &DsrFilter) -> Result<Vec<DsrRow>, Error> {
        let mut conditions = Conditions::of(filter, self.now_ms());
        if let Some(id) = controller_id {
            conditions.add("d.controller_id = ?", id.as_str());
        }
        if let Some(id) = &filter.before {
            conditions.add("d.id < ?", id.as_str());
        }
        let limit = conditions.place(filter.limit);
        let sql =
            format!("-- dsrs\nSELECT d.* FROM dsrs d WHERE {} ORDER BY d.id DESC LIMIT {limit}", conditions.all());
        self.read_dsrs(&sql, conditions.arguments).await
    }

    pub(crate) async fn read_dsrs(&self, sql: &str, arguments: Vec<Arg>) -> Result<Vec<DsrRow>, Error> {
        let mut all = Vec::new();
        for row in self.db.rows(sql, arguments).await? {
            all.push(self.read_dsr(&row).await?);
        }
        Ok(all)
    }

    /// How many requests of all controllers have each status: for the board and metrics.
    ///
    /// # Errors
    /// The database is away.
    pub async fn status_counts(&self) -> Result<Vec<(String, i64)>, Error> {
        let rows = self
            .db
            .rows("-- status_counts\nSELECT status, COUNT(*) AS n FROM dsrs GROUP BY status ORDER BY status", vec![])
            .await?;
        rows.iter().map(|row| Ok((row.text("status")?, row.int("n")?))).collect()
    }

    /// Where status changes of a request are told.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Purged`].
    pub async fn callback_url(
        &self,
        controller_id: &ControllerId,
        id: &DsrId,
    ) -> Result<Option<Personal<String>>, Error> {
        Ok(self.personal(controller_id, id).await?.callback_url)
    }

    /// The names of the fields that a request corrects; none if its personal data are gone.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn corrected_fields(&self, controller_id: &ControllerId, id: &DsrId) -> Result<Vec<String>, Error> {
        match self.personal(controller_id, id).await {
            Ok(personal) => Ok(personal.corrections.into_iter().map(|correction| correction.field).collect()),
            Err(Error::Purged) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Type and value of a request's identifiers in clear, for the package that is handed over.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Purged`].
    pub async fn identifiers(&self, controller_id: &ControllerId, id: &DsrId) -> Result<Vec<(String, String)>, Error> {
        let personal = self.personal(controller_id, id).await?;
        let pair = |i: &Identifier| (i.kind().as_str().to_owned(), i.given().expose().clone());
        Ok(personal.subject.identifiers.iter().map(pair).collect())
    }

    pub(crate) async fn personal(&self, controller_id: &ControllerId, id: &DsrId) -> Result<Sealed, Error> {
        let row = self
            .db
            .row(
                "-- sealed\nSELECT wrapped_key, sealed FROM dsrs WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let wrapped = row.opt_bytes("wrapped_key")?.ok_or(Error::Purged)?;
        let sealed = row.opt_bytes("sealed")?.ok_or(Error::Purged)?;
        open_personal(&self.unwrap_dsr_key(controller_id, id, &wrapped).await?, controller_id, id, &sealed)
    }

    async fn read_dsr(&self, row: &Row) -> Result<DsrRow, Error> {
        let id = DsrId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?;
        let controller_id =
            ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?;
        let reference = match (row.opt_bytes("wrapped_key")?, row.opt_bytes("sealed")?) {
            (Some(wrapped), Some(sealed)) => {
                let key = self.unwrap_dsr_key(&controller_id, &id, &wrapped).await?;
                open_personal(&key, &controller_id, &id, &sealed)?.reference
            }
            _ => None,
        };
        let kinds: Vec<String> =
            serde_json::from_str(&row.text("identifier_types")?).map_err(|_| INCONSISTENT("identifier_types"))?;
        Ok(DsrRow {
            kind: RequestType::parse(&row.text("kind")?).ok_or(INCONSISTENT("kind"))?,
            regulation: row.opt_text("regulation")?,
            jurisdiction: row.opt_text("jurisdiction")?,
            stage: Stage::parse(&row.text("stage")?).ok_or(INCONSISTENT("stage"))?,
            status: row.text("status")?,
            attention: row.opt_text("attention")?,
            instruction_received_at: row.int("instruction_received_at")?,
            data_subject_received_at: row.opt_int("data_subject_received_at")?,
            deadlines: serde_json::from_str(&row.text("deadlines")?).map_err(|_| INCONSISTENT("deadlines"))?,
            due_before: row.int("due_before")?,
            clock: row
                .opt_text("clock")?
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|_| INCONSISTENT("clock"))?,
            clock_state: row.text("clock_state")?,
            forecast: row.opt_text("forecast")?.and_then(|text| serde_json::from_str(&text).ok()),
            out_of_scope: serde_json::from_str(&row.text("out_of_scope")?).map_err(|_| INCONSISTENT("out_of_scope"))?,
            identifier_types: kinds.iter().filter_map(|k| IdentifierType::parse(k)).collect(),
            closed_at: row.opt_int("closed_at")?,
            purged_at: row.opt_int("purged_at")?,
            reference,
            id,
            controller_id,
        })
    }
}

/// The `result` of a step that is itemised from the start.
pub(crate) fn retained_result(reason: &str) -> Value {
    json!({ "retained": [{ "collection": "*", "records": 0, "reason": reason }], "evidence": { "collections": [] } })
}

//! A legal hold is set, looked at again, and released by people, each with a reason; its words are sealed under its controller's key.

use crate::db::{Row, Tx, args};
use crate::events::NewEvent;
use crate::held::subject_marks;
use crate::sealed::place;
use crate::sql::{RowSet, row};
use crate::{Error, Key, Store, crash_point};
use redress_domain::hold::HoldScope;
use redress_domain::{ControllerId, DsrId, HoldId, Identifier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A hold about to be set.
#[derive(Debug, Clone)]
pub struct NewHold {
    /// Whose data.
    pub controller_id: ControllerId,
    /// What it reaches.
    pub scope: NewScope,
    /// Names of the systems to which it is restricted.
    pub systems: Option<Vec<String>>,
    /// The law or order that asks for it.
    pub basis: String,
    /// What it is about, in the words of whoever sets it.
    pub matter: Option<String>,
    /// Since when the data are to be kept (Unix ms).
    pub starts_at: i64,
    /// The day on which somebody has to look whether it is still needed.
    pub review_on: String,
    /// The first instant after that day (Unix ms).
    pub review_at: i64,
    /// Nobody outside may learn of it.
    pub gag: bool,
    /// Hashes of the idempotency key and of the body.
    pub idempotency: Option<(String, String)>,
}

/// What a new hold reaches.
#[derive(Debug, Clone)]
pub enum NewScope {
    /// Whoever these identifiers point at.
    Subject(Vec<Identifier>),
    /// One request.
    Request(DsrId),
    /// Every request of the controller.
    Controller,
}

/// What became of setting a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldSet {
    /// It is set.
    New(HoldId),
    /// It was set before, by the same call.
    Replayed(HoldId),
    /// The idempotency key was used for another call.
    KeyReused,
}

/// What somebody said about a hold at some time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldNote {
    /// When (Unix ms).
    pub at: i64,
    /// `reviewed` or `released`.
    pub action: String,
    /// Who, as the audit log names them.
    pub by: String,
    /// Why.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Words {
    basis: String,
    matter: Option<String>,
    notes: Vec<HoldNote>,
}

/// A hold as it is shown. Whom it is about is not in it.
#[derive(Debug, Clone)]
pub struct HoldRow {
    /// Its id.
    pub id: HoldId,
    /// Whose data.
    pub controller_id: ControllerId,
    /// What it reaches.
    pub scope: HoldScope,
    /// The request, for [`HoldScope::Request`].
    pub dsr_id: Option<DsrId>,
    /// The types of the identifiers, for [`HoldScope::Subject`].
    pub identifier_types: Vec<String>,
    /// Names of the systems to which it is restricted.
    pub systems: Option<Vec<String>>,
    /// The law or order that asks for it.
    pub basis: String,
    /// What it is about.
    pub matter: Option<String>,
    /// Since when the data are to be kept (Unix ms).
    pub starts_at: i64,
    /// The day on which somebody has to look at it again.
    pub review_on: String,
    /// The first instant after that day (Unix ms).
    pub review_at: i64,
    /// Nobody outside may learn of it.
    pub gag: bool,
    /// By whom it was set.
    pub set_by: String,
    /// When it was set (Unix ms).
    pub set_at: i64,
    /// Since when every step that it reaches is stopped (Unix ms); none while it is being set.
    pub in_force_at: Option<i64>,
    /// By whom it was released.
    pub released_by: Option<String>,
    /// When it was released (Unix ms).
    pub released_at: Option<i64>,
    /// What was said about it later.
    pub notes: Vec<HoldNote>,
}

/// How far a hold reaches now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HoldReach {
    /// Requests under it, ended ones that are not purged included.
    pub requests: i64,
    /// Steps that wait for a release.
    pub stopped: i64,
    /// Steps that were at work when it was set, or are at their second read: what came of them is not known yet.
    pub under_way: i64,
    /// Steps that changed data although a hold reached their request: they had begun before.
    pub acted_after: i64,
}

/// A hold as a request shows it.
#[derive(Debug, Clone)]
pub struct RequestHold {
    /// The hold.
    pub hold: HoldRow,
    /// Since when it reaches the request (Unix ms).
    pub since: i64,
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "holds", column };
const COLUMNS: &str = "h.id, h.controller_id, h.scope, h.dsr_id, h.identifier_types, h.systems, h.sealed, h.starts_at, h.review_on, h.review_at, h.gag, h.set_by, h.set_at, h.in_force_at, h.released_by, h.released_at";

fn words_place(controller_id: &ControllerId, id: &HoldId) -> Vec<u8> {
    place(&[controller_id.as_str(), id.as_str(), "hold"])
}

fn seal(key: &Key, controller_id: &ControllerId, id: &HoldId, words: &Words) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(words).map_err(|_| INCONSISTENT("sealed"))?;
    key.seal(&words_place(controller_id, id), &text)
}

fn open(key: &Key, controller_id: &ControllerId, id: &HoldId, sealed: &[u8]) -> Result<Words, Error> {
    let clear = key.open(&words_place(controller_id, id), sealed)?;
    serde_json::from_slice(&clear).map_err(|_| INCONSISTENT("sealed"))
}

impl Store {
    /// Sets a hold and carries it through every request that it reaches: when this returns, nothing that it reaches begins any more.
    /// A step that is at work at that moment is stopped before its first effect; what it had announced before is counted by
    /// [`HoldReach::under_way`] until it is known.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the request is not this controller's, [`Error::Purged`] if there is nothing left of it to keep.
    pub async fn set_hold(&self, new: &NewHold, actor: &str) -> Result<HoldSet, Error> {
        let controller_id = &new.controller_id;
        let key = self.controller_key(controller_id).await?;
        let (ms, bytes) = self.id_parts()?;
        let id = HoldId::from_parts(ms, bytes);
        let words = Words { basis: new.basis.clone(), matter: new.matter.clone(), notes: Vec::new() };
        let sealed = seal(&key, controller_id, &id, &words)?;
        let (scope, dsr_id, identifiers) = match &new.scope {
            NewScope::Subject(identifiers) => (HoldScope::Subject, None, identifiers.as_slice()),
            NewScope::Request(dsr_id) => (HoldScope::Request, Some(dsr_id), &[][..]),
            NewScope::Controller => (HoldScope::Controller, None, &[][..]),
        };
        let mut kinds: Vec<&str> = identifiers.iter().map(|identifier| identifier.kind().as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let (key_hash, body_hash) = new.idempotency.clone().unzip();

        let mut tx = self.db.begin("set hold").await?;
        // Before anything else: who submits, or finds an identifier, at this moment sees the hold, or is seen by it (see `held`).
        self.lock_controller(&mut tx, controller_id).await?;
        if let Some(key_hash) = &key_hash {
            let known = tx
                .row(
                    "-- hold_by_key\nSELECT id, body_hash FROM holds WHERE controller_id = $1 AND key_hash = $2",
                    args![controller_id.as_str(), key_hash.as_str()],
                )
                .await?;
            if let Some(known) = known {
                if known.opt_text("body_hash")? != body_hash {
                    return Ok(HoldSet::KeyReused);
                }
                let id = HoldId::parse(&known.text("id")?).map_err(|_| INCONSISTENT("id"))?;
                self.commit(tx).await?;
                // Whoever asked first may have died over it.
                self.carry_hold(&id).await?;
                return Ok(HoldSet::Replayed(id));
            }
        }
        if let Some(dsr_id) = dsr_id {
            let row = tx
                .row(
                    "-- request_to_hold\nSELECT purged_at FROM dsrs WHERE id = $1 AND controller_id = $2",
                    args![dsr_id.as_str(), controller_id.as_str()],
                )
                .await?
                .ok_or(Error::NotFound)?;
            if row.opt_int("purged_at")?.is_some() {
                return Err(Error::Purged);
            }
        }
        tx.exec(
            "-- set_hold\nINSERT INTO holds (id, controller_id, scope, dsr_id, identifier_types, systems, sealed, starts_at, review_on, review_at, gag, set_by, set_at, pending, key_hash, body_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14, $15)",
            args![
                id.as_str(),
                controller_id.as_str(),
                scope.as_str(),
                dsr_id.map(DsrId::as_str),
                json!(kinds).to_string(),
                new.systems.as_ref().map(|names| json!(names).to_string()),
                sealed,
                new.starts_at,
                new.review_on.as_str(),
                new.review_at,
                i64::from(new.gag),
                actor,
                self.now_ms(),
                key_hash,
                body_hash
            ],
        )
        .await?;
        if !identifiers.is_empty() {
            let mut marks = RowSet::default();
            for mark in subject_marks(&key, controller_id, identifiers) {
                marks.push(row![mark, id.as_str()]);
            }
            tx.exec(
                "-- mark_hold\nINSERT INTO hold_marks (mark, hold_id) SELECT v.mark, v.hold_id FROM {rows $1 AS v(mark text, hold_id text)}",
                args![marks],
            )
            .await?;
        }
        tx.exec("-- count_hold\nUPDATE controllers SET holds = holds + 1 WHERE id = $1", args![controller_id.as_str()])
            .await?;
        let data = json!({
            "hold": id, "scope": scope, "identifiers": kinds, "systems": new.systems, "review_on": new.review_on, "gag": new.gag,
        });
        self.log_hold(&mut tx, controller_id, dsr_id, new.gag, actor, ("hold_set", data)).await?;
        crash_point("hold.before_set");
        self.commit(tx).await?;
        crash_point("hold.after_set");
        self.carry_hold(&id).await?;
        Ok(HoldSet::New(id))
    }

    /// Releases a hold: what it stopped goes on by itself, unless another hold stops it too.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if it is released already.
    pub async fn release_hold(
        &self,
        controller_id: &ControllerId,
        id: &HoldId,
        actor: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin("release hold").await?;
        let hold = self.lock_open_hold(&mut tx, controller_id, id).await?;
        let sealed = self.with_note(&hold, actor, "released", reason).await?;
        tx.exec(
            "-- release_hold\nUPDATE holds SET released_by = $2, released_at = $3, sealed = $4, pending = 1 WHERE id = $1",
            args![id.as_str(), actor, self.now_ms(), sealed],
        )
        .await?;
        self.lock_controller(&mut tx, controller_id).await?;
        tx.exec(
            "-- uncount_hold\nUPDATE controllers SET holds = holds - 1 WHERE id = $1",
            args![controller_id.as_str()],
        )
        .await?;
        let data = json!({ "hold": id, "reason": "given" });
        self.log_hold(&mut tx, controller_id, hold.dsr_id.as_ref(), hold.gag, actor, ("hold_released", data)).await?;
        self.commit(tx).await?;
        crash_point("hold.after_release");
        self.carry_hold(id).await
    }

    /// Records that somebody looked at a hold and found it needed, until the next review.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if it is released.
    pub async fn review_hold(
        &self,
        controller_id: &ControllerId,
        id: &HoldId,
        actor: &str,
        (review_on, review_at): (&str, i64),
        reason: &str,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin("review hold").await?;
        let hold = self.lock_open_hold(&mut tx, controller_id, id).await?;
        let sealed = self.with_note(&hold, actor, "reviewed", reason).await?;
        tx.exec(
            "-- review_hold\nUPDATE holds SET review_on = $2, review_at = $3, sealed = $4 WHERE id = $1",
            args![id.as_str(), review_on, review_at, sealed],
        )
        .await?;
        let data =
            json!({ "hold": id, "review_on": { "before": hold.review_on, "after": review_on }, "reason": "given" });
        self.log_hold(&mut tx, controller_id, hold.dsr_id.as_ref(), hold.gag, actor, ("hold_reviewed", data)).await?;
        self.commit(tx).await
    }

    async fn lock_controller(&self, tx: &mut Tx, controller_id: &ControllerId) -> Result<(), Error> {
        let row = tx
            .row(
                "-- lock_controller\nSELECT id FROM controllers WHERE id = $1 {for_update}",
                args![controller_id.as_str()],
            )
            .await?;
        row.map(drop).ok_or(Error::NotFound)
    }

    async fn lock_open_hold(&self, tx: &mut Tx, controller_id: &ControllerId, id: &HoldId) -> Result<HoldRow, Error> {
        let row = tx
            .row(
                &format!("-- lock_hold\nSELECT {COLUMNS} FROM holds h WHERE h.id = $1 AND h.controller_id = $2 {{for_update}}"),
                args![id.as_str(), controller_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let hold = self.read_hold(&row).await?;
        if hold.released_at.is_some() {
            return Err(Error::Conflict("the hold is released already".into()));
        }
        Ok(hold)
    }

    async fn with_note(&self, hold: &HoldRow, by: &str, action: &str, reason: &str) -> Result<Vec<u8>, Error> {
        let mut notes = hold.notes.clone();
        notes.push(HoldNote { at: self.now_ms(), action: action.into(), by: by.into(), reason: reason.into() });
        let words = Words { basis: hold.basis.clone(), matter: hold.matter.clone(), notes };
        seal(&*self.controller_key(&hold.controller_id).await?, &hold.controller_id, &hold.id, &words)
    }

    /// What nobody outside may learn stands in the staff log, which no controller reads, and else in the controller's own.
    async fn log_hold(
        &self,
        tx: &mut Tx,
        controller_id: &ControllerId,
        dsr_id: Option<&DsrId>,
        gag: bool,
        actor: &str,
        (kind, mut data): (&'static str, Value),
    ) -> Result<(), Error> {
        if gag {
            data["controller"] = json!(controller_id);
            return self.append_staff_event(tx, actor, kind, data).await;
        }
        self.append_events(tx, controller_id, actor, vec![NewEvent::new(dsr_id, kind, data)]).await.map(drop)
    }

    /// A hold; one of which nobody outside may learn only if `with_gagged`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn hold(&self, controller_id: &ControllerId, id: &HoldId, with_gagged: bool) -> Result<HoldRow, Error> {
        let row = self
            .db
            .row(
                &format!(
                    "-- hold\nSELECT {COLUMNS} FROM holds h WHERE h.controller_id = $1 AND h.id = $2 AND h.gag <= $3"
                ),
                args![controller_id.as_str(), id.as_str(), i64::from(with_gagged)],
            )
            .await?
            .ok_or(Error::NotFound)?;
        self.read_hold(&row).await
    }

    /// Holds of these controllers (or of all), newest first, before `before`; open ones, released ones, or both.
    ///
    /// # Errors
    /// The database is away.
    pub async fn holds(
        &self,
        scope: Option<&[ControllerId]>,
        open: Option<bool>,
        with_gagged: bool,
        before: Option<&HoldId>,
        limit: i64,
    ) -> Result<Vec<HoldRow>, Error> {
        let which = match open {
            None => "",
            Some(true) => " AND h.released_at IS NULL",
            Some(false) => " AND h.released_at IS NOT NULL",
        };
        let own = crate::desk::among(scope, "h.controller_id", 4);
        let arguments = args![before.map_or("hld_~", HoldId::as_str), i64::from(with_gagged), limit];
        let rows = self
            .db
            .rows(
                &format!("-- holds\nSELECT {COLUMNS} FROM holds h WHERE h.id < $1 AND h.gag <= $2{which}{own} ORDER BY h.id DESC LIMIT $3"),
                crate::desk::with_scope(arguments, scope),
            )
            .await?;
        self.read_holds(&rows).await
    }

    /// Open holds whose review is overdue, the longest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn holds_to_review(
        &self,
        scope: Option<&[ControllerId]>,
        with_gagged: bool,
        limit: i64,
    ) -> Result<Vec<HoldRow>, Error> {
        let own = crate::desk::among(scope, "h.controller_id", 4);
        let rows = self
            .db
            .rows(
                &format!("-- holds_to_review\nSELECT {COLUMNS} FROM holds h WHERE h.released_at IS NULL AND h.review_at <= $1 AND h.gag <= $2{own} ORDER BY h.review_at LIMIT $3"),
                crate::desk::with_scope(args![self.now_ms(), i64::from(with_gagged), limit], scope),
            )
            .await?;
        self.read_holds(&rows).await
    }

    /// How many holds of each of these controllers (or of all) are in force.
    ///
    /// # Errors
    /// The database is away.
    pub async fn holds_in_force(
        &self,
        scope: Option<&[ControllerId]>,
        with_gagged: bool,
    ) -> Result<std::collections::BTreeMap<ControllerId, i64>, Error> {
        let own = crate::desk::among(scope, "h.controller_id", 2);
        let rows = self
            .db
            .rows(
                &format!("-- holds_in_force\nSELECT h.controller_id, COUNT(*) AS n FROM holds h WHERE h.released_at IS NULL AND h.gag <= $1{own} GROUP BY h.controller_id"),
                crate::desk::with_scope(args![i64::from(with_gagged)], scope),
            )
            .await?;
        let read = |row: &Row| {
            let id = ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?;
            Ok((id, row.int("n")?))
        };
        rows.iter().map(read).collect()
    }

    /// The open holds that reach a request, the oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn holds_on(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        with_gagged: bool,
    ) -> Result<Vec<RequestHold>, Error> {
        let rows = self
            .db
            .rows(
                &format!("-- holds_on\nSELECT {COLUMNS}, r.since FROM held_requests r JOIN holds h ON h.id = r.hold_id WHERE r.dsr_id = $1 AND h.controller_id = $2 AND h.released_at IS NULL AND h.gag <= $3 ORDER BY r.since, h.id"),
                args![dsr_id.as_str(), controller_id.as_str(), i64::from(with_gagged)],
            )
            .await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            all.push(RequestHold { hold: self.read_hold(row).await?, since: row.int("since")? });
        }
        Ok(all)
    }

    /// How far a hold reaches now.
    ///
    /// # Errors
    /// The database is away.
    pub async fn hold_reach(&self, id: &HoldId) -> Result<HoldReach, Error> {
        let row = self
            .db
            .row(
                "-- hold_reach\nSELECT COUNT(DISTINCT r.dsr_id) AS requests, COALESCE(SUM(CASE WHEN st.held = 1 AND st.q = 'hold' THEN 1 ELSE 0 END), 0) AS stopped, COALESCE(SUM(CASE WHEN st.held = 1 AND st.q = 'run' AND st.phase = 'act' THEN 1 ELSE 0 END), 0) AS under_way, COALESCE(SUM(CASE WHEN st.held = 1 AND st.changed > 0 AND st.acted_at >= r.since THEN 1 ELSE 0 END), 0) AS acted_after FROM held_requests r JOIN dsrs d ON d.id = r.dsr_id AND d.purged_at IS NULL LEFT JOIN steps st ON st.dsr_id = r.dsr_id AND st.system_id IS NOT NULL WHERE r.hold_id = $1 AND r.ended_at IS NULL",
                args![id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        Ok(HoldReach {
            requests: row.int("requests")?,
            stopped: row.int("stopped")?,
            under_way: row.int("under_way")?,
            acted_after: row.int("acted_after")?,
        })
    }

    async fn read_holds(&self, rows: &[Row]) -> Result<Vec<HoldRow>, Error> {
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            all.push(self.read_hold(row).await?);
        }
        Ok(all)
    }

    async fn read_hold(&self, row: &Row) -> Result<HoldRow, Error> {
        let id = HoldId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?;
        let controller_id =
            ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?;
        let key = self.controller_key(&controller_id).await?;
        let words = open(&key, &controller_id, &id, &row.bytes("sealed")?)?;
        let list = |text: String, column| serde_json::from_str::<Vec<String>>(&text).map_err(|_| INCONSISTENT(column));
        let dsr_id = row.opt_text("dsr_id")?.map(|text| DsrId::parse(&text)).transpose();
        Ok(HoldRow {
            scope: HoldScope::parse(&row.text("scope")?).ok_or(INCONSISTENT("scope"))?,
            dsr_id: dsr_id.map_err(|_| INCONSISTENT("dsr_id"))?,
            identifier_types: list(row.text("identifier_types")?, "identifier_types")?,
            systems: row.opt_text("systems")?.map(|text| list(text, "systems")).transpose()?,
            basis: words.basis,
            matter: words.matter,
            notes: words.notes,
            starts_at: row.int("starts_at")?,
            review_on: row.text("review_on")?,
            review_at: row.int("review_at")?,
            gag: row.int("gag")? != 0,
            set_by: row.text("set_by")?,
            set_at: row.int("set_at")?,
            in_force_at: row.opt_int("in_force_at")?,
            released_by: row.opt_text("released_by")?,
            released_at: row.opt_int("released_at")?,
            id,
            controller_id,
        })
    }
}

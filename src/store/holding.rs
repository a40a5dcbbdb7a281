//! A hold that was set or released is carried through all requests that it reaches, some at a time; whoever dies over it is followed
//! by a sweep that goes on.

use crate::db::{Tx, args, texts};
use crate::dsrs::{key_place, open_personal};
use crate::events::{Events, NewEvent};
use crate::held::{marks_text, subject_marks};
use crate::sql::{RowSet, row};
use crate::yields::open_yielded;
use crate::{Error, Key, Store, crash_point};
use redress_domain::{ControllerId, DsrId, HoldId, Identifier};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

/// Requests in one transaction.
const TOGETHER: i64 = 200;
const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "holds", column };

/// A hold that is being carried through, locked.
struct Carried {
    id: HoldId,
    controller_id: ControllerId,
    scope: String,
    dsr_id: Option<String>,
    gag: bool,
    is_released: bool,
}

impl Store {
    /// Carries a hold through all requests that it reaches; when this returns it is in force, or its end is.
    ///
    /// # Errors
    /// The database is away; a sweep goes on.
    pub async fn carry_hold(&self, id: &HoldId) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let mut tx = self.db.begin("carry hold").await?;
            // One at a time: what is released while it is being set is not set any further.
            let row = tx
                .row(
                    "-- carry\nSELECT controller_id, scope, dsr_id, gag, released_at FROM holds WHERE id = $1 AND pending = 1 {for_update}",
                    args![id.as_str()],
                )
                .await?;
            let Some(row) = row else { return self.commit(tx).await };
            let hold = Carried {
                id: id.clone(),
                controller_id: ControllerId::parse(&row.text("controller_id")?)
                    .map_err(|_| INCONSISTENT("controller_id"))?,
                scope: row.text("scope")?,
                dsr_id: row.opt_text("dsr_id")?,
                gag: row.int("gag")? != 0,
                is_released: row.opt_int("released_at")?.is_some(),
            };
            let (reached, last) = if hold.is_released {
                self.let_go(&mut tx, &hold).await?
            } else {
                self.to_reach(&mut tx, &hold, &after).await?
            };
            let Some(last) = last else {
                tx.exec(
                    "-- carried\nUPDATE holds SET pending = 0, in_force_at = CASE WHEN released_at IS NULL THEN CAST($2 AS BIGINT) ELSE in_force_at END WHERE id = $1",
                    args![id.as_str(), self.now_ms()],
                )
                .await?;
                crash_point("hold.before_carried");
                return self.commit(tx).await;
            };
            after = last;
            self.carry_some(&mut tx, &hold, reached).await?;
            crash_point("hold.before_commit");
            self.commit(tx).await?;
            crash_point("hold.between");
        }
    }

    /// Carries on whatever somebody left behind. Returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn carry_holds(&self) -> Result<u64, Error> {
        let rows = self.db.rows("-- holds_to_carry\nSELECT id FROM holds WHERE pending = 1 LIMIT 20", vec![]).await?;
        for row in &rows {
            self.carry_hold(&HoldId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?).await?;
        }
        Ok(rows.len() as u64)
    }

    async fn carry_some(&self, tx: &mut Tx, hold: &Carried, ids: Vec<DsrId>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut events = Events::default();
        self.lock_stages(tx, &ids).await?;
        let kind = if hold.is_released { "hold_ended" } else { "hold_began" };
        let changed: Vec<String> = if hold.is_released {
            let rows = tx
                .rows(
                    "-- end_reach\nUPDATE held_requests SET ended_at = $3 WHERE hold_id = $1 AND dsr_id {in $2} AND ended_at IS NULL RETURNING dsr_id",
                    args![hold.id.as_str(), texts(ids.iter().map(DsrId::as_str)), self.now_ms()],
                )
                .await?;
            rows.iter().map(|row| row.text("dsr_id")).collect::<Result<_, _>>()?
        } else {
            let mut pairs = RowSet::default();
            for id in &ids {
                pairs.push(row![hold.id.as_str(), id.as_str()]);
            }
            self.reach(tx, pairs).await?.into_iter().map(|(_, dsr_id)| dsr_id).collect()
        };
        // What nobody outside may learn does not stand in the controller's own log.
        for id in ids.iter().filter(|id| !hold.gag && changed.iter().any(|changed| changed == id.as_str())) {
            events.push(&hold.controller_id, NewEvent::new(Some(id), kind, json!({ "hold": hold.id })));
        }
        self.stop_held(tx, &ids).await?;
        self.advance_all(tx, ids, &mut events).await?;
        self.append_all(tx, "engine", events).await?;
        tx.wakes.push("advance".into());
        Ok(())
    }

    /// The next requests that a released hold lets go.
    async fn let_go(&self, tx: &mut Tx, hold: &Carried) -> Result<(Vec<DsrId>, Option<String>), Error> {
        let rows = tx
            .rows(
                "-- to_let_go\nSELECT dsr_id FROM held_requests WHERE hold_id = $1 AND ended_at IS NULL ORDER BY dsr_id LIMIT $2",
                args![hold.id.as_str(), TOGETHER],
            )
            .await?;
        let ids = rows.iter().map(|row| read_id(&row.text("dsr_id")?)).collect::<Result<Vec<_>, _>>()?;
        let last = ids.last().map(|id| id.as_str().to_owned());
        Ok((ids, last))
    }

    /// The next requests that a hold reaches, of those whose personal data are still there. Ended ones too: they are not purged.
    async fn to_reach(&self, tx: &mut Tx, hold: &Carried, after: &str) -> Result<(Vec<DsrId>, Option<String>), Error> {
        let mut arguments = args![hold.controller_id.as_str(), after, TOGETHER];
        let mut marks = BTreeSet::new();
        let which = match (hold.scope.as_str(), &hold.dsr_id) {
            ("request", Some(dsr_id)) => {
                arguments.push(dsr_id.as_str().into());
                " AND d.id = $4".to_owned()
            }
            ("controller", _) => String::new(),
            ("subject", _) => {
                use std::fmt::Write as _;
                let rows = tx
                    .rows("-- marks_of_hold\nSELECT mark FROM hold_marks WHERE hold_id = $1", args![hold.id.as_str()])
                    .await?;
                marks = rows.iter().map(|row| row.text("mark")).collect::<Result<_, _>>()?;
                let mut any = "d.subject_marks IS NULL".to_owned();
                for mark in &marks {
                    arguments.push(format!("%{mark}%").into());
                    let _infallible = write!(any, " OR d.subject_marks LIKE ${}", arguments.len());
                }
                format!(" AND ({any})")
            }
            _ => return Err(INCONSISTENT("scope")),
        };
        let rows = tx
            .rows(
                &format!("-- to_reach\nSELECT d.id, d.subject_marks FROM dsrs d WHERE d.controller_id = $1 AND d.id > $2 AND d.purged_at IS NULL{which} ORDER BY d.id LIMIT $3"),
                arguments,
            )
            .await?;
        let (mut ids, mut unmarked) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let id = read_id(&row.text("id")?)?;
            match row.opt_text("subject_marks")? {
                None if hold.scope == "subject" => unmarked.push(id),
                _ => ids.push(id),
            }
        }
        let last = rows.last().map(|row| row.text("id")).transpose()?;
        if !unmarked.is_empty() {
            // In the order of their ids, the others too, as everywhere.
            let all: Vec<DsrId> = ids.iter().chain(&unmarked).cloned().collect();
            self.lock_stages(tx, &all).await?;
            let found = self.mark_requests(tx, &hold.controller_id, &unmarked).await?;
            let reaches = |own: &Option<BTreeSet<String>>| own.as_ref().is_none_or(|own| !own.is_disjoint(&marks));
            ids.extend(found.into_iter().filter(|(_, own)| reaches(own)).map(|(id, _)| id));
        }
        ids.sort();
        Ok((ids, last))
    }

    /// Makes the hashes of requests of a release that kept none, by opening what is sealed; none for one that does not open.
    async fn mark_requests(
        &self,
        tx: &mut Tx,
        controller_id: &ControllerId,
        ids: &[DsrId],
    ) -> Result<Vec<(DsrId, Option<BTreeSet<String>>)>, Error> {
        let controller_key = self.controller_key(controller_id).await?;
        let ids_text = texts(ids.iter().map(DsrId::as_str));
        let rows = tx
            .rows(
                "-- unmarked\nSELECT id, wrapped_key, sealed FROM dsrs WHERE id {in $1} ORDER BY id",
                args![ids_text.clone()],
            )
            .await?;
        let yields = tx
            .rows(
                "-- yields_unmarked\nSELECT id, dsr_id, yielded FROM steps WHERE dsr_id {in $1} AND yielded IS NOT NULL",
                args![ids_text],
            )
            .await?;
        let mut yielded: HashMap<String, Vec<(String, Vec<u8>)>> = HashMap::new();
        for row in &yields {
            if let Some(sealed) = row.opt_bytes("yielded")? {
                yielded.entry(row.text("dsr_id")?).or_default().push((row.text("id")?, sealed));
            }
        }
        let (mut all, mut kept) = (Vec::new(), RowSet::default());
        for row in &rows {
            let id = read_id(&row.text("id")?)?;
            let (Some(wrapped), Some(sealed)) = (row.opt_bytes("wrapped_key")?, row.opt_bytes("sealed")?) else {
                continue;
            };
            let found = yielded.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let identifiers = match identifiers_of(&controller_key, controller_id, &id, (&wrapped, &sealed), found) {
                Ok(identifiers) => identifiers,
                Err(error) => {
                    tracing::error!(%error, dsr.id = %id, "{id} cannot be opened: nobody can say whom it is about, so the hold reaches it");
                    all.push((id, None));
                    continue;
                }
            };
            let marks = subject_marks(&controller_key, controller_id, &identifiers);
            kept.push(row![id.as_str(), marks_text(&marks)]);
            all.push((id, Some(marks)));
        }
        tx.exec(
            "-- mark_requests\nUPDATE dsrs SET subject_marks = v.marks FROM {rows $1 AS v(id text, marks text)} WHERE dsrs.id = v.id AND dsrs.subject_marks IS NULL",
            args![kept],
        )
        .await?;
        Ok(all)
    }
}

/// Whom a request is about, as it was said and as was found since.
fn identifiers_of(
    controller_key: &Key,
    controller_id: &ControllerId,
    id: &DsrId,
    (wrapped, sealed): (&[u8], &[u8]),
    yielded: &[(String, Vec<u8>)],
) -> Result<Vec<Identifier>, Error> {
    let key = controller_key.unwrap(&key_place(controller_id, id), wrapped)?;
    let subject = open_personal(&key, controller_id, id, sealed)?.subject;
    let region = subject.region.as_deref();
    let mut identifiers = subject.identifiers;
    for (step_id, sealed) in yielded {
        identifiers.extend(open_yielded(&key, controller_id, id, step_id, sealed, region)?);
    }
    Ok(identifiers)
}

fn read_id(text: &str) -> Result<DsrId, Error> {
    DsrId::parse(text).map_err(|_| Error::Inconsistent { table: "held_requests", column: "dsr_id" })
}

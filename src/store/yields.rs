//! What one connected system tells about a person is passed to the others: identifiers of exactly matched records, sealed with
//! the request's key, found again by each step of the request that begins later.
//!
//! A step that had acted before it could know of an identifier that its system accepts acts again
//! ([`Store::widen`]); since only identifiers that are new count, and only so often, this ends.

use crate::db::{Row, Tx, args, texts};
use crate::events::{Events, NewEvent};
use crate::held::{Arrival, marks_text, subject_marks};
use crate::moves::Locked;
use crate::sealed::place;
use crate::sql::{RowSet, row};
use crate::work::{INCONSISTENT, Lease, OpenWork};
use crate::{Error, Key, Store, crash_point};
use redress_domain::{ControllerId, DsrId, Identifier, IdentifierType, Subject};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// So many times new identifiers are passed on for one request; a person of whom more is found is not one person.
const ROUNDS: i64 = 8;

/// What the steps of several requests found, still sealed.
#[derive(Default)]
pub(crate) struct Yielded {
    by_dsr: HashMap<String, Vec<(String, Vec<u8>)>>,
}

fn yielded_place(controller_id: &str, dsr_id: &str, step_id: &str) -> Vec<u8> {
    place(&[controller_id, dsr_id, step_id, "yielded"])
}

fn open(key: &Key, place: &[u8], sealed: &[u8], region: Option<&str>) -> Result<Vec<Identifier>, Error> {
    let clear = redress_domain::Personal::new(key.open(place, sealed)?);
    let form: Vec<(String, String)> = serde_json::from_slice(clear.expose()).map_err(|_| INCONSISTENT("yielded"))?;
    form.iter()
        .map(|(kind, value)| {
            let kind = IdentifierType::parse(kind).ok_or(INCONSISTENT("yielded"))?;
            Identifier::parse(kind, value, region).map_err(|_| INCONSISTENT("yielded"))
        })
        .collect()
}

/// What a step of a request found, opened.
pub(crate) fn open_yielded(
    key: &Key,
    controller_id: &ControllerId,
    dsr_id: &DsrId,
    step_id: &str,
    sealed: &[u8],
    region: Option<&str>,
) -> Result<Vec<Identifier>, Error> {
    open(key, &yielded_place(controller_id.as_str(), dsr_id.as_str(), step_id), sealed, region)
}

impl Yielded {
    /// Adds to a subject what the request's other steps found.
    pub(crate) fn add_to(&self, subject: &mut Subject, key: &Key, lease: &Lease) -> Result<(), Error> {
        for (step_id, sealed) in self.by_dsr.get(lease.dsr_id.as_str()).into_iter().flatten() {
            let place = yielded_place(lease.controller_id.as_str(), lease.dsr_id.as_str(), step_id);
            for identifier in open(key, &place, sealed, subject.region.as_deref())? {
                if !subject.identifiers.contains(&identifier) {
                    subject.identifiers.push(identifier);
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Reads what the steps of these requests found, and notes that these leases know it.
    pub(crate) async fn yielded_for(&self, leases: &[Lease], rows: &BTreeMap<String, Row>) -> Result<Yielded, Error> {
        let mut all = Yielded::default();
        let mut ids = BTreeSet::new();
        let mut seen = RowSet::default();
        for lease in leases {
            let Some(row) = rows.get(lease.step_id.as_str()) else { continue };
            let yields = row.int("yields")?;
            if yields > 0 {
                ids.insert(lease.dsr_id.as_str());
                if row.int("seen")? < yields {
                    seen.push(row![lease.step_id.as_str(), lease.token, yields]);
                }
            }
        }
        if ids.is_empty() {
            return Ok(all);
        }
        // Noted before it is read: what is found in between is not known, and the step acts again for it.
        if !seen.is_empty() {
            let mut tx = self.db.begin("note seen").await?;
            tx.exec(
                "-- note_seen\nUPDATE steps SET seen = v.seen FROM {rows $1 AS v(id text, token int, seen int)} WHERE steps.id = v.id AND steps.token = v.token AND steps.q = 'run'",
                args![seen],
            )
            .await?;
            self.commit(tx).await?;
        }
        let found = self
            .db
            .rows(
                "-- yielded\nSELECT id, dsr_id, yielded FROM steps WHERE dsr_id {in $1} AND yielded IS NOT NULL ORDER BY id",
                args![texts(ids)],
            )
            .await?;
        for row in found {
            if let Some(sealed) = row.opt_bytes("yielded")? {
                all.by_dsr.entry(row.text("dsr_id")?).or_default().push((row.text("id")?, sealed));
            }
        }
        Ok(all)
    }

    /// Records identifiers that a step found in exactly matched records and that its request did not have. Before what
    /// came of the step is recorded, under the same lease: whoever finishes it next widens the plan. False if the lease is
    /// lost, or if enough was found for the request already.
    ///
    /// # Errors
    /// The database is away.
    pub async fn yield_identifiers(&self, work: &OpenWork, new: &[Identifier]) -> Result<bool, Error> {
        let lease = &work.lease;
        let place = yielded_place(lease.controller_id.as_str(), lease.dsr_id.as_str(), lease.step_id.as_str());
        let mut tx = self.db.begin("yield identifiers").await?;
        let rounds = tx
            .row(
                "-- lock_yields\nSELECT yields FROM dsrs WHERE id = $1 AND closed_at IS NULL {for_update}",
                args![lease.dsr_id.as_str()],
            )
            .await?
            .map(|row| row.int("yields"))
            .transpose()?;
        let Some(rounds) = rounds.filter(|rounds| *rounds < ROUNDS) else {
            self.commit(tx).await?;
            return Ok(false);
        };
        let own = tx
            .row(
                "-- own_yields\nSELECT yielded FROM steps WHERE id = $1 AND token = $2 AND q = 'run' {for_update}",
                args![lease.step_id.as_str(), lease.token],
            )
            .await?;
        let Some(own) = own else {
            self.commit(tx).await?;
            return Ok(false);
        };
        let mut all = match own.opt_bytes("yielded")? {
            Some(sealed) => open(&work.key, &place, &sealed, work.subject.region.as_deref())?,
            None => Vec::new(),
        };
        let before = all.len();
        for identifier in new {
            if !all.contains(identifier) {
                all.push(identifier.clone());
            }
        }
        if all.len() == before {
            self.commit(tx).await?;
            return Ok(true);
        }
        let kinds: BTreeSet<&str> = all.iter().map(|identifier| identifier.kind().as_str()).collect();
        let form: Vec<(&str, &String)> =
            all.iter().map(|identifier| (identifier.kind().as_str(), identifier.normal().expose())).collect();
        let clear = redress_domain::Personal::new(serde_json::to_vec(&form).map_err(|_| INCONSISTENT("yielded"))?);
        let sealed = work.key.seal(&place, clear.expose())?;
        let kinds: Vec<&str> = kinds.into_iter().collect();
        tx.exec(
            "-- yield_step\nUPDATE steps SET yielded = $3, yields = $4, yield_no = $5 WHERE id = $1 AND token = $2",
            args![lease.step_id.as_str(), lease.token, sealed, kinds.join(" "), rounds + 1],
        )
        .await?;
        let controller_key = self.controller_key(&lease.controller_id).await?;
        let marks = subject_marks(&controller_key, &lease.controller_id, new);
        tx.exec(
            "-- yield_dsr\nUPDATE dsrs SET yields = $2, subject_marks = subject_marks || $3 WHERE id = $1",
            args![lease.dsr_id.as_str(), rounds + 1, format!(" {}", marks_text(&marks))],
        )
        .await?;
        let event = NewEvent::new(
            Some(&lease.dsr_id),
            "identifiers_found",
            json!({ "step": lease.step_id, "system": lease.system_id, "types": kinds }),
        );
        let holding = self.append_events(&mut tx, &lease.controller_id, "engine", vec![event]).await?;
        if !holding.is_empty() {
            // Whom a hold is about may show only now. The request's other steps stop here; whoever finishes this one advances it.
            let arrival = Arrival { controller_id: &lease.controller_id, dsr_id: &lease.dsr_id, marks: &marks };
            self.hold_arrivals(&mut tx, &[arrival]).await?;
        }
        crash_point("yield.before_commit");
        self.commit(tx).await?;
        Ok(true)
    }

    /// Lets steps act again that had acted before another system told of identifiers which theirs accepts, and steps act that
    /// could not for want of one.
    pub(crate) async fn widen(&self, tx: &mut Tx, locked: &mut [Locked], events: &mut Events) -> Result<(), Error> {
        let ids = || locked.iter().filter(|dsr| dsr.yields > 0 && dsr.stage.is_working()).map(|dsr| dsr.id.as_str());
        if ids().next().is_none() {
            return Ok(());
        }
        let rows = tx
            .rows(
                "-- yields_of\nSELECT st.id, st.dsr_id, st.state, st.q, st.seen, st.yields, st.yield_no, sy.identifiers FROM steps st JOIN systems sy ON sy.id = st.system_id WHERE st.dsr_id {in $1} ORDER BY st.id",
                args![texts(ids())],
            )
            .await?;
        let mut found: HashMap<String, Vec<(String, i64, String)>> = HashMap::new();
        for row in &rows {
            let no = row.int("yield_no")?;
            if no > 0 {
                found.entry(row.text("dsr_id")?).or_default().push((row.text("id")?, no, row.text("yields")?));
            }
        }
        let mut again = Vec::new();
        for row in &rows {
            let (id, dsr_id, seen) = (row.text("id")?, row.text("dsr_id")?, row.int("seen")?);
            let acted = matches!(row.text("state")?.as_str(), "done" | "nothing_found" | "retained" | "verified");
            if !acted || row.opt_text("q")?.as_deref() == Some("run") {
                continue;
            }
            let accepts: Vec<String> = serde_json::from_str(&row.text("identifiers")?)
                .map_err(|_| Error::Inconsistent { table: "systems", column: "identifiers" })?;
            let news = found.get(&dsr_id).into_iter().flatten().any(|(step, no, kinds)| {
                *step != id
                    && *no > seen
                    && kinds.split_whitespace().any(|kind| accepts.iter().any(|accepted| accepted == kind))
            });
            if news {
                again.push(id.clone());
                if let Some(dsr) = locked.iter_mut().find(|dsr| dsr.id.as_str() == dsr_id) {
                    dsr.widened = true;
                    events
                        .push(&dsr.controller_id, NewEvent::new(Some(&dsr.id), "step_widened", json!({ "step": id })));
                }
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        let rows = tx
            .rows(
                // What it touched stays known: it tells the same again, and what it finds besides. It begins after this, so that it
                // will know everything that was found until now, and does not act again for that.
                "-- widen_steps\nUPDATE steps SET seen = (SELECT d.yields FROM dsrs d WHERE d.id = steps.dsr_id), q = 'ready', phase = 'act', state = 'queued', not_before = $1, verified_at = NULL, proof = NULL, retained = 0, residues = 0, failures = 0, attention = 0, error_code = NULL, error_detail = NULL, token = token + 1 WHERE id {in $2} AND (q IS NULL OR q <> 'run') RETURNING lane",
                args![self.now_ms(), again],
            )
            .await?;
        for row in rows {
            tx.wakes.push(row.text("lane")?);
        }
        Ok(())
    }
}

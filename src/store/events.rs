//! An event is one line of a controller's audit log: what happened, when, by whom; each is bound to the one before by its hash.
//!
//! `hash` is the lower-case hex SHA-256 of [`canonical_json`] of the event without its `hash`. Events hold ids, codes and
//! counts, never personal data, and survive every purge.

use crate::db::{Tx, args, texts};
use crate::sql::{RowSet, push_hex, push_string, row};
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::{ControllerId, DsrId, EventId};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

/// One event as it is shown and exported.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AuditEvent {
    /// Its id.
    pub id: String,
    /// Whose log it is in.
    pub controller_id: String,
    /// Its place in that log, from 1.
    pub seq: i64,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// Which request it is about, if one.
    pub dsr_id: Option<String>,
    /// What happened.
    pub kind: String,
    /// Who did it: `engine`, `operator`, or the id of an API key.
    pub actor: String,
    /// Codes, counts and ids that belong to it.
    pub data: Value,
    /// Hash of the event before it, empty for the first.
    pub prev_hash: String,
    /// Its own hash.
    pub hash: String,
}

/// JSON with the members of every object sorted by their names' bytes and no white space: what is hashed and signed.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::with_capacity(256);
    push_canonical(&mut out, value);
    out
}

fn push_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Object(members) => push_members(out, members),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                push_canonical(out, item);
            }
            out.push(']');
        }
        Value::String(text) => push_string(out, text),
        scalar => write!(out, "{scalar}").expect("a String takes everything"),
    }
}

fn push_members(out: &mut String, members: &Map<String, Value>) {
    let mut push = |n: usize, name: &str, value: &Value| {
        out.push(if n > 0 { ',' } else { '{' });
        push_string(out, name);
        out.push(':');
        push_canonical(out, value);
    };
    // They are in order already, unless the map keeps the order of insertion.
    if members.keys().is_sorted() {
        members.iter().enumerate().for_each(|(n, (name, value))| push(n, name, value));
    } else {
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        sorted.into_iter().enumerate().for_each(|(n, (name, value))| push(n, name, value));
    }
    out.push_str(if members.is_empty() { "{}" } else { "}" });
}

/// What is about to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) dsr_id: Option<DsrId>,
    pub(crate) kind: &'static str,
    pub(crate) data: Map<String, Value>,
    /// Who did it, if not whoever the transaction is for.
    actor: Option<String>,
}

impl NewEvent {
    pub(crate) fn new(dsr_id: Option<&DsrId>, kind: &'static str, data: Value) -> Self {
        let data = match data {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Self { dsr_id: dsr_id.cloned(), kind, data, actor: None }
    }

    /// The same, done by somebody else than whoever the transaction is for.
    pub(crate) fn by(self, actor: &str) -> Self {
        Self { actor: Some(actor.to_owned()), ..self }
    }
}

impl Store {
    /// Appends to a controller's log. Take it last in a transaction: it locks the controller's row until the commit.
    pub(crate) async fn append_events(
        &self,
        tx: &mut Tx,
        controller_id: &ControllerId,
        actor: &str,
        events: Vec<NewEvent>,
    ) -> Result<Vec<ControllerId>, Error> {
        let mut all = Events::default();
        for event in events {
            all.push(controller_id, event);
        }
        self.append_all(tx, actor, all).await
    }

    /// Appends to the logs of several controllers. Take it last in a transaction: it locks their rows until the commit, in
    /// the order of their ids. Returns those of them for whom a legal hold is in force: whoever sets one holds the same lock, so
    /// that what is answered here stays so until the commit.
    pub(crate) async fn append_all(
        &self,
        tx: &mut Tx,
        actor: &str,
        events: Events,
    ) -> Result<Vec<ControllerId>, Error> {
        let mut holding = Vec::new();
        if events.0.is_empty() {
            return Ok(holding);
        }
        let heads = tx
            .rows(
                "-- audit_heads\nSELECT id, event_seq, event_hash, holds FROM controllers WHERE id {in $1} ORDER BY id {for_update}",
                args![texts(events.0.keys().map(ControllerId::as_str))],
            )
            .await?;
        let mut by_id = HashMap::with_capacity(heads.len());
        for head in &heads {
            by_id.insert(head.text("id")?, (head.int("event_seq")?, head.text("event_hash")?, head.int("holds")?));
        }
        let at = Timestamp::from_millisecond(self.now_ms()).map_or_else(|_| String::new(), |t| t.to_string());
        let (mut rows, mut moved) = (RowSet::default(), RowSet::default());
        for (controller_id, events) in events.0 {
            let (mut seq, mut prev_hash, holds) = by_id.remove(controller_id.as_str()).ok_or(Error::NotFound)?;
            if holds > 0 {
                holding.push(controller_id.clone());
            }
            for event in events {
                seq += 1;
                let (ms, random) = self.id_parts()?;
                let id = EventId::from_parts(ms, random);
                let actor = event.actor.as_deref().unwrap_or(actor);
                let mut data = String::with_capacity(256);
                push_members(&mut data, &event.data);
                let place = Place { controller_id: &controller_id, seq, id: &id, at: &at, prev_hash: &prev_hash };
                let hash = place.hash(&event, actor, &data);
                let dsr_id = event.dsr_id.as_ref().map(DsrId::as_str);
                rows.push(row![
                    controller_id.as_str(),
                    seq,
                    id.as_str(),
                    at.as_str(),
                    dsr_id,
                    event.kind,
                    actor,
                    data,
                    prev_hash,
                    hash.as_str()
                ]);
                prev_hash = hash;
            }
            moved.push(row![controller_id.as_str(), seq, prev_hash]);
        }
        tx.exec(
            "-- append_events\nINSERT INTO events (controller_id, seq, id, at, dsr_id, kind, actor, data, prev_hash, hash) SELECT v.controller_id, v.seq, v.id, v.at, v.dsr_id, v.kind, v.actor, v.data, v.prev_hash, v.hash FROM {rows $1 AS v(controller_id text, seq int, id text, at text, dsr_id text, kind text, actor text, data text, prev_hash text, hash text)}",
            args![rows],
        )
        .await?;
        tx.exec(
            "-- audit_heads_moved\nUPDATE controllers SET event_seq = v.seq, event_hash = v.hash FROM {rows $1 AS v(id text, seq int, hash text)} WHERE controllers.id = v.id",
            args![moved],
        )
        .await?;
        Ok(holding)
    }

    /// Records one event in a transaction of its own.
    ///
    /// # Errors
    /// The database is away.
    pub async fn record_event(
        &self,
        controller_id: &ControllerId,
        actor: &str,
        dsr_id: Option<&DsrId>,
        kind: &'static str,
        data: Value,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin("record event").await?;
        self.append_events(&mut tx, controller_id, actor, vec![NewEvent::new(dsr_id, kind, data)]).await?;
        self.commit(tx).await
    }

    /// A request's events in order.
    ///
    /// # Errors
    /// The request is not this controller's.
    pub async fn events_of(&self, controller_id: &ControllerId, dsr_id: &DsrId) -> Result<Vec<AuditEvent>, Error> {
        self.read_events(
            "-- events_of_dsr\nSELECT * FROM events WHERE controller_id = $1 AND dsr_id = $2 ORDER BY seq",
            args![controller_id.as_str(), dsr_id.as_str()],
        )
        .await
    }

    /// The last `limit` events of a request before the place `before` (or of all), in order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn latest_events_of(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditEvent>, Error> {
        let mut events = self
            .read_events(
                "-- latest_events_of\nSELECT * FROM events WHERE controller_id = $1 AND dsr_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4",
                args![controller_id.as_str(), dsr_id.as_str(), before.unwrap_or(i64::MAX), limit],
            )
            .await?;
        events.reverse();
        Ok(events)
    }

    /// The first `limit` events of a request that are of one of these kinds, in order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn events_of_kinds(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        kinds: &[&str],
        limit: i64,
    ) -> Result<Vec<AuditEvent>, Error> {
        self.read_events(
            "-- events_of_kinds\nSELECT * FROM events WHERE controller_id = $1 AND dsr_id = $2 AND kind {in $3} ORDER BY seq LIMIT $4",
            args![controller_id.as_str(), dsr_id.as_str(), texts(kinds), limit],
        )
        .await
    }

    /// A part of a controller's whole log, after `seq`, for export.
    ///
    /// # Errors
    /// The database is away.
    pub async fn events_after(
        &self,
        controller_id: &ControllerId,
        seq: i64,
        limit: i64,
    ) -> Result<Vec<AuditEvent>, Error> {
        self.read_events(
            "-- events_after\nSELECT * FROM events WHERE controller_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            args![controller_id.as_str(), seq, limit],
        )
        .await
    }

    pub(crate) async fn read_events(&self, sql: &str, args: Vec<crate::db::Arg>) -> Result<Vec<AuditEvent>, Error> {
        let inconsistent = Error::Inconsistent { table: "events", column: "data" };
        let mut all = Vec::new();
        for row in self.db.rows(sql, args).await? {
            let Ok(data) = serde_json::from_str(&row.text("data")?) else { return Err(inconsistent) };
            all.push(AuditEvent {
                id: row.text("id")?,
                controller_id: row.text("controller_id")?,
                seq: row.int("seq")?,
                at: row.text("at")?,
                dsr_id: row.opt_text("dsr_id")?,
                kind: row.text("kind")?,
                actor: row.text("actor")?,
                data,
                prev_hash: row.text("prev_hash")?,
                hash: row.text("hash")?,
            });
        }
        Ok(all)
    }
}

/// Where an event stands in its log.
struct Place<'a> {
    controller_id: &'a ControllerId,
    seq: i64,
    id: &'a EventId,
    at: &'a str,
    prev_hash: &'a str,
}

impl Place<'_> {
    /// The hash of [`canonical_json`] of the event: its members are written here in their order.
    fn hash(&self, event: &NewEvent, actor: &str, data: &str) -> String {
        let mut text = String::with_capacity(data.len() + 400);
        let mut member = |before: &str, value: &str| {
            text.push_str(before);
            push_string(&mut text, value);
        };
        member("{\"actor\":", actor);
        member(",\"at\":", self.at);
        member(",\"controller_id\":", self.controller_id.as_str());
        text.extend([",\"data\":", data, ",\"dsr_id\":"]);
        match &event.dsr_id {
            Some(id) => push_string(&mut text, id.as_str()),
            None => text.push_str("null"),
        }
        let mut member = |before: &str, value: &str| {
            text.push_str(before);
            push_string(&mut text, value);
        };
        member(",\"id\":", self.id.as_str());
        member(",\"kind\":", event.kind);
        member(",\"prev_hash\":", self.prev_hash);
        write!(text, ",\"seq\":{}}}", self.seq).expect("a String takes everything");
        let mut hash = String::new();
        push_hex(&mut hash, digest(&SHA256, text.as_bytes()).as_ref());
        hash
    }
}

/// Events of one transaction, gathered by controller so that each log is locked once, in one order, at the end.
#[derive(Debug, Default)]
pub(crate) struct Events(BTreeMap<ControllerId, Vec<NewEvent>>);

impl Events {
    pub(crate) fn push(&mut self, controller_id: &ControllerId, event: NewEvent) {
        match self.0.get_mut(controller_id) {
            Some(events) => events.push(event),
            None => drop(self.0.insert(controller_id.clone(), vec![event])),
        }
    }
}

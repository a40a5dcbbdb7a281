//! An event is one line of a controller's audit log: what happened, when, by whom; each is bound to the one before by its hash.
//!
//! `hash` is the lower-case hex SHA-256 of [`canonical_json`] of the event without its `hash`. Events hold ids, codes and
//! counts, never personal data, and survive every purge.

use crate::db::{Tx, args};
use crate::migrate::hex;
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::{ControllerId, DsrId, EventId};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

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
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            let body: Vec<String> = names
                .into_iter()
                .map(|name| format!("{}:{}", Value::String(name.clone()), canonical_json(&members[name])))
                .collect();
            format!("{{{}}}", body.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical_json).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

/// What is about to be recorded.
#[derive(Debug)]
pub(crate) struct NewEvent {
    pub(crate) dsr_id: Option<DsrId>,
    pub(crate) kind: &'static str,
    pub(crate) data: Map<String, Value>,
}

impl NewEvent {
    pub(crate) fn new(dsr_id: Option<&DsrId>, kind: &'static str, data: Value) -> Self {
        let data = match data {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Self { dsr_id: dsr_id.cloned(), kind, data }
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
    ) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let head = tx
            .row(
                "-- audit_head\nSELECT event_seq, event_hash FROM controllers WHERE id = $1 {for_update}",
                args![controller_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let (mut seq, mut prev_hash) = (head.int("event_seq")?, head.text("event_hash")?);
        let at = Timestamp::from_millisecond(self.now_ms()).map_or_else(|_| String::new(), |t| t.to_string());
        let mut values = Vec::new();
        let mut arguments = Vec::new();
        for event in events {
            seq += 1;
            let (ms, random) = self.id_parts()?;
            let id = EventId::from_parts(ms, random);
            let dsr_id = event.dsr_id.as_ref().map(DsrId::as_str);
            let data = Value::Object(event.data);
            let body = json!({
                "id": id, "controller_id": controller_id, "seq": seq, "at": at, "dsr_id": dsr_id,
                "kind": event.kind, "actor": actor, "data": data, "prev_hash": prev_hash,
            });
            let hash = hex(digest(&SHA256, canonical_json(&body).as_bytes()).as_ref());
            let n = arguments.len();
            values.push(format!("({})", (n + 1..=n + 10).map(|i| format!("${i}")).collect::<Vec<_>>().join(", ")));
            arguments.extend(args![
                controller_id.as_str(),
                seq,
                id.as_str(),
                at.as_str(),
                dsr_id,
                event.kind,
                actor,
                data.to_string(),
                prev_hash,
                hash.as_str()
            ]);
            prev_hash = hash;
        }
        tx.exec(
            &format!(
                "-- append_events\nINSERT INTO events (controller_id, seq, id, at, dsr_id, kind, actor, data, prev_hash, hash) VALUES {}",
                values.join(", ")
            ),
            arguments,
        )
        .await?;
        let moved = tx
            .exec(
                "-- audit_head_moved\nUPDATE controllers SET event_seq = $2, event_hash = $3 WHERE id = $1",
                args![controller_id.as_str(), seq, prev_hash],
            )
            .await?;
        if moved == 1 { Ok(()) } else { Err(Error::NotFound) }
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

    async fn read_events(&self, sql: &str, args: Vec<crate::db::Arg>) -> Result<Vec<AuditEvent>, Error> {
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

/// Events of one transaction, gathered by controller so that each log is locked once, in one order, at the end.
#[derive(Debug, Default)]
pub(crate) struct Events(BTreeMap<ControllerId, Vec<NewEvent>>);

impl Events {
    pub(crate) fn push(&mut self, controller_id: &ControllerId, event: NewEvent) {
        self.0.entry(controller_id.clone()).or_default().push(event);
    }
}

impl Store {
    pub(crate) async fn append_all(&self, tx: &mut Tx, actor: &str, events: Events) -> std::result::Result<(), Error> {
        for (controller_id, events) in events.0 {
            self.append_events(tx, &controller_id, actor, events).await?;
        }
        Ok(())
    }
}

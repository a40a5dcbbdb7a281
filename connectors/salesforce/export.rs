//! Access: each record whole, by the fields that the org describes, a hundred a call.

use super::erase::nothing;
use super::find::{Found, Ids, find};
use super::session::{Body, passing, unreadable};
use super::{Desk, yielded};
use crate::http::Method;
use crate::{CollectionEvidence, Done, Evidence, ExportSink, Outcome, Trouble, Work};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// So many whole records in one answer.
const PART: usize = 100;

fn told(schema: &super::Schema, found: &Found, action: &str) -> Outcome {
    if found.rows.is_empty() {
        return nothing(schema, found.not_searched());
    }
    let collections = found.rows.iter().map(|(object, ids)| {
        let count = ids.len() as u64;
        CollectionEvidence {
            collection: object.clone(),
            action: action.into(),
            before: count,
            changed: 0,
            after: count,
        }
    });
    let binned = found.bin.iter().map(|(object, ids)| {
        let count = ids.len() as u64;
        let collection = format!("{object} (recycle bin)");
        CollectionEvidence { collection, action: "search".into(), before: count, changed: 0, after: count }
    });
    Outcome::Done(Done {
        found: found.total(),
        retained: found.not_searched(),
        evidence: Evidence { collections: collections.chain(binned).collect() },
        yielded: yielded(&found.rows),
        ..Done::default()
    })
}

/// Counts.
pub(super) async fn discover(desk: &Desk, batch: &[Work<'_>]) -> Result<Vec<Outcome>, Trouble> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let schema = desk.schema().await?;
    let subjects: Vec<_> = batch.iter().map(|work| work.subject).collect();
    let found = find(desk, &schema, &subjects, true).await?;
    Ok(found
        .into_iter()
        .map(|found| found.map_or_else(Outcome::Trouble, |found| told(&schema, &found, "search")))
        .collect())
}

/// Hands every record over.
pub(super) async fn export(desk: &Desk, batch: &[Work<'_>], sink: &dyn ExportSink) -> Result<Vec<Outcome>, Trouble> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let schema = desk.schema().await?;
    let subjects: Vec<_> = batch.iter().map(|work| work.subject).collect();
    let found = find(desk, &schema, &subjects, true).await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for (work, found) in batch.iter().zip(found) {
        let handed = async {
            let found = found?;
            for (object, ids) in &found.rows {
                let fields = schema.exported.get(object).ok_or_else(unreadable)?;
                let ids: Vec<&String> = ids.iter().collect();
                for part in ids.chunks(PART) {
                    for (_, record) in retrieve(desk, object, part, fields).await? {
                        sink.record(work.key, object, record).await?;
                    }
                }
            }
            Ok(told(&schema, &found, "export"))
        };
        outcomes.push(handed.await.unwrap_or_else(Outcome::Trouble));
    }
    Ok(outcomes)
}

/// Reads live records by id, in order.
pub(super) async fn retrieve(
    desk: &Desk,
    object: &str,
    ids: &[&String],
    fields: &[String],
) -> Result<Vec<(String, Map<String, Value>)>, Trouble> {
    let body = Body::Json(json!({"ids": ids, "fields": fields}));
    let path = desk.path(&format!("composite/sobjects/{object}"));
    let Value::Array(records) = desk.org.json(&desk.setup, Method::POST, &path, &[], &body).await? else {
        return Err(unreadable());
    };
    if records.len() != ids.len() {
        return Err(unreadable());
    }
    let mut whole = Vec::with_capacity(ids.len());
    for (id, record) in ids.iter().zip(records) {
        match record {
            Value::Object(mut record)
                if record.get("Id").and_then(Value::as_str).and_then(super::soql::full_id).as_ref() == Some(*id) =>
            {
                record.remove("attributes");
                whole.push(((*id).clone(), record));
            }
            Value::Null => {
                return Err(passing("changed_meanwhile", "a record was deleted while it was read; it is read again"));
            }
            _ => return Err(unreadable()),
        }
    }
    Ok(whole)
}

/// The values of these fields of records of several objects.
pub(super) async fn values(
    desk: &Desk,
    rows: &Ids,
    fields: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, Map<String, Value>>, Trouble> {
    let mut values = BTreeMap::new();
    for (object, ids) in rows {
        let Some(fields) = fields.get(object).filter(|fields| !fields.is_empty()) else { continue };
        let ids: Vec<&String> = ids.iter().collect();
        for part in ids.chunks(super::BATCH) {
            values.extend(retrieve(desk, object, part, fields).await?);
        }
    }
    Ok(values)
}

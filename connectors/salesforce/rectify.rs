//! Correcting: the fields that a correction names, where a record of the person has another value, 200 records a call.

use super::Desk;
use super::erase::of_result;
use super::export::values;
use super::find::{Found, Ids, find, live};
use super::receipt::Touched;
use super::schema::Schema;
use super::session::{Body, denied, of_code, passing, trouble, unreadable};
use crate::http::Method;
use crate::{CollectionEvidence, Correction, Done, Journal, Outcome, Retained, Trouble, Work};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The correction's values for an object: its field -> value.
pub(super) fn wanted(schema: &Schema, object: &str, corrections: &[Correction]) -> Map<String, Value> {
    let Some(object) = schema.object(object) else { return Map::new() };
    let value = |correction: &Correction| {
        let field = object.correct.get(&correction.field)?;
        let value = correction.value.expose();
        Some((field.clone(), if value.is_empty() { Value::Null } else { value.as_str().into() }))
    };
    corrections.iter().filter_map(value).collect()
}

/// Whether a stored value is the wanted one.
pub(super) fn is_same(stored: Option<&Value>, wanted: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    stored.is_some_and(|stored| text(stored) == text(wanted))
}

/// The fields of the records that the corrections name, by object.
pub(super) fn fields(schema: &Schema, batch: &[Work<'_>]) -> BTreeMap<String, Vec<String>> {
    let of = |name: &String| {
        let fields: BTreeSet<String> =
            batch.iter().flat_map(|work| wanted(schema, name, work.corrections)).map(|(field, _)| field).collect();
        let mut fields: Vec<String> = fields.into_iter().collect();
        if !fields.is_empty() {
            fields.push("Id".to_owned());
        }
        fields
    };
    schema.objects.iter().map(|object| (object.name.clone(), of(&object.name))).collect()
}

struct Item<'a> {
    work: &'a Work<'a>,
    touched: Touched,
    not_searched: Vec<Retained>,
    answer: Option<Outcome>,
}

/// Corrects each person's records.
pub(super) async fn rectify(desk: &Desk, batch: &[Work<'_>], journal: &dyn Journal) -> Result<Vec<Outcome>, Trouble> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let schema = desk.schema().await?;
    let subjects: Vec<_> = batch.iter().map(|work| work.subject).collect();
    let found = find(desk, &schema, &subjects, true).await?;
    let fields = fields(&schema, batch);
    let mut items = Vec::with_capacity(batch.len());
    for (work, found) in batch.iter().zip(found) {
        let prior = Touched::read(work.prior);
        let mut item = Item { work, touched: Touched::default(), not_searched: Vec::new(), answer: None };
        match (prior, found) {
            (Ok(prior), Ok(found)) => {
                item.touched = prior;
                item.answer = begin(&schema, work, &found, &mut item.touched);
                item.not_searched = found.not_searched();
            }
            (Err(trouble), _) | (_, Err(trouble)) => item.answer = Some(Outcome::Trouble(trouble)),
        }
        items.push(item);
    }
    let mut rows = Ids::new();
    for item in items.iter_mut().filter(|item| item.answer.is_none()) {
        for (object, ids) in &item.touched.rows {
            rows.entry(object.clone()).or_default().extend(ids.iter().cloned());
        }
    }
    // Records of an earlier run may be gone by now.
    for (object, ids) in &mut rows {
        *ids = live(desk, object, ids).await?;
    }
    let before = values(desk, &rows, &fields).await?;
    for item in items.iter_mut().filter(|item| item.answer.is_none()) {
        for (object, ids) in &item.touched.rows {
            let wanted = wanted(&schema, object, item.work.corrections);
            let fixed = item.touched.fixed.get(object);
            let differs = |id: &&String| {
                before
                    .get(*id)
                    .is_some_and(|record| wanted.iter().any(|(field, value)| !is_same(record.get(field), value)))
                    && !fixed.is_some_and(|fixed| fixed.contains(*id))
            };
            let todo: Vec<String> = ids.iter().filter(differs).cloned().collect();
            if !todo.is_empty() {
                item.touched.todo.entry(object.clone()).or_default().extend(todo);
            }
        }
    }
    let changing: Vec<usize> =
        (0..items.len()).filter(|nth| items[*nth].answer.is_none() && !items[*nth].touched.todo.is_empty()).collect();
    let receipts: Vec<_> = changing.iter().map(|nth| items[*nth].touched.to_receipt()).collect();
    let asked: Vec<_> = changing.iter().zip(&receipts).map(|(nth, receipt)| (items[*nth].work.key, receipt)).collect();
    let answers = if asked.is_empty() { Vec::new() } else { journal.intend_all(&asked).await };
    for (nth, answer) in changing.into_iter().zip(answers) {
        if let Err(lost) = answer {
            items[nth].answer = Some(Outcome::Trouble(lost.into()));
        }
    }
    change(desk, &schema, &mut items, &before).await;
    rows.retain(|object, _| items.iter().any(|item| item.answer.is_none() && item.touched.rows.contains_key(object)));
    let after = values(desk, &rows, &fields).await?;
    Ok(items.into_iter().map(|item| finish(&schema, item, &after)).collect())
}

/// Only the people's own records are corrected, not what refers to them.
fn begin(schema: &Schema, work: &Work<'_>, found: &Found, touched: &mut Touched) -> Option<Outcome> {
    for (object, ids) in found.rows.iter().filter(|(object, _)| schema.object(object).is_some()) {
        touched.rows.entry(object.clone()).or_default().extend(ids.iter().cloned());
        let converted: BTreeSet<String> = ids.intersection(&found.converted).cloned().collect();
        if !converted.is_empty() {
            touched.fixed.entry(object.clone()).or_default().extend(converted);
        }
    }
    if touched.rows.is_empty() {
        return Some(super::erase::nothing(schema, found.not_searched()));
    }
    let known = |correction: &&Correction| {
        touched.rows.keys().any(|name| schema.object(name).is_some_and(|o| o.correct.contains_key(&correction.field)))
    };
    work.corrections.iter().find(|correction| !known(correction)).map(|correction| {
        Outcome::Trouble(denied(
            "field_not_correctable",
            format!("no object of the person's records has a field for {} that the user may write; map it in settings.fields", correction.field),
        ))
    })
}

/// Sends the changes, and notes for whom they failed.
async fn change(desk: &Desk, schema: &Schema, items: &mut [Item<'_>], before: &BTreeMap<String, Map<String, Value>>) {
    type Changes = BTreeMap<(String, String), (Map<String, Value>, Vec<usize>)>;
    let mut records = Changes::new();
    for (nth, item) in items.iter().enumerate().filter(|(_, item)| item.answer.is_none()) {
        for (object, ids) in &item.touched.todo {
            let wanted = wanted(schema, object, item.work.corrections);
            for id in ids {
                let Some(stored) = before.get(id) else { continue };
                let differing = wanted.iter().filter(|(field, value)| !is_same(stored.get(*field), value));
                let differing: Vec<(String, Value)> =
                    differing.map(|(field, value)| (field.clone(), value.clone())).collect();
                if !differing.is_empty() {
                    let entry = records.entry((object.clone(), id.clone())).or_default();
                    entry.0.extend(differing);
                    entry.1.push(nth);
                }
            }
        }
    }
    let records: Vec<_> = records.into_iter().collect();
    for chunk in records.chunks(super::BATCH) {
        let outcomes = match send(desk, chunk).await {
            Ok(outcomes) => outcomes,
            Err(trouble) => {
                items
                    .iter_mut()
                    .filter(|item| item.answer.is_none())
                    .for_each(|item| item.answer = Some(Outcome::Trouble(trouble.clone())));
                return;
            }
        };
        for ((_, (_, owners)), outcome) in chunk.iter().zip(outcomes) {
            for nth in owners {
                if let Some(trouble) = &outcome {
                    items[*nth].answer.get_or_insert(Outcome::Trouble(trouble.clone()));
                }
            }
        }
    }
}

type Change = ((String, String), (Map<String, Value>, Vec<usize>));

async fn send(desk: &Desk, chunk: &[Change]) -> Result<Vec<Option<Trouble>>, Trouble> {
    let record = |((object, id), (fields, _)): &Change| {
        let mut record = fields.clone();
        record.insert("attributes".to_owned(), json!({"type": object}));
        record.insert("id".to_owned(), id.as_str().into());
        Value::Object(record)
    };
    let body = json!({"allOrNone": false, "records": chunk.iter().map(record).collect::<Vec<_>>()});
    let path = desk.path("composite/sobjects");
    let answer = desk.org.call(&desk.setup, Method::PATCH, &path, &[], &Body::Json(body)).await?;
    if !answer.is_success() {
        return Err(trouble(&answer));
    }
    let Value::Array(results) = answer.json()? else { return Err(unreadable()) };
    if results.len() != chunk.len() {
        return Err(unreadable());
    }
    let outcomes = chunk.iter().zip(&results).map(|(((_, id), _), result)| {
        let code = result["errors"][0]["statusCode"].as_str().unwrap_or_default();
        match of_result(result, id)? {
            None => Ok(None),
            Some(_) if of_code(code).is_none() => Ok(Some(denied(
                "value_refused",
                "Salesforce refused the new value (too long, not valid for the field, or against a rule of the org); correct it there by hand",
            ))),
            Some(trouble) => Ok(Some(trouble)),
        }
    });
    outcomes.collect()
}

fn finish(schema: &Schema, item: Item<'_>, after: &BTreeMap<String, Map<String, Value>>) -> Outcome {
    if let Some(answer) = item.answer {
        return answer;
    }
    let mut done = Done { found: item.touched.total(), retained: item.not_searched, ..Done::default() };
    for (object, ids) in &item.touched.rows {
        let wanted = wanted(schema, object, item.work.corrections);
        let fixed = item.touched.fixed.get(object).map_or(0, BTreeSet::len) as u64;
        if fixed > 0 {
            done.retained.push(Retained {
                collection: object.clone(),
                records: fixed,
                reason: "converted_lead_read_only".to_owned(),
            });
        }
        let todo = item.touched.todo.get(object).map(BTreeSet::iter).into_iter().flatten();
        let other = todo
            .clone()
            .filter_map(|id| after.get(id))
            .any(|record| wanted.iter().any(|(field, value)| !is_same(record.get(field), value)));
        if other {
            return Outcome::Trouble(passing(
                "not_applied",
                "Salesforce took the correction, but a record still has another value",
            ));
        }
        let changed = todo.count() as u64;
        done.changed += changed;
        done.evidence.collections.push(CollectionEvidence {
            collection: object.clone(),
            action: "update".into(),
            before: ids.len() as u64,
            changed,
            after: ids.len() as u64,
        });
    }
    done.yielded = super::yielded(&item.touched.rows);
    done.receipt = Some(item.touched.to_receipt());
    Outcome::Done(done)
}

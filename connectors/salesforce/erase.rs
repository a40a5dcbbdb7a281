//! Deleting: what refers to others goes first, 200 records a call, each record with its own answer.

use super::find::{Ids, find, live, not_searched};
use super::receipt::Touched;
use super::schema::Schema;
use super::session::{Body, denied, of_code, passing, trouble, unreadable};
use super::{BATCH, Desk, bulk, yielded};
use crate::http::Method;
use crate::{CollectionEvidence, Done, Effect, Evidence, Journal, Outcome, Retained, Trouble, Work};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is deleted can be brought back for so long.
const BIN_DAYS: u32 = 15;

/// One person in work.
pub(super) struct Item<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) touched: Touched,
    /// Objects that could not be searched.
    pub(super) not_searched: Vec<Retained>,
    /// Their jobs have ended: what is theirs is known, and is not searched again until the verification.
    pub(super) followed: bool,
    /// Set once nothing more is done for the person now.
    pub(super) answer: Option<Outcome>,
}

impl Item<'_> {
    pub(super) fn fail(&mut self, trouble: Trouble) {
        self.answer.get_or_insert(Outcome::Trouble(trouble));
    }

    pub(super) const fn is_open(&self) -> bool {
        self.answer.is_none()
    }
}

/// Deletes each person's records.
pub(super) async fn erase(desk: &Desk, batch: &[Work<'_>], journal: &dyn Journal) -> Result<Vec<Outcome>, Trouble> {
    let schema = desk.schema().await?;
    let mut items: Vec<Item<'_>> = batch.iter().map(begin).collect();
    bulk::follow(desk, &mut items).await?;
    search(desk, &schema, &mut items).await?;
    announce(&mut items, journal).await;
    if desk.setup.hard {
        if let Err(trouble) = bulk::go_on(desk, &schema, &mut items, journal).await {
            items.iter_mut().filter(|item| item.is_open()).for_each(|item| item.fail(trouble.clone()));
        }
    } else {
        into_the_bin(desk, &schema, &mut items).await;
    }
    let left = match still_there(desk, &schema, &items).await {
        Ok(left) => left,
        // What was announced is told by the next run.
        Err(trouble) => {
            return Ok(items
                .into_iter()
                .map(|item| item.answer.unwrap_or_else(|| Outcome::Trouble(trouble.clone())))
                .collect());
        }
    };
    Ok(items.into_iter().map(|item| finish(desk, &schema, item, &left)).collect())
}

fn begin<'a>(work: &'a Work<'a>) -> Item<'a> {
    match Touched::read(work.prior) {
        Ok(touched) => Item { work, touched, not_searched: Vec::new(), followed: false, answer: None },
        Err(trouble) => {
            let answer = Some(Outcome::Trouble(trouble));
            Item { work, touched: Touched::default(), not_searched: Vec::new(), followed: false, answer }
        }
    }
}

/// Finds the records of everybody who is not waiting for a job.
async fn search(desk: &Desk, schema: &Schema, items: &mut [Item<'_>]) -> Result<(), Trouble> {
    for item in items.iter_mut().filter(|item| item.followed) {
        item.not_searched = not_searched(schema, item.work.subject);
    }
    let open: Vec<usize> = (0..items.len()).filter(|nth| items[*nth].is_open() && !items[*nth].followed).collect();
    let subjects: Vec<_> = open.iter().map(|nth| items[*nth].work.subject).collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let found = match find(desk, schema, &subjects, true).await {
        Ok(found) => found,
        Err(trouble) => {
            for nth in open {
                items[nth].fail(trouble.clone());
            }
            return Ok(());
        }
    };
    for (nth, found) in open.into_iter().zip(found) {
        let item = &mut items[nth];
        match found {
            Err(trouble) => item.fail(trouble),
            Ok(found) => {
                item.not_searched = found.not_searched();
                item.touched.add(&found);
                if item.touched.rows.is_empty() {
                    item.answer = Some(nothing(schema, item.not_searched.clone()));
                }
            }
        }
    }
    Ok(())
}

/// Nothing was found; if not everything could be searched, that is said.
pub(super) fn nothing(schema: &Schema, not_searched: Vec<Retained>) -> Outcome {
    let searched = schema.objects.iter().filter(|object| !not_searched.iter().any(|r| r.collection == object.name));
    let looked = |name: &String| CollectionEvidence {
        collection: name.clone(),
        action: "search".into(),
        ..CollectionEvidence::default()
    };
    let evidence = Evidence { collections: searched.map(|object| looked(&object.name)).collect() };
    if not_searched.is_empty() {
        return Outcome::NothingFound(evidence);
    }
    Outcome::Done(Done { retained: not_searched, evidence, ..Done::default() })
}

/// Announces what is about to be deleted.
pub(super) async fn announce(items: &mut [Item<'_>], journal: &dyn Journal) {
    let receipts: Vec<_> = items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.is_open())
        .map(|(nth, item)| (nth, item.work.key, item.touched.to_receipt()))
        .collect();
    let asked: Vec<_> = receipts.iter().map(|(_, key, receipt)| (*key, receipt)).collect();
    if asked.is_empty() {
        return;
    }
    let answers = journal.intend_all(&asked).await;
    crate::crash_point("salesforce.before_effect");
    for ((nth, ..), answer) in receipts.into_iter().zip(answers) {
        if let Err(lost) = answer {
            items[nth].fail(lost.into());
        }
    }
}

/// Soft deletion, level by level.
async fn into_the_bin(desk: &Desk, schema: &Schema, items: &mut [Item<'_>]) {
    let highest = schema.levels.values().copied().max().unwrap_or(0);
    for level in (0..=highest).rev() {
        let mut owners: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for (nth, item) in items.iter().enumerate().filter(|(_, item)| item.is_open()) {
            for (object, ids) in item
                .touched
                .rows
                .iter()
                .filter(|(object, _)| schema.level(object) == level && schema.keep(object).is_none())
            {
                for id in ids {
                    owners.entry((object.clone(), id.clone())).or_default().push(nth);
                }
            }
        }
        let ids: Vec<&(String, String)> = owners.keys().collect();
        for chunk in ids.chunks(BATCH) {
            let answers = match collection(desk, chunk).await {
                Ok(answers) => answers,
                Err(trouble) => {
                    // The rest of the batch would fare alike.
                    items.iter_mut().filter(|item| item.is_open()).for_each(|item| item.fail(trouble.clone()));
                    return;
                }
            };
            for (key, answer) in chunk.iter().zip(answers) {
                if let Some(trouble) = answer {
                    owners[*key].iter().for_each(|nth| items[*nth].fail(trouble.clone()));
                }
            }
            crate::crash_point("salesforce.after_effect");
        }
    }
}

/// Deletes up to 200 records; for each, what came in its way.
async fn collection(desk: &Desk, chunk: &[&(String, String)]) -> Result<Vec<Option<Trouble>>, Trouble> {
    let ids = chunk.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>().join(",");
    let path = desk.path("composite/sobjects");
    let query = [("ids", ids.as_str()), ("allOrNone", "false")];
    let answer = desk.org.call(&desk.setup, Method::DELETE, &path, &query, &Body::None).await?;
    if !answer.is_success() {
        return Err(trouble(&answer));
    }
    let Value::Array(results) = answer.json()? else { return Err(unreadable()) };
    if results.len() != chunk.len() {
        return Err(unreadable());
    }
    chunk.iter().zip(&results).map(|((_, id), result)| of_result(result, id)).collect()
}

/// What a result of one record means: none if it is as it should be.
pub(super) fn of_result(result: &Value, id: &str) -> Result<Option<Trouble>, Trouble> {
    if result["success"] == true {
        let same = result["id"].as_str().and_then(super::soql::full_id).is_some_and(|told| told == id);
        return if same { Ok(None) } else { Err(unreadable()) };
    }
    let code = result["errors"][0]["statusCode"].as_str().ok_or_else(unreadable)?;
    Ok(of_item(code))
}

/// What an error code of one record means; none if the record is gone.
pub(super) fn of_item(code: &str) -> Option<Trouble> {
    match code {
        // The second is said of what was purged; whether it is gone is read again in any case.
        "ENTITY_IS_DELETED" | "INVALID_CROSS_REFERENCE_KEY" => None,
        _ => Some(of_code(code).unwrap_or_else(|| {
            denied(
                "record_refused",
                "Salesforce refused a record for a reason that is not known here; look at the person's records",
            )
        })),
    }
}

/// Of the items' records, those that are still there, by object.
async fn still_there(desk: &Desk, schema: &Schema, items: &[Item<'_>]) -> Result<Ids, Trouble> {
    let mut ids = Ids::new();
    for item in items.iter().filter(|item| item.is_open()) {
        for (object, rows) in item.touched.rows.iter().filter(|(object, _)| schema.keep(object).is_none()) {
            ids.entry(object.clone()).or_default().extend(rows.iter().cloned());
        }
    }
    let mut left = Ids::new();
    for (object, ids) in &ids {
        left.insert(object.clone(), live(desk, object, ids).await?);
    }
    Ok(left)
}

fn finish(desk: &Desk, schema: &Schema, item: Item<'_>, left: &Ids) -> Outcome {
    if let Some(answer) = item.answer {
        return answer;
    }
    let none = BTreeSet::new();
    let mut done = Done { found: item.touched.total(), retained: item.not_searched, ..Done::default() };
    for (object, ids) in &item.touched.rows {
        let before = ids.len() as u64;
        if let Some(reason) = schema.keep(object) {
            done.retained.push(Retained { collection: object.clone(), records: before, reason: reason.to_owned() });
            let kept = CollectionEvidence {
                collection: object.clone(),
                action: "keep".into(),
                before,
                changed: 0,
                after: before,
            };
            done.evidence.collections.push(kept);
            continue;
        }
        let after = ids.intersection(left.get(object).unwrap_or(&none)).count() as u64;
        if after > 0 {
            return Outcome::Trouble(passing(
                "still_there",
                "Salesforce said that records were deleted, but they are still there",
            ));
        }
        done.changed += before;
        done.evidence.collections.push(CollectionEvidence {
            collection: object.clone(),
            action: "delete".into(),
            before,
            changed: before,
            after,
        });
    }
    let permanent = desk.setup.hard && !item.touched.old_bin;
    done.effect = Some(if permanent { Effect::Permanent } else { Effect::Soft { residual_days: Some(BIN_DAYS) } });
    done.yielded = yielded(&item.touched.rows);
    done.receipt = Some(item.touched.to_receipt());
    Outcome::Done(done)
}

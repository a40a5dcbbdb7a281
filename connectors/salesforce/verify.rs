//! Verifying: a new search by the identifiers, and a look at every record that was touched.

use super::Desk;
use super::export::values;
use super::find::{Found, Ids, find, live};
use super::receipt::Touched;
use super::rectify::{fields, is_same, wanted};
use super::schema::Schema;
use super::session::denied;
use crate::{CollectionEvidence, Evidence, Trouble, Verdict, Work};
use redress_domain::Verb;
use std::collections::BTreeSet;

/// Reads again whether what `verb` did is so.
pub(super) async fn verify(desk: &Desk, verb: Verb, batch: &[Work<'_>]) -> Result<Vec<Verdict>, Trouble> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    if !matches!(verb, Verb::Erase | Verb::Rectify) {
        return Err(denied("verb_unsupported", "Salesforce connectors verify deletions and corrections"));
    }
    let schema = desk.schema().await?;
    let subjects: Vec<_> = batch.iter().map(|work| work.subject).collect();
    let found = find(desk, &schema, &subjects, false).await?;
    let mut people = Vec::with_capacity(batch.len());
    let mut touched_ids = Ids::new();
    for (work, found) in batch.iter().zip(found) {
        let person = Touched::read(work.prior).and_then(|touched| Ok((touched, found?)));
        if let Ok((touched, _)) = &person {
            for (object, ids) in &touched.rows {
                touched_ids.entry(object.clone()).or_default().extend(ids.iter().cloned());
            }
        }
        people.push(person);
    }
    for (object, ids) in &mut touched_ids {
        *ids = live(desk, object, ids).await?;
    }
    if verb == Verb::Erase {
        let verdict = |person: Result<(Touched, Found), Trouble>| match person {
            Ok((touched, found)) => erased(&schema, &touched, &found, &touched_ids),
            Err(trouble) => Verdict::Trouble(trouble),
        };
        return Ok(people.into_iter().map(verdict).collect());
    }
    let fields = fields(&schema, batch);
    let mut rows = touched_ids.clone();
    for (_, found) in people.iter().flatten() {
        for (object, ids) in found.rows.iter().filter(|(object, _)| schema.object(object).is_some()) {
            rows.entry(object.clone()).or_default().extend(ids.iter().cloned());
        }
    }
    let values = values(desk, &rows, &fields).await?;
    let verdict = |(work, person): (&Work<'_>, Result<(Touched, Found), Trouble>)| {
        let (touched, found) = match person {
            Ok(person) => person,
            Err(trouble) => return Verdict::Trouble(trouble),
        };
        let (mut remaining, mut evidence) = (0, Evidence::default());
        for object in &schema.objects {
            let wanted = wanted(&schema, &object.name, work.corrections);
            let fixed = found
                .converted
                .iter()
                .chain(touched.fixed.get(&object.name).into_iter().flatten())
                .collect::<BTreeSet<_>>();
            let listed = touched.rows.get(&object.name).into_iter().flatten();
            let ids: BTreeSet<&String> = listed.chain(found.rows.get(&object.name).into_iter().flatten()).collect();
            let other = |id: &&&String| {
                values
                    .get(**id)
                    .is_some_and(|record| wanted.iter().any(|(field, value)| !is_same(record.get(field), value)))
            };
            let after = ids.iter().filter(|id| !fixed.contains(**id)).filter(other).count() as u64;
            remaining += after;
            if !ids.is_empty() {
                let before = ids.len() as u64;
                evidence.collections.push(CollectionEvidence {
                    collection: object.name.clone(),
                    action: "search".into(),
                    before,
                    changed: 0,
                    after,
                });
            }
        }
        if remaining == 0 { Verdict::Confirmed(evidence) } else { Verdict::Residue { remaining, evidence } }
    };
    Ok(batch.iter().zip(people).map(verdict).collect())
}

/// A person is gone if nothing of theirs is found, and nothing that was touched is there.
fn erased(schema: &Schema, touched: &Touched, found: &Found, live: &Ids) -> Verdict {
    let mut evidence = Evidence::default();
    let mut remaining = 0;
    let names: BTreeSet<&String> = schema.levels.keys().collect();
    for name in names {
        let kept = schema.keep(name).is_some();
        let none = BTreeSet::new();
        let listed = touched.rows.get(name).unwrap_or(&none);
        let mut left: BTreeSet<&String> = listed.intersection(live.get(name).unwrap_or(&none)).collect();
        left.extend(found.rows.get(name).into_iter().flatten());
        let after = left.len() as u64;
        if !kept {
            remaining += after;
        }
        let looked = |collection: String, after: u64| CollectionEvidence {
            collection,
            action: if kept { "keep" } else { "search" }.into(),
            before: listed.len() as u64,
            changed: 0,
            after,
        };
        evidence.collections.push(looked(name.clone(), after));
        // What waits in the recycle bin is told, not hidden.
        if let Some(bin) = found.bin.get(name) {
            evidence.collections.push(looked(format!("{name} (recycle bin)"), bin.len() as u64));
        }
    }
    if remaining == 0 { Verdict::Confirmed(evidence) } else { Verdict::Residue { remaining, evidence } }
}

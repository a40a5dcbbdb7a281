//! What is done with what a scan found: handed over, written anew, deleted, and looked for again.

use super::S3;
use super::client::{Deleted, Version};
use super::rows::Rows;
use super::scan::{Depth, Found, Hit, record_key};
use super::settings::Format;
use crate::flat::{self, Crowd, Touched};
use crate::{
    CheckReport, Done, Effect, ExportSink, Journal, Lost, Outcome, Problem, Receipt, Retained, Trouble, Verdict, Work,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be done to one object for everybody who is concerned.
#[derive(Default)]
struct Task {
    pattern: usize,
    /// What is there now, if it holds any of them.
    current: Option<Version>,
    /// Versions that hold any of them, the current one included.
    versions: BTreeMap<Option<String>, Version>,
    people: BTreeSet<usize>,
}

/// What an effect came to for one object.
enum Effected {
    /// These versions stay because they are locked.
    But(BTreeSet<Option<String>>),
    Failed(Trouble),
}

impl S3 {
    pub(super) async fn survey(&self) -> Result<CheckReport, Trouble> {
        let mut report = CheckReport::default();
        let versions = self.has_versions().await?;
        report.ok.push(if versions {
            "the bucket has versions; old ones are searched and deleted too".to_owned()
        } else {
            "the bucket has no versions".to_owned()
        });
        for pattern in &self.config.patterns {
            let listed = self.client.list(&pattern.prefix, versions).await?;
            let mine: Vec<&Version> = listed.iter().filter(|version| pattern.covers(&version.key)).collect();
            let bytes: u64 = mine.iter().map(|version| version.size).sum();
            if mine.is_empty() {
                report.warnings.push(format!("no object is like {}", pattern.label));
            } else {
                report.ok.push(format!("{}: {} objects or versions, {} MB", pattern.label, mine.len(), bytes >> 20));
            }
        }
        Ok(report)
    }

    /// Hands over rows as records and whole objects as files.
    pub(super) async fn hand_over(&self, key: &str, found: &Found, sink: &dyn ExportSink) -> Result<(), Trouble> {
        found.met.settle(found.rows_at_once, self.config.max_matches)?;
        let times: BTreeMap<(usize, &str, &str), u64> = found.hits.iter().fold(BTreeMap::new(), |mut all, hit| {
            for (record, times) in &hit.records {
                let most = all.entry((hit.pattern, hit.version.key.as_str(), record.as_str())).or_insert(0);
                *most = (*most).max(*times);
            }
            all
        });
        for ((pattern, object, fingerprint), row) in &found.rows {
            let times = times.get(&(*pattern, object.as_str(), fingerprint.as_str())).copied().unwrap_or(1);
            for _ in 0..times {
                let mut row = row.clone();
                row.insert("_object".to_owned(), Value::from(object.as_str()));
                sink.record(key, &self.config.patterns[*pattern].label, row).await?;
            }
        }
        let mut told = BTreeSet::new();
        for hit in found.hits.iter().filter(|hit| self.config.patterns[hit.pattern].format == Format::Object) {
            let label = &self.config.patterns[hit.pattern].label;
            let Version { key: object, id, size, latest, marker, .. } = &hit.version;
            if told.insert(object.clone()) {
                let record = json!({"_object": object, "bytes": size});
                sink.record(key, label, record.as_object().cloned().unwrap_or_default()).await?;
            }
            if *marker {
                continue;
            }
            let answer = self.client.get(&hit.version, label).await?;
            let media_type = answer.header("content-type").unwrap_or("application/octet-stream").to_owned();
            let name = match id {
                Some(id) if !latest => format!("{object}.version-{id}"),
                _ => object.clone(),
            };
            sink.attachment(key, label, &name, &media_type, &answer.body).await?;
        }
        Ok(())
    }

    /// Erases everybody of a batch.
    pub(super) async fn remove(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Result<Vec<Outcome>, Trouble> {
        let crowd = Arc::new(Crowd::of(batch));
        let found = self.scan(&crowd, Depth::Ever, false).await?;
        let mut states = self.announce(batch, &found, journal, |found| found.touched(&self.config.patterns)).await;
        let concerned: BTreeSet<usize> = (0..batch.len()).filter(|i| states[*i].is_ok()).collect();

        let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
        for (person, found) in found.iter().enumerate().filter(|(person, _)| concerned.contains(person)) {
            for hit in &found.hits {
                let task = tasks.entry(hit.version.key.clone()).or_default();
                task.pattern = hit.pattern;
                task.people.insert(person);
                if hit.version.latest && !hit.version.marker {
                    task.current = Some(hit.version.clone());
                }
                task.versions.insert(hit.version.id.clone(), hit.version.clone());
            }
        }
        let mut locked: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
        let mut throttled = None;
        for (key, task) in tasks {
            let effected = match &throttled {
                Some(trouble) => Effected::Failed(Trouble::clone(trouble)),
                None => self.take_out(&task, &crowd).await,
            };
            match effected {
                Effected::But(versions) if versions.is_empty() => {}
                Effected::But(versions) => drop(locked.insert(key, versions)),
                Effected::Failed(trouble) => {
                    if matches!(trouble, Trouble::Throttled(_)) {
                        throttled = Some(trouble.clone());
                    }
                    for person in task.people {
                        states[person] = Err(trouble.clone());
                    }
                }
            }
        }
        let answer = |(person, state): (usize, Result<Touched, Trouble>)| match state {
            Err(trouble) => Outcome::Trouble(trouble),
            Ok(touched) => {
                let (left, mut retained) = self.locked_of(&found[person], &locked);
                retained.extend(self.unsearched(&crowd, person));
                let evidence = self.evidence("delete", &touched, &left, true);
                flat::erased(&touched, &left, evidence, retained, Effect::Permanent, found[person].met.yielded())
            }
        };
        Ok(states.into_iter().enumerate().map(answer).collect())
    }

    /// Announces for everybody what will be touched. Those who may not be touched have their trouble.
    async fn announce(
        &self,
        batch: &[Work<'_>],
        found: &[Found],
        journal: &dyn Journal,
        touch: impl Fn(&Found) -> Touched,
    ) -> Vec<Result<Touched, Trouble>> {
        let mut states: Vec<Result<Touched, Trouble>> = Vec::with_capacity(batch.len());
        for (work, found) in batch.iter().zip(found) {
            let settled = found.met.settle(found.rows_at_once, self.config.max_matches);
            states.push(settled.and_then(|()| Touched::read(work.prior)).map(|mut touched| {
                touched.extend(&touch(found));
                touched
            }));
        }
        let receipts: Vec<(usize, Receipt)> = states
            .iter()
            .enumerate()
            .filter(|(person, _)| !found[*person].hits.is_empty())
            .filter_map(|(person, state)| Some((person, state.as_ref().ok()?.receipt())))
            .collect();
        let items: Vec<(&str, &Receipt)> =
            receipts.iter().map(|(person, receipt)| (batch[*person].key, receipt)).collect();
        let rights = journal.intend_all(&items).await;
        for ((person, _), right) in receipts.iter().zip(rights) {
            if let Err(Lost) = right {
                states[*person] = Err(Trouble::Lost);
            }
        }
        states
    }

    /// The person's records that only locked versions still hold.
    fn locked_of(
        &self,
        found: &Found,
        locked: &BTreeMap<String, BTreeSet<Option<String>>>,
    ) -> (Touched, Vec<Retained>) {
        let mut left = Touched::default();
        for hit in &found.hits {
            if locked.get(&hit.version.key).is_some_and(|versions| versions.contains(&hit.version.id)) {
                for (record, times) in &hit.records {
                    left.add(&self.config.patterns[hit.pattern].label, &record_key(hit, record), *times);
                }
            }
        }
        let retained = |label: &String| Retained {
            collection: label.clone(),
            records: left.count(label),
            reason: "object_lock".to_owned(),
        };
        let retained = left.0.keys().map(retained).collect();
        (left, retained)
    }

    /// Takes these people out of one object and of its old versions.
    async fn take_out(&self, task: &Task, crowd: &Arc<Crowd>) -> Effected {
        let mut gone: Vec<Version> = task.versions.values().cloned().collect();
        if self.config.patterns[task.pattern].format != Format::Object
            && let Some(current) = &task.current
        {
            match self.rewrite(task, current, crowd).await {
                Err(trouble) => return Effected::Failed(trouble),
                // Without versions, or while they are suspended, the new content took the place of the old.
                Ok(new) => gone.retain(|version| version.id.as_ref().is_some_and(|id| *id != new)),
            }
        }
        if gone.is_empty() {
            return Effected::But(BTreeSet::new());
        }
        let answers = match self.client.delete(&gone).await {
            Err(trouble) => return Effected::Failed(trouble),
            Ok(answers) => answers,
        };
        let mut locked = BTreeSet::new();
        for (version, answer) in gone.iter().zip(answers) {
            if answer == Deleted::Gone {
                continue;
            }
            match self.client.is_locked(version).await {
                Err(trouble) => return Effected::Failed(trouble),
                Ok(true) => drop(locked.insert(version.id.clone())),
                Ok(false) => {
                    return Effected::Failed(Trouble::Denied(Problem::new(
                        "permission_missing",
                        "the store does not permit deleting a version; grant s3:DeleteObjectVersion (and see whether the bucket asks for MFA), then check the system",
                    )));
                }
            }
        }
        Effected::But(locked)
    }

    /// Writes an object anew without the rows of these people; its new version.
    async fn rewrite(&self, task: &Task, current: &Version, crowd: &Arc<Crowd>) -> Result<String, Trouble> {
        let label = &self.config.patterns[task.pattern].label;
        let read = self.client.get(current, label).await?;
        let (config, crowd, p, people) =
            (Arc::clone(&self.config), Arc::clone(crowd), task.pattern, task.people.clone());
        let bytes = read.body.clone();
        let body = super::blocking(move || {
            let rows = Rows::read(&config.patterns[p], bytes, config.max_object)?;
            let gone: BTreeSet<usize> = (0..rows.len())
                .filter(|row| {
                    crowd.judge(&rows.values(*row)).iter().any(|judgement| people.contains(&judgement.person))
                })
                .collect();
            rows.without(&|row| gone.contains(&row))
        })
        .await?;
        self.client.replace(current, &read, body, label).await
    }

    pub(super) async fn verify_removed(&self, batch: &[Work<'_>]) -> Result<Vec<Verdict>, Trouble> {
        let crowd = Arc::new(Crowd::of(batch));
        let found = self.scan(&crowd, Depth::Ever, false).await?;
        let mut verdicts = Vec::with_capacity(batch.len());
        for found in &found {
            verdicts.push(match self.residue(found).await {
                Err(trouble) => Verdict::Trouble(trouble),
                Ok(left) => flat::verdict(&left, self.evidence("delete", &left, &left, false)),
            });
        }
        Ok(verdicts)
    }

    /// What is left and could have been deleted.
    async fn residue(&self, found: &Found) -> Result<Touched, Trouble> {
        found.met.settle(0, u64::MAX)?;
        let mut hits: Vec<&Hit> = Vec::new();
        for hit in &found.hits {
            // What is there now can always be written anew, unless it is locked as a whole.
            let is_whole = self.config.patterns[hit.pattern].format == Format::Object;
            let may_be_locked = is_whole || !hit.version.latest;
            if !(may_be_locked && matches!(self.client.is_locked(&hit.version).await, Ok(true))) {
                hits.push(hit);
            }
        }
        let mut left = Touched::default();
        for hit in hits {
            for (record, times) in &hit.records {
                left.add(&self.config.patterns[hit.pattern].label, &record_key(hit, record), *times);
            }
        }
        Ok(left)
    }

    /// Corrects everybody of a batch in what is there now; old versions keep what was so.
    pub(super) async fn correct(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Result<Vec<Outcome>, Trouble> {
        let crowd = Arc::new(Crowd::of(batch));
        let found = self.scan(&crowd, Depth::Now, false).await?;
        let priors: Vec<Result<Touched, Trouble>> = batch.iter().map(|work| Touched::read(work.prior)).collect();
        // What the rows will become is computed before anything is announced, and written after.
        let mut plans: BTreeMap<String, (usize, Version)> = BTreeMap::new();
        for hit in found.iter().flat_map(|found| &found.hits) {
            plans.insert(hit.version.key.clone(), (hit.pattern, hit.version.clone()));
        }
        let mut touched: Vec<Touched> = priors.iter().map(|prior| prior.clone().unwrap_or_default()).collect();
        let mut due: BTreeSet<usize> = BTreeSet::new();
        for (key, (p, version)) in &plans {
            let people: BTreeSet<usize> = (0..batch.len()).collect();
            for change in self.changes(*p, version, &crowd, batch, &people).await?.1 {
                let label = &self.config.patterns[*p].label;
                let of = &mut touched[change.person];
                let became = |touch: &flat::Touch| touch.became.as_deref() == Some(change.before.as_str());
                let known = of.0.get(label).is_some_and(|records| records.values().any(became));
                if known && change.after.is_none() {
                    continue;
                }
                let touch = of.add(label, &format!("{key}\n{}", change.before), change.times);
                if let Some(after) = change.after {
                    touch.due = true;
                    touch.became = Some(after);
                    due.insert(change.person);
                }
            }
        }
        let mut states = Vec::with_capacity(batch.len());
        for (person, (prior, touched)) in priors.into_iter().zip(touched).enumerate() {
            let found = &found[person];
            states.push(
                prior.and_then(|_| found.met.settle(found.rows_at_once, self.config.max_matches)).map(|()| touched),
            );
        }
        for person in due {
            if let Ok(touched) = &states[person]
                && journal.intend(batch[person].key, &touched.receipt()).await.is_err()
            {
                states[person] = Err(Trouble::Lost);
            }
        }
        for (p, version) in plans.values() {
            let people: BTreeSet<usize> = (0..batch.len()).filter(|person| states[*person].is_ok()).collect();
            if let Err(trouble) = self.write_changes(*p, version, &crowd, batch, &people).await {
                let concerned = |person: &usize| found[*person].hits.iter().any(|hit| hit.version.key == version.key);
                for person in people.into_iter().filter(concerned) {
                    states[person] = Err(trouble.clone());
                }
            }
        }
        let answer = |(person, state): (usize, Result<Touched, Trouble>)| match state {
            Err(trouble) => Outcome::Trouble(trouble),
            Ok(touched) => self.corrected(&touched, self.unsearched(&crowd, person)),
        };
        Ok(states.into_iter().enumerate().map(answer).collect())
    }

    fn corrected(&self, touched: &Touched, retained: Vec<Retained>) -> Outcome {
        let mut evidence = self.evidence("update", touched, touched, false);
        let mut changed = 0;
        for line in &mut evidence.collections {
            line.changed = touched.due(&line.collection);
            changed += line.changed;
        }
        if touched.is_empty() {
            return flat::seen(touched, evidence, retained, Vec::new());
        }
        let receipt = Some(touched.receipt());
        Outcome::Done(Done { found: touched.total(), changed, retained, evidence, receipt, ..Done::default() })
    }

    /// What corrections make of an object for these people: its new content, and row by row what changes.
    async fn changes(
        &self,
        p: usize,
        version: &Version,
        crowd: &Arc<Crowd>,
        batch: &[Work<'_>],
        people: &BTreeSet<usize>,
    ) -> Result<(Option<(crate::http::Answer, Vec<u8>)>, Vec<Change>), Trouble> {
        let read = self.client.get(version, &self.config.patterns[p].label).await?;
        let own = |fields: BTreeMap<&str, &str>| -> BTreeMap<String, String> {
            fields.into_iter().map(|(place, value)| (place.to_owned(), value.to_owned())).collect()
        };
        let fields = &self.config.patterns[p].fields;
        let wanted: Vec<BTreeMap<String, String>> =
            batch.iter().map(|work| own(flat::applicable(fields, work.corrections))).collect();
        let (config, crowd, people, bytes) =
            (Arc::clone(&self.config), Arc::clone(crowd), people.clone(), read.body.clone());
        let (body, changes) = super::blocking(move || {
            let rows = Rows::read(&config.patterns[p], bytes, config.max_object)?;
            let mut edits: BTreeMap<usize, BTreeMap<&str, &str>> = BTreeMap::new();
            let mut whose: BTreeMap<usize, usize> = BTreeMap::new();
            for row in 0..rows.len() {
                for judgement in crowd.judge(&rows.values(row)) {
                    if people.contains(&judgement.person) {
                        whose.insert(row, judgement.person);
                        let differs = |(place, value): &(&String, &String)| {
                            rows.current(row, place).is_some_and(|now| now != **value)
                        };
                        let of = wanted[judgement.person].iter().filter(differs);
                        let of: BTreeMap<&str, &str> =
                            of.map(|(place, value)| (place.as_str(), value.as_str())).collect();
                        if !of.is_empty() {
                            edits.entry(row).or_default().extend(of);
                        }
                    }
                }
            }
            let body = if edits.is_empty() { None } else { Some(rows.with(&edits)?) };
            let after = match &body {
                Some(body) => Some(Rows::read(&config.patterns[p], body.clone(), config.max_object)?),
                None => None,
            };
            let mut changes: BTreeMap<(usize, String), Change> = BTreeMap::new();
            for (row, person) in whose {
                let before = rows.fingerprint(row);
                let new = after.as_ref().filter(|_| edits.contains_key(&row)).map(|after| after.fingerprint(row));
                let change =
                    changes.entry((person, before.clone())).or_insert(Change { person, before, after: new, times: 0 });
                change.times += 1;
            }
            Ok((body, changes.into_values().collect()))
        })
        .await?;
        Ok((body.map(|body| (read, body)), changes))
    }

    async fn write_changes(
        &self,
        p: usize,
        version: &Version,
        crowd: &Arc<Crowd>,
        batch: &[Work<'_>],
        people: &BTreeSet<usize>,
    ) -> Result<(), Trouble> {
        if let (Some((read, body)), _) = self.changes(p, version, crowd, batch, people).await? {
            self.client.replace(version, &read, body, &self.config.patterns[p].label).await?;
        }
        Ok(())
    }

    pub(super) async fn verify_corrected(&self, batch: &[Work<'_>]) -> Result<Vec<Verdict>, Trouble> {
        let crowd = Arc::new(Crowd::of(batch));
        let found = self.scan(&crowd, Depth::Now, true).await?;
        let verdict = |(work, found): (&Work<'_>, &Found)| {
            let mut left = Touched::default();
            let all = found.touched(&self.config.patterns);
            for ((p, key, fingerprint), row) in &found.rows {
                let pattern = &self.config.patterns[*p];
                let wrong = flat::applicable(&pattern.fields, work.corrections)
                    .into_iter()
                    .any(|(place, value)| super::jsonl::texts(row, place).first().is_some_and(|now| now != value));
                if wrong {
                    left.add(&pattern.label, &format!("{key}\n{fingerprint}"), 1);
                }
            }
            match found.met.settle(0, u64::MAX) {
                Err(trouble) => Verdict::Trouble(trouble),
                Ok(()) => flat::verdict(&left, self.evidence("update", &all, &left, false)),
            }
        };
        Ok(batch.iter().zip(&found).map(verdict).collect())
    }
}

/// What becomes of equal rows of one person.
struct Change {
    person: usize,
    before: String,
    after: Option<String>,
    times: u64,
}

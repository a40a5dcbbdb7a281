//! One scan reads every declared object once for all people of a batch, old versions included.

use super::S3;
use super::client::Version;
use super::rows::Rows;
use super::settings::{Format, Pattern};
use crate::Trouble;
use crate::flat::{Crowd, Met, Touched};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Which versions a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Only what is there now.
    Now,
    /// And what was there before.
    Ever,
}

/// What one person has in one version of one object.
#[derive(Clone)]
pub(super) struct Hit {
    /// Which of the patterns.
    pub(super) pattern: usize,
    pub(super) version: Version,
    /// Fingerprint of a row -> how many of them; for a whole object its key.
    pub(super) records: BTreeMap<String, u64>,
}

/// One person's part of a scan.
#[derive(Default)]
pub(super) struct Found {
    pub(super) met: Met,
    pub(super) hits: Vec<Hit>,
    /// The rows themselves, by object and fingerprint, where they were asked for.
    pub(super) rows: BTreeMap<(usize, String, String), Map<String, Value>>,
    /// The most rows of theirs that an object holds at once, of all objects.
    pub(super) rows_at_once: u64,
}

impl Found {
    /// The records, each counted once however many versions it is in.
    pub(super) fn touched(&self, patterns: &[Pattern]) -> Touched {
        let mut touched = Touched::default();
        for hit in &self.hits {
            for (record, times) in &hit.records {
                touched.add(&patterns[hit.pattern].label, &record_key(hit, record), *times);
            }
        }
        touched
    }
}

/// How a receipt names a record: whole objects by their key, rows by their object's key and their fingerprint.
pub(super) fn record_key(hit: &Hit, record: &str) -> String {
    if hit.version.key == record { record.to_owned() } else { format!("{}\n{record}", hit.version.key) }
}

impl S3 {
    /// Reads everything that may hold one of these people.
    pub(super) async fn scan(&self, crowd: &Arc<Crowd>, depth: Depth, collect: bool) -> Result<Vec<Found>, Trouble> {
        let mut found: Vec<Found> = (0..crowd.len()).map(|_| Found::default()).collect();
        let versions = self.has_versions().await? && depth == Depth::Ever;
        for (p, pattern) in self.config.patterns.iter().enumerate() {
            if !crowd.any_searchable(&pattern.types()) {
                continue;
            }
            let prefixes: BTreeSet<String> = match pattern.prefixes_for(crowd) {
                Some(prefixes) => prefixes.into_iter().collect(),
                None => BTreeSet::from([pattern.prefix.clone()]),
            };
            for prefix in prefixes {
                let listed = self.client.list(&prefix, versions).await?;
                let earlier = &self.config.patterns[..p];
                let mine = |version: &Version| {
                    pattern.covers(&version.key) && !earlier.iter().any(|other| other.covers(&version.key))
                };
                let listed: Vec<Version> = listed.into_iter().filter(mine).collect();
                if pattern.format == Format::Object {
                    objects(p, pattern, &listed, crowd, &mut found);
                } else {
                    self.rows(p, listed, crowd, collect, &mut found).await?;
                }
            }
        }
        Ok(found)
    }

    /// Reads the rows of every version of these objects; what is the same in several versions only once.
    async fn rows(
        &self,
        p: usize,
        listed: Vec<Version>,
        crowd: &Arc<Crowd>,
        collect: bool,
        found: &mut [Found],
    ) -> Result<(), Trouble> {
        let mut known: HashMap<(String, String, u64), Vec<Seen>> = HashMap::new();
        let mut most: BTreeMap<(usize, String), u64> = BTreeMap::new();
        for version in listed.into_iter().filter(|version| !version.marker) {
            let content = (version.key.clone(), version.etag.clone(), version.size);
            let seen = match known.get(&content) {
                Some(seen) if !version.etag.is_empty() => seen.clone(),
                _ => {
                    let seen = self.read(p, &version, crowd, collect).await?;
                    known.insert(content, seen.clone());
                    seen
                }
            };
            for Seen { person, records, rows, notes } in seen {
                let found = &mut found[person];
                let label = &self.config.patterns[p].label;
                for values in &notes {
                    if let Some(judgement) = crowd.judge_one(person, values) {
                        found.met.note(label, &judgement, values, crowd.person(person));
                    }
                }
                let count = records.values().sum::<u64>();
                let most = most.entry((person, version.key.clone())).or_default();
                found.rows_at_once += count.saturating_sub(*most);
                *most = count.max(*most);
                for (fingerprint, row) in rows {
                    found.rows.entry((p, version.key.clone(), fingerprint)).or_insert(row);
                }
                if !records.is_empty() {
                    found.hits.push(Hit { pattern: p, version: version.clone(), records });
                }
            }
        }
        Ok(())
    }

    async fn read(&self, p: usize, version: &Version, crowd: &Arc<Crowd>, collect: bool) -> Result<Vec<Seen>, Trouble> {
        let answer = self.client.get(version, &self.config.patterns[p].label).await?;
        let (config, crowd) = (Arc::clone(&self.config), Arc::clone(crowd));
        super::blocking(move || {
            let rows = Rows::read(&config.patterns[p], answer.body, config.max_object)?;
            let mut seen: BTreeMap<usize, Seen> = BTreeMap::new();
            for row in 0..rows.len() {
                let values = rows.values(row);
                for judgement in crowd.judge(&values) {
                    let person = judgement.person;
                    let seen = seen.entry(person).or_insert_with(|| Seen { person, ..Seen::default() });
                    seen.notes.push(values.clone());
                    let fingerprint = rows.fingerprint(row);
                    if collect {
                        seen.rows.insert(fingerprint.clone(), rows.record(row));
                    }
                    *seen.records.entry(fingerprint).or_default() += 1;
                }
            }
            Ok(seen.into_values().collect())
        })
        .await
    }
}

/// What one version holds of one person.
#[derive(Clone, Default)]
struct Seen {
    person: usize,
    records: BTreeMap<String, u64>,
    rows: BTreeMap<String, Map<String, Value>>,
    notes: Vec<Vec<(redress_domain::IdentifierType, String)>>,
}

/// Whole objects that are a person's by their key, with all their versions and marks.
fn objects(p: usize, pattern: &Pattern, listed: &[Version], crowd: &Crowd, found: &mut [Found]) {
    for version in listed {
        let values = pattern.values_of_key(&version.key);
        for judgement in crowd.judge(&values) {
            let found = &mut found[judgement.person];
            found.met.note(&pattern.label, &judgement, &values, crowd.person(judgement.person));
            let records = BTreeMap::from([(version.key.clone(), 1)]);
            found.hits.push(Hit { pattern: p, version: version.clone(), records });
        }
    }
}

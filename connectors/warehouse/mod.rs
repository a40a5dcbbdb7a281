//! A warehouse system is some tables of rows that name a person in their columns, reached by statements over HTTP.
//!
//! The warehouse is asked for every row that may hold an identifier in any spelling, once for all people of a batch; whose a
//! row is, is decided here. Rows are deleted and changed by their key and the value by which they were found, so that a row
//! that became somebody else's in the meantime stays, and are then read again. Keys need not be unique (no warehouse enforces
//! it): it is that value that says which of the rows are meant.
//!
//! What is deleted can be brought back for a while (time travel, fail-safe): that is told as the effect.

mod bigquery;
mod run;
mod snowflake;
mod statement;
mod tables;
#[cfg(test)]
mod tests;

pub use bigquery::{ENTRY as BIGQUERY_ENTRY, connect as connect_bigquery};
pub use snowflake::{ENTRY as SNOWFLAKE_ENTRY, connect as connect_snowflake};

use crate::flat::{self, Crowd, Met, Touched};
use crate::spec::OnDelete;
use crate::{
    CheckReport, Connector, Done, Effect, ExportSink, Gate, Journal, Lost, Manifest, Outcome, Problem, Receipt,
    Retained, SystemSpec, Told, Trouble, Verdict, Work, crash_point,
};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Verb};
use run::{ASK_AGAIN, Door, Halt, Note, Run, Sents};
use serde_json::{Map, Value};
use statement::{Seen, Wanted};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tables::Table;

/// People in one reading.
const BATCH: usize = 20;
/// Rows in one statement that changes, keys in one that reads.
const ROWS: usize = 500;

struct Warehouse {
    manifest: Manifest,
    door: Box<dyn Door>,
    tables: Vec<Table>,
    max_matches: u64,
    residual_days: u32,
    /// Second readings that take longer than a call: a verdict has no receipt.
    reading: Mutex<Sents>,
}

/// One row of a person.
#[derive(Clone)]
struct Hit {
    table: usize,
    seen: Seen,
    row: Map<String, Value>,
}

#[derive(Default)]
struct Found {
    met: Met,
    hits: Vec<Hit>,
}

/// What a reading of everything found, and when it was begun.
struct Scan {
    found: Vec<Found>,
    read_ms: i64,
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Warehouse {
    fn connected(
        entry: &'static crate::registry::Entry,
        spec: &SystemSpec,
        door: Box<dyn Door>,
        tables: Vec<Table>,
        residual_days: u32,
    ) -> Arc<dyn Connector> {
        let identifiers: BTreeSet<IdentifierType> = tables.iter().flat_map(Table::types).collect();
        let fields: BTreeSet<String> = tables.iter().flat_map(|table| table.fields.keys().cloned()).collect();
        let manifest = Manifest {
            connector: entry.name.into(),
            verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify]),
            identifiers: identifiers.into_iter().collect(),
            fields: fields.into_iter().collect(),
            batch: BATCH,
            verify_after: Duration::ZERO,
        };
        let reading = Mutex::default();
        Arc::new(Self { manifest, door, tables, max_matches: spec.max_matches, residual_days, reading })
    }

    /// Reads every table that may hold one of these people, and the rows with these keys.
    async fn scan(&self, run: &mut Run<'_>, phase: &str, crowd: &Crowd, keys: &[Touched]) -> Result<Scan, Halt> {
        let mut scan = Scan { found: (0..crowd.len()).map(|_| Found::default()).collect(), read_ms: i64::MAX };
        for (t, table) in self.tables.iter().enumerate() {
            let mut wanted = Wanted::default();
            for (kind, column) in &table.identify {
                let people = (0..crowd.len()).map(|person| crowd.person(person));
                let all = people.flat_map(|subject| subject.identifiers.iter().filter(|one| one.kind() == *kind));
                let spelled = all.flat_map(|one| match one.phone_tail() {
                    Some(tail) => vec![tail],
                    None => one.spellings(),
                });
                let values = spelled.map(|value| value.expose().to_lowercase()).collect();
                wanted.by.insert((column.clone(), *kind), values);
            }
            let known: BTreeSet<String> = keys
                .iter()
                .filter_map(|touched| touched.0.get(&table.name))
                .flat_map(BTreeMap::keys)
                .cloned()
                .collect();
            let mut chunks = known.iter().collect::<Vec<_>>();
            let mut given: BTreeSet<String> = BTreeSet::new();
            loop {
                let part: BTreeSet<String> = chunks.drain(..chunks.len().min(ROWS)).cloned().collect();
                wanted.keys.clone_from(&part);
                if wanted.keys.is_empty() && wanted.by.values().all(BTreeSet::is_empty) {
                    break;
                }
                let statement =
                    statement::select(self.door.dialect(), &table.name, &table.key, &table.selected(), &wanted);
                let ran = run.read(phase, &statement).await?;
                columns(table, &ran.columns)?;
                scan.read_ms = scan.read_ms.min(ran.started_ms);
                for row in &ran.rows {
                    let key = text(row.get(&table.key)).ok_or_else(|| key_missing(&table.name))?;
                    // A row that was found in two statements is one.
                    if part.contains(&key) || !given.contains(&key) {
                        self.judge(t, &key, row, crowd, keys, &mut scan.found);
                    }
                    if !known.contains(&key) {
                        given.insert(key);
                    }
                }
                wanted.by.values_mut().for_each(BTreeSet::clear);
                given.extend(part);
                if chunks.is_empty() {
                    break;
                }
            }
        }
        Ok(scan)
    }

    fn judge(
        &self,
        t: usize,
        key: &str,
        row: &Map<String, Value>,
        crowd: &Crowd,
        keys: &[Touched],
        found: &mut [Found],
    ) {
        let table = &self.tables[t];
        let held = |column: &String| text(row.get(column)).filter(|value| !value.trim().is_empty());
        let values: flat::Values =
            table.identify.iter().filter_map(|(kind, column)| Some((*kind, held(column)?))).collect();
        for judgement in crowd.judge(&values) {
            let found = &mut found[judgement.person];
            found.met.note(&table.name, &judgement, &values, crowd.person(judgement.person));
            let column = table.identify.iter().find(|(kind, _)| *kind == judgement.strongest).map(|(_, column)| column);
            let by = column.and_then(|column| Some((column.clone(), text(row.get(column))?)));
            found.hits.push(Hit { table: t, seen: Seen { key: key.to_owned(), by }, row: row.clone() });
        }
        // A row that was touched and names nobody any more is still that row.
        if values.is_empty() {
            for (found, touched) in found.iter_mut().zip(keys) {
                if touched.0.get(&table.name).is_some_and(|keys| keys.contains_key(key)) {
                    let seen = Seen { key: key.to_owned(), by: None };
                    found.hits.push(Hit { table: t, seen, row: row.clone() });
                }
            }
        }
    }

    /// Whether a deletion has something to do about a row.
    fn is_due(&self, hit: &Hit) -> bool {
        let table = &self.tables[hit.table];
        match table.on_delete {
            OnDelete::Delete => true,
            OnDelete::Keep => false,
            OnDelete::Null | OnDelete::Hash => {
                table.columns.iter().any(|column| hit.row.get(column).is_some_and(|value| !value.is_null()))
            }
        }
    }

    /// What corrections would change of a row.
    fn wrong<'w>(&'w self, hit: &Hit, work: &'w Work<'_>) -> BTreeMap<&'w str, &'w str> {
        let mut due = flat::applicable(&self.tables[hit.table].fields, work.corrections);
        due.retain(|column, value| text(hit.row.get(*column)).as_deref() != Some(value));
        due
    }

    fn touched<'h>(&self, hits: impl IntoIterator<Item = &'h Hit>) -> Touched {
        let mut touched = Touched::default();
        for hit in hits {
            touched.add(&self.tables[hit.table].name, &hit.seen.key, 0).times += 1;
        }
        touched
    }

    fn unsearched(&self, crowd: &Crowd, person: usize) -> Vec<Retained> {
        let not = self.tables.iter().filter(|table| !crowd.is_searchable(person, &table.types()));
        not.map(|table| flat::unsearched(&table.name)).collect()
    }

    fn retained(&self, crowd: &Crowd, person: usize, found: &Found) -> Vec<Retained> {
        let mut retained = self.unsearched(crowd, person);
        for (t, table) in self.tables.iter().enumerate().filter(|(_, table)| table.on_delete == OnDelete::Keep) {
            let records = found.hits.iter().filter(|hit| hit.table == t).count() as u64;
            if records > 0 {
                retained.push(Retained { collection: table.name.clone(), records, reason: table.reason.clone() });
            }
        }
        retained
    }

    fn evidence(&self, action: &str, touched: &Touched, left: &Touched, changing: bool) -> crate::Evidence {
        let told = |table: &'_ Table| if action == "delete" { table.action() } else { action }.to_owned();
        let lines: Vec<(String, String)> = self.tables.iter().map(|table| (table.name.clone(), told(table))).collect();
        let lines = lines.iter().map(|(name, action)| (name.as_str(), action.as_str()));
        flat::evidence(lines, touched, left, changing)
    }

    fn seen(&self, crowd: &Crowd, person: usize, found: &Found, action: &str) -> Outcome {
        let max_matches = if action == "search" { u64::MAX } else { self.max_matches };
        if let Err(trouble) = found.met.settle(found.hits.len() as u64, max_matches) {
            return Outcome::Trouble(trouble);
        }
        let touched = self.touched(&found.hits);
        let evidence = self.evidence(action, &touched, &touched, false);
        flat::seen(&touched, evidence, self.unsearched(crowd, person), found.met.yielded())
    }

    async fn hand_over(&self, key: &str, found: &Found, sink: &dyn ExportSink) -> Result<(), Trouble> {
        found.met.settle(found.hits.len() as u64, self.max_matches)?;
        for hit in &found.hits {
            sink.record(key, &self.tables[hit.table].name, hit.row.clone()).await?;
        }
        Ok(())
    }

    /// What each person's step has to do, announced where it is something.
    async fn announced<'w>(
        &self,
        batch: &[Work<'w>],
        scan: &Scan,
        due: impl Fn(&Hit, &Work<'w>) -> bool,
        verb: Verb,
        journal: &dyn Journal,
    ) -> Vec<Result<(Touched, Vec<Hit>), Trouble>> {
        let mut plans: Vec<Result<(Touched, Vec<Hit>), Trouble>> = Vec::with_capacity(batch.len());
        for (work, found) in batch.iter().zip(&scan.found) {
            let plan = || {
                found.met.settle(found.hits.len() as u64, self.max_matches)?;
                let mut touched = Note::read(work.prior)?.touched;
                let hits: Vec<Hit> = found.hits.iter().filter(|hit| due(hit, work)).cloned().collect();
                touched.extend(&if verb == Verb::Erase { self.touched(&hits) } else { self.touched(&found.hits) });
                for hit in hits.iter().filter(|_| verb == Verb::Rectify) {
                    touched.add(&self.tables[hit.table].name, &hit.seen.key, 1).due = true;
                }
                Ok((touched, hits))
            };
            plans.push(plan());
        }
        let mut receipts: Vec<(usize, Receipt)> = Vec::new();
        for (i, plan) in plans.iter().enumerate() {
            if let Ok((touched, hits)) = plan
                && !hits.is_empty()
            {
                // Without the statements: who goes on from here reads anew.
                let note = Note { touched: touched.clone(), sent: Sents::new() };
                receipts.push((i, note.receipt()));
            }
        }
        let items: Vec<(&str, &Receipt)> = receipts.iter().map(|(i, receipt)| (batch[*i].key, receipt)).collect();
        if !items.is_empty() {
            let answers = journal.intend_all(&items).await;
            for (n, (i, _)) in receipts.iter().enumerate() {
                if let Err(lost) = answers.get(n).copied().unwrap_or(Err(Lost)) {
                    plans[*i] = Err(lost.into());
                }
            }
            crash_point("warehouse.before_effect");
        }
        plans
    }

    /// Deletes or empties the rows of everybody, table by table.
    async fn remove(&self, run: &mut Run<'_>, batch: &[Work<'_>], read_ms: i64, hits: &[&Hit]) -> Result<(), Halt> {
        for (t, table) in self.tables.iter().enumerate() {
            let rows: BTreeSet<&Seen> = hits.iter().filter(|hit| hit.table == t).map(|hit| &hit.seen).collect();
            let rows: Vec<Seen> = rows.into_iter().cloned().collect();
            for rows in rows.chunks(ROWS) {
                let dialect = self.door.dialect();
                let statement = match table.on_delete {
                    OnDelete::Delete => statement::delete(dialect, &table.name, &table.key, rows),
                    _ => statement::empty(dialect, &table.name, &table.key, &table.columns, rows),
                };
                run.change(batch[0].key, read_ms, &statement).await?;
            }
        }
        Ok(())
    }

    async fn correct(
        &self,
        run: &mut Run<'_>,
        batch: &[Work<'_>],
        read_ms: i64,
        plans: &[Result<(Touched, Vec<Hit>), Trouble>],
    ) -> Result<(), Halt> {
        for (work, plan) in batch.iter().zip(plans) {
            let Ok((_, hits)) = plan else { continue };
            for (t, table) in self.tables.iter().enumerate() {
                let rows: BTreeSet<&Seen> = hits.iter().filter(|hit| hit.table == t).map(|hit| &hit.seen).collect();
                let rows: Vec<Seen> = rows.into_iter().cloned().collect();
                let set = flat::applicable(&table.fields, work.corrections);
                for rows in rows.chunks(ROWS) {
                    let statement = statement::update(self.door.dialect(), &table.name, &table.key, &set, rows);
                    run.change(work.key, read_ms, &statement).await?;
                }
            }
        }
        Ok(())
    }

    fn corrected(&self, touched: &Touched, retained: Vec<Retained>) -> Outcome {
        let mut evidence = self.evidence("update", touched, touched, false);
        for line in &mut evidence.collections {
            line.changed = touched.due(&line.collection);
        }
        if touched.is_empty() {
            return flat::seen(touched, evidence, retained, Vec::new());
        }
        let changed = evidence.collections.iter().map(|line| line.changed).sum();
        Outcome::Done(Done { found: touched.total(), changed, retained, evidence, ..Done::default() })
    }

    /// Erases or corrects: reads, announces, changes, and reads again what was to change.
    async fn act(&self, verb: Verb, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        if batch.is_empty() {
            return Vec::new();
        }
        let crowd = Crowd::of(batch);
        let mut run = Run::of(&*self.door, batch);
        let scan = match self.scan(&mut run, "find", &crowd, &[]).await {
            Err(halt) => return stopped(batch, &run, &halt),
            Ok(scan) => scan,
        };
        let due = |hit: &Hit, work: &Work<'_>| {
            if verb == Verb::Erase { self.is_due(hit) } else { !self.wrong(hit, work).is_empty() }
        };
        let plans = self.announced(batch, &scan, due, verb, journal).await;
        let hits: Vec<&Hit> = plans.iter().flatten().flat_map(|(_, hits)| hits).collect();
        let mut halted = None;
        let mut after = None;
        if !hits.is_empty() {
            let changed = if verb == Verb::Erase {
                self.remove(&mut run, batch, scan.read_ms, &hits).await
            } else {
                self.correct(&mut run, batch, scan.read_ms, &plans).await
            };
            crash_point("warehouse.after_effect");
            let keys: Vec<Touched> =
                plans.iter().map(|plan| plan.as_ref().map(|(t, _)| t.clone()).unwrap_or_default()).collect();
            let again = match changed {
                Ok(()) => self.scan(&mut run, "after", &crowd, &keys).await,
                Err(halt) => Err(halt),
            };
            match again {
                Ok(scan) => after = Some(scan),
                Err(halt) => halted = Some(halt),
            }
        }
        let mut answers = Vec::with_capacity(batch.len());
        for (person, (work, plan)) in batch.iter().zip(plans).enumerate() {
            let (touched, hits) = match plan {
                Err(trouble) => {
                    answers.push(Outcome::Trouble(trouble));
                    continue;
                }
                Ok(plan) => plan,
            };
            if let Some(halt) = halted.as_ref().filter(|_| !hits.is_empty()) {
                answers.push(run.stopped(halt, touched));
                continue;
            }
            let still = after.as_ref().filter(|_| !hits.is_empty());
            if still.is_some_and(|scan| scan.found[person].hits.iter().any(|hit| due(hit, work))) {
                answers.push(Outcome::Trouble(Trouble::Retry(Problem::new(
                    "rows_remain",
                    "rows were changed by somebody else in the meantime, or came back; it is tried again by itself",
                ))));
                continue;
            }
            let mut outcome = if verb == Verb::Erase {
                let left = Touched::default();
                let evidence = self.evidence("delete", &touched, &left, true);
                let retained = self.retained(&crowd, person, &scan.found[person]);
                let effect = Effect::Soft { residual_days: Some(self.residual_days) };
                flat::erased(&touched, &left, evidence, retained, effect, scan.found[person].met.yielded())
            } else {
                self.corrected(&touched, self.unsearched(&crowd, person))
            };
            if let Outcome::Done(done) = &mut outcome
                && !touched.is_empty()
            {
                done.receipt = Some(Note { touched, sent: Sents::new() }.receipt());
            }
            answers.push(outcome);
        }
        answers
    }

    async fn find(&self, batch: &[Work<'_>], crowd: &Crowd, phase: &str) -> Result<Vec<Found>, Vec<Outcome>> {
        let mut run = Run::of(&*self.door, batch);
        match self.scan(&mut run, phase, crowd, &[]).await {
            Err(halt) => Err(stopped(batch, &run, &halt)),
            Ok(scan) => Ok(scan.found),
        }
    }

    /// A second reading, begun after the effect.
    async fn reread(&self, batch: &[Work<'_>], crowd: &Crowd, phase: &str) -> Result<Vec<Found>, Trouble> {
        let mut keys = Vec::with_capacity(batch.len());
        for work in batch {
            keys.push(Note::read(work.prior)?.touched);
        }
        let reading = || self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let known = reading().clone();
        let mut run = Run::new(&*self.door, known);
        let scan = self.scan(&mut run, phase, crowd, &keys).await;
        match scan {
            Err(Halt::Running) => {
                let sent = run.sent();
                *reading() = sent;
                Err(Trouble::Throttled(ASK_AGAIN))
            }
            other => {
                reading().retain(|digest, _| !run.used.contains_key(digest));
                match other {
                    Ok(scan) => Ok(scan.found),
                    Err(Halt::Trouble(trouble)) => Err(trouble),
                    Err(Halt::Running) => Err(Trouble::Throttled(ASK_AGAIN)),
                }
            }
        }
    }
}

fn stopped(batch: &[Work<'_>], run: &Run<'_>, halt: &Halt) -> Vec<Outcome> {
    let one = |work: &Work<'_>| match Note::read(work.prior) {
        Ok(note) => run.stopped(halt, note.touched),
        Err(trouble) => Outcome::Trouble(trouble),
    };
    batch.iter().map(one).collect()
}

/// Whether an answer has the columns that are declared, and keys whose texts are exact.
fn columns(table: &Table, columns: &[(String, bool)]) -> Result<(), Trouble> {
    let needed = [&table.key].into_iter().chain(table.identify.iter().map(|(_, column)| column));
    for column in needed.chain(table.fields.values()).chain(&table.columns) {
        if !columns.iter().any(|(name, _)| name == column) {
            let detail =
                format!("table {} has no column {column}; names count as they are stored, in their case", table.name);
            return Err(Trouble::Denied(Problem::new("column_missing", detail)));
        }
    }
    if columns.iter().any(|(name, is_exact)| *name == table.key && !is_exact) {
        let detail = format!("the key of table {} is neither a text nor a whole number; choose another", table.name);
        return Err(Trouble::Denied(Problem::new("key_type", detail)));
    }
    Ok(())
}

fn key_missing(table: &str) -> Trouble {
    let detail =
        format!("a row of table {table} that may be the person's has no key; give it one, or choose another key");
    Trouble::Denied(Problem::new("key_missing", detail))
}

#[async_trait]
impl Connector for Warehouse {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn listen(&self, told: Arc<dyn Told>) {
        self.door.line().listen(told);
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        self.door.line().ask_before_calls(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        let mut report = CheckReport::default();
        for table in &self.tables {
            let mut run = Run::new(&*self.door, Sents::new());
            let wanted = Wanted { keys: ["redress-check".to_owned()].into(), ..Wanted::default() };
            let statement = statement::select(self.door.dialect(), &table.name, &table.key, &table.selected(), &wanted);
            match run.read("check", &statement).await {
                Err(Halt::Running) => {
                    report.warnings.push(format!("table {}: the reading takes longer than a minute", table.name));
                }
                Err(Halt::Trouble(Trouble::Retry(problem) | Trouble::Denied(problem))) => return Err(problem),
                Err(Halt::Trouble(_)) => {
                    return Err(Problem::new("throttled", "the warehouse asked us to wait; check again later"));
                }
                Ok(ran) => match columns(table, &ran.columns) {
                    Err(Trouble::Denied(problem)) => return Err(problem),
                    _ => report.ok.push(format!("table {}: key {}", table.name, table.key)),
                },
            }
        }
        report.warnings.push(format!(
            "deleted rows can be brought back for {} days; whether rows may be changed was not tried",
            self.residual_days
        ));
        Ok(report)
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        if batch.is_empty() {
            return Vec::new();
        }
        let crowd = Crowd::of(batch);
        match self.find(batch, &crowd, "discover").await {
            Err(stopped) => stopped,
            Ok(found) => {
                found.iter().enumerate().map(|(person, found)| self.seen(&crowd, person, found, "search")).collect()
            }
        }
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        let found = match self.find(batch, &crowd, "export").await {
            Err(stopped) => return stopped,
            Ok(found) => found,
        };
        let mut answers = Vec::with_capacity(batch.len());
        for (person, (work, found)) in batch.iter().zip(&found).enumerate() {
            answers.push(match self.hand_over(work.key, found, sink).await {
                Err(trouble) => Outcome::Trouble(trouble),
                Ok(()) => self.seen(&crowd, person, found, "export"),
            });
        }
        answers
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        self.act(Verb::Rectify, batch, journal).await
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        self.act(Verb::Erase, batch, journal).await
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        if !matches!(verb, Verb::Erase | Verb::Rectify) {
            return flat::all_verdicts(batch, &flat::unsupported());
        }
        let crowd = Crowd::of(batch);
        let found = match self.reread(batch, &crowd, verb.as_str()).await {
            Err(trouble) => return flat::all_verdicts(batch, &trouble),
            Ok(found) => found,
        };
        let verdict = |(work, found): (&Work<'_>, Found)| {
            if let Err(trouble) = found.met.settle(0, u64::MAX) {
                return Verdict::Trouble(trouble);
            }
            let all = self.touched(&found.hits);
            let left = found.hits.iter().filter(|hit| match verb {
                Verb::Erase => self.is_due(hit),
                _ => !self.wrong(hit, work).is_empty(),
            });
            let left = self.touched(left);
            let action = if verb == Verb::Erase { "delete" } else { "update" };
            flat::verdict(&left, self.evidence(action, &all, &left, false))
        };
        batch.iter().zip(found).map(verdict).collect()
    }
}

//! A SQL system is a database whose declared tables hold persons: rows that identify one, and rows that refer to such rows.
//!
//! One engine serves PostgreSQL, MySQL/MariaDB and SQLite. It finds the person's rows ([`find`]), follows the declared
//! references, and acts on them by primary key in one transaction. A batch of persons shares the transaction and its
//! statements ([`together`]); whoever that could harm goes alone. What the three databases spell differently is in [`dialect`], what they say about themselves in [`schema`].

mod check;
mod declared;
mod derive;
mod desk;
mod dialect;
mod erase;
mod export;
mod find;
mod foreign;
mod lookup;
mod receipt;
mod rectify;
mod redact;
mod schema;
mod schema_mysql;
mod schema_postgres;
mod schema_sqlite;
mod session;
mod settings;
mod state;
mod together;
mod trouble;
mod values;
mod verify;

#[cfg(test)]
mod tests;

use crate::registry::Entry;
use crate::{
    CheckReport, Connector, ExportSink, Journal, Manifest, Outcome, Problem, SpecFault, SystemSpec, Trouble, Verdict,
    Work,
};
use async_trait::async_trait;
use declared::Declared;
use dialect::Dialect;
use redress_domain::{IdentifierType, Verb};
use schema::Schema;
use session::{Mode, Pool};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Most persons in one call. What a call costs whatever it is about is shared by as many; more would hold locks for longer.
const BATCH: usize = 300;
const VERBS: &[&str] = &["discover", "export", "rectify", "erase", "verify"];
const SERVER_SETTINGS: &str = "{ host = \"…\", port = …, database = \"…\", username = \"…\", tls = \"disable|prefer|require|verify-full\", \
                               connect_timeout_seconds = 10, max_connections = 5 }";

/// What the registry tells about `postgres`.
pub const POSTGRES_ENTRY: Entry = Entry {
    name: "postgres",
    about: "PostgreSQL tables declared in [[system.tables]]",
    settings: SERVER_SETTINGS,
    verbs: VERBS,
};
/// What the registry tells about `mysql`.
pub const MYSQL_ENTRY: Entry = Entry {
    name: "mysql",
    about: "MySQL or MariaDB tables declared in [[system.tables]]",
    settings: SERVER_SETTINGS,
    verbs: VERBS,
};
/// What the registry tells about `sqlite`.
pub const SQLITE_ENTRY: Entry = Entry {
    name: "sqlite",
    about: "tables of a SQLite file declared in [[system.tables]]",
    settings: "{ path = \"…\" }",
    verbs: VERBS,
};

/// Makes a connector to a PostgreSQL database; does not reach it yet.
///
/// # Errors
/// What is wrong with the specification, key by key.
pub fn connect_postgres(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    connect(spec, Dialect::Postgres, POSTGRES_ENTRY.name)
}

/// Makes a connector to a MySQL or MariaDB database; does not reach it yet.
///
/// # Errors
/// What is wrong with the specification, key by key.
pub fn connect_mysql(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    connect(spec, Dialect::Mysql, MYSQL_ENTRY.name)
}

/// Makes a connector to a SQLite file; does not open it yet.
///
/// # Errors
/// What is wrong with the specification, key by key.
pub fn connect_sqlite(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    connect(spec, Dialect::Sqlite, SQLITE_ENTRY.name)
}

fn connect(spec: &SystemSpec, dialect: Dialect, name: &'static str) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    Ok(Arc::new(engine(spec, dialect, name)?))
}

fn engine(spec: &SystemSpec, dialect: Dialect, name: &'static str) -> Result<Engine, Vec<SpecFault>> {
    let mut faults = Vec::new();
    let pool = match dialect {
        Dialect::Postgres => settings::postgres(spec, &mut faults),
        Dialect::Mysql => settings::mysql(spec, &mut faults),
        Dialect::Sqlite => settings::sqlite(spec, &mut faults),
    };
    let hash_key = spec.secrets.get("hash_key").map(|secret| secret.expose().as_str());
    let declared = Declared::read(&spec.tables, spec.max_matches, hash_key, &mut faults);
    match pool {
        Some(pool) if faults.is_empty() => {
            let manifest = Manifest {
                connector: name.into(),
                verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify]),
                identifiers: declared.identifiers(),
                fields: declared.fields(),
                batch: BATCH,
                verify_after: Duration::ZERO,
            };
            Ok(Engine { declared, pool, dialect, manifest, schema: Mutex::new(None) })
        }
        _ => Err(faults),
    }
}

/// One connected database.
struct Engine {
    declared: Declared,
    pool: Pool,
    dialect: Dialect,
    manifest: Manifest,
    schema: Mutex<Option<Arc<Schema>>>,
}

/// What one call works with.
struct Context<'a> {
    engine: &'a Engine,
    dialect: Dialect,
    schema: Arc<Schema>,
    /// E-mail columns (table, column) without white space or letters outside ASCII, where an index is enough.
    regular: BTreeSet<(usize, usize)>,
}

impl Engine {
    /// Gets ready for `items` persons.
    async fn context(&self, items: usize) -> Result<Context<'_>, Trouble> {
        let schema = self.schema(false).await?;
        let mut context = Context { engine: self, dialect: self.dialect, schema, regular: BTreeSet::new() };
        // One look at the whole column saves looking at the whole column for each of them.
        if items > 1 {
            context.regular = self.regular(&context.schema).await?;
        }
        Ok(context)
    }

    async fn schema(&self, again: bool) -> Result<Arc<Schema>, Trouble> {
        let mut cached = self.schema.lock().await;
        if let Some(schema) = cached.as_ref().filter(|_| !again) {
            return Ok(Arc::clone(schema));
        }
        *cached = None;
        let mut session = self.pool.begin(Mode::Read).await?;
        let schema = Arc::new(Schema::read(&mut session, &self.declared).await?);
        session.roll_back().await;
        *cached = Some(Arc::clone(&schema));
        Ok(schema)
    }

    async fn regular(&self, schema: &Schema) -> Result<BTreeSet<(usize, usize)>, Trouble> {
        let mut regular = BTreeSet::new();
        let mut session = self.pool.begin(Mode::Read).await?;
        for (t, table) in self.declared.tables.iter().enumerate() {
            for (_, column) in table.identify.iter().filter(|(kind, _)| *kind == IdentifierType::Email) {
                let irregular = self.dialect.irregular(&schema.tables[t].wanted[*column]);
                let sql = format!("SELECT '1' FROM {} WHERE {irregular} LIMIT 1", schema.tables[t].sql);
                if session.rows(&table.name, sql, Vec::new()).await?.is_empty() {
                    regular.insert((t, *column));
                }
            }
        }
        session.roll_back().await;
        Ok(regular)
    }

    /// Forgets what is known of the structure if that may have been the trouble.
    async fn learn(&self, trouble: &Trouble) {
        if trouble::is_about_schema(trouble) {
            *self.schema.lock().await = None;
        }
    }
}

/// Answers a batch: together as far as that can be done, the rest item by item.
///
/// What could not be done together is halved, so that one person's trouble does not send all the others alone.
macro_rules! answer {
    ($engine:expr, $batch:expr, $failed:path, |$context:ident, $part:ident| $together:expr, |$work:ident| $alone:expr) => {{
        let mut answers: Vec<Option<_>> = $batch.iter().map(|_| None).collect();
        let mut parts = VecDeque::from([0..$batch.len()]);
        let (mut done, mut undone) = (0, 0);
        while let Some(part) = parts.pop_front() {
            // The batch, its halves and quarters: then it is not one of them that is in the way.
            if part.len() < 2 || (done == 0 && undone >= 7) {
                continue;
            }
            let $part = &$batch[part.clone()];
            let $context = match $engine.context(1).await {
                Ok(context) => context,
                Err(trouble) => {
                    $engine.learn(&trouble).await;
                    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
                        *answer = Some($failed(trouble.clone()));
                    }
                    break;
                }
            };
            match $together.await {
                Ok(said) => {
                    done += 1;
                    answers.splice(part, said);
                }
                Err(trouble) => {
                    undone += 1;
                    $engine.learn(&trouble).await;
                    if trouble::is_about_connection(&trouble) {
                        answers.splice(part.clone(), $part.iter().map(|_| Some($failed(trouble.clone()))));
                        continue;
                    }
                    let middle = part.start + part.len() / 2;
                    parts.extend([part.start..middle, middle..part.end]);
                }
            }
        }
        let left = answers.iter().filter(|answer| answer.is_none()).count();
        if left > 0 {
            match $engine.context(left).await {
                Ok($context) => {
                    let mut broken: Option<Trouble> = None;
                    for ($work, answer) in $batch.iter().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
                        if let Some(trouble) = &broken {
                            *answer = Some($failed(trouble.clone()));
                            continue;
                        }
                        *answer = Some(match $alone.await {
                            Ok(answer) => answer,
                            Err(trouble) => {
                                $engine.learn(&trouble).await;
                                // What concerns the connection answers the rest of the batch too.
                                broken = Some(&trouble).filter(|t| trouble::is_about_connection(t)).cloned();
                                $failed(trouble)
                            }
                        });
                    }
                }
                Err(trouble) => {
                    $engine.learn(&trouble).await;
                    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
                        *answer = Some($failed(trouble.clone()));
                    }
                }
            }
        }
        answers.into_iter().flatten().collect()
    }};
}

#[async_trait]
impl Connector for Engine {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        check::check(self).await
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        answer!(self, batch, Outcome::Trouble, |context, part| together::discover(&context, part), |work| {
            export::discover(&context, work)
        })
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        answer!(self, batch, Outcome::Trouble, |context, part| together::export(&context, part, sink), |work| {
            export::export(&context, work, sink)
        })
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        // Each corrects other fields to other values: there is little to do together.
        answer!(self, batch, Outcome::Trouble, |context, part| together::nobody(&context, part), |work| {
            rectify::rectify(&context, work, journal)
        })
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        answer!(self, batch, Outcome::Trouble, |context, part| together::erase(&context, part, journal), |work| {
            erase::erase(&context, work, journal)
        })
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        answer!(self, batch, Verdict::Trouble, |context, part| together::verify(&context, verb, part), |work| {
            verify::verify(&context, verb, work)
        })
    }
}

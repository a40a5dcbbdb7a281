//! An answer is what a request ends with: a package for access, a certificate for every type; the package is sealed in chunks.
//!
//! What the answers of a whole batch are made of is read in a handful of statements, and what was made is recorded in one
//! transaction, each request fenced by its own lease.

use crate::db::{Row, Tx, args, texts};
use crate::events::{Events, NewEvent};
use crate::sealed::place;
use crate::sql::{RowSet, row};
use crate::work::{Lease, StepRow, read_step};
use crate::{Controller, Error, Key, Store, crash_point};
use redress_domain::{ControllerId, DsrId, IdentifierType, Personal, RequestType};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the answer of one request is made of; its artifacts apart.
#[derive(Debug)]
pub struct Answerable {
    /// Which right.
    pub kind: RequestType,
    /// Which regulation governs it.
    pub regulation: Option<String>,
    /// As submitted.
    pub jurisdiction: Option<String>,
    /// When we got it (Unix ms).
    pub instruction_received_at: i64,
    /// When the person asked (Unix ms).
    pub data_subject_received_at: Option<i64>,
    /// The dates that are certified.
    pub deadlines: AnsweredDeadlines,
    /// The first instant that is too late (Unix ms).
    pub due_before: i64,
    /// Systems in which nothing is done, and why.
    pub out_of_scope: Vec<(String, String)>,
    /// Which types of identifiers it names.
    pub identifier_types: Vec<IdentifierType>,
    /// Type and value of its identifiers, in clear: for the package.
    pub identifiers: Vec<(String, Personal<String>)>,
    /// The controller's own name for it.
    pub reference: Option<Personal<String>>,
    /// Its steps, by system.
    pub steps: Vec<StepRow>,
    /// Where its part of the audit log ends.
    pub audit: AuditTail,
    /// Its key.
    pub key: Arc<Key>,
    /// The size of all its artifacts, sealed.
    pub artifact_bytes: i64,
}

/// What an answer says of the dates of a request.
#[derive(Debug, Clone, Deserialize)]
pub struct AnsweredDeadlines {
    /// The date that binds.
    pub effective: AnsweredDeadline,
    /// By which table they were computed.
    #[serde(default)]
    pub table_version: String,
}

/// The date that binds.
#[derive(Debug, Clone, Deserialize)]
pub struct AnsweredDeadline {
    /// The last day that counts.
    pub due_on: String,
    /// Which deadline it is.
    pub binding: String,
}

/// The last event of a request, and how many it has.
#[derive(Debug, Clone, Default)]
pub struct AuditTail {
    /// Its place in the controller's log.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
    /// How many events the request has.
    pub events: i64,
}

/// A package whose chunks are stored and that is about to become the answer.
#[derive(Debug, Clone)]
pub struct NewPackage {
    /// Size in clear.
    pub bytes: u64,
    /// How many chunks were put.
    pub chunks: i64,
    /// SHA-256 of the ZIP, hex.
    pub sha256: String,
    /// Records in it.
    pub records: u64,
    /// When it is no longer handed out (Unix ms).
    pub expires_at: i64,
}

/// An answer about to be recorded.
#[derive(Debug)]
pub struct Answered {
    /// The right to do so.
    pub lease: Lease,
    /// The signed certificate.
    pub certificate: String,
    /// The package, for access.
    pub package: Option<NewPackage>,
    /// Its chunks, unless they were put before.
    pub chunks: Vec<SealedChunk>,
}

/// A part of a package as it is kept.
#[derive(Debug, Clone)]
pub struct SealedChunk {
    n: i64,
    sealed: Vec<u8>,
}

impl SealedChunk {
    /// Seals a part for the package that is made under this lease.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn seal(lease: &Lease, key: &Key, n: i64, body: &[u8]) -> Result<Self, Error> {
        Ok(Self { n, sealed: key.seal(&at(&lease.controller_id, &lease.dsr_id, lease.token, n), body)? })
    }
}

/// What became of an answer that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is there, and its request goes on.
    Yes,
    /// Another worker has the lease; nothing was recorded.
    LeaseLost,
    /// The request ended meanwhile, and there is nothing to answer.
    Ended,
}

/// A package that is there.
#[derive(Debug, Clone)]
pub struct PackageInfo {
    /// Size in clear.
    pub bytes: i64,
    /// How many chunks.
    pub chunks: i64,
    /// SHA-256 of the ZIP, hex.
    pub sha256: String,
    /// When it is no longer handed out (Unix ms).
    pub expires_at: i64,
    token: i64,
}

/// Larger chunks are written one by one: a set of rows is copied and spelled out on its way.
const LARGE: usize = 64 * 1024;

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

fn at(controller_id: &ControllerId, dsr_id: &DsrId, token: i64, n: i64) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), "package", &token.to_string(), &n.to_string()])
}

impl Store {
    /// What the answers of these requests are made of, in the order of the leases. A request whose row is damaged or whose
    /// personal data are gone has its error; its neighbours do not share it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn answerable(&self, leases: &[Lease]) -> Result<Vec<Result<Answerable, Error>>, Error> {
        let ids = texts(leases.iter().map(|l| l.dsr_id.as_str()));
        let rows = self
            .db
            .rows(
                "-- answerable\nSELECT d.id, d.controller_id, d.kind, d.regulation, d.jurisdiction, d.instruction_received_at, d.data_subject_received_at, d.deadlines, d.due_before, d.out_of_scope, d.identifier_types, d.wrapped_key, d.sealed, (SELECT CAST(COALESCE(SUM(LENGTH(a.sealed)), 0) AS BIGINT) FROM artifacts a WHERE a.dsr_id = d.id) AS artifact_bytes, t.n AS events, e.seq, e.hash FROM dsrs d LEFT JOIN (SELECT dsr_id, MAX(seq) AS seq, COUNT(*) AS n FROM events WHERE dsr_id {in $1} GROUP BY dsr_id) t ON t.dsr_id = d.id LEFT JOIN events e ON e.controller_id = d.controller_id AND e.seq = t.seq WHERE d.id {in $1}",
                args![ids.clone()],
            )
            .await?;
        let step_rows = self
            .db
            .rows(
                "-- answerable_steps\nSELECT st.dsr_id, st.id, st.state, st.q, st.phase, st.attention, st.held, CAST(1 AS BIGINT) AS dsr_held, st.system_id, st.verb, st.found, st.changed, st.result, st.proof, st.attempts, st.not_before, st.acted_at, st.verified_at, st.error_code, st.error_detail, st.yields, sy.name AS system_name, sy.family AS system_family, sy.connector AS system_connector FROM steps st JOIN systems sy ON sy.id = st.system_id AND sy.controller_id = st.controller_id WHERE st.dsr_id {in $1} ORDER BY sy.name, st.id",
                args![ids],
            )
            .await?;
        let mut steps: HashMap<String, Result<Vec<StepRow>, Error>> = HashMap::new();
        for row in &step_rows {
            let own = steps.entry(row.text("dsr_id")?).or_insert_with(|| Ok(Vec::new()));
            match (&mut *own, read_step(row)) {
                (Ok(all), Ok(step)) => all.push(step),
                (Ok(_), Err(error)) => *own = Err(error),
                (Err(_), _) => {}
            }
        }
        let mut by_id = HashMap::with_capacity(rows.len());
        for row in rows {
            by_id.insert(row.text("id")?, row);
        }
        let mut all = Vec::with_capacity(leases.len());
        for lease in leases {
            let Some(row) = by_id.get(lease.dsr_id.as_str()) else {
                all.push(Err(Error::NotFound));
                continue;
            };
            let steps = steps.remove(lease.dsr_id.as_str()).unwrap_or_else(|| Ok(Vec::new()));
            let read = match steps {
                Ok(steps) => self.read_answerable(lease, row, steps).await,
                Err(error) => Err(error),
            };
            all.push(match read {
                Err(error) if error.is_transient() => return Err(error),
                read => read,
            });
        }
        Ok(all)
    }

    async fn read_answerable(&self, lease: &Lease, row: &Row, steps: Vec<StepRow>) -> Result<Answerable, Error> {
        if row.text("controller_id")? != lease.controller_id.as_str() {
            return Err(Error::NotFound);
        }
        let wrapped = row.opt_bytes("wrapped_key")?.ok_or(Error::Purged)?;
        let sealed = row.opt_bytes("sealed")?.ok_or(Error::Purged)?;
        let key = Arc::new(self.unwrap_dsr_key(&lease.controller_id, &lease.dsr_id, &wrapped).await?);
        let personal = crate::dsrs::open_personal(&key, &lease.controller_id, &lease.dsr_id, &sealed)?;
        let kinds: Vec<String> =
            serde_json::from_str(&row.text("identifier_types")?).map_err(|_| INCONSISTENT("identifier_types"))?;
        Ok(Answerable {
            kind: RequestType::parse(&row.text("kind")?).ok_or(INCONSISTENT("kind"))?,
            regulation: row.opt_text("regulation")?,
            jurisdiction: row.opt_text("jurisdiction")?,
            instruction_received_at: row.int("instruction_received_at")?,
            data_subject_received_at: row.opt_int("data_subject_received_at")?,
            deadlines: serde_json::from_str(&row.text("deadlines")?).map_err(|_| INCONSISTENT("deadlines"))?,
            due_before: row.int("due_before")?,
            out_of_scope: serde_json::from_str(&row.text("out_of_scope")?).map_err(|_| INCONSISTENT("out_of_scope"))?,
            identifier_types: kinds.iter().filter_map(|k| IdentifierType::parse(k)).collect(),
            identifiers: personal
                .subject
                .identifiers
                .iter()
                .map(|i| (i.kind().as_str().to_owned(), i.given().clone()))
                .collect(),
            reference: personal.reference,
            steps,
            audit: AuditTail {
                seq: row.opt_int("seq")?.unwrap_or_default(),
                hash: row.opt_text("hash")?.unwrap_or_default(),
                events: row.opt_int("events")?.unwrap_or_default(),
            },
            key,
            artifact_bytes: row.int("artifact_bytes")?,
        })
    }

    /// These controllers, by id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn controllers_of(&self, leases: &[Lease]) -> Result<BTreeMap<ControllerId, Controller>, Error> {
        let ids: HashSet<&str> = leases.iter().map(|l| l.controller_id.as_str()).collect();
        let rows =
            self.db.rows("-- controllers_of\nSELECT * FROM controllers WHERE id {in $1}", args![texts(ids)]).await?;
        rows.iter().map(|row| crate::controllers::read(row).map(|c| (c.id.clone(), c))).collect()
    }

    /// Seals and keeps one chunk of a package that is being made, as long as the lease holds.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub async fn put_package_chunk(&self, lease: &Lease, key: &Key, n: i64, body: &[u8]) -> Result<(), Error> {
        let sealed = SealedChunk::seal(lease, key, n, body)?.sealed;
        let mut tx = self.db.begin("put package chunk").await?;
        let put = tx
            .exec(
                "-- put_package_chunk\nINSERT INTO package_chunks (dsr_id, token, n, sealed) SELECT $1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), $4 WHERE EXISTS (SELECT 1 FROM steps WHERE id = $5 AND token = $2 AND q = 'run')",
                args![lease.dsr_id.as_str(), lease.token, n, sealed, lease.step_id.as_str()],
            )
            .await?;
        if put == 0 {
            return Err(Error::LeaseLost);
        }
        self.commit(tx).await
    }

    /// Records the answer of a request and what follows: the request is completed by it. The lease must hold.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; nothing was recorded.
    pub async fn answered(
        &self,
        lease: &Lease,
        certificate: &Value,
        package: Option<&NewPackage>,
    ) -> Result<(), Error> {
        let answered = Answered {
            lease: lease.clone(),
            certificate: certificate.to_string(),
            package: package.cloned(),
            chunks: Vec::new(),
        };
        match self.answered_all(&[answered]).await?[0] {
            Recorded::LeaseLost => Err(Error::LeaseLost),
            Recorded::Yes | Recorded::Ended => Ok(()),
        }
    }

    /// Records the answers of several requests and what follows, in one transaction; tells of each, in their order, what
    /// became of it.
    ///
    /// # Errors
    /// The database is away, or one of the requests is damaged; nothing was recorded.
    pub async fn answered_all(&self, all: &[Answered]) -> Result<Vec<Recorded>, Error> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.now_ms();
        // Requests before steps, and each in one order, so that nobody waits for somebody who waits for them.
        let mut ids: Vec<DsrId> = all.iter().map(|a| a.lease.dsr_id.clone()).collect();
        ids.sort();
        ids.dedup();
        crash_point("answer.before");
        let mut tx = self.db.begin("answered").await?;
        let stages = self.lock_stages(&mut tx, &ids).await?;
        let held = end_steps(&mut tx, all, now).await?;
        let recorded: Vec<Recorded> = all
            .iter()
            .map(|a| {
                let over = stages.get(a.lease.dsr_id.as_str()).is_none_or(|stage| stage.is_final());
                match (held.contains(a.lease.step_id.as_str()), over) {
                    (false, _) => Recorded::LeaseLost,
                    (true, true) => Recorded::Ended,
                    (true, false) => Recorded::Yes,
                }
            })
            .collect();
        let made: Vec<&Answered> =
            all.iter().zip(&recorded).filter(|(_, r)| **r == Recorded::Yes).map(|(a, _)| a).collect();
        if made.is_empty() {
            self.commit(tx).await?;
            return Ok(recorded);
        }
        put_packages(&mut tx, &made, now).await?;
        crash_point("answer.between_writes");
        let mut certificates = RowSet::default();
        for a in &made {
            certificates.push(row![a.lease.dsr_id.as_str(), a.certificate.as_str()]);
        }
        tx.exec(
            // `WHERE true`: SQLite would take ON CONFLICT for the condition of a join.
            "-- certificates\nINSERT INTO certificates (dsr_id, document, issued_at) SELECT v.dsr_id, v.document, CAST($1 AS BIGINT) FROM {rows $2 AS v(dsr_id text, document text)} WHERE true ON CONFLICT (dsr_id) DO UPDATE SET document = excluded.document, issued_at = excluded.issued_at",
            args![now, certificates],
        )
        .await?;
        let ids: Vec<DsrId> = made.iter().map(|a| a.lease.dsr_id.clone()).collect();
        tx.exec(
            "-- answered\nUPDATE dsrs SET answered_at = $2 WHERE id {in $1}",
            args![texts(ids.iter().map(DsrId::as_str)), now],
        )
        .await?;
        let mut events = Events::default();
        for a in &made {
            let package = a.package.as_ref();
            let data = json!({ "package_bytes": package.map(|p| p.bytes), "package_sha256": package.map(|p| p.sha256.as_str()) });
            events.push(&a.lease.controller_id, NewEvent::new(Some(&a.lease.dsr_id), "answer_made", data));
        }
        self.advance_all(&mut tx, ids, &mut events).await?;
        self.append_all(&mut tx, "engine", events).await?;
        crash_point("answer.before_commit");
        self.commit(tx).await?;
        crash_point("answer.after_commit");
        self.figures.finished_rows.count(made.len());
        Ok(recorded)
    }
    /// The certificate of a request, once there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn certificate(&self, controller_id: &ControllerId, dsr_id: &DsrId) -> Result<Value, Error> {
        let row = self
            .db
            .row(
                "-- certificate_of\nSELECT c.document FROM certificates c JOIN dsrs d ON d.id = c.dsr_id WHERE d.controller_id = $1 AND d.id = $2",
                args![controller_id.as_str(), dsr_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        serde_json::from_str(&row.text("document")?)
            .map_err(|_| Error::Inconsistent { table: "certificates", column: "document" })
    }

    /// What is known of a request's package, once there is one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn package(&self, controller_id: &ControllerId, dsr_id: &DsrId) -> Result<Option<PackageInfo>, Error> {
        let row = self
            .db
            .row(
                "-- package_of\nSELECT p.* FROM packages p JOIN dsrs d ON d.id = p.dsr_id WHERE d.controller_id = $1 AND d.id = $2",
                args![controller_id.as_str(), dsr_id.as_str()],
            )
            .await?;
        row.map(|row| {
            Ok(PackageInfo {
                bytes: row.int("bytes")?,
                chunks: row.int("chunks")?,
                sha256: row.text("sha256")?,
                expires_at: row.int("expires_at")?,
                token: row.int("token")?,
            })
        })
        .transpose()
    }

    /// One chunk of a package in clear, on its way to its controller.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Purged`].
    pub async fn package_chunk(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        key: &Key,
        package: &PackageInfo,
        n: i64,
    ) -> Result<Personal<Vec<u8>>, Error> {
        let row = self
            .db
            .row(
                "-- package_chunk\nSELECT c.sealed FROM package_chunks c JOIN dsrs d ON d.id = c.dsr_id WHERE d.controller_id = $1 AND d.id = $2 AND c.token = $3 AND c.n = $4",
                args![controller_id.as_str(), dsr_id.as_str(), package.token, n],
            )
            .await?
            .ok_or(Error::NotFound)?;
        Ok(Personal::new(key.open(&at(controller_id, dsr_id, package.token, n), &row.bytes("sealed")?)?))
    }

    /// The last event of a controller's log so far: number and hash.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn audit_head(&self, controller_id: &ControllerId) -> Result<(i64, String), Error> {
        let row = self
            .db
            .row(
                "-- audit_head\nSELECT event_seq, event_hash FROM controllers WHERE id = $1",
                args![controller_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        Ok((row.int("event_seq")?, row.text("event_hash")?))
    }
}

/// Ends the answers' rows whose leases hold, and tells which.
async fn end_steps(tx: &mut Tx, all: &[Answered], now: i64) -> Result<HashSet<String>, Error> {
    let mut leases = RowSet::default();
    for a in all {
        leases.push(row![a.lease.step_id.as_str(), a.lease.token]);
    }
    // Locked in the order in which leases are renewed.
    let rows = tx
        .rows(
            "-- answers_done\nUPDATE steps SET state = 'done', q = NULL, acted_at = $1, attention = 0, error_code = NULL, error_detail = NULL, lease_until = NULL FROM (SELECT s.id AS step FROM steps s JOIN {rows $2 AS v(step text, token int)} ON s.id = v.step AND s.token = v.token WHERE s.q = 'run' ORDER BY s.id {for_update}) AS held WHERE steps.id = held.step RETURNING steps.id",
            args![now, leases],
        )
        .await?;
    rows.iter().map(|row| row.text("id")).collect()
}

/// Keeps the packages, and forgets what they were made of.
async fn put_packages(tx: &mut Tx, made: &[&Answered], now: i64) -> Result<(), Error> {
    let (mut packages, mut chunks) = (RowSet::default(), RowSet::default());
    let (mut packed, mut again, mut large) = (Vec::new(), Vec::new(), Vec::new());
    for a in made {
        let Some(p) = &a.package else { continue };
        let id = a.lease.dsr_id.as_str();
        packages.push(row![
            id,
            a.lease.token,
            p.bytes as i64,
            p.chunks,
            p.sha256.as_str(),
            p.records as i64,
            now,
            p.expires_at
        ]);
        for chunk in &a.chunks {
            if chunk.sealed.len() > LARGE {
                large.push((a, chunk));
            } else {
                chunks.push(row![id, a.lease.token, chunk.n, chunk.sealed.as_slice()]);
            }
        }
        packed.push(id.to_owned());
        // Only an earlier try, which had another token, can have left chunks.
        if a.lease.token > 1 {
            again.push(id.to_owned());
        }
    }
    if packed.is_empty() {
        return Ok(());
    }
    tx.exec(
        "-- packages\nINSERT INTO packages (dsr_id, token, bytes, chunks, sha256, records, created_at, expires_at) SELECT v.dsr_id, v.token, v.bytes, v.chunks, v.sha256, v.records, v.created_at, v.expires_at FROM {rows $1 AS v(dsr_id text, token int, bytes int, chunks int, sha256 text, records int, created_at int, expires_at int)} WHERE true ON CONFLICT (dsr_id) DO UPDATE SET token = excluded.token, bytes = excluded.bytes, chunks = excluded.chunks, sha256 = excluded.sha256, records = excluded.records, created_at = excluded.created_at, expires_at = excluded.expires_at",
        args![packages],
    )
    .await?;
    if !again.is_empty() {
        tx.exec(
            "-- drop_stale_chunks\nDELETE FROM package_chunks WHERE dsr_id {in $1} AND NOT EXISTS (SELECT 1 FROM packages p WHERE p.dsr_id = package_chunks.dsr_id AND p.token = package_chunks.token)",
            args![again],
        )
        .await?;
    }
    if !chunks.is_empty() {
        tx.exec(
            "-- put_package_chunks\nINSERT INTO package_chunks (dsr_id, token, n, sealed) SELECT v.dsr_id, v.token, v.n, v.sealed FROM {rows $1 AS v(dsr_id text, token int, n int, sealed bytes)}",
            args![chunks],
        )
        .await?;
    }
    for (a, chunk) in large {
        tx.exec(
            "-- put_large_chunk\nINSERT INTO package_chunks (dsr_id, token, n, sealed) VALUES ($1, $2, $3, $4)",
            args![a.lease.dsr_id.as_str(), a.lease.token, chunk.n, chunk.sealed.as_slice()],
        )
        .await?;
    }
    // The packages hold what the artifacts held.
    tx.exec("-- drop_packed_artifacts\nDELETE FROM artifacts WHERE dsr_id {in $1}", args![packed]).await.map(drop)
}

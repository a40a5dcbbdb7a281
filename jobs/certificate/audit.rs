//! An audit export is a controller's audit log as NDJSON: one event per line, each holding the hash of the one before.
//!
//! An event is `{id, controller_id, seq, at, kind, actor, dsr_id, data, prev_hash, hash}` and its hash is [`event_hash`]; an event of
//! the staff log, which is one for the whole installation, has neither id, controller nor request. So
//! nobody can change, remove, insert or reorder an event without rewriting every later one; and the last hash stands in
//! certificates that controllers already hold.

use super::{JsonFault, VerifyError, event_hash, parse_strict, plain};
use serde_json::Value;
use std::fmt;
use std::io::{BufRead, Read as _};

/// The longest line that is read.
const LINE_MAX: u64 = 1024 * 1024;

/// An audit export that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Whose log; none: the staff log of the installation.
    pub controller_id: Option<String>,
    /// How many events.
    pub events: u64,
    /// The first one's number. What came before it is not in the file and was not checked.
    pub first_seq: u64,
    /// The last one's number.
    pub last_seq: u64,
    /// The last one's hash, to compare with a certificate or an earlier export.
    pub last_hash: String,
}

/// Checks an export's chain: every event is unchanged, none is missing in between, and each links to the one before.
/// It cannot see that events were cut off at the end; comparing `last_hash` with a certificate does.
pub fn verify_audit_export(mut reader: impl BufRead) -> Result<AuditReport, VerifyError> {
    let mut report: Option<AuditReport> = None;
    let mut number = 0;
    loop {
        number += 1;
        let broken = |reason: String| VerifyError::ChainBroken { line: number, reason };
        let mut line = Vec::new();
        if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return report.ok_or(VerifyError::Unrecognized);
        }
        if line.len() as u64 == LINE_MAX && !line.ends_with(b"\n") {
            return Err(broken("longer than any event".into()));
        }
        let line = std::str::from_utf8(&line).map_err(|_| broken("not UTF-8".into()))?.trim_end();
        let value = parse_strict(line).map_err(|fault| {
            broken(match fault {
                JsonFault::Syntax { column, .. } => format!("not JSON: something is wrong at column {column}"),
                JsonFault::DuplicateKey { .. } => "a key occurs twice in the same object".into(),
                JsonFault::Number { .. } => "a number is not a whole number of at most 64 bits".into(),
            })
        })?;
        let event = Event::read(&value).ok_or_else(|| broken("not an audit event".into()))?;
        let seq = event.seq;
        if event_hash(&value) != event.hash {
            return Err(broken(format!("event {seq} was changed: its hash does not match its content")));
        }
        match &mut report {
            None => {
                report = Some(AuditReport {
                    controller_id: event.controller_id.map(str::to_owned),
                    events: 1,
                    first_seq: seq,
                    last_seq: seq,
                    last_hash: event.hash.to_owned(),
                });
            }
            Some(so_far) => {
                if event.controller_id != so_far.controller_id.as_deref() {
                    return Err(broken(format!("event {seq} belongs to another controller")));
                }
                let wanted = so_far.last_seq.saturating_add(1);
                if seq != wanted {
                    return Err(broken(format!("event {wanted} should be here and event {seq} is")));
                }
                if event.prev_hash != Some(&so_far.last_hash) {
                    return Err(broken(format!("event {seq} does not link to the event before it")));
                }
                so_far.events += 1;
                so_far.last_seq = seq;
                event.hash.clone_into(&mut so_far.last_hash);
            }
        }
    }
}

struct Event<'v> {
    /// None: the staff log.
    controller_id: Option<&'v str>,
    seq: u64,
    prev_hash: Option<&'v str>,
    hash: &'v str,
}

impl<'v> Event<'v> {
    fn read(value: &'v Value) -> Option<Self> {
        Some(Self {
            controller_id: match value.get("controller_id") {
                Some(id) => Some(id.as_str()?),
                None => None,
            },
            seq: value.get("seq")?.as_u64()?,
            prev_hash: value.get("prev_hash")?.as_str(),
            hash: value.get("hash")?.as_str()?,
        })
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Audit export: the chain holds")?;
        match &self.controller_id {
            Some(id) => writeln!(f, "  controller  {}", plain(id))?,
            None => writeln!(f, "  log         staff of this installation")?,
        }
        writeln!(f, "  events      {}, numbers {} to {}", self.events, self.first_seq, self.last_seq)?;
        if self.first_seq > 1 {
            writeln!(f, "  note        what came before event {} is not in this file", self.first_seq)?;
        }
        write!(f, "  last hash   {}", plain(&self.last_hash))
    }
}

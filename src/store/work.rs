//! Work is what a row of `steps` asks for: a verb on a connected system, the answer of a request, or a status to be told.

use crate::db::Row;
use crate::sealed::place;
use crate::{Error, Key};
use redress_domain::hold::LEGAL_HOLD;
use redress_domain::step::{CREDENTIALS_REFUSED, DEATHS_MAX, Phase, StepState};
use redress_domain::{ControllerId, Correction, DsrId, IdentifierType, StepId, Subject, SystemId, Verb, WebhookId};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// What kind of work a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// A step: a verb on a connected system.
    Step(Verb),
    /// Making the package and the certificate of a request.
    Answer,
    /// Telling the controller a status.
    Notify,
}

impl WorkKind {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "answer" => Some(WorkKind::Answer),
            "notify" => Some(WorkKind::Notify),
            verb => Verb::parse(verb).map(WorkKind::Step),
        }
    }

    /// Its spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            WorkKind::Step(verb) => verb.as_str(),
            WorkKind::Answer => "answer",
            WorkKind::Notify => "notify",
        }
    }
}

/// The right to do one piece of work until the lease ends. Holds ids only.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The row.
    pub step_id: StepId,
    /// Whose it is.
    pub controller_id: ControllerId,
    /// Of which request.
    pub dsr_id: DsrId,
    /// On which system, for a step.
    pub system_id: Option<SystemId>,
    /// The lane it was claimed from.
    pub lane: String,
    /// What it is.
    pub kind: WorkKind,
    /// Acting or verifying.
    pub phase: Phase,
    /// The fence: every write names it.
    pub token: i64,
    /// Failures in a row before this try.
    pub failures: u32,
    /// What is to be told, for [`WorkKind::Notify`].
    pub payload: Option<String>,
    /// Since when it is at work, or stood ready right before that (Unix ms): what the pace of its system is measured by.
    pub busy_from: i64,
}

/// What is to be told, as its row holds it.
#[derive(Deserialize)]
struct ToTell {
    webhook: Option<WebhookId>,
}

impl Lease {
    /// The standing endpoint that is to be told; none: the address that came with the request.
    pub fn webhook(&self) -> Option<WebhookId> {
        serde_json::from_str::<ToTell>(self.payload.as_deref()?).ok()?.webhook
    }
}

/// A lease with what is needed to do the work: personal data in clear.
#[derive(Debug)]
pub struct OpenWork {
    /// The right to do it.
    pub lease: Lease,
    /// The person.
    pub subject: Subject,
    /// What to change.
    pub corrections: Vec<Correction>,
    /// What an earlier run announced, or did.
    pub prior: Option<String>,
    /// The request's key, for artifacts and receipts.
    pub key: Arc<Key>,
}

/// What came of a piece of work.
#[derive(Debug, Clone)]
pub enum Result {
    /// The verb acted, or saw that there was nothing to do.
    Acted {
        /// [`StepState::Done`], [`StepState::NothingFound`] or [`StepState::Retained`].
        state: StepState,
        /// Records that are the person's.
        found: u64,
        /// Records changed.
        changed: u64,
        /// Records that stay.
        retained: u64,
        /// Evidence and reasons, for the certificate.
        result: Value,
        /// What was touched, for the second read.
        receipt: Option<String>,
        /// When the second read may be made, for verbs that need one (Unix ms).
        verify_at: Option<i64>,
    },
    /// The second read saw the effect.
    Verified {
        /// What it counted.
        proof: Value,
    },
    /// The second read still found something.
    Residue {
        /// How many records.
        remaining: u64,
        /// Where.
        proof: Value,
    },
    /// The system does it itself; ask again then (Unix ms).
    External {
        /// What to ask for.
        receipt: String,
        /// When.
        check_at: i64,
        /// Until when it says that it will be done (Unix ms).
        completes_by: Option<i64>,
    },
    /// Not now.
    Later {
        /// When to try again (Unix ms).
        not_before: i64,
        /// Whether it counts as a failure.
        failed: bool,
        /// Whether a person should know already.
        attention: bool,
        /// A stable code.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// A person must do something.
    Attention {
        /// A stable code.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// Finished and nothing to keep (a status was told, or is given up).
    Dismissed {
        /// Whether it was achieved.
        achieved: bool,
        /// A stable code.
        code: String,
    },
}

/// One piece of work and what came of it.
#[derive(Debug)]
pub struct Finish {
    /// The lease under which it was done.
    pub lease: Lease,
    /// What came of it.
    pub result: Result,
}

/// A step as it is shown.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// Its id.
    pub id: StepId,
    /// On which system.
    pub system_id: SystemId,
    /// The controller's name for the system.
    pub system: String,
    /// Its family.
    pub family: String,
    /// Its connector.
    pub connector: String,
    /// What is done.
    pub verb: Verb,
    /// Its state, an overlay such as `leased` included.
    pub status: StepState,
    /// Acting or verifying.
    pub phase: Phase,
    /// Records that are the person's.
    pub found: Option<i64>,
    /// Records changed.
    pub changed: Option<i64>,
    /// Evidence and reasons.
    pub result: Option<Value>,
    /// What the second read counted.
    pub proof: Option<Value>,
    /// How often it was tried, second reads not counted.
    pub attempts: i64,
    /// When it is tried again (Unix ms).
    pub next_attempt_at: Option<i64>,
    /// When it acted (Unix ms).
    pub acted_at: Option<i64>,
    /// When the second read saw the effect (Unix ms).
    pub verified_at: Option<i64>,
    /// What is wrong: code and sentence.
    pub error: Option<(String, String)>,
    /// Types of the identifiers that it found for other systems.
    pub yields: Vec<IdentifierType>,
}

/// A row over which so many workers died is quarantined by the next death.
pub(crate) const SUSPECT: i64 = DEATHS_MAX as i64 - 1;

pub(crate) const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "steps", column };

/// A row of `steps` for which nothing more is done since its request ended. What is to be told is told even then.
pub(crate) const OVER: &str =
    "(verb <> 'notify' AND EXISTS (SELECT 1 FROM dsrs d WHERE d.id = steps.dsr_id AND d.closed_at IS NOT NULL))";

pub(crate) fn read_lease(row: &Row) -> std::result::Result<Lease, Error> {
    Ok(Lease {
        step_id: StepId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?,
        dsr_id: DsrId::parse(&row.text("dsr_id")?).map_err(|_| INCONSISTENT("dsr_id"))?,
        system_id: row
            .opt_text("system_id")?
            .map(|t| SystemId::parse(&t))
            .transpose()
            .map_err(|_| INCONSISTENT("system_id"))?,
        lane: row.text("lane")?,
        kind: WorkKind::parse(&row.text("verb")?).ok_or(INCONSISTENT("verb"))?,
        phase: Phase::parse(&row.text("phase")?).ok_or(INCONSISTENT("phase"))?,
        token: row.int("token")?,
        failures: row.int("failures")?.clamp(0, 1_000) as u32,
        payload: row.opt_text("payload")?,
        busy_from: crate::paces::busy_from(row)?,
    })
}

pub(crate) fn read_step(row: &Row) -> std::result::Result<StepRow, Error> {
    let state = StepState::parse(&row.text("state")?).ok_or(INCONSISTENT("state"))?;
    let q = row.opt_text("q")?;
    let phase = Phase::parse(&row.text("phase")?).ok_or(INCONSISTENT("phase"))?;
    let status = match q.as_deref() {
        _ if row.int("attention")? != 0 => StepState::NeedsAttention,
        Some("run") if !state.has_acted() => StepState::Leased,
        _ => state,
    };
    let json = |column| -> std::result::Result<Option<Value>, Error> {
        row.opt_text(column)?.map(|t| serde_json::from_str(&t)).transpose().map_err(|_| INCONSISTENT(column))
    };
    let withheld = if q.as_deref() == Some("ready") { withheld(row)? } else { None };
    let status = if withheld.is_some() && status == StepState::Queued { StepState::Waiting } else { status };
    // Of a hold of which nobody outside may learn no step tells: it waits.
    let stopped =
        row.int("held")? != 0 && row.int("attention")? == 0 && !state.has_acted() && q.as_deref() != Some("run");
    let told = row.int("dsr_held")? == 1;
    let status = match stopped {
        false => status,
        true if told => StepState::Blocked,
        true => StepState::Waiting,
    };
    let withheld = if stopped { told.then_some((None, LEGAL_HOLD, HELD)) } else { withheld };
    let error = row
        .opt_text("error_code")?
        .map(|c| Ok::<_, Error>((c, row.opt_text("error_detail")?.unwrap_or_default())))
        .transpose()?
        .filter(|(code, _)| code != LEGAL_HOLD);
    Ok(StepRow {
        id: StepId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        system_id: SystemId::parse(&row.text("system_id")?).map_err(|_| INCONSISTENT("system_id"))?,
        system: row.text("system_name")?,
        family: row.text("system_family")?,
        connector: row.text("system_connector")?,
        verb: Verb::parse(&row.text("verb")?).ok_or(INCONSISTENT("verb"))?,
        status,
        phase,
        found: row.opt_int("found")?,
        changed: row.opt_int("changed")?,
        result: json("result")?,
        proof: json("proof")?,
        attempts: row.int("attempts")?,
        next_attempt_at: match &withheld {
            Some((until, ..)) => *until,
            None => (q.as_deref() == Some("wait")).then(|| row.int("not_before")).transpose()?,
        },
        acted_at: row.opt_int("acted_at")?,
        verified_at: row.opt_int("verified_at")?,
        error: withheld.map(|(_, code, detail)| (code.into(), detail.into())).or(error),
        yields: row.text("yields")?.split_whitespace().filter_map(IdentifierType::parse).collect(),
    })
}

const HELD: &str = "a legal hold stops it: it goes on by itself when the hold is released, and deadlines go on; a person may decide instead that the data are kept";

/// Why a step that could run is not begun, and until when, if that is known.
type Withheld = (Option<i64>, &'static str, &'static str);

fn withheld(row: &Row) -> std::result::Result<Option<Withheld>, Error> {
    if row.int("held_back")? != 0 {
        return Ok(Some((None, "paused", "work here is paused; it goes on when it is resumed, and deadlines go on")));
    }
    Ok(row.opt_int("breaker_until")?.map(|until| {
        if row.opt_text("problem_code").is_ok_and(|code| code.as_deref() == Some(CREDENTIALS_REFUSED)) {
            let detail = "the system refuses our credentials; set others with `redress apply` and check the system; its steps wait until then";
            return (Some(until), CREDENTIALS_REFUSED, detail);
        }
        let detail =
            "the system failed several calls in a row and is left alone until then; it is tried again by itself";
        (Some(until), "system_failing", detail)
    }))
}

/// `$first, $first+1, …` for an IN list.
pub(crate) fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|i| format!("${i}")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn receipt_place(lease: &Lease) -> Vec<u8> {
    place(&[lease.controller_id.as_str(), lease.dsr_id.as_str(), lease.step_id.as_str(), "receipt"])
}

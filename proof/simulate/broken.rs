//! What is broken on purpose, in the store's statements or in the workers, to see that the simulation finds it.

use redress_store::simulation::Mutant;

/// A worker or a controller's client that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Acts although it was told that it may not.
    ActsAllTheSame,
    /// Does not look at what an earlier run announced.
    ForgetsThePrior,
    /// Says that it is verified without a second read.
    DoesNotReadAgain,
    /// Says that a status was told without telling it.
    TellsNobody,
    /// Takes another's row for the person's.
    TakesAnotherPerson,
    /// Gives each order a key of its own.
    OrdersAnew,
}

/// Something broken, and where.
#[derive(Debug, Clone, Copy)]
pub struct Broken {
    /// In words.
    pub what: &'static str,
    /// A seed that found it; a search begins there. After a change of the product it may be another one.
    pub seed: u64,
    pub(super) mutant: Option<Mutant>,
    pub(super) fault: Option<Fault>,
}

/// In the statement of each first name the second text is replaced by the third.
const fn texts(what: &'static str, seed: u64, all: &'static [(&'static str, &'static str, &'static str)]) -> Broken {
    Broken { what, seed, mutant: Some(Mutant::Texts(all)), fault: None }
}

const fn lie(what: &'static str, seed: u64, transaction: &'static str) -> Broken {
    Broken { what, seed, mutant: Some(Mutant::Uncommitted(transaction)), fault: None }
}

const fn fault(what: &'static str, seed: u64, fault: Fault) -> Broken {
    Broken { what, seed, mutant: None, fault: Some(fault) }
}

const FENCE: &str = " AND steps.token = v.token AND steps.q = 'run'";
const LOCKED: &str = "s.token = v.token AND s.q = 'run'";

/// Everything that must be found.
pub const ALL: &[Broken] = &[
    texts(
        "a second read is recorded without the fence",
        710,
        &[
            ("lock_held", "SELECT s.id, s.token", "SELECT s.id, v.token"),
            ("lock_held", LOCKED, "(s.token = v.token AND s.q = 'run' OR s.phase = 'verify')"),
            ("finish_acted", FENCE, ""),
            ("finish_verified", FENCE, ""),
            ("finish_residue", FENCE, ""),
            ("finish_external", FENCE, ""),
            ("finish_later", FENCE, ""),
            ("finish_attention", FENCE, ""),
        ],
    ),
    texts(
        "an outcome is recorded without the fence",
        0,
        &[
            ("lock_held", "SELECT s.id, s.token", "SELECT s.id, v.token"),
            ("lock_held", LOCKED, "(s.token = v.token AND s.q = 'run' OR s.phase = 'act')"),
            ("finish_acted", FENCE, ""),
            ("finish_verified", FENCE, ""),
            ("finish_residue", FENCE, ""),
            ("finish_external", FENCE, ""),
            ("finish_later", FENCE, ""),
            ("finish_attention", FENCE, ""),
            ("finish_dismissed", FENCE, ""),
        ],
    ),
    texts(
        "an effect is announced without the fence",
        3,
        &[("intend", " AND s.token = v.token WHERE s.q = 'run'", " WHERE s.q = s.q")],
    ),
    texts(
        "an effect is announced whatever the stage",
        70,
        &[("intend", "d.stage IN ('in_progress', 'verifying')", "d.stage = d.stage")],
    ),
    texts("what waits stays in the queue after a withdrawal", 5, &[("cancel_steps", "dsr_id = $1", "dsr_id = ''")]),
    texts("leases that ran out stay", 0, &[("expire_peek", "q = 'run'", "q = 'never'")]),
    texts(
        "a lost lease puts its step back in any case",
        5,
        &[("expire_leases", "d.closed_at IS NOT NULL", "d.closed_at < 0")],
    ),
    texts(
        "what waits is never let go",
        0,
        &[("promote", "q = 'wait'", "q = 'never'"), ("promote_fairly", "q = 'wait'", "q = 'never'")],
    ),
    texts("what a pause parked stays parked", 0, &[("unhold_steps", "q = 'held'", "q = 'never'")]),
    texts("a purge leaves the receipts", 0, &[("purge_receipts", "receipt = NULL", "receipt = receipt")]),
    texts("a purge leaves what was answered first", 0, &[("purge_idempotency", "dsr_id = $1", "dsr_id = ''")]),
    texts(
        "the head of the log does not move",
        0,
        &[("audit_heads_moved", "event_hash = v.hash", "event_hash = event_hash")],
    ),
    texts(
        "each notice is left twice",
        0,
        &[
            ("insert_steps", "SELECT v.id, v.controller_id", "SELECT v.id || twice.x, v.controller_id"),
            (
                "insert_steps",
                "'act', v.state, v.q, v.due_at",
                "'act', CASE twice.x WHEN '' THEN v.state ELSE 'done' END, CASE twice.x WHEN '' THEN v.q END, v.due_at",
            ),
            ("insert_steps", "v.payload, v.idem, v.webhook_id", "v.payload, v.idem || twice.x, v.webhook_id"),
            (
                "insert_steps",
                "WHERE 1 = 1",
                "JOIN (SELECT '' AS x UNION ALL SELECT 'x') AS twice ON twice.x = '' OR v.verb = 'notify' WHERE 1 = 1",
            ),
        ],
    ),
    lie("an outcome is said to be recorded and is not", 0, "finish"),
    lie("a request is accepted before its commit", 0, "submit"),
    lie("an intent is said to be announced and is not", 32, "intend"),
    fault("a worker acts although it may not", 3, Fault::ActsAllTheSame),
    fault("a worker does not look at what was announced before", 0, Fault::ForgetsThePrior),
    fault("a deletion is not read again", 5, Fault::DoesNotReadAgain),
    fault("a status is not told", 0, Fault::TellsNobody),
    fault("a connector takes another person's records", 0, Fault::TakesAnotherPerson),
    fault("an order is placed under a new key each time", 94, Fault::OrdersAnew),
];

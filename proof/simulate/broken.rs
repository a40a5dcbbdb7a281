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
    pub(super) mutant: Option<Mutant>,
    pub(super) fault: Option<Fault>,
}

const fn text(what: &'static str, name: &'static str, from: &'static str, to: &'static str) -> Broken {
    Broken { what, mutant: Some(Mutant::Text(name, from, to)), fault: None }
}

const fn lie(what: &'static str, transaction: &'static str) -> Broken {
    Broken { what, mutant: Some(Mutant::Uncommitted(transaction)), fault: None }
}

const fn fault(what: &'static str, fault: Fault) -> Broken {
    Broken { what, mutant: None, fault: Some(fault) }
}

/// Everything that must be found.
pub const ALL: &[Broken] = &[
    text("a second read is recorded without the fence", "finish_verified", "token = $2 AND q = 'run'", "token >= 0"),
    text("an outcome is recorded without the fence", "finish_acted", "token = $2 AND q = 'run'", "token >= 0"),
    text(
        "an effect is announced without the fence",
        "intend",
        " AND s.token = v.token WHERE s.q = 'run'",
        " WHERE s.q = s.q",
    ),
    text(
        "an effect is announced whatever the stage",
        "intend",
        "d.stage IN ('in_progress', 'verifying')",
        "d.stage = d.stage",
    ),
    text("what waits stays in the queue after a withdrawal", "cancel_steps", "dsr_id = $1", "dsr_id = ''"),
    text("leases that ran out stay", "expire_peek", "q = 'run'", "q = 'never'"),
    text("a lost lease puts its step back in any case", "expire_leases", "d.closed_at IS NOT NULL", "d.closed_at < 0"),
    text("what waits is never let go", "promote", "q = 'wait'", "q = 'never'"),
    text("what a pause parked stays parked", "unhold_steps", "q = 'held'", "q = 'never'"),
    text("a purge leaves the receipts", "purge_receipts", "receipt = NULL", "receipt = receipt"),
    text("a purge leaves what was answered first", "purge_idempotency", "dsr_id = $1", "dsr_id = ''"),
    text("the head of the log does not move", "audit_heads_moved", "event_hash = v.hash", "event_hash = event_hash"),
    text(
        "each notice is left twice",
        "insert_notice",
        "VALUES ($1, $2, $3, 'notify', 'notify', 'act', 'queued', 'ready', $4, $5, $6, $1, $5)",
        "VALUES ($1, $2, $3, 'notify', 'notify', 'act', 'queued', 'ready', $4, $5, $6, $1, $5), ($1 || 'x', $2, $3, 'notify', 'notify', 'act', 'done', NULL, $4, $5, $6, $1 || 'x', $5)",
    ),
    lie("an outcome is said to be recorded and is not", "finish"),
    lie("a request is accepted before its commit", "submit"),
    lie("an intent is said to be announced and is not", "intend"),
    fault("a worker acts although it may not", Fault::ActsAllTheSame),
    fault("a worker does not look at what was announced before", Fault::ForgetsThePrior),
    fault("a deletion is not read again", Fault::DoesNotReadAgain),
    fault("a status is not told", Fault::TellsNobody),
    fault("a connector takes another person's records", Fault::TakesAnotherPerson),
    fault("an order is placed under a new key each time", Fault::OrdersAnew),
];

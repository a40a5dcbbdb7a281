//! A mutant is a deliberate mistake in the code, switched on while it runs. The suite is worth something if, and only if, it
//! fails with each of them.

use crate::runner::{Report, Status, in_process};
use std::time::Duration;

/// One mistake.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// The cheapest cell that fails with it.
    pub(crate) cell: &'static str,
    pub(crate) slice: bool,
}

const fn mutant(name: &'static str, cell: &'static str) -> Mutant {
    Mutant { name, cell, slice: false }
}

const fn in_slice(name: &'static str, cell: &'static str) -> Mutant {
    Mutant { name, cell, slice: true }
}

pub(crate) const MUTANTS: &[Mutant] = &[
    // Leases and the fence.
    mutant("finish.fence_not_checked", "worker/stopped-in-front-of-a-locked-system"),
    mutant("intend.forgotten", "point/sql.after_commit/deletion-sqlite/sqlite/all/kill-9"),
    mutant("intend.after_the_effect", "point/sql.after_commit/deletion-sqlite/sqlite/all/kill-9"),
    in_slice("intend.withdrawal_ignored", "people/withdrawn-while-a-worker-waits"),
    mutant("lease.not_renewed", "calm/a-system-that-is-slower-than-a-lease"),
    mutant("lease.expired_by_own_clock", "worker/clock-120s-ahead"),
    mutant("lease.never_expired", "point/queue.after_claim/mixed-maildir/sqlite/all/kill-9"),
    mutant("lease.deaths_not_counted", "worker/poisoned"),
    mutant("lease.nothing_handed_back", "worker/sigterm-in-front-of-a-locked-system"),
    in_slice("claim.row_stays_ready", "calm/sqlite"),
    mutant("claim.not_locked", "calm/fleet"),
    // What is recorded.
    mutant("finish.outcome_dropped", "calm/sqlite"),
    in_slice("verify.residue_reported_done", "calm/what-is-deleted-comes-back"),
    mutant("verify.not_made", "calm/what-is-deleted-comes-back"),
    mutant("submit.acknowledged_before_commit", "volume/1000-submissions-15-crashes/sqlite"),
    mutant("submit.idempotency_ignored", "calm/sqlite"),
    mutant("notice.dropped", "calm/sqlite"),
    mutant("events.one_dropped", "calm/sqlite"),
    mutant("events.chain_broken", "calm/sqlite"),
    mutant("certificate.counts_nothing", "calm/sqlite"),
    // Whose it is.
    in_slice("tenant.ignored_in_reads", "calm/two-controllers-with-the-same-people"),
    mutant("tenant.ignored_in_plans", "calm/two-controllers-with-the-same-people"),
    mutant("match.near_twins_too", "calm/sqlite"),
];

/// A mutant lives no longer than this.
const LIMIT: Duration = Duration::from_mins(5);

/// Tries one mistake. True if it was caught.
pub(crate) fn attempt(mutant: &Mutant, everything: bool) -> bool {
    let report = in_process(mutant.cell, LIMIT, &[("REDRESS_MUTANT", mutant.name.to_owned())]);
    let caught = matches!(report.status, Status::Failed | Status::Late);
    let word = match report.status {
        Status::Failed | Status::Late => "caught",
        Status::Well => "SURVIVED",
        Status::Skipped => "NOT TRIED",
    };
    println!("{word:<9} {:>6.1} s  {} by {}", report.took.as_secs_f32(), mutant.name, mutant.cell);
    println!("                   {}", why(&report));
    if everything {
        println!("{}", report.output);
    }
    caught
}

/// The first words of the failure.
fn why(report: &Report) -> String {
    if report.status == Status::Late {
        return "it did not end".into();
    }
    let mut lines = report.output.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    lines.next().unwrap_or("no word").chars().take(160).collect()
}

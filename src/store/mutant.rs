//! A mutant is a deliberate mistake that the chaos suite switches on, to see that it notices; in a release there are none.
//!
//! Most are another wording of a statement; the others are asked for where they are made. `tests/chaos/mutants.rs` names the cell
//! that must fail with each.

/// Whether `REDRESS_MUTANT` names this mistake.
#[cfg(not(feature = "mutants"))]
pub const fn mutant(_name: &str) -> bool {
    false
}

/// Whether `REDRESS_MUTANT` names this mistake.
#[cfg(feature = "mutants")]
pub fn mutant(name: &str) -> bool {
    wanted() == Some(name)
}

#[cfg(feature = "mutants")]
fn wanted() -> Option<&'static str> {
    static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a test's switch, not configuration")]
    let wanted = WANTED.get_or_init(|| std::env::var("REDRESS_MUTANT").ok());
    wanted.as_deref()
}

/// The statement as it was written.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn bent(sql: &str) -> std::borrow::Cow<'_, str> {
    std::borrow::Cow::Borrowed(sql)
}

/// The statement with the mistake in it that is switched on.
#[cfg(feature = "mutants")]
pub(crate) fn bent(sql: &str) -> std::borrow::Cow<'_, str> {
    let Some(wanted) = wanted() else { return sql.into() };
    let name = sql.strip_prefix("-- ").and_then(|rest| rest.split('\n').next()).unwrap_or_default();
    let mine = BENDS.iter().filter(|(mutant, statement, ..)| *mutant == wanted && name.starts_with(statement));
    mine.fold(sql.to_owned(), |sql, (_, _, from, to)| sql.replace(from, to)).into()
}

/// Mistake, beginning of the statement's name, what it says, what it says instead. `{own}` is the process's own clock.
#[cfg(feature = "mutants")]
const BENDS: &[(&str, &str, &str, &str)] = &[
    ("finish.fence_not_checked", "lock_held", "SELECT s.id, s.token,", "SELECT s.id, v.token,"),
    ("finish.fence_not_checked", "lock_held", " WHERE s.token = v.token AND s.q = 'run'", ""),
    ("finish.fence_not_checked", "finish_", " AND steps.token = v.token AND steps.q = 'run'", ""),
    ("intend.forgotten", "intend", "SET receipt = held.sealed", "SET receipt = steps.receipt"),
    ("intend.withdrawal_ignored", "intend", " AND d.stage IN ('in_progress', 'verifying')", ""),
    ("lease.not_renewed", "renew", "lease_until = {now} + $1", "lease_until = lease_until + 0 * $1"),
    ("lease.expired_by_own_clock", "expire_", "lease_until < {now}", "lease_until < {own}"),
    ("lease.never_expired", "expire_peek", "lease_until < {now}", "lease_until < 0"),
    ("lease.deaths_not_counted", "expire_leases", "deaths = deaths + 1", "deaths = deaths"),
    ("lease.nothing_handed_back", "hand_back", "q = 'run' AND owner = $1", "q = 'none' AND owner = $1"),
    ("claim.row_stays_ready", "claim", "SET q = 'run'", "SET q = 'ready'"),
    ("claim.not_locked", "claim", " {skip_locked}", ""),
    ("events.one_dropped", "append_events", "hash text)}", "hash text)} WHERE v.kind <> 'work_began'"),
    ("events.chain_broken", "audit_heads_moved", "event_hash = v.hash", "event_hash = event_hash"),
    ("tenant.ignored_in_reads", "dsr", "controller_id = $1 AND id = $2", "$1 <> '' AND id = $2"),
    ("tenant.ignored_in_plans", "outlines", "SELECT controller_id, id,", "SELECT asked.owner AS controller_id, id,"),
    (
        "tenant.ignored_in_plans",
        "outlines",
        "FROM systems WHERE controller_id {in $1}",
        "FROM systems CROSS JOIN (SELECT c.id AS owner FROM controllers c WHERE c.id {in $1}) AS asked WHERE asked.owner = asked.owner",
    ),
];

/// The process's own clock (Unix ms), which leases must not go by.
#[cfg(feature = "mutants")]
pub(crate) fn own_clock() -> String {
    #[expect(clippy::disallowed_methods, reason = "it is the mistake that is to be noticed")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis()).to_string()
}

#[cfg(all(test, feature = "mutants"))]
mod tests {
    use super::*;

    #[test]
    fn every_bend_is_of_words_that_a_statement_has() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = String::new();
        for file in std::fs::read_dir(folder).unwrap().flatten() {
            if file.path().extension().is_some_and(|e| e == "rs") && file.file_name() != "mutant.rs" {
                // Where a statement is made by `format!`, places have two braces.
                sources += &std::fs::read_to_string(file.path()).unwrap().replace("{{", "{").replace("}}", "}");
            }
        }
        for (mutant, statement, from, _) in BENDS {
            assert!(
                sources.contains(&format!("-- {statement}")) && sources.contains(from),
                "{mutant}: no {statement} says what it changes"
            );
        }
    }
}

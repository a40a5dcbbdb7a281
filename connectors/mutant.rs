//! A mutant is a deliberate mistake that the chaos suite switches on, to see that it notices; in a release there are none.

/// Whether `REDRESS_MUTANT` names this mistake.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn mutant(_name: &str) -> bool {
    false
}

/// Whether `REDRESS_MUTANT` names this mistake.
#[cfg(feature = "mutants")]
pub(crate) fn mutant(name: &str) -> bool {
    static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a test's switch, not configuration")]
    let wanted = WANTED.get_or_init(|| std::env::var("REDRESS_MUTANT").ok());
    wanted.as_deref() == Some(name)
}

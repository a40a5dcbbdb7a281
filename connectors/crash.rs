//! A crash point is a named place at which a test makes the process kill itself, to prove that nothing is lost there.

/// Aborts the process if `REDRESS_CRASH_AT` says so: `name`, or `name:n` for the n-th time this point is reached.
/// Does nothing without the feature `crash-points`, which no release has.
#[cfg(feature = "crash-points")]
pub(crate) fn crash_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static TARGET: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    #[expect(clippy::disallowed_methods, reason = "a switch for tests, not configuration")]
    let target = TARGET.get_or_init(|| {
        let text = std::env::var("REDRESS_CRASH_AT").ok()?;
        Some(match text.rsplit_once(':').and_then(|(point, nth)| Some((point, nth.parse().ok()?))) {
            Some((point, nth)) => (point.to_owned(), nth),
            None => (text, 1),
        })
    });
    if let Some((point, nth)) = target
        && point == name
        && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        std::process::abort();
    }
}

/// Does nothing: this build has no crash points.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn crash_point(_name: &str) {}

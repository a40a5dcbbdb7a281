//! A crash point is a named place at which a test makes the process kill itself; in a release there are none.

/// Aborts the process if the environment asks for it: `REDRESS_CRASH_AT=name`, or `name:n` for the n-th time it is passed.
#[cfg(feature = "crash-points")]
pub(crate) fn crash_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "a test's switch, absent from releases, and no configuration")]
        let text = std::env::var("REDRESS_CRASH_AT").ok()?;
        let nth = text.rsplit_once(':').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
        Some(nth.unwrap_or((text, 1)))
    });
    if let Some((at, nth)) = wanted
        && at == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        end();
    }
}

/// How the process ends at its point: it aborts, or the signal that `REDRESS_CRASH_BY` names (KILL, TERM, STOP) is sent to it.
#[cfg(feature = "crash-points")]
fn end() {
    #[expect(clippy::disallowed_methods, reason = "a test's switch, not configuration")]
    let Ok(signal) = std::env::var("REDRESS_CRASH_BY") else { std::process::abort() };
    let pid = std::process::id().to_string();
    let sent = std::process::Command::new("/bin/sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", &signal, &pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "there is a shell, and it knows the signal {signal}");
}

/// Does nothing in a build without crash points.
#[cfg(not(feature = "crash-points"))]
pub(crate) const fn crash_point(_name: &str) {}

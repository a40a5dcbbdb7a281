//! Named points at which a test makes the process kill itself; without the `crash-points` feature they are nothing.

/// Kills the process if `REDRESS_CRASH_AT` names this point (`name`, or `name:n` for the n-th time it is passed).
#[cfg(not(feature = "crash-points"))]
pub const fn crash_point(_name: &str) {}

/// Kills the process if `REDRESS_CRASH_AT` names this point (`name`, or `name:n` for the n-th time it is passed).
#[cfg(feature = "crash-points")]
pub fn crash_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "a test's switch, not configuration")]
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("REDRESS_CRASH_AT").ok()?;
        let (name, n) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), n.parse().ok()?))
    });
    if let Some((wanted, n)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *n
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

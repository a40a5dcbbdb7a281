//! A circuit breaker stops calls to a system that answers none: after a few that failed as a whole, one step at a time is sent to see
//! whether it is back, ever more rarely.
//!
//! What was not sent was not tried: the other steps keep their attempts and wait without a failure of their own.

/// Calls in a row that failed as a whole before nothing more is sent.
pub const FAILURES: i64 = 5;
/// The first time nothing is sent for so long; it doubles with each try that fails, up to the longest.
const OPEN_MS: i64 = 30_000;
const OPEN_MAX_MS: i64 = 600_000;
/// So long a try has before there may be another one.
pub const PROBE_MS: i64 = 60_000;

/// For how long nothing is sent after `failures` calls in a row that failed as a whole; none while calls go on. `jitter` in
/// 0..1 lengthens it by up to a fifth, so that systems that went together are not tried together.
pub fn open_ms(failures: i64, jitter: f64) -> Option<i64> {
    let doublings = failures - FAILURES;
    if doublings < 0 {
        return None;
    }
    let open = (OPEN_MS << doublings.min(10)).min(OPEN_MAX_MS);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most 600,000")]
    let spread = (open as f64 * 0.2 * jitter.clamp(0.0, 1.0)) as i64;
    Some(open + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_fifth_failure_and_doubles_up_to_ten_minutes() {
        assert!((0..FAILURES).all(|n| open_ms(n, 1.0).is_none()));
        let opened: Vec<i64> = (5..12).filter_map(|n| open_ms(n, 0.0)).collect();
        assert_eq!(opened, [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000]);
        assert_eq!(open_ms(i64::MAX, 0.0), Some(600_000));
        assert_eq!(open_ms(5, 1.0), Some(36_000));
        assert_eq!(open_ms(5, 7.0), Some(36_000));
    }
}

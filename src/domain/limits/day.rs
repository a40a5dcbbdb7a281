//! A vendor's day begins at midnight in the vendor's time zone, and is 23, 24 or 25 hours long.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The day around a moment: its first millisecond and that of the next (Unix ms).
pub(super) fn around(now: i64, zone: &TimeZone) -> (i64, i64) {
    let at = Timestamp::from_millisecond(now).unwrap_or_default().to_zoned(zone.clone());
    let start = at.start_of_day().map_or(now, |day| day.timestamp().as_millisecond());
    let end = at.tomorrow().and_then(|next| next.start_of_day());
    (start, end.map_or(start + super::DAY_MS, |day| day.timestamp().as_millisecond()))
}

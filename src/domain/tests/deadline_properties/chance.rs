//! Chance draws a case from a seed: the same seed, the same case.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A generator of numbers (splitmix64): small, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: i64) -> i64 {
        let end = u64::try_from(end).expect("a positive number");
        i64::try_from(self.roll() % end).expect("less than an i64")
    }

    pub(crate) fn percent(&mut self, of_hundred: i64) -> bool {
        self.below(100) < of_hundred
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll() % of.len() as u64).expect("less than a length")]
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let other = usize::try_from(self.roll() % (end as u64 + 1)).expect("less than a length");
            list.swap(end, other);
        }
    }

    /// An instant between two days; a third of them at a local midnight or a moment beside it.
    pub(crate) fn instant(&mut self, from: Timestamp, until: Timestamp, zone: &TimeZone) -> Timestamp {
        let span = until.as_millisecond() - from.as_millisecond();
        let at = Timestamp::from_millisecond(from.as_millisecond() + self.below(span)).expect("between two others");
        if !self.percent(33) {
            return at;
        }
        let midnight = at.to_zoned(zone.clone()).start_of_day().expect("every day begins").timestamp();
        midnight + SignedDuration::from_millis(self.one(&[-1000, -1, 0, 1, 1000]))
    }
}

/// Says the seed when the case that it stands for fails.
pub(crate) struct Named {
    pub(crate) what: String,
    pub(crate) seed: u64,
}

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {} with the seed {:#x}", self.what, self.seed);
        }
    }
}

/// Zones in which days are odd: other halves and quarters of an hour, no midnight on one day of the year, or two.
pub(crate) const ZONES: [&str; 24] = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Lisbon",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Sao_Paulo",
    "America/Nuuk",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Gaza",
    "Asia/Seoul",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Antarctica/Troll",
];

/// The first instant at which the local date is later than a day, found by asking for the date at each hour and
/// then between two of them: not by any function that knows where days begin.
pub(crate) fn first_instant_after(day: jiff::civil::Date, zone: &TimeZone) -> Timestamp {
    let date_at = |second: i64| Timestamp::from_second(second).expect("in range").to_zoned(zone.clone()).date();
    // Noon in Greenwich is that day or the next one everywhere, and 26 hours before it is not later than that day anywhere.
    let noon = day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).expect("in range").timestamp().as_second();
    let (mut before, mut after) = (noon - 26 * 3600, noon - 26 * 3600 + 3600);
    while date_at(after) <= day {
        (before, after) = (after, after + 3600);
    }
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if date_at(middle) > day { after = middle } else { before = middle }
    }
    Timestamp::from_second(after).expect("in range")
}

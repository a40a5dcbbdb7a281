//! A lookout that knows weekends and no holidays, and how a test sweeps.

use crate::lab::Lab;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};
use redress_store::{Lookout, SweepOptions, Swept, WatchPlace};

/// Monday to Friday.
pub(crate) struct Weekdays;

fn local(place: &WatchPlace, at: Timestamp) -> Zoned {
    at.to_zoned(TimeZone::get(&place.timezone).expect("a zone"))
}

fn works(day: &Zoned) -> bool {
    !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday)
}

impl Lookout for Weekdays {
    fn business_days_after(&self, place: &WatchPlace, at: Timestamp, count: u8) -> Timestamp {
        if count == 0 {
            return at;
        }
        let mut day = local(place, at).start_of_day().expect("a day");
        let mut left = count;
        while left > 0 {
            day = day.tomorrow().expect("a day");
            left -= u8::from(works(&day));
        }
        day.timestamp()
    }

    fn silent_at(&self, place: &WatchPlace, since: Timestamp) -> Timestamp {
        self.business_days_after(place, since, 3)
    }

    fn next_morning(&self, place: &WatchPlace, after: Timestamp) -> Timestamp {
        let mut morning = local(place, after).with().time(jiff::civil::time(8, 0, 0, 0)).build().expect("a morning");
        while morning.timestamp() <= after || !works(&morning) {
            morning = morning.checked_add(1.day()).expect("a day");
        }
        morning.timestamp()
    }
}

/// Unix milliseconds as an instant.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("an instant")
}

/// Sweeps until nothing is due.
pub(crate) async fn sweep(lab: &Lab) -> Swept {
    let mut all = Swept::default();
    loop {
        let swept = lab.store.watch_due(&Weekdays, SweepOptions::default()).await.expect("swept");
        if swept.looked == 0 {
            return all;
        }
        all += swept;
    }
}

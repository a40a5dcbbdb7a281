//! The watch runs in every worker and sweeps each second: whichever is first sees what has come due, the others see that it is
//! seen. It knows the working days that reminders and digests are counted in.

use crate::engine::Engine;
use jiff::{SignedDuration, Timestamp};
use redress_domain::rules::{Place, Rules, Workdays};
use redress_domain::terms::Terms;
use redress_store::{Error, Lookout, SweepOptions, Swept, WatchPlace};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often is swept.
const SWEEP: Duration = Duration::from_secs(1);
/// Places whose working days are kept at hand.
const PLACES_MAX: usize = 10_000;

/// What the watch goes by.
#[derive(Debug)]
pub struct Watch {
    rules: Rules,
    digest_hour: i8,
    options: SweepOptions,
    places: Mutex<HashMap<WatchPlace, Arc<Workdays>>>,
}

impl Watch {
    /// A watch by these rules: a digest is sent at this full hour of a working day, and people of one route are told at once
    /// at most every `apart`.
    pub fn new(rules: Rules, digest_hour: i8, apart: Duration) -> Self {
        let options = SweepOptions { apart_ms: apart.as_millis() as i64, ..SweepOptions::default() };
        Self { rules, digest_hour, options, places: Mutex::default() }
    }

    fn workdays(&self, place: &WatchPlace) -> Arc<Workdays> {
        if let Some(known) = self.places.lock().expect("never held across a panic").get(place) {
            return known.clone();
        }
        let terms: Option<Arc<Terms>> =
            place.terms.as_deref().and_then(|text| serde_json::from_str(text).ok()).map(Arc::new);
        let calendar = terms.as_ref().and_then(|terms| terms.calendar.clone());
        let rules = self.rules.with_terms(terms);
        let there =
            Place { country: place.country.as_deref(), timezone: &place.timezone, calendar: calendar.as_deref() };
        let days = rules.workdays(&there).unwrap_or_else(|_| self.weekdays("UTC"));
        let days = Arc::new(days);
        let mut places = self.places.lock().expect("never held across a panic");
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert(place.clone(), days.clone());
        days
    }

    /// Working days without holidays, for a time that no calendar was made for.
    fn weekdays(&self, timezone: &str) -> Workdays {
        let nowhere = |timezone| Place { country: None, timezone, calendar: None };
        let plain = self.rules.with_terms(None);
        plain
            .workdays(&nowhere(timezone))
            .or_else(|_| plain.workdays(&nowhere("UTC")))
            .expect("UTC is a time zone and needs no calendar")
    }
}

impl Lookout for Watch {
    fn business_days_after(&self, place: &WatchPlace, at: Timestamp, count: u8) -> Timestamp {
        let count = u16::from(count);
        let found = self.workdays(place).start_of_business_day_after(at, count);
        found.or_else(|_| self.weekdays(&place.timezone).start_of_business_day_after(at, count)).unwrap_or_else(|_| {
            at.saturating_add(SignedDuration::from_hours(24 * i64::from(count))).unwrap_or(Timestamp::MAX)
        })
    }

    fn silent_at(&self, place: &WatchPlace, since: Timestamp) -> Timestamp {
        let count = self.rules.table.sla.early_warning_connector_silence_business_days;
        self.business_days_after(place, since, u8::try_from(count).unwrap_or(u8::MAX))
    }

    fn next_morning(&self, place: &WatchPlace, after: Timestamp) -> Timestamp {
        let found = self.workdays(place).next_morning(after, self.digest_hour);
        found
            .or_else(|_| self.weekdays(&place.timezone).next_morning(after, self.digest_hour))
            .unwrap_or_else(|_| after.saturating_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX))
    }
}

/// Sweeps until nothing is due.
///
/// # Errors
/// The database is away; what was swept before is recorded.
pub async fn sweep(engine: &Engine) -> Result<Swept, Error> {
    let mut all = Swept::default();
    loop {
        let swept = engine.store.watch_due(&engine.watch, engine.watch.options).await?;
        if swept.looked == 0 {
            return Ok(all);
        }
        all += swept;
    }
}

/// Sweeps each second until the shutdown; `messages` is told when there is something to send.
pub(crate) async fn run(engine: Arc<Engine>, messages: Arc<Notify>, stop: CancellationToken) {
    let mut troubled = false;
    while !stop.is_cancelled() {
        match engine.store.watch_due(&engine.watch, engine.watch.options).await {
            Ok(swept) => {
                troubled = false;
                if swept.notices > 0 {
                    tracing::info!(
                        notices = swept.notices,
                        messages = swept.messages,
                        "the watch made {} new notice(s)",
                        swept.notices
                    );
                }
                if swept.messages > 0 {
                    messages.notify_one();
                }
                if swept.looked > 0 {
                    continue;
                }
            }
            Err(error) => {
                if !troubled {
                    tracing::error!(%error, "the watch cannot sweep; it tries again until it can");
                }
                troubled = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redress_domain::calendar::CalendarSet;
    use redress_domain::regulation::RuleTable;

    fn watch() -> Watch {
        let table = RuleTable::parse(include_str!("../config/regulations.toml")).expect("the shipped table");
        Watch::new(Rules::new(table, CalendarSet::default()), 8, Duration::from_mins(1))
    }

    fn place(timezone: &str) -> WatchPlace {
        WatchPlace { country: None, timezone: timezone.into(), terms: None }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_digest_is_for_the_next_working_morning_there() {
        let watch = watch();
        let morning = |zone: &str, after: &str| watch.next_morning(&place(zone), at(after)).to_string();
        assert_eq!(morning("Europe/Berlin", "2028-03-22T06:59:59Z"), "2028-03-22T07:00:00Z");
        assert_eq!(morning("Europe/Berlin", "2028-03-22T07:00:00Z"), "2028-03-23T07:00:00Z");
        // Friday afternoon; on Sunday the clocks go forward.
        assert_eq!(morning("Europe/Berlin", "2028-03-24T15:00:00Z"), "2028-03-27T06:00:00Z");
        assert_eq!(morning("America/New_York", "2028-03-10T15:00:00Z"), "2028-03-13T12:00:00Z");
        assert_eq!(morning("Nowhere/Land", "2028-03-24T15:00:00Z"), "2028-03-27T08:00:00Z");
    }

    #[test]
    fn reminders_are_counted_in_business_days_from_local_midnight() {
        let watch = watch();
        let berlin = place("Europe/Berlin");
        let since = at("2028-03-24T15:00:00Z");
        assert_eq!(watch.business_days_after(&berlin, since, 0), since);
        assert_eq!(watch.business_days_after(&berlin, since, 2).to_string(), "2028-03-27T22:00:00Z");
        assert_eq!(watch.silent_at(&berlin, since).to_string(), "2028-03-28T22:00:00Z");
        let odd = WatchPlace { terms: Some("nonsense".into()), ..berlin };
        assert_eq!(watch.business_days_after(&odd, since, 2).to_string(), "2028-03-27T22:00:00Z");
    }
}

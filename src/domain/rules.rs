//! The rules are everything that dates follow from besides the request: the table, the calendars, and what was agreed with its controller.

use crate::RequestType;
use crate::calendar::{CalendarSet, HolidayCalendar, WorkingDays};
use crate::deadline::{DeadlineError, zone};
use crate::regulation::{DayName, Regulation, Rule, RuleTable};
use crate::terms::Terms;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil::Date};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The table and the calendars, and a controller's own terms if it has any.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Laws and contracts.
    pub table: Arc<RuleTable>,
    /// Public holidays.
    pub calendars: Arc<CalendarSet>,
    /// What was agreed with the controller.
    pub terms: Option<Arc<Terms>>,
}

/// Where a controller is, as far as its dates depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// ISO 3166-1.
    pub country: Option<&'a str>,
    /// IANA name.
    pub timezone: &'a str,
    /// Id of the calendar it chose.
    pub calendar: Option<&'a str>,
}

/// Names in the table for which the controller's own place decides, so that a calendar it chose counts there too.
const CHOSEN_BY_PLACE: [&str; 5] = ["tenant", "member-state-of-controller", "ch-canton", "uk-england-wales", "au-nsw"];
/// The holidays of the Member State in which the controller is (Regulation 1182/71, Art. 2(1)).
const MEMBER_STATE: &str = "member-state-of-controller";
/// The calendar of a contract that names none: that of the controller's country.
const TENANT: &str = "tenant";

impl Rules {
    /// Rules without a controller's own terms.
    pub fn new(table: RuleTable, calendars: CalendarSet) -> Self {
        Self { table: Arc::new(table), calendars: Arc::new(calendars), terms: None }
    }

    /// The same rules with what was agreed with a controller.
    #[must_use]
    pub fn with_terms(&self, terms: Option<Arc<Terms>>) -> Self {
        Self { table: self.table.clone(), calendars: self.calendars.clone(), terms }
    }

    /// The table's names of calendars that no file defines, for the check at the start.
    pub fn missing_calendars(&self) -> Vec<String> {
        let named =
            self.table.regulations.iter().filter(|law| Self::names_calendar(law)).map(|law| law.calendar.as_str());
        let named: BTreeSet<&str> = named.collect();
        named.into_iter().filter(|name| self.calendars.find(name).is_none()).map(str::to_owned).collect()
    }

    /// The rule of the contract for a request type, the contract's name for its basis, and the weekend it uses.
    pub fn contract(&self, request_type: RequestType) -> (&Rule, &str, &[DayName]) {
        let (contract, rule) = self.table.contract_rule(request_type).expect("checked in RuleTable::parse");
        match &self.terms {
            None => (rule, contract.legal_basis.as_str(), contract.weekend.as_slice()),
            Some(terms) => {
                let weekend = terms.weekend.as_deref().unwrap_or(&contract.weekend);
                match terms.rule_for(request_type) {
                    Some(own) => (own, terms.basis.as_deref().unwrap_or("the controller's own terms"), weekend),
                    None => (rule, contract.legal_basis.as_str(), weekend),
                }
            }
        }
    }

    /// Business days left to the controller between our answer and the law's deadline.
    pub fn buffer(&self) -> u16 {
        let own = self.terms.as_ref().and_then(|terms| terms.controller_buffer_business_days);
        own.unwrap_or(self.table.conventions.controller_buffer_business_days)
    }

    /// The calendar of a law for a controller at a place; none where only the place could tell, and does not.
    pub fn calendar_of_law(
        &self,
        law: &Regulation,
        place: &Place<'_>,
        jurisdiction: Option<&str>,
    ) -> Option<&Arc<HolidayCalendar>> {
        let named = if law.calendar == MEMBER_STATE {
            // A part of a Member State is in it: `DE-BY` has the holidays of `DE` unless the controller chose its calendar.
            let country = jurisdiction.and_then(|place| place.split('-').next());
            let state = [place.country, country].into_iter().flatten().find(|code| law.covers(code));
            state.and_then(|code| self.calendars.default_for(code))
        } else {
            self.calendars.find(&law.calendar)
        };
        let chosen = place.calendar.and_then(|id| self.calendars.find(id));
        // Of a frozen request the chosen calendar is kept and the one that it replaced is not, so the law's own places decide too.
        let counts = |chosen: &&Arc<HolidayCalendar>| {
            CHOSEN_BY_PLACE.contains(&law.calendar.as_str())
                && named.map_or_else(|| law.covers(&chosen.country), |c| c.country == chosen.country)
        };
        chosen.filter(counts).or(named)
    }

    /// Whether a law cannot be computed without the calendar that the table names for it, wherever the controller is.
    pub(crate) fn names_calendar(law: &Regulation) -> bool {
        ![MEMBER_STATE, TENANT].contains(&law.calendar.as_str())
    }

    /// The calendar of the contract for a controller at a place.
    pub fn calendar_of_contract(&self, place: &Place<'_>) -> Option<&Arc<HolidayCalendar>> {
        let chosen = place.calendar.and_then(|id| self.calendars.find(id));
        chosen.or_else(|| self.calendars.default_for(place.country?))
    }

    /// The working days of a controller: those of its contract.
    ///
    /// # Errors
    /// Its time zone does not exist.
    pub fn workdays(&self, place: &Place<'_>) -> Result<Workdays, DeadlineError> {
        let (_, _, weekend) = self.contract(RequestType::Access);
        let closed = self.terms.iter().flat_map(|terms| terms.closed.keys().copied());
        let days = WorkingDays::new(self.calendar_of_contract(place).map(|c| &**c), weekend, closed);
        Ok(Workdays { days, zone: zone(place.timezone)? })
    }
}

/// A controller's working days in its time zone.
#[derive(Debug, Clone)]
pub struct Workdays {
    days: WorkingDays,
    zone: TimeZone,
}

impl Workdays {
    /// The first instant of the `count`th working day after the local date of an instant; the instant itself for none.
    ///
    /// # Errors
    /// The calendar was not made for that time.
    pub fn start_of_business_day_after(&self, at: Timestamp, count: u16) -> Result<Timestamp, DeadlineError> {
        if count == 0 {
            return Ok(at);
        }
        let day = self.days.calendar().business_days_after(self.local_date(at), count)?;
        crate::deadline::day_start(day, &self.zone)
    }

    /// The next full hour of this number on a working day, strictly later than `after`. Where the clocks leave that hour out, the
    /// first instant after the gap.
    ///
    /// # Errors
    /// The calendar was not made for that time.
    pub fn next_morning(&self, after: Timestamp, hour: i8) -> Result<Timestamp, DeadlineError> {
        let calendar = self.days.calendar();
        let mut day = self.local_date(after);
        loop {
            let at =
                day.at(hour, 0, 0, 0).to_zoned(self.zone.clone()).map_err(|_| DeadlineError::OutOfRange)?.timestamp();
            if at > after && calendar.is_working_day(day)? {
                return Ok(at);
            }
            day = day.tomorrow().map_err(|_| DeadlineError::OutOfRange)?;
        }
    }

    /// The local date of an instant.
    pub fn local_date(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone.clone()).date()
    }

    /// The time zone.
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

//! A calendar says which days are working days, between the days for which it was made.

use super::DeadlineError;
use crate::regulation::{DayName, Period, Roll, Unit};
use jiff::Span;
use jiff::civil::Date;

/// Which days are working days.
#[derive(Debug, Clone, Copy)]
pub struct Calendar<'a> {
    /// Its name in sentences; empty for one that has none.
    pub name: &'a str,
    /// Days of the week that are never working days.
    pub weekend: &'a [DayName],
    /// Dates that are not working days.
    pub holidays: &'a [Date],
    /// Dates that are working days in spite of the weekend, as China's make-up days.
    pub extra_working_days: &'a [Date],
    /// The first and the last day that it was made for; none if it knows weekends only and is good for any day.
    pub made_for: Option<(Date, Date)>,
}

impl Calendar<'_> {
    /// Whether a day is neither weekend nor holiday.
    ///
    /// # Errors
    /// The calendar was not made for this day: nobody knows its holidays.
    pub fn is_working_day(&self, day: Date) -> Result<bool, DeadlineError> {
        match self.made_for {
            Some((first, last)) if day < first || last < day => {
                Err(DeadlineError::NoCalendar { calendar: self.name.to_owned(), day, first, last })
            }
            _ => Ok(self.is_open(day)),
        }
    }

    /// A day plus a period: months keep the day's number or take the month's last, business days count working days after it.
    pub fn add(&self, day: Date, period: Period) -> Result<Date, DeadlineError> {
        self.add_without(day, period, &[])
    }

    /// [`Calendar::add`], where some days do not count: days and months are lengthened by each of them, and none of them is a
    /// business day.
    pub fn add_without(&self, day: Date, period: Period, excluded: &[Date]) -> Result<Date, DeadlineError> {
        let amount = i64::from(period.amount());
        let span = match period.unit() {
            Unit::CalendarDays => Span::new().days(amount),
            Unit::CalendarMonths => Span::new().months(amount),
            Unit::BusinessDays => {
                return self.walk(day, period.amount(), Date::tomorrow, |day| !excluded.contains(&day));
            }
        };
        let count = i64::try_from(excluded.len()).map_err(|_| DeadlineError::OutOfRange)?;
        let plain = day.checked_add(span).map_err(|_| DeadlineError::OutOfRange)?;
        plain.checked_add(Span::new().days(count)).map_err(|_| DeadlineError::OutOfRange)
    }

    /// So many working days before a day.
    pub fn business_days_before(&self, day: Date, count: u16) -> Result<Date, DeadlineError> {
        self.walk(day, count, Date::yesterday, |_| true)
    }

    /// So many working days after a day.
    pub fn business_days_after(&self, day: Date, count: u16) -> Result<Date, DeadlineError> {
        self.walk(day, count, Date::tomorrow, |_| true)
    }

    /// Moves a day forward until the roll lets it stay.
    pub fn roll(&self, mut day: Date, roll: Roll) -> Result<Date, DeadlineError> {
        loop {
            let may_stay = match roll {
                Roll::None => true,
                Roll::NextWorkingDay => self.is_working_day(day)?,
                Roll::NextNonSundayNonHoliday => {
                    self.is_working_day(day)?;
                    DayName::from(day.weekday()) != DayName::Sun && !self.holidays.contains(&day)
                }
            };
            if may_stay {
                return Ok(day);
            }
            day = day.tomorrow().map_err(|_| DeadlineError::OutOfRange)?;
        }
    }

    /// The first day from which on at most `count` working days are left, up to and including `last` but without the day itself.
    pub(super) fn first_day_with_left(&self, last: Date, count: u16) -> Result<Date, DeadlineError> {
        // With the (count + 1)th working day from the end passed, `count` are left: today's own is never counted.
        let mut day = last;
        let mut left = 0;
        loop {
            left += u16::from(self.is_working_day(day)?);
            if left > count {
                return Ok(day);
            }
            day = day.yesterday().map_err(|_| DeadlineError::OutOfRange)?;
        }
    }

    /// Whether a day is a holiday and not only a day of the weekend.
    pub(super) fn is_holiday(&self, day: Date) -> bool {
        self.holidays.contains(&day)
    }

    fn is_open(&self, day: Date) -> bool {
        let is_weekend = self.weekend.contains(&DayName::from(day.weekday()));
        self.extra_working_days.contains(&day) || (!is_weekend && !self.holidays.contains(&day))
    }

    fn walk(
        &self,
        mut day: Date,
        count: u16,
        step: impl Fn(Date) -> Result<Date, jiff::Error>,
        counts: impl Fn(Date) -> bool,
    ) -> Result<Date, DeadlineError> {
        let mut left = count;
        while left > 0 {
            day = step(day).map_err(|_| DeadlineError::OutOfRange)?;
            left -= u16::from(self.is_working_day(day)? && counts(day));
        }
        Ok(day)
    }
}

//! A holiday calendar lists the days on which a place is closed by law, for the years it was made for.
//!
//! Calendars are files, one a country, read strictly; a set of them has one version, which every request freezes. The files are
//! made by `scripts/holidays` and reviewed; a day that a calendar was not made for is an error, never a guess.

use crate::deadline::Calendar;
use crate::regulation::DayName;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The one form of the files that this code reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The days on which one place is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HolidayCalendar {
    /// Stable id, in the manner of ISO 3166-2: `de`, `de-by`, `gb-sct`.
    pub id: String,
    /// Names by which the rule table knows it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What people read.
    pub name: String,
    /// ISO 3166 codes of places that use it unless they name another.
    #[serde(default)]
    pub default_for: Vec<String>,
    /// The first day it was made for.
    pub valid_from: Date,
    /// The last day it was made for.
    pub valid_until: Date,
    /// Days of the weekend on which people work.
    #[serde(default)]
    pub extra_working_days: Vec<Date>,
    /// Each closed day with its name, in order.
    pub days: BTreeMap<Date, String>,
    /// ISO 3166-1 code of its country; that of its file.
    #[serde(default)]
    pub country: String,
}

/// Every calendar, under one version.
#[derive(Debug, Clone, Default)]
pub struct CalendarSet {
    /// What a request freezes, such as `2026-11-22.1`.
    pub version: String,
    calendars: BTreeMap<String, Arc<HolidayCalendar>>,
}

/// What is wrong with a calendar file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {detail}")]
pub struct CalendarFault {
    /// The file.
    pub file: String,
    /// What is wrong in it, and where.
    pub detail: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    schema_version: u32,
    version: String,
    #[expect(dead_code, reason = "for people; reading it checks that it is a date")]
    as_of: Date,
    files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    country: String,
    #[expect(dead_code, reason = "for people; reading it checks that it is there")]
    source: String,
    #[expect(dead_code, reason = "for people; reading it checks that it is there")]
    source_url: String,
    #[serde(rename = "calendar")]
    calendars: Vec<HolidayCalendar>,
}

/// The name of the file that lists the others.
pub const INDEX: &str = "index.toml";

impl CalendarSet {
    /// Reads a set: `files` gives the text of a file by its name, the first of them [`INDEX`].
    ///
    /// # Errors
    /// The file and the place of the first thing that is wrong.
    pub fn read(files: impl Fn(&str) -> Option<String>) -> Result<Self, CalendarFault> {
        let index: Index = read_file(&files, INDEX)?;
        let fault = |file: &str, detail: String| CalendarFault { file: file.to_owned(), detail };
        known_schema(INDEX, index.schema_version)?;
        if index.version.trim().is_empty() {
            return Err(fault(INDEX, "version: is empty, and every request freezes it".to_owned()));
        }
        let mut set = Self { version: index.version, calendars: BTreeMap::new() };
        let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
        for name in &index.files {
            let file: File = read_file(&files, name)?;
            known_schema(name, file.schema_version)?;
            for mut calendar in file.calendars {
                if !calendar.country.is_empty() {
                    let detail = format!("calendar {}: country: is that of the file; leave it out here", calendar.id);
                    return Err(fault(name, detail));
                }
                calendar.country.clone_from(&file.country);
                calendar.check().map_err(|detail| fault(name, format!("calendar {}: {detail}", calendar.id)))?;
                let taken = |field: &str, claim: &str| {
                    fault(name, format!("calendar {}: {field}: {claim} is that of another already", calendar.id))
                };
                let ids = std::iter::once(("id", &calendar.id)).chain(calendar.aliases.iter().map(|a| ("aliases", a)));
                for (field, claim) in ids {
                    if !names.insert(claim.clone()) {
                        return Err(taken(field, claim));
                    }
                }
                for place in &calendar.default_for {
                    if !places.insert(place.to_ascii_uppercase()) {
                        return Err(taken("default_for", place));
                    }
                }
                set.calendars.insert(calendar.id.clone(), Arc::new(calendar));
            }
        }
        Ok(set)
    }

    /// A set of some calendars of another one: those that a request has frozen.
    pub fn of(version: String, calendars: impl IntoIterator<Item = HolidayCalendar>) -> Self {
        let calendars = calendars.into_iter().map(|calendar| (calendar.id.clone(), Arc::new(calendar))).collect();
        Self { version, calendars }
    }

    /// The calendar of this id or alias.
    pub fn find(&self, name: &str) -> Option<&Arc<HolidayCalendar>> {
        self.calendars.get(name).or_else(|| self.iter().find(|c| c.aliases.iter().any(|alias| alias == name)))
    }

    /// The calendar of a place that names none.
    pub fn default_for(&self, place: &str) -> Option<&Arc<HolidayCalendar>> {
        let is_default = |c: &&Arc<HolidayCalendar>| c.default_for.iter().any(|code| code.eq_ignore_ascii_case(place));
        self.iter().find(is_default)
    }

    /// Every calendar, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HolidayCalendar>> {
        self.calendars.values()
    }
}

fn read_file<T: for<'de> Deserialize<'de>>(
    files: impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<T, CalendarFault> {
    let fault = |detail| CalendarFault { file: name.to_owned(), detail };
    let text = files(name).ok_or_else(|| fault("is not there, or is not text".to_owned()))?;
    toml::from_str(&text).map_err(|error| fault(placed(&text, &error)))
}

/// A fault of form in one line: the number of the line, what stands there, and what is wrong with it.
pub fn placed(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    let Some(start) = error.span().map(|span| span.start) else { return message };
    let number = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default().trim();
    // What the file as a whole lacks has no line.
    if line.is_empty() { message } else { format!("line {number}: {line}: {message}") }
}

fn known_schema(file: &str, found: u32) -> Result<(), CalendarFault> {
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let detail = format!("schema_version: is {found}, and {SCHEMA_VERSION} is what this version reads");
    Err(CalendarFault { file: file.to_owned(), detail })
}

impl HolidayCalendar {
    /// What a computation needs of it.
    pub fn closed_days(&self) -> Vec<Date> {
        self.days.keys().copied().collect()
    }

    fn check(&self) -> Result<(), String> {
        let word = |text: &String| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !word(&self.id) {
            return Err(format!("id: {:?} must be made of a-z, 0-9 and -", self.id));
        }
        if let Some(name) = self.aliases.iter().find(|name| !word(name)) {
            return Err(format!("aliases: {name:?} must be made of a-z, 0-9 and -"));
        }
        if self.country.len() != 2 || !self.country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(format!("country: {:?} is no code of ISO 3166-1, such as DE", self.country));
        }
        let elsewhere = |place: &&String| place.split('-').next() != Some(&self.country);
        if let Some(place) = self.default_for.iter().find(elsewhere) {
            return Err(format!("default_for: {place} does not lie in {}, the country of the file", self.country));
        }
        if self.valid_until < self.valid_from {
            return Err("valid_until: lies before valid_from".to_owned());
        }
        let outside = |day: &&Date| **day < self.valid_from || self.valid_until < **day;
        for (field, outside) in [
            ("days", self.days.keys().find(outside)),
            ("extra_working_days", self.extra_working_days.iter().find(outside)),
        ] {
            if let Some(day) = outside {
                return Err(format!("{field}: {day} lies outside valid_from and valid_until"));
            }
        }
        if let Some(day) = self.extra_working_days.iter().find(|day| self.days.contains_key(day)) {
            return Err(format!("extra_working_days: {day} is a holiday too"));
        }
        Ok(())
    }
}

/// Working days as one rule counts them: a calendar, the days that a contract adds to it, and a weekend.
#[derive(Debug, Clone)]
pub struct WorkingDays {
    /// What it is called in sentences.
    pub name: String,
    weekend: Vec<DayName>,
    closed: Vec<Date>,
    extra: Vec<Date>,
    made_for: Option<(Date, Date)>,
}

impl WorkingDays {
    /// Working days after a calendar, or after the weekend alone where no calendar is known.
    pub fn new(
        calendar: Option<&HolidayCalendar>,
        weekend: &[DayName],
        closed: impl IntoIterator<Item = Date>,
    ) -> Self {
        let mut days: Vec<Date> = calendar.map(HolidayCalendar::closed_days).unwrap_or_default();
        let mut extra = calendar.map(|c| c.extra_working_days.clone()).unwrap_or_default();
        for day in closed {
            // Who is closed does not work on a day that others make up for.
            extra.retain(|worked| *worked != day);
            days.push(day);
        }
        Self {
            name: calendar.map_or_else(|| "weekends only".to_owned(), |c| c.id.clone()),
            weekend: weekend.to_vec(),
            closed: days,
            extra,
            made_for: calendar.map(|c| (c.valid_from, c.valid_until)),
        }
    }

    /// The form in which dates are computed.
    pub fn calendar(&self) -> Calendar<'_> {
        Calendar {
            name: &self.name,
            weekend: &self.weekend,
            holidays: &self.closed,
            extra_working_days: &self.extra,
            made_for: self.made_for,
        }
    }
}

#[cfg(test)]
mod tests;

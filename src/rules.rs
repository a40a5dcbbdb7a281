//! The rules in use are the table of regulations and the holiday calendars of this process: those built in, or the files that the
//! configuration names.

use crate::config::Config;
use anyhow::{Context as _, Result, bail};
use jiff::Span;
use jiff::civil::Date;
use redress_domain::calendar::{CalendarSet, INDEX, placed};
use redress_domain::deadline::Deadlines;
use redress_domain::regulation::{RuleTable, TableFault};
use redress_domain::rules::Rules;
use redress_domain::terms::Terms;
use redress_store::{BookKind, Books, Controller, Store};
use std::path::Path;
use std::sync::Arc;

/// An extended request of today is due within this time.
const CALENDAR_AHEAD_DAYS: i64 = 120;
/// The table of regulations, as it is shipped.
pub const TABLE: &str = include_str!("../config/regulations.toml");
/// The holiday calendars, as they are shipped: name and text of each file.
pub const HOLIDAYS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/holidays.rs"));

/// The rules that new requests are computed by.
#[derive(Debug, Clone)]
pub struct RulesInUse {
    /// The table and the calendars.
    pub rules: Rules,
    table_text: Arc<str>,
}

impl RulesInUse {
    /// Those that are built in.
    ///
    /// # Errors
    /// Never for a build that passed its tests.
    pub fn built_in() -> Result<Self> {
        Self::read(None, None)
    }

    /// Those that the configuration names, else those that are built in.
    ///
    /// # Errors
    /// A file cannot be read or breaks the form; the text names file, place and field.
    pub fn load(config: &Config) -> Result<Self> {
        Self::read(config.deadlines.regulations_file.as_deref(), config.deadlines.calendars_dir.as_deref())
    }

    /// Reads a table and a folder of calendars; what is not named is built in.
    ///
    /// # Errors
    /// A file cannot be read or breaks the form; the text names file, place and field.
    pub fn read(table: Option<&Path>, calendars: Option<&Path>) -> Result<Self> {
        let (name, text) = match table {
            None => ("config/regulations.toml".to_owned(), TABLE.to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
                (name, text)
            }
        };
        let table = RuleTable::parse(&text).map_err(|fault| match fault {
            TableFault::Syntax(error) => anyhow::anyhow!("{name}: {}", placed(&text, &error)),
            fault => anyhow::anyhow!("{name}: {fault}"),
        })?;
        let set = match calendars {
            None => {
                let built_in =
                    |name: &str| HOLIDAYS.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned());
                CalendarSet::read(built_in)?
            }
            Some(folder) => {
                unlisted(folder)?;
                let read = CalendarSet::read(|name| std::fs::read_to_string(folder.join(name)).ok());
                read.with_context(|| format!("the calendars in {}", folder.display()))?
            }
        };
        let rules = Rules::new(table, set);
        let missing = rules.missing_calendars();
        if !missing.is_empty() {
            bail!("{name} names calendars that no file defines as id or alias: {}", missing.join(", "));
        }
        Ok(Self { rules, table_text: text.into() })
    }

    /// The rules for a controller: with what was agreed with it.
    ///
    /// # Errors
    /// Its terms in the database are not of the form this version reads.
    pub fn for_controller(&self, controller: &Controller) -> Result<Rules, serde_json::Error> {
        let terms = controller.terms.as_deref().map(serde_json::from_str::<Terms>).transpose()?;
        Ok(self.rules.with_terms(terms.map(Arc::new)))
    }

    /// Checks what a file says was agreed with a controller against the calendars that are there.
    ///
    /// # Errors
    /// The calendar that it chooses is unknown; the known ones of that country are named.
    pub fn check_terms(&self, terms: Option<&str>) -> Result<()> {
        let Some(text) = terms else { return Ok(()) };
        let terms: Terms = serde_json::from_str(text).context("terms")?;
        match terms.calendar.and_then(|id| self.unknown_calendar(&id)) {
            Some(detail) => bail!("terms.calendar: {detail}"),
            None => Ok(()),
        }
    }

    /// The calendars in use by default that end while extended requests of this day are still open, with their last day.
    pub fn ending_calendars(&self, today: Date) -> Vec<(String, Date)> {
        let needed = today.checked_add(Span::new().days(CALENDAR_AHEAD_DAYS)).unwrap_or(Date::MAX);
        let ending = self.rules.calendars.iter().filter(|c| !c.default_for.is_empty() && c.valid_until < needed);
        ending.map(|c| (c.id.clone(), c.valid_until)).collect()
    }

    /// What to say of a calendar that nobody defined, with the known ones of its country; nothing of a known one.
    pub fn unknown_calendar(&self, id: &str) -> Option<String> {
        let calendars = &self.rules.calendars;
        if calendars.find(id).is_some() {
            return None;
        }
        let country = id.split('-').next().unwrap_or_default();
        let near: Vec<&str> =
            calendars.iter().filter(|c| c.country.eq_ignore_ascii_case(country)).map(|c| c.id.as_str()).collect();
        let of_countries = || {
            let whole = calendars.iter().filter(|c| c.default_for.contains(&c.country));
            whole.map(|c| c.id.as_str()).collect::<Vec<&str>>()
        };
        let known = if near.is_empty() { of_countries() } else { near };
        Some(format!("no calendar is called {id}; known: {}", known.join(", ")))
    }

    /// Keeps the books that these dates were computed by.
    ///
    /// # Errors
    /// The database is away, or a book has changed under the same version.
    pub async fn keep(
        &self,
        store: &Store,
        controller: &Controller,
        dates: &Deadlines,
    ) -> Result<Books, redress_store::Error> {
        let version = &self.rules.calendars.version;
        let mut calendars = Vec::new();
        for id in &dates.calendars {
            // What has no calendar counts weekends only, and that is in the table.
            let Some(calendar) = self.rules.calendars.find(id) else { continue };
            let body = serde_json::json!(**calendar).to_string();
            calendars.push(store.keep_book(BookKind::Calendar, id, version, &body).await?);
        }
        let terms = match (&controller.terms, &dates.terms_version) {
            (Some(text), Some(version)) => {
                Some(store.keep_book(BookKind::Terms, controller.id.as_str(), version, text).await?)
            }
            _ => None,
        };
        Ok(Books { regulations: self.keep_table(store).await?, calendars, calendar_version: version.clone(), terms })
    }

    /// Keeps the table; done at the start, so that a table that changed under its version is found before any request.
    ///
    /// # Errors
    /// The database is away, or the table has changed under the same version.
    pub async fn keep_table(&self, store: &Store) -> Result<String, redress_store::Error> {
        store.keep_book(BookKind::Regulations, "", &self.rules.table.version, &self.table_text).await
    }
}

/// Refuses a folder in which a calendar lies that its index does not list: nobody would notice that it does not count.
fn unlisted(folder: &Path) -> Result<()> {
    let index = std::fs::read_to_string(folder.join(INDEX)).unwrap_or_default();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_calendar = Path::new(&name).extension().is_some_and(|extension| extension == "toml") && name != INDEX;
        if is_calendar && !index.contains(&format!("\"{name}\"")) {
            bail!("{}: {name} lies there, but {INDEX} does not list it under files", folder.display());
        }
    }
    Ok(())
}

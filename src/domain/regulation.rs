//! A regulation is a law or a contract that says by when a request must be answered; the rule table holds all of them
//! under one version, which every request freezes when its deadlines are computed.
//!
//! The table is read strictly: an unknown key, spelling, zone or a second rule for the same request type is a fault of
//! the file. Fields that no computation uses yet (notes, sources, other readings) are kept, because people see them.

mod choice;
mod raw;

pub use choice::{Choice, ChoiceError, ChosenBy};
pub use raw::{ExtensionBasis, NoticeWithin};

use crate::RequestType;
use crate::words::spelled;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The one form of the table that this code reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The contract that binds the processor where no other was agreed.
pub const DEFAULT_CONTRACT: &str = "CONTRACT-DEFAULT";

/// Every regulation, the conventions they share, and the thresholds of the bands, under one version.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleTable {
    /// The form of the file.
    pub schema_version: u32,
    /// What a request freezes, such as `2026-11-21.1`.
    #[serde(rename = "table_version")]
    pub version: String,
    /// The day on which the sources were read.
    pub as_of: Date,
    /// What all rules share.
    pub conventions: Conventions,
    /// When an open request is at risk.
    pub sla: Sla,
    #[serde(rename = "enums")]
    spellings: Spellings,
    /// Laws and contracts, in the order of the file.
    #[serde(rename = "regulation")]
    pub regulations: Vec<Regulation>,
}

/// What all rules share: the sentences that the arithmetic of [`crate::deadline`] follows, and the buffer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field holds the sentence that explains it")]
pub struct Conventions {
    pub day_zero: String,
    pub due_instant: String,
    pub extension_basis: String,
    pub extension_validity: String,
    pub late_pause: String,
    pub pause_mode_none: String,
    pub pause_mode_reset: String,
    pub pause_mode_exclude_inclusive: String,
    pub pause_mode_suspend: String,
    pub pause_opt_in: String,
    pub roll_next_working_day: String,
    pub roll_next_non_sunday_non_holiday: String,
    pub roll_none: String,
    pub request_clock_owner: String,
    pub effective_due: String,
    /// Business days left to the controller between our answer and the law's deadline.
    pub controller_buffer_business_days: u16,
}

/// Thresholds on the effective due date.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sla {
    /// By when the processor wants to be done.
    pub internal_target: Period,
    /// At risk with this many business days left, or fewer.
    pub at_risk_business_days_left: u16,
    /// Critical with this many business days left, or fewer.
    pub critical_business_days_left: u16,
    /// At risk when this part of the time has passed.
    pub at_risk_elapsed_percent: u8,
    /// A connected system that is silent for so long is reported.
    pub early_warning_connector_silence_business_days: u16,
    /// So long before the due date the controller decides about an extension.
    pub extension_decision_business_days_before_due: u16,
}

/// The spellings that the file's author believed in; parsing them as our types finds those we do not know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spellings {
    units: Vec<Unit>,
    pause_kinds: Vec<PauseKind>,
    pause_modes: Vec<PauseMode>,
    rolls: Vec<Roll>,
    clock_starts: Vec<ClockStart>,
    confidence: Vec<Confidence>,
}

/// One law, or one kind of contract.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regulation {
    /// Stable id, such as `EU-GDPR`.
    pub id: String,
    /// Its full name.
    pub name: String,
    /// Whom it binds.
    pub role: Role,
    /// ISO 3166 codes, `EU`, `EEA`, or `*` for a contract.
    pub jurisdictions: Vec<String>,
    /// The zone of its dates where the controller's own does not apply.
    #[serde(rename = "default_tz")]
    pub default_timezone: String,
    /// Name of the holiday calendar that its business days and rolls follow.
    pub calendar: String,
    /// Days that are never working days.
    pub weekend: Vec<DayName>,
    /// Articles and sections.
    pub legal_basis: String,
    /// Whether it binds already.
    pub status: Status,
    /// Since when, or from when.
    pub effective: Option<Date>,
    /// How sure the research is.
    pub confidence: Confidence,
    /// How long the request itself must or may be kept.
    pub dsr_record_retention: Option<String>,
    /// For people.
    pub notes: Option<String>,
    /// Where it was read.
    #[serde(default)]
    pub source_urls: Vec<String>,
    /// At most one for each request type.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

/// By when requests of some types must be answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Stable id, such as `eu-gdpr.all`.
    pub id: String,
    /// Request types, among them some that this product does not take as requests (`appeal`, `opt_out_sale` …).
    pub request_types: Vec<String>,
    /// What starts its clock.
    pub clock_start: ClockStart,
    /// Whether the day of the start counts.
    pub first_day: FirstDay,
    /// The time to answer.
    pub due: Period,
    /// The time to acknowledge.
    pub ack: Option<Period>,
    /// How the time to answer may grow.
    pub extension: Option<Extension>,
    /// What waiting does to the clock.
    #[serde(default)]
    pub pause: PauseModes,
    /// For these types waiting does something only if the controller chose so.
    #[serde(default)]
    pub pause_opt_in_request_types: Vec<String>,
    /// Whether a pause also moves the last day for the notice of an extension.
    #[serde(default)]
    pub pause_shifts_extension_notice: bool,
    /// What happens where the month has no such day.
    pub month_end: MonthEnd,
    /// What happens where the last day is not a working day.
    pub roll: Roll,
    /// The law that would allow a roll we do not use.
    pub roll_permitted_by: Option<String>,
    /// A policy value, not a date of the law.
    #[serde(default)]
    pub soft_deadline: bool,
    /// Silence counts as a refusal.
    #[serde(default)]
    pub deemed_refusal: bool,
    /// Time to carry out what was decided in time.
    pub execute_after_decision: Option<Period>,
    /// How sure the research is.
    pub confidence: Confidence,
    /// How else the law is read.
    pub alt_reading: Option<String>,
    /// For people.
    pub notes: Option<String>,
}

/// A length of time in days or months, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "raw::RawPeriod")]
pub struct Period {
    amount: u16,
    unit: Unit,
}

/// How the time to answer may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "raw::RawExtension")]
pub enum Extension {
    /// By a fixed time, counted from the start of the clock, if notice is given before the first due date.
    Fixed {
        /// How much is added to the time to answer.
        by: Period,
        /// How often.
        max_times: u8,
    },
    /// To a date that the notice itself names.
    OpenEnded,
}

/// What waiting for something does to the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseModes {
    /// For proof of identity.
    pub identity: PauseMode,
    /// For the person's answer about what they mean.
    pub clarification: PauseMode,
    /// For a fee.
    pub fee: PauseMode,
    /// For the controller.
    pub controller: PauseMode,
}

impl Default for PauseModes {
    fn default() -> Self {
        let none = PauseMode::None;
        Self { identity: none, clarification: none, fee: none, controller: none }
    }
}

spelled! {
    /// What a [`Period`] counts.
    Unit {
        /// Every day.
        CalendarDays = "calendar_days",
        /// Days that are neither weekend nor holiday.
        BusinessDays = "business_days",
        /// The same day of a later month, or that month's last.
        CalendarMonths = "calendar_months",
    }
}

spelled! {
    /// What a clock may wait for.
    PauseKind {
        /// Proof of identity.
        Identity = "identity",
        /// The person's answer about what they mean.
        Clarification = "clarification",
        /// A fee.
        Fee = "fee",
        /// The controller.
        Controller = "controller",
    }
}

spelled! {
    /// What waiting does to the clock.
    PauseMode {
        /// It is recorded and the clock runs on.
        None = "none",
        /// Day 0 becomes the day on which the awaited item came.
        Reset = "reset",
        /// No day from asked to answered is counted, both included.
        ExcludeInclusive = "exclude_inclusive",
        /// No day after the asking is counted, up to and including the answer's.
        Suspend = "suspend",
    }
}

spelled! {
    /// Where a due date goes that is not a working day.
    Roll {
        /// Nowhere: the cautious reading.
        None = "none",
        /// To the next day that is neither weekend nor holiday.
        NextWorkingDay = "next_working_day",
        /// To the next day that is neither Sunday nor holiday.
        NextNonSundayNonHoliday = "next_non_sunday_non_holiday",
    }
}

spelled! {
    /// The event that starts a clock.
    ClockStart {
        /// The controller received the request.
        RequestReceived = "request_received",
        /// The latest of request, proof of identity and fee (UK GDPR Art. 12A).
        RelevantTime = "relevant_time",
        /// The processor received the controller's instruction.
        InstructionReceived = "instruction_received",
        /// An appeal was received.
        AppealReceived = "appeal_received",
        /// A complaint was received.
        ComplaintReceived = "complaint_received",
        /// The contract with the controller ended.
        ContractTerminated = "contract_terminated",
        /// A person wrote to the processor.
        DataSubjectContactReceived = "data_subject_contact_received",
        /// A deletion was fetched from California's DROP.
        DropRequestRetrieved = "drop_request_retrieved",
    }
}

spelled! {
    /// How sure the research is.
    Confidence {
        /// Read in the law or the regulator's own words.
        High = "high",
        /// Read in secondary sources.
        Medium = "medium",
        /// To be confirmed by the controller's counsel; a policy target until then.
        Low = "low",
    }
}

spelled! {
    /// Whom a regulation binds.
    Role {
        /// The controller, by law.
        ControllerStatutory = "controller_statutory",
        /// The processor, by contract.
        ProcessorContract = "processor_contract",
    }
}

spelled! {
    /// Whether a regulation binds already.
    Status {
        /// It does.
        InForce = "in_force",
        /// From its `effective` date.
        NotYetInForce = "not_yet_in_force",
    }
}

spelled! {
    /// Whether the day of the start counts.
    FirstDay {
        /// It is day 0.
        Excluded = "excluded",
    }
}

spelled! {
    /// What happens where a month has no such day.
    MonthEnd {
        /// Its last day is taken.
        ClampLastDay = "clamp_last_day",
    }
}

spelled! {
    /// A day of the week.
    DayName {
        /// Monday.
        Mon = "mon",
        /// Tuesday.
        Tue = "tue",
        /// Wednesday.
        Wed = "wed",
        /// Thursday.
        Thu = "thu",
        /// Friday.
        Fri = "fri",
        /// Saturday.
        Sat = "sat",
        /// Sunday.
        Sun = "sun",
    }
}

/// Why a rule table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableFault {
    /// Not TOML, or not the keys and values of a rule table.
    #[error("the rule table is not well formed")]
    Syntax(#[from] toml::de::Error),
    /// A form of the table that this version does not read.
    #[error("the rule table has schema version {found}, and {SCHEMA_VERSION} is what this version reads")]
    Schema {
        /// The version in the file.
        found: u32,
    },
    /// The file's list of spellings lacks some that the code gives a meaning.
    #[error("the list enums.{list} of the rule table is not the one this version knows")]
    Spellings {
        /// The list.
        list: &'static str,
    },
    /// Two regulations, or two rules, of one id.
    #[error("{id} is in the rule table twice")]
    Duplicate {
        /// That id.
        id: String,
    },
    /// Two rules of one regulation for the same type: nobody could say which counts.
    #[error("{regulation} has two rules for {request_type}")]
    Ambiguous {
        /// The regulation.
        regulation: String,
        /// The request type.
        request_type: String,
    },
    /// A time zone that does not exist.
    #[error("{regulation} has an unknown time zone, {zone}")]
    Zone {
        /// The regulation.
        regulation: String,
        /// The zone.
        zone: String,
    },
    /// No day of the week is a working day.
    #[error("{regulation} has no working day")]
    NoWorkingDay {
        /// The regulation.
        regulation: String,
    },
    /// Something comes into force on no date.
    #[error("{regulation} is not yet in force and has no effective date")]
    NoEffectiveDate {
        /// The regulation.
        regulation: String,
    },
    /// The contract that binds where nothing else was agreed is missing or does not cover a request type.
    #[error("{DEFAULT_CONTRACT} has no rule for {request_type}")]
    NoContract {
        /// The request type.
        request_type: RequestType,
    },
}

impl RuleTable {
    /// Reads a table, strictly.
    pub fn parse(text: &str) -> Result<Self, TableFault> {
        let table: Self = toml::from_str(text)?;
        if table.schema_version != SCHEMA_VERSION {
            return Err(TableFault::Schema { found: table.schema_version });
        }
        table.spellings.check()?;
        let mut ids = BTreeSet::new();
        for regulation in &table.regulations {
            regulation.check()?;
            for id in std::iter::once(&regulation.id).chain(regulation.rules.iter().map(|rule| &rule.id)) {
                if !ids.insert(id) {
                    return Err(TableFault::Duplicate { id: id.clone() });
                }
            }
        }
        for request_type in RequestType::ALL.iter().copied() {
            if table.contract_rule(request_type).is_none() {
                return Err(TableFault::NoContract { request_type });
            }
        }
        Ok(table)
    }

    /// The regulation of this id, law or contract.
    pub fn regulation(&self, id: &str) -> Option<&Regulation> {
        self.regulations.iter().find(|regulation| regulation.id == id)
    }

    /// The rule of this id, and the regulation it belongs to.
    pub fn rule(&self, id: &str) -> Option<(&Regulation, &Rule)> {
        self.regulations.iter().find_map(|regulation| {
            let rule = regulation.rules.iter().find(|rule| rule.id == id)?;
            Some((regulation, rule))
        })
    }

    /// The rule of the processor's contract for a request type, and that contract. Every type has one.
    pub fn contract_rule(&self, request_type: RequestType) -> Option<(&Regulation, &Rule)> {
        let contract = self.regulation(DEFAULT_CONTRACT).filter(|found| found.role == Role::ProcessorContract)?;
        Some((contract, contract.rule_for(request_type)?))
    }
}

impl Regulation {
    /// The rule for a request type, if this regulation has one.
    pub fn rule_for(&self, request_type: RequestType) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.request_types.iter().any(|name| name == request_type.as_str()))
    }

    /// Whether it binds on a day. A law in force has no earlier form in the table: its rules are used for every day.
    pub fn binds_on(&self, day: Date) -> bool {
        match self.status {
            Status::InForce => true,
            Status::NotYetInForce => self.effective.is_some_and(|from| from <= day),
        }
    }

    fn check(&self) -> Result<(), TableFault> {
        let regulation = || self.id.clone();
        if TimeZone::get(&self.default_timezone).is_err() {
            return Err(TableFault::Zone { regulation: regulation(), zone: self.default_timezone.clone() });
        }
        if DayName::ALL.iter().all(|day| self.weekend.contains(day)) {
            return Err(TableFault::NoWorkingDay { regulation: regulation() });
        }
        if self.status == Status::NotYetInForce && self.effective.is_none() {
            return Err(TableFault::NoEffectiveDate { regulation: regulation() });
        }
        let mut seen = BTreeSet::new();
        for request_type in self.rules.iter().flat_map(|rule| &rule.request_types) {
            if !seen.insert(request_type) {
                return Err(TableFault::Ambiguous { regulation: regulation(), request_type: request_type.clone() });
            }
        }
        Ok(())
    }
}

impl Rule {
    /// Whether a person must be told that this is a target of policy, not yet a date of the law.
    pub fn is_policy_target(&self) -> bool {
        self.soft_deadline || self.confidence == Confidence::Low
    }
}

impl Period {
    /// A period, unless the amount is zero.
    pub const fn new(amount: u16, unit: Unit) -> Option<Self> {
        if amount == 0 { None } else { Some(Self { amount, unit }) }
    }

    /// How many.
    pub const fn amount(self) -> u16 {
        self.amount
    }

    /// Of what.
    pub const fn unit(self) -> Unit {
        self.unit
    }
}

impl std::fmt::Display for Period {
    /// In words: `1 calendar month`, `30 business days`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = match self.unit {
            Unit::CalendarDays => "calendar day",
            Unit::BusinessDays => "business day",
            Unit::CalendarMonths => "calendar month",
        };
        write!(f, "{} {one}{}", self.amount, if self.amount == 1 { "" } else { "s" })
    }
}

impl PauseModes {
    /// What waiting for this does.
    pub const fn of(self, kind: PauseKind) -> PauseMode {
        match kind {
            PauseKind::Identity => self.identity,
            PauseKind::Clarification => self.clarification,
            PauseKind::Fee => self.fee,
            PauseKind::Controller => self.controller,
        }
    }
}

impl From<Weekday> for DayName {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => DayName::Mon,
            Weekday::Tuesday => DayName::Tue,
            Weekday::Wednesday => DayName::Wed,
            Weekday::Thursday => DayName::Thu,
            Weekday::Friday => DayName::Fri,
            Weekday::Saturday => DayName::Sat,
            Weekday::Sunday => DayName::Sun,
        }
    }
}

impl Spellings {
    fn check(&self) -> Result<(), TableFault> {
        fn same<T: Ord + Copy>(list: &'static str, found: &[T], all: &[T]) -> Result<(), TableFault> {
            let sorted = |of: &[T]| of.iter().copied().collect::<BTreeSet<T>>();
            if sorted(found) == sorted(all) { Ok(()) } else { Err(TableFault::Spellings { list }) }
        }
        same("units", &self.units, Unit::ALL)?;
        same("pause_kinds", &self.pause_kinds, PauseKind::ALL)?;
        same("pause_modes", &self.pause_modes, PauseMode::ALL)?;
        same("rolls", &self.rolls, Roll::ALL)?;
        same("clock_starts", &self.clock_starts, ClockStart::ALL)?;
        same("confidence", &self.confidence, Confidence::ALL)
    }
}

#[cfg(test)]
mod tests;

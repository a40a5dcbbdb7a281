//! A deadline is the last day on which an answer still counts, and the first instant that is too late: that of the
//! next local day in the rule's time zone.
//!
//! Two clocks run. The contract's starts when the controller's instruction reached the processor; the law's starts when
//! the person's request reached the controller. Work is planned by the effective one: the earlier of the contract's due
//! date and the law's less a buffer for the controller.
//!
//! Not here yet: pauses and extensions. [`crate::regulation`] already reads what the rules say about them, and
//! [`ClockDates::extension_notice_by`] is the day until which an extension can be told.

use crate::RequestType;
use crate::regulation::{
    Choice, ChoiceError, ChosenBy, ClockStart, DayName, FirstDay, MonthEnd, Period, Regulation, Roll, Rule, RuleTable,
    Sla, Unit, optional_text, text,
};
use crate::words::spelled;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize, Serializer};

/// What a request's deadlines depend on.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineInput<'a> {
    /// The right that is used.
    pub request_type: RequestType,
    /// Id of a law, if the request names one.
    pub regulation: Option<&'a str>,
    /// ISO 3166 code, if the request names one.
    pub jurisdiction: Option<&'a str>,
    /// Where the controller is established, ISO 3166-1.
    pub controller_country: Option<&'a str>,
    /// The controller's time zone, IANA name.
    pub controller_timezone: &'a str,
    /// When the person's request reached the controller, if known.
    pub data_subject_received_at: Option<Timestamp>,
    /// When the controller's instruction reached the processor.
    pub instruction_received_at: Timestamp,
    /// Public holidays at the controller's place.
    pub holidays: &'a [Date],
}

/// A request's deadlines, as its controller sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// The last day to acknowledge the request: the law's towards the person, where it sets one, else the contract's.
    #[serde(serialize_with = "write_optional", deserialize_with = "optional_text")]
    pub acknowledge_by: Option<Date>,
    /// What the processor promised.
    pub contract: RuleDue,
    /// What the law demands of the controller, where a law with a rule for this type governs the request.
    pub statutory: Option<StatutoryDue>,
    /// What work is planned by.
    pub effective: EffectiveDue,
    /// The version of the rule table, frozen with the request.
    pub table_version: String,
    /// Why these dates, in sentences.
    pub trace: Vec<String>,
}

/// A due date and the rule it follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleDue {
    /// Id of the rule.
    pub rule: String,
    /// The last day that counts.
    #[serde(serialize_with = "write", deserialize_with = "text")]
    pub due_on: Date,
    /// The first instant that is too late.
    #[serde(serialize_with = "write", deserialize_with = "text")]
    pub due_before: Timestamp,
}

/// The law's due date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatutoryDue {
    /// Id of the rule.
    pub rule: String,
    /// The last day that counts.
    #[serde(serialize_with = "write", deserialize_with = "text")]
    pub due_on: Date,
    /// The first instant that is too late.
    #[serde(serialize_with = "write", deserialize_with = "text")]
    pub due_before: Timestamp,
    /// The controller did not say when it received the request; the instruction's receipt stands in, so the true date
    /// may be earlier.
    pub assumed: bool,
}

/// The due date that work is planned by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveDue {
    /// The last day that counts.
    #[serde(serialize_with = "write", deserialize_with = "text")]
    pub due_on: Date,
    /// The first instant that is too late.
    #[serde(serialize_with = "write", deserialize_with = "text")]
    pub due_before: Timestamp,
    /// Which of the two it follows from.
    pub binding: Binding,
    /// The law leaves no time for the controller's buffer. Left out of the JSON when it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub buffer_exhausted: bool,
}

spelled! {
    /// Which clock the effective due date follows from.
    Binding {
        /// The processor's contract.
        Contract = "contract",
        /// The law.
        Statutory = "statutory",
    }
}

spelled! {
    /// How near the effective due date is.
    Band {
        /// There is time.
        OnTrack = "on_track",
        /// Little time is left, or most of it has passed.
        AtRisk = "at_risk",
        /// Hardly any time is left.
        Critical = "critical",
        /// The due date has passed in its time zone.
        Overdue = "overdue",
    }
}

/// Why no deadlines could be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadlineError {
    /// The request names a law or place that the table does not hold.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The controller's time zone does not exist.
    #[error("unknown time zone {zone}; an IANA name such as Europe/Berlin is needed")]
    UnknownTimeZone {
        /// What was given.
        zone: String,
    },
    /// A date past the end of the calendar.
    #[error("the due date would lie outside the calendar")]
    OutOfRange,
}

/// Which days are working days.
#[derive(Debug, Clone, Copy)]
pub struct Calendar<'a> {
    /// Days of the week that are never working days.
    pub weekend: &'a [DayName],
    /// Dates that are not working days.
    pub holidays: &'a [Date],
    /// Dates that are working days in spite of the weekend, as China's make-up days.
    pub extra_working_days: &'a [Date],
}

/// What one rule makes of one start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockDates {
    /// Day 0, the local date of the start.
    pub started_on: Date,
    /// Day 0 plus the time to answer, before it is moved off a day that is not a working day.
    pub nominal_on: Date,
    /// The last day that counts.
    pub due_on: Date,
    /// The first instant that is too late.
    pub due_before: Timestamp,
    /// The last day to acknowledge, where the rule sets one.
    pub acknowledge_by: Option<Date>,
    /// The last day to tell the person of an extension, where the rule knows one.
    pub extension_notice_by: Option<Date>,
}

/// Computes a request's deadlines.
///
/// # Panics
/// Never for a table that [`RuleTable::parse`] read.
pub fn compute(table: &RuleTable, input: &DeadlineInput<'_>) -> Result<Deadlines, DeadlineError> {
    let mut trace = Vec::new();
    let controller_zone = zone(input.controller_timezone)?;
    let chosen = table.choose(input.request_type, input.regulation, input.jurisdiction, input.controller_country)?;

    let (contract, rule) = table.contract_rule(input.request_type).expect("checked in RuleTable::parse");
    let calendar = calendar_of(contract, input.holidays);
    let contract_dates = rule_due(rule, input.instruction_received_at, &controller_zone, &calendar)?;
    let contract_due =
        RuleDue { rule: rule.id.clone(), due_on: contract_dates.due_on, due_before: contract_dates.due_before };
    explain(&mut trace, "contract", contract, rule, &contract_dates, &controller_zone, &calendar);

    let statutory = statutory(chosen, input, &controller_zone, &mut trace)?;
    let effective = match &statutory {
        None => EffectiveDue {
            due_on: contract_due.due_on,
            due_before: contract_due.due_before,
            binding: Binding::Contract,
            buffer_exhausted: false,
        },
        Some(law) => {
            let calendar = calendar_of(law.regulation, input.holidays);
            let buffer = table.conventions.controller_buffer_business_days;
            let instructed_on = input.instruction_received_at.to_zoned(law.zone.clone()).date();
            effective(&contract_due, &law.due, &law.zone, &calendar, buffer, instructed_on, &mut trace)?
        }
    };
    let acknowledge_by = statutory.as_ref().and_then(|law| law.acknowledge_by).or(contract_dates.acknowledge_by);
    Ok(Deadlines {
        acknowledge_by,
        contract: contract_due,
        statutory: statutory.map(|law| law.due),
        effective,
        table_version: table.version.clone(),
        trace,
    })
}

/// What one rule makes of the instant that starts its clock, without pauses and extensions.
pub fn rule_due(
    rule: &Rule,
    started_at: Timestamp,
    zone: &TimeZone,
    calendar: &Calendar<'_>,
) -> Result<ClockDates, DeadlineError> {
    let started_on = match rule.first_day {
        FirstDay::Excluded => started_at.to_zoned(zone.clone()).date(),
    };
    let nominal_on = match rule.month_end {
        MonthEnd::ClampLastDay => calendar.add(started_on, rule.due)?,
    };
    let due_on = calendar.roll(nominal_on, rule.roll)?;
    Ok(ClockDates {
        started_on,
        nominal_on,
        due_on,
        due_before: day_after(due_on, zone)?,
        acknowledge_by: rule.ack.map(|ack| calendar.add(started_on, ack)).transpose()?,
        // Both kinds of extension must be told within the first period.
        extension_notice_by: rule.extension.map(|_| due_on),
    })
}

/// How near a due date is: overdue from its exclusive instant on; else by the business days left after today and up to
/// the due date, and by the part of the time that has passed.
pub fn band(
    sla: &Sla,
    due: &EffectiveDue,
    clock_started_at: Timestamp,
    now: Timestamp,
    zone: &TimeZone,
    calendar: &Calendar<'_>,
) -> Band {
    if now >= due.due_before {
        return Band::Overdue;
    }
    let threshold = sla.at_risk_business_days_left.max(sla.critical_business_days_left);
    let left = calendar.business_days_left(now.to_zoned(zone.clone()).date(), due.due_on, threshold + 1);
    let elapsed = now.as_nanosecond().saturating_sub(clock_started_at.as_nanosecond()).max(0);
    let whole = due.due_before.as_nanosecond().saturating_sub(clock_started_at.as_nanosecond());
    if left <= sla.critical_business_days_left {
        Band::Critical
    } else if left <= sla.at_risk_business_days_left || elapsed * 100 >= whole * i128::from(sla.at_risk_elapsed_percent)
    {
        Band::AtRisk
    } else {
        Band::OnTrack
    }
}

/// The time zone of an IANA name.
pub fn zone(name: &str) -> Result<TimeZone, DeadlineError> {
    TimeZone::get(name).map_err(|_| DeadlineError::UnknownTimeZone { zone: name.to_owned() })
}

impl Calendar<'_> {
    /// Whether a day is neither weekend nor holiday.
    pub fn is_working_day(&self, day: Date) -> bool {
        self.extra_working_days.contains(&day) || (!self.is_weekend(day) && !self.holidays.contains(&day))
    }

    /// A day plus a period: months keep the day's number or take the month's last day, business days count working
    /// days after it.
    pub fn add(&self, day: Date, period: Period) -> Result<Date, DeadlineError> {
        let amount = i64::from(period.amount());
        let span = match period.unit() {
            Unit::CalendarDays => Span::new().days(amount),
            Unit::CalendarMonths => Span::new().months(amount),
            Unit::BusinessDays => return self.walk(day, period.amount(), Date::tomorrow),
        };
        day.checked_add(span).map_err(|_| DeadlineError::OutOfRange)
    }

    /// So many working days before a day.
    pub fn business_days_before(&self, day: Date, count: u16) -> Result<Date, DeadlineError> {
        self.walk(day, count, Date::yesterday)
    }

    /// Moves a day forward until the roll lets it stay.
    pub fn roll(&self, mut day: Date, roll: Roll) -> Result<Date, DeadlineError> {
        let may_stay = |day: Date| match roll {
            Roll::None => true,
            Roll::NextWorkingDay => self.is_working_day(day),
            Roll::NextNonSundayNonHoliday => {
                DayName::from(day.weekday()) != DayName::Sun && !self.holidays.contains(&day)
            }
        };
        while !may_stay(day) {
            day = day.tomorrow().map_err(|_| DeadlineError::OutOfRange)?;
        }
        Ok(day)
    }

    fn is_weekend(&self, day: Date) -> bool {
        self.weekend.contains(&DayName::from(day.weekday()))
    }

    fn walk(
        &self,
        mut day: Date,
        count: u16,
        step: impl Fn(Date) -> Result<Date, jiff::Error>,
    ) -> Result<Date, DeadlineError> {
        let mut left = count;
        while left > 0 {
            day = step(day).map_err(|_| DeadlineError::OutOfRange)?;
            left -= u16::from(self.is_working_day(day));
        }
        Ok(day)
    }

    /// Working days after `today` up to and including `last`, but no more than `most`.
    fn business_days_left(&self, today: Date, last: Date, most: u16) -> u16 {
        let days = today.series(Span::new().days(1)).skip(1).take_while(|day| *day <= last);
        days.filter(|day| self.is_working_day(*day)).take(usize::from(most)).fold(0, |count, _| count + 1)
    }
}

/// The law's due date with what is needed to go on from it.
struct Law<'a> {
    regulation: &'a Regulation,
    zone: TimeZone,
    due: StatutoryDue,
    acknowledge_by: Option<Date>,
}

fn statutory<'a>(
    chosen: Option<Choice<'a>>,
    input: &DeadlineInput<'_>,
    controller_zone: &TimeZone,
    trace: &mut Vec<String>,
) -> Result<Option<Law<'a>>, DeadlineError> {
    let Some(Choice { regulation, by }) = chosen else {
        trace.push(
            "No statutory date: the request names neither regulation nor jurisdiction, and no general law is known for \
             the controller's country."
                .to_owned(),
        );
        return Ok(None);
    };
    let id = &regulation.id;
    trace.push(match by {
        ChosenBy::Id => format!("{id} governs because the request names it."),
        ChosenBy::Jurisdiction(place) => {
            format!("{id} governs because it is the law of {place}, which the request names.")
        }
        ChosenBy::Country(country) => {
            format!(
                "{id} governs because the controller is established in {country} and the request names no other law."
            )
        }
    });
    let Some(rule) = regulation.rule_for(input.request_type) else {
        trace.push(format!(
            "No statutory date: {id} sets none for {} ({}).",
            input.request_type, regulation.legal_basis
        ));
        return Ok(None);
    };
    // The controller's own zone counts where it is established under this law; a foreign controller answers by the
    // law's own clock.
    let zone = if input.controller_country.is_some_and(|country| regulation.covers(country)) {
        controller_zone.clone()
    } else {
        TimeZone::get(&regulation.default_timezone).expect("checked in RuleTable::parse")
    };
    let started_at = input.data_subject_received_at.unwrap_or(input.instruction_received_at);
    let started_on = started_at.to_zoned(zone.clone()).date();
    if !regulation.binds_on(started_on) {
        let from = regulation.effective.expect("checked in RuleTable::parse");
        if by != ChosenBy::Id {
            trace.push(format!("No statutory date: {id} is in force from {} only.", spoken(from)));
            return Ok(None);
        }
        trace.push(format!("{id} is in force from {} only: until then its date is a target of policy.", spoken(from)));
    }
    let calendar = calendar_of(regulation, input.holidays);
    let dates = rule_due(rule, started_at, &zone, &calendar)?;
    let assumed = input.data_subject_received_at.is_none();
    if assumed {
        trace.push(
            "The controller did not say when it received the person's request, so the statutory date is assumed from \
             the receipt of the instruction; the true date may be earlier."
                .to_owned(),
        );
    }
    explain(trace, "statutory", regulation, rule, &dates, &zone, &calendar);
    Ok(Some(Law {
        regulation,
        zone,
        due: StatutoryDue { rule: rule.id.clone(), due_on: dates.due_on, due_before: dates.due_before, assumed },
        acknowledge_by: dates.acknowledge_by,
    }))
}

/// The earlier of the contract's date and the law's less the buffer, compared as instants because the zones may differ.
fn effective(
    contract: &RuleDue,
    law: &StatutoryDue,
    zone: &TimeZone,
    calendar: &Calendar<'_>,
    buffer: u16,
    instructed_on: Date,
    trace: &mut Vec<String>,
) -> Result<EffectiveDue, DeadlineError> {
    let buffered_on = calendar.business_days_before(law.due_on, buffer)?;
    let buffer_exhausted = buffered_on <= instructed_on;
    let (due_on, due_before) = if buffer_exhausted {
        trace.push(format!(
            "{buffer} business days before the statutory date would be {}, not after the instruction of {}: the buffer is \
             exhausted and the statutory date itself counts.",
            spoken(buffered_on),
            spoken(instructed_on),
        ));
        (law.due_on, law.due_before)
    } else {
        trace.push(format!(
            "{buffer} business days before the statutory date are left to the controller: that is {}.",
            spoken(buffered_on)
        ));
        (buffered_on, day_after(buffered_on, zone)?)
    };
    let effective = if due_before <= contract.due_before {
        EffectiveDue { due_on, due_before, binding: Binding::Statutory, buffer_exhausted }
    } else {
        let (due_on, due_before) = (contract.due_on, contract.due_before);
        EffectiveDue { due_on, due_before, binding: Binding::Contract, buffer_exhausted }
    };
    trace.push(format!(
        "The earlier of both binds: the {} date, {} (GDPR Art. 28(3)(e): the processor helps the controller to be in time).",
        effective.binding,
        spoken(effective.due_on),
    ));
    Ok(effective)
}

fn calendar_of<'a>(regulation: &'a Regulation, holidays: &'a [Date]) -> Calendar<'a> {
    Calendar { weekend: &regulation.weekend, holidays, extra_working_days: &[] }
}

/// The first instant of the next local day, which is not midnight where the clocks go forward at midnight, and two days
/// on where a zone left a day out.
fn day_after(day: Date, zone: &TimeZone) -> Result<Timestamp, DeadlineError> {
    let next = day.tomorrow().and_then(|next| next.to_zoned(zone.clone())).and_then(|next| next.start_of_day());
    next.map(|next| next.timestamp()).map_err(|_| DeadlineError::OutOfRange)
}

fn explain(
    trace: &mut Vec<String>,
    what: &str,
    regulation: &Regulation,
    rule: &Rule,
    dates: &ClockDates,
    zone: &TimeZone,
    calendar: &Calendar<'_>,
) {
    let zone = zone.iana_name().unwrap_or("UTC");
    let event = match rule.clock_start {
        ClockStart::RequestReceived => "the controller received the request",
        ClockStart::RelevantTime => "the controller had the request and what it needed to act on it",
        ClockStart::InstructionReceived => "the processor received the controller's instruction",
        ClockStart::AppealReceived => "the appeal was received",
        ClockStart::ComplaintReceived => "the complaint was received",
        ClockStart::ContractTerminated => "the contract ended",
        ClockStart::DataSubjectContactReceived => "the person wrote to the processor",
        ClockStart::DropRequestRetrieved => "the deletion was fetched from DROP",
    };
    trace.push(format!(
        "The {what} clock ({}) started on {} in {zone}, when {event}; that day is not counted.",
        rule.id,
        spoken(dates.started_on),
    ));
    let clamped = if rule.due.unit() == Unit::CalendarMonths && dates.nominal_on.day() != dates.started_on.day() {
        ", the last day of a month that is shorter"
    } else {
        ""
    };
    let working = if rule.due.unit() == Unit::BusinessDays {
        let weekend: Vec<&str> = calendar.weekend.iter().map(|day| day.as_str()).collect();
        format!(" (working days without {} and {} given holidays)", weekend.join(", "), calendar.holidays.len())
    } else {
        String::new()
    };
    trace.push(format!(
        "{} after it{working} is {}{clamped}, under {}.",
        rule.due,
        spoken(dates.nominal_on),
        regulation.legal_basis,
    ));
    if dates.due_on == dates.nominal_on {
        if rule.roll == Roll::None && !calendar.is_working_day(dates.due_on) {
            let permitted = rule.roll_permitted_by.as_ref();
            let permitted = permitted.map_or_else(String::new, |law| format!(", though {law} may allow it"));
            trace.push(format!("That is not a working day, but {} does not move the date{permitted}.", rule.id));
        }
    } else {
        trace.push(format!(
            "That is not a working day, so the date moves to {}, under {}.",
            spoken(dates.due_on),
            regulation.legal_basis,
        ));
    }
    if let (Some(ack), Some(by)) = (rule.ack, dates.acknowledge_by) {
        trace.push(format!(
            "Receipt must be acknowledged within {ack}, by {}, under {}.",
            spoken(by),
            regulation.legal_basis
        ));
    }
    if rule.is_policy_target() {
        trace.push(format!(
            "{} is a target of policy until the controller's counsel confirms it as a date of the law.",
            rule.id
        ));
    }
}

/// A date with its day of the week: `Mon 2026-03-02`.
fn spoken(day: Date) -> String {
    day.strftime("%a %Y-%m-%d").to_string()
}

fn write<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn write_optional<T: std::fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests;

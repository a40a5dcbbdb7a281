//! A vector is a worked example of a deadline: what is given, with its own holidays, and what should come out.
//!
//! The form is that of the published vectors (`tests/vectors`): kind `deadline` is one clock, `effective_due` two of them, `status`
//! asks whether an instant is too late. The answer has the members of `expected` that apply.

use crate::deadline::{Bound, Calendar, ClockInput, DeadlineError, ExtensionNotice, Pause, effective, run, zone};
use crate::regulation::{DayName, Period, Rule, RuleTable, Unit};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Why a vector cannot be worked out.
#[derive(Debug, thiserror::Error)]
pub enum VectorFault {
    /// A member is missing, unknown in its value, or of the wrong type.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// No rule has this id.
    #[error("rule: no rule is called {0}")]
    UnknownRule(String),
    /// This kind is not one of the three.
    #[error("kind: {0} is not known; known are deadline, effective_due, status")]
    UnknownKind(String),
    /// No date came out.
    #[error(transparent)]
    Deadline(#[from] DeadlineError),
}

#[derive(Deserialize)]
struct Days {
    tz: String,
    weekend: Vec<DayName>,
    #[serde(default)]
    holidays: Vec<Date>,
    #[serde(default, rename = "extra_working_days")]
    extra: Vec<Date>,
}

#[derive(Deserialize)]
struct OneClock {
    rule: String,
    request_type: String,
    received_at: Timestamp,
    #[serde(default)]
    pauses: Vec<Pause>,
    extension: Option<ExtensionNotice>,
    as_of: Option<Timestamp>,
    internal_target_business_days: Option<u16>,
    /// Whether the controller chose that pauses count where the law leaves it to them.
    #[serde(default)]
    pause_opt_in: bool,
}

#[derive(Deserialize)]
struct TwoClocks {
    statutory_rule: String,
    contract_rule: String,
    data_subject_received_at: Timestamp,
    instruction_received_at: Timestamp,
    controller_buffer_business_days: u16,
}

#[derive(Deserialize)]
struct Status {
    due_instant_exclusive_utc: Timestamp,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    now: Timestamp,
}

/// What comes out of a vector: its id and the members of `expected` that apply. For a `status`, the checks with their answers.
///
/// # Errors
/// It is not of the form, names what the table does not hold, or leads outside what can be computed.
pub fn evaluate(table: &RuleTable, vector: &Value) -> Result<Value, VectorFault> {
    let mut answer = Map::new();
    answer.insert("id".to_owned(), vector["id"].clone());
    let members = match vector["kind"].as_str().unwrap_or("deadline") {
        "deadline" => one_clock(table, vector)?,
        "effective_due" => two_clocks(table, vector)?,
        "status" => status(vector)?,
        other => return Err(VectorFault::UnknownKind(other.to_owned())),
    };
    if let Value::Object(members) = members {
        answer.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Ok(Value::Object(answer))
}

fn one_clock(table: &RuleTable, vector: &Value) -> Result<Value, VectorFault> {
    let days = Days::deserialize(vector)?;
    let given = OneClock::deserialize(vector)?;
    let rule = rule(table, &given.rule)?;
    let (zone, calendar) = (zone(&days.tz)?, days.calendar());
    let left_to_controller = rule.pause_opt_in_request_types.contains(&given.request_type);
    let dates = run(&ClockInput {
        rule,
        started_at: given.received_at,
        zone: &zone,
        calendar: &calendar,
        pauses: &given.pauses,
        extension: given.extension,
        as_of: given.as_of.unwrap_or(given.received_at),
        ignore_pauses: left_to_controller && !given.pause_opt_in,
    })?;
    let target = given.internal_target_business_days.and_then(|days| Period::new(days, Unit::BusinessDays));
    let target = target.map(|target| calendar.add_without(dates.started_on, target, &dates.excluded)).transpose()?;
    let local = dates.due_before.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    Ok(json!({
        "state": dates.state,
        "clock_start_date": dates.started_on,
        "paused_days": dates.excluded.len(),
        "due_date": dates.due_on,
        "due_instant_exclusive_utc": dates.due_before,
        "due_instant_exclusive_local": local,
        "ack_due_date": dates.acknowledge_by,
        "extension_notice_due_date": dates.extension_notice_by,
        "extension_valid": dates.extension_valid,
        "internal_target_date": target,
    }))
}

fn two_clocks(table: &RuleTable, vector: &Value) -> Result<Value, VectorFault> {
    let days = Days::deserialize(vector)?;
    let given = TwoClocks::deserialize(vector)?;
    let (zone, calendar) = (zone(&days.tz)?, days.calendar());
    let clock = |id: &str, started_at| -> Result<Bound, VectorFault> {
        let dates = run(&ClockInput {
            rule: rule(table, id)?,
            started_at,
            zone: &zone,
            calendar: &calendar,
            pauses: &[],
            extension: None,
            as_of: started_at,
            ignore_pauses: false,
        })?;
        Ok(Bound { due_on: dates.due_on, due_before: dates.due_before })
    };
    let law = clock(&given.statutory_rule, given.data_subject_received_at)?;
    let contract = clock(&given.contract_rule, given.instruction_received_at)?;
    let buffer = given.controller_buffer_business_days;
    let due = effective(contract, law, &zone, &calendar, buffer, given.instruction_received_at)?;
    Ok(json!({
        "statutory_due_date": law.due_on,
        "contract_due_date": contract.due_on,
        "buffered_statutory_date": due.buffered_statutory_on,
        "effective_due_date": due.due_on,
        "buffer_exhausted": due.buffer_exhausted,
        "binding": due.binding,
    }))
}

fn status(vector: &Value) -> Result<Value, VectorFault> {
    let given = Status::deserialize(vector)?;
    let mut checks = vector["checks"].clone();
    for (shown, check) in checks.as_array_mut().into_iter().flatten().zip(&given.checks) {
        shown["overdue"] = Value::Bool(check.now >= given.due_instant_exclusive_utc);
    }
    Ok(json!({ "checks": checks }))
}

fn rule<'a>(table: &'a RuleTable, id: &str) -> Result<&'a Rule, VectorFault> {
    table.rule(id).map(|(_, rule)| rule).ok_or_else(|| VectorFault::UnknownRule(id.to_owned()))
}

impl Days {
    fn calendar(&self) -> Calendar<'_> {
        Calendar {
            name: "",
            weekend: &self.weekend,
            holidays: &self.holidays,
            extra_working_days: &self.extra,
            made_for: None,
        }
    }
}

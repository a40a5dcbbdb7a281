//! Terms are what was agreed with one controller: its own contract rules, the calendar it chose, and the days its contract calls closed.
//!
//! They never change a date of the law, except that a chosen calendar tells in which region the controller is, and that pauses
//! which the law leaves to the controller count if it chose so.

use crate::RequestType;
use crate::regulation::{ClockStart, DayName, Rule, Unit};
use jiff::civil::Date;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was agreed with one controller.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What a request freezes. The same version never stands for other terms.
    pub version: String,
    /// Where it was agreed, as people cite it.
    #[serde(default)]
    pub basis: Option<String>,
    /// Id of the calendar that its business days follow, such as `de-by`.
    #[serde(default)]
    pub calendar: Option<String>,
    /// Business days that the controller wants between our answer and the law's deadline.
    #[serde(default)]
    pub controller_buffer_business_days: Option<u16>,
    /// Pauses count too for the request types for which a law leaves that to the controller.
    #[serde(default)]
    pub pauses_suspend_all_types: bool,
    /// Days of the week that are never working days under the contract.
    #[serde(default)]
    pub weekend: Option<Vec<DayName>>,
    /// Days on which the company is closed, with their names: never working days under the contract, and of no effect on a date
    /// of the law.
    #[serde(default)]
    pub closed: BTreeMap<Date, String>,
    /// Its own rules, at most one for each request type.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// The longest buffer that makes sense: a month of the law has hardly more working days.
const BUFFER_MAX: u16 = 20;

impl Terms {
    /// The rule for a request type, if it has one of its own.
    pub fn rule_for(&self, request_type: RequestType) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.request_types.iter().any(|name| name == request_type.as_str()))
    }

    /// What is wrong with them, each with the member it is about; empty if nothing is.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |member: String, detail: String| faults.push((member, detail));
        if self.version.trim().is_empty() || self.version.len() > 64 {
            fault("version".into(), "must have 1 to 64 characters, such as 2026-03-01".into());
        }
        if self.controller_buffer_business_days.is_some_and(|days| days > BUFFER_MAX) {
            fault("controller_buffer_business_days".into(), format!("must be at most {BUFFER_MAX}"));
        }
        if self.weekend.as_ref().is_some_and(|weekend| DayName::ALL.iter().all(|day| weekend.contains(day))) {
            fault("weekend".into(), "leaves no working day".into());
        }
        let known: Vec<&str> = RequestType::ALL.iter().map(|t| t.as_str()).collect();
        let (mut types, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for (i, rule) in self.rules.iter().enumerate() {
            if !ids.insert(&rule.id) {
                fault(format!("rule/{i}/id"), format!("{} is there twice", rule.id));
            }
            for name in &rule.request_types {
                if !known.contains(&name.as_str()) {
                    fault(
                        format!("rule/{i}/request_types"),
                        format!("{name} is not a request type; known: {}", known.join(", ")),
                    );
                } else if !types.insert(name) {
                    fault(format!("rule/{i}/request_types"), format!("{name} has a rule already"));
                }
            }
            if rule.request_types.is_empty() {
                fault(format!("rule/{i}/request_types"), "names none, so the rule would never count".into());
            }
            if rule.clock_start != ClockStart::InstructionReceived {
                let detail =
                    "must be instruction_received: a contract's clock starts with the controller's instruction";
                fault(format!("rule/{i}/clock_start"), detail.into());
            }
            let most = match rule.due.unit() {
                Unit::CalendarMonths => 12,
                Unit::CalendarDays => 366,
                Unit::BusinessDays => 262,
            };
            if rule.due.amount() > most {
                fault(format!("rule/{i}/due"), "must be at most a year".into());
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests;

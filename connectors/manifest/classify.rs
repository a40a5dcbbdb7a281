//! What an answer means is said by the manifest's rules in their order, and by HTTP where they are silent.

use super::format::{Class, OutcomeRule, RuleScope, When};
use super::pointer;
use crate::{Problem, Trouble};
use serde_json::Value;
use std::time::Duration;

/// What rules look at.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The status.
    pub(super) status: u16,
    /// Headers by lower-case name.
    pub(super) headers: &'a [(String, String)],
    /// The body, if it is JSON.
    pub(super) json: Option<&'a Value>,
    /// How long the vendor's headers ask to wait.
    pub(super) wait: Option<Duration>,
}

/// What an answer, or an item of it, means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    /// In one word.
    pub(super) class: Class,
    /// How long to wait, where that is the point.
    pub(super) wait: Option<Duration>,
    /// The manifest's words for people.
    say: Option<String>,
    /// The status it came with.
    status: u16,
    /// Whether a rule said so.
    pub(super) by_rule: bool,
}

/// A wait that nobody gave a length: until the vendor counts anew, as far as is known.
const THROTTLED: Duration = Duration::from_secs(10);
const BUDGET: Duration = Duration::from_hours(1);

/// What a whole answer means.
pub(super) fn response(rules: &[OutcomeRule], seen: Seen<'_>) -> Meaning {
    let rule =
        rules.iter().filter(|rule| rule.scope == RuleScope::Response).find(|rule| matches(&rule.when, seen, seen.json));
    match rule {
        Some(rule) => Meaning::by(rule, seen),
        None => Meaning { class: by_status(seen), wait: seen.wait, say: None, status: seen.status, by_rule: false },
    }
}

/// What one item of an answer means; an item about which no rule says anything was done.
pub(super) fn item(rules: &[OutcomeRule], seen: Seen<'_>, item: &Value) -> Meaning {
    let rule =
        rules.iter().filter(|rule| rule.scope == RuleScope::Item).find(|rule| matches(&rule.when, seen, Some(item)));
    match rule {
        Some(rule) => Meaning::by(rule, seen),
        None => Meaning { class: Class::Ok, wait: None, say: None, status: seen.status, by_rule: false },
    }
}

fn by_status(seen: Seen<'_>) -> Class {
    match seen.status {
        200..=299 => Class::Ok,
        401 | 403 => Class::Denied,
        404 | 410 => Class::Gone,
        429 => Class::Throttled,
        503 if seen.wait.is_some() => Class::Throttled,
        408 | 423 | 425 | 500..=599 => Class::Retry,
        _ => Class::Invalid,
    }
}

/// Whether all that is said holds.
pub(super) fn matches(when: &When, seen: Seen<'_>, body: Option<&Value>) -> bool {
    let header = |name: &String| seen.headers.iter().any(|(known, _)| known == name);
    (when.status.is_empty() || when.status.contains(&seen.status))
        && when.header.as_ref().is_none_or(header)
        && when.pointer.as_ref().is_none_or(|pointer| at(when, pointer, body))
}

fn at(when: &When, pointer: &str, body: Option<&Value>) -> bool {
    // What is no JSON has nothing anywhere; that it says nothing is no statement of the vendor's.
    let Some(body) = body else { return false };
    let there = pointer::all(body, pointer);
    let any = |wanted: &Value| there.iter().any(|value| pointer::same(value, wanted));
    let exists = there.iter().any(|value| !value.is_null());
    let said = !when.any_of.is_empty() || when.is.is_some();
    (when.any_of.is_empty() || when.any_of.iter().any(any))
        && when.is.as_ref().is_none_or(any)
        && when.exists.map_or(said || exists, |wanted| wanted == exists)
}

impl Meaning {
    fn by(rule: &OutcomeRule, seen: Seen<'_>) -> Self {
        let wait = rule.wait_seconds.map(Duration::from_secs);
        // The vendor's own word counts for a limit that ends soon; the rule's for a day's budget, which its headers do not mean.
        // A 429 without a word about the wait is not one that the vendor measured.
        let told = seen.headers.iter().any(|(name, _)| name == "retry-after" || name.ends_with("reset"));
        let wait = if told && rule.class != Class::BudgetExhausted { seen.wait.or(wait) } else { wait.or(seen.wait) };
        Self { class: rule.class, wait, say: rule.say.clone(), status: seen.status, by_rule: true }
    }

    /// Whether it was done or taken.
    pub(super) const fn is_fine(&self) -> bool {
        matches!(self.class, Class::Ok | Class::Accepted)
    }

    /// What has to happen next, where it was not done.
    pub(super) fn trouble(&self) -> Trouble {
        let say = |otherwise: String| self.say.clone().unwrap_or(otherwise);
        match self.class {
            Class::Throttled => Trouble::Throttled(self.wait.unwrap_or(THROTTLED)),
            Class::BudgetExhausted => Trouble::Throttled(self.wait.unwrap_or(BUDGET)),
            Class::TokenExpired => credentials_refused(),
            Class::Denied if self.status == 401 => credentials_refused(),
            Class::Denied => Trouble::Denied(Problem::new(
                "permission_missing",
                say(format!(
                    "the vendor does not permit this call ({}); grant the permission that the connector's page names, then check the system",
                    self.status
                )),
            )),
            Class::Held => Trouble::Held("vendor_hold".to_owned()),
            Class::Ambiguous => Trouble::Ambiguous {
                matched: 1,
                problem: Problem::new(
                    "vendor_unsure",
                    say("the vendor cannot tell which record is meant; look at the person's records".to_owned()),
                ),
            },
            Class::Invalid => Trouble::Denied(Problem::new(
                "refused",
                say(format!(
                    "the vendor refused the call with {}; see the connector's page for what it needs",
                    self.status
                )),
            )),
            Class::Gone => Trouble::Denied(Problem::new(
                "refused",
                say(format!(
                    "the vendor says that there is no such thing ({}); see the system's address and settings",
                    self.status
                )),
            )),
            Class::Ok | Class::Accepted | Class::Retry => Trouble::Retry(Problem::new(
                "vendor_error",
                say(format!("the vendor answered {}; it is tried again by itself", self.status)),
            )),
        }
    }
}

/// The vendor refused the credentials.
pub(super) fn credentials_refused() -> Trouble {
    Trouble::Denied(Problem::new(
        "credentials_refused",
        "the vendor refused the credentials; set them anew with `redress apply`, then check the system",
    ))
}

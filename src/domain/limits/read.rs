//! Reading limits: every fault at once, none of them a guess about what was meant.

use super::{Limits, Rate, Span};
use crate::Verb;
use crate::words::Fault;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const KEYS: [&str; 7] = ["rates", "concurrency", "share", "reserve", "burst", "cost", "timezone"];

impl Limits {
    /// Reads the table at `pointer`.
    ///
    /// # Errors
    /// Every fault.
    pub fn read(value: &Value, pointer: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, detail: &str| faults.push(Fault::new(format!("{pointer}{key}"), detail));
        let Some(table) = value.as_object() else {
            fault("", "must be a table (in JSON: an object) such as { rates = [\"100/10s\"] }");
            return Err(faults);
        };
        for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            fault(&format!("/{key}"), &format!("unknown key; there are {}", KEYS.join(", ")));
        }
        let mut limits = Self { rates: rates(table, &mut fault), ..Self::default() };
        limits.concurrency = whole(table, "concurrency", 10_000, &mut fault).map(|n| n as u32);
        limits.burst = whole(table, "burst", 1_000_000_000, &mut fault);
        limits.share =
            fraction(table, "share", |n| n > 0.0 && n <= 1.0, "above 0 and up to 1", &mut fault).unwrap_or(1.0);
        limits.reserve =
            fraction(table, "reserve", |n| (0.0..=0.9).contains(&n), "from 0 to 0.9", &mut fault).unwrap_or(0.0);
        limits.cost = costs(table, &mut fault);
        if let Some(zone) = table.get("timezone") {
            match zone.as_str().filter(|name| TimeZone::get(name).is_ok()) {
                Some(name) => name.clone_into(&mut limits.timezone),
                None => fault("/timezone", "must be a time zone such as \"America/Chicago\""),
            }
        }
        if limits.burst.is_some() && !limits.rates.iter().any(|rate| matches!(rate.span, Span::Sliding(_))) {
            fault("/burst", "needs a rate with a window that is no day");
        }
        // A call that never fits would wait for ever.
        let dearest = limits.cost.iter().max_by_key(|(_, cost)| **cost);
        for (i, rate) in limits.rates.iter().enumerate() {
            let fits = limits.ordinary(rate.calls);
            if let Some((verb, _)) = dearest.filter(|(_, cost)| **cost > fits) {
                let detail = format!("is more than fits into rates/{i} once share and reserve are taken off ({fits})");
                fault(&format!("/cost/{verb}"), &detail);
            }
        }
        if let (Some(burst), Some((verb, cost))) = (limits.burst, dearest)
            && *cost > burst
        {
            fault(&format!("/cost/{verb}"), "is more than the burst");
        }
        if limits.is_none() && faults.is_empty() {
            faults.push(Fault::new(pointer, "limits nothing; give rates, concurrency or both"));
        }
        if faults.is_empty() { Ok(limits) } else { Err(faults) }
    }

    /// These limits as they are kept and shown; what is usual is left out.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("rates".into(), json!(self.rates));
        let mut put = |key: &str, value: Value, usual: bool| {
            if !usual {
                out.insert(key.into(), value);
            }
        };
        put("concurrency", json!(self.concurrency), self.concurrency.is_none());
        put("share", json!(self.share), self.share >= 1.0);
        put("reserve", json!(self.reserve), self.reserve <= 0.0);
        put("burst", json!(self.burst), self.burst.is_none());
        let cost: BTreeMap<&str, u64> = self.cost.iter().map(|(verb, cost)| (verb.as_str(), *cost)).collect();
        put("cost", json!(cost), cost.is_empty());
        put("timezone", json!(self.timezone), !self.rates.iter().any(|rate| rate.span == Span::Day));
        Value::Object(out)
    }

    /// What a system's definition says: its `limits`, or the shorthand `rate_per_second`.
    pub fn of_definition(definition: &Value) -> Option<Self> {
        match &definition["limits"] {
            Value::Null => Self::per_second(definition["rate_per_second"].as_f64()?),
            limits => Self::read(limits, "").ok(),
        }
    }
}

fn rates(table: &Map<String, Value>, fault: &mut impl FnMut(&str, &str)) -> Vec<Rate> {
    let Some(value) = table.get("rates") else { return Vec::new() };
    let Some(items) = value.as_array() else {
        fault("/rates", "must be a list of windows, such as [\"100/10s\", \"20000/day\"]");
        return Vec::new();
    };
    if items.len() > 8 {
        fault("/rates", "must be at most 8 windows");
    }
    let mut rates: Vec<Rate> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        match item.as_str().map_or(Err("must be a text such as \"100/10s\""), Rate::parse) {
            Ok(rate) if rates.iter().any(|other| other.span == rate.span) => {
                fault(&format!("/rates/{i}"), "has the window of another one");
            }
            Ok(rate) => rates.push(rate),
            Err(detail) => fault(&format!("/rates/{i}"), detail),
        }
    }
    rates
}

fn whole(table: &Map<String, Value>, key: &str, most: u64, fault: &mut impl FnMut(&str, &str)) -> Option<u64> {
    let number = table.get(key)?.as_u64().filter(|n| (1..=most).contains(n));
    if number.is_none() {
        fault(&format!("/{key}"), &format!("must be a whole number from 1 to {most}"));
    }
    number
}

fn fraction(
    table: &Map<String, Value>,
    key: &str,
    fits: impl Fn(f64) -> bool,
    range: &str,
    fault: &mut impl FnMut(&str, &str),
) -> Option<f64> {
    let number = table.get(key)?.as_f64().filter(|n| fits(*n));
    if number.is_none() {
        fault(&format!("/{key}"), &format!("must be a number {range}"));
    }
    number
}

fn costs(table: &Map<String, Value>, fault: &mut impl FnMut(&str, &str)) -> BTreeMap<Verb, u64> {
    let Some(value) = table.get("cost") else { return BTreeMap::new() };
    let Some(items) = value.as_object() else {
        fault("/cost", "must be a table of verbs, such as { erase = 2 }");
        return BTreeMap::new();
    };
    let mut costs = BTreeMap::new();
    for (name, value) in items {
        let key = format!("/cost/{name}");
        match (Verb::parse(name), value.as_u64().filter(|n| (1..=1_000_000).contains(n))) {
            (None, _) => {
                let known: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
                fault(&key, &format!("is not a verb; there are {}", known.join(", ")));
            }
            (_, None) => fault(&key, "must be a whole number from 1 to 1000000"),
            (Some(verb), Some(cost)) => {
                costs.insert(verb, cost);
            }
        }
    }
    costs
}

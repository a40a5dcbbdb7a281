//! What applying a file changes, or would change, of what a controller instructs: told member by member.

use anyhow::Result;
use redress_store::{Controller, ControllerPolicy, Instructions, Store, SystemUpsert};
use serde_json::Value;
use std::collections::BTreeMap;

/// The instructions in force, and those that a file asks for.
pub(super) struct Instructed {
    before: Instructions,
    policy: ControllerPolicy,
    /// Systems that the file does not name keep what they are allowed.
    systems: BTreeMap<String, Vec<redress_domain::RequestType>>,
}

impl Instructed {
    pub(super) async fn before(
        store: &Store,
        controller: Option<&Controller>,
        policy: &ControllerPolicy,
    ) -> Result<Self> {
        let before = match controller {
            Some(controller) => store.instructions(&controller.id).await?.0.instructions,
            None => Instructions::default(),
        };
        Ok(Self { systems: before.allow.clone(), before, policy: policy.clone() })
    }

    /// What the file allows in a system.
    pub(super) fn system(&mut self, system: &SystemUpsert) {
        self.systems.insert(system.name.clone(), system.allow.clone());
    }

    /// Prints a line for each difference; `would` is "would be " where nothing is done.
    pub(super) fn tell(&self, controller: &str, would: &str) {
        for line in self.lines() {
            println!("instructions {controller}: {would}changed: {line}");
        }
    }

    fn lines(&self) -> Vec<String> {
        let systems = self.systems.iter().map(|(name, allow)| (name.as_str(), allow.as_slice()));
        let after = Instructions::of(&self.policy, systems);
        let changes = self.before.changes_to(&after);
        changes
            .iter()
            .map(|(name, change)| format!("{name}: {} -> {}", said(&change["before"]), said(&change["after"])))
            .collect()
    }
}

fn said(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redress_domain::RequestType::{Access, Deletion};

    #[test]
    fn each_difference_is_one_line_and_what_is_the_same_is_none() {
        let allow = BTreeMap::from([("crm".to_owned(), vec![Access, Deletion]), ("kept".to_owned(), vec![Access])]);
        let before = Instructions { allow: allow.clone(), ..Instructions::default() };
        let mut told = Instructed { before, policy: ControllerPolicy::default(), systems: allow };
        assert!(told.lines().is_empty());
        told.systems.insert("crm".into(), vec![Deletion]);
        told.systems.insert("new".into(), vec![]);
        told.policy.cooling_off_hours = 24;
        told.policy.package_expires_days = Some(7);
        assert_eq!(
            told.lines(),
            [
                "allow.crm: [access, deletion] -> [deletion]",
                "allow.new: nothing -> []",
                "cooling_off_hours: 0 -> 24",
                "package_expires_days: nothing -> 7"
            ]
        );
    }
}

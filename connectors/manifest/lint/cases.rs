//! What holds for the cases of a manifest: there are some, and they speak about steps that exist.

use super::Lint;
use crate::manifest::format::{Case, ManifestFile};
use std::collections::BTreeSet;

/// Names of the steps that a case can be about.
pub(in crate::manifest) fn steps(file: &ManifestFile) -> Vec<String> {
    let named =
        |kind: &str, names: Vec<&String>| names.into_iter().map(|name| format!("{kind}.{name}")).collect::<Vec<_>>();
    let mut all = vec!["check".to_owned()];
    all.extend(named("find", file.find.keys().collect()));
    all.extend(named("access", file.access.keys().collect()));
    all.extend(named("correct", file.correct.keys().collect()));
    all.extend(named("delete", file.delete.keys().collect()));
    all.extend(named("verify", file.verify.keys().collect()));
    all
}

impl Lint<'_> {
    pub(super) fn cases(&mut self) {
        let cases = &self.file.tests;
        if cases.is_empty() {
            self.error("test", "has no [[test]]: show at least one request and what the vendor's answers mean");
        }
        let known = steps(self.file);
        let mut names = BTreeSet::new();
        for (i, case) in cases.iter().enumerate() {
            let at = format!("test.{i}");
            if !names.insert(&case.name) {
                self.error(format!("{at}.name"), "is the name of another case");
            }
            if let Some(step) = case.step.as_ref().filter(|step| !known.contains(step)) {
                self.unknown(&format!("{at}.step"), "step named", step, &known);
            }
            self.case(&at, case);
        }
        self.shown(cases);
    }

    fn case(&mut self, at: &str, case: &Case) {
        if case.request.is_none() && case.given.is_none() {
            self.error(at, "shows neither a `request` nor an answer (`given`)");
        }
        if case.request.is_some() && case.step.is_none() {
            self.error(format!("{at}.request"), "needs a `step` of which it comes");
        }
        if case.given.is_some() != case.expect.is_some() {
            self.error(at, "has `given` without `expect`, or the other way round");
        }
        let finds = case.step.as_ref().is_some_and(|step| step.starts_with("find."));
        if case.expect.as_ref().is_some_and(|expect| expect.keys.is_some()) && !finds {
            self.error(format!("{at}.expect.keys"), "belongs to the step of a find");
        }
        for kind in case.subject.keys() {
            self.identifier_type(&format!("{at}.subject.{kind}"), kind);
        }
        for name in case.inputs.keys().filter(|name| !self.file.inputs.contains_key(*name)) {
            self.unknown(&format!("{at}.inputs.{name}"), "input", name, self.file.inputs.keys());
        }
        if let Some(name) = case.headers.keys().find(|name| name.chars().any(|c| c.is_ascii_uppercase())) {
            self.error(format!("{at}.headers.{name}"), "must be the header's name in lower case");
        }
        if case.status.is_some_and(|status| !(100..=599).contains(&status)) {
            self.error(format!("{at}.status"), "is no status of HTTP");
        }
    }

    /// What every manifest should show: the request of each deletion, and somebody else who is dropped by a find.
    fn shown(&mut self, cases: &[Case]) {
        for name in self.file.delete.keys() {
            let step = format!("delete.{name}");
            if !cases.iter().any(|case| case.request.is_some() && case.step.as_ref() == Some(&step)) {
                self.warn(&step, "has no case that shows its request; a deletion is worth one");
            }
        }
        let compared = self.file.find.values().any(|find| !find.exact.is_empty());
        let shows_keys = |case: &Case| case.expect.as_ref().is_some_and(|expect| expect.keys.is_some());
        if compared && !cases.iter().any(shows_keys) {
            self.warn("test", "shows no `expect.keys`: give an answer with somebody else in it, and show that only the subject's record is taken");
        }
    }
}

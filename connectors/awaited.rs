//! An awaited order is one whose outcome somebody reports later: a person who does a task, an in-house system that calls back.
//!
//! It lives in the step's receipt, so nothing else has to be stored. Who takes a report in (an API route) opens the step's
//! receipt, puts the report in with [`Awaited::reported`], stores the receipt that comes of it and makes the step due now:
//! the same verb is then called with it as [`crate::Work::prior`], and the connector answers from the report.

use crate::{Receipt, Report, SpecFault};
use redress_domain::Verb;
use serde::{Deserialize, Serialize};

/// What a person is to do. It names no data subject: that is shown beside it, to those who may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// What is to be done, in one line.
    pub title: String,
    /// How, one sentence per step, as the controller wrote it.
    pub instructions: Vec<String>,
    /// Until when (Unix ms); after it the step needs attention.
    pub due_at_ms: i64,
}

/// An order whose outcome is reported by somebody else.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Awaited {
    version: u32,
    /// The task, if a person does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The name that the other side gave to the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Which order for the same step it is: a deletion that did not last is ordered anew.
    #[serde(default)]
    run: u32,
    /// Whether it was answered.
    #[serde(default)]
    answered: bool,
    /// The verb that was ordered, and the report as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<(String, String)>,
}

impl std::fmt::Debug for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.report.is_some() { "Awaited(reported)" } else { "Awaited(open)" })
    }
}

impl Awaited {
    /// A task for a person.
    pub const fn task(task: Task) -> Self {
        Self { version: 1, task: Some(task), handle: None, run: 0, answered: false, report: None }
    }

    /// An order at a system that will be asked again, or calls back.
    pub const fn order(handle: Option<String>) -> Self {
        Self { version: 1, task: None, handle, run: 0, answered: false, report: None }
    }

    /// Which order for the same step it is.
    pub(crate) const fn run(&self) -> u32 {
        self.run
    }

    /// Whether it was answered.
    pub(crate) const fn is_answered(&self) -> bool {
        self.answered
    }

    /// The same order, if it is still open; another, if it was answered.
    pub(crate) fn again(&self) -> Self {
        if self.answered { Self { run: self.run.saturating_add(1), ..Self::order(None) } } else { self.clone() }
    }

    /// It was answered.
    pub(crate) fn answered(&self) -> Self {
        Self { answered: true, ..self.clone() }
    }

    /// The other side gave it a name; the first one stays if it gives none.
    pub(crate) fn with_handle(&self, handle: Option<String>) -> Self {
        // Without a name it is asked for by our key.
        Self { handle: handle.or_else(|| self.handle.clone()).or_else(|| Some(String::new())), ..self.clone() }
    }

    /// The order in a step's receipt; none if the receipt is of another kind.
    pub fn of(receipt: &Receipt) -> Option<Self> {
        serde_json::from_str(&receipt.0).ok().filter(|awaited: &Self| awaited.version == 1)
    }

    /// With what was reported (the JSON of a [`Report`]), if that is consistent. A second report takes the first one's place
    /// until the connector has answered from it.
    ///
    /// # Errors
    /// Every fault of the report; none of them holds a value.
    pub fn reported(mut self, verb: Verb, report: &[u8]) -> Result<Self, Vec<SpecFault>> {
        Report::parse(verb, report)?;
        let text = String::from_utf8(report.to_vec()).map_err(|_| vec![SpecFault::new("", "is no UTF-8")])?;
        self.report = Some((verb.as_str().to_owned(), text));
        Ok(self)
    }

    /// What was reported for this verb, if anything was.
    pub fn report(&self, verb: Verb) -> Option<Report> {
        let (reported, text) = self.report.as_ref()?;
        (reported == verb.as_str()).then(|| Report::parse(verb, text.as_bytes()).ok()).flatten()
    }

    /// The receipt to store.
    ///
    /// # Panics
    /// Never: texts and numbers can always be written.
    pub fn receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).expect("texts and numbers can be written"))
    }
}

//! A change is what people do to a request's clock: it waits, goes on, is extended, or its receipt is acknowledged.

use super::{ClockFacts, Deadlines, ExtensionNotice, Pause};
use crate::regulation::PauseKind;
use jiff::Timestamp;
use jiff::civil::Date;

/// What somebody wants of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It waits for something since then.
    Pause {
        /// What is awaited.
        kind: PauseKind,
        /// When it was asked for.
        from: Timestamp,
    },
    /// What it waited for came then.
    Resume {
        /// Which of several; none where there is one only.
        kind: Option<PauseKind>,
        /// When it came.
        to: Timestamp,
    },
    /// The person was told of an extension.
    Extend(ExtensionNotice),
    /// Receipt was acknowledged to the person.
    Acknowledge {
        /// When.
        at: Timestamp,
    },
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What was given makes no sense: the member, and what would be right.
    Fault(&'static str, String),
    /// It cannot be done as things stand.
    Conflict(String),
}

/// Minutes of clock difference between us and whoever tells us instants are no future.
const SKEW_SECONDS: i64 = 300;

impl ClockFacts {
    /// The facts after a change. `now` is the present; what happened cannot lie in the future, nor before the request.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn after(&self, change: Change, now: Timestamp) -> Result<Self, Refusal> {
        let mut facts = self.clone();
        match change {
            Change::Pause { kind, from } => {
                self.is_past("from", from, now)?;
                if let Some(open) = self.pauses.iter().find(|pause| pause.kind == kind && pause.to.is_none()) {
                    let since = open.from;
                    return Err(Refusal::Conflict(format!(
                        "it waits for {kind} since {since} already; resume it first"
                    )));
                }
                facts.pauses.push(Pause { kind, from, to: None });
            }
            Change::Resume { kind, to } => {
                self.is_past("to", to, now)?;
                let open: Vec<usize> = (0..self.pauses.len())
                    .filter(|i| self.pauses[*i].to.is_none() && kind.is_none_or(|kind| self.pauses[*i].kind == kind))
                    .collect();
                let [one] = open[..] else {
                    let kinds: Vec<&str> =
                        self.pauses.iter().filter(|p| p.to.is_none()).map(|p| p.kind.as_str()).collect();
                    return Err(match (kinds.as_slice(), kind) {
                        ([], _) => Refusal::Conflict("it waits for nothing: there is no pause to end".to_owned()),
                        (kinds, None) => Refusal::Fault(
                            "kind",
                            format!("it waits for several things; name one of {}", kinds.join(", ")),
                        ),
                        (kinds, Some(kind)) => {
                            Refusal::Conflict(format!("it does not wait for {kind}, but for {}", kinds.join(", ")))
                        }
                    });
                };
                let pause = &mut facts.pauses[one];
                if to < pause.from {
                    let detail = format!("lies before {}, when the pause began", pause.from);
                    return Err(Refusal::Fault("to", detail));
                }
                pause.to = Some(to);
            }
            Change::Extend(notice) => {
                self.is_past("granted_at", notice.granted_at, now)?;
                if let Some(before) = self.extension {
                    let told = before.granted_at;
                    return Err(Refusal::Conflict(format!(
                        "it was extended once already, as the person was told at {told}"
                    )));
                }
                facts.extension = Some(notice);
            }
            Change::Acknowledge { at } => {
                self.is_past("acknowledged_at", at, now)?;
                if let Some(before) = self.acknowledged_at {
                    return Err(Refusal::Conflict(format!("its receipt was acknowledged at {before} already")));
                }
                facts.acknowledged_at = Some(at);
            }
        }
        Ok(facts)
    }

    /// Whether anything is awaited.
    pub fn is_waiting(&self) -> bool {
        self.pauses.iter().any(|pause| pause.to.is_none())
    }

    fn is_past(&self, member: &'static str, at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        let received = self.data_subject_received_at.unwrap_or(self.instruction_received_at);
        if at < received {
            return Err(Refusal::Fault(member, format!("lies before the receipt of the request at {received}")));
        }
        if at.as_second() > now.as_second() + SKEW_SECONDS {
            return Err(Refusal::Fault(member, "lies in the future".to_owned()));
        }
        Ok(())
    }
}

impl Deadlines {
    /// Whether the extension that these dates were computed with counts anywhere.
    ///
    /// # Errors
    /// Why it is void, with the day by which the person had to be told.
    pub fn extension_counts(&self, until: Option<Date>) -> Result<(), Refusal> {
        let laws: Vec<_> = if self.statutory_all.is_empty() {
            self.statutory.iter().collect()
        } else {
            self.statutory_all.iter().collect()
        };
        let extended = || laws.iter().filter(|law| law.extended == Some(true));
        // A notice that names a day before the rule's own gives nobody more time.
        let idle = |law: &&&super::StatutoryDue| law.extension_names_date && until.is_some_and(|day| day < law.due_on);
        if let Some(law) = extended().next() {
            if extended().all(|law| idle(&law)) {
                let detail = format!("is no later than {}, by when the person is to be answered anyway", law.due_on);
                return Err(Refusal::Fault("until", detail));
            }
            return Ok(());
        }
        let Some(by) = laws.iter().filter_map(|law| law.extension_notice_by).max() else {
            let rules: Vec<&str> = laws.iter().map(|law| law.rule.as_str()).collect();
            return Err(Refusal::Conflict(if rules.is_empty() {
                "no law that governs this request sets a date, so there is nothing to extend".to_owned()
            } else {
                format!("the extension is void: {} knows none", rules.join(" and "))
            }));
        };
        if until.is_none() && laws.iter().all(|law| law.extension_names_date) {
            return Err(Refusal::Fault(
                "until",
                "is missing; under this rule the notice itself names the new date".to_owned(),
            ));
        }
        Err(Refusal::Conflict(format!(
            "the extension is void: the person had to be told, with the reasons, by {by}; the date stays"
        )))
    }
}

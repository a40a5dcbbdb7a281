//! What is asked of the script in Redis and what it answers, as JSON.

use redress_domain::limits::{Ask, Decision, Feedback, Reason, Rules};
use serde_json::{Value, json};

/// What is asked.
pub(super) enum Op<'a> {
    /// May this call be made?
    Take(&'a Ask),
    /// This call has ended.
    Back(&'a str),
    /// This call is under way still, or (`again`) not yet.
    Renew { id: &'a str, lease_ms: i64, again: bool },
    /// The vendor said this.
    Told(&'a Feedback),
}

/// A question about one credential.
pub(super) struct Question<'a> {
    pub(super) op: Op<'a>,
    pub(super) rules: &'a Rules,
    /// If nothing is known: for how long the credential was not in use (ms).
    pub(super) idle_ms: Option<i64>,
    /// What was bought of which day.
    pub(super) bought: Option<(i64, u64)>,
    /// Another clock than that of Redis: for tests.
    pub(super) now: Option<i64>,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Granted,
    Wait(i64, Reason),
    Pay,
    /// The ledger's slot ended before the call could begin: only a process by itself says so.
    Record,
    Done,
    /// The place of the call is gone.
    Gone,
    /// Nothing is known about the credential.
    Unknown,
}

/// What nobody asks about any more goes after so long beyond its longest window (ms).
const KEPT_MS: i64 = 60_000;

impl Question<'_> {
    pub(super) fn json(&self, run_id: &str) -> String {
        let windows: Vec<Value> = self
            .rules
            .windows
            .iter()
            .map(|w| json!({ "ms": w.ms, "limit": w.limit, "ordinary": w.ordinary }))
            .collect();
        let mut rules = json!({ "windows": windows, "settle": self.rules.settle_ms() });
        let mut ttl = self.rules.longest() + KEPT_MS;
        if let Some(day) = self.rules.day {
            rules["day"] = day.began_at.into();
            ttl = ttl.max(day.ends_at - day.began_at);
        }
        if let Some(concurrency) = self.rules.concurrency {
            rules["concurrency"] = concurrency.into();
        }
        let mut question = json!({ "run": run_id, "rules": rules });
        match &self.op {
            Op::Take(ask) => {
                question["op"] = "take".into();
                question["ask"] = json!({
                    "id": ask.id, "cost": ask.cost, "urgent": ask.urgent, "group": ask.group, "items": ask.items,
                    "batch": ask.batch, "lease": ask.lease_ms,
                });
            }
            Op::Back(id) => {
                question["op"] = "back".into();
                question["id"] = (*id).into();
            }
            Op::Renew { id, lease_ms, again } => {
                question["op"] = "renew".into();
                question["id"] = (*id).into();
                question["lease"] = (*lease_ms).into();
                question["again"] = (*again).into();
            }
            Op::Told(feedback) => {
                question["op"] = "told".into();
                if let Some(wait) = feedback.wait_ms {
                    question["wait"] = wait.into();
                }
                if let Some((left, reset)) = feedback.left {
                    question["left"] = json!([left.min(1 << 50), reset]);
                }
            }
        }
        // A cool-down that somebody else was told must not be forgotten with this question.
        question["ttl"] = ttl.max(86_400_000 + KEPT_MS).into();
        if let Some(idle) = self.idle_ms {
            question["idle"] = idle.into();
        }
        if let Some((began_at, bought)) = self.bought {
            question["bought"] = json!([began_at, bought]);
        }
        if let Some(now) = self.now {
            question["now"] = now.into();
        }
        question.to_string()
    }
}

impl Answer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        Some(match value["k"].as_str()? {
            "granted" => Answer::Granted,
            "wait" => Answer::Wait(value["ms"].as_f64()? as i64, Reason::parse(value["why"].as_str()?)?),
            "pay" => Answer::Pay,
            "done" => Answer::Done,
            "gone" => Answer::Gone,
            "unknown" => Answer::Unknown,
            _ => return None,
        })
    }

    /// As the arithmetic of one process says it.
    pub(super) const fn of(decision: Decision, now: i64) -> Self {
        match decision {
            Decision::Granted => Answer::Granted,
            Decision::Wait(at, reason) => Answer::Wait(at - now, reason),
            Decision::Pay => Answer::Pay,
            Decision::Record => Answer::Record,
        }
    }
}

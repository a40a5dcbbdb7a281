//! An entry is one thing that somebody has to do, whatever kind it is of.

use crate::http::Edge;
use crate::http::problem::Problem;
use redress_domain::{ControllerId, Permit};
use redress_store::{Approval, DeadLetter, DeskTask, StuckGroup};

/// What is to be done.
pub(super) enum What {
    Stuck(StuckGroup),
    Task(DeskTask),
    Approval(Approval),
    Dead(DeadLetter),
}

/// One line of the queue.
pub(super) struct Entry {
    /// The first instant that is too late for a request behind it (Unix ms); none if no request waits for it.
    pub(super) due_before: Option<i64>,
    pub(super) since: Option<i64>,
    pub(super) controller_id: Option<ControllerId>,
    pub(super) what: What,
}

/// Everything that waits for a person, what becomes late first being the first; what makes nothing late comes last.
pub(super) async fn all(edge: &Edge, scope: Option<&[ControllerId]>) -> Result<Vec<Entry>, Problem> {
    let store = &edge.store;
    let (stuck, tasks) = tokio::try_join!(store.stuck_groups(scope), store.desk_tasks(scope))?;
    let (approvals, dead) = tokio::try_join!(store.desk_approvals(scope), store.dead_letters(scope))?;
    let mut all = Vec::with_capacity(stuck.len() + tasks.len() + approvals.len() + dead.len());
    all.extend(stuck.into_iter().map(|group| Entry {
        due_before: group.first.first().map(|first| first.due_before),
        since: group.first.iter().filter_map(|first| first.since).min(),
        controller_id: Some(group.controller_id.clone()),
        what: What::Stuck(group),
    }));
    all.extend(tasks.into_iter().map(|task| Entry {
        // Its report may be due before the request is.
        due_before: Some(task.report_by.map_or(task.request.due_before, |by| by.min(task.request.due_before))),
        since: task.request.since,
        controller_id: Some(task.controller_id.clone()),
        what: What::Task(task),
    }));
    all.extend(approvals.into_iter().map(|approval| Entry {
        due_before: Some(approval.request.due_before),
        since: approval.request.since,
        controller_id: Some(approval.controller_id.clone()),
        what: What::Approval(approval),
    }));
    all.extend(dead.into_iter().map(|letter| Entry {
        due_before: None,
        since: Some(letter.since),
        controller_id: letter.controller_id.clone(),
        what: What::Dead(letter),
    }));
    all.sort_by_key(|entry| (entry.due_before.unwrap_or(i64::MAX), entry.since.unwrap_or(i64::MAX)));
    Ok(all)
}

/// Who can do what needs a permit, in a few words.
pub(super) const fn who_can(permit: Permit) -> &'static str {
    match permit {
        Permit::Decide => "a privacy lead, or the controller itself",
        Permit::Task => "an analyst or lead, or the controller itself",
        Permit::Retry => "an analyst, lead or operator",
        Permit::Operate => "an operator or administrator",
        Permit::Connect => "an administrator",
        _ => "somebody with the right role",
    }
}

/// What helps against a cause: which permit it needs, and what to do. The words are those of connectors and of the engine.
pub(super) fn remedy(code: &str) -> (Permit, &'static str) {
    match code {
        "credentials_refused" => {
            (Permit::Connect, "Set credentials that the system takes; what waits goes on by itself.")
        }
        "no_system_instructed" => (Permit::Connect, "Connect a system that may do this, or reject the request."),
        "permission_denied" | "forbidden" => (Permit::Connect, "Give the account of the system the right it lacks."),
        "too_many_matches" | "ambiguous" | "identifiers_contradict" => (
            Permit::Retry,
            "Look at the records in the system: which are the person's? Mend them there, then try again.",
        ),
        "residue" => (Permit::Retry, "Find out what keeps or restores the records, then try again."),
        "quarantined" => (Permit::Retry, "Look at the workers' logs for what killed them, then try again."),
        _ => (Permit::Retry, "Mend what is named, then try again."),
    }
}

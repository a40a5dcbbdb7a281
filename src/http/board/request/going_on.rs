//! What is going on with a request, in one sentence, and the action that helps.

use super::super::parts::{moment, plain};
use super::Shown;
use super::actions::Action;
use maud::{Markup, html};
use redress_domain::stage::Stage;
use redress_domain::step::StepState;

/// The action that brings the request on, if a person has to do something and this person can.
pub(super) fn helps(shown: &Shown<'_>) -> Option<Action> {
    let row = &shown.detail.row;
    let action = match row.stage {
        _ if row.closed_at.is_some() => return None,
        _ if row.attention.is_some() => Action::Retry,
        Stage::AwaitingApproval | Stage::Review => Action::Approve,
        Stage::AwaitingController => Action::Resume,
        _ => return None,
    };
    (shown.viewer.may(action.permit()) && action.obstacle(shown).is_none()).then_some(action)
}

/// The sentence, with a way to the action.
pub(super) fn card(shown: &Shown<'_>, helps: Option<Action>) -> Markup {
    let alert = shown.detail.row.attention.is_some() || late(shown).is_some();
    html! {
        p.notice.alert[alert] role="status" {
            bdi { (sentence(shown)) }
            @if let Some(late) = late(shown) { " " bdi { (late) } }
            @if helps.is_some() { " " a href="#actions" { "What helps" } }
        }
    }
}

fn late(shown: &Shown<'_>) -> Option<String> {
    let foreseen = shown.foreseen.as_ref()?;
    let days = foreseen.late_by_days?;
    let why = foreseen.because.first().map(|why| format!(" {why}")).unwrap_or_default();
    Some(format!("It will be late by {days} {}.{why}", if days == 1 { "day" } else { "days" }))
}

fn sentence(shown: &Shown<'_>) -> String {
    let row = &shown.detail.row;
    let steps = &shown.detail.steps;
    let zone = shown.lens.zone();
    if let Some(at) = row.closed_at {
        let on_time = if at < row.due_before { "in time" } else { "late" };
        return match row.stage {
            Stage::Completed => format!("It was completed {on_time}, and seen to be done in every system."),
            Stage::PartiallyCompleted => {
                format!("It was completed {on_time}; some records stay, each for a named reason.")
            }
            stage => format!("It ended as {}.", plain(stage.as_str())),
        };
    }
    if let Some(attention) = &row.attention {
        return format!("It cannot go on by itself: {attention}. Somebody has to mend that and try again.");
    }
    let count = |wanted: &dyn Fn(StepState) -> bool| steps.iter().filter(|step| wanted(step.status)).count();
    match row.stage {
        Stage::AwaitingApproval => "It waits until somebody approves it; nothing is done before.".to_owned(),
        Stage::Review => {
            "Everything was found; somebody has to look at the result before it is handed over.".to_owned()
        }
        Stage::AwaitingController => {
            let kinds = row.deadlines["waits_for"].as_array().into_iter().flatten().filter_map(|kind| kind.as_str());
            let kinds = kinds.map(plain).collect::<Vec<_>>().join(" and ");
            let what = if kinds.is_empty() { "an answer".to_owned() } else { kinds };
            format!("It waits for {what}; nothing is done until it comes.")
        }
        Stage::CoolingOff => "It can still be withdrawn; the work begins when that time is over.".to_owned(),
        Stage::InProgress | Stage::Verifying => {
            let settled = steps.iter().filter(|step| step.status.is_settled(step.verb)).count();
            let task = count(&|status| status == StepState::External);
            let waiting = if task > 0 { format!(" {task} wait for a report or a vendor.") } else { String::new() };
            let next = steps.iter().filter_map(|step| step.next_attempt_at).min();
            let next = next.map(|at| format!(" The next try is on {}.", moment(at, zone))).unwrap_or_default();
            format!("The work is under way: {settled} of {} systems are done.{waiting}{next}", steps.len())
        }
        Stage::Delivering => "Everything is done; the answer is being made.".to_owned(),
        _ => "It was received and is about to begin.".to_owned(),
    }
}

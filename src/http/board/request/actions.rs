//! What can be done about a request: each action with what it does, asked for once more and with a reason; and of those that cannot be
//! done now, why not.

use super::super::parts::{form, plain};
use super::Shown;
use maud::{Markup, html};
use redress_domain::Permit;
use redress_domain::regulation::PauseKind;
use redress_domain::stage::{Event, Stage};
use redress_domain::step::StepState;

/// Reasons for which a request is refused, by what the law says; legal grounds first.
pub(super) const REASONS: [(&str, &str); 22] = [
    ("identity_unverified", "Identity not proven (GDPR Art. 12(2), (6))"),
    ("agent_not_authorised", "Agent not authorised"),
    ("child_authority_missing", "No proof of parental responsibility"),
    ("no_match_found", "Nothing is held about the person"),
    ("not_our_controller", "Meant for another controller"),
    ("duplicate_of", "Same as another open request"),
    ("manifestly_unfounded", "Manifestly unfounded (GDPR Art. 12(5))"),
    ("excessive_or_repetitive", "Excessive or repetitive (GDPR Art. 12(5))"),
    ("exempt_expression", "Freedom of expression (GDPR Art. 17(3)(a))"),
    ("exempt_legal_obligation", "Legal obligation (GDPR Art. 17(3)(b))"),
    ("exempt_public_health", "Public health (GDPR Art. 17(3)(c))"),
    ("exempt_archive_research", "Archiving or research (GDPR Art. 17(3)(d))"),
    ("exempt_legal_claims", "Legal claims (GDPR Art. 17(3)(e))"),
    ("third_party_rights", "Rights of others (GDPR Art. 15(4))"),
    ("trade_secret", "Trade secret"),
    ("security_exception", "Security"),
    ("statutory_retention", "Has to be kept by law"),
    ("contract_in_force", "Needed for a contract in force"),
    ("technically_impossible", "Technically impossible"),
    ("disproportionate_effort", "Disproportionate effort (11 CCR 7022(b)(3))"),
    ("fraud_suspected", "Fraud suspected"),
    ("unlawful_instruction", "The instruction is unlawful (GDPR Art. 28(3))"),
];

/// An action that the interface has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Approve,
    Retry,
    Resume,
    Acknowledge,
    Pause,
    Extend,
    Withdraw,
    Reject,
}

impl Action {
    pub(super) const ALL: [Action; 8] = [
        Action::Approve,
        Action::Retry,
        Action::Resume,
        Action::Acknowledge,
        Action::Pause,
        Action::Extend,
        Action::Withdraw,
        Action::Reject,
    ];

    /// Its part of the path of the call.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Action::Approve => "approve",
            Action::Retry => "retry",
            Action::Resume => "resume",
            Action::Acknowledge => "acknowledge",
            Action::Pause => "pause",
            Action::Extend => "extend",
            Action::Withdraw => "withdraw",
            Action::Reject => "reject",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Action::Approve => "Approve",
            Action::Retry => "Try again",
            Action::Resume => "Resume the clock",
            Action::Acknowledge => "Acknowledge receipt",
            Action::Pause => "Pause the clock",
            Action::Extend => "Extend",
            Action::Withdraw => "Withdraw",
            Action::Reject => "Reject",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Action::Approve => "approved",
            Action::Retry => "retried",
            Action::Resume => "resumed",
            Action::Acknowledge => "acknowledged",
            Action::Pause => "paused",
            Action::Extend => "extended",
            Action::Withdraw => "withdrawn",
            Action::Reject => "rejected",
        }
    }

    pub(super) const fn permit(self) -> Permit {
        match self {
            Action::Approve | Action::Extend | Action::Reject => Permit::Decide,
            Action::Retry => Permit::Retry,
            Action::Resume | Action::Acknowledge | Action::Pause | Action::Withdraw => Permit::Act,
        }
    }

    /// What it does, before it is done.
    const fn meaning(self) -> &'static str {
        match self {
            Action::Approve => "The work begins, or the result is handed over.",
            Action::Retry => "What needed attention is tried again now, in every system in which it did.",
            Action::Resume => "What was awaited has come; the clock goes on and so does the work.",
            Action::Acknowledge => "Records that the person was told that the request has come.",
            Action::Pause => {
                "Something is missing that only others can give. Nothing is done meanwhile; the law's date moves only where the law says so."
            }
            Action::Extend => {
                "Moves the law's date once, if requests are complex or many and the person is told why in the first month. Too late it is recorded as void."
            }
            Action::Withdraw => "Ends the request. What was done stays done and is in the log; nothing more is done.",
            Action::Reject => {
                "Ends the request with a reason. The controller answers the person, with the right to complain."
            }
        }
    }

    /// Why it cannot be done as things stand; none if it can.
    pub(super) fn obstacle(self, shown: &Shown<'_>) -> Option<&'static str> {
        let row = &shown.detail.row;
        let facts = row.clock.as_ref().map(|clock| &clock.facts);
        let ended = row.closed_at.is_some();
        let waiting = facts.is_some_and(redress_domain::deadline::ClockFacts::is_waiting);
        match self {
            _ if ended && self != Action::Acknowledge => Some("the request has ended"),
            Action::Approve => (!matches!(row.stage, Stage::AwaitingApproval | Stage::Review))
                .then_some("it does not wait for an approval")
                .or(shown.eyes),
            Action::Retry => {
                let stuck = shown.detail.steps.iter().any(|step| step.status == StepState::NeedsAttention);
                (!stuck && row.attention.is_none()).then_some("nothing of it needs attention")
            }
            Action::Resume => (!waiting).then_some("its clock is not paused"),
            Action::Acknowledge => match facts {
                None => Some("it was accepted before clocks were kept"),
                Some(facts) => facts.acknowledged_at.is_some().then_some("it was acknowledged already"),
            },
            Action::Pause if facts.is_none() => Some("it was accepted before clocks were kept"),
            Action::Pause => {
                let asked = row.stage == Stage::AwaitingController || row.stage.after(Event::ControllerAsked).is_ok();
                (!asked).then_some("its answer is already on the way")
            }
            Action::Extend => match facts {
                None => Some("it was accepted before clocks were kept"),
                Some(facts) if facts.extension.is_some() => Some("it was extended already, which the law allows once"),
                Some(_) => row.deadlines["statutory"].is_null().then_some("no law gives it a date"),
            },
            Action::Withdraw => {
                row.stage.after(Event::Withdrawn).is_err().then_some("its answer is already on the way")
            }
            Action::Reject => row.stage.after(Event::Rejected).is_err().then_some("its answer is already on the way"),
        }
    }
}

/// Everything that can be done, the action that helps first; and why the others cannot.
pub(super) fn actions(shown: &Shown<'_>, helps: Option<Action>) -> Markup {
    let may: Vec<Action> = Action::ALL.into_iter().filter(|action| shown.viewer.may(action.permit())).collect();
    let (mut can, cannot): (Vec<Action>, Vec<Action>) =
        may.into_iter().partition(|action| action.obstacle(shown).is_none());
    can.sort_by_key(|action| Some(*action) != helps);
    let lacking: Vec<Permit> =
        [Permit::Act, Permit::Decide, Permit::Retry].into_iter().filter(|permit| !shown.viewer.may(*permit)).collect();
    html! {
        section.card #actions {
            h2 { "Actions" }
            @for action in &can { (one(shown, *action, Some(*action) == helps)) }
            @if can.is_empty() && lacking.len() < 3 { p.quiet { "There is nothing to be done by hand." } }
            @if !cannot.is_empty() {
                details { summary { "What cannot be done now, and why" }
                    ul { @for action in cannot { li { (action.name()) ": " (action.obstacle(shown).unwrap_or_default()) "." } } }
                }
            }
            @if !lacking.is_empty() {
                p.quiet { "Your role may not "
                    @for (n, permit) in lacking.iter().enumerate() { @if n > 0 { "; nor " } (permit.allows()) }
                    ". An administrator says who may." }
            }
        }
    }
}

fn one(shown: &Shown<'_>, action: Action, helps: bool) -> Markup {
    let id = &shown.detail.row.id;
    let path = format!("/v1/requests/{id}/{}", action.verb());
    let danger = matches!(action, Action::Withdraw | Action::Reject);
    html! {
        details.action open[helps] {
            summary { (action.name()) }
            p { (action.meaning()) }
            (form(shown.viewer, &path, &format!("/requests/{id}"), action.done(), &html! {
                (fields(shown, action))
                button.danger[danger].primary[helps] type="submit" { (action.name()) }
            }))
        }
    }
}

fn fields(shown: &Shown<'_>, action: Action) -> Markup {
    let reason = |required: bool, hint: &str| {
        html! {
            label { "Reason " span.quiet { (hint) }
                textarea name="reason" rows="2" maxlength="500" required[required] {} }
        }
    };
    match action {
        Action::Pause => html! {
            label { "What is awaited "
                select name="kind" required { @for kind in PauseKind::ALL { option value=(kind.as_str()) { (plain(kind.as_str())) } } } }
            (reason(false, "(kept sealed)"))
        },
        Action::Resume => {
            let facts = shown.detail.row.clock.as_ref().map(|clock| &clock.facts);
            let open: Vec<PauseKind> = facts
                .map(|facts| facts.pauses.iter().filter(|pause| pause.to.is_none()).map(|pause| pause.kind).collect())
                .unwrap_or_default();
            html! {
                label { "What came "
                    select name="kind" { @for kind in &open { option value=(kind.as_str()) { (plain(kind.as_str())) } } } }
                (reason(false, "(kept sealed)"))
            }
        }
        Action::Extend => html! {
            label { "Until " span.quiet { "(empty: as far as the law allows)" } input type="date" name="until"; }
            (reason(true, "(what the person was told; kept sealed)"))
        },
        Action::Reject => html! {
            label { "Reason "
                select name="reason" required {
                    option value="" { "Choose a reason" }
                    @for (code, text) in REASONS { option value=(code) { (text) } }
                } }
        },
        Action::Approve | Action::Retry | Action::Acknowledge | Action::Withdraw => html! {},
    }
}

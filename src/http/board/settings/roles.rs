//! The matrix of roles and what they allow, from the same `match` that decides at every call.

use crate::http::board::parts::plain;
use maud::{Markup, html};
use redress_domain::{Permit, Role};

/// What a role is for, in a sentence.
const fn meaning(role: Role) -> &'static str {
    match role {
        Role::ControllerAdmin => "Everything in its own controller, systems and keys too.",
        Role::ControllerUser => "Submits, reads, decides and fetches answers, for its own controller.",
        Role::Auditor => "Reads states, dates and the audit log. Never sees a name or an answer.",
        Role::PrivacyAnalyst => "Works on the requests of the controllers given to them.",
        Role::PrivacyLead => "As an analyst, and approves, rejects, extends and fetches answers.",
        Role::Operator => "Keeps systems and workers running. Sees no personal data.",
        Role::Admin => {
            "Connects systems, makes keys and says who may do what. Sees no personal data and decides about no request."
        }
        Role::BreakGlass => {
            "In an emergency, for minutes and for a reason, as a lead and an operator. Everybody is told."
        }
    }
}

pub(super) fn content() -> Markup {
    html! {
        section.card {
            h2 { "Who may do what" }
            p { "Whoever has several roles may do what any of them allows. What stands nowhere is not allowed." }
            div.scroll tabindex="0" role="region" aria-label="Roles and what they allow" {
                table.data {
                    caption { "What each role allows" }
                    thead { tr { th scope="col" { "May" } @for role in Role::ALL { th scope="col" { (plain(role.as_str())) } } } }
                    tbody {
                        @for permit in Permit::ALL {
                            tr {
                                th scope="row" { (permit.allows()) }
                                @for role in Role::ALL {
                                    td { @if role.may(permit) { "yes" @if role == Role::BreakGlass { " *" } } @else { span.quiet { "–" span.hidden { " no" } } } }
                                }
                            }
                        }
                    }
                }
            }
            p.quiet { "* only while it is taken up, under “My sessions”." }
        }
        section.card {
            h2 { "What they are for" }
            dl.facts {
                @for role in Role::ALL { dt { (plain(role.as_str())) } dd { (meaning(role)) } }
            }
        }
    }
}

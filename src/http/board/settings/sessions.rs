//! One's own sessions, each of which can be ended, and the emergency rights.

use crate::http::Edge;
use crate::http::auth::{Viewer, Who};
use crate::http::board::parts::{at, form, form_with, span, term};
use crate::http::glass::{MINUTES, REASON};
use crate::http::problem::Problem;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::{Permit, Role};
use redress_store::{Session, SessionRow};

const HERE: &str = "/settings/sessions";
/// More than anybody has.
const ROWS: i64 = 100;

pub(super) async fn content(edge: &Edge, viewer: &Viewer) -> Result<Markup, Problem> {
    let Some(session) = viewer.session() else { return Ok(none(viewer)) };
    let rows = edge.store.sessions(Some(&session.user_id), ROWS).await?;
    let idle = i64::try_from(edge.people.life().idle.as_millis()).unwrap_or(i64::MAX);
    Ok(html! {
        section.card {
            h2 { "Where you are signed in" }
            div.scroll tabindex="0" role="region" aria-label="Your sessions" {
                table.data {
                    caption { "Your sessions, the one used last first" }
                    thead { tr {
                        th scope="col" { "Signed in" } th scope="col" { "Last used" } th scope="col" { "Ends" } th scope="col" { "End it" }
                    } }
                    tbody { @for row in &rows { (line(viewer, session, row)) } }
                }
            }
            p.quiet { "A session ends at once when you end it, after " (span(idle)) " without use, and at the latest when it says." }
        }
        @if viewer.roles.iter().any(|role| role == Role::BreakGlass) { (glass(viewer, session)) }
    })
}

fn none(viewer: &Viewer) -> Markup {
    html! {
        section.card {
            h2 { "You are not signed in" }
            @match viewer.who {
                Who::Local => p { "You look at this board because you sit at its machine. " a href="/sign-in" { "Sign in" } " to act." },
                _ => p { "You look with an API key, which is no session. Whoever administers its controller can revoke it." },
            }
        }
    }
}

fn line(viewer: &Viewer, session: &Session, row: &SessionRow) -> Markup {
    let zone = TimeZone::UTC;
    html! {
        tr data-row {
            th scope="row" { (at(row.created_at, &zone)) @if row.id == session.id { " " span.badge.ok { "this one" } } }
            td.date { (at(row.seen_at, &zone)) }
            td.date { (at(row.expires_at, &zone)) }
            td {
                (form_with(viewer, &format!("/v1/sessions/{}", row.id), HERE, "ended", Some("delete"), &html! {
                    button type="submit" { "End" span.hidden { " the session of " (at(row.created_at, &zone)) } }
                }))
            }
        }
    }
}

fn glass(viewer: &Viewer, session: &Session) -> Markup {
    html! {
        section.card {
            h2 { (term("break_glass", "Emergency rights")) }
            @match session.glass_until {
                Some(until) => {
                    p { "You hold them until " (at(until, &TimeZone::UTC)) ". The notice above ends them." }
                }
                None => {
                    p { "They let you:" }
                    ul { @for permit in Permit::ALL { @if Role::BreakGlass.may(permit) { li { (permit.allows()) } } } }
                    p { "It is told at once to whoever runs this installation and in the audit log of each controller you see, and each view of a person says that it was in an emergency." }
                    details.action.danger {
                        summary { "Take them up" }
                        (form(viewer, "/v1/break-glass", HERE, "broken", &html! {
                            label { "Why, in a sentence (kept in the staff log; name no person)"
                                textarea name="reason" rows="3" required minlength=(REASON.start()) maxlength=(REASON.end()) {} }
                            label { "For how long"
                                select name="minutes:number" {
                                    @for minutes in [5, 15, 30, 60] { @if MINUTES.contains(&minutes) { option value=(minutes) selected[minutes == 15] { (minutes) " minutes" } } }
                                } }
                            button.danger type="submit" { "Take up emergency rights" }
                        }))
                    }
                }
            }
        }
    }
}

//! Emergency rights stand on the board as long as they last: for whoever holds them on every page, for those who answer for them
//! where they look first.

use super::parts::{at, form_with, moment};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::problem::Problem;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::Permit;

/// What stands on each page of somebody who has taken up emergency rights.
pub(super) fn own(viewer: &Viewer) -> Markup {
    let until = viewer.session().and_then(|session| session.glass_until);
    let Some(until) = until.filter(|_| viewer.roles.glass_is_broken()) else { return html! {} };
    html! {
        div.notice.alert role="status" {
            p { b { "You hold emergency rights" } " until " (at(until, &TimeZone::UTC)) ". Everybody is told, and what you see is recorded." }
            (form_with(viewer, "/v1/break-glass", "/settings/sessions", "ended", Some("delete"), &html! {
                button type="submit" { "End them now" }
            }))
        }
    }
}

/// What stands before those who administer people or decide: who holds emergency rights now, at controllers that they see.
pub(super) async fn others(edge: &Edge, viewer: &Viewer) -> Result<Markup, Problem> {
    if !viewer.may(Permit::People) && !viewer.may(Permit::Decide) {
        return Ok(html! {});
    }
    let own = viewer.session().map(|session| &session.id);
    let mut all = edge.store.broken_glass().await?;
    all.retain(|glass| Some(&glass.session) != own);
    all.retain(|glass| match (&viewer.scope, &glass.controllers) {
        (Some(seen), Some(reached)) => reached.iter().any(|id| seen.contains(id)),
        _ => true,
    });
    // Reasons may name things of other controllers; they are for those who administer everything.
    let reasons = viewer.may(Permit::People) && viewer.scope.is_none();
    Ok(html! {
        @for glass in &all {
            div.notice.alert role="status" {
                p {
                    b { "Emergency rights: " }
                    @if viewer.may(Permit::People) { bdi { (glass.name.expose()) } } @else { span.id { (glass.user_id) } }
                    " may see persons and decide until " (moment(glass.until, &TimeZone::UTC)) "."
                    @if reasons { " Reason: “" bdi { (glass.reason) } "”." }
                    " " a href="/audit?kind=break_glass" { "What was recorded" }
                }
            }
        }
    })
}

//! Whom notices go to: what came of it last, never an address.

use super::administers;
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::board::parts::{address, at, empty, form, part, plain};
use crate::http::notify::OPERATOR;
use crate::http::problem::Problem;
use crate::http::users::names;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::RouteId;
use redress_store::{Route, ToldRoute};
use std::collections::BTreeMap;

pub(super) async fn routes(edge: &Edge, viewer: &Viewer) -> Result<Markup, Problem> {
    let names = names(edge).await?;
    let mut routes = edge.store.routes().await?;
    // Whoever sees some controllers only sees their routes, and not the operator's.
    routes.retain(|route| match (&viewer.scope, &route.controller_id) {
        (None, _) => true,
        (Some(scope), Some(id)) => scope.contains(id),
        (Some(_), None) => false,
    });
    let told: BTreeMap<RouteId, ToldRoute> =
        edge.store.told_routes().await?.into_iter().map(|told| (told.route_id.clone(), told)).collect();
    let owner = |route: &Route| {
        route.controller_id.as_ref().map_or(OPERATOR, |id| names.get(id).map_or("?", String::as_str)).to_owned()
    };
    let how = html! {
        p { "Routes are written in files and taken in by " code { "redress apply FILE" } ": in a controller's file for its own people, in a file without a controller for yours. A route looks like this:" }
        pre { code {
            "[[notify]]\nname = \"privacy-team\"\nrole = \"privacy_team\"\nchannel = \"email\"\nto = [\"privacy@processor.example\"]\n"
        } }
    };
    if routes.is_empty() {
        return Ok(empty("Nobody is told yet", &how));
    }
    Ok(html! {
        section.card {
            h2 { "Who is told what" }
            div.scroll tabindex="0" role="region" aria-label="Routes of notices" {
                table.data {
                    caption { "Routes of notices, by owner and name" }
                    thead { tr {
                        th scope="col" { "Route" } th scope="col" { "Role" } th scope="col" { "Channel" } th scope="col" { "Of what" }
                        th scope="col" { "When" } th scope="col" { "Last message" }
                        @if administers(viewer) { th scope="col" { "Try it" } }
                    } }
                    tbody { @for route in &routes { (route_line(viewer, route, &owner(route), told.get(&route.id))) } }
                }
            }
        }
        section.card { h2 { "To add or change a route" } (how) }
    })
}

fn route_line(viewer: &Viewer, route: &Route, owner: &str, told: Option<&ToldRoute>) -> Markup {
    html! {
        tr data-row {
            th scope="row" { (owner) "/" (route.name) }
            td { (plain(route.role.as_str())) }
            td { (plain(route.channel.as_str())) }
            td { @match &route.kinds {
                None => "what its role hears",
                Some(kinds) => (kinds.iter().map(|kind| plain(kind.as_str())).collect::<Vec<_>>().join(", ")),
            } }
            td { @match route.delivery.as_str() { "auto" => "urgent at once, the rest in the morning", "now" => "at once", _ => "in the morning" } }
            td { (last_message(told)) }
            @if administers(viewer) {
                td {
                    (form(viewer, &address(&format!("/v1/notify-routes/{}/test", part(&route.name)), &[("controller", owner)]), "/settings/notifications", "tested", &html! {
                        button type="submit" { "Send a test" span.hidden { " to " (owner) "/" (route.name) } }
                    }))
                }
            }
        }
    }
}

fn last_message(told: Option<&ToldRoute>) -> Markup {
    let zone = TimeZone::UTC;
    html! {
        @match told {
            None => span.quiet { "none yet" },
            Some(told) => @match told.outcome.as_deref() {
                Some("sent") => { span.badge.ok { "sent" } " " (at(told.sent_at.unwrap_or(told.created_at), &zone)) }
                Some(other) => { span.badge.alert { (plain(other)) } " " (at(told.created_at, &zone)) " – nobody has heard" }
                None if told.failures > 0 => { span.badge.alert { "not heard yet" } " " (told.failures) " tries failed" }
                None => span.badge { "on its way" },
            }
        }
    }
}

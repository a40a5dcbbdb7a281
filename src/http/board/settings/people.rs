//! Who signed in here, and what they may do: changed with a few clicks, each of them in the staff log.

use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::board::parts::{at, form, form_with, plain};
use crate::http::problem::Problem;
use crate::http::users::{Names, names, scope_names};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::{Role, UserId};
use redress_store::User;

/// People on one page.
const ROWS: i64 = 100;
const HERE: &str = "/settings/people";

pub(super) async fn content(edge: &Edge, viewer: &Viewer, after: Option<&UserId>) -> Result<Markup, Problem> {
    let users = edge.store.users(after, ROWS).await?;
    let names = names(edge).await?;
    let more = users.len() as i64 == ROWS;
    Ok(html! {
        section.card {
            h2 { "People" }
            p { "Whoever signs in gets the roles that their groups at the identity provider stand for, or those of their link, unless you give them others here. Without a role nobody may do anything." }
            @if users.is_empty() {
                p { "Nobody has signed in yet. Whoever does appears here." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="People who signed in" {
                    table.data {
                        caption { "People who signed in, the first one first" }
                        thead { tr {
                            th scope="col" { "Who" } th scope="col" { "Roles" } th scope="col" { "Sees" }
                            th scope="col" { "Last sign-in" } th scope="col" { "Change" }
                        } }
                        tbody { @for user in &users { (row(viewer, user, &names)) } }
                    }
                }
            }
            @if more && let Some(last) = users.last() {
                nav.pager aria-label="Pages" { a href={ (HERE) "?after=" (last.id) } { "More people" } }
            }
        }
        section.card {
            h2 { "What is recorded" }
            p { "Each change stands in the " a href="/audit?log=staff" { "staff log" } ", with who made it and what was before." }
        }
    })
}

fn row(viewer: &Viewer, user: &User, names: &Names) -> Markup {
    let own = viewer.session().is_some_and(|session| session.user_id == user.id);
    let sees = scope_names(user.controllers.as_deref(), names);
    html! {
        tr data-row {
            th scope="row" {
                bdi { (user.name.expose()) }
                @if own { " " span.badge { "you" } }
                @if let Some(email) = &user.email { br; bdi.quiet { (email.expose()) } }
                br; span.id.quiet { (user.id) }
            }
            td {
                @if user.roles.is_empty() { span.badge.warn { "none" } } @else { (plain(&user.roles.to_string())) }
                br; span.quiet { @if user.given { "given by hand" } @else if comes_by_link(user) { "by their link" } @else { "by groups" } }
                @if let Some(since) = user.disabled_at { br; span.badge.alert { "disabled" } " " (at(since, &TimeZone::UTC)) }
            }
            td { @match &sees {
                None => "every controller",
                Some(all) if all.is_empty() => "no controller",
                Some(all) => (all.join(", ")),
            } }
            td.date { (at(user.seen_at, &TimeZone::UTC)) }
            td { (actions(viewer, user, sees.as_deref(), own)) }
        }
    }
}

fn actions(viewer: &Viewer, user: &User, sees: Option<&[&str]>, own: bool) -> Markup {
    let path = format!("/v1/users/{}", user.id);
    let change = |fields: &Markup| form_with(viewer, &path, HERE, "saved", Some("put"), fields);
    let scope = sees.map(|all| all.join(", "));
    html! {
        details.action {
            summary { "Roles" }
            (change(&html! { div {
                fieldset {
                    legend { "Roles of " bdi { (user.name.expose()) } }
                    // Without a checked box this alone is sent: an empty list, and not "as their groups say".
                    input type="hidden" name="roles:list" value=",";
                    @for role in Role::ALL {
                        label { input type="checkbox" name="roles:list" value=(role) checked[user.roles.iter().any(|held| held == role)]; " " (plain(role.as_str())) }
                    }
                }
                label { "Controllers, by name, separated by commas; empty: every controller"
                    input type="text" name="controllers:list" value=[&scope] autocomplete="off"; }
                (disabled(user.disabled_at.is_some()))
                p.quiet { "It holds at their next click, and " @if comes_by_link(user) { "a new link does" } @else { "groups do" } " not change it any more." }
                button.primary type="submit" { "Give these roles" }
            } }))
            @if user.given {
                (change(&html! {
                    (disabled(user.disabled_at.is_some()))
                    @if comes_by_link(user) {
                        p.quiet { "They are signed out; the roles of the next link that they use hold." }
                        button type="submit" { "Let their next link decide" }
                    } @else {
                        p.quiet { "They are signed out; from their next sign-in on their groups decide." }
                        button type="submit" { "Let the groups decide again" }
                    }
                }))
            }
        }
        details.action {
            summary { "Sign out" }
            (form(viewer, &format!("{path}/sign-out"), HERE, "signed_out", &html! {
                p { "All browsers in which " bdi { (user.name.expose()) } " is signed in are signed out at once." }
                button type="submit" { "Sign out everywhere" }
            }))
        }
        @if !own {
            details.action.danger {
                summary { @if user.disabled_at.is_some() { "Let in again" } @else { "Disable" } }
                (change(&html! {
                    input type="hidden" name="roles:list" value=",";
                    @for role in user.roles.iter() { input type="hidden" name="roles:list" value=(role); }
                    @if let Some(scope) = &scope { input type="hidden" name="controllers:list" value=(if scope.is_empty() { "," } else { scope }); }
                    (disabled(user.disabled_at.is_none()))
                    @if user.disabled_at.is_some() {
                        p { "They may sign in again, with the roles that stand here." }
                        button type="submit" { "Let them in again" }
                    } @else {
                        p { "They are signed out everywhere and cannot sign in until you let them in again. Their roles then count as given by hand." }
                        button.danger type="submit" { "Disable" }
                    }
                }))
            }
        }
    }
}

/// Whether somebody is known by a link of the operator's, and has no groups.
fn comes_by_link(user: &User) -> bool {
    user.issuer == crate::link::ISSUER
}

fn disabled(yes: bool) -> Markup {
    html! { input type="hidden" name="disabled:flag" value=(yes); }
}

//! Legal holds on the board: what stops a request and the forms for it, and the list of all holds as a tab of the work queue.

use super::parts::{address, at, controller_path, count, empty, form, plain, term};
use crate::http::auth::Viewer;
use crate::http::holds::state;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::hold::HoldScope;
use redress_domain::{DsrId, Permit};
use redress_store::{HoldRow, RequestHold};
use std::collections::BTreeSet;

use super::queue::Names;

/// The longest reason, in bytes.
const WORDS_MAX: usize = 500;

/// The holds on a request, what they stop, and what can be done about them.
pub(super) fn card(
    viewer: &Viewer,
    (id, controller): (&DsrId, &str),
    holds: &[RequestHold],
    stopped: &[&str],
    is_over: bool,
    zone: &TimeZone,
) -> Markup {
    let may = viewer.may(Permit::Decide);
    if holds.is_empty() && (!may || is_over) {
        return html! {};
    }
    let here = format!("/requests/{id}");
    html! {
        section.card #holds {
            h2 { (term("legal_hold", "Legal holds")) }
            @if holds.is_empty() { p.quiet { "No hold reaches this request." } }
            @for on in holds {
                @let hold = &on.hold;
                h3 { bdi { (hold.basis) } @if hold.gag { " " span.badge { "gagged" } } }
                dl.facts {
                    dt { "Hold" } dd { span.id { (hold.id) } }
                    dt { "Reaches" } dd { (reaches(hold)) }
                    @if let Some(matter) = hold.matter.as_ref().filter(|_| !viewer.is_pseudonymised()) { dt { "Matter" } dd { bdi { (matter) } } }
                    dt { "Since" } dd { (at(on.since, zone)) ", set by " span.id { (hold.set_by) } }
                    dt { "To be looked at by" } dd { (hold.review_on) }
                }
                @if may { (release(viewer, controller, hold, &here)) }
            }
            @if !stopped.is_empty() {
                p { "Not erased or changed in the meantime: " b { (stopped.join(", ")) } ". Exports and second reads go on, and so do the dates." }
                @if may && !is_over {
                    details.action {
                        summary { "Keep the data" }
                        p { "The request ends without changing what the hold stops. The answer and the certificate say so, with the reason." }
                        (form(viewer, &format!("/v1/requests/{id}/keep"), &here, "kept", &html! {
                            (reason("why the data are kept instead of waiting for the release"))
                            button.danger type="submit" { "Keep the data" }
                        }))
                    }
                }
            }
            @if may && !is_over {
                details.action {
                    summary { "Set a hold on this request" }
                    p { "Nothing of this request is erased or changed from then on, until somebody releases the hold." }
                    (form(viewer, &address("/v1/holds", &[("controller", controller)]), &here, "held", &html! {
                        input type="hidden" name="scope" value="request";
                        input type="hidden" name="request" value=(id);
                        (fields(viewer))
                        button.primary type="submit" { "Set the hold" }
                    }))
                }
            }
        }
    }
}

/// What every form for a new hold asks.
fn fields(viewer: &Viewer) -> Markup {
    html! {
        label { "Basis " span.quiet { "(the law or order; names no person)" } input type="text" name="basis" required maxlength=(WORDS_MAX); }
        label { "Matter " span.quiet { "(kept sealed)" } textarea name="matter" rows="2" maxlength=(WORDS_MAX) {} }
        label { "To be looked at by " input type="date" name="review_on" required; }
        @if viewer.sees_gagged() {
            label { input type="checkbox" name="gag:flag" value="true"; " Gagged: nobody outside may learn of it" }
        }
    }
}

fn reason(why: &str) -> Markup {
    html! { label { "Reason " span.quiet { "(" (why) "; kept sealed)" } textarea name="reason" rows="2" required maxlength=(WORDS_MAX) {} } }
}

fn release(viewer: &Viewer, controller: &str, hold: &HoldRow, here: &str) -> Markup {
    let call = |verb: &str| address(&format!("/v1/holds/{}/{verb}", hold.id), &[("controller", controller)]);
    html! {
        details.action {
            summary { "Release" }
            p { "What this hold stops goes on by itself, unless another hold stops it too. What is erased then cannot be brought back." }
            (form(viewer, &call("release"), here, "hold_released", &html! {
                (reason("why the data need not be kept any more"))
                button.danger type="submit" { "Release the hold" }
            }))
        }
        details.action {
            summary { "Still needed" }
            (form(viewer, &call("review"), here, "hold_reviewed", &html! {
                label { "To be looked at again by " input type="date" name="review_on" required; }
                (reason("why the data still have to be kept"))
                button type="submit" { "Record the review" }
            }))
        }
    }
}

fn reaches(hold: &HoldRow) -> Markup {
    html! {
        @match hold.scope {
            HoldScope::Subject => { "one person, by " (hold.identifier_types.iter().map(|kind| plain(kind)).collect::<Vec<_>>().join(", ")) }
            HoldScope::Request => { "one request" @if let Some(id) = &hold.dsr_id { ", " a href={ "/requests/" (id) } { (id) } } }
            HoldScope::Controller => { "every request of the controller" }
        }
        @if let Some(systems) = &hold.systems { ", in " (systems.join(", ")) }
    }
}

/// All holds, those to be looked at first.
pub(super) fn list(viewer: &Viewer, names: &Names, holds: &[HoldRow], now: i64) -> Markup {
    let may = viewer.may(Permit::Decide);
    let due = holds.iter().filter(|hold| is_due(hold, now)).count();
    html! {
        @if due > 0 { p.notice.alert { (count(due as i64)) " to be looked at: the day of the review is over." } }
        @if holds.is_empty() {
            (empty("No legal hold is in force", &html! { p { "A hold keeps data from being erased or changed. It is set on a request's page, here, or by " code { "redress hold set" } "." } }))
        } @else {
            section.card {
                h2 { (term("legal_hold", "Legal holds")) }
                div.scroll tabindex="0" role="region" aria-label="Legal holds" {
                    table.data {
                        caption.hidden { "Legal holds that are not released, those to be looked at first" }
                        thead { tr { th scope="col" { "Hold" } th scope="col" { "Controller" } th scope="col" { "Reaches" } th scope="col" { "State" } th scope="col" { "Review" }
                            @if may { th scope="col" { "Action" } } } }
                        tbody {
                            @for hold in holds {
                                @if let Some(controller) = names.get(&hold.controller_id) {
                                    tr {
                                        td { bdi { (hold.basis) } @if hold.gag { " " span.badge { "gagged" } } br; span.id { (hold.id) } }
                                        td { a href=(controller_path(&controller.name)) { (controller.name) } }
                                        td { (reaches(hold)) }
                                        td { (plain(state(hold))) }
                                        td { (hold.review_on) @if is_due(hold, now) { " " span.status.alert { "over" } } }
                                        @if may { td { (release(viewer, &controller.name, hold, "/queue?kind=holds")) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if may { (set(viewer, names)) }
    }
}

fn is_due(hold: &HoldRow, now: i64) -> bool {
    hold.released_at.is_none() && hold.review_at <= now
}

/// A form for each controller, since a form is one call of the interface: a person's identifier, or the whole controller.
fn set(viewer: &Viewer, names: &Names) -> Markup {
    const FORMS_MAX: usize = 20;
    let by_name: BTreeSet<&str> = names.values().map(|controller| controller.name.as_str()).collect();
    html! {
        section.card {
            h2 { "Set a hold" }
            @if by_name.len() > FORMS_MAX {
                p.quiet { "There are too many controllers to show a form for each: open a request of the controller, or use " code { "redress hold set" } "." }
            } @else {
                @for controller in &by_name {
                    details.action {
                        summary { "For " (controller) }
                        (form(viewer, &address("/v1/holds", &[("controller", controller)]), "/queue?kind=holds", "held", &html! {
                            label { "Reaches "
                                select name="scope" required {
                                    option value="subject" { "one person, by the identifier below" }
                                    option value="controller" { "every request of the controller" }
                                } }
                            label { "Identifier " span.quiet { "(kept as a keyed hash only; empty for every request)" }
                                select name="identifiers.0.type" {
                                    option value="" { "none" }
                                    @for kind in redress_domain::IdentifierType::ALL { option value=(kind.as_str()) { (plain(kind.as_str())) } }
                                } }
                            label { "Its value " input type="text" name="identifiers.0.value" autocomplete="off" maxlength="255"; }
                            (fields(viewer))
                            button.primary type="submit" { "Set the hold" }
                        }))
                    }
                }
            }
        }
    }
}

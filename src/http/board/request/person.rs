//! Who the request is about: masked, until somebody who may see it says why they need to. And the answer: package and certificate.

use super::super::parts::{at, form, plain, term};
use super::{Shown, text};
use maud::{Markup, html};
use redress_domain::{Permit, RequestType};
use serde_json::Value;

/// Reasons for looking that need no words.
const REASONS: [(&str, &str); 5] = [
    ("identity_check", "Compare with what the controller asks about"),
    ("wrong_match", "Check a match in a system"),
    ("task", "Do by hand what a system cannot"),
    ("complaint", "Answer a complaint or a question"),
    ("quality_check", "Check a sample"),
];

pub(super) fn card(shown: &Shown<'_>) -> Markup {
    let row = &shown.detail.row;
    let kinds: Vec<String> = row.identifier_types.iter().map(|kind| plain(kind.as_str())).collect();
    html! {
        section.card {
            h2 { (term("subject", "Person")) }
            @if let Some(purged) = row.purged_at {
                p { "The personal data were destroyed on " (at(purged, shown.lens.zone())) ". What is left is the proof: types, counts, dates." }
                p.quiet { "It was named by " (kinds.join(", ")) "." }
            } @else if let Some(masked) = &shown.masked {
                dl.facts { @for (kind, value) in masked { dt { (plain(kind)) } dd.id { bdi { (value) } } } }
                (reveal(shown))
            } @else {
                p { "Named by " (kinds.join(", ")) "." }
                p.quiet { "Your role may not " (Permit::Reveal.allows()) "." }
            }
            (looks(shown))
        }
    }
}

fn reveal(shown: &Shown<'_>) -> Markup {
    let id = &shown.detail.row.id;
    let next = format!("/requests/{id}");
    html! {
        details.action {
            summary { "Reveal" }
            p { "Shows who the person is, once. That you looked, and why, is in the audit log before you see it." }
            (form(shown.viewer, &format!("/v1/requests/{id}/reveal"), &next, "", &html! {
                label { "Reason "
                    select name="reason" required {
                        option value="" { "Choose a reason" }
                        @for (code, text) in REASONS { option value=(code) { (text) } }
                    } }
                button type="submit" { "Reveal" }
            }))
            details {
                summary { "Another reason" }
                (form(shown.viewer, &format!("/v1/requests/{id}/reveal"), &next, "", &html! {
                    label { "In your words " span.quiet { "(kept sealed)" } textarea name="reason" rows="2" required minlength="3" maxlength="500" {} }
                    button type="submit" { "Reveal" }
                }))
            }
        }
    }
}

/// What was revealed, in this one answer.
pub(super) fn in_clear(answer: &Value) -> Markup {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    html! {
        section.card.notice #revealed {
            h2 { "Person, in clear" }
            p { "This is shown once and is not kept here. That you saw it is in the audit log." }
            dl.facts {
                @for one in list("identifiers") { dt { (plain(text(&one["type"]))) } dd { bdi { (text(&one["value"])) } } }
                @for one in list("corrections") { dt { "New " (plain(text(&one["field"]))) } dd { bdi { (text(&one["value"])) } } }
                @if let Some(reference) = answer["reference"].as_str() { dt { "Reference" } dd { bdi { (reference) } } }
            }
            p { a href={ "/requests/" (text(&answer["request"])) } { "Mask it again" } }
        }
    }
}

/// Who saw what about the person.
fn looks(shown: &Shown<'_>) -> Markup {
    html! {
        @if !shown.looks.is_empty() {
            details { summary { "Who saw personal data (" (shown.looks.len()) ")" }
                ul { @for event in &shown.looks {
                    li { (super::timeline::when(&event.at, shown.lens.zone())) ", " (shown.actor(&event.actor)) ": " bdi { (super::timeline::said(shown, event)) } }
                } }
            }
        }
    }
}

/// The package and the certificate.
pub(super) fn answer(shown: &Shown<'_>) -> Markup {
    let row = &shown.detail.row;
    let id = &row.id;
    let hands_over = matches!(row.kind, RequestType::Access | RequestType::Portability);
    html! {
        section.card {
            h2 { "Answer" }
            @if hands_over {
                @match &shown.package {
                    Some(package) if row.purged_at.is_some() || package.expires_at <= shown.now => {
                        p { "The package is no longer handed out; it expired on " (at(package.expires_at, shown.lens.zone())) "." }
                    }
                    Some(package) => {
                        p { "The package is ready: " (size(package.bytes)) ", until " (at(package.expires_at, shown.lens.zone())) "." }
                        @if shown.viewer.may(Permit::Fetch) {
                            p { a href={ "/v1/requests/" (id) "/package" } download { "Fetch the package" } " " span.quiet { "(that you did is in the audit log)" } }
                        } @else { p.quiet { "Your role may not " (Permit::Fetch.allows()) "." } }
                    }
                    None if row.closed_at.is_some() => { p.quiet { "It ended without a package." } }
                    None => { p.quiet { "The package is made when every system has answered." } }
                }
            }
            @if shown.certificate {
                p { a href={ "/v1/requests/" (id) "/certificate" } download={ "redress-" (id) ".json" } { "Certificate" } " of what was done, signed." }
                p.quiet { "Anybody can check it, without this service: " code { "redress verify redress-" (id) ".json" } }
            } @else if row.closed_at.is_some() { p.quiet { "It ended without a certificate." } } @else {
                p.quiet { "The certificate is made when the work is done." }
            }
        }
    }
}

fn size(bytes: i64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

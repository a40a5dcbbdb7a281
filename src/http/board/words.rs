//! What happened, in words: one sentence for each kind of event, with what its data say. A kind that is not here would be shown by
//! its code; a test demands that there is none.

use super::parts::{day, moment, plain};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use redress_store::{AuditEvent, StaffEvent};
use serde_json::Value;

/// Kinds of events and their sentences. `{…}` is a member of the event's data; a part in brackets is left out if a member of it is not
/// there.
pub(super) const SENTENCES: &[(&str, &str)] = &[
    ("received", "Received: {type}[ under {regulation}], by {identifiers}, for {systems} connected systems."),
    ("acknowledged", "Its receipt was acknowledged to the person[ at {acknowledged_at}]."),
    ("approval_asked", "It waits for an approval."),
    ("approved", "Approved[, while it was {stage}]."),
    ("cooling_off_began", "The time began in which it can still be withdrawn before anything is changed."),
    ("work_began", "The work began."),
    ("verification_began", "Every system has acted; each is read a second time."),
    ("residue_found", "A second read still found something, so the work goes on."),
    ("plan_widened", "One system told of identifiers by which others are searched again."),
    ("review_began", "A person is asked to look at the result."),
    ("controller_asked", "Something is missing that only the controller or the person can give."),
    ("controller_answered", "What was missing came; it goes on."),
    ("delivery_began", "The answer is being made."),
    ("completed", "Completed: everything was done and seen to be done."),
    ("partially_completed", "Partially completed: some records stay, each for a named reason."),
    ("rejected", "Rejected[: {reason}]."),
    ("withdrawn", "Withdrawn by the controller."),
    ("expired", "Ended because the controller never answered."),
    ("retried", "Tried again[: {steps} steps]."),
    ("paused", "The clock was paused: {kind} is awaited[ since {from}][ (reason {reason})]."),
    ("resumed", "The clock goes on[: {kind} came][; due {due_on}][ (reason {reason})]."),
    ("extended", "Extended[ until {until}]; due {due_on}[ (reason {reason})]."),
    ("extension_void", "An extension was tried and does not count[: {why}]."),
    ("deadlines_recomputed", "The dates were computed again by newer rules[; due {due_on}]."),
    ("deadline_missed", "The due date was missed[; it was {due_on}]."),
    ("step_acted", "{system}: {verb} done, {found} found, {changed} changed[, {retained} stay]."),
    ("step_verified", "{system}: a second read found nothing left to do."),
    ("step_residue_found", "{system}: a second read still found {remaining}."),
    ("step_failed", "{system}: {verb} failed ({code}); it is tried again."),
    ("step_needs_attention", "{system}: {verb} needs a person ({code})."),
    ("step_quarantined", "{step}: {deaths} workers died over it; it is left alone until a person looks."),
    ("step_widened", "{step}: it acts again, because other identifiers became known."),
    ("identifiers_found", "{system}: it told of further identifiers of the person: {types}."),
    ("task_seen", "{step}: somebody saw the task, and with it who the person is."),
    ("task_reported", "{system}: {verb} was reported done."),
    ("answer_made", "The answer was made and signed."),
    ("package_fetched", "The package was fetched[: {bytes} bytes]."),
    ("personal_revealed", "Who the person is was looked at[, for the reason {reason}]."),
    ("controller_told", "The controller was told[ at {webhook}][ ({code})]."),
    ("callbacks_replayed", "The controller is told again[: {statuses} statuses]."),
    ("message_replayed", "A notice that was given up is sent again[ ({route})]."),
    ("telling_given_up", "Telling the controller was given up[ at {webhook}][ ({code})]."),
    ("hold_set", "A legal hold was set[ until a review on {review_on}]: {scope}[, by {identifiers}][, in {systems}]."),
    ("hold_reviewed", "A legal hold was looked at and is still needed."),
    ("hold_released", "A legal hold was released; what it stopped goes on."),
    ("hold_began", "A legal hold reaches it: nothing is erased or changed until the release."),
    ("hold_ended", "A legal hold on it was released."),
    ("hold_came_too_late", "{system}: {verb} had begun before a legal hold came, and acted."),
    ("held_data_kept", "Somebody decided to keep what a legal hold stops."),
    ("purged", "The personal data were destroyed; the proof stays."),
    ("controller_created", "The controller was created[, in {country}]."),
    ("controller_updated", "The controller's settings were changed."),
    ("controller_paused", "All work for this controller was paused."),
    ("controller_resumed", "Work for this controller goes on."),
    ("all_paused", "All work of the installation was paused."),
    ("all_resumed", "The work of the installation goes on."),
    ("key_created", "An API key was made: {key}, {role}."),
    ("key_revoked", "An API key was revoked: {key}."),
    ("system_connected", "{name}: the system was connected[, for {allow}]."),
    ("system_changed", "{name}: the system was changed[, for {allow}]."),
    ("system_disconnected", "{system}: the system was disconnected."),
    ("system_paused", "{system}: work there was paused."),
    ("system_resumed", "{system}: work there goes on."),
    ("system_breaker_opened", "{system}: it is left alone for a while after {failures} failures ({code})."),
    ("system_breaker_closed", "{system}: it works again."),
    ("system_credentials_refused", "{system}: it refuses our credentials; its steps wait until they are changed."),
    ("notify_routes_changed", "Whom notices go to was changed: {routes}."),
    (
        "instructions_changed",
        "The standing instructions were changed: version {instructions}[, as {proposed_by} had proposed].",
    ),
    ("instructions_proposed", "Other standing instructions were proposed; a second person has to say the same."),
    ("instructions_proposal_withdrawn", "The instructions that were proposed were taken back."),
    ("webhook_created", "A webhook endpoint was made at {host}[, for {events}]."),
    ("webhook_removed", "A webhook endpoint was removed: {webhook}."),
    ("webhook_secret_rotated", "A webhook endpoint got a new secret: {webhook}; the old one signs for a day."),
    ("webhook_tested", "A webhook endpoint was tried out: {webhook} ({answer})."),
    ("webhook_disabled", "The webhook endpoint {webhook} is told nothing more ({why})."),
    ("webhook_enabled", "The webhook endpoint {webhook} is told again[: {statuses} statuses]."),
    ("break_glass", "Somebody took up the emergency rights[ ({reason})]."),
    ("break_glass_ended", "The emergency rights ended."),
];

/// Kinds of events of the staff log and their sentences, as above.
pub(super) const STAFF_SENTENCES: &[(&str, &str)] = &[
    ("signed_in", "Signed in by {by}[, as {roles}]."),
    ("signed_out", "Signed out."),
    ("sign_in_refused", "A sign-in by {by} was refused[: {why}]."),
    ("link_made", "A link was made that signs somebody in once[, as {roles}][, confined to {controllers}]."),
    ("session_ended", "A session of {user} was ended."),
    ("signed_out_everywhere", "{user} was signed out everywhere[: {sessions} sessions]."),
    ("user_changed", "What {user} may do was changed[: now {roles}][; before {roles_before}]."),
    ("route_tested", "The notification route {route}[ of {owner}] was tried out."),
    ("break_glass", "Took up the emergency rights for {minutes} minutes[: {reason}]."),
    ("break_glass_ended", "The emergency rights of {user} ended[, by {by}]."),
    (
        "hold_set",
        "A gagged legal hold was set for {controller}[ until a review on {review_on}]: {scope}[, by {identifiers}][, in {systems}].",
    ),
    ("hold_reviewed", "A gagged legal hold of {controller} was looked at and is still needed."),
    ("hold_released", "A gagged legal hold of {controller} was released."),
    ("break_glass_announced", "The message about emergency rights is settled[; told: {told}][; not told: {not_told}]."),
];

/// An event of the staff log as a sentence. `named` gives the name of a person by their id, if the viewer may know it.
pub(super) fn staff_sentence(event: &StaffEvent, named: &dyn Fn(&str) -> Option<String>) -> String {
    let Some((_, template)) = STAFF_SENTENCES.iter().find(|(kind, _)| *kind == event.kind) else {
        return format!("{}.", upper(&plain(&event.kind)));
    };
    let mut said = upper(&fill(template, &event.data, named));
    if event.kind == "user_changed" && event.data["disabled"] == true {
        said.push_str(" They may not sign in.");
    }
    said
}

/// Events by which somebody saw who a person is or what is held about them.
pub(super) const PERSONAL: [&str; 3] = ["personal_revealed", "package_fetched", "task_seen"];

/// An event as a sentence. `named` gives the name of a system (or of the system of a step) by its id, if it is known.
pub(super) fn sentence(event: &AuditEvent, named: &dyn Fn(&str) -> Option<String>) -> String {
    let Some((_, template)) = SENTENCES.iter().find(|(kind, _)| *kind == event.kind) else {
        return format!("{}.", upper(&plain(&event.kind)));
    };
    upper(&fill(template, &event.data, named))
}

/// Who did it, as far as an id tells.
pub(super) fn actor(actor: &str) -> &str {
    match actor {
        "engine" => "the engine",
        "operator" => "the operator",
        other => other,
    }
}

fn fill(template: &str, data: &Value, named: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(&members(before, data, named).unwrap_or_default());
        let (part, after) = after.split_once(']').unwrap_or((after, ""));
        out.push_str(&members(part, data, named).unwrap_or_default());
        rest = after;
    }
    out.push_str(&members(rest, data, named).unwrap_or_else(|| rest.replace(['{', '}'], "")));
    out
}

/// The text with its members; none if one of them is not there.
fn members(text: &str, data: &Value, named: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(&written(&data[name], named)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

fn written(value: &Value, named: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => named(text)
            .or_else(|| dated(text))
            .unwrap_or_else(|| if is_code(text) { plain(text) } else { text.clone() }),
        Value::Array(items) if items.is_empty() => return None,
        Value::Array(items) => items.iter().filter_map(|item| written(item, named)).collect::<Vec<_>>().join(", "),
        Value::Object(change) if change.contains_key("before") && change.contains_key("after") => {
            let (before, after) = (written(&change["before"], named), written(&change["after"], named)?);
            before.map_or_else(|| after.clone(), |before| format!("{before} → {after}"))
        }
        other => other.to_string(),
    })
}

/// A day or an instant as people write it, if the text is one.
fn dated(text: &str) -> Option<String> {
    if let ([_, _, _, _, b'-', _, _, b'-', _, _], Ok(date)) = (text.as_bytes(), text.parse::<Date>()) {
        return Some(day(date));
    }
    let at = text.parse::<Timestamp>().ok().filter(|_| text.ends_with('Z'))?;
    Some(moment(at.as_millisecond(), &TimeZone::UTC))
}

fn is_code(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !text.contains("_0")
        && text.len() <= 64
}

fn upper(text: &str) -> String {
    // A system keeps its name as it is; a sentence begins with a capital.
    if text.contains(": ") && !text.starts_with(char::is_uppercase) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use redress_domain::stage::Event;
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// What follows a call that records an event, up to its kind: a text of lower-case letters.
    const CALLS: [&str; 3] = ["NewEvent::new(", "record_event(", "log("];

    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    fn kind(text: &str) -> Option<&str> {
        let (kind, _) = text.split_once('"')?;
        let plain = kind.len() > 3 && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        plain.then_some(kind)
    }

    /// Every kind that the sources write: the first text of a call, and the texts of what is called `kind`.
    fn written_kinds() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut all = Vec::new();
        for part in ["store", "http", "cli"] {
            sources(&root.join(part), &mut all);
        }
        let mut kinds = BTreeSet::new();
        for text in &all {
            for call in CALLS {
                for after in text.split(call).skip(1) {
                    let near = &after[..after.char_indices().nth(160).map_or(after.len(), |(at, _)| at)];
                    let near = near.split(';').next().unwrap_or_default().split("json!").next().unwrap_or_default();
                    if let Some(found) = near.split('"').nth(1).and_then(|_| kind(near.split_once('"')?.1)) {
                        kinds.insert(found.to_owned());
                    }
                }
            }
            for line in text.lines().filter(|line| line.contains("let kind = if ")) {
                for found in line.split('"').skip(1).step_by(2).filter(|word| word.contains('_')) {
                    kinds.insert(found.to_owned());
                }
            }
        }
        kinds.extend(Event::ALL.iter().map(|event| event.as_str().to_owned()));
        kinds
    }

    #[test]
    fn every_kind_that_is_written_has_a_sentence() {
        let kinds = written_kinds();
        assert!(kinds.len() > 35 && kinds.contains("step_acted") && kinds.contains("all_paused"), "{kinds:?}");
        let known: BTreeSet<&str> = SENTENCES.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(known.len(), SENTENCES.len(), "each once");
        let missing: Vec<&String> = kinds.iter().filter(|kind| !known.contains(kind.as_str())).collect();
        assert!(missing.is_empty(), "without a sentence: {missing:?}");
    }

    /// Every kind of the staff log that the sources write: the text that follows such a call.
    fn written_staff_kinds() -> BTreeSet<String> {
        let mut all = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let mut kinds = BTreeSet::new();
        for text in &all {
            // What is only under test is at the end of a file.
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for call in ["append_staff_event(", "record_staff_event("] {
                for after in text.split(call).skip(1) {
                    let near = after.split(';').next().unwrap_or_default();
                    let words = near.split('"').skip(1).step_by(2);
                    let first = words.take_while(|_| !near.starts_with("&self")).find(|word| {
                        !["nobody", "operator"].contains(word)
                            && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                    });
                    kinds.extend(first.map(str::to_owned));
                }
            }
            for after in text.split("log_hold(").skip(1) {
                kinds.extend(after.split('"').nth(1).filter(|word| word.starts_with("hold_")).map(str::to_owned));
            }
            for after in text.split("tell_glass(").chain(text.split("let event = (")).skip(1) {
                kinds.extend(after.split('"').nth(1).filter(|word| word.starts_with("break_glass")).map(str::to_owned));
            }
        }
        kinds
    }

    #[test]
    fn every_kind_of_the_staff_log_has_a_sentence() {
        let kinds = written_staff_kinds();
        for known in ["signed_in", "user_changed", "break_glass", "break_glass_ended", "break_glass_announced"] {
            assert!(kinds.contains(known), "{known}: {kinds:?}");
        }
        let known: BTreeSet<&str> = STAFF_SENTENCES.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(known.len(), STAFF_SENTENCES.len(), "each once");
        let written: BTreeSet<&str> = kinds.iter().map(String::as_str).collect();
        assert_eq!(known, written);
        let event = |kind: &str, data: Value| StaffEvent {
            seq: 1,
            at: String::new(),
            kind: kind.to_owned(),
            actor: "usr_1".into(),
            data,
            prev_hash: String::new(),
            hash: String::new(),
        };
        let named = |id: &str| (id == "usr_2").then(|| "Bo".to_owned());
        let change = json!({ "user": "usr_2", "roles": ["admin"], "roles_before": [], "disabled": true });
        let said = staff_sentence(&event("user_changed", change), &named);
        assert_eq!(said, "What Bo may do was changed: now admin. They may not sign in.");
        for (kind, _) in STAFF_SENTENCES {
            let said = staff_sentence(&event(kind, json!({})), &named);
            assert!(!said.contains(['{', '}', '[', ']']) && said.ends_with('.'), "{kind}: {said}");
        }
    }

    #[test]
    fn a_sentence_says_what_the_data_say_and_no_braces_are_left() {
        let event = |kind: &str, data: Value| AuditEvent {
            id: String::new(),
            controller_id: String::new(),
            seq: 1,
            at: String::new(),
            dsr_id: None,
            kind: kind.to_owned(),
            actor: "engine".into(),
            data,
            prev_hash: String::new(),
            hash: String::new(),
        };
        let named = |id: &str| (id == "sys_1").then(|| "crm".to_owned());
        let said = |kind: &str, data: Value| sentence(&event(kind, data), &named);
        assert_eq!(
            said(
                "received",
                json!({ "type": "access", "regulation": "EU-GDPR", "identifiers": ["email", "customer_id"], "systems": 2 })
            ),
            "Received: access under EU-GDPR, by email, customer id, for 2 connected systems."
        );
        assert_eq!(
            said(
                "step_acted",
                json!({ "system": "sys_1", "verb": "erase", "found": 3, "changed": 3, "retained": null })
            ),
            "crm: erase done, 3 found, 3 changed."
        );
        assert_eq!(
            said("extended", json!({ "until": null, "due_on": { "before": "2026-12-20", "after": "2027-02-20" } })),
            "Extended; due 20 Dec 2026 → 20 Feb 2027."
        );
        assert_eq!(
            said("paused", json!({ "kind": "identity", "from": "2026-11-22T15:20:45.227027592Z", "reason": "given" })),
            "The clock was paused: identity is awaited since 22 Nov 2026, 15:20 UTC (reason given)."
        );
        assert_eq!(said("rejected", json!({ "reason": "manifestly_unfounded" })), "Rejected: manifestly unfounded.");
        assert_eq!(said("something_new", json!({})), "Something new.");
        for (kind, _) in SENTENCES {
            let said = said(kind, json!({}));
            assert!(!said.contains(['{', '}', '[', ']']) && said.ends_with('.'), "{kind}: {said}");
        }
    }
}

//! A route's definition is whom notices are told, how, and of what: `[[notify]]` in a controller's file, or in the operator's own.

#[cfg(test)]
mod tests;

use super::reader::Reader;
use super::system::{Origin, read_secret};
use crate::config::document::join;
use redress_domain::notice::{Channel, Delivery, NoticeKind, NotifyRole};
use redress_domain::words::Fault;
use redress_domain::{Identifier, IdentifierType, Personal};
use redress_jobs::message::ADDRESSES_MAX;
use redress_jobs::outbound::OutboundPolicy;
use redress_jobs::webhook::Secret;
use redress_store::{NewRoute, RouteTarget};
use serde_json::Value;
use std::collections::BTreeMap;

/// Whose file it is.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    /// A controller in this time zone.
    Controller { timezone: &'a str },
    /// The operator.
    Operator,
}

/// Reads the list at `/notify`; every fault goes to the list.
pub(super) fn read(value: &Value, owner: Owner<'_>, origin: &Origin<'_>, faults: &mut Vec<Fault>) -> Vec<NewRoute> {
    let Some(items) = value.as_array() else {
        faults.push(Fault::new("/notify", "must be a list of tables; write [[notify]]"));
        return Vec::new();
    };
    let mut routes = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, item) in items.iter().enumerate() {
        let pointer = join("/notify", &i.to_string());
        if let Some(name) = item.get("name").and_then(Value::as_str)
            && let Some(first) = seen.insert(name, i)
        {
            let detail = format!("is the name of route {} too; names are unique in a file", first + 1);
            faults.push(Fault::new(format!("{pointer}/name"), detail));
        }
        routes.extend(one(item, &pointer, owner, origin, faults));
    }
    routes
}

fn one(
    value: &Value,
    pointer: &str,
    owner: Owner<'_>,
    origin: &Origin<'_>,
    faults: &mut Vec<Fault>,
) -> Option<NewRoute> {
    let before = faults.len();
    let mut reader = Reader::new(value, pointer, faults);
    let name = reader.required_name("name");
    let role = word(&mut reader, "role", NotifyRole::ALL, NotifyRole::as_str);
    let channel = word(&mut reader, "channel", Channel::ALL, Channel::as_str);
    let kinds = reader.words("kinds", NoticeKind::ALL, NoticeKind::as_str);
    if kinds.as_ref().is_some_and(Vec::is_empty) {
        reader.fault("kinds", "names no kind; leave it out and the role decides");
    }
    let delivery = match reader.take("delivery") {
        None => Some(Delivery::Auto),
        Some(_) => word(&mut reader, "delivery", Delivery::ALL, Delivery::as_str),
    };
    let timezone = match (reader.text("timezone"), owner) {
        (Some(zone), _) => Some(zone.to_owned()),
        (None, Owner::Controller { timezone }) => Some(timezone.to_owned()),
        (None, Owner::Operator) => Some("UTC".to_owned()),
    };
    if timezone.as_deref().is_some_and(|zone| !super::controller::is_timezone(zone)) {
        reader.fault("timezone", "must be the IANA name of a time zone, such as Europe/Berlin");
    }
    let controllers = controllers(&mut reader, owner, role);
    let to = reader.texts("to");
    let url = reader.take("url");
    let secret = reader.take("secret");
    let people = addresses(&mut reader, channel, to);
    match (channel, url) {
        (Some(Channel::Email), Some(_)) => {
            reader.fault("url", "has no place here: e-mail goes to the addresses in `to`");
        }
        (Some(Channel::Slack | Channel::Webhook), None) => {
            reader.missing("url", "is missing: where to post, such as { env = \"VARIABLE\" }");
        }
        _ => {}
    }
    match (channel, secret, owner) {
        (Some(Channel::Email | Channel::Slack), Some(_), _) => {
            reader.fault("secret", "has no place here: only webhooks are signed");
        }
        (Some(Channel::Webhook), None, Owner::Operator) => {
            reader.missing("secret", "is missing: what the webhook is signed with, whsec_…, as { env = \"VARIABLE\" }");
        }
        _ => {}
    }
    reader.finish();
    let url = url.and_then(|value| read_url(value, &join(pointer, "url"), origin, faults));
    let secret = secret.and_then(|value| read_signing_secret(value, &join(pointer, "secret"), origin, faults));
    if faults.len() > before {
        return None;
    }
    Some(NewRoute {
        name: name?,
        role: role?,
        channel: channel?,
        kinds,
        delivery: delivery?,
        timezone: timezone?,
        controllers,
        target: RouteTarget { to: people, url, secret },
    })
}

/// A word that must be there.
fn word<T: Copy>(
    reader: &mut Reader<'_, '_>,
    key: &'static str,
    known: &[T],
    spelling: impl Fn(T) -> &'static str,
) -> Option<T> {
    let text = reader.required_text(key)?;
    let found = known.iter().find(|word| spelling(**word) == text).copied();
    if found.is_none() {
        let all: Vec<&str> = known.iter().map(|word| spelling(*word)).collect();
        reader.fault(key, format!("must be one of {}", all.join(", ")));
    }
    found
}

/// The controllers that an operator's route is about.
fn controllers(reader: &mut Reader<'_, '_>, owner: Owner<'_>, role: Option<NotifyRole>) -> Option<Vec<String>> {
    let names = reader.texts("controllers");
    match (owner, &names) {
        (Owner::Controller { .. }, Some(_)) => {
            reader.fault("controllers", "has no place in a controller's file: its routes are about that controller");
        }
        (Owner::Operator, Some(names)) if names.is_empty() => {
            reader.fault("controllers", "names no controller; leave it out for all of them");
        }
        (Owner::Operator, None) if role == Some(NotifyRole::Controller) => {
            let detail = "is missing: a controller's people must not hear of other controllers' requests";
            reader.missing("controllers", detail);
        }
        _ => {}
    }
    let mut names: Vec<String> = names?.into_iter().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Some(names)
}

fn addresses(reader: &mut Reader<'_, '_>, channel: Option<Channel>, to: Option<Vec<&str>>) -> Vec<Personal<String>> {
    match (channel, &to) {
        (Some(Channel::Email), None) => reader.missing("to", "is missing: a list of e-mail addresses"),
        (Some(Channel::Email), Some(to)) if to.is_empty() || to.len() > ADDRESSES_MAX => {
            reader.fault("to", format!("must hold 1 to {ADDRESSES_MAX} e-mail addresses"));
        }
        (Some(Channel::Slack | Channel::Webhook), Some(_)) => {
            reader.fault("to", "has no place here: only e-mail has addresses");
        }
        _ => {}
    }
    let mut people: Vec<Personal<String>> = Vec::new();
    for (i, text) in to.into_iter().flatten().enumerate() {
        if Identifier::parse(IdentifierType::Email, text, None).is_err() {
            reader.fault(&format!("to/{i}"), "must be one e-mail address");
        }
        if !people.iter().any(|known| known.expose() == text) {
            people.push(Personal::from(text));
        }
    }
    people
}

fn read_url(value: &Value, pointer: &str, origin: &Origin<'_>, faults: &mut Vec<Fault>) -> Option<Personal<String>> {
    let text = match value.as_str() {
        Some(text) => Personal::from(text),
        None => read_secret(value, pointer, origin, faults)?.value,
    };
    match OutboundPolicy::of_operator().check_url(text.expose()) {
        Ok(_) => Some(text),
        Err(fault) => {
            faults.push(Fault::new(pointer, fault.to_string()));
            None
        }
    }
}

fn read_signing_secret(
    value: &Value,
    pointer: &str,
    origin: &Origin<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Personal<String>> {
    let secret = read_secret(value, pointer, origin, faults)?.value;
    if let Err(fault) = Secret::parse(secret.expose()) {
        faults.push(Fault::new(pointer, fault.to_string()));
        return None;
    }
    Some(secret)
}

//! A schema is what the org says about the objects that hold people: which fields there are, and what refers to what.

use super::Desk;
use super::session::{Body, denied, trouble, unreadable};
use super::setup::{CHILDREN, ObjectSpec, is_name};
use crate::Trouble;
use crate::http::Method;
use redress_domain::IdentifierType;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// It is read again after so long.
const FRESH: Duration = Duration::from_hours(6);
/// Custom objects are described one by one; an org that has more is told to name them.
const CUSTOM_MAX: usize = 200;

/// An object whose records are people.
pub(super) struct Object {
    pub(super) name: String,
    /// The beginning of its records' ids.
    pub(super) prefix: String,
    /// Fields by type of identifier.
    pub(super) identify: Vec<(IdentifierType, String)>,
    /// A condition that all its records must meet.
    pub(super) also: Option<&'static str>,
    pub(super) has_master: bool,
    pub(super) has_converted: bool,
    /// Field of a correction -> its field, where it can be written.
    pub(super) correct: BTreeMap<String, String>,
    pub(super) keep: Option<String>,
}

/// An object whose records refer to a person's.
pub(super) struct Child {
    pub(super) name: String,
    pub(super) of: String,
    pub(super) field: String,
    pub(super) keep: Option<String>,
}

/// Everything about the org that was asked.
pub(super) struct Schema {
    pub(super) objects: Vec<Object>,
    /// Those that others refer to come first.
    pub(super) children: Vec<Child>,
    /// By object, the fields that are exported.
    pub(super) exported: BTreeMap<String, Vec<String>>,
    /// How far an object is from the people: what is furthest is deleted first.
    pub(super) levels: BTreeMap<String, usize>,
    /// Custom objects and custom fields with e-mail addresses that are not searched.
    pub(super) left_out: Vec<String>,
    pub(super) read_at: Instant,
}

struct Described {
    prefix: String,
    /// Name -> type, writable.
    fields: BTreeMap<String, (String, bool)>,
    /// Objects and their fields that refer to it.
    children: BTreeSet<(String, String)>,
    deletable: bool,
}

impl Described {
    fn of_type(&self, kind: &str) -> Vec<String> {
        self.fields.iter().filter(|(_, (known, _))| known == kind).map(|(name, _)| name.clone()).collect()
    }

    /// Fields of a type that hold the person's own value. A custom field of a standard object may be anybody's (the
    /// manager's address): it counts only where it is named. A fax or an assistant's number is nobody's identifier.
    fn own(&self, kind: &str, object: &str) -> Vec<String> {
        let foreign = |field: &str| field.ends_with("Fax") || field.ends_with("AssistantPhone");
        let standard = !object.ends_with("__c");
        let all = self.of_type(kind).into_iter();
        all.filter(|field| !(foreign(field) || (standard && field.ends_with("__c")))).collect()
    }
}

impl Schema {
    pub(super) fn object(&self, name: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.name == name)
    }

    /// Why an object's records stay, if they do.
    pub(super) fn keep(&self, name: &str) -> Option<&str> {
        let objects = self.objects.iter().map(|object| (&object.name, &object.keep));
        let children = self.children.iter().map(|child| (&child.name, &child.keep));
        objects.chain(children).find(|(known, _)| *known == name).and_then(|(_, keep)| keep.as_deref())
    }

    pub(super) fn level(&self, name: &str) -> usize {
        self.levels.get(name).copied().unwrap_or(0)
    }
}

/// The schema, as known or read anew.
pub(super) async fn get(desk: &Desk, anew: bool) -> Result<Arc<Schema>, Trouble> {
    let mut kept = desk.schema.lock().await;
    if let Some(schema) = kept.as_ref().filter(|schema| !anew && schema.read_at.elapsed() < FRESH) {
        return Ok(Arc::clone(schema));
    }
    let schema = Arc::new(read(desk, anew).await?);
    *kept = Some(Arc::clone(&schema));
    Ok(schema)
}

/// Reads it. The custom objects are listed if they are to be searched, or if it is to be told which are not.
async fn read(desk: &Desk, telling: bool) -> Result<Schema, Trouble> {
    let plain = |name: &str| ObjectSpec {
        name: name.to_owned(),
        email: None,
        phone: None,
        customer_id: None,
        fields: BTreeMap::new(),
        keep: None,
    };
    let mut specs = match &desk.setup.objects {
        Some(specs) => specs.clone(),
        None => ["Contact", "Lead", "Account"].map(plain).into(),
    };
    let mut known = BTreeMap::new();
    let mut left_out = Vec::new();
    if desk.setup.custom_objects || telling {
        for name in custom_objects(desk).await? {
            if specs.iter().any(|spec| spec.name == name) {
                continue;
            }
            let Some(described) = describe(desk, &name).await? else { continue };
            if described.deletable && !described.of_type("email").is_empty() {
                if desk.setup.custom_objects {
                    specs.push(plain(&name));
                } else {
                    left_out.push(name.clone());
                }
            }
            known.insert(name, described);
        }
    }
    let mut objects = Vec::new();
    for spec in &specs {
        if !known.contains_key(&spec.name) {
            known.insert(spec.name.clone(), describe(desk, &spec.name).await?.ok_or_else(|| hidden(&spec.name))?);
        }
        let described = &known[&spec.name];
        let Some(object) = object(desk, spec, described)? else { continue };
        let searched = |field: &String| object.identify.iter().any(|(_, known)| known == field);
        let others = described.of_type("email").into_iter().filter(|field| !searched(field));
        left_out.extend(others.map(|field| format!("{}.{field}", object.name)));
        objects.push(object);
    }
    if let Some(field) = &desk.setup.customer_id
        && !objects.iter().any(|object| object.identify.iter().any(|(kind, _)| *kind == IdentifierType::CustomerId))
    {
        return Err(denied(
            "field_missing",
            format!("none of the objects has the field {field} of settings.customer_id"),
        ));
    }
    let children = children(desk, &objects, &mut known).await?;
    let mut levels: BTreeMap<String, usize> = objects.iter().map(|object| (object.name.clone(), 0)).collect();
    // No deeper than this, so that objects that refer to each other end somewhere.
    for _ in 0..5 {
        for child in &children {
            let level = levels.get(&child.of).copied().unwrap_or(0) + 1;
            let known = levels.entry(child.name.clone()).or_insert(level);
            *known = (*known).max(level).min(5);
        }
    }
    let mut exported = BTreeMap::new();
    for name in levels.keys() {
        let Some(described) = known.get(name) else { continue };
        // Compound values are there in their parts; files are not handed over by this connector.
        let fields = described
            .fields
            .iter()
            .filter(|(_, (kind, _))| !matches!(kind.as_str(), "address" | "location" | "base64"));
        exported.insert(name.clone(), fields.map(|(name, _)| name.clone()).collect());
    }
    Ok(Schema { objects, children, exported, levels, left_out, read_at: Instant::now() })
}

fn hidden(name: &str) -> Trouble {
    denied(
        "object_missing",
        format!("the org has no object {name}, or the user may not see it; mend settings.objects or the user's rights"),
    )
}

fn object(desk: &Desk, spec: &ObjectSpec, described: &Described) -> Result<Option<Object>, Trouble> {
    let name = &spec.name;
    let has = |field: &str| described.fields.contains_key(field);
    if name == "Account" && !has("IsPersonAccount") {
        // An account is a company then; named by the controller, that is a mistake.
        if desk.setup.objects.is_some() {
            return Err(denied(
                "field_missing",
                "the org has no person accounts; take Account out of settings.objects",
            ));
        }
        return Ok(None);
    }
    if !described.deletable && spec.keep.is_none() {
        return Err(denied(
            "permission_missing",
            format!("the user may not delete records of {name}; give it the right"),
        ));
    }
    let mut identify = Vec::new();
    let own = spec.customer_id.clone();
    let customer_id =
        own.clone().into_iter().chain(desk.setup.customer_id.clone().filter(|field| own.is_none() && has(field)));
    let email = spec.email.clone().unwrap_or_else(|| described.own("email", name));
    let phone = spec.phone.clone().unwrap_or_else(|| described.own("phone", name));
    identify.extend(customer_id.map(|field| (IdentifierType::CustomerId, field)));
    identify.extend(email.into_iter().map(|field| (IdentifierType::Email, field)));
    identify.extend(phone.into_iter().map(|field| (IdentifierType::Phone, field)));
    for (kind, field) in &identify {
        let known = described.fields.get(field).map(|(kind, _)| kind.as_str());
        let texts = ["string", "email", "phone", "picklist", "id", "reference", "url", "encryptedstring"];
        match known {
            None => {
                return Err(denied(
                    "field_missing",
                    format!("{name} has no field {field}, or the user may not see it"),
                ));
            }
            Some(known) if !texts.contains(&known) => {
                return Err(denied(
                    "field_type",
                    format!("{name}.{field} is no text that can be compared; name another field for {kind}"),
                ));
            }
            Some(_) => {}
        }
    }
    if identify.iter().all(|(kind, _)| *kind == IdentifierType::Phone) {
        return Err(denied(
            "field_missing",
            format!("{name} has no e-mail field that the user may see; name one in settings.objects"),
        ));
    }
    let mut correct = BTreeMap::new();
    for (field, target) in desk.setup.fields.iter().chain(&spec.fields) {
        // Person accounts carry their contact's fields under names of their own.
        let options = [target.clone(), format!("Person{target}"), target.replace("Mailing", "PersonMailing")];
        let options = if name == "Account" { &options[..] } else { &options[..1] };
        let found = options.iter().find(|option| described.fields.get(*option).is_some_and(|(_, writable)| *writable));
        correct.extend(found.map(|option| (field.clone(), option.clone())));
    }
    let also = match name.as_str() {
        "Account" => Some("IsPersonAccount = true"),
        // The contact inside a person account goes with it.
        "Contact" if has("IsPersonAccount") => Some("IsPersonAccount = false"),
        _ => None,
    };
    Ok(Some(Object {
        name: name.clone(),
        prefix: described.prefix.clone(),
        identify,
        also,
        has_master: has("MasterRecordId"),
        has_converted: has("IsConverted"),
        correct,
        keep: spec.keep.clone(),
    }))
}

async fn children(
    desk: &Desk,
    objects: &[Object],
    known: &mut BTreeMap<String, Described>,
) -> Result<Vec<Child>, Trouble> {
    let usual = desk.setup.children.is_none();
    let mut wanted: Vec<Child> = match &desk.setup.children {
        Some(specs) => specs
            .iter()
            .map(|spec| Child {
                name: spec.name.clone(),
                of: spec.of.clone(),
                field: spec.field.clone(),
                keep: spec.keep.clone(),
            })
            .collect(),
        None => CHILDREN
            .iter()
            .map(|(name, of, field)| Child {
                name: (*name).into(),
                of: (*of).into(),
                field: (*field).into(),
                keep: None,
            })
            .collect(),
    };
    let mut children: Vec<Child> = Vec::new();
    loop {
        let reached = |name: &str| objects.iter().any(|o| o.name == name) || children.iter().any(|c| c.name == name);
        let Some(at) = wanted.iter().position(|child| reached(&child.of)) else { break };
        let child = wanted.remove(at);
        let there =
            known.get(&child.of).is_some_and(|of| of.children.contains(&(child.name.clone(), child.field.clone())));
        if !there {
            if usual {
                continue;
            }
            return Err(denied(
                "field_missing",
                format!(
                    "{}.{} does not refer to {}, or the user may not see it; mend settings.children",
                    child.name, child.field, child.of
                ),
            ));
        }
        if !known.contains_key(&child.name) {
            known.insert(child.name.clone(), describe(desk, &child.name).await?.ok_or_else(|| hidden(&child.name))?);
        }
        children.push(child);
    }
    if let Some(lost) = wanted.first().filter(|_| !usual) {
        return Err(denied(
            "object_missing",
            format!("{} refers to {}, which nothing leads to; mend settings.children", lost.name, lost.of),
        ));
    }
    Ok(children)
}

/// What the org says of an object; none if it has none of this name or hides it.
async fn describe(desk: &Desk, name: &str) -> Result<Option<Described>, Trouble> {
    let path = desk.path(&format!("sobjects/{name}/describe"));
    let answer = desk.org.call(&desk.setup, Method::GET, &path, &[], &Body::None).await?;
    if answer.status == 404 && answer.json().is_ok_and(|body| body[0]["errorCode"] == "NOT_FOUND") {
        return Ok(None);
    }
    if !answer.is_success() {
        return Err(trouble(&answer));
    }
    let body = answer.json()?;
    if body["name"] != name {
        return Err(unreadable());
    }
    let mut fields = BTreeMap::new();
    for field in body["fields"].as_array().ok_or_else(unreadable)? {
        let name = field["name"].as_str().filter(|name| is_name(name)).ok_or_else(unreadable)?;
        let kind = field["type"].as_str().ok_or_else(unreadable)?;
        fields.insert(name.to_owned(), (kind.to_owned(), field["updateable"] == true));
    }
    if !fields.contains_key("Id") {
        return Err(unreadable());
    }
    let pair = |child: &Value| Some((child["childSObject"].as_str()?.to_owned(), child["field"].as_str()?.to_owned()));
    let children = body["childRelationships"].as_array().into_iter().flatten().filter_map(pair).collect();
    let prefix = body["keyPrefix"].as_str().filter(|prefix| prefix.len() == 3).ok_or_else(unreadable)?.to_owned();
    Ok(Some(Described { prefix, fields, children, deletable: body["deletable"] == true }))
}

async fn custom_objects(desk: &Desk) -> Result<Vec<String>, Trouble> {
    let body = desk.org.json(&desk.setup, Method::GET, &desk.path("sobjects"), &[], &Body::None).await?;
    let all = body["sobjects"].as_array().ok_or_else(unreadable)?;
    let custom = all.iter().filter(|object| {
        object["custom"] == true
            && object["customSetting"] != true
            && object["queryable"] == true
            && object["keyPrefix"].is_string()
    });
    let names: Vec<String> =
        custom.filter_map(|object| object["name"].as_str().filter(|name| is_name(name)).map(Into::into)).collect();
    if names.len() > CUSTOM_MAX && desk.setup.custom_objects {
        return Err(denied(
            "too_many_objects",
            format!("the org has {} custom objects; name those that hold people in settings.objects", names.len()),
        ));
    }
    Ok(names.into_iter().take(CUSTOM_MAX).collect())
}

//! A case of a manifest is run without the vendor: the request that comes of a person, and what an answer means.

use super::call::Draft;
use super::classify::{self, Seen};
use super::format::{Case, Class, Expected, ExpectedRequest, InputKind, Paging};
use super::load::Loaded;
use super::people::{judge, subject_value};
use super::plan::{Plan, Request, Search};
use super::settings::Reach;
use super::template::Scope;
use super::{pages, pointer};
use crate::{Network, SystemSpec};
use redress_domain::limits::feedback;
use redress_domain::{Identifier, IdentifierType, Subject};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ran {
    /// Its name.
    pub name: String,
    /// What is not as it says; empty if all is.
    pub faults: Vec<String>,
}

/// A request as it would be sent, for a judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Method.
    pub method: String,
    /// Path and query, as they are sent.
    pub url: String,
    /// Headers by lower-case name, credentials left out.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Runs every case of a manifest.
pub fn run(loaded: &Loaded) -> Vec<Ran> {
    loaded.file.tests.iter().map(|case| Ran { name: case.name.clone(), faults: one(loaded, case) }).collect()
}

/// The requests that its cases show, each with the name of its case.
pub fn requests(loaded: &Loaded) -> Vec<(String, Shown)> {
    let cases = loaded.file.tests.iter().filter(|case| case.request.is_some());
    cases
        .filter_map(|case| {
            let reach = reach(loaded, case).ok()?;
            let draft = Stage::of(loaded, case).ok()?.draft(&reach).ok()??;
            let (method, url, body) = draft.shown();
            Some((case.name.clone(), Shown { method, url, headers: draft.shown_headers(), body }))
        })
        .collect()
}

fn one(loaded: &Loaded, case: &Case) -> Vec<String> {
    let stage = match Stage::of(loaded, case) {
        Ok(stage) => stage,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    if let Some(expected) = &case.request {
        match reach(loaded, case).and_then(|reach| Ok((stage.draft(&reach)?, reach))) {
            Ok((Some(draft), reach)) => compare(&draft, &reach, stage.request, expected, &mut faults),
            Ok((None, _)) => faults.push("this step makes no request".to_owned()),
            Err(fault) => faults.push(fault),
        }
    }
    if let (Some(given), Some(expected)) = (&case.given, &case.expect) {
        stage.answer(given, expected, &mut faults);
    }
    faults
}

/// A step of a manifest with a person before it.
struct Stage<'c> {
    plan: &'c Plan,
    case: &'c Case,
    search: Option<&'c Search>,
    request: Option<&'c Request>,
    kind: Option<IdentifierType>,
    subject: Subject,
    /// What is changed, for a correction.
    changes: Map<String, Value>,
}

impl<'c> Stage<'c> {
    fn of(loaded: &'c Loaded, case: &'c Case) -> Result<Self, String> {
        let plan = &*loaded.plan;
        let mut identifiers = Vec::new();
        for (kind, text) in &case.subject {
            let kind = IdentifierType::parse(kind).ok_or_else(|| format!("subject: {kind:?} is no identifier type"))?;
            identifiers.push(Identifier::parse(kind, text, None).map_err(|why| format!("subject: {kind} {why}"))?);
        }
        identifiers.sort_by_key(Identifier::kind);
        let subject = Subject { identifiers, region: None };
        let mut stage = Self { plan, case, search: None, request: None, kind: None, subject, changes: Map::new() };
        let (kind, name) = case
            .step
            .as_deref()
            .unwrap_or_default()
            .split_once('.')
            .unwrap_or((case.step.as_deref().unwrap_or_default(), ""));
        match kind {
            "check" => stage.request = Some(&plan.check),
            "find" => {
                let search = plan.search(name).ok_or("there is no such find")?;
                let wanted =
                    stage.subject.identifiers.iter().map(Identifier::kind).find(|kind| search.by.contains(kind));
                if wanted.is_none() && !search.by.is_empty() {
                    return Err(format!("the subject has none of the identifiers by which {name} searches"));
                }
                (stage.kind, stage.search, stage.request) = (wanted, Some(search), search.request(wanted));
            }
            "access" => {
                let fetch = plan.fetches.iter().find(|fetch| fetch.name == name).ok_or("there is no such access")?;
                (stage.search, stage.request) = (plan.search(&fetch.access.from), Some(&fetch.request));
            }
            "correct" => {
                let change =
                    plan.changes.iter().find(|change| change.name == name).ok_or("there is no such correction")?;
                for (field, value) in &case.changes {
                    let at = change
                        .correct
                        .fields
                        .get(field)
                        .ok_or_else(|| format!("{name} corrects no field {field:?}"))?;
                    stage.changes.insert(at.rsplit('/').next().unwrap_or(field).to_owned(), value.as_str().into());
                }
                (stage.search, stage.request) = (plan.search(&change.correct.from), Some(&change.request));
            }
            "delete" => {
                let removal =
                    plan.removals.iter().find(|removal| removal.name == name).ok_or("there is no such deletion")?;
                (stage.search, stage.request) = (plan.search(&removal.delete.from), Some(&removal.request));
            }
            "verify" => {
                let look = plan.file.verify.keys().position(|key| key == name).and_then(|at| plan.looks.get(at));
                let look = look.ok_or("there is no such verification")?;
                (stage.search, stage.request) = (plan.search(&look.about), look.request.as_ref());
            }
            _ => {}
        }
        Ok(stage)
    }

    /// The key of the case's record.
    fn key(&self) -> Value {
        let record = self.case.record.as_ref();
        let at = self.search.map_or("", |search| search.find.key.as_str());
        let named =
            record.and_then(|record| if at.starts_with('/') { pointer::first(record, at) } else { record.get("key") });
        named.cloned().unwrap_or_default()
    }

    fn draft(&self, reach: &Reach) -> Result<Option<Draft>, String> {
        let Some(request) = self.request else { return Ok(None) };
        let why = |fault: super::template::RenderFault| fault.to_string();
        let base = reach.scope();
        let identifier = self.subject.identifiers.iter().find(|identifier| Some(identifier.kind()) == self.kind);
        let asked = identifier.map(|identifier| (identifier.kind(), identifier.normal().expose().as_str()));
        let search = self.search.filter(|_| self.case.step.as_ref().is_some_and(|step| step.starts_with("find.")));
        let mut scope = Scope::inside(&base)
            .with("subject", subject_value(&self.subject, asked, search))
            .with("step.key", "0123456789abcdef0123456789abcdef");
        if let Some((_, text)) = asked {
            scope.set("subjects.value", vec![text]);
        }
        if let Some(key_is) = search.and_then(|search| search.key_is.as_ref()) {
            let handle = key_is.value(&scope).map_err(why)?;
            scope.set("handle", handle);
        }
        if let Some(record) = &self.case.record {
            scope.set("record", record.clone());
            scope.set("record.key", self.key());
            scope.set("records.key", vec![self.key()]);
        }
        if let Some(item) = &self.case.item {
            scope.set("item", item.clone());
        }
        if !self.changes.is_empty() {
            scope.set("changes", self.changes.clone());
        }
        let step = self.case.step.as_deref().unwrap_or_default();
        let removal = self.plan.removals.iter().find(|removal| step == format!("delete.{}", removal.name));
        if let Some(each) = removal.and_then(|removal| removal.each.as_ref()) {
            let filled = each.fill(&scope).map_err(why)?;
            scope.set("records.each", vec![filled]);
        }
        let mut draft = Draft::of(request, &scope, reach.base(request.host.as_deref())).map_err(why)?;
        if let Some(search) = search {
            first_page(&mut draft, search.find.paging.as_ref());
        } else if let Some(access) = self.plan.file.access.get(step.strip_prefix("access.").unwrap_or_default()) {
            first_page(&mut draft, access.paging.as_ref());
        }
        Ok(Some(draft))
    }

    fn answer(&self, given: &str, expected: &Expected, faults: &mut Vec<String>) {
        let status = self.case.status.unwrap_or(200);
        let headers: Vec<(String, String)> = self.case.headers.clone().into_iter().collect();
        let json: Option<Value> = serde_json::from_str(given).ok();
        let said = feedback(status, headers.iter().map(|(name, value)| (name.as_str(), value.as_str())), 0);
        let wait = said.wait_ms.map(|ms| Duration::from_millis(ms.max(0) as u64));
        let seen = Seen { status, headers: &headers, json: json.as_ref(), wait };
        let rules = &self.plan.file.outcomes;
        let meaning = classify::response(rules, seen);
        if let Some(class) = expected.class.filter(|class| *class != meaning.class) {
            faults.push(format!("the answer is {}, not {}", word(meaning.class), word(class)));
        }
        if let Some(seconds) = expected.wait_seconds {
            let waits = meaning.wait.map_or(0, |wait| wait.as_secs());
            if waits != seconds {
                faults.push(format!("the answer asks to wait {waits} seconds, not {seconds}"));
            }
        }
        let json = json.clone().unwrap_or_default();
        if !expected.items.is_empty() {
            let own = self.case.step.as_ref().and_then(|step| self.plan.file.delete.get(step.strip_prefix("delete.")?));
            let at = own.or_else(|| self.plan.file.delete.values().find(|delete| delete.items.is_some()));
            let at = at.and_then(|delete| delete.items.as_deref()).unwrap_or_default();
            let items = pages::items(&json, at).unwrap_or_default();
            let classes: Vec<Class> = items.iter().map(|item| classify::item(rules, seen, item).class).collect();
            if classes != expected.items {
                let words = |classes: &[Class]| classes.iter().map(|class| word(*class)).collect::<Vec<_>>().join(", ");
                faults.push(format!("the items are {}, not {}", words(&classes), words(&expected.items)));
            }
        }
        if let (Some(keys), Some(search)) = (&expected.keys, self.search) {
            let nobody = meaning.class == Class::Gone || search.find.none.contains(&status);
            let none_if = search.find.none_if.as_ref().is_some_and(|when| classify::matches(when, seen, seen.json));
            let found = if nobody || none_if { Ok(Vec::new()) } else { self.keys(search, &json) };
            match found {
                Ok(found) if found == *keys => {}
                Ok(found) => faults.push(format!("the subject's records are {found:?}, not {keys:?}")),
                Err(fault) => faults.push(fault),
            }
        }
    }

    /// The keys of the records that are the subject's.
    fn keys(&self, search: &Search, json: &Value) -> Result<Vec<String>, String> {
        let at = self.kind.and_then(|kind| search.find.items_by.get(kind.as_str())).unwrap_or(&search.find.items);
        let records = pages::items(json, at).map_err(|_| format!("the answer has no list at {at:?}"))?;
        let mut keys = Vec::new();
        for element in records {
            let record = match &search.find.item {
                Some(item) => {
                    pointer::first(&element, item).ok_or_else(|| format!("an element has nothing at {item:?}"))?
                }
                None => &element,
            };
            let is_subject =
                search.by.is_empty() || judge(search, record, &self.subject, self.kind).strongest.is_some();
            if !pointer::holds(record, &search.find.only) || !is_subject {
                continue;
            }
            let own =
                if search.find.key.starts_with('/') { pointer::first(record, &search.find.key) } else { Some(record) };
            let handle = self.subject.identifiers.iter().find(|identifier| Some(identifier.kind()) == self.kind);
            let handle = || handle.map(|identifier| identifier.normal().expose().clone());
            let key = own.and_then(pointer::text).or_else(|| handle().filter(|_| !search.find.key.starts_with('/')));
            keys.push(key.ok_or_else(|| format!("a record has no key at {:?}", search.find.key))?);
        }
        Ok(keys)
    }
}

/// Puts in where a list begins, as the engine does.
fn first_page(draft: &mut Draft, paging: Option<&Paging>) {
    match paging {
        Some(Paging::Page { query, first, .. }) => draft.set_query(query, first.to_string()),
        Some(Paging::Offset { query: Some(query), .. }) => draft.set_query(query, "0".to_owned()),
        Some(Paging::Offset { body: Some(body), .. }) => draft.set_body(body, 0.into()),
        _ => {}
    }
}

/// A class as it is written.
fn word(class: Class) -> String {
    serde_json::to_value(class).ok().and_then(|value| value.as_str().map(Into::into)).unwrap_or_default()
}

fn compare(
    draft: &Draft,
    reach: &Reach,
    request: Option<&Request>,
    expected: &ExpectedRequest,
    faults: &mut Vec<String>,
) {
    let (method, url, body) = draft.shown();
    if method != expected.method {
        faults.push(format!("the method is {method}, not {}", expected.method));
    }
    let base = reach.base(request.and_then(|request| request.host.as_deref())).path().trim_end_matches('/').to_owned();
    let below = url.strip_prefix(base.as_str()).unwrap_or(&url);
    if parts(&url) != parts(&expected.url) && parts(below) != parts(&expected.url) {
        faults.push(format!("the url is {below}, not {}", expected.url));
    }
    let text = String::from_utf8_lossy(&body);
    let same = match (&expected.body, serde_json::from_str::<Value>(&text)) {
        (None, _) => true,
        (Some(wanted), Ok(json)) => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == json),
        (Some(wanted), Err(_)) => pairs(wanted) == pairs(&text),
    };
    if !same {
        faults.push(format!("the body is {text}, not {}", expected.body.as_deref().unwrap_or_default()));
    }
}

/// Path and query, the latter without regard to its order and to how much of it is encoded.
fn parts(url: &str) -> (String, Vec<(String, String)>) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    (path.to_owned(), pairs(query))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    pairs.sort();
    pairs
}

/// A connected system with stand-ins for what the case does not give.
fn reach(loaded: &Loaded, case: &Case) -> Result<Reach, String> {
    let mut settings = Map::new();
    let mut secrets = BTreeMap::new();
    for (name, input) in &loaded.file.inputs {
        let given = case.inputs.get(name).cloned();
        match input.kind {
            InputKind::Secret | InputKind::PrivateKey => {
                let text =
                    given.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_else(|| "stand-in".into());
                secrets.insert(name.clone(), text.into());
            }
            _ if given.is_none() && (input.optional || input.default.is_some()) => {}
            kind => {
                let stand_in = match kind {
                    InputKind::Url => json!("https://stand-in.example"),
                    InputKind::Integer => json!(1),
                    InputKind::List => json!(["stand-in"]),
                    InputKind::Choice => json!(input.choices.keys().next()),
                    _ => json!("stand-in"),
                };
                settings.insert(name.clone(), given.unwrap_or(stand_in));
            }
        }
    }
    let spec = SystemSpec {
        name: "case".into(),
        connector: loaded.file.connector.id.clone(),
        settings,
        secrets,
        tables: Vec::new(),
        max_matches: 100,
        base_dir: None,
        network: Network::default(),
    };
    Reach::of(&loaded.plan, &spec).map_err(|faults| {
        faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.detail)).collect::<Vec<_>>().join("; ")
    })
}

//! A plan is a manifest taken apart once: its templates parsed, its searches and deletions in the order in which they are made.

use super::format::{Access, Correct, Delete, DeleteEffect, Find, ManifestFile, Step, Text, Verify};
use super::template::{JsonTemplate, Template};
use redress_domain::IdentifierType;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// One request.
pub(super) struct Request {
    pub(super) method: reqwest::Method,
    pub(super) path: Template,
    pub(super) host: Option<String>,
    pub(super) query: Vec<(String, Template)>,
    pub(super) headers: Vec<(String, Template)>,
    pub(super) body: Option<JsonTemplate>,
    pub(super) content_type: String,
    pub(super) cost: u64,
    pub(super) long_query_as_post: bool,
}

/// One search.
pub(super) struct Search {
    pub(super) name: String,
    pub(super) find: Find,
    pub(super) by: Vec<IdentifierType>,
    request: Option<Request>,
    requests: BTreeMap<IdentifierType, Request>,
    pub(super) each: Option<Request>,
    /// Whether the list that is gone through depends on whom we look for.
    pub(super) each_is_personal: bool,
    pub(super) key_is: Option<Template>,
    /// What has to be kept of a record for its later deletion and verification: paths below `record`, and below `item`.
    pub(super) kept: Kept,
}

/// Parts of a record and of its list's element that later requests name.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) record: BTreeSet<Vec<String>>,
    pub(super) item: BTreeSet<Vec<String>>,
}

/// One deletion.
pub(super) struct Removal {
    pub(super) name: String,
    pub(super) delete: Delete,
    pub(super) request: Request,
    pub(super) each: Option<JsonTemplate>,
    pub(super) poll: Option<Request>,
}

/// One request for more of a record.
pub(super) struct Fetch {
    pub(super) name: String,
    pub(super) access: Access,
    pub(super) request: Request,
}

/// One way to change fields.
pub(super) struct Change {
    pub(super) name: String,
    pub(super) correct: Correct,
    pub(super) request: Request,
    pub(super) read: Option<Request>,
}

/// One way to see that something is gone.
pub(super) struct Look {
    pub(super) verify: Verify,
    pub(super) request: Option<Request>,
    /// The find whose deleted records it is about.
    pub(super) about: String,
}

/// A manifest, ready to be run.
pub(super) struct Plan {
    pub(super) file: ManifestFile,
    pub(super) check: Request,
    /// Searches, each after the one it depends on.
    pub(super) searches: Vec<Search>,
    /// Deletions, each after those it depends on.
    pub(super) removals: Vec<Removal>,
    pub(super) fetches: Vec<Fetch>,
    pub(super) changes: Vec<Change>,
    pub(super) looks: Vec<Look>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plan({})", self.file.connector.id)
    }
}

type Fault = String;

pub(super) fn template(text: &str, at: &str) -> Result<Template, Fault> {
    Template::parse(text).map_err(|fault| format!("{at}: {fault}"))
}

impl Request {
    pub(super) fn of(step: &Step, file: &ManifestFile, at: &str) -> Result<Self, Fault> {
        let method = match step.method.as_str() {
            "GET" | "POST" | "PUT" | "PATCH" | "DELETE" => step.method.parse().map_err(|_| format!("{at}: method"))?,
            other => return Err(format!("{at}: {other:?} is no method that is known here")),
        };
        let query = step.query.iter().map(|(name, text)| {
            let (Text::Plain(value) | Text::Lang { value, .. }) = text;
            Ok((name.clone(), template(value, at)?))
        });
        let headers = file.headers.iter().filter(|(name, _)| !step.headers.contains_key(*name)).chain(&step.headers);
        let headers = headers.map(|(name, value)| Ok((name.clone(), template(value, at)?)));
        let body = step.body.as_ref().map(|body| JsonTemplate::parse(body).map_err(|fault| format!("{at}: {fault}")));
        Ok(Self {
            method,
            path: template(&step.path, at)?,
            host: step.host.clone(),
            query: query.collect::<Result<_, Fault>>()?,
            headers: headers.collect::<Result<_, Fault>>()?,
            body: body.transpose()?,
            content_type: step.content_type.clone().or(file.content_type.clone()).unwrap_or_else(|| JSON.to_owned()),
            cost: step.cost.unwrap_or(1),
            long_query_as_post: step.long_query_as_post,
        })
    }

    /// The paths of all its placeholders.
    pub(super) fn paths(&self) -> Vec<&[String]> {
        let texts = self.query.iter().chain(&self.headers).map(|(_, template)| template).chain([&self.path]);
        let mut paths: Vec<&[String]> =
            texts.flat_map(|template| template.placeholders().map(|hole| hole.path.as_slice())).collect();
        paths
            .extend(self.body.iter().flat_map(|body| body.placeholders().into_iter().map(|hole| hole.path.as_slice())));
        paths
    }

    /// Whether it names this value, or a part of it.
    pub(super) fn names(&self, root: &str) -> bool {
        self.paths().iter().any(|path| path.first().is_some_and(|first| first == root))
    }
}

impl Search {
    /// The request for identifiers of a type, or for the records of another find.
    pub(super) fn request(&self, kind: Option<IdentifierType>) -> Option<&Request> {
        kind.and_then(|kind| self.requests.get(&kind)).or(self.request.as_ref())
    }

    /// Whether nobody can be looked for: the vendor takes any identifier.
    pub(super) fn is_blind(&self) -> bool {
        self.request.is_none() && self.requests.is_empty()
    }
}

impl Plan {
    /// Takes a manifest apart. What the lint refuses need not be told well here.
    ///
    /// # Errors
    /// The first thing that cannot be understood.
    pub(super) fn of(file: ManifestFile) -> Result<Self, Fault> {
        let check = Request::of(&file.check, &file, "check")?;
        let mut searches = Vec::new();
        for name in ordered(file.find.keys(), |name| file.find[name].from.iter().cloned().collect())? {
            searches.push(search(&file, &name)?);
        }
        let mut removals = Vec::new();
        for name in ordered(file.delete.keys(), |name| file.delete[name].after.clone())? {
            let (delete, at) = (file.delete[&name].clone(), format!("delete.{name}"));
            known(&file, &delete.from, &at)?;
            let request = Request::of(&delete.request, &file, &at)?;
            let each = delete.each.as_ref().map(|each| JsonTemplate::parse(each).map_err(|f| format!("{at}: {f}")));
            let poll = delete.poll.as_ref().map(|poll| Request::of(&poll.request, &file, &at)).transpose()?;
            removals.push(Removal { name, request, each: each.transpose()?, poll, delete });
        }
        let mut fetches = Vec::new();
        for (name, access) in &file.access {
            let at = format!("access.{name}");
            known(&file, &access.from, &at)?;
            let request = Request::of(&access.request, &file, &at)?;
            fetches.push(Fetch { name: name.clone(), access: access.clone(), request });
        }
        let mut changes = Vec::new();
        for (name, correct) in &file.correct {
            let at = format!("correct.{name}");
            known(&file, &correct.from, &at)?;
            let request = Request::of(&correct.request, &file, &at)?;
            let read = correct.read.as_ref().map(|step| Request::of(step, &file, &at)).transpose()?;
            changes.push(Change { name: name.clone(), correct: correct.clone(), request, read });
        }
        let mut looks = Vec::new();
        for (name, verify) in &file.verify {
            let at = format!("verify.{name}");
            known(&file, &verify.uses, &at)?;
            let request = verify.request.as_ref().map(|step| Request::of(step, &file, &at)).transpose()?;
            let about = file.delete.get(name).map_or_else(|| verify.uses.clone(), |delete| delete.from.clone());
            looks.push(Look { verify: verify.clone(), request, about });
        }
        let mut plan = Self { file, check, searches, removals, fetches, changes, looks };
        plan.keep();
        Ok(plan)
    }

    /// Notes what later requests name of a found record, so that a receipt holds that and no more.
    fn keep(&mut self) {
        for search in &mut self.searches {
            let removals = self.removals.iter().filter(|removal| removal.delete.from == search.name);
            let looks = self.looks.iter().filter(|look| look.about == search.name);
            let mut paths: Vec<&[String]> = Vec::new();
            for removal in removals {
                paths.extend(removal.request.paths());
                paths.extend(removal.poll.iter().flat_map(Request::paths));
                let holes = removal.each.iter().flat_map(JsonTemplate::placeholders);
                paths.extend(holes.map(|hole| hole.path.as_slice()));
            }
            for look in looks {
                paths.extend(look.request.iter().flat_map(Request::paths));
            }
            for path in paths {
                match path.split_first() {
                    Some((first, rest)) if first == "record" => search.kept.record.insert(rest.to_vec()),
                    Some((first, rest)) if first == "item" => search.kept.item.insert(rest.to_vec()),
                    _ => false,
                };
            }
        }
    }

    pub(super) fn search(&self, name: &str) -> Option<&Search> {
        self.searches.iter().find(|search| search.name == name)
    }

    /// These finds and those they depend on.
    pub(super) fn with_parents<'p>(&'p self, names: impl IntoIterator<Item = &'p str>) -> BTreeSet<&'p str> {
        let mut all = BTreeSet::new();
        for name in names {
            let mut next = Some(name);
            while let Some(name) = next {
                all.insert(name);
                next = self.file.find.get(name).and_then(|find| find.from.as_deref());
            }
        }
        all
    }

    /// Finds whose records are deleted, each once, in order.
    pub(super) fn deleted(&self) -> Vec<&Search> {
        self.searches.iter().filter(|s| self.removals.iter().any(|r| r.delete.from == s.name)).collect()
    }

    /// Finds whose records are the person's: all but those that are made for a verification only.
    pub(super) fn collections(&self) -> Vec<&Search> {
        let only_verifies = |search: &&Search| {
            let name = &search.name;
            self.looks.iter().any(|look| look.verify.uses == *name && look.about != *name)
                && !self.removals.iter().any(|removal| removal.delete.from == *name)
                && !self.fetches.iter().any(|fetch| fetch.access.from == *name)
                && !self.changes.iter().any(|change| change.correct.from == *name)
                && !self.searches.iter().any(|other| other.find.from.as_ref() == Some(name))
        };
        self.searches.iter().filter(|search| !only_verifies(search)).collect()
    }

    /// Finds whose records stay when all that can be deleted is: neither deleted nor a step towards what is.
    pub(super) fn staying(&self) -> Vec<&Search> {
        let towards = self.with_parents(self.deleted().into_iter().map(|search| search.name.as_str()));
        let all = self.collections().into_iter();
        all.filter(|search| !search.is_blind() && !towards.contains(search.name.as_str())).collect()
    }

    /// The deletion that decides what is left of a find's records: the last one.
    pub(super) fn effect(&self, find: &str) -> Option<&Removal> {
        self.removals.iter().rfind(|removal| removal.delete.from == find)
    }

    /// The word for a deletion in evidence.
    pub(super) fn action(&self, find: &str) -> &'static str {
        match self.effect(find).map(|removal| removal.delete.effect) {
            Some(DeleteEffect::Anonymise) => "anonymise",
            Some(DeleteEffect::Suppress) => "suppress",
            _ => "delete",
        }
    }
}

fn known(file: &ManifestFile, find: &str, at: &str) -> Result<(), Fault> {
    if file.find.contains_key(find) { Ok(()) } else { Err(format!("{at}: there is no find named {find:?}")) }
}

fn search(file: &ManifestFile, name: &str) -> Result<Search, Fault> {
    let (find, at) = (file.find[name].clone(), format!("find.{name}"));
    if let Some(from) = &find.from {
        known(file, from, &at)?;
    }
    let kind =
        |text: &String| IdentifierType::parse(text).ok_or_else(|| format!("{at}: {text:?} is no identifier type"));
    for exact in &find.exact {
        kind(&exact.by)?;
    }
    let requests = find.requests.iter().map(|(by, step)| Ok((kind(by)?, Request::of(step, file, &at)?)));
    let each = find.each.as_ref().map(|each| Request::of(&each.request, file, &at)).transpose()?;
    let request = find.request.as_ref().map(|step| Request::of(step, file, &at)).transpose()?;
    let requests: BTreeMap<IdentifierType, Request> = requests.collect::<Result<_, Fault>>()?;
    let by: Vec<IdentifierType> = find.by.iter().map(kind).collect::<Result<_, Fault>>()?;
    // A type that is named and then not searched would be taken for nobody.
    let searched = |kind: &IdentifierType| request.is_some() || requests.contains_key(kind);
    let keyed = find.key_is.is_some() && request.is_none() && requests.is_empty();
    if (by.is_empty() && (find.from.is_none() || request.is_none())) || !(keyed || by.iter().all(searched)) {
        return Err(format!("{at}: every identifier type needs a request, or the find a key_is"));
    }
    if find.exact.is_empty() && !by.is_empty() && !keyed {
        return Err(format!("{at}: a search by an identifier needs an exact comparison"));
    }
    Ok(Search {
        name: name.to_owned(),
        by,
        request,
        requests,
        each_is_personal: each.as_ref().is_some_and(|request| request.names("subject") || request.names("record")),
        each,
        key_is: find.key_is.as_ref().map(|text| template(text, &at)).transpose()?,
        kept: Kept::default(),
        find,
    })
}

/// Names in an order in which each comes after those it depends on.
fn ordered<'n>(
    names: impl Iterator<Item = &'n String>,
    before: impl Fn(&String) -> Vec<String>,
) -> Result<Vec<String>, Fault> {
    let mut waiting: Vec<&String> = names.collect();
    let all: BTreeSet<&String> = waiting.iter().copied().collect();
    let mut order: Vec<String> = Vec::new();
    while !waiting.is_empty() {
        let ready = |name: &&String| before(name).iter().all(|dep| order.contains(dep) || !all.contains(dep));
        let (now, later): (Vec<&String>, Vec<&String>) = waiting.iter().partition(|name| ready(name));
        if now.is_empty() {
            return Err(format!(
                "{} wait for each other",
                later.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ")
            ));
        }
        order.extend(now.into_iter().cloned());
        waiting = later;
    }
    Ok(order)
}

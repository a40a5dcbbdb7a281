//! What holds for searches, and for what is read and changed of the records they find.

use super::Lint;
use super::words::Context;
use crate::manifest::format::{Find, Step, Text};
use crate::manifest::template::{Placeholder, Template};
use redress_domain::IdentifierType;
use std::collections::BTreeSet;

const NORMALISERS: [&str; 3] = ["identifier", "md5_lower", "e164_digits"];

impl Lint<'_> {
    pub(super) fn finds(&mut self) {
        if self.file.find.is_empty() {
            self.error("find", "is missing: a connector that finds nobody can do nothing");
        }
        for (name, find) in &self.file.find {
            let at = format!("find.{name}");
            self.source(&at, name, find);
            self.requests(&at, find);
            self.exact(&at, find);
            self.records(&at, find);
        }
        self.cycle("find", self.file.find.iter().map(|(name, find)| (name, find.from.iter().collect())).collect());
    }

    /// Where a search starts: an identifier, or records found before.
    fn source(&mut self, at: &str, name: &str, find: &Find) {
        match (&find.from, find.by.is_empty()) {
            (None, true) => self.error(at, "needs `by` (identifier types) or `from` (another find)"),
            (Some(_), false) => self.error(at, "has `by` and `from`; it starts from one of both"),
            (Some(from), true) if from == name => self.error(format!("{at}.from"), "is itself"),
            (Some(from), true) if !self.file.find.contains_key(from) => {
                self.unknown(&format!("{at}.from"), "find named", from, self.file.find.keys());
            }
            _ => {}
        }
        let mut seen = BTreeSet::new();
        for (i, kind) in find.by.iter().enumerate() {
            self.identifier_type(&format!("{at}.by.{i}"), kind);
            if !seen.insert(kind) {
                self.error(format!("{at}.by.{i}"), "is named twice");
            }
        }
        for (key, kinds) in [
            ("fields", find.fields.keys().collect::<Vec<_>>()),
            ("requests", find.requests.keys().collect()),
            ("items_by", find.items_by.keys().collect()),
        ] {
            for kind in kinds.into_iter().filter(|kind| !find.by.contains(kind)) {
                self.unknown(&format!("{at}.{key}.{kind}"), "identifier type in `by` named", kind, &find.by);
            }
        }
        for kind in find.yields.keys() {
            self.identifier_type(&format!("{at}.yields.{kind}"), kind);
        }
    }

    pub(super) fn identifier_type(&mut self, at: &str, kind: &str) {
        if IdentifierType::parse(kind).is_none() {
            let known: Vec<String> = IdentifierType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
            self.unknown(at, "identifier type", kind, &known);
        }
    }

    fn requests(&mut self, at: &str, find: &Find) {
        let general = find.by.iter().filter(|kind| !find.requests.contains_key(*kind)).collect::<Vec<_>>();
        let every_field = !general.is_empty() && general.into_iter().all(|kind| find.fields.contains_key(kind));
        let context = Context {
            subject: true,
            value: !find.by.is_empty(),
            field: every_field,
            subjects: find.batch.is_some(),
            record: find.from.is_some(),
            item: find.each.is_some() || find.from.as_ref().is_some_and(|from| self.has_item(from)),
            handle: find.key_is.is_some(),
            ..Context::default()
        };
        if let Some(each) = &find.each {
            self.step(&format!("{at}.each.request"), &each.request, Context { item: false, ..context });
            self.pointer(&format!("{at}.each.items"), &each.items);
            self.paging(&format!("{at}.each.paging"), each.paging.as_ref(), Some(&each.request));
        }
        if let Some(key_is) = &find.key_is {
            self.filled(&format!("{at}.key_is"), key_is, Context { handle: false, item: false, ..context });
        }
        let mut steps: Vec<(String, &Step, Option<&str>)> = Vec::new();
        steps.extend(find.request.iter().map(|step| (format!("{at}.request"), step, None)));
        let own = find.requests.iter();
        steps.extend(own.map(|(kind, step)| (format!("{at}.requests.{kind}"), step, Some(kind.as_str()))));
        for (at, step, kind) in &steps {
            let field = kind.map_or(every_field, |kind| find.fields.contains_key(kind));
            self.step(at, step, Context { field, ..context });
            self.asks_for_somebody(at, step, find);
        }
        let covered =
            find.request.is_some() || (!find.by.is_empty() && find.by.iter().all(|k| find.requests.contains_key(k)));
        let blind = find.key_is.is_some() && steps.is_empty();
        if !covered && !blind {
            self.error(at, "has no `request` (nor one in `requests` for each type of `by`)");
        }
        self.paging(&format!("{at}.paging"), find.paging.as_ref(), find.request.as_ref());
        if let Some(batch) = &find.batch {
            self.batch(&format!("{at}.batch"), batch);
            if !steps.iter().any(|(_, step, _)| holes(step).iter().any(|hole| hole.path[0] == "subjects")) {
                self.error(format!("{at}.batch"), "is of no use: no request names ${subjects.value}");
            }
        }
    }

    /// A search that does not depend on whom we look for would read everybody.
    fn asks_for_somebody(&mut self, at: &str, step: &Step, find: &Find) {
        let roots: &[&str] = if find.from.is_some() { &["record", "item"] } else { &["subject", "subjects", "handle"] };
        let of_somebody = |hole: &Placeholder| {
            roots.contains(&hole.path[0].as_str())
                && hole.path.get(1).is_none_or(|part| part != "field" && part != "type")
        };
        if !holes(step).iter().any(of_somebody) {
            let what = if find.from.is_some() {
                "the record it is made for (${record.key})"
            } else {
                "an identifier (${subject.value})"
            };
            self.error(at, format!("does not name {what}: it would fetch everybody's records"));
        }
    }

    fn exact(&mut self, at: &str, find: &Find) {
        let blind = find.key_is.is_some() && find.request.is_none() && find.requests.is_empty();
        for kind in find.by.iter().filter(|_| !blind) {
            if !find.exact.iter().any(|exact| exact.by == *kind) {
                self.error(
                    format!("{at}.exact"),
                    format!("says nothing about {kind}: name where a record holds it, {{ by = {kind:?}, pointers = [\"/…\"] }}; searches of vendors find others too"),
                );
            }
        }
        for (i, exact) in find.exact.iter().enumerate() {
            let at = format!("{at}.exact.{i}");
            if !find.by.contains(&exact.by) && find.from.is_none() {
                self.unknown(&format!("{at}.by"), "identifier type in `by` named", &exact.by, &find.by);
            }
            if exact.pointers.is_empty() {
                self.error(format!("{at}.pointers"), "is empty: nothing would be compared");
            }
            for pointer in exact.pointers.iter().filter(|pointer| *pointer != "#handle") {
                if pointer.is_empty() {
                    self.error(format!("{at}.pointers"), "must point into the record, such as \"/email\"");
                }
                self.pointer(&format!("{at}.pointers"), pointer);
            }
            if exact.pointers.iter().any(|pointer| pointer == "#handle") && !by_name(find, &exact.by) {
                self.error(
                    format!("{at}.pointers"),
                    "#handle takes the vendor's word for whose record it is, which only a call by name gives: a GET with the identifier as the last part of its path",
                );
            }
            if let Some(normalise) =
                exact.normalise.as_ref().filter(|normalise| !NORMALISERS.contains(&normalise.as_str()))
            {
                let known: Vec<String> = NORMALISERS.iter().map(|name| (*name).to_owned()).collect();
                self.unknown(&format!("{at}.normalise"), "normaliser", normalise, &known);
            }
        }
        match find.max_matches {
            Some(0) => self.error(format!("{at}.max_matches"), "must let at least one match through"),
            None if !find.by.is_empty() && !blind => {
                self.warn(
                    at,
                    "has no `max_matches`; then only the system's own counts. Say how many records one person can have",
                );
            }
            _ => {}
        }
    }

    fn records(&mut self, at: &str, find: &Find) {
        self.pointer(&format!("{at}.items"), &find.items);
        let blind = find.key_is.is_some() && find.request.is_none() && find.requests.is_empty();
        if find.key.is_empty() && find.key_is.is_none() {
            self.error(format!("{at}.key"), "is missing: name where a record holds its key, such as \"/id\"");
        } else if find.key != "#handle" && !blind {
            self.pointer(&format!("{at}.key"), &find.key);
        }
        let pointers = find.items_by.values().map(|pointer| ("items_by", pointer));
        let pointers = pointers
            .chain(find.item.iter().map(|pointer| ("item", pointer)))
            .chain(find.only.keys().map(|pointer| ("only", pointer)))
            .chain(find.shared.iter().map(|pointer| ("shared", pointer)))
            .chain(find.belongs.iter().map(|pointer| ("belongs", pointer)))
            .chain(find.yields.values().map(|pointer| ("yields", pointer)))
            .chain(find.omit.iter().map(|pointer| ("omit", pointer)));
        for (key, pointer) in pointers {
            self.pointer(&format!("{at}.{key}"), pointer);
        }
        self.harmless(&format!("{at}.none"), &find.none);
        if let Some(when) = &find.none_if {
            self.when(&format!("{at}.none_if"), when);
        }
        if find.belongs.is_some() && find.from.is_none() {
            self.error(format!("{at}.belongs"), "belongs to a find with `from`");
        }
        if !find.yields.is_empty() && find.by.is_empty() {
            self.warn(
                format!("{at}.yields"),
                "only records that were compared with the subject yield identifiers; this find has no `by`",
            );
        }
    }

    pub(super) fn others(&mut self) {
        for (name, access) in &self.file.access {
            let at = format!("access.{name}");
            self.known_find(&format!("{at}.from"), &access.from);
            let context = self.of_record(&access.from);
            self.step(&format!("{at}.request"), &access.request, context);
            self.names_record(&format!("{at}.request"), &access.request);
            self.pointer(&format!("{at}.items"), &access.items);
            access.omit.iter().chain(&access.if_has).for_each(|pointer| self.pointer(&at, pointer));
            self.paging(&format!("{at}.paging"), access.paging.as_ref(), Some(&access.request));
            self.harmless(&format!("{at}.none"), &access.none);
            if let Some(when) = &access.none_if {
                self.when(&format!("{at}.none_if"), when);
            }
        }
        for (name, correct) in &self.file.correct {
            let at = format!("correct.{name}");
            self.known_find(&format!("{at}.from"), &correct.from);
            if correct.fields.is_empty() {
                self.error(format!("{at}.fields"), "names no field that may be corrected");
            }
            for (field, pointer) in &correct.fields {
                self.pointer(&format!("{at}.fields.{field}"), pointer);
                if pointer.len() < 2 || pointer.contains('*') {
                    self.error(
                        format!("{at}.fields.{field}"),
                        "must point at one field of the record, such as \"/first_name\"",
                    );
                }
            }
            let context = self.of_record(&correct.from);
            if let Some(read) = &correct.read {
                self.step(&format!("{at}.read"), read, context);
                self.names_record(&format!("{at}.read"), read);
            }
            self.step(&format!("{at}.request"), &correct.request, Context { changes: true, step: true, ..context });
            self.names_record(&format!("{at}.request"), &correct.request);
            if !holes(&correct.request).iter().any(|hole| hole.path[0] == "changes") {
                self.error(format!("{at}.request"), "does not name ${changes}: nothing would be corrected");
            }
        }
    }

    pub(super) fn of_record(&self, find: &str) -> Context {
        Context { subject: true, record: true, item: self.has_item(find), ..Context::default() }
    }

    pub(super) fn known_find(&mut self, at: &str, name: &str) {
        if !self.file.find.contains_key(name) {
            self.unknown(at, "find named", name, self.file.find.keys());
        }
    }

    pub(super) fn names_record(&mut self, at: &str, step: &Step) {
        if !holes(step).iter().any(|hole| hole.path[0] == "record") {
            self.error(at, "does not name the record it is made for, such as ${record.key}");
        }
    }

    /// Whether records of a find come from the elements of a list.
    fn has_item(&self, find: &str) -> bool {
        self.chain(find).iter().any(|find| find.each.is_some())
    }

    /// A find and those it starts from.
    pub(super) fn chain(&self, name: &str) -> Vec<&Find> {
        let mut all = Vec::new();
        let mut next = Some(name);
        while let Some(find) = next.and_then(|name| self.file.find.get(name)).filter(|_| all.len() < 32) {
            all.push(find);
            next = find.from.as_deref();
        }
        all
    }

    /// Says if names wait for each other in a circle.
    pub(super) fn cycle(&mut self, what: &str, edges: Vec<(&String, Vec<&String>)>) {
        let mut waiting = edges;
        loop {
            let names: BTreeSet<&String> = waiting.iter().map(|(name, _)| *name).collect();
            let before = waiting.len();
            waiting.retain(|(_, after)| after.iter().any(|dep| names.contains(*dep)));
            if waiting.is_empty() {
                return;
            }
            if waiting.len() == before {
                let names: Vec<&str> = waiting.iter().map(|(name, _)| name.as_str()).collect();
                return self.error(format!("{what}.{}", names[0]), format!("{} wait for each other", names.join(", ")));
            }
        }
    }
}

/// Whether the call for identifiers of a type names one resource by the identifier itself.
fn by_name(find: &Find, kind: &str) -> bool {
    let Some(step) = find.requests.get(kind).or(find.request.as_ref()) else { return false };
    step.method == "GET"
        && Template::parse(&step.path).is_ok_and(|path| {
            path.placeholders().any(|hole| {
                hole.path[0] == "handle"
                    || (hole.path[0] == "subject"
                        && hole.path.get(1).is_some_and(|part| part != "field" && part != "type"))
            })
        })
}

/// Every hole of a request; of what cannot be read, none.
pub(super) fn holes(step: &Step) -> Vec<Placeholder> {
    let query = step.query.values().map(|text| {
        let (Text::Plain(value) | Text::Lang { value, .. }) = text;
        value
    });
    let texts = query.chain(step.headers.values()).chain([&step.path]);
    let mut all: Vec<Placeholder> = texts
        .filter_map(|text| Template::parse(text).ok())
        .flat_map(|template| template.placeholders().cloned().collect::<Vec<_>>())
        .collect();
    let body = step.body.as_ref().and_then(|body| crate::manifest::template::JsonTemplate::parse(body).ok());
    all.extend(body.iter().flat_map(|body| body.placeholders().into_iter().cloned()));
    all
}

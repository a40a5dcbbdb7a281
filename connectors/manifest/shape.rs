//! A shape says whether JSON is what a schema describes: the part of JSON Schema (and of OpenAPI 3.0's dialect) that our own
//! manifests' schema and the vendors' OpenAPI files use.
//!
//! `oneOf` counts as `anyOf`, because vendors' recursive ones make true requests ambiguous. What it does not know (formats,
//! patterns) it does not check.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// A document with schemas in it, to which `$ref` points.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'s> {
    root: &'s Value,
    /// Keys that an object's schema does not name are refused although it does not forbid them.
    strict: bool,
}

/// What is not as the schema says, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Keys and positions from the top.
    pub(crate) at: Vec<String>,
    pub(crate) what: What,
}

/// What is not as the schema says. Names the schema's words, never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A key that is not known there; those that are.
    Unknown(Vec<String>),
    /// A key that has to be there.
    Missing,
    /// It must be one of these types.
    Type(Vec<String>),
    /// It must be one of these words.
    Word(Vec<String>),
    /// Some other rule.
    Rule(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(known) => write!(f, "is not known here; there are {}", known.join(", ")),
            Self::Missing => f.write_str("is missing"),
            Self::Type(types) => write!(f, "must be {}", types.join(" or ")),
            Self::Word(words) => write!(f, "must be one of {}", words.join(", ")),
            Self::Rule(rule) => f.write_str(rule),
        }
    }
}

const DEEPEST: usize = 64;

impl<'s> Shape<'s> {
    /// Schemas of this document, as they are.
    pub(crate) const fn of(root: &'s Value) -> Self {
        Self { root, strict: false }
    }

    /// Schemas of this document; what they do not name is refused.
    pub(crate) const fn strict(root: &'s Value) -> Self {
        Self { root, strict: true }
    }

    /// What a `$ref` stands for.
    pub(crate) fn resolve(&self, schema: &'s Value) -> &'s Value {
        let mut schema = schema;
        for _ in 0..DEEPEST {
            let Some(target) = schema.get("$ref").and_then(Value::as_str) else { break };
            match target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(found) => schema = found,
                None => break,
            }
        }
        schema
    }

    /// Everything that is not as this schema says.
    pub(crate) fn misfits(&self, schema: &'s Value, value: &Value) -> Vec<Misfit> {
        let mut look = Look { shape: *self, at: Vec::new(), found: Vec::new() };
        look.at(schema, value, self.strict);
        look.found
    }

    fn named(&self, schema: &'s Value, into: &mut BTreeSet<&'s str>, depth: usize) -> bool {
        let schema = self.resolve(schema);
        if depth > DEEPEST {
            return false;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        into.extend(properties.into_iter().flatten().map(|(key, _)| key.as_str()));
        let open = schema.get("additionalProperties").is_some_and(|more| more.is_object() || *more == true);
        let branches = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
        branches.flatten().fold(open, |open, branch| self.named(branch, into, depth + 1) || open)
    }
}

struct Look<'s> {
    shape: Shape<'s>,
    at: Vec<String>,
    found: Vec<Misfit>,
}

impl<'s> Look<'s> {
    fn tell(&mut self, what: What) {
        self.found.push(Misfit { at: self.at.clone(), what });
    }

    fn inside(&mut self, key: String, look: impl FnOnce(&mut Self)) {
        self.at.push(key);
        look(self);
        self.at.pop();
    }

    fn at(&mut self, schema: &'s Value, value: &Value, strict: bool) {
        if self.at.len() > DEEPEST {
            return self.tell(What::Rule("is nested too deeply".into()));
        }
        let schema = self.shape.resolve(schema);
        if *schema == false {
            return self.tell(What::Rule("is not allowed".into()));
        }
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return;
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| is(value, name)) {
            return self.tell(What::Type(types.iter().map(|name| in_words(name).to_owned()).collect()));
        }
        let words = words(schema);
        if !words.is_empty() && !words.contains(&value) {
            return self.tell(What::Word(words.into_iter().map(spelled).collect()));
        }
        self.bounds(schema, value);
        for branch in list(schema, "allOf") {
            self.at(branch, value, false);
        }
        for key in ["anyOf", "oneOf"] {
            self.any(list(schema, key), value);
        }
        match value {
            Value::Object(map) => self.object(schema, map, strict),
            Value::Array(items) => {
                if let Some(each) = schema.get("items") {
                    for (i, item) in items.iter().enumerate() {
                        self.inside(i.to_string(), |look| look.at(each, item, look.shape.strict));
                    }
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, schema: &'s Value, map: &serde_json::Map<String, Value>, strict: bool) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for key in list(schema, "required").iter().filter_map(Value::as_str).filter(|key| !map.contains_key(*key)) {
            self.inside(key.to_owned(), |look| look.tell(What::Missing));
        }
        let more = schema.get("additionalProperties");
        let mut named = BTreeSet::new();
        let open = self.shape.named(schema, &mut named, 0);
        for (key, value) in map {
            let known = properties.and_then(|properties| properties.get(key));
            let unknown = |look: &mut Self| {
                let known = named.iter().map(|name| (*name).to_owned()).collect();
                look.inside(key.clone(), |look| look.tell(What::Unknown(known)));
            };
            match (known, more) {
                (Some(schema), _) => self.inside(key.clone(), |look| look.at(schema, value, look.shape.strict)),
                (None, Some(Value::Bool(false))) => unknown(self),
                (None, Some(schema @ Value::Object(_))) => {
                    self.inside(key.clone(), |look| look.at(schema, value, look.shape.strict));
                }
                (None, None) if strict && !open && !named.is_empty() && !named.contains(key.as_str()) => unknown(self),
                _ => {}
            }
        }
    }

    /// At least one of the branches must fit; if none does, what is told is about the one that fits best.
    fn any(&mut self, branches: &'s [Value], value: &Value) {
        if branches.is_empty() {
            return;
        }
        let mut best: Option<(usize, Vec<Misfit>)> = None;
        let mut all_words = Vec::new();
        for branch in branches {
            let mut look = Look { shape: self.shape, at: self.at.clone(), found: Vec::new() };
            look.at(branch, value, self.shape.strict);
            if look.found.is_empty() {
                return;
            }
            let here = look.found.iter().filter(|misfit| misfit.at.len() == self.at.len());
            let at_once = here.filter(|misfit| matches!(misfit.what, What::Type(_) | What::Word(_))).count();
            let of_another_kind = look.found.iter().filter(|misfit| is_tag(misfit, self.at.len())).count();
            if let [Misfit { what: What::Word(words), .. }] = look.found.as_slice() {
                all_words.extend(words.iter().cloned());
            }
            let score = look.found.len() + 1_000 * at_once + 100 * of_another_kind;
            if best.as_ref().is_none_or(|(least, _)| score < *least) {
                best = Some((score, look.found));
            }
        }
        let best = best.map(|(_, found)| found).unwrap_or_default();
        let tags: Option<&Misfit> = best.iter().find(|misfit| is_tag(misfit, self.at.len()));
        match (best.as_slice(), tags) {
            // Every branch is a word, or has a word of its own by which it is told from the others.
            ([Misfit { at, what: What::Word(_) }], _) if !all_words.is_empty() => {
                self.found.push(Misfit { at: at.clone(), what: What::Word(all_words) });
            }
            (_, Some(tag)) => {
                let words = branches.iter().filter_map(|branch| {
                    let key = tag.at.last()?;
                    let of = self.shape.resolve(branch).get("properties")?.get(key)?;
                    Some(words(of).into_iter().map(spelled).collect::<Vec<_>>())
                });
                self.found.push(Misfit { at: tag.at.clone(), what: What::Word(words.flatten().collect()) });
            }
            _ => self.found.extend(best),
        }
    }

    fn bounds(&mut self, schema: &Value, value: &Value) {
        let size = |key: &str| schema.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let (length, least, most, unit) = match value {
            Value::Array(list) => (list.len(), size("minItems"), size("maxItems"), "elements"),
            Value::String(text) => (text.chars().count(), size("minLength"), size("maxLength"), "characters"),
            _ => (0, None, None, ""),
        };
        if least.is_some_and(|least| length < least) {
            self.tell(What::Rule(format!("has fewer than {} {unit}", least.unwrap_or_default())));
        }
        if most.is_some_and(|most| length > most) {
            self.tell(What::Rule(format!("has more than {} {unit}", most.unwrap_or_default())));
        }
        if let Some(number) = value.as_f64() {
            let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
            if bound("minimum").is_some_and(|least| number < least)
                || bound("maximum").is_some_and(|most| number > most)
            {
                self.tell(What::Rule("is out of range".into()));
            }
        }
    }
}

/// Whether the misfit says that a branch is for another kind of object: its tag has another word.
fn is_tag(misfit: &Misfit, depth: usize) -> bool {
    misfit.at.len() == depth + 1
        && (matches!(&misfit.what, What::Word(words) if words.len() == 1)
            || matches!((&misfit.what, misfit.at.last()), (What::Missing, Some(key)) if key == "kind"))
}

fn list<'v>(schema: &'v Value, key: &str) -> &'v [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn words(schema: &Value) -> Vec<&Value> {
    schema.get("const").into_iter().chain(list(schema, "enum")).collect()
}

fn spelled(word: &Value) -> String {
    word.as_str().map_or_else(|| word.to_string(), str::to_owned)
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" | "file" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn in_words(name: &str) -> &str {
    match name {
        "null" => "nothing",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text (in quotes)",
        "array" => "a list",
        "object" => "a table",
        other => other,
    }
}

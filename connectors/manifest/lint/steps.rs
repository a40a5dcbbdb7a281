//! What holds for every request of a manifest.

use super::words::{Context, Origin, origin};
use super::{Lint, is_secret};
use crate::manifest::escape::Escaper;
use crate::manifest::format::{Batch, Paging, Step, Text};
use crate::manifest::template::{Filter, JsonTemplate, Placeholder, Template};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// Parameters that vendors read as a query language.
const QUERIES: [&str; 11] =
    ["q", "query", "filter", "$filter", "$search", "search", "where", "criteria", "soql", "sgql", "expression"];
/// Parameters that ask for a page of a list.
const PAGED: [&str; 12] = [
    "limit",
    "page",
    "per_page",
    "perPage",
    "page[size]",
    "pageSize",
    "page_size",
    "batchSize",
    "maxResults",
    "$top",
    "offset",
    "top",
];

impl Lint<'_> {
    pub(super) fn steps(&mut self) {
        self.step("check", &self.file.check, Context::default());
        for (name, text) in &self.file.headers {
            let at = format!("headers.{name}");
            self.header(&at, name);
            self.filled(&at, text, Context::default());
        }
        if let Some(kind) = &self.file.content_type {
            self.media_type("content_type", kind);
        }
    }

    fn media_type(&mut self, at: &str, kind: &str) {
        if kind != JSON && kind != FORM && !kind.ends_with("+json") {
            self.error(
                at,
                format!("{kind:?} is none that is written here; there are {JSON}, {FORM} and those that end in +json"),
            );
        }
    }

    /// Checks a request.
    pub(super) fn step(&mut self, at: &str, step: &Step, context: Context) {
        if !matches!(step.method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            self.error(format!("{at}.method"), "must be GET, POST, PUT, PATCH or DELETE");
        }
        self.path(&format!("{at}.path"), step, context);
        if let Some(host) = &step.host
            && !self.file.hosts.contains_key(host)
        {
            self.unknown(&format!("{at}.host"), "host named", host, self.file.hosts.keys());
        }
        for (name, text) in &step.query {
            self.parameter(&format!("{at}.query.{name}"), name, text, context);
        }
        for (name, text) in &step.headers {
            let at = format!("{at}.headers.{name}");
            self.header(&at, name);
            self.filled(&at, text, context);
        }
        if let Some(kind) = &step.content_type {
            self.media_type(&format!("{at}.content_type"), kind);
        }
        if let Some(body) = &step.body {
            self.body(&format!("{at}.body"), step, body, context);
        }
        if step.cost == Some(0) {
            self.error(format!("{at}.cost"), "must be at least 1; only fetching a token costs nothing");
        }
        if step.long_query_as_post && (step.method != "GET" || step.body.is_some()) {
            self.error(format!("{at}.long_query_as_post"), "belongs to a GET without a body");
        }
    }

    fn path(&mut self, at: &str, step: &Step, context: Context) {
        let path = &step.path;
        if !path.starts_with('/') {
            self.error(at, "must begin with a slash; it goes below the base URL");
        }
        let plain = path
            .split("${")
            .enumerate()
            .map(|(i, part)| if i == 0 { part } else { part.split_once('}').map_or(part, |(_, after)| after) });
        if plain.clone().any(|part| part.contains(['?', '#'])) {
            self.error(at, "must not have a query; put it under `query`, where values are encoded");
        }
        if path.contains("//") || path.split('/').any(|part| matches!(part, "." | "..")) {
            self.error(at, "has an empty segment, `.` or `..`");
        }
        for hole in self.filled(at, path, context) {
            self.no_secret(at, &hole);
            if hole.filters.iter().any(|filter| matches!(filter, Filter::Escape(escaper) if *escaper != Escaper::Csv)) {
                self.error(at, "needs no escaper in a path: every value is percent-encoded within its segment");
            }
        }
    }

    fn parameter(&mut self, at: &str, name: &str, text: &Text, context: Context) {
        self.not_everything(at, name);
        let (value, lang) = match text {
            Text::Plain(value) => (value, None),
            Text::Lang { value, lang } => (value, Some(lang)),
        };
        let holes = self.filled(at, value, context);
        for hole in &holes {
            self.no_secret(at, hole);
        }
        let theirs = || holes.iter().filter(|hole| origin(hole) == Origin::Theirs);
        if let Some(lang) = lang {
            match Escaper::named(lang) {
                None => {
                    let names: Vec<String> = Escaper::ALL.iter().map(|escaper| escaper.name().to_owned()).collect();
                    self.unknown(&format!("{at}.lang"), "query language", lang, &names);
                }
                Some(escaper) => {
                    for hole in theirs().filter(|hole| !is_escaped(hole, escaper)) {
                        let name = hole.name();
                        self.error(
                            at,
                            format!("${{{name}}} goes into {lang} without its escaper; write ${{{name}|{lang}}}"),
                        );
                    }
                    let like = value.to_lowercase().contains(" like ");
                    if like && matches!(escaper, Escaper::Soql | Escaper::Sgql) && theirs().next().is_some() {
                        self.error(at, "LIKE takes % and _ in an identifier for wildcards; compare with =");
                    }
                }
            }
        } else {
            let bare = theirs().find(|hole| hole.escaper().is_none() && !is_harmless(hole));
            if let Some(hole) = bare.filter(|_| QUERIES.contains(&name)) {
                let name = hole.name();
                self.warn(
                    at,
                    format!("looks like a query language: write {{ value = \"…${{{name}|LANGUAGE}}\", lang = \"LANGUAGE\" }} if it is one"),
                );
            }
        }
        for hole in holes.iter().filter(|hole| is_list(hole) && hole.escaper() != Some(Escaper::Csv)) {
            let name = hole.name();
            self.error(
                at,
                format!("${{{name}}} is a list; write ${{{name}|csv}} if the vendor parts values by commas"),
            );
        }
    }

    /// `delete_all_contacts=true` is one keystroke from an ordinary call.
    fn not_everything(&mut self, at: &str, name: &str) {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        if ["deleteall", "eraseall", "purgeall", "removeall", "destroyall", "clearall"]
            .iter()
            .any(|word| name.contains(word))
        {
            self.error(at, "deletes more than one person; no manifest may hold it, not even as false");
        }
    }

    fn body(&mut self, at: &str, step: &Step, body: &str, context: Context) {
        if step.method == "GET" {
            self.error(at, "does not belong to a GET");
        }
        let template = match JsonTemplate::parse(body) {
            Ok(template) => template,
            Err(fault) => return self.error(at, fault.to_string()),
        };
        for hole in template.placeholders() {
            self.word(at, hole, context);
        }
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let form = step.content_type.as_ref().or(self.file.content_type.as_ref()).is_some_and(|kind| kind == FORM);
        let flat = json.as_object().is_some_and(|map| !map.values().any(|v| v.is_object() || v.is_array()));
        if form && !flat {
            self.error(at, "is sent as a form: write a flat JSON object of texts");
        }
        self.body_keys(at, &json);
    }

    fn body_keys(&mut self, at: &str, json: &serde_json::Value) {
        match json {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    self.not_everything(at, key);
                    if let Some(text) = value.as_str().filter(|_| QUERIES.contains(&key.as_str())) {
                        self.query_in_body(at, key, text);
                    }
                    self.body_keys(at, value);
                }
            }
            serde_json::Value::Array(list) => {
                for value in list {
                    let hole = value.as_str().and_then(|text| Template::parse(text).ok()?.lone().cloned());
                    if let Some(hole) = hole.filter(is_list) {
                        let name = hole.name();
                        self.warn(
                            at,
                            format!(
                                "[\"${{{name}}}\"] is a list within a list; unless the vendor wants that, write \"${{{name}}}\" without the brackets"
                            ),
                        );
                    }
                    self.body_keys(at, value);
                }
            }
            _ => {}
        }
    }

    fn query_in_body(&mut self, at: &str, key: &str, text: &str) {
        let Ok(template) = Template::parse(text) else { return };
        let bare = template.placeholders().find(|hole| {
            origin(hole) == Origin::Theirs
                && hole.escaper().is_none()
                && !is_harmless(hole)
                && template.lone().is_none()
        });
        if let Some(hole) = bare {
            let name = hole.name();
            self.error(at, format!("{key:?} holds a query with ${{{name}}} in it as it is; name the language's escaper: ${{{name}|LANGUAGE}}"));
        }
    }

    fn header(&mut self, at: &str, name: &str) {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            self.error(at, "is no header's name");
        }
        let name = name.to_lowercase();
        if matches!(name.as_str(), "authorization" | "cookie" | "proxy-authorization") {
            self.error(at, "belongs to `auth`");
        }
        if matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection" | "content-type") {
            self.error(at, "is set by the engine (the media type of a body by `content_type`)");
        }
    }

    fn no_secret(&mut self, at: &str, hole: &Placeholder) {
        let input = hole.path.get(1).filter(|_| hole.path[0] == "inputs").and_then(|name| self.file.inputs.get(name));
        if input.is_some_and(is_secret) {
            let name = hole.name();
            self.error(
                at,
                format!("${{{name}}} is a credential; URLs are logged on the way, so it belongs to `auth` or a header"),
            );
        }
    }

    /// Reads a template, checks its words, and gives its holes.
    pub(super) fn filled(&mut self, at: &str, text: &str, context: Context) -> Vec<Placeholder> {
        let Some(template) = self.template(at, text) else { return Vec::new() };
        let holes: Vec<Placeholder> = template.placeholders().cloned().collect();
        for hole in &holes {
            self.word(at, hole, context);
        }
        holes
    }

    pub(super) fn paging(&mut self, at: &str, paging: Option<&Paging>, step: Option<&Step>) {
        let Some(paging) = paging else {
            let asks = step.and_then(|step| step.query.keys().find(|name| PAGED.contains(&name.as_str())));
            if let Some(name) = asks {
                self.warn(
                    at,
                    format!("asks for a page ({name}) without `paging`: a full page would be taken for the whole list"),
                );
            }
            return;
        };
        let either = |query: &Option<String>, body: &Option<String>| query.is_some() != body.is_some();
        match paging {
            Paging::NextUrl { pointer } if pointer == "link" => {}
            Paging::NextUrl { pointer } => self.pointer(&format!("{at}.pointer"), pointer),
            Paging::Cursor { pointer, query, body, more } => {
                self.pointer(&format!("{at}.pointer"), pointer);
                if let Some(more) = more {
                    self.pointer(&format!("{at}.more"), more);
                }
                if let Some(body) = body {
                    self.pointer(&format!("{at}.body"), body);
                }
                if !either(query, body) {
                    self.error(at, "must say where the cursor is sent: `query` or `body`");
                }
            }
            Paging::Page { size, more, .. } => {
                if let Some(more) = more {
                    self.pointer(&format!("{at}.more"), more);
                }
                if *size == 0 {
                    self.error(format!("{at}.size"), "must be how many records a full page has");
                }
            }
            Paging::Offset { query, body, size, total } => {
                if let Some(total) = total {
                    self.pointer(&format!("{at}.total"), total);
                }
                if let Some(body) = body {
                    self.pointer(&format!("{at}.body"), body);
                }
                if !either(query, body) {
                    self.error(at, "must say where the offset is sent: `query` or `body`");
                }
                if *size == 0 {
                    self.error(format!("{at}.size"), "must be how many records a full page has");
                }
            }
        }
    }

    pub(super) fn batch(&mut self, at: &str, batch: &Batch) {
        if batch.max_items == 0 || batch.max_bytes == Some(0) {
            self.error(at, "must let at least one through");
        }
        if let Some(correlate) = batch.correlate.as_ref().filter(|correlate| *correlate != "order") {
            self.pointer(&format!("{at}.correlate"), correlate);
        }
    }

    /// Statuses that are said to mean "nobody" or "gone".
    pub(super) fn harmless(&mut self, at: &str, statuses: &[u16]) {
        for status in statuses {
            if matches!(status, 401 | 403 | 407 | 408 | 429) || *status >= 500 {
                self.error(
                    at,
                    format!(
                        "{status} never means that nobody is there: it is a refused credential, a limit or a failure"
                    ),
                );
            } else if !(200..500).contains(status) {
                self.error(at, format!("{status} is no status that can mean this"));
            }
        }
    }
}

/// Whether a value is written by this escaper, or by a filter after which it can be nothing but itself in any language.
fn is_escaped(hole: &Placeholder, escaper: Escaper) -> bool {
    hole.escaper() == Some(escaper) || is_harmless(hole)
}

fn is_harmless(hole: &Placeholder) -> bool {
    let plain = |filter: &Filter| {
        matches!(filter, Filter::Int | Filter::Md5Lower | Filter::Sha256Lower | Filter::E164Digits | Filter::Guid)
    };
    hole.filters.last().is_some_and(plain)
}

fn is_list(hole: &Placeholder) -> bool {
    matches!(
        hole.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
        ["subjects", "value"] | ["records", "key" | "each"]
    )
}

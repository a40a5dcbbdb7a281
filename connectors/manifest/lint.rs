//! The lint says what the types of a manifest cannot: above all that nothing is deleted which was not compared exactly, and
//! that no deletion goes without a second look.

mod cases;
mod flow;
mod removal;
mod steps;
mod words;

use super::finding::{Finding, Severity};
use super::format::{Auth, Class, Input, InputKind, ManifestFile, OutcomeRule, RuleScope, When};
use super::template::{Template, nearest};
use redress_domain::limits::Limits;

/// Everything that is to be said about a manifest.
pub(super) fn of(file: &ManifestFile) -> Vec<Finding> {
    let mut lint = Lint { file, found: Vec::new() };
    lint.about();
    lint.inputs();
    lint.places();
    lint.auth();
    lint.outcomes();
    lint.limits();
    lint.steps();
    lint.finds();
    lint.others();
    lint.deletes();
    lint.cases();
    lint.found
}

struct Lint<'f> {
    file: &'f ManifestFile,
    found: Vec<Finding>,
}

impl Lint<'_> {
    fn tell(&mut self, severity: Severity, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(Finding { path: path.into(), line: None, severity, message: message.into() });
    }

    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.tell(Severity::Error, path, message);
    }

    fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.tell(Severity::Warning, path, message);
    }

    /// A template, or a finding.
    fn template(&mut self, path: &str, text: &str) -> Option<Template> {
        Template::parse(text).map_err(|fault| self.error(path, fault.to_string())).ok()
    }

    /// Says that a name is not there, and which is near.
    fn unknown<'n>(&mut self, path: &str, what: &str, name: &str, known: impl IntoIterator<Item = &'n String>) {
        let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
        let list =
            if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
        self.error(path, format!("there is no {what} {name:?}{}; {list}", nearest(name, &known)));
    }

    fn pointer(&mut self, path: &str, pointer: &str) {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            self.error(
                path,
                format!(
                    "{pointer:?} is no pointer; write it with slashes from the top: \"/data/items\" (\"\" is the whole)"
                ),
            );
        }
    }

    fn about(&mut self) {
        let about = &self.file.connector;
        if about.id.is_empty() || !about.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            self.error("connector.id", "must be lower-case letters, digits and _, as in `connector = \"…\"`");
        }
        if !is_date(&about.verified_on) {
            self.error(
                "connector.verified_on",
                "must be the day on which somebody compared this file with the vendor's documentation, such as \"2026-11-22\"",
            );
        }
        for (key, text) in
            [("name", &about.name), ("about", &about.about), ("family", &about.family), ("api", &about.api)]
        {
            if text.trim().is_empty() {
                self.error(format!("connector.{key}"), "is empty");
            }
        }
        if about.judge.as_ref().is_some_and(|judge| judge.starts_with('/') || judge.split('/').any(|part| part == ".."))
        {
            self.error(
                "connector.judge",
                "must be a path below the folder of the judges, such as \"marketo/judge.json\"",
            );
        }
        if about.docs.is_empty() {
            self.warn("connector.docs", "names no page of the vendor's; whoever brings this up to date needs one");
        }
    }

    fn inputs(&mut self) {
        for (name, input) in &self.file.inputs {
            let at = format!("inputs.{name}");
            let reserved = name == "base_url" || self.file.hosts.keys().any(|host| *name == format!("{host}_url"));
            if reserved {
                self.error(&at, "is the operator's own setting for another address; choose another name");
            }
            if input.about.trim().is_empty() {
                self.error(format!("{at}.about"), "says nothing; tell the engineer where the value is found");
            }
            self.input(&at, input);
            if !self.names_input(name) {
                self.warn(&at, "is asked for and used nowhere");
            }
        }
    }

    fn input(&mut self, at: &str, input: &Input) {
        let is_choice = input.kind == InputKind::Choice;
        if is_choice && input.choices.is_empty() {
            self.error(
                format!("{at}.choices"),
                "is missing: a choice needs what may be chosen, and what each stands for",
            );
        }
        if !is_choice && !input.choices.is_empty() {
            self.error(format!("{at}.choices"), "belongs to `type = \"choice\"`");
        }
        if let Some(default) = &input.default {
            if is_secret(input) {
                self.error(format!("{at}.default"), "a credential has no business in a manifest");
            } else if is_choice && default.as_str().is_none_or(|default| !input.choices.contains_key(default)) {
                let names: Vec<&str> = input.choices.keys().map(String::as_str).collect();
                self.error(format!("{at}.default"), format!("must be one of {}", names.join(", ")));
            }
        }
    }

    /// Whether anything in the file names this input.
    fn names_input(&self, name: &str) -> bool {
        let text = serde_json::to_string(self.file).unwrap_or_default();
        [format!("${{inputs.{name}}}"), format!("${{inputs.{name}|")].iter().any(|hole| text.contains(hole.as_str()))
    }

    /// Calls go to the vendor's hosts and nowhere else: what is filled in must not be able to change the host.
    fn places(&mut self) {
        self.place("base_url", &self.file.base_url);
        for (name, url) in &self.file.hosts {
            self.place(&format!("hosts.{name}"), url);
        }
        for name in self.file.host_auth.keys().filter(|name| !self.file.hosts.contains_key(*name)) {
            self.unknown(&format!("host_auth.{name}"), "host named", name, self.file.hosts.keys());
        }
    }

    fn place(&mut self, at: &str, url: &str) {
        let Some(template) = self.template(at, url) else { return };
        let first = template.lone().or_else(|| template.placeholders().next().filter(|_| !url.starts_with("https://")));
        let whole_url = first.is_some_and(|hole| match self.kind_of(&hole.path) {
            Some(InputKind::Url) => true,
            Some(InputKind::Choice) => hole
                .path
                .get(1)
                .and_then(|name| self.file.inputs.get(name))
                .is_some_and(|input| input.choices.values().all(|place| place.starts_with("https://"))),
            _ => false,
        });
        if !url.starts_with("https://") && !whole_url {
            self.error(
                at,
                "must begin with https:// (or with an input of `type = \"url\"`, or a choice of such addresses)",
            );
        }
        if url.contains(['?', '#']) {
            self.error(at, "must have neither query nor fragment");
        }
        for hole in template.placeholders() {
            match (hole.path.as_slice(), self.kind_of(&hole.path)) {
                (_, Some(InputKind::HostLabel | InputKind::Choice)) => {}
                (_, Some(InputKind::Url)) if whole_url => {}
                (_, Some(_)) => self.error(
                    at,
                    format!("${{{}}} may be any text and could change the host; make it `type = \"host_label\"` or a choice", hole.name()),
                ),
                _ => self.error(at, format!("${{{}}} is none of the inputs; nothing else may be part of the host", hole.name())),
            }
        }
    }

    fn kind_of(&self, path: &[String]) -> Option<InputKind> {
        match path {
            [root, name] if root == "inputs" => self.file.inputs.get(name).map(|input| input.kind),
            _ => None,
        }
    }

    fn auth(&mut self) {
        self.signs("auth", &self.file.auth);
        for (name, auth) in &self.file.host_auth {
            self.signs(&format!("host_auth.{name}"), auth);
        }
    }

    fn signs(&mut self, at: &str, auth: &Auth) {
        let mut texts: Vec<(String, &str, bool)> = Vec::new();
        let mut add = |key: &str, text, secret| texts.push((format!("{at}.{key}"), text, secret));
        match auth {
            Auth::Bearer { token, .. } => add("token", token, true),
            Auth::Header { value, .. } => add("value", value, true),
            Auth::Basic { username, password } => {
                // One of both is the secret; vendors differ.
                let either = !username.contains("${") && !password.contains("${");
                add("username", username, either);
                add("password", password, false);
            }
            Auth::Oauth2ClientCredentials { token_url, client_id, client_secret, parameters, .. } => {
                self.token_place(&format!("{at}.token_url"), token_url);
                add("client_id", client_id, false);
                add("client_secret", client_secret, true);
                for (key, text) in parameters {
                    add(&format!("parameters.{key}"), text, false);
                }
            }
            Auth::Oauth2Refresh { token_url, client_id, client_secret, refresh_token, parameters, .. } => {
                self.token_place(&format!("{at}.token_url"), token_url);
                add("client_id", client_id, false);
                add("client_secret", client_secret, true);
                add("refresh_token", refresh_token, true);
                for (key, text) in parameters {
                    add(&format!("parameters.{key}"), text, false);
                }
            }
        }
        for (at, text, secret) in texts {
            let Some(template) = self.template(&at, text) else { continue };
            if secret && template.placeholders().next().is_none() {
                self.error(&at, "is written here as it is; a credential is an input: [inputs.NAME] type = \"secret\"");
            }
            for hole in template.placeholders() {
                match hole.path.as_slice() {
                    [root, name] if root == "inputs" => {
                        if !self.file.inputs.contains_key(name) {
                            self.unknown(&at, "input", name, self.file.inputs.keys());
                        }
                    }
                    _ => self.error(
                        &at,
                        format!("${{{}}} is none of the inputs; nothing else is known when signing in", hole.name()),
                    ),
                }
            }
        }
    }

    fn token_place(&mut self, at: &str, url: &str) {
        let known = url.strip_prefix("${base_url}").or_else(|| {
            let (name, rest) = url.strip_prefix("${hosts.")?.split_once('}')?;
            self.file.hosts.contains_key(name).then_some(rest)
        });
        match known {
            Some(rest) if !rest.starts_with('/') => self.error(at, "needs a slash after the address"),
            Some(rest) => {
                self.template(at, rest);
            }
            None => self.place(at, url),
        }
    }

    fn outcomes(&mut self) {
        let rules = &self.file.outcomes;
        for (i, rule) in rules.iter().enumerate() {
            let at = format!("outcome.{i}");
            self.when(&format!("{at}.when"), &rule.when);
            self.outcome(&at, rule);
            let same = |earlier: &OutcomeRule| earlier.scope == rule.scope && earlier.when == rule.when;
            if let Some(earlier) = rules[..i].iter().position(same) {
                self.error(&at, format!("never counts: outcome.{earlier} says the same `when` before it"));
            }
        }
    }

    fn outcome(&mut self, at: &str, rule: &OutcomeRule) {
        let waits = matches!(rule.class, Class::Throttled | Class::BudgetExhausted | Class::Retry);
        if rule.wait_seconds.is_some() && !waits {
            self.error(format!("{at}.wait_seconds"), "belongs to throttled, budget_exhausted and retry");
        }
        if rule.wait_seconds.is_some_and(|wait| wait == 0 || wait > 31 * 86_400) {
            self.error(format!("{at}.wait_seconds"), "must be from 1 second to 31 days");
        }
        let harmless = matches!(rule.class, Class::Ok | Class::Gone | Class::Accepted);
        let refused = rule.when.status.iter().any(|status| matches!(status, 401 | 403 | 407 | 429) || *status >= 500);
        if harmless && refused && rule.when.pointer.is_none() {
            self.error(
                format!("{at}.class"),
                "a refused credential, a limit or a failure of the vendor's is never \"nothing there\" or \"done\"; say more in `when`",
            );
        }
        if rule.scope == RuleScope::Item && rule.class == Class::TokenExpired {
            self.error(format!("{at}.class"), "a token ends for the whole call, not for an item of it");
        }
    }

    fn when(&mut self, at: &str, when: &When) {
        if *when == When::default() {
            self.error(at, "says nothing, and so matches every answer");
        }
        let compares = !when.any_of.is_empty() || when.is.is_some() || when.exists.is_some();
        if compares && when.pointer.is_none() {
            self.error(at, "compares, but not what: name a `pointer`");
        }
        if let Some(pointer) = &when.pointer {
            self.pointer(&format!("{at}.pointer"), pointer);
        }
        if let Some(status) = when.status.iter().find(|status| !(100..=599).contains(*status)) {
            self.error(format!("{at}.status"), format!("{status} is no status of HTTP"));
        }
        if when.header.as_ref().is_some_and(|name| name.chars().any(|c| c.is_ascii_uppercase() || c == ':')) {
            self.error(format!("{at}.header"), "must be the header's name in lower case");
        }
    }

    fn limits(&mut self) {
        match &self.file.limits {
            None => self.warn("limits", "are not given; the vendor's are then found out by being refused"),
            Some(limits) => {
                for fault in Limits::read(limits, "").err().unwrap_or_default() {
                    let path = format!("limits{}", fault.pointer.replace('/', "."));
                    self.error(path, fault.detail);
                }
            }
        }
    }
}

const fn is_secret(input: &Input) -> bool {
    matches!(input.kind, InputKind::Secret | InputKind::PrivateKey)
}

/// A day of the calendar as YYYY-MM-DD.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    if [4, 2, 2] != [year.len(), month.len(), day.len()] || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return false;
    }
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(year), number(month), number(day));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (2015..=2199).contains(&year) && (1..=days).contains(&day)
}

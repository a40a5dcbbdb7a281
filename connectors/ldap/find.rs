//! Whose an entry is: one search for a whole batch, then each hit compared exactly.

use super::entry::{Entry, IDS};
use super::session::{ANY, Session};
use super::{COLLECTION, Directory};
use crate::flat::{self, Crowd, Met, Touched};
use crate::{Problem, Trouble};
use ldap3::{Scope, ldap_escape};
use std::collections::BTreeSet;

/// A filter has no more conditions than this, and is about so long.
const CONDITIONS: usize = 120;
const LENGTH: usize = 16_000;

/// What was found of one person.
#[derive(Default)]
pub(super) struct Found {
    pub(super) met: Met,
    pub(super) hits: Vec<Entry>,
}

impl Found {
    pub(super) fn touched(&self) -> Touched {
        let mut touched = Touched::default();
        for hit in &self.hits {
            touched.add(COLLECTION, &hit.key(), 1);
        }
        touched
    }
}

impl Directory {
    /// Looks for all people of a batch.
    pub(super) async fn find(&self, session: &mut Session<'_>, crowd: &Crowd) -> Result<Vec<Found>, Trouble> {
        let mut found: Vec<Found> = (0..crowd.len()).map(|_| Found::default()).collect();
        if !crowd.any_searchable(&self.manifest.identifiers) {
            return Ok(found);
        }
        self.known(session).await?;
        let mut seen = BTreeSet::new();
        for filter in self.filters(crowd) {
            for entry in session.search(&self.base_dn, self.scope, &filter, &self.wanted, self.max_entries).await? {
                if !seen.insert(entry.dn.clone()) {
                    continue;
                }
                let values = self.identifying(&entry);
                if values.is_empty() {
                    return Err(Trouble::Denied(Problem::new(
                        "attribute_unreadable",
                        "an entry was found by an attribute that it was not given with; grant bind_dn the right to read the attributes of identify, and name them as the schema does",
                    )));
                }
                for judgement in crowd.judge(&values) {
                    let found = &mut found[judgement.person];
                    found.met.note(COLLECTION, &judgement, &values, crowd.person(judgement.person));
                    found.hits.push(entry.clone());
                }
            }
        }
        Ok(found)
    }

    /// What an entry holds in the places of identifiers.
    pub(super) fn identifying(&self, entry: &Entry) -> flat::Values {
        let of =
            |(kind, name): &(_, String)| entry.texts(name).into_iter().map(|text| (*kind, text)).collect::<Vec<_>>();
        self.identify.iter().flat_map(of).collect()
    }

    /// Filters that together find every person, in every spelling; they find others too.
    fn filters(&self, crowd: &Crowd) -> Vec<String> {
        let mut conditions = BTreeSet::new();
        for identifier in (0..crowd.len()).flat_map(|person| &crowd.person(person).identifiers) {
            for (_, name) in self.identify.iter().filter(|(kind, _)| *kind == identifier.kind()) {
                for spelling in identifier.spellings() {
                    conditions.insert(format!("({name}={})", ldap_escape(spelling.expose().as_str())));
                }
                // A number may be stored in any notation; its last digits come in this order in each of them.
                if let Some(tail) = identifier.phone_tail() {
                    let digits = tail.expose().chars().filter(char::is_ascii_digit).map(String::from);
                    conditions.insert(format!("({name}=*{}*)", digits.collect::<Vec<_>>().join("*")));
                }
            }
        }
        let (mut filters, mut part, mut count) = (Vec::new(), String::new(), 0);
        for condition in conditions {
            if count == CONDITIONS || part.len() + condition.len() > LENGTH {
                filters.push(self.filter(&part));
                (part, count) = (String::new(), 0);
            }
            part.push_str(&condition);
            count += 1;
        }
        if count > 0 {
            filters.push(self.filter(&part));
        }
        filters
    }

    fn filter(&self, conditions: &str) -> String {
        match &self.filter {
            Some(filter) => format!("(&{filter}(|{conditions}))"),
            None => format!("(|{conditions})"),
        }
    }

    /// That the directory knows the attributes of identify. One that it does not know passes no filter, without a word.
    pub(super) async fn known(&self, session: &mut Session<'_>) -> Result<bool, Trouble> {
        if self.schema_read.get().is_some() {
            return Ok(true);
        }
        let root = session.read("", &["subschemaSubentry".to_owned()]).await?;
        let place = root.and_then(|root| root.texts("subschemaSubentry").into_iter().next());
        let Some(place) = place else { return Ok(false) };
        let Some(schema) = session.read(&place, &["attributeTypes".to_owned()]).await? else { return Ok(false) };
        let names: BTreeSet<String> = schema.texts("attributeTypes").iter().flat_map(|text| names(text)).collect();
        if names.is_empty() {
            return Ok(false);
        }
        let missing = |name: &&String| !names.contains(&name.to_ascii_lowercase());
        if let Some(name) = self.identify.iter().map(|(_, name)| name).find(missing) {
            return Err(Trouble::Denied(Problem::new(
                "attribute_unknown",
                format!("the directory's schema has no attribute {name}; correct identify"),
            )));
        }
        let _another_was_first = self.schema_read.set(());
        Ok(true)
    }

    /// Which of the entries that earlier runs announced are still there, looked for by their own keys.
    pub(super) async fn still_there(
        &self,
        session: &mut Session<'_>,
        keys: &BTreeSet<String>,
    ) -> Result<Vec<Entry>, Trouble> {
        let mut there = Vec::new();
        let is_id = |key: &&String| IDS.iter().any(|id| key.split('=').next() == Some(*id));
        let ids: Vec<&String> = keys.iter().filter(is_id).collect();
        for part in ids.chunks(CONDITIONS) {
            let conditions: Vec<&str> = part.iter().map(|key| key.as_str()).collect();
            let filter = format!("(|({}))", conditions.join(")("));
            there.extend(session.search(&self.base_dn, Scope::Subtree, &filter, &self.wanted, self.max_entries).await?);
        }
        for dn in keys.iter().filter_map(|key| key.strip_prefix("dn:")) {
            there.extend(session.read(dn, &self.wanted).await?);
        }
        Ok(there)
    }

    /// The entry as it is now, if it still is what was found; none if it is gone.
    pub(super) async fn unchanged(&self, session: &mut Session<'_>, hit: &Entry) -> Result<Option<Entry>, Trouble> {
        let Some(now) = session.read(&hit.dn, &self.wanted).await? else { return Ok(None) };
        let sorted = |entry| {
            let mut values = self.identifying(entry);
            values.sort();
            values
        };
        if now.key() == hit.key() && sorted(&now) == sorted(hit) {
            Ok(Some(now))
        } else {
            Err(super::session::changed())
        }
    }

    /// What is told of attributes that no visible entry has.
    pub(super) async fn unseen(&self, session: &mut Session<'_>) -> Result<Vec<String>, Trouble> {
        let mut unseen = Vec::new();
        for (_, name) in &self.identify {
            if !session.any(&self.base_dn, self.scope, &self.filter(&format!("({name}=*)"))).await? {
                unseen.push(name.clone());
            }
        }
        if !session.any(&self.base_dn, Scope::Base, ANY).await? {
            unseen.push("base_dn".to_owned());
        }
        Ok(unseen)
    }
}

/// The names in a schema's definition: `( 0.9.2342 NAME ( 'mail' 'rfc822Mailbox' ) …`.
fn names(definition: &str) -> Vec<String> {
    let Some((_, rest)) = definition.split_once(" NAME ") else { return Vec::new() };
    let rest = rest.trim_start();
    match rest.strip_prefix('(') {
        Some(list) => {
            let list = list.split(')').next().unwrap_or_default();
            list.split('\'').skip(1).step_by(2).map(str::to_ascii_lowercase).collect()
        }
        None => rest.split('\'').nth(1).map(str::to_ascii_lowercase).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_definition_tells_all_its_names() {
        let definition =
            "( 0.9.2342.19200300.100.1.3 NAME ( 'mail' 'rfc822Mailbox' ) DESC 'RFC1274: an ''x''' EQUALITY y )";
        assert_eq!(super::names(definition), ["mail", "rfc822mailbox"]);
        assert_eq!(super::names("( 2.5.4.20 NAME 'telephoneNumber' DESC 'a NAME ( )' )"), ["telephonenumber"]);
        assert!(super::names("( 2.5.4.20 )").is_empty());
    }
}

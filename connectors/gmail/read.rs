//! How a mailbox is searched, and how exactly.

use super::api::Api;
use super::query::queries;
use crate::Trouble;
use crate::mailmatch::{Addressee, Relation, header_end};
use crate::mailservice::{CANDIDATES_MAX, Hits, endless};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Gmail answers "too many concurrent requests for user" beyond a few.
const GETS_AT_ONCE: usize = 4;
/// Up to so many messages are looked up one by one; for more it is cheaper to read the list of all.
const ONE_BY_ONE: usize = 100;
/// An item's findings are kept for so many items at most.
const KEPT: usize = 64;

/// What a message was to a person, by item, mailbox and id. A message of one id never changes, and a search that had to wait
/// for units goes on where it was; what was found to be the person's is read again after it was removed.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeMap<String, Relations>>);

type Relations = BTreeMap<(String, String), Relation>;

impl Seen {
    fn with<T>(&self, of: impl FnOnce(&mut BTreeMap<String, Relations>) -> T) -> T {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&self, key: &str, mailbox: &str, id: &str) -> Option<Relation> {
        self.with(|all| all.get(key)?.get(&(mailbox.to_owned(), id.to_owned())).copied())
    }

    fn keep(&self, key: &str, mailbox: &str, id: &str, relation: Relation) {
        self.with(|all| {
            if all.len() >= KEPT && !all.contains_key(key) {
                all.clear();
            }
            all.entry(key.to_owned()).or_default().insert((mailbox.to_owned(), id.to_owned()), relation);
        });
    }

    pub(super) fn forget(&self, key: &str) {
        self.with(|all| all.remove(key));
    }

    pub(super) fn forget_mailbox(&self, mailbox: &str) {
        let stays =
            |(of, _): &(String, String), relation: &mut Relation| of != mailbox || *relation == Relation::Nothing;
        self.with(|all| all.values_mut().for_each(|relations| relations.retain(stays)));
    }
}

/// The person's messages in a mailbox.
pub(super) async fn find(api: &Api, key: &str, mailbox: &str, who: &Addressee) -> Result<Hits, Trouble> {
    let spellings = who.spellings();
    let spellings: Vec<&str> = spellings.iter().map(|spelling| spelling.expose().as_str()).collect();
    let mut candidates = BTreeSet::new();
    for query in queries(&spellings)? {
        candidates.extend(list(api, mailbox, Some(&query)).await?);
    }
    let looks: Vec<BoxFuture<'_, Result<(&String, Relation), Trouble>>> = candidates
        .iter()
        .map(|id| -> BoxFuture<'_, _> {
            Box::pin(async move { Ok((id, relation(api, key, mailbox, id, who).await?)) })
        })
        .collect();
    let relations: Vec<_> = stream::iter(looks).buffer_unordered(GETS_AT_ONCE).try_collect().await?;
    let mut hits = Hits::default();
    for (id, relation) in relations {
        match relation {
            Relation::Theirs => drop(hits.theirs.insert(id.clone())),
            Relation::Unclear => hits.unclear += 1,
            Relation::Nothing => {}
        }
    }
    Ok(hits)
}

/// What a message is to the person; one that is gone is nothing.
async fn relation(api: &Api, key: &str, mailbox: &str, id: &str, who: &Addressee) -> Result<Relation, Trouble> {
    if let Some(relation) = api.seen.of(key, mailbox, id) {
        return Ok(relation);
    }
    let Some(headers) = api.headers(mailbox, id).await? else { return Ok(Relation::Nothing) };
    let section: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", on_one_line(value))).collect();
    let section = section.concat();
    let mut relation = who.relation(section.as_bytes());
    if relation != Relation::Nothing && headers.iter().any(|(_, value)| !is_plain(value))
        || relation == Relation::Unclear
    {
        // Gmail decodes the words of RFC 2047, and what was a name may then look like an address.
        let Some(message) = api.raw(mailbox, id).await? else { return Ok(Relation::Nothing) };
        let end = header_end(&message).unwrap_or(message.len());
        relation = who.relation(&message[..end]);
    }
    api.seen.keep(key, mailbox, id, relation);
    Ok(relation)
}

fn on_one_line(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether a header's value reads the same decoded or not: addresses alone, or every `@` between angle brackets.
fn is_plain(value: &str) -> bool {
    let (mut inside, mut outside_at) = (false, false);
    for c in value.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            '@' if !inside => outside_at = true,
            _ => {}
        }
    }
    value.is_ascii() && !(outside_at && value.contains(['<', '"', '=', '('])) && !value.contains("=?")
}

/// The ids of every message that a search finds, or of all there are.
async fn list(api: &Api, mailbox: &str, query: Option<&str>) -> Result<BTreeSet<String>, Trouble> {
    let (mut found, mut token, mut tokens) = (BTreeSet::new(), None::<String>, BTreeSet::new());
    loop {
        let page = api.list_page(mailbox, query, token.as_deref(), 500).await?;
        found.extend(page.ids);
        let Some(next) = page.next else { return Ok(found) };
        if found.len() > CANDIDATES_MAX && query.is_some() || !tokens.insert(next.clone()) {
            return Err(endless());
        }
        token = Some(next);
    }
}

/// Those of these messages that are there.
pub(super) async fn still_there(api: &Api, mailbox: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble> {
    if ids.len() > ONE_BY_ONE {
        let all = list(api, mailbox, None).await?;
        return Ok(ids.intersection(&all).cloned().collect());
    }
    let mut there = BTreeSet::new();
    for id in ids {
        if api.is_there(mailbox, id).await? {
            there.insert(id.clone());
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_may_have_been_decoded_is_not_plain() {
        for plain in
            ["ann@shop.example", "Ann <ann@shop.example>", "a@x.example, b@x.example", "\"A, B\" <a@x.example>"]
        {
            assert!(is_plain(plain), "{plain}");
        }
        for other in ["ann@shop.example, <bob@x.example>", "J\u{f6}rg <j@x.example>", "=?utf-8?q?a?= <b@x.example>"] {
            assert!(!is_plain(other), "{other}");
        }
    }
}

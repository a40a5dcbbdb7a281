//! How an account is searched, and how exactly.

use super::api::Api;
use crate::http::unreadable;
use crate::mailmatch::{Addressee, Relation, SEARCHED_BY_KEY, SEARCHED_BY_NAME};
use crate::mailservice::{CANDIDATES_MAX, Hits};
use crate::{Problem, Trouble};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How often a list is read again that changed while it was read.
const TRIES: usize = 4;

/// How many messages there are.
pub(super) async fn total(api: &Api, account: &str) -> Result<u64, Trouble> {
    api.query(account, None, 0, 1, true).await?.total.ok_or_else(unreadable)
}

/// The person's messages in an account.
pub(super) async fn find(api: &Api, account: &str, who: &Addressee, scan_max: u64) -> Result<Hits, Trouble> {
    let candidates = if total(api, account).await? <= scan_max {
        list(api, account, None).await?
    } else {
        prove_search(api, account).await?;
        let names = SEARCHED_BY_KEY.iter().chain(SEARCHED_BY_NAME);
        let spellings = who.spellings();
        let texts = spellings.iter().map(redress_domain::Personal::expose);
        let conditions: Vec<Value> =
            texts.flat_map(|text| names.clone().map(move |name| json!({ "header": [name, text] }))).collect();
        list(api, account, Some(&json!({ "operator": "OR", "conditions": conditions }))).await?
    };
    let candidates: Vec<String> = candidates.into_iter().collect();
    let mut hits = Hits::default();
    for chunk in candidates.chunks(api.get_at_once().await?) {
        for (id, header) in api.headers(account, chunk).await? {
            match who.relation(&header) {
                Relation::Theirs => drop(hits.theirs.insert(id)),
                Relation::Unclear => hits.unclear += 1,
                Relation::Nothing => {}
            }
        }
    }
    Ok(hits)
}

/// Every message that a filter finds. A list that changes while it is read may have moved a message from a page that is
/// still to come to one that was read; then it is read again.
async fn list(api: &Api, account: &str, filter: Option<&Value>) -> Result<BTreeSet<String>, Trouble> {
    let size = api.get_at_once().await?;
    let mut found = BTreeSet::new();
    for _ in 0..TRIES {
        let (mut position, mut states, mut read) = (0, BTreeSet::new(), BTreeSet::new());
        loop {
            let page = api.query(account, filter, position, size, false).await?;
            states.insert(page.state);
            let count = page.ids.len();
            position += count as u64;
            let known = read.len();
            read.extend(page.ids.iter().cloned());
            let repeats = count > 0 && read.len() == known;
            found.extend(page.ids);
            if repeats {
                return Err(crate::mailservice::endless());
            }
            if filter.is_some() && found.len() > CANDIDATES_MAX {
                return Err(crate::mailservice::endless());
            }
            // A server may give less than was asked for; only an empty page, or all of them, is the end.
            let is_all = page.total.is_some_and(|total| position >= total);
            if count == 0 && page.total.is_some_and(|total| position < total) {
                return Err(unreadable());
            }
            if count == 0 || is_all {
                break;
            }
        }
        if states.len() == 1 {
            return Ok(found);
        }
    }
    Err(Trouble::Retry(Problem::new(
        "mailbox_changed",
        "the account changed each time while it was read; it is tried again by itself",
    )))
}

/// Asks for a message that is there, by its own sender. A server that does not find it would not find others.
pub(super) async fn prove_search(api: &Api, account: &str) -> Result<(), Trouble> {
    let newest = api.query(account, None, 0, 10, true).await?;
    for (id, header) in api.headers(account, &newest.ids).await? {
        let header = String::from_utf8_lossy(&header).into_owned();
        let sender = header.lines().find_map(|line| line.strip_prefix("From: ")).unwrap_or_default();
        // The longest plain word of it, so that encoding and folding do not matter.
        let words = sender.split(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c)));
        let Some(word) = words.filter(|word| word.len() > 3).max_by_key(|word| word.len()) else { continue };
        let filter = json!({ "header": ["From", word] });
        let size = api.get_at_once().await?;
        if api.query(account, Some(&filter), 0, size, true).await?.ids.contains(&id) {
            return Ok(());
        }
        return Err(Trouble::Denied(Problem::new(
            "search_not_believed",
            "the server's search does not find a message that is there, so what it does not find may be there too; rebuild its \
             index, or raise settings.scan_max above the account's number of messages",
        )));
    }
    Ok(())
}

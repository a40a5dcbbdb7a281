//! How a mailbox is searched, and how exactly.

use super::api::{Api, Message};
use super::escape::{from, participant};
use crate::Trouble;
use crate::mailmatch::Addressee;
use crate::mailservice::{CANDIDATES_MAX, Hits, endless};
use url::Url;

/// The folders that are searched: all that the user sees, and what they deleted and could recover.
const FOLDERS: [&[&str]; 2] = [&["messages"], &["mailFolders", "recoverableitemsdeletions", "messages"]];
/// A search tells no more than so many hits, and does not say that there are more.
const SEARCH_MAX: usize = 1_000;

/// The person's messages in a mailbox.
pub(super) async fn find(api: &Api, mailbox: &str, who: &Addressee) -> Result<Hits, Trouble> {
    let mut hits = Hits::default();
    let spellings = who.spellings();
    let texts = spellings.iter().map(|spelling| {
        let address = spelling.expose();
        Ok([("$filter", from(address)?, usize::MAX), ("$search", participant(address)?, SEARCH_MAX)])
    });
    let questions: Vec<(&str, String, usize)> =
        texts.collect::<Result<Vec<_>, Trouble>>()?.into_iter().flatten().collect();
    for folder in FOLDERS {
        let mut capped = false;
        for (name, value, most) in &questions {
            let mut seen = 0;
            pages(api, mailbox, folder, Some((name, value)), &mut |message| {
                seen += 1;
                keep(&mut hits, who, message);
            })
            .await?;
            capped |= seen >= *most;
        }
        if capped {
            pages(api, mailbox, folder, None, &mut |message| keep(&mut hits, who, message)).await?;
        }
    }
    Ok(hits)
}

fn keep(hits: &mut Hits, who: &Addressee, message: Message) {
    if who.is_one_of(message.addresses.iter().map(String::as_str)) {
        hits.theirs.insert(message.id);
    }
}

async fn pages(
    api: &Api,
    mailbox: &str,
    folder: &[&str],
    question: Option<(&str, &str)>,
    each: &mut (dyn FnMut(Message) + Send),
) -> Result<(), Trouble> {
    let mut url: Url = api.messages(mailbox, folder, question);
    let (mut known, mut count) = (std::collections::BTreeSet::new(), 0);
    loop {
        let page = api.page(mailbox, url).await?;
        count += page.messages.len();
        page.messages.into_iter().for_each(&mut *each);
        let Some(next) = page.next else { return Ok(()) };
        if !known.insert(next.to_string()) || (question.is_some() && count > CANDIDATES_MAX) {
            return Err(endless());
        }
        url = next;
    }
}

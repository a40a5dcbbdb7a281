//! A mailbox is searched broadly by the server and then exactly by us: IMAP's FROM, TO and HEADER keys match substrings
//! (RFC 3501 section 6.4.4), so every hit's headers are read and compared before anything is done with its UID.
//!
//! Servers search what they have read, each in its own way: of `joe@x.example <ann@x.example>` Dovecot knows only the
//! first address, and a byte order mark or an empty line before the headers hides them. So each address is searched as a
//! whole and by its two parts (which finds `"ann"@x.example`), and beside that the address headers of every message are
//! looked through once per session for those that a server may have misread.

use super::fault::Fault;
use super::mailbox::{CHUNK, Mailbox, Opened, fetched, found_by, uid_set};
use super::session::{Part, Session};
use crate::mailmatch::{Addressee, Addresses, HEADER_MAX, Relation, SEARCHED_BY_KEY, SEARCHED_BY_NAME};
use std::collections::{BTreeMap, BTreeSet};

/// Of a message in which the server sees no headers, this much is read, in bytes.
const BEGINNING: u64 = 256 * 1024;

/// What is in one mailbox.
#[derive(Debug, Default)]
pub(super) struct Hits {
    /// The person's messages.
    pub(super) theirs: BTreeSet<u32>,
    /// Messages that mention them in a malformed header.
    pub(super) unclear: u64,
}

impl Hits {
    fn add(&mut self, uid: u32, relation: Relation) {
        match relation {
            Relation::Theirs => drop(self.theirs.insert(uid)),
            Relation::Unclear => self.unclear += 1,
            Relation::Nothing => {}
        }
    }
}

/// What a session knows of a mailbox: the messages that a server may have misread.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    uidvalidity: u32,
    /// All messages up to this one were looked through.
    last: u32,
    messages: BTreeMap<u32, Addresses>,
}

/// Looks for the person's messages in the open mailbox.
pub(super) async fn search(
    session: &mut Session,
    mailbox: &Mailbox,
    opened: Opened,
    who: &Addressee,
) -> Result<Hits, Fault> {
    let mut hits = Hits::default();
    if opened.messages == 0 {
        return Ok(hits);
    }
    let mut candidates = BTreeSet::new();
    for spelling in who.spellings() {
        candidates.extend(search_one(session, spelling.expose()).await?);
    }
    let known = session.doubtful.remove(&mailbox.wire).unwrap_or_default();
    let doubtful = look_through(session, opened, known).await?;
    let may_be_theirs =
        |(uid, message): (&u32, &Addresses)| (who.relation_to(message) != Relation::Nothing).then_some(*uid);
    candidates.extend(doubtful.messages.iter().filter_map(may_be_theirs));
    session.doubtful.insert(mailbox.wire.clone(), doubtful);
    let candidates: Vec<u32> = candidates.into_iter().collect();
    headers(session, &candidates, &mut |uid, header| hits.add(uid, who.relation(header))).await?;
    Ok(hits)
}

/// Adds what came into the mailbox since it was looked through.
async fn look_through(session: &mut Session, opened: Opened, known: Doubtful) -> Result<Doubtful, Fault> {
    let mut doubtful = known;
    if doubtful.uidvalidity != opened.uidvalidity {
        doubtful = Doubtful { uidvalidity: opened.uidvalidity, ..Doubtful::default() };
    }
    let command = format!("UID SEARCH UID {}:*", doubtful.last.saturating_add(1));
    let mut new = found_by(session, &[Part::Raw(&command)]).await?;
    // Of a range that begins behind the last message, that message is part (RFC 3501 section 6.4.8).
    new.retain(|uid| *uid > doubtful.last);
    new.sort_unstable();
    let mut odd = Vec::new();
    let names: Vec<&str> = SEARCHED_BY_KEY.iter().chain(SEARCHED_BY_NAME).copied().collect();
    for chunk in new.chunks(CHUNK * 10) {
        let command = format!("UID FETCH {} (UID BODY.PEEK[HEADER.FIELDS ({})])", uid_set(chunk), names.join(" "));
        let each = &mut |uid, header: &[u8]| {
            if Addresses::read(header).is_doubtful() {
                odd.push(uid);
            }
        };
        fetch(session, chunk, &command, "BODY[HEADER.FIELDS", HEADER_MAX as u64, each).await?;
    }
    let messages = &mut doubtful.messages;
    headers(session, &odd, &mut |uid, header| drop(messages.insert(uid, Addresses::read(header)))).await?;
    doubtful.last = new.last().copied().unwrap_or(doubtful.last);
    Ok(doubtful)
}

/// Reads the header sections of these messages; the beginning of those in which the server sees none.
async fn headers(session: &mut Session, uids: &[u32], each: &mut (dyn FnMut(u32, &[u8]) + Send)) -> Result<(), Fault> {
    let mut headerless = Vec::new();
    for chunk in uids.chunks(CHUNK) {
        let command = format!("UID FETCH {} (UID BODY.PEEK[HEADER])", uid_set(chunk));
        let sort = &mut |uid, header: &[u8]| {
            if header.trim_ascii().is_empty() {
                headerless.push(uid);
            } else {
                each(uid, header);
            }
        };
        fetch(session, chunk, &command, "BODY[HEADER]", HEADER_MAX as u64, sort).await?;
    }
    for chunk in headerless.chunks(CHUNK) {
        let command = format!("UID FETCH {} (UID BODY.PEEK[]<0.{BEGINNING}>)", uid_set(chunk));
        fetch(session, chunk, &command, "BODY[]<0>", BEGINNING, each).await?;
    }
    Ok(())
}

/// Reads a part of each of these messages.
async fn fetch(
    session: &mut Session,
    uids: &[u32],
    command: &str,
    part: &str,
    literal_max: u64,
    each: &mut (dyn FnMut(u32, &[u8]) + Send),
) -> Result<(), Fault> {
    let mut unanswered: BTreeSet<u32> = uids.iter().copied().collect();
    session
        .run(&[Part::Raw(command)], literal_max, &mut |data| {
            if let Some((uid, bytes)) = fetched(&data, part)?
                && unanswered.remove(&uid)
            {
                each(uid, bytes);
            }
            Ok(())
        })
        .await?;
    if !unanswered.is_empty() {
        // They were expunged meanwhile; if they are still there, passing them over would be a lie.
        let unanswered: Vec<u32> = unanswered.into_iter().collect();
        let command = format!("UID SEARCH UID {}", uid_set(&unanswered));
        if !found_by(session, &[Part::Raw(&command)]).await?.is_empty() {
            return Err(Fault::Protocol("no headers of a message that it has"));
        }
    }
    Ok(())
}

/// The messages in which an address header contains this address, or both its parts, as the server sees it.
async fn search_one(session: &mut Session, text: &str) -> Result<Vec<u32>, Fault> {
    if text.is_empty() || text.contains(['\r', '\n', '\0']) {
        // No identifier is like that (see `Identifier::parse`); a search for nothing would hit everything.
        return Err(Fault::Bad);
    }
    let charset = if text.is_ascii() { "" } else { "CHARSET UTF-8 " };
    let mut found = match search_in(session, charset, &[text]).await {
        // A server without UTF-8 can find the longest part of it that is ASCII; each hit is compared anyway.
        Err(Fault::No(_)) if !text.is_ascii() => {
            let ascii = text.split(|c: char| !c.is_ascii()).max_by_key(|part| part.len()).unwrap_or_default();
            if ascii.len() < 3 {
                return Err(Fault::No("BADCHARSET".into()));
            }
            return search_in(session, "", &[ascii]).await;
        }
        other => other?,
    };
    if let Some((local, domain)) = text.rsplit_once('@') {
        let local = local.trim_matches('"');
        if !local.is_empty() && !domain.is_empty() {
            found.extend(search_in(session, charset, &[local, domain]).await?);
        }
    }
    Ok(found)
}

/// The messages in which one address header contains all of these texts.
async fn search_in(session: &mut Session, charset: &str, texts: &[&str]) -> Result<Vec<u32>, Fault> {
    let keys: Vec<String> = SEARCHED_BY_KEY
        .iter()
        .map(|name| name.to_uppercase())
        .chain(SEARCHED_BY_NAME.iter().map(|name| format!("HEADER {name}")))
        .collect();
    // OR takes two keys, so the last one has none of its own. Keys in parentheses must all match.
    let mut raw = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let or = if at + 1 < keys.len() { "OR " } else { "" };
        let open = if texts.len() > 1 { "(" } else { "" };
        let close = if texts.len() > 1 && at > 0 { ")" } else { "" };
        let begin = if at == 0 { format!("UID SEARCH {charset}") } else { format!("{close} ") };
        raw.push(format!("{begin}{or}{open}{key} "));
        raw.extend(texts.iter().skip(1).map(|_| format!(" {key} ")));
    }
    let values = texts.iter().cycle();
    let mut parts: Vec<Part<'_>> =
        raw.iter().zip(values).flat_map(|(raw, text)| [Part::Raw(raw), Part::Value(text.as_bytes())]).collect();
    if texts.len() > 1 {
        parts.push(Part::Raw(")"));
    }
    found_by(session, &parts).await
}

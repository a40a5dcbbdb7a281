//! A mailbox is opened, read from and deleted from by UID; what is the person's is for `search` to say.

use super::fault::{Fault, mailbox_changed};
use super::session::{Part, SMALL, Session};
use super::utf7;
use super::wire::Token;
use crate::{Problem, Trouble};
use std::collections::BTreeSet;

/// More mailboxes than this are not worked off.
const MAILBOXES_MAX: usize = 10_000;
/// More hits of the server's search than this are not looked at.
const CANDIDATES_MAX: usize = 1_000_000;
/// How many messages' headers are fetched with one command.
pub(super) const CHUNK: usize = 100;
/// The largest message that is exported, in bytes.
const MESSAGE_MAX: u64 = 50 * 1024 * 1024;

/// A mailbox that can be opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mailbox {
    /// Its name for people.
    pub(super) name: String,
    /// Its name on the wire.
    pub(super) wire: Vec<u8>,
}

/// A mailbox when it is open.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Opened {
    /// As long as this is the same, a UID means the same message (RFC 3501 section 2.3.1.1).
    pub(super) uidvalidity: u32,
    /// How many messages it has.
    pub(super) messages: u64,
    /// Whether messages can be marked as deleted for good.
    pub(super) deletable: bool,
}

/// Which mailboxes are to be searched: names, in which `*` stands for anything and `%` for anything but the delimiter.
#[derive(Debug, Clone)]
pub(super) struct Selection(pub(super) Vec<String>);

impl Selection {
    fn takes(&self, name: &str, delimiter: Option<char>) -> bool {
        let is_inbox = |name: &str| name.eq_ignore_ascii_case("INBOX");
        self.0.iter().any(|pattern| {
            (is_inbox(pattern) && is_inbox(name)) || matches(&pattern.chars().collect::<Vec<_>>(), name, delimiter)
        })
    }

    fn plain_names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|pattern| !pattern.contains(['*', '%']))
    }
}

/// Whether a name matches a pattern, without the blow-up of naive backtracking.
fn matches(pattern: &[char], name: &str, delimiter: Option<char>) -> bool {
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let skip_wildcards = |reached: &mut Vec<bool>| {
        for (at, sign) in pattern.iter().enumerate() {
            reached[at + 1] |= reached[at] && matches!(sign, '*' | '%');
        }
    };
    skip_wildcards(&mut reached);
    for c in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, sign) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match sign {
                '*' => next[at] = true,
                '%' => next[at] |= Some(c) != delimiter,
                sign => next[at + 1] |= *sign == c,
            }
        }
        skip_wildcards(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// The mailboxes of this user that are to be searched. One that is named in the settings must be there.
pub(super) async fn list(session: &mut Session, selection: &Selection) -> Result<Vec<Mailbox>, Trouble> {
    let mut found = Vec::new();
    let mut too_many = false;
    let parts = [Part::Raw("LIST \"\" \"*\"")];
    session
        .run(&parts, SMALL, &mut |data| {
            let [command, attributes, delimiter, name, ..] = data.as_slice() else { return Ok(()) };
            let (Some(attributes), Some(wire)) = (attributes.list(), name.bytes()) else { return Ok(()) };
            if !command.is("LIST") || attributes.iter().any(|a| a.is("\\Noselect") || a.is("\\NonExistent")) {
                return Ok(());
            }
            let name = utf7::decode(&String::from_utf8_lossy(wire));
            let delimiter = match delimiter {
                Token::Text(text) => text.first().map(|byte| char::from(*byte)),
                _ => None,
            };
            too_many |= found.len() == MAILBOXES_MAX;
            if !too_many && selection.takes(&name, delimiter) {
                found.push(Mailbox { name, wire: wire.to_vec() });
            }
            Ok(())
        })
        .await?;
    if too_many {
        let detail =
            format!("there are more than {MAILBOXES_MAX} mailboxes; name those to be searched in settings.mailboxes");
        return Err(Trouble::Denied(Problem::new("too_many_mailboxes", detail)));
    }
    found.sort();
    found.dedup();
    for named in selection.plain_names() {
        if !found.iter().any(|mailbox| mailbox.name.eq_ignore_ascii_case(named)) {
            let detail = format!("there is no mailbox {named:?} that this user can open; correct settings.mailboxes");
            return Err(Trouble::Denied(Problem::new("mailbox_missing", detail)));
        }
    }
    if found.is_empty() {
        let detail = "no mailbox of this user matches settings.mailboxes";
        return Err(Trouble::Denied(Problem::new("mailbox_missing", detail)));
    }
    Ok(found)
}

/// Opens a mailbox: to read (EXAMINE, which changes nothing, not even what is recent) or to delete from (SELECT). The one
/// that was open before is left without an expunge; CLOSE, which has one, is never sent.
pub(super) async fn open(session: &mut Session, mailbox: &Mailbox, to_delete: bool) -> Result<Opened, Fault> {
    let command = if to_delete { "SELECT " } else { "EXAMINE " };
    // Servers that do not say which flags are kept keep them all (RFC 3501 section 7.1).
    let mut opened = Opened { deletable: true, ..Opened::default() };
    let parts = [Part::Raw(command), Part::Value(&mailbox.wire)];
    let end = session
        .run(&parts, SMALL, &mut |data| {
            match data.as_slice() {
                [count, what] if what.is("EXISTS") => opened.messages = count.number().unwrap_or(0),
                [Token::List(code)] => match code.as_slice() {
                    [what, value, ..] if what.is("UIDVALIDITY") => opened.uidvalidity = value.number().unwrap_or(0),
                    [what, flags, ..] if what.is("PERMANENTFLAGS") => {
                        opened.deletable = flags.list().is_some_and(|all| all.iter().any(|f| f.is("\\Deleted")));
                    }
                    _ => {}
                },
                _ => {}
            }
            Ok(())
        })
        .await?;
    opened.deletable &= !end.first().is_some_and(|code| code.is("READ-ONLY"));
    if opened.uidvalidity == 0 {
        return Err(Fault::Protocol("a mailbox without UIDVALIDITY"));
    }
    Ok(opened)
}

/// The UIDs that a search command answers.
pub(super) async fn found_by(session: &mut Session, parts: &[Part<'_>]) -> Result<Vec<u32>, Fault> {
    let mut found = Vec::new();
    session
        .run(parts, SMALL, &mut |data| {
            if data.first().is_some_and(|first| first.is("SEARCH")) {
                for uid in &data[1..] {
                    found.push(uid.number().filter(|uid| *uid > 0).ok_or(Fault::Protocol("a UID that is no number"))?);
                }
            }
            if found.len() > CANDIDATES_MAX { Err(Fault::Protocol("more hits than are looked at")) } else { Ok(()) }
        })
        .await?;
    Ok(found)
}

/// The UID and one body part of a FETCH response that has both.
pub(super) fn fetched<'a>(data: &'a [Token], part: &str) -> Result<Option<(u32, &'a [u8])>, Fault> {
    let [_, command, Token::List(items)] = data else { return Ok(None) };
    if !command.is("FETCH") {
        return Ok(None);
    }
    // A server may spell the names of header fields in its own way.
    let names = |token: &Token, name: &str| match token.atom() {
        Some(atom) if name == "BODY[HEADER.FIELDS" => {
            atom.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        }
        _ => token.is(name),
    };
    let value = |name: &str| items.chunks_exact(2).find(|pair| names(&pair[0], name)).map(|pair| &pair[1]);
    match (value("UID").and_then(Token::number), value(part)) {
        (Some(uid), Some(Token::Text(bytes))) => Ok(Some((uid, bytes))),
        // NIL, where a message must be: skipping it would say that it is not the person's.
        (_, Some(_)) => Err(Fault::Protocol("a message without its text")),
        (_, None) => Ok(None),
    }
}

/// One whole message of the open mailbox, or `None` if it is gone.
pub(super) async fn message(session: &mut Session, uid: u32) -> Result<Option<Vec<u8>>, Fault> {
    let command = format!("UID FETCH {uid} (UID BODY.PEEK[])");
    let mut found = None;
    session
        .run(&[Part::Raw(&command)], MESSAGE_MAX, &mut |data| {
            if let Some((of, bytes)) = fetched(&data, "BODY[]")?
                && of == uid
            {
                found = Some(bytes.to_vec());
            }
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Removes exactly these messages from the mailbox, opened anew: marked as deleted, then expunged by UID (RFC 4315), so
/// that what others have marked stays.
pub(super) async fn expunge(
    session: &mut Session,
    mailbox: &Mailbox,
    uidvalidity: u32,
    uids: &BTreeSet<u32>,
) -> Result<(), Trouble> {
    let opened = open(session, mailbox, true).await?;
    if opened.uidvalidity != uidvalidity {
        return Err(mailbox_changed());
    }
    if !opened.deletable {
        return Err(super::fault::read_only());
    }
    let uids: Vec<u32> = uids.iter().copied().collect();
    for chunk in uids.chunks(CHUNK) {
        let set = uid_set(chunk);
        let store = format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)");
        session.run(&[Part::Raw(&store)], SMALL, &mut |_| Ok(())).await?;
        let expunge = format!("UID EXPUNGE {set}");
        session.run(&[Part::Raw(&expunge)], SMALL, &mut |_| Ok(())).await?;
    }
    Ok(())
}

/// UIDs in ascending order as a set (RFC 3501 section 9, sequence-set).
pub(super) fn uid_set(uids: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            _ => runs.push((*uid, *uid)),
        }
    }
    let run = |(first, last): (u32, u32)| if first == last { first.to_string() } else { format!("{first}:{last}") };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_takes_what_its_patterns_say() {
        let takes = |pattern: &str, name: &str| Selection(vec![pattern.into()]).takes(name, Some('/'));
        for (pattern, name) in [
            ("*", "a/b"),
            ("%", "a"),
            ("inbox", "INBOX"),
            ("a/*", "a/b/c"),
            ("a/%", "a/b"),
            ("*M\u{fc}*", "K/M\u{fc}l"),
        ] {
            assert!(takes(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("%", "a/b"), ("a", "A"), ("a/%", "a/b/c"), ("a*", "ba"), ("a", "ab"), ("", "a")] {
            assert!(!takes(pattern, name), "{pattern} {name}");
        }
        let slow = "*a".repeat(30);
        assert!(!takes(&slow, &"a".repeat(29)));
    }

    #[test]
    fn uids_are_sent_as_runs() {
        assert_eq!(uid_set(&[1, 2, 3, 7, 9, 10, u32::MAX]), "1:3,7,9:10,4294967295");
    }
}

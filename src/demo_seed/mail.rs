//! The demo's mail: the support team's mailbox as a Maildir tree, with the ways in which real mail writes an address.

use super::people::{DemoPerson, Role, respelled};
use super::random::Random;
use super::{MAIL, SeedError, write_file};
use base64::Engine as _;
use jiff::civil::date;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The mailbox's own address; nobody of the people has it.
const SUPPORT: &str = "support@harbor-goods.example";
const COLLEAGUE: &str = "\"Lager, Harbor Goods\" <warehouse@harbor-goods.example>";

/// The folders by what goes there. The empty name is the INBOX, the root of the tree (Maildir++).
const INBOX: &str = "";
const SENT: &str = ".Sent";
const ARCHIVE: &str = ".Archive";
const TRASH: &str = ".Trash";

/// Writes the tree.
pub(super) fn write(folder: &Path, people: &[DemoPerson], random: &mut Random) -> Result<(), SeedError> {
    let mut tree = Tree { root: folder.join(MAIL), written: 0 };
    tree.prepare()?;
    for person in people {
        for _ in 0..random.below(3) {
            correspondence(&mut tree, person, random)?;
        }
    }
    let targets: Vec<&DemoPerson> = people.iter().filter(|p| p.role.request().is_some()).collect();
    let twins: Vec<&DemoPerson> = people.iter().filter(|p| p.role == Role::Twin).collect();
    let others: Vec<&DemoPerson> = people.iter().filter(|p| !p.role.is_to_go()).collect();
    // Somebody else writes about a person who will make a request: that mail is not the person's.
    for target in &targets {
        let twin = random.pick(&twins);
        let (email, sender) = (&target.email, &twin.email);
        let from = if random.percent(50) { format!("\"{email}\" <{sender}>") } else { mailbox(twin, random) };
        let body = format!("Could you ask {} <{email}> whether the parcel came?\n", target.full_name);
        tree.put(
            INBOX,
            &Message { from, to: SUPPORT.into(), cc: None, subject: format!("About {email}"), body },
            random,
        )?;
    }
    // To several people at once, none of whom will be deleted: a message to two people is both people's.
    for _ in 0..20 {
        let mut several: Vec<String> = Vec::new();
        for _ in 0..4 {
            let person = *random.pick(&others);
            several.push(mailbox(person, random));
        }
        let cc = several.pop();
        let body = "The shop is closed on Monday.\n".to_owned();
        let (from, subject) = (format!("Harbor Goods <{SUPPORT}>"), "Opening hours".to_owned());
        tree.put(SENT, &Message { from, to: several.join(",\r\n\t"), cc, subject, body }, random)?;
    }
    Ok(())
}

fn correspondence(tree: &mut Tree, person: &DemoPerson, random: &mut Random) -> Result<(), SeedError> {
    let them = mailbox(person, random);
    let us = format!("Harbor Goods Support <{SUPPORT}>");
    let folder = *random.pick(&[INBOX, INBOX, SENT, SENT, ARCHIVE, TRASH]);
    let (from, to) = if folder == SENT { (us, them) } else { (them, us) };
    let subject = *random.pick(&["Return of a lamp", "Grüße aus Musterstadt", "Order confirmation", "Change of plans"]);
    let cc = random.percent(15).then(|| COLLEAGUE.to_owned());
    let body = format!("Hello,\n\nthis is about {}.\n\n{}\n", subject.to_lowercase(), person.full_name);
    tree.put(folder, &Message { from, to, cc, subject: encoded(subject, random), body }, random)
}

/// A person's address as a mail program writes it.
fn mailbox(person: &DemoPerson, random: &mut Random) -> String {
    let email = respelled(&person.email, random);
    let (first, last) = person.full_name.split_once(' ').unwrap_or((&person.full_name, ""));
    match random.below(5) {
        0 => email,
        1 if person.full_name.is_ascii() => format!("\"{last}, {first}\" <{email}>"),
        2 if person.full_name.is_ascii() => format!("{email} ({})", person.full_name),
        _ => format!("{} <{email}>", encoded(&person.full_name, random)),
    }
}

/// A text as RFC 2047 wants it in a header.
fn encoded(text: &str, random: &mut Random) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    if random.percent(50) {
        return format!("=?UTF-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(text));
    }
    let mut words = "=?utf-8?q?".to_owned();
    for byte in text.bytes() {
        match byte {
            b' ' => words.push('_'),
            b if b.is_ascii_alphanumeric() => words.push(char::from(b)),
            b => write!(words, "={b:02X}").expect("a String takes everything"),
        }
    }
    words + "?="
}

struct Message {
    from: String,
    to: String,
    cc: Option<String>,
    subject: String,
    body: String,
}

struct Tree {
    root: PathBuf,
    written: usize,
}

impl Tree {
    fn prepare(&self) -> Result<(), SeedError> {
        for folder in [INBOX, SENT, ARCHIVE, TRASH] {
            for part in ["cur", "new", "tmp"] {
                let path = self.root.join(folder).join(part);
                std::fs::create_dir_all(&path).map_err(|source| SeedError::File { path, source })?;
            }
            if folder != INBOX {
                write_file(&self.root.join(folder).join("maildirfolder"), b"")?;
            }
        }
        Ok(())
    }

    fn put(&mut self, folder: &str, message: &Message, random: &mut Random) -> Result<(), SeedError> {
        self.written += 1;
        let n = self.written;
        let days = i64::try_from(random.below(300)).expect("a small number");
        let sent = date(2026, 1, 5)
            .at(8, 0, 0, 0)
            .saturating_add(jiff::Span::new().days(days).minutes(i64::try_from(n % 600).expect("a small number")));
        let mut text = format!(
            "Return-Path: <bounce@harbor-goods.example>\r\nDate: {}\r\nFrom: {}\r\nTo: {}\r\n",
            sent.strftime("%a, %d %b %Y %H:%M:%S +0100"),
            message.from,
            message.to
        );
        if let Some(cc) = &message.cc {
            write!(text, "Cc: {cc}\r\n").expect("a String takes everything");
        }
        write!(
            text,
            "Subject: {}\r\nMessage-ID: <demo.{n}@harbor-goods.example>\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}",
            message.subject,
            message.body.replace('\n', "\r\n")
        )
        .expect("a String takes everything");
        // Unread mail lies in "new" and has no flags.
        let second = 1_767_600_000 + n;
        let name = if folder == INBOX && random.percent(30) {
            format!("new/{second}.M{n}P1.demo")
        } else {
            format!("cur/{second}.M{n}P1.demo:2,{}", random.pick(&["S", "RS", "FS", "S"]))
        };
        write_file(&self.root.join(folder).join(name), text.as_bytes())
    }
}

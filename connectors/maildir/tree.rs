//! A tree is the configured path with every Maildir folder in it: directories that have a `cur` or a `new` directory.
//!
//! Maildir++ puts subfolders beside each other (`.Clients.2026`), others nest them; both are walked. `tmp` holds messages
//! that are still being written and is left alone. All of this blocks; the connector runs it on a thread of its own.

use crate::mailmatch::{Addressee, Addresses, HEADER_MAX, Relation, header_end};
use crate::{CheckReport, Problem, Trouble};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// How deep folders may be nested.
const DEPTH_MAX: usize = 32;
/// The largest message that is exported, in bytes.
const MESSAGE_MAX: u64 = 50 * 1024 * 1024;
/// How often a folder is read again because a mail server renamed messages meanwhile.
const ATTEMPTS: usize = 5;
/// How a compressed or encrypted file begins: gzip, bzip2, xz, zstd, Dovecot's lz4 and its mail-crypt.
const ENCODED: &[&[u8]] =
    &[b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"Dovecot-LZ4\x0d\x2a\x9b\xc5", b"CRYPTED\x03\x07"];

/// One message of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    /// The Maildir folder, relative to the path; empty if it is the path itself.
    pub(super) folder: String,
    /// The file's name without its flags.
    pub(super) unique: String,
}

/// What one walk found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Every Maildir folder, relative to the path.
    pub(super) folders: Vec<String>,
    /// What was found for each person asked for.
    pub(super) hits: Vec<Hits>,
}

/// The messages of one person.
#[derive(Debug, Default, Clone)]
pub(super) struct Hits {
    /// Those that are theirs.
    pub(super) theirs: Vec<Hit>,
    /// Those that mention them in a malformed header.
    pub(super) unclear: Vec<Hit>,
}

/// Why a folder could not be read in one go.
enum Stop {
    /// Somebody renamed or removed what was about to be read.
    Moved,
    Trouble(Trouble),
}

impl Stop {
    fn of(error: &std::io::Error) -> Self {
        if error.kind() == ErrorKind::NotFound { Self::Moved } else { Self::Trouble(trouble(error)) }
    }
}

fn trouble(error: &std::io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::PermissionDenied => Trouble::Denied(Problem::new(
            "permission_denied",
            "a folder or message below the path may not be read or changed by this process; give it the mail user's rights",
        )),
        kind => Trouble::Retry(Problem::new("io_error", format!("the file system answered: {kind}"))),
    }
}

fn busy() -> Trouble {
    Trouble::Retry(Problem::new("mailbox_busy", "messages were renamed or removed while they were read; try again"))
}

/// The path itself, with the links that the operator put into it resolved.
pub(super) fn open_root(root: &Path) -> Result<PathBuf, Trouble> {
    fs::canonicalize(root).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Trouble::Denied(Problem::new(
            "path_missing",
            "the path in settings.path is not there; mount it or correct it",
        )),
        _ => trouble(&error),
    })
}

/// A folder's name for people: `INBOX` for the path itself, `Clients/2026` for `.Clients.2026`.
pub(super) fn shown_name(folder: &str) -> String {
    if folder.is_empty() {
        return "INBOX".to_owned();
    }
    let part = |part: &str| match part.strip_prefix('.') {
        Some(name) => crate::imap::utf7::decode(&name.replace('.', "/")),
        None => part.to_owned(),
    };
    folder.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Every Maildir folder below the path, relative to it, and how many links were left alone.
fn folders(root: &Path) -> Result<(Vec<String>, u64), Trouble> {
    let (mut found, mut links) = (Vec::new(), 0);
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && depth > 0 => continue,
            Err(error) => return Err(trouble(&error)),
        };
        let (mut below, mut is_maildir) = (Vec::new(), false);
        for entry in entries {
            let entry = entry.map_err(|error| trouble(&error))?;
            let kind = entry.file_type().map_err(|error| trouble(&error))?;
            links += u64::from(kind.is_symlink());
            if kind.is_dir() {
                is_maildir |= ["cur", "new"].map(OsStr::new).contains(&entry.file_name().as_os_str());
                below.push(folder.join(entry.file_name()));
            }
        }
        if is_maildir {
            below.retain(|path| !["cur", "new", "tmp"].map(OsStr::new).map(Some).contains(&path.file_name()));
            let Some(name) = folder.to_str() else {
                return Err(Trouble::Denied(Problem::new(
                    "folder_name",
                    "a folder's name is not valid UTF-8; rename it so that it can be named in a receipt",
                )));
            };
            found.push(name.to_owned());
        }
        if depth == DEPTH_MAX && !below.is_empty() {
            return Err(Trouble::Denied(Problem::new(
                "too_deep",
                format!("folders are nested deeper than {DEPTH_MAX}"),
            )));
        }
        open.extend(below.into_iter().map(|path| (path, depth + 1)));
    }
    if found.is_empty() {
        // An empty mount point looks like this; "nothing found" would be a lie.
        return Err(Trouble::Denied(Problem::new(
            "not_a_maildir",
            "there is no Maildir folder (with cur and new) at or below settings.path; mount it or correct it",
        )));
    }
    found.sort();
    Ok((found, links))
}

/// The messages of a folder: their files, `new` first, because messages move from there to `cur`.
fn files(root: &Path, folder: &str) -> Result<Vec<(String, PathBuf)>, Stop> {
    let mut files = Vec::new();
    for part in ["new", "cur"] {
        let entries = match fs::read_dir(root.join(folder).join(part)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Stop::of(&error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| Stop::of(&error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A name that begins with a dot is not a message (maildir(5)).
            if !name.starts_with('.') && entry.file_type().map_err(|error| Stop::of(&error))?.is_file() {
                files.push((unique_of(&name).to_owned(), entry.path()));
            }
        }
    }
    Ok(files)
}

/// A file's name without the flags that mail clients change (`:2,FS`).
fn unique_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(unique, _)| unique)
}

/// The beginning of a message: at least its header section. The second value is where that ends.
fn read_header(file: &mut File) -> Result<(Vec<u8>, usize), Stop> {
    let (mut bytes, mut step) = (Vec::new(), 8 * 1024);
    loop {
        let read = file.take(step).read_to_end(&mut bytes).map_err(|error| Stop::of(&error))?;
        if ENCODED.iter().any(|magic| bytes.starts_with(magic)) {
            return Err(Stop::Trouble(Trouble::Denied(Problem::new(
                "messages_encoded",
                "the mail server keeps messages compressed or encrypted; reach it with the imap connector instead",
            ))));
        }
        if let Some(end) = header_end(&bytes) {
            return Ok((bytes, end));
        }
        if read == 0 {
            let end = bytes.len();
            return Ok((bytes, end));
        }
        if bytes.len() > HEADER_MAX {
            return Err(Stop::Trouble(Trouble::Denied(Problem::new(
                "message_too_large",
                format!("a file in a mail folder has no end of headers within {HEADER_MAX} bytes; move it elsewhere"),
            ))));
        }
        step = bytes.len() as u64;
    }
}

/// Looks for everybody in `who` in one walk. A person that is `None` has no messages.
pub(super) fn scan(root: &Path, who: &[Option<Addressee>]) -> Result<Scan, Trouble> {
    let (folders, _) = folders(root)?;
    let mut hits = vec![Hits::default(); who.len()];
    for folder in &folders {
        for (all, new) in hits.iter_mut().zip(scan_folder(root, folder, who)?) {
            all.theirs.extend(new.theirs);
            all.unclear.extend(new.unclear);
        }
    }
    Ok(Scan { folders, hits })
}

fn scan_folder(root: &Path, folder: &str, who: &[Option<Addressee>]) -> Result<Vec<Hits>, Trouble> {
    for _ in 0..ATTEMPTS {
        match scan_folder_once(root, folder, who) {
            Ok(hits) => return Ok(hits),
            Err(Stop::Moved) => {}
            Err(Stop::Trouble(trouble)) => return Err(trouble),
        }
    }
    Err(busy())
}

fn scan_folder_once(root: &Path, folder: &str, who: &[Option<Addressee>]) -> Result<Vec<Hits>, Stop> {
    let mut hits = vec![Hits::default(); who.len()];
    for (unique, path) in files(root, folder)? {
        let mut file = File::open(&path).map_err(|error| Stop::of(&error))?;
        let (bytes, end) = read_header(&mut file)?;
        let found = Addresses::read(&bytes[..end]);
        for (hits, who) in hits.iter_mut().zip(who) {
            let list = match who.as_ref().map(|who| who.relation_to(&found)) {
                Some(Relation::Theirs) => &mut hits.theirs,
                Some(Relation::Unclear) => &mut hits.unclear,
                Some(Relation::Nothing) | None => continue,
            };
            list.push(Hit { folder: folder.to_owned(), unique: unique.clone() });
        }
    }
    for hits in hits.iter_mut().flat_map(|hits| [&mut hits.theirs, &mut hits.unclear]) {
        hits.sort_by(|a, b| a.unique.cmp(&b.unique));
        hits.dedup();
    }
    Ok(hits)
}

/// Where a message is now, whatever its flags became.
fn locate(root: &Path, hit: &Hit) -> Result<Vec<PathBuf>, Stop> {
    let all = files(root, &hit.folder)?;
    Ok(all.into_iter().filter(|(unique, _)| *unique == hit.unique).map(|(_, path)| path).collect())
}

/// Unlinks messages after reading once more that they are this person's, then makes it last. One that is no longer
/// there is left out: whoever removed it did our work.
pub(super) fn unlink(root: &Path, hits: &[Hit], who: &Addressee) -> Result<(), Trouble> {
    let mut start = 0;
    while let Some(first) = hits.get(start) {
        let count = hits[start..].iter().take_while(|hit| hit.folder == first.folder).count();
        unlink_in_folder(root, &first.folder, &hits[start..start + count], who)?;
        start += count;
    }
    Ok(())
}

fn unlink_in_folder(root: &Path, folder: &str, hits: &[Hit], who: &Addressee) -> Result<(), Trouble> {
    let wanted: std::collections::BTreeSet<&str> = hits.iter().map(|hit| hit.unique.as_str()).collect();
    let attempt = || -> Result<(), Stop> {
        for (unique, path) in files(root, folder)? {
            if !wanted.contains(unique.as_str()) {
                continue;
            }
            let mut file = File::open(&path).map_err(|error| Stop::of(&error))?;
            let (bytes, end) = read_header(&mut file)?;
            if who.relation(&bytes[..end]) == Relation::Theirs {
                fs::remove_file(&path).map_err(|error| Stop::of(&error))?;
            }
        }
        Ok(())
    };
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(()) => {
                for part in ["cur", "new"].map(|part| root.join(folder).join(part)) {
                    match File::open(part).and_then(|directory| directory.sync_all()) {
                        Err(error) if error.kind() != ErrorKind::NotFound => return Err(trouble(&error)),
                        _ => {}
                    }
                }
                return Ok(());
            }
            Err(Stop::Moved) => {}
            Err(Stop::Trouble(trouble)) => return Err(trouble),
        }
    }
    Err(busy())
}

/// A message and where its headers end; `None` if it was removed or replaced since it was found.
pub(super) fn read(root: &Path, hit: &Hit, who: &Addressee) -> Result<Option<(usize, Vec<u8>)>, Trouble> {
    let attempt = || -> Result<_, Stop> {
        for path in locate(root, hit)? {
            let mut file = File::open(&path).map_err(|error| Stop::of(&error))?;
            let (mut bytes, end) = read_header(&mut file)?;
            if who.relation(&bytes[..end]) != Relation::Theirs {
                continue;
            }
            let rest = (MESSAGE_MAX + 1).saturating_sub(bytes.len() as u64);
            file.take(rest).read_to_end(&mut bytes).map_err(|error| Stop::of(&error))?;
            if bytes.len() as u64 > MESSAGE_MAX {
                return Err(Stop::Trouble(Trouble::Denied(Problem::new(
                    "message_too_large",
                    format!("a message is larger than {MESSAGE_MAX} bytes; export it by hand"),
                ))));
            }
            return Ok(Some((end, bytes)));
        }
        Ok(None)
    };
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(found) => return Ok(found),
            Err(Stop::Moved) => {}
            Err(Stop::Trouble(trouble)) => return Err(trouble),
        }
    }
    Err(busy())
}

/// What is there, without reading a message.
pub(super) fn survey(root: &Path) -> Result<CheckReport, Trouble> {
    let (folders, links) = folders(root)?;
    let (mut messages, mut caches) = (0, 0);
    for folder in &folders {
        messages += match files(root, folder) {
            Ok(files) => files.len(),
            Err(Stop::Moved) => 0,
            Err(Stop::Trouble(trouble)) => return Err(trouble),
        };
        caches += usize::from(root.join(folder).join("dovecot.index.cache").exists());
    }
    let mut report = CheckReport::default();
    report.ok.push(format!("{} mail folders with {messages} messages", folders.len()));
    if links > 0 {
        report.warnings.push(format!("{links} symbolic links are not followed; what they point to is not searched"));
    }
    if caches > 0 {
        report.warnings.push(format!(
            "{caches} folders have a dovecot.index.cache, which keeps deleted messages' headers until Dovecot rewrites it; \
             run doveadm purge, or use the imap connector"
        ));
    }
    Ok(report)
}

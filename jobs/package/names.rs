//! A name in a package is chosen here: letters, digits, `.`, `_` and `-`, the same on every file system, never twice.
//!
//! Names from outside (of tables, of attachments) only lend their letters, so none can climb out of the folder it is
//! unpacked in, hide its kind, or be a device.

use std::collections::{BTreeMap, HashSet};

/// The longest name, in bytes.
const NAME_MAX: usize = 100;
/// The longest ending that is kept when a name is shortened.
const ENDING_MAX: usize = 16;
/// The most characters of an original name that are repeated.
const SHOWN_MAX: usize = 150;

/// Endings that make a double click run something. Such files are called `.txt` in addition; their bytes stay.
const ACTIVE: &[&str] = &[
    "app", "bat", "cmd", "com", "cpl", "desktop", "dll", "exe", "hta", "htm", "html", "jar", "js", "jse", "lnk", "mht",
    "mhtml", "mjs", "msi", "msp", "pif", "ps1", "py", "reg", "scf", "scr", "sh", "shtml", "svg", "svgz", "url", "vbe",
    "vbs", "wsf", "wsh", "xht", "xhtml", "xml", "xsl", "xslt",
];

/// Names that Windows takes for devices, whatever follows their first dot.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul", "conin", "conout", "clock", "com", "lpt"];

/// The names of one package.
#[derive(Default)]
pub(super) struct Names {
    used: HashSet<String>,
    folders: BTreeMap<String, String>,
}

impl Names {
    /// The place of a collection's records.
    pub(super) fn data(&mut self, system: &str, collection: &str, ending: &str) -> String {
        let folder = self.folder(system);
        self.unique(&format!("data/{folder}"), &stem(collection, NAME_MAX - ending.len() - 1), ending)
    }

    /// The place of an attachment.
    pub(super) fn attachment(&mut self, system: &str, collection: &str, name: &str) -> String {
        let folder = format!("attachments/{}/{}", self.folder(system), stem(collection, NAME_MAX));
        let (base, ending) = split(name);
        let ending = match ending {
            Some(ending) if ACTIVE.contains(&ending.to_ascii_lowercase().as_str()) => format!("{ending}.txt"),
            Some(ending) => ending,
            None => String::new(),
        };
        self.unique(&folder, &stem(base, NAME_MAX - ending.len() - 1), &ending)
    }

    /// A system's folder, the same for the same system and another for another.
    fn folder(&mut self, system: &str) -> String {
        if let Some(folder) = self.folders.get(system) {
            return folder.clone();
        }
        let folder = self.unique("", &stem(system, NAME_MAX), "");
        self.folders.insert(system.to_owned(), folder.clone());
        folder
    }

    /// `folder/stem.ending`, with a number if that is taken; upper and lower case count as the same.
    fn unique(&mut self, folder: &str, stem: &str, ending: &str) -> String {
        let dot = if ending.is_empty() { "" } else { "." };
        let slash = if folder.is_empty() { "" } else { "/" };
        let mut number = 1_u64;
        loop {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let room = NAME_MAX.saturating_sub(suffix.len() + dot.len() + ending.len());
            let stem = stem.get(..room).unwrap_or(stem);
            let path = format!("{folder}{slash}{stem}{suffix}{dot}{ending}");
            if self.used.insert(path.to_ascii_lowercase()) {
                return path;
            }
            number += 1;
        }
    }
}

/// A safe name without an ending of its own.
fn stem(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
        // Two dots would look like a way up, two underscores are only long.
        if !(out.ends_with(c) && matches!(c, '.' | '_')) {
            out.push(c);
        }
        if out.len() == max {
            break;
        }
    }
    let out = out.trim_matches(['.', '_', '-', ' ']);
    let first = out.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if out.is_empty() {
        "file".into()
    } else if DEVICES.contains(&first.trim_end_matches(|c: char| c.is_ascii_digit())) {
        format!("file_{}", out.get(..max.saturating_sub(5)).unwrap_or(out))
    } else {
        out.to_owned()
    }
}

/// A file's name without its ending, and the ending if it is one.
fn split(name: &str) -> (&str, Option<String>) {
    // What looks like a path gives its last part.
    let name = name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(name);
    // Windows drops dots and spaces at the end, and so would show another ending.
    let name = name.trim_end_matches(|c: char| c == '.' || c.is_whitespace() || c.is_control());
    match name.rsplit_once('.') {
        Some((base, ending))
            if !ending.is_empty()
                && ending.len() <= ENDING_MAX
                && ending.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            (base, Some(ending.to_owned()))
        }
        _ => (name, None),
    }
}

/// An original name for people to read: no control characters, not endless.
pub(super) fn shown(name: &str) -> String {
    name.chars()
        .filter(|c| {
            !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .take(SHOWN_MAX)
        .collect()
}

/// A media type as it was given, if it is one.
pub(super) fn media_type(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "/.+-_; =\"".contains(c);
    if text.len() <= 120 && text.contains('/') && text.chars().all(fits) {
        text.to_owned()
    } else {
        "application/octet-stream".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every name must be, whatever it was made from.
    fn assert_safe(path: &str) {
        for part in path.split('/') {
            assert!(!part.is_empty() && part.len() <= NAME_MAX, "{path}");
            assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{path}");
            assert!(!part.starts_with('.') && !part.ends_with('.') && !part.contains(".."), "{path}");
            let first = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
            assert!(!["con", "prn", "aux", "nul", "com1", "lpt9", "com0"].contains(&first.as_str()), "{path}");
        }
    }

    #[test]
    fn an_attachment_keeps_what_is_harmless_of_its_name() {
        for (name, safe) in [
            ("invoice 2026.pdf", "invoice_2026.pdf"),
            ("Photo.JPG", "Photo.JPG"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\x.ini", "x.ini"),
            ("/etc/shadow", "shadow"),
            ("C:\\CON", "file_CON"),
            ("CON", "file_CON"),
            ("con.txt", "file_con.txt"),
            ("aux.tar.gz", "file_aux.tar.gz"),
            ("lpt9", "file_lpt9"),
            ("common.txt", "common.txt"),
            ("nul .txt", "file_nul.txt"),
            ("..", "file"),
            ("...", "file"),
            ("", "file"),
            ("/", "file"),
            (".htaccess", "file.htaccess"),
            ("🎉🎉.png", "file.png"),
            ("<script>alert(1)</script>", "script"),
            ("a\0b\r\nc.txt", "a_b_c.txt"),
            ("page.html", "page.html.txt"),
            ("drawing.SVG", "drawing.SVG.txt"),
            ("run.exe", "run.exe.txt"),
            ("run.exe. . ", "run.exe.txt"),
            ("gpj\u{202e}exe.txt", "gpj_exe.txt"),
            ("name:stream.txt", "name_stream.txt"),
        ] {
            let path = Names::default().attachment("crm", "notes", name);
            assert_eq!(path, format!("attachments/crm/notes/{safe}"), "{name:?}");
            assert_safe(&path);
        }
    }

    #[test]
    fn no_hostile_name_leaves_the_alphabet_or_its_length() {
        let long = "ä".repeat(4096) + "." + &"x".repeat(4096);
        let hostile = [
            "../../x",
            "CON",
            "a/../../b",
            &long,
            "🎉",
            "<script>",
            "-rf",
            "~",
            "$(id)",
            "%2e%2e%2f",
            "a..b",
            "COM1.x",
        ];
        for system in hostile {
            for collection in hostile {
                for name in hostile {
                    let mut names = Names::default();
                    assert_safe(&names.attachment(system, collection, name));
                    assert_safe(&names.data(system, collection, "jsonl"));
                }
            }
        }
    }

    #[test]
    fn two_files_never_share_a_name() {
        let mut names = Names::default();
        assert_eq!(names.attachment("crm", "notes", "A.txt"), "attachments/crm/notes/A.txt");
        assert_eq!(names.attachment("crm", "notes", "a.txt"), "attachments/crm/notes/a-2.txt");
        assert_eq!(names.attachment("crm", "notes", "../a.txt"), "attachments/crm/notes/a-3.txt");
        assert_eq!(names.data("crm", "a b", "csv"), "data/crm/a_b.csv");
        assert_eq!(names.data("crm", "a/b", "csv"), "data/crm/a_b-2.csv");
        let long = "y".repeat(300);
        let (first, second) = (names.data("crm", &long, "jsonl"), names.data("crm", &long, "jsonl"));
        assert_safe(&first);
        assert_safe(&second);
        assert_ne!(first, second);
    }

    #[test]
    fn two_systems_never_share_a_folder() {
        let mut names = Names::default();
        assert_eq!(names.data("crm/1", "t", "csv"), "data/crm_1/t.csv");
        assert_eq!(names.data("crm_1", "t", "csv"), "data/crm_1-2/t.csv");
        assert_eq!(names.data("crm/1", "u", "csv"), "data/crm_1/u.csv");
    }

    #[test]
    fn a_media_type_that_is_none_becomes_bytes() {
        assert_eq!(media_type("message/rfc822"), "message/rfc822");
        for text in ["", "text", "text/html\r\nX: y", "<b>/x"] {
            assert_eq!(media_type(text), "application/octet-stream", "{text:?}");
        }
    }
}

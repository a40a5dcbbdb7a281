//! The few things that S3 says in XML: lists of versions, errors, and what became of each key of a batch.

use crate::Trouble;
use crate::http::unreadable;
use quick_xml::Reader;
use quick_xml::events::Event;

/// One element: its name, its text, its children.
#[derive(Default)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

const DEPTH_MAX: usize = 16;

impl Element {
    /// Reads a whole document whose root has one of these names: S3's own, and what other stores call it.
    pub(super) fn read(bytes: &[u8], roots: &[&str]) -> Result<Self, Trouble> {
        Self::parse(bytes).filter(|element| roots.contains(&element.name.as_str())).ok_or_else(unreadable)
    }

    /// Reads a whole document.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_reader(bytes);
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            match reader.read_event_into(&mut buffer).ok()? {
                Event::Start(start) => {
                    if open.len() >= DEPTH_MAX || root.is_some() {
                        return None;
                    }
                    open.push(Self::named(start.local_name().as_ref())?);
                }
                Event::Empty(start) => {
                    let empty = Self::named(start.local_name().as_ref())?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(empty),
                        None => root = Some(empty),
                    }
                }
                Event::End(_) => {
                    let done = open.pop()?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(done),
                        None => root = Some(done),
                    }
                }
                Event::Text(text) => {
                    if let Some(last) = open.last_mut() {
                        last.text.push_str(&text.decode().ok()?);
                    }
                }
                Event::CData(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::GeneralRef(name) => {
                    let last = open.last_mut()?;
                    match name.resolve_char_ref().ok()? {
                        Some(c) => last.text.push(c),
                        None => last.text.push(match name.decode().ok()?.as_ref() {
                            "amp" => '&',
                            "lt" => '<',
                            "gt" => '>',
                            "quot" => '"',
                            "apos" => '\'',
                            _ => return None,
                        }),
                    }
                }
                Event::DocType(_) => return None,
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
                Event::Eof => return if open.is_empty() { root } else { None },
            }
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        Some(Self { name: String::from_utf8(name.to_vec()).ok()?, ..Self::default() })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The elements in it.
    pub(super) fn children(&self) -> &[Self] {
        &self.children
    }

    /// The text of the first child of this name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }

    /// Whether the first child of this name says `true`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }
}

/// A text as it may stand between tags.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.extend(["&#", &u32::from(c).to_string(), ";"]),
            c => out.push(c),
        }
        out
    })
}

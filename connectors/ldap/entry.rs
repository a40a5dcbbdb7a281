//! An entry as the directory gave it: attributes of bytes, in texts to compare and in JSON to hand over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ldap3::asn1::StructureTag;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Never handed over, even where it may be read: what signs a person in.
pub(super) const NEVER: &[&str] = &[
    "userpassword",
    "unicodepwd",
    "authpassword",
    "sambantpassword",
    "sambalmpassword",
    "krbprincipalkey",
    "ipanthash",
    "userpkcs12",
];

/// By what an entry stays the same when it is renamed, in order of preference.
pub(super) const IDS: &[&str] = &["entryUUID", "nsUniqueId", "objectGUID"];

/// It has no `Debug`: all of it is personal.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

/// An attribute's name without its options (`mail;lang-en`).
fn base(name: &str) -> &str {
    name.split(';').next().unwrap_or_default()
}

/// Whether an attribute's values are never handed over.
pub(super) fn is_secret(name: &str) -> bool {
    NEVER.iter().any(|never| base(name).eq_ignore_ascii_case(never))
}

impl Entry {
    /// Reads an answer; none if it is not what an entry should be.
    pub(super) fn read(tag: StructureTag) -> Option<Self> {
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes?).ok();
        let mut parts = tag.match_id(4)?.expect_constructed()?.into_iter();
        let dn = text(parts.next()?.expect_primitive())?;
        let mut attributes: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for attribute in parts.next()?.expect_constructed()? {
            let mut parts = attribute.expect_constructed()?.into_iter();
            let name = text(parts.next()?.expect_primitive())?;
            let values = parts.next()?.expect_constructed()?.into_iter().map(StructureTag::expect_primitive);
            attributes.entry(name).or_default().extend(values.collect::<Option<Vec<_>>>()?);
        }
        Some(Self { dn, attributes })
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Vec<u8>> {
        let same = move |held: &&String| base(held).eq_ignore_ascii_case(name);
        self.attributes.iter().filter(move |(held, _)| same(held)).flat_map(|(_, values)| values)
    }

    /// An attribute's values that are texts, with any options.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.values(name).filter_map(|value| String::from_utf8(value.clone()).ok()).collect()
    }

    /// Whether an attribute has any value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Whether there are entries below it, as far as the directory says so.
    pub(super) fn has_children(&self) -> bool {
        self.texts("hasSubordinates").iter().any(|text| text.eq_ignore_ascii_case("true"))
            || self.texts("numSubordinates").iter().any(|text| text != "0")
    }

    /// What stays the same for as long as the entry is there: as a filter's condition, or its name where there is none.
    pub(super) fn key(&self) -> String {
        for id in IDS {
            if let Some(value) = self.values(id).next() {
                let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
                let text =
                    value.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("\\{b:02x}") });
                return format!("{id}={}", text.collect::<String>());
            }
        }
        format!("dn:{}", self.dn)
    }

    /// Whether an attribute came only in part (Active Directory gives long lists in ranges).
    pub(super) fn is_in_parts(&self) -> bool {
        self.attributes.keys().any(|name| name.to_ascii_lowercase().contains(";range="))
    }

    /// Everything, or the named attributes, to be handed over.
    pub(super) fn record(&self, only: Option<&[String]>) -> Map<String, Value> {
        let operational = ["hasSubordinates", "numSubordinates", "entryUUID", "nsUniqueId"];
        let wanted = |name: &str| match only {
            Some(only) => only.iter().any(|wanted| base(name).eq_ignore_ascii_case(wanted)),
            None => !operational.iter().any(|other| base(name).eq_ignore_ascii_case(other)),
        };
        let mut record = Map::new();
        record.insert("dn".to_owned(), self.dn.as_str().into());
        for (name, values) in self.attributes.iter().filter(|(name, _)| wanted(name) && !is_secret(name)) {
            let value = match values.as_slice() {
                [one] => json(values, one),
                all => all.iter().map(|value| json(values, value)).collect(),
            };
            record.insert(name.clone(), value);
        }
        record
    }
}

/// A value as text if all values of its attribute are texts, else as base64.
fn json(all: &[Vec<u8>], value: &[u8]) -> Value {
    let is_text = |bytes: &Vec<u8>| {
        std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(|c| c.is_control() && !"\r\n\t".contains(c)))
    };
    if all.iter().all(is_text) {
        String::from_utf8_lossy(value).into_owned().into()
    } else {
        STANDARD.encode(value).into()
    }
}

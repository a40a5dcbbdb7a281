//! The rows of one object: read whole, judged one by one, and put together again without or with other values.

use super::csv::Csv;
use super::jsonl::{self, Jsonl};
#[cfg(feature = "parquet")]
use super::parquet::Table;
use super::settings::{Format, Pattern};
use crate::flat::Values;
use crate::http::sigv4::hex;
use crate::{Problem, Trouble};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ring::digest;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

/// What is wrong with an object, and where. Never what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    line: usize,
    what: &'static str,
}

impl Malformed {
    /// Something at this line or row, counted from 1.
    pub(super) const fn new(line: usize, what: &'static str) -> Self {
        Self { line, what }
    }
}

enum Kind {
    Csv(Csv),
    Jsonl(Jsonl),
    #[cfg(feature = "parquet")]
    Parquet(Box<Table>),
}

/// One read object.
pub(super) struct Rows {
    kind: Kind,
    zipped: bool,
    /// Where the identifiers stand: type, and place as declared with its column for tables.
    identify: Vec<(redress_domain::IdentifierType, String, usize)>,
    label: String,
}

const ZIPPED: &[u8] = b"\x1f\x8b";

impl Rows {
    /// Reads an object of a kind. Compressed text may unfold to at most `max` bytes.
    pub(super) fn read(pattern: &Pattern, bytes: Vec<u8>, max: usize) -> Result<Self, Trouble> {
        let zipped = pattern.format != Format::Parquet && bytes.starts_with(ZIPPED);
        let text = if zipped { unzip(pattern, &bytes, max)? } else { bytes };
        let malformed = |fault: Malformed| malformed(&pattern.label, &fault);
        let kind = match pattern.format {
            Format::Csv => Kind::Csv(Csv::read(text, pattern.delimiter).map_err(malformed)?),
            Format::Jsonl => Kind::Jsonl(Jsonl::read(text).map_err(malformed)?),
            #[cfg(feature = "parquet")]
            Format::Parquet => Kind::Parquet(Box::new(Table::read(text).map_err(malformed)?)),
            _ => return Err(malformed(Malformed::new(0, "is not of rows"))),
        };
        let mut rows = Self { kind, zipped, identify: Vec::new(), label: pattern.label.clone() };
        for (kind, place) in &pattern.identify {
            let column = rows.column(place)?;
            rows.identify.push((*kind, place.clone(), column));
        }
        Ok(rows)
    }

    /// A column that must be there, unless there is nothing at all.
    fn column(&self, place: &str) -> Result<usize, Trouble> {
        let column = match &self.kind {
            Kind::Csv(csv) if csv.names.is_empty() => Some(0),
            Kind::Csv(csv) => csv.column(place),
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => table.column(place),
            Kind::Jsonl(_) => Some(0),
        };
        column.ok_or_else(|| {
            Trouble::Denied(Problem::new(
                "column_missing",
                format!(
                    "an object of {} has no column {place:?}, or several; mend the object or the setting, or exclude it by a narrower prefix",
                    self.label
                ),
            ))
        })
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        match &self.kind {
            Kind::Csv(csv) => csv.len(),
            Kind::Jsonl(jsonl) => jsonl.len(),
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => table.len(),
        }
    }

    /// What a row says about whose it is.
    pub(super) fn values(&self, row: usize) -> Values {
        match &self.kind {
            Kind::Csv(csv) => {
                let values = csv.values(row);
                let of = |(kind, _, column): &(_, _, usize)| Some((*kind, values.get(*column)?.clone()));
                self.identify.iter().filter_map(of).collect()
            }
            Kind::Jsonl(jsonl) => {
                let record = jsonl.record(row);
                let of = |(kind, place, _): &(_, String, _)| {
                    let kind = *kind;
                    jsonl::texts(&record, place).into_iter().map(move |text| (kind, text))
                };
                self.identify.iter().flat_map(of).collect()
            }
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => {
                let of = |(kind, _, column): &(_, _, usize)| Some((*kind, table.text(row, *column)?));
                self.identify.iter().filter_map(of).collect()
            }
        }
    }

    /// The whole row for an export.
    pub(super) fn record(&self, row: usize) -> Map<String, Value> {
        match &self.kind {
            Kind::Csv(csv) => csv.names.iter().cloned().zip(csv.values(row).into_iter().map(Value::from)).collect(),
            Kind::Jsonl(jsonl) => jsonl.record(row),
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => table.record(row),
        }
    }

    /// What tells a row of an object apart from others and is the same in every version.
    pub(super) fn fingerprint(&self, row: usize) -> String {
        let digest = match &self.kind {
            Kind::Csv(csv) => digest::digest(&digest::SHA256, csv.essence(row)),
            Kind::Jsonl(jsonl) => digest::digest(&digest::SHA256, jsonl.essence(row)),
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => {
                digest::digest(&digest::SHA256, Value::from(table.record(row)).to_string().as_bytes())
            }
        };
        hex(digest.as_ref())
    }

    /// The values of these places in a row; none for a place that the row does not have.
    pub(super) fn current(&self, row: usize, place: &str) -> Option<String> {
        match &self.kind {
            Kind::Csv(csv) => csv.values(row).get(csv.column(place)?).cloned(),
            Kind::Jsonl(jsonl) => jsonl::texts(&jsonl.record(row), place).into_iter().next(),
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => table.text(row, table.column(place)?),
        }
    }

    /// The object without these rows.
    pub(super) fn without(&self, gone: &dyn Fn(usize) -> bool) -> Result<Vec<u8>, Trouble> {
        match &self.kind {
            Kind::Csv(csv) => self.zip(csv.without(gone)),
            Kind::Jsonl(jsonl) => self.zip(jsonl.without(gone)),
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => {
                table.write(&|row| !gone(row), &BTreeMap::new()).map_err(|fault| malformed(&self.label, &fault))
            }
        }
    }

    /// The object with other values: row -> place -> value.
    pub(super) fn with(&self, changes: &BTreeMap<usize, BTreeMap<&str, &str>>) -> Result<Vec<u8>, Trouble> {
        let flat = |row: &usize, places: &BTreeMap<&str, &str>| -> Result<Vec<(usize, usize, String)>, Trouble> {
            places.iter().map(|(place, value)| Ok((*row, self.column(place)?, (*value).to_owned()))).collect()
        };
        match &self.kind {
            Kind::Csv(csv) => {
                let mut all = Vec::new();
                for (row, places) in changes {
                    all.extend(flat(row, places)?);
                }
                all.sort();
                let all: Vec<(usize, usize, &str)> = all.iter().map(|(r, c, v)| (*r, *c, v.as_str())).collect();
                self.zip(csv.with(&all))
            }
            Kind::Jsonl(jsonl) => {
                let of = |(row, places): (&usize, &BTreeMap<&'_ str, &'_ str>)| {
                    places
                        .iter()
                        .map(|(place, value)| (*row, (*place).to_owned(), (*value).to_owned()))
                        .collect::<Vec<_>>()
                };
                let all: Vec<(usize, String, String)> = changes.iter().flat_map(of).collect();
                let all: Vec<(usize, &str, &str)> = all.iter().map(|(r, p, v)| (*r, p.as_str(), v.as_str())).collect();
                self.zip(jsonl.with(&all))
            }
            #[cfg(feature = "parquet")]
            Kind::Parquet(table) => {
                let mut all = BTreeMap::new();
                for (row, places) in changes {
                    all.extend(flat(row, places)?.into_iter().map(|(row, column, value)| ((row, column), value)));
                }
                table.write(&|_| true, &all).map_err(|fault| malformed(&self.label, &fault))
            }
        }
    }

    fn zip(&self, text: Vec<u8>) -> Result<Vec<u8>, Trouble> {
        if !self.zipped {
            return Ok(text);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let zipped = encoder.write_all(&text).and_then(|()| encoder.finish());
        zipped.map_err(|_| malformed(&self.label, &Malformed::new(0, "cannot be compressed again")))
    }
}

fn unzip(pattern: &Pattern, bytes: &[u8], max: usize) -> Result<Vec<u8>, Trouble> {
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(max as u64 + 1).read_to_end(&mut text);
    read.map_err(|_| malformed(&pattern.label, &Malformed::new(0, "is not whole gzip")))?;
    if text.len() > max { Err(too_large(&pattern.label, max)) } else { Ok(text) }
}

/// An object that is too large to be read was not searched.
pub(super) fn too_large(label: &str, max: usize) -> Trouble {
    Trouble::Denied(Problem::new(
        "object_too_large",
        format!(
            "an object of {label} is larger than {} MB; raise max_object_mb (it is read into memory), or exclude it by a narrower prefix",
            max >> 20
        ),
    ))
}

fn malformed(label: &str, fault: &Malformed) -> Trouble {
    Trouble::Denied(Problem::new(
        "object_malformed",
        format!(
            "an object of {label} cannot be read safely: line {} {}; nothing in it was touched: mend it, or exclude it by a narrower prefix",
            fault.line, fault.what
        ),
    ))
}

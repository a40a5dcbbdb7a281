//! A Parquet object is a table of flat columns. To take rows out it is written anew: the same schema, metadata, row groups
//! and compression, and every other row with the same values in the same order.

use super::rows::Malformed;
use parquet::basic::{Compression, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::types::ColumnDescPtr;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The values of a column that are there.
enum Data {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// A column of one row group.
struct Column {
    data: Data,
    /// For each row where its value is; none for NULL.
    places: Vec<Option<usize>>,
}

struct Group {
    rows: usize,
    columns: Vec<Column>,
}

/// One read object.
pub(super) struct Table {
    metadata: Arc<ParquetMetaData>,
    columns: Vec<ColumnDescPtr>,
    groups: Vec<Group>,
}

const NESTED: &str = "has nested columns, which this version does not rewrite";
const UNREADABLE: &str =
    "is no Parquet that can be read whole (or is compressed by other means than snappy, gzip and zstd)";
const UNWRITABLE: &str = "cannot be written again";
const NOT_TEXT: &str = "is to be corrected in a column that is not of text";

impl Table {
    /// Reads a whole object; refuses what could not be written again.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let unreadable = |_: ParquetError| Malformed::new(0, UNREADABLE);
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).map_err(unreadable)?;
        let metadata = Arc::new(reader.metadata().clone());
        let columns: Vec<ColumnDescPtr> = metadata.file_metadata().schema_descr().columns().to_vec();
        let is_flat = |column: &ColumnDescPtr| {
            column.max_rep_level() == 0 && column.max_def_level() <= 1 && column.path().parts().len() == 1
        };
        if !columns.iter().all(is_flat) {
            return Err(Malformed::new(0, NESTED));
        }
        let mut groups = Vec::new();
        for i in 0..reader.num_row_groups() {
            let group = reader.get_row_group(i).map_err(unreadable)?;
            groups.push(read_group(group.as_ref(), &columns).map_err(unreadable)?);
        }
        Ok(Self { metadata, columns, groups })
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.rows).sum()
    }

    /// The place of the one column with this name, if its values can be told as text.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        let column = self.columns.iter().position(|column| column.name() == name)?;
        let tells = match self.columns[column].physical_type() {
            Type::INT32 | Type::INT64 | Type::BYTE_ARRAY => true,
            Type::FIXED_LEN_BYTE_ARRAY => is_uuid(&self.columns[column]),
            _ => false,
        };
        tells.then_some(column)
    }

    fn at(&self, mut row: usize) -> Option<(&Group, usize)> {
        for group in &self.groups {
            if row < group.rows {
                return Some((group, row));
            }
            row -= group.rows;
        }
        None
    }

    fn field(&self, row: usize, column: usize) -> Field {
        let Some((group, row)) = self.at(row) else { return Field::Null };
        let held = &group.columns[column];
        held.places[row].map_or(Field::Null, |place| field(&self.columns[column], &held.data, place))
    }

    /// A value as text: text itself, whole numbers, UUIDs.
    pub(super) fn text(&self, row: usize, column: usize) -> Option<String> {
        match self.field(row, column) {
            Field::Str(text) => Some(text),
            Field::Byte(n) => Some(n.to_string()),
            Field::Short(n) => Some(n.to_string()),
            Field::Int(n) => Some(n.to_string()),
            Field::Long(n) => Some(n.to_string()),
            Field::UByte(n) => Some(n.to_string()),
            Field::UShort(n) => Some(n.to_string()),
            Field::UInt(n) => Some(n.to_string()),
            Field::ULong(n) => Some(n.to_string()),
            // Text that nobody marked as text.
            Field::Bytes(bytes) if self.columns[column].physical_type() == Type::BYTE_ARRAY => {
                String::from_utf8(bytes.data().to_vec()).ok()
            }
            Field::Bytes(bytes) if is_uuid(&self.columns[column]) && bytes.len() == 16 => {
                let hex = crate::http::sigv4::hex(bytes.data());
                Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
            }
            _ => None,
        }
    }

    /// A row with its names.
    pub(super) fn record(&self, row: usize) -> Map<String, Value> {
        let value = |column: usize| match self.text(row, column) {
            Some(text) if !matches!(self.field(row, column), Field::Long(_) | Field::Int(_)) => Value::from(text),
            _ => self.field(row, column).to_json_value(),
        };
        (0..self.columns.len()).map(|column| (self.columns[column].name().to_owned(), value(column))).collect()
    }

    /// The table with these rows only and these values ((row, column) -> text) in place of others.
    pub(super) fn write(
        &self,
        keep: &dyn Fn(usize) -> bool,
        changes: &BTreeMap<(usize, usize), String>,
    ) -> Result<Vec<u8>, Malformed> {
        for (row, column) in changes.keys() {
            let is_text = matches!(self.groups.first().map(|group| &group.columns[*column].data), Some(Data::Bytes(_)));
            if !is_text {
                return Err(Malformed::new(row + 1, NOT_TEXT));
            }
        }
        self.try_write(keep, changes).map_err(|_| Malformed::new(0, UNWRITABLE))
    }

    fn try_write(
        &self,
        keep: &dyn Fn(usize) -> bool,
        changes: &BTreeMap<(usize, usize), String>,
    ) -> Result<Vec<u8>, ParquetError> {
        let schema = self.metadata.file_metadata().schema_descr().root_schema_ptr();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(self.properties()))?;
        let mut first = 0;
        for group in &self.groups {
            let kept: Vec<usize> = (0..group.rows).filter(|row| keep(first + row)).collect();
            if !kept.is_empty() {
                let mut out = writer.next_row_group()?;
                let mut columns = group.columns.iter().enumerate();
                while let Some(mut to) = out.next_column()? {
                    let Some((i, column)) = columns.next() else { break };
                    let nullable = self.columns[i].max_def_level() == 1;
                    let changed = |row: usize| changes.get(&(first + row, i)).map(String::as_str);
                    write_column(to.untyped(), column, nullable, &kept, &changed)?;
                    to.close()?;
                }
                out.close()?;
            }
            first += group.rows;
        }
        writer.into_inner()
    }

    fn properties(&self) -> WriterProperties {
        let mut properties = WriterProperties::builder()
            .set_key_value_metadata(self.metadata.file_metadata().key_value_metadata().cloned())
            .set_max_row_group_row_count(None);
        let Some(group) = self.metadata.row_groups().first() else { return properties.build() };
        properties = properties.set_sorting_columns(RowGroupMetaData::sorting_columns(group).cloned());
        for column in group.columns() {
            let path = column.column_path().clone();
            let codec = match column.compression() {
                // Nobody knows any more how hard it was tried.
                Compression::ZSTD(_) => Compression::ZSTD(parquet::basic::ZstdLevel::default()),
                Compression::GZIP(_) => Compression::GZIP(parquet::basic::GzipLevel::default()),
                codec => codec,
            };
            properties = properties.set_column_compression(path.clone(), codec);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), column.dictionary_page_offset().is_some())
                .set_column_bloom_filter_enabled(path, column.bloom_filter_offset().is_some());
        }
        properties.build()
    }
}

fn is_uuid(column: &ColumnDescPtr) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::Uuid))
}

fn read_group(group: &dyn RowGroupReader, columns: &[ColumnDescPtr]) -> Result<Group, ParquetError> {
    let rows = usize::try_from(group.metadata().num_rows()).map_err(|e| ParquetError::General(e.to_string()))?;
    let mut read = Vec::with_capacity(columns.len());
    for (i, descriptor) in columns.iter().enumerate() {
        let nullable = descriptor.max_def_level() == 1;
        let (data, places) = match group.get_column_reader(i)? {
            ColumnReader::BoolColumnReader(from) => typed(from, rows, nullable, Data::Bool)?,
            ColumnReader::Int32ColumnReader(from) => typed(from, rows, nullable, Data::Int32)?,
            ColumnReader::Int64ColumnReader(from) => typed(from, rows, nullable, Data::Int64)?,
            ColumnReader::Int96ColumnReader(from) => typed(from, rows, nullable, Data::Int96)?,
            ColumnReader::FloatColumnReader(from) => typed(from, rows, nullable, Data::Float)?,
            ColumnReader::DoubleColumnReader(from) => typed(from, rows, nullable, Data::Double)?,
            ColumnReader::ByteArrayColumnReader(from) => typed(from, rows, nullable, Data::Bytes)?,
            ColumnReader::FixedLenByteArrayColumnReader(from) => typed(from, rows, nullable, Data::Fixed)?,
        };
        read.push(Column { data, places });
    }
    Ok(Group { rows, columns: read })
}

fn typed<T: DataType>(
    mut from: ColumnReaderImpl<T>,
    rows: usize,
    nullable: bool,
    of: impl Fn(Vec<T::T>) -> Data,
) -> Result<(Data, Vec<Option<usize>>), ParquetError> {
    let (mut values, mut levels, mut read) = (Vec::new(), Vec::new(), 0);
    while read < rows {
        let definition = nullable.then_some(&mut levels);
        let (records, _, _) = from.read_records(rows - read, definition, None, &mut values)?;
        if records == 0 {
            break;
        }
        read += records;
    }
    let mut next = 0;
    let mut take = |is_there: bool| {
        is_there.then(|| {
            next += 1;
            next - 1
        })
    };
    let places: Vec<Option<usize>> = if nullable {
        levels.iter().map(|level: &i16| take(*level == 1)).collect()
    } else {
        (0..read).map(|_| take(true)).collect()
    };
    if places.len() != rows || next != values.len() {
        return Err(ParquetError::General("a column is shorter than its row group".to_owned()));
    }
    Ok((of(values), places))
}

fn field(column: &ColumnDescPtr, data: &Data, place: usize) -> Field {
    match data {
        Data::Bool(values) => Field::convert_bool(column, values[place]),
        Data::Int32(values) => Field::convert_int32(column, values[place]),
        Data::Int64(values) => Field::convert_int64(column, values[place]),
        Data::Int96(values) => Field::convert_int96(column, values[place]),
        Data::Float(values) => Field::convert_float(column, values[place]),
        Data::Double(values) => Field::convert_double(column, values[place]),
        Data::Bytes(values) => bytes_field(column, values[place].clone()),
        Data::Fixed(values) => bytes_field(column, ByteArray::from(values[place].clone())),
    }
}

fn bytes_field(column: &ColumnDescPtr, value: ByteArray) -> Field {
    Field::convert_byte_array(column, value.clone()).unwrap_or(Field::Bytes(value))
}

fn write_column<'c>(
    to: &mut ColumnWriter<'_>,
    column: &Column,
    nullable: bool,
    kept: &[usize],
    changed: &dyn Fn(usize) -> Option<&'c str>,
) -> Result<(), ParquetError> {
    match (to, &column.data) {
        (ColumnWriter::BoolColumnWriter(to), Data::Bool(values)) => put(to, column, values, nullable, kept, |_| None),
        (ColumnWriter::Int32ColumnWriter(to), Data::Int32(values)) => put(to, column, values, nullable, kept, |_| None),
        (ColumnWriter::Int64ColumnWriter(to), Data::Int64(values)) => put(to, column, values, nullable, kept, |_| None),
        (ColumnWriter::Int96ColumnWriter(to), Data::Int96(values)) => put(to, column, values, nullable, kept, |_| None),
        (ColumnWriter::FloatColumnWriter(to), Data::Float(values)) => put(to, column, values, nullable, kept, |_| None),
        (ColumnWriter::DoubleColumnWriter(to), Data::Double(values)) => {
            put(to, column, values, nullable, kept, |_| None)
        }
        (ColumnWriter::FixedLenByteArrayColumnWriter(to), Data::Fixed(values)) => {
            put(to, column, values, nullable, kept, |_| None)
        }
        (ColumnWriter::ByteArrayColumnWriter(to), Data::Bytes(values)) => {
            let new = |row| changed(row).map(|text| ByteArray::from(text.as_bytes().to_vec()));
            put(to, column, values, nullable, kept, new)
        }
        _ => Err(ParquetError::General("the writer's columns are not the reader's".to_owned())),
    }
}

fn put<T: DataType>(
    to: &mut ColumnWriterImpl<'_, T>,
    column: &Column,
    values: &[T::T],
    nullable: bool,
    kept: &[usize],
    new: impl Fn(usize) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let rows: Vec<Option<T::T>> =
        kept.iter().map(|row| new(*row).or_else(|| column.places[*row].map(|place| values[place].clone()))).collect();
    let levels: Option<Vec<i16>> = nullable.then(|| rows.iter().map(|value| i16::from(value.is_some())).collect());
    let there: Vec<T::T> = rows.into_iter().flatten().collect();
    to.write_batch(&there, levels.as_deref(), None).map(drop)
}

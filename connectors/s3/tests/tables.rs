//! Facts about Parquet objects.

use super::lab::{Lab, connect};
use crate::conformance::{MemoryJournal, MemorySink, ann, confirmed, done, only, rectifying, trouble, work};
use crate::s3::parquet::Table;
use crate::{Trouble, Work};
use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use redress_domain::{Correction, Verb};
use serde_json::{Value, json};
use std::sync::Arc;

const SCHEMA: &str = "message people { required int64 id; optional binary email (UTF8); optional double score; required binary full_name (UTF8); }";

/// Two row groups of three people each.
fn seed(codec: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_key_value_metadata(Some(vec![KeyValue::new("origin".to_owned(), "nightly".to_owned())]))
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA).expect("a schema"));
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("a writer");
    let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    for (ids, emails, levels) in [
        ([1, 2, 3], vec![text("joann@shop.example"), text("Ann@shop.example")], [1, 1, 0]),
        (
            [4, 5, 1007],
            vec![text("x@shop.example"), text("ann@shop.example.evil.org"), text("ann@shop.example")],
            [1, 1, 1],
        ),
    ] {
        let mut group = writer.next_row_group().expect("a group");
        let mut column = group.next_column().expect("a column").expect("there is one");
        column.typed::<Int64Type>().write_batch(&ids, None, None).expect("written");
        column.close().expect("closed");
        let mut column = group.next_column().expect("a column").expect("there is one");
        column.typed::<ByteArrayType>().write_batch(&emails, Some(&levels), None).expect("written");
        column.close().expect("closed");
        let mut column = group.next_column().expect("a column").expect("there is one");
        column.typed::<DoubleType>().write_batch(&[0.1, f64::MAX], Some(&[1, 0, 1]), None).expect("written");
        column.close().expect("closed");
        let mut column = group.next_column().expect("a column").expect("there is one");
        let names = [text("A"), text("Bé"), text("")];
        column.typed::<ByteArrayType>().write_batch(&names, None, None).expect("written");
        column.close().expect("closed");
        group.close().expect("closed");
    }
    writer.into_inner().expect("written")
}

fn rows(bytes: Vec<u8>) -> Vec<Value> {
    let table = Table::read(bytes).expect("it is Parquet");
    (0..table.len()).map(|row| Value::from(table.record(row))).collect()
}

fn objects() -> Value {
    json!([{"suffix": ".parquet", "format": "parquet", "identify": {"email": "email"}, "fields": {"full_name": "full_name"}}])
}

#[tokio::test]
async fn rows_go_and_schema_metadata_compression_and_other_rows_stay() {
    let lab = Lab::folder().await;
    for codec in
        [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(parquet::basic::GzipLevel::default())]
    {
        let before = seed(codec);
        lab.put("people.parquet", &before).await;
        let connector = connect(&lab.spec(&objects()));
        let subject = ann().subject();
        let sink = MemorySink::default();
        assert_eq!(done(only(connector.export(&[work("x", &subject)], &sink).await)).found, 2);
        assert!(sink.text("x").contains("1007"));

        let corrections = [Correction { field: "full_name".into(), value: "Änne".into() }];
        let item = || rectifying("r", &subject, &corrections);
        let journal = MemoryJournal::default();
        let corrected = done(only(connector.rectify(&[item()], &journal).await));
        assert_eq!((corrected.found, corrected.changed), (2, 2));
        confirmed(only(connector.verify(Verb::Rectify, &[item()]).await));
        let prior = journal.announced("r");
        let again = Work { prior: prior.as_ref(), ..item() };
        assert_eq!(done(only(connector.rectify(&[again], &journal).await)).changed, 2);

        let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
        assert_eq!((erased.found, erased.changed), (2, 2));
        confirmed(only(connector.verify(Verb::Erase, &[work("v", &subject)]).await));

        let after = lab.get("people.parquet").await;
        let kept: Vec<Value> = rows(before).into_iter().filter(|row| row["id"] != 2 && row["id"] != 1007).collect();
        assert_eq!(rows(after.clone()), kept);
        let reader = SerializedFileReader::new(bytes::Bytes::from(after)).expect("it is Parquet");
        let metadata = reader.metadata();
        assert_eq!(metadata.num_row_groups(), 2);
        let pairs = metadata.file_metadata().key_value_metadata().expect("there is some");
        assert!(pairs.iter().any(|pair| pair.key == "origin" && pair.value.as_deref() == Some("nightly")));
        let column = metadata.row_group(0).column(0);
        assert_eq!(column.compression().to_string().split('(').next(), codec.to_string().split('(').next());
        assert!(column.encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY));
    }
}

#[tokio::test]
async fn nested_and_broken_tables_are_refused() {
    let lab = Lab::folder().await;
    let schema = "message m { optional group tags (LIST) { repeated group list { optional binary element (UTF8); } } }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let nested = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::new())).expect("a writer");
    let nested = nested.into_inner().expect("written");
    let whole = seed(Compression::SNAPPY);
    let mut bent = whole.clone();
    bent[20..60].fill(0xff);
    for bytes in [nested, whole[..whole.len() - 9].to_vec(), bent] {
        lab.put("people.parquet", &bytes).await;
        let connector = connect(&lab.spec(&objects()));
        let subject = ann().subject();
        match trouble(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await)) {
            Trouble::Denied(problem) => assert_eq!(problem.code, "object_malformed"),
            other => panic!("{other:?}"),
        }
        assert_eq!(lab.get("people.parquet").await, bytes);
    }
}

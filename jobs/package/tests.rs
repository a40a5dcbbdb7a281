use super::*;
use crate::certificate::{PublicKey, VerifyError};
use serde_json::json;
use std::io::{Cursor, Read as _};
use zip::ZipArchive;

fn signer() -> Signer {
    Signer::from_seed(&[7; 32])
}

fn info() -> PackageInfo {
    PackageInfo {
        request_id: "dsr_01jd0000000000000000000000".into(),
        request_type: "access".into(),
        regulation: "EU-GDPR".into(),
        controller: "Acme & Sons".into(),
        reference: Some("TICKET-1".into()),
        generated_at: "2026-11-21T10:00:01Z".parse().expect("an instant"),
        identifiers: vec![("email".into(), "jane@example.com".into())],
    }
}

fn summary(system: &str, family: &str, outcome: &str) -> SourceSummary {
    let retrieved_at = "2026-11-21T09:58:30Z".parse().ok();
    SourceSummary {
        system: system.into(),
        family: family.into(),
        outcome: outcome.into(),
        found: Some(1),
        retrieved_at,
    }
}

fn record(writer: &mut PackageWriter<Vec<u8>>, system: &str, collection: &str, record: &Value) {
    writer.record(system, collection, record.as_object().expect("an object")).expect("written");
}

/// A package like a real one: two systems with data, one without.
fn filled() -> PackageWriter<Vec<u8>> {
    let mut writer = PackageWriter::new(Vec::new(), info());
    let jane = json!({"id": 1, "first_name": "Jane", "last_name": "Doe", "email": "jane@example.com", "phone": "+49 151 12345678",
        "address": {"street": "Hauptstraße 1", "city": "Berlin"}, "newsletter": true, "note": null});
    record(&mut writer, "shop", "customers", &jane);
    for n in 1..=60 {
        let order = json!({"id": n, "customer_id": 1, "placed_on": format!("2026-{:02}-{:02}", n % 12 + 1, n % 28 + 1),
            "total": format!("{n}.90"), "ship_to": "Hauptstraße 1, Berlin"});
        record(&mut writer, "shop", "orders", &order);
    }
    let eml = b"From: jane@example.com\r\nSubject: hello\r\n\r\nhello";
    writer.attachment("mail", "INBOX", "Re: order 12?.eml", "message/rfc822", eml).expect("written");
    record(
        &mut writer,
        "mail",
        "messages",
        &json!({"folder": "INBOX", "subject": "Re: order 12?", "date": "2026-10-02"}),
    );
    writer.attachment("mail", "INBOX", "page.html", "text/html", b"<script>alert(1)</script>").expect("written");
    writer.source(summary("shop", "database", "done"));
    writer.source(summary("mail", "email", "done"));
    writer.source(summary("newsletter", "marketing", "nothing_found"));
    writer
}

fn package() -> (Vec<u8>, PackageSummary) {
    filled().finish(Some(&signer())).expect("written")
}

fn unpack(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = ZipArchive::new(Cursor::new(zip)).expect("a ZIP");
    (0..zip.len())
        .map(|i| {
            let mut file = zip.by_index(i).expect("an entry");
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).expect("whole");
            (file.name().expect("UTF-8").to_string(), bytes)
        })
        .collect()
}

fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new_stream(Vec::new());
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default()).expect("begun");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}

fn text(zip: &[u8], name: &str) -> String {
    let found = unpack(zip).into_iter().find(|(path, _)| path == name).expect(name);
    String::from_utf8(found.1).expect("UTF-8")
}

fn verify(zip: &[u8]) -> Result<PackageReport, VerifyError> {
    verify_package(Cursor::new(zip), None)
}

#[test]
fn a_package_verifies_and_reports_what_it_holds() {
    let (zip, summary) = package();
    let report = verify_package(Cursor::new(&zip), Some(&[*signer().public_key()])).expect("valid");
    assert_eq!((report.records, report.sources, report.files), (62, 3, 12));
    assert_eq!((summary.records, summary.files, summary.bytes), (62, 12, zip.len() as u64));
    assert_eq!(summary.sha256, crate::certificate::sha256_hex(&zip));
    assert!(report.to_string().contains("62 records from 3 systems") && report.to_string().contains("trusted key"));
}

#[test]
fn a_package_has_the_documented_layout() {
    let (zip, _) = package();
    let names: Vec<String> = unpack(&zip).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "data/shop/customers.jsonl",
            "data/shop/customers.csv",
            "attachments/mail/INBOX/Re_order_12.eml",
            "data/shop/orders.jsonl",
            "data/shop/orders.csv",
            "attachments/mail/INBOX/page.html.txt",
            "data/mail/messages.jsonl",
            "data/mail/messages.csv",
            "README.txt",
            "index.html",
            "manifest.json",
            "manifest.sig",
        ]
    );
    let manifest: Value = serde_json::from_str(&text(&zip, "manifest.json")).expect("JSON");
    assert_eq!(manifest["format_version"], "1");
    assert_eq!(manifest["type"], "access");
    assert_eq!(manifest["generated_at"], "2026-11-21T10:00:01Z");
    assert_eq!(manifest["files"].as_array().map(Vec::len), Some(10));
    assert_eq!(manifest["files"][2]["original_name"], "Re: order 12?.eml");
    let shop = &manifest["sources"][0];
    assert_eq!((&shop["system"], &shop["records"], &shop["files"]), (&json!("shop"), &json!(61), &json!(4)));
    assert_eq!(shop["collections"][1]["data"], json!(["data/shop/orders.jsonl"]));
    assert_eq!(manifest["sources"][2]["outcome"], "nothing_found");
    let signature: Value = serde_json::from_str(&text(&zip, "manifest.sig")).expect("JSON");
    assert_eq!(signature["algorithm"], "Ed25519");
    assert_eq!(signature["key_id"], signer().key_id());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(package(), package());
}

#[test]
fn a_collection_that_comes_again_gets_a_second_file() {
    let mut writer = PackageWriter::new(Vec::new(), info());
    for collection in ["a", "b", "a"] {
        record(&mut writer, "crm", collection, &json!({"x": 1}));
    }
    let (zip, summary) = writer.finish(Some(&signer())).expect("written");
    assert_eq!(summary.records, 3);
    let manifest: Value = serde_json::from_str(&text(&zip, "manifest.json")).expect("JSON");
    let collection = &manifest["sources"][0]["collections"][0];
    assert_eq!(collection["data"], json!(["data/crm/a.jsonl", "data/crm/a-2.jsonl"]));
    verify(&zip).expect("valid");
}

#[test]
fn a_package_without_data_says_so() {
    let mut writer = PackageWriter::new(Vec::new(), info());
    writer.source(summary("shop", "database", "nothing_found"));
    let (zip, summary) = writer.finish(Some(&signer())).expect("written");
    assert_eq!((summary.records, summary.files), (0, 4));
    assert!(
        text(&zip, "index.html")
            .contains("1 system of Acme &amp; Sons was searched. No personal data about you was found.")
    );
    verify(&zip).expect("valid");
}

#[test]
fn the_page_shows_the_beginning_of_a_long_list_and_where_the_rest_is() {
    let page = text(&package().0, "index.html");
    for words in [
        "Your data at Acme &amp; Sons",
        "62 records and 2 files",
        "The first 50 are shown.",
        "href=\"data/shop/orders.csv\"",
        "href=\"attachments/mail/INBOX/Re_order_12.eml\"",
        "Re: order 12?.eml",
        "Hauptstraße 1",
        "Nothing found",
        "jane@example.com",
        "Your rights",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let css = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
    assert!(css.len() < 4096, "{}", css.len());
}

#[test]
fn hostile_values_are_inert_in_the_page() {
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}${7*7}";
    let mut info = info();
    info.controller = hostile.into();
    info.reference = Some(hostile.into());
    info.identifiers = vec![(hostile.into(), hostile.into())];
    let mut writer = PackageWriter::new(Vec::new(), info);
    record(&mut writer, hostile, hostile, &json!({ hostile: hostile, "formula": "=HYPERLINK(1)" }));
    record(&mut writer, hostile, "wide", &json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, hostile: [hostile]}));
    for name in [hostile, "../../x", "CON", "🎉", &"x".repeat(4096), "a.svg", "javascript:alert(1)"] {
        writer.attachment(hostile, hostile, name, hostile, b"<svg onload=alert(1)>").expect("written");
    }
    writer.source(summary(hostile, hostile, hostile));
    let (zip, _) = writer.finish(Some(&signer())).expect("written");
    verify(&zip).expect("valid");
    let page = text(&zip, "index.html");
    let tags: Vec<&str> = page.split('<').skip(1).map(|tag| tag.split([' ', '>']).next().unwrap_or_default()).collect();
    for tag in ["script", "/script", "img", "svg", "link", "iframe", "form", "object", "base"] {
        assert!(!tags.contains(&tag), "{tag}");
    }
    for link in page.split("href=\"").skip(1) {
        let link = link.split('"').next().unwrap_or_default();
        assert!(link.starts_with('#') || link.starts_with("data/") || link.starts_with("attachments/"), "{link}");
    }
    let loads = ["http://", "https://", "url(", "@import"].iter().any(|text| page.contains(text));
    assert!(page.contains("default-src 'none'") && !loads, "nothing is loaded");
    assert!(text(&zip, "README.txt").lines().all(|line| !line.contains('\r')));
    for (name, _) in unpack(&zip) {
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)), "{name}");
        assert!(!name.contains("..") && name.split('/').all(|part| part.len() <= 100), "{name}");
    }
}

#[test]
fn a_changed_file_is_refused() {
    let (zip, _) = package();
    let files = unpack(&zip);
    for i in 0..files.len() {
        for position in [0, files[i].1.len() / 2] {
            let mut tampered = files.clone();
            tampered[i].1[position] ^= 1;
            let refused = verify(&pack(&tampered)).expect_err(&files[i].0);
            match files[i].0.as_str() {
                "manifest.json" => assert!(matches!(refused, VerifyError::Changed), "{refused}"),
                "manifest.sig" => {}
                path => assert!(matches!(&refused, VerifyError::FileChanged(p) if p == path), "{refused}"),
            }
        }
    }
    verify(&pack(&files)).expect("only packed anew");
}

#[test]
fn two_files_that_changed_places_are_refused() {
    let mut files = unpack(&package().0);
    let first = files[0].1.clone();
    files[0].1 = std::mem::replace(&mut files[2].1, first);
    assert!(matches!(verify(&pack(&files)), Err(VerifyError::FileChanged(_))));
}

#[test]
fn a_missing_or_added_file_is_refused() {
    let files = unpack(&package().0);
    for i in 0..files.len() {
        let mut fewer = files.clone();
        let (name, _) = fewer.remove(i);
        let refused = verify(&pack(&fewer)).expect_err("missing");
        match name.as_str() {
            "manifest.sig" => assert!(matches!(refused, VerifyError::Unsigned)),
            name => assert!(matches!(&refused, VerifyError::FileMissing(missing) if missing == name)),
        }
    }
    for name in ["data/extra.csv", "../evil", "MANIFEST.JSON", "index.html/", "index.html "] {
        let mut more = files.clone();
        more.push((name.into(), Vec::new()));
        let refused = verify(&pack(&more)).expect_err("added");
        assert!(matches!(&refused, VerifyError::FileUnlisted(added) if added == name), "{refused}");
    }
}

#[test]
fn a_package_that_is_not_signed_or_by_another_key_is_refused() {
    let (zip, _) = filled().finish(None).expect("written");
    assert!(matches!(verify(&zip), Err(VerifyError::Unsigned)));
    let other: PublicKey = *Signer::from_seed(&[8; 32]).public_key();
    let refused = verify_package(Cursor::new(package().0), Some(&[other]));
    assert!(matches!(refused, Err(VerifyError::UntrustedKey { .. })));
}

#[test]
fn a_zip_that_two_programs_would_read_differently_is_refused() {
    let (zip, _) = package();
    let mut before = b"MZ\x90\0".to_vec();
    before.extend_from_slice(&zip);
    let mut after = zip.clone();
    after.extend_from_slice(b"more");
    // The name in front of the first file no longer is the one in the directory at the end.
    let mut renamed = zip.clone();
    let at = renamed.windows(9).position(|w| w == b"customers").expect("the first name");
    renamed[at] = b'C';
    for (what, tampered) in
        [("before", before), ("after", after), ("renamed", renamed), ("cut", zip[..zip.len() - 30].to_vec())]
    {
        assert!(matches!(verify(&tampered), Err(VerifyError::Container(_))), "{what}");
    }
    assert!(matches!(verify(b""), Err(VerifyError::Container(_))));
}

#[test]
fn a_signed_path_that_climbs_is_refused_all_the_same() {
    for path in ["../x", "/etc/passwd", "a/../b", "C:x", "a\\b", "a//b", ".ssh/x"] {
        let manifest =
            json!({"format_version": "1", "request_id": "r", "type": "access", "regulation": "x", "controller": "c",
            "generated_at": "2026-11-21T10:00:01Z", "sources": [],
            "files": [{"path": path, "sha256": "00", "bytes": 0, "media_type": "text/plain"}]})
            .to_string();
        let signature = signature_block(&signer(), manifest.as_bytes(), "signature").to_string();
        let zip = pack(&[
            ("manifest.json".into(), manifest.into_bytes()),
            ("manifest.sig".into(), signature.into_bytes()),
            (path.into(), Vec::new()),
        ]);
        assert!(matches!(verify(&zip), Err(VerifyError::Shape(_))), "{path}");
    }
}

#[test]
fn a_file_that_unpacks_to_more_than_listed_is_not_unpacked() {
    let mut files = unpack(&package().0);
    files[0].1 = vec![b'a'; 64 * 1024 * 1024];
    assert!(matches!(verify(&pack(&files)), Err(VerifyError::FileChanged(_))));
}

#[test]
fn a_writer_that_fails_ends_the_package_with_that_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("disk full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = PackageWriter::new(Full, info());
    let record = json!({"a": 1});
    writer.record("crm", "contacts", record.as_object().expect("an object")).expect("only collected");
    assert!(writer.finish(None).is_err());
}

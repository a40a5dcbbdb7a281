//! Evidence: signed, whole, about nobody, and of one's own controller only.

use super::{ALL, Answer, Edge, edge, request};
use redress_jobs::certificate::{PublicKey, Report, Signer, VerifyError, verify_any};
use redress_jobs::evidence::{About, EvidenceReport};
use serde_json::{Value, json};
use std::io::{Cursor, Read as _};
use zip::ZipArchive;

async fn submit(edge: &Edge, key: &str, kind: &str) -> String {
    let mut body = request(kind);
    body["reference"] = json!("canary-reference");
    edge.call(key, "POST", "/v1/requests", Some(&body)).await.json()["id"].as_str().unwrap().to_owned()
}

fn check(edge: &Edge, answer: &Answer, key: Option<PublicKey>) -> Result<EvidenceReport, VerifyError> {
    let path = edge.folder.join("evidence.zip");
    std::fs::write(&path, &answer.bytes).unwrap();
    match verify_any(&path, key.as_ref().map(std::slice::from_ref))? {
        Report::Evidence(report) => Ok(*report),
        other => panic!("{other}"),
    }
}

fn files(answer: &Answer) -> Vec<(String, String)> {
    let mut zip = ZipArchive::new(Cursor::new(&answer.bytes[..])).unwrap();
    let mut all = Vec::new();
    for n in 0..zip.len() {
        let mut file = zip.by_index(n).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        all.push((file.name().unwrap().to_string(), text));
    }
    all
}

#[tokio::test]
async fn the_evidence_of_a_request_holds_and_names_nobody() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let id = submit(&edge, &edge.acme.user, "deletion").await;
    submit(&edge, &edge.acme.user, "access").await;
    let answer = edge.call(&edge.acme.auditor, "GET", &format!("/v1/reports/evidence?request={id}"), None).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/zip"), "{}", answer.text());
    assert!(answer.header("content-disposition").contains(&format!("redress-evidence-{id}.zip")));
    let seed = edge.store.signing_seed().await.unwrap();
    let report = check(&edge, &answer, Some(*Signer::from_seed(&seed).public_key())).unwrap();
    assert_eq!(report.about, About::Request(id.clone()));
    assert!(report.events >= 1 && report.rule_books >= 1, "{report}");
    let all = files(&answer);
    for (name, text) in &all {
        assert!(!text.contains("jane") && !text.contains("canary"), "{name}: {text}");
    }
    let text = |name: &str| all.iter().find(|(path, _)| path == name).map(|(_, text)| text.as_str()).unwrap();
    let dates: Value = serde_json::from_str(text(&format!("requests/{id}.json"))).unwrap();
    assert!(dates["deadlines"]["trace"].as_array().is_some_and(|trace| !trace.is_empty()), "{dates}");
    assert!(
        all.iter().any(|(path, _)| *path == format!("rules/{}.txt", dates["rules"]["regulations"].as_str().unwrap()))
    );
    assert!(text("README.txt").contains("redress verify"));
    let stranger = Signer::from_seed(&[9; 32]);
    assert!(matches!(check(&edge, &answer, Some(*stranger.public_key())), Err(VerifyError::UntrustedKey { .. })));
    // Of somebody else there is none.
    let path = format!("/v1/reports/evidence?request={id}");
    assert_eq!(edge.call(&edge.other.admin, "GET", &path, None).await.status, 404);
}

#[tokio::test]
async fn the_evidence_of_a_period_has_every_event_and_what_ended() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(submit(&edge, &edge.acme.user, "deletion").await);
    }
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{}/withdraw", ids[0]), None).await;
    edge.clock.advance(jiff::SignedDuration::from_hours(24 * 30));
    submit(&edge, &edge.acme.user, "access").await;
    let of = |from: &str, to: &str| {
        let path = format!("/v1/reports/evidence?from={from}&to={to}");
        let edge = &edge;
        async move { edge.get(&path).await }
    };
    let november = of("2026-11-01", "2026-11-30").await;
    let report = check(&edge, &november, None).unwrap();
    let all = edge.store.events_after(&edge.acme.id, 0, 1_000).await.unwrap();
    let wanted = all.iter().filter(|event| event.at.starts_with("2026-11")).count() as u64;
    assert_eq!((report.events, report.linked), (wanted, wanted - 1));
    let names: Vec<String> = files(&november).into_iter().map(|(name, _)| name).collect();
    let requests: Vec<&String> = names.iter().filter(|name| name.starts_with("requests/")).collect();
    assert_eq!(requests, [&format!("requests/{}.json", ids[0])]);
    let december = check(&edge, &of("2026-12-01", "2026-12-31").await, None).unwrap();
    assert_eq!(report.events + december.events, all.len() as u64);
    let nothing = check(&edge, &of("2025-01-01", "2025-01-31").await, None).unwrap();
    assert_eq!((nothing.events, nothing.last), (0, None));
    // One changed byte of any file is noticed.
    let mut touched = november;
    let places: Vec<usize> = {
        let mut zip = ZipArchive::new(Cursor::new(&touched.bytes[..])).unwrap();
        let middle = |n| {
            let file = zip.by_index(n).unwrap();
            (file.data_start().unwrap() + file.compressed_size() / 2) as usize
        };
        (0..names.len()).map(middle).collect()
    };
    for (place, name) in places.into_iter().zip(&names) {
        touched.bytes[place] ^= 1;
        assert!(check(&edge, &touched, None).is_err(), "{name}");
        touched.bytes[place] ^= 1;
    }
    assert!(check(&edge, &touched, None).is_ok());
}

#[tokio::test]
async fn what_is_asked_of_evidence_is_one_request_or_a_period() {
    let edge = edge().await;
    for query in [
        "",
        "?from=2026-11-01",
        "?request=dsr_x",
        "?from=2026-11-30&to=2026-11-01",
        "?from=2026-02-30&to=2026-03-01",
        "?request=dsr_01aryz6s410000000000000000&from=2026-11-01&to=2026-11-02",
    ] {
        assert_eq!(edge.get(&format!("/v1/reports/evidence{query}")).await.status, 422, "{query}");
    }
    let unknown = edge.get("/v1/reports/evidence?request=dsr_01aryz6s410000000000000000").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn the_page_of_reports_shows_a_month_and_leads_to_every_file() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let id = submit(&edge, &edge.acme.user, "deletion").await;
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{id}/reject"), Some(&json!({ "reason": "unfounded" })))
        .await;
    let theirs = submit(&edge, &edge.other.user, "deletion").await;
    let page = |path: String| {
        let edge = &edge;
        async move { edge.page(&path, "dsr.example", Some(&edge.acme.auditor)).await }
    };
    let plain = page("/reports".into()).await.text();
    assert!(plain.contains("Art. 30(2)") && !plain.contains("other") && !plain.contains("<caption>From"), "{plain}");
    let shown = page(format!("/reports?month=2026-11&request={id}")).await.text();
    assert!(shown.contains("From 1 Nov 2026 to 30 Nov 2026") && shown.contains("everything"), "{shown}");
    // Each link to a file leads to one.
    let links: Vec<String> = shown
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&"))
        .filter(|path| path.starts_with("/v1/reports/"))
        .collect();
    assert_eq!(links.len(), 14, "{links:?}");
    for path in links {
        let answer = page(path.clone()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    assert_eq!(page(format!("/reports?request={theirs}")).await.status, 404);
    assert_eq!(page("/reports?controller=other".into()).await.status, 404);
    assert_eq!(page("/reports?month=2026-13".into()).await.status, 422);
}

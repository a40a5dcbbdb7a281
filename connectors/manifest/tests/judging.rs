//! Judges refuse what the vendors' interfaces do not have; the cases of our manifests hold, and their judges have their requests.

use super::harness::ManifestTarget;
use crate::conformance::{MemoryJournal, MemorySink, Target, ann, bea, rectifying, work};
use crate::manifest::judge::{Judge, Judged};
use crate::manifest::{Loaded, builtin, case};
use crate::{Outcome, Receipt, Work};
use redress_domain::{Correction, Verb};
use redress_sandbox::Hit;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of judges, if there is one.
#[expect(clippy::disallowed_methods, reason = "where the judges are is the affair of the one who runs the tests")]
fn folder() -> Option<PathBuf> {
    let own = std::env::var("REDRESS_JUDGES").ok().map(PathBuf::from);
    let near = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/judges");
    own.into_iter().chain([near]).find(|folder| folder.is_dir())
}

/// A vendor's judge; none (and why) if the judges are not here.
pub(crate) fn judge(file: &str) -> Option<Judge> {
    let judge = folder().and_then(|folder| Judge::read(&folder.join(file)).ok());
    if judge.is_none() {
        println!("skipped: no judge {file}; REDRESS_JUDGES names the folder that has it");
    }
    judge
}

/// What a vendor's interface does not have of these calls. Paths that begin with one of `besides` (a token) are not judged,
/// and faults that begin with one of them are known mistakes of the file.
pub(crate) fn refused(judge: &Judge, hits: &[Hit], besides: &[&str]) -> Vec<String> {
    let ours = hits.iter().filter(|hit| !besides.iter().any(|path| hit.path.starts_with(path)));
    ours.filter_map(|hit| {
        let request = Judged {
            method: &hit.method,
            path: &hit.path,
            query: &hit.query,
            headers: &hit.headers,
            body: hit.body.as_bytes(),
        };
        let mut faults = judge.verdict(request).err()?;
        faults.retain(|fault| !besides.iter().any(|known| fault.starts_with(known)));
        if faults.is_empty() {
            return None;
        }
        Some(format!("{} {}: {}", hit.method, hit.path, faults.join("; ")))
    })
    .collect()
}

#[test]
fn every_case_of_our_manifests_holds_and_is_a_request_of_the_vendors() {
    let mut broken = Vec::new();
    for (name, text) in builtin::ALL {
        let Ok(loaded) = Loaded::parse(text) else { continue };
        for ran in case::run(&loaded) {
            broken.extend(ran.faults.iter().map(|fault| format!("{name}: {}: {fault}", ran.name)));
        }
        let Some(judge) = loaded.file.connector.judge.as_deref().and_then(judge) else { continue };
        for (case, shown) in case::requests(&loaded) {
            let (path, query) = shown.url.split_once('?').unwrap_or((&shown.url, ""));
            let request = Judged { method: &shown.method, path, query, headers: &shown.headers, body: &shown.body };
            let faults = judge.verdict(request).err().unwrap_or_default();
            broken.extend(faults.iter().map(|fault| format!("{name}: {case}: {fault}")));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

type Sent = (&'static str, &'static str, &'static str, &'static str, serde_json::Value);

fn verdicts(file: &str, requests: &[(bool, Sent)]) {
    let Some(judge) = judge(file) else { return };
    for (sound, (method, path, query, headers, body)) in requests {
        let headers: Vec<(String, String)> = headers
            .split_terminator(';')
            .filter_map(|header| header.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let verdict = judge.verdict(Judged { method, path, query, headers: &headers, body: &bytes });
        assert_eq!(verdict.is_ok(), *sound, "{method} {path} {query} {body}: {verdict:?}");
    }
}

const JSON: &str = "content-type=application/json";

#[test]
fn a_wrong_path_method_or_body_is_refused_by_hubspots_own_file() {
    let search = "/crm/v3/objects/contacts/search";
    let body = |key: &str, operator: &str| {
        json!({ key: [{"filters": [{"propertyName": "email", "operator": operator, "value": "a@x.example"}]}],
            "properties": ["email"], "limit": 100, "after": "0", "sorts": [] })
    };
    verdicts(
        "hubspot/judge.json",
        &[
            (true, ("POST", search, "", JSON, body("filterGroups", "EQ"))),
            (false, ("POST", search, "", JSON, body("filterGroups", "LIKE"))),
            (false, ("POST", search, "", JSON, body("filterGroup", "EQ"))),
            (false, ("POST", search, "", "", body("filterGroups", "EQ"))),
            (false, ("GET", search, "", "", json!(null))),
            (false, ("POST", "/crm/v3/contacts", "", JSON, body("filterGroups", "EQ"))),
            (true, ("POST", "/crm/v3/objects/contacts/gdpr-delete", "", JSON, json!({"objectId": "7"}))),
            (false, ("POST", "/crm/v3/objects/contacts/gdpr-delete", "", JSON, json!({"idProperty": "email"}))),
            (false, ("POST", "/crm/v3/objects/contacts/gdpr_delete", "", JSON, json!({"objectId": "7"}))),
        ],
    );
}

#[test]
fn a_missing_revision_or_an_unknown_parameter_is_refused_by_klaviyos_own_file() {
    let sent = "revision=2026-07-15;content-type=application/vnd.api+json";
    let job = |kind: &str| json!({"data": {"type": kind, "attributes": {"profile": {"data": {"type": "profile", "attributes": {"email": "a@x.example"}}}}}});
    let jobs = "/api/data-privacy-deletion-jobs";
    let filter = "filter=equals(email%2C%22a%40x.example%22)";
    verdicts(
        "klaviyo/judge.json",
        &[
            (true, ("POST", jobs, "", sent, job("data-privacy-deletion-job"))),
            (false, ("POST", jobs, "", sent, job("data-privacy-job"))),
            (false, ("POST", jobs, "", "content-type=application/vnd.api+json", job("data-privacy-deletion-job"))),
            (true, ("GET", "/api/profiles", filter, sent, json!(null))),
            (false, ("GET", "/api/profiles", "filer=x", sent, json!(null))),
            (false, ("GET", "/api/profiles", filter, "", json!(null))),
        ],
    );
}

#[test]
fn a_wrong_type_or_a_missing_parameter_is_refused_by_marketos_and_gmails_own_files() {
    let delete = "/rest/v1/leads/delete.json";
    verdicts(
        "marketo/judge.json",
        &[
            (
                true,
                (
                    "GET",
                    "/rest/v1/leads.json",
                    "filterType=email&filterValues=a%40x.example&batchSize=300",
                    "",
                    json!(null),
                ),
            ),
            (
                true,
                (
                    "POST",
                    "/rest/v1/leads.json",
                    "_method=GET",
                    "content-type=application/x-www-form-urlencoded",
                    json!(null),
                ),
            ),
            (false, ("GET", "/rest/v1/leads.json", "filterValues=a%40x.example", "", json!(null))),
            (false, ("GET", "/rest/v1/leads.json", "filterType=email&filterValues=a&batchSize=all", "", json!(null))),
            (false, ("GET", "/rest/v1/leads", "filterType=email&filterValues=a", "", json!(null))),
            (true, ("POST", delete, "", JSON, json!({"input": [{"id": 7}]}))),
            (false, ("POST", delete, "", JSON, json!({"input": [{"id": "seven"}]}))),
            (false, ("POST", delete, "", JSON, json!({"inputs": [{"id": 7}]}))),
        ]
        .into_iter()
        // The override has its query in the body, which a table of JSON bodies cannot show.
        .filter(|(_, sent)| sent.2 != "_method=GET")
        .collect::<Vec<_>>(),
    );
    let messages = "/gmail/v1/users/me/messages";
    verdicts(
        "gmail/judge.json",
        &[
            (true, ("GET", messages, "q=from%3Aa&maxResults=500", "", json!(null))),
            (false, ("GET", messages, "q=from%3Aa&maxResults=abc", "", json!(null))),
            (true, ("POST", "/gmail/v1/users/me/messages/batchDelete", "", JSON, json!({"ids": ["1"]}))),
            (false, ("POST", "/gmail/v1/users/me/messages/batchDelete", "", JSON, json!({"idz": ["1"]}))),
            (false, ("GET", "/gmail/v1/users/me/mail", "", "", json!(null))),
        ],
    );
}

/// Everything that a connector sends in the life of two people: looked for, handed over, corrected, deleted, looked for again.
async fn is_judged(target: ManifestTarget, file: &str, besides: &[&str]) {
    let Some(judge) = judge(file) else { return };
    target.put(&ann());
    target.put(&bea());
    let (connector, subject, other) = (target.connector(), ann().subject(), bea().subject());
    connector.discover(&[work("a", &subject), work("b", &other)]).await;
    connector.export(&[work("a", &subject), work("b", &other)], &MemorySink::default()).await;
    if let Some(field) = Target::correctable(&target) {
        let corrections = [Correction { field: field.into(), value: "Anna".into() }];
        connector.rectify(&[rectifying("c", &subject, &corrections)], &MemoryJournal::default()).await;
        connector.verify(Verb::Rectify, &[rectifying("c", &subject, &corrections)]).await;
    }
    let mut receipt: Option<Receipt> = None;
    for _ in 0..8 {
        let item = Work { prior: receipt.as_ref(), ..work("e", &subject) };
        match connector.erase(&[item], &MemoryJournal::default()).await.remove(0) {
            Outcome::Accepted { receipt: order, .. } => receipt = Some(order),
            Outcome::Done(done) => {
                receipt = done.receipt;
                break;
            }
            other => panic!("{other:?}"),
        }
        target.world().travel(Duration::from_hours(24));
    }
    let item = Work { prior: receipt.as_ref(), ..work("v", &subject) };
    connector.verify(Verb::Erase, &[item]).await;
    let hits = target.world().hits();
    assert!(hits.len() > 4, "{} calls", hits.len());
    let refused = refused(&judge, &hits, besides);
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[tokio::test]
async fn marketos_own_file_has_every_call_we_make() {
    // A lead's description in the file: "may have any number of other fields"; its schema knows none.
    let besides = ["/identity/", "the body at /input/0/firstName "];
    is_judged(super::marketo::target().await, "marketo/judge.json", &besides).await;
}

#[tokio::test]
async fn hubspots_own_file_has_every_call_we_make() {
    is_judged(super::hubspot::target().await, "hubspot/judge.2026-03.json", &[]).await;
}

#[tokio::test]
async fn klaviyos_own_file_has_every_call_we_make() {
    is_judged(super::klaviyo::target().await, "klaviyo/judge.json", &[]).await;
}

#[tokio::test]
async fn sendgrids_own_file_has_every_call_we_make() {
    is_judged(super::sendgrid::target().await, "sendgrid/judge.json", &[]).await;
}

#[tokio::test]
async fn zendesks_own_file_has_every_call_we_make() {
    is_judged(super::zendesk::target().await, "zendesk/judge.json", &[]).await;
}

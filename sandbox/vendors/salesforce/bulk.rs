//! Bulk API 2.0 ingest: a job is opened, gets its CSV once, is closed, and is carried out a while later.

use super::schema::{self};
use super::{Ask, data, error, missing, org};
use crate::World;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// How long a job takes after it was closed (ms).
const TAKES_MS: i64 = 2_000;

/// Carries out what is due: jobs, and the emptying of the bin.
pub(super) fn settle(world: &World) {
    let now = world.now_ms();
    let mut tables = world.tables();
    // The bin is looked through once an hour.
    let org = tables.entry("_org".to_owned()).or_default().entry("org".to_owned()).or_default();
    if org.get("_purged_at").and_then(Value::as_i64).is_none_or(|at| at + 3_600_000 <= now) {
        org.insert("_purged_at".to_owned(), now.into());
        data::purge(&mut tables, now);
    }
    let due = |job: &Map<String, Value>| {
        job["state"] == "UploadComplete" && job["_closed_at"].as_i64().is_some_and(|at| at + TAKES_MS <= now)
    };
    let jobs: Vec<String> = {
        let jobs = tables.get("_job").into_iter().flatten();
        jobs.filter(|(_, job)| due(job)).map(|(id, _)| id.clone()).collect()
    };
    for id in jobs {
        let Some(job) = tables.get("_job").and_then(|jobs| jobs.get(&id)).cloned() else { continue };
        let hard = job["operation"] == "hardDelete";
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for row in job["_rows"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let other = schema::of_id(row).is_none_or(|object| job["object"] != object.name);
            let outcome = if other {
                Err(("MALFORMED_ID", format!("bad id {row}"), Vec::new()))
            } else {
                data::delete(&mut tables, row, hard, now)
            };
            match outcome {
                Ok(()) => done.push(json!(row)),
                Err((code, message, _)) => failed.push(json!([row, format!("{code}:{message}:--")])),
            }
        }
        let Some(job) = tables.get_mut("_job").and_then(|jobs| jobs.get_mut(&id)) else { continue };
        job.insert("state".to_owned(), "JobComplete".into());
        job.insert("numberRecordsProcessed".to_owned(), (done.len() + failed.len()).into());
        job.insert("numberRecordsFailed".to_owned(), failed.len().into());
        job.insert("_done".to_owned(), done.into());
        job.insert("_failed".to_owned(), failed.into());
    }
}

fn bad(code: &str, message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, code, message)
}

fn csv(text: String) -> Response {
    ([("content-type", "text/csv")], text).into_response()
}

fn visible(job: &Map<String, Value>) -> Value {
    job.iter().filter(|(key, _)| !key.starts_with('_')).map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn route(world: &World, ask: &Ask, method: &str, rest: &[&str]) -> Response {
    match (method, rest) {
        ("POST", []) => open(world, ask),
        ("GET", []) => {
            let jobs: Vec<Value> = world.all("_job").iter().map(|(_, job)| visible(job)).collect();
            Json(json!({"done": true, "nextRecordsUrl": null, "records": jobs})).into_response()
        }
        (_, [id, more @ ..]) => {
            let Some(job) = world.get("_job", id) else { return missing() };
            match (method, more) {
                ("GET", []) => Json(visible(&job)).into_response(),
                ("PUT", ["batches"]) => upload(world, ask, id, job),
                ("PATCH", []) => close(world, ask, id, job),
                ("DELETE", []) if job["state"] == "Open" => {
                    bad("INVALIDJOBSTATE", "Deleting not allowed for job in state Open")
                }
                ("DELETE", []) => {
                    world.take("_job", id);
                    StatusCode::NO_CONTENT.into_response()
                }
                ("GET", [results]) => self::results(&job, results),
                _ => missing(),
            }
        }
        _ => missing(),
    }
}

fn open(world: &World, ask: &Ask) -> Response {
    let keys = [
        "object",
        "operation",
        "contentType",
        "lineEnding",
        "columnDelimiter",
        "externalIdFieldName",
        "assignmentRuleId",
    ];
    let body = match ask.object(&keys) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let Some(object) = schema::object(text("object")).filter(|it| data::is_there(world, it)) else {
        return bad("INVALIDENTITY", "Unable to find object");
    };
    match text("operation") {
        "hardDelete" if org(world, "no_hard_delete") == true => {
            let why = "hardDelete operation requires special user profile permission, please contact your system administrator";
            return bad("FEATURENOTENABLED", why);
        }
        "delete" | "hardDelete" => {}
        _ => return bad("INVALIDJOB", "this simulator takes the operations delete and hardDelete only"),
    }
    if !matches!(text("contentType"), "" | "CSV") || !matches!(text("columnDelimiter"), "" | "COMMA") {
        return bad("INVALIDJOB", "ContentType CSV with COMMA is supported");
    }
    let id = schema::with_checksum(&format!("750D7{:010}", world.next_id()));
    let job = json!({
        "id": id, "operation": text("operation"), "object": object.name, "createdById": "0057x000000001AAAQ",
        "createdDate": "2026-11-19T09:00:00.000+0000", "systemModstamp": "2026-11-19T09:00:00.000+0000", "state": "Open",
        "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": 67.0, "lineEnding": if text("lineEnding") == "CRLF" { "CRLF" } else { "LF" },
        "columnDelimiter": "COMMA", "contentUrl": format!("services/data/{}/jobs/ingest/{id}/batches", ask.version),
        "jobType": "V2Ingest", "numberRecordsProcessed": 0, "numberRecordsFailed": 0, "retries": 0,
    });
    world.put("_job", &id, job.clone());
    Json(job).into_response()
}

fn upload(world: &World, ask: &Ask, id: &str, mut job: Map<String, Value>) -> Response {
    let kind = ask.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/csv") {
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", "text/csv is expected");
    }
    if job["state"] != "Open" || job.contains_key("_rows") {
        return bad("INVALIDJOBSTATE", "Only one upload is allowed, into an open job");
    }
    let text = String::from_utf8_lossy(&ask.body);
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r').trim_matches('"'));
    if !lines.next().is_some_and(|head| head.eq_ignore_ascii_case("id")) {
        return bad("INVALIDBATCH", "Field name not found : only the column Id is taken here");
    }
    let rows: Vec<Value> = lines.filter(|line| !line.is_empty()).map(Into::into).collect();
    job.insert("_rows".to_owned(), rows.into());
    world.put("_job", id, Value::Object(job));
    StatusCode::CREATED.into_response()
}

fn close(world: &World, ask: &Ask, id: &str, mut job: Map<String, Value>) -> Response {
    let body = match ask.object(&["state"]) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    match body.get("state").and_then(Value::as_str) {
        Some("UploadComplete") if job["state"] == "Open" && job.contains_key("_rows") => {
            job.insert("state".to_owned(), "UploadComplete".into());
            job.insert("_closed_at".to_owned(), world.now_ms().into());
        }
        Some("Aborted") if job["state"] != "JobComplete" => {
            job.insert("state".to_owned(), "Aborted".into());
        }
        _ => return bad("INVALIDJOBSTATE", "Job state cannot be changed in this way"),
    }
    world.put("_job", id, Value::Object(job.clone()));
    Json(visible(&job)).into_response()
}

fn results(job: &Map<String, Value>, which: &str) -> Response {
    if !matches!(job["state"].as_str(), Some("JobComplete" | "Failed" | "Aborted")) {
        return bad("INVALIDJOBSTATE", "Results are there when the job is complete");
    }
    let rows = |key: &str| job.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match which {
        "successfulResults" => {
            let rows: Vec<String> =
                rows("_done").iter().map(|id| format!("\"{0}\",\"false\",\"{0}\"\n", text(id))).collect();
            let rows = rows.concat();
            csv(format!("\"sf__Id\",\"sf__Created\",\"Id\"\n{rows}"))
        }
        "failedResults" => {
            let rows: Vec<String> = rows("_failed")
                .iter()
                .map(|row| format!("\"\",\"{}\",\"{}\"\n", text(&row[1]), text(&row[0])))
                .collect();
            let rows = rows.concat();
            csv(format!("\"sf__Id\",\"sf__Error\",\"Id\"\n{rows}"))
        }
        "unprocessedrecords" => csv("\"Id\"\n".to_owned()),
        _ => missing(),
    }
}

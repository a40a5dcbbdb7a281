//! Reports say what was counted by hand.

mod ccpa;
mod forms;
mod record;
mod sla;

use super::{Answer, Edge, request};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, SqlitePool};

/// The rows behind the edge.
struct Rows(SqlitePool);

impl Rows {
    async fn of(edge: &Edge) -> Self {
        let url = format!("sqlite://{}", edge.folder.join("redress.db").display());
        Self(SqlitePool::connect(&url).await.unwrap())
    }

    async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.0).await.expect(sql);
    }

    async fn set(&self, id: &str, what: &str) {
        self.sql(&format!("UPDATE dsrs SET {what} WHERE id = '{id}'")).await;
    }
}

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect(text).as_millisecond()
}

/// Submits a request of a type under a law and answers with its id.
async fn submitted(edge: &Edge, kind: &str, regulation: &str) -> String {
    edge.clock.advance(jiff::SignedDuration::from_millis(1));
    let mut body = request(kind);
    body["regulation"] = json!(regulation);
    if kind == "correction" {
        body["corrections"] = json!([{ "field": "last_name", "value": "Doe" }]);
    }
    let answer = edge.submit(&body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Refuses a request for this reason.
async fn reject(edge: &Edge, id: &str, reason: &str) {
    let path = format!("/v1/requests/{id}/reject");
    let answer = edge.call(&edge.acme.user, "POST", &path, Some(&json!({ "reason": reason }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn get_as(edge: &Edge, accept: &str, path: &str) -> Answer {
    let key = format!("Bearer {}", edge.acme.auditor);
    let request = Request::builder().uri(path).header(header::AUTHORIZATION, key).header(header::ACCEPT, accept);
    edge.send(request.body(Body::empty()).unwrap()).await
}

/// The report at a path, as JSON.
async fn report(edge: &Edge, path: &str) -> Value {
    let answer = edge.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

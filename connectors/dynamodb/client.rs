//! The calls to DynamoDB: JSON 1.0, each named by a header, values bound and never part of an expression.

use crate::http::sigv4::{AccessKeys, Signer};
use crate::http::{Answer, Call, Line, Method, unreadable};
use crate::{Network, Problem, Trouble};
use redress_domain::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};
use std::time::Duration;
use url::Url;

/// An item, or its key: attribute -> typed value (`{"S": "text"}`).
pub(super) type Item = Map<String, Value>;

/// One account's DynamoDB in one region.
pub(super) struct Client {
    pub(super) line: Line,
    signer: Signer,
    base: Url,
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    /// The item is not any more what was read.
    Changed,
}

impl Client {
    /// The way there.
    pub(super) fn new(base: Url, keys: AccessKeys, region: &str, network: &Network) -> Self {
        Self { line: Line::new(network, [&base]), signer: Signer::new(keys, region, "dynamodb"), base }
    }

    async fn send(&self, operation: &str, body: &Value) -> Result<Answer, Trouble> {
        let call = Call::new(Method::POST, self.base.clone())
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .body("application/x-amz-json-1.0", body.to_string());
        self.line.send(self.signer.sign(call, SystemClock.now_ms())).await
    }

    async fn ask(&self, operation: &str, body: &Value) -> Result<Value, Trouble> {
        let answer = self.send(operation, body).await?;
        if answer.is_success() { answer.json() } else { Err(trouble(&answer, operation)) }
    }

    /// The attributes of a table's primary key.
    pub(super) async fn key_of(&self, table: &str) -> Result<Vec<String>, Trouble> {
        let answer = self.ask("DescribeTable", &json!({"TableName": table})).await?;
        let schema = answer["Table"]["KeySchema"].as_array().ok_or_else(unreadable)?;
        let names: Option<Vec<String>> =
            schema.iter().map(|part| Some(part["AttributeName"].as_str()?.to_owned())).collect();
        names.filter(|names| matches!(names.len(), 1 | 2)).ok_or_else(unreadable)
    }

    /// One page of a table as it is now, and from where the next one goes on.
    pub(super) async fn scan(&self, table: &str, from: Option<&Value>) -> Result<(Vec<Item>, Option<Value>), Trouble> {
        let mut body = json!({"TableName": table, "ConsistentRead": true});
        if let Some(from) = from {
            body["ExclusiveStartKey"] = from.clone();
        }
        let mut answer = self.ask("Scan", &body).await?;
        let items = answer["Items"].as_array().ok_or_else(unreadable)?;
        let items: Option<Vec<Item>> = items.iter().map(|item| item.as_object().cloned()).collect();
        let next = answer.get_mut("LastEvaluatedKey").map(Value::take).filter(|next| !next.is_null());
        Ok((items.ok_or_else(unreadable)?, next))
    }

    /// Deletes an item if these attributes are still what was read.
    pub(super) async fn delete(&self, table: &str, key: &Item, seen: &Item) -> Result<Written, Trouble> {
        let condition = Condition::of(seen);
        let body = json!({
            "TableName": table, "Key": key, "ConditionExpression": condition.text,
            "ExpressionAttributeNames": condition.names, "ExpressionAttributeValues": condition.values,
        });
        self.write("DeleteItem", &body).await
    }

    /// Sets attributes of an item if these are still what was read.
    pub(super) async fn update(&self, table: &str, key: &Item, seen: &Item, set: &Item) -> Result<Written, Trouble> {
        let mut condition = Condition::of(seen);
        let mut sets = Vec::new();
        for (i, (name, value)) in set.iter().enumerate() {
            sets.push(format!("#s{i} = :s{i}"));
            condition.names.insert(format!("#s{i}"), name.as_str().into());
            condition.values.insert(format!(":s{i}"), value.clone());
        }
        let body = json!({
            "TableName": table, "Key": key, "UpdateExpression": format!("SET {}", sets.join(", ")),
            "ConditionExpression": condition.text,
            "ExpressionAttributeNames": condition.names, "ExpressionAttributeValues": condition.values,
        });
        self.write("UpdateItem", &body).await
    }

    async fn write(&self, operation: &str, body: &Value) -> Result<Written, Trouble> {
        let answer = self.send(operation, body).await?;
        if answer.is_success() {
            return answer.json().map(|_| Written::Yes);
        }
        if code(&answer) == "ConditionalCheckFailedException" {
            return Ok(Written::Changed);
        }
        Err(trouble(&answer, operation))
    }
}

/// That attributes are what was read. Names and values are bound.
struct Condition {
    text: String,
    names: Item,
    values: Item,
}

impl Condition {
    fn of(seen: &Item) -> Self {
        let (mut text, mut names, mut values) = (Vec::new(), Item::new(), Item::new());
        for (i, (name, value)) in seen.iter().enumerate() {
            text.push(format!("#c{i} = :c{i}"));
            names.insert(format!("#c{i}"), name.as_str().into());
            values.insert(format!(":c{i}"), value.clone());
        }
        Self { text: text.join(" AND "), names, values }
    }
}

/// The last part of `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException`.
fn code(answer: &Answer) -> String {
    let body = answer.json().unwrap_or_default();
    let named = body["__type"].as_str().unwrap_or_default();
    named.rsplit('#').next().unwrap_or_default().to_owned()
}

fn trouble(answer: &Answer, operation: &str) -> Trouble {
    let denied = |code, detail: String| Trouble::Denied(Problem::new(code, detail));
    match code(answer).as_str() {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => {
            let wait = answer.said.wait_ms.map(|ms| Duration::from_millis(ms.max(0) as u64));
            Trouble::Throttled(wait.unwrap_or(Duration::from_secs(5)))
        }
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId" => denied(
            "credentials_refused",
            "DynamoDB refused the access key; set it anew with `redress apply`, then check the system".to_owned(),
        ),
        "AccessDeniedException" => denied(
            "permission_missing",
            format!(
                "DynamoDB does not permit this call; grant dynamodb:{operation} on the declared tables, then check the system"
            ),
        ),
        "ResourceNotFoundException" => {
            denied("table_missing", "a declared table is not there; check settings.tables and region".to_owned())
        }
        "InternalServerError" | "ServiceUnavailable" | "TransactionConflictException" | "ResourceInUseException" => {
            Trouble::Retry(Problem::new(
                "vendor_error",
                "DynamoDB had an error of its own; it is tried again by itself",
            ))
        }
        _ => answer.trouble(),
    }
}

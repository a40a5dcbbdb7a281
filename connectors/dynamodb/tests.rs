//! The connector passes the suite that every connector passes, on moto's DynamoDB.

use crate::conformance::{self, Broken, MemoryJournal, Person, Target, ann, done, everybody, only, trouble, work};
use crate::http::{Call, Line, Method};
use crate::{Connector, Journal, Lost, Network, Receipt, SystemSpec, Trouble};
use async_trait::async_trait;
use redress_testkit::{Answer, Moto, Receiver};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

const ACCOUNT: &str =
    "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";

struct Shop {
    moto: Moto,
    line: Line,
}

impl Shop {
    async fn new() -> Self {
        let moto = Moto::start().await;
        let line = Line::new(&Network::default(), [&Url::parse(&moto.url()).expect("a URL")]);
        let shop = Self { moto, line };
        for (name, keys) in [("customers", vec![("id", "HASH")]), ("events", vec![("id", "HASH"), ("at", "RANGE")])] {
            let schema: Vec<Value> =
                keys.iter().map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind})).collect();
            let types: Vec<Value> = keys
                .iter()
                .map(|(name, _)| json!({"AttributeName": name, "AttributeType": if *name == "at" { "N" } else { "S" }}))
                .collect();
            let body = json!({
                "TableName": name, "KeySchema": schema, "AttributeDefinitions": types, "BillingMode": "PAY_PER_REQUEST",
            });
            shop.ask("CreateTable", &body).await;
        }
        shop
    }

    async fn ask(&self, operation: &str, body: &Value) -> Value {
        let call = Call::new(Method::POST, Url::parse(&self.moto.url()).expect("a URL"))
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("authorization", ACCOUNT)
            .body("application/x-amz-json-1.0", body.to_string());
        let answer = self.line.send(call).await.expect("moto answers");
        assert!(answer.is_success(), "{operation}: {}", String::from_utf8_lossy(&answer.body));
        answer.json().expect("it is JSON")
    }

    async fn items(&self, table: &str) -> Vec<Value> {
        self.ask("Scan", &json!({"TableName": table})).await["Items"].as_array().cloned().expect("items")
    }
}

fn spec(url: &str) -> SystemSpec {
    let settings = json!({"region": "us-east-1", "base_url": url, "tables": [
        {"name": "customers", "identify": {"customer_id": "id", "email": "email", "phone": "phone"}, "fields": {"full_name": "full_name"}},
        {"name": "events", "identify": {"customer_id": "customer", "email": "emails", "phone": "phone"}},
    ]});
    SystemSpec {
        name: "store".into(),
        connector: "dynamodb".into(),
        settings: settings.as_object().cloned().expect("an object"),
        secrets: [("access_key_id".to_owned(), "id".into()), ("secret_access_key".to_owned(), "memory-canary".into())]
            .into(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    }
}

fn connect(spec: &SystemSpec) -> Arc<dyn Connector> {
    crate::registry::connect(spec).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[async_trait]
impl Target for Shop {
    async fn seed(&self, people: &[Person]) {
        for item in self.items("customers").await {
            self.ask("DeleteItem", &json!({"TableName": "customers", "Key": {"id": item["id"]}})).await;
        }
        for item in self.items("events").await {
            self.ask("DeleteItem", &json!({"TableName": "events", "Key": {"id": item["id"], "at": item["at"]}})).await;
        }
        for (i, Person { customer_id, email, phone, full_name }) in people.iter().enumerate() {
            let customer = json!({
                "id": {"S": customer_id}, "email": {"S": email}, "phone": {"S": phone}, "full_name": {"S": full_name},
            });
            self.ask("PutItem", &json!({"TableName": "customers", "Item": customer})).await;
            let event = json!({
                "id": {"S": "e"}, "at": {"N": i.to_string()}, "customer": {"S": customer_id},
                "emails": {"SS": [email]}, "phone": {"S": phone},
            });
            self.ask("PutItem", &json!({"TableName": "events", "Item": event})).await;
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        connect(&spec(&self.moto.url()))
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        let mut spec = spec(&self.moto.url());
        spec.max_matches = 1;
        Some(connect(&spec))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let mut snapshot = BTreeMap::new();
        for item in self.items("customers").await {
            *snapshot.entry(item["email"]["S"].as_str().expect("a text").to_owned()).or_default() += 1;
        }
        for item in self.items("events").await {
            *snapshot.entry(item["emails"]["SS"][0].as_str().expect("a text").to_owned()).or_default() += 1;
        }
        snapshot
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        // It takes any key.
        (how == Broken::Unreachable).then(|| connect(&spec("http://127.0.0.1:1/")))
    }

    fn correctable(&self) -> Option<&str> {
        Some("full_name")
    }

    async fn read_field(&self, email: &str, field: &str) -> Option<String> {
        let items = self.items("customers").await;
        let item = items.iter().find(|item| item["email"]["S"] == email)?;
        item[field]["S"].as_str().map(str::to_owned)
    }

    fn secrets(&self) -> Vec<String> {
        vec!["memory-canary".to_owned()]
    }
}

#[tokio::test]
async fn it_conforms() {
    conformance::run(&Shop::new().await).await;
}

/// Gives the item to somebody else at the moment at which its deletion is announced.
struct Meddler<'a>(&'a Shop);

#[async_trait]
impl Journal for Meddler<'_> {
    async fn intend(&self, _key: &str, _receipt: &Receipt) -> Result<(), Lost> {
        let mut others = everybody()[3].clone();
        others.customer_id = ann().customer_id;
        let item = json!({"id": {"S": others.customer_id}, "email": {"S": others.email}, "phone": {"S": others.phone}});
        self.0.ask("PutItem", &json!({"TableName": "customers", "Item": item})).await;
        Ok(())
    }
}

#[tokio::test]
async fn an_item_that_became_somebody_elses_is_not_deleted_and_pages_are_read_to_the_end() {
    let shop = Shop::new().await;
    shop.seed(&[ann()]).await;
    let connector = shop.connector();
    let subject = ann().subject();
    match trouble(only(connector.erase(&[work("e", &subject)], &Meddler(&shop)).await)) {
        Trouble::Retry(problem) => assert_eq!(problem.code, "item_changed"),
        other => panic!("{other:?}"),
    }
    assert_eq!(shop.items("customers").await.len(), 1);

    // A megabyte is a page.
    for i in 0..40 {
        let item = json!({"id": {"S": "big"}, "at": {"N": (100 + i).to_string()}, "filler": {"S": "x".repeat(50_000)},
            "emails": {"SS": [format!("p{i}@shop.example")]}});
        shop.ask("PutItem", &json!({"TableName": "events", "Item": item})).await;
    }
    let last = crate::conformance::subject(&[(redress_domain::IdentifierType::Email, "p39@shop.example")]);
    let erased = done(only(connector.erase(&[work("p", &last)], &MemoryJournal::default()).await));
    assert_eq!(erased.changed, 1);
}

#[tokio::test]
async fn strange_answers_are_troubles() {
    let error = |code: &str| {
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "ann@shop.example"}).to_string()
    };
    for (status, body, expected) in [
        (200, "<html>".to_owned(), "answer_unreadable"),
        (200, "{\"Table\":{\"KeySchema\":".to_owned(), "answer_unreadable"),
        (200, "{}".to_owned(), "answer_unreadable"),
        (400, error("ResourceNotFoundException"), "table_missing"),
        (400, error("AccessDeniedException"), "permission_missing"),
        (400, error("UnrecognizedClientException"), "credentials_refused"),
        (400, error("ProvisionedThroughputExceededException"), "throttled"),
        (500, error("InternalServerError"), "vendor_error"),
    ] {
        let receiver = Receiver::start().await;
        receiver.otherwise(Answer::from(status).body(body));
        let connector = connect(&spec(&receiver.url()));
        let subject = ann().subject();
        match trouble(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await)) {
            Trouble::Throttled(_) => assert_eq!(expected, "throttled"),
            Trouble::Retry(problem) | Trouble::Denied(problem) => {
                assert_eq!(problem.code, expected);
                assert!(!problem.detail.contains("ann@"));
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

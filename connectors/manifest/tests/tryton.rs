//! Tryton as it is: a real server, whose database is looked into directly.

use crate::conformance::{self, Broken, Person, Target};
use crate::{Connector, Network, SystemSpec, registry};
use async_trait::async_trait;
use redress_testkit::Tryton;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

struct Lab {
    server: Tryton,
    seeded: Mutex<Vec<Person>>,
}

impl Lab {
    async fn start() -> Self {
        Self { server: Tryton::start().await, seeded: Mutex::default() }
    }

    fn connect(url: &str, password: &str, max_matches: u64) -> Arc<dyn Connector> {
        let spec = SystemSpec {
            name: "erp".into(),
            connector: "tryton".into(),
            settings: json!({ "url": url, "database": "dsr", "username": "admin" })
                .as_object()
                .cloned()
                .expect("an object"),
            secrets: BTreeMap::from([("password".to_owned(), password.into())]),
            tables: Vec::new(),
            max_matches,
            base_dir: None,
            network: Network::default(),
        };
        registry::connect(&spec).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    async fn parties(&self) -> Vec<Value> {
        let fields = json!(["name", "code", "contact_mechanisms.value"]);
        let all = self
            .server
            .call("model.party.party.search_read", json!([[], 0, null, null, fields, { "active_test": false }]))
            .await;
        all.as_array().cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Target for Lab {
    async fn seed(&self, people: &[Person]) {
        let old: Vec<Value> = self.parties().await.iter().map(|party| party["id"].clone()).collect();
        if !old.is_empty() {
            self.server.call("model.party.party.delete", json!([old, {}])).await;
        }
        let party = |person: &Person| {
            json!({ "name": person.full_name, "code": person.customer_id, "contact_mechanisms": [["create", [
                { "type": "email", "value": person.email }, { "type": "phone", "value": person.phone }]]] })
        };
        let all: Vec<Value> = people.iter().map(party).collect();
        self.server.call("model.party.party.create", json!([all, {}])).await;
        *self.seeded.lock().expect("never held across a panic") = people.to_vec();
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Self::connect(&self.server.url(), self.server.password(), 25)
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        Some(Self::connect(&self.server.url(), self.server.password(), 1))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let parties = self.parties().await;
        let seeded = self.seeded.lock().expect("never held across a panic").clone();
        let holds = |party: &Value, email: &str| {
            party["contact_mechanisms."].as_array().into_iter().flatten().any(|m| m["value"] == email)
        };
        let count = |p: &Person| parties.iter().filter(|party| holds(party, &p.email)).count() as u64;
        seeded.iter().map(|p| (p.email.clone(), count(p))).collect()
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        match how {
            Broken::Unreachable => Some(Self::connect("http://127.0.0.1:9", self.server.password(), 25)),
            Broken::WrongPassword => Some(Self::connect(&self.server.url(), "wrong", 25)),
        }
    }

    fn correctable(&self) -> Option<&str> {
        Some("full_name")
    }

    async fn read_field(&self, email: &str, _: &str) -> Option<String> {
        let parties = self.parties().await;
        let party = parties
            .iter()
            .find(|party| party["contact_mechanisms."].as_array().into_iter().flatten().any(|m| m["value"] == email))?;
        party["name"].as_str().map(str::to_owned)
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.server.password().to_owned()]
    }
}

#[tokio::test]
async fn tryton_conforms() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    conformance::run(&Lab::start().await).await;
}

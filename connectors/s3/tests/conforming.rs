//! The connector passes the suite that every connector passes, on a server that checks signatures and on one with versions.

use super::lab::{Lab, Store, connect, objects};
use crate::Connector;
use crate::conformance::{self, Broken, Person, Target};
use async_trait::async_trait;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

struct Bucket {
    lab: Lab,
    people: Mutex<Vec<Person>>,
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "keys are case-sensitive")]
fn text(key: &str, body: Vec<u8>) -> String {
    if !key.ends_with(".gz") {
        return String::from_utf8(body).expect("UTF-8");
    }
    let mut text = String::new();
    MultiGzDecoder::new(body.as_slice()).read_to_string(&mut text).expect("it is gzip");
    text
}

fn csv(people: &[Person]) -> String {
    let row = |p: &Person| format!("{},{},{},\"{}\"\r\n", p.customer_id, p.email, p.phone, p.full_name);
    format!("id,email,phone,full_name\r\n{}", people.iter().map(row).collect::<String>())
}

fn jsonl(people: &[Person]) -> String {
    let line = |p: &Person| {
        let Person { customer_id: id, email, phone, full_name } = p;
        let line = |n| serde_json::json!({"id": id, "email": email, "phone": phone, "full_name": full_name, "n": n});
        format!("{}\n{}\n", line(1), line(2))
    };
    people.iter().map(line).collect()
}

#[async_trait]
impl Target for Bucket {
    async fn seed(&self, people: &[Person]) {
        if let Store::Memory(_) = self.lab.store {
            for (key, version, _) in self.lab.versions().await {
                self.lab.delete(&format!("{key}?versionId={version}")).await;
            }
        }
        // An old version that holds everybody too, with a row that is there no more.
        let old = csv(people).replace("full_name\r\n", "full_name\r\nC-1,old@shop.example,,Old\r\n");
        self.lab.put("people.csv", old.as_bytes()).await;
        self.lab.put("people.csv", csv(people).as_bytes()).await;
        self.lab.put("events.jsonl.gz", &zipped(&jsonl(people))).await;
        *self.people.lock().unwrap_or_else(PoisonError::into_inner) = people.to_vec();
    }

    fn connector(&self) -> Arc<dyn Connector> {
        connect(&self.lab.spec(&objects()))
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        let mut spec = self.lab.spec(&objects());
        spec.max_matches = 1;
        Some(connect(&spec))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let mut lines = BTreeSet::new();
        for (key, body) in self.lab.contents().await {
            lines.extend(text(&key, body).lines().map(|line| (key.clone(), line.to_owned())));
        }
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let theirs = |p: &Person| {
            let (cell, member) = (format!("{},{},", p.customer_id, p.email), format!("\"id\":\"{}\"", p.customer_id));
            lines.iter().filter(|(_, line)| line.starts_with(&cell) || line.contains(&member)).count() as u64
        };
        let mut snapshot = BTreeMap::new();
        for person in &people {
            *snapshot.entry(person.email.clone()).or_default() += theirs(person);
        }
        snapshot
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        let mut spec = self.lab.spec(&objects());
        match how {
            Broken::Unreachable => drop(spec.settings.insert("base_url".into(), "http://127.0.0.1:1/".into())),
            // The other one takes any key.
            Broken::WrongPassword if matches!(self.lab.store, Store::Memory(_)) => return None,
            Broken::WrongPassword => drop(spec.secrets.insert("secret_access_key".into(), "hunter2-canary".into())),
        }
        Some(connect(&spec))
    }

    fn correctable(&self) -> Option<&str> {
        Some("full_name")
    }

    async fn read_field(&self, email: &str, _field: &str) -> Option<String> {
        let text = text("people.csv", self.lab.get("people.csv").await);
        let line = text.lines().find(|line| line.split(',').nth(1) == Some(email))?;
        Some(line.splitn(4, ',').nth(3)?.trim_matches('"').to_owned())
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hunter2-canary".to_owned(), "memory-canary".to_owned()]
    }
}

#[tokio::test]
async fn it_conforms_on_a_server_that_checks_signatures() {
    conformance::run(&Bucket { lab: Lab::folder().await, people: Mutex::default() }).await;
}

#[tokio::test]
async fn it_conforms_on_a_server_with_versions() {
    conformance::run(&Bucket { lab: Lab::memory().await, people: Mutex::default() }).await;
}

//! Access, correction and deletion of one person in five systems at once, and everything that proves it.

use crate::support::{
    ApiClient, Backend, Kind, Person, Roles, Snapshot, Systems, TestApp, hex, id_of, poll, status_of,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_testkit::{Received, Receiver};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read as _};
use std::time::Duration;

#[tokio::test]
async fn all_three_rights_are_fulfilled_and_proven_on_sqlite() {
    Journey::begin(Backend::Sqlite, Roles::All).await.run().await;
}

#[tokio::test]
async fn all_three_rights_are_fulfilled_and_proven_by_one_process_on_postgres_and_redis() {
    Journey::begin(Backend::PostgresRedis, Roles::All).await.run().await;
}

#[tokio::test]
async fn all_three_rights_are_fulfilled_and_proven_by_a_fleet_on_postgres_and_redis() {
    Journey::begin(Backend::PostgresRedis, Roles::Fleet(2)).await.run().await;
}

struct Journey {
    app: TestApp,
    systems: Systems,
    receiver: Receiver,
    api: ApiClient,
    signing_key: String,
    ann: Person,
    before: Snapshot,
}

impl Journey {
    async fn begin(backend: Backend, roles: Roles) -> Self {
        let builder = TestApp::builder().backend(backend).roles(roles).env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1");
        let (app, systems, receiver) = tokio::join!(builder.start(), Systems::all(), Receiver::start());
        let ann = Person::new("ann");
        let mut people = ann.twins();
        people.extend([ann.clone(), Person::new("bob"), Person::new("zoe")]);
        systems.fill(&people).await;
        let api = app.controller(&systems.toml("acme")).await;
        let (signing_key, before) = (api.signing_key().await, systems.snapshot().await);
        assert_eq!(systems.census(&ann.email).await, 3 * 6 + 2 * 2);
        Self { app, systems, receiver, api, signing_key, ann, before }
    }

    async fn run(self) {
        // The first message is not taken; it must come again.
        self.receiver.answer([500]);
        let access = self.access().await;
        let correction = self.correction().await;
        let deletion = self.deletion().await;
        self.audit().await;
        self.webhooks(&[&access, &correction, &deletion]).await;
        for status in self.app.sigterm().await {
            assert!(status.success(), "SIGTERM ended a process with {status}:\n{}", self.app.logs());
        }
    }

    /// Nobody but Ann was touched.
    async fn assert_others_untouched(&self) {
        assert_eq!(self.systems.snapshot().await.without(&[&self.ann]), self.before.without(&[&self.ann]));
    }

    fn told(&self, mut body: Value, reference: &str) -> Value {
        body["callback_url"] = json!(self.receiver.url_of("/hooks"));
        body["reference"] = json!(reference);
        body
    }

    async fn access(&self) -> String {
        let view = self.api.fulfilled(&self.told(self.ann.access(), "TICKET-A")).await;
        let id = id_of(&view).to_owned();
        assert_eq!(view["links"]["package"], format!("/v1/requests/{id}/package"));
        assert_eq!(self.systems.snapshot().await, self.before, "reading changes nothing");
        Self::check_steps(&view, "done");

        let package = self.api.package(&id).await;
        let files = unzipped(&package);
        self.check_package(&files);
        let places = (0..16).map(|part| middle_of(&package, part * files.len() / 16)).collect();
        self.verified("package.zip", &package, "Access package: valid", places).await;
        let certificate = self.api.certificate(&id).await;
        self.verified("access.json", &certificate, "Certificate: valid", everywhere(&certificate)).await;
        let certified = self.check_certificate(&certificate, &id);
        let digest = ring::digest::digest(&ring::digest::SHA256, &package);
        assert_eq!(certified["package"]["sha256"], hex(digest.as_ref()), "the certificate names this very package");
        // Two fetches are two events.
        self.api.package(&id).await;
        let events = self.api.events(&id).await;
        assert_eq!(events.iter().filter(|event| event["kind"] == "package_fetched").count(), 2, "{events:#?}");
        id
    }

    fn check_package(&self, files: &BTreeMap<String, Vec<u8>>) {
        for (name, content) in files {
            let text = String::from_utf8_lossy(content);
            assert!(!text.contains("-twin") && !text.contains("C-bob") && !text.contains("C-zoe"), "{name}:\n{text}");
        }
        for name in ["manifest.json", "manifest.sig", "index.html", "README.txt"] {
            assert!(files.contains_key(name), "{name} is missing in {:?}", files.keys());
        }
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).expect("JSON");
        let sources = manifest["sources"].as_array().expect("a list");
        assert_eq!(sources.len(), Kind::ALL.len(), "{manifest:#}");
        for kind in Kind::ALL {
            let source =
                sources.iter().find(|source| source["system"] == kind.name()).expect("every system is a source");
            let records: Vec<Value> = files
                .iter()
                .filter(|(name, _)| {
                    name.starts_with(&format!("data/{}/", kind.name()))
                        && name.rsplit_once('.').is_some_and(|(_, end)| end == "jsonl")
                })
                .flat_map(|(_, content)| {
                    String::from_utf8_lossy(content).lines().map(str::to_owned).collect::<Vec<_>>()
                })
                .map(|line| serde_json::from_str(&line).expect("every line is JSON"))
                .collect();
            let attached: BTreeSet<&[u8]> = files
                .iter()
                .filter(|(name, _)| name.starts_with(&format!("attachments/{}/", kind.name())))
                .map(|(_, content)| content.as_slice())
                .collect();
            assert_eq!(source["found"], if kind.is_sql() { 6 } else { 2 }, "{source:#}");
            if kind.is_sql() {
                let owners: Vec<&Value> =
                    records.iter().map(|record| &record["owner"]).filter(|o| !o.is_null()).collect();
                // Of orders only the declared columns are exported, and whose they are is not among them.
                assert_eq!(owners, vec!["ann"; 4], "{records:#?}");
                assert_eq!(records.len(), 6, "{records:#?}");
                assert!(attached.is_empty());
            } else {
                let held: Vec<&str> = self
                    .before
                    .of(&self.ann)
                    .iter()
                    .filter_map(|r| r.strip_prefix(kind.name())?.strip_prefix(" message "))
                    .collect();
                let held: BTreeSet<&[u8]> = held.into_iter().map(str::as_bytes).collect();
                assert_eq!(attached, held, "the messages are there byte by byte");
            }
        }
    }

    async fn correction(&self) -> String {
        let mut body = self.told(self.ann.correction("full_name", "Anna O'Renamed; DROP TABLE customers"), "TICKET-C");
        body["corrections"].as_array_mut().expect("a list").push(json!({"field": "phone", "value": "+4930123456"}));
        let view = self.api.fulfilled(&body).await;
        let id = id_of(&view).to_owned();
        let out: BTreeSet<_> = view["out_of_scope"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|o| o["system"].as_str().unwrap_or("?"))
            .collect();
        assert_eq!(out, BTreeSet::from(["imap", "maildir"]), "{view:#}");
        for kind in Kind::SQL {
            let rows = self.systems.query(kind, "SELECT full_name, phone FROM customers WHERE owner = 'ann'").await;
            assert_eq!(rows, [["Anna O'Renamed; DROP TABLE customers", "+4930123456"]], "{}", kind.name());
        }
        self.assert_others_untouched().await;
        let certificate = self.api.certificate(&id).await;
        self.verified("correction.json", &certificate, "Certificate: valid", everywhere(&certificate)).await;
        self.check_certificate(&certificate, &id);
        // A correction has no package.
        self.api.read(&format!("/v1/requests/{id}/package")).await.problem(404);
        id
    }

    async fn deletion(&self) -> String {
        let mut body = self.told(self.ann.deletion(), "TICKET-D");
        let identifiers = body["subject"]["identifiers"].as_array_mut().expect("a list");
        identifiers.push(json!({"type": "customer_id", "value": self.ann.customer_id()}));
        let view = self.api.fulfilled(&body).await;
        let id = id_of(&view).to_owned();
        Self::check_steps(&view, "verified");
        assert_eq!(self.systems.census(&self.ann.email).await, 0);
        self.assert_others_untouched().await;
        let after = self.systems.snapshot().await;
        let left = after.of(&self.ann);
        assert_eq!(left.len(), 3 * 2, "the sales stay in the books of each database: {left:#?}");
        assert!(
            left.iter().all(|record| record.contains(" orders ") && record.contains("|-|") && record.ends_with("|-")),
            "{left:#?}"
        );
        let certificate = self.api.certificate(&id).await;
        self.verified("deletion.json", &certificate, "Certificate: valid", everywhere(&certificate)).await;
        self.check_certificate(&certificate, &id);
        // Once more: there is nothing left to find, and that is an answer too.
        let again = self.api.fulfilled(&self.ann.deletion()).await;
        assert!(
            again["steps"].as_array().is_some_and(|s| s.iter().all(|s| s["status"] == "nothing_found")),
            "{again:#}"
        );
        id
    }

    fn check_steps(view: &Value, status: &str) {
        let steps = view["steps"].as_array().expect("a list");
        assert_eq!(steps.len(), Kind::ALL.len(), "{view:#}");
        for step in steps {
            assert_eq!((&step["status"], &step["error"]), (&json!(status), &Value::Null), "{view:#}");
            let sql = Kind::SQL.iter().any(|kind| step["system"] == kind.name());
            assert_eq!(step["found"], if sql { 6 } else { 2 }, "{view:#}");
        }
        assert_eq!(view["attention"], Value::Null);
    }

    /// No personal data, and the request that it says.
    fn check_certificate(&self, document: &[u8], id: &str) -> Value {
        let mut certificate: Value = serde_json::from_slice(document).expect("JSON");
        assert_eq!(certificate["certificate"]["request"]["id"], id);
        assert_eq!(certificate["certificate"]["request"]["outcome"], "completed", "{certificate:#}");
        self.assert_impersonal(&String::from_utf8_lossy(document));
        certificate["certificate"].take()
    }

    fn assert_impersonal(&self, text: &str) {
        let lower = text.to_lowercase();
        let domain = "shop.example";
        for personal in [domain, &self.ann.name, &self.ann.phone, "C-ann", "Renamed", "4930123456", "Sample Street"] {
            assert!(!lower.contains(&personal.to_lowercase()), "{personal} is in:\n{text}");
        }
    }

    /// `redress verify` takes it, and refuses it under another key or with one byte changed at any of these places.
    async fn verified(&self, name: &str, content: &[u8], verdict: &str, places: Vec<usize>) {
        let file = self.app.file(name, content);
        let ran = self.app.cli(&["verify", &file, "--key", &self.signing_key]).await;
        assert!(ran.ok().contains(verdict), "{ran:#?}");
        let stranger = STANDARD.encode(ring_public_key());
        self.app.cli(&["verify", &file, "--key", &stranger]).await.refused(1);
        for at in places {
            let mut forged = content.to_vec();
            forged[at] ^= 1;
            let file = self.app.file(&format!("forged-{name}"), forged);
            let ran = self.app.cli(&["verify", &file, "--key", &self.signing_key]).await;
            assert_eq!(ran.code, Some(1), "{name} with another byte at {at} of {} was taken: {ran:#?}", content.len());
        }
    }

    async fn audit(&self) {
        // The controller may still be told what ended, which is an event: the log is taken when nothing came meanwhile.
        let (log, printed) = loop {
            let before = self.api.audit().await;
            let printed = self.app.cli_with(&[("REDRESS_API_KEY", &self.api.key)], &["audit"]).await;
            if before == self.api.audit().await {
                break (before, printed);
            }
        };
        let text = String::from_utf8(log).expect("UTF-8");
        self.assert_impersonal(&text);
        let file = self.app.file("audit.ndjson", &text);
        let ran = self.app.cli(&["verify", &file]).await;
        assert!(ran.ok().contains("the chain holds"), "{ran:#?}");
        assert_eq!(printed.ok(), text, "the command writes what the API does");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 20, "{text}");
        let missing = [&lines[..7], &lines[8..]].concat().join("\n") + "\n";
        let changed = text.replacen("\"completed\"", "\"withdrawn\"", 1);
        assert_ne!(changed, text);
        for forged in [missing, changed] {
            let file = self.app.file("forged.ndjson", forged);
            self.app.cli(&["verify", &file]).await.refused(1);
        }
    }

    /// Every status of these requests was told, signed as Standard Webhooks 1.0.0 has it, and told again where it was not
    /// taken at first.
    async fn webhooks(&self, ids: &[&str]) {
        let secret = self.app.cli(&["controller", "webhook-secret", "acme"]).await.ok().trim().to_owned();
        for id in ids {
            let wanted: BTreeSet<String> =
                self.api.events(id).await.iter().filter_map(status_after).map(str::to_owned).collect();
            assert!(wanted.contains("received") && wanted.contains("completed") && wanted.len() >= 4, "{wanted:?}");
            poll(&format!("{wanted:?} were told about {id}"), Duration::from_secs(30), || async {
                (told_about(&self.receiver.requests(), id) == wanted).then_some(())
            })
            .await;
        }
        let repeated = || async {
            let all = self.receiver.requests();
            all.iter().skip(1).any(|r| r.header("webhook-id") == all[0].header("webhook-id")).then_some(())
        };
        poll("the first message, which was answered 500, is sent again", Duration::from_secs(30), repeated).await;
        let mut seen = BTreeMap::new();
        for request in self.receiver.requests() {
            check_signature(&request, &secret);
            self.assert_impersonal(&request.text());
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            assert_eq!(body["type"], format!("dsr.request.{}", status_of(&body["data"])));
            assert!(body["data"]["reference"].as_str().is_some_and(|r| r.starts_with("TICKET-")), "{body}");
            let id = request.header("webhook-id").expect("a message has an id").to_owned();
            let times: &mut Vec<Value> = seen.entry(id).or_default();
            times.push(body);
        }
        assert!(
            seen.values().all(|times| times.iter().all(|body| *body == times[0])),
            "one id, two messages: {seen:#?}"
        );
        assert_eq!(
            seen.values().filter(|times| times.len() > 1).count(),
            1,
            "what was taken was sent again: {seen:#?}"
        );
    }
}

/// The status that an event leads to, if it leads to another one.
fn status_after(event: &Value) -> Option<&'static str> {
    Some(match event["kind"].as_str()? {
        "received" => "received",
        "work_began" => "in_progress",
        "verification_began" => "verifying",
        "delivery_began" => "delivering",
        "completed" => "completed",
        _ => return None,
    })
}

fn told_about(requests: &[Received], id: &str) -> BTreeSet<String> {
    let bodies = requests.iter().map(|r| serde_json::from_slice::<Value>(&r.body).expect("a webhook is JSON"));
    bodies.filter(|body| body["data"]["id"] == id).map(|body| status_of(&body["data"]).to_owned()).collect()
}

fn check_signature(request: &Received, secret: &str) {
    let header = |name| request.header(name).unwrap_or_else(|| panic!("{name} is missing in {request:?}"));
    assert_eq!((request.method.as_str(), header("content-type")), ("POST", "application/json"));
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a webhook secret")).expect("base64");
    let signed = [header("webhook-id"), ".", header("webhook-timestamp"), "."].concat().into_bytes();
    let given = header("webhook-signature").strip_prefix("v1,").expect("version 1");
    let given = STANDARD.decode(given).expect("base64");
    let verified =
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &[&signed[..], &request.body].concat(), &given);
    assert!(verified.is_ok(), "a signature that is none: {request:?}");
}

/// The public key of somebody else.
fn ring_public_key() -> Vec<u8> {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes").public_key().as_ref().to_vec()
}

/// Sixteen places all over a document.
fn everywhere(document: &[u8]) -> Vec<usize> {
    (0..16).map(|part| document.len() * (2 * part + 1) / 32).collect()
}

/// The place in the middle of what a package's n-th file holds.
fn middle_of(package: &[u8], nth: usize) -> usize {
    let mut archive = zip::ZipArchive::new(Cursor::new(package)).expect("a ZIP");
    let file = archive.by_index(nth).expect("an entry");
    let middle = file.data_start().expect("it was found") + file.compressed_size() / 2;
    usize::try_from(middle).expect("it is in memory")
}

fn unzipped(package: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(package)).expect("a ZIP");
    let mut files = BTreeMap::new();
    for i in 0..archive.len() {
        let mut file = archive.by_index(i).expect("an entry");
        let name = file.name().expect("a name in UTF-8").into_owned();
        let mut content = Vec::new();
        file.read_to_end(&mut content).expect("an entry that can be read");
        files.insert(name, content);
    }
    files
}

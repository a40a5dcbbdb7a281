//! One person in eight systems at once, real ones as far as there are: two databases, a mail server, an object store and an ERP,
//! and three simulated vendors with their habits.

use crate::support::{Kind, PATIENCE, Person, Systems, TestApp, status_of};
use redress_sandbox::connections;
use redress_sandbox::{ALL, Person as Simulated, Sandbox, Vendor};
use redress_testkit::{S3s, Tryton};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

const SIMULATED: [&str; 3] = ["hubspot", "marketo", "salesforce"];
const BUCKET: &str = "people";
const OBJECT: &str = "exports/customers.jsonl";

/// Every system, filled with the same people.
struct Eight {
    systems: Systems,
    vendors: Sandbox,
    objects: S3s,
    erp: Tryton,
}

impl Eight {
    async fn start(people: &[Person]) -> Self {
        let vendors: Vec<Vendor> = ALL.iter().filter(|vendor| SIMULATED.contains(&vendor.name)).copied().collect();
        let simulated = people.iter().map(simulated).collect();
        let (systems, vendors, objects, erp) = tokio::join!(
            Systems::of(&[Kind::Postgres, Kind::Mysql, Kind::Imap]),
            Sandbox::start(&vendors, 0, simulated),
            S3s::start(),
            Tryton::start()
        );
        let eight = Self { systems, vendors: vendors.expect("free ports"), objects, erp };
        eight.systems.fill(people).await;
        let rows = people.iter().fold(String::new(), |mut rows, p| {
            let row = json!({ "email": p.email, "name": p.name, "phone": p.phone, "spent": 12.50 });
            let _ = writeln!(rows, "{row}");
            rows
        });
        let file = eight.object();
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("our own folder");
        std::fs::write(file, rows).expect("our own folder");
        let party = |p: &Person| {
            json!({ "name": p.name, "code": p.customer_id(), "contact_mechanisms": [["create", [
                { "type": "email", "value": p.email }, { "type": "phone", "value": p.phone }]]] })
        };
        let parties: Vec<Value> = people.iter().map(party).collect();
        eight.erp.call("model.party.party.create", json!([parties, {}])).await;
        eight
    }

    fn object(&self) -> PathBuf {
        self.objects.bucket(BUCKET).join(OBJECT)
    }

    fn toml(&self) -> String {
        let mut toml = self.systems.toml("acme");
        for (name, url) in self.vendors.vendors() {
            let system = connections::system(name, name, &url);
            // There is no index here that lags.
            let at_once = if name == "salesforce" {
                system
            } else {
                system.replace("settings = { ", "settings = { verify_after_seconds = 0, ")
            };
            let _ = write!(toml, "\n{at_once}");
        }
        let _ = write!(
            toml,
            "\n[[system]]\nname = \"s3\"\nfamily = \"files\"\nconnector = \"s3\"\nsettings = {{ bucket = {BUCKET:?}, region = \"eu-central-1\", base_url = {:?}, path_style = true, objects = [{{ prefix = \"exports/\", suffix = \".jsonl\", format = \"jsonl\", identify = {{ email = \"email\" }}, fields = {{ phone = \"phone\" }} }}] }}\nsecrets = {{ access_key_id = {{ value = {:?} }}, secret_access_key = {{ value = {:?} }} }}\nallow = [\"access\", \"correction\", \"deletion\"]\n",
            self.objects.url(),
            self.objects.access_key(),
            self.objects.secret_key(),
        );
        let _ = write!(
            toml,
            "\n[[system]]\nname = \"tryton\"\nfamily = \"crm\"\nconnector = \"tryton\"\nsettings = {{ url = {:?}, database = \"dsr\", username = \"admin\" }}\nsecrets = {{ password = {{ value = {:?} }} }}\nallow = [\"access\", \"correction\", \"deletion\"]\n",
            self.erp.url(),
            self.erp.password(),
        );
        toml
    }

    /// How many records each of these people has in each system, counted in the systems themselves.
    async fn census(&self, people: &[Person]) -> BTreeMap<String, BTreeMap<String, u64>> {
        let lines = std::fs::read_to_string(self.object()).unwrap_or_default();
        let parties = self
            .erp
            .call(
                "model.party.party.search_read",
                json!([[], 0, null, null, ["contact_mechanisms.value"], { "active_test": false }]),
            )
            .await;
        let mut all = BTreeMap::new();
        for person in people {
            let mut of = BTreeMap::new();
            for kind in [Kind::Postgres, Kind::Mysql, Kind::Imap] {
                of.insert(format!("{kind:?}").to_lowercase(), self.systems.count(kind, &person.email).await);
            }
            for vendor in SIMULATED {
                of.insert(vendor.to_owned(), self.vendors.left(vendor, &person.email));
            }
            let own = |line: &&str| {
                serde_json::from_str::<Value>(line).is_ok_and(|row| row["email"] == person.email.as_str())
            };
            of.insert("s3".to_owned(), lines.lines().filter(own).count() as u64);
            let holds = |party: &&Value| {
                party["contact_mechanisms."]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|m| m["value"] == person.email.as_str())
            };
            of.insert("tryton".to_owned(), parties.as_array().into_iter().flatten().filter(holds).count() as u64);
            all.insert(person.email.clone(), of);
        }
        all
    }
}

fn simulated(person: &Person) -> Simulated {
    let (first, last) = person.name.rsplit_once(' ').unwrap_or(("", &person.name));
    Simulated {
        email: person.email.clone(),
        phone: person.phone.clone(),
        customer_id: person.customer_id(),
        first_name: first.to_owned(),
        last_name: last.to_owned(),
    }
}

fn steps(view: &Value) -> BTreeMap<&str, &Value> {
    let steps = view["steps"].as_array().expect("steps");
    steps.iter().map(|step| (step["system"].as_str().expect("a name"), step)).collect()
}

#[tokio::test]
async fn one_person_in_eight_systems_is_handed_over_corrected_deleted_and_verified_and_nobody_else_is_touched() {
    let ann = Person::new("ann");
    let people: Vec<Person> = std::iter::once(ann.clone()).chain(ann.twins().into_iter().take(3)).collect();
    let (app, eight) = tokio::join!(TestApp::builder().start(), Eight::start(&people));
    let api = app.controller(&eight.toml()).await;
    let before = eight.census(&people).await;
    for (email, of) in &before {
        assert!(of.values().all(|n| *n > 0), "{email} is not everywhere: {of:?}");
    }

    let access = api.fulfilled(&ann.access()).await;
    assert_eq!(status_of(&access), "completed", "{access:#}");
    let of = steps(&access);
    assert_eq!(of.len(), 8, "{:?}", of.keys());
    for (system, step) in &of {
        assert!(step["found"].as_u64().is_some_and(|n| n > 0), "{system} found nothing: {step:#}");
    }

    let correction = api.fulfilled(&ann.correction("phone", "+4930901820")).await;
    let of = steps(&correction);
    for system in ["postgres", "mysql", "hubspot", "marketo", "salesforce", "s3"] {
        assert_eq!(of[system]["status"], "verified", "{system}: {:#}", of[system]);
    }
    assert_eq!(status_of(&correction), "completed", "{correction:#}");
    assert!(std::fs::read_to_string(eight.object()).expect("the object").contains("+4930901820"));

    let id = api.submitted(&ann.deletion()).await;
    let deletion = api.until_view(&id, |view| !view["closed_at"].is_null(), PATIENCE * 2).await;
    assert_eq!(status_of(&deletion), "completed", "{deletion:#}");
    for (system, step) in steps(&deletion) {
        assert_eq!(step["status"], "verified", "{system}: {step:#}");
    }
    let mut expected = before.clone();
    expected.insert(ann.email.clone(), before[&ann.email].keys().map(|system| (system.clone(), 0)).collect());
    assert_eq!(eight.census(&people).await, expected, "exactly one person is gone, everywhere");
}

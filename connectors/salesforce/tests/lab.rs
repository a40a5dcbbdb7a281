//! A simulated org, and connectors to it.

use crate::conformance::{self, Broken, Target, subject};
use crate::{Connector, Done, Journal, Network, Outcome, Receipt, Secret, SystemSpec, Work};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Subject};
use redress_sandbox::vendors::{Person, salesforce as sim};
use redress_sandbox::{Served, World};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) struct Lab {
    pub(super) served: Served,
    pub(super) people: Mutex<Vec<conformance::Person>>,
    pub(super) hard: bool,
}

impl Lab {
    pub(super) async fn new(hard: bool) -> Self {
        let world = Arc::new(World::default());
        let served = Served::start((sim::VENDOR.router)(&world), world, 0).await.expect("a port");
        Self { served, people: Mutex::default(), hard }
    }

    pub(super) fn world(&self) -> &World {
        self.served.world()
    }

    pub(super) fn spec(&self) -> SystemSpec {
        let mut settings = Map::new();
        settings.insert("base_url".into(), self.served.url().into());
        settings.insert("client_id".into(), sim::CLIENT_ID.into());
        settings.insert("customer_id".into(), "Customer_Id__c".into());
        settings.insert("delete".into(), if self.hard { "hard" } else { "soft" }.into());
        SystemSpec {
            name: "crm".into(),
            connector: "salesforce".into(),
            settings,
            secrets: BTreeMap::from([("client_secret".to_owned(), Secret::from(sim::CLIENT_SECRET))]),
            tables: Vec::new(),
            max_matches: 25,
            base_dir: None,
            network: Network::default(),
        }
    }

    /// A connector with these settings beside the usual ones.
    pub(super) fn with(&self, more: &Value) -> Arc<dyn Connector> {
        let mut spec = self.spec();
        spec.settings.extend(more.as_object().cloned().unwrap_or_default());
        connected(&spec)
    }

    pub(super) fn connector(&self) -> Arc<dyn Connector> {
        connected(&self.spec())
    }

    pub(super) fn seed(&self, person: &conformance::Person) {
        (sim::VENDOR.seed)(self.world(), &as_seeded(person));
    }

    pub(super) fn count(&self, email: &str) -> u64 {
        (sim::VENDOR.count)(self.world(), email)
    }

    /// The id of the only contact with this address, as it was stored.
    pub(super) fn contact(&self, email: &str) -> Option<String> {
        let all = self.world().all("Contact");
        all.into_iter().find(|(_, record)| record.get("Email").and_then(Value::as_str) == Some(email)).map(|(id, _)| id)
    }
}

pub(super) fn connected(spec: &SystemSpec) -> Arc<dyn Connector> {
    crate::registry::connect(spec).unwrap_or_else(|faults| panic!("{faults:?}"))
}

pub(super) fn by_email(email: &str) -> Subject {
    subject(&[(IdentifierType::Email, email)])
}

fn as_seeded(person: &conformance::Person) -> Person {
    let (first_name, last_name) = person.full_name.split_once(' ').expect("two names");
    Person {
        email: person.email.clone(),
        phone: person.phone.clone(),
        customer_id: person.customer_id.clone(),
        first_name: first_name.into(),
        last_name: last_name.into(),
    }
}

/// Erases, and follows what was accepted until it is done.
pub(super) async fn erase_to_the_end(
    lab: &Lab,
    connector: &Arc<dyn Connector>,
    batch: &[Work<'_>],
    journal: &dyn Journal,
) -> Vec<Outcome> {
    let mut answers: Vec<Option<Outcome>> = vec![None; batch.len()];
    let mut receipts: Vec<Option<Receipt>> = batch.iter().map(|work| work.prior.cloned()).collect();
    for _ in 0..20 {
        let open: Vec<usize> = (0..batch.len()).filter(|nth| answers[*nth].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let again: Vec<Work<'_>> = open
            .iter()
            .map(|nth| Work {
                prior: receipts[*nth].as_ref(),
                corrections: &[],
                key: batch[*nth].key,
                subject: batch[*nth].subject,
            })
            .collect();
        let outcomes = connector.erase(&again, journal).await;
        drop(again);
        for (nth, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Accepted { receipt, .. } => receipts[nth] = Some(receipt),
                other => answers[nth] = Some(other),
            }
        }
        lab.world().travel(Duration::from_secs(30));
    }
    answers.into_iter().map(|answer| answer.expect("the jobs come to an end")).collect()
}

pub(super) async fn erased(lab: &Lab, connector: &Arc<dyn Connector>, subject: &Subject) -> Done {
    let journal = conformance::MemoryJournal::default();
    let outcomes = erase_to_the_end(lab, connector, &[conformance::work("e", subject)], &journal).await;
    conformance::done(conformance::only(outcomes))
}

#[async_trait]
impl Target for Lab {
    async fn seed(&self, people: &[conformance::Person]) {
        self.world().clear();
        for person in people {
            Lab::seed(self, person);
        }
        *self.people.lock().expect("no panic") = people.to_vec();
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Lab::connector(self)
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        let mut spec = self.spec();
        spec.max_matches = 1;
        Some(connected(&spec))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let people = self.people.lock().expect("no panic").clone();
        people.iter().map(|person| (person.email.clone(), self.count(&person.email))).collect()
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        let mut spec = self.spec();
        match how {
            Broken::Unreachable => {
                spec.settings.insert("base_url".into(), json!("http://127.0.0.1:9"));
            }
            Broken::WrongPassword => {
                spec.secrets.insert("client_secret".into(), Secret::from("not-the-secret"));
            }
        }
        Some(connected(&spec))
    }

    fn correctable(&self) -> Option<&str> {
        Some("last_name")
    }

    async fn read_field(&self, email: &str, _field: &str) -> Option<String> {
        let id = self.contact(email)?;
        Some(self.world().get("Contact", &id)?.get("LastName")?.as_str()?.to_owned())
    }

    fn known_as(&self, person: &conformance::Person, kind: IdentifierType) -> Option<String> {
        (kind == IdentifierType::CrmId).then(|| self.contact(&person.email)).flatten()
    }

    async fn let_time_pass(&self) {
        self.world().travel(Duration::from_secs(30));
    }

    fn secrets(&self) -> Vec<String> {
        vec![sim::CLIENT_SECRET.to_owned()]
    }
}

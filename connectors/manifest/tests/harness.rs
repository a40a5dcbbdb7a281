//! A simulated vendor as the system under test: served on a free port, seeded and looked into through its side door.

use crate::conformance::{self, Broken, Target};
use crate::{Connector, Network, SystemSpec, registry};
use async_trait::async_trait;
use redress_domain::IdentifierType;
use redress_sandbox::{ALL, Hit, Served, Vendor, World};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

/// How a vendor knows a person by an identifier that is its own.
type KnownAs = fn(&World, &conformance::Person, IdentifierType) -> Option<String>;

/// A field that a correction may change, and where the simulator keeps it.
struct Field {
    name: &'static str,
    collection: &'static str,
    email: &'static str,
    value: &'static str,
}

/// A simulated vendor, and how its connector is configured.
pub(crate) struct ManifestTarget {
    vendor: Vendor,
    served: Served,
    settings: Map<String, Value>,
    secrets: BTreeMap<String, String>,
    tables: Vec<crate::TableSpec>,
    urls: Vec<&'static str>,
    field: Option<Field>,
    known_as: KnownAs,
    one_per_address: bool,
    blind: Option<&'static str>,
    hands_over_more: Option<&'static str>,
    cannot_carry: Option<&'static str>,
    searches_in_part: Option<&'static str>,
    seeded: Mutex<Vec<conformance::Person>>,
}

impl ManifestTarget {
    /// Serves a vendor. Its connector is told the simulator's address as `base_url`.
    pub(crate) async fn serve(name: &str) -> Self {
        let vendor = *ALL.iter().find(|vendor| vendor.name == name).expect("a vendor of the sandbox");
        let world = Arc::new(World::default());
        let served = Served::start((vendor.router)(&world), world, 0).await.expect("a free port");
        Self {
            vendor,
            served,
            settings: Map::new(),
            secrets: BTreeMap::new(),
            tables: Vec::new(),
            urls: vec!["base_url"],
            field: None,
            known_as: |_, _, _| None,
            one_per_address: false,
            blind: None,
            hands_over_more: None,
            cannot_carry: None,
            searches_in_part: None,
            seeded: Mutex::default(),
        }
    }

    /// With a setting.
    pub(crate) fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// With a secret.
    pub(crate) fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.into(), value.into());
        self
    }

    /// With declared tables.
    pub(crate) fn tables(mut self, tables: Vec<crate::TableSpec>) -> Self {
        self.tables = tables;
        self
    }

    /// With a further host (`NAME_url`) that the simulator serves too.
    pub(crate) fn host(mut self, setting: &'static str) -> Self {
        self.urls.push(setting);
        self
    }

    /// With a field that can be corrected; `email` and `value` are pointers into records of `collection`.
    pub(crate) fn correcting(
        mut self,
        name: &'static str,
        collection: &'static str,
        email: &'static str,
        value: &'static str,
    ) -> Self {
        self.field = Some(Field { name, collection, email, value });
        self
    }

    /// Where the vendor gives ids of its own: what a person's is.
    pub(crate) fn known_as(mut self, known_as: KnownAs) -> Self {
        self.known_as = known_as;
        self
    }

    /// Where the vendor keeps one record for an address: then more matches than allowed cannot be had.
    pub(crate) fn one_per_address(mut self) -> Self {
        self.one_per_address = true;
        self
    }

    /// Where orders are given about people of whom the vendor does not say whether it knows them: why.
    pub(crate) fn blind(mut self, why: &'static str) -> Self {
        self.blind = Some(why);
        self
    }

    /// Where more is handed over than is counted: why.
    pub(crate) fn hands_over_more(mut self, why: &'static str) -> Self {
        self.hands_over_more = Some(why);
        self
    }

    /// Where the vendor's query cannot carry every identifier: why.
    pub(crate) fn cannot_carry(mut self, why: &'static str) -> Self {
        self.cannot_carry = Some(why);
        self
    }

    /// Where part of what the vendor holds cannot be searched by every type of identifier: why.
    pub(crate) fn searches_in_part(mut self, why: &'static str) -> Self {
        self.searches_in_part = Some(why);
        self
    }

    /// What the simulator holds.
    pub(crate) fn world(&self) -> &Arc<World> {
        self.served.world()
    }

    /// The simulator's address.
    pub(crate) fn url(&self) -> String {
        self.served.url()
    }

    /// Puts one person in, as the vendor would hold them.
    pub(crate) fn put(&self, person: &conformance::Person) {
        (self.vendor.seed)(self.world(), &in_sandbox(person));
    }

    /// How many records are left of the person with this address.
    pub(crate) fn left(&self, email: &str) -> u64 {
        (self.vendor.count)(self.world(), email)
    }

    /// The calls so far of this method whose path contains `part`.
    pub(crate) fn calls(&self, method: &str, part: &str) -> Vec<Hit> {
        self.world().hits().into_iter().filter(|hit| hit.method == method && hit.path.contains(part)).collect()
    }

    /// A connector to it.
    pub(crate) fn connector(&self) -> Arc<dyn Connector> {
        self.connect(&self.url(), 25)
    }

    /// What the connector is made of.
    pub(crate) fn spec(&self, url: &str, max_matches: u64) -> SystemSpec {
        let mut settings = self.settings.clone();
        for name in &self.urls {
            settings.insert((*name).into(), json!(url));
        }
        SystemSpec {
            name: format!("{}-under-test", self.vendor.name),
            connector: self.vendor.name.into(),
            settings,
            secrets: self.secrets.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect(),
            tables: self.tables.clone(),
            max_matches,
            base_dir: None,
            network: Network::default(),
        }
    }

    fn connect(&self, url: &str, max_matches: u64) -> Arc<dyn Connector> {
        registry::connect(&self.spec(url, max_matches)).unwrap_or_else(|faults| panic!("{faults:?}"))
    }
}

fn in_sandbox(person: &conformance::Person) -> redress_sandbox::Person {
    let (first_name, last_name) = person.full_name.rsplit_once(' ').unwrap_or(("", &person.full_name));
    redress_sandbox::Person {
        email: person.email.clone(),
        phone: person.phone.clone(),
        customer_id: person.customer_id.clone(),
        first_name: first_name.into(),
        last_name: last_name.into(),
    }
}

/// An address at which nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

#[async_trait]
impl Target for ManifestTarget {
    async fn seed(&self, people: &[conformance::Person]) {
        self.world().clear();
        self.world().revoke(false);
        for person in people {
            self.put(person);
        }
        *self.seeded.lock().expect("never held across a panic") = people.to_vec();
    }

    fn connector(&self) -> Arc<dyn Connector> {
        ManifestTarget::connector(self)
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        (!self.one_per_address).then(|| self.connect(&self.url(), 1))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let seeded = self.seeded.lock().expect("never held across a panic").clone();
        seeded.into_iter().map(|person| (self.left(&person.email), person.email)).map(|(n, e)| (e, n)).collect()
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        match how {
            Broken::Unreachable => Some(self.connect(&nowhere(), 25)),
            Broken::WrongPassword => {
                self.world().revoke(true);
                Some(self.connector())
            }
        }
    }

    fn correctable(&self) -> Option<&str> {
        self.field.as_ref().map(|field| field.name)
    }

    async fn read_field(&self, email: &str, field: &str) -> Option<String> {
        let known = self.field.as_ref().filter(|known| known.name == field)?;
        let records = self.world().all(known.collection);
        let mut records = records.into_iter().map(|(_, record)| Value::Object(record));
        let record = records.find(|record| record.pointer(known.email).and_then(Value::as_str) == Some(email))?;
        Some(record.pointer(known.value)?.as_str()?.to_owned())
    }

    fn known_as(&self, person: &conformance::Person, kind: IdentifierType) -> Option<String> {
        (self.known_as)(self.world(), person, kind)
    }

    fn blind(&self) -> Option<&'static str> {
        self.blind
    }

    fn hands_over_more(&self) -> Option<&'static str> {
        self.hands_over_more
    }

    fn cannot_carry(&self) -> Option<&'static str> {
        self.cannot_carry
    }

    fn searches_in_part(&self) -> Option<&'static str> {
        self.searches_in_part
    }

    async fn let_time_pass(&self) {
        self.world().travel(std::time::Duration::from_hours(24));
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.values().cloned().collect()
    }
}

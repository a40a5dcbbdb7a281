//! What every connector to a mail service is tested with: a simulator as the system under test, and answers that are wrong.

use super::*;
use crate::conformance::{self, Broken, MemoryJournal, MemorySink, Person, Target, done, only, subject, work};
use crate::{Network, SystemSpec, registry};
use redress_domain::{IdentifierType, Subject};
use redress_sandbox::{Fault, Served, Vendor, World};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

/// A simulated service, and how its connector is configured for a base URL.
pub(crate) struct Simulated {
    pub(crate) served: Served,
    vendor: Vendor,
    settings: fn(&str) -> Value,
    secrets: &'static [(&'static str, &'static str)],
    cannot_carry: Option<&'static str>,
    seeded: Mutex<Vec<Person>>,
}

impl Simulated {
    pub(crate) async fn serve(
        vendor: Vendor,
        settings: fn(&str) -> Value,
        secrets: &'static [(&'static str, &'static str)],
    ) -> Self {
        let world = Arc::new(World::default());
        let served = Served::start((vendor.router)(&world), world, 0).await.expect("a free port");
        Self { served, vendor, settings, secrets, cannot_carry: None, seeded: Mutex::default() }
    }

    /// Where the service's search cannot carry every address: why.
    pub(crate) fn cannot_carry(mut self, why: &'static str) -> Self {
        self.cannot_carry = Some(why);
        self
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        self.served.world()
    }

    pub(crate) fn spec(&self, url: &str, more: &Value) -> SystemSpec {
        let mut settings = (self.settings)(url);
        settings.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        SystemSpec {
            name: "mail".into(),
            connector: self.vendor.name.into(),
            settings: settings.as_object().cloned().unwrap_or_default(),
            secrets: self.secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
            tables: Vec::new(),
            max_matches: 25,
            base_dir: None,
            network: Network::default(),
        }
    }

    pub(crate) fn with(&self, more: &Value) -> Arc<dyn Connector> {
        registry::connect(&self.spec(&self.served.url(), more)).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    pub(crate) fn put(&self, person: &Person) {
        let (first_name, last_name) = person.full_name.rsplit_once(' ').unwrap_or(("", &person.full_name));
        let person = redress_sandbox::vendors::Person {
            email: person.email.clone(),
            phone: person.phone.clone(),
            customer_id: person.customer_id.clone(),
            first_name: first_name.into(),
            last_name: last_name.into(),
        };
        (self.vendor.seed)(self.world(), &person);
    }

    pub(crate) fn left(&self, email: &str) -> u64 {
        (self.vendor.count)(self.world(), email)
    }

    /// The calls so far of this method whose path contains `part`.
    pub(crate) fn calls(&self, method: &str, part: &str) -> usize {
        self.world().hits().iter().filter(|hit| hit.method == method && hit.path.contains(part)).count()
    }
}

#[async_trait]
impl Target for Simulated {
    async fn seed(&self, people: &[Person]) {
        self.world().clear();
        self.world().revoke(false);
        for person in people {
            self.put(person);
        }
        *self.seeded.lock().expect("ours") = people.to_vec();
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.with(&json!({}))
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        Some(self.with(&json!({ "max_messages": 1 })))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let seeded = self.seeded.lock().expect("ours").clone();
        seeded.into_iter().map(|person| (person.email.clone(), self.left(&person.email))).collect()
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        match how {
            Broken::Unreachable => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
                let nowhere = format!("http://{}", listener.local_addr().expect("bound"));
                drop(listener);
                Some(registry::connect(&self.spec(&nowhere, &json!({}))).expect("valid"))
            }
            Broken::WrongPassword => {
                self.world().revoke(true);
                Some(self.connector())
            }
        }
    }

    fn cannot_carry(&self) -> Option<&'static str> {
        self.cannot_carry
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.iter().map(|(_, value)| (*value).to_owned()).collect()
    }
}

pub(crate) fn ann() -> Subject {
    subject(&[(IdentifierType::Email, "ann@shop.example")])
}

pub(crate) fn code(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Retry(problem) | Trouble::Denied(problem) | Trouble::Ambiguous { problem, .. } => problem.code,
        other => panic!("{other:?}"),
    }
}

/// What reading verbs, deletion and verification say about Ann.
async fn said(connector: &Arc<dyn Connector>) -> Vec<Trouble> {
    let (ann, sink) = (ann(), MemorySink::default());
    let verdict = only(connector.verify(Verb::Erase, &[work("v", &ann)]).await);
    let outcomes = [
        only(connector.discover(&[work("d", &ann)]).await),
        only(connector.export(&[work("x", &ann)], &sink).await),
        only(connector.erase(&[work("e", &ann)], &MemoryJournal::default()).await),
    ];
    let trouble = |outcome| match outcome {
        Outcome::Trouble(trouble) => trouble,
        other => panic!("a wrong answer was believed: {other:?}"),
    };
    let mut all: Vec<Trouble> = outcomes.into_iter().map(trouble).collect();
    match verdict {
        Verdict::Trouble(trouble) => all.push(trouble),
        other => panic!("a wrong answer was believed: {other:?}"),
    }
    all
}

/// Asserts that no wrong answer of the service is taken for "nothing found" or "deleted". `reading` and `removing` are
/// parts of the paths at which people are looked for and messages are removed, the latter after so many calls that read.
pub(crate) async fn assert_no_wrong_answer_is_believed(target: &Simulated, reading: &str, removing: (&str, usize)) {
    let (removing, before) = removing;
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let status = |status, body: &str, wait: Option<&str>| Fault::Status(status, body.into(), wait.map(Into::into));
    let faults = [
        Fault::Html,
        Fault::Truncated,
        Fault::Endless(40 << 20),
        status(200, "{}", None),
        status(200, "[]", None),
        status(200, "null", None),
        status(200, "", None),
        status(200, "\u{fffd}{", None),
        status(200, &deep, None),
        status(204, "", None),
        status(302, "", None),
        status(404, "<html>not here</html>", None),
        status(401, "{}", None),
        status(403, "{}", None),
        status(500, "{}", None),
        status(503, "", Some("120")),
    ];
    target.seed(&[conformance::ann(), conformance::bea()]).await;
    for fault in faults {
        for _ in 0..100 {
            target.world().fault(fault.clone(), Some(reading));
        }
        let connector = target.connector();
        for trouble in said(&connector).await {
            assert!(!matches!(trouble, Trouble::Lost | Trouble::Held(_)), "{fault:?}: {trouble:?}");
        }
        target.seed(&[conformance::ann(), conformance::bea()]).await;
        assert_eq!(target.left("ann@shop.example"), 3);
    }
    for wait in ["0", "-1", "10000000000", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "1e400", "\u{7f}"] {
        target.seed(&[conformance::ann()]).await;
        for _ in 0..100 {
            target.world().fault(status(429, "{\"error\":{\"code\":429}}", Some(wait)), Some(reading));
        }
        for trouble in said(&target.connector()).await {
            let Trouble::Throttled(wait_for) = trouble else { panic!("{wait}: {trouble:?}") };
            assert!(wait_for <= Duration::from_hours(24) && wait_for > Duration::ZERO, "{wait}: {wait_for:?}");
        }
    }
    // The effect happened and its answer was lost: the next run tells what is true.
    target.seed(&[conformance::ann(), conformance::bea()]).await;
    (0..before).for_each(|_| target.world().fault(Fault::Slow(Duration::ZERO), Some(removing)));
    target.world().fault(Fault::EffectThen500, Some(removing));
    let (connector, journal, subject) = (target.connector(), MemoryJournal::default(), ann());
    let first = only(connector.erase(&[work("e", &subject)], &journal).await);
    assert!(matches!(first, Outcome::Trouble(Trouble::Retry(_))), "{first:?}");
    let prior = journal.announced("e").expect("announced");
    let item = Work { prior: Some(&prior), ..work("e", &subject) };
    let second = done(only(connector.erase(&[item], &MemoryJournal::default()).await));
    assert_eq!((second.found, second.changed), (3, 3));
    assert_eq!((target.left("ann@shop.example"), target.left("Bea.Stern@Shop.Example")), (0, 3));
}

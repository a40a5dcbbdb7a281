//! Facts about the bench connector, against the bench server.

use super::server::LimitedServer;
use crate::conformance::{MemoryJournal, MemorySink, subject, work};
use crate::{Connector, Outcome, SystemSpec, Told, Trouble, Verdict, registry};
use redress_domain::limits::Feedback;
use redress_domain::{IdentifierType, Verb};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn connector(port: u16) -> Arc<dyn Connector> {
    let settings = json!({ "host": "127.0.0.1", "port": port });
    let spec = SystemSpec {
        name: "bench".into(),
        connector: "bench".into(),
        settings: settings.as_object().expect("an object").clone(),
        secrets: BTreeMap::new(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: crate::Network::default(),
    };
    registry::connect(&spec).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[derive(Default)]
struct Heard(Mutex<Vec<Feedback>>);

impl Told for Heard {
    fn told(&self, feedback: Feedback) {
        self.0.lock().expect("not poisoned").push(feedback);
    }
}

#[tokio::test]
async fn three_hundred_deletions_are_one_call_and_a_repeated_one_deletes_nothing_again() {
    let server = LimitedServer::start(&[(3, Duration::from_mins(1))], Duration::ZERO).await.expect("started");
    let connector = connector(server.port());
    connector.check().await.expect("it answers");
    let people: Vec<_> = (0..300).map(|n| subject(&[(IdentifierType::Email, &format!("p{n}@example.com"))])).collect();
    let keys: Vec<String> = (0..300).map(|n| format!("stp_{n}")).collect();
    let batch: Vec<_> = keys.iter().zip(&people).map(|(key, person)| work(key, person)).collect();
    let journal = MemoryJournal::default();
    for _ in 0..2 {
        let outcomes = connector.erase(&batch, &journal).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(done) if done.changed == 1)));
    }
    let verdicts = connector.verify(Verb::Erase, &batch).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Confirmed(_))));
    let seen = server.seen();
    assert_eq!((seen.deleted.len(), seen.calls.len(), seen.excess), (300, 3, 0));
}

#[tokio::test]
async fn too_many_calls_are_told_and_wait_as_long_as_the_server_says() {
    let server = LimitedServer::start(&[(1, Duration::from_mins(1))], Duration::ZERO).await.expect("started");
    let connector = connector(server.port());
    let heard = Arc::new(Heard::default());
    connector.listen(heard.clone());
    let person = subject(&[(IdentifierType::Email, "ann@example.com")]);
    let batch = [work("stp_1", &person)];
    let sink = MemorySink::default();
    assert!(matches!(connector.export(&batch, &sink).await[..], [Outcome::Done(_)]));
    let [Outcome::Trouble(Trouble::Throttled(wait))] = &connector.export(&batch, &sink).await[..] else {
        panic!("throttled")
    };
    assert!(*wait > Duration::from_secs(50) && *wait <= Duration::from_mins(1));
    assert_eq!(heard.0.lock().expect("not poisoned").len(), 1);
    assert_eq!(server.seen().excess, 1);
}

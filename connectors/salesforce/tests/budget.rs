//! An org's calls of a day are few, and others need them too.

use super::lab::{Lab, erase_to_the_end};
use crate::conformance::{MemoryJournal, Person, confirmed, done, work};
use crate::{Feedback, Outcome, Told, Trouble};
use redress_domain::{IdentifierType, Subject, Verb};
use redress_sandbox::Allowance;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The smallest day of an org that may use the interface, and the part of it that is ours.
const DAY: u64 = 5_000;
const OURS: u64 = 2_500;

fn customer(n: u32) -> Person {
    Person::new(
        &format!("C-{n:05}"),
        &format!("customer.{n}@shop.example"),
        &format!("+4915{:09}", 110_000_000 + n),
        &format!("Cora{n} Kundin"),
    )
}

async fn three_thousand(hard: bool) -> u64 {
    let lab = Lab::new(hard).await;
    let people: Vec<Person> = (0..3_000).map(customer).collect();
    let bystander = customer(9_999);
    lab.seed(&bystander);
    lab.world().allow(Allowance { budget: Some(DAY), ..Allowance::default() });
    let (connector, journal) = (lab.connector(), MemoryJournal::default());
    for part in people.chunks(connector.manifest().batch) {
        // The simulator has no index: it is given the people when it is their turn, and empties its bin behind them.
        for person in part {
            lab.seed(person);
        }
        let subjects: Vec<Subject> = part.iter().map(Person::subject).collect();
        let keys: Vec<String> = (0..part.len()).map(|n| format!("k{n}")).collect();
        let batch: Vec<_> = keys.iter().zip(&subjects).map(|(key, subject)| work(key, subject)).collect();
        for outcome in erase_to_the_end(&lab, &connector, &batch, &journal).await {
            let done = done(outcome);
            assert_eq!((done.found, done.changed), (4, 4));
        }
        for verdict in connector.verify(Verb::Erase, &batch).await {
            confirmed(verdict);
        }
        for person in part {
            assert_eq!(lab.count(&person.email), 0);
        }
        lab.world().travel(Duration::from_hours(384));
    }
    assert_eq!(lab.count(&bystander.email), 4, "somebody else was touched");
    let hits = lab.world().hits();
    let refused: Vec<_> = hits.iter().filter(|hit| hit.status >= 400).map(|hit| (&hit.path, hit.status)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(lab.world().spent() <= OURS, "{} calls", lab.world().spent());
    lab.world().spent()
}

/// 12,000 records of 3,000 people, found, deleted and verified.
#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_people_fit_into_half_of_the_smallest_day() {
    let calls = three_thousand(false).await;
    println!("3,000 people into the recycle bin: {calls} calls");
    assert!(calls <= 700, "{calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_people_fit_into_half_of_the_smallest_day_when_they_are_removed_for_good() {
    let calls = three_thousand(true).await;
    println!("3,000 people for good: {calls} calls");
    assert!(calls <= 1_400, "{calls} calls");
}

#[derive(Default)]
struct Ear(Mutex<Vec<Feedback>>);

impl Told for Ear {
    fn told(&self, feedback: Feedback) {
        self.0.lock().expect("no panic").push(feedback);
    }
}

#[tokio::test]
async fn nothing_is_sent_once_the_share_of_the_day_is_used_and_the_fleet_is_told() {
    let lab = Lab::new(false).await;
    let person = customer(1);
    lab.seed(&person);
    lab.world().allow(Allowance { budget: Some(20), ..Allowance::default() });
    let connector = lab.with(&serde_json::json!({"daily_share": 0.25}));
    let ear = Arc::new(Ear::default());
    connector.listen(Arc::clone(&ear) as Arc<dyn Told>);
    let subject = person.subject_by(IdentifierType::Email);
    let outcomes = connector.discover(&[work("d", &subject)]).await;
    assert!(matches!(outcomes[0], Outcome::Trouble(Trouble::Throttled(wait)) if wait.as_secs() > 60), "{outcomes:?}");
    assert_eq!(lab.world().spent(), 5, "a quarter of the day and no more");
    let again = connector.discover(&[work("d", &subject)]).await;
    assert!(matches!(again[0], Outcome::Trouble(Trouble::Throttled(_))));
    assert_eq!(lab.world().spent(), 5, "it was not even asked");
    let last = ear.0.lock().expect("no panic").last().copied().expect("the fleet was told");
    assert_eq!(last.left.map(|(left, _)| left), Some(0));
}

#[tokio::test]
async fn a_spent_day_is_waited_for_and_costs_no_attempt() {
    let lab = Lab::new(false).await;
    lab.world().allow(Allowance { budget: Some(0), ..Allowance::default() });
    let subject = customer(1).subject();
    let outcomes = lab.connector().discover(&[work("d", &subject)]).await;
    assert!(matches!(outcomes[0], Outcome::Trouble(Trouble::Throttled(wait)) if wait.as_secs() >= 600), "{outcomes:?}");
}

//! Whatever an identifier is made of, it is one literal of the statement that is sent, and reaches nobody else.

use super::lab::Lab;
use crate::conformance::{ann, bea, everybody, near_twins, nothing_found, only, subject, work};
use redress_domain::{Identifier, IdentifierType, Subject};
use redress_sandbox::vendors::salesforce::soql_literals;
use std::collections::BTreeMap;

/// A small generator of random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| pieces[self.below(pieces.len())]).collect()
    }
}

/// The statements that were sent, decoded by a parser that is not the connector's.
fn statements(lab: &Lab) -> Vec<String> {
    let queries = lab.world().hits().into_iter().filter(|hit| hit.path.ends_with("/queryAll"));
    queries
        .filter_map(|hit| {
            url::form_urlencoded::parse(hit.query.as_bytes()).find(|(key, _)| key == "q").map(|(_, q)| q.into_owned())
        })
        .collect()
}

const HOSTILE: &[&str] = &[
    "'",
    "\\",
    "\"",
    "\\'",
    "''",
    "%",
    "_",
    "*",
    ",",
    ")",
    "(",
    " OR ",
    " Name != ",
    "--",
    "/*",
    "a",
    "Z",
    "9",
    "@",
    "é",
    "𝒜",
    "n",
    "\\n",
    "{",
    "}",
    "${7*7}",
    "&",
    "=",
    "+",
    "#",
    "?",
    ";",
    "a%2f..%2fb",
    "x' OR CreatedDate > 1999-01-01T00:00:00Z OR Name='",
    "' OR Name != '",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_identifier_is_exactly_one_literal_and_reaches_nobody() {
    let lab = Lab::new(false).await;
    for person in &everybody() {
        lab.seed(person);
    }
    let connector = lab.connector();
    let mut dice = Dice(2_026);
    for _ in 0..60 {
        let mut subjects: Vec<Subject> = Vec::new();
        while subjects.len() < 20 {
            let (kind, text) = match dice.below(2) {
                0 => (IdentifierType::CustomerId, dice.text(HOSTILE, 6)),
                _ => (
                    IdentifierType::Email,
                    format!(
                        "{}@shop.example",
                        dice.text(
                            &["a", "'", "o'b", "+", "%", "_", "{", "}", "*", "&", "=", "\"x y\"", "`", "#", "~", "n"],
                            5
                        )
                    ),
                ),
            };
            if let Ok(identifier) = Identifier::parse(kind, &text, Some("DE"))
                && !everybody().iter().any(|person| {
                    identifier.is_same_as(&person.email, None) || identifier.is_same_as(&person.customer_id, None)
                })
            {
                subjects.push(Subject { identifiers: vec![identifier], region: Some("DE".into()) });
            }
        }
        let sent = statements(&lab).len();
        let keys: Vec<String> = (0..subjects.len()).map(|n| n.to_string()).collect();
        let batch: Vec<_> = keys.iter().zip(&subjects).map(|(key, subject)| work(key, subject)).collect();
        for outcome in connector.discover(&batch).await {
            if let crate::Outcome::Done(done) = &outcome {
                // Leads have no customer id here; nothing may have been found for all that.
                assert_eq!(done.found, 0, "{outcome:?}");
            } else {
                nothing_found(outcome);
            }
        }
        let mut counted: BTreeMap<(String, String), usize> = BTreeMap::new();
        for statement in &statements(&lab)[sent..] {
            let object =
                statement.split(" FROM ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an object").to_owned();
            for literal in soql_literals(statement).unwrap_or_else(|refused| panic!("{statement}: {refused:?}")) {
                *counted.entry((object.clone(), literal)).or_default() += 1;
            }
        }
        let mut expected: BTreeMap<(String, String), usize> = BTreeMap::new();
        for subject in &subjects {
            let identifier = &subject.identifiers[0];
            let normal = identifier.normal().expose().clone();
            for object in ["Contact", "Lead", "Account"] {
                expected.insert((object.to_owned(), normal.clone()), 1);
            }
        }
        assert_eq!(counted, expected, "the literals that were sent are the identifiers, each once");
    }
}

#[tokio::test]
async fn what_breaks_out_of_naive_quotes_stays_inside() {
    let lab = Lab::new(false).await;
    for person in &everybody() {
        lab.seed(person);
    }
    for hostile in [
        "' OR Name != '",
        "x' OR CreatedDate > 1999-01-01T00:00:00Z OR Name='",
        "ann\\",
        "\\' OR Name != \\'",
        "%",
        "C-100%",
    ] {
        // Spliced, it would reach somebody or break the statement: the simulator's SOQL is a real one.
        let spliced = format!("SELECT Id FROM Contact WHERE Customer_Id__c = '{hostile}'");
        let intact = soql_literals(&spliced).is_ok_and(|literals| literals == [hostile]);
        assert!(!intact || hostile.contains('%'), "{hostile} would not show");
        let subject = subject(&[(IdentifierType::CustomerId, hostile)]);
        nothing_found(only(lab.connector().discover(&[work("d", &subject)]).await));
    }
    assert!(lab.world().hits().iter().all(|hit| hit.status < 400));
    for person in near_twins().iter().chain([&ann(), &bea()]) {
        assert_eq!(lab.count(&person.email), 4);
    }
}

#[tokio::test]
async fn a_batch_is_cut_so_that_each_statement_fits_into_an_address() {
    let lab = Lab::new(false).await;
    let long = "x".repeat(50);
    let subjects: Vec<Subject> = (0..200)
        .map(|n| {
            let email = format!("{long}.{n}@{long}.example");
            subject(&[
                (IdentifierType::Email, &email),
                (IdentifierType::Phone, &format!("+49151{:08}", 10_000_000 + n)),
                (IdentifierType::CustomerId, &format!("{long}-{n}")),
            ])
        })
        .collect();
    let batch: Vec<_> = subjects.iter().map(|subject| work("d", subject)).collect();
    let connector = lab.connector();
    for outcome in connector.discover(&batch).await {
        nothing_found(outcome);
    }
    let hits = lab.world().hits();
    assert!(hits.iter().all(|hit| hit.status < 400 && hit.query.len() < 16_000));
    assert!(statements(&lab).len() > 3);
}

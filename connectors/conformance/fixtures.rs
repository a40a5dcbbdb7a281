//! People, one of them surrounded by near-twins, and the recording counterparts a connector talks to.

use crate::{Connector, Done, Evidence, ExportSink, Journal, Lost, Outcome, Problem, Receipt, Trouble, Verdict, Work};
use async_trait::async_trait;
use redress_domain::{Correction, Identifier, IdentifierType, Subject};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A fictitious person, as the systems under test store them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The controller's key.
    pub customer_id: String,
    /// The address exactly as it is stored, in its own spelling.
    pub email: String,
    /// E.164.
    pub phone: String,
    /// First and last name.
    pub full_name: String,
}

impl Person {
    /// A person.
    pub fn new(customer_id: &str, email: &str, phone: &str, full_name: &str) -> Self {
        Self { customer_id: customer_id.into(), email: email.into(), phone: phone.into(), full_name: full_name.into() }
    }

    /// The person as a request names them: customer id, e-mail and phone.
    ///
    /// # Panics
    /// If a fixture is not a valid identifier.
    pub fn subject(&self) -> Subject {
        subject(&[
            (IdentifierType::CustomerId, &self.customer_id),
            (IdentifierType::Email, &self.email),
            (IdentifierType::Phone, &self.phone),
        ])
    }

    /// The person named by one identifier only.
    ///
    /// # Panics
    /// If a fixture is not a valid identifier.
    pub fn subject_by(&self, kind: IdentifierType) -> Subject {
        let value = match kind {
            kind if kind.is_opaque() => &self.customer_id,
            IdentifierType::Email => &self.email,
            _ => &self.phone,
        };
        subject(&[(kind, value)])
    }
}

/// A subject of these identifiers, in a German controller's request.
///
/// # Panics
/// If one of them is not valid.
pub fn subject(identifiers: &[(IdentifierType, &str)]) -> Subject {
    Subject {
        identifiers: identifiers
            .iter()
            .map(|(kind, value)| {
                Identifier::parse(*kind, value, Some("DE")).unwrap_or_else(|e| panic!("fixture {kind} {value:?}: {e}"))
            })
            .collect(),
        region: Some("DE".into()),
    }
}

/// The person most facts are about.
pub fn ann() -> Person {
    Person::new("C-1007", "ann@shop.example", "+4915112345678", "Ann Vorbild")
}

/// A second person, stored in a spelling of her own.
pub fn bea() -> Person {
    Person::new("C-2010", "Bea.Stern@Shop.Example", "+4915187654321", "Bea Stern")
}

/// Two customers who share one address, for the facts about more matches than may be touched.
pub fn crowd() -> [Person; 2] {
    [
        Person::new("C-5001", "crowd@shop.example", "+4915155500001", "Carl Menge"),
        Person::new("C-5002", "crowd@shop.example", "+4915155500002", "Cora Menge"),
    ]
}

/// Nobody: in no system.
pub fn nobody() -> Person {
    Person::new("C-9999", "nobody@shop.example", "+4915199999999", "Nora Niemand")
}

/// Other people whose identifiers a loose comparison takes for Ann's: substrings, suffixes, tags, accents, look-alikes.
pub fn near_twins() -> Vec<Person> {
    vec![
        Person::new("C-10070", "joann@shop.example", "+49151123456780", "Joann Vorbild"),
        Person::new("AC-1007", "ann@shop.example.evil.org", "+4915112345679", "Anna Vorbilder"),
        Person::new("C-100", "ann+x@shop.example", "+4915212345678", "Annx Zusatz"),
        // The first letter is U+0430, CYRILLIC SMALL LETTER A.
        Person::new("\u{421}-1007", "\u{430}nn@shop.example", "+491511234567", "Cyra Gleich"),
        Person::new("C-1007.1", "\u{e1}nn@shop.example", "+14155552671", "Akzent Gleich"),
        Person::new("C_1007", "a.n.n@shop.example", "+4915012345678", "Punkt Gleich"),
        Person::new("C-1008", "ann@shop.example.com", "+4317012345678", "Annette Fern"),
    ]
}

/// Ann, Bea and the near-twins: what most facts are seeded with.
pub fn everybody() -> Vec<Person> {
    let mut people = near_twins();
    people.insert(0, ann());
    people.push(bea());
    people
}

/// Identifiers that would reach other people's records if they were spliced into a query or used as a pattern. Those
/// that are not identifiers at all are already refused by [`Identifier::parse`] and are left out.
pub fn hostile_subjects() -> Vec<Subject> {
    use IdentifierType::{CustomerId, Email};
    [
        (CustomerId, "' OR 1=1 --"),
        (CustomerId, "x'; DROP TABLE customers; --"),
        (CustomerId, "\\"),
        (CustomerId, "%"),
        (CustomerId, "C-100%"),
        (CustomerId, "C-100_"),
        (CustomerId, "*"),
        (CustomerId, "{\"$ne\":null}"),
        (CustomerId, "{5}"),
        (CustomerId, "\" OR \"\"=\""),
        (CustomerId, "c-1007"),
        (Email, "_nn@shop.example"),
        (Email, "%@shop.example"),
        (Email, "*@shop.example"),
        (Email, "a'or'1'='1@shop.example"),
        (Email, "\"\\\" OR ALL ALL \\\"\"@shop.example"),
        (Email, "\"a b\"@shop.example"),
        (Email, "{5}@shop.example"),
        (Email, "nn@shop.example"),
        (Email, "ann@shop.exampl"),
        (Email, "ann@example"),
    ]
    .into_iter()
    .filter_map(|(kind, text)| Identifier::parse(kind, text, Some("DE")).ok())
    .map(|identifier| Subject { identifiers: vec![identifier], region: Some("DE".into()) })
    .collect()
}

/// One item of work.
pub fn work<'a>(key: &'a str, subject: &'a Subject) -> Work<'a> {
    Work { key, subject, corrections: &[], prior: None }
}

/// One item of work that changes fields.
pub fn rectifying<'a>(key: &'a str, subject: &'a Subject, corrections: &'a [Correction]) -> Work<'a> {
    Work { key, subject, corrections, prior: None }
}

/// Takes a lock whose holder may have panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`MemoryJournal`] answers when an effect is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// Go on.
    #[default]
    Act,
    /// The right to act was lost.
    Lost,
    /// Never returns: the process died between the announcement and the effect. Drop the connector's future.
    Die,
}

/// A journal in memory: remembers the last announcement of every item, as the engine does.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    answer: Answer,
    announced: Mutex<BTreeMap<String, Receipt>>,
    reached: tokio::sync::Notify,
}

impl MemoryJournal {
    /// A journal that gives this answer to every announcement.
    pub fn answering(answer: Answer) -> Self {
        Self { answer, ..Self::default() }
    }

    /// The last announcement for `key`.
    pub fn announced(&self, key: &str) -> Option<Receipt> {
        lock(&self.announced).get(key).cloned()
    }

    /// How many items announced an effect.
    pub fn items(&self) -> usize {
        lock(&self.announced).len()
    }

    /// Returns once an effect has been announced.
    pub async fn wait_for_announcement(&self) {
        self.reached.notified().await;
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn intend(&self, key: &str, receipt: &Receipt) -> Result<(), Lost> {
        if self.answer == Answer::Lost {
            return Err(Lost);
        }
        lock(&self.announced).insert(key.to_owned(), receipt.clone());
        self.reached.notify_one();
        if self.answer == Answer::Die {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// One file handed over.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The item it belongs to.
    pub key: String,
    /// Table or mailbox.
    pub collection: String,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A collection's name and one record of it.
pub type CollectionRecord = (String, Map<String, Value>);

/// A sink that keeps everything it is handed.
#[derive(Debug, Default)]
pub struct MemorySink {
    records: Mutex<Vec<(String, CollectionRecord)>>,
    attachments: Mutex<Vec<Attachment>>,
}

impl MemorySink {
    /// The records of an item, with their collections.
    pub fn records(&self, key: &str) -> Vec<CollectionRecord> {
        lock(&self.records).iter().filter(|(k, _)| k == key).map(|(_, record)| record.clone()).collect()
    }

    /// The files of an item.
    pub fn attachments(&self, key: &str) -> Vec<Attachment> {
        lock(&self.attachments).iter().filter(|a| a.key == key).cloned().collect()
    }

    /// Everything handed over for an item as one text.
    pub fn text(&self, key: &str) -> String {
        let records = self.records(key).into_iter().map(|(name, record)| format!("{name} {}", Value::Object(record)));
        let files = self.attachments(key).into_iter();
        let files = files.map(|f| format!("{} {}\n{}", f.collection, f.name, String::from_utf8_lossy(&f.bytes)));
        records.chain(files).collect::<Vec<_>>().join("\n")
    }
}

#[async_trait]
impl ExportSink for MemorySink {
    async fn record(&self, key: &str, collection: &str, record: Map<String, Value>) -> Result<(), Lost> {
        lock(&self.records).push((key.to_owned(), (collection.to_owned(), record)));
        Ok(())
    }

    async fn attachment(
        &self,
        key: &str,
        collection: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Lost> {
        lock(&self.attachments).push(Attachment {
            key: key.to_owned(),
            collection: collection.to_owned(),
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            bytes: bytes.to_vec(),
        });
        Ok(())
    }
}

/// Reads every answer for personal data before it passes it on.
#[derive(Debug)]
pub struct Witness {
    /// Never to be seen, in lower case.
    forbidden: Vec<String>,
}

impl Witness {
    /// Looks out for these people and secrets.
    pub fn of(people: &[Person], secrets: &[String]) -> Self {
        let personal = people.iter().flat_map(|p| [&p.customer_id, &p.email, &p.phone, &p.full_name]);
        // Debug output escapes some characters; look for both forms.
        let forbidden = personal
            .chain(secrets)
            .flat_map(|value| [value.to_lowercase(), value.escape_debug().to_string().to_lowercase()])
            .collect();
        Self { forbidden }
    }

    /// Passes `answer` on if it is clean.
    ///
    /// # Panics
    /// If its debug output holds a seeded identifier, a name or a secret.
    pub fn see<T: Debug>(&self, answer: T) -> T {
        let shown = format!("{answer:?}").to_lowercase();
        for value in &self.forbidden {
            assert!(!shown.contains(value.as_str()), "personal data in the debug output of an answer: {shown}");
        }
        answer
    }
}

/// The only answer of a batch of one.
///
/// # Panics
/// If there is not exactly one.
pub fn only<T: Debug>(mut answers: Vec<T>) -> T {
    assert_eq!(answers.len(), 1, "one item has one answer: {answers:?}");
    answers.remove(0)
}

/// Unwraps `Done`.
///
/// # Panics
/// If it is something else.
pub fn done(outcome: Outcome) -> Done {
    match outcome {
        Outcome::Done(done) => done,
        other => panic!("expected Done, got {other:?}"),
    }
}

/// Unwraps `NothingFound`.
///
/// # Panics
/// If it is something else.
pub fn nothing_found(outcome: Outcome) -> Evidence {
    match outcome {
        Outcome::NothingFound(evidence) => evidence,
        other => panic!("expected NothingFound, got {other:?}"),
    }
}

/// Unwraps `Trouble`.
///
/// # Panics
/// If it is something else.
pub fn trouble(outcome: Outcome) -> Trouble {
    match outcome {
        Outcome::Trouble(trouble) => trouble,
        other => panic!("expected Trouble, got {other:?}"),
    }
}

/// Unwraps `Confirmed`.
///
/// # Panics
/// If it is something else.
pub fn confirmed(verdict: Verdict) -> Evidence {
    match verdict {
        Verdict::Confirmed(evidence) => evidence,
        other => panic!("expected Confirmed, got {other:?}"),
    }
}

/// Every verb's trouble with a broken system, plus what its check says.
///
/// # Panics
/// If a verb answers anything else.
pub async fn troubles(connector: &Arc<dyn Connector>, subject: &Subject) -> (Vec<Trouble>, Problem) {
    let (sink, journal) = (MemorySink::default(), MemoryJournal::default());
    let item = [work("broken", subject)];
    let mut all = vec![
        trouble(only(connector.discover(&item).await)),
        trouble(only(connector.export(&item, &sink).await)),
        trouble(only(connector.erase(&item, &journal).await)),
    ];
    match only(connector.verify(redress_domain::Verb::Erase, &item).await) {
        Verdict::Trouble(trouble) => all.push(trouble),
        other => panic!("expected Trouble, got {other:?}"),
    }
    let problem = connector.check().await.expect_err("the check of a broken system fails");
    (all, problem)
}

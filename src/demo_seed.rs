//! A demo world is a made-up controller's systems on disk: a CRM, a newsletter database and a mail folder tree.
//!
//! Everything follows from one number, so two runs make the same world. Around many of the people that requests will be
//! about stand near-twins: other people whose addresses, numbers, names or keys a loose comparison takes for theirs.
//! [`census`] counts everybody's records by reading the systems itself, without the connectors, and so shows after the
//! requests that nobody else was touched. All names are invented, all domains are under `.example` (RFC 2606), all
//! numbers are among those that telephone authorities keep for films.

mod census;
mod databases;
mod mail;
mod people;
mod random;
#[cfg(test)]
mod tests;

pub use census::census;
pub use people::{DemoPerson, Role};

use random::Random;
use redress_domain::{IdentifierType, RequestType};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The seed of `redress demo`.
pub const DEFAULT_SEED: u64 = 2_016_679;

/// Marks a folder whose content is ours to replace.
const MARKER: &str = "made-by-redress-demo.txt";
const MARKER_TEXT: &str = "Everything in this folder is made up, and the next `redress demo` replaces it.\n";
const CRM: &str = "crm.db";
const NEWSLETTER: &str = "newsletter.db";
const MAIL: &str = "mail";

/// What [`seed`] made.
#[derive(Debug, Clone)]
pub struct DemoWorld {
    /// Everybody.
    pub people: Vec<DemoPerson>,
    /// Sixty requests of sixty people.
    pub requests: Vec<DemoRequest>,
    /// Normal e-mail addresses of the near-twins: their records must stay as they are.
    pub twins: Vec<String>,
    /// A controller's file for `redress apply`; its paths are relative to the folder. It also lies there as `controller.toml`.
    pub controller_toml: String,
}

/// One request to be submitted.
#[derive(Debug, Clone)]
pub struct DemoRequest {
    /// The controller's own reference.
    pub reference: String,
    /// Which right is used.
    pub kind: RequestType,
    /// Normal e-mail address of the person.
    pub email: String,
    /// What the controller gives to find the person; the e-mail address is always among them.
    pub identifiers: Vec<(IdentifierType, String)>,
    /// Fields to put right, with their new values.
    pub corrections: Vec<(&'static str, String)>,
}

impl DemoRequest {
    /// The body of `POST /v1/requests`.
    pub fn to_json(&self) -> Value {
        let identifiers: Vec<Value> =
            self.identifiers.iter().map(|(kind, value)| json!({"type": kind.as_str(), "value": value})).collect();
        let mut body = json!({
            "type": self.kind.as_str(), "reference": self.reference, "subject": {"identifiers": identifiers},
        });
        if !self.corrections.is_empty() {
            let all = self.corrections.iter().map(|(field, value)| json!({"field": field, "value": value}));
            body["corrections"] = all.collect();
        }
        body
    }
}

/// Why a demo world could not be made or counted.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The folder holds files that this demo did not make.
    #[error("{0} holds files that `redress demo` did not make; name another folder or empty it")]
    NotOurs(PathBuf),
    /// A file could not be read or written.
    #[error("cannot read or write {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A sample database could not be read or written.
    #[error("cannot read or write the sample database {path}")]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

/// Makes the world of this number in `folder`, in place of the one that an earlier run left there.
pub async fn seed(folder: &Path, seed: u64) -> Result<DemoWorld, SeedError> {
    clear(folder)?;
    let mut random = Random::new(seed);
    let people = people::populate(&mut random);
    databases::write(folder, &people, &mut random).await?;
    mail::write(folder, &people, &mut random)?;
    let requests = requests(&people, &mut random);
    let twins = people.iter().filter(|p| matches!(p.role, Role::Twin)).map(|p| p.email.clone()).collect();
    write_file(&folder.join("controller.toml"), CONTROLLER_TOML.as_bytes())?;
    Ok(DemoWorld { people, requests, twins, controller_toml: CONTROLLER_TOML.to_owned() })
}

/// So many people of the demo world, for systems that are simulated: always the same ones, near-twins among them.
pub fn sample_people(count: usize) -> Vec<DemoPerson> {
    let mut people = people::populate(&mut Random::new(DEFAULT_SEED));
    people.truncate(count);
    people
}

/// Leaves an empty folder with our mark. Nothing is deleted where the mark is missing.
fn clear(folder: &Path) -> Result<(), SeedError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SeedError::File { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let empty = std::fs::read_dir(folder).map_err(failed(folder))?.next().is_none();
    if !empty && !folder.join(MARKER).is_file() {
        return Err(SeedError::NotOurs(folder.to_owned()));
    }
    write_file(&folder.join(MARKER), MARKER_TEXT.as_bytes())?;
    let leftovers =
        [CRM, NEWSLETTER].iter().flat_map(|name| ["", "-journal", "-wal", "-shm"].map(|end| format!("{name}{end}")));
    for name in leftovers {
        let path = folder.join(name);
        if path.exists() {
            std::fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    let mail = folder.join(MAIL);
    if mail.exists() {
        std::fs::remove_dir_all(&mail).map_err(failed(&mail))?;
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), SeedError> {
    std::fs::write(path, bytes).map_err(|source| SeedError::File { path: path.to_owned(), source })
}

/// One request per target, in an order that mixes the types.
fn requests(people: &[DemoPerson], random: &mut Random) -> Vec<DemoRequest> {
    let mut targets: Vec<(&DemoPerson, RequestType)> =
        people.iter().filter_map(|person| person.role.request().map(|kind| (person, kind))).collect();
    random.shuffle(&mut targets);
    targets
        .into_iter()
        .enumerate()
        .map(|(i, (person, kind))| {
            let corrections = match kind {
                RequestType::Correction if i % 2 == 0 => {
                    vec![("full_name", format!("{} Neuname", person.full_name.split(' ').next().unwrap_or_default()))]
                }
                RequestType::Correction => vec![("phone", people::new_phone(i))],
                _ => Vec::new(),
            };
            let mut identifiers = vec![(IdentifierType::Email, people::respelled(&person.email, random))];
            // A number that is about to change finds nobody afterwards.
            if i % 3 == 0 && corrections.iter().all(|(field, _)| *field != "phone") {
                identifiers.push((IdentifierType::Phone, person.phone.clone()));
            }
            if i % 4 == 0 {
                identifiers.push((IdentifierType::CustomerId, person.customer_id.clone()));
            }
            DemoRequest {
                reference: format!("DEMO-{:02}", i + 1),
                kind,
                email: person.email.clone(),
                identifiers,
                corrections,
            }
        })
        .collect()
}

const CONTROLLER_TOML: &str = r#"# The controller of the demo and its three connected systems. Everything here is made up.

[controller]
name = "harbor-goods"
country = "DE"
timezone = "Europe/Berlin"
region = "eu"
contact = "privacy@harbor-goods.example"

[[system]]
name = "crm"
family = "crm"
connector = "sqlite"
settings = { path = "crm.db" }
allow = ["access", "correction", "deletion"]

  [[system.tables]]
  name = "customers"
  key = "id"
  identify = { email = "email", phone = "phone", customer_id = "id" }
  fields = { full_name = "full_name", phone = "phone" }
  on_delete = "delete"

  [[system.tables]]
  name = "addresses"
  key = "id"
  references = { customer_id = "customers.id" }
  on_delete = "delete"

  # The sale stays in the books; who bought it and where it went does not.
  [[system.tables]]
  name = "orders"
  key = "id"
  references = { customer_id = "customers.id" }
  on_delete = "null"
  columns = ["customer_id", "ship_to"]

  [[system.tables]]
  name = "tickets"
  key = "id"
  identify = { email = "email" }
  on_delete = "delete"

[[system]]
name = "newsletter"
family = "marketing"
connector = "sqlite"
settings = { path = "newsletter.db" }
allow = ["access", "correction", "deletion"]

  [[system.tables]]
  name = "subscribers"
  key = "id"
  identify = { email = "email" }
  fields = { full_name = "full_name", phone = "phone" }
  on_delete = "delete"

  [[system.tables]]
  name = "events"
  key = "id"
  references = { subscriber_id = "subscribers.id" }
  on_delete = "delete"

# Mail is kept as it was sent, so there is nothing to correct in it.
[[system]]
name = "mail"
family = "email"
connector = "maildir"
settings = { path = "mail" }
allow = ["access", "deletion"]
"#;

//! A Salesforce org keeps people as contacts, leads and person accounts, and what happened with them as cases, tasks and more.
//!
//! People are found by SOQL and compared exactly ([`find`]); children are those that refer to a found record. Deletion puts
//! 200 records a call into the recycle bin, or removes them for good by jobs of Bulk API 2.0 that are followed as durable
//! steps ([`bulk`]). The day's calls are the whole org's: from the configured share on, nothing more is sent ([`session`]).
//!
//! Written against version 67.0 of the REST, Bulk 2.0 and OAuth interfaces, verified on 2026-11-20. What Salesforce keeps besides
//! (field history, Chatter, files, backups, sandboxes) is not reached from here.

mod bulk;
mod check;
mod erase;
mod export;
mod find;
mod receipt;
mod rectify;
mod schema;
mod session;
mod setup;
mod soql;
mod verify;

#[cfg(test)]
mod tests;

use crate::registry::Entry;
use crate::{
    CheckReport, Connector, ExportSink, Gate, Journal, Limits, Manifest, Outcome, Problem, SpecFault, SystemSpec, Told,
    Trouble, Verdict, Work,
};
use async_trait::async_trait;
use redress_domain::limits::{Rate, Span};
use redress_domain::{Identifier, IdentifierType, Verb};
use schema::Schema;
use session::Org;
use setup::{PhoneSearch, Setup};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "salesforce",
    about: "a Salesforce org (Contact, Lead, person accounts, and what refers to them)",
    settings: "{ client_id = \"3MVG9…\", domain = \"acme\" | login_url = \"https://login.salesforce.com\", \
               auth = \"client_credentials|jwt\", username = \"dsr@acme.example\", audience = \"https://login.salesforce.com\", \
               api_version = \"67.0\", customer_id = \"Customer_Id__c\", delete = \"soft|hard\", \
               objects = [{ name = \"Contact\", email = [\"Email\"], phone = [\"Phone\"], keep = \"reason\" }], \
               children = [{ name = \"Case\", of = \"Contact\", field = \"ContactId\", keep = \"reason\" }], \
               custom_objects = false, fields = { first_name = \"FirstName\" }, phone_search = \"scan|index\", \
               daily_calls = 100000, daily_share = 0.5, base_url = \"https://…\" }; \
               secrets: client_secret, or private_key for jwt",
    verbs: &["discover", "export", "rectify", "erase", "verify"],
};

/// What a collection takes.
const BATCH: usize = 200;
/// So many calls of an org may be under way for long at the same time.
const CONCURRENT: u32 = 25;

/// Checks the settings and makes the connector, without connecting.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let setup = setup::read(spec)?;
    let with_customer_id =
        setup.customer_id.is_some() || setup.objects.iter().flatten().any(|o| o.customer_id.is_some());
    let mut identifiers = vec![IdentifierType::CrmId, IdentifierType::Email, IdentifierType::Phone];
    if with_customer_id {
        identifiers.insert(0, IdentifierType::CustomerId);
    }
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify]),
        identifiers,
        fields: setup.fields.keys().cloned().collect(),
        batch: BATCH,
        // SOQL sees an effect at once; the search index may lag.
        verify_after: Duration::from_secs(if setup.phone_search == PhoneSearch::Index { 300 } else { 0 }),
    };
    let org = Org::new(&setup);
    Ok(Arc::new(Salesforce { manifest, desk: Desk { org, setup, schema: Mutex::new(None) } }))
}

/// What every verb needs: the way there, what was set, and what the org said of itself.
struct Desk {
    org: Org,
    setup: Setup,
    schema: Mutex<Option<Arc<Schema>>>,
}

impl Desk {
    /// A path of the REST interface.
    fn path(&self, rest: &str) -> String {
        format!("/services/data/v{}/{rest}", self.setup.version)
    }

    async fn schema(&self) -> Result<Arc<Schema>, Trouble> {
        schema::get(self, false).await
    }
}

/// The ids of contacts, as identifiers that other systems may know.
fn yielded(rows: &find::Ids) -> Vec<Identifier> {
    let contacts = rows.get("Contact").into_iter().flatten();
    contacts.filter_map(|id| Identifier::parse(IdentifierType::CrmId, id, None).ok()).take(crate::YIELD_MAX).collect()
}

/// The same trouble for everybody.
fn all(batch: &[Work<'_>], trouble: &Trouble) -> Vec<Outcome> {
    batch.iter().map(|_| Outcome::Trouble(trouble.clone())).collect()
}

struct Salesforce {
    manifest: Manifest,
    desk: Desk,
}

#[async_trait]
impl Connector for Salesforce {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn limits(&self) -> Option<Limits> {
        let share = self.desk.setup.daily_share;
        let day = self.desk.setup.daily_calls.map(|calls| Rate { calls, span: Span::Day });
        let concurrency = Some(((f64::from(CONCURRENT) * share) as u32).max(1));
        Some(Limits { rates: day.into_iter().collect(), concurrency, share, ..Limits::default() })
    }

    fn listen(&self, told: Arc<dyn Told>) {
        self.desk.org.listen(told);
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        self.desk.org.ask_before_calls(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        check::check(&self.desk).await.map_err(|trouble| match trouble {
            Trouble::Retry(problem) | Trouble::Denied(problem) => problem,
            Trouble::Throttled(_) => {
                Problem::new("throttled", "the org's calls of the day are spent; check again later")
            }
            _ => Problem::new("interrupted", "the check was interrupted"),
        })
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        export::discover(&self.desk, batch).await.unwrap_or_else(|trouble| all(batch, &trouble))
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        export::export(&self.desk, batch, sink).await.unwrap_or_else(|trouble| all(batch, &trouble))
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        rectify::rectify(&self.desk, batch, journal).await.unwrap_or_else(|trouble| all(batch, &trouble))
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        erase::erase(&self.desk, batch, journal).await.unwrap_or_else(|trouble| all(batch, &trouble))
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        let verdicts = verify::verify(&self.desk, verb, batch).await;
        verdicts.unwrap_or_else(|trouble| batch.iter().map(|_| Verdict::Trouble(trouble.clone())).collect())
    }
}

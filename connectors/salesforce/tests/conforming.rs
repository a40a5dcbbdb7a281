//! The suite that every connector passes: into the recycle bin, and for good by bulk jobs.

use super::lab::{Lab, erase_to_the_end};
use crate::conformance::{self, Broken, Person, Target};
use crate::{CheckReport, Connector, ExportSink, Journal, Manifest, Outcome, Problem, Verdict, Work};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Verb};
use std::collections::BTreeMap;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_conforms_when_it_deletes_into_the_recycle_bin() {
    conformance::run(&Lab::new(false).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_conforms_when_it_deletes_for_good() {
    conformance::run(&Patient(Arc::new(Lab::new(true).await))).await;
}

/// A target whose connectors follow their jobs to the end, as the engine does.
struct Patient(Arc<Lab>);

impl Patient {
    fn following(&self, connector: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Arc::new(Following { connector, lab: Arc::clone(&self.0) })
    }
}

#[async_trait]
impl Target for Patient {
    async fn seed(&self, people: &[Person]) {
        Target::seed(&*self.0, people).await;
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.following(self.0.connector())
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        Some(self.following(self.0.limited()?))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        self.0.snapshot().await
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        self.0.broken(how)
    }

    fn correctable(&self) -> Option<&str> {
        self.0.correctable()
    }

    async fn read_field(&self, email: &str, field: &str) -> Option<String> {
        self.0.read_field(email, field).await
    }

    fn known_as(&self, person: &Person, kind: IdentifierType) -> Option<String> {
        self.0.known_as(person, kind)
    }

    fn secrets(&self) -> Vec<String> {
        self.0.secrets()
    }
}

struct Following {
    connector: Arc<dyn Connector>,
    lab: Arc<Lab>,
}

#[async_trait]
impl Connector for Following {
    fn manifest(&self) -> &Manifest {
        self.connector.manifest()
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        self.connector.check().await
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        self.connector.discover(batch).await
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        self.connector.export(batch, sink).await
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        self.connector.rectify(batch, journal).await
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        erase_to_the_end(&self.lab, &self.connector, batch, journal).await
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        self.connector.verify(verb, batch).await
    }
}

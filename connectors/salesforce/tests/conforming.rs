//! The suite that every connector passes: into the recycle bin, and for good by bulk jobs that are followed.

use super::lab::Lab;
use crate::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_conforms_when_it_deletes_into_the_recycle_bin() {
    conformance::run(&Lab::new(false).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_conforms_when_it_deletes_for_good() {
    conformance::run(&Lab::new(true).await).await;
}

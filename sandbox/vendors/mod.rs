//! One file per vendor. Each says in its head which of the vendor's habits it has, and where they are documented.

pub mod activecampaign;
pub mod amplitude;
pub mod asked;
pub mod bigquery;
pub mod braze;
pub mod brevo;
pub mod customerio;
pub mod dynamics365;
pub mod gmail;
pub mod graph;
pub mod hubspot;
pub mod intercom;
pub mod iterable;
pub mod jmap;
pub mod klaviyo;
pub mod mailchimp;
pub mod marketo;
pub mod mixpanel;
pub mod opendsr;
pub mod pipedrive;
pub mod salesforce;
pub mod segment;
pub mod sendgrid;
pub mod shopify;
pub mod slack;
pub mod snowflake;
pub mod stripe;
pub mod twilio;
pub mod warehouse_key;
pub mod warehouse_sql;
pub mod webhook;
pub mod zendesk;
pub mod zoho;

use crate::{Served, World};
use std::sync::Arc;

/// A simulated vendor.
#[derive(Clone, Copy)]
pub struct Vendor {
    /// The connector that it is for.
    pub name: &'static str,
    /// Its server, around a world.
    pub router: fn(&Arc<World>) -> axum::Router,
    /// Puts a person into the world as this vendor's own records would hold them.
    pub seed: fn(&World, &Person),
    /// How many records in the world are this person's, by the address exactly as it was seeded; read without the interface.
    pub count: fn(&World, &str) -> u64,
}

/// A person as the sandbox seeds them everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Address, in the spelling to store.
    pub email: String,
    /// Phone number, in the spelling to store.
    pub phone: String,
    /// The controller's own key.
    pub customer_id: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
}

/// Every simulated vendor, by name.
pub const ALL: &[Vendor] = &[
    activecampaign::VENDOR,
    amplitude::VENDOR,
    bigquery::VENDOR,
    braze::VENDOR,
    brevo::VENDOR,
    customerio::VENDOR,
    dynamics365::VENDOR,
    gmail::VENDOR,
    graph::VENDOR,
    hubspot::VENDOR,
    intercom::VENDOR,
    iterable::VENDOR,
    jmap::VENDOR,
    klaviyo::VENDOR,
    mailchimp::VENDOR,
    marketo::VENDOR,
    mixpanel::VENDOR,
    opendsr::VENDOR,
    pipedrive::VENDOR,
    salesforce::VENDOR,
    segment::VENDOR,
    sendgrid::VENDOR,
    shopify::VENDOR,
    slack::VENDOR,
    snowflake::VENDOR,
    stripe::VENDOR,
    twilio::VENDOR,
    webhook::VENDOR,
    zendesk::VENDOR,
    zoho::VENDOR,
];

/// Serves a vendor on this port of the loopback address (0: a free one).
///
/// # Errors
/// The port cannot be had, or there is no such vendor.
pub async fn serve(name: &str, port: u16) -> std::io::Result<Served> {
    let vendor = ALL.iter().find(|vendor| vendor.name == name).ok_or(std::io::ErrorKind::NotFound)?;
    let world = Arc::new(World::default());
    Served::start((vendor.router)(&world), world, port).await
}

//! What manifests are made of, tried from outside; and each vendor's manifest against its simulator: the suite that every
//! connector passes, and the vendor's own habits.

mod activecampaign;
mod amplitude;
mod braze;
mod brevo;
mod customerio;
mod dynamics365;
#[allow(dead_code, reason = "not every vendor needs each of its tools")]
pub(crate) mod harness;
mod hubspot;
mod intercom;
mod iterable;
pub(crate) mod judging;
mod klaviyo;
mod linting;
mod literals;
mod mailchimp;
mod marketo;
mod mixpanel;
mod pipedrive;
mod plain;
mod segment;
mod sendgrid;
mod shopify;
mod slack;
mod stripe;
mod templates;
mod tryton;
mod twilio;
mod zendesk;
mod zoho;

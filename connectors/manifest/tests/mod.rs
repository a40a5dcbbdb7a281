//! What manifests are made of, tried from outside; and each vendor's manifest against its simulator: the suite that every
//! connector passes, and the vendor's own habits.

#[allow(dead_code, reason = "not every vendor needs each of its tools")]
pub(crate) mod harness;
mod linting;
mod literals;
mod templates;
mod marketo;
mod hubspot;
mod klaviyo;
mod sendgrid;
mod zendesk;
mod mailchimp;
mod braze;
mod iterable;

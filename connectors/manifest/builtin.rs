//! The manifests that ship with the program.

/// Name and text of each, by name. A file that is not named here does not ship; a test finds it.
pub const ALL: &[(&str, &str)] = &[
    ("activecampaign", include_str!("../manifests/activecampaign.toml")),
    ("amplitude", include_str!("../manifests/amplitude.toml")),
    ("braze", include_str!("../manifests/braze.toml")),
    ("brevo", include_str!("../manifests/brevo.toml")),
    ("customerio", include_str!("../manifests/customerio.toml")),
    ("dynamics365", include_str!("../manifests/dynamics365.toml")),
    ("hubspot", include_str!("../manifests/hubspot.toml")),
    ("intercom", include_str!("../manifests/intercom.toml")),
    ("iterable", include_str!("../manifests/iterable.toml")),
    ("klaviyo", include_str!("../manifests/klaviyo.toml")),
    ("mailchimp", include_str!("../manifests/mailchimp.toml")),
    ("marketo", include_str!("../manifests/marketo.toml")),
    ("mixpanel", include_str!("../manifests/mixpanel.toml")),
    ("pipedrive", include_str!("../manifests/pipedrive.toml")),
    ("segment", include_str!("../manifests/segment.toml")),
    ("sendgrid", include_str!("../manifests/sendgrid.toml")),
    ("shopify", include_str!("../manifests/shopify.toml")),
    ("slack", include_str!("../manifests/slack.toml")),
    ("stripe", include_str!("../manifests/stripe.toml")),
    ("tryton", include_str!("../manifests/tryton.toml")),
    ("twilio", include_str!("../manifests/twilio.toml")),
    ("zendesk", include_str!("../manifests/zendesk.toml")),
    ("zoho", include_str!("../manifests/zoho.toml")),
];

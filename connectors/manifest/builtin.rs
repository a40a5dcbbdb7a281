//! The manifests that come with Redress.

use super::format::ManifestFile;
use super::plan::Plan;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Each by the name of its connector, sorted.
pub const ALL: &[(&str, &str)] = &[
    ("activecampaign", include_str!("../manifests/activecampaign.toml")),
    ("amplitude", include_str!("../manifests/amplitude.toml")),
    ("brevo", include_str!("../manifests/brevo.toml")),
    ("customerio", include_str!("../manifests/customerio.toml")),
    ("dynamics365", include_str!("../manifests/dynamics365.toml")),
    ("intercom", include_str!("../manifests/intercom.toml")),
    ("pipedrive", include_str!("../manifests/pipedrive.toml")),
    ("zoho", include_str!("../manifests/zoho.toml")),
];

type Known = BTreeMap<&'static str, Result<Arc<Plan>, String>>;

static PLANS: LazyLock<Known> = LazyLock::new(|| {
    let plan = |text: &str| {
        let file: ManifestFile = toml::from_str(text).map_err(|fault| fault.message().to_owned())?;
        Plan::of(file).map(Arc::new)
    };
    ALL.iter().map(|(name, text)| (*name, plan(text))).collect()
});

/// The manifest of this name.
pub(super) fn plan(name: &str) -> Option<&'static Result<Arc<Plan>, String>> {
    PLANS.get(name)
}

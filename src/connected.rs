//! A connected system as the store keeps it, made from its checked definition: the one way in for files and for the API.

use crate::provision::{SecretSource, SystemDef, to_spec};
use redress_connectors::{SpecFault, registry};
use redress_domain::RequestType;
use redress_store::SystemUpsert;
use serde_json::json;

/// What to store for a definition. What the connector can do is asked of the connector itself, and frozen beside it; a
/// definition that does not say what is allowed allows every right the connector can honour. What came `through_api` is
/// reached in public networks only, unless the deployment allows its address.
///
/// # Errors
/// The connector refuses the definition.
pub fn upsert(definition: &SystemDef, through_api: bool) -> Result<SystemUpsert, Vec<SpecFault>> {
    let connector = registry::connect(&to_spec(definition))?;
    let manifest = connector.manifest();
    let kept = definition.secrets.values().any(|secret| secret.source == SecretSource::Kept);
    let possible = || RequestType::ALL.iter().copied().filter(|kind| manifest.verbs.contains(&kind.verb())).collect();
    let mut stored = json!({
        "settings": definition.settings,
        "tables": definition.tables,
        "max_matches": definition.max_matches,
        "rate_per_second": definition.rate_per_second,
        "through_api": through_api,
    });
    // Only where there are any: a definition of an earlier release without them stays the same.
    if let Some(limits) = &definition.limits {
        stored["limits"] = limits.to_json();
    }
    if let Some(account) = &definition.account {
        stored["account"] = account.as_str().into();
    }
    if let Some(date) = &definition.credentials_expire_on {
        stored["credentials_expire_on"] = date.to_string().into();
    }
    Ok(SystemUpsert {
        name: definition.name.clone(),
        family: definition.family.clone(),
        connector: definition.connector.clone(),
        definition: stored,
        secrets: (!kept)
            .then(|| definition.secrets.iter().map(|(name, secret)| (name.clone(), secret.value.clone())).collect()),
        allow: definition.allow.clone().unwrap_or_else(possible),
        verbs: manifest.verbs.to_vec(),
        identifiers: manifest.identifiers.clone(),
        fields: manifest.fields.clone(),
        batch: i64::try_from(manifest.batch).unwrap_or(i64::MAX).max(1),
        completes_within_days: i64::from(definition.completes_within_days),
    })
}

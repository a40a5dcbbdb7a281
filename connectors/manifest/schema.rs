//! The JSON Schema of a manifest, for editors and for the lint: `connectors/manifests/manifest.schema.json`.

use super::format::ManifestFile;
use serde_json::Value;
use std::sync::OnceLock;

/// The schema.
pub fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = schemars::schema_for!(ManifestFile).to_value();
        schema["title"] = "Redress connector manifest".into();
        schema
    })
}

/// The schema as it is kept in the repository.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(schema()).unwrap_or_default();
    text.push('\n');
    text
}

//! How a controller's file connects to each simulator: the settings and the made-up credentials that it takes.

use std::fmt::Write as _;

/// The `[[system]]` table for a vendor that is served at this URL.
pub fn system(name: &str, vendor: &str, url: &str) -> String {
    let (family, settings, secrets) = of(vendor);
    let mut text = format!("[[system]]\nname = \"{name}\"\nfamily = \"{family}\"\nconnector = \"{vendor}\"\n");
    let settings = settings.replace("{url}", url);
    let _never_fails = write!(text, "settings = {{ {settings} }}\n");
    if !secrets.is_empty() {
        let secrets: Vec<String> =
            secrets.iter().map(|(name, value)| format!("{name} = {{ value = {} }}", quoted(value))).collect();
        let _never_fails = write!(text, "secrets = {{ {} }}\n", secrets.join(", "));
    }
    text.push_str("allow = [\"access\", \"correction\", \"deletion\"]\n");
    text
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// Family, settings (with `{url}`), secrets.
fn of(vendor: &str) -> (&'static str, &'static str, &'static [(&'static str, &'static str)]) {
    match vendor {
        _ => ("crm", "base_url = \"{url}\"", &[]),
    }
}

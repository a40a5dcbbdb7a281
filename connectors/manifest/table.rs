//! The table of docs/connectors.md, written from what the connectors say of themselves.

use super::listing::Listed;
use std::fmt::Write as _;

/// The page.
pub fn markdown(connectors: &[Listed]) -> String {
    let mut page = String::from(HEAD);
    let line = |page: &mut String, cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        let _never_fails = writeln!(page, "| {} |", cells.join(" | "));
    };
    for listed in connectors {
        let or_dash = |text: String| if text.is_empty() { "–".to_owned() } else { text };
        let batch = listed.batch.map_or_else(|| "1".to_owned(), |batch| batch.to_string());
        line(
            &mut page,
            &[
                format!("[`{0}`](#{0})", listed.name),
                listed.product.clone(),
                listed.verbs.join(", "),
                or_dash(listed.identifiers.join(", ")),
                if listed.kind == "manifest" {
                    batch
                } else {
                    or_dash(listed.batch.map(|n| n.to_string()).unwrap_or_default())
                },
                or_dash(listed.deletes.join("; ")),
                or_dash(listed.limits.join(", ")),
                or_dash(listed.judged_by.clone()),
                or_dash(listed.verified_on.clone().unwrap_or_default()),
            ],
        );
    }
    for listed in connectors {
        let _never_fails = write!(page, "\n## {}\n\n{}.", listed.name, listed.about.trim_end_matches('.'));
        if !listed.api.is_empty() {
            let _never_fails = write!(page, " Interface: {}.", listed.api);
        }
        let _never_fails =
            write!(page, "\n\n```toml\nconnector = \"{}\"\nsettings = {}\n", listed.name, listed.settings);
        if !listed.secrets.is_empty() {
            let secrets: Vec<String> =
                listed.secrets.iter().map(|name| format!("{name} = {{ env = \"…\" }}")).collect();
            let _never_fails = writeln!(page, "secrets = {{ {} }}", secrets.join(", "));
        }
        page.push_str("```\n");
        if !listed.notes.is_empty() {
            page.push('\n');
        }
        for note in &listed.notes {
            let _never_fails = writeln!(page, "- {note}");
        }
    }
    page
}

const HEAD: &str = "# Connectors

Written by `redress connector list --markdown`; a test keeps it as the connectors are. How to add one: [writing-a-connector.md](writing-a-connector.md).

*Deletes* says what a deletion is worth at the vendor: permanent, restorable for so many days, done by the vendor within so
many days, emptied (the record stays without personal values) or suppressed. *Batch* is the most records in one call that
deletes. *Limits* are the vendor's; a system's own `limits` count instead. *Judged by* is what looked at the requests besides
our own tests.

| Connector | System | Verbs | Looked for by | Batch | Deletes | Limits | Judged by | Verified on |
|---|---|---|---|---|---|---|---|---|
";

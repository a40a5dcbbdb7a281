//! A census counts everybody's records in the demo's systems, with code that shares nothing with the connectors.

use super::databases::open;
use super::{CRM, MAIL, NEWSLETTER, SeedError};
use redress_domain::{Identifier, IdentifierType};
use std::collections::BTreeMap;
use std::path::Path;

/// How many records each person has, by normal e-mail address: rows of the databases, rows that refer to them, and
/// messages from, to or in copy to the person. Who has none is not listed.
pub async fn census(folder: &Path) -> Result<BTreeMap<String, u64>, SeedError> {
    let mut counts = BTreeMap::new();
    let crm = [
        "SELECT c.email, 1 + (SELECT count(*) FROM addresses a WHERE a.customer_id = c.id)
                           + (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c",
        "SELECT email, count(*) FROM tickets GROUP BY email",
    ];
    let newsletter =
        ["SELECT s.email, 1 + (SELECT count(*) FROM events e WHERE e.subscriber_id = s.id) FROM subscribers s"];
    count_rows(&folder.join(CRM), &crm, &mut counts).await?;
    count_rows(&folder.join(NEWSLETTER), &newsletter, &mut counts).await?;
    count_mail(&folder.join(MAIL), &mut counts)?;
    Ok(counts)
}

async fn count_rows(
    path: &Path,
    queries: &[&'static str],
    counts: &mut BTreeMap<String, u64>,
) -> Result<(), SeedError> {
    let failed = |source| SeedError::Database { path: path.to_owned(), source };
    let mut connection = open(path, false).await.map_err(failed)?;
    for query in queries {
        let rows: Vec<(Option<String>, i64)> =
            sqlx::query_as(*query).fetch_all(&mut connection).await.map_err(failed)?;
        for (email, records) in rows {
            if let Some(email) = email {
                *counts.entry(normal(&email)).or_default() += records.unsigned_abs();
            }
        }
    }
    Ok(())
}

fn count_mail(folder: &Path, counts: &mut BTreeMap<String, u64>) -> Result<(), SeedError> {
    let failed = |source| SeedError::File { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            count_mail(&path, counts)?;
        } else if path.parent().is_some_and(|p| p.ends_with("cur") || p.ends_with("new")) {
            let text = std::fs::read(&path).map_err(failed)?;
            for email in correspondents(&String::from_utf8_lossy(&text)) {
                *counts.entry(email).or_default() += 1;
            }
        }
    }
    Ok(())
}

/// Everybody a message is from, to or in copy to, each once.
fn correspondents(message: &str) -> std::collections::BTreeSet<String> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n\t", " ");
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| matches!(*name, "From" | "To" | "Cc"))
        .flat_map(|(_, value)| addresses(value))
        .filter(|address| address.contains('@'))
        .map(|address| normal(&address))
        .collect()
}

/// The addresses of one header, without display names, quoted texts and comments.
fn addresses(value: &str) -> Vec<String> {
    let (mut found, mut current, mut quoted, mut comment) = (Vec::new(), String::new(), false, 0_u32);
    for c in value.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => comment += 1,
            ')' => comment = comment.saturating_sub(1),
            _ if comment > 0 => {}
            ',' => found.push(std::mem::take(&mut current)),
            // What stood before the bracket was a name.
            '<' => current.clear(),
            '>' | ' ' => {}
            c => current.push(c),
        }
    }
    found.push(current);
    found
}

fn normal(email: &str) -> String {
    match Identifier::parse(IdentifierType::Email, email, None) {
        Ok(identifier) => identifier.normal().expose().clone(),
        Err(_) => email.to_lowercase(),
    }
}

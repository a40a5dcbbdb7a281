//! A check signs in and says what is in order and what should be known; it changes nothing.

use super::Engine;
use super::dialect::Dialect;
use super::schema::{LiveTable, Rule, Schema};
use super::session::{Mode, Session};
use crate::spec::OnDelete;
use crate::{CheckReport, Problem, Trouble};
use redress_domain::IdentifierType;

/// Compares what is declared with what is there.
pub(super) async fn check(engine: &Engine) -> Result<CheckReport, Problem> {
    let schema = engine.schema(true).await.map_err(problem)?;
    schema.fits_erasure(&engine.declared)?;
    let mut report = CheckReport::default();
    let mut session = engine.pool.begin(Mode::Read).await.map_err(problem)?;
    for (table, live) in engine.declared.tables.iter().zip(&schema.tables) {
        let sql = format!("SELECT {} FROM {} LIMIT 1", engine.dialect.as_text(&live.key), live.sql);
        session.rows(&table.name, sql, Vec::new()).await.map_err(problem)?;
        report.ok.push(format!(
            "table {}: key {}, {} columns, {} identify, {} refer, {} fields, on_delete {}",
            table.name,
            live.key.name,
            live.columns.len(),
            table.identify.len(),
            table.references.len(),
            live.fields.len(),
            table.action()
        ));
        for (kind, column) in &table.identify {
            let column = &live.wanted[*column].name;
            if !has_index(engine.dialect, live, *kind, column) {
                let hint = if *kind == IdentifierType::Email && engine.dialect != Dialect::Mysql {
                    " on its lower case"
                } else {
                    ""
                };
                report.warnings.push(format!(
                    "column {column} of table {} identifies by {kind} but has no usable index{hint}: every search reads the whole table",
                    table.name
                ));
            }
        }
        if !live.transactional {
            report.warnings.push(format!(
                "table {} has an engine without transactions: an erasure that is interrupted may be half done; use InnoDB",
                table.name
            ));
        }
    }
    foreign_keys(engine, &schema, &mut report);
    server(engine, &mut session, &mut report).await.map_err(problem)?;
    session.roll_back().await;
    Ok(report)
}

fn problem(trouble: Trouble) -> Problem {
    match trouble {
        Trouble::Retry(problem) | Trouble::Denied(problem) | Trouble::Ambiguous { problem, .. } => problem,
        Trouble::Throttled(_) | Trouble::Held(_) | Trouble::Lost => {
            Problem::new("unreachable", "the database takes no work at the moment")
        }
    }
}

/// A phone number is compared without its separators, which no common index covers.
fn has_index(dialect: Dialect, live: &LiveTable, kind: IdentifierType, column: &str) -> bool {
    let plain = |index: &String| dialect.same_name(index.trim_matches(['"', '`']), column);
    let lower = |index: &String| {
        let index = index.to_ascii_lowercase();
        index.contains("lower(") && index.contains(&column.to_ascii_lowercase())
    };
    match kind {
        IdentifierType::Phone => true,
        kind if kind.is_opaque() => live.indexes.iter().any(plain),
        IdentifierType::Email if dialect == Dialect::Mysql => live.indexes.iter().any(plain),
        _ => live.indexes.iter().any(lower),
    }
}

fn foreign_keys(engine: &Engine, schema: &Schema, report: &mut CheckReport) {
    let tables = &engine.declared.tables;
    for key in &schema.foreign_keys {
        let parent = &tables[key.parent];
        if parent.on_delete != OnDelete::Delete {
            continue;
        }
        let (columns, rule) = (key.columns.join(", "), key.rule.words());
        match key.child.map(|child| &tables[child]) {
            None => report.warnings.push(format!(
                "table {} ({columns}) refers to {} with ON DELETE {rule} but is not declared: {}",
                key.child_name,
                parent.name,
                match key.rule {
                    Rule::Refuse | Rule::Cascade | Rule::SetDefault => "its rows will stop a deletion; declare it",
                    Rule::SetNull => "its rows stay, without the reference; declare it if they hold personal data",
                }
            )),
            Some(child) if key.rule == Rule::Cascade && child.on_delete != OnDelete::Delete => report.warnings.push(format!(
                "table {} is declared with on_delete = \"{}\", but its foreign key ({columns}) to {} has ON DELETE CASCADE: \
                 the reference will be emptied first so that its rows stay",
                child.name,
                child.action(),
                parent.name
            )),
            Some(_) => {}
        }
    }
}

async fn server(engine: &Engine, session: &mut Session, report: &mut CheckReport) -> Result<(), Trouble> {
    if engine.dialect != Dialect::Mysql {
        return Ok(());
    }
    let log = session
        .rows("@@log_bin", "SELECT CASE WHEN @@global.log_bin = 1 THEN 'ON' ELSE 'OFF' END".to_owned(), Vec::new())
        .await?;
    if log.first().and_then(|row| row.first()).and_then(Option::as_deref) == Some("ON") {
        report.warnings.push(
            "the server writes a binary log (log_bin = ON): deleted values stay in it until it is purged; \
             see binlog_expire_logs_seconds or expire_logs_days"
                .to_owned(),
        );
    }
    Ok(())
}

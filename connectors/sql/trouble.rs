//! A database's error becomes a trouble by its code alone: its text may quote the values of a row, and is never passed on.

use crate::{Problem, Trouble};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;
use std::io::ErrorKind;

/// What happened, in terms of what has to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Credentials,
    DatabaseMissing,
    Permission,
    ReadOnly,
    Schema,
    Conflict,
    Timeout,
    Unreachable,
    ForeignKey,
    Constraint,
    Value,
    FileMissing,
    Refused,
}

/// Turns an error into a trouble. `about` is the table that the statement was about.
pub(super) fn from_database(error: &sqlx::Error, about: Option<&str>) -> Trouble {
    match error {
        sqlx::Error::Database(database) => {
            if let Some(pg) = database.try_downcast_ref::<PgDatabaseError>() {
                let at = Site { table: pg.table().or(about), constraint: pg.constraint(), code: pg.code().to_owned() };
                trouble(postgres(pg.code()), &at)
            } else if let Some(my) = database.try_downcast_ref::<MySqlDatabaseError>() {
                let names = mysql_names(my.number(), my.message());
                let (table, constraint) = names.map_or((None, None), |(t, c)| (Some(t), Some(c)));
                trouble(mysql(my.number()), &Site { table: table.or(about), constraint, code: my.number().to_string() })
            } else if database.try_downcast_ref::<SqliteError>().is_some() {
                let code: i64 = database.code().and_then(|c| c.parse().ok()).unwrap_or(1);
                let raised = code == 1811 && database.message() != "FOREIGN KEY constraint failed";
                let cause = if raised { Cause::Refused } else { sqlite(code) };
                trouble(cause, &Site { table: about, constraint: None, code: code.to_string() })
            } else {
                trouble(Cause::Refused, &Site { table: about, constraint: None, code: "unknown".to_owned() })
            }
        }
        sqlx::Error::Io(io) => match io.kind() {
            ErrorKind::NotFound => {
                retry("unreachable", "the host name or socket of the database was not found; check settings.host")
            }
            ErrorKind::TimedOut => retry("timeout", "the connection to the database timed out"),
            _ => retry(
                "unreachable",
                "the connection to the database failed or broke; check that it runs and can be reached",
            ),
        },
        sqlx::Error::Tls(_) => denied(
            "tls_refused",
            "the database could not be reached over TLS as settings.tls asks; check its certificate or the setting",
        ),
        sqlx::Error::PoolTimedOut => retry(
            "unreachable",
            "no connection to the database within settings.connect_timeout_seconds; check that it runs and can be reached",
        ),
        sqlx::Error::Configuration(_) => denied("settings_refused", "the database driver refused the settings"),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => {
            retry("unreachable", "the connection to the database broke")
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            denied("answer_unreadable", format!("the database sent something unreadable{}", of(about)))
        }
        _ => denied("database_refused", format!("the database driver refused a statement{}", of(about))),
    }
}

/// Whether what we know of the database's structure may be out of date.
pub(super) fn is_about_schema(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Denied(p) | Trouble::Retry(p) if matches!(p.code, "table_missing" | "column_missing" | "schema_changed"))
}

/// Whether the next item of a batch would meet the same trouble before anything else.
pub(super) fn is_about_connection(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Denied(p) | Trouble::Retry(p)
        if matches!(p.code, "unreachable" | "credentials_refused" | "database_missing" | "tls_refused" | "file_missing"))
}

/// A trouble that passes by itself.
pub(super) fn retry(code: &'static str, detail: impl Into<String>) -> Trouble {
    Trouble::Retry(Problem::new(code, detail))
}

/// A trouble that somebody must mend.
pub(super) fn denied(code: &'static str, detail: impl Into<String>) -> Trouble {
    Trouble::Denied(Problem::new(code, detail))
}

/// A key that several rows share: inherited tables (PostgreSQL), values of different types in a column without a type
/// (SQLite). Whose row it is cannot be told, so nothing is done.
pub(super) fn key_shared(table: &str) -> Trouble {
    denied(
        "key_not_unique",
        format!(
            "several rows of table {table} share one key, so they cannot be told apart; nothing was changed; name a key that is unique"
        ),
    )
}

/// Where an error arose, in names that are the schema's own.
struct Site<'a> {
    table: Option<&'a str>,
    constraint: Option<&'a str>,
    code: String,
}

fn of(table: Option<&str>) -> String {
    table.map(|t| format!(" (table {t})")).unwrap_or_default()
}

fn trouble(cause: Cause, site: &Site<'_>) -> Trouble {
    let at = of(site.table);
    let code = &site.code;
    let constraint = site.constraint.map(|c| format!(" {c}")).unwrap_or_default();
    match cause {
        Cause::Credentials => denied(
            "credentials_refused",
            format!(
                "the database refused the user name or password (code {code}); check settings.username and secrets.password"
            ),
        ),
        Cause::DatabaseMissing => {
            denied("database_missing", format!("the database does not exist (code {code}); check settings.database"))
        }
        Cause::Permission => denied(
            "permission_missing",
            format!(
                "the user lacks a privilege{at} (code {code}); grant SELECT, UPDATE and DELETE on the declared tables"
            ),
        ),
        Cause::ReadOnly => denied(
            "read_only",
            format!(
                "the database is read-only here (code {code}); connect to the primary server, or make the file writable"
            ),
        ),
        Cause::Schema => {
            retry("schema_changed", format!("the structure of the database changed under way{at} (code {code})"))
        }
        Cause::Conflict => {
            retry("conflict", format!("another transaction is at work on the same rows{at} (code {code})"))
        }
        Cause::Timeout => {
            retry("timeout", format!("a statement took too long or waited too long for a lock{at} (code {code})"))
        }
        Cause::Unreachable => retry("unreachable", format!("the database takes no work at the moment (code {code})")),
        Cause::ForeignKey => denied(
            "foreign_key_blocks",
            format!(
                "the foreign key{constraint} forbids the change{at} (code {code}); declare the table that refers to it, or change the key's rule"
            ),
        ),
        Cause::Constraint => denied(
            "constraint_blocks",
            format!(
                "the constraint{constraint} forbids the change{at} (code {code}); choose other columns or another on_delete"
            ),
        ),
        Cause::Value => denied("value_refused", format!("a column cannot take the value{at} (code {code})")),
        Cause::FileMissing => {
            denied("file_missing", format!("the database file cannot be opened (code {code}); check settings.path"))
        }
        Cause::Refused => denied(
            "database_refused",
            format!("the database refused a statement{at} (code {code}); its own log says more"),
        ),
    }
}

/// SQLSTATE, PostgreSQL manual, appendix A.
fn postgres(code: &str) -> Cause {
    match code {
        "3D000" => Cause::DatabaseMissing,
        "42501" => Cause::Permission,
        "42P01" | "42703" | "0A000" | "3F000" => Cause::Schema,
        "40001" | "40P01" => Cause::Conflict,
        "55P03" | "57014" | "25P03" | "25P04" => Cause::Timeout,
        "25006" => Cause::ReadOnly,
        "23001" | "23503" => Cause::ForeignKey,
        _ => match &code[..code.len().min(2)] {
            "28" => Cause::Credentials,
            "08" | "53" | "57" | "58" => Cause::Unreachable,
            "23" | "27" | "44" => Cause::Constraint,
            "22" => Cause::Value,
            _ => Cause::Refused,
        },
    }
}

/// Server error numbers of MariaDB and MySQL.
fn mysql(number: u16) -> Cause {
    match number {
        1045 | 1698 | 1251 | 1820 | 1862 | 3118 | 4151 => Cause::Credentials,
        1049 => Cause::DatabaseMissing,
        1044 | 1142 | 1143 | 1227 | 1370 => Cause::Permission,
        1290 | 1792 | 1836 => Cause::ReadOnly,
        1146 | 1054 | 1412 | 1615 => Cause::Schema,
        1020 | 1213 => Cause::Conflict,
        1205 | 1969 | 3024 | 1317 => Cause::Timeout,
        1040 | 1053 | 1129 | 1130 | 1152..=1161 | 1184 | 1203 | 1226 | 1927 | 2006 | 2013 => Cause::Unreachable,
        1216 | 1217 | 1451 | 1452 => Cause::ForeignKey,
        1048 | 1062 | 1169 | 1557 | 1586 | 1761 | 1762 | 3819 | 4025 => Cause::Constraint,
        1264 | 1265 | 1292 | 1366 | 1367 | 1406 | 1411 | 1525 | 3140 => Cause::Value,
        _ => Cause::Refused,
    }
}

/// Extended result codes, <https://sqlite.org/rescode.html>.
fn sqlite(code: i64) -> Cause {
    match code {
        787 | 1811 => Cause::ForeignKey,
        1 => Cause::Schema,
        3091 => Cause::Value,
        _ => match code & 0xff {
            3 | 23 => Cause::Permission,
            5 | 6 => Cause::Conflict,
            8 => Cause::ReadOnly,
            9 => Cause::Timeout,
            10 | 13 => Cause::Unreachable,
            14 => Cause::FileMissing,
            17 => Cause::Schema,
            18 | 20 => Cause::Value,
            19 => Cause::Constraint,
            _ => Cause::Refused,
        },
    }
}

/// Table and constraint out of "a foreign key constraint fails (`db`.`table`, CONSTRAINT `name` FOREIGN KEY": of all
/// messages the one that holds names only.
fn mysql_names(number: u16, message: &str) -> Option<(&str, &str)> {
    if !matches!(number, 1451 | 1452) {
        return None;
    }
    let (_, rest) = message.split_once("(`")?;
    let (table, rest) = rest.split_once("`, CONSTRAINT `")?;
    let (constraint, _) = rest.split_once("` FOREIGN KEY")?;
    Some((table.rsplit('`').next()?, constraint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_key_message_of_mysql_gives_its_names_and_nothing_else() {
        let message = "Cannot delete or update a parent row: a foreign key constraint fails (`shop`.`invoices`, \
                       CONSTRAINT `invoices_ibfk_1` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`))";
        assert_eq!(mysql_names(1451, message), Some(("invoices", "invoices_ibfk_1")));
        assert_eq!(mysql_names(1062, "Duplicate entry 'canary@example.com' for key 'email'"), None);
    }

    #[test]
    fn every_class_of_error_has_its_own_answer() {
        assert_eq!(postgres("28P01"), Cause::Credentials);
        assert_eq!(postgres("40P01"), Cause::Conflict);
        assert_eq!(postgres("22P02"), Cause::Value);
        assert_eq!(mysql(1213), Cause::Conflict);
        assert_eq!(sqlite(517), Cause::Conflict);
        assert_eq!(sqlite(787), Cause::ForeignKey);
    }
}

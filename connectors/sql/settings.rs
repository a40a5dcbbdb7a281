//! Settings are the keys under `settings` and `secrets` of a SQL system; every fault in them is reported at once.

use super::session::Pool;
use crate::{SpecFault, SystemSpec};
use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::Executor as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use std::path::Path;
use std::time::Duration;

/// How long a lock may be waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Reads the settings of a PostgreSQL system.
pub(super) fn postgres(spec: &SystemSpec, faults: &mut Vec<SpecFault>) -> Option<Pool> {
    let server = Server::read(spec, 5432, faults)?;
    let options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .database(&server.database)
        .username(&server.username)
        .password(&server.password)
        .application_name("redress")
        .ssl_mode(match server.tls {
            Tls::Disable => PgSslMode::Disable,
            Tls::Prefer => PgSslMode::Prefer,
            Tls::Require => PgSslMode::Require,
            Tls::VerifyFull => PgSslMode::VerifyFull,
        })
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(server.max_connections)
        .acquire_timeout(server.connect_timeout)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // A notice of a trigger may quote a row; the driver would log it.
                connection
                    .execute(
                        "SET client_min_messages = error; SET lock_timeout = '10s'; SET statement_timeout = '120s'; \
                         SET idle_in_transaction_session_timeout = '10min'; SET row_security = off",
                    )
                    .await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Some(Pool::Postgres(pool))
}

/// Reads the settings of a MySQL or MariaDB system.
pub(super) fn mysql(spec: &SystemSpec, faults: &mut Vec<SpecFault>) -> Option<Pool> {
    let server = Server::read(spec, 3306, faults)?;
    let options = MySqlConnectOptions::new()
        .host(&server.host)
        .port(server.port)
        .database(&server.database)
        .username(&server.username)
        .password(&server.password)
        .ssl_mode(match server.tls {
            Tls::Disable => MySqlSslMode::Disabled,
            Tls::Prefer => MySqlSslMode::Preferred,
            Tls::Require => MySqlSslMode::Required,
            Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
        })
        .pipes_as_concat(false)
        .disable_statement_logging();
    let pool = MySqlPoolOptions::new()
        .max_connections(server.max_connections)
        .acquire_timeout(server.connect_timeout)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // Strict, so that a value is refused rather than cut; foreign keys whatever the server's default.
                connection
                    .execute(
                        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
                         innodb_lock_wait_timeout = 10, foreign_key_checks = 1",
                    )
                    .await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Some(Pool::Mysql(pool))
}

/// Reads the settings of a SQLite system.
pub(super) fn sqlite(spec: &SystemSpec, faults: &mut Vec<SpecFault>) -> Option<Pool> {
    let before = faults.len();
    refuse_unknown(spec, &["path"], &["hash_key"], faults);
    let path = text(spec, "path", faults);
    if faults.len() > before {
        return None;
    }
    let path = spec.base_dir.as_deref().unwrap_or(Path::new("")).join(path);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(LOCK_WAIT)
        // What is deleted is overwritten in the file, not only unlinked.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(30))
        // A file held open would outlive its replacement by a restored copy.
        .idle_timeout(Duration::from_mins(1))
        .connect_lazy_with(options);
    Some(Pool::Sqlite(pool))
}

enum Tls {
    Disable,
    Prefer,
    Require,
    VerifyFull,
}

struct Server {
    host: String,
    port: u16,
    database: String,
    username: String,
    password: String,
    tls: Tls,
    connect_timeout: Duration,
    max_connections: u32,
}

impl Server {
    fn read(spec: &SystemSpec, default_port: u16, faults: &mut Vec<SpecFault>) -> Option<Self> {
        let before = faults.len();
        let known = ["host", "port", "database", "username", "tls", "connect_timeout_seconds", "max_connections"];
        refuse_unknown(spec, &known, &["password", "hash_key"], faults);
        let password = spec.secrets.get("password").map(|secret| secret.expose().clone());
        if password.is_none() {
            faults.push(SpecFault::new("secrets.password", "is required: the password of settings.username"));
        }
        let tls = match spec.settings.get("tls").map(|v| v.as_str()) {
            None | Some(Some("prefer")) => Tls::Prefer,
            Some(Some("disable")) => Tls::Disable,
            Some(Some("require")) => Tls::Require,
            Some(Some("verify-full")) => Tls::VerifyFull,
            Some(_) => {
                faults.push(SpecFault::new(
                    "settings.tls",
                    "must be \"disable\", \"prefer\", \"require\" or \"verify-full\"",
                ));
                Tls::Prefer
            }
        };
        let server = Self {
            host: text(spec, "host", faults),
            port: u16::try_from(number(spec, "port", u64::from(default_port), 65535, faults)).unwrap_or(default_port),
            database: text(spec, "database", faults),
            username: text(spec, "username", faults),
            password: password.unwrap_or_default(),
            tls,
            connect_timeout: Duration::from_secs(number(spec, "connect_timeout_seconds", 10, 300, faults)),
            max_connections: u32::try_from(number(spec, "max_connections", 5, 100, faults)).unwrap_or(5),
        };
        (faults.len() == before).then_some(server)
    }
}

fn refuse_unknown(spec: &SystemSpec, settings: &[&str], secrets: &[&str], faults: &mut Vec<SpecFault>) {
    for key in spec.settings.keys().filter(|k| !settings.contains(&k.as_str())) {
        let detail = format!("is unknown; there are {}", settings.join(", "));
        faults.push(SpecFault::new(format!("settings.{key}"), detail));
    }
    for key in spec.secrets.keys().filter(|k| !secrets.contains(&k.as_str())) {
        let detail = format!("is unknown; there are {}", secrets.join(", "));
        faults.push(SpecFault::new(format!("secrets.{key}"), detail));
    }
}

fn text(spec: &SystemSpec, key: &str, faults: &mut Vec<SpecFault>) -> String {
    match spec.settings.get(key) {
        Some(Value::String(text)) if !text.is_empty() && !text.contains('\0') => text.clone(),
        Some(_) => {
            faults.push(SpecFault::new(format!("settings.{key}"), "must be a text that is not empty"));
            String::new()
        }
        None => {
            faults.push(SpecFault::new(format!("settings.{key}"), "is required"));
            String::new()
        }
    }
}

fn number(spec: &SystemSpec, key: &str, default: u64, most: u64, faults: &mut Vec<SpecFault>) -> u64 {
    match spec.settings.get(key) {
        None => default,
        Some(value) => value.as_u64().filter(|n| (1..=most).contains(n)).unwrap_or_else(|| {
            faults.push(SpecFault::new(format!("settings.{key}"), format!("must be a whole number from 1 to {most}")));
            default
        }),
    }
}

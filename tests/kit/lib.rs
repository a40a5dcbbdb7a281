//! A test server is a real server program that one test owns: own folder, own port, gone when the test is.
//!
//! | type | what a test calls |
//! |---|---|
//! | [`Postgres`] | `start().await`, `start_with(&["log_statement=all"]).await`; `host() port() user() password() url(db)`; `database(name).await -> url`, `database_from(name, template).await -> url`, `drop_database(name).await`, `sql(db, script).await`, `query(db, sql).await -> String` |
//! | [`Mariadb`] | the same, without `database_from`; `start_with(&["--general-log"])`; `general_ci` collation, row binlog |
//! | [`Redis`] | `start().await`, `start_with(&["--appendonly", "yes"])`, `sentinel(port)`; `host() port() url()`; `flushall().await`, `command(&["GET", "k"]).await -> String`, `kill9_and_restart().await` |
//! | [`Dovecot`] | `start().await`; `host() imap_port() imaps_port() ca_file()`; `user(name, password)`, `deliver(user, folder, bytes) -> PathBuf`, `maildir(user) -> PathBuf`, `folder(user, folder) -> PathBuf` |
//! | [`Moto`] | `start().await`; `url()`: S3 with versions and Object Lock, DynamoDB; it takes any key |
//! | [`Oidc`] | `start(redirect_uri).await`; `issuer()`, `secret()`, `people(&[(name, &[group])])`, `sign_in(url, name).await -> url`, `cancel(url).await -> url`: an OpenID provider; new keys after `start_again` |
//! | [`S3s`] | `start().await`; `url()`, `access_key() secret_key()`, `bucket(name) -> PathBuf`: S3 that checks signatures, without versions |
//! | [`Cyrus`] | `start().await` (none if it was not fetched); `host() imap_port() jmap_url()`; `user(name, password)`, `deliver(user, folder, text)`, `messages(user) -> Vec<String>` |
//! | [`Slapd`] | `start().await`; `host() port() tls_port() ca_file()`; OpenLDAP with `BASE` and `ou=people` below it, `ADMIN` who may do all and `READER` who may read 500 entries, password `pw` |
//! | [`Smtp`] | `start().await`; `host() port() smtps_port() ca_file()`; `mails() -> Vec<Mail>`, `wait_for(n).await -> Vec<Mail>` |
//! | [`Receiver`] | `start().await`; `url() url_of(path)`; `answer([500, 200])`, `answer_with(Answer …)`, `otherwise(status)`; `requests() -> Vec<Received>`, `wait_for(n).await -> Vec<Received>`, `clear()` |
//!
//! Every server also has `log() -> String` (what it wrote so far), `stop().await` (orderly), `kill9().await` (as if it
//! crashed) and `start_again().await`, which comes back on the same port with the same folder. [`which`] finds a
//! program, [`free_port`] a port that stays reserved while the returned [`Port`] lives.
//!
//! The user is `dsr`, the password `pw`, over TCP; a wrong password is refused. Nothing has to be running. A missing
//! program panics with the Debian package to install. Tests may run in many processes at once: ports are reserved by
//! file locks, the initialised data folders are cached as one archive per server version in the temporary folder.
//! A guard process ends the server and removes its folder even if the test process is killed.

#![expect(clippy::missing_panics_doc, reason = "a test that cannot have its server must fail, with the server's log")]

mod cyrus;
mod dovecot;
mod mariadb;
mod moto;
mod oidc;
mod postgres;
mod process;
mod receiver;
mod redis;
mod s3s;
mod slapd;
mod smtp;
mod tryton;

pub use cyrus::Cyrus;
pub use dovecot::Dovecot;
pub use mariadb::Mariadb;
pub use moto::Moto;
pub use oidc::Oidc;
pub use postgres::Postgres;
pub use process::{Port, free_port, which};
pub use receiver::{Answer, Received, Receiver};
pub use redis::Redis;
pub use s3s::S3s;
pub use slapd::Slapd;
pub use smtp::{Mail, Smtp};
pub use tryton::Tryton;

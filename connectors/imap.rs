//! An IMAP server keeps one user's messages in mailboxes: this connector finds, exports and expunges one person's
//! messages in the mailboxes that its user can open (RFC 3501, RFC 9051).
//!
//! Which message is whose: see the `mailmatch` module; one whose malformed headers mention a person stops the work for that
//! person until somebody has looked at it. Messages are expunged by UID (RFC 4315), which leaves alone what
//! others have marked as deleted; a server without UIDPLUS is refused. Each call signs in once and out again, and
//! verification is therefore always a new connection.
//!
//! One person may have many messages, so it is not `max_matches` that stops for a person but `max_messages`.
//!
//! Deleting a message that several people share deletes it for all of them: that is what the mail owner would do too.

mod fault;
mod mailbox;
mod search;
mod session;
pub(crate) mod utf7;
mod wire;
mod work;

#[cfg(test)]
mod tests;

use crate::mailmatch::{MAX_MESSAGES, not_corrected, unsupported};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{
    CheckReport, Connector, ExportSink, Journal, Manifest, Outcome, Problem, Secret, SpecFault, SystemSpec, Trouble,
    Verdict, Work,
};
use async_trait::async_trait;
use mailbox::Selection;
use redress_domain::{IdentifierType, Verb};
pub(crate) use session::trust;
use session::{Address, Session, Tls};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::ServerName;
use work::Task;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "imap",
    about: "a mail account on an IMAP server (Dovecot, Cyrus, Exchange …)",
    settings: "{ host = \"imap.acme.example\", username = \"support@acme.example\", port = 993, \
               tls = \"implicit|starttls|none\", ca_file = \"ca.pem\", mailboxes = [\"*\"], trash = \"Trash\", \
               max_messages = 10000, connect_timeout_seconds = 10 }",
    verbs: &["discover", "export", "erase", "verify"],
};

/// Checks the settings and makes the connector, without connecting.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let host = settings.required("host");
    let username = settings.required("username");
    let tls = match settings.text("tls").as_deref() {
        None | Some("implicit") => Tls::Implicit,
        Some("starttls") => Tls::Upgraded,
        Some("none") => Tls::None,
        Some(_) => {
            settings.fault("tls", "must be implicit, starttls or none");
            Tls::Implicit
        }
    };
    if tls == Tls::None && !host.is_empty() && !Address::is_loopback(&host) {
        settings.fault("tls", "may be none only for a server on this machine; a password does not travel in clear");
    }
    let standard = if tls == Tls::Implicit { 993 } else { 143 };
    let port = settings.number("port", 1..=65_535).and_then(|port| u16::try_from(port).ok()).unwrap_or(standard);
    let mut mailboxes = settings.texts("mailboxes").unwrap_or_else(|| vec!["*".to_owned()]);
    mailboxes.extend(settings.text("trash"));
    let max_messages = settings.number("max_messages", 1..=10_000_000).unwrap_or(MAX_MESSAGES);
    let connect_timeout = settings.number("connect_timeout_seconds", 1..=120).unwrap_or(10);
    let ca_file = settings.text("ca_file").map(|file| settings.path(&file));
    let client = match (ServerName::try_from(host.clone()), tls) {
        (_, Tls::None) => None,
        (Ok(name), _) => match trust(ca_file.as_deref()) {
            Ok(trust) => Some((trust, name)),
            Err(problem) => {
                settings.fault(problem.code, problem.detail);
                None
            }
        },
        (Err(_), _) => {
            if !host.is_empty() {
                settings.fault("host", "must be a host name or an IP address");
            }
            None
        }
    };
    let password = spec.secrets.get("password").cloned().unwrap_or_else(|| Secret::from(""));
    let mut faults = settings.finish(&["password"]);
    if password.expose().contains(['\0', '\r', '\n']) {
        faults.push(SpecFault::new("secrets.password", "holds a line break or NUL; remove it"));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Erase, Verb::Verify]),
        identifiers: vec![IdentifierType::Email],
        fields: Vec::new(),
        batch: 20,
        verify_after: Duration::ZERO,
    };
    let connect_timeout = Duration::from_secs(connect_timeout);
    let address = Address { host, port, tls, client, username, password, connect_timeout };
    Ok(Arc::new(Imap { manifest, address, selection: Selection(mailboxes), max_messages }))
}

struct Imap {
    manifest: Manifest,
    address: Address,
    selection: Selection,
    max_messages: u64,
}

impl Imap {
    /// Works off a batch over one connection, and over another one if that breaks. When none can be had, the rest of the
    /// batch gets the same answer: refused credentials are not tried again.
    async fn run(&self, batch: &[Work<'_>], task: Task<'_>) -> Vec<Outcome> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut session: Option<Session> = None;
        for item in batch {
            let mut current = match session.take() {
                Some(session) => session,
                None => match Session::connect(&self.address).await {
                    Ok(session) => session,
                    Err(trouble) => {
                        answers.resize_with(batch.len(), || Outcome::Trouble(trouble.clone()));
                        return answers;
                    }
                },
            };
            let answer = work::one(&mut current, &self.selection, self.max_messages, item, task).await;
            answers.push(answer.unwrap_or_else(Outcome::Trouble));
            session = Some(current).filter(|session| !session.is_broken());
        }
        if let Some(session) = session {
            session.log_out().await;
        }
        answers
    }
}

#[async_trait]
impl Connector for Imap {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        let checked = async {
            let mut session = Session::connect(&self.address).await?;
            let report = work::check(&mut session, &self.selection, self.address.tls).await?;
            session.log_out().await;
            Ok(report)
        };
        checked.await.map_err(|trouble| match trouble {
            Trouble::Retry(problem) | Trouble::Denied(problem) => problem,
            _ => Problem::new("interrupted", "the check was interrupted"),
        })
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        self.run(batch, Task::Count).await
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        self.run(batch, Task::Export(sink)).await
    }

    async fn rectify(&self, batch: &[Work<'_>], _journal: &dyn Journal) -> Vec<Outcome> {
        not_corrected(batch)
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        self.run(batch, Task::Erase(journal)).await
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        if verb != Verb::Erase {
            return batch.iter().map(|_| Verdict::Trouble(unsupported())).collect();
        }
        let verdict = |outcome| match outcome {
            Outcome::NothingFound(evidence) => Verdict::Confirmed(evidence),
            Outcome::Done(done) => Verdict::Residue { remaining: done.found, evidence: done.evidence },
            Outcome::Trouble(trouble) => Verdict::Trouble(trouble),
            Outcome::Accepted { check_after, .. } => Verdict::Trouble(Trouble::Throttled(check_after)),
        };
        self.run(batch, Task::Count).await.into_iter().map(verdict).collect()
    }
}

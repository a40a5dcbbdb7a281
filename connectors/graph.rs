//! Exchange Online keeps an organisation's mailboxes, and Microsoft Graph (v1.0) opens them to an application of Entra ID
//! with the permission `Mail.ReadWrite`, or the part of them that Exchange's own roles for applications leave it.
//!
//! Senders are asked for exactly (`$filter`), all participants broadly (`$search`, at most 1,000 hits: beyond that the
//! folder is read as a whole), and each hit's addresses are compared before its id is used. Deleted items that can still be
//! recovered are searched too. Not reached: in-place archives, and headers that Exchange does not take apart (Delivered-To,
//! Resent-). Ids are the immutable ones: the usual ones change when a message is moved.
//!
//! `permanentDelete` puts a message where neither the user nor this connector sees it; Exchange purges it when the mailbox's
//! retention of deleted items is over, later if it is on hold. National clouds (US Government, China) do not have it.

mod api;
mod escape;
mod read;

#[cfg(test)]
mod tests;

use crate::http::Line;
use crate::mailmatch::{Addressee, MAX_MESSAGES};
use crate::mailservice::{Choice, Hits, MailService, Mailboxes};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{CheckReport, Connector, Effect, Limits, Manifest, Secret, SpecFault, SystemSpec, Trouble};
use api::Api;
use async_trait::async_trait;
use redress_domain::limits::{Rate, Span};
use redress_domain::{IdentifierType, Verb};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "graph",
    about: "the mailboxes of Microsoft 365 (Exchange Online, by Microsoft Graph)",
    settings: "{ tenant = \"acme.onmicrosoft.com\", client_id = \"…\", mailboxes = [\"*\"], \
               except = [\"left@acme.example\"], retention_days = 14, max_messages = 10000, \
               login_url = \"…\", base_url = \"…\", scope = \"https://graph.microsoft.com/.default\" }",
    verbs: &["discover", "export", "erase", "verify"],
};

/// Calls in ten minutes, and at the same time, of one application to one mailbox. Verified on 2026-10-05.
const CALLS: u64 = 10_000;
const AT_ONCE: u32 = 4;
const TEN_MINUTES_MS: i64 = 600_000;

/// Checks the settings and makes the connector, without connecting.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let tenant = settings.required("tenant");
    let client_id = settings.required("client_id");
    let mailboxes = settings.texts("mailboxes").unwrap_or_else(|| vec!["*".to_owned()]);
    let choice = Choice { mailboxes, except: settings.texts("except").unwrap_or_default() };
    let retention_days = settings.number("retention_days", 0..=3_650).unwrap_or(14);
    let max_messages = settings.number("max_messages", 1..=10_000_000).unwrap_or(MAX_MESSAGES);
    let scope = settings.text("scope").unwrap_or_else(|| "https://graph.microsoft.com/.default".to_owned());
    let mut url = |key, usual: &str| {
        let given = settings.text(key);
        let url = Url::parse(given.as_deref().unwrap_or(usual)).ok();
        let fits = |url: &Url| {
            url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && spec.network.is_anywhere()))
        };
        if !url.as_ref().is_some_and(fits) {
            settings.fault(key, "must be an https URL");
        }
        url.unwrap_or_else(|| Url::parse(usual).expect("a constant"))
    };
    let login_url = url("login_url", "https://login.microsoftonline.com/");
    let base_url = url("base_url", "https://graph.microsoft.com/");
    let secret = spec.secrets.get("client_secret").cloned().unwrap_or_else(|| Secret::from(""));
    let faults = settings.finish(&["client_secret"]);
    if !faults.is_empty() {
        return Err(faults);
    }
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Erase, Verb::Verify]),
        identifiers: vec![IdentifierType::Email],
        fields: Vec::new(),
        batch: 5,
        // The search index follows a little later.
        verify_after: Duration::from_mins(2),
    };
    let line = Line::new(&spec.network, [&login_url, &base_url]);
    let configured = choice.mailboxes.clone();
    let api = Api::new(line, &login_url, base_url, &tenant, client_id, secret, scope, configured);
    Ok(Arc::new(Mailboxes(Graph { manifest, api, choice, retention_days: retention_days as u32, max_messages })))
}

struct Graph {
    manifest: Manifest,
    api: Api,
    choice: Choice,
    retention_days: u32,
    max_messages: u64,
}

#[async_trait]
impl MailService for Graph {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn line(&self) -> &Line {
        &self.api.line
    }

    /// The limit is one mailbox's, and the gate knows only the application: so many mailboxes, so many times the limit.
    fn limits(&self) -> Option<Limits> {
        if self.choice.is_all() {
            return None;
        }
        let mailboxes = self.choice.mailboxes.len();
        Some(Limits {
            rates: vec![Rate { calls: CALLS.saturating_mul(mailboxes as u64), span: Span::Sliding(TEN_MINUTES_MS) }],
            concurrency: Some(AT_ONCE.saturating_mul(mailboxes as u32)),
            ..Limits::default()
        })
    }

    fn effect(&self) -> Option<Effect> {
        Some(match self.retention_days {
            0 => Effect::Permanent,
            within_days => Effect::Scheduled { within_days },
        })
    }

    fn configured(&self) -> &[String] {
        &self.choice.mailboxes
    }

    fn max_messages(&self) -> u64 {
        self.max_messages
    }

    async fn check(&self) -> Result<CheckReport, Trouble> {
        let mailboxes = self.mailboxes().await?;
        for mailbox in mailboxes.iter().take(20) {
            self.api.look_in(mailbox).await?;
        }
        let mut report = CheckReport::default();
        report.ok.push("signed in as the application".to_owned());
        report.ok.push(format!("{} mailboxes, of which {} were read", mailboxes.len(), mailboxes.len().min(20)));
        report.warnings.push(format!(
            "Exchange purges deleted mail {} days later (settings.retention_days), or when a hold ends; in-place archives \
             are not searched",
            self.retention_days
        ));
        if !self.choice.except.is_empty() {
            report.warnings.push(format!("{} mailboxes are left out by settings.except", self.choice.except.len()));
        }
        Ok(report)
    }

    async fn mailboxes(&self) -> Result<Vec<String>, Trouble> {
        if !self.choice.is_all() {
            return Ok(self.choice.named());
        }
        let users = self.api.users().await?.into_iter();
        let wanted = users.filter(|user| !user.names.iter().any(|name| self.choice.leaves_out(name)));
        Ok(wanted.map(|user| user.id).collect::<BTreeSet<_>>().into_iter().collect())
    }

    async fn find(&self, _key: &str, mailbox: &str, who: &Addressee) -> Result<Hits, Trouble> {
        read::find(&self.api, mailbox, who).await
    }

    async fn still_there(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble> {
        self.api.still_there(mailbox, ids).await
    }

    async fn message(&self, mailbox: &str, id: &str) -> Result<Option<Vec<u8>>, Trouble> {
        self.api.mime(mailbox, id).await
    }

    async fn remove(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<(), Trouble> {
        self.api.delete(mailbox, ids).await
    }
}

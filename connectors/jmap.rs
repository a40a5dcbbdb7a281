//! A JMAP server keeps one user's mail, and perhaps that of others who share theirs (RFC 8620, RFC 8621): this connector
//! finds, exports and destroys one person's messages in the accounts that its user can open.
//!
//! What a JMAP server says to `from` and `to` filters depends on an index that may be missing or half built, and an empty
//! answer looks the same then. So an account of ordinary size is read as a whole, headers only, and each message compared
//! exactly; in a larger one it is searched by header texts, and a server that does not find a message that is known to be
//! there is not believed.
//!
//! Destroying removes a message from all mailboxes of the account at once. A server may keep what it removed for a while:
//! that is its operator's to say (`residual_days`).

mod api;
mod read;
mod session;

#[cfg(test)]
mod tests;

use crate::http::Line;
use crate::mailmatch::{Addressee, MAX_MESSAGES};
use crate::mailservice::{Choice, Hits, MailService, Mailboxes};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{CheckReport, Connector, Effect, Limits, Manifest, Secret, SpecFault, SystemSpec, Trouble};
use api::{Api, Credentials};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Verb};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "jmap",
    about: "a mail account on a JMAP server (Fastmail, Cyrus, Stalwart …)",
    settings: "{ session_url = \"https://mail.acme.example/jmap/session\", auth = \"basic|bearer\", \
               username = \"support@acme.example\", accounts = [\"*\"], residual_days = 0, scan_max = 20000, \
               max_messages = 10000 }",
    verbs: &["discover", "export", "erase", "verify"],
};

/// Accounts with no more messages are read as a whole, unless the settings say otherwise.
const SCAN_MAX: u64 = 20_000;

/// Checks the settings and makes the connector, without connecting.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let given = settings.required("session_url");
    let url = Url::parse(&given).ok().filter(|url| {
        url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && spec.network.is_anywhere()))
    });
    if url.is_none() && !given.is_empty() {
        settings.fault("session_url", "must be an https URL");
    }
    let bearer = match settings.text("auth").as_deref() {
        None | Some("basic") => false,
        Some("bearer") => true,
        Some(_) => {
            settings.fault("auth", "must be basic (username and password) or bearer (the password is a token)");
            false
        }
    };
    let username = if bearer { settings.text("username").unwrap_or_default() } else { settings.required("username") };
    if username.contains(':') {
        settings.fault("username", "holds a colon, which basic authentication cannot carry");
    }
    let accounts = settings.texts("accounts").unwrap_or_default();
    let residual_days = settings.number("residual_days", 0..=3_650).map(|days| days as u32);
    let scan_max = settings.number("scan_max", 0..=10_000_000).unwrap_or(SCAN_MAX);
    let max_messages = settings.number("max_messages", 1..=10_000_000).unwrap_or(MAX_MESSAGES);
    let password = spec.secrets.get("password").cloned().unwrap_or_else(|| Secret::from(""));
    let mut faults = settings.finish(&["password"]);
    if password.expose().chars().any(char::is_control) {
        faults.push(SpecFault::new("secrets.password", "holds a control character; remove it"));
    }
    let Some(url) = url.filter(|_| faults.is_empty()) else { return Err(faults) };
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Erase, Verb::Verify]),
        identifiers: vec![IdentifierType::Email],
        fields: Vec::new(),
        batch: 10,
        verify_after: Duration::ZERO,
    };
    let line = Line::new(&spec.network, [&url]);
    let api = Api::new(line, url, Credentials { bearer, username, password });
    let choice = Choice { mailboxes: accounts, except: Vec::new() };
    Ok(Arc::new(Mailboxes(Jmap { manifest, api, choice, residual_days, scan_max, max_messages })))
}

struct Jmap {
    manifest: Manifest,
    api: Api,
    choice: Choice,
    residual_days: Option<u32>,
    scan_max: u64,
    max_messages: u64,
}

#[async_trait]
impl MailService for Jmap {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn line(&self) -> &Line {
        &self.api.line
    }

    fn limits(&self) -> Option<Limits> {
        None
    }

    /// Without the operator's word it is not said that what a server removed is gone.
    fn effect(&self) -> Option<Effect> {
        Some(match self.residual_days {
            Some(0) => Effect::Permanent,
            residual_days => Effect::Soft { residual_days },
        })
    }

    fn configured(&self) -> &[String] {
        &self.choice.mailboxes
    }

    fn max_messages(&self) -> u64 {
        self.max_messages
    }

    async fn check(&self) -> Result<CheckReport, Trouble> {
        let accounts = self.mailboxes().await?;
        let mut report = CheckReport::default();
        report.ok.push("signed in".to_owned());
        let mut messages = 0;
        for account in &accounts {
            let total = read::total(&self.api, account).await?;
            if total > self.scan_max {
                read::prove_search(&self.api, account).await?;
                report.ok.push(format!(
                    "an account of {total} messages is searched by headers; its search finds what is there"
                ));
            }
            messages += total;
        }
        report.ok.push(format!("{} accounts with {messages} messages", accounts.len()));
        if self.residual_days.is_none() {
            report.warnings.push(
                "a server may keep what it removed for a while (Cyrus: expunge_mode = delayed); set settings.residual_days, 0 \
                 if it does not"
                    .to_owned(),
            );
        }
        Ok(report)
    }

    async fn mailboxes(&self) -> Result<Vec<String>, Trouble> {
        self.api.session().await?.accounts(&self.choice)
    }

    async fn find(&self, _key: &str, account: &str, who: &Addressee) -> Result<Hits, Trouble> {
        read::find(&self.api, account, who, self.scan_max).await
    }

    async fn still_there(&self, account: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble> {
        self.api.still_there(account, ids).await
    }

    async fn message(&self, account: &str, id: &str) -> Result<Option<Vec<u8>>, Trouble> {
        self.api.message(account, id).await
    }

    async fn remove(&self, account: &str, ids: &BTreeSet<String>) -> Result<(), Trouble> {
        self.api.destroy(account, ids).await
    }
}

//! Gmail keeps the mailboxes of a Google Workspace: this connector reaches them with a service account to which the
//! workspace's administrator has delegated its domain (Gmail API v1, RFC 7523).
//!
//! Gmail searches words, not addresses; so it is asked broadly (`query`) and each hit's address headers are compared exactly
//! before its id is used (`mailmatch`). Not searched are the headers for which Gmail has no operator (Sender, Reply-To,
//! Resent-): a message that names a person only there is not found. Spam and trash are searched.
//!
//! Messages are removed by `batchDelete`, which passes the trash by. The workspace's administrator can bring them back for
//! 25 days, and a hold or a retention rule of Vault keeps them longer.

mod api;
mod query;
mod quota;
mod read;

#[cfg(test)]
mod tests;

use crate::http::{Line, SigningKey};
use crate::mailmatch::{Addressee, MAX_MESSAGES};
use crate::mailservice::{Choice, Hits, MailService, Mailboxes, told_as};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{CheckReport, Connector, Effect, Limits, Manifest, SpecFault, SystemSpec, Trouble};
use api::Api;
use async_trait::async_trait;
use quota::{QUOTAS, Quota};
use redress_domain::limits::{Rate, Span};
use redress_domain::{IdentifierType, Verb};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "gmail",
    about: "the Gmail mailboxes of a Google Workspace (service account with domain-wide delegation)",
    settings: "{ service_account = \"redress@project.iam.gserviceaccount.com\", mailboxes = [\"*\"], \
               admin = \"admin@acme.example\", except = [\"left@acme.example\"], quota = \"2026|legacy\", \
               key_id = \"…\", max_messages = 10000, token_url = \"…\", base_url = \"…\", directory_url = \"…\" }",
    verbs: &["discover", "export", "erase", "verify"],
};

/// So long an administrator can bring deleted mail back.
const RESTORABLE_DAYS: u32 = 25;
const MINUTE_MS: i64 = 60_000;

/// Checks the settings and makes the connector, without connecting.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let account = settings.required("service_account");
    let mailboxes = settings.texts("mailboxes").unwrap_or_else(|| vec!["*".to_owned()]);
    let choice = Choice { mailboxes, except: settings.texts("except").unwrap_or_default() };
    let admin = settings.text("admin");
    if choice.is_all() && admin.is_none() {
        settings.fault("admin", "is missing: mailboxes = [\"*\"] reads the directory as this administrator");
    }
    if choice.mailboxes.iter().any(|name| name != "*" && !name.contains('@')) {
        settings.fault("mailboxes", "must be addresses, or \"*\" alone for every user of the directory");
    }
    let quota = match settings.text("quota") {
        None => QUOTAS[0],
        Some(name) => QUOTAS.into_iter().find(|quota| quota.name == name).unwrap_or_else(|| {
            settings.fault("quota", quota::unknown().detail);
            QUOTAS[0]
        }),
    };
    let key_id = settings.text("key_id");
    let max_messages = settings.number("max_messages", 1..=10_000_000).unwrap_or(MAX_MESSAGES);
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
    let urls = [
        url("token_url", "https://oauth2.googleapis.com/token"),
        url("base_url", "https://gmail.googleapis.com/"),
        url("directory_url", "https://admin.googleapis.com/"),
    ];
    let key = spec.secrets.get("private_key").and_then(|pem| SigningKey::from_pem(pem.expose()));
    let has_secret = spec.secrets.contains_key("private_key");
    let mut faults = settings.finish(&["private_key"]);
    if key.is_none() && has_secret {
        let what = "must be the service account's private key in PEM (`private_key` of its JSON file)";
        faults.push(SpecFault::new("secrets.private_key", what));
    }
    let Some(key) = key.filter(|_| faults.is_empty()) else { return Err(faults) };
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Erase, Verb::Verify]),
        identifiers: vec![IdentifierType::Email],
        fields: Vec::new(),
        batch: 5,
        // The search sees a deletion a little later.
        verify_after: Duration::from_mins(1),
    };
    let line = Line::new(&spec.network, &urls);
    let [token_url, base_url, directory_url] = urls;
    let api = Api::new(line, account, key_id, key, token_url, base_url, directory_url, quota, choice.mailboxes.clone());
    Ok(Arc::new(Mailboxes(Gmail { manifest, api, choice, admin, max_messages, quota })))
}

struct Gmail {
    manifest: Manifest,
    api: Api,
    choice: Choice,
    admin: Option<String>,
    max_messages: u64,
    quota: Quota,
}

#[async_trait]
impl MailService for Gmail {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn line(&self) -> &Line {
        &self.api.line
    }

    /// The gate knows one credential, so what it is told is the project's limit, or less if the mailboxes are so few that
    /// they cannot use that; each mailbox's own minute is kept by [`quota::Pace`].
    fn limits(&self) -> Option<Limits> {
        let mailboxes = if self.choice.is_all() { u64::MAX } else { self.choice.mailboxes.len() as u64 };
        let units = self.quota.mailbox.saturating_mul(mailboxes).min(self.quota.project);
        Some(Limits { rates: vec![Rate { calls: units, span: Span::Sliding(MINUTE_MS) }], ..Limits::default() })
    }

    fn effect(&self) -> Option<Effect> {
        Some(Effect::Soft { residual_days: Some(RESTORABLE_DAYS) })
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
            self.api.list_page(mailbox, None, None, 1).await?;
        }
        let mut report = CheckReport::default();
        report.ok.push("signed in as the service account".to_owned());
        report.ok.push(format!("{} mailboxes, of which {} were read", mailboxes.len(), mailboxes.len().min(20)));
        report.warnings.push(format!(
            "an administrator can bring deleted mail back for {RESTORABLE_DAYS} days; holds and retention rules of Vault keep it longer"
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
        let users = self.api.users(self.admin.as_deref().unwrap_or_default()).await?;
        let mut found = BTreeSet::new();
        for user in users.into_iter().filter(|user| user.has_mailbox && !self.choice.leaves_out(&user.address)) {
            if user.is_suspended {
                let which = told_as(&self.choice.mailboxes, &user.address);
                return Err(crate::mailservice::mailbox_unavailable(
                    &which,
                    "its user is suspended, and Gmail opens no mailbox of a suspended user",
                ));
            }
            found.insert(user.address);
        }
        Ok(found.into_iter().collect())
    }

    async fn find(&self, key: &str, mailbox: &str, who: &Addressee) -> Result<Hits, Trouble> {
        read::find(&self.api, key, mailbox, who).await
    }

    async fn still_there(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble> {
        read::still_there(&self.api, mailbox, ids).await
    }

    async fn message(&self, mailbox: &str, id: &str) -> Result<Option<Vec<u8>>, Trouble> {
        self.api.raw(mailbox, id).await
    }

    async fn remove(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<(), Trouble> {
        self.api.seen.forget_mailbox(mailbox);
        let ids: Vec<&String> = ids.iter().collect();
        for chunk in ids.chunks(api::DELETE_AT_ONCE) {
            self.api.batch_delete(mailbox, chunk).await?;
        }
        Ok(())
    }

    fn forget(&self, key: &str) {
        self.api.seen.forget(key);
    }
}

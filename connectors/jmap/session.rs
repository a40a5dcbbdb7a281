//! A session is what the server says about itself: where its API is, what it takes at once, and which accounts there are.

use crate::http::unreadable;
use crate::mailservice::Choice;
use crate::{Problem, Trouble};
use serde_json::Value;
use std::collections::BTreeMap;
use url::Url;

pub(super) const CORE: &str = "urn:ietf:params:jmap:core";
pub(super) const MAIL: &str = "urn:ietf:params:jmap:mail";
/// More in one request is not asked for, whatever the server allows.
const MOST: u64 = 500;

/// What is needed of a session (RFC 8620 section 2).
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) api: Url,
    download: String,
    base: Url,
    pub(super) get_at_once: usize,
    pub(super) set_at_once: usize,
    /// Accounts with mail; whether each is the user's own.
    accounts: BTreeMap<String, bool>,
    primary: Option<String>,
}

impl Session {
    /// Reads a session that was fetched from `base`.
    pub(super) fn read(body: &Value, base: &Url) -> Result<Self, Trouble> {
        let text =
            |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(unreadable);
        let api = base.join(text("apiUrl")?).map_err(|_| unreadable())?;
        let most = |name: &str| {
            let core = body.get("capabilities").and_then(|all| all.get(CORE));
            core.and_then(|core| core.get(name)).and_then(Value::as_u64).unwrap_or(MOST).clamp(1, MOST) as usize
        };
        let accounts = body.get("accounts").and_then(Value::as_object).ok_or_else(unreadable)?;
        let with_mail = accounts
            .iter()
            .filter(|(_, account)| account.pointer("/accountCapabilities").is_some_and(|all| all.get(MAIL).is_some()));
        let is_own = |account: &Value| account.get("isPersonal").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            api,
            download: text("downloadUrl")?.to_owned(),
            base: base.clone(),
            get_at_once: most("maxObjectsInGet"),
            set_at_once: most("maxObjectsInSet"),
            accounts: with_mail.map(|(id, account)| (id.clone(), is_own(account))).collect(),
            primary: body
                .pointer("/primaryAccounts")
                .and_then(|all| all.get(MAIL))
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }

    /// The accounts to look into: those chosen, all for `*`, the user's own if nothing was chosen.
    pub(super) fn accounts(&self, choice: &Choice) -> Result<Vec<String>, Trouble> {
        if choice.is_all() {
            return Self::some(self.accounts.keys().cloned().collect());
        }
        if !choice.mailboxes.is_empty() {
            if choice.mailboxes.iter().any(|id| !self.accounts.contains_key(id)) {
                return Err(Trouble::Denied(Problem::new(
                    "account_missing",
                    "an account of settings.accounts is not among those with mail that this user can open; correct its id or \
                     share it with the user",
                )));
            }
            return Ok(choice.mailboxes.clone());
        }
        let own = self.primary.clone().filter(|id| self.accounts.contains_key(id));
        Self::some(own.map_or_else(
            || self.accounts.iter().filter(|(_, own)| **own).map(|(id, _)| id.clone()).collect(),
            |id| vec![id],
        ))
    }

    fn some(accounts: Vec<String>) -> Result<Vec<String>, Trouble> {
        if accounts.is_empty() {
            return Err(Trouble::Denied(Problem::new(
                "account_missing",
                "this user has no account with mail at the server; check settings.username and the token's permissions",
            )));
        }
        Ok(accounts)
    }

    /// Where a blob is.
    pub(super) fn blob(&self, account: &str, blob: &str) -> Result<Url, Trouble> {
        let encoded = |text: &str| -> String {
            text.bytes()
                .map(|byte| {
                    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                        char::from(byte).to_string()
                    } else {
                        format!("%{byte:02X}")
                    }
                })
                .collect()
        };
        let url = self
            .download
            .replace("{accountId}", &encoded(account))
            .replace("{blobId}", &encoded(blob))
            .replace("{name}", "message.eml")
            .replace("{type}", "message%2Frfc822");
        self.base.join(&url).map_err(|_| unreadable())
    }
}

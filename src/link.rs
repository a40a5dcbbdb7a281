//! A link that the operator hands over signs somebody in once, where there is no identity provider, or before there is an
//! administrator.

use redress_domain::{ControllerId, Role, Roles};
use redress_store::{Identified, SignIn, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a link may wait for its use.
const LASTS: Duration = Duration::from_mins(15);
/// Who vouches for whoever comes by a link.
pub(crate) const ISSUER: &str = "local";

/// For whom a link is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Invited {
    name: String,
    roles: Vec<Role>,
    controllers: Option<Vec<ControllerId>>,
}

impl Invited {
    /// Somebody with these roles at these controllers (none: all of them).
    ///
    /// # Errors
    /// A controller's own people need a controller, and everybody a role and a name.
    pub(crate) fn new(
        name: &str,
        roles: &[Role],
        controllers: Option<Vec<ControllerId>>,
    ) -> Result<Self, &'static str> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err("a name has 1 to 200 characters");
        }
        if roles.is_empty() {
            return Err("somebody without a role may do nothing: name one with --role");
        }
        if controllers.is_none() && roles.iter().any(|role| role.is_of_one_controller()) {
            return Err("the roles of a controller's own people need --controller");
        }
        Ok(Self { name: name.to_owned(), roles: roles.to_vec(), controllers })
    }

    /// Whoever sets an installation up on one machine.
    pub(crate) fn first_administrator() -> Self {
        let roles = vec![Role::Admin, Role::PrivacyLead, Role::BreakGlass];
        Self { name: "admin".to_owned(), roles, controllers: None }
    }

    /// What was remembered with the link.
    pub(crate) fn read(kept: &Value) -> Option<Self> {
        Self::deserialize(kept).ok()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn roles(&self) -> Roles {
        Roles::new(self.roles.iter().copied())
    }

    /// As whom they are known: the same name is the same person.
    pub(crate) fn identified(&self) -> Identified {
        Identified {
            issuer: ISSUER.to_owned(),
            subject: self.name.clone().into(),
            name: self.name.clone().into(),
            email: None,
            roles: self.roles(),
            controllers: self.controllers.clone(),
        }
    }

    /// Makes the link.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn link(&self, store: &Store, public_url: &str) -> Result<String, redress_store::Error> {
        let code = store.begin_sign_in(SignIn::Link, &json!(self), LASTS).await?;
        let roles: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        store
            .record_staff_event("operator", "link_made", json!({ "roles": roles, "controllers": self.controllers }))
            .await?;
        Ok(format!("{public_url}/sign-in/link?code={code}"))
    }
}

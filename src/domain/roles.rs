//! A role is what somebody is here for; a permit is what a call needs. One `match` says which role holds which permit, and what
//! is not said is not allowed.
//!
//! API keys have one role of one controller; people may have several, given by their identity provider's groups or by an
//! administrator. The roles are those that privacy teams know: whoever keeps the machines running sees no personal data,
//! whoever audits sees no names, whoever administers does not decide about requests.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What somebody is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything in its own controller: systems and keys too.
    ControllerAdmin,
    /// Submits, reads, decides and fetches answers, for its own controller.
    ControllerUser,
    /// Reads states and the audit log; never a name, never an answer.
    Auditor,
    /// Works on requests of the controllers given to them.
    PrivacyAnalyst,
    /// As an analyst, and approves, rejects, extends and fetches answers.
    PrivacyLead,
    /// Keeps systems and workers running; sees no personal data.
    Operator,
    /// Connects systems, makes keys, says who may do what; sees no personal data.
    Admin,
    /// May take the rights of a privacy lead and an operator for a short time, for a reason, before everybody's eyes.
    BreakGlass,
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permit {
    /// States, dates, counts, reports, the audit log: nothing that names a person.
    See,
    /// What identifies a person, in clear, with a reason that is kept.
    Reveal,
    /// The package that answers an access request.
    Fetch,
    /// A new request.
    Submit,
    /// Withdraw, pause, resume, acknowledge.
    Act,
    /// Approve, reject, extend; set and release legal holds.
    Decide,
    /// Try again what needed attention.
    Retry,
    /// See a task with the person it is about, and report it done.
    Task,
    /// Pause, resume and check connected systems.
    Operate,
    /// Connect, change and disconnect systems.
    Connect,
    /// Make, list and revoke API keys.
    Keys,
    /// Say who may do what, end their sessions, change whom notices go to.
    People,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 8] = [
        Role::ControllerAdmin,
        Role::ControllerUser,
        Role::Auditor,
        Role::PrivacyAnalyst,
        Role::PrivacyLead,
        Role::Operator,
        Role::Admin,
        Role::BreakGlass,
    ];
    /// Those that an API key may have.
    pub const KEYS: [Role; 3] = [Role::ControllerAdmin, Role::ControllerUser, Role::Auditor];

    /// Its spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::ControllerAdmin => "controller_admin",
            Role::ControllerUser => "controller_user",
            Role::Auditor => "auditor",
            Role::PrivacyAnalyst => "privacy_analyst",
            Role::PrivacyLead => "privacy_lead",
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::BreakGlass => "break_glass",
        }
    }

    /// The role of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether it is one of a controller's own: whoever holds it sees one controller and no other.
    pub const fn is_of_one_controller(self) -> bool {
        matches!(self, Role::ControllerAdmin | Role::ControllerUser)
    }

    /// Whether it holds a permit. `BreakGlass` holds its permits only while it is taken up ([`Roles::with_broken_glass`]).
    pub const fn may(self, permit: Permit) -> bool {
        use Permit::{Act, Connect, Decide, Fetch, Keys, Operate, People, Retry, Reveal, See, Submit, Task};
        match self {
            Role::ControllerAdmin => !matches!(permit, People),
            Role::ControllerUser => matches!(permit, See | Reveal | Fetch | Submit | Act | Decide | Retry | Task),
            Role::Auditor => matches!(permit, See),
            Role::PrivacyAnalyst => matches!(permit, See | Reveal | Submit | Act | Retry | Task),
            Role::PrivacyLead => matches!(permit, See | Reveal | Fetch | Submit | Act | Decide | Retry | Task),
            Role::Operator => matches!(permit, See | Retry | Operate),
            Role::Admin => matches!(permit, See | Operate | Connect | Keys | People),
            Role::BreakGlass => matches!(permit, See | Reveal | Fetch | Act | Decide | Retry | Task | Operate),
        }
    }
}

impl Permit {
    /// Every permit.
    pub const ALL: [Permit; 12] = [
        Permit::See,
        Permit::Reveal,
        Permit::Fetch,
        Permit::Submit,
        Permit::Act,
        Permit::Decide,
        Permit::Retry,
        Permit::Task,
        Permit::Operate,
        Permit::Connect,
        Permit::Keys,
        Permit::People,
    ];

    /// What it allows, after "may".
    pub const fn allows(self) -> &'static str {
        match self {
            Permit::See => "see states, dates and the audit log",
            Permit::Reveal => "see who a person is",
            Permit::Fetch => "fetch the answer to an access request",
            Permit::Submit => "submit requests",
            Permit::Act => "withdraw, pause, resume and acknowledge requests",
            Permit::Decide => "approve, reject and extend requests, and set and release legal holds",
            Permit::Retry => "try again what needed attention",
            Permit::Task => "see and report tasks",
            Permit::Operate => "pause, resume and check systems",
            Permit::Connect => "connect and change systems",
            Permit::Keys => "make and revoke API keys",
            Permit::People => "say who may do what",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The roles that somebody has at the same time. None: nothing is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles {
    held: Vec<Role>,
    glass_is_broken: bool,
}

impl Roles {
    /// These roles, each once; `BreakGlass` not taken up.
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Self {
        let mut held: Vec<Role> = roles.into_iter().collect();
        held.sort_unstable();
        held.dedup();
        Self { held, glass_is_broken: false }
    }

    /// With the emergency rights taken up, if somebody has them.
    #[must_use]
    pub fn with_broken_glass(mut self) -> Self {
        self.glass_is_broken = self.held.contains(&Role::BreakGlass);
        self
    }

    /// Whether the emergency rights are taken up.
    pub const fn glass_is_broken(&self) -> bool {
        self.glass_is_broken
    }

    /// Whether one of them holds a permit.
    pub fn may(&self, permit: Permit) -> bool {
        self.held.iter().any(|role| (*role != Role::BreakGlass || self.glass_is_broken) && role.may(permit))
    }

    /// Whether nothing that names a person may be shown: auditors, operators and administrators see pseudonyms.
    pub fn is_pseudonymised(&self) -> bool {
        !self.may(Permit::Reveal)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.held.iter().copied()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self::new([role])
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.held.iter().map(|role| role.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who holds what, written down a second time: columns are the roles in the order of `Role::ALL`.
    const TABLE: [(Permit, &str); 12] = [
        //                  admin user audit analyst lead operator admin glass
        (Permit::See, "xxxxxxxx"),
        (Permit::Reveal, "xx.xx..x"),
        (Permit::Fetch, "xx..x..x"),
        (Permit::Submit, "xx.xx..."),
        (Permit::Act, "xx.xx..x"),
        (Permit::Decide, "xx..x..x"),
        (Permit::Retry, "xx.xxx.x"),
        (Permit::Task, "xx.xx..x"),
        (Permit::Operate, "x....xxx"),
        (Permit::Connect, "x.....x."),
        (Permit::Keys, "x.....x."),
        (Permit::People, "......x."),
    ];

    #[test]
    fn every_role_holds_what_is_written_down_and_nothing_else() {
        assert_eq!(TABLE.map(|(permit, _)| permit), Permit::ALL);
        for (permit, row) in TABLE {
            for (role, mark) in Role::ALL.into_iter().zip(row.chars()) {
                assert_eq!(role.may(permit), mark == 'x', "{role} and {permit:?}");
            }
        }
    }

    #[test]
    fn whoever_has_no_role_may_do_nothing_and_unbroken_glass_gives_nothing() {
        for permit in Permit::ALL {
            assert!(!Roles::default().may(permit));
            assert!(!Roles::from(Role::BreakGlass).may(permit));
            assert_eq!(Roles::from(Role::BreakGlass).with_broken_glass().may(permit), Role::BreakGlass.may(permit));
            assert_eq!(Roles::from(Role::Operator).with_broken_glass().may(permit), Role::Operator.may(permit));
        }
    }

    #[test]
    fn several_roles_allow_what_any_of_them_does() {
        let both = Roles::new([Role::Operator, Role::PrivacyAnalyst, Role::Operator]);
        assert_eq!(both.iter().count(), 2);
        for permit in Permit::ALL {
            assert_eq!(both.may(permit), Role::Operator.may(permit) || Role::PrivacyAnalyst.may(permit));
        }
        assert!(!both.is_pseudonymised() && Roles::from(Role::Auditor).is_pseudonymised());
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }
}

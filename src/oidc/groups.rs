//! Groups are what an identity provider says somebody belongs to; the operator says what they may do here. Nothing is allowed that
//! was not said.

use redress_domain::{Role, Roles};

/// What the operator said about groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    roles: Vec<(String, Role)>,
    controllers: Vec<(String, String)>,
    everything: Vec<String>,
}

/// What somebody may do, and at whose requests (by name; none: everybody's).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) roles: Roles,
    pub(crate) controllers: Option<Vec<String>>,
}

/// Stands for everybody who has a role.
const EVERYBODY: &str = "*";

impl Groups {
    /// Reads `group = role`, `group = controller` and groups; what is wrong, with the key it stands under.
    pub(crate) fn parse(
        roles: &[String],
        controllers: &[String],
        everything: &[String],
    ) -> Result<Self, Vec<(&'static str, String)>> {
        let mut faults = Vec::new();
        let mut read = Self { everything: everything.to_vec(), ..Self::default() };
        for (i, entry) in roles.iter().enumerate() {
            if let Some(pair) = pair(entry).and_then(|(group, role)| Some((group, Role::parse(&role)?))) {
                read.roles.push(pair);
            } else {
                let known = Role::ALL.map(Role::as_str).join(", ");
                let detail = format!("entry {} must be \"group = role\" with one of the roles {known}", i + 1);
                faults.push(("oidc.roles", detail));
            }
        }
        for (i, entry) in controllers.iter().enumerate() {
            match pair(entry) {
                Some(pair) => read.controllers.push(pair),
                None => {
                    faults.push((
                        "oidc.controllers",
                        format!("entry {} must be \"group = name of a controller\"", i + 1),
                    ));
                }
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// What somebody in these groups may do.
    ///
    /// Whoever holds a role of a controller's own people is confined to the controllers that their groups name, whatever else they
    /// belong to; and whoever sees no controller has no role.
    pub(crate) fn grant(&self, groups: &[String]) -> Granted {
        let is_in = |group: &String| groups.contains(group);
        let mut named: Vec<String> =
            self.controllers.iter().filter(|(group, _)| is_in(group)).map(|(_, name)| name.clone()).collect();
        named.sort_unstable();
        named.dedup();
        let roles = self.roles.iter().filter(|(group, _)| is_in(group)).map(|(_, role)| *role);
        let roles = Roles::new(roles.filter(|role| !role.is_of_one_controller() || !named.is_empty()));
        let confined = roles.iter().any(Role::is_of_one_controller);
        let everything = self.everything.iter().any(is_in)
            || (named.is_empty() && self.everything.iter().any(|group| group == EVERYBODY));
        if roles.is_empty() || (!everything && named.is_empty()) {
            return Granted { roles: Roles::default(), controllers: Some(Vec::new()) };
        }
        Granted { roles, controllers: (confined || !everything).then_some(named) }
    }
}

/// Names of groups may hold the sign, as those of LDAP do; names of roles and controllers do not.
fn pair(entry: &str) -> Option<(String, String)> {
    let (group, meaning) = entry.rsplit_once('=')?;
    let (group, meaning) = (group.trim(), meaning.trim());
    (!group.is_empty() && !meaning.is_empty()).then(|| (group.to_owned(), meaning.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    fn groups(everything: &[&str]) -> Groups {
        let roles =
            ["team = privacy_analyst", "heads=privacy_lead", "cn=ops,ou=it = operator", "acme = controller_admin"];
        let controllers = ["acme = acme", "globex = globex", "acme-de = acme"];
        Groups::parse(&texts(&roles), &texts(&controllers), &texts(everything)).unwrap()
    }

    fn granted(roles: &[Role], controllers: Option<&[&str]>) -> Granted {
        Granted { roles: Roles::new(roles.iter().copied()), controllers: controllers.map(texts) }
    }

    #[test]
    fn nobody_has_what_was_not_said() {
        let nothing = granted(&[], Some(&[]));
        for everything in [&[][..], &["*"], &["heads"]] {
            assert_eq!(groups(everything).grant(&[]), nothing);
            assert_eq!(groups(everything).grant(&texts(&["Team", "tea", "other", "*"])), nothing, "{everything:?}");
        }
        assert_eq!(groups(&["heads"]).grant(&texts(&["team"])), nothing, "a role, but nobody's requests");
        assert_eq!(groups(&["*"]).grant(&texts(&["globex"])), nothing, "a controller, but no role");
    }

    #[test]
    fn groups_give_roles_and_say_whose_requests_are_seen() {
        use Role::{ControllerAdmin, Operator, PrivacyAnalyst, PrivacyLead};
        for (everything, given, want) in [
            (&["*"][..], &["team"][..], granted(&[PrivacyAnalyst], None)),
            (&["*"], &["team", "heads", "team"], granted(&[PrivacyAnalyst, PrivacyLead], None)),
            (&["*"], &["cn=ops,ou=it"], granted(&[Operator], None)),
            (&["heads"], &["heads", "team"], granted(&[PrivacyAnalyst, PrivacyLead], None)),
            // A named controller confines, except those who are named as seeing everything.
            (&["*"], &["team", "globex"], granted(&[PrivacyAnalyst], Some(&["globex"]))),
            (&["heads"], &["heads", "globex"], granted(&[PrivacyLead], None)),
            (&[], &["team", "acme-de", "globex"], granted(&[PrivacyAnalyst], Some(&["acme", "globex"]))),
            // A controller's own people never see another's.
            (&["*"], &["acme"], granted(&[ControllerAdmin], Some(&["acme"]))),
            (&["*", "heads"], &["acme", "heads"], granted(&[ControllerAdmin, PrivacyLead], Some(&["acme"]))),
        ] {
            assert_eq!(groups(everything).grant(&texts(given)), want, "{everything:?} {given:?}");
        }
    }

    #[test]
    fn a_role_of_a_controllers_own_people_without_a_controller_is_no_role() {
        let roles = texts(&["staff = controller_user", "staff = auditor"]);
        let groups = Groups::parse(&roles, &[], &texts(&["*"])).unwrap();
        assert_eq!(groups.grant(&texts(&["staff"])), granted(&[Role::Auditor], None));
    }

    #[test]
    fn every_entry_that_cannot_be_read_is_named_and_not_quoted() {
        let faults = Groups::parse(&texts(&["canary", "g = root", "g = admin"]), &texts(&["= acme", "canary ="]), &[])
            .unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["oidc.roles", "oidc.roles", "oidc.controllers", "oidc.controllers"]);
        assert!(faults.iter().all(|(_, detail)| !detail.contains("canary")), "{faults:?}");
    }
}

//! A choice is the law that governs a request: the one that is named, else that of the place, else that of the controller's country.

use super::{Regulation, Role, RuleTable};
use crate::RequestType;
use std::collections::BTreeSet;

/// Why no regulation could be chosen: the caller named something that the table does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No law has this id.
    #[error("unknown regulation {id}; known are {}", known.join(", "))]
    UnknownRegulation {
        /// What was asked for.
        id: String,
        /// Every id of a law.
        known: Vec<String>,
    },
    /// No law is listed for this place.
    #[error("no regulation is known for the jurisdiction {jurisdiction}; known are {}", known.join(", "))]
    UnknownJurisdiction {
        /// What was asked for.
        jurisdiction: String,
        /// Every place that is listed.
        known: Vec<String>,
    },
}

/// The law that governs a request, and how it was found.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The law.
    pub regulation: &'a Regulation,
    /// What it was chosen by.
    pub by: ChosenBy<'a>,
}

/// What a law was chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy<'a> {
    /// The request names it.
    Id,
    /// The request names this jurisdiction.
    Jurisdiction(&'a str),
    /// Nothing was named; the controller is established in this country.
    Country(&'a str),
}

/// Members of the European Union, ISO 3166-1.
const EU_MEMBERS: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];
/// States of the European Economic Area that are not members of the Union (EEA Joint Committee Decision 154/2018).
const EEA_ONLY: [&str; 3] = ["IS", "LI", "NO"];
/// Laws that bind some trades only (health care, consumer health data, data brokers): never concluded from a country.
const SECTORAL: [&str; 3] = ["US-HIPAA", "US-WA-MHMDA", "US-CA-DELETE"];

impl RuleTable {
    /// The law that governs a request: the one that is named, else that of the named jurisdiction, else that of the
    /// controller's country, which may have none.
    pub fn choose<'a>(
        &'a self,
        request_type: RequestType,
        regulation: Option<&str>,
        jurisdiction: Option<&'a str>,
        controller_country: Option<&'a str>,
    ) -> Result<Option<Choice<'a>>, ChoiceError> {
        if let Some(id) = regulation {
            let found = self.laws().find(|law| law.id == id);
            let unknown = || {
                let known = self.laws().map(|law| law.id.clone()).collect();
                ChoiceError::UnknownRegulation { id: id.to_owned(), known }
            };
            return Ok(Some(Choice { regulation: found.ok_or_else(unknown)?, by: ChosenBy::Id }));
        }
        if let Some(place) = jurisdiction {
            let found = self.law_of(place, request_type, true).or_else(|| {
                // A part of a country without a law of its own is under the country's: `CA-ON` under Canada's.
                self.law_of(place.split_once('-')?.0, request_type, false)
            });
            let unknown = || ChoiceError::UnknownJurisdiction {
                jurisdiction: place.to_owned(),
                known: self.known_jurisdictions(),
            };
            let by = ChosenBy::Jurisdiction(place);
            return Ok(Some(Choice { regulation: found.ok_or_else(unknown)?, by }));
        }
        let Some(country) = controller_country else { return Ok(None) };
        let found = self.law_of(country, request_type, false);
        Ok(found.map(|regulation| Choice { regulation, by: ChosenBy::Country(country) }))
    }

    fn laws(&self) -> impl Iterator<Item = &Regulation> {
        self.regulations.iter().filter(|regulation| regulation.role == Role::ControllerStatutory)
    }

    /// Of several laws in one place (South Africa has one for access, one for the rest), the first that has a rule for
    /// the type; a law without one still is the law there.
    fn law_of(&self, place: &str, request_type: RequestType, sectoral: bool) -> Option<&Regulation> {
        let here = || self.laws().filter(|law| law.covers(place) && (sectoral || !SECTORAL.contains(&law.id.as_str())));
        here().find(|law| law.rule_for(request_type).is_some()).or_else(|| here().next())
    }

    fn known_jurisdictions(&self) -> Vec<String> {
        let mut known: BTreeSet<&str> = self.laws().flat_map(|law| &law.jurisdictions).map(String::as_str).collect();
        if known.contains("EU") {
            known.extend(EU_MEMBERS);
        }
        if known.contains("EEA") {
            known.extend(EEA_ONLY);
        }
        known.into_iter().map(str::to_owned).collect()
    }
}

impl Regulation {
    /// Whether it is the law in a place (ISO 3166 in any case, `EU` or `EEA`). A law of a state does not cover the
    /// country, nor the other way round.
    pub fn covers(&self, place: &str) -> bool {
        let lists = |name: &str| self.jurisdictions.iter().any(|listed| listed.eq_ignore_ascii_case(name));
        let among = |members: &[&str]| members.iter().any(|member| member.eq_ignore_ascii_case(place));
        lists(place)
            || (lists("EU") && among(&EU_MEMBERS))
            || (lists("EEA") && (among(&EU_MEMBERS) || among(&EEA_ONLY)))
    }
}

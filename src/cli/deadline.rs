//! `redress deadline` computes the dates of a request that need not exist, and says why; or works out a file of vectors.

use super::Json;
use crate::config::Config;
use crate::provision::is_country;
use crate::rules::RulesInUse;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use redress_domain::RequestType;
use redress_domain::deadline::{ClockFacts, ClockState, Deadlines, ExtensionNotice, Pause, compute, zone};
use redress_domain::regulation::{PauseKind, Regulation, RuleTable};
use redress_domain::terms::Terms;
use redress_domain::vectors::evaluate;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(crate) struct Deadline {
    /// Id of a regulation, such as EU-GDPR; several for a request under several laws. Left out: the law of the jurisdiction, else of the country.
    #[arg(long)]
    regulation: Vec<String>,
    /// The right: access, portability, correction, deletion, restriction or objection.
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "vectors")]
    request_type: Option<String>,
    /// When the person's request reached the controller, with offset: 2026-01-31T23:30:00+01:00.
    #[arg(long, required_unless_present = "vectors")]
    received_at: Option<String>,
    /// When the controller's instruction reached the processor; the same as --received-at if left out.
    #[arg(long)]
    instruction_received_at: Option<String>,
    /// IANA time zone of the controller.
    #[arg(long)]
    timezone: Option<String>,
    /// Where the controller is established, ISO 3166-1; guessed from the time zone if left out.
    #[arg(long)]
    country: Option<String>,
    /// Where the person is, ISO 3166.
    #[arg(long)]
    jurisdiction: Option<String>,
    /// Holiday calendar of the controller, such as de-by.
    #[arg(long)]
    calendar: Option<String>,
    /// A time of waiting, KIND:FROM..TO or, still open, KIND:FROM.. ; KIND is identity, clarification, fee or controller.
    #[arg(long, value_name = "KIND:FROM..TO")]
    pause: Vec<String>,
    /// Pauses count for every type for which the law leaves that to the controller.
    #[arg(long)]
    pauses_suspend_all_types: bool,
    /// When the person was told of an extension.
    #[arg(long)]
    extended_at: Option<String>,
    /// The date that the notice of the extension names, where the law lets it name one.
    #[arg(long)]
    extended_until: Option<String>,
    /// The moment at which an open pause is looked at; now if left out.
    #[arg(long)]
    as_of: Option<String>,
    /// A table of regulations instead of the one in use.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// A folder of holiday calendars instead of those in use.
    #[arg(long, value_name = "DIR")]
    calendars: Option<PathBuf>,
    /// Work out a file of vectors: one JSON line each.
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    #[command(flatten)]
    output: Json,
}

/// Receipts before this instant are typing errors.
const EARLIEST: &str = "2000-01-01T00:00:00Z";

impl Deadline {
    pub(super) fn run(self, config: impl FnOnce() -> Result<Config>) -> Result<()> {
        let config = config()?;
        let table = self.table.as_deref().or(config.deadlines.regulations_file.as_deref());
        let calendars = self.calendars.as_deref().or(config.deadlines.calendars_dir.as_deref());
        let rules = RulesInUse::read(table, calendars)?;
        if let Some(path) = &self.vectors {
            return vectors(&rules, path);
        }
        let (rules, facts, as_of) = self.asked(&rules)?;
        let deadlines = compute(&rules, &facts, as_of)?;
        if self.output.json {
            println!("{}", serde_json::to_string(&deadlines)?);
        } else {
            print!("{}", in_words(&deadlines));
        }
        Ok(())
    }

    /// What was asked, with every fault at once.
    fn asked(&self, rules: &RulesInUse) -> Result<(redress_domain::rules::Rules, ClockFacts, Timestamp)> {
        let mut faults = Vec::new();
        // The command line asks about the present like anybody else.
        let now = redress_domain::Clock::now(&redress_domain::SystemClock);
        let known = RequestType::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ");
        let text = self.request_type.as_deref().unwrap_or_default();
        let request_type = RequestType::parse(text);
        if request_type.is_none() {
            faults.push(format!("--type {text:?} is none of {known}"));
        }
        let mut instant = |flag: &str, text: &Option<String>| -> Option<Timestamp> {
            let text = text.as_deref()?;
            let parsed: Option<Timestamp> = redress_domain::clock::instant(text);
            match parsed {
                None => faults.push(format!("--{flag} is not an existing date and time with offset (RFC 3339), such as 2026-01-31T23:30:00+01:00")),
                Some(at) if at < EARLIEST.parse().expect("a constant") => {
                    faults.push(format!("--{flag} lies before the year 2000; give the moment at which it happened"));
                }
                Some(at) if at > now && flag != "as-of" => {
                    faults.push(format!("--{flag} lies in the future; give the moment at which it happened"));
                }
                Some(_) => {}
            }
            parsed
        };
        let received_at = instant("received-at", &self.received_at);
        let instructed_at = instant("instruction-received-at", &self.instruction_received_at);
        let extended_at = instant("extended-at", &self.extended_at);
        let as_of = instant("as-of", &self.as_of);
        for (flag, at) in [("instruction-received-at", instructed_at), ("extended-at", extended_at), ("as-of", as_of)] {
            if at.zip(received_at).is_some_and(|(at, received_at)| at < received_at) {
                faults.push(format!("--{flag} lies before --received-at, the receipt of the request"));
            }
        }
        let as_of = as_of.unwrap_or(now);
        let until = self.extended_until.as_deref().and_then(|text| {
            let date = text.parse::<Date>().ok();
            if date.is_none() {
                faults.push("--extended-until is not an existing date, such as 2026-12-31".to_owned());
            }
            date
        });
        if until.is_some() && self.extended_at.is_none() {
            faults.push("--extended-until needs --extended-at, the moment at which the person was told".to_owned());
        }
        let mut pauses = Vec::new();
        for text in &self.pause {
            match pause(text) {
                Ok(pause) if received_at.is_some_and(|received_at| pause.from < received_at) => {
                    faults.push(format!("--pause {text:?} begins before --received-at, the receipt of the request"));
                }
                Ok(pause) if pause.to.unwrap_or(pause.from) > as_of.max(now) => {
                    faults.push(format!("--pause {text:?} lies in the future; leave the end out while it is awaited"));
                }
                Ok(pause) => pauses.push(pause),
                Err(error) => faults.push(format!("--pause {error}")),
            }
        }
        let (timezone, country) = self.place(rules);
        if country.as_deref().is_some_and(|code| !is_country(code)) {
            faults.push("--country must be a country code of ISO 3166-1 alpha-2, such as DE".to_owned());
        }
        if let Some(place) = self.jurisdiction.as_deref().filter(|_| !self.regulation.is_empty()) {
            // Beside a regulation any place will do that exists, even one without a law in the table.
            let exists = place.split('-').next().is_some_and(|code| is_country(&code.to_ascii_uppercase()));
            let known = rules.rules.table.choose(RequestType::Access, None, Some(place), None);
            if let Some(error) = known.err().filter(|_| !exists) {
                faults.push(format!("--jurisdiction: {error}"));
            }
        }
        if let Some(detail) = self.calendar.as_deref().and_then(|id| rules.unknown_calendar(id)) {
            faults.push(format!("--calendar: {detail}"));
        }
        if !faults.is_empty() {
            bail!("{}", faults.join("; "));
        }
        let (Some(request_type), Some(received_at)) = (request_type, received_at) else {
            bail!("--type and --received-at are needed")
        };
        let terms = (self.calendar.is_some() || self.pauses_suspend_all_types).then(|| {
            let terms = json!({ "version": "given here", "calendar": self.calendar, "pauses_suspend_all_types": self.pauses_suspend_all_types });
            serde_json::from_value::<Terms>(terms).map(Arc::new)
        });
        let facts = ClockFacts {
            request_type,
            regulations: self.regulation.clone(),
            jurisdiction: self.jurisdiction.clone(),
            controller_country: country,
            controller_timezone: timezone,
            data_subject_received_at: Some(received_at),
            instruction_received_at: instructed_at.unwrap_or(received_at),
            pauses,
            extension: extended_at.map(|granted_at| ExtensionNotice { granted_at, until }),
            acknowledged_at: None,
        };
        Ok((rules.rules.with_terms(terms.transpose()?), facts, as_of))
    }

    /// Time zone and country, each guessed from the other or from the regulation where it is not given.
    fn place(&self, rules: &RulesInUse) -> (String, Option<String>) {
        let table = &rules.rules.table;
        let law = self.regulation.first().and_then(|id| table.regulation(id));
        let law_zone = law.map(|law| law.default_timezone.clone());
        let timezone = self.timezone.clone().or(law_zone).unwrap_or_else(|| "UTC".to_owned());
        // Names are taken in any case; an unknown one is refused later.
        let timezone = zone(&timezone).ok().and_then(|zone| zone.iana_name().map(str::to_owned)).unwrap_or(timezone);
        let given = self.country.as_ref().map(|code| code.to_ascii_uppercase());
        let guessed = || match self.timezone {
            Some(_) => country_of(&timezone).map(str::to_owned).or_else(|| country_by_law(table, &timezone)),
            // The zone of a law of many states says nothing about the state.
            None => country_by_law(table, &timezone),
        };
        (timezone.clone(), given.or_else(guessed))
    }
}

/// The country of the law whose own zone this is, where that law is one country's.
fn country_by_law(table: &RuleTable, timezone: &str) -> Option<String> {
    let of = |law: &Regulation| law.jurisdictions.first()?.split('-').next().map(str::to_owned);
    let mut laws = table.regulations.iter().filter(|law| law.default_timezone == timezone);
    laws.find_map(|law| of(law).filter(|code| is_country(code)))
}

/// Countries of one law of several states, by their zones: where the law's name alone does not say which holidays count.
const COUNTRIES: &[(&str, &str)] = &[
    ("Africa/Ceuta", "ES"),
    ("Arctic/Longyearbyen", "NO"),
    ("Asia/Famagusta", "CY"),
    ("Atlantic/Azores", "PT"),
    ("Atlantic/Canary", "ES"),
    ("Atlantic/Madeira", "PT"),
    ("Europe/Amsterdam", "NL"),
    ("Europe/Athens", "GR"),
    ("Europe/Berlin", "DE"),
    ("Europe/Bratislava", "SK"),
    ("Europe/Brussels", "BE"),
    ("Europe/Bucharest", "RO"),
    ("Europe/Budapest", "HU"),
    ("Europe/Busingen", "DE"),
    ("Europe/Copenhagen", "DK"),
    ("Europe/Dublin", "IE"),
    ("Europe/Helsinki", "FI"),
    ("Europe/Lisbon", "PT"),
    ("Europe/Ljubljana", "SI"),
    ("Europe/London", "GB"),
    ("Europe/Luxembourg", "LU"),
    ("Europe/Mariehamn", "FI"),
    ("Europe/Madrid", "ES"),
    ("Europe/Malta", "MT"),
    ("Asia/Nicosia", "CY"),
    ("Europe/Oslo", "NO"),
    ("Europe/Paris", "FR"),
    ("Europe/Prague", "CZ"),
    ("Atlantic/Reykjavik", "IS"),
    ("Europe/Riga", "LV"),
    ("Europe/Rome", "IT"),
    ("Europe/Sofia", "BG"),
    ("Europe/Stockholm", "SE"),
    ("Europe/Tallinn", "EE"),
    ("Europe/Vaduz", "LI"),
    ("Europe/Vienna", "AT"),
    ("Europe/Vilnius", "LT"),
    ("Europe/Warsaw", "PL"),
    ("Europe/Zagreb", "HR"),
    ("Europe/Zurich", "CH"),
];

fn country_of(timezone: &str) -> Option<&'static str> {
    COUNTRIES.iter().find(|(zone, _)| *zone == timezone).map(|(_, country)| *country)
}

fn pause(text: &str) -> Result<Pause> {
    let form =
        || anyhow!("{text:?} must be KIND:FROM..TO, such as clarification:2026-03-10T09:00:00Z..2026-03-15T17:00:00Z");
    let (kind, span) = text.split_once(':').ok_or_else(form)?;
    let (from, to) = span.split_once("..").ok_or_else(form)?;
    let known = || PauseKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    let kind = PauseKind::parse(kind).ok_or_else(|| anyhow!("{kind:?} is nothing to wait for; one of {}", known()))?;
    let instant = |text: &str| redress_domain::clock::instant(text).ok_or_else(form);
    let from = instant(from)?;
    let to = if to.is_empty() { None } else { Some(instant(to)?) };
    if to.is_some_and(|to| to < from) {
        bail!("{text:?} ends before it starts");
    }
    Ok(Pause { kind, from, to })
}

/// The dates for people, then why.
fn in_words(deadlines: &Deadlines) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _infallible = writeln!(text, "{name:<18}{value}");
    };
    let date = |day: Date| format!("{} ({day})", day.strftime("%A, %-d %B %Y"));
    let state = |clock: ClockState| match clock {
        ClockState::Running => "",
        ClockState::Paused => ", provisional: the clock is paused",
        ClockState::NotStarted => ", provisional: the clock has not started",
    };
    let laws: Vec<_> = if deadlines.statutory_all.is_empty() {
        deadlines.statutory.iter().collect()
    } else {
        deadlines.statutory_all.iter().collect()
    };
    for law in &laws {
        line("statutory due", format!("{} by {}{}", date(law.due_on), law.rule, state(law.clock)));
        line("  too late from", law.due_before.to_string());
        if let Some(by) = law.extension_notice_by.filter(|_| law.extended.is_none()) {
            line("  extension", format!("the person must be told by {}", date(by)));
        }
        if law.extended == Some(false) {
            line("  extension", "void: told too late, or not known to this rule".to_owned());
        }
    }
    if laws.is_empty() {
        line("statutory due", "none, see below".to_owned());
    }
    line(
        "contract due",
        format!(
            "{} by {}{}",
            date(deadlines.contract.due_on),
            deadlines.contract.rule,
            state(deadlines.contract.clock)
        ),
    );
    let exhausted = if deadlines.effective.buffer_exhausted { ", the controller's buffer is exhausted" } else { "" };
    line(
        "plan by",
        format!("{} (the {} date binds{exhausted})", date(deadlines.effective.due_on), deadlines.effective.binding),
    );
    line("  too late from", deadlines.effective.due_before.to_string());
    line("internal target", date(deadlines.internal_target));
    if let Some(by) = deadlines.acknowledge_by {
        line("acknowledge by", date(by));
    }
    line(
        "computed by",
        format!(
            "table {}, calendars {} ({}), time zones {}",
            deadlines.table_version,
            deadlines.calendar_version,
            deadlines.calendars.join(", "),
            deadlines.tz_version
        ),
    );
    text.push_str("\nwhy\n");
    for sentence in &deadlines.trace {
        let _infallible = writeln!(text, "- {sentence}");
    }
    text
}

/// Works out a file of vectors, one JSON line each.
fn vectors(rules: &RulesInUse, path: &PathBuf) -> Result<()> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
    let file: Value = serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))?;
    let list = file.as_array().or_else(|| file["vectors"].as_array());
    let all = list.with_context(|| format!("{name} holds no list `vectors`"))?;
    let mut faults = 0;
    let mut lines = String::new();
    for vector in all {
        let line = evaluate(&rules.rules.table, vector).unwrap_or_else(|fault| {
            faults += 1;
            json!({ "id": vector["id"], "error": fault.to_string() })
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    match std::io::stdout().write_all(lines.as_bytes()) {
        // Whoever reads may have seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written.context("standard output")?,
    }
    if faults > 0 {
        bail!("{faults} of {} vectors could not be worked out", all.len());
    }
    Ok(())
}

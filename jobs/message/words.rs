//! The words of a message are a subject, and for each kind of notice what it means, which requests it is about and what to
//! do: ids, rights, laws and dates, and nothing about the person.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use redress_domain::notice::NoticeKind;
use redress_store::{MessageContents, ToldNotice};
use std::collections::BTreeMap;

/// Most lines that people are shown; they are told how many more there are.
pub(super) const LINES_MAX: usize = 50;

/// A message in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// One line.
    pub(super) subject: String,
    /// One for each kind, the gravest first.
    pub(super) sections: Vec<Section>,
    /// Where everything can be seen.
    pub(super) board: String,
}

/// What is said of one kind of notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// What it is about and how often.
    pub(super) title: String,
    /// What to do.
    pub(super) advice: &'static str,
    /// The requests or systems.
    pub(super) lines: Vec<Line>,
    /// How many more there are.
    pub(super) more: i64,
}

/// One request, or one system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// What it is.
    pub(super) text: String,
    /// Where it can be seen.
    pub(super) link: Option<String>,
}

/// What a kind is called in a heading, and what to do.
const fn about(kind: NoticeKind) -> (&'static str, &'static str) {
    use NoticeKind as K;
    match kind {
        K::Overdue => {
            ("Overdue", "The date is missed. Finish these now, and tell the person why the answer comes late.")
        }
        K::Critical => (
            "Critical",
            "Hardly any time is left. See what is still open and clear it, or extend the time if the law allows it.",
        ),
        K::NeedsAttention => (
            "Needs attention",
            "Nothing goes on here until a person acts: see on the request's page what is wrong, mend it, then retry it.",
        ),
        K::ConnectorSilent => (
            "Systems that do not answer",
            "Mend the system or its credentials (`redress connector check NAME`); what waits for it goes on by itself.",
        ),
        K::ForecastLate => (
            "Expected to be late",
            "At the present pace these end after their due date; the request's page says why. There is still time to act.",
        ),
        K::AtRisk => ("At risk", "Little time is left. See what they wait for."),
        K::ExtensionDecision => (
            "Decide about an extension",
            "If more time is needed, tell the person now, with the reason, and record it; after the due date it is void.",
        ),
        K::AcknowledgementDue => {
            ("Acknowledge receipt", "Confirm to the person that the request was received, and record that you did.")
        }
        K::AwaitingController => {
            ("Waiting for the controller", "Nothing is done until these are approved, answered or rejected.")
        }
    }
}

/// What one request, or several, are.
const fn state(kind: NoticeKind, several: bool) -> &'static str {
    use NoticeKind as K;
    match (kind, several) {
        (K::Overdue, false) => "is overdue",
        (K::Overdue, true) => "are overdue",
        (K::Critical, false) => "is critical",
        (K::Critical, true) => "are critical",
        (K::NeedsAttention, false) => "needs attention",
        (K::NeedsAttention, true) => "need attention",
        (K::ConnectorSilent, false) => "waits for a system that does not answer",
        (K::ConnectorSilent, true) => "wait for systems that do not answer",
        (K::ForecastLate, false) => "is expected to be late",
        (K::ForecastLate, true) => "are expected to be late",
        (K::AtRisk, false) => "is at risk",
        (K::AtRisk, true) => "are at risk",
        (K::ExtensionDecision, false) => "needs a decision about an extension",
        (K::ExtensionDecision, true) => "need a decision about an extension",
        (K::AcknowledgementDue, false) => "has to be acknowledged",
        (K::AcknowledgementDue, true) => "have to be acknowledged",
        (K::AwaitingController, false) => "waits for the controller",
        (K::AwaitingController, true) => "wait for the controller",
    }
}

/// Says a message in words. `public_url` is where the board is.
pub(super) fn words(contents: &MessageContents, public_url: &str) -> Words {
    let mut left = LINES_MAX;
    let mut sections = Vec::new();
    for (kind, count) in &contents.kinds {
        let notices: Vec<&ToldNotice> = contents.notices.iter().filter(|n| n.kind == *kind).collect();
        let (heading, advice) = about(*kind);
        let (mut lines, mut shown) = (Vec::new(), 0);
        if *kind == NoticeKind::ConnectorSilent {
            // One line a system, not one for each request that waits for it.
            let mut systems: BTreeMap<(&str, &str), Vec<&ToldNotice>> = BTreeMap::new();
            for notice in notices {
                let name = notice.data["system"].as_str().unwrap_or("?");
                systems.entry((notice.controller.as_str(), name)).or_default().push(notice);
            }
            for ((controller, system), waiting) in systems.into_iter().take(left) {
                shown += waiting.len();
                lines.push(Line { text: silent_line(controller, system, &waiting), link: None });
            }
        } else {
            for notice in notices.into_iter().take(left) {
                shown += 1;
                let link = Some(format!("{public_url}/requests/{}", notice.dsr_id));
                lines.push(Line { text: line(notice), link });
            }
        }
        left -= lines.len();
        let more = (count - i64::try_from(shown).unwrap_or(i64::MAX)).max(0);
        sections.push(Section { title: format!("{heading} ({count})"), advice, lines, more });
    }
    Words { subject: subject(contents), sections, board: format!("{public_url}/") }
}

fn subject(contents: &MessageContents) -> String {
    let total: i64 = contents.kinds.iter().map(|(_, n)| n).sum();
    let whose = match (contents.controllers, contents.notices.first()) {
        (1, Some(notice)) => notice.controller.clone(),
        (n, _) => format!("{n} controllers"),
    };
    match contents.kinds.as_slice() {
        [(kind, 1)] => format!("[redress] 1 request of {whose} {}", state(*kind, false)),
        [(kind, n)] => format!("[redress] {n} requests of {whose} {}", state(*kind, true)),
        kinds => {
            let each: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {}", short(*kind))).collect();
            format!("[redress] {total} notices about requests of {whose}: {}", each.join(", "))
        }
    }
}

/// A kind in a list of counts.
const fn short(kind: NoticeKind) -> &'static str {
    use NoticeKind as K;
    match kind {
        K::Overdue => "overdue",
        K::Critical => "critical",
        K::NeedsAttention => "need attention",
        K::ConnectorSilent => "without an answer",
        K::ForecastLate => "expected late",
        K::AtRisk => "at risk",
        K::ExtensionDecision => "to decide",
        K::AcknowledgementDue => "to acknowledge",
        K::AwaitingController => "waiting",
    }
}

fn line(notice: &ToldNotice) -> String {
    let data = &notice.data;
    let right = data["type"].as_str().unwrap_or("request");
    let law = data["regulation"].as_str().map(|law| format!(", {law}")).unwrap_or_default();
    let due_before = data["due_before"].as_i64().unwrap_or(notice.due_at);
    let band = match data["band"].as_str() {
        Some(band) if Some(band) != notice.kind.band().map(redress_domain::deadline::Band::as_str) => {
            format!(" {}.", band.replace('_', " "))
        }
        _ => String::new(),
    };
    let since = match (notice.kind, data["since"].as_i64()) {
        (NoticeKind::AwaitingController, Some(since)) => format!(" Waiting since {}.", moment(since, &notice.timezone)),
        _ => String::new(),
    };
    let ended = if notice.closed { " It has ended since." } else { "" };
    format!(
        "{}: {right}{law}, {}. {}{since}{}{ended}",
        notice.dsr_id,
        notice.controller,
        due(data["due_on"].as_str(), due_before, &notice.timezone),
        capitalized(&band),
    )
}

fn silent_line(controller: &str, system: &str, waiting: &[&ToldNotice]) -> String {
    let zone = waiting.first().map_or("UTC", |notice| notice.timezone.as_str());
    let since = waiting.iter().filter_map(|n| n.data["since"].as_i64()).min().unwrap_or_default();
    let requests =
        if waiting.len() == 1 { "1 request waits".to_owned() } else { format!("{} requests wait", waiting.len()) };
    format!("{system} of {controller} has only failed since {}; {requests} for it.", moment(since, zone))
}

/// A due date in words: the last day that counts, and the instant from which on it is too late, in the controller's zone.
fn due(due_on: Option<&str>, due_before: i64, zone: &str) -> String {
    let day = due_on.and_then(|text| text.parse::<Date>().ok()).map(|day| day.strftime("%A %-d %B %Y").to_string());
    let limit = moment(due_before, zone);
    match day {
        Some(day) => format!("Due {day}; too late from {limit}."),
        None => format!("Due before {limit}."),
    }
}

/// An instant in words, with its zone.
fn moment(ms: i64, zone: &str) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    let (tz, name) = TimeZone::get(zone).map_or((TimeZone::UTC, "UTC"), |tz| (tz, zone));
    format!("{} ({name})", at.to_zoned(tz).strftime("%-d %B %Y %H:%M"))
}

/// ` at risk.` as a sentence.
fn capitalized(text: &str) -> String {
    let mut chars = text.trim_start().chars();
    match chars.next() {
        None => String::new(),
        Some(first) => format!(" {}{}", first.to_uppercase(), chars.as_str()),
    }
}

impl Words {
    /// As plain text, in lines.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        for section in &self.sections {
            lines.extend([section.title.clone(), section.advice.to_owned(), String::new()]);
            for line in &section.lines {
                lines.push(format!("- {}", line.text));
                lines.extend(line.link.iter().map(|link| format!("  {link}")));
            }
            if section.more > 0 {
                lines.push(format!("- and {} more", section.more));
            }
            lines.push(String::new());
        }
        lines.push(format!("Everything that is open: {}\n", self.board));
        lines.join("\n")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use redress_domain::{DsrId, NoticeId};
    use serde_json::json;

    pub(crate) fn notice(n: u8, kind: NoticeKind, system: Option<&str>) -> ToldNotice {
        let mut data = json!({
            "type": "deletion", "regulation": "EU-GDPR", "due_on": "2026-03-02", "due_before": 1_772_492_400_000_i64,
            "band": "critical", "endangers": true,
        });
        if let Some(system) = system {
            data["system"] = json!(system);
        }
        if matches!(kind, NoticeKind::ConnectorSilent | NoticeKind::AwaitingController) {
            data["since"] = json!(1_772_100_000_000_i64);
        }
        ToldNotice {
            id: NoticeId::from_parts(1_700_000_000_000, [n; 10]),
            dsr_id: DsrId::from_parts(1_700_000_000_000, [n; 10]),
            controller: "acme".into(),
            timezone: "Europe/Berlin".into(),
            kind,
            due_at: 1_772_300_000_000,
            noticed_at: 1_772_300_000_500,
            data,
            closed: false,
        }
    }

    pub(crate) fn contents(notices: Vec<ToldNotice>) -> MessageContents {
        let mut kinds: Vec<(NoticeKind, i64)> = Vec::new();
        for notice in &notices {
            match kinds.iter_mut().find(|(kind, _)| *kind == notice.kind) {
                Some((_, n)) => *n += 1,
                None => kinds.push((notice.kind, 1)),
            }
        }
        MessageContents { notices, kinds, controllers: 1 }
    }

    #[test]
    fn a_subject_says_how_many_requests_of_whom_are_what() {
        use NoticeKind as K;
        let of = |kinds: &[NoticeKind]| {
            subject(&contents(kinds.iter().enumerate().map(|(i, k)| notice(i as u8, *k, None)).collect()))
        };
        assert_eq!(of(&[K::Critical; 3]), "[redress] 3 requests of acme are critical");
        assert_eq!(of(&[K::Overdue]), "[redress] 1 request of acme is overdue");
        assert_eq!(
            of(&[K::AtRisk, K::AtRisk, K::ForecastLate]),
            "[redress] 3 notices about requests of acme: 2 at risk, 1 expected late"
        );
        let several = MessageContents { controllers: 4, ..contents(vec![notice(1, K::AtRisk, None)]) };
        assert_eq!(subject(&several), "[redress] 1 request of 4 controllers is at risk");
        for kind in NoticeKind::ALL {
            assert!(
                state(*kind, true) != state(*kind, false) && !about(*kind).1.is_empty() && !short(*kind).is_empty()
            );
        }
    }

    #[test]
    fn a_line_says_which_request_by_when_and_where_to_look() {
        let one = notice(1, NoticeKind::Critical, None);
        let said = words(&contents(vec![one.clone()]), "https://dsr.example.com");
        assert_eq!(
            said.sections[0].lines[0].text,
            format!(
                "{}: deletion, EU-GDPR, acme. Due Monday 2 March 2026; too late from 3 March 2026 00:00 (Europe/Berlin).",
                one.dsr_id
            )
        );
        assert_eq!(said.sections[0].lines[0].link, Some(format!("https://dsr.example.com/requests/{}", one.dsr_id)));
        assert_eq!(said.board, "https://dsr.example.com/");
        let waiting = notice(2, NoticeKind::AwaitingController, None);
        let text = line(&ToldNotice { closed: true, ..waiting });
        assert!(
            text.ends_with("Waiting since 26 February 2026 11:00 (Europe/Berlin). Critical. It has ended since."),
            "{text}"
        );
    }

    #[test]
    fn a_silent_system_is_one_line_for_all_that_waits_for_it() {
        let of = |n, system| notice(n, NoticeKind::ConnectorSilent, Some(system));
        let said = words(&contents(vec![of(1, "crm"), of(2, "crm"), of(3, "mail")]), "");
        let lines: Vec<&str> = said.sections[0].lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            lines,
            [
                "crm of acme has only failed since 26 February 2026 11:00 (Europe/Berlin); 2 requests wait for it.",
                "mail of acme has only failed since 26 February 2026 11:00 (Europe/Berlin); 1 request waits for it.",
            ]
        );
        assert_eq!(said.sections[0].more, 0);
    }

    #[test]
    fn people_are_shown_the_gravest_and_told_how_many_more_there_are() {
        let mut all: Vec<ToldNotice> = (0..45).map(|n| notice(n, NoticeKind::Overdue, None)).collect();
        all.extend((100..140).map(|n| notice(n, NoticeKind::AtRisk, None)));
        let said = words(&contents(all), "https://dsr.example.com");
        let shown: Vec<(usize, i64)> = said.sections.iter().map(|s| (s.lines.len(), s.more)).collect();
        assert_eq!(shown, [(45, 0), (5, 35)]);
        let text = said.text();
        assert!(text.contains("At risk (40)\n") && text.contains("- and 35 more\n"), "{text}");
        assert!(text.ends_with("Everything that is open: https://dsr.example.com/\n"));
    }
}

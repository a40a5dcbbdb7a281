//! A trace says in sentences why the dates are what they are, each with the article it rests on.

use super::clock::{ClockDates, ClockInput, date_in, is_clamped};
use super::{ClockState, EffectiveDue};
use crate::regulation::{ChosenBy, ClockStart, Extension, PauseKind, PauseMode, Roll, Rule, Unit};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The sentences so far.
#[derive(Debug, Default)]
pub(super) struct Trace {
    sentences: Vec<String>,
    about_law: bool,
}

/// A date with its day of the week: `Mon 2026-03-02`.
pub(super) fn spoken(day: Date) -> String {
    day.strftime("%a %Y-%m-%d").to_string()
}

impl Trace {
    pub(super) fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    pub(super) fn into_sentences(self) -> Vec<String> {
        self.sentences
    }

    /// Whether no law was spoken of yet.
    pub(super) const fn is_silent_about_law(&self) -> bool {
        !self.about_law
    }

    pub(super) fn no_law(&mut self) {
        self.say(
            "No statutory date: the request names neither regulation nor jurisdiction, and no general law is known for the controller's country.",
        );
    }

    pub(super) fn governs(&mut self, id: &str, by: ChosenBy<'_>) {
        self.about_law = true;
        self.say(match by {
            ChosenBy::Id => format!("{id} governs because the request names it."),
            ChosenBy::Jurisdiction(place) => {
                format!("{id} governs because it is the law of {place}, which the request names.")
            }
            ChosenBy::Country(country) => format!(
                "{id} governs because the controller is established in {country} and the request names no other law."
            ),
        });
    }

    /// One clock from its start to its date.
    pub(super) fn explain(&mut self, what: &str, basis: &str, input: &ClockInput<'_>, dates: &ClockDates) {
        self.start(what, input, dates);
        self.pauses(input, dates);
        self.extension(basis, input, dates);
        self.count(basis, input, dates);
        if let (Some(ack), Some(by)) = (input.rule.ack, dates.acknowledge_by) {
            self.say(format!("Receipt must be acknowledged within {}, by {}, under {basis}.", ack, spoken(by)));
        }
        if input.rule.is_policy_target() {
            let id = &input.rule.id;
            self.say(format!(
                "{id} is a target of policy until the controller's counsel confirms it as a date of the law."
            ));
        }
    }

    fn start(&mut self, what: &str, input: &ClockInput<'_>, dates: &ClockDates) {
        let (rule, zone) = (&input.rule.id, input.zone.iana_name().unwrap_or("UTC"));
        let received_on = date_in(input.started_at, input.zone);
        let event = match input.rule.clock_start {
            ClockStart::RequestReceived => "the controller received the request",
            ClockStart::RelevantTime => "the controller had the request and what it needed to act on it",
            ClockStart::InstructionReceived => "the processor received the controller's instruction",
            ClockStart::AppealReceived => "the appeal was received",
            ClockStart::ComplaintReceived => "the complaint was received",
            ClockStart::ContractTerminated => "the contract ended",
            ClockStart::DataSubjectContactReceived => "the person wrote to the processor",
            ClockStart::DropRequestRetrieved => "the deletion was fetched from DROP",
        };
        let day_zero = spoken(dates.started_on);
        self.say(if dates.state == ClockState::NotStarted {
            format!("The {what} clock ({rule}) has not started: what starts it is still awaited. If it came on {day_zero} in {zone}:")
        } else if dates.started_on == received_on {
            format!("The {what} clock ({rule}) started on {day_zero} in {zone}, when {event}; that day is not counted.")
        } else {
            format!(
                "The {what} clock ({rule}) started on {day_zero} in {zone}, when the last thing that it waited for came (the request itself on {}); that day is not counted.",
                spoken(received_on)
            )
        });
    }

    fn pauses(&mut self, input: &ClockInput<'_>, dates: &ClockDates) {
        for (pause, mode) in &dates.effective_pauses {
            let asked_on = spoken(date_in(pause.from, input.zone));
            let until = match pause.to {
                Some(to) => format!("came on {}", spoken(date_in(to, input.zone))),
                None => "has not come yet".to_owned(),
            };
            let kind = match pause.kind {
                PauseKind::Identity => "proof of identity",
                PauseKind::Clarification => "clarification",
                PauseKind::Fee => "fee",
                PauseKind::Controller => "controller's answer",
            };
            self.say(match mode {
                PauseMode::Reset => format!("The {kind} asked for on {asked_on} {until}: the clock starts with it."),
                PauseMode::ExcludeInclusive => {
                    format!("The {kind} asked for on {asked_on} {until}: from the one day to the other, both included, no day counts.")
                }
                PauseMode::Suspend => {
                    format!("The {kind} asked for on {asked_on} {until}: no day after the asking counts, up to and including the answer's.")
                }
                PauseMode::None => continue,
            });
        }
        let ignored = input.pauses.len().saturating_sub(dates.effective_pauses.len());
        if ignored > 0 {
            let rule: &Rule = input.rule;
            let why = if input.ignore_pauses {
                "the controller did not choose that waiting counts for this type of request".to_owned()
            } else {
                format!("{} runs on while that is awaited, or the date had passed when it began", rule.id)
            };
            self.say(format!("{ignored} time(s) of waiting do not move this clock: {why}."));
        }
    }

    fn extension(&mut self, basis: &str, input: &ClockInput<'_>, dates: &ClockDates) {
        let (Some(notice), Some(valid)) = (input.extension, dates.extension_valid) else { return };
        let told_on = spoken(date_in(notice.granted_at, input.zone));
        let rule = &input.rule.id;
        self.say(match (input.rule.extension, dates.extension_notice_by) {
            (None, _) => format!("{rule} knows no extension: that of {told_on} does not move this clock."),
            (Some(_), Some(by)) if !valid => format!(
                "The extension is void: the person was told on {told_on}, and had to be told by {} with a valid notice, under {basis}.",
                spoken(by)
            ),
            (Some(Extension::Fixed { by, .. }), _) => format!(
                "Extended by {by}, counted from the start of the clock: the person was told on {told_on}, in time, under {basis}."
            ),
            (Some(Extension::OpenEnded), _) if notice.until != Some(dates.due_on) => {
                format!("The notice of {told_on} came in time, but names no later date: that of the rule stays.")
            }
            (Some(Extension::OpenEnded), _) => {
                format!("Extended to the date that the notice of {told_on} names, in time, under {basis}.")
            }
        });
    }

    fn count(&mut self, basis: &str, input: &ClockInput<'_>, dates: &ClockDates) {
        let rule = input.rule;
        let extended = dates.extension_valid == Some(true);
        let more = match rule.extension {
            Some(Extension::Fixed { by, .. }) if extended => format!(" and {by}"),
            _ => String::new(),
        };
        let until = input.extension.and_then(|notice| notice.until);
        let named = extended && rule.extension == Some(Extension::OpenEnded) && until == Some(dates.due_on);
        if !named {
            let clamped = if dates.excluded.is_empty() && is_clamped(rule.due, dates.started_on, dates.nominal_on) {
                ", the last day of a month that is shorter"
            } else {
                ""
            };
            let waited = match dates.excluded.len() {
                0 => String::new(),
                1 => ", with 1 day that is not counted,".to_owned(),
                n => format!(", with {n} days that are not counted,"),
            };
            let working = if rule.due.unit() == Unit::BusinessDays { self.working(input) } else { String::new() };
            self.say(format!(
                "{}{more} after it{working}{waited} is {}{clamped}, under {basis}.",
                rule.due,
                spoken(dates.nominal_on)
            ));
        }
        self.roll(basis, input, dates);
    }

    #[expect(clippy::unused_self, reason = "stands beside its like")]
    fn working(&self, input: &ClockInput<'_>) -> String {
        let weekend: Vec<&str> = input.calendar.weekend.iter().map(|day| day.as_str()).collect();
        let holidays = if input.calendar.holidays.is_empty() {
            "no holidays known".to_owned()
        } else {
            format!("the holidays of the calendar {}", input.calendar.name)
        };
        format!(" (working days without {} and {holidays})", weekend.join(", "))
    }

    fn roll(&mut self, basis: &str, input: &ClockInput<'_>, dates: &ClockDates) {
        let why = |day: Date| {
            if input.calendar.is_holiday(day) {
                format!("a holiday ({})", input.calendar.name)
            } else {
                day.strftime("a %A").to_string()
            }
        };
        let rule = input.rule;
        if rule.roll != Roll::None && input.calendar.made_for.is_none() {
            self.say(
                "No holiday calendar is known for the controller's place, so only days of the weekend move the date.",
            );
        }
        if dates.due_on != dates.nominal_on {
            self.say(format!(
                "{} is {} and not a working day, so the date moves to {}, under {basis}.",
                spoken(dates.nominal_on),
                why(dates.nominal_on),
                spoken(dates.due_on),
            ));
        } else if rule.roll == Roll::None && input.calendar.is_working_day(dates.due_on) == Ok(false) {
            let permitted = rule.roll_permitted_by.as_ref();
            let permitted = permitted.map_or_else(String::new, |law| format!(", though {law} may allow it"));
            self.say(format!("That is {}, but {} does not move the date{permitted}.", why(dates.due_on), rule.id));
        }
    }

    /// What of the two dates binds, and why.
    pub(super) fn effective(
        &mut self,
        buffer: u16,
        due: &EffectiveDue,
        law: &str,
        instructed_at: Timestamp,
        zone: &TimeZone,
    ) {
        if let Some(buffered_on) = due.buffered_statutory_on {
            let buffered_on = spoken(buffered_on);
            self.say(if due.buffer_exhausted {
                format!(
                    "{buffer} business days before the date of {law} would be {buffered_on}, not after the instruction of {}: the buffer is exhausted and the statutory date itself counts.",
                    spoken(date_in(instructed_at, zone))
                )
            } else {
                format!("{buffer} business days before the date of {law} are left to the controller: that is {buffered_on}.")
            });
        }
        self.say(format!(
            "The earlier of both binds: the {} date, {} (GDPR Art. 28(3)(e): the processor helps the controller to be in time).",
            due.binding,
            spoken(due.due_on),
        ));
    }
}

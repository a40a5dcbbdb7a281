//! A case is one rule with a start, working days, times of waiting and an extension, all drawn by chance.

use crate::chance::{Dice, Named, ZONES};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use redress_domain::deadline::{Calendar, ClockDates, ClockInput, ExtensionNotice, Pause, run, zone};
use redress_domain::regulation::{DayName, PauseKind, PauseMode, Rule, RuleTable};
use std::sync::LazyLock;

pub(crate) static TABLE: LazyLock<RuleTable> = LazyLock::new(|| {
    RuleTable::parse(include_str!("../../../../config/regulations.toml")).expect("the shipped table is well formed")
});

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

pub(crate) fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// Everything that one clock is computed from.
#[derive(Debug, Clone)]
pub(crate) struct Case<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) started_at: Timestamp,
    pub(crate) zone: TimeZone,
    pub(crate) weekend: Vec<DayName>,
    pub(crate) holidays: Vec<Date>,
    pub(crate) extra_working_days: Vec<Date>,
    pub(crate) pauses: Vec<Pause>,
    pub(crate) extension: Option<ExtensionNotice>,
    pub(crate) as_of: Timestamp,
}

/// A case of each rule of the table for each seed; the first that fails is named.
pub(crate) fn of_every_rule(seeds: u64, check: impl Fn(&Case<'_>, &mut Dice)) {
    let rules = TABLE.regulations.iter().flat_map(|law| &law.rules);
    let mut count = 0;
    for (number, rule) in rules.enumerate() {
        for seed in 0..seeds {
            let seed = ((number as u64) << 32) | seed;
            let _named = Named { what: rule.id.clone(), seed };
            let mut dice = Dice::new(seed);
            let case = Case::drawn(rule, &mut dice);
            check(&case, &mut dice);
            count += 1;
        }
    }
    assert!(count >= 98 * seeds, "every rule has its cases");
}

impl<'a> Case<'a> {
    fn drawn(rule: &'a Rule, dice: &mut Dice) -> Self {
        let zone = zone(dice.one(&ZONES)).expect("it exists");
        let started_at = dice.instant(at("2024-01-01T00:00:00Z"), at("2029-12-31T00:00:00Z"), &zone);
        let weekend = match dice.below(6) {
            0 => vec![],
            1 => vec![DayName::Sun],
            2 => vec![DayName::Fri, DayName::Sat],
            _ => vec![DayName::Sat, DayName::Sun],
        };
        // Thinly over the years, and some holidays in a row.
        let first = Date::constant(2023, 12, 1);
        let mut holidays = Vec::new();
        for _ in 0..dice.below(150) {
            let day = first + days(dice.below(365 * 8));
            holidays.extend((0..=dice.below(4)).map(|n| day + days(n)));
        }
        let extra = (0..dice.below(40)).map(|_| first + days(dice.below(365 * 8)));
        let extra_working_days = extra.filter(|day| !holidays.contains(day)).collect();
        let mut case = Self {
            rule,
            started_at,
            zone,
            weekend,
            holidays,
            extra_working_days,
            pauses: Vec::new(),
            extension: None,
            as_of: started_at + days(dice.below(200)),
        };
        for _ in 0..dice.below(5) {
            case.pauses.push(case.pause(dice));
        }
        if dice.percent(50) {
            case.extension = Some(case.notice(dice));
        }
        case
    }

    /// A time of waiting near the clock's own time, mostly for something that this rule heeds.
    pub(crate) fn pause(&self, dice: &mut Dice) -> Pause {
        let heeded: Vec<PauseKind> =
            PauseKind::ALL.iter().copied().filter(|kind| self.rule.pause.of(*kind) != PauseMode::None).collect();
        let kinds = if heeded.is_empty() || dice.percent(10) { PauseKind::ALL } else { &heeded };
        let within = days(dice.one(&[20, 60, 120]));
        let from = dice.instant(self.started_at, self.started_at + within, &self.zone).max(self.started_at);
        let longest = dice.one(&[2, 86_400, 40 * 86_400]);
        let to = (!dice.percent(15)).then(|| from + SignedDuration::from_secs(dice.below(longest)));
        Pause { kind: dice.one(kinds), from, to }
    }

    pub(crate) fn notice(&self, dice: &mut Dice) -> ExtensionNotice {
        let within = days(dice.one(&[15, 40, 120]));
        let granted_at = dice.instant(self.started_at, self.started_at + within, &self.zone);
        let started_on = self.started_at.to_zoned(self.zone.clone()).date();
        let until = dice.percent(70).then(|| started_on + days(dice.below(150)));
        ExtensionNotice { granted_at, until }
    }

    pub(crate) fn calendar(&self) -> Calendar<'_> {
        Calendar {
            name: "drawn",
            weekend: &self.weekend,
            holidays: &self.holidays,
            extra_working_days: &self.extra_working_days,
            made_for: None,
        }
    }

    pub(crate) fn dates(&self) -> ClockDates {
        let calendar = self.calendar();
        run(&ClockInput {
            rule: self.rule,
            started_at: self.started_at,
            zone: &self.zone,
            calendar: &calendar,
            pauses: &self.pauses,
            extension: self.extension,
            as_of: self.as_of,
            ignore_pauses: false,
        })
        .expect("in range")
    }

    /// Whether waiting moves the start of this clock, and whether it leaves days out of it.
    pub(crate) fn resets_and_excludes(&self) -> (bool, bool) {
        let modes = || self.pauses.iter().map(|pause| self.rule.pause.of(pause.kind));
        let excludes = |mode| matches!(mode, PauseMode::ExcludeInclusive | PauseMode::Suspend);
        (modes().any(|mode| mode == PauseMode::Reset), modes().any(excludes))
    }
}

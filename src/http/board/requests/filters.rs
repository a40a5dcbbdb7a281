//! The filters of the list are its address: what a link, a form, a saved view and the export say is read here and nowhere else.

use crate::http::path::Query;
use crate::http::problem::Problem;
use crate::http::view::instant;
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use redress_domain::deadline::{self, Band};
use redress_domain::stage::Stage;
use redress_domain::{ControllerId, DsrId, RequestType};
use redress_store::{Controller, DsrColumn, DsrFilter, DsrPlace, DsrSort};
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;
/// Ages since receipt, in days, as teams count them.
pub(super) const AGES: [&str; 8] = ["0-7", "8-14", "15-21", "22-30", "31-45", "46-60", "61-90", "over-90"];
/// When it is due.
pub(super) const DUE: [&str; 4] = ["overdue", "today", "week", "ahead"];
/// Orders: by what, and whether the latest comes first.
pub(super) const SORTS: [(&str, DsrColumn, bool); 8] = [
    ("due", DsrColumn::Due, false),
    ("-due", DsrColumn::Due, true),
    ("received", DsrColumn::Received, false),
    ("-received", DsrColumn::Received, true),
    ("ended", DsrColumn::Ended, false),
    ("-ended", DsrColumn::Ended, true),
    ("foreseen", DsrColumn::Foreseen, false),
    ("-foreseen", DsrColumn::Foreseen, true),
];
/// The parameters that choose requests, in the order in which they are shown.
const NAMES: [&str; 13] = [
    "q",
    "controller",
    "status",
    "band",
    "due",
    "late",
    "type",
    "regulation",
    "system",
    "age",
    "paused",
    "open",
    "sort",
];

/// What is asked for.
#[derive(Debug, Default, Clone)]
pub(super) struct Filters {
    /// Each as it was given, by name; those that were left empty are left out.
    given: BTreeMap<&'static str, String>,
    pub(super) status: Option<&'static str>,
    pub(super) kind: Option<RequestType>,
    pub(super) band: Option<Band>,
    late: Option<bool>,
    paused: Option<bool>,
    due: Option<&'static str>,
    age: Option<&'static str>,
    open: Option<&'static str>,
    sort: Option<DsrSort>,
    pub(super) from: Option<(DsrPlace, bool)>,
    pub(super) done: Option<String>,
}

/// Every status that a request can show, in the order of a request's life, what needs a person first.
pub(super) fn statuses() -> Vec<&'static str> {
    ["needs_attention", "on_hold"].into_iter().chain(Stage::ALL.iter().map(|stage| stage.as_str())).collect()
}

fn truth(word: bool) -> &'static str {
    if word { "true" } else { "false" }
}

fn same(word: &'static str) -> &'static str {
    word
}

impl Filters {
    /// Reads an address; what is left empty by a form is not given.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .map(|(name, value)| (name.into_owned(), value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let cleaned = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let mut query = Query::new(Some(&cleaned));
        let plain = |text: &str| (text.len() <= 200 && !text.contains('\0')).then(|| text.to_owned());
        let mut filters = Self {
            status: query.word("status", &statuses(), same),
            kind: query.word("type", RequestType::ALL, RequestType::as_str),
            band: query.word("band", Band::ALL, Band::as_str),
            late: query.word("late", &[true, false], truth),
            paused: query.word("paused", &[true, false], truth),
            due: query.word("due", &DUE, same),
            age: query.word("age", &AGES, same),
            open: query.word("open", &["true", "false", "any"], same),
            ..Self::default()
        };
        let sort = query.word("sort", &SORTS, |(name, ..)| name);
        filters.sort = sort.map(|(_, column, descending)| DsrSort { column, descending });
        for name in ["q", "controller", "system", "regulation"] {
            query.read(name, "a text of at most 200 bytes", plain);
        }
        let place = |text: &str| {
            let (at, id) = text.split_once('.')?;
            Some(DsrPlace { at: at.parse().ok()?, id: DsrId::parse(id).ok()? })
        };
        let after = query.read("after", "a place in the list", place);
        let before = query.read("before", "a place in the list", place);
        filters.from = after.map(|place| (place, false)).or(before.map(|place| (place, true)));
        filters.done = query.text("done");
        query.finish()?;
        for name in NAMES {
            if let Some((_, value)) = pairs.iter().find(|(given, _)| given == name) {
                filters.given.insert(name, value.clone());
            }
        }
        Ok(filters)
    }

    /// One of them as it was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// Each that narrows the list, as name and value.
    pub(super) fn chosen(&self) -> Vec<(&'static str, &str)> {
        let mut all: Vec<(&'static str, &str)> =
            self.given.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.retain(|(name, _)| *name != "sort");
        all.sort_by_key(|(name, _)| NAMES.iter().position(|known| known == name));
        all
    }

    /// The address of the same list with one parameter set to something else, or left out.
    pub(super) fn with(&self, name: &'static str, value: Option<&str>) -> String {
        let mut given = self.given.clone();
        match value {
            Some(value) => drop(given.insert(name, value.to_owned())),
            None => drop(given.remove(name)),
        }
        address(&given)
    }

    /// The address of this list without its place.
    pub(super) fn query(&self) -> String {
        address(&self.given)
    }

    /// What is kept of it under a name: all but a search, which may hold what a controller calls its request.
    pub(super) fn kept(&self) -> String {
        self.with("q", None)
    }

    /// The order: by due date as long as requests are open, and else the newest or the last ended first. Due dates that are past
    /// are no order that anybody looks for.
    pub(super) fn sort(&self) -> DsrSort {
        let searched = self.text("q").is_some();
        let open_only = matches!(self.open, None | Some("true")) && !self.ended();
        let usual = match (self.ended(), open_only || searched) {
            (true, _) => DsrSort { column: DsrColumn::Ended, descending: true },
            (false, true) => DsrSort { column: DsrColumn::Due, descending: false },
            (false, false) => DsrSort { column: DsrColumn::Received, descending: true },
        };
        let fits = |sort: &DsrSort| match sort.column {
            DsrColumn::Due | DsrColumn::Foreseen => open_only || searched,
            DsrColumn::Received | DsrColumn::Ended => true,
        };
        self.sort.filter(fits).unwrap_or(usual)
    }

    fn ended(&self) -> bool {
        let final_status = self.status.and_then(Stage::parse).is_some_and(Stage::is_final);
        self.open == Some("false") || (self.open.is_none() && final_status)
    }

    /// The filter of the store at this moment, for these controllers.
    pub(super) fn filter(&self, controllers: &[Controller], now: i64) -> DsrFilter {
        let ended = self.ended();
        let any = self.open == Some("any") || self.text("q").is_some() || self.sort().column == DsrColumn::Ended;
        let mut filter = DsrFilter {
            status: self.status.map(str::to_owned),
            kind: self.kind,
            regulation: self.text("regulation").map(str::to_owned),
            system: self.text("system").map(str::to_owned),
            band: self.band,
            paused: self.paused,
            late: self.late,
            open: !ended && (self.open == Some("true") || !any),
            ended,
            ..DsrFilter::default()
        };
        match self.due {
            Some("overdue") => filter.due_before = Some(now + 1),
            Some("ahead") => filter.due_after = Some(now + 1),
            Some("today") => {
                filter.due_after = Some(now + 1);
                filter.due_by = Some(day_ends(controllers, now, 1));
            }
            Some(_) => {
                filter.due_after = Some(now + 1);
                filter.due_by = Some(day_ends(controllers, now, 7));
            }
            None => {}
        }
        if let Some(age) = self.age {
            let (from, to) = age.split_once('-').unwrap_or((age, ""));
            let (from, to) = (from.parse::<i64>().unwrap_or(91), to.parse::<i64>().ok().filter(|_| from != "over"));
            filter.received_before = Some(now - from * DAY_MS + 1);
            filter.received_after = to.map(|to| now - (to + 1) * DAY_MS + 1);
        }
        filter
    }
}

/// A place as an address holds it.
pub(super) fn written(place: &DsrPlace) -> String {
    format!("{}.{}", place.at, place.id)
}

fn address(given: &BTreeMap<&'static str, String>) -> String {
    let pairs = NAMES.iter().filter_map(|name| Some((*name, given.get(name)?)));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The instant at which the last of so many days ends for each controller, today being the first, with those for whom it does.
fn day_ends(controllers: &[Controller], now: i64, days: i32) -> Vec<(i64, Vec<ControllerId>)> {
    let mut zones: BTreeMap<&str, Vec<ControllerId>> = BTreeMap::new();
    for controller in controllers {
        zones.entry(controller.timezone.as_str()).or_default().push(controller.id.clone());
    }
    let end = |zone: &str| {
        let zone = deadline::zone(zone).unwrap_or(TimeZone::UTC);
        let today = instant(now)?.to_zoned(zone.clone()).date();
        let day = today.checked_add(days.days()).ok()?;
        day.to_zoned(zone).ok().map(|at| at.timestamp().as_millisecond())
    };
    zones.into_iter().map(|(zone, whose)| (end(zone).unwrap_or(now + i64::from(days) * DAY_MS), whose)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_was_written() {
        let filters =
            Filters::read(Some("type=access&status=&late=true&sort=-due&controller=a%26b&q=%20x%20")).unwrap();
        assert_eq!(filters.query(), "q=x&controller=a%26b&late=true&type=access&sort=-due");
        assert_eq!(filters.kept(), "controller=a%26b&late=true&type=access&sort=-due");
        assert_eq!(filters.with("late", None), "q=x&controller=a%26b&type=access&sort=-due");
        assert_eq!(Filters::read(Some(&filters.query())).unwrap().query(), filters.query());
        for bad in
            ["type=x", "band=red", "due=never", "age=1-2", "x=1", "after=1", "type=access&type=access", "sort=id"]
        {
            assert!(Filters::read(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn ended_requests_are_shown_when_they_are_asked_for() {
        let shown = |query: &str| {
            let filter = Filters::read(Some(query)).unwrap().filter(&[], 0);
            (filter.open, filter.ended)
        };
        assert_eq!(shown(""), (true, false));
        assert_eq!(shown("status=needs_attention"), (true, false));
        assert_eq!(shown("status=completed"), (false, true));
        assert_eq!(shown("open=false"), (false, true));
        assert_eq!(shown("open=any"), (false, false));
        assert_eq!(shown("q=dsr_01"), (false, false));
    }

    #[test]
    fn ages_are_counted_in_whole_days_since_receipt_and_leave_no_gap() {
        let now = 1_000 * DAY_MS;
        let span = |age: &str| {
            let filter = Filters::read(Some(&format!("age={age}"))).unwrap().filter(&[], now);
            (filter.received_after, filter.received_before.unwrap())
        };
        let mut end = now + 1;
        for age in AGES {
            let (after, before) = span(age);
            assert_eq!(before, end, "{age}");
            end = after.unwrap_or(0);
        }
        assert_eq!(end, 0);
        assert_eq!(span("0-7"), (Some(now - 8 * DAY_MS + 1), now + 1));
    }
}

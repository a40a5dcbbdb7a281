//! The CCPA metrics are what 11 CCR 7102(a) has a business compile for a calendar year: per type of request how many it received,
//! complied with in whole or in part and denied, and within how many days it substantively responded.
//!
//! The year is that of the receipt by the business, in California's time zone, and each request stands where it stands when the
//! report is made: received is the sum of the other counts. A number of requests is never left out because it is small: the
//! table is required by law.

use super::table::{Cell, Table, cells};
use super::{Report, time};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use redress_domain::RequestType;
use redress_domain::deadline::zone;
use redress_domain::report::{Tally, day_start, days_between, is_answer, local_date};
use redress_domain::stage::Stage;
use redress_store::{Controller, Error, ReceivedDsr, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The tables of this report.
pub(crate) const TABLES: &[&str] = &["metrics", "denials", "not_in_table"];
/// The year in which the CCPA came into force.
pub(crate) const YEAR_MIN: i16 = 2020;

const REGULATION: &str = "US-CA-CCPA";
const TIMEZONE: &str = "America/Los_Angeles";
/// What a refusal without a reason code is counted under.
const NO_REASON: &str = "not_recorded";

/// A type of request as 11 CCR 7102(a)(1) lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Metric {
    Delete,
    Correct,
    Know,
    OptOut,
    Limit,
}

impl Metric {
    const ALL: [Metric; 5] = [Metric::Delete, Metric::Correct, Metric::Know, Metric::OptOut, Metric::Limit];

    /// Under which a request is counted; none if the regulation does not ask for its type.
    const fn of(kind: RequestType) -> Option<Self> {
        match kind {
            RequestType::Deletion => Some(Metric::Delete),
            RequestType::Correction => Some(Metric::Correct),
            // A right to know is answered with the data, in whatever form.
            RequestType::Access | RequestType::Portability => Some(Metric::Know),
            RequestType::Restriction | RequestType::Objection => None,
        }
    }

    /// Its name, its paragraph, and the types of ours that are counted under it.
    const fn described(self) -> (&'static str, &'static str, &'static [RequestType]) {
        match self {
            Metric::Delete => ("delete", "7102(a)(1)(A)", &[RequestType::Deletion]),
            Metric::Correct => ("correct", "7102(a)(1)(B)", &[RequestType::Correction]),
            Metric::Know => ("know", "7102(a)(1)(C)", &[RequestType::Access, RequestType::Portability]),
            Metric::OptOut => ("opt_out_of_sale_sharing", "7102(a)(1)(D)", &[]),
            Metric::Limit => ("limit", "7102(a)(1)(E)", &[]),
        }
    }

    const fn note(self) -> Option<&'static str> {
        match self {
            Metric::OptOut | Metric::Limit => {
                Some("Redress does not take requests of this type; add those that were handled elsewhere.")
            }
            _ => None,
        }
    }
}

/// What is counted of one type.
#[derive(Debug, Default)]
struct Counts {
    received: u64,
    whole: u64,
    part: u64,
    denied: u64,
    withdrawn: u64,
    expired: u64,
    open: u64,
    /// Days from receipt to response, of those that were responded to.
    days: Tally,
    denials: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, dsr: ReceivedDsr, zone: &TimeZone) {
        self.received += 1;
        match dsr.stage {
            Stage::Completed => self.whole += 1,
            Stage::PartiallyCompleted => self.part += 1,
            Stage::Rejected => {
                self.denied += 1;
                *self.denials.entry(dsr.denial.unwrap_or_else(|| NO_REASON.to_owned())).or_default() += 1;
            }
            Stage::Withdrawn => self.withdrawn += 1,
            Stage::Expired => self.expired += 1,
            _ => self.open += 1,
        }
        if let Some(closed_at) = dsr.closed_at.filter(|_| is_answer(dsr.stage)) {
            self.days.add(days_between(dsr.received_at, closed_at, zone));
        }
    }

    fn json(&self, metric: Metric) -> Value {
        let (name, paragraph, types) = metric.described();
        let denials: Vec<Value> =
            self.denials.iter().map(|(reason, count)| json!({ "reason": reason, "count": count })).collect();
        json!({
            "type": name,
            "paragraph": paragraph,
            "counted_from": types,
            "received": self.received,
            "complied_in_whole": self.whole,
            "complied_in_part": self.part,
            "denied": self.denied,
            "withdrawn": self.withdrawn,
            "expired": self.expired,
            "open": self.open,
            "days_to_respond": { "median": self.days.median(), "mean": self.days.mean(), "requests": self.days.count() },
            "denials": denials,
            "note": metric.note(),
        })
    }

    fn row(&self, controller: &str, year: i16, metric: Metric) -> Vec<Cell> {
        cells![
            controller,
            year,
            metric.described().0,
            self.received,
            self.whole,
            self.part,
            self.denied,
            self.withdrawn,
            self.expired,
            self.open,
            self.days.median(),
            self.days.mean(),
            self.days.count(),
            metric.note(),
        ]
    }
}

fn california() -> TimeZone {
    zone(TIMEZONE).expect("a zone of the bundled data")
}

fn first_of(year: i16) -> Date {
    date(year, 1, 1)
}

/// The year that it is in California (`now` in Unix ms).
pub(crate) fn this_year(now: i64) -> i16 {
    local_date(now, &california()).year()
}

/// Makes the report for these controllers and a year; none is the one before this.
///
/// # Errors
/// The database is away, or a row is inconsistent.
pub(crate) async fn ccpa_7102(store: &Store, controllers: &[Controller], year: Option<i16>) -> Result<Report, Error> {
    let (now, zone) = (store.now_ms(), california());
    let year = year.unwrap_or_else(|| this_year(now) - 1);
    let (from, to) = (day_start(first_of(year), &zone), day_start(first_of(year + 1), &zone));
    let mut metrics = Table {
        name: "metrics",
        columns: vec![
            "controller",
            "year",
            "type",
            "received",
            "complied_in_whole",
            "complied_in_part",
            "denied",
            "withdrawn",
            "expired",
            "open",
            "days_median",
            "days_mean",
            "responded",
            "note",
        ],
        rows: Vec::new(),
    };
    let mut denials =
        Table { name: "denials", columns: vec!["controller", "year", "type", "reason", "count"], rows: Vec::new() };
    let mut others =
        Table { name: "not_in_table", columns: vec!["controller", "year", "type", "received"], rows: Vec::new() };
    let mut all = Vec::new();
    for controller in controllers {
        let mut counts: BTreeMap<Metric, Counts> = Metric::ALL.map(|metric| (metric, Counts::default())).into();
        let mut elsewhere: BTreeMap<RequestType, u64> = BTreeMap::new();
        store
            .each_received_dsr(&controller.id, REGULATION, from, to, |dsr| match Metric::of(dsr.kind) {
                Some(metric) => counts.entry(metric).or_default().add(dsr, &zone),
                None => *elsewhere.entry(dsr.kind).or_default() += 1,
            })
            .await?;
        let name = controller.name.as_str();
        for (metric, counts) in &counts {
            metrics.rows.push(counts.row(name, year, *metric));
            let kind = metric.described().0;
            denials.rows.extend(counts.denials.iter().map(|(code, n)| cells![name, year, kind, code.as_str(), *n]));
        }
        others.rows.extend(elsewhere.iter().map(|(kind, n)| cells![name, year, kind.as_str(), *n]));
        all.push(json!({
            "controller": name,
            "id": controller.id,
            "requests": counts.iter().map(|(metric, counts)| counts.json(*metric)).collect::<Vec<_>>(),
            "not_in_table": elsewhere.iter().map(|(kind, n)| json!({ "type": kind, "received": n })).collect::<Vec<_>>(),
        }));
    }
    let json = json!({
        "report": "ccpa-7102",
        "generated_at": time(now),
        "law": "Cal. Code Regs. tit. 11, § 7102(a)",
        "regulation": REGULATION,
        "year": year,
        "timezone": TIMEZONE,
        "year_is_over": now >= to,
        "definitions": definitions(),
        "controllers": all,
    });
    Ok(Report { file: format!("ccpa-7102-{year}"), json, tables: vec![metrics, denials, others] })
}

fn definitions() -> Value {
    json!({
        "received": "Requests governed by the CCPA, alone or with other laws, that the business received in the year (where it did not say when: that were handed to its service provider), by the date in California. The sum of the other counts.",
        "complied_in_whole": "Ended as completed.",
        "complied_in_part": "Ended as partially_completed: some records stay, each for an itemized reason.",
        "denied": "Ended as rejected.",
        "withdrawn": "Taken back before they were answered; neither complied with nor denied.",
        "expired": "Ended without an answer because the business never gave what was missing; neither complied with nor denied.",
        "open": "Not ended when this report was made.",
        "days_to_respond": "Calendar days by the date in California from receipt to the substantive response, which is the end of the request; over all requests of the year that were complied with in whole or in part or denied, whose number is given.",
        "denials": "By the reason code that the business gave.",
        "not_in_table": "Requests under the CCPA of types for which the regulation asks no metric.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_changes_at_midnight_in_california() {
        let ms = |text: &str| text.parse::<jiff::Timestamp>().expect("an instant").as_millisecond();
        assert_eq!(this_year(ms("2026-01-01T07:59:59Z")), 2025);
        assert_eq!(this_year(ms("2026-01-01T08:00:00Z")), 2026);
    }

    #[test]
    fn what_a_row_says_it_counts_is_what_is_counted() {
        for kind in RequestType::ALL {
            let said: Vec<Metric> = Metric::ALL.into_iter().filter(|m| m.described().2.contains(kind)).collect();
            assert_eq!(said, Metric::of(*kind).into_iter().collect::<Vec<_>>(), "{kind}");
        }
    }
}

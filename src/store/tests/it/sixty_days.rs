//! Ten thousand requests over sixty days, by a clock that jumps from day to day across a leap day and two changes of daylight
//! saving time, judged by a ledger that knows nothing of the watch but the instants it was given.
//!
//! From 15 February 2028 on: 29 February, 12 March (the clocks of New York go forward), 26 March (those of Berlin).

use crate::lab::{Lab, Wish};
use crate::lookout::{at, sweep};
use crate::watching::route;
use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};
use redress_domain::notice::{Channel, Delivery, NotifyRole};
use redress_store::{Dialect, MessageOutcome};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const FIRST_DAY: Date = date(2028, 2, 15);
const DAYS: i64 = 66;

/// The same numbers for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as i64
    }
}

/// The instants of one due date.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Term {
    at_risk: i64,
    critical: i64,
    overdue: i64,
    decision: Option<i64>,
}

/// A request as the ledger keeps it.
struct Case {
    id: String,
    zone: usize,
    term: Term,
    /// On this day it gets another term, if it is still open.
    extended_on: Option<(i64, Term)>,
    closed_on: Option<i64>,
    closed_at: Option<i64>,
}

/// What was noticed: request, kind, instant, when it was noticed, and whether it was told.
type Entry = (String, &'static str, i64, i64, bool);

const ZONES: [&str; 2] = ["Europe/Berlin", "America/New_York"];

/// The first instant of a day somewhere.
fn midnight(day: Date, zone: usize) -> i64 {
    day.to_zoned(TimeZone::get(ZONES[zone]).expect("a zone")).expect("a day").timestamp().as_millisecond()
}

/// The local midnight on which the last so many of the working days up to and including `due` begin.
fn with_left(due: Date, working_days: i64, zone: usize) -> i64 {
    let (mut day, mut left) = (due, working_days);
    loop {
        left -= i64::from(!matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
        if left == 0 {
            return midnight(day, zone);
        }
        day = day.yesterday().expect("a day");
    }
}

fn term(due: Date, zone: usize, extendable: bool) -> Term {
    Term {
        at_risk: with_left(due, 5, zone),
        critical: with_left(due, 2, zone),
        overdue: midnight(due.tomorrow().expect("a day"), zone),
        decision: extendable.then(|| with_left(due, 6, zone)),
    }
}

fn deadlines(term: &Term) -> String {
    let mut milestones =
        json!({ "at_risk_at": at(term.at_risk), "critical_at": at(term.critical), "overdue_at": at(term.overdue) });
    if let Some(decision) = term.decision {
        milestones["extension_decision_at"] = json!(at(decision));
    }
    json!({ "effective": {}, "milestones": milestones }).to_string()
}

/// Who hears of what, as the documentation has it: a second statement of the matrix.
const HEARS: [(&str, &[&str]); 4] = [
    ("operator", &["critical", "overdue"]),
    ("privacy_team", &["at_risk", "critical", "overdue", "extension_decision"]),
    ("controller", &["at_risk", "critical", "overdue", "extension_decision"]),
    ("management", &["critical", "overdue"]),
];

/// The ledger: what must have been noticed, and when.
#[derive(Default)]
struct Ledger {
    entries: BTreeSet<Entry>,
    known: BTreeSet<(String, &'static str, i64)>,
}

impl Ledger {
    /// A sweep at `now` must notice exactly what has come since the last one.
    fn sweep(&mut self, cases: &[Case], now: i64) {
        for case in cases {
            let seen_until = case.closed_at.map_or(now, |closed| closed.min(now));
            let term = &case.term;
            let levels = [("at_risk", term.at_risk), ("critical", term.critical), ("overdue", term.overdue)];
            let gravest = levels.iter().rposition(|(_, at)| *at <= seen_until);
            for (i, (kind, at)) in levels.into_iter().enumerate() {
                // Of several levels at once the gravest is told; of one that has ended only that it came too late.
                let told = Some(i) == gravest && (case.closed_at.is_none() || kind == "overdue");
                self.note(case, kind, at, term.overdue, told, seen_until, now);
            }
            if let Some(at) = term.decision {
                let told = case.closed_at.is_none() && seen_until < term.overdue;
                self.note(case, "extension_decision", at, at, told, seen_until, now);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a line of a ledger has many columns")]
    fn note(&mut self, case: &Case, kind: &'static str, at: i64, of: i64, told: bool, until: i64, now: i64) {
        if at <= until && self.known.insert((case.id.clone(), kind, of)) {
            self.entries.insert((case.id.clone(), kind, at, now, told));
        }
    }
}

/// Every case is a copy of one row.
async fn insert(lab: &Lab, template: &str, controllers: &[String; 2], cases: &[Case]) {
    for chunk in cases.chunks(250) {
        let mut sql = Vec::new();
        for case in chunk {
            sql.push(format!(
                "INSERT INTO dsrs (id, controller_id, kind, stage, status, instruction_received_at, deadlines, due_before, policy, out_of_scope, identifier_types, has_callback, watch_at) SELECT '{}', '{}', kind, stage, status, instruction_received_at, '{}', {}, policy, out_of_scope, identifier_types, 0, {} FROM dsrs WHERE id = '{template}';",
                case.id,
                controllers[case.zone],
                deadlines(&case.term),
                case.term.overdue,
                lab.now(),
            ));
        }
        lab.sql(&format!("BEGIN; {} COMMIT;", sql.concat())).await.expect("inserted");
    }
}

fn a_case(n: usize, dice: &mut Dice) -> Case {
    let zone = n % 2;
    let due = FIRST_DAY.saturating_add((5 + dice.below(60)).days());
    let extendable = dice.below(3) == 0;
    let extended_on = (extendable && dice.below(2) == 0).then(|| {
        let on = dice.below(55);
        (on, term(due.saturating_add((7 + dice.below(30)).days()), zone, false))
    });
    let closed_on = (dice.below(4) == 0).then(|| dice.below(DAYS));
    Case {
        id: format!("dsr_{n:026}"),
        zone,
        term: term(due, zone, extendable),
        extended_on,
        closed_on,
        closed_at: None,
    }
}

/// What happens to requests during a day, in the rows and in the ledger's mind.
async fn a_day_passes(lab: &Lab, cases: &mut [Case], day: i64) {
    let now = lab.now();
    let mut sql = Vec::new();
    for case in cases.iter_mut().filter(|case| case.closed_at.is_none()) {
        if let Some((on, extended)) = case.extended_on
            && on == day
            && now < case.term.overdue
        {
            case.term = extended;
            sql.push(format!(
                "UPDATE dsrs SET deadlines = '{}', due_before = {}, watch_at = {now} WHERE id = '{}';",
                deadlines(&extended),
                extended.overdue,
                case.id
            ));
        }
        if case.closed_on == Some(day) {
            case.closed_at = Some(now);
            sql.push(format!(
                "UPDATE dsrs SET stage = 'completed', closed_at = {now}, watch_at = CASE WHEN watch_at <= {now} THEN watch_at ELSE NULL END WHERE id = '{}';",
                case.id
            ));
        }
    }
    if !sql.is_empty() {
        lab.sql(&format!("BEGIN; {} COMMIT;", sql.concat())).await.expect("happened");
    }
}

/// Sends whatever is due, as an obedient world would; what was sent is complete.
async fn send_all(lab: &Lab, sent: &mut BTreeMap<String, i64>) {
    while let Some(lease) = lab.store.claim_message("one", &[], 60_000).await.expect("claimed") {
        let contents = lab.store.message_contents(&lease.id, 10).await.expect("read");
        let total: i64 = contents.kinds.iter().map(|(_, n)| n).sum();
        assert!(sent.insert(lease.id.to_string(), total).is_none(), "sent twice");
        let outcome = MessageOutcome::Sent { in_part: false };
        assert!(lab.store.finish_message(&lease, &outcome).await.expect("recorded"));
    }
}

async fn sixty_days(lab: Lab, requests: usize) {
    let start = midnight(FIRST_DAY, 0);
    lab.travel(start - lab.now());
    let (berlin, york) = (lab.controller("berlin").await, lab.controller("york").await);
    lab.sql(&format!("UPDATE controllers SET timezone = 'America/New_York' WHERE id = '{york}'")).await.expect("moved");
    for owner in [&berlin, &york] {
        let channels = [Channel::Webhook, Channel::Email, Channel::Slack, Channel::Email];
        let routes: Vec<_> = NotifyRole::ALL
            .iter()
            .zip(channels)
            .map(|(role, channel)| route(role.as_str(), *role, channel, Delivery::Auto))
            .collect();
        lab.store.apply_routes(Some(owner), &routes, false, "operator").await.expect("applied");
    }
    let template = lab.submit(&berlin, Wish::deletion()).await.to_string();
    let mut dice = Dice(20_280_229);
    let mut cases: Vec<Case> = (0..requests).map(|n| a_case(n, &mut dice)).collect();
    insert(&lab, &template, &[berlin.to_string(), york.to_string()], &cases).await;
    lab.sql(&format!(
        "DELETE FROM steps WHERE dsr_id = '{template}'; UPDATE dsrs SET watch_at = NULL WHERE id = '{template}'"
    ))
    .await
    .expect("gone");

    let (mut ledger, mut sent) = (Ledger::default(), BTreeMap::new());
    for day in 0..DAYS {
        // Once at the very instant of midnight in Berlin, once in the early morning of New York, once at noon.
        let today = FIRST_DAY.saturating_add(day.days());
        for moment in [midnight(today, 0), midnight(today, 1) + 1, midnight(today, 0) + 12 * 3_600_000] {
            lab.travel(moment - lab.now());
            sweep(&lab).await;
            ledger.sweep(&cases, lab.now());
            send_all(&lab, &mut sent).await;
        }
        lab.travel(SignedDuration::from_hours(1).as_millis() as i64);
        a_day_passes(&lab, &mut cases, day).await;
    }

    let found = lab.query("SELECT dsr_id || ' ' || kind || ' ' || CAST(due_at AS TEXT) || ' ' || CAST(noticed_at AS TEXT) || ' ' || CAST(1 - superseded AS TEXT) FROM notices ORDER BY 1").await;
    let mut wanted: Vec<String> = ledger
        .entries
        .iter()
        .map(|(id, kind, due, noticed, told)| format!("{id} {kind} {due} {noticed} {}", u8::from(*told)))
        .collect();
    wanted.sort();
    assert!(wanted.len() > requests * 2, "{}", wanted.len());
    let (found_set, wanted_set): (BTreeSet<_>, BTreeSet<_>) = (found.iter().collect(), wanted.iter().collect());
    let missed: Vec<_> = wanted_set.difference(&found_set).take(5).collect();
    let invented: Vec<_> = found_set.difference(&wanted_set).take(5).collect();
    assert!(missed.is_empty() && invented.is_empty(), "missed {missed:?}\ninvented {invented:?}");
    assert_eq!(found.len(), wanted.len(), "each exactly once");
    assert_eq!(lab.count("notices WHERE noticed_at < due_at").await, 0, "none early");

    told_once(&lab, &ledger, &cases, &sent, requests).await;
}

/// Each notice that is told is in exactly one message of each route that hears it, and people get few messages.
async fn told_once(lab: &Lab, ledger: &Ledger, cases: &[Case], sent: &BTreeMap<String, i64>, requests: usize) {
    lab.travel(7 * 86_400_000);
    let mut sent = sent.clone();
    send_all(lab, &mut sent).await;
    let zones: BTreeMap<&str, usize> = cases.iter().map(|case| (case.id.as_str(), case.zone)).collect();
    let mut wanted = Vec::new();
    for (id, kind, .., told) in &ledger.entries {
        for (role, kinds) in HEARS {
            if *told && kinds.contains(kind) {
                wanted.push(format!("{} {role} {kind} {id}", zones[id.as_str()]));
            }
        }
    }
    wanted.sort();
    let mut found = lab.query("SELECT CASE c.name WHEN 'berlin' THEN '0' ELSE '1' END || ' ' || r.name || ' ' || n.kind || ' ' || n.dsr_id FROM message_notices mn JOIN messages m ON m.id = mn.message_id JOIN notify_routes r ON r.id = m.route_id JOIN controllers c ON c.id = r.controller_id JOIN notices n ON n.id = mn.notice_id").await;
    found.sort();
    assert_eq!(found.len(), wanted.len());
    assert!(found == wanted, "what is told is not what is to be told");
    assert_eq!(sent.values().sum::<i64>() as usize, wanted.len(), "nothing joined a message after it was sent");
    assert_eq!(lab.count("messages WHERE outcome = 'sent'").await as usize, sent.len());
    assert_eq!(lab.count("messages WHERE q IS NOT NULL OR open = 1").await, 0);
    // At most one digest a working morning, and one message at once for each sweep that found something.
    let most = lab.query("SELECT CAST(MAX(n) AS TEXT) FROM (SELECT COUNT(*) AS n FROM messages m JOIN notify_routes r ON r.id = m.route_id WHERE r.channel <> 'webhook' GROUP BY r.id, m.digest) x").await;
    let most: i64 = most[0].parse().expect("a number");
    assert!(most <= 3 * DAYS, "{most} messages to one inbox for {requests} requests");
    // A digest is sent at eight in the morning there.
    let odd = lab.query("SELECT CAST(m.not_before AS TEXT) || ' ' || r.name FROM messages m JOIN notify_routes r ON r.id = m.route_id WHERE m.digest = 1").await;
    for line in odd {
        let ms: i64 = line.split(' ').next().expect("a number").parse().expect("a number");
        let local = at(ms).to_zoned(TimeZone::get("Europe/Berlin").expect("a zone"));
        assert_eq!((local.hour(), local.minute()), (8, 0), "{local}");
        assert!(!matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday), "{local}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_over_sixty_days_are_noticed_exactly_once_each() {
    sixty_days(Lab::new(Dialect::Sqlite).await, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_over_sixty_days_are_noticed_exactly_once_each_on_postgres() {
    sixty_days(Lab::new(Dialect::Postgres).await, 2_000).await;
}

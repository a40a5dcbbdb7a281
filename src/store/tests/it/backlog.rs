//! The proof of the forecast: a backlog is worked off at the systems' own paces for two months, and the forecast flags
//! exactly the requests that then end late, each at least three days before it is due.
//!
//! The queue is the real one: requests are submitted, claimed and finished through the store while a clock jumps from event
//! to event. Four systems differ: `crm` is slow and only its measured pace says so, `archive` is held up by the limit of its
//! controller, `vendor` takes fourteen days by itself, `fast` takes whatever comes. Requests arrive over time, some with due
//! dates earlier than those that wait already.

use crate::lab::{Lab, Wish, a_system, done, render, verified};
use redress_domain::step::{Phase, RATE_LIMITED};
use redress_domain::{ControllerId, RequestType, Verb};
use redress_store::{Finish, Lease, StepResult, Submitted, WorkKind};
use std::collections::BTreeMap;

on_both!(the_forecast_flags_exactly_the_requests_that_end_late_three_days_ahead);

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Between two passes.
const PASS: i64 = 6 * HOUR;
/// So long before its due date a request is judged by its forecast.
const AHEAD: i64 = 3 * DAY;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.unsigned_abs()) as i64
    }
}

/// A system that answers one batch at a time, and how long that takes.
struct Server {
    lane: String,
    call_ms: i64,
    batch: usize,
    /// Days that it takes by itself.
    days: i64,
    /// Between two permissions of its controller.
    every_ms: i64,
    allowed_at: i64,
    at_work: Option<(i64, Vec<Lease>)>,
}

/// What was foreseen of a request, and what came.
#[derive(Debug, Default)]
struct Story {
    due: i64,
    first_flagged: Option<i64>,
    /// The last forecast at least three days before it was due: late, and where.
    foreseen: Option<(bool, String)>,
}

struct World {
    lab: Lab,
    ctl: ControllerId,
    servers: Vec<Server>,
    /// When each request arrives, of what type, and when it is due.
    arrivals: Vec<(i64, RequestType, i64)>,
    stories: BTreeMap<String, Story>,
    next_pass: i64,
}

impl World {
    async fn new(lab: Lab) -> Self {
        use RequestType::{Access, Correction, Deletion};
        let ctl = lab.controller("acme").await;
        let mut servers = Vec::new();
        for (name, allow, call_ms, batch, days, every_ms) in [
            ("crm", vec![Deletion, Correction], 135 * MINUTE, 1, 0, 0),
            ("archive", vec![Access], MINUTE, 1, 0, 26 * HOUR),
            ("vendor", vec![Deletion], HOUR, 1, 14, 0),
            ("fast", vec![Access, Correction, Deletion], 10_000, 50, 0, 0),
        ] {
            let mut system = redress_store::SystemUpsert { allow, completes_within_days: days, ..a_system(name) };
            if every_ms > 0 {
                #[expect(clippy::cast_precision_loss, reason = "whole seconds")]
                let rate = 1_000.0 / every_ms as f64;
                system.definition["rate_per_second"] = rate.into();
            }
            lab.store.upsert_system(&ctl, &system, "operator").await.expect("stored");
            let id = lab.store.system_by_name(&ctl, name).await.expect("read").expect("there").id;
            let lane = id.as_str().to_owned();
            servers.push(Server { lane, call_ms, batch, days, every_ms, allowed_at: 0, at_work: None });
        }
        let (now, mut dice) = (lab.now(), Dice(0x0bad_5eed));
        let mut arrivals = Vec::new();
        for n in 0..440 {
            let kind = [Deletion, Correction, Access, Deletion, Correction][dice.below(5) as usize];
            // Half of them wait at the beginning, the others come over forty days.
            let at = if n < 220 { now } else { now + dice.below(40 * DAY) };
            let days = if dice.below(6) == 0 { 10 + dice.below(5) } else { 18 + dice.below(28) };
            arrivals.push((at, kind, at + days * DAY + dice.below(DAY)));
        }
        arrivals.sort_by_key(|(at, ..)| -at);
        let next_pass = now + HOUR;
        Self { lab, ctl, servers, arrivals, stories: BTreeMap::new(), next_pass }
    }

    /// Lets everything happen that happens next; false when there is nothing left to do.
    async fn turn(&mut self) -> bool {
        let finishes = self.servers.iter().filter_map(|server| server.at_work.as_ref().map(|(until, _)| *until));
        let arrival = self.arrivals.last().map(|(at, ..)| *at);
        let waits = self.lab.store.next_wait().await.expect("read");
        let Some(next) = finishes.chain(arrival).chain(waits).min() else { return false };
        if next >= self.next_pass {
            self.travel_to(self.next_pass);
            self.foresee().await;
            self.next_pass += PASS;
            return true;
        }
        self.travel_to(next);
        self.finish().await;
        self.arrive().await;
        while self.lab.advance().await > 0 {}
        while self.lab.store.promote().await.expect("promoted") > 0 {}
        self.begin().await;
        true
    }

    fn travel_to(&self, at: i64) {
        self.lab.travel((at - self.lab.now()).max(0));
    }

    async fn arrive(&mut self) {
        let now = self.lab.now();
        while let Some((_, kind, due)) = self.arrivals.pop_if(|(at, ..)| *at <= now) {
            let new = self.lab.new_dsr(&self.ctl, &Wish::of(kind).due(due)).await;
            let Submitted::New(id, _) = self.lab.store.submit(new, render).await.expect("accepted") else {
                panic!("new")
            };
            self.stories.insert(id.to_string(), Story { due, ..Story::default() });
        }
    }

    async fn finish(&mut self) {
        let now = self.lab.now();
        for server in &mut self.servers {
            let Some((_, leases)) = server.at_work.take_if(|(until, _)| *until <= now) else { continue };
            let mut batch = Vec::new();
            for lease in leases {
                let result = match (lease.kind, lease.phase) {
                    (WorkKind::Step(Verb::Export), _) => done(None),
                    (_, Phase::Verify) => verified(),
                    _ if server.days > 0 && !was_asked(&self.lab, &lease).await => StepResult::External {
                        receipt: "order".into(),
                        check_at: now + server.days * DAY,
                        completes_by: None,
                    },
                    _ => done(Some(now)),
                };
                batch.push(Finish { lease, result });
            }
            assert_eq!(self.lab.store.finish(batch).await.expect("recorded"), 0);
        }
    }

    /// Gives work to every system that has none, and answers what is done.
    async fn begin(&mut self) {
        let now = self.lab.now();
        let lanes: Vec<String> =
            self.servers.iter().map(|server| server.lane.clone()).chain(["answer".into()]).collect();
        let others = |lane: &str| lanes.iter().filter(|other| *other != lane).cloned().collect::<Vec<_>>();
        for server in self.servers.iter_mut().filter(|server| server.at_work.is_none()) {
            let owner = "worker";
            if now >= server.allowed_at {
                let leases =
                    self.lab.store.claim(owner, &others(&server.lane), server.batch, HOUR).await.expect("claimed");
                if !leases.is_empty() {
                    server.allowed_at = now + server.every_ms;
                    server.at_work = Some((now + server.call_ms, leases));
                }
            }
            // Whoever stands ready where nothing is allowed is put off, as by a worker.
            if now < server.allowed_at {
                let until = server.allowed_at;
                loop {
                    let leases = self.lab.store.claim(owner, &others(&server.lane), 500, HOUR).await.expect("claimed");
                    if leases.is_empty() {
                        break;
                    }
                    let put_off = leases.into_iter().map(|lease| Finish { lease, result: not_allowed(until) });
                    self.lab.store.finish(put_off.collect()).await.expect("recorded");
                }
            }
        }
        for lease in self.lab.store.claim("worker", &others("answer"), 500, HOUR).await.expect("claimed") {
            self.lab.answer(&lease).await.expect("answered");
        }
    }

    async fn foresee(&mut self) {
        let now = self.lab.now();
        self.lab.store.foresee(1).await.expect("foreseen");
        let rows = self.lab.query("SELECT id || ' ' || forecast FROM dsrs WHERE closed_at IS NULL").await;
        for row in rows {
            let (id, forecast) = row.split_once(' ').expect("two parts");
            let forecast: serde_json::Value = serde_json::from_str(forecast).expect("JSON");
            let late = forecast["late"].as_bool().expect("a flag");
            let story = self.stories.get_mut(id).expect("submitted here");
            if late {
                story.first_flagged.get_or_insert(now);
            }
            if now <= story.due - AHEAD {
                let bottleneck = forecast["bottleneck"].as_str().unwrap_or_default().to_owned();
                let reasons = forecast["because"].to_string();
                assert!(reasons.contains(&bottleneck) && reasons.contains("It is due before"), "{reasons}");
                story.foreseen = Some((late, bottleneck));
            }
        }
    }
}

/// What a worker says of a step while its controller's limit is used up.
fn not_allowed(until: i64) -> StepResult {
    StepResult::Later {
        not_before: until,
        failed: false,
        attention: false,
        code: RATE_LIMITED.into(),
        detail: "later".into(),
    }
}

async fn was_asked(lab: &Lab, lease: &Lease) -> bool {
    lab.query(&format!("SELECT CAST(acted_at AS TEXT) FROM steps WHERE id = '{}'", lease.step_id)).await[0] != "NULL"
}

async fn the_forecast_flags_exactly_the_requests_that_end_late_three_days_ahead(lab: Lab) {
    let mut world = World::new(lab).await;
    while world.turn().await {}
    let lab = &world.lab;
    assert_eq!(lab.count("dsrs WHERE status <> 'completed'").await, 0);
    assert_eq!(world.stories.len(), 440);

    let ended = lab.query("SELECT id || ' ' || closed_at FROM dsrs").await;
    let last = "SELECT DISTINCT s.dsr_id || ' ' || y.name FROM steps s JOIN systems y ON y.id = s.system_id WHERE COALESCE(s.verified_at, s.acted_at) = (SELECT MAX(COALESCE(o.verified_at, o.acted_at)) FROM steps o WHERE o.dsr_id = s.dsr_id AND o.system_id IS NOT NULL)";
    let last = lab.query(last).await;
    let (mut late, mut by_system, mut leads) = (0, BTreeMap::<&str, i32>::new(), Vec::new());
    for row in &ended {
        let (id, closed_at) = row.split_once(' ').expect("two parts");
        let closed_at: i64 = closed_at.parse().expect("an instant");
        let story = &world.stories[id];
        let ends_late = closed_at >= story.due;
        // A request that was through before any pass was in nobody's way.
        let (flagged, bottleneck) = story.foreseen.clone().unwrap_or_default();
        assert_eq!(flagged, ends_late, "{id} ended {} h after its due date: {story:?}", (closed_at - story.due) / HOUR);
        // No alarm at any time was a false one.
        assert!(ends_late || story.first_flagged.is_none(), "{id}: {story:?}");
        if ends_late {
            late += 1;
            leads.push(story.due - story.first_flagged.expect("flagged"));
            let name = last.iter().find_map(|row| row.strip_prefix(id)?.strip_prefix(' ')).expect("a last step");
            assert_eq!(bottleneck, name, "{id}");
            *by_system.entry(name).or_default() += 1;
        }
    }
    assert!(leads.iter().all(|lead| *lead >= AHEAD), "{leads:?}");
    // It was worth asking.
    assert!((60..300).contains(&late) && by_system.len() == 3, "{late} {by_system:?}");
}

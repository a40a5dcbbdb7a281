//! Whatever happens in whatever order, no open request is forgotten, none completes unsettled, and the log stays whole.

use crate::lab::{KEEP, Lab, Wish, acted, attention, done, later, residue, verified};
use redress_domain::stage::{Event, Stage};
use redress_domain::step::{Phase, StepState};
use redress_domain::{ControllerId, DsrId, RequestType, Verb};
use redress_store::{Decision, Dialect, Error, Lease, StepResult, WorkKind};
use std::collections::{BTreeSet, HashMap};

const LISTS: u64 = 200;
const LENGTH: usize = 90;

/// Stage, status, rows queued, rows waiting, rows stuck, answers, woken, closed, purged, id.
type Seen = (String, String, i64, i64, i64, i64, i64, i64, i64, String);

/// A generator of numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct World {
    lab: Lab,
    ctl: ControllerId,
    dice: Dice,
    requests: Vec<DsrId>,
    /// Every lease ever given: those that were finished or lost are tried again too.
    leases: Vec<Lease>,
    recorded: BTreeSet<(String, i64)>,
    log: Vec<String>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let lab = Lab::new(Dialect::Sqlite).await;
        let ctl = lab.with_systems(&["crm", "shop"]).await;
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { lab, ctl, dice, requests: vec![], leases: vec![], recorded: BTreeSet::new(), log: vec![] }
    }

    fn request(&mut self) -> Option<DsrId> {
        let n = self.requests.len() as u64;
        (n > 0).then(|| self.requests[self.dice.below(n) as usize].clone())
    }

    async fn step(&mut self) {
        let roll = self.dice.below(20);
        match roll {
            0 | 1 if self.requests.len() < 4 => self.submit().await,
            0..=2 => drop(self.lab.advance().await),
            3..=6 => self.claim().await,
            7..=13 => self.finish().await,
            14 if self.dice.one_in(3) => {
                let expired = self.lab.store.expire_leases().await.expect("looked");
                self.log.push(format!("expire {expired}"));
            }
            14 | 15 => {
                let ms = [1_000, 60_000, 3_600_000, KEEP][self.dice.below(4) as usize];
                self.lab.travel(ms);
                self.lab.store.promote().await.expect("promoted");
                self.log.push(format!("travel {ms}"));
            }
            16 | 17 => self.decide().await,
            18 => {
                let purged = self.lab.store.purge_due(10).await.expect("purged");
                self.log.push(format!("purge {purged}"));
            }
            _ => {
                let system = self.lab.store.system_by_name(&self.ctl, "crm").await.expect("read").expect("there");
                self.lab.store.record_check(&system, None).await.expect("recorded");
                self.log.push("mend crm".into());
            }
        }
    }

    async fn submit(&mut self) {
        let kind = [RequestType::Deletion, RequestType::Access, RequestType::Correction][self.dice.below(3) as usize];
        let cooling = if self.dice.one_in(4) { 3_600_000 } else { 0 };
        let mut wish = Wish::of(kind).policy(self.dice.one_in(4), cooling, self.dice.one_in(4));
        wish.callback = self.dice.one_in(3);
        let id = self.lab.submit(&self.ctl, wish).await;
        self.log.push(format!("submit {kind} {id}"));
        self.requests.push(id);
    }

    async fn claim(&mut self) {
        let dies = self.dice.one_in(8);
        let batch = 1 + self.dice.below(3) as usize;
        let leases = self.lab.store.claim("one", &[], batch, if dies { -1 } else { 60_000 }).await.expect("claimed");
        self.log.push(format!("claim {} (dies: {dies})", leases.len()));
        self.leases.extend(leases);
    }

    async fn finish(&mut self) {
        let open: Vec<&Lease> =
            self.leases.iter().filter(|l| !self.recorded.contains(&(l.step_id.to_string(), l.token))).collect();
        // Mostly what is held still or was lost; now and then what was recorded already.
        let among = if open.is_empty() || self.dice.one_in(8) { self.leases.iter().collect() } else { open };
        let n = among.len() as u64;
        if n == 0 {
            return;
        }
        let back = self.dice.below(n.min(3));
        let lease = among[(n - 1 - back) as usize].clone();
        let fence = (lease.step_id.to_string(), lease.token);
        if lease.kind == WorkKind::Answer && !self.dice.one_in(4) {
            let answered = self.lab.answer(&lease).await;
            self.log.push(format!("answer {}: {answered:?}", lease.dsr_id));
            match answered {
                Ok(()) => assert!(self.recorded.insert(fence), "recorded twice"),
                Err(Error::LeaseLost | Error::Purged) => {}
                Err(error) => panic!("{error}"),
            }
            return;
        }
        let result = self.result(&lease);
        let dropped = self.lab.finish(&lease, result.clone()).await;
        self.log.push(format!("finish {} of {} as {result:?}: {dropped} dropped", lease.step_id, lease.dsr_id));
        if dropped == 0 {
            assert!(self.recorded.insert(fence), "recorded twice");
        }
    }

    fn result(&mut self, lease: &Lease) -> StepResult {
        let now = self.lab.now();
        let at = now + [0, 1_000, 60_000][self.dice.below(3) as usize];
        let trouble = self.dice.below(16);
        match (lease.kind, lease.phase, trouble) {
            (_, _, 0) => later(at, self.dice.one_in(2), self.dice.one_in(3)),
            (WorkKind::Notify, ..) => {
                StepResult::Dismissed { achieved: trouble > 2, code: if trouble == 1 { "gone" } else { "200" }.into() }
            }
            (WorkKind::Answer, ..) => later(at, true, true),
            (_, _, 1) => attention(),
            (_, Phase::Verify, 2 | 3) => residue(),
            (_, Phase::Verify, _) => verified(),
            (WorkKind::Step(_), _, 2) => acted(StepState::NothingFound, 0),
            (WorkKind::Step(_), _, 3) => acted(StepState::Retained, 1),
            (WorkKind::Step(_), _, 4) => {
                StepResult::External { receipt: "order".into(), check_at: at, completes_by: None }
            }
            (WorkKind::Step(Verb::Export), ..) => done(None),
            (WorkKind::Step(_), ..) => done(Some(at)),
        }
    }

    async fn decide(&mut self) {
        let Some(id) = self.request() else { return };
        let kind = self.lab.detail(&self.ctl, &id).await.row.kind;
        let decision = match self.dice.below(8) {
            0 if self.dice.one_in(2) => Decision::Withdraw,
            1 if self.dice.one_in(2) => Decision::Reject("refused".into()),
            0..=4 => Decision::Approve,
            _ => Decision::Retry(self.lab.plan(&self.ctl, kind).await),
        };
        let decided = self.lab.store.decide(&self.ctl, &id, decision.clone(), "key_person").await;
        self.log.push(format!("decide {id} {decision:?}: {decided:?}"));
        assert!(matches!(decided, Ok(()) | Err(Error::Conflict(_))), "{decided:?}");
    }

    async fn check(&self) {
        let lab = &self.lab;
        let events = crate::audit::assert_chain(&lab.store, &self.ctl).await;
        let mut replayed: HashMap<&str, Stage> = HashMap::new();
        for event in &events {
            let Some(id) = event.dsr_id.as_deref() else { continue };
            let stage = replayed.entry(id).or_insert(Stage::Received);
            if let Some(happened) = Event::parse(&event.kind) {
                *stage = stage.after(happened).expect("every event was legal");
            }
        }
        let of = |what: &str| format!("(SELECT COUNT(*) FROM steps s WHERE s.dsr_id = d.id AND {what})");
        let sql = format!(
            "SELECT json_array(stage, status, {}, {}, {}, {}, wake_at IS NOT NULL, closed_at IS NOT NULL, purged_at IS NOT NULL, id) FROM dsrs d",
            of("verb <> 'notify' AND q IS NOT NULL"),
            of("verb <> 'notify' AND q IN ('ready', 'wait')"),
            of("verb <> 'notify' AND attention = 1"),
            of("verb = 'answer'"),
        );
        for row in lab.query(&sql).await {
            let row: Seen = serde_json::from_str(&row).expect("as asked");
            let (stage, status, queued, waiting, stuck, answers, wakes, closed, purged, id) = row;
            let stage = Stage::parse(&stage).expect("a stage");
            assert_eq!(replayed[id.as_str()], stage, "{id}: its events lead to its stage");
            assert!(answers <= 1, "{id}: one answer");
            if stage.is_final() {
                assert_eq!((waiting, stuck, wakes, closed), (0, 0, 0, 1), "{id}: an end is an end");
                assert_eq!(status, stage.as_str());
            } else {
                assert_eq!((closed, purged), (0, 0), "{id}: open");
                let asked = matches!(stage, Stage::AwaitingApproval | Stage::Review);
                assert!(queued > 0 || stuck > 0 || wakes > 0 || asked, "{id}: nothing will move it");
                // A mended system is known to the request at its next advance.
                assert!((stuck > 0) == (status == "needs_attention") || wakes > 0, "{id}: {status}");
            }
            if matches!(stage, Stage::Completed | Stage::PartiallyCompleted) {
                let id = DsrId::parse(&id).expect("an id");
                let detail = lab.detail(&self.ctl, &id).await;
                for step in &detail.steps {
                    assert!(step.status.is_settled(step.verb), "{id}: {} is {}", step.system, step.status);
                }
                let kept = detail.steps.iter().any(|s| s.status == StepState::Retained);
                assert_eq!(stage == Stage::PartiallyCompleted, kept, "{id}");
                lab.store.certificate(&self.ctl, &id).await.expect("certified");
            }
        }
    }
}

/// Prints what was done if the checks fail.
struct Story<'a>(u64, &'a mut World);

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}:\n{}", self.0, self.1.log.join("\n"));
        }
    }
}

async fn lists(seeds: impl Iterator<Item = u64>) -> (usize, HashMap<&'static str, usize>) {
    let (mut steps, mut ends) = (0, HashMap::new());
    for seed in seeds {
        let mut world = World::new(seed).await;
        let story = Story(seed, &mut world);
        for _ in 0..LENGTH {
            story.1.step().await;
            story.1.check().await;
            steps += 1;
        }
        for id in &story.1.requests {
            let stage = story.1.lab.detail(&story.1.ctl, id).await.row.stage;
            *ends.entry(stage.as_str()).or_insert(0) += 1;
        }
    }
    (steps, ends)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_lists_of_operations_keep_every_promise() {
    let halves = tokio::join!(tokio::spawn(lists(0..LISTS / 2)), tokio::spawn(lists(LISTS / 2..LISTS)));
    let (one, two) = (halves.0.expect("see the story"), halves.1.expect("see the story"));
    let mut ends = one.1;
    for (stage, n) in two.1 {
        *ends.entry(stage).or_insert(0) += n;
    }
    println!("{} operations; requests ended in {ends:?}", one.0 + two.0);
    for stage in ["completed", "partially_completed", "withdrawn", "rejected", "delivering", "review", "cooling_off"] {
        assert!(ends.contains_key(stage), "the lists reach {stage}: {ends:?}");
    }
}

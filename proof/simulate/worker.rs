//! Workers as the fleet has them, one motion at a time: claim, open, announce, change, record; anything may come in between.
//!
//! What an answer of a connected system means is asked of the product's own [`outcome`].

use super::broken::Fault;
use super::fleet::{At, Died, LEASE};
use super::world::{Heard, Way, who};
use super::{Broke, Simulation};
use redress_connectors::{Done, Evidence, Outcome, Problem, Receipt, Trouble, Verdict};
use redress_domain::step::Phase;
use redress_domain::{RequestType, Verb};
use redress_jobs::outcome::{self, Moment};
use redress_store::{ArtifactMeta, Error, Finish, Lease, NewPackage, OpenWork, StepResult, Store, WorkKind};
use serde_json::json;
use std::time::Duration;

/// Rows of one claim.
const BATCH: usize = 3;
/// When a vendor may be asked again.
const CHECK_AFTER: Duration = Duration::from_mins(1);

impl Simulation {
    pub(super) fn some_worker(&mut self) -> usize {
        1 + self.dice.below(self.fleet.processes.len() - 1)
    }

    /// Lets a worker's process do something on the store; what it held is gone if it dies over it.
    async fn on<T>(
        &mut self,
        process: usize,
        what: impl AsyncFnOnce(Store) -> Result<T, Error>,
    ) -> Result<Result<T, Error>, Died> {
        let store = self.fleet.processes[process].store.clone();
        let life = self.fleet.processes[process].life;
        let came = self.fleet.run(process, &mut self.dice, what(store)).await;
        if came.is_err() {
            self.died(process, life);
        }
        came
    }

    pub(super) async fn advance(&mut self) -> Result<(), Broke> {
        let process = self.some_worker();
        let came = self.on(process, async |store| {
            let advanced = store.advance_due(100).await?;
            Ok((advanced, store.promote().await?))
        });
        match came.await {
            Ok(Err(error)) => Err(format!("advancing was answered {error}")),
            Ok(Ok((0, 0))) => Ok(()),
            came => {
                self.tell(format!("{process} advances: {came:?}"));
                Ok(())
            }
        }
    }

    pub(super) async fn claim(&mut self) -> Result<(), Broke> {
        let process = self.some_worker();
        let owner = self.fleet.processes[process].owner.clone();
        let batch = if self.calm { 100 } else { 1 + self.dice.below(BATCH) };
        let came = self.on(process, async |store| store.claim(&owner, &[], batch, LEASE).await).await;
        let leases = match came {
            Err(Died) => return Ok(()),
            Ok(leases) => leases.map_err(|error| format!("a claim was answered {error}"))?,
        };
        for lease in leases {
            self.tell(format!(
                "{process} claims {} of {} ({:?} {:?} {})",
                lease.step_id, lease.dsr_id, lease.kind, lease.phase, lease.token
            ));
            if lease.kind != WorkKind::Notify && self.world.ended.contains(lease.dsr_id.as_str()) {
                return Err(format!("nothing of a request that ended is taken up: {} was", lease.step_id));
            }
            self.fleet.processes[process].held.push((lease, At::Claimed));
        }
        Ok(())
    }

    pub(super) async fn renew(&mut self) -> Result<(), Broke> {
        let process = self.some_worker();
        let it = &self.fleet.processes[process];
        let ids: Vec<_> = it.held.iter().map(|(lease, _)| lease.step_id.clone()).collect();
        let owner = it.owner.clone();
        let came = self.on(process, async |store| store.renew(&owner, &ids, LEASE).await).await;
        self.tell(format!("{process} renews: {came:?}"));
        Ok(())
    }

    /// A worker ends in good order; what it still runs goes on for a moment.
    pub(super) async fn hand_back(&mut self) -> Result<(), Broke> {
        let process = self.some_worker();
        let owner = self.fleet.processes[process].owner.clone();
        let came = self.on(process, async |store| store.hand_back(&owner).await).await;
        self.tell(format!("{process} hands back: {came:?}"));
        Ok(())
    }

    pub(super) async fn sweep(&mut self) -> Result<(), Broke> {
        let process = self.some_worker();
        self.nobody_is_forgotten().await?;
        let came = self.on(process, async |store| {
            let expired = store.expire_leases().await?;
            Ok((expired, store.purge_due(100).await?, store.reconcile().await?))
        });
        let came = came.await;
        self.tell(format!("{process} sweeps: {came:?}"));
        match came {
            Ok(Err(error)) => Err(format!("the sweep was answered {error}")),
            _ => Ok(()),
        }
    }

    pub(super) async fn sweep_all(&mut self) -> Result<(), Broke> {
        // Processes whose clocks are behind find less due.
        for _ in 0..4 {
            self.sweep().await?;
        }
        Ok(())
    }

    /// One motion of one worker with one piece of work, or what it knows is recorded.
    pub(super) async fn work(&mut self) -> Result<(), Broke> {
        let mut process = self.some_worker();
        if self.fleet.processes[process].held.is_empty() {
            process = 3 - process;
        }
        let n = self.fleet.processes[process].held.len();
        if n == 0 {
            return Ok(());
        }
        let knows = |(_, at): &(Lease, At)| matches!(at, At::Knows(_));
        if self.dice.one_in(3) && self.fleet.processes[process].held.iter().any(knows) {
            return self.record(process).await;
        }
        let i = self.dice.below(n);
        let (lease, at) = self.fleet.processes[process].held.swap_remove(i);
        let life = self.fleet.processes[process].life;
        if let Some(at) = self.motion(process, &lease, at).await?
            && self.fleet.processes[process].life == life
        {
            self.fleet.processes[process].held.push((lease, at));
        }
        Ok(())
    }

    /// Records everything this worker knows, in one transaction.
    async fn record(&mut self, process: usize) -> Result<(), Broke> {
        let held = std::mem::take(&mut self.fleet.processes[process].held);
        let (known, rest): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, at)| matches!(at, At::Knows(_)));
        self.fleet.processes[process].held = rest;
        let mut batch = Vec::new();
        let mut lost = 0;
        for (lease, at) in known {
            lost += usize::from(!self.is_held(&lease).await);
            if let At::Knows(result) = at {
                self.tell(format!("{process} records {} ({}): {result:?}", lease.step_id, lease.token));
                batch.push(Finish { lease, result });
            }
        }
        match self.on(process, async |store| store.finish(batch).await).await {
            Err(Died) => Ok(()),
            Ok(Ok(dropped)) if dropped == lost => Ok(()),
            Ok(Ok(dropped)) => {
                Err(format!("who lost the lease records nothing: {lost} had lost theirs, and {dropped} were dropped"))
            }
            Ok(Err(error)) => Err(format!("what came of the work was answered {error}")),
        }
    }

    async fn motion(&mut self, process: usize, lease: &Lease, at: At) -> Result<Option<At>, Broke> {
        match (lease.kind, at) {
            (_, At::Knows(result)) => Ok(Some(At::Knows(result))),
            (WorkKind::Notify, _) => Ok(Some(self.notify(process, lease))),
            (WorkKind::Answer, at) => self.answer(process, lease, at).await,
            (WorkKind::Step(_), At::Claimed | At::Packed(_)) => {
                let one = vec![lease.clone()];
                match self.on(process, async |store| store.open_work(one).await).await {
                    Err(Died) => Ok(None),
                    Ok(Err(error)) => Err(format!("opening was answered {error}")),
                    // Purged meanwhile: the lease runs out.
                    Ok(Ok(opened)) => Ok(opened.into_iter().next().map(|o| At::Opened(Box::new(o)))),
                }
            }
            (WorkKind::Step(verb), At::Opened(o)) if lease.phase == Phase::Verify => {
                Ok(Some(At::Knows(self.read_again(process, verb, &o)?)))
            }
            (WorkKind::Step(Verb::Export), At::Opened(o)) => self.export(process, &o).await,
            (WorkKind::Step(verb), At::Opened(o)) => self.announce(process, verb, o).await,
            (WorkKind::Step(verb), At::Announced(o)) => self.change(process, verb, &o),
        }
    }

    /// Whether the row still says what the lease says.
    async fn is_held(&self, lease: &Lease) -> bool {
        let (id, token) = (&lease.step_id, lease.token);
        self.lab.count(&format!("steps WHERE id = '{id}' AND token = {token} AND q = 'run'")).await == 1
    }

    fn moment(&self, process: usize, lease: &Lease) -> Moment {
        let now = self.fleet.processes[process].store.now_ms();
        Moment { now, failures: lease.failures, jitter: 0.5, verify_after: self.verify_after }
    }

    fn came(&self, process: usize, verb: Verb, lease: &Lease, outcome: Outcome) -> At {
        At::Knows(outcome::acted(verb, outcome, self.moment(process, lease)))
    }

    fn place_of(&self, lease: &Lease) -> Result<usize, Broke> {
        // Lanes are systems; the first three were made in one order.
        self.lab
            .systems
            .iter()
            .position(|id| *id == lease.lane)
            .ok_or_else(|| format!("nobody knows the lane {}", lease.lane))
    }

    fn person_of(&self, o: &OpenWork) -> Result<usize, Broke> {
        let person = who(&o.subject).ok_or("the subject is not who was named")?;
        if self.fault == Some(Fault::TakesAnotherPerson) { Ok((person + 1) % self.people.len()) } else { Ok(person) }
    }

    fn trouble(&mut self) -> Option<Trouble> {
        let problem = |code| Problem::new(code, "somebody should look");
        if self.calm {
            return None;
        }
        match self.dice.below(24) {
            0 => Some(Trouble::Retry(problem("unreachable"))),
            1 => Some(Trouble::Throttled(Duration::from_secs(5))),
            2 => Some(Trouble::Denied(problem("credentials_refused"))),
            3 => Some(Trouble::Ambiguous { matched: 30, problem: problem("too_many_matches") }),
            4 => Some(Trouble::Held("tax_law".into())),
            _ => None,
        }
    }

    /// Looks for the person's records, locks them and announces the change.
    async fn announce(&mut self, process: usize, verb: Verb, o: Box<OpenWork>) -> Result<Option<At>, Broke> {
        let (place, person) = (self.place_of(&o.lease)?, self.person_of(&o)?);
        let me = (process, self.fleet.processes[process].life);
        let way = self.world.places[place].1;
        let orders = way == Way::Vendor && verb == Verb::Erase;
        let prior = o.prior.clone().filter(|_| self.fault != Some(Fault::ForgetsThePrior));
        if self.world.at(place, person).locked_by.is_some_and(|by| by != me) {
            // It waits for the other one's transaction.
            return Ok(Some(At::Opened(o)));
        }
        let done = |n: u64, receipt: String| {
            Outcome::Done(Done { found: n, changed: n, receipt: Some(Receipt(receipt)), ..Done::default() })
        };
        if orders && let Some(key) = prior.as_deref().and_then(|p| p.strip_prefix("order:")) {
            let n = key.split_once('/').and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
            match self.world.at(place, person).orders.get(key).copied() {
                Some(true) if self.world.left(place, person, verb) == 0 => {
                    return Ok(Some(self.came(process, verb, &o.lease, done(n, format!("order:{key}")))));
                }
                Some(false) => {
                    let receipt = Receipt(format!("order:{key}"));
                    return Ok(Some(self.came(
                        process,
                        verb,
                        &o.lease,
                        Outcome::Accepted { receipt, check_after: CHECK_AFTER, completes_within: None },
                    )));
                }
                _ => {}
            }
        }
        let left = self.world.left(place, person, verb);
        if left == 0 {
            let outcome = match prior.as_deref().and_then(|p| p.parse::<u64>().ok()) {
                Some(n) => done(n, n.to_string()),
                None if verb == Verb::Rectify && self.world.at(place, person).has > 0 => {
                    Outcome::Done(Done { found: self.world.at(place, person).has, ..Done::default() })
                }
                None => Outcome::NothingFound(Evidence::default()),
            };
            return Ok(Some(self.came(process, verb, &o.lease, outcome)));
        }
        if let Some(trouble) = self.trouble() {
            return Ok(Some(self.came(process, verb, &o.lease, Outcome::Trouble(trouble))));
        }
        self.world.at(place, person).locked_by = Some(me);
        let restored = self.world.at(place, person).restored;
        let receipt = if orders { format!("order:{}-{restored}/{left}", o.lease.step_id) } else { left.to_string() };
        let held = self.is_held(&o.lease).await;
        let came = self.on(process, async |store| store.intend(&o.lease, &o.key, &receipt).await).await;
        self.tell(format!("{process} announces {} ({}) as {receipt}: {came:?}", o.lease.step_id, o.lease.token));
        match came {
            Err(Died) => return Ok(None),
            Ok(Ok(())) if !held => return Err(format!("who lost the lease begins nothing: {} did", o.lease.step_id)),
            Ok(Ok(())) => self.may(&o.lease)?,
            Ok(Err(Error::LeaseLost)) if self.fault == Some(Fault::ActsAllTheSame) => self.may(&o.lease)?,
            Ok(Err(Error::LeaseLost)) => {
                self.world.at(place, person).locked_by = None;
                return Ok(Some(self.came(process, verb, &o.lease, Outcome::Trouble(Trouble::Lost))));
            }
            Ok(Err(error)) => return Err(format!("an announcement was answered {error}")),
        }
        if orders {
            // A vendor locks nothing.
            self.world.at(place, person).locked_by = None;
        }
        let mut o = o;
        o.prior = Some(receipt);
        Ok(Some(At::Announced(o)))
    }

    /// The world's own view of whether this effect may begin.
    fn may(&mut self, lease: &Lease) -> Result<(), Broke> {
        if self.world.ended.contains(lease.dsr_id.as_str()) {
            return Err(format!("nothing begins after a withdrawal was answered: {} did", lease.step_id));
        }
        if self.world.paused.contains(lease.dsr_id.as_str()) {
            return Err(format!("nothing begins while the controller is waited for: {} did", lease.step_id));
        }
        let last = self.world.announced.entry(lease.step_id.to_string()).or_default();
        if *last > lease.token {
            return Err(format!(
                "who lost the lease begins nothing: {} did under {} after {last}",
                lease.step_id, lease.token
            ));
        }
        *last = lease.token;
        Ok(())
    }

    fn change(&mut self, process: usize, verb: Verb, o: &OpenWork) -> Result<Option<At>, Broke> {
        let (place, person) = (self.place_of(&o.lease)?, self.person_of(o)?);
        let me = (process, self.fleet.processes[process].life);
        let receipt = o.prior.clone().unwrap_or_default();
        if let Some(key) = receipt.strip_prefix("order:") {
            let mut key = key.to_owned();
            if self.fault == Some(Fault::OrdersAnew) {
                key = format!("{}-{key}", o.lease.token);
            }
            self.tell(format!("{process} orders {key}"));
            self.world.at(place, person).orders.entry(key.clone()).or_insert(false);
            let accepted = Outcome::Accepted {
                receipt: Receipt(format!("order:{key}")),
                check_after: CHECK_AFTER,
                completes_within: None,
            };
            return Ok(Some(self.came(process, verb, &o.lease, accepted)));
        }
        if self.world.at(place, person).locked_by != Some(me) {
            return Err("a connector kept a lock it does not have".into());
        }
        let outcome = if !self.calm && self.dice.one_in(8) {
            Outcome::Trouble(Trouble::Retry(Problem::new("rolled_back", "the connection broke before the commit")))
        } else {
            let n = self.world.change(place, person, verb);
            self.tell(format!(
                "{process} changes {n} of {person} in {place} for {} ({})",
                o.lease.step_id, o.lease.token
            ));
            Outcome::Done(Done { found: n, changed: n, receipt: Some(Receipt(n.to_string())), ..Done::default() })
        };
        self.world.at(place, person).locked_by = None;
        Ok(Some(self.came(process, verb, &o.lease, outcome)))
    }

    async fn export(&mut self, process: usize, o: &OpenWork) -> Result<Option<At>, Broke> {
        let (place, person) = (self.place_of(&o.lease)?, self.person_of(o)?);
        if let Some(trouble) = self.trouble() {
            return Ok(Some(self.came(process, Verb::Export, &o.lease, Outcome::Trouble(trouble))));
        }
        let has = self.world.at(place, person).has;
        let meta = ArtifactMeta::Records { collection: "customers".into() };
        let line = format!("{{\"records\":{has}}}\n");
        let came =
            self.on(process, async |store| store.put_artifact(&o.lease, &o.key, 0, &meta, line.as_bytes()).await).await;
        Ok(match came {
            Err(Died) => None,
            Ok(Err(Error::LeaseLost)) => {
                Some(self.came(process, Verb::Export, &o.lease, Outcome::Trouble(Trouble::Lost)))
            }
            Ok(Err(error)) if error.is_duplicate() => {
                Some(self.came(process, Verb::Export, &o.lease, Outcome::Trouble(Trouble::Lost)))
            }
            Ok(Err(error)) => return Err(format!("an artifact was answered {error}")),
            Ok(Ok(())) => {
                let outcome = match has {
                    0 => Outcome::NothingFound(Evidence::default()),
                    found => Outcome::Done(Done { found, ..Done::default() }),
                };
                Some(self.came(process, Verb::Export, &o.lease, outcome))
            }
        })
    }

    fn read_again(&mut self, process: usize, verb: Verb, o: &OpenWork) -> Result<StepResult, Broke> {
        let (place, person) = (self.place_of(&o.lease)?, self.person_of(o)?);
        let remaining = self.world.left(place, person, verb);
        let evidence = Evidence::default();
        let verdict = if remaining == 0 || self.fault == Some(Fault::DoesNotReadAgain) {
            self.world.at(place, person).confirmed = true;
            Verdict::Confirmed(evidence)
        } else {
            Verdict::Residue { remaining, evidence }
        };
        let verdict = match self.trouble() {
            Some(trouble @ (Trouble::Retry(_) | Trouble::Throttled(_) | Trouble::Denied(_))) => {
                Verdict::Trouble(trouble)
            }
            _ => verdict,
        };
        Ok(outcome::verified(verdict, self.moment(process, &o.lease)))
    }

    fn notify(&mut self, process: usize, lease: &Lease) -> At {
        if !self.calm && self.dice.one_in(6) {
            let not_before = self.fleet.processes[process].store.now_ms() + 5_000;
            let detail = "it is tried again".to_owned();
            return At::Knows(StepResult::Later {
                not_before,
                failed: true,
                attention: false,
                code: "status_500".into(),
                detail,
            });
        }
        if self.fault != Some(Fault::TellsNobody) {
            self.world.heard.push(Heard { message: lease.step_id.to_string() });
        }
        At::Knows(StepResult::Dismissed { achieved: true, code: "200".into() })
    }

    async fn answer(&mut self, process: usize, lease: &Lease, at: At) -> Result<Option<At>, Broke> {
        let ctl = self.ctl.clone();
        let came = match at {
            At::Packed(access) => {
                self.on(process, async |store| {
                    let detail = store.dsr(&ctl, &lease.dsr_id).await?;
                    let steps: Vec<_> = detail.steps.iter().map(|s| (s.system.clone(), s.status)).collect();
                    let certificate = json!({ "certificate": { "request": lease.dsr_id, "steps": steps } });
                    let package = NewPackage {
                        bytes: 8,
                        chunks: 1,
                        sha256: "00".into(),
                        records: 1,
                        expires_at: store.now_ms() + 86_400_000,
                    };
                    store.answered(lease, &certificate, access.then_some(&package)).await?;
                    Ok(None)
                })
                .await
            }
            _ => {
                self.on(process, async |store| {
                    let detail = store.dsr(&ctl, &lease.dsr_id).await?;
                    let access = detail.row.kind == RequestType::Access;
                    if access {
                        let key = store.dsr_key(&ctl, &lease.dsr_id).await?;
                        store.put_package_chunk(lease, &key, 0, b"package!").await?;
                    }
                    Ok(Some(At::Packed(access)))
                })
                .await
            }
        };
        self.tell(format!("{process} answers {} ({}): {came:?}", lease.dsr_id, lease.token));
        match came {
            Err(Died) | Ok(Err(Error::LeaseLost | Error::Purged)) => Ok(None),
            Ok(Err(error)) => Err(format!("an answer was answered {error}")),
            Ok(Ok(next)) => Ok(next),
        }
    }
}

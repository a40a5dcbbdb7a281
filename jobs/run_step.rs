//! Running a batch of steps: open what is sealed, call the connector once, record every outcome. The only caller of connectors.

use crate::engine::{Engine, jitter};
use crate::gate::URGENT;
use crate::limits::{Call, Taken};
use crate::outcome::{self, Moment};
use crate::reach::{OutOfReach, Reached};
use crate::sealer::Sealer;
use redress_connectors::{Connector, Outcome, Problem, Receipt, Trouble, Verdict, Work, YIELD_MAX};
use redress_domain::limits::{DUE_SOON_MS, Feedback, Reason};
use redress_domain::step::{CREDENTIALS_REFUSED, Phase, RATE_LIMITED, THROTTLED};
use redress_domain::{Identifier, IdentifierType, Verb};
use redress_store::{Error, Finish, Lease, OpenWork, StepResult, Store, SystemRow, crash_point, mutant};
use std::sync::Arc;
use std::time::Duration;

/// Runs a batch of steps of one system, one verb and one phase, and records what came of each.
pub async fn run(engine: &Arc<Engine>, verb: Verb, leases: Vec<Lease>) {
    let count = leases.len();
    let Some(first) = leases.first().cloned() else { return };
    match work(engine, verb, leases).await {
        Ok(mut finishes) => {
            if mutant("finish.outcome_dropped") {
                finishes.pop();
            }
            record(engine, finishes).await;
        }
        // The leases run out and the steps are tried again: nothing was recorded, nothing is lost.
        Err(error) => {
            tracing::warn!(%error, lane = %first.lane, count, "a batch of {verb} could not be begun; its leases run out");
        }
    }
}

async fn work(engine: &Arc<Engine>, verb: Verb, leases: Vec<Lease>) -> Result<Vec<Finish>, Error> {
    let store = &engine.store;
    let Some(first) = leases.first() else { return Ok(Vec::new()) };
    let (phase, controller_id) = (first.phase, first.controller_id.clone());
    let Some(system_id) = first.system_id.clone() else {
        return Err(Error::Inconsistent { table: "steps", column: "system_id" });
    };
    let system = store.system(&controller_id, &system_id).await?;
    let reached = if store.system_by_name(&controller_id, &system.name).await?.is_some_and(|s| s.id == system.id) {
        engine.reach.system(store, &system, engine.http.policy()).await
    } else {
        Err(OutOfReach::Disconnected)
    };
    // The controller's instruction may have changed since the plan was frozen; what it no longer covers is not done
    // (GDPR Art. 28(3)(a)). A second read changes nothing and is still made.
    if phase == Phase::Act && !system.allow.iter().any(|kind| kind.verb() == verb) {
        let attention = StepResult::Attention {
            code: "not_instructed".into(),
            detail: format!(
                "the controller's instruction for system {} no longer covers this; allow it again with `redress apply` and retry, or withdraw the request",
                system.name
            ),
        };
        return Ok(leases.into_iter().map(|lease| Finish { lease, result: attention.clone() }).collect());
    }
    let reached = match reached {
        Ok(reached) => reached,
        Err(OutOfReach::Store(error)) => return Err(error),
        Err(error) => {
            let code = error.code();
            let detail = format!("{error}; connect it again with `redress apply`, then retry the request");
            let attention = StepResult::Attention { code: code.into(), detail };
            return Ok(leases.into_iter().map(|lease| Finish { lease, result: attention.clone() }).collect());
        }
    };
    let opened = store.open_work(leases).await?;
    let mut finishes = Vec::with_capacity(opened.len());
    let mut left = chunks(opened, reached.connector.manifest().batch.max(1)).into_iter();
    while let Some(chunk) = left.next() {
        let (answered, called) = within_limits(engine, &system, &reached, verb, phase, chunk).await?;
        // What only has to wait says nothing about the system.
        let left_alone = called && crate::breaking::count(store, &system, &answered).await;
        finishes.extend(answered);
        if left_alone {
            // Not sent is not tried.
            let rest: Vec<Lease> = left.by_ref().flatten().map(|work| work.lease).collect();
            if let Err(error) = store.release(&rest).await {
                tracing::warn!(%error, "steps could not be given back; their leases run out");
            }
        }
    }
    Ok(finishes)
}

/// Makes one call if the vendor's limits allow it now; says whether it was made. If not, the whole batch waits as one, until the moment that is its own:
/// waiting is a column, not a sleeping worker.
async fn within_limits(
    engine: &Arc<Engine>,
    system: &SystemRow,
    reached: &Reached,
    verb: Verb,
    phase: Phase,
    opened: Vec<OpenWork>,
) -> Result<(Vec<Finish>, bool), Error> {
    let connector = &*reached.connector;
    let (Some(credential), Some(first)) = (&reached.credential, opened.first()) else {
        return Ok((call(engine, system, connector, verb, phase, opened).await?, true));
    };
    let store = &engine.store;
    let limits = &credential.limits;
    let urgent = if limits.reserve > 0.0 {
        let ids: Vec<&str> = opened.iter().map(|o| o.lease.step_id.as_str()).collect();
        store.earliest_due(&ids).await?.is_some_and(|due| due - store.now_ms() <= DUE_SOON_MS)
    } else {
        false
    };
    let lane = first.lease.lane.clone();
    if reached.asks_by_call {
        // It asks before each call of its own; what is told of waits it passed on itself.
        let finishes = URGENT.scope(urgent, call(engine, system, connector, verb, phase, opened)).await?;
        if let Some(until) = throttled_until(&finishes) {
            engine.limiter.hold(&lane, until);
        }
        return Ok((finishes, true));
    }
    let asked = Call {
        cost: limits.cost_of(verb, phase),
        urgent,
        group: format!("{lane} {verb} {}", phase.as_str()),
        items: opened.len() as u64,
        batch: connector.manifest().batch.max(1) as u64,
    };
    let permit = match engine.limiter.take(credential, &asked).await? {
        Taken::Permit(permit) => permit,
        Taken::Wait(not_before, reason) => {
            engine.limiter.hold(&lane, not_before);
            let detail = match reason {
                Reason::CoolDown => "the vendor asked to wait; it is tried again by itself",
                Reason::Day => "the day's budget for this system is spent; it is tried again by itself",
                Reason::Concurrency => {
                    "as many calls to this system are under way as its limits allow; it is tried again by itself"
                }
                Reason::Window | Reason::Unknown => "the limit for this system is used up; it is tried again by itself",
            };
            let later = StepResult::Later {
                not_before,
                failed: false,
                attention: false,
                code: RATE_LIMITED.into(),
                detail: detail.into(),
            };
            let wait = |o: OpenWork| Finish { lease: o.lease, result: later.clone() };
            return Ok((opened.into_iter().map(wait).collect(), false));
        }
    };
    let finishes = permit.during(call(engine, system, connector, verb, phase, opened)).await?;
    // What one worker was told holds for all of them.
    if let Some(until) = throttled_until(&finishes) {
        let wait = (until - store.now_ms()).max(0);
        engine.limiter.told(credential, Feedback::wait(wait)).await;
        engine.limiter.hold(&lane, until);
    }
    Ok((finishes, true))
}

fn throttled_until(finishes: &[Finish]) -> Option<i64> {
    let until = |finish: &Finish| match &finish.result {
        StepResult::Later { code, not_before, .. } if code == THROTTLED => Some(*not_before),
        _ => None,
    };
    finishes.iter().filter_map(until).max()
}

fn chunks(mut all: Vec<OpenWork>, size: usize) -> Vec<Vec<OpenWork>> {
    let mut out = Vec::new();
    while all.len() > size {
        let rest = all.split_off(size);
        out.push(std::mem::replace(&mut all, rest));
    }
    out.push(all);
    out
}

/// A refused credential is one trouble of the system and not one of each request: the system is marked and left alone, its
/// steps wait and are tried again by themselves, and one request shows it to a person, once.
async fn refused(store: &Store, system: &SystemRow, mut results: Vec<StepResult>) -> Result<Vec<StepResult>, Error> {
    let whole = results.iter().all(|r| matches!(r, StepResult::Attention { code, .. } if code == CREDENTIALS_REFUSED));
    let Some(StepResult::Attention { detail, .. }) = results.first().filter(|_| whole).cloned() else {
        return Ok(results);
    };
    let (until, mut tell) = store.credentials_refused(system, &detail).await?;
    for result in &mut results {
        *result = StepResult::Later {
            not_before: until,
            failed: true,
            attention: std::mem::take(&mut tell),
            code: CREDENTIALS_REFUSED.into(),
            detail: detail.clone(),
        };
    }
    Ok(results)
}

/// Calls the connector once for these items and says what each answer means.
async fn call(
    engine: &Arc<Engine>,
    system: &SystemRow,
    connector: &dyn Connector,
    verb: Verb,
    phase: Phase,
    opened: Vec<OpenWork>,
) -> Result<Vec<Finish>, Error> {
    if opened.is_empty() {
        return Ok(Vec::new());
    }
    let store = &engine.store;
    let receipts: Vec<Option<Receipt>> = opened.iter().map(|o| o.prior.clone().map(Receipt)).collect();
    let batch: Vec<Work<'_>> = opened
        .iter()
        .zip(&receipts)
        .map(|(o, prior)| Work {
            key: o.lease.step_id.as_str(),
            subject: &o.subject,
            corrections: &o.corrections,
            prior: prior.as_ref(),
        })
        .collect();
    let sealer = Sealer::new(store, &opened);
    crash_point("step.before_call");
    let results: Vec<StepResult> = if phase == Phase::Verify && mutant("verify.not_made") {
        batch.iter().map(|_| StepResult::Verified { proof: serde_json::Value::Null }).collect()
    } else if phase == Phase::Verify {
        let limit = tokio::time::timeout(engine.call_limit, connector.verify(verb, &batch)).await;
        let verdicts =
            limit.unwrap_or_else(|_| batch.iter().map(|_| Verdict::Trouble(too_slow(engine.call_limit))).collect());
        check_count(verdicts.len(), batch.len())?;
        crash_point("step.after_verify");
        verdicts.into_iter().zip(&opened).map(|(v, o)| outcome::verified(v, moment(store, o, connector))).collect()
    } else {
        let limit = tokio::time::timeout(engine.call_limit, async {
            match verb {
                Verb::Export => connector.export(&batch, &sealer).await,
                Verb::Rectify => connector.rectify(&batch, &sealer).await,
                Verb::Erase => connector.erase(&batch, &sealer).await,
                Verb::Discover => connector.discover(&batch).await,
                Verb::Restrict | Verb::Suppress | Verb::Verify => {
                    batch.iter().map(|_| Outcome::Trouble(unsupported(verb))).collect()
                }
            }
        })
        .await;
        let outcomes =
            limit.unwrap_or_else(|_| batch.iter().map(|_| Outcome::Trouble(too_slow(engine.call_limit))).collect());
        check_count(outcomes.len(), batch.len())?;
        crash_point("step.after_call");
        if verb == Verb::Export {
            sealer.flush().await;
        }
        let mut results = Vec::with_capacity(outcomes.len());
        for (outcome, o) in outcomes.into_iter().zip(&opened) {
            pass_on(store, o, &outcome).await?;
            let lost = verb == Verb::Export && sealer.has_lost(o.lease.step_id.as_str()).await;
            let outcome = if lost { Outcome::Trouble(Trouble::Lost) } else { outcome };
            results.push(outcome::acted(verb, outcome, moment(store, o, connector)));
        }
        crash_point("step.after_flush");
        results
    };
    drop(batch);
    let results = refused(store, system, results).await?;
    Ok(opened.into_iter().zip(results).map(|(o, result)| Finish { lease: o.lease, result }).collect())
}

/// Passes on identifiers that the connector found in exactly matched records, for systems that accept them: opaque keys and phone
/// numbers. Another address is another person until somebody says otherwise.
async fn pass_on(store: &Store, o: &OpenWork, outcome: &Outcome) -> Result<(), Error> {
    let Outcome::Done(done) = outcome else { return Ok(()) };
    let new: Vec<Identifier> = done
        .yielded
        .iter()
        .filter(|found| found.kind() != IdentifierType::Email && !o.subject.identifiers.contains(found))
        .take(YIELD_MAX)
        .cloned()
        .collect();
    if !new.is_empty() {
        store.yield_identifiers(o, &new).await?;
    }
    Ok(())
}

fn moment(store: &Store, o: &OpenWork, connector: &dyn Connector) -> Moment {
    Moment {
        now: store.now_ms(),
        failures: o.lease.failures,
        jitter: jitter(),
        verify_after: connector.manifest().verify_after,
    }
}

fn check_count(got: usize, wanted: usize) -> Result<(), Error> {
    // A connector that answers for fewer or more people than it was asked about cannot be believed for any of them.
    if got == wanted {
        Ok(())
    } else {
        Err(Error::Conflict("a connector answered for another number of people than it was asked about".into()))
    }
}

fn too_slow(limit: Duration) -> Trouble {
    Trouble::Retry(Problem::new(
        "timeout",
        format!(
            "the system took longer than {} s (worker.call_limit_seconds); it is tried again by itself",
            limit.as_secs()
        ),
    ))
}

fn unsupported(verb: Verb) -> Trouble {
    Trouble::Denied(Problem::new(
        "verb_unsupported",
        format!("this connector cannot {verb}; do it by hand and reject or withdraw the request"),
    ))
}

/// Records outcomes, again and again while the database is away: the effect has happened and must not be forgotten. If it
/// takes too long the leases run out, and the next run learns from the receipts what this one did.
async fn record(engine: &Arc<Engine>, finishes: Vec<Finish>) {
    if finishes.is_empty() {
        return;
    }
    let mut wait = Duration::from_millis(50);
    let copies: Vec<(Lease, StepResult)> = finishes.into_iter().map(|f| (f.lease, f.result)).collect();
    for _ in 0..600 {
        let batch =
            copies.iter().map(|(lease, result)| Finish { lease: lease.clone(), result: result.clone() }).collect();
        match engine.store.finish(batch).await {
            Ok(_) => return,
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "outcomes could not be recorded yet; it is tried again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
            Err(error) => {
                tracing::error!(%error, "outcomes could not be recorded; the leases run out and the steps are tried again");
                return;
            }
        }
    }
}

//! The circuit breaker of a system: what came of whole calls is counted in its row, so that it holds for the whole fleet.

use crate::db::args;
use crate::events::NewEvent;
use crate::{Error, Store, SystemRow};
use redress_domain::breaker::{FAILURES, open_ms};
use redress_domain::step::CREDENTIALS_REFUSED;
use serde_json::json;

/// Where the circuit breaker of a system stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Calls in a row that failed as a whole.
    pub failures: i64,
    /// Nothing is sent until then (Unix ms); none while it is closed.
    pub until: Option<i64>,
}

/// A system that refuses our credentials is asked again after so long (ms): more often looks like an attack, and locks accounts.
const REFUSED_MS: i64 = 900_000;
/// Steps that are tried at once when their system is back.
const WOKEN: i64 = 5_000;

impl Store {
    /// A whole call failed: the system was away, too slow, or in trouble, for everything it was asked. `system` is the row that
    /// was read before the call: what was begun before the breaker opened says nothing about the time since. True if the
    /// system is left alone now.
    ///
    /// # Errors
    /// The database is away.
    pub async fn breaker_failed(&self, system: &SystemRow, code: &str) -> Result<bool, Error> {
        self.troubled.lock().expect("never held across a panic").insert(system.id.clone());
        let mut tx = self.db.begin("breaker failed").await?;
        let row = tx
            .row(
                "-- breaker_failed\nUPDATE systems SET breaker_failures = breaker_failures + 1 WHERE controller_id = $1 AND id = $2 AND (breaker_until IS NULL OR breaker_failures = $3) RETURNING breaker_failures",
                args![system.controller_id.as_str(), system.id.as_str(), system.breaker.failures],
            )
            .await?;
        let Some(failures) = row.map(|row| row.int("breaker_failures")).transpose()? else {
            self.commit(tx).await?;
            return Ok(true);
        };
        let jitter = crate::random::<1>().map_or(0.5, |[byte]| f64::from(byte) / 256.0);
        let Some(open) = open_ms(failures, jitter) else {
            self.commit(tx).await?;
            return Ok(false);
        };
        tx.exec(
            "-- breaker_open\nUPDATE systems SET breaker_until = $3 WHERE controller_id = $1 AND id = $2",
            args![system.controller_id.as_str(), system.id.as_str(), self.now_ms() + open],
        )
        .await?;
        tracing::warn!(system = %system.name, failures, code, seconds = open / 1_000, "nothing is sent to {} for a while: it failed {failures} calls in a row", system.name);
        // Told once: how often it was tried in vain is in the failures of the steps.
        if failures == FAILURES {
            self.figures.breakers_opened.add(1);
            let event = NewEvent::new(
                None,
                "system_breaker_opened",
                json!({ "system": system.id, "failures": failures, "code": code }),
            );
            self.append_events(&mut tx, &system.controller_id, "engine", vec![event]).await?;
        }
        self.commit(tx).await?;
        Ok(true)
    }

    /// A system refused our credentials: it is marked, and left alone but for a try now and then, until it takes them or somebody
    /// sets others. Gives the moment of the next try (Unix ms), and whether somebody is still to be told.
    ///
    /// # Errors
    /// The database is away.
    pub async fn credentials_refused(&self, system: &SystemRow, detail: &str) -> Result<(i64, bool), Error> {
        self.troubled.lock().expect("never held across a panic").insert(system.id.clone());
        let until = self.now_ms() + REFUSED_MS;
        let mut tx = self.db.begin("credentials refused").await?;
        let row = tx
            .row(
                "-- lock_refused\nSELECT version, COALESCE(problem_code, '') AS problem FROM systems WHERE controller_id = $1 AND id = $2 {for_update}",
                args![system.controller_id.as_str(), system.id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        // Others were set while the call was under way: nothing is known of those.
        if row.int("version")? != system.version {
            self.commit(tx).await?;
            return Ok((self.now_ms(), false));
        }
        let news = row.text("problem")? != CREDENTIALS_REFUSED;
        // Somebody is told by one request that asks for a person, as long as there is such a one.
        let told = tx
            .row(
                "-- told_of_refusal\nSELECT 1 AS told FROM steps WHERE system_id = $1 AND attention = 1 AND error_code = $2 LIMIT 1",
                args![system.id.as_str(), CREDENTIALS_REFUSED],
            )
            .await?
            .is_some();
        tx.exec(
            "-- credentials_refused\nUPDATE systems SET problem_code = $3, problem_detail = $4, checked_at = $5, breaker_failures = CASE WHEN breaker_failures < $6 THEN $6 ELSE breaker_failures END, breaker_until = $7 WHERE controller_id = $1 AND id = $2",
            args![
                system.controller_id.as_str(),
                system.id.as_str(),
                CREDENTIALS_REFUSED,
                detail,
                self.now_ms(),
                FAILURES,
                until
            ],
        )
        .await?;
        if news {
            tracing::warn!(system = %system.name, "{} refuses our credentials: its steps wait until others are set (redress apply) or it takes these", system.name);
            let event = NewEvent::new(None, "system_credentials_refused", json!({ "system": system.id }));
            self.append_events(&mut tx, &system.controller_id, "engine", vec![event]).await?;
        }
        self.commit(tx).await?;
        Ok((until, !told))
    }

    /// A call was answered: whatever the system said, it is there. Closes the breaker and lets what failed there run at once.
    /// Costs a statement only after a failure that this process knows of.
    ///
    /// # Errors
    /// The database is away.
    pub async fn breaker_succeeded(&self, system: &SystemRow) -> Result<(), Error> {
        let known = self.troubled.lock().expect("never held across a panic").contains(&system.id);
        if !known && system.breaker == Breaker::default() {
            return Ok(());
        }
        let mut tx = self.db.begin("breaker succeeded").await?;
        let before = tx
            .row(
                "-- lock_breaker\nSELECT breaker_until FROM systems WHERE controller_id = $1 AND id = $2 AND breaker_failures > 0 {for_update}",
                args![system.controller_id.as_str(), system.id.as_str()],
            )
            .await?;
        if let Some(before) = before {
            tx.exec(
                "-- breaker_close\nUPDATE systems SET breaker_failures = 0, breaker_until = NULL, problem_code = CASE WHEN problem_code = 'credentials_refused' THEN NULL ELSE problem_code END, problem_detail = CASE WHEN problem_code = 'credentials_refused' THEN NULL ELSE problem_detail END WHERE controller_id = $1 AND id = $2",
                args![system.controller_id.as_str(), system.id.as_str()],
            )
            .await?;
            if before.opt_int("breaker_until")?.is_some() {
                tracing::info!(system = %system.name, "{} answers again", system.name);
                tx.exec(
                    "-- breaker_wake\nWITH picked AS MATERIALIZED (SELECT id FROM steps WHERE q = 'wait' AND lane = $1 AND failures > 0 ORDER BY due_at, id LIMIT $3 {skip_locked}) UPDATE steps SET q = 'ready', not_before = $2 WHERE id IN (SELECT id FROM picked)",
                    args![system.id.as_str(), self.now_ms(), WOKEN],
                )
                .await?;
                let event = NewEvent::new(None, "system_breaker_closed", json!({ "system": system.id }));
                self.append_events(&mut tx, &system.controller_id, "engine", vec![event]).await?;
                tx.wakes.push(system.id.as_str().to_owned());
            }
        }
        self.commit(tx).await?;
        self.troubled.lock().expect("never held across a panic").remove(&system.id);
        Ok(())
    }

    /// How many systems have an open breaker.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open_breakers(&self) -> Result<i64, Error> {
        let row = self
            .db
            .row(
                "-- open_breakers\nSELECT COUNT(*) AS n FROM systems WHERE breaker_until IS NOT NULL AND deleted_at IS NULL",
                vec![],
            )
            .await?;
        row.map_or(Ok(0), |row| row.int("n"))
    }
}

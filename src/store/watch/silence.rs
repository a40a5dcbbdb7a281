//! A system is silent for a request if a step there has failed for days without a success in between.

use super::request::{COLUMNS, read};
use super::{Lookout, SweepOptions, Swept, UNREADABLE_AGAIN_MS, instant};
use crate::db::{Arg, args};
use crate::work::places;
use crate::{Error, Store};
use redress_domain::deadline::Band;
use redress_domain::notice::{DueNotice, NoticeKind, Occasion};
use std::collections::{BTreeMap, BTreeSet};

impl Store {
    /// Systems that have only failed for days are told once for each step that waits for them.
    pub(super) async fn watch_silence(
        &self,
        lookout: &dyn Lookout,
        options: SweepOptions,
        now: i64,
    ) -> Result<Swept, Error> {
        let due = self
            .db
            .rows(
                "-- silence_peek\nSELECT id, dsr_id FROM steps WHERE silent_watch_at <= $1 ORDER BY silent_watch_at LIMIT $2",
                args![now, options.limit],
            )
            .await?;
        let dsr_ids: BTreeSet<String> = due.iter().map(|row| row.text("dsr_id")).collect::<Result<_, _>>()?;
        if dsr_ids.is_empty() {
            return Ok(Swept::default());
        }
        let mut tx = self.db.begin("watch silence").await?;
        // Requests before steps, as everywhere.
        let rows = tx
            .rows(
                &format!(
                    "-- watch_silent\nSELECT {COLUMNS} FROM dsrs WHERE id IN ({}) ORDER BY id {{for_update}}",
                    places(1, dsr_ids.len())
                ),
                dsr_ids.iter().map(Arg::from).collect(),
            )
            .await?;
        let homes = self.watch_homes(&mut tx, &rows).await?;
        let mut requests = BTreeMap::new();
        for row in &rows {
            if let Ok(locked) = read(row, &homes) {
                requests.insert(row.text("id")?, locked);
            }
        }
        let mut arguments = args![now];
        for row in &due {
            arguments.push(row.text("id")?.into());
        }
        let steps = tx
            .rows(
                &format!("-- silent_steps\nSELECT st.id, st.dsr_id, st.silent_since, COALESCE(sy.name, '') AS system FROM steps st LEFT JOIN systems sy ON sy.id = st.system_id WHERE st.silent_watch_at <= $1 AND st.id IN ({})", places(2, due.len())),
                arguments,
            )
            .await?;
        let mut candidates = Vec::new();
        let (mut values, mut seen_args) = (Vec::new(), Vec::new());
        for step in &steps {
            let again = match (requests.get(&step.text("dsr_id")?), step.opt_int("silent_since")?) {
                (None, _) => Some(now + UNREADABLE_AGAIN_MS),
                (Some(request), Some(since)) if request.closed_at.is_none() => {
                    let silent_at = lookout.silent_at(&request.place, instant(since));
                    if silent_at <= instant(now) {
                        let notice = DueNotice {
                            kind: NoticeKind::ConnectorSilent,
                            occasion: Occasion::Step { step: step.text("id")?, since: instant(since) },
                            due_at: silent_at,
                            superseded: false,
                            endangers: request.band > Band::OnTrack || request.forecast_late_since.is_some(),
                        };
                        candidates.push(self.candidate(request, request.band, notice, Some(&step.text("system")?))?);
                        None
                    } else {
                        Some(silent_at.as_millisecond())
                    }
                }
                // It answered meanwhile, or its request ended.
                _ => None,
            };
            values.push(format!("({})", places(seen_args.len() + 1, 2)));
            seen_args.extend(args![step.text("id")?, again]);
        }
        let mut swept = self.tell(&mut tx, lookout, options, candidates, &homes, now).await?;
        swept.looked = steps.len();
        if !steps.is_empty() {
            tx.exec(
                &format!("-- silence_watched\nUPDATE steps SET silent_watch_at = v.column2 FROM (VALUES {}) AS v WHERE steps.id = v.column1", values.join(", ")),
                seen_args,
            )
            .await?;
        }
        self.commit(tx).await?;
        Ok(swept)
    }
}

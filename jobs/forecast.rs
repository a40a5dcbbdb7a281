//! The forecast is made every few minutes by one worker of the fleet, whichever comes first; a pass that dies is made up for by
//! the next one.

use crate::claimer::WorkerOptions;
use crate::engine::Engine;
use redress_store::Passed;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Makes passes until the shutdown, as often as the fleet shall.
pub(crate) async fn run(engine: Arc<Engine>, options: WorkerOptions, stop: CancellationToken) {
    let interval_ms = options.forecast.as_millis() as i64;
    // Several look whether it is time, so that the end of one process delays the next pass by little.
    let look = (options.forecast / 10).clamp(Duration::from_secs(1), Duration::from_secs(30));
    let store = &engine.store;
    while !stop.is_cancelled() {
        let passed = match store.take_forecast_turn(interval_ms).await {
            Ok(true) => store.foresee(options.batch).await.map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        match passed {
            Ok(Some(Passed { requests, late, written })) if written > 0 => {
                tracing::info!(requests, late, written, "{late} of {requests} open requests are expected to end late");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the forecast failed and is made up for by the next one"),
        }
        tokio::select! {
            () = tokio::time::sleep(look) => {}
            () = stop.cancelled() => {}
        }
    }
}

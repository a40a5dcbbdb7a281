//! What a request is foreseen to end at is shown as of this moment where one request is shown, and as of the last pass in lists.

use super::Edge;
use super::problem::Problem;
use super::view::Lens;
use redress_domain::forecast::Foreseen;
use redress_store::{DsrRow, Error};

/// The forecast of this moment; that of the last pass if the queue before the request is too long to be counted for a call.
pub(crate) async fn foreseen(edge: &Edge, row: &DsrRow, lens: &Lens) -> Result<Option<Foreseen>, Problem> {
    if row.closed_at.is_some() {
        return Ok(None);
    }
    let queue = match edge.store.forecast_facts(&row.controller_id, &row.id, edge.batch).await {
        Ok(Some(queue)) => queue,
        // Too long, or it has ended since.
        Ok(None) | Err(Error::NotFound) => return Ok(row.forecast.clone()),
        Err(error) => return Err(error.into()),
    };
    let forecasts = queue.backlog.forecasts(queue.now);
    let kept = queue.kept.first().and_then(Option::as_ref);
    Ok(forecasts.first().map(|forecast| queue.backlog.foreseen(0, forecast, lens.zone(), queue.now, kept)))
}

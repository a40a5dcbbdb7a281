//! The effective due date is what work is planned by: the earlier of the contract's date and the law's less a buffer for the controller.

use super::clock::{date_in, day_after};
use super::{Binding, Calendar, DeadlineError, EffectiveDue};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A due date with its exclusive instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The last day that counts.
    pub due_on: Date,
    /// The first instant that is too late.
    pub due_before: Timestamp,
}

/// The earlier of the contract's date and the law's less `buffer` business days of the law's calendar, compared as instants because
/// the zones may differ. A buffered date on or before the day of the instruction is no plan: then the law's own date counts, and the
/// buffer is called exhausted.
pub fn effective(
    contract: Bound,
    law: Bound,
    zone: &TimeZone,
    calendar: &Calendar<'_>,
    buffer: u16,
    instructed_at: Timestamp,
) -> Result<EffectiveDue, DeadlineError> {
    let buffered_on = calendar.business_days_before(law.due_on, buffer)?;
    let buffer_exhausted = buffered_on <= date_in(instructed_at, zone);
    let law =
        if buffer_exhausted { law } else { Bound { due_on: buffered_on, due_before: day_after(buffered_on, zone)? } };
    let (Bound { due_on, due_before }, binding) =
        if law.due_before <= contract.due_before { (law, Binding::Statutory) } else { (contract, Binding::Contract) };
    Ok(EffectiveDue { due_on, due_before, binding, buffer_exhausted, buffered_statutory_on: Some(buffered_on) })
}

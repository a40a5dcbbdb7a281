//! What the table's file may write differently from what the code means by it: periods and extensions.

use super::{Extension, Period, Unit};
use crate::words::spelled;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPeriod {
    amount: u16,
    unit: Unit,
}

impl TryFrom<RawPeriod> for Period {
    type Error = &'static str;

    fn try_from(raw: RawPeriod) -> Result<Self, Self::Error> {
        Period::new(raw.amount, raw.unit).ok_or("a period of zero")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExtension {
    amount: Option<u16>,
    unit: Option<Unit>,
    max_times: Option<u8>,
    basis: Option<ExtensionBasis>,
    #[expect(dead_code, reason = "there is one value, and reading it checks it")]
    notice_within: NoticeWithin,
    open_ended: bool,
}

spelled! {
    /// From where an extension counts.
    ExtensionBasis {
        /// The start of the clock, not the first due date.
        FromClockStart = "from_clock_start",
    }
}

spelled! {
    /// By when an extension must be told.
    NoticeWithin {
        /// Up to and including the first due date.
        InitialPeriod = "initial_period",
    }
}

impl TryFrom<RawExtension> for Extension {
    type Error = &'static str;

    fn try_from(raw: RawExtension) -> Result<Self, Self::Error> {
        match (raw.open_ended, raw.amount, raw.unit, raw.max_times, raw.basis) {
            (true, None, None, None, None) => Ok(Extension::OpenEnded),
            (false, Some(amount), Some(unit), Some(max_times), Some(ExtensionBasis::FromClockStart)) => {
                let by = Period::new(amount, unit).ok_or("an extension of zero")?;
                Ok(Extension::Fixed { by, max_times })
            }
            _ => Err("an extension is either open_ended or has amount, unit, max_times and basis"),
        }
    }
}

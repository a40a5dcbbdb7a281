//! A gate says, before each call to a vendor, whether the limits of the whole fleet allow it now.

use async_trait::async_trait;
use std::any::Any;
use std::fmt;
use std::time::Duration;

/// The right to make one call; held while the call is under way, given back when it is dropped.
pub struct Pass(Option<Box<dyn Any + Send>>);

impl Pass {
    /// A pass that gives back whatever `held` gives back when it is dropped.
    pub fn holding(held: impl Any + Send) -> Self {
        Self(Some(Box::new(held)))
    }

    /// A pass where nothing is limited.
    pub const fn free() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Pass(held)" } else { "Pass(free)" })
    }
}

/// Where a connector asks before each call.
#[async_trait]
pub trait Gate: Send + Sync {
    /// A pass for a call that costs so much (one, unless the vendor counts in units). A short wait is waited for here; if it
    /// would be long the answer is how long, and the connector answers [`crate::Trouble::Throttled`] for what is left of its
    /// batch: what it has done until then is told, the rest is tried when it is time.
    async fn enter(&self, cost: u64) -> Result<Pass, Duration>;
}

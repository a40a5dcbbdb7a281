//! An order is one OpenDSR request of ours, as it is remembered between two calls: in the step's receipt.

use crate::report::sha256_hex;
use crate::{Receipt, Work};
use redress_domain::Verb;
use serde::{Deserialize, Serialize};

/// One request at the processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    version: u32,
    /// `subject_request_id`.
    pub(super) id: String,
    verb: String,
    /// `submitted_time`; the same in every try, so that a repeated request is the same request.
    pub(super) submitted: String,
    attempt: u32,
    /// Whether the processor acknowledged it.
    pub(super) taken: bool,
    /// Whether every answer so far was signed.
    pub(super) signed: bool,
}

impl Order {
    /// The order behind an item: that of an earlier run, or a first one.
    pub(super) fn of(work: &Work<'_>, verb: Verb, domain: &str, now: &str) -> Self {
        Self::known(work, verb).unwrap_or_else(|| Self::new(work.key, verb, domain, 1, now))
    }

    /// The order of an earlier run, if there was one.
    pub(super) fn known(work: &Work<'_>, verb: Verb) -> Option<Self> {
        let order: Self = serde_json::from_str(&work.prior?.0).ok()?;
        (order.version == 1 && order.verb == verb.as_str()).then_some(order)
    }

    /// Another order for the same item, after this one ended without a result.
    pub(super) fn next(&self, work: &Work<'_>, verb: Verb, domain: &str, now: &str) -> Self {
        Self::new(work.key, verb, domain, self.attempt.saturating_add(1), now)
    }

    /// The id follows from ours: a process that dies after sending finds its order again.
    fn new(key: &str, verb: Verb, domain: &str, attempt: u32, now: &str) -> Self {
        let hash = sha256_hex(format!("opendsr\n{domain}\n{}\n{key}\n{attempt}", verb.as_str()).as_bytes());
        Self {
            version: 1,
            id: uuid_v4(&hash),
            verb: verb.as_str().to_owned(),
            submitted: now.to_owned(),
            attempt,
            taken: false,
            signed: true,
        }
    }

    /// To be kept.
    pub(super) fn receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).expect("texts and numbers can be written"))
    }
}

/// 32 hex digits in the shape of a version 4 UUID, as the specification asks.
fn uuid_v4(hash: &str) -> String {
    let variant = match hash.as_bytes()[16] {
        b'0' | b'4' | b'8' | b'c' => '8',
        b'1' | b'5' | b'9' | b'd' => '9',
        b'2' | b'6' | b'a' | b'e' => 'a',
        _ => 'b',
    };
    format!("{}-{}-4{}-{variant}{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_and_the_same_for_the_same_item() {
        let order = |key, attempt| Order::new(key, Verb::Erase, "p.example", attempt, "2026-11-22T09:00:00Z");
        let first = order("stp_1", 1);
        assert_eq!(first.id, order("stp_1", 1).id);
        assert_ne!(first.id, order("stp_1", 2).id);
        assert_ne!(first.id, order("stp_2", 1).id);
        assert_eq!(first.id.len(), 36);
        assert_eq!(&first.id[14..15], "4");
        assert!("89ab".contains(&first.id[19..20]));
        assert_eq!(first.id, first.id.to_lowercase());
    }
}

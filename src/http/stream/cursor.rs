//! A cursor tells what a stream has told: the place of the last event in each log that it follows.
//!
//! Of one controller it is that number. Of several it is `m.` and, in base64, for each log six bytes of the hash of the controller's id
//! and the number: so it needs nobody's memory, holds for every process, and a controller that was made meanwhile is told whole.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redress_domain::ControllerId;
use redress_store::{Change, Head};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, HashMap};

type Print = [u8; 6];

pub(super) struct Cursor {
    one: bool,
    logs: BTreeMap<ControllerId, Log>,
    /// What a text says about logs that are not followed yet.
    resumed: HashMap<Print, i64>,
    /// The number that a text says, of the one log.
    resumed_one: Option<i64>,
}

struct Log {
    name: String,
    print: Print,
    seen: i64,
}

impl Cursor {
    pub(super) fn new(one: bool) -> Self {
        Self { one, logs: BTreeMap::new(), resumed: HashMap::new(), resumed_one: None }
    }

    /// Goes on from a text of [`Cursor::text`]; none if it is not one, or one of another kind.
    pub(super) fn resume(&mut self, text: &str) -> Option<()> {
        if self.one {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            self.resumed_one = Some(text.parse().ok().filter(|_| plain)?);
            return Some(());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix("m.")?).ok()?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (print, after) = rest.split_first_chunk::<6>()?;
            let (seq, after) = read_number(after)?;
            // Two controllers of one print: what was told to either is told again rather than lost.
            self.resumed.entry(*print).and_modify(|known| *known = (*known).min(seq)).or_insert(seq);
            rest = after;
        }
        Some(())
    }

    /// Follows a log from where it was left; one that is new from its beginning, or from its present end.
    pub(super) fn follow(&mut self, head: &Head, from_here: bool) {
        if let Some(log) = self.logs.get_mut(&head.controller_id) {
            log.name.clone_from(&head.name);
            return;
        }
        let hash = digest(&SHA256, head.controller_id.as_str().as_bytes());
        let mut print = Print::default();
        print.copy_from_slice(&hash.as_ref()[..6]);
        let resumed = if self.one { self.resumed_one } else { self.resumed.get(&print).copied() };
        let seen = if from_here { head.seq } else { resumed.unwrap_or(0) };
        // A log that was put back to an older state is told from there on.
        let log = Log { name: head.name.clone(), print, seen: seen.min(head.seq) };
        self.logs.insert(head.controller_id.clone(), log);
    }

    /// The logs that reach further than was told.
    pub(super) fn behind<'h>(&self, heads: &'h [Head]) -> Vec<(&'h Head, i64)> {
        let followed = heads.iter().filter_map(|head| Some((head, self.logs.get(&head.controller_id)?.seen)));
        followed.filter(|(head, seen)| head.seq > *seen).collect()
    }

    /// Notes that a change is told now: whose it is; none if it was told before, or is not the next.
    pub(super) fn told(&mut self, change: &Change) -> Option<String> {
        let log = self.logs.get_mut(&change.controller_id)?;
        if change.seq != log.seen + 1 {
            return None;
        }
        log.seen = change.seq;
        Some(log.name.clone())
    }

    pub(super) fn text(&self) -> String {
        if self.one {
            return self.logs.values().next().map_or(0, |log| log.seen).to_string();
        }
        let mut bytes = Vec::with_capacity(self.logs.len() * 9);
        for log in self.logs.values() {
            bytes.extend_from_slice(&log.print);
            push_number(&mut bytes, log.seen.max(0) as u64);
        }
        format!("m.{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut number = 0_u64;
    for (n, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((i64::try_from(number).ok()?, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(n: u8, seq: i64) -> Head {
        Head { controller_id: ControllerId::from_parts(u64::from(n), [n; 10]), name: format!("c{n}"), seq }
    }

    fn change(n: u8, seq: i64) -> Change {
        let controller_id = head(n, 0).controller_id;
        Change { controller_id, seq, at: String::new(), kind: String::new(), dsr_id: None, status: None, band: None }
    }

    #[test]
    fn a_text_takes_up_each_log_where_it_was_left() {
        let mut first = Cursor::new(false);
        for head in [head(1, 5), head(2, 0), head(3, 1 << 40)] {
            first.follow(&head, true);
        }
        assert_eq!(first.told(&change(1, 6)).as_deref(), Some("c1"));
        assert_eq!(first.told(&change(1, 6)), None, "once");
        assert_eq!(first.told(&change(1, 8)), None, "never over a gap");
        let mut second = Cursor::new(false);
        second.resume(&first.text()).unwrap();
        let heads = [head(1, 8), head(2, 2), head(3, 1 << 40), head(4, 3)];
        for head in &heads {
            second.follow(head, false);
        }
        let behind: Vec<_> = second.behind(&heads).into_iter().map(|(head, seen)| (head.name.as_str(), seen)).collect();
        assert_eq!(behind, [("c1", 6), ("c2", 0), ("c4", 0)], "a controller made meanwhile is told whole");
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for (one, text) in [
            (true, ""),
            (true, "-1"),
            (true, "m."),
            (true, "99999999999999999999"),
            (false, "7"),
            (false, "m.!"),
            (false, "m.AAAA"),
        ] {
            assert!(Cursor::new(one).resume(text).is_none(), "{text}");
        }
        let mut restored = Cursor::new(true);
        restored.resume("10").unwrap();
        restored.follow(&head(1, 4), false);
        assert_eq!(restored.text(), "4", "a log put back to an older state");
    }
}

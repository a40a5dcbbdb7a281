//! The checker says what a fault has cost: what was accepted and is not there or never ended, and what happened more than
//! once. Everything else that must hold is asserted by the scene's judge.

use crate::scene::Scene;
use futures::FutureExt as _;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

/// Everything that must hold after a fault, whatever it was. `ids` are those that were answered 202.
pub(crate) async fn judge(scene: &Scene, ids: &[String]) {
    let judged = AssertUnwindSafe(scene.judge(ids)).catch_unwind().await;
    let lost = lost(scene, ids).await;
    let duplicates = duplicates(&scene.journal().await);
    println!("TALLY accepted={} lost={lost} duplicates={duplicates}", ids.len());
    if let Err(words) = judged {
        std::panic::resume_unwind(words);
    }
    assert_eq!((lost, duplicates), (0, 0));
}

/// How many of these are not there, or have not ended.
pub(crate) async fn lost(scene: &Scene, ids: &[String]) -> u64 {
    let ended = scene.rows.query("SELECT id FROM dsrs WHERE closed_at IS NOT NULL").await.concat();
    ids.iter().filter(|id| !ended.contains(id)).count() as u64
}

/// How many entries of a journal are there for a second time: each row of a system is changed once.
pub(crate) fn duplicates(journal: &[String]) -> u64 {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in journal {
        *seen.entry(entry).or_default() += 1;
    }
    seen.values().map(|times| times - 1).sum()
}

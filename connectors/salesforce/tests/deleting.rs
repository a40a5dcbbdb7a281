//! Deletion where Salesforce refuses, locks, or has done it already.

use super::lab::{Lab, by_email, erase_to_the_end, erased};
use crate::conformance::{MemoryJournal, ann, bea, done, only, trouble, work};
use crate::{Effect, Outcome, Trouble, Work};
use redress_sandbox::vendors::salesforce as sim;
use serde_json::json;
use std::time::Duration;

fn denied(outcome: Outcome) -> &'static str {
    match trouble(outcome) {
        Trouble::Denied(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn into_the_bin_is_soft_and_for_good_is_permanent() {
    for (hard, effect) in [(false, Effect::Soft { residual_days: Some(15) }), (true, Effect::Permanent)] {
        let lab = Lab::new(hard).await;
        lab.seed(&ann());
        lab.seed(&bea());
        let done = erased(&lab, &lab.connector(), &ann().subject()).await;
        assert_eq!(done.effect, Some(effect));
        assert_eq!((lab.count(&ann().email), lab.count(&bea().email)), (0, 4));
        assert!(lab.world().all("_job").is_empty(), "the jobs' data are cleared");
        lab.world().travel(Duration::from_hours(384));
        assert_eq!(lab.count(&ann().email), 0);
        assert!(lab.contact(&ann().email).is_none(), "the bin is emptied");
    }
}

#[tokio::test]
async fn a_contact_that_others_refer_to_is_told_and_not_called_deleted() {
    for hard in [false, true] {
        let lab = Lab::new(hard).await;
        lab.seed(&ann());
        let connector = lab.with(&json!({"children": [{"name": "Task", "of": "Contact", "field": "WhoId"}]}));
        let (subject, journal) = (by_email(&ann().email), MemoryJournal::default());
        let outcome = only(erase_to_the_end(&lab, &connector, &[work("e", &subject)], &journal).await);
        assert_eq!(denied(outcome), "delete_blocked");
        assert!(lab.contact(&ann().email).is_some());
        // Somebody has it mended: the same item is done, and counts everything.
        let prior = journal.announced("e");
        let item = Work { prior: prior.as_ref(), ..work("e", &subject) };
        let done = done(only(erase_to_the_end(&lab, &lab.connector(), &[item], &journal).await));
        assert_eq!((done.found, done.changed, lab.count(&ann().email)), (4, 4, 0), "hard: {hard}");
    }
}

#[tokio::test]
async fn what_must_be_kept_stays_and_is_itemised() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let children = json!([{"name": "Task", "of": "Contact", "field": "WhoId", "keep": "tax_law_10_years"}, {"name": "Case", "of": "Contact", "field": "ContactId"}]);
    let done = erased(&lab, &lab.with(&json!({"children": children})), &by_email(&ann().email)).await;
    assert_eq!((done.found, done.changed), (3, 2));
    assert_eq!(done.retained.iter().map(|r| (r.collection.as_str(), r.records)).collect::<Vec<_>>(), [("Task", 1)]);
}

#[tokio::test]
async fn a_locked_record_is_tried_again() {
    for hard in [false, true] {
        let lab = Lab::new(hard).await;
        lab.seed(&ann());
        lab.seed(&bea());
        sim::lock(lab.world(), &lab.contact(&ann().email).expect("seeded"), 1);
        let (one, two, journal) = (by_email(&ann().email), by_email(&bea().email), MemoryJournal::default());
        let batch = [work("1", &one), work("2", &two)];
        let mut outcomes = erase_to_the_end(&lab, &lab.connector(), &batch, &journal).await;
        assert_eq!(done(outcomes.pop().expect("two")).changed, 4);
        let outcome = outcomes.pop().expect("two");
        if hard {
            assert_eq!(done(outcome).changed, 4);
        } else {
            assert!(
                matches!(&outcome, Outcome::Trouble(Trouble::Retry(problem)) if problem.code == "record_locked"),
                "{outcome:?}"
            );
            let prior = journal.announced("1");
            let item = Work { prior: prior.as_ref(), ..work("1", &one) };
            let again = done(only(lab.connector().erase(&[item], &journal).await));
            assert_eq!((again.found, again.changed), (4, 4));
        }
        assert_eq!(lab.count(&ann().email), 0);
    }
}

#[tokio::test]
async fn without_the_permission_for_hard_deletion_nothing_is_deleted_and_it_says_so() {
    let lab = Lab::new(true).await;
    lab.seed(&ann());
    sim::set_org(lab.world(), "no_hard_delete", json!(true));
    let subject = by_email(&ann().email);
    let outcome = only(lab.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await);
    assert_eq!(denied(outcome), "hard_delete_not_permitted");
    assert_eq!(lab.count(&ann().email), 4);
}

#[tokio::test]
async fn a_bulk_job_is_followed_as_durable_steps_even_by_another_process() {
    let lab = Lab::new(true).await;
    lab.seed(&ann());
    let (subject, journal) = (by_email(&ann().email), MemoryJournal::default());
    let mut receipt = None;
    let mut steps = 0;
    let last = loop {
        let item = Work { prior: receipt.as_ref(), ..work("e", &subject) };
        match only(lab.connector().erase(&[item], &journal).await) {
            Outcome::Accepted { receipt: next, check_after, .. } => {
                assert!(check_after >= Duration::from_secs(5));
                // Asked too early: it is still under way.
                let item = Work { prior: Some(&next), ..work("e", &subject) };
                let early = only(lab.connector().erase(&[item], &journal).await);
                assert!(matches!(early, Outcome::Accepted { .. }), "{early:?}");
                receipt = Some(next);
                steps += 1;
            }
            other => break done(other),
        }
        lab.world().travel(Duration::from_secs(30));
    };
    // The message of the case, then the case and the task, then the contact.
    assert_eq!((steps, last.found, last.changed), (3, 4, 4));
    let jobs =
        lab.world().hits().iter().filter(|hit| hit.method == "POST" && hit.path.ends_with("/jobs/ingest")).count();
    assert_eq!(jobs, 4);
}

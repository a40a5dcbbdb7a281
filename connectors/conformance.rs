//! A conforming connector is one that does to exactly one person what was asked, says truthfully what it did, and can be
//! killed at any instant: this suite asserts each of these as a fact, for every connector alike.
//!
//! A connector's test makes a [`Target`] of a real system and calls [`run`]. The suite compares what the connector says
//! with the system's own view ([`Target::snapshot`]), which is read without the connector.

mod fixtures;

pub use fixtures::{
    Answer, Attachment, CollectionRecord, MemoryJournal, MemorySink, Person, Witness, ann, bea, confirmed, crowd, done,
    everybody, hostile_subjects, near_twins, nobody, nothing_found, only, rectifying, subject, trouble, troubles, work,
};

use crate::{Connector, Outcome, Receipt, Trouble, Verdict, Work};
use async_trait::async_trait;
use redress_domain::{Correction, IdentifierType, Verb};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// In which way a system is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Nothing listens where it should be.
    Unreachable,
    /// It refuses our credentials.
    WrongPassword,
}

/// A real system under test, with a side door.
///
/// It is configured so that deletion leaves nothing of a person (no table that keeps), and it holds each person's
/// records apart: no record names two people.
#[async_trait]
pub trait Target: Send + Sync {
    /// Makes the system hold exactly these people, each with at least one record of their own. Two may share an address.
    async fn seed(&self, people: &[Person]);

    /// A connector to the system.
    fn connector(&self) -> Arc<dyn Connector>;

    /// A connector to the same system that may touch no more than one match per person.
    fn limited(&self) -> Option<Arc<dyn Connector>>;

    /// The system's own view, read without the connector: for each address, as it was seeded, the number of records
    /// that are still personally theirs. An address without any may be left out.
    async fn snapshot(&self) -> BTreeMap<String, u64>;

    /// A connector to the system broken in this way, or `None` where it cannot break so.
    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>>;

    /// A field that a correction may change, where the connector can correct.
    fn correctable(&self) -> Option<&str> {
        None
    }

    /// The value of such a field for the person with this address (as seeded), read without the connector.
    async fn read_field(&self, _email: &str, _field: &str) -> Option<String> {
        None
    }

    /// Under what the system knows this person by an identifier of that type, where that is not the fixture's own value
    /// (a vendor gives its own ids).
    fn known_as(&self, _person: &Person, _kind: IdentifierType) -> Option<String> {
        None
    }

    /// Lets so much time pass in the system that an order it took may be done, and that its searches see what was changed.
    /// Called after each [`Outcome::Accepted`], and before a second read where the connector asks for a delay.
    async fn let_time_pass(&self) {}

    /// Why the system cannot say whether it knows a person before it is told to delete what it has. Then an order may be
    /// given for a person who is not there, and is told as done with nothing found.
    fn blind(&self) -> Option<&'static str> {
        None
    }

    /// Why more is handed over than the records that are counted as the person's: what the vendor gives beside them (lists they are
    /// on, events), which is not deleted by itself. Nothing is handed over twice all the same.
    fn hands_over_more(&self) -> Option<&'static str> {
        None
    }

    /// Why the vendor's query cannot carry some identifiers so that they mean exactly themselves. They are refused as
    /// `identifier_not_sendable`.
    fn cannot_carry(&self) -> Option<&'static str> {
        None
    }

    /// Why part of the system cannot be searched by some types of identifier. That part is then told as retained, with the
    /// reason `no_usable_identifier`.
    fn searches_in_part(&self) -> Option<&'static str> {
        None
    }

    /// Passwords and keys that no answer may show.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// An order is asked about so often.
const FOLLOWED_MAX: usize = 100;

/// Asserts every fact, one after the other, on a freshly seeded system each time.
///
/// # Panics
/// At the first fact that does not hold.
pub async fn run(target: &dyn Target) {
    let suite = Suite {
        target,
        witness: Witness::of(&[everybody(), crowd().into(), vec![nobody()]].concat(), &target.secrets()),
        needed: Needed::default(),
    };
    suite.the_check_of_a_working_system_passes().await;
    suite.a_person_is_counted_and_exported_without_their_near_twins().await;
    suite.an_erased_person_is_gone_and_their_near_twins_are_untouched().await;
    suite.each_identifier_alone_reaches_the_person_and_nobody_else().await;
    suite.another_spelling_of_an_address_is_the_same_address().await;
    suite.an_absent_person_is_nothing_found_in_every_verb().await;
    suite.a_hostile_identifier_reaches_nobody().await;
    suite.verifying_an_untouched_person_finds_residue().await;
    suite.an_erasure_whose_record_was_lost_is_told_again_with_the_same_counts().await;
    suite.an_erasure_that_died_before_its_effect_is_completed_by_the_next_run().await;
    suite.a_lost_right_to_act_means_no_effect().await;
    suite.a_batch_is_answered_item_by_item_in_order().await;
    suite.more_matches_than_allowed_stop_for_a_person().await;
    suite.a_correction_changes_the_person_and_nobody_else().await;
    suite.a_broken_system_is_never_an_empty_one().await;
    suite.no_exception_is_claimed_that_is_not_needed();
}

struct Suite<'a> {
    target: &'a dyn Target,
    witness: Witness,
    needed: Needed,
}

/// Which of a target's exceptions a fact needed: what is claimed without need would hide a fault.
#[derive(Default)]
struct Needed {
    more: AtomicBool,
    uncarried: AtomicBool,
    unsearched: AtomicBool,
}

/// Whether an exception is claimed; if so it was needed.
fn claimed(why: Option<&'static str>, needed: &AtomicBool) -> bool {
    if why.is_some() {
        needed.store(true, Ordering::Relaxed);
    }
    why.is_some()
}

impl Suite<'_> {
    async fn fresh(&self) -> (Arc<dyn Connector>, BTreeMap<String, u64>) {
        self.target.seed(&everybody()).await;
        let before = self.target.snapshot().await;
        for person in everybody() {
            assert!(count(&before, &person) > 0, "the target seeded nothing for {}", person.email);
        }
        (self.target.connector(), before)
    }

    async fn erase(&self, connector: &Arc<dyn Connector>, item: Work<'_>, journal: &MemoryJournal) -> Outcome {
        let (key, subject) = (item.key, item.subject);
        let first = self.witness.see(only(connector.erase(&[item], journal).await));
        self.follow(connector, work(key, subject), journal, first).await
    }

    /// Asks again, as the engine does, until an order that the system took is carried out.
    async fn follow(
        &self,
        connector: &Arc<dyn Connector>,
        item: Work<'_>,
        journal: &MemoryJournal,
        mut outcome: Outcome,
    ) -> Outcome {
        for _ in 0..FOLLOWED_MAX {
            let Outcome::Accepted { receipt, check_after, .. } = outcome else { return outcome };
            assert!(!check_after.is_zero(), "an order is not asked about at once");
            self.target.let_time_pass().await;
            let again = Work { prior: Some(&receipt), ..work(item.key, item.subject) };
            outcome = self.witness.see(only(connector.erase(&[again], journal).await));
        }
        panic!("an order is never carried out: {outcome:?}");
    }

    /// Nobody was found; or, where that is a system's way, it could not be asked and was not.
    fn reaches_nobody(&self, outcome: &Outcome) -> bool {
        let (target, needed) = (self.target, &self.needed);
        match outcome {
            Outcome::NothingFound(_) => true,
            Outcome::Done(done) => {
                let all_unsearched = done.retained.iter().all(|kept| kept.reason == "no_usable_identifier");
                let unsearched = !done.retained.is_empty() && all_unsearched && (done.found, done.changed) == (0, 0);
                unsearched && claimed(target.searches_in_part(), &needed.unsearched)
            }
            Outcome::Trouble(Trouble::Denied(problem)) => {
                problem.code == "identifier_not_sendable" && claimed(target.cannot_carry(), &needed.uncarried)
            }
            _ => false,
        }
    }

    fn no_exception_is_claimed_that_is_not_needed(&self) {
        let (target, needed) = (self.target, &self.needed);
        for (why, needed) in [
            (target.hands_over_more(), &needed.more),
            (target.cannot_carry(), &needed.uncarried),
            (target.searches_in_part(), &needed.unsearched),
        ] {
            assert!(why.is_none() || needed.load(Ordering::Relaxed), "no fact needed this exception: {why:?}");
        }
    }

    /// Nothing was found of a person who is not there.
    fn absent(&self, outcome: Outcome) {
        match outcome {
            Outcome::Done(done) if self.target.blind().is_some() => assert_eq!((done.found, done.changed), (0, 0)),
            other => drop(nothing_found(other)),
        }
    }

    async fn verify(&self, connector: &Arc<dyn Connector>, verb: Verb, item: Work<'_>) -> Verdict {
        if !connector.manifest().verify_after.is_zero() {
            self.target.let_time_pass().await;
        }
        self.witness.see(only(connector.verify(verb, &[item]).await))
    }

    async fn assert_untouched(&self, before: &BTreeMap<String, u64>, except: &[&Person], when: &str) {
        let after = self.target.snapshot().await;
        for person in everybody().iter().filter(|p| !except.contains(p)) {
            assert_eq!(count(&after, person), count(before, person), "{} was touched by {when}", person.email);
        }
    }

    async fn the_check_of_a_working_system_passes(&self) {
        let (connector, _) = self.fresh().await;
        let report = self.witness.see(connector.check().await).expect("a working system passes its check");
        assert!(!report.ok.is_empty(), "the check says what is in order");
        let manifest = connector.manifest();
        assert!(manifest.verbs.contains(&Verb::Verify), "every connector verifies");
        assert!(!manifest.identifiers.is_empty() && manifest.batch > 0, "{manifest:?}");
    }

    async fn a_person_is_counted_and_exported_without_their_near_twins(&self) {
        let (connector, before) = self.fresh().await;
        let subject = ann().subject();
        let counted = done(self.witness.see(only(connector.discover(&[work("d", &subject)]).await)));
        assert_eq!(counted.found, count(&before, &ann()), "discover counts what the system holds");
        assert_eq!(counted.changed, 0, "discover changes nothing");

        let sink = MemorySink::default();
        let exported = done(self.witness.see(only(connector.export(&[work("x", &subject)], &sink).await)));
        assert_eq!(exported.found, counted.found, "export finds what discover counts");
        assert_eq!(exported.changed, 0, "export changes nothing");
        let handed_over = sink.records("x");
        let more = handed_over.len() as u64 > exported.found;
        if !(more && claimed(self.target.hands_over_more(), &self.needed.more)) {
            assert_eq!(handed_over.len() as u64, exported.found, "every record is handed over once");
        }
        for (nth, record) in handed_over.iter().enumerate() {
            assert!(!handed_over[..nth].contains(record), "a record of {} is handed over twice", record.0);
        }
        let text = sink.text("x").to_lowercase();
        assert!(text.contains(&ann().email), "the export holds the person's own data");
        for twin in near_twins().iter().chain([&bea()]) {
            for value in [&twin.email, &twin.full_name] {
                assert!(!text.contains(&value.to_lowercase()), "{value} is in another person's export");
            }
        }
        self.assert_untouched(&before, &[], "discover and export").await;
    }

    async fn an_erased_person_is_gone_and_their_near_twins_are_untouched(&self) {
        let (connector, before) = self.fresh().await;
        let (subject, journal) = (ann().subject(), MemoryJournal::default());
        let erased = done(self.erase(&connector, work("e", &subject), &journal).await);
        assert_eq!(erased.found, count(&before, &ann()), "erase finds what the system holds");
        assert!(erased.changed > 0 && erased.changed <= erased.found, "{erased:?}");
        assert!(!erased.evidence.collections.is_empty(), "an erasure has evidence");
        assert!(journal.announced("e").is_some(), "an effect is announced before it is had");
        assert_eq!(count(&self.target.snapshot().await, &ann()), 0, "the person is gone");
        self.assert_untouched(&before, &[&ann()], "erasing Ann").await;

        for prior in [erased.receipt.as_ref(), journal.announced("e").as_ref(), None] {
            let verdict = self.verify(&connector, Verb::Erase, Work { prior, ..work("v", &subject) }).await;
            confirmed(verdict);
        }
        self.absent(self.erase(&connector, work("again", &subject), &MemoryJournal::default()).await);
        self.assert_untouched(&before, &[&ann()], "erasing Ann again").await;
    }

    async fn each_identifier_alone_reaches_the_person_and_nobody_else(&self) {
        for kind in self.target.connector().manifest().identifiers.clone() {
            let (connector, before) = self.fresh().await;
            let subject = match self.target.known_as(&ann(), kind) {
                Some(value) => subject(&[(kind, &value)]),
                None => ann().subject_by(kind),
            };
            let journal = MemoryJournal::default();
            done(self.erase(&connector, work("e", &subject), &journal).await);
            let after = self.target.snapshot().await;
            assert!(count(&after, &ann()) < count(&before, &ann()), "{kind} did not reach the person");
            self.assert_untouched(&before, &[&ann()], &format!("erasing by {kind}")).await;
            confirmed(self.verify(&connector, Verb::Erase, work("v", &subject)).await);
        }
    }

    async fn another_spelling_of_an_address_is_the_same_address(&self) {
        if !self.target.connector().manifest().identifiers.contains(&IdentifierType::Email) {
            return;
        }
        for (person, spelling) in [(ann(), "ANN@Shop.EXAMPLE"), (bea(), "bea.stern@shop.example")] {
            let (connector, before) = self.fresh().await;
            let subject = subject(&[(IdentifierType::Email, spelling)]);
            done(self.erase(&connector, work("e", &subject), &MemoryJournal::default()).await);
            let after = self.target.snapshot().await;
            assert!(count(&after, &person) < count(&before, &person), "{spelling} did not reach the person");
            self.assert_untouched(&before, &[&person], "erasing by another spelling").await;
            confirmed(self.verify(&connector, Verb::Erase, work("v", &subject)).await);
        }
    }

    async fn an_absent_person_is_nothing_found_in_every_verb(&self) {
        let (connector, before) = self.fresh().await;
        let (subject, sink, journal) = (nobody().subject(), MemorySink::default(), MemoryJournal::default());
        nothing_found(self.witness.see(only(connector.discover(&[work("n", &subject)]).await)));
        nothing_found(self.witness.see(only(connector.export(&[work("n", &subject)], &sink).await)));
        self.absent(self.erase(&connector, work("n", &subject), &journal).await);
        if let Some(field) = self.target.correctable() {
            let corrections = [correction(field, "Niemals Gesehen")];
            let item = [rectifying("n", &subject, &corrections)];
            nothing_found(self.witness.see(only(connector.rectify(&item, &journal).await)));
        }
        confirmed(self.verify(&connector, Verb::Erase, work("n", &subject)).await);
        assert!(sink.text("n").is_empty(), "nothing is handed over for an absent person");
        if self.target.blind().is_none() {
            assert_eq!(journal.items(), 0, "no effect is announced where there is nothing to change");
        }
        self.assert_untouched(&before, &[], "looking for an absent person").await;
    }

    async fn a_hostile_identifier_reaches_nobody(&self) {
        let (connector, before) = self.fresh().await;
        let accepted = connector.manifest().identifiers.clone();
        for subject in hostile_subjects() {
            let identifier = subject.identifiers[0].clone();
            if !accepted.contains(&identifier.kind()) {
                continue;
            }
            let shown = identifier.given().expose();
            let counted = self.witness.see(only(connector.discover(&[work("h", &subject)]).await));
            assert!(self.reaches_nobody(&counted), "{shown:?}: {counted:?}");
            let erased = self.erase(&connector, work("h", &subject), &MemoryJournal::default()).await;
            if !self.reaches_nobody(&erased) {
                self.absent(erased);
            }
            self.assert_untouched(&before, &[], shown).await;
        }
    }

    async fn verifying_an_untouched_person_finds_residue(&self) {
        let (connector, before) = self.fresh().await;
        let subject = ann().subject();
        match self.verify(&connector, Verb::Erase, work("v", &subject)).await {
            Verdict::Residue { remaining, .. } => assert_eq!(remaining, count(&before, &ann())),
            other => panic!("expected Residue, got {other:?}"),
        }
    }

    async fn an_erasure_whose_record_was_lost_is_told_again_with_the_same_counts(&self) {
        let (connector, before) = self.fresh().await;
        let (subject, journal) = (ann().subject(), MemoryJournal::default());
        let first = done(self.erase(&connector, work("e", &subject), &journal).await);
        for _ in 0..2 {
            let prior = journal.announced("e").expect("the effect was announced");
            let item = Work { prior: Some(&prior), ..work("e", &subject) };
            let again = done(self.erase(&connector, item, &journal).await);
            assert_eq!((again.found, again.changed), (first.found, first.changed), "the same is told again");
            assert_eq!(again.evidence.collections.len(), first.evidence.collections.len());
        }
        self.assert_untouched(&before, &[&ann()], "the second run").await;
    }

    async fn an_erasure_that_died_before_its_effect_is_completed_by_the_next_run(&self) {
        let (connector, before) = self.fresh().await;
        let (subject, dying) = (ann().subject(), MemoryJournal::answering(Answer::Die));
        let item = [work("e", &subject)];
        tokio::select! {
            answers = connector.erase(&item, &dying) => panic!("the effect was not announced: {answers:?}"),
            () = dying.wait_for_announcement() => {}
        }
        self.assert_untouched(&before, &[], "an announcement").await;
        let prior: Receipt = dying.announced("e").expect("the effect was announced");
        let item = Work { prior: Some(&prior), ..work("e", &subject) };
        let next = done(self.erase(&connector, item, &MemoryJournal::default()).await);
        assert_eq!(next.found, count(&before, &ann()), "each record is counted once: {next:?}");
        assert_eq!(count(&self.target.snapshot().await, &ann()), 0, "the next run completes the erasure");
        self.assert_untouched(&before, &[&ann()], "the next run").await;
    }

    async fn a_lost_right_to_act_means_no_effect(&self) {
        let (connector, before) = self.fresh().await;
        let (subject, lost) = (ann().subject(), MemoryJournal::answering(Answer::Lost));
        let answer = self.erase(&connector, work("e", &subject), &lost).await;
        assert_eq!(trouble(answer), Trouble::Lost);
        if let Some(field) = self.target.correctable() {
            let corrections = [correction(field, "Niemals Gesehen")];
            let item = [rectifying("r", &subject, &corrections)];
            assert_eq!(trouble(only(connector.rectify(&item, &lost).await)), Trouble::Lost);
            assert_ne!(self.target.read_field(&ann().email, field).await.as_deref(), Some("Niemals Gesehen"));
        }
        self.assert_untouched(&before, &[], "an item that was taken away").await;
    }

    async fn a_batch_is_answered_item_by_item_in_order(&self) {
        let (connector, before) = self.fresh().await;
        let journal = MemoryJournal::default();
        assert!(connector.discover(&[]).await.is_empty(), "an empty batch has no answers");
        if connector.manifest().batch < 3 {
            return;
        }
        let (first, second, third) = (ann().subject(), nobody().subject(), bea().subject());
        let batch = [work("1", &first), work("2", &second), work("3", &third)];
        for answers in [connector.discover(&batch).await, connector.erase(&batch, &journal).await] {
            let mut followed = Vec::new();
            for (item, answer) in batch.iter().zip(self.witness.see(answers)) {
                followed.push(self.follow(&connector, work(item.key, item.subject), &journal, answer).await);
            }
            let [one, two, three] = <[Outcome; 3]>::try_from(followed).expect("one answer per item");
            assert_eq!(done(one).found, count(&before, &ann()));
            self.absent(two);
            assert_eq!(done(three).found, count(&before, &bea()));
        }
        let announced = |key: &str| journal.announced(key).is_some();
        assert!(announced("1") && announced("3"), "effects are announced");
        assert!(!announced("2") || self.target.blind().is_some(), "nothing is announced for who is not there");
        self.assert_untouched(&before, &[&ann(), &bea()], "a batch").await;
        if !connector.manifest().verify_after.is_zero() {
            self.target.let_time_pass().await;
        }
        for verdict in connector.verify(Verb::Erase, &batch).await {
            confirmed(self.witness.see(verdict));
        }
    }

    async fn more_matches_than_allowed_stop_for_a_person(&self) {
        self.target.seed(&crowd()).await;
        let Some(limited) = self.target.limited() else { return };
        let before = self.target.snapshot().await;
        let subject = subject(&[(IdentifierType::Email, &crowd()[0].email)]);
        let journal = MemoryJournal::default();
        match trouble(self.erase(&limited, work("e", &subject), &journal).await) {
            Trouble::Ambiguous { matched, .. } => assert!(matched > 1, "{matched}"),
            other => panic!("expected Ambiguous, got {other:?}"),
        }
        assert_eq!(journal.items(), 0, "no effect is announced");
        assert_eq!(self.target.snapshot().await, before, "nothing was touched");
    }

    async fn a_correction_changes_the_person_and_nobody_else(&self) {
        let (connector, _) = self.fresh().await;
        let (subject, journal) = (ann().subject(), MemoryJournal::default());
        let Some(field) = self.target.correctable() else {
            let corrections = [correction("full_name", "Anna Neu")];
            let item = [rectifying("r", &subject, &corrections)];
            match trouble(self.witness.see(only(connector.rectify(&item, &journal).await))) {
                Trouble::Denied(problem) => assert_eq!(problem.code, "verb_unsupported"),
                other => panic!("expected Denied, got {other:?}"),
            }
            return;
        };
        let mut values = BTreeMap::new();
        for person in everybody() {
            values.insert(person.email.clone(), self.target.read_field(&person.email, field).await);
        }
        let corrections = [correction(field, "Änne O'Neu; --")];
        let item = || rectifying("r", &subject, &corrections);
        let residue = self.verify(&connector, Verb::Rectify, item()).await;
        assert!(matches!(residue, Verdict::Residue { .. }), "not corrected yet: {residue:?}");

        let first = done(self.witness.see(only(connector.rectify(&[item()], &journal).await)));
        assert!(first.changed > 0, "{first:?}");
        assert!(journal.announced("r").is_some(), "a correction is announced before it is made");
        for person in everybody() {
            let now = self.target.read_field(&person.email, field).await;
            if person == ann() {
                assert_eq!(now.as_deref(), Some("Änne O'Neu; --"));
            } else {
                assert_eq!(Some(&now), values.get(&person.email), "{} was corrected too", person.email);
            }
        }
        confirmed(self.verify(&connector, Verb::Rectify, item()).await);

        let prior = journal.announced("r");
        let again = Work { prior: prior.as_ref(), ..item() };
        let again = done(self.witness.see(only(connector.rectify(&[again], &journal).await)));
        assert_eq!((again.found, again.changed), (first.found, first.changed), "the same is told again");
    }

    async fn a_broken_system_is_never_an_empty_one(&self) {
        self.target.seed(&everybody()).await;
        let subject = ann().subject();
        for (how, code) in [(Broken::Unreachable, "unreachable"), (Broken::WrongPassword, "credentials_refused")] {
            let Some(connector) = self.target.broken(how) else { continue };
            let (all, problem) = self.witness.see(troubles(&connector, &subject).await);
            assert_eq!(problem.code, code, "{problem:?}");
            for trouble in all {
                let ((Trouble::Retry(problem), Broken::Unreachable)
                | (Trouble::Denied(problem), Broken::WrongPassword)) = (&trouble, how)
                else {
                    panic!("{how:?} was answered with {trouble:?}")
                };
                assert_eq!(problem.code, code, "{problem:?}");
            }
        }
    }
}

fn correction(field: &str, value: &str) -> Correction {
    Correction { field: field.to_owned(), value: value.into() }
}

fn count(snapshot: &BTreeMap<String, u64>, person: &Person) -> u64 {
    snapshot.get(&person.email).copied().unwrap_or(0)
}

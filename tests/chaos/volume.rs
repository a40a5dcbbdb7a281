//! The volume: very many submissions through very many crashes, and not one of them is lost.

use crate::cells::{Cell, Dice, Ended, switch};
use crate::load::{fleet, patient, rows};
use crate::scene::{Case, Right, Scene};
use crate::support::{Backend, Kind, body, id_of, poll};
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::cell::{Cell as Count, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Callers at the same time.
const CALLERS: usize = 24;
/// People who are really in the system; the others are asked for and not found.
const KNOWN: usize = 300;

pub(crate) fn cells() -> Vec<Cell> {
    vec![
        Cell::new("volume/100000-submissions-500-crashes/sqlite", || volume(Backend::Sqlite, 100_000, 500)).within(240),
        Cell::new("volume/100000-submissions-500-crashes/fleet", || volume(Backend::PostgresRedis, 100_000, 500))
            .within(240),
        Cell::new("volume/1000-submissions-15-crashes/sqlite", || volume(Backend::Sqlite, 1_000, 15)).only_in_slice(),
        Cell::new("volume/1000-submissions-15-crashes/fleet", || volume(Backend::PostgresRedis, 1_000, 15))
            .only_in_slice(),
    ]
}

/// `CHAOS_SUBMISSIONS` and `CHAOS_CRASHES` choose another size.
async fn volume(backend: Backend, submissions: usize, crashes: usize) -> Ended {
    let sized = |name: &str, or: usize| switch(name).and_then(|text| text.parse().ok()).unwrap_or(or);
    let (submissions, crashes) = (sized("CHAOS_SUBMISSIONS", submissions), sized("CHAOS_CRASHES", crashes));
    // A step over which three workers die is left to a person; here they die without a reason, so somebody retries.
    let builder = patient().quick_leases();
    let app = match backend {
        Backend::Sqlite => builder.start().await,
        Backend::PostgresRedis => fleet(builder, 2).start().await,
    };
    app.allow_errors();
    let rows = rows(&app, backend);
    let known = KNOWN.min(submissions);
    let cases = (0..known).map(|n| Case::new(Right::Deletion, &format!("person{n}")).untold()).collect();
    let scene = Scene::set(app, rows, &[Kind::Sqlite], cases).await.rough();
    let mut dice = Dice::new();

    // Crashes go on until all is submitted, and submissions until there were enough crashes.
    let accepted: RefCell<BTreeSet<String>> = RefCell::default();
    let (crashed, sent) = (Count::new(0_usize), Count::new(0_usize));
    let begun = Instant::now();
    let killing = async {
        // As many as planned, spread over the submissions by what has been accepted so far.
        while accepted.borrow().len() < submissions {
            tokio::time::sleep(Duration::from_millis(60 + dice.below(180))).await;
            let due = crashes * accepted.borrow().len() / submissions.max(1);
            if crashed.get() > due || crashed.get() >= crashes + crashes / 5 {
                continue;
            }
            let victim = usize::try_from(dice.below(scene.app.processes() as u64)).expect("few");
            scene.app.kill9_one(victim);
            crashed.set(crashed.get() + 1);
            tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
            scene.app.start_unready();
        }
    };
    let calling = async {
        let mut callers = FuturesUnordered::new();
        let mut next = 0;
        loop {
            while callers.len() < CALLERS && next < submissions {
                callers.push(submit(&scene, next, &sent));
                next += 1;
            }
            let Some(id) = callers.next().await else { break };
            assert!(accepted.borrow_mut().insert(id.clone()), "{id} was given to two callers");
        }
    };
    tokio::join!(calling, killing);
    let submitted = begun.elapsed();
    let accepted = accepted.into_inner();
    scene.app.start().await;
    drain(&scene, submissions).await;
    println!(
        "NOTE {} accepted in {} s ({} calls) through {} crashes; all had ended {} s after the first call",
        accepted.len(),
        submitted.as_secs(),
        sent.get(),
        crashed.get(),
        begun.elapsed().as_secs()
    );

    // The judgement: sets and sums, because each alone would take a day.
    let there: BTreeSet<String> =
        scene.rows.query("SELECT id FROM dsrs WHERE closed_at IS NOT NULL").await.concat().into_iter().collect();
    let lost = accepted.difference(&there).count();
    let journal = scene.journal().await;
    let duplicates = crate::checker::duplicates(&journal);
    println!("TALLY accepted={} lost={lost} duplicates={duplicates}", accepted.len());
    assert_eq!((lost, duplicates), (0, 0));
    assert_eq!(there, accepted, "there is what was accepted, and nothing else");
    let n = submissions as u64;
    for (sql, wanted) in [
        ("SELECT COUNT(*) FROM dsrs", n),
        ("SELECT COUNT(*) FROM dsrs WHERE status = 'completed'", n),
        ("SELECT COUNT(*) FROM certificates", n),
        ("SELECT COUNT(*) FROM idempotency", n),
        ("SELECT COUNT(*) FROM steps WHERE verb = 'answer'", n),
        ("SELECT COUNT(*) FROM steps WHERE q IS NOT NULL OR attention = 1", 0),
        ("SELECT COUNT(*) FROM steps WHERE system_id IS NOT NULL AND state NOT IN ('verified', 'nothing_found')", 0),
        ("SELECT COALESCE(SUM(changed), 0) FROM steps WHERE system_id IS NOT NULL", journal.len() as u64),
        ("SELECT COUNT(*) FROM events WHERE kind = 'received'", n),
        ("SELECT COUNT(*) FROM events WHERE kind = 'completed'", n),
        ("SELECT COUNT(*) FROM (SELECT dsr_id FROM events WHERE kind = 'completed' GROUP BY dsr_id) AS each_once", n),
    ] {
        assert_eq!(scene.rows.number(sql).await, wanted, "{sql}");
    }
    let mut wanted = crate::scene::changes_done(&scene);
    let mut happened = journal;
    wanted.sort();
    happened.sort();
    assert_eq!(happened, wanted, "the journal");
    scene.verify("audit.ndjson", &scene.api.audit().await, &[]).await;
    assert!(crashed.get() >= crashes, "{} crashes of {crashes}", crashed.get());
    Ended::Well
}

/// Submits until it is accepted, with the same key each time.
async fn submit(scene: &Scene, nth: usize, sent: &Count<usize>) -> String {
    let email = if nth < scene.cases.len() {
        scene.cases[nth].person.email.clone()
    } else {
        format!("nobody{nth}@shop.example")
    };
    let text = body("deletion", &email).to_string();
    let key = format!("volume-{nth}");
    let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
    let limit = Instant::now() + Duration::from_mins(3);
    loop {
        sent.set(sent.get() + 1);
        if let Some(answer) = scene.api.try_send("POST", "/v1/requests", &headers, text.clone()).await
            && answer.status != 503
        {
            return id_of(&answer.expect(202)).to_owned();
        }
        assert!(Instant::now() < limit, "number {nth} was not accepted within three minutes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until everything has ended. What was quarantined because three processes were killed over it is retried, as a
/// person would.
async fn drain(scene: &Scene, submissions: usize) {
    let limit = Duration::from_mins(1) + Duration::from_millis(60) * u32::try_from(submissions).expect("few enough");
    poll("everything has ended", limit, || async {
        let stuck = "SELECT id FROM dsrs WHERE status = 'needs_attention'";
        for id in scene.rows.query(stuck).await.concat() {
            scene.api.act(&id, "retry").await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let open = "SELECT (SELECT COUNT(*) FROM dsrs WHERE closed_at IS NULL) + (SELECT COUNT(*) FROM steps WHERE q IS NOT NULL)";
        (scene.rows.number(open).await == 0).then_some(())
    })
    .await;
}

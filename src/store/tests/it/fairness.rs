//! A flood of one controller keeps no other one waiting, and costs the others nothing.

use crate::lab::{Lab, Wish};
use redress_domain::ControllerId;
use redress_domain::fair::{Turns, Waiting};
use redress_store::{Dialect, Lease, Look, QueueHead, Wanted};
use std::collections::{BTreeMap, BTreeSet};

on_both!(
    a_quiet_controller_is_not_kept_waiting_by_a_flood_of_100_000,
    what_is_overdue_elsewhere_keeps_nobody_waiting_for_ever,
    weights_share_the_turns,
    a_look_shows_every_queue_by_its_most_urgent_row,
    several_queues_are_claimed_at_once_each_in_its_order,
    of_the_suspects_of_several_queues_one_is_claimed,
    a_queue_that_somebody_emptied_since_the_look_gives_nothing,
    no_more_than_a_systems_batch_is_claimed,
    of_many_rows_that_are_due_at_once_every_controllers_first_are_promoted,
    of_many_requests_that_are_due_at_once_every_controllers_first_are_advanced,
);

impl Lab {
    /// Copies the steps of a request so many times that its controller has a flood.
    pub(crate) async fn flood(&self, controller: &ControllerId, copies: u32) {
        let (numbers, id) = match self.store.dialect() {
            Dialect::Sqlite => (
                format!(
                    "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {copies}) SELECT i FROM n)"
                ),
                "printf('%s%012d', substr(s.id, 1, 18), n.i)",
            ),
            Dialect::Postgres => (
                format!("(SELECT generate_series(1, {copies}) AS i)"),
                "substr(s.id, 1, 18) || lpad(n.i::text, 12, '0')",
            ),
        };
        self.sql(&format!("INSERT INTO steps (id, controller_id, dsr_id, system_id, lane, verb, phase, state, q, due_at, not_before, idem, created_at) SELECT {id}, s.controller_id, s.dsr_id, s.system_id, s.lane, s.verb, s.phase, s.state, s.q, s.due_at, s.not_before, {id}, s.created_at FROM steps s CROSS JOIN {numbers} AS n WHERE s.controller_id = '{controller}' AND s.system_id IS NOT NULL"))
            .await
            .expect("flooded");
    }

    async fn controller_with(&self, name: &str, systems: &[&str]) -> ControllerId {
        let controller = self.controller(name).await;
        for system in systems {
            self.system(&controller, system).await;
        }
        controller
    }
}

/// One turn as a worker takes it, with its memory.
async fn turn(lab: &Lab, turns: &mut Turns, batch: usize) -> Vec<Lease> {
    let look = lab.store.look().await.expect("looked");
    let open: Vec<&QueueHead> = look.queues.iter().filter(|queue| queue.is_open()).collect();
    let waiting: Vec<Waiting<'_>> = open.iter().map(|queue| queue.waiting()).collect();
    let Some(n) = turns.next(&waiting, lab.now()) else { return Vec::new() };
    let wanted = [Wanted { queue: open[n], rows: open[n].batch(batch) }];
    lab.store.claim_queues("one", &wanted, 60_000).await.expect("claimed").remove(0)
}

async fn a_quiet_controller_is_not_kept_waiting_by_a_flood_of_100_000(lab: Lab) {
    let loud = lab.controller_with("loud", &["crm"]).await;
    let quiet = lab.controller_with("quiet", &["crm"]).await;
    lab.begun(&loud, Wish::deletion().due(lab.now() + 1)).await;
    lab.flood(&loud, 100_000).await;
    let mut turns = Turns::default();
    for _ in 0..20 {
        let leases = turn(&lab, &mut turns, 50).await;
        assert!(leases.iter().all(|lease| lease.controller_id == loud));
        assert_eq!(leases.len(), 50);
    }
    // Its only request is the least urgent of all.
    lab.begun(&quiet, Wish::deletion()).await;
    let mut waited = 1;
    while turn(&lab, &mut turns, 50).await[0].controller_id == loud {
        waited += 1;
    }
    assert!(waited <= 8, "after {waited} batches");
    assert!(lab.count("steps WHERE q = 'ready'").await > 98_000);
}

async fn what_is_overdue_elsewhere_keeps_nobody_waiting_for_ever(lab: Lab) {
    let late = lab.controller_with("late", &["crm"]).await;
    let early = lab.controller_with("early", &["crm"]).await;
    lab.begun(&late, Wish::deletion().due(1_000)).await;
    lab.flood(&late, 200).await;
    lab.begun(&early, Wish::deletion()).await;
    lab.flood(&early, 10).await;
    let mut turns = Turns::default();
    let mut had = BTreeMap::new();
    for _ in 0..16 {
        *had.entry(turn(&lab, &mut turns, 1).await[0].controller_id.clone()).or_insert(0) += 1;
    }
    assert_eq!((had[&late], had[&early]), (12, 4), "what is overdue comes first, but is not all that comes");
}

async fn weights_share_the_turns(lab: Lab) {
    let heavy = lab.controller_with("heavy", &["crm"]).await;
    let light = lab.controller_with("light", &["crm"]).await;
    for controller in [&heavy, &light] {
        lab.begun(controller, Wish::deletion()).await;
        lab.flood(controller, 100).await;
    }
    lab.sql(&format!("UPDATE controllers SET weight = 3 WHERE id = '{heavy}'")).await.expect("set");
    let mut turns = Turns::default();
    let mut of_heavy = 0;
    for _ in 0..40 {
        of_heavy += usize::from(turn(&lab, &mut turns, 1).await[0].controller_id == heavy);
    }
    assert!((29..=31).contains(&of_heavy), "{of_heavy} of 40");
}

fn shape(look: &Look) -> BTreeSet<(String, i64)> {
    look.queues.iter().map(|queue| (queue.lane.clone(), queue.due_at)).collect()
}

async fn a_look_shows_every_queue_by_its_most_urgent_row(lab: Lab) {
    let empty = lab.store.look().await.expect("looked");
    assert!(empty.queues.is_empty() && !empty.shared);
    assert_eq!((empty.advance_at, empty.promote_at), (None, None));
    let one = lab.controller_with("one", &["crm", "shop"]).await;
    let two = lab.controller_with("two", &["crm"]).await;
    for (controller, due) in [(&one, 500), (&one, 300), (&one, 400), (&two, 700), (&two, 600)] {
        lab.begun(controller, Wish::access().due(due)).await;
    }
    lab.begun(&two, Wish::deletion().due(550)).await;
    let id = async |controller: &ControllerId, name: &str| {
        lab.store.system_by_name(controller, name).await.expect("read").expect("there").id.as_str().to_owned()
    };
    let look = lab.store.look().await.expect("looked");
    assert!(look.shared);
    let (crm, other) = (id(&one, "crm").await, id(&two, "crm").await);
    assert_eq!(
        shape(&look),
        BTreeSet::from([(crm, 300), (id(&one, "shop").await, 300), (other.clone(), 600), (other, 550)])
    );
}

async fn several_queues_are_claimed_at_once_each_in_its_order(lab: Lab) {
    let ctl = lab.controller_with("one", &["crm", "shop"]).await;
    for due in [5, 3, 4, 1, 2] {
        lab.begun(&ctl, Wish::access().due(due)).await;
        lab.begun(&ctl, Wish::deletion().due(due + 10)).await;
    }
    let look = lab.store.look().await.expect("looked");
    assert_eq!(look.queues.len(), 4, "two systems, two verbs");
    let wanted: Vec<Wanted<'_>> =
        look.queues.iter().enumerate().map(|(n, queue)| Wanted { queue, rows: 2 + n }).collect();
    let given = lab.store.claim_queues("one", &wanted, 60_000).await.expect("claimed");
    assert_eq!(given.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 4, 5]);
    for (leases, want) in given.iter().zip(&wanted) {
        assert!(leases.iter().all(|lease| lease.lane == want.queue.lane && lease.kind == leases[0].kind));
        let mut due = Vec::new();
        for lease in leases {
            due.extend(
                lab.query(&format!("SELECT CAST(due_at AS TEXT) FROM steps WHERE id = '{}'", lease.step_id)).await,
            );
        }
        let due: Vec<i64> = due.iter().map(|text| text.parse().expect("a number")).collect();
        let first = want.queue.due_at;
        assert_eq!(due, (first..first + due.len() as i64).collect::<Vec<_>>());
    }
}

async fn a_queue_that_somebody_emptied_since_the_look_gives_nothing(lab: Lab) {
    let ctl = lab.controller_with("one", &["crm", "shop"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let look = lab.store.look().await.expect("looked");
    let gone = lab.claim_step().await.lane;
    let wanted: Vec<Wanted<'_>> = look.queues.iter().map(|queue| Wanted { queue, rows: 9 }).collect();
    let given = lab.store.claim_queues("two", &wanted, 60_000).await.expect("claimed");
    for (leases, want) in given.iter().zip(&wanted) {
        assert_eq!(leases.len(), usize::from(want.queue.lane != gone));
    }
}

async fn no_more_than_a_systems_batch_is_claimed(lab: Lab) {
    let ctl = lab.controller_with("one", &["crm"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    lab.flood(&ctl, 20).await;
    lab.sql("UPDATE systems SET batch = 7").await.expect("set");
    assert_eq!(lab.store.claim("one", &[], 300, 60_000).await.expect("claimed").len(), 7);
    assert_eq!(lab.store.claim("one", &[], 3, 60_000).await.expect("claimed").len(), 3);
}

async fn of_many_rows_that_are_due_at_once_every_controllers_first_are_promoted(lab: Lab) {
    let loud = lab.controller_with("loud", &["crm"]).await;
    let quiet = lab.controller_with("quiet", &["crm"]).await;
    for controller in [&loud, &quiet] {
        lab.begun(controller, Wish::deletion()).await;
    }
    lab.flood(&loud, 20_000).await;
    lab.sql(&format!("UPDATE steps SET q = 'wait', not_before = {} WHERE q = 'ready'", lab.now() - 1_000))
        .await
        .expect("put off");
    lab.sql(&format!("UPDATE steps SET not_before = {} WHERE controller_id = '{quiet}'", lab.now()))
        .await
        .expect("put off");
    let promoted = lab.store.promote().await.expect("promoted");
    assert!((1_001..3_000).contains(&promoted), "{promoted}");
    assert_eq!(lab.count(&format!("steps WHERE q = 'ready' AND controller_id = '{quiet}'")).await, 1);
}

async fn of_many_requests_that_are_due_at_once_every_controllers_first_are_advanced(lab: Lab) {
    let loud = lab.controller_with("loud", &["crm"]).await;
    let quiet = lab.controller_with("quiet", &["crm"]).await;
    for _ in 0..20 {
        lab.begun(&loud, Wish::deletion()).await;
    }
    lab.begun(&quiet, Wish::deletion()).await;
    lab.sql(&format!("UPDATE dsrs SET wake_at = {}", lab.now() - 1_000)).await.expect("woken");
    lab.sql(&format!("UPDATE dsrs SET wake_at = {} WHERE controller_id = '{quiet}'", lab.now())).await.expect("woken");
    assert!((6..=8).contains(&lab.store.advance_due(5).await.expect("advanced")));
    assert_eq!(lab.count(&format!("dsrs WHERE wake_at IS NOT NULL AND controller_id = '{quiet}'")).await, 0);
}

/// Who dies over two suspects at once would leave the innocent one to a person too.
async fn of_the_suspects_of_several_queues_one_is_claimed(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "mail"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    lab.sql("UPDATE steps SET deaths = 2 WHERE q = 'ready'").await.expect("both are suspects");
    let look = lab.store.look().await.expect("looked");
    let wanted: Vec<Wanted<'_>> = look.queues.iter().map(|queue| Wanted { queue, rows: 9 }).collect();
    assert_eq!(wanted.len(), 2);
    let given = lab.store.claim_queues("one", &wanted, 60_000).await.expect("claimed");
    assert_eq!(given.iter().map(Vec::len).sum::<usize>(), 1, "one at a time in a process");
}

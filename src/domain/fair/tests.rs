use super::*;

const LATER: i64 = 30 * DAY_MS;

fn controllers(count: u8) -> Vec<ControllerId> {
    (0..count).map(|n| ControllerId::from_parts(1, [n; 10])).collect()
}

/// Takes `turns` turns among controllers that always have work; how many each had.
fn shares(turns: &mut Turns, waiting: &[Waiting<'_>], count: usize) -> Vec<usize> {
    let mut had = vec![0; waiting.len()];
    for _ in 0..count {
        had[turns.next(waiting, 0).expect("somebody waits")] += 1;
    }
    had
}

#[test]
fn nothing_waits_for_nobody() {
    assert_eq!(Turns::default().next(&[], 0), None);
}

#[test]
fn classes_are_by_the_days_that_are_left() {
    let at = |days: i64| class(days * DAY_MS, 0);
    assert_eq!([at(-1), at(0), at(1), at(3), at(7), at(8)], [0, 0, 1, 2, 3, 4]);
    assert_eq!([class(1, 0), class(DAY_MS + 1, 0), class(3 * DAY_MS + 1, 0), class(7 * DAY_MS + 1, 0)], [1, 2, 3, 4]);
    assert_eq!(class(i64::MIN, i64::MAX), 0);
    assert_eq!(class(i64::MAX, i64::MIN), 4);
}

#[test]
fn turns_are_shared_by_weight_whatever_the_weights_and_the_class() {
    let ids = controllers(3);
    for class_due in [-1, DAY_MS / 2, LATER] {
        for weights in (1..=5).flat_map(|a| (1..=5).flat_map(move |b| (1..=5).map(move |c| [a, b, c]))) {
            let waiting: Vec<_> = ids
                .iter()
                .zip(weights)
                .map(|(controller, weight)| Waiting { controller, weight, due_at: class_due })
                .collect();
            let sum: u32 = weights.iter().sum();
            let count = 60 * sum as usize;
            let had = shares(&mut Turns::default(), &waiting, count);
            for (had, weight) in had.iter().zip(weights) {
                let fair = count * weight as usize / sum as usize;
                assert!(had.abs_diff(fair) <= 2 + fair / 20, "{weights:?} had {had} instead of {fair}");
            }
        }
    }
}

#[test]
fn the_earliest_deadline_of_one_controller_is_first() {
    let ids = controllers(1);
    let of = |due_at| Waiting { controller: &ids[0], weight: 1, due_at };
    let mut turns = Turns::default();
    for _ in 0..20 {
        let waiting = [of(LATER + 5), of(LATER + 1), of(LATER + 3)];
        assert_eq!(turns.next(&waiting, 0), Some(1));
    }
}

#[test]
fn a_flood_in_any_class_keeps_nobody_waiting_for_more_than_its_rounds() {
    let ids = controllers(10);
    for flood_due in [-1, DAY_MS, LATER] {
        for quiet_due in [-1, DAY_MS, LATER] {
            for weight in [1, 3] {
                let mut turns = Turns::default();
                let flood: Vec<_> =
                    ids[1..].iter().map(|controller| Waiting { controller, weight, due_at: flood_due }).collect();
                shares(&mut turns, &flood, 1_000);
                let mut waiting = flood.clone();
                waiting.push(Waiting { controller: &ids[0], weight: 1, due_at: quiet_due });
                let bound = 4 * (flood.len() * weight as usize + 1);
                let waited =
                    (1..=bound + 1).find(|_| turns.next(&waiting, 0) == Some(flood.len())).expect("its turn comes");
                assert!(waited <= bound, "{waited} turns, {flood_due} {quiet_due} {weight}");
            }
        }
    }
}

#[test]
fn a_controller_that_was_quiet_has_saved_nothing_up() {
    let ids = controllers(2);
    let of = |n: usize| Waiting { controller: &ids[n], weight: 1, due_at: LATER };
    let mut turns = Turns::default();
    shares(&mut turns, &[of(0)], 10_000);
    let had = shares(&mut turns, &[of(0), of(1)], 100);
    assert!((45..=55).contains(&had[0]), "{had:?}");
}

#[test]
fn what_is_urgent_has_three_turns_of_four_and_the_rest_is_not_starved() {
    let ids = controllers(2);
    let waiting = [
        Waiting { controller: &ids[0], weight: 1, due_at: -1 },
        Waiting { controller: &ids[1], weight: 1, due_at: LATER },
    ];
    let had = shares(&mut Turns::default(), &waiting, 400);
    assert_eq!(had, [300, 100]);
}

#[test]
fn what_is_urgent_of_the_flooding_controller_comes_before_its_own_flood() {
    let ids = controllers(1);
    let waiting = [
        Waiting { controller: &ids[0], weight: 1, due_at: LATER },
        Waiting { controller: &ids[0], weight: 1, due_at: DAY_MS },
    ];
    assert_eq!(shares(&mut Turns::default(), &waiting, 40), [0, 40]);
}

#[test]
fn what_a_process_remembers_is_bounded() {
    let mut turns = Turns::default();
    for n in 0..5_000_u16 {
        let [high, low] = n.to_be_bytes();
        let id = ControllerId::from_parts(1, [high, low, 0, 0, 0, 0, 0, 0, 0, 0]);
        turns.next(&[Waiting { controller: &id, weight: 1, due_at: LATER }], 0);
    }
    assert!(turns.all.ahead.len() <= REMEMBERED);
}

#[test]
fn places_stay_free_for_others_only_where_there_are_others() {
    for all in 1..=64 {
        let alone = Places { all, per_lane: (all / 2).max(1), shared: false };
        assert_eq!((alone.per_controller(), alone.per_controller_in_lane()), (all, alone.per_lane));
        let shared = Places { shared: true, ..alone };
        assert!(shared.per_controller() >= 1 && shared.per_controller_in_lane() >= 1);
        assert!(all == 1 || shared.per_controller() < all);
        assert!(shared.per_controller() >= all / 2);
    }
}

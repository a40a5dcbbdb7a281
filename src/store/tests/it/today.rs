//! Today's figures are what a count of all rows gives, whoever asks.

use crate::lab::{Lab, Wish, attention};
use redress_domain::ControllerId;
use redress_store::{Decision, Today, TodayAsked};

on_both!(
    the_figures_are_those_of_a_plain_count,
    a_scope_sees_its_own_and_nothing_else,
    the_first_rows_of_each_list_are_the_most_urgent_ones,
    today_ends_where_the_controller_is,
    a_forecast_of_an_older_release_is_completed,
    systems_in_which_nothing_moves_are_listed_with_what_waits,
    nothing_at_all_is_told_from_nothing_open,
);

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const AGES: [i64; 8] = [0, 8, 15, 22, 31, 46, 61, 91];

async fn today_of(lab: &Lab, scope: Option<&[ControllerId]>) -> Today {
    let now = lab.now();
    // Berlin is an hour ahead of Greenwich in November.
    let midnight = (now + HOUR) / DAY * DAY + DAY - HOUR;
    let days: Vec<i64> = (0..=30).map(|n| midnight + (n - 1) * DAY).collect();
    let asked = TodayAsked {
        scope,
        now,
        today_ends: &[("Europe/Berlin".to_owned(), midnight), ("Pacific/Auckland".to_owned(), midnight - 12 * HOUR)],
        days: &days,
        ages: &AGES,
        rows: 10,
    };
    lab.store.today(&asked).await.expect("read")
}

/// Two controllers with requests of every sort.
async fn mixed(lab: &Lab) -> [ControllerId; 2] {
    let acme = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    lab.system(&other, "shop").await;
    let now = lab.now();
    for n in 0..60_i64 {
        let ctl = if n % 3 == 0 { &other } else { &acme };
        let due = now + (n - 5) * 5 * HOUR;
        let id = lab.begun(ctl, Wish::deletion().due(due)).await;
        let received = now - n * 2 * DAY - HOUR;
        let band = ["on_track", "at_risk", "critical", "overdue"][(n % 4) as usize];
        let status = ["in_progress", "needs_attention", "awaiting_controller", "review", "verifying"][(n % 5) as usize];
        let clock = if n % 11 == 0 { "paused" } else { "running" };
        let ends = if n % 2 == 0 { (now + n * 13 * HOUR).to_string() } else { "NULL".into() };
        let act_by = if n % 4 == 1 { (now + n * 5 * HOUR).to_string() } else { "NULL".into() };
        let late = i64::from(n % 7 == 0);
        lab.sql(&format!("UPDATE dsrs SET instruction_received_at = {received}, band = '{band}', status = '{status}', clock_state = '{clock}', forecast_ends_at = {ends}, forecast_act_by = {act_by}, forecast_late = {late} WHERE id = '{id}'")).await.expect("set");
        if n % 10 == 9 {
            lab.sql(&format!("UPDATE dsrs SET closed_at = {now} WHERE id = '{id}'")).await.expect("set");
        }
    }
    [acme, other]
}

async fn agrees(lab: &Lab, today: &Today, own: &str) {
    let now = lab.now();
    let plain =
        async |condition: String| lab.count(&format!("dsrs WHERE closed_at IS NULL AND {own} AND {condition}")).await;
    assert_eq!(today.open, plain("1 = 1".into()).await);
    assert_eq!(today.overdue, plain(format!("due_before <= {now}")).await);
    assert_eq!(today.late, plain(format!("forecast_late = 1 AND due_before > {now}")).await);
    assert_eq!(today.to_act, plain(format!("forecast_act_by <= {}", now + 7 * DAY)).await);
    assert_eq!(today.paused, plain("clock_state = 'paused'".into()).await);
    assert_eq!(today.unforeseen, plain("forecast_ends_at IS NULL".into()).await);
    for (band, n) in &today.bands {
        assert_eq!(*n, plain(format!("band = '{band}'")).await, "{band}");
    }
    assert_eq!(today.bands.len(), 3);
    for (status, n) in &today.statuses {
        assert_eq!(*n, plain(format!("status = '{status}'")).await, "{status}");
    }
    let midnight = (now + HOUR) / DAY * DAY + DAY - HOUR;
    assert_eq!(
        today.due_today,
        plain(format!("due_before > {now} AND due_before <= {midnight} AND clock_state <> 'paused'")).await
    );
    assert!(today.due_today > 0 && today.due_rows.len() as i64 == today.due_today);
    for (n, (due, ends)) in today.by_day.iter().enumerate() {
        let (low, high) = (midnight + (n as i64 - 1) * DAY, midnight + n as i64 * DAY);
        assert_eq!(*due, plain(format!("due_before > {low} AND due_before <= {high}")).await, "day {n}");
        assert_eq!(*ends, plain(format!("forecast_ends_at >= {low} AND forecast_ends_at < {high}")).await, "day {n}");
    }
    assert_eq!(today.by_day.len(), 30);
    assert_eq!(today.before.0, plain(format!("due_before <= {}", midnight - DAY)).await);
    for (n, count) in today.by_age.iter().enumerate() {
        let most =
            AGES.get(n + 1).map_or(String::new(), |to| format!(" AND instruction_received_at > {}", now - to * DAY));
        assert_eq!(
            *count,
            plain(format!("instruction_received_at <= {}{most}", now - AGES[n] * DAY)).await,
            "group {n}"
        );
    }
    assert_eq!(today.by_age.iter().sum::<i64>(), today.open);
}

async fn the_figures_are_those_of_a_plain_count(lab: Lab) {
    mixed(&lab).await;
    let today = today_of(&lab, None).await;
    agrees(&lab, &today, "1 = 1").await;
    assert!(today.open == 54 && today.late > 0 && today.overdue > 0 && today.paused > 0, "{today:?}");
}

async fn a_scope_sees_its_own_and_nothing_else(lab: Lab) {
    let both = mixed(&lab).await;
    for own in &both {
        let today = today_of(&lab, Some(std::slice::from_ref(own))).await;
        agrees(&lab, &today, &format!("controller_id = '{own}'")).await;
        let lists = [
            &today.late_rows,
            &today.act_rows,
            &today.due_rows,
            &today.overdue_rows,
            &today.controller_rows,
            &today.person_rows,
        ];
        for list in lists {
            assert!(!list.is_empty() && list.iter().all(|row| row.controller_id == *own), "{list:?}");
        }
    }
    assert_eq!(today_of(&lab, Some(&both)).await, today_of(&lab, None).await);
    let nobody = today_of(&lab, Some(&[])).await;
    assert_eq!((nobody.open, nobody.late_rows.len(), nobody.any), (0, 0, (false, false)));
}

async fn the_first_rows_of_each_list_are_the_most_urgent_ones(lab: Lab) {
    mixed(&lab).await;
    let (today, now) = (today_of(&lab, None).await, lab.now());
    let first = async |condition: &str, order: &str| {
        lab.query(&format!("SELECT id FROM dsrs WHERE closed_at IS NULL AND {condition} ORDER BY {order}, id LIMIT 10"))
            .await
    };
    let ids = |rows: &[redress_store::TodayRow]| rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&today.late_rows), first(&format!("forecast_late = 1 AND due_before > {now}"), "due_before").await);
    assert_eq!(ids(&today.act_rows), first(&format!("forecast_act_by > {now}"), "forecast_act_by").await);
    assert_eq!(ids(&today.overdue_rows), first(&format!("due_before <= {now}"), "due_before").await);
    assert_eq!(ids(&today.controller_rows), first("status = 'awaiting_controller'", "due_before").await);
    let person = "status IN ('needs_attention', 'awaiting_approval', 'review')";
    assert_eq!(ids(&today.person_rows), first(person, "due_before").await);
}

async fn today_ends_where_the_controller_is(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let far = lab.controller("far").await;
    lab.sql(&format!("UPDATE controllers SET timezone = 'Pacific/Auckland' WHERE id = '{far}'")).await.expect("set");
    let midnight = (lab.now() + HOUR) / DAY * DAY + DAY - HOUR;
    let here = lab.submit(&acme, Wish::access().due(midnight)).await;
    let there = lab.submit(&far, Wish::access().due(midnight - 12 * HOUR)).await;
    // In Auckland this is tomorrow already; in Berlin it is a moment too late for today.
    lab.submit(&far, Wish::access().due(midnight)).await;
    lab.submit(&acme, Wish::access().due(midnight + 1)).await;
    let today = today_of(&lab, None).await;
    let ids: Vec<_> = today.due_rows.iter().map(|row| row.id.clone()).collect();
    assert_eq!((today.due_today, ids), (2, vec![there, here]));
}

async fn a_forecast_of_an_older_release_is_completed(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access().due(lab.now() + 20 * DAY)).await;
    assert_eq!(lab.store.foresee(50).await.expect("foreseen").written, 1);
    let column = async |name: &str| {
        lab.query(&format!("SELECT CAST({name} AS TEXT) FROM dsrs WHERE id = '{id}'")).await.remove(0)
    };
    let kept = lab.detail(&ctl, &id).await.row.forecast.expect("foreseen");
    let ends = kept.finishes_at.expect("an end").as_millisecond().to_string();
    assert_eq!(column("forecast_ends_at").await, ends);
    assert_eq!(lab.store.foresee(50).await.expect("foreseen").written, 0);
    lab.sql("UPDATE dsrs SET forecast_ends_at = NULL").await.expect("set");
    assert_eq!(lab.store.foresee(50).await.expect("foreseen").written, 1);
    assert_eq!(column("forecast_ends_at").await, ends);
    // What waits for somebody has no end but a last moment.
    lab.store.pause_system(&ctl, "crm", true, "operator").await.expect("paused");
    lab.store.foresee(50).await.expect("foreseen");
    let kept = lab.detail(&ctl, &id).await.row.forecast.expect("foreseen");
    let act_by = kept.act_by.expect("there is time").as_millisecond().to_string();
    assert_eq!((column("forecast_ends_at").await, column("forecast_act_by").await), ("NULL".into(), act_by));
}

async fn systems_in_which_nothing_moves_are_listed_with_what_waits(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "mail", "shop"]).await;
    for _ in 0..3 {
        lab.begun(&ctl, Wish::access()).await;
    }
    assert_eq!(today_of(&lab, None).await.stuck, []);
    lab.store.pause_system(&ctl, "crm", true, "operator").await.expect("paused");
    lab.sql("UPDATE systems SET problem_code = 'unreachable', problem_detail = 'it is down', checked_at = 7 WHERE name = 'mail'").await.expect("set");
    lab.sql("UPDATE steps SET q = NULL WHERE lane = (SELECT id FROM systems WHERE name = 'mail')").await.expect("set");
    let stuck = today_of(&lab, None).await.stuck;
    let shown: Vec<_> = stuck.iter().map(|s| (s.name.as_str(), s.paused, s.since, s.waiting, s.more)).collect();
    assert_eq!(shown, [("crm", true, Some(lab.now()), 3, false), ("mail", false, Some(7), 0, false)]);
    assert_eq!(stuck[1].problem, Some(("unreachable".into(), "it is down".into())));
    let other = lab.controller("other").await;
    assert_eq!(today_of(&lab, Some(&[other])).await.stuck, []);
}

async fn nothing_at_all_is_told_from_nothing_open(lab: Lab) {
    assert_eq!(today_of(&lab, None).await.any, (false, false));
    let ctl = lab.with_systems(&["crm"]).await;
    assert_eq!(today_of(&lab, None).await.any, (false, true));
    let id = lab.begun(&ctl, Wish::access()).await;
    let lease = lab.claim_step().await;
    lab.finish(&lease, attention()).await;
    let today = today_of(&lab, None).await;
    assert_eq!((today.open, today.person_rows.len(), today.any), (1, 1, (true, true)));
    assert!(today.person_rows[0].since.is_some() && today.person_rows[0].attention.is_some());
    lab.store.decide(&ctl, &id, Decision::Withdraw, "key_test").await.expect("withdrawn");
    let today = today_of(&lab, None).await;
    assert_eq!((today.open, today.any), (0, (true, true)));
}

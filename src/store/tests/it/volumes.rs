//! Volumes are what a count of all rows gives, for each controller its own.

use crate::lab::{Lab, Wish};

on_both!(
    volumes_are_those_of_a_plain_count_and_each_controllers_own,
    answers_are_counted_in_the_month_in_which_they_were_given
);

const DAY: i64 = 86_400_000;

/// Two controllers with requests that ended in every way, on different days, before and after they were due.
async fn ended(lab: &Lab) -> [redress_domain::ControllerId; 2] {
    let acme = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let now = lab.now();
    for n in 0..40_i64 {
        let ctl = if n % 4 == 0 { &other } else { &acme };
        let id = lab.submit(ctl, Wish::access().due(now + DAY)).await;
        let stage = ["completed", "rejected", "withdrawn", "partially_completed", "expired"][(n % 5) as usize];
        let (received, closed) = (now - (n * 2 + n % 9) * DAY, now - n * 2 * DAY);
        let due = closed + if n % 3 == 0 { -1 } else { DAY };
        if n % 6 != 5 {
            lab.sql(&format!("UPDATE dsrs SET instruction_received_at = {received}, closed_at = {closed}, stage = '{stage}', status = '{stage}', due_before = {due} WHERE id = '{id}'")).await.expect("set");
        }
    }
    [acme, other]
}

async fn volumes_are_those_of_a_plain_count_and_each_controllers_own(lab: Lab) {
    let both = ended(&lab).await;
    let (since, month) = (lab.now() - 30 * DAY, lab.now() - 20 * DAY);
    let months = [("Europe/Berlin".to_owned(), month)];
    let all = lab.store.volumes(None, since, &months).await.expect("read");
    assert_eq!(all.iter().map(|volume| volume.controller_id.clone()).collect::<Vec<_>>(), both);
    for volume in &all {
        let own = format!("dsrs WHERE controller_id = '{}'", volume.controller_id);
        let plain = async |condition: String| lab.count(&format!("{own} AND {condition}")).await;
        let answered = "stage IN ('completed', 'partially_completed', 'rejected')";
        assert_eq!(volume.open, plain("closed_at IS NULL".into()).await);
        assert_eq!(volume.received, plain(format!("instruction_received_at >= {since}")).await);
        assert_eq!(volume.closed, plain(format!("closed_at >= {since}")).await);
        let in_month = format!("closed_at >= {month} AND {answered}");
        let on_time = plain(format!("{in_month} AND closed_at < due_before")).await;
        assert_eq!(volume.answered, (plain(in_month).await, on_time));
        assert!(on_time > 0 && on_time < volume.answered.0, "{volume:?}");
        let own = std::slice::from_ref(&volume.controller_id);
        let one = lab.store.volumes(Some(own), since, &months);
        assert_eq!(one.await.expect("read"), std::slice::from_ref(volume));
    }
    assert_eq!((all[0].systems, all[1].systems), (1, 0));
    assert_eq!(lab.store.volumes(Some(&[]), since, &months).await.expect("read"), []);
}

async fn answers_are_counted_in_the_month_in_which_they_were_given(lab: Lab) {
    let [acme, _] = ended(&lab).await;
    let now = lab.now();
    let bounds = [now - 90 * DAY, now - 60 * DAY, now - 30 * DAY, now + DAY];
    let spans = lab.store.answered_between(&acme, &bounds).await.expect("read");
    assert_eq!(spans.len(), 3);
    for (n, span) in spans.iter().enumerate() {
        let own = format!(
            "dsrs WHERE controller_id = '{acme}' AND closed_at >= {} AND closed_at < {}",
            bounds[n],
            bounds[n + 1]
        );
        assert_eq!(span.closed, lab.count(&own).await);
        let answered = format!("{own} AND stage IN ('completed', 'partially_completed', 'rejected')");
        assert_eq!(span.answered, lab.count(&answered).await);
        assert_eq!(span.on_time, lab.count(&format!("{answered} AND closed_at < due_before")).await);
    }
    let days = lab.store.days_to_answer(&acme, now - 30 * DAY).await.expect("read");
    let own = format!(
        "FROM dsrs WHERE controller_id = '{acme}' AND closed_at >= {} AND stage IN ('completed', 'partially_completed', 'rejected')",
        now - 30 * DAY
    );
    let mut plain: Vec<u64> = lab
        .query(&format!("SELECT CAST((closed_at - instruction_received_at) / {DAY} AS TEXT) {own}"))
        .await
        .iter()
        .map(|text| text.parse().expect("a number"))
        .collect();
    plain.sort_unstable();
    assert_eq!(days.count(), plain.len() as u64);
    assert_eq!(days.percentile(50), Some(plain[(plain.len() - 1) / 2]));
}

//! Workers foresee, without being asked, when each request ends.

use crate::lab::{GRACE, Lab};
use redress_domain::RequestType;
use redress_domain::forecast::Blocker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_foresees_what_waits_for_a_system() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    lab.store().pause_system(&lab.ctl, "crm", true, "operator").await.expect("paused");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let fleet = [lab.start("one"), lab.start("two")];
    let detail = lab.until_that(&id, 0, |detail| detail.row.forecast.is_some()).await;
    let foreseen = detail.row.forecast.expect("just seen");
    assert_eq!((foreseen.blocked_by, foreseen.late), (Some(Blocker::Paused), false));
    assert!(foreseen.because[0].starts_with("crm is paused since "), "{:?}", foreseen.because);
    lab.store().pause_system(&lab.ctl, "crm", false, "operator").await.expect("resumed");
    lab.until(&id, "completed", 0).await;
    for workers in fleet {
        workers.shut_down(GRACE).await;
    }
}

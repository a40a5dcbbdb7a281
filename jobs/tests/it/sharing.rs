//! Workers share the work: each piece is done once, and who leaves keeps nothing.

use crate::lab::{GRACE, Lab, engine, options};
use redress_domain::RequestType;
use redress_jobs::Workers;
use std::sync::Arc;
use std::time::Duration;

async fn leased(lab: &Lab) -> i64 {
    lab.store().under_way(&redress_store::Scope::All).await.expect("read").iter().map(|w| w.rows).sum()
}

/// Customers besides Jane and Joan.
async fn fill(lab: &Lab, system: &str, count: usize) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO customers SELECT 'P-' || i, 'person' || i || '@example.com', 'Roe' FROM n"
    );
    lab.sql(system, &sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_in_the_middle_leaves_nothing_leased_and_nothing_lost() {
    let lab = Lab::new().await;
    for system in ["crm", "shop"] {
        lab.system(system).await;
        fill(&lab, system, 60).await;
    }
    let mut ids = Vec::new();
    for i in 1..=60 {
        ids.push(lab.submit(RequestType::Deletion, &format!("person{i}@example.com"), None).await);
    }
    // Several times, so that one of them meets every moment of a batch.
    for life in 0..12 {
        let workers = lab.start(&format!("life-{life}"));
        tokio::time::sleep(Duration::from_millis(7 * life)).await;
        workers.shut_down(GRACE).await;
        assert_eq!(leased(&lab).await, 0, "life {life}");
    }
    let workers = lab.start("last");
    for id in &ids {
        let detail = lab.until(id, "completed", 0).await;
        assert!(detail.steps.iter().all(|s| s.changed == Some(1)), "{:?}", detail.steps);
        assert_eq!(lab.kinds(id).await.iter().filter(|k| *k == "step_acted").count(), 2);
    }
    workers.shut_down(GRACE).await;
    assert_eq!(lab.count("crm", "customers").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_of_idle_workers_takes_no_time() {
    let lab = Lab::new().await;
    let workers = lab.start("one");
    tokio::time::timeout(Duration::from_secs(5), workers.shut_down(Duration::from_mins(1))).await.expect("at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_share_the_work_and_do_each_piece_once() {
    let lab = Lab::new().await;
    for system in ["crm", "shop"] {
        lab.system(system).await;
        fill(&lab, system, 40).await;
    }
    let other = Arc::new(engine(lab.store().clone()).await);
    let workers = [lab.start("one"), Workers::start(other, options("two"))];
    let mut ids = Vec::new();
    for i in 1..=40 {
        let kind = if i % 2 == 0 { RequestType::Access } else { RequestType::Deletion };
        ids.push(lab.submit(kind, &format!("person{i}@example.com"), None).await);
    }
    for id in &ids {
        let detail = lab.until(id, "completed", 0).await;
        assert!(detail.steps.iter().all(|s| s.attempts == 1 && s.found == Some(1)), "{:?}", detail.steps);
        let kinds = lab.kinds(id).await;
        for once in ["work_began", "delivery_began", "answer_made", "completed"] {
            assert_eq!(kinds.iter().filter(|k| *k == once).count(), 1, "{once}: {kinds:?}");
        }
    }
    for workers in workers {
        workers.shut_down(GRACE).await;
    }
    assert_eq!(lab.count("crm", "customers").await, 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_withdrawn_in_time_changes_nothing() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    lab.store().decide(&lab.ctl, &id, redress_store::Decision::Withdraw, "key_test").await.expect("withdrawn");
    let workers = lab.start("one");
    let other = lab.submit(RequestType::Deletion, "joan@example.com", None).await;
    lab.until(&other, "completed", 0).await;
    assert_eq!(lab.detail(&id).await.row.status, "withdrawn");
    assert_eq!(lab.count("crm", "customers WHERE id = 'C-1'").await, 1);
    workers.shut_down(GRACE).await;
}

//! A system that does not do what it says, or is not what it was said to be, never lets a request complete.

use crate::lab::{GRACE, Lab};
use redress_domain::RequestType;
use redress_domain::step::StepState;

/// Puts Jane back as soon as she is deleted.
const RESTORES: &str = "CREATE TRIGGER restores AFTER DELETE ON customers BEGIN
    INSERT INTO customers VALUES (OLD.id, OLD.email, OLD.last_name); END";
/// Says that she was deleted, and does nothing.
const IGNORES: &str = "CREATE TRIGGER ignores BEFORE DELETE ON customers BEGIN SELECT RAISE(IGNORE); END";

async fn never_completes(trigger: &str) {
    let lab = Lab::new().await;
    lab.system("crm").await;
    lab.system("shop").await;
    lab.sql("crm", trigger).await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until(&id, "needs_attention", 1_000).await;
    assert!(detail.row.attention.expect("a reason").starts_with("crm: "));
    let shop = lab.until_that(&id, 0, |d| d.steps[1].status == StepState::Verified).await;
    assert_eq!(shop.steps[1].system, "shop");
    // Whatever time passes, and however often it is tried again, it is not done.
    for _ in 0..2 {
        let systems = lab.store().systems(&lab.ctl).await.expect("read");
        lab.store().record_check(&systems[0], None).await.expect("recorded");
        lab.until_that(&id, 0, |d| d.row.attention.is_none()).await;
        lab.until(&id, "needs_attention", 1_000).await;
    }
    let kinds = lab.kinds(&id).await;
    assert!(!kinds.iter().any(|k| k == "delivery_began" || k == "completed"), "{kinds:?}");
    assert!(lab.store().certificate(&lab.ctl, &id).await.is_err());
    // Once it is mended it ends by itself, as soon as somebody says so.
    lab.sql("crm", "DROP TRIGGER IF EXISTS restores; DROP TRIGGER IF EXISTS ignores;").await;
    let systems = lab.store().systems(&lab.ctl).await.expect("read");
    lab.store().record_check(&systems[0], None).await.expect("recorded");
    lab.until(&id, "completed", 0).await;
    assert_eq!(lab.count("crm", "customers WHERE id = 'C-1'").await, 0);
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restores_what_is_deleted_never_lets_the_request_complete() {
    never_completes(RESTORES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_ignores_deletions_never_lets_the_request_complete() {
    never_completes(IGNORES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_restored_once_is_deleted_again() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    // An import that knows nothing of the deletion, once.
    lab.sql(
        "crm",
        "CREATE TABLE imports (n INTEGER);
         CREATE TRIGGER import AFTER DELETE ON customers WHEN (SELECT COUNT(*) FROM imports) = 0 BEGIN
           INSERT INTO imports VALUES (1); INSERT INTO customers VALUES (OLD.id, OLD.email, OLD.last_name); END",
    )
    .await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until(&id, "completed", 1_000).await;
    assert!(detail.steps[0].attempts >= 2, "{:?}", detail.steps);
    assert_eq!(lab.count("crm", "customers WHERE id = 'C-1'").await, 0);
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_missing_is_named() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    lab.sql("crm", "DROP TABLE orders").await;
    let workers = lab.start("one");
    for kind in [RequestType::Access, RequestType::Deletion] {
        let id = lab.submit(kind, "jane@example.com", None).await;
        let detail = lab.until(&id, "needs_attention", 0).await;
        let (code, sentence) = detail.steps[0].error.clone().expect("a reason");
        assert_eq!(code, "table_missing");
        assert!(sentence.contains("orders"), "{sentence}");
        assert_eq!(detail.row.attention.as_deref(), Some("crm: table_missing"));
    }
    assert_eq!(lab.count("crm", "customers").await, 2, "nothing was done by halves");
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_matches_than_may_be_touched_wait_for_a_person() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    lab.sql(
        "crm",
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 140)
         INSERT INTO customers SELECT 'X-' || i, 'jane@example.com', 'Roe' FROM n",
    )
    .await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until(&id, "needs_attention", 0).await;
    assert_eq!(detail.row.attention.as_deref(), Some("crm: too_many_matches"));
    assert_eq!(lab.count("crm", "customers").await, 43, "nothing was touched");
    workers.shut_down(GRACE).await;
}

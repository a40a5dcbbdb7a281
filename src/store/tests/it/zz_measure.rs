//! Temporary.
use crate::lab::{Lab, Wish};
on_both!(measure);
async fn measure(lab: Lab) {
    let ctl = lab.with_systems(&["a", "b", "c"]).await;
    let first = lab.begun(&ctl, Wish::deletion().due(lab.now() + 3_600_000)).await;
    let len = lab.query(&format!("SELECT CAST(LENGTH(deadlines) + LENGTH(clock) AS TEXT) FROM dsrs WHERE id = '{first}'")).await;
    let columns = "controller_id, kind, stage, status, instruction_received_at, deadlines, clock, sealed, wrapped_key, policy, out_of_scope, identifier_types, has_callback";
    let step_columns = "controller_id, system_id, lane, verb, phase, state, q, not_before, created_at";
    for k in 0..20 {
        let pairs: Vec<String> = (0..5_000).map(|n| { let n = k * 5_000 + n; format!("('{n:0>26}', {})", lab.now() + (n as i64 * 7919 % 100_000) * 30_000) }).collect();
        let values = format!("(VALUES {}) AS v", pairs.join(", "));
        lab.sql(&format!("INSERT INTO dsrs (id, due_before, {columns}) SELECT 'dsr_' || v.column1, v.column2, {columns} FROM dsrs, {values} WHERE dsrs.id = '{first}'")).await.unwrap();
        lab.sql(&format!("INSERT INTO steps (id, dsr_id, due_at, idem, {step_columns}) SELECT 'stp_' || SUBSTR(v.column1, 4) || SUBSTR(steps.id, 28), 'dsr_' || v.column1, v.column2, 'copy' || steps.id || v.column1, {step_columns} FROM steps, {values} WHERE steps.dsr_id = '{first}' AND system_id IS NOT NULL")).await.unwrap();
    }
    let _ = (&ctl, &len);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let rss = |name: &str| { let all = std::fs::read_to_string("/proc/self/status").unwrap(); println!("{}", all.lines().find(|l| l.starts_with(name)).unwrap()); };
    rss("VmRSS");
    let t = std::time::Instant::now();
    println!("{:?} first pass {:?}", lab.store.foresee(50).await.unwrap(), t.elapsed());
    let t = std::time::Instant::now();
    explain(&lab).await;
    rss("VmHWM");
    println!("{:?} second pass {:?}", lab.store.foresee(50).await.unwrap(), t.elapsed());
    let t = std::time::Instant::now();
    println!("live {:?} {:?}", lab.store.forecast_facts(&ctl, &first, 50).await.unwrap().map(|q| q.backlog.entries.len()), t.elapsed());
    let rss = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", rss.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}

#[allow(dead_code)]
async fn explain(lab: &Lab) {
    if lab.store.dialect() == redress_store::Dialect::Sqlite { return; }
    let lane = lab.query("SELECT id FROM systems LIMIT 1").await.remove(0);
    let step = lab.query(&format!("SELECT id FROM steps WHERE lane = '{lane}' ORDER BY due_at DESC LIMIT 1")).await.remove(0);
    let ctl = lab.query("SELECT id FROM controllers LIMIT 1").await.remove(0);
    let C = "st.id, st.dsr_id, st.lane, st.verb, st.phase, st.state, st.q, st.due_at, st.not_before, st.leased_at, st.attention, CASE WHEN st.state = 'external' OR (st.state = 'waiting' AND st.residues = 0) THEN st.acted_at END AS asked_at";
    let part = |q| format!("SELECT * FROM (SELECT {C}, CAST(NULL AS BIGINT) AS begins_at FROM steps st WHERE st.q = '{q}' AND st.lane = '{lane}' AND (st.due_at, st.id) < (1795255200000, '{step}') ORDER BY st.due_at, st.id LIMIT 2000) AS {q}_part");
    let sql = format!("EXPLAIN ANALYZE WITH cooling AS MATERIALIZED (SELECT id, cooling_off_until FROM dsrs WHERE controller_id = '{ctl}' AND status = 'cooling_off') {} UNION ALL {} UNION ALL SELECT {C}, NULL FROM steps st WHERE st.q = 'run' AND st.lane = '{lane}' AND st.id <> '{step}' UNION ALL SELECT * FROM (SELECT {C}, c.cooling_off_until FROM cooling c JOIN steps st ON st.dsr_id = c.id WHERE st.lane = '{lane}' AND st.q IS NULL AND (st.due_at, st.id) < (1795255200000, '{step}') LIMIT 2000) AS cooling_part", part("ready"), part("wait"));
    for l in lab.query(&sql).await { println!("{l}"); }
}

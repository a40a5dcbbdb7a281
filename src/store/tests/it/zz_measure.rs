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
    let t = std::time::Instant::now();
    let queue = lab.store.open_queue(&ctl, 50).await.unwrap();
    println!("{:?} row bytes {len:?} read {:?} of {} entries", lab.store.dialect(), t.elapsed(), queue.backlog.entries.len());
    let t = std::time::Instant::now();
    let f = queue.backlog.forecasts(queue.now);
    println!("computed {:?}, late {}", t.elapsed(), f.iter().filter(|f| f.late).count());
    let t = std::time::Instant::now();
    println!("{:?} first pass {:?}", lab.store.foresee(50).await.unwrap(), t.elapsed());
    let t = std::time::Instant::now();
    println!("{:?} second pass {:?}", lab.store.foresee(50).await.unwrap(), t.elapsed());
    let t = std::time::Instant::now();
    println!("live {:?} {:?}", lab.store.forecast_facts(&ctl, &first, 50).await.unwrap().map(|q| q.backlog.entries.len()), t.elapsed());
    let rss = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", rss.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}

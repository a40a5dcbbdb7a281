//! `redress bench start`: from nothing to ready with the embedded database, and the memory of a service that has nothing to do.

use super::Common;
use super::report::{Report, Table, Want, known, number};
use super::service::Service;
use anyhow::Result;
use std::time::Duration;

/// How often each kind of start is measured.
const TIMES: usize = 7;
/// How long a service is left alone before its memory is read: every background task has run by then.
const IDLE: Duration = Duration::from_secs(12);

/// Runs it.
pub(crate) async fn run(common: &Common) -> Result<Report> {
    let mut report = Report::default();
    common.say("starting the embedded service again and again");
    let mut first = Vec::new();
    let mut later = Vec::new();
    let mut cpu = Vec::new();
    for n in 0..TIMES {
        let mut service = Service::new(&common.lab, &format!("start-{n}"), None, None)?;
        service.set("REDRESS_WORKER__FORECAST_INTERVAL_SECONDS", &10);
        for times in [&mut first, &mut later] {
            let mut process = service.start("all").await?;
            times.push(process.ready_after.as_secs_f64() * 1e3);
            cpu.extend(process.cpu());
            process.running.stop("TERM");
        }
    }
    let mut service = Service::new(&common.lab, "idle", None, None)?;
    service.set("REDRESS_WORKER__FORECAST_INTERVAL_SECONDS", &10);
    let mut process = service.start("all").await?;
    tokio::time::sleep(IDLE).await;
    let before = process.cpu();
    tokio::time::sleep(IDLE / 2).await;
    let idle_cpu = before.zip(process.cpu()).map(|(a, b)| (b - a) / (IDLE / 2).as_secs_f64() * 100.0);
    let memory = process.memory();
    process.running.stop("TERM");

    for times in [&mut first, &mut later, &mut cpu] {
        times.sort_by(f64::total_cmp);
    }
    let middle = |times: &[f64]| times.get(times.len() / 2).copied();
    let mut table =
        Table::new("Start and rest, all in one process", "redress bench start", &["figure", "middle", "worst", "peer"]);
    let row = |times: &[f64]| [known(middle(times)), known(times.last().copied())];
    table.row("first start to ready, empty folder, ms", row(&first).into_iter().chain(["15,000".to_owned()]));
    table.row("later start to ready, ms", row(&later).into_iter().chain(["15,000".to_owned()]));
    table.row("CPU s of a start", row(&cpu).into_iter().chain(["12".to_owned()]));
    let rest = [known(memory.map(|m| m.0)), known(memory.map(|m| m.1)), "1,150–1,190".to_owned()];
    table.row("memory at rest, MB (second column: at most)", rest);
    table.row("CPU at rest, % of a core", [known(idle_cpu), String::new(), String::new()]);
    table.note(format!("{TIMES} starts of each kind; the executable is in the page cache. Ready is `/readyz` answering 200, asked every {} ms.", number(2.0)));
    report.tables.push(table);
    report.judge("cold start to ready, embedded", Want::AtMost(200.0), middle(&first), " ms");
    report.judge("memory, all in one, idle", Want::AtMost(30.0), memory.map(|m| m.0), " MB");
    Ok(report)
}

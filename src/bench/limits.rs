//! `redress bench limits`: how much of a vendor's allowed rate a fleet uses, whether it ever exceeds it, and how many calls a
//! deletion costs where the vendor takes 300 people in one.

use super::customers;
use super::report::{Report, Table, Want, known, number};
use super::requests::submit;
use super::service::{Process, Service};
use super::{Common, usage};
use anyhow::{Result, bail, ensure};
use futures::future::try_join_all;
use redress_connectors::bench::server::LimitedServer;
use std::time::{Duration, Instant};

/// What is asked of the bench.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Calls that the vendor allows in a window.
    pub(crate) calls: usize,
    /// The window in seconds.
    pub(crate) window: u64,
    /// How long the rate is watched, in seconds.
    pub(crate) seconds: u64,
    /// Worker processes.
    pub(crate) workers: usize,
    /// Deletions for the count of calls.
    pub(crate) deletions: u32,
}

/// How long the vendor takes over a call.
const TAKES: Duration = Duration::from_millis(10);

/// Runs it.
pub(crate) async fn run(common: &Common, asked: &Limits) -> Result<Report> {
    let mut report = Report::default();
    let command = format!(
        "redress bench limits --calls {} --window {} --seconds {} --workers {} --deletions {}",
        asked.calls, asked.window, asked.seconds, asked.workers, asked.deletions
    );
    let mut table = Table::new("A vendor's limit", command, &["figure", "measured"]);
    let redis = common.redis().await?;
    let own = common.postgres("own").await?;

    let rate = format!("{}/{}s", asked.calls, asked.window);
    common.say(&format!("{} workers with a backlog against a vendor that allows {rate}", asked.workers));
    let server = LimitedServer::start(&[(asked.calls, Duration::from_secs(asked.window))], TAKES).await?;
    let url = own.beside("rate").await?;
    let mut service = Service::new(&common.lab, "rate", Some(url.as_str()), Some(&redis.url))?;
    // A call each: what is watched here is the rate.
    service.set("REDRESS_WORKER__BATCH", &1);
    let allowed = asked.calls as f64 / asked.window as f64;
    // Each deletion is two calls; a quarter more than can be made, so that there is a backlog to the end.
    let people = (allowed * asked.seconds as f64 * 1.25 / 2.0) as u32 + asked.calls as u32;
    ensure!(people < customers::PEOPLE, "fewer calls or seconds, please");
    let (_api, workers) = fleet(&mut service, &server, Some(&rate), asked.workers, people).await?;
    let began = Instant::now();
    while server.seen().calls.is_empty() {
        ensure!(
            began.elapsed() < Duration::from_mins(1),
            "no call was made within a minute:\n{}",
            workers[0].running.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(asked.seconds)).await;
    let seen = server.seen();
    let (Some(first), Some(last)) = (seen.calls.first(), seen.calls.last()) else { bail!("no call was made") };
    // From the end of the first window to the last call: the first window allows a burst, which is no rate.
    let from = *first + Duration::from_secs(asked.window);
    let until = *first + Duration::from_secs(asked.seconds);
    let used = seen.calls.iter().filter(|at| **at >= from && **at < until).count() as f64;
    let share = used / (until.saturating_sub(from).as_secs_f64() * allowed) * 100.0;
    let busy = *last + Duration::from_secs(asked.window) >= until;
    ensure!(busy, "the vendor was not called any more before the time was over:\n{}", workers[0].running.log());
    let database = service.database().await?;
    let open = database.number("SELECT count(*) FROM dsrs WHERE closed_at IS NULL").await?;
    database.close().await;
    ensure!(open > 0, "the backlog was gone before the time was over");
    drop(workers);
    table.row("allowed calls/s", [number(allowed)]);
    table.row(format!("used share of it by {} workers with a backlog, %", asked.workers), [number(share)]);
    table.row("calls over it (answered 429)", [seen.excess.to_string()]);
    report.judge(
        &format!("share of an allowed vendor rate used by {} workers", asked.workers),
        Want::AtLeast(97.0),
        Some(share),
        " %",
    );
    report.judge("calls over the allowed rate", Want::AtMost(0.0), Some(seen.excess as f64), "");

    common.say(&format!("{} deletions at a vendor that takes 300 in a call", asked.deletions));
    let server = LimitedServer::start(&[(1_000, Duration::from_secs(1))], TAKES).await?;
    let url = own.beside("batch").await?;
    let mut service = Service::new(&common.lab, "batch", Some(url.as_str()), Some(&redis.url))?;
    let (_api, workers) = fleet(&mut service, &server, None, asked.workers, asked.deletions).await?;
    let database = service.database().await?;
    let limit = Instant::now() + Duration::from_mins(2);
    loop {
        let done = database.number("SELECT count(*) FROM dsrs WHERE status = 'completed'").await?;
        if done >= i64::from(asked.deletions) {
            break;
        }
        ensure!(Instant::now() < limit, "only {done} deletions were completed:\n{}", workers[0].running.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    database.close().await;
    let seen = server.seen();
    ensure!(
        seen.deleted.len() == asked.deletions as usize,
        "the vendor deleted {} of {} people",
        seen.deleted.len(),
        asked.deletions
    );
    let calls = seen.by_path.values().sum::<u64>() as f64 / f64::from(asked.deletions);
    table.row(
        format!("vendor calls per deletion, {} in a backlog, second read included", number(f64::from(asked.deletions))),
        [known(Some(calls))],
    );
    report.judge("vendor calls per deletion, 300-item endpoint", Want::AtMost(0.02), Some(calls), "");
    table.note(format!("The vendor is a server inside the bench; a call takes {} ms there, and it counts sliding windows by its own clock. The share is counted from the end of the first window. Machine: {}.", TAKES.as_millis(), usage::machine(common.lab.path())));
    report.tables.push(table);
    Ok(report)
}

/// A fleet with deletions of so many people submitted before any worker runs.
async fn fleet(
    service: &mut Service,
    server: &LimitedServer,
    rate: Option<&str>,
    workers: usize,
    people: u32,
) -> Result<(Process, Vec<Process>)> {
    let limits = rate.map_or_else(String::new, |rate| format!("limits = {{ rates = [\"{rate}\"] }}\n"));
    let file = format!(
        "[controller]\nname = \"shop\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\nregion = \"eu\"\n\n[[system]]\nname = \"vendor\"\nfamily = \"marketing\"\nconnector = \"bench\"\nsettings = {{ host = \"127.0.0.1\", port = {} }}\n{limits}",
        server.port()
    );
    service.run(&["migrate"]).await?;
    let key = service.provision("shop", &file).await?;
    let api = service.start("api").await?;
    submit(api.port(), &key, "deletion", &(1..people + 1), 8).await?;
    let workers = try_join_all((0..workers.max(1)).map(|_| service.start("worker"))).await?;
    Ok((api, workers))
}

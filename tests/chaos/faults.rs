//! Faults of what the product stands on: Redis, PostgreSQL, the embedded database's file and its disk.

use crate::cells::{Cell, Ended};
use crate::load::{Plan, REBUILD, fleet, quick, through};
use crate::scene::Scene;
use crate::support::{Backend, poll};
use redress_testkit::{Postgres, Redis};
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn cells() -> Vec<Cell> {
    let mut cells = vec![
        Cell::new("redis/flushall", || on_fleet(3, REBUILD, flush)).in_slice(),
        Cell::new("redis/restart-without-persistence", || on_fleet(2, REBUILD, restart_redis)).in_slice(),
        Cell::new("redis/paused-5s", || on_fleet(5, REBUILD, pause_redis)),
        Cell::new("redis/full-noeviction", || on_fleet(5, REBUILD, fill_redis)).in_slice(),
        Cell::new("redis/away-20s", || on_fleet(20, REBUILD, redis_away)),
        Cell::new("redis/failover-by-sentinels", failover).in_slice(),
        Cell::new("postgres/immediate-restart", || on_fleet(1, crate::load::RESUME, immediate)).in_slice(),
        Cell::new("postgres/sessions-terminated-for-8s", || on_fleet(8, crate::load::RESUME, terminate)).in_slice(),
        Cell::new("postgres/read-only-for-6s", || on_fleet(6, crate::load::RESUME, read_only)).in_slice(),
        Cell::new("postgres/no-connection-left-for-8s", || on_fleet(8, crate::load::RESUME, exhaust)).in_slice(),
    ];
    for (name, seconds) in [("1s", 1), ("5s", 5), ("40s", 40), ("300s", 300)] {
        let cell = Cell::new(format!("postgres/away-{name}"), move || async move {
            on_fleet(seconds, crate::load::RESUME, async |scene: &Scene| {
                scene.app.postgres().stop().await;
                tokio::time::sleep(seconds as u32 * SECOND).await;
                scene.app.postgres().start_again().await;
            })
            .await
        });
        let cell = cell.within(15);
        cells.push(if seconds == 5 { cell.in_slice() } else { cell });
    }
    for (name, seconds) in [("20s", 20_u64), ("60s", 60)] {
        for controllers in [false, true] {
            let whose = if controllers { "the-controllers" } else { "our" };
            let cell =
                Cell::new(format!("sqlite/{whose}-file-locked-for-{name}"), move || locked(seconds, controllers));
            cells.push(if seconds == 20 && !controllers { cell.only_in_slice() } else { cell });
        }
    }
    cells.push(Cell::new("sqlite/disk-full-for-6s", || disk_full("data")).in_slice());
    cells
}

/// A fault of a fleet's servers that lasts about so many seconds.
async fn on_fleet(seconds: u64, resume: Duration, fault: impl AsyncFnOnce(&Scene)) -> Ended {
    let app = fleet(quick(), 2).start().await;
    let plan = Plan::lasting(Duration::from_secs(seconds)).resume(resume);
    through(app, Backend::PostgresRedis, plan, fault).await
}

async fn flush(scene: &Scene) {
    for _ in 0..6 {
        scene.app.redis().flushall().await;
        tokio::time::sleep(SECOND / 2).await;
    }
}

async fn restart_redis(scene: &Scene) {
    scene.app.redis().kill9().await;
    tokio::time::sleep(SECOND).await;
    scene.app.redis().start_again().await;
}

async fn pause_redis(scene: &Scene) {
    scene.app.redis().command(&["CLIENT", "PAUSE", "5000", "ALL"]).await;
    tokio::time::sleep(5 * SECOND).await;
}

/// No key can be written any more.
async fn fill_redis(scene: &Scene) {
    let redis = scene.app.redis();
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    tokio::time::sleep(5 * SECOND).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
}

async fn redis_away(scene: &Scene) {
    scene.app.redis().kill9().await;
    tokio::time::sleep(20 * SECOND).await;
    scene.app.redis().start_again().await;
}

/// The master dies, two of three Sentinels agree, and its replica is the master from then on.
async fn failover() -> Ended {
    let app = fleet(quick(), 2).installed().await;
    let replica = {
        let port = app.redis().port().to_string();
        Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await
    };
    let port = app.redis().port();
    let (one, two, three) = tokio::join!(Redis::sentinel(port), Redis::sentinel(port), Redis::sentinel(port));
    let sentinels = [one, two, three];
    for sentinel in &sentinels {
        poll("the Sentinels know each other and the replica", Duration::from_secs(30), || async {
            let others = sentinel.command(&["SENTINEL", "SENTINELS", "fleet"]).await;
            let replicas = sentinel.command(&["SENTINEL", "REPLICAS", "fleet"]).await;
            (others.matches("runid").count() == 2 && replicas.contains(&replica.port().to_string())).then_some(())
        })
        .await;
    }
    let hosts: Vec<String> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    app.set_env("REDRESS_REDIS_URL", &format!("redis+sentinel://{}/fleet", hosts.join(",")));
    app.start().await;
    let plan = Plan::lasting(Duration::from_secs(10)).resume(REBUILD);
    through(app, Backend::PostgresRedis, plan, async |scene: &Scene| {
        scene.app.redis().kill9().await;
        let dead = Instant::now();
        poll("the replica is the master", Duration::from_secs(40), || async {
            let role = replica.command(&["ROLE"]).await;
            role.starts_with("master").then_some(())
        })
        .await;
        println!("NOTE the Sentinels took {} ms", dead.elapsed().as_millis());
        let promoted = Instant::now();
        poll("every process listens to the new master", REBUILD, || async {
            let listening = replica.command(&["PUBSUB", "NUMSUB", "redress:wake"]).await;
            listening.lines().last().is_some_and(|n| n.parse().is_ok_and(|n: usize| n >= 3)).then_some(())
        })
        .await;
        println!("NOTE all listened to the new master {} ms later", promoted.elapsed().as_millis());
    })
    .await
}

async fn immediate(scene: &Scene) {
    scene.app.postgres().kill9().await;
    scene.app.postgres().start_again().await;
}

/// Every session of ours is cut, five times a second.
async fn terminate(scene: &Scene) {
    let end = Instant::now() + 8 * SECOND;
    while Instant::now() < end {
        let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'redress'";
        scene.app.postgres().query("postgres", cut).await;
        tokio::time::sleep(SECOND / 5).await;
    }
}

async fn read_only(scene: &Scene) {
    set_read_only(scene.app.postgres(), true).await;
    tokio::time::sleep(6 * SECOND).await;
    set_read_only(scene.app.postgres(), false).await;
}

async fn set_read_only(postgres: &Postgres, on: bool) {
    let script = format!("ALTER SYSTEM SET default_transaction_read_only = {on};\nSELECT pg_reload_conf();");
    postgres.sql("postgres", &script).await;
}

/// Others take every connection there is, and ours are cut.
async fn exhaust(scene: &Scene) {
    let url = scene.app.postgres().url("postgres");
    let mut others = Vec::new();
    let end = Instant::now() + 8 * SECOND;
    while Instant::now() < end {
        // They take what they can get, again and again: ours come back for what is free.
        while others.len() < 300 {
            let Ok(connection) = sqlx::PgConnection::connect(&url).await else { break };
            others.push(connection);
        }
        let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'redress'";
        if let Some(first) = others.first_mut() {
            let _cut_next_time = sqlx::query(cut).execute(first).await;
        }
        tokio::time::sleep(SECOND / 20).await;
    }
    println!("NOTE {} connections were taken", others.len());
    for connection in others {
        let _gone_either_way = connection.close().await;
    }
}

/// Another process keeps a file from being written to.
async fn locked(seconds: u64, controllers: bool) -> Ended {
    let app = quick().start().await;
    let ours = app.folder().join("data").join("redress.db");
    let time = Duration::from_secs(seconds);
    through(app, Backend::Sqlite, Plan::lasting(time), async |scene: &Scene| {
        let file = if controllers { scene.systems.sqlite_file() } else { ours };
        lock_for(&file, time).await;
    })
    .await
}

pub(crate) async fn lock_for(file: &Path, time: Duration) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).busy_timeout(20 * SECOND);
    let mut connection = options.connect().await.expect("the file opens");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("we get the lock");
    tokio::time::sleep(time).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.expect("we had the lock");
    connection.close().await.expect("nothing is open");
}

/// A file system of a few megabytes; gone when this is.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this process may not mount anything.
    fn at(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).expect("it is our own folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&folder).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Nothing can be written to the disk of the embedded database for some time.
async fn disk_full(folder: &str) -> Ended {
    let app = quick().installed().await;
    let data = app.folder().join(folder);
    let Some(_disk) = SmallDisk::at(data.clone()) else {
        return Ended::Skipped("this needs the right to mount a tmpfs".into());
    };
    app.start().await;
    let plan = Plan::lasting(6 * SECOND);
    through(app, Backend::Sqlite, plan, async |_: &Scene| {
        let filler = data.join("filler");
        // What the log of the database already has in blocks can be written again; so it is made small first.
        fill(&filler);
        let end = Instant::now() + 6 * SECOND;
        while Instant::now() < end {
            tokio::time::sleep(SECOND / 4).await;
            fill(&filler);
        }
        std::fs::remove_file(&filler).expect("it is ours");
    })
    .await
}

/// Writes until nothing more fits.
fn fill(file: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("it is our own folder");
    let block = [0x20; 4096];
    while file.write_all(&block).is_ok() {}
}

//! Facts about the limiter: Redis and one process decide alike, and whatever happens to Redis, the vendor sees no call too many.

mod alone;

use super::shared::Shared;
use super::wire::{Answer, Op, Question};
use super::{Call, Credential, Limiter, Taken};
use redress_connectors::bench::server::LimitedServer;
use redress_connectors::{ExportSink, Journal, Lost, Outcome, Receipt, SystemSpec, Trouble, Work, registry};
use redress_domain::limits::{Ask, Day, Feedback, Limits, Reason, Rules, State, Window};
use redress_domain::{Identifier, IdentifierType, Subject, SystemClock};
use redress_store::{Options, Store, Wake};
use redress_testkit::Redis;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("redress-{}-limits{n}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone_or_left_to_the_system = std::fs::remove_dir_all(&self.0);
    }
}

async fn store(folder: &Path) -> Store {
    let options = Options {
        url: format!("sqlite://{}", folder.join("redress.db").display()),
        max_connections: 4,
        connect_timeout: Duration::from_secs(30),
        master_key: [7; 32],
        keep_closed: Duration::from_hours(1),
    };
    let store = Store::open(options, Arc::new(SystemClock), Wake::local()).await.expect("opened");
    store.migrate().await.expect("a schema");
    store
}

fn credential(key: &str, limits: &serde_json::Value) -> Credential {
    Credential { key: key.into(), limits: Arc::new(Limits::read(limits, "").expect("sound limits")) }
}

fn call() -> Call {
    Call { cost: 1, urgent: false, group: "erase".into(), items: 1, batch: 1 }
}

/// A number from a seed: the same ones in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % below.max(1) as u64) as i64
    }
}

#[tokio::test]
async fn redis_and_one_process_decide_alike() {
    const NOW: i64 = 1_795_305_600_000;
    let redis = Redis::start().await;
    let shared = Shared::new(&redis.url()).expect("an address");
    let mut decided = [0_u32; 3];
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let rules = Rules {
            windows: vec![
                Window { ms: 1_000, limit: 5, ordinary: 4 },
                Window { ms: 100 + dice.roll(30_000), limit: 30, ordinary: 25 },
            ],
            day: (seed % 3 == 0).then_some(Day { began_at: NOW, ends_at: NOW + 86_400_000, limit: 99, ordinary: 90 }),
            concurrency: (seed % 2 == 0).then_some(3),
        };
        let key = format!("cred-{seed}");
        let mut state = State::unknown_until(NOW - 700);
        let (mut now, mut ids, mut bought) = (NOW, Vec::new(), None);
        for n in 0..250 {
            now += dice.roll(250);
            let pick = ids.get(dice.roll(ids.len() as i64) as usize).cloned().unwrap_or_else(|| "nobody".to_owned());
            let ask = Ask {
                id: format!("p{n}"),
                cost: 1 + dice.roll(2) as u64,
                urgent: dice.roll(4) == 0,
                group: ["erase", "verify"][dice.roll(2) as usize].into(),
                items: 1 + dice.roll(200) as u64,
                batch: 300,
                lease_ms: 3_000,
            };
            let feedback = Feedback {
                wait_ms: (dice.roll(2) == 0).then(|| dice.roll(900)),
                left: (dice.roll(2) == 0).then(|| (dice.roll(9) as u64, dice.roll(2_000))),
            };
            let what = dice.roll(10);
            let op = match what {
                0..=5 => Op::Take(&ask),
                6 | 7 => Op::Back(&pick),
                8 => Op::Renew { id: &pick, lease_ms: 3_000, again: n % 2 == 0 },
                _ => Op::Told(&feedback),
            };
            let question = Question { op, rules: &rules, idle_ms: Some(now - NOW + 700), bought, now: Some(now) };
            let answer = shared.ask(&key, &question).await.expect("Redis answers");
            if let Some((day, some)) = bought.take() {
                state.paid(day, some);
            }
            let expected = match what {
                0..=5 => Answer::of(state.take(now, &ask, &rules), now),
                6 | 7 => {
                    state.give_back(now, &pick, &rules);
                    Answer::Done
                }
                8 if state.renew(now, &pick, 3_000, n % 2 == 0, &rules) => Answer::Done,
                8 => Answer::Gone,
                _ => {
                    state.told(now, &feedback);
                    Answer::Done
                }
            };
            assert_eq!(answer, expected, "seed {seed}, question {n}, {ask:?}");
            match answer {
                Answer::Granted => {
                    decided[0] += 1;
                    ids.push(ask.id);
                }
                Answer::Wait(..) => decided[1] += 1,
                Answer::Pay => {
                    decided[2] += 1;
                    bought = Some((NOW, 3));
                }
                _ => {}
            }
        }
    }
    assert!(decided.iter().all(|n| *n > 20), "each decision was seen: {decided:?}");
}

struct Willing;

#[async_trait::async_trait]
impl Journal for Willing {
    async fn intend(&self, _: &str, _: &Receipt) -> Result<(), Lost> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl ExportSink for Willing {
    async fn record(&self, _: &str, _: &str, _: serde_json::Map<String, serde_json::Value>) -> Result<(), Lost> {
        Ok(())
    }

    async fn attachment(&self, _: &str, _: &str, _: &str, _: &str, _: &[u8]) -> Result<(), Lost> {
        Ok(())
    }
}

/// Many tasks that have work without end, each call one deletion; ends after the time.
async fn work_off(limiter: &Limiter, credential: &Credential, port: u16, tasks: usize, time: Duration) {
    let settings = json!({ "host": "127.0.0.1", "port": port });
    let spec = SystemSpec {
        name: "bench".into(),
        connector: "bench".into(),
        settings: settings.as_object().expect("an object").clone(),
        secrets: BTreeMap::new(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: redress_connectors::Network::default(),
    };
    let connector = registry::connect(&spec).expect("sound");
    let until = Instant::now() + time;
    let mut all = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let (limiter, credential, connector) = (limiter.clone(), credential.clone(), connector.clone());
        all.spawn(async move {
            let mut n = 0;
            while Instant::now() < until {
                match limiter.take(&credential, &call()).await.expect("the database is there") {
                    Taken::Wait(at, _) => {
                        let wait = (at - limiter.0.store.now_ms()).clamp(1, 60_000);
                        tokio::time::sleep(Duration::from_millis(wait as u64)).await;
                    }
                    Taken::Permit(permit) => {
                        n += 1;
                        let key = format!("{}-{task}-{n}", std::process::id());
                        let email = format!("{key}@example.com");
                        let email = Identifier::parse(IdentifierType::Email, &email, None).expect("an address");
                        let subject = Subject { identifiers: vec![email], region: None };
                        let work = Work { key: &key, subject: &subject, corrections: &[], prior: None };
                        let said = permit.during(connector.erase(&[work], &Willing)).await;
                        if let [Outcome::Trouble(Trouble::Throttled(wait))] = &said[..] {
                            limiter.told(&credential, Feedback::wait(wait.as_millis() as i64)).await;
                        }
                    }
                }
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("no task panics");
    }
}

/// The environment of a process of the fleet, as one text.
const FLEET: &str = "REDRESS_TEST_FLEET";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that the tests of the fleet start"]
async fn a_process_of_the_fleet() {
    #[expect(clippy::disallowed_methods, reason = "this is how a test tells its process what to do")]
    let told = std::env::var(FLEET).expect("started by another test");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let store = store(Path::new(told["folder"].as_str().expect("a folder"))).await;
    let limiter = Limiter::new(store, told["redis"].as_str()).expect("a limiter");
    let credential = credential("fleet", &told["limits"]);
    let time = Duration::from_millis(told["ms"].as_u64().expect("a time"));
    work_off(&limiter, &credential, told["port"].as_u64().expect("a port") as u16, 8, time).await;
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts processes that work without end for so long.
fn fleet(n: usize, folder: &Path, redis: &str, limits: &serde_json::Value, port: u16, ms: u64) -> Vec<Process> {
    let told = json!({ "folder": folder, "redis": redis, "limits": limits, "port": port, "ms": ms }).to_string();
    let start = |_| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "limits::tests::a_process_of_the_fleet", "--ignored", "--nocapture"]);
        command.env(FLEET, &told).stdout(Stdio::null());
        Process(command.spawn().expect("started"))
    };
    (0..n).map(start).collect()
}

async fn ended(fleet: Vec<Process>) {
    tokio::task::spawn_blocking(move || {
        for mut process in fleet {
            assert!(process.0.wait().expect("ended").success());
        }
    })
    .await
    .expect("waited");
}

/// Used of the allowed, in thousandths, between two moments after the server's start.
fn share(calls: &[Duration], from: Duration, to: Duration, per_second: f64) -> f64 {
    let inside = calls.iter().filter(|at| (from..to).contains(*at)).count();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
    let used = inside as f64 / (to.saturating_sub(from).as_secs_f64() * per_second);
    used * 1_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_use_nearly_all_of_a_limit_and_no_call_is_too_many() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    drop(store(&folder.0).await);
    let server =
        LimitedServer::start(&[(100, Duration::from_secs(2)), (300, Duration::from_secs(8))], Duration::from_millis(5))
            .await
            .expect("started");
    let limits = json!({ "rates": ["100/2s", "300/8s"] });
    let began = Instant::now();
    ended(fleet(4, &folder.0, &redis.url(), &limits, server.port(), 28_000)).await;
    let seen = server.seen();
    let first = seen.calls.first().copied().expect("calls");
    // Three windows of the longer one, from the first call on.
    let used = share(&seen.calls, first, first + Duration::from_secs(24), 37.5);
    let each = |second: u64| {
        let from = first + Duration::from_secs(second);
        seen.calls.iter().filter(|at| (from..from + Duration::from_secs(1)).contains(*at)).count()
    };
    let seconds: Vec<usize> = (0..26).map(each).collect();
    eprintln!("used {used:.0} ‰ of the limit, {} calls too many, in {:?}: {seconds:?}", seen.excess, began.elapsed());
    assert_eq!(seen.excess, 0);
    assert!(used > 800.0, "only {used:.0} ‰ of the limit was used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_too_many_although_redis_is_flushed_killed_and_away() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    drop(store(&folder.0).await);
    let server =
        LimitedServer::start(&[(40, Duration::from_secs(2))], Duration::from_millis(5)).await.expect("started");
    let limits = json!({ "rates": ["40/2s"] });
    let fleet = fleet(4, &folder.0, &redis.url(), &limits, server.port(), 40_000);
    let pause = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    pause(5).await;
    redis.flushall().await;
    pause(5).await;
    redis.kill9_and_restart().await;
    pause(5).await;
    let away = server.seen().calls.len();
    redis.kill9().await;
    pause(13).await;
    let alone = server.seen().calls.len();
    redis.start_again().await;
    ended(fleet).await;
    let seen = server.seen();
    assert_eq!(seen.excess, 0);
    eprintln!("{away} calls, then {} without Redis, then {}", alone - away, seen.calls.len() - alone);
    assert!(alone > away, "without Redis each worker uses its part");
    assert!(seen.calls.len() > alone, "with Redis all use the whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_without_redis_keeps_to_the_same_limit() {
    let folder = Folder::new();
    let store = store(&folder.0).await;
    let server =
        LimitedServer::start(&[(20, Duration::from_secs(1))], Duration::from_millis(5)).await.expect("started");
    let limiter = Limiter::new(store.clone(), None).expect("a limiter");
    let credential = credential("alone", &json!({ "rates": ["20/s"] }));
    work_off(&limiter, &credential, server.port(), 8, Duration::from_secs(4)).await;
    let before = server.seen().calls.len();
    assert!(before > 20, "{before} calls");
    // A second one on the same database: each keeps to its part, and does not know what the other used before.
    let another = Limiter::new(store, None).expect("a limiter");
    let (port, time) = (server.port(), Duration::from_secs(10));
    tokio::join!(work_off(&limiter, &credential, port, 4, time), work_off(&another, &credential, port, 4, time));
    let seen = server.seen();
    assert_eq!(seen.excess, 0);
    assert!(seen.calls.len() > before, "{} calls", seen.calls.len());
}

#[tokio::test]
async fn a_days_budget_outlives_redis_and_keeps_its_reserve() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    let store = store(&folder.0).await;
    let credential = credential("daily", &json!({ "rates": ["20/day"], "reserve": 0.25 }));
    let mut granted = [0; 2];
    for round in 0..4 {
        // A new process each time, after Redis has lost everything.
        redis.flushall().await;
        let limiter = Limiter::new(store.clone(), Some(&redis.url())).expect("a limiter");
        for urgent in [false, true] {
            for _ in 0..(if urgent && round < 3 { 0 } else { 8 }) {
                match limiter.take(&credential, &Call { urgent, ..call() }).await.expect("decided") {
                    Taken::Permit(permit) => {
                        granted[usize::from(urgent)] += 1;
                        permit.give_back().await;
                    }
                    Taken::Wait(_, reason) => assert_eq!(reason, Reason::Day),
                }
            }
        }
    }
    assert_eq!(granted, [15, 5]);
}

#[tokio::test]
async fn what_a_vendor_told_one_process_holds_for_another_at_once() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    let store = store(&folder.0).await;
    let credential = credential("told", &json!({ "rates": ["100/s"] }));
    let one = Limiter::new(store.clone(), Some(&redis.url())).expect("a limiter");
    let other = Limiter::new(store, Some(&redis.url())).expect("a limiter");
    let Taken::Permit(permit) = other.take(&credential, &call()).await.expect("decided") else { panic!("a permit") };
    permit.give_back().await;
    one.told(&credential, Feedback::wait(60_000)).await;
    let now = other.0.store.now_ms();
    let Taken::Wait(at, Reason::CoolDown) = other.take(&credential, &call()).await.expect("decided") else {
        panic!("a wait");
    };
    assert!(at - now > 55_000);
    assert_eq!(redis.command(&["KEYS", "*"]).await, "redress:limits:{told}", "ids only, one key for a credential");
    assert!(redis.command(&["PTTL", "redress:limits:{told}"]).await.parse::<i64>().is_ok_and(|ttl| ttl > 0));
}

#[tokio::test]
async fn calls_at_the_same_time_are_counted_for_the_fleet() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    let store = store(&folder.0).await;
    let credential = credential("places", &json!({ "concurrency": 2 }));
    let one = Limiter::new(store.clone(), Some(&redis.url())).expect("a limiter");
    let other = Limiter::new(store, Some(&redis.url())).expect("a limiter");
    let Taken::Permit(first) = one.take(&credential, &call()).await.expect("decided") else { panic!("a permit") };
    let Taken::Permit(_second) = other.take(&credential, &call()).await.expect("decided") else { panic!("a permit") };
    assert!(matches!(one.take(&credential, &call()).await.expect("decided"), Taken::Wait(_, Reason::Concurrency)));
    first.give_back().await;
    assert!(matches!(other.take(&credential, &call()).await.expect("decided"), Taken::Permit(_)));
}

//! A lab gives each run a database with the schema, one controller and three connected systems, and a side door to its rows.

use super::fleet::KEEP;
use redress_domain::calendar::CalendarSet;
use redress_domain::regulation::RuleTable;
use redress_domain::rules::Rules;
use redress_domain::{ControllerId, IdentifierType, ManualClock, RequestType, Verb};
use redress_store::simulation::Mutant;
use redress_store::{ControllerPolicy, Dialect, Error, NewController, Options, Store, SystemUpsert, Wake, simulation};
use redress_testkit::Postgres;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(super) const TABLE: &str = include_str!("../../config/regulations.toml");

/// Read once: every request is dated by it.
pub(super) static RULES: LazyLock<Rules> =
    LazyLock::new(|| Rules::new(RuleTable::parse(TABLE).expect("the shipped table"), CalendarSet::default()));

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Where runs are made; its folder is in memory where the machine has such a place.
pub struct Lab {
    folder: PathBuf,
    furniture: Furniture,
    postgres: Option<Arc<Postgres>>,
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _gone_or_left_to_the_system = std::fs::remove_dir_all(&self.folder);
    }
}

/// What every run's database has.
#[derive(Clone)]
struct Furniture {
    ctl: ControllerId,
    systems: Vec<String>,
}

/// One run's database.
pub(super) struct Side {
    pub(super) url: String,
    pub(super) clock: Arc<ManualClock>,
    pub(super) ctl: ControllerId,
    /// Ids of the systems, in the world's order: the lanes.
    pub(super) systems: Vec<String>,
    file: Option<PathBuf>,
    raw: Raw,
}

enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

fn noon() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-11-23T12:00:00Z".parse().expect("an instant")))
}

impl Lab {
    /// A lab on SQLite, or on a PostgreSQL of its own.
    ///
    /// # Errors
    /// The database cannot be made.
    pub async fn open(dialect: Dialect) -> Result<Self, Error> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("redress-proof-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let postgres = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(Arc::new(Postgres::start().await)),
        };
        let url = format!("sqlite://{}", folder.join("template.db").display());
        let furniture = furnish(&url).await?;
        Ok(Self { folder, furniture, postgres })
    }

    pub(super) async fn place(&self, seed: u64, mutant: Option<Mutant>) -> Side {
        let clock = noon();
        if let Some(postgres) = &self.postgres {
            let url = postgres.database(&format!("seed{seed}")).await;
            let Furniture { ctl, systems } = furnish(&url).await.expect("a fresh database");
            // To furnish it began a simulation of its own.
            simulation::begin(seed, mutant);
            let raw = Raw::Postgres(PgPool::connect_lazy(&url).expect("a URL"));
            return Side { url, clock, ctl, systems, file: None, raw };
        }
        let file = self.folder.join(format!("{}.db", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::copy(self.folder.join("template.db"), &file).expect("there is room");
        let url = format!("sqlite://{}", file.display());
        let options = SqliteConnectOptions::from_str(&url).expect("a URL").busy_timeout(Duration::from_secs(15));
        let raw = Raw::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options));
        let Furniture { ctl, systems } = self.furniture.clone();
        Side { url, clock, ctl, systems, file: Some(file), raw }
    }
}

impl Side {
    /// The first column of every row, as text, by the side door.
    pub(super) async fn query(&self, sql: &str) -> Vec<String> {
        let rows: Vec<Option<String>> = match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.expect(sql),
            Raw::Postgres(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.expect(sql),
        };
        rows.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// How many rows, by the side door.
    pub(super) async fn count(&self, of: &str) -> i64 {
        let rows = self.query(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {of}")).await;
        rows[0].parse().expect("a number")
    }

    pub(super) async fn close(&self) {
        match &self.raw {
            Raw::Sqlite(pool) => pool.close().await,
            Raw::Postgres(pool) => pool.close().await,
        }
        if let Some(file) = &self.file {
            for end in ["", "-wal", "-shm"] {
                let _gone = std::fs::remove_file(format!("{}{end}", file.display()));
            }
        }
    }
}

/// The schema, a controller and its systems; the same at every run.
async fn furnish(url: &str) -> Result<Furniture, Error> {
    simulation::begin(0, None);
    let options = Options {
        url: url.into(),
        max_connections: 2,
        connect_timeout: Duration::from_secs(30),
        master_key: [7; 32],
        keep_closed: Duration::from_millis(KEEP as u64),
    };
    let store = Store::open(options, noon(), Wake::local()).await?;
    store.migrate().await?;
    let new = NewController {
        name: "acme".into(),
        country: Some("DE".into()),
        timezone: "Europe/Berlin".into(),
        region: Some("eu".into()),
        contact: None,
        policy: ControllerPolicy::default(),
        weight: 1,
        terms: None,
    };
    let ctl = store.create_controller(&new, "operator").await?.id;
    let mut systems = Vec::new();
    for name in ["crm", "shop", "vendor"] {
        store.upsert_system(&ctl, &a_system(name, 0), "operator").await?;
        systems.push(store.system_by_name(&ctl, name).await?.ok_or(Error::NotFound)?.id.to_string());
    }
    store.close().await;
    Ok(Furniture { ctl, systems })
}

/// The definition of a system, in its so-and-so-many-th version.
pub(super) fn a_system(name: &str, version: u64) -> SystemUpsert {
    SystemUpsert {
        name: name.into(),
        family: "database".into(),
        connector: "sqlite".into(),
        definition: json!({ "settings": {}, "max_matches": 25 + version }),
        secrets: None,
        allow: RequestType::ALL.to_vec(),
        verbs: Verb::ALL.to_vec(),
        identifiers: IdentifierType::ALL.to_vec(),
        fields: vec!["last_name".into()],
        completes_within_days: 0,
        batch: 300,
    }
}

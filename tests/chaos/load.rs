//! Load is a scene whose requests go on being made and worked on while something goes wrong.

use crate::cells::Ended;
use crate::checker;
use crate::scene::{Case, Right, Rows, Scene};
use crate::support::{Backend, Builder, Kind, Roles, TestApp, poll};
use std::time::{Duration, Instant};

/// After the end of a cause work goes on by itself within this time.
pub(crate) const RESUME: Duration = Duration::from_secs(10);
/// The same when Redis has to be built up again.
pub(crate) const REBUILD: Duration = Duration::from_secs(30);
/// Between two submissions.
const PAUSE: Duration = Duration::from_millis(200);

/// How much goes on, and how soon it has to go on again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) requests: usize,
    pub(crate) resume: Duration,
    /// How long whatever is away can be away.
    pub(crate) away: Duration,
    pub(crate) kinds: &'static [Kind],
}

impl Plan {
    /// For a cause that lasts so long and does not keep callers from submitting, or does.
    pub(crate) fn lasting(cause: Duration) -> Self {
        let requests = 25 + usize::try_from(cause.as_secs().min(12) * 5).expect("few");
        Self { requests, resume: RESUME, away: cause, kinds: &[Kind::Sqlite, Kind::Maildir] }
    }

    pub(crate) fn resume(mut self, limit: Duration) -> Self {
        self.resume = limit;
        self
    }
}

/// Requests of all kinds, about as many people.
pub(crate) fn cases(count: usize) -> Vec<Case> {
    let rights = [Right::Deletion, Right::Access, Right::Deletion, Right::Correction];
    (0..count).map(|n| Case::new(rights[n % rights.len()], &format!("person{n}"))).collect()
}

/// An installation whose leases last as long as by default.
pub(crate) fn patient() -> Builder {
    TestApp::builder().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1")
}

/// One with short leases, for faults that have nothing to do with them.
pub(crate) fn quick() -> Builder {
    patient().quick_leases()
}

/// An API and so many workers on PostgreSQL and Redis.
pub(crate) fn fleet(builder: Builder, workers: usize) -> Builder {
    builder.backend(Backend::PostgresRedis).roles(Roles::Fleet(workers))
}

/// The way to an installation's rows.
pub(crate) fn rows(app: &TestApp, backend: Backend) -> Rows {
    match backend {
        Backend::Sqlite => Rows::of(app, None),
        Backend::PostgresRedis => Rows::Postgres { url: app.postgres().url("redress") },
    }
}

/// Stages a fault in a running installation while requests are made and worked on. When the future of the fault ends its
/// cause has ended, and work has to go on by itself; in the end everything is judged.
pub(crate) async fn through(app: TestApp, backend: Backend, plan: Plan, fault: impl AsyncFnOnce(&Scene)) -> Ended {
    app.allow_errors();
    let rows = rows(&app, backend);
    let scene = Scene::set(app, rows, plan.kinds, cases(plan.requests)).await.rough();
    let scene = scene.patient(Duration::from_mins(2) + plan.away);
    let pids = |scene: &Scene| (0..scene.app.processes()).map(|nth| scene.app.pid(nth)).collect::<Vec<_>>();
    let before = pids(&scene);
    let staging = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        fault(&scene).await;
        resumes(&scene, plan.resume).await;
    };
    let (ids, ()) = tokio::join!(scene.submit_all(PAUSE), staging);
    checker::judge(&scene, &ids).await;
    assert!(scene.app.is_running() && pids(&scene) == before, "a process did not survive:\n{}", scene.app.logs());
    Ended::Well
}

/// Work goes on within this time, by itself.
pub(crate) async fn resumes(scene: &Scene, limit: Duration) {
    let back = Instant::now();
    let acted = "SELECT COUNT(*) FROM steps WHERE acted_at IS NOT NULL";
    let before = scene.rows.number(acted).await;
    let rest = "SELECT COUNT(*) FROM dsrs WHERE closed_at IS NULL";
    poll("work goes on", limit, || async {
        let goes_on = scene.rows.number(acted).await > before
            || (scene.rows.number("SELECT COUNT(*) FROM dsrs").await == scene.cases.len() as u64
                && scene.rows.number(rest).await == 0);
        goes_on.then_some(())
    })
    .await;
    println!("NOTE work went on {} ms after the cause had ended", back.elapsed().as_millis());
}

//! `kill -9` at twenty moments that a seed chooses, while sixty requests are made and worked on.

use super::scene::{Case, Right, Rows, Scene};
use crate::support::{Backend, Kind, Roles, TestApp};
use std::time::Duration;

const KILLS: usize = 20;
const REQUESTS: usize = 60;
/// Another one, to look for something else: `REDRESS_SEED=… cargo test …`.
const SEED: u64 = 20_261_119;

#[tokio::test]
async fn twenty_kills_during_sixty_requests_lose_nothing_and_repeat_nothing_on_sqlite() {
    let app = TestApp::builder().quick_leases().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").start().await;
    let rows = Rows::of(&app, None);
    storm(app, rows).await;
}

#[tokio::test]
async fn twenty_kills_during_sixty_requests_lose_nothing_and_repeat_nothing_in_a_fleet() {
    let builder = TestApp::builder().backend(Backend::PostgresRedis).roles(Roles::Fleet(2)).quick_leases();
    let app = builder.env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").start().await;
    let rows = Rows::Postgres { url: app.postgres().url("redress") };
    storm(app, rows).await;
}

/// The same numbers for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

async fn storm(app: TestApp, rows: Rows) {
    #[expect(clippy::disallowed_methods, reason = "a test's switch, not configuration")]
    let seed = std::env::var("REDRESS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    println!("REDRESS_SEED={seed}");
    let mut dice = Dice(seed);
    let rights = [Right::Deletion, Right::Access, Right::Deletion, Right::Correction];
    let cases = (0..REQUESTS).map(|n| Case::new(rights[n % rights.len()], &format!("person{n}"))).collect();
    let scene = Scene::set(app, rows, &[Kind::Sqlite, Kind::Maildir], cases).await.rough();
    let kills = async {
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(50 + dice.below(650))).await;
            let victim = usize::try_from(dice.below(scene.app.processes() as u64)).expect("there are few");
            scene.app.kill9_one(victim);
            tokio::time::sleep(Duration::from_millis(dice.below(150))).await;
            scene.app.start_unready();
        }
    };
    // In waves, so that much is under way when somebody dies.
    let submissions = async {
        let mut ids = Vec::new();
        for nth in 0..REQUESTS {
            ids.push(scene.submit(nth).await);
            if nth % 10 == 9 {
                tokio::time::sleep(Duration::from_millis(900)).await;
            }
        }
        ids
    };
    let (ids, ()) = tokio::join!(submissions, kills);
    scene.judge(&ids).await;
    let logs = scene.app.logs();
    assert!(scene.app.is_running(), "a process ended by itself:\n{logs}");
    let hit = logs.matches(" ran out\"").count();
    println!("{hit} pieces of work were hit");
    assert!(hit >= 3, "the kills hit nothing: {hit}");
}

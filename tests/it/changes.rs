//! What the operator or the controller changes while requests are under way: what was done before proves nothing after.

use crate::support::{Kind, PATIENCE, Person, Systems, TestApp, status_of};
use serde_json::Value;

/// Deletions of customers are answered with success and do not happen.
const LIE: &str = "CREATE TRIGGER lie BEFORE DELETE ON customers BEGIN SELECT RAISE(IGNORE); END;";
const CUSTOMERS: &str = "fields = { full_name = \"full_name\", phone = \"phone\" }\n  on_delete = \"delete\"";
const ORDERS: &str = "on_delete = \"null\"\n  columns = [\"customer_id\", \"ship_to\"]";

async fn stage() -> (TestApp, Systems, Person) {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite]));
    let ann = Person::new("ann");
    systems.fill(std::slice::from_ref(&ann)).await;
    (app, systems, ann)
}

fn swap(toml: &str, from: &str, to: &str) -> String {
    assert!(toml.contains(from), "{from} is not in\n{toml}");
    toml.replace(from, to)
}

#[tokio::test]
async fn a_residue_is_not_explained_away_by_declaring_that_the_records_stay() {
    let (app, systems, ann) = stage().await;
    let toml = systems.toml("acme");
    let api = app.controller(&toml).await;
    systems.sql(Kind::Sqlite, LIE).await;
    let id = api.submitted(&ann.deletion()).await;
    let view = api.settled(&id).await;
    assert_eq!((status_of(&view), &view["steps"][0]["error"]["code"]), ("needs_attention", &"residue".into()));

    let kept = swap(&toml, CUSTOMERS, &CUSTOMERS.replace("\"delete\"", "\"keep\"\n  reason = \"tax_records\""));
    let kept = swap(&kept, ORDERS, "on_delete = \"keep\"\n  reason = \"tax_records\"");
    app.apply(&kept).await;
    let view =
        api.until(&id, |status| !matches!(status, "needs_attention" | "in_progress" | "verifying"), PATIENCE).await;
    let view = if view["closed_at"].is_null() { api.closed(&id).await } else { view };
    assert_eq!(status_of(&view), "partially_completed", "{view:#}");
    assert_eq!(view["steps"][0]["status"], "retained");
}

#[tokio::test]
async fn a_system_that_was_pointed_elsewhere_is_acted_on_there_before_anything_is_certified() {
    let (app, systems, ann) = stage().await;
    let toml = systems.toml("acme");
    let api = app.controller(&toml).await;
    systems.sql(Kind::Sqlite, LIE).await;
    let id = api.submitted(&ann.deletion()).await;
    assert_eq!(status_of(&api.settled(&id).await), "needs_attention");

    // The other database holds the person too, and does not lie.
    let here = systems.sqlite_file();
    let there = here.with_extension("elsewhere.db");
    std::fs::copy(&here, &there).expect("a copy");
    let elsewhere = Systems::of(&[Kind::Sqlite]).await;
    elsewhere.fill(std::slice::from_ref(&ann)).await;
    std::fs::copy(elsewhere.sqlite_file(), &there).expect("a copy");
    app.apply(&swap(&toml, &here.display().to_string(), &there.display().to_string())).await;
    let view = api.closed(&id).await;
    assert_eq!(status_of(&view), "completed", "{view:#}");
    assert!(view["steps"][0]["changed"].as_u64().is_some_and(|n| n > 0), "it acted there: {view:#}");
    std::fs::copy(&there, elsewhere.sqlite_file()).expect("a copy");
    assert_eq!(elsewhere.count(Kind::Sqlite, &ann.email).await, 0);
}

#[tokio::test]
async fn what_the_controller_no_longer_instructs_is_not_done() {
    let (app, systems, ann) = stage().await;
    let toml = systems.toml("acme");
    let api = app.controller(&toml).await;
    let name = api.read("/v1/systems").await.expect(200)["systems"][0]["name"].as_str().expect("a name").to_owned();
    api.post(&format!("/v1/systems/{name}/pause"), &Value::Null).await.expect(200);
    let before = systems.snapshot().await;
    let id = api.submitted(&ann.deletion()).await;
    let allow = toml.lines().find(|line| line.starts_with("allow = ")).expect("an instruction").to_owned();
    let narrowed = app.apply(&swap(&toml, &allow, "allow = [\"access\"]")).await;
    // Applying a file that says nothing about a pause ends none.
    assert!(!narrowed.contains("resumed"), "{narrowed}");
    assert_eq!(api.read(&format!("/v1/systems/{name}")).await.expect(200)["paused"], true);

    api.post(&format!("/v1/systems/{name}/resume"), &Value::Null).await.expect(200);
    let view = api.settled(&id).await;
    assert_eq!((status_of(&view), &view["steps"][0]["error"]["code"]), ("needs_attention", &"not_instructed".into()));
    assert_eq!(systems.snapshot().await, before);

    // Instructed again, it goes on by itself.
    app.apply(&toml).await;
    assert_eq!(status_of(&api.closed(&id).await), "completed");
}

#[tokio::test]
async fn data_and_keys_of_the_embedded_installation_are_for_its_owner_only() {
    use std::os::unix::fs::MetadataExt as _;
    let app = TestApp::builder().start().await;
    let mut seen = 0;
    let mut folders = vec![app.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if name.starts_with("redress.db") || name == "master.key" {
                seen += 1;
                let mode = entry.metadata().expect("metadata").mode() & 0o777;
                assert_eq!(mode, 0o600, "{name} is {mode:o}");
            }
        }
    }
    assert!(seen >= 2, "the database and the key");
}

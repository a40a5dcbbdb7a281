//! The stream of changes: whoever loses the connection misses nothing and hears nothing twice, and whoever lost access hears no more.

use crate::support::{ApiClient, Backend, Kind, PATIENCE, Person, Roles, Systems, TestApp};
use futures::StreamExt as _;
use serde_json::Value;
use std::time::{Duration, Instant};

/// An event as it arrived: id, name, data.
type Told = (String, String, Value);

/// Reads events until `enough`, or until the stream ends; then the connection is dropped as it is.
async fn listen(api: &ApiClient, after: Option<&str>, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
    let mut request =
        reqwest::Client::builder().no_proxy().build().expect("a client").get(format!("{}/v1/stream", api.base));
    request = request.bearer_auth(&api.key);
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{after:?}");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut bytes = answer.bytes_stream();
    let (mut text, mut told) = (String::new(), Vec::new());
    let listening = async {
        while let Some(Ok(chunk)) = bytes.next().await {
            text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
            while let Some((block, rest)) = text.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                if let Some(event) = field("event") {
                    let data = serde_json::from_str(field("data").expect("data")).expect("JSON");
                    told.push((field("id").unwrap_or_default().to_owned(), event.to_owned(), data));
                }
                text = rest.to_string();
            }
            if enough(&told) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.expect("the stream goes on in time");
    told
}

async fn misses_nothing(backend: Backend, roles: Roles) {
    let (app, systems) =
        tokio::join!(TestApp::builder().backend(backend).roles(roles).start(), Systems::of(&[Kind::Sqlite]));
    let people: Vec<Person> = (0..30).map(|n| Person::new(&format!("p{n}"))).collect();
    systems.fill(&people).await;
    let api = app.controller(&systems.toml("acme")).await;
    let ready = listen(&api, None, |told| !told.is_empty()).await;
    let (mut last, event, _) = ready[0].clone();
    assert_eq!(event, "ready");
    let first: i64 = last.parse().expect("of one controller it is a number");

    let mut ids = Vec::new();
    for person in &people {
        ids.push(api.submitted(&person.access()).await);
    }
    // Again and again the connection is lost in the middle, while the requests are worked off.
    let (mut told, mut lost) = (Vec::new(), 0);
    let end = Instant::now() + PATIENCE;
    let closed = |told: &[Told]| {
        let done =
            |id: &String| told.iter().any(|(.., data)| data["id"] == id.as_str() && data["status"] == "completed");
        ids.iter().all(done)
    };
    while !closed(&told) {
        assert!(Instant::now() < end, "not all requests were told to be completed: {told:?}");
        let more =
            listen(&api, Some(&last), |more| more.len() > 7 + lost % 5 || closed(&[told.as_slice(), more].concat()))
                .await;
        assert_eq!(more[0].1, "ready");
        // What arrived at once may be much: of that, too, only the beginning was heard.
        told.extend(more.into_iter().skip(1).take(8 + lost % 5));
        last = told.last().map_or(last, |(id, ..)| id.clone());
        lost += 1;
    }
    assert!(lost > 5, "the connection was lost {lost} times");
    let seqs: Vec<i64> = told.iter().map(|(id, ..)| id.parse().expect("a number")).collect();
    let wanted: Vec<i64> = (first + 1..).take(seqs.len()).collect();
    assert_eq!(seqs, wanted, "nothing lost, nothing twice");
    for (_, event, data) in &told {
        assert_eq!((event.as_str(), &data["controller"]), ("request", &"acme".into()), "{data}");
        let text = data.to_string();
        assert!(people.iter().all(|person| !text.contains(&person.email)), "{text}");
    }
}

#[tokio::test]
async fn a_lost_connection_misses_nothing_while_requests_are_worked_off() {
    misses_nothing(Backend::Sqlite, Roles::All).await;
}

#[tokio::test]
async fn nor_does_it_in_a_fleet() {
    misses_nothing(Backend::PostgresRedis, Roles::Fleet(2)).await;
}

#[tokio::test]
async fn a_revoked_keys_stream_ends_and_every_stream_ends_with_the_service() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite]));
    let api = app.controller(&systems.toml("acme")).await;
    let keys = api.read("/v1/keys").await.expect(200)["keys"].as_array().expect("keys").len();
    let watcher = app.key("acme", "auditor").await;
    let after = api.read("/v1/keys").await.expect(200);
    let all = after["keys"].as_array().expect("keys");
    assert_eq!(all.len(), keys + 1);
    let theirs =
        all.iter().find(|key| key["role"] == "auditor").expect("the key")["id"].as_str().expect("an id").to_owned();
    let listening = tokio::spawn(async move { listen(&watcher, None, |_| false).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(api.send("DELETE", &format!("/v1/keys/{theirs}"), &[], "").await.status, 204);
    let began = Instant::now();
    let told = listening.await.expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(told.last().expect("something").1, "end");

    // A stream must not hold the service up when it is stopped.
    let other = api.clone();
    let listening = tokio::spawn(async move { listen(&other, None, |_| false).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    assert!(app.sigterm().await.iter().all(std::process::ExitStatus::success));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    listening.await.expect("it ends");
}

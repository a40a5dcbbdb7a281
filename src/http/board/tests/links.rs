//! Whatever a controller or a system is called, each link of the board that is made of its name leads to it, and each form acts on it.

use crate::http::tests::{ALL, Edge, edge, request};
use redress_connectors::{Awaited, Task};
use redress_domain::{IdentifierType, Role, Verb};
use redress_store::{Finish, StepResult, SystemUpsert};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Names that no file may give today, but that an older database, or another hand, may hold.
const HOSTILE: [&str; 10] = [
    "a/b",
    "what?x=1",
    "#top",
    "100%25",
    "two words + more",
    "📦 crates",
    "\u{202e}lortnoc",
    "a&b=c;d",
    "\"'<script>alert(1)</script>",
    "//evil.example/../x",
];
const CONTROLLER: &str = "öl & gas/50%?#\u{202e}";

/// The values of an attribute on a page, as a browser reads them.
fn attributes(page: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    let parts = page.split(&start).skip(1).filter_map(|rest| rest.split('"').next());
    let unescaped = |text: &str| {
        text.replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    };
    parts.map(unescaped).collect()
}

async fn person(edge: &Edge) -> String {
    edge.someone("ann", &[Role::PrivacyLead, Role::Operator, Role::Admin], None).await.cookie
}

/// Connects a place that no program reaches.
async fn office(edge: &Edge, name: &str) {
    let new = SystemUpsert {
        name: name.into(),
        family: "paper".into(),
        connector: "manual".into(),
        definition: json!({ "settings": {}, "tables": [], "max_matches": 25, "rate_per_second": null }),
        secrets: None,
        allow: ALL.to_vec(),
        verbs: vec![Verb::Export, Verb::Erase],
        identifiers: vec![IdentifierType::Email],
        fields: vec![],
        batch: 50,
        completes_within_days: 0,
    };
    edge.store.upsert_system(&edge.other.id, &new, "test").await.unwrap();
}

/// A controller with such a name and a system of each name, each with something that needs a person.
async fn hostile() -> Edge {
    let edge = edge().await;
    edge.sql(&format!("UPDATE controllers SET name = '{CONTROLLER}' WHERE name = 'other'")).await;
    for (n, name) in HOSTILE.into_iter().enumerate() {
        if n % 2 == 0 { office(&edge, name).await } else { edge.connect(&edge.other, name, ALL, &[]).await }
    }
    for _ in 0..2 {
        edge.call(&edge.other.user, "POST", "/v1/requests", Some(&request("deletion"))).await;
    }
    edge.store.advance_due(10).await.unwrap();
    let systems = edge.store.systems(&edge.other.id).await.unwrap();
    let due = edge.store.now_ms() + 864_000_000;
    let task = Awaited::task(Task { title: "t".into(), instructions: vec![], due_at_ms: due }).receipt().0;
    loop {
        let leases = edge.store.claim("one", &["notify".into()], 100, 60_000).await.unwrap();
        if leases.is_empty() {
            return edge;
        }
        let mut finishes = Vec::new();
        for lease in leases {
            let system = systems.iter().find(|system| Some(&system.id) == lease.system_id.as_ref());
            let result = if system.is_some_and(|system| system.connector == "manual") {
                StepResult::External { receipt: task.clone(), check_at: due, completes_by: None }
            } else {
                StepResult::Attention { code: "credentials_refused".into(), detail: "signed out".into() }
            };
            finishes.push(Finish { lease, result });
        }
        edge.store.finish(finishes).await.unwrap();
    }
}

#[tokio::test]
async fn every_link_leads_where_it_says_whatever_things_are_called() {
    let edge = hostile().await;
    let cookie = person(&edge).await;
    let starts =
        ["/", "/systems", "/controllers", "/queue", "/requests", "/reports", "/audit", "/audit?log=staff", "/settings"];
    let mut ahead: VecDeque<(String, u32)> = starts.iter().map(|path| ((*path).to_owned(), 0)).collect();
    let mut known: BTreeSet<String> = starts.iter().map(|path| (*path).to_owned()).collect();
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    while let Some((path, depth)) = ahead.pop_front() {
        let answer = edge.browse(Some(&cookie), &path, None).await;
        assert_eq!(answer.status, 200, "{path}");
        // A file holds names as they are.
        if !answer.headers["content-type"].to_str().unwrap().starts_with("text/html") {
            pages.insert(path, String::new());
            continue;
        }
        let page = answer.text();
        assert!(!page.contains("<script>alert"), "{path}");
        for link in attributes(&page, "href") {
            let address = link.split('#').next().unwrap_or_default().to_owned();
            assert!(!address.starts_with("//"), "{path} leads to another host: {link}");
            let page_of_ours =
                address.starts_with('/') && !address.starts_with("/assets") && !address.starts_with("/v1/stream");
            // Filters by filters are without end: names stand on the first pages and on those to which they lead.
            let narrowed = path.starts_with("/requests?") || path.starts_with("/audit?");
            if page_of_ours && depth < 3 && !narrowed && known.insert(address.clone()) {
                ahead.push_back((address, depth + 1));
            }
        }
        pages.insert(path, page);
    }
    // Each system was reached from a page, and is the one that its page says.
    let escaped =
        |name: &str| name.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
    for name in HOSTILE {
        let title = format!("<h1><bdi>{}</bdi>", escaped(name));
        let found = pages.iter().filter(|(path, page)| path.starts_with("/systems/") && page.contains(&title)).count();
        assert_eq!(found, 1, "{name}: {:?}", pages.keys().collect::<Vec<_>>());
    }
    let title = format!("<h1><bdi>{}</bdi>", escaped(CONTROLLER));
    assert_eq!(
        pages.iter().filter(|(path, page)| path.starts_with("/controllers/") && page.contains(&title)).count(),
        1
    );
    let tasks = pages.keys().filter(|path| path.starts_with("/queue/")).count();
    assert!(tasks >= HOSTILE.len() / 2, "{tasks}");
    let filtered = pages.keys().filter(|path| path.starts_with("/requests?status=needs_attention&system=")).count();
    assert!(filtered >= HOSTILE.len() / 2, "{filtered}: {:?}", pages.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn every_form_acts_on_what_it_names_whatever_that_is_called() {
    let edge = hostile().await;
    let cookie = person(&edge).await;
    let token = edge.token(&cookie).await;
    let list = edge.browse(Some(&cookie), "/systems", None).await.text();
    let pages: BTreeSet<String> =
        attributes(&list, "href").into_iter().filter(|path| path.starts_with("/systems/")).collect();
    assert_eq!(pages.len(), HOSTILE.len());
    for path in &pages {
        let page = edge.browse(Some(&cookie), path, None).await.text();
        let actions = attributes(&page, "action");
        let action = actions.iter().find(|action| action.contains("/pause")).expect("a form");
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.append_pair("csrf", &token).append_pair("_next", path).append_pair("_done", "paused").finish();
        let answer = edge.browse(Some(&cookie), action, Some(&form)).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        let back = answer.headers["location"].to_str().unwrap().to_owned();
        let page = edge.browse(Some(&cookie), &back, None).await;
        assert!(page.status == 200 && page.text().contains("/resume?"), "{back}");
    }
    let systems = edge.store.systems(&edge.other.id).await.unwrap();
    assert!(systems.len() == HOSTILE.len() && systems.iter().all(|system| system.paused));
    // A task of such a system opens, and reaches its report.
    let queue = edge.browse(Some(&cookie), "/queue", None).await.text();
    let tasks: Vec<String> =
        attributes(&queue, "href").into_iter().filter(|path| path.starts_with("/queue/dsr_")).collect();
    assert!(!tasks.is_empty(), "{queue}");
    for path in tasks {
        let closed = edge.browse(Some(&cookie), &path, None).await.text();
        let open =
            attributes(&closed, "action").into_iter().find(|action| action.starts_with("/queue/")).expect("a form");
        let opened = edge.browse(Some(&cookie), &open, Some(&format!("csrf={token}"))).await;
        assert_eq!(opened.status, 200, "{path}: {}", opened.text());
        let text = opened.text();
        let report =
            attributes(&text, "action").into_iter().find(|action| action.ends_with("/report")).expect("a form");
        let answer = edge.browse(Some(&cookie), &report, Some(&format!("csrf={token}"))).await;
        assert_eq!(answer.status, 422, "nothing was filled in: {}", answer.text());
    }
}

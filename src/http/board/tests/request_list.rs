//! The list of requests: what is chosen is shown, exported and kept, and nothing else.

use super::{send, shown, submit};
use crate::http::tests::{ALL, Edge, edge, request};
use serde_json::{Value, json};

async fn named(edge: &Edge, key: &str, kind: &str, reference: &str) -> String {
    let mut body = request(kind);
    body["reference"] = json!(reference);
    edge.call(key, "POST", "/v1/requests", Some(&body)).await.json()["id"].as_str().unwrap().to_owned()
}

async fn received(edge: &Edge, day: &str) -> String {
    let mut body = request("access");
    body["data_subject_received_at"] = json!(format!("{day}T09:00:00Z"));
    edge.submit(&body).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn open_requests_come_first_by_due_date_and_each_order_can_be_turned() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let mut ids = Vec::new();
    for day in ["2026-11-18", "2026-10-20", "2026-11-10"] {
        ids.push(received(&edge, day).await);
    }
    let ended = submit(&edge, &edge.acme.user, "deletion").await;
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{ended}/withdraw"), None).await;
    let order = async |query: &str| {
        let page = shown(&edge, &edge.acme.user, &format!("/requests{query}")).await.text();
        let mut places: Vec<(usize, usize)> =
            ids.iter().chain([&ended]).enumerate().filter_map(|(n, id)| Some((page.find(id.as_str())?, n))).collect();
        places.sort_unstable();
        places.into_iter().map(|(_, n)| n).collect::<Vec<usize>>()
    };
    assert_eq!(order("").await, [1, 2, 0]);
    assert_eq!(order("?sort=-due").await, [0, 2, 1]);
    assert_eq!(order("?open=false").await, [3]);
    assert_eq!(order("?status=withdrawn").await, [3]);
    assert_eq!(order("?open=any&sort=-ended").await, [3]);
    assert_eq!(order("?open=any").await.len(), 4);
    assert_eq!(order("?type=deletion").await, Vec::<usize>::new());
    assert_eq!(order("?due=overdue").await, Vec::<usize>::new());
    // Due by the day before yesterday's end if the clock moves far enough.
    edge.clock.advance(jiff::SignedDuration::from_hours(24 * 5));
    assert_eq!(order("?due=overdue").await, [1]);
    assert_eq!(order("?band=overdue").await, [1]);
}

#[tokio::test]
async fn what_is_chosen_is_shown_and_can_be_taken_away_and_nonsense_is_refused() {
    let edge = edge().await;
    let page = shown(&edge, &edge.acme.user, "/requests?type=access&late=true&system=").await.text();
    assert!(page.contains("href=\"/requests?type=access\"") && page.contains("href=\"/requests?late=true\""), "{page}");
    assert!(page.contains("/requests.csv?late=true&amp;type=access") && page.contains("No request is as chosen"));
    for bad in ["?x=1", "?type=x", "?sort=id", "?after=1", "?age=3", "?due=tomorrow"] {
        let answer = shown(&edge, &edge.acme.user, &format!("/requests{bad}")).await;
        assert_eq!(answer.status, 422, "{bad}");
    }
    // Another's name is not told from one that nobody has.
    for name in ["other", "nobody"] {
        assert_eq!(shown(&edge, &edge.acme.user, &format!("/requests?controller={name}")).await.status, 404);
        assert_eq!(shown(&edge, &edge.acme.user, &format!("/requests.csv?controller={name}")).await.status, 404);
    }
    assert_eq!(shown(&edge, &edge.acme.user, "/requests?controller=acme").await.status, 200);
    let hostile = "/requests?system=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22&q=%E2%80%AE%1B%5B31m%F0%9F%98%80";
    let page = shown(&edge, &edge.acme.user, hostile).await.text();
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"), "{page}");
    assert_eq!(shown(&edge, &edge.acme.user, &format!("/requests?q={}", "x".repeat(4_096))).await.status, 422);
}

#[tokio::test]
async fn pages_are_turned_both_ways_without_a_gap() {
    let edge = edge().await;
    let mut all = Vec::new();
    for _ in 0..53 {
        all.push(submit(&edge, &edge.acme.user, "access").await);
        edge.clock.advance(jiff::SignedDuration::from_secs(1));
    }
    let link = |page: &str, rel: &str| {
        let (before, _) =
            page.split_once(&format!("rel=\"{rel}\" href=\"")).map(|(_, rest)| rest.split_once('"').unwrap())?;
        Some(before.replace("&amp;", "&"))
    };
    let ids = |page: &str| {
        let rows = page.split("<a class=\"id\" href=\"/requests/").skip(1);
        rows.map(|row| row.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = shown(&edge, &edge.acme.user, "/requests?sort=received").await.text();
    assert_eq!(ids(&first), all[..50]);
    assert!(link(&first, "prev").is_none() && first.contains("<b>53</b> requests"), "{first}");
    let second = shown(&edge, &edge.acme.user, &link(&first, "next").expect("a next page")).await.text();
    assert_eq!(ids(&second), all[50..]);
    assert!(link(&second, "next").is_none());
    let back = shown(&edge, &edge.acme.user, &link(&second, "prev").expect("the page before")).await.text();
    assert_eq!(ids(&back), all[..50]);
    let theirs = shown(&edge, &edge.other.user, &link(&first, "next").unwrap()).await.text();
    assert!(ids(&theirs).is_empty());
}

#[tokio::test]
async fn the_export_has_every_row_and_nothing_personal() {
    let edge = edge().await;
    let ours = named(&edge, &edge.acme.user, "access", "=cmd|' /C calc'!A0").await;
    let theirs = submit(&edge, &edge.other.user, "access").await;
    let answer = shown(&edge, &edge.acme.user, "/requests.csv?type=access").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/csv") && answer.header("cache-control") == "no-store");
    assert!(answer.header("content-disposition").starts_with("attachment"));
    let text = answer.text();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(lines.len() == 3 && lines[0].starts_with("id,controller,type") && lines[2].is_empty(), "{text}");
    assert!(lines[1].starts_with(&format!("{ours},acme,access,")), "{text}");
    // What a controller calls its request is shown for a reason only.
    assert!(!text.contains(&theirs) && !text.contains("cmd"), "{text}");
    let audited = shown(&edge, &edge.acme.auditor, "/requests.csv").await.text();
    assert!(audited.contains(&ours) && !audited.contains("cmd"), "{audited}");
    assert_eq!(shown(&edge, &edge.acme.user, "/requests.csv?type=deletion").await.text().lines().count(), 1);
}

#[tokio::test]
async fn a_search_leads_to_the_one_request_that_is_called_so_and_to_none_of_others() {
    let edge = edge().await;
    let ours = named(&edge, &edge.acme.user, "access", "T/7 é").await;
    let theirs = named(&edge, &edge.other.user, "access", "T/7 é").await;
    let find = async |key: &str, text: &str| {
        let query: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        shown(&edge, key, &format!("/requests?q={query}")).await
    };
    for text in ["T/7 é", " T/7 é ", ours.as_str(), &ours[..29], &ours.to_ascii_uppercase()] {
        let answer = find(&edge.acme.user, text).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, &*format!("/requests/{ours}")), "{text}");
    }
    for (key, text) in [
        (&edge.acme.user, "T/7"),
        (&edge.acme.user, theirs.as_str()),
        (&edge.acme.auditor, "T/7 é"),
        (&edge.acme.user, "dsr_0"),
        (&edge.acme.user, "%' OR 1=1 --"),
    ] {
        let answer = find(key, text).await;
        assert_eq!(answer.status, 200, "{text}");
        assert!(
            answer.text().contains("No request is as chosen") && !answer.text().contains("T/7 é</bdi></td>"),
            "{text}"
        );
    }
    assert_eq!(find(&edge.acme.auditor, &ours).await.status, 303);
}

#[tokio::test]
async fn a_view_is_kept_shown_as_a_tab_and_removed_for_its_owner_only() {
    let edge = edge().await;
    let page = "/requests?type=access&late=true";
    let name = "Late <b>&</b> \u{1f600}";
    let hidden = [("_method", "put"), ("_done", "saved"), ("name", name), ("query", "type=access&late=true&q=T-1")];
    let answer = send(&edge, &edge.acme.user, page, "/v1/views", &hidden).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/requests?type=access&late=true&done=saved")
    );
    let tabs = shown(&edge, &edge.acme.user, "/requests").await.text();
    assert!(tabs.contains("Late &lt;b&gt;&amp;&lt;/b&gt; \u{1f600}") && !tabs.contains("Late <b>"), "{tabs}");
    let views =
        |views: Value| views["views"].as_array().unwrap().iter().map(|v| v["query"].to_string()).collect::<Vec<_>>();
    assert_eq!(views(edge.get("/v1/views").await.json()), ["\"late=true&type=access\""], "a search is not kept");
    assert!(views(edge.call(&edge.acme.admin, "GET", "/v1/views", None).await.json()).is_empty());
    let put = async |body: Value| edge.call(&edge.acme.user, "PUT", "/v1/views", Some(&body)).await;
    assert_eq!(put(json!({ "name": "", "query": "x=1" })).await.pointers(), ["/name", "/query"]);
    assert_eq!(put(json!({ "name": "a\u{202e}b", "query": "late=true" })).await.pointers(), ["/name"]);
    assert_eq!(put(json!({ "name": "all", "query": "" })).await.pointers(), ["/query"]);
    let call = format!("/v1/views/{}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC));
    assert_eq!(edge.call(&edge.acme.admin, "DELETE", &call, None).await.status, 404);
    let answer = send(&edge, &edge.acme.user, "/requests?late=true&type=access", &call, &[("_method", "delete")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(views(edge.get("/v1/views").await.json()).is_empty());
}

#[tokio::test]
async fn the_interface_filters_and_sorts_as_the_page_does() {
    let edge = edge().await;
    let mut ids = Vec::new();
    for day in ["2026-11-18", "2026-10-20", "2026-11-10"] {
        ids.push(received(&edge, day).await);
        edge.clock.advance(jiff::SignedDuration::from_secs(60));
    }
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{}/pause", ids[0]), Some(&json!({ "kind": "identity" })))
        .await;
    let list = async |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = edge.get(&format!("/v1/requests?limit=1&{query}{cursor}")).await.json();
            let rows = page["requests"].as_array().unwrap_or_else(|| panic!("{query}: {page}"));
            found.extend(rows.iter().map(|row| ids.iter().position(|id| row["id"] == id.as_str()).unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    assert_eq!(list("").await, [2, 1, 0]);
    assert_eq!(list("sort=oldest").await, [0, 1, 2]);
    assert_eq!(list("sort=due&paused=false").await, [1, 2]);
    assert_eq!(list("paused=true").await, [0]);
    assert_eq!(list("received_after=2026-11-20T10:00:30Z").await, [2, 1]);
    assert_eq!(list("received_before=2026-11-20T10:00:30Z").await, [0]);
    assert_eq!(list("regulation=EU-GDPR").await, [2, 1, 0]);
    assert_eq!(list("regulation=US-CA-CCPA").await, Vec::<usize>::new());
    assert_eq!(list("sort=ended").await, Vec::<usize>::new());
    assert_eq!(edge.get(&format!("/v1/requests?sort=due&cursor={}", ids[0])).await.status, 422);
    assert_eq!(edge.get("/v1/requests?sort=x").await.status, 422);
}

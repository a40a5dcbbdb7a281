//! The stream for whoever sees several controllers, and how many streams there may be.

use super::{ALL, Edge, edge, request};
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures::StreamExt as _;
use redress_domain::{Role, Roles};
use redress_store::Identified;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tower::ServiceExt as _;

async fn cookie(edge: &Edge) -> String {
    let who = Identified {
        issuer: "local".into(),
        subject: "s".to_owned().into(),
        name: "Ann".to_owned().into(),
        email: None,
        roles: Roles::new([Role::PrivacyLead]),
        controllers: None,
    };
    let (.., text) = edge.store.sign_in(&who, Duration::from_hours(1)).await.unwrap();
    format!("redress_session={text}")
}

async fn watch(edge: &Edge, header: (&str, &str), query: &str) -> (u16, BodyDataStream) {
    let request = Request::builder().uri(format!("/v1/stream{query}")).header(header.0, header.1);
    let answer = edge.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    (answer.status().as_u16(), answer.into_body().into_data_stream())
}

/// The next event: id, name, data.
async fn next(stream: &mut BodyDataStream) -> (String, String, Value) {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("in time");
        let frame = String::from_utf8(frame.expect("more").unwrap().to_vec()).unwrap();
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        if let Ok(data) = serde_json::from_str(&field("data: ")) {
            return (field("id: "), field("event: "), data);
        }
    }
}

#[tokio::test]
async fn whoever_sees_several_controllers_takes_the_stream_up_in_each_where_it_was_left() {
    let edge = edge().await;
    let cookie = cookie(&edge).await;
    for tenant in [&edge.acme, &edge.other] {
        edge.connect(tenant, "crm", ALL, &[]).await;
    }
    let mut last;
    {
        let (status, mut stream) = watch(&edge, ("cookie", &cookie), "").await;
        assert_eq!(status, 200);
        let (id, event, _) = next(&mut stream).await;
        assert_eq!(event, "ready");
        last = id;
    }
    let before: BTreeMap<String, i64> =
        edge.store.heads(None).await.unwrap().into_iter().map(|head| (head.name, head.seq)).collect();
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..4 {
        for _ in 0..3 {
            for key in [&edge.acme.user, &edge.other.user] {
                edge.call(key, "POST", "/v1/requests", Some(&request("access"))).await;
            }
        }
        // Some events are heard, then the connection is lost; by the end all were heard once.
        let wanted = if round < 3 { 2 } else { usize::MAX };
        let (_, mut stream) = watch(&edge, ("cookie", &cookie), &format!("?after={last}")).await;
        assert_eq!(next(&mut stream).await.1, "ready");
        let all = || async {
            let heads = edge.store.heads(None).await.unwrap();
            heads.iter().map(|head| head.seq - before[&head.name]).sum::<i64>()
        };
        let mut heard = 0;
        while heard < wanted && (told.values().map(Vec::len).sum::<usize>() as i64) < all().await {
            let (id, event, data) = next(&mut stream).await;
            assert_eq!(event, "request", "{data}");
            last = id;
            told.entry(data["controller"].as_str().unwrap().into())
                .or_default()
                .push(format!("{} {}", data["id"], data["kind"]));
            heard += 1;
        }
    }
    for (name, id) in [("acme", &edge.acme.id), ("other", &edge.other.id)] {
        let log = edge.store.events_after(id, before[name], 1_000).await.unwrap();
        let log: Vec<String> = log.iter().map(|e| format!("{:?} {:?}", e.dsr_id.as_deref().unwrap(), e.kind)).collect();
        assert_eq!(told[name], log, "each once, in order");
    }
    // One of them, by name; a cursor of another kind, and of nobody's controller.
    let (_, mut stream) = watch(&edge, ("cookie", &cookie), "?controller=acme").await;
    assert!(next(&mut stream).await.0.parse::<i64>().is_ok());
    for (query, status) in
        [("?controller=acme&after=m.", 422), ("?after=7", 422), ("?controller=nobody", 404), ("?x=1", 422)]
    {
        assert_eq!(watch(&edge, ("cookie", &cookie), query).await.0, status, "{query}");
    }
}

async fn disabled(edge: &Edge, person: &redress_domain::UserId, disabled: bool, roles: &[Role]) {
    let change =
        redress_store::UserChange { roles: Some(Roles::new(roles.iter().copied())), controllers: None, disabled };
    edge.store.change_user(person, &change, "usr_x").await.unwrap();
}

#[tokio::test]
async fn an_open_page_keeps_no_session_from_becoming_idle() {
    let edge = edge().await;
    let idle = redress_store::Life { lasts: Duration::from_hours(12), idle: Duration::from_hours(1) };
    let who = Identified {
        issuer: "local".into(),
        subject: "idle".to_owned().into(),
        name: "Ann".to_owned().into(),
        email: None,
        roles: Roles::new([Role::PrivacyLead]),
        controllers: None,
    };
    let key = edge.store.authenticate(&edge.acme.user).await.unwrap().unwrap();
    for by_key in [false, true] {
        let text = if by_key {
            edge.store.begin_key_session(&key.key_id, idle).await.unwrap().1
        } else {
            edge.store.sign_in(&who, idle).await.unwrap().2
        };
        let cookie = format!("redress_session={text}");
        let (_, mut stream) = watch(&edge, ("cookie", &cookie), "").await;
        assert_eq!(next(&mut stream).await.1, "ready");
        // Half of the time of idleness later the page still hears what happens, but nobody has done anything.
        edge.clock.advance(jiff::SignedDuration::from_mins(40));
        edge.connect(&edge.acme, if by_key { "crm" } else { "erp" }, ALL, &[]).await;
        assert_eq!(next(&mut stream).await.1, "controller");
        let (status, _) = watch(&edge, ("cookie", &cookie), "").await;
        assert_eq!(status, 200, "to open a stream again is nobody's doing either");
        edge.clock.advance(jiff::SignedDuration::from_mins(21));
        assert_eq!(next(&mut stream).await.1, "end");
        assert!(tokio::time::timeout(Duration::from_secs(5), stream.next()).await.expect("in time").is_none());
        assert_eq!(watch(&edge, ("cookie", &cookie), "").await.0, 401);
    }
    // Whoever works is not signed out meanwhile.
    let (.., text) = edge.store.sign_in(&who, idle).await.unwrap();
    for _ in 0..3 {
        edge.clock.advance(jiff::SignedDuration::from_mins(40));
        assert_eq!(edge.browse(Some(&format!("redress_session={text}")), "/requests", None).await.status, 200);
    }
}

#[tokio::test]
async fn a_disabled_person_is_out_at_the_next_call_and_hears_nothing_more() {
    let edge = edge().await;
    let system = || edge.connect(&edge.acme, "crm", ALL, &[]);
    system().await;
    let who = |name: &str| Identified {
        issuer: "local".into(),
        subject: name.to_owned().into(),
        name: name.to_owned().into(),
        email: None,
        roles: Roles::new([Role::PrivacyLead]),
        controllers: None,
    };
    // Disabled, without a role, signed out by an administrator: each at once, on pages, in the interface and on the stream.
    for how in ["disabled", "without a role", "signed out"] {
        let (person, _, text) = edge.store.sign_in(&who(how), Duration::from_hours(12)).await.unwrap();
        let (_, _, second) = edge.store.sign_in(&who(how), Duration::from_hours(12)).await.unwrap();
        let cookie = format!("redress_session={text}");
        let (_, mut stream) = watch(&edge, ("cookie", &cookie), "").await;
        assert_eq!(next(&mut stream).await.1, "ready");
        for path in ["/requests", "/v1/requests?controller=acme"] {
            assert_eq!(edge.browse(Some(&cookie), path, None).await.status, 200, "{how} {path}");
        }
        match how {
            "disabled" => disabled(&edge, &person, true, &[Role::PrivacyLead]).await,
            "without a role" => disabled(&edge, &person, false, &[]).await,
            _ => drop(edge.store.sign_out_everywhere(&person, "usr_x").await.unwrap()),
        }
        for _ in 0..3 {
            edge.call(&edge.acme.user, "POST", "/v1/requests", Some(&request("access"))).await;
        }
        assert_eq!(
            next(&mut stream).await.1,
            "end",
            "{how}: the last that is heard, and nothing of what happened since"
        );
        assert!(tokio::time::timeout(Duration::from_secs(5), stream.next()).await.expect("in time").is_none());
        let (page, call) = if how == "without a role" { (403, 403) } else { (401, 401) };
        for text in [&text, &second] {
            let cookie = format!("redress_session={text}");
            assert_eq!(edge.browse(Some(&cookie), "/requests", None).await.status, page, "{how}");
            let listed = edge.browse(Some(&cookie), "/v1/requests?controller=acme", None).await;
            assert_eq!(listed.status, call, "{how}");
            assert_eq!(watch(&edge, ("cookie", &cookie), "").await.0, call, "{how}");
        }
        if how == "disabled" {
            assert!(edge.store.sign_in(&who(how), Duration::from_hours(12)).await.is_err());
            // Let in again, what was ended stays ended.
            disabled(&edge, &person, false, &[Role::PrivacyLead]).await;
            assert_eq!(edge.browse(Some(&cookie), "/requests", None).await.status, page);
        }
    }
}

#[tokio::test]
async fn nobody_hears_of_another_controller_and_nobody_holds_all_streams() {
    let edge = edge().await;
    edge.connect(&edge.other, "crm", ALL, &[]).await;
    let bearer = format!("Bearer {}", edge.acme.auditor);
    let mut open = Vec::new();
    for n in 0..20 {
        let (status, stream) = watch(&edge, ("authorization", &bearer), "?after=0").await;
        assert_eq!(status, 200, "{n}");
        open.push(stream);
    }
    assert_eq!(watch(&edge, ("authorization", &bearer), "").await.0, 429);
    let theirs = edge.call(&edge.other.user, "POST", "/v1/requests", Some(&request("access"))).await;
    assert_eq!(theirs.status, 202);
    let other = format!("Bearer {}", edge.other.user);
    assert_eq!(watch(&edge, ("authorization", &other), "").await.0, 200, "another caller has their own");
    let mut one = open.pop().unwrap();
    loop {
        let heard = tokio::time::timeout(Duration::from_secs(2), next(&mut one)).await;
        let Ok((_, event, data)) = heard else { break };
        assert!(event == "ready" || data["controller"] == "acme", "{data}");
    }
    drop(one);
    assert_eq!(watch(&edge, ("authorization", &bearer), "").await.0, 200, "a place given back is taken again");
}

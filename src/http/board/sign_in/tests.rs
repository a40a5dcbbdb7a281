use super::provider;
use crate::http::tests::people::HERE;
use crate::http::tests::{Edge, edge, edge_with, people};
use crate::http::{Api, Peer};
use crate::link::Invited;
use jiff::SignedDuration;
use redress_domain::Role;
use redress_store::SignIn;
use serde_json::json;
use std::time::Duration;

const PROVIDER: &[(&str, &str)] = &[
    ("REDRESS_HTTP__PUBLIC_URL", "http://127.0.0.1:8080"),
    ("REDRESS_OIDC__ISSUER", "http://127.0.0.1:9/"),
    ("REDRESS_OIDC__CLIENT_ID", "redress"),
];

async fn with_provider() -> Edge {
    edge_with(|api| Api { people: people(PROVIDER), ..api }).await
}

fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What the form for a key answers to a wrong one, sent through this connection with this header.
async fn wrong_key(edge: &Edge, peer: &str, header: (&str, &str)) -> u16 {
    let request = axum::http::Request::post("/sign-in")
        .header("host", "dsr.example")
        .header("origin", HERE)
        .header("content-type", "application/x-www-form-urlencoded")
        .header(header.0, header.1)
        .extension(Peer(peer.parse().unwrap()));
    edge.send(request.body(axum::body::Body::from("key=rk_wrong")).unwrap()).await.status.as_u16()
}

#[tokio::test]
async fn failures_behind_a_proxy_are_counted_by_who_called_it_and_nobody_can_pass_for_another() {
    let trusting = people(&[("REDRESS_HTTP__TRUSTED_PROXIES", "10.0.0.0/8")]);
    let edge = edge_with(|api| Api { people: trusting, ..api }).await;
    let (proxy, name) = ("10.1.2.3:4711", "x-forwarded-for");
    for n in 0..10 {
        assert_eq!(wrong_key(&edge, proxy, (name, &format!("192.0.2.{n}, 198.51.100.9"))).await, 401, "{n}");
    }
    assert_eq!(
        wrong_key(&edge, proxy, (name, "192.0.2.77, 198.51.100.9")).await,
        429,
        "what they invent is not looked at"
    );
    assert_eq!(
        wrong_key(&edge, proxy, ("forwarded", "for=198.51.100.9")).await,
        401,
        "a header that the proxy does not write"
    );
    assert_eq!(wrong_key(&edge, proxy, (name, "198.51.100.10")).await, 401, "others behind the same proxy go on");
    // Whoever comes straight is who they are, whatever they say.
    for n in 0..10 {
        assert_eq!(wrong_key(&edge, "203.0.113.5:1", (name, &format!("192.0.2.{n}"))).await, 401, "{n}");
    }
    assert_eq!(wrong_key(&edge, "203.0.113.5:2", (name, "192.0.2.99")).await, 429);
    assert_eq!(wrong_key(&edge, proxy, (name, "192.0.2.5")).await, 401, "nor is anybody else shut out by it");
}

async fn kinds(edge: &Edge) -> Vec<String> {
    edge.store.staff_events(0, 100).await.unwrap().into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn an_api_key_signs_a_browser_in_until_the_key_is_revoked() {
    let edge = edge().await;
    let (id, key) = edge.store.create_key(&edge.acme.id, Role::ControllerUser, "test").await.unwrap();
    let form = query(&[("key", &key), ("next", "/requests?status=on_hold")]);
    for origin in ["http://evil.example", "null"] {
        assert_eq!(edge.browse_from(None, "/sign-in", Some(&form), origin).await.status, 403, "{origin}");
    }
    let answer = edge.browse(None, "/sign-in", Some(&form)).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/requests?status=on_hold"));
    let kept = answer.header("set-cookie");
    assert!(
        kept.contains("HttpOnly") && kept.contains("SameSite=Lax") && kept.contains("Path=/") && !kept.contains(&key)
    );
    let cookie = answer.cookie("redress_session").unwrap();
    assert_eq!(edge.browse(Some(&cookie), "/", None).await.status, 200);
    assert_eq!(edge.browse(Some(&cookie), "/v1/requests", None).await.status, 200);
    edge.store.revoke_key(&edge.acme.id, &id, "test").await.unwrap();
    assert_eq!(edge.browse(Some(&cookie), "/", None).await.status, 401);
    assert_eq!(edge.browse(Some(&cookie), "/v1/requests", None).await.status, 401);
    assert_eq!(kinds(&edge).await, ["signed_in"]);
}

#[tokio::test]
async fn a_wrong_key_is_refused_kept_in_the_log_and_not_tried_for_ever() {
    let edge = edge().await;
    let form = query(&[("key", "rk_01aryz6s410000000000000000_canary")]);
    for _ in 0..10 {
        let answer = edge.browse(None, "/sign-in", Some(&form)).await;
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains("unknown or revoked") && !answer.text().contains("canary"));
        assert!(answer.cookie("redress_session").is_none());
    }
    let right = query(&[("key", &edge.acme.user)]);
    assert_eq!(edge.browse(None, "/sign-in", Some(&right)).await.status, 429);
    assert_eq!(kinds(&edge).await, vec!["sign_in_refused"; 10]);
    edge.clock.advance(SignedDuration::from_mins(5));
    assert_eq!(edge.browse(None, "/sign-in", Some(&right)).await.status, 303);
}

#[tokio::test]
async fn what_is_shown_after_a_sign_in_is_always_here() {
    let edge = edge().await;
    for next in ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", "/a\r\nSet-Cookie: x=y", ""] {
        let answer = edge.browse(None, "/sign-in", Some(&query(&[("key", &edge.acme.user), ("next", next)]))).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/"), "{next:?}");
    }
}

#[tokio::test]
async fn a_link_signs_in_once_and_looking_at_it_does_not_use_it_up() {
    let edge = edge().await;
    let invited = Invited::new("Zoë <b>", &[Role::PrivacyLead], None).unwrap();
    let link = invited.link(&edge.store, HERE).await.unwrap();
    let path = link.strip_prefix(HERE).unwrap();
    let code = path.split_once("code=").unwrap().1;
    for _ in 0..3 {
        let page = edge.browse(None, path, None).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("Zoë &lt;b&gt;") && page.text().contains("privacy lead"), "{}", page.text());
        assert!(page.headers.get("set-cookie").is_none());
    }
    let form = query(&[("code", code)]);
    assert_eq!(edge.browse_from(None, "/sign-in/link", Some(&form), "http://evil.example").await.status, 403);
    let answer = edge.browse(None, "/sign-in/link", Some(&form)).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/"));
    let cookie = answer.cookie("redress_session").unwrap();
    assert!(edge.browse(Some(&cookie), "/", None).await.text().contains("Zoë &lt;b&gt;"));
    assert_eq!(edge.browse(None, "/sign-in/link", Some(&form)).await.status, 410);
    assert_eq!(edge.browse(None, path, None).await.status, 410);

    let late = invited.link(&edge.store, HERE).await.unwrap();
    edge.clock.advance(SignedDuration::from_mins(15));
    let form = query(&[("code", late.split_once("code=").unwrap().1)]);
    assert_eq!(edge.browse(None, "/sign-in/link", Some(&form)).await.status, 410);
    assert_eq!(
        kinds(&edge).await,
        ["link_made", "signed_in", "sign_in_refused", "link_made", "sign_in_refused"],
        "and a look is no event"
    );
}

#[test]
fn a_link_is_for_somebody_who_may_do_something_somewhere() {
    assert!(Invited::new("", &[Role::Admin], None).is_err());
    assert!(Invited::new("a\nb", &[Role::Admin], None).is_err());
    assert!(Invited::new("ann", &[], None).is_err());
    assert!(Invited::new("ann", &[Role::ControllerUser], None).is_err());
    assert!(Invited::new("ann", &[Role::Auditor], None).is_ok());
}

#[tokio::test]
async fn a_session_ends_at_once_when_somebody_signs_out() {
    let edge = edge().await;
    let ann = edge.someone("ann", &[Role::PrivacyLead], None).await;
    let other = edge.someone("ann", &[Role::PrivacyLead], None).await;
    let token = edge.token(&ann.cookie).await;
    let (form, foreign) = (query(&[("csrf", &token)]), query(&[("csrf", &edge.token(&other.cookie).await)]));
    for (form, origin) in [(form.as_str(), "http://evil.example"), (foreign.as_str(), HERE), ("", HERE)] {
        assert_eq!(edge.browse_from(Some(&ann.cookie), "/sign-out", Some(form), origin).await.status, 403);
    }
    assert_eq!(edge.browse(Some(&ann.cookie), "/", None).await.status, 200);
    let answer = edge.browse(Some(&ann.cookie), "/sign-out", Some(&form)).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/sign-in?done=left"));
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(edge.browse(Some(&ann.cookie), "/", None).await.status, 401);
    assert_eq!(edge.browse(Some(&other.cookie), "/", None).await.status, 200, "their other browser is another session");
    assert!(edge.browse(None, "/sign-in?done=left", None).await.text().contains("You are signed out."));

    let key = query(&[("key", &edge.acme.user)]);
    let cookie = edge.browse(None, "/sign-in", Some(&key)).await.cookie("redress_session").unwrap();
    let form = query(&[("csrf", &edge.token(&cookie).await)]);
    assert_eq!(edge.browse(Some(&cookie), "/sign-out", Some(&form)).await.status, 303);
    assert_eq!(edge.browse(Some(&cookie), "/", None).await.status, 401);
    assert_eq!(kinds(&edge).await, ["signed_out", "signed_in", "signed_out"]);
}

#[tokio::test]
async fn a_role_that_is_taken_away_is_gone_at_the_next_call() {
    let edge = edge().await;
    let ann = edge.someone("ann", &[Role::PrivacyLead], None).await;
    assert_eq!(edge.browse(Some(&ann.cookie), "/requests", None).await.status, 200);
    let later = edge.someone("ann", &[], None).await;
    for cookie in [&ann.cookie, &later.cookie] {
        let page = edge.browse(Some(cookie), "/requests", None).await;
        assert_eq!(page.status, 403);
        assert!(page.text().contains("nobody has given you a role here"), "{}", page.text());
        let page = edge.browse(Some(cookie), "/sign-in", None).await.text();
        assert!(page.contains("An administrator of this installation can give you one") && page.contains("Sign out"));
    }
    let confined = edge.someone("ann", &[Role::PrivacyLead], Some(&[])).await;
    assert_eq!(edge.browse(Some(&confined.cookie), "/requests", None).await.status, 403, "nobody's requests");
}

#[tokio::test]
async fn a_session_has_an_end_and_ends_before_it_if_nobody_calls() {
    let edge = edge_with(|api| Api {
        people: people(&[("REDRESS_BOARD__SESSION_HOURS", "2"), ("REDRESS_BOARD__IDLE_MINUTES", "50")]),
        ..api
    })
    .await;
    let sign_in = || async {
        let link = Invited::first_administrator().link(&edge.store, HERE).await.unwrap();
        let form = query(&[("code", link.split_once("code=").unwrap().1)]);
        edge.browse(None, "/sign-in/link", Some(&form)).await.cookie("redress_session").unwrap()
    };
    let key = query(&[("key", &edge.acme.user)]);
    let by_key = || async { edge.browse(None, "/sign-in", Some(&key)).await.cookie("redress_session").unwrap() };
    for by_a_link in [true, false] {
        let cookie = if by_a_link { sign_in().await } else { by_key().await };
        let status = || async { edge.browse(Some(&cookie), "/", None).await.status.as_u16() };
        for _ in 0..2 {
            edge.clock.advance(SignedDuration::from_mins(49));
            assert_eq!(status().await, 200);
        }
        edge.clock.advance(SignedDuration::from_mins(22));
        assert_eq!(status().await, 401, "two hours are over");
    }
    for cookie in [sign_in().await, by_key().await] {
        edge.clock.advance(SignedDuration::from_mins(50));
        assert_eq!(edge.browse(Some(&cookie), "/", None).await.status, 401, "nobody called for fifty minutes");
    }
}

#[tokio::test]
async fn over_https_the_cookie_is_for_this_host_and_encrypted_connections_only() {
    let edge =
        edge_with(|api| Api { people: people(&[("REDRESS_HTTP__PUBLIC_URL", "https://dsr.example")]), ..api }).await;
    let answer = edge.browse(None, "/sign-in", Some(&query(&[("key", &edge.acme.user)]))).await;
    let kept = answer.header("set-cookie");
    assert!(
        kept.starts_with("__Host-redress_session=ks_") && kept.ends_with("; Secure") && kept.contains("; Path=/;"),
        "{kept}"
    );
    let cookie = answer.cookie("__Host-redress_session").unwrap();
    assert_eq!(edge.browse(Some(&cookie), "/", None).await.status, 200);
    // A neighbour's host may set a cookie without the prefix; it is not taken for ours.
    let tossed = cookie.replace("__Host-", "");
    assert_eq!(edge.browse(Some(&tossed), "/", None).await.status, 401);
    assert_eq!(edge.browse(Some(&format!("{tossed}; {cookie}")), "/", None).await.status, 200);
    assert_eq!(edge.browse(Some(&format!("{cookie}; {cookie}")), "/", None).await.status, 401);
}

#[tokio::test]
async fn browsers_that_are_not_known_are_led_to_the_provider_and_programs_are_not() {
    let led = with_provider().await;
    let edge = &led;
    let answer = edge.browse(None, "/requests?status=on_hold", None).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), "/sign-in?next=%2Frequests%3Fstatus%3Don_hold");
    let page = edge.browse(None, answer.header("location"), None).await.text();
    assert!(page.contains("href=\"/sign-in/oidc?next=%2Frequests%3Fstatus%3Don_hold\""), "{page}");
    assert_eq!(edge.browse(None, "/v1/requests", None).await.status, 401);
    assert_eq!(edge.page("/", "dsr.example", None).await.status, 401, "it does not say that it wants a page");
    // Without a provider a browser is asked for a key, and told of the other ways.
    let edge = crate::http::tests::edge().await;
    let answer = edge.browse(None, "/", None).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Basic ") && answer.text().contains("href=\"/sign-in\""));
    // Nobody is asked so in answer to a form, which would be sent once more as whoever they then say that they are.
    let answer = edge.browse(None, "/act/v1/systems/crm/pause", Some("csrf=x")).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Bearer ") && answer.text().contains("href=\"/sign-in\""));
    assert_eq!(edge.browse(None, "/sign-in/oidc", None).await.status, 404);
    assert_eq!(edge.browse(None, "/sign-in/callback?state=x", None).await.status, 404);
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_in_words() {
    let edge = with_provider().await;
    let answer = edge.browse(None, "/sign-in/oidc", None).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("discovery document cannot be reached"), "{}", answer.text());
}

#[tokio::test]
async fn an_answer_holds_once_for_ten_minutes_and_in_the_browser_that_asked() {
    let edge = with_provider().await;
    let begin = || async {
        edge.store.begin_sign_in(SignIn::Provider, &provider::kept("mine"), Duration::from_mins(10)).await.unwrap()
    };
    let mine = Some("redress_sign_in=mine");
    let back = |state: String, cookie: Option<&'static str>, rest: &'static str| {
        let edge = &edge;
        async move { edge.browse(cookie, &format!("/sign-in/callback?state={state}{rest}"), None).await }
    };
    let denied = "&error=access_denied&error_description=no%20%3Cb%3E";
    assert_eq!(back("x".into(), mine, "&code=c").await.status, 403, "a state that we never gave");
    let state = begin().await;
    for cookie in [None, Some("redress_sign_in=theirs"), Some("redress_sign_in=mine; redress_sign_in=mine")] {
        let answer = back(state.clone(), cookie, denied).await;
        assert_eq!(answer.status, 403);
        assert!(answer.text().contains("another browser") && !answer.text().contains("no &lt;b&gt;"));
    }
    // What the provider says is shown to whoever asked it, once.
    let answer = back(state.clone(), mine, denied).await;
    assert!(
        answer.status == 403 && answer.text().contains("you cancelled it") && answer.text().contains("no &lt;b&gt;")
    );
    assert!(back(state, mine, denied).await.text().contains("was finished before"));
    edge.clock.advance(SignedDuration::from_mins(5));
    let state = begin().await;
    edge.clock.advance(SignedDuration::from_mins(10));
    assert!(back(state, mine, "&code=c").await.text().contains("longer than ten minutes"));
    let events = edge.store.staff_events(0, 100).await.unwrap();
    assert!(events.iter().all(|event| event.kind == "sign_in_refused" && event.data["by"] == json!("provider")));
    assert_eq!(events.len(), 7);
}

//! One request: what is shown to whom, what can be done, and who the person is only on purpose.

use super::{send, shown, submit};
use crate::http::tests::{ALL, edge, request};
use redress_store::{Finish, StepResult};
use serde_json::json;

/// What may stand in any text of others.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&\u{202e}evil\u{1b}[31m\u{1f600}";

#[tokio::test]
async fn who_the_person_is_stays_masked_until_somebody_says_why_and_is_masked_again_afterwards() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let id = submit(&edge, &edge.acme.user, "access").await;
    let (page, call) = (format!("/requests/{id}"), format!("/v1/requests/{id}/reveal"));
    let masked = shown(&edge, &edge.acme.user, &page).await.text();
    assert!(masked.contains("j•••@e•••.com") && !masked.contains("jane@example.com"), "{masked}");
    assert!(!masked.contains("canary-reference"), "{masked}");
    assert!(!shown(&edge, &edge.acme.user, "/requests").await.text().contains("canary-reference"));
    let audited = shown(&edge, &edge.acme.auditor, &page).await.text();
    assert!(
        !audited.contains("j•••")
            && !audited.contains("canary-reference")
            && audited.contains("may not see who a person is")
    );
    let reveal = |reason: &str| json!({ "reason": reason });
    assert_eq!(edge.call(&edge.acme.auditor, "POST", &call, Some(&reveal("identity_check"))).await.status, 403);
    assert_eq!(edge.call(&edge.other.user, "POST", &call, Some(&reveal("identity_check"))).await.status, 404);
    for bad in [json!({}), reveal(""), reveal("  x "), reveal(&"x".repeat(501)), json!({ "reason": 1 })] {
        assert_eq!(edge.call(&edge.acme.user, "POST", &call, Some(&bad)).await.pointers(), ["/reason"]);
    }
    let kinds = async || {
        let events = edge.get(&format!("/v1/requests/{id}/events")).await.json();
        let all = events["events"].as_array().unwrap().clone();
        all.into_iter().filter(|event| event["kind"] == "personal_revealed").collect::<Vec<_>>()
    };
    assert!(kinds().await.is_empty(), "what was refused was not seen");
    let answer = send(&edge, &edge.acme.user, &page, &call, &[("reason", "Jane called us")]).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let text = answer.text();
    assert!(text.contains("jane@example.com") && text.contains("canary-reference"), "{text}");
    let seen = kinds().await;
    assert_eq!((seen.len(), &seen[0]["data"]["reason"]), (1, &json!("given")));
    let again = shown(&edge, &edge.acme.user, &page).await.text();
    assert!(again.contains("j•••@e•••.com") && !again.contains("jane@example.com"));
    assert!(again.contains("Who saw personal data (1)") && again.contains("Jane called us"), "{again}");
    assert!(!shown(&edge, &edge.acme.auditor, &page).await.text().contains("Jane called us"));
    let answer = edge.call(&edge.acme.user, "POST", &call, Some(&reveal("identity_check"))).await.json();
    assert_eq!(answer["identifiers"], json!([{ "type": "email", "value": "jane@example.com" }]));

    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{id}/withdraw"), None).await;
    edge.clock.advance(jiff::SignedDuration::from_hours(48));
    edge.store.purge_due(10).await.unwrap();
    assert_eq!(edge.call(&edge.acme.user, "POST", &call, Some(&reveal("identity_check"))).await.status, 410);
    let purged = shown(&edge, &edge.acme.user, &page).await.text();
    assert!(
        purged.contains("The personal data were destroyed") && !purged.contains("j•••") && !purged.contains("Jane")
    );
}

#[tokio::test]
async fn each_action_is_a_form_that_does_what_it_says_and_stands_only_where_it_can() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let id = submit(&edge, &edge.acme.user, "access").await;
    let page = format!("/requests/{id}");
    let call = |verb: &str| format!("/v1/requests/{id}/{verb}");
    let forms = async |key: &str| {
        let text = shown(&edge, key, &page).await.text();
        let verbs = ["approve", "retry", "resume", "acknowledge", "pause", "extend", "withdraw", "reject"];
        verbs.into_iter().filter(|verb| text.contains(&format!("/act{}\"", call(verb)))).collect::<Vec<_>>()
    };
    assert_eq!(forms(&edge.acme.user).await, ["acknowledge", "pause", "extend", "withdraw", "reject"]);
    assert_eq!(forms(&edge.acme.auditor).await, Vec::<&str>::new());
    let act = async |verb: &str, fields: &[(&str, &str)]| {
        let answer = send(&edge, &edge.acme.user, &page, &call(verb), fields).await;
        assert_eq!(answer.status, 303, "{verb}: {}", answer.text());
    };
    act("acknowledge", &[("_done", "acknowledged")]).await;
    act("pause", &[("kind", "identity"), ("reason", HOSTILE)]).await;
    assert_eq!(forms(&edge.acme.user).await, ["resume", "pause", "extend", "withdraw", "reject"]);
    let waiting = shown(&edge, &edge.acme.user, &page).await.text();
    assert!(waiting.contains("It waits for identity") && waiting.contains("What helps"), "{waiting}");
    act("resume", &[("kind", "identity")]).await;
    act("extend", &[("reason", "many_requests")]).await;
    assert_eq!(forms(&edge.acme.user).await, ["pause", "withdraw", "reject"]);
    let refused = send(&edge, &edge.acme.user, &page, &call("reject"), &[]).await;
    assert!(refused.status == 422 && refused.text().contains("reason"), "{}", refused.text());
    act("reject", &[("reason", "manifestly_unfounded")]).await;
    assert_eq!(forms(&edge.acme.user).await, Vec::<&str>::new());
    let ended = shown(&edge, &edge.acme.user, &page).await.text();
    for said in [
        "Rejected: manifestly unfounded.",
        "The clock was paused: identity is awaited",
        "It ended as rejected",
        "Why these dates",
    ] {
        assert!(ended.contains(said), "{said}: {ended}");
    }
    assert!(!ended.contains("<img") && ended.contains("&lt;img"), "the reason is shown as it was written");
}

#[tokio::test]
async fn texts_of_others_are_shown_inert_wherever_they_stand() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let mut body = request("access");
    body["reference"] = json!("<img src=x onerror=alert(1)>\"&\u{1f600}");
    let id = edge.submit(&body).await.json()["id"].as_str().unwrap().to_owned();
    edge.store.advance_due(10).await.unwrap();
    let lease = edge.store.claim("one", &["notify".into()], 1, 60_000).await.unwrap().pop().unwrap();
    let detail = format!("{HOSTILE}{}", "x".repeat(4_096));
    let result = StepResult::Later { not_before: 0, failed: true, attention: true, code: "unreachable".into(), detail };
    edge.store.finish(vec![Finish { lease, result }]).await.unwrap();
    let page = shown(&edge, &edge.acme.user, &format!("/requests/{id}")).await.text();
    assert!(page.contains("onerror=alert(1)&gt;") && !page.contains("<img"), "{page}");
    assert!(
        page.contains("needs attention")
            && page.contains("Whoever knows the system can")
            && page.contains(&format!("/act/v1/requests/{id}/retry"))
    );
    let list = shown(&edge, &edge.acme.user, "/requests").await.text();
    assert!(list.contains(&id) && !list.contains("<img") && !list.contains("onerror"), "{list}");
    let call = format!("/v1/requests/{id}/reveal");
    let fields = [("reason", "to see what it is called")];
    let revealed = send(&edge, &edge.acme.user, &format!("/requests/{id}"), &call, &fields).await.text();
    assert!(revealed.contains("&lt;img src=x onerror=alert(1)&gt;") && !revealed.contains("<img"), "{revealed}");
}

#[tokio::test]
async fn anothers_request_looks_like_one_that_does_not_exist() {
    let edge = edge().await;
    let theirs = submit(&edge, &edge.other.user, "access").await;
    let missing = format!("{}{}", &theirs[..29], if theirs.ends_with('0') { "1" } else { "0" });
    let look = async |id: &str| {
        let answer = shown(&edge, &edge.acme.admin, &format!("/requests/{id}")).await;
        (answer.status, answer.text())
    };
    let (status, text) = look(&theirs).await;
    assert_eq!((status.as_u16(), &text), (404, &look(&missing).await.1));
    assert!(!text.contains(&theirs) && !text.contains("other"));
}

#[tokio::test]
async fn a_long_history_is_read_page_by_page_the_newest_last() {
    let edge = edge().await;
    let id = submit(&edge, &edge.acme.user, "access").await;
    let dsr = redress_domain::DsrId::parse(&id).unwrap();
    for n in 0..130 {
        let data = json!({ "reason": format!("r{n}x") });
        edge.store.record_event(&edge.acme.id, "operator", Some(&dsr), "rejected", data).await.unwrap();
    }
    let page = shown(&edge, &edge.acme.auditor, &format!("/requests/{id}")).await.text();
    assert!(page.contains("r129x") && !page.contains("r20x") && page.find("r128x") < page.find("r129x"));
    let (_, rest) = page.split_once("?events_before=").expect("a way to the older ones");
    let before = rest.split('#').next().unwrap();
    let older = shown(&edge, &edge.acme.auditor, &format!("/requests/{id}?events_before={before}")).await.text();
    assert!(
        older.contains("r20x")
            && !older.contains("r129x")
            && older.contains("Received: access")
            && older.contains("To the newest")
    );
    assert_eq!(shown(&edge, &edge.acme.auditor, &format!("/requests/{id}?events_before=x")).await.status, 422);
}

#[tokio::test]
async fn people_are_named_to_those_who_administer_them_and_to_nobody_else() {
    use redress_domain::{Role, Roles};
    let edge = edge().await;
    let sign_in = async |name: &str, role: Role| {
        let who = redress_store::Identified {
            issuer: "https://idp.example".into(),
            subject: name.to_owned().into(),
            name: name.to_owned().into(),
            email: None,
            roles: Roles::from(role),
            controllers: None,
        };
        let (id, _, text) = edge.store.sign_in(&who, std::time::Duration::from_hours(1)).await.unwrap();
        (id, format!("redress_session={text}"))
    };
    let id = submit(&edge, &edge.acme.user, "access").await;
    let (ann, anns) = sign_in("Ann <i>Ammer</i>", Role::PrivacyLead).await;
    let (_, bosses) = sign_in("Boss", Role::Admin).await;
    let dsr = redress_domain::DsrId::parse(&id).unwrap();
    edge.store.reveal(&edge.acme.id, &dsr, ann.as_str(), "complaint", json!({})).await.unwrap();
    let page = format!("/requests/{id}");
    let look = async |cookie: &str| {
        let request = axum::http::Request::get(page.as_str()).header("host", "dsr.example").header("cookie", cookie);
        edge.send(request.body(axum::body::Body::empty()).unwrap()).await.text()
    };
    let named = look(&bosses).await;
    assert!(named.contains("Ann &lt;i&gt;Ammer&lt;/i&gt;") && named.contains("for the reason complaint"), "{named}");
    assert!(!named.contains("j•••"), "an administrator sees no identifier, not even masked");
    let own = look(&anns).await;
    assert!(own.contains(ann.as_str()) && own.contains("j•••@e•••.com"), "{own}");
    assert_eq!(own.matches("Ann &lt;i&gt;").count(), 1, "only as who has signed in");
}

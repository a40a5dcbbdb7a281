//! Today: what will be late stands first, with the reason and what helps; nobody sees what is not theirs.

use super::{open, submit};
use crate::http::tests::{ALL, Edge, edge, request};
use jiff::SignedDuration;
use serde_json::json;

const LOCAL: (&str, Option<&str>) = ("localhost", None);

async fn today(edge: &Edge, (host, key): (&str, Option<&str>)) -> String {
    let answer = edge.page("/", host, key).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// The part of a page from a heading to the end of its section.
fn part<'p>(page: &'p str, heading: &str) -> &'p str {
    let from = page.find(heading).unwrap_or_else(|| panic!("{heading} is not on {page}"));
    page[from..].split("</section>").next().unwrap_or_default()
}

/// What a tile shows.
fn tile(page: &str, label: &str) -> String {
    let end = page.find(&format!("<span class=\"label\">{label}</span>")).unwrap_or_else(|| panic!("no tile {label}"));
    let figure = page[..end].rsplit("<b class=\"figure\">").next().unwrap_or_default();
    figure.split('<').next().unwrap_or_default().to_owned()
}

/// An edge with a paused system and three requests for it, the first of which is due before long.
async fn waiting(edge: &Edge) -> Vec<String> {
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let mut ids = Vec::new();
    for received in ["2026-10-24T09:00:00Z", "2026-11-10T09:00:00Z", "2026-11-18T09:00:00Z"] {
        let mut body = request("access");
        body["data_subject_received_at"] = json!(received);
        body["reference"] = json!("canary-reference");
        ids.push(edge.submit(&body).await.json()["id"].as_str().unwrap().to_owned());
    }
    edge.store.advance_due(10).await.unwrap();
    ids
}

#[tokio::test]
async fn what_will_be_late_is_said_first_with_the_reason_and_what_helps() {
    let edge = open().await;
    let ids = waiting(&edge).await;
    let calm = today(&edge, LOCAL).await;
    assert!(calm.contains("will end in time"), "{calm}");
    edge.store.pause_system(&edge.acme.id, "crm", true, "operator").await.unwrap();
    edge.store.foresee(50).await.unwrap();
    let page = today(&edge, LOCAL).await;
    let lead = page.split("class=\"lead\">").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(lead.contains("unless somebody acts") && lead.contains(&ids[0]), "{lead}");
    assert!(
        lead.contains("crm is paused")
            && lead.contains("Resume the system")
            && lead.contains("href=\"/systems/acme/crm\""),
        "{lead}"
    );
    let list = part(&page, "In time only if somebody acts");
    let places: Vec<usize> = ids.iter().map(|id| list.find(id.as_str()).unwrap()).collect();
    assert!(places.is_sorted(), "the most pressing one first: {list}");
    let stuck = part(&page, "Stuck systems");
    assert!(
        stuck.contains("crm") && stuck.contains("It is paused.") && stuck.contains("Ask an operator to resume it"),
        "{stuck}"
    );
    // Too late for anything: it is no longer said that acting helps.
    edge.clock.advance(SignedDuration::from_hours(24 * 6));
    edge.store.foresee(50).await.unwrap();
    let page = today(&edge, LOCAL).await;
    assert!(page.contains("overdue.") && part(&page, "Overdue").contains(&ids[0]), "{page}");
    assert_eq!(tile(&page, "overdue"), "1");
}

#[tokio::test]
async fn a_late_request_is_told_with_its_bottleneck_and_a_remedy() {
    let edge = open().await;
    let ids = waiting(&edge).await;
    // The system takes three days for each call, as it was seen to.
    let (hour, busy) = (edge.store.now_ms() / 3_600_000, 60 * 86_400_000_i64);
    let system = edge.store.system_by_name(&edge.acme.id, "crm").await.unwrap().unwrap().id;
    edge.sql(&format!("INSERT INTO paces (system_id, hour, done, failed, busy_ms, busy_until) VALUES ('{system}', {hour}, 20, 0, {busy}, 0)")).await;
    edge.clock.advance(SignedDuration::from_hours(60));
    edge.store.foresee(50).await.unwrap();
    let page = today(&edge, LOCAL).await;
    let list = part(&page, "Will be late");
    assert!(list.contains(&ids[0]) && list.contains("late by"), "{list}");
    assert!(list.contains("crm: ") && (list.contains("would be in time.") || list.contains("Extend it")), "{list}");
    assert_ne!(tile(&page, "late by forecast"), "0");
}

#[tokio::test]
async fn each_viewer_sees_their_own_controllers_and_no_names_of_persons() {
    let edge = edge().await;
    let ours = waiting(&edge).await;
    let theirs = submit(&edge, &edge.other.user, "access").await;
    edge.store.pause_system(&edge.acme.id, "crm", true, "operator").await.unwrap();
    edge.store.advance_due(10).await.unwrap();
    edge.store.foresee(50).await.unwrap();
    let own = today(&edge, ("dsr.example", Some(&edge.acme.user))).await;
    assert!(ours.iter().all(|id| own.contains(id.as_str())) && !own.contains(&theirs), "{own}");
    assert_eq!(tile(&own, "open"), "3");
    let other = today(&edge, ("dsr.example", Some(&edge.other.user))).await;
    assert!(other.contains(&theirs) && ours.iter().all(|id| !other.contains(id.as_str())), "{other}");
    assert!(!other.contains("acme") && !other.contains("crm"), "{other}");
    assert_eq!((tile(&other, "open"), tile(&other, "needs attention")), ("1".into(), "1".into()));
    for page in [own, other] {
        assert!(!page.contains("canary") && !page.contains("jane"), "{page}");
    }
}

#[tokio::test]
async fn whoever_may_resume_a_system_does_it_from_here_and_sees_it_done() {
    let edge = edge().await;
    waiting(&edge).await;
    edge.store.pause_system(&edge.acme.id, "crm", true, "operator").await.unwrap();
    let admin = ("dsr.example", Some(edge.acme.admin.as_str()));
    let page = today(&edge, admin).await;
    let form = part(&page, "Stuck systems");
    assert!(form.contains("action=\"/act/v1/systems/crm/resume\"") && form.contains("name=\"csrf\""), "{form}");
    let user = today(&edge, ("dsr.example", Some(&edge.acme.user))).await;
    assert!(!user.contains("/act/v1/systems"), "who may not is asked to ask: {user}");
    let answer = edge.call(&edge.acme.admin, "POST", "/v1/systems/crm/resume", None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = edge.page("/?done=resumed", "dsr.example", Some(&edge.acme.admin)).await.text();
    assert!(page.contains("Resumed.") && page.contains("Every connected system works."), "{page}");
}

#[tokio::test]
async fn every_figure_leads_to_what_it_counts() {
    let edge = open().await;
    let ids = waiting(&edge).await;
    edge.sql(&format!("UPDATE dsrs SET forecast_late = 1 WHERE id IN ('{}', '{}')", ids[0], ids[1])).await;
    edge.sql(&format!("UPDATE dsrs SET band = 'critical', clock_state = 'paused' WHERE id = '{}'", ids[1])).await;
    edge.sql(&format!("UPDATE dsrs SET status = 'awaiting_controller', band = 'at_risk' WHERE id = '{}'", ids[2]))
        .await;
    edge.clock.advance(SignedDuration::from_hours(24 * 6));
    let page = today(&edge, LOCAL).await;
    let mut counted = 0;
    for part in page.split("<a class=\"tile").skip(1) {
        let href = part.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        let figure: usize = part.split("figure\">").nth(1).unwrap().split('<').next().unwrap().parse().unwrap();
        let answer = edge.page(&href, "localhost", None).await;
        assert_eq!(answer.status, 200, "{href}: {}", answer.text());
        if href.starts_with("/requests") {
            let shown = answer.text();
            let found = ids.iter().filter(|id| shown.contains(&format!("href=\"/requests/{id}\""))).count();
            assert_eq!(found, figure, "{href}: {shown}");
            counted += figure;
        }
    }
    assert!(counted > 6, "late, overdue, critical, at risk, paused, awaiting, open: {counted}");
}

#[tokio::test]
async fn the_charts_have_their_numbers_beside_them_and_load_nothing() {
    let edge = open().await;
    waiting(&edge).await;
    let page = today(&edge, LOCAL).await;
    assert_eq!(page.matches("role=\"img\"").count(), 2, "{page}");
    assert!(page.contains("id=\"burn-down-title\"") && page.contains("31–45") && page.contains("&gt;90"), "{page}");
    assert_eq!(page.matches("The numbers of this chart").count(), 2);
    let ages = part(&page, "Age of what is open");
    assert!(ages.contains("0–7") && ages.contains("<td class=\"number\">3</td>"), "{ages}");
    assert!(!page.contains("style=\"") && !page.contains("http://") && !page.contains("https://"), "{page}");
}

#[tokio::test]
async fn texts_of_others_stay_texts() {
    let edge = open().await;
    waiting(&edge).await;
    let hostile = "<script>alert(1)</script>\u{202e}\u{1b}[31m'\"&";
    let detail = format!("{hostile}{}", "x".repeat(4_096)).replace('\'', "''");
    edge.sql(&format!("UPDATE systems SET problem_code = 'unreachable', problem_detail = '{detail}', checked_at = 0"))
        .await;
    edge.sql(&format!("UPDATE dsrs SET status = 'needs_attention', attention = '{detail}', attention_since = 0")).await;
    let name = hostile.replace('\'', "''");
    edge.sql(&format!("UPDATE controllers SET name = '{name}' WHERE name = 'acme'")).await;
    let page = today(&edge, LOCAL).await;
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(1)"), "{page}");
    // Whatever turns the direction of writing ends with its own element.
    for (at, _) in page.match_indices('\u{202e}') {
        let before = &page[..at];
        assert!(before.rfind("<bdi>") > before.rfind("</bdi>"), "{}", &before[before.len().saturating_sub(200)..]);
    }
}

#[tokio::test]
async fn many_who_look_at_once_share_one_reading_and_whoever_acted_sees_it() {
    use crate::http::tests::edge_with;
    let edge = edge_with(|api| crate::http::Api {
        board_open: true,
        today_shared_for: std::time::Duration::from_hours(1),
        ..api
    })
    .await;
    submit(&edge, &edge.acme.user, "access").await;
    let before = edge.store.statements();
    assert_eq!(tile(&today(&edge, LOCAL).await, "open"), "1");
    let cold = edge.store.statements() - before;
    let before = edge.store.statements();
    futures::future::join_all((0..20).map(|_| today(&edge, LOCAL))).await;
    assert!(edge.store.statements() - before <= 2 * 20 && cold > 5, "only what is paused is asked again");
    submit(&edge, &edge.acme.user, "access").await;
    assert_eq!(tile(&today(&edge, LOCAL).await, "open"), "1", "shared for an hour");
    let page = edge.page("/?done=saved", "localhost", None).await.text();
    assert_eq!(tile(&page, "open"), "2");
    let own = edge.page("/", "x.example", Some(&edge.other.user)).await.text();
    assert!(own.contains("No requests yet") && !own.contains("label\">open"), "{own}");
}

//! Deleting for good: jobs of Bulk API 2.0, one for each object, what refers to others first.
//!
//! A job is a durable step: it is opened, announced, filled and closed in one call of the connector, which then answers
//! that the work was accepted; the next call asks how it went. What decides is not what a job says but which records are
//! still there, so that a job that is lost, or was carried out twice, does no harm.

use super::Desk;
use super::erase::{Item, announce, of_item};
use super::find::{Ids, live};
use super::receipt::Job;
use super::schema::Schema;
use super::session::{Body, denied, passing, trouble, unreadable};
use crate::http::Method;
use crate::{Journal, Outcome, Trouble};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// After so many jobs for one person something is wrong that more jobs do not mend.
const ROUNDS_MAX: u32 = 12;
/// A small job takes seconds; later ones are asked for less often.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// How a job stands.
enum State {
    /// It is not done yet.
    Running,
    /// It was carried out: error codes of what failed, by id.
    Ended(BTreeMap<String, String>),
    /// It was given up, or is not there any more: nobody knows how it went.
    Lost,
}

fn accepted(item: &Item<'_>) -> Outcome {
    let wait = FIRST_LOOK * item.touched.rounds.clamp(1, 6);
    Outcome::Accepted { receipt: item.touched.to_receipt(), check_after: wait, completes_within: None }
}

/// Asks how the jobs stand that were begun for these people. Whoever has one under way goes on waiting.
pub(super) async fn follow(desk: &Desk, items: &mut [Item<'_>]) -> Result<(), Trouble> {
    let mut people: BTreeMap<String, usize> = BTreeMap::new();
    for job in items.iter().flat_map(|item| &item.touched.jobs) {
        *people.entry(job.id.clone()).or_default() += 1;
    }
    let mut states = BTreeMap::new();
    for id in people.keys() {
        match look(desk, id).await {
            Ok(state) => drop(states.insert(id.clone(), state)),
            Err(trouble) => {
                // Whoever waits for this one (or for one that was not asked for) cannot go on.
                items
                    .iter_mut()
                    .filter(|item| item.touched.jobs.iter().any(|job| !states.contains_key(&job.id)))
                    .for_each(|item| item.fail(trouble.clone()));
                break;
            }
        }
    }
    for item in items.iter_mut().filter(|item| item.is_open() && !item.touched.jobs.is_empty()) {
        let mine: Vec<&State> = item.touched.jobs.iter().filter_map(|job| states.get(&job.id)).collect();
        if mine.iter().any(|state| matches!(state, State::Running)) {
            item.answer = Some(accepted(item));
            continue;
        }
        let (mut lasting, mut whole) = (None, true);
        for state in mine {
            let State::Ended(failed) = state else {
                whole = false;
                continue;
            };
            let ids = item.touched.rows.values().flatten();
            for code in ids.filter_map(|id| failed.get(id)) {
                whole = false;
                // What may pass is tried by the next job.
                if let Some(trouble @ Trouble::Denied(_)) = of_item(code) {
                    lasting = Some(trouble);
                }
            }
        }
        // Otherwise there may be more to find than was known.
        item.followed = whole;
        if let Some(trouble) = lasting {
            item.fail(trouble);
        }
    }
    // A job's data hold ids: it is cleared when everybody who waited for it knows how it went. Salesforce does so after a week.
    for (id, here) in people {
        let ended = matches!(states.get(&id), Some(State::Ended(_) | State::Lost));
        let all = items
            .iter()
            .flat_map(|item| &item.touched.jobs)
            .find(|job| job.id == id)
            .is_some_and(|job| job.people <= here);
        if ended && all {
            let _best_effort = desk
                .org
                .call(&desk.setup, Method::DELETE, &desk.path(&format!("jobs/ingest/{id}")), &[], &Body::None)
                .await;
        }
    }
    for item in items.iter_mut().filter(|item| item.is_open()) {
        item.touched.jobs.clear();
    }
    Ok(())
}

async fn look(desk: &Desk, id: &str) -> Result<State, Trouble> {
    let path = desk.path(&format!("jobs/ingest/{id}"));
    let answer = desk.org.call(&desk.setup, Method::GET, &path, &[], &Body::None).await?;
    if answer.status == 404 && answer.json().is_ok_and(|body| body[0]["errorCode"] == "NOT_FOUND") {
        return Ok(State::Lost);
    }
    if !answer.is_success() {
        return Err(trouble(&answer));
    }
    let body = answer.json()?;
    if body["id"] != id {
        return Err(unreadable());
    }
    match body["state"].as_str() {
        Some("UploadComplete" | "InProgress") => Ok(State::Running),
        // The run that opened it died before it was closed.
        Some("Open") => {
            let aborted = Body::Json(json!({"state": "Aborted"}));
            let _best_effort = desk.org.call(&desk.setup, Method::PATCH, &path, &[], &aborted).await;
            Ok(State::Lost)
        }
        Some("Aborted" | "Failed") => Ok(State::Lost),
        Some("JobComplete") => {
            if body["numberRecordsFailed"].as_u64() == Some(0) {
                return Ok(State::Ended(BTreeMap::new()));
            }
            let path = format!("{path}/failedResults/");
            let answer = desk.org.call(&desk.setup, Method::GET, &path, &[], &Body::None).await?;
            if !answer.is_success() {
                return Err(trouble(&answer));
            }
            Ok(State::Ended(failures(&String::from_utf8_lossy(&answer.body))?))
        }
        _ => Err(unreadable()),
    }
}

/// Reads `"sf__Id","sf__Error",Id` rows: error code by id. A message may hold line breaks inside its quotes.
fn failures(text: &str) -> Result<BTreeMap<String, String>, Trouble> {
    let mut rows = csv(text).into_iter();
    let head = rows.next().ok_or_else(unreadable)?;
    let column = |name: &str| head.iter().position(|known| known.eq_ignore_ascii_case(name));
    let (Some(error), Some(id)) = (column("sf__Error"), column("Id")) else { return Err(unreadable()) };
    let mut failures = BTreeMap::new();
    for row in rows {
        let (Some(error), Some(id)) = (row.get(error), row.get(id)) else { return Err(unreadable()) };
        let code = error.split(':').next().unwrap_or_default().trim().to_owned();
        failures.insert(super::soql::full_id(id).ok_or_else(unreadable)?, code);
    }
    Ok(failures)
}

fn csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

/// Begins the next jobs: for each person those of the furthest objects of which something is still there. Who has nothing
/// left stays open, and is finished.
pub(super) async fn go_on(
    desk: &Desk,
    schema: &Schema,
    items: &mut [Item<'_>],
    journal: &dyn Journal,
) -> Result<(), Trouble> {
    let mut asked = Ids::new();
    for item in items.iter().filter(|item| item.is_open()) {
        for (object, ids) in item.touched.rows.iter().filter(|(object, _)| schema.keep(object).is_none()) {
            asked.entry(object.clone()).or_default().extend(ids.iter().cloned());
        }
    }
    let mut left = Ids::new();
    for (object, ids) in &asked {
        left.insert(object.clone(), live(desk, object, ids).await?);
    }
    let mut next: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (nth, item) in items.iter_mut().enumerate().filter(|(_, item)| item.is_open()) {
        let here = |object: &&String| {
            item.touched.rows[*object].iter().any(|id| left.get(*object).is_some_and(|left| left.contains(id)))
        };
        let objects: Vec<&String> = item.touched.rows.keys().filter(here).collect();
        let Some(level) = objects.iter().map(|object| schema.level(object)).max() else { continue };
        for object in objects.into_iter().filter(|object| schema.level(object) == level) {
            next.entry(object.clone()).or_default().push(nth);
        }
        item.touched.rounds += 1;
        if item.touched.rounds > ROUNDS_MAX {
            item.fail(passing("still_there", "several jobs have left records of the person behind; it is tried again by itself, look at the records if it stays so"));
        }
    }
    for people in next.values_mut() {
        people.retain(|nth| items[*nth].is_open());
    }
    next.retain(|_, people| !people.is_empty());
    let mut jobs = Vec::new();
    for (object, people) in next {
        let id = open(desk, &object).await?;
        for nth in &people {
            items[*nth].touched.jobs.push(Job { id: id.clone(), object: object.clone(), people: people.len() });
        }
        jobs.push((id, object, people));
    }
    let waiting: BTreeSet<usize> = jobs.iter().flat_map(|(.., people)| people.iter().copied()).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    announce_some(items, &waiting, journal).await;
    for (id, object, people) in jobs {
        let ids: BTreeSet<&String> = people
            .iter()
            .filter(|nth| items[**nth].is_open())
            .flat_map(|nth| items[*nth].touched.rows.get(&object).into_iter().flatten())
            .filter(|id| left.get(&object).is_some_and(|left| left.contains(*id)))
            .collect();
        if let Err(trouble) = fill(desk, &id, &ids).await {
            for nth in people {
                items[nth].fail(trouble.clone());
            }
        }
    }
    for nth in waiting {
        if items[nth].is_open() {
            items[nth].answer = Some(accepted(&items[nth]));
        }
    }
    Ok(())
}

/// Announces those who have new jobs; the others are announced already.
async fn announce_some(items: &mut [Item<'_>], who: &BTreeSet<usize>, journal: &dyn Journal) {
    for nth in who {
        announce(&mut items[*nth..=*nth], journal).await;
    }
}

async fn open(desk: &Desk, object: &str) -> Result<String, Trouble> {
    let body = json!({"object": object, "operation": "hardDelete", "contentType": "CSV", "lineEnding": "LF"});
    let answer = desk.org.json(&desk.setup, Method::POST, &desk.path("jobs/ingest"), &[], &Body::Json(body)).await?;
    let id = answer["id"].as_str().and_then(super::soql::full_id).ok_or_else(unreadable)?;
    if answer["state"] != "Open" || answer["operation"] != "hardDelete" {
        return Err(unreadable());
    }
    Ok(id)
}

/// Hands a job its rows and closes it. A job for nobody is given up.
async fn fill(desk: &Desk, id: &str, ids: &BTreeSet<&String>) -> Result<(), Trouble> {
    let path = desk.path(&format!("jobs/ingest/{id}"));
    let state = if ids.is_empty() { "Aborted" } else { "UploadComplete" };
    if !ids.is_empty() {
        let rows = ids.iter().fold("Id\n".to_owned(), |rows, id| rows + id + "\n");
        let put = desk.org.call(&desk.setup, Method::PUT, &format!("{path}/batches"), &[], &Body::Csv(rows)).await?;
        if !put.is_success() {
            return Err(trouble(&put));
        }
    }
    let closed = desk.org.json(&desk.setup, Method::PATCH, &path, &[], &Body::Json(json!({"state": state}))).await?;
    if closed["state"].as_str().is_some_and(|told| told == state || told == "InProgress" || told == "JobComplete") {
        Ok(())
    } else {
        Err(denied("job_refused", "Salesforce did not take the job; look at Bulk Data Load Jobs in its setup"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_rows_are_read_with_quotes_and_line_breaks_in_their_messages() {
        let text = "\"sf__Id\",\"sf__Error\",Id\n\"\",\"DELETE_FAILED:Your attempt, \"\"x\"\",\nfailed:--\",\"003D70000001000AAA\"\n";
        let rows = csv(text);
        assert_eq!(rows[1][1], "DELETE_FAILED:Your attempt, \"x\",\nfailed:--");
        assert!(failures("<html>").is_err() && failures("").is_err());
    }
}

//! `/queue/{id}/{system}` is one task: what is to be done in a place that no program reaches, for whom, and the report of what was done.
//!
//! Who the person is stands here only after somebody opened the task on purpose; the audit log says who did. What a report gets wrong
//! is told beside the field, with everything else still filled in but the files, which a browser lets nobody fill in.

use super::act::{Form, call, see};
use super::errors::explain;
use super::parts::{at, part, plain, task_path, term};
use super::shell::{Page, Section};
use crate::http::Edge;
use crate::http::auth::{Viewer, vouch};
use crate::http::path::StepPath;
use crate::http::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::{DsrId, Verb};
use serde_json::{Value, json};

/// Lines for records that stay; a report by the API may name more.
const RETAINED_LINES: usize = 3;
/// Why records may have to stay, as codes that reports know.
const REASONS: [(&str, &str); 5] = [
    ("legal_obligation", "a law demands that they are kept (GDPR Art. 17(3)(b))"),
    ("legal_claims", "they are needed for legal claims (Art. 17(3)(e))"),
    ("public_interest", "public interest in health or archives (Art. 17(3)(c), (d))"),
    ("freedom_of_expression", "freedom of expression and information (Art. 17(3)(a))"),
    ("not_the_person", "they turned out to be somebody else's"),
];

/// `GET /queue/{id}/{system}`
pub(crate) async fn task(
    viewer: Viewer,
    State(edge): State<Edge>,
    StepPath(id, system): StepPath,
) -> Result<Response, Problem> {
    let controller_id = edge.store.controller_of(&id, viewer.scope.as_deref()).await?;
    let detail = edge.store.dsr(&controller_id, &id).await?;
    let step = detail.steps.iter().find(|step| step.system == system).ok_or_else(Problem::not_found)?;
    let body = html! {
        (head(&id, &system, step.verb.as_str()))
        section.card {
            h2 { "Open the task" }
            p { "It shows who the person is and what the controller wants to be done. That you saw it stands in the audit log." }
            form.act method="post" action=(task_path(&id, &system)) {
                input type="hidden" name="csrf" value=(viewer.token());
                button.primary type="submit" { "Open the task" }
            }
        }
    };
    Ok(page(&viewer, &edge, body))
}

/// `POST /queue/{id}/{system}`: the task with the person.
pub(crate) async fn open_task(
    viewer: Viewer,
    State(edge): State<Edge>,
    StepPath(id, system): StepPath,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let mut form = Form::read(request, &edge).await?;
    vouch(&headers, &viewer, &form.take("csrf").unwrap_or_default())?;
    shown(&viewer, &edge, headers, &id, &system, &Given::default()).await
}

/// `POST /queue/{id}/{system}/report`
pub(crate) async fn report_task(
    viewer: Viewer,
    State(edge): State<Edge>,
    StepPath(id, system): StepPath,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let mut form = Form::read(request, &edge).await?;
    vouch(&headers, &viewer, &form.take("csrf").unwrap_or_default())?;
    let body = form.body()?.unwrap_or_else(|| json!({}));
    let target = format!("/v1/requests/{id}/steps/{}/complete", part(&system));
    let (status, answer) = call(&edge, headers.clone(), Method::POST, &target, Some(body.clone())).await?;
    if status.is_success() {
        return Ok(see("/queue", "completed"));
    }
    if status != StatusCode::UNPROCESSABLE_ENTITY {
        return Ok(explain(Some(&viewer), &edge, status, &answer, Some("/queue")));
    }
    let faults = answer["errors"].as_array().cloned().unwrap_or_default();
    let mut response = shown(&viewer, &edge, headers, &id, &system, &Given { body, faults }).await?;
    if response.status().is_success() {
        *response.status_mut() = status;
    }
    Ok(response)
}

/// What somebody filled in, and what is wrong with it.
#[derive(Default)]
struct Given {
    body: Value,
    faults: Vec<Value>,
}

impl Given {
    /// What is wrong with a member or something in it.
    fn faults<'a>(&'a self, pointer: &'a str) -> impl Iterator<Item = &'a str> {
        let about = move |fault: &&Value| {
            let at = fault["pointer"].as_str().unwrap_or_default();
            at == pointer || at.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/') && !pointer.is_empty())
        };
        self.faults.iter().filter(about).filter_map(|fault| fault["detail"].as_str())
    }

    fn text(&self, pointer: &str) -> String {
        match self.body.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }
}

/// The task with the person, as the interface shows it to this caller; seeing it is an event there.
async fn shown(
    viewer: &Viewer,
    edge: &Edge,
    headers: HeaderMap,
    id: &DsrId,
    system: &str,
    given: &Given,
) -> Result<Response, Problem> {
    let target = format!("/v1/requests/{id}/steps/{}/task", part(system));
    let (status, task) = call(edge, headers, Method::GET, &target, None).await?;
    if !status.is_success() {
        return Ok(explain(Some(viewer), edge, status, &task, Some("/queue")));
    }
    let verb = task["verb"].as_str().and_then(Verb::parse).unwrap_or(Verb::Erase);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let due = task["due_at"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let body = html! {
        (head(id, system, verb.as_str()))
        div.cols {
            section.card {
                h2 { "The person" }
                dl.facts {
                    @for identifier in list(&task["subject"]["identifiers"]) {
                        dt { (plain(&text(&identifier["type"]))) } dd { bdi { (text(&identifier["value"])) } }
                    }
                }
                @if let [_, ..] = &list(&task["corrections"])[..] {
                    h3 { "To be corrected" }
                    dl.facts { @for correction in list(&task["corrections"]) {
                        dt { (plain(&text(&correction["field"]))) } dd { bdi { (text(&correction["value"])) } }
                    } }
                }
            }
            section.card {
                h2 { "What to do" }
                @if let Some(title) = task["title"].as_str() { p { b { bdi { (title) } } } }
                ol { @for step in list(&task["instructions"]) { li { bdi { (text(&step)) } } } }
                @if let Some(due) = due { p { "To be reported by " (at(due.as_millisecond(), &TimeZone::UTC)) } }
                @if task["reported"] == true { p.notice { "A report of this was taken in already; a new one takes its place." } }
            }
        }
        (report_form(viewer, id, system, verb, given))
    };
    Ok(page(viewer, edge, body))
}

fn report_form(viewer: &Viewer, id: &DsrId, system: &str, verb: Verb, given: &Given) -> Markup {
    let changes = verb.must_be_verified();
    let hands_over = verb == Verb::Export;
    html! {
        section.card {
            h2 { "Report what was done" }
            @if !given.faults.is_empty() {
                p.notice.alert role="alert" { "The report was not taken in: see what is said below. Files have to be chosen again." }
                ul { @for fault in given.faults("") { li { (fault) } } }
            }
            form.act method="post" enctype="multipart/form-data" action={ (task_path(id, system)) "/report" } {
                input type="hidden" name="csrf" value=(viewer.token());
                (number(given, "found", "Records found that are the person's"))
                @if changes { (number(given, "changed", "Of these, changed or deleted")) }
                fieldset {
                    legend { (term("retained", "Records that stay")) }
                    p.quiet { "What was found is either changed or stays for a reason." }
                    @for n in 0..RETAINED_LINES { (retained(given, n)) }
                    (faults(given, "/retained", "retained-faults"))
                }
                p {
                    label for="files" { @if hands_over { "Files with the person's data" } @else { "Files as evidence" } }
                    " "
                    input id="files" type="file" name="files:file" multiple aria-describedby="files-help files-faults";
                    " "
                    span.quiet id="files-help" {
                        @if hands_over { "They become part of the package that is handed over. " }
                        @else { "They are kept sealed; the certificate names their hashes. " }
                        "Up to 5 MB together."
                    }
                    (faults(given, "/files", "files-faults"))
                }
                (leftover(given))
                button.primary type="submit" { "Report" }
            }
        }
    }
}

fn number(given: &Given, name: &str, label: &str) -> Markup {
    let pointer = format!("/{name}");
    let wrong = given.faults(&pointer).next().is_some();
    html! {
        p {
            label for=(name) { (label) }
            " "
            input id=(name) type="number" name={ (name) ":number" } min="0" step="1" inputmode="numeric" required
                value=(given.text(&pointer)) aria-invalid=[wrong.then_some("true")] aria-describedby={ (name) "-faults" };
            (faults(given, &pointer, &format!("{name}-faults")))
        }
    }
}

fn retained(given: &Given, n: usize) -> Markup {
    let reason = given.text(&format!("/retained/{n}/reason"));
    html! {
        p {
            label for={ "records-" (n) } { "Records" }
            " "
            input id={ "records-" (n) } type="number" min="1" step="1" name={ "retained." (n) ".records:number" } value=(given.text(&format!("/retained/{n}/records")));
            " "
            label for={ "collection-" (n) } { "of" }
            " "
            input id={ "collection-" (n) } type="text" maxlength="100" placeholder="invoices" name={ "retained." (n) ".collection" } value=(given.text(&format!("/retained/{n}/collection")));
            " "
            label for={ "reason-" (n) } { "because" }
            " "
            select id={ "reason-" (n) } name={ "retained." (n) ".reason" } {
                option value="" { "choose a reason" }
                @for (code, words) in REASONS { option value=(code) selected[code == reason] { (words) } }
            }
        }
    }
}

fn faults(given: &Given, pointer: &str, id: &str) -> Markup {
    html! { span.alert id=(id) { @for fault in given.faults(pointer) { span.notice.alert { (fault) } " " } } }
}

/// What is wrong with members that have no field here.
fn leftover(given: &Given) -> Markup {
    let known = ["/found", "/changed", "/retained", "/files"];
    let other = given.faults.iter().filter(|fault| {
        let at = fault["pointer"].as_str().unwrap_or_default();
        !at.is_empty() && !known.iter().any(|known| at == *known || at.starts_with(&format!("{known}/")))
    });
    html! {
        @for fault in other {
            p.notice.alert { (fault["pointer"].as_str().unwrap_or_default().trim_start_matches('/')) " " (fault["detail"].as_str().unwrap_or_default()) }
        }
    }
}

fn head(id: &DsrId, system: &str, verb: &str) -> Markup {
    html! {
        header.page {
            h1 { "Task: " (plain(verb)) " in " bdi { (system) } }
            p.lead { "For request " a.id href={ "/requests/" (id) } { (id) } " · " a href="/queue" { "Back to the queue" } }
        }
    }
}

fn page(viewer: &Viewer, edge: &Edge, body: Markup) -> Response {
    let now = edge.store.now_ms();
    Page { viewer, section: Section::Queue, title: "Task", done: None, now, body }.into_response()
}

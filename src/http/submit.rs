//! `POST /v1/requests` makes a request durable with its plan and its dates, or names everything that is wrong with it.

use super::auth::Caller;
use super::problem::Problem;
use super::view::Lens;
use super::{Edge, body, idempotency, json};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use redress_domain::deadline::{self, ClockFacts, DeadlineError};
use redress_domain::plan::{FanOut, Policy, SystemFacts, fan_out};
use redress_domain::regulation::{ChoiceError, ChosenBy};
use redress_domain::submission::{RawSubmission, Submission};
use redress_domain::words::Fault;
use redress_domain::{Identifier, IdentifierType, Personal, RequestType};
use redress_store::{Controller, ControllerPolicy, FrozenClock, NewDsr, Submitted, SystemOutline};
use serde_json::Value;
use std::sync::Arc;

/// Most known words that one fault lists.
const LISTED_MAX: usize = 24;

pub(crate) async fn submit(
    caller: Caller,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let idempotency = key.map(|key| idempotency::hashes(&key, &body));

    let (controller, systems) = tokio::try_join!(
        edge.store.controller_shared(&caller.controller_id),
        edge.store.outlines(&caller.controller_id)
    )?;
    let (raw, mut faults) = body::submission(&body);
    let named = Named::of(&raw);
    let parsed = Submission::parse(raw, controller.country.as_deref(), edge.store.clock().now());
    let (submission, later) = match parsed {
        Ok(submission) => (Some(submission), Vec::new()),
        Err(later) => (None, later),
    };
    body::add(&mut faults, later);
    body::add(&mut faults, named.faults(&edge, &controller, &systems));
    let given = submission.as_ref().map(|s| s.subject.identifiers.iter().map(Identifier::kind).collect::<Vec<_>>());
    let plan = named.plan(&given.unwrap_or_default(), &systems);
    body::add(&mut faults, named.faults_of_plan(&plan, &systems));
    let Some(submission) = submission.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };

    let new = complete(&edge, &caller.actor, submission, (plan, systems), &controller, idempotency).await?;
    let lens = Lens::new(&controller, edge.store.now_ms());
    match edge.store.submit(new, |detail| lens.detail(detail)).await? {
        Submitted::New(id, answer) => {
            tracing::info!(dsr.id = %id, "Request {id} was accepted");
            Ok(accepted(&answer, false))
        }
        Submitted::Replayed(answer) => Ok(accepted(&answer, true)),
        Submitted::KeyReused => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key came with another body before; a new request needs a new key",
        )),
    }
}

fn accepted(answer: &Value, replayed: bool) -> Response {
    let mut response = (StatusCode::ACCEPTED, axum::Json(answer)).into_response();
    let location = answer["links"]["self"].as_str().and_then(|path| HeaderValue::from_str(path).ok());
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    response
}

async fn complete(
    edge: &Edge,
    actor: &str,
    submission: Submission,
    (plan, systems): (FanOut, Arc<Vec<SystemOutline>>),
    controller: &Controller,
    idempotency: Option<(String, String)>,
) -> Result<NewDsr, Problem> {
    let now = edge.store.clock().now();
    let facts = ClockFacts {
        request_type: submission.kind,
        regulations: submission.regulations.clone(),
        jurisdiction: submission.jurisdiction.clone(),
        controller_country: controller.country.clone(),
        controller_timezone: controller.timezone.clone(),
        data_subject_received_at: submission.data_subject_received_at,
        instruction_received_at: now,
        pauses: Vec::new(),
        extension: None,
        acknowledged_at: None,
    };
    let unusable = |error: &dyn std::fmt::Display| {
        tracing::error!(controller.id = %controller.id, error = %error, "No dates could be computed");
        Problem::internal()
    };
    let rules = edge.rules.for_controller(controller).map_err(|error| unusable(&error))?;
    let dates = deadline::compute(&rules, &facts, now).map_err(|error| no_dates(&error, controller))?;
    let chosen = deadline::choose(&rules, &facts).map_err(|error| unusable(&error))?;
    // A law that does not bind yet governs only what names it.
    let mut governing: Vec<String> = chosen
        .iter()
        .filter(|c| dates.statutory.is_some() || c.by == ChosenBy::Id || c.regulation.effective.is_none())
        .map(|c| c.regulation.id.clone())
        .collect();
    // The law whose date is earliest stands first.
    let first = dates.statutory.as_ref().map(|law| law.regulation.clone());
    governing.sort_by_key(|id| Some(id) != first.as_ref());
    let books = edge.rules.keep(&edge.store, controller, &dates).await?;
    Ok(NewDsr {
        controller_id: controller.id.clone(),
        regulation: governing.first().cloned(),
        deadlines: dates,
        clock: FrozenClock { facts, books, regulations: governing },
        policy: policy(&controller.policy, submission.kind),
        instructions: controller.instructions,
        plan,
        systems,
        idempotency,
        actor: actor.to_owned(),
        submission,
    })
}

/// Why a request cannot be accepted now: without a date nobody could keep it.
fn no_dates(error: &DeadlineError, controller: &Controller) -> Problem {
    match error {
        DeadlineError::NoCalendar { day, first, .. } if day < first => {
            Problem::invalid(&[Fault::new("/data_subject_received_at", error.to_string())])
        }
        DeadlineError::NoCalendar { .. } | DeadlineError::UnknownCalendar { .. } => {
            tracing::error!(controller.id = %controller.id, %error, "No dates could be computed");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("no dates can be computed: {error}; the operator has to install it (deadlines.calendars_dir)"),
            )
        }
        _ => {
            tracing::error!(controller.id = %controller.id, %error, "No dates could be computed");
            Problem::internal()
        }
    }
}

fn policy(policy: &ControllerPolicy, kind: RequestType) -> Policy {
    let hours = if kind == RequestType::Deletion { policy.cooling_off_hours } else { 0 };
    Policy {
        approval: policy.require_approval.contains(&kind),
        cooling_off_ms: i64::from(hours) * 3_600_000,
        review: policy.review.contains(&kind),
    }
}

/// What a submission names that others must know, whether or not the rest of it is well formed.
struct Named {
    kind: Option<RequestType>,
    regulation: Option<String>,
    regulations: Vec<String>,
    jurisdiction: Option<String>,
    systems: Option<Vec<String>>,
    callback_url: Option<Personal<String>>,
    fields: Vec<Option<String>>,
}

impl Named {
    fn of(raw: &RawSubmission) -> Self {
        Self {
            kind: raw.kind.as_deref().and_then(RequestType::parse),
            regulation: raw.regulation.clone(),
            regulations: raw.regulations.clone().unwrap_or_default(),
            jurisdiction: raw.jurisdiction.clone(),
            systems: raw.systems.clone(),
            callback_url: raw.callback_url.clone(),
            fields: raw.corrections.iter().map(|(field, _)| field.clone()).collect(),
        }
    }

    /// Faults in what is named: systems, law and place, callback.
    fn faults(&self, edge: &Edge, controller: &Controller, systems: &[SystemOutline]) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (i, name) in self.systems.iter().flatten().take(100).enumerate() {
            let pointer = format!("/systems/{i}");
            match systems.iter().map(|system| &system.facts).find(|system| system.name == *name) {
                None => {
                    let known = list(systems.iter().map(|system| system.facts.name.as_str()));
                    faults.push(Fault::new(pointer, format!("no connected system has this name; {known}")));
                }
                Some(system) => {
                    if let Some(kind) = self.kind.filter(|kind| !system.allow.contains(kind)) {
                        let allowed = list(system.allow.iter().map(|kind| kind.as_str()));
                        let detail = format!("this system is not instructed for requests of type {kind}; {allowed}");
                        faults.push(Fault::new(pointer, detail));
                    }
                }
            }
        }
        // Which law is known does not depend on the type.
        let kind = self.kind.unwrap_or(RequestType::Access);
        let country = controller.country.as_deref();
        let choose =
            |law: Option<&str>, place: Option<&str>| edge.rules.rules.table.choose(kind, law, place, country).err();
        let unknown = [
            choose(self.regulation.as_deref(), None).filter(|_| self.regulation.is_some()),
            choose(None, self.jurisdiction.as_deref()).filter(|_| self.jurisdiction.is_some()),
        ];
        faults.extend(unknown.into_iter().flatten().map(|error| unknown_law(&error, None)));
        for (i, id) in self.regulations.iter().enumerate() {
            let pointer = format!("/regulations/{i}");
            faults.extend(choose(Some(id), None).map(|error| unknown_law(&error, Some(pointer))));
        }
        if let Some(url) = &self.callback_url
            && let Err(detail) = (edge.check_callback)(url.expose())
        {
            faults.push(Fault::new("/callback_url", detail));
        }
        faults
    }

    fn plan(&self, given: &[IdentifierType], systems: &[SystemOutline]) -> FanOut {
        let Some(kind) = self.kind else { return FanOut::default() };
        // A field that no system declares is a fault of its own, and must not hide the systems it is missing from.
        let declared = |field: &&str| systems.iter().any(|system| system.facts.fields.iter().any(|f| f == field));
        let corrected: Vec<&str> = match kind {
            RequestType::Correction => self.fields.iter().flatten().map(String::as_str).filter(declared).collect(),
            _ => Vec::new(),
        };
        fan_out(kind, given, &corrected, systems.iter().map(|system| &system.facts), self.systems.as_deref())
    }

    /// Faults that only the plan shows: fields that no system has, and named systems of which none can do it.
    fn faults_of_plan(&self, plan: &FanOut, systems: &[SystemOutline]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let systems = || systems.iter().map(|system| &system.facts);
        let planned: Vec<&SystemFacts> =
            systems().filter(|system| plan.steps.iter().any(|step| step.system_id == system.id)).collect();
        if planned.is_empty() && self.systems.is_some() {
            let verbless = plan.out_of_scope.iter().any(|o| o.reason == "verb_unsupported");
            if let Some(kind) = self.kind.filter(|_| verbless) {
                let detail = format!("none of these systems can carry out a request of type {kind}");
                faults.push(Fault::new("/systems", detail));
            }
        }
        let fieldless = |system: &&SystemFacts| {
            plan.out_of_scope.iter().any(|o| o.system == system.name && o.reason == "field_not_declared")
        };
        let reached: Vec<&SystemFacts> = systems().filter(fieldless).chain(planned).collect();
        if self.kind != Some(RequestType::Correction) || reached.is_empty() {
            return faults;
        }
        let mut known: Vec<&str> = reached.iter().flat_map(|system| &system.fields).map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        for (i, field) in self.fields.iter().enumerate() {
            if field.as_deref().is_some_and(|field| !known.contains(&field)) {
                let detail = format!(
                    "no connected system that this request reaches declares this field; {}",
                    list(known.iter().copied())
                );
                faults.push(Fault::new(format!("/corrections/{i}/field"), detail));
            }
        }
        faults
    }
}

/// The fault of a law or place that the table does not hold, with what was probably meant.
fn unknown_law(error: &ChoiceError, pointer: Option<String>) -> Fault {
    let (member, given, known) = match error {
        ChoiceError::UnknownRegulation { id, known } => ("/regulation", id, known),
        ChoiceError::UnknownJurisdiction { jurisdiction, known } => ("/jurisdiction", jurisdiction, known),
    };
    let pointer = pointer.unwrap_or_else(|| member.to_owned());
    let near = crate::config::document::nearest(&given.to_ascii_uppercase(), known.iter().map(String::as_str));
    let hint = near.map(|word| format!("did you mean {word}? ")).unwrap_or_default();
    Fault::new(pointer, format!("is not known; {hint}{}", list(known.iter().map(String::as_str))))
}

/// The known words, shortened where they are many.
fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = words.collect();
    match all.len() {
        0 => "there is none".to_owned(),
        1..=LISTED_MAX => format!("known: {}", all.join(", ")),
        n => format!("known: {} and {} more", all[..LISTED_MAX].join(", "), n - LISTED_MAX),
    }
}

//! `GET /reports`: the reports that privacy teams owe, each with what it is for, its figures here where they are few, and its files.

use super::parts::{day, term};
use super::shell::{Page, Section};
use crate::http::Edge;
use crate::http::auth::{Viewer, Who};
use crate::http::path::Query;
use crate::http::problem::Problem;
use crate::http::view::instant;
use crate::report::{self, Asked, Report};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::DsrId;
use redress_store::Controller;

/// What of the figures stands on the page; the files have all of them.
const SHOWN: [(&str, &str); 8] = [
    ("name", "Of"),
    ("open", "Open"),
    ("overdue", "Overdue"),
    ("closed", "Ended"),
    ("answered", "Answered"),
    ("on_time", "On time"),
    ("on_time_percent", "On time, %"),
    ("days_median", "Days, median"),
];

/// What was chosen.
struct Chosen<'a> {
    viewer: &'a Viewer,
    controllers: &'a [Controller],
    controller: Option<&'a Controller>,
    month: (Date, Date),
    year: i64,
}

/// `GET /reports`
pub(crate) async fn reports(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let now = edge.store.now_ms();
    let last_year = i64::from(report::this_year(now));
    let mut query = Query::new(query.as_deref());
    let wanted = query.text("controller").filter(|name| !name.is_empty());
    let month = query.read("month", "a month such as 2026-11", month);
    let year = query.number("year", report::YEAR_MIN.into(), last_year).unwrap_or(last_year);
    let id = query.read("request", "the id of a request, or nothing", |text| {
        let text = text.trim();
        if text.is_empty() { Some(None) } else { DsrId::parse(text).ok().map(Some) }
    });
    query.finish()?;
    let controllers = viewer.controllers(&edge).await?;
    let controller = match &wanted {
        Some(name) => Some(controllers.iter().find(|c| c.name == *name).ok_or_else(Problem::not_found)?),
        None => controllers.first().filter(|_| controllers.len() == 1),
    };
    let asked_for_figures = month.is_some();
    let zone = controller.and_then(|c| TimeZone::get(&c.timezone).ok()).unwrap_or(TimeZone::UTC);
    let today = instant(now).unwrap_or_default().to_zoned(zone).date();
    let first = month.unwrap_or_else(|| today.first_of_month());
    let chosen =
        Chosen { viewer: &viewer, controllers: &controllers, controller, month: (first, first.last_of_month()), year };
    let figures = match controller.filter(|_| asked_for_figures) {
        Some(controller) => {
            let asked = Asked { from: Some(first), to: Some(first.last_of_month()) };
            Some(report::sla(&edge.store, std::slice::from_ref(controller), asked).await?)
        }
        None => None,
    };
    // Of a request it is known whose it is, and whether it may be seen.
    let of_request = match id.flatten() {
        Some(id) => {
            let owner = edge.store.controller_of(&id, viewer.scope.as_deref()).await?;
            controllers.iter().find(|c| c.id == owner).map(|c| (id, c))
        }
        None => None,
    };
    let body = page(&chosen, figures.as_ref(), of_request.as_ref());
    Ok(Page { viewer: &viewer, section: Section::Reports, title: "Reports", done: None, now, body }.into_response())
}

/// The first day of a month.
fn month(text: &str) -> Option<Date> {
    report::read_date(&format!("{text}-01")).filter(|_| text.len() == 7)
}

impl Chosen<'_> {
    /// The address of a file. A key has one controller and names none.
    fn file(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        self.file_of(self.controller, path, parameters)
    }

    fn file_of(&self, controller: Option<&Controller>, path: &str, parameters: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        if let (Some(controller), false) = (controller, matches!(self.viewer.who, Who::Key(_))) {
            query.append_pair("controller", &controller.name);
        }
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// Links to the files of one report: the whole as JSON, its tables as CSV.
    fn files(&self, path: &str, parameters: &[(&str, &str)], tables: &[&str]) -> Markup {
        // Whoever sits at this machine may look at pages; the interface asks who it is.
        if matches!(self.viewer.who, Who::Local) {
            return html! { p.quiet { a href="/sign-in" { "Sign in" } " to fetch the files." } };
        }
        if self.controller.is_none() {
            return html! { p.quiet { "Choose a controller to get its files." } };
        }
        let csv = |table: &str| {
            let all: Vec<(&str, &str)> =
                parameters.iter().copied().chain([("format", "csv"), ("table", table)]).collect();
            self.file(path, &all)
        };
        html! {
            p {
                "Files: " a href=(self.file(path, parameters)) { "JSON" }
                @for table in tables { " · " a href=(csv(table)) { "CSV: " (super::parts::plain(table)) } }
            }
        }
    }

    /// The choice of a controller, with the other fields of a form.
    fn form(&self, fields: &Markup) -> Markup {
        html! {
            form.filters method="get" action="/reports" {
                @if self.controllers.len() > 1 {
                    label { "Controller "
                        select name="controller" required {
                            option value="" { "choose one" }
                            @for one in self.controllers {
                                option value=(one.name) selected[self.controller.is_some_and(|chosen| chosen.id == one.id)] { (one.name) }
                            }
                        }
                    }
                }
                (fields)
            }
        }
    }
}

fn page(chosen: &Chosen<'_>, figures: Option<&Report>, id: Option<&(DsrId, &Controller)>) -> Markup {
    html! {
        header.page {
            h1 { "Reports" }
            p.lead {
                @if let Some(controller) = chosen.controller { "Of " bdi { (controller.name) } ". " }
                "What privacy teams owe: to their management, to the law, to an authority."
            }
        }
        (sla(chosen, figures))
        div.cols { (ccpa(chosen)) (record(chosen)) }
        (evidence(chosen, id))
    }
}

fn sla(chosen: &Chosen<'_>, figures: Option<&Report>) -> Markup {
    let (from, to) = chosen.month;
    let (first, last) = (from.to_string(), to.to_string());
    html! {
        section.card {
            h2 { "How much is on time" }
            p { "A month of requests: what ended, what was " (term("on_time", "on time")) ", and how long it took." }
            (chosen.form(&html! {
                label { "Month " input type="month" name="month" required value=(&first[..7]) pattern="[0-9]{4}-[0-9]{2}" placeholder="2026-11"; }
                button type="submit" { "Show" }
            }))
            @if let Some(report) = figures {
                h3 { (from.strftime("%B %Y")) }
                div.scroll tabindex="0" role="region" aria-label="Figures of the month" {
                    table.data {
                        caption { "From " (day(from)) " to " (day(to)) ", in the controller's time zone. Open and overdue are as of now." }
                        thead { tr { @for (_, shown) in SHOWN { th.number[shown != "Of"] scope="col" { (shown) } } } }
                        tbody { @for row in report.rows("figures", &["slice"], &SHOWN.map(|(column, _)| column)) {
                            tr { @for (n, cell) in row.iter().skip(1).enumerate() {
                                @if n == 0 { th scope="row" { (slice(row[0], cell)) } } @else { td.number { (cell) } }
                            } }
                        } }
                    }
                }
                (chosen.files("/v1/reports/sla", &[("from", &first), ("to", &last)], report::SLA_TABLES))
            }
        }
    }
}

/// What a row of figures is about.
fn slice(slice: &str, name: &str) -> String {
    match slice {
        "total" => "everything".to_owned(),
        "regulation" if name == "none" => "no regulation".to_owned(),
        _ => name.to_owned(),
    }
}

fn ccpa(chosen: &Chosen<'_>) -> Markup {
    let year = chosen.year.to_string();
    html! {
        section.card {
            h2 { "CCPA metrics" }
            p { "Requests of Californians in a year, by type: received, complied with, denied, and the days it took " cite { "(11 CCR § 7102)" } "." }
            (chosen.form(&html! {
                label { "Year " input type="number" name="year" required min=(report::YEAR_MIN) value=(year); }
                button type="submit" { "Choose" }
            }))
            (chosen.files("/v1/reports/ccpa-7102", &[("year", &year)], report::CCPA_TABLES))
        }
    }
}

fn record(chosen: &Chosen<'_>) -> Markup {
    html! {
        section.card {
            h2 { "Record of processing" }
            p { "What is processed on behalf of the controller, where, and how it is protected " cite { "(GDPR Art. 30(2))" } "." }
            (chosen.files("/v1/reports/processing-record", &[], report::RECORD_TABLES))
        }
    }
}

fn evidence(chosen: &Chosen<'_>, id: Option<&(DsrId, &Controller)>) -> Markup {
    let (from, to) = (chosen.month.0.to_string(), chosen.month.1.to_string());
    html! {
        section.card {
            h2 { (term("evidence", "Evidence")) }
            p { "Everything that shows what was done: events with their chain of hashes, dates with their reasons, certificates and the rules that counted, in one signed ZIP without personal data. Whoever gets it checks it offline: " code { "redress verify FILE" } "." }
            (chosen.form(&html! {
                label { "For one request "
                    input type="text" name="request" value=(id.map(|(id, _)| id.to_string()).unwrap_or_default()) placeholder="dsr_…" maxlength="40" autocomplete="off"; }
                button type="submit" { "Choose" }
            }))
            @if matches!(chosen.viewer.who, Who::Local) {
                p.quiet { a href="/sign-in" { "Sign in" } " to fetch it." }
            } @else {
                ul {
                    @if let Some((id, owner)) = id {
                        li { a href=(chosen.file_of(Some(owner), "/v1/reports/evidence", &[("request", id.as_str())])) { "Evidence for " span.id { (id) } } }
                    }
                    @if chosen.controller.is_some() {
                        li { a href=(chosen.file("/v1/reports/evidence", &[("from", &from), ("to", &to)])) { "Evidence for " (chosen.month.0.strftime("%B %Y")) } }
                    } @else { li.quiet { "Choose a controller to get a month." } }
                }
            }
        }
    }
}

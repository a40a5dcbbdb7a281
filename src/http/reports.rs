//! A report is read by its own controller, as JSON or as one of its tables in CSV; any key may.

use super::Edge;
use super::auth::Caller;
use super::path::Query;
use super::problem::Problem;
use crate::report::{self, Asked, Report};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

/// `GET /v1/reports/sla`
pub(crate) async fn sla(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let from = query.read("from", "a date such as 2026-11-01", report::read_date);
    let to = query.read("to", "a date such as 2026-11-30, not before from", |text| {
        report::read_date(text).filter(|to| from.is_none_or(|from| from <= *to))
    });
    let form = Form::read(&mut query, &headers, report::SLA_TABLES);
    query.finish()?;
    let controller = edge.store.controller(&caller.controller_id).await?;
    form.render(&report::sla(&edge.store, &[controller], Asked { from, to }).await?)
}

/// `GET /v1/reports/ccpa-7102`
pub(crate) async fn ccpa_7102(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let last = report::this_year(edge.store.now_ms());
    let year = query.number("year", report::YEAR_MIN.into(), last.into()).and_then(|year| i16::try_from(year).ok());
    let form = Form::read(&mut query, &headers, report::CCPA_TABLES);
    query.finish()?;
    let controller = edge.store.controller(&caller.controller_id).await?;
    form.render(&report::ccpa_7102(&edge.store, &[controller], year).await?)
}

/// `GET /v1/reports/processing-record`
pub(crate) async fn processing_record(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let form = Form::read(&mut query, &headers, report::RECORD_TABLES);
    query.finish()?;
    let controller = edge.store.controller(&caller.controller_id).await?;
    form.render(&report::processing_record(&edge.store, &[controller], &edge.processor).await?)
}

/// In which form the answer is wanted.
enum Form {
    Json,
    Csv { table: &'static str },
}

impl Form {
    /// `format` decides, else `Accept`; `table` is one of `tables`, the first if none is given, and for CSV only.
    fn read(query: &mut Query, headers: &HeaderMap, tables: &'static [&'static str]) -> Self {
        let csv = match query.word("format", &["json", "csv"], |format| format) {
            Some(format) => format == "csv",
            None => prefers_csv(headers),
        };
        let wanted = format!("one of {}, and for CSV only", tables.join(", "));
        let table = query.read("table", &wanted, |text| tables.iter().copied().find(|table| csv && *table == text));
        if csv { Form::Csv { table: table.unwrap_or(tables[0]) } } else { Form::Json }
    }

    fn render(&self, report: &Report) -> Result<Response, Problem> {
        let (body, kind) = match self {
            Form::Json => (report.json.to_string(), "application/json"),
            Form::Csv { table } => (report.csv(Some(table)), "text/csv; charset=utf-8; header=present"),
        };
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        if let Form::Csv { table } = self {
            let name = format!("attachment; filename=\"redress-{}-{table}.csv\"", report.file);
            headers.insert(CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(|_| Problem::internal())?);
        }
        Ok(response)
    }
}

/// Whether the caller names CSV and likes it better than JSON (RFC 9110, section 12.5.1). Who does not say gets JSON.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let (mut csv, mut json) = (None, None);
    for range in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1.0), |text| text.trim().parse::<f32>().ok()).unwrap_or(0.0);
        match kind.as_str() {
            "text/csv" | "text/*" => csv = Some(weight.max(csv.unwrap_or(0.0))),
            "application/json" | "application/*" => json = Some(weight.max(json.unwrap_or(0.0))),
            _ => {}
        }
    }
    csv.is_some_and(|csv| csv > json.unwrap_or(0.0))
}

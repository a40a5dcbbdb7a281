//! `GET /requests.csv` exports the list: the same filters, every row, a few of them in memory at a time.
//!
//! RFC 4180. Nothing in it names a person. A cell that a spreadsheet would take for a formula begins with an apostrophe instead.

use super::Seen;
use super::filters::Filters;
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::problem::Problem;
use crate::http::view::{Lens, time};
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;
use futures::stream;
use redress_domain::ControllerId;
use redress_store::{DsrFilter, DsrPage, DsrPlace, DsrRow, DsrSort, Error, Store};
use std::collections::BTreeMap;

/// Rows that are read at a time.
const PAGE: i64 = 500;
const COLUMNS: [&str; 15] = [
    "id",
    "controller",
    "type",
    "regulation",
    "status",
    "band",
    "received_at",
    "due_on",
    "due_before",
    "contract_due_on",
    "statutory_due_on",
    "foreseen_end",
    "late_by_days",
    "closed_at",
    "attention",
];

/// `GET /requests.csv`
pub(crate) async fn csv(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filters = Filters::read(query.as_deref())?;
    let seen = Seen::of(&edge, &viewer, &filters).await?;
    let filter = seen.filter(&edge, &viewer, &filters).await?;
    let now = edge.store.now_ms();
    let reading = Reading {
        store: edge.store.clone(),
        scope: seen.scope.clone(),
        filter,
        sort: filters.sort(),
        lenses: seen.lenses(now).into_iter().map(|(id, (name, lens))| (id, (name.to_owned(), lens))).collect(),
    };
    // The first page is read before the answer begins, so that a database that is away is a 503 and not a torn answer.
    let first = reading.page(None).await?;
    let head = format!("{}\r\n", COLUMNS.join(","));
    let rows = stream::try_unfold((reading, Some((Some(head), first))), |(reading, turn)| async move {
        let Some((head, page)) = turn else { return Ok::<_, Error>(None) };
        let mut text = head.unwrap_or_default();
        for row in &page.rows {
            reading.line(row, &mut text);
        }
        let next = match page.next {
            Some(place) => Some((None, reading.page(Some(place)).await?)),
            None => None,
        };
        Ok(Some((Bytes::from(text), (reading, next))))
    });
    let mut response = Response::new(Body::from_stream(rows));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"requests.csv\""));
    Ok(response)
}

/// How far the export has come.
struct Reading {
    store: Store,
    scope: Option<Vec<ControllerId>>,
    filter: DsrFilter,
    sort: DsrSort,
    lenses: BTreeMap<ControllerId, (String, Lens)>,
}

impl Reading {
    async fn page(&self, from: Option<DsrPlace>) -> Result<DsrPage, Error> {
        self.store.list_dsrs(self.scope.as_deref(), &self.filter, self.sort, from, false, PAGE).await
    }

    fn line(&self, row: &DsrRow, out: &mut String) {
        let Some((controller, lens)) = self.lenses.get(&row.controller_id) else { return };
        let dates = &row.deadlines;
        let date = |name: &str| dates[name]["due_on"].as_str().unwrap_or_default().to_owned();
        let foreseen = row.forecast.as_ref().filter(|_| row.closed_at.is_none());
        let cells = [
            row.id.to_string(),
            controller.clone(),
            row.kind.to_string(),
            row.regulation.clone().unwrap_or_default(),
            row.status.clone(),
            lens.band(row).map(|band| band.to_string()).unwrap_or_default(),
            time(row.instruction_received_at).unwrap_or_default(),
            date("effective"),
            time(row.due_before).unwrap_or_default(),
            date("contract"),
            date("statutory"),
            foreseen.and_then(|f| f.finishes_at).map(|at| at.to_string()).unwrap_or_default(),
            foreseen.and_then(|f| f.late_by_days).map(|days| days.to_string()).unwrap_or_default(),
            row.closed_at.and_then(time).unwrap_or_default(),
            row.attention.clone().unwrap_or_default(),
        ];
        for (n, cell) in cells.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            push_cell(out, cell);
        }
        out.push_str("\r\n");
    }
}

fn push_cell(out: &mut String, cell: &str) {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let guard = if formula { "'" } else { "" };
    if cell.contains([',', '"', '\r', '\n']) {
        out.extend(["\"", guard, &cell.replace('"', "\"\""), "\""]);
    } else {
        out.extend([guard, cell]);
    }
}

#[cfg(test)]
mod tests {
    use super::push_cell;

    #[test]
    fn no_cell_is_a_formula_and_each_reads_back() {
        for (cell, written) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("=a,\"b\"", "\"'=a,\"\"b\"\"\""),
            ("line\nbreak", "\"line\nbreak\""),
        ] {
            let mut out = String::new();
            push_cell(&mut out, cell);
            assert_eq!(out, written);
        }
    }
}

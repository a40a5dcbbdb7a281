//! An answer is fetched by its controller: the package while it lasts, each time with a line in the audit log, and the certificate.

use super::Edge;
use super::auth::Caller;
use super::path::DsrPath;
use super::problem::Problem;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures::{StreamExt as _, stream};
use redress_domain::{ControllerId, DsrId, RequestType};
use redress_store::{DsrRow, Error, Key, PackageInfo, Store};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /v1/requests/{id}/package`
pub(crate) async fn package(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    method: Method,
) -> Result<Response, Problem> {
    let row = edge.store.dsr(&caller.controller_id, &id).await?.row;
    if row.purged_at.is_some() {
        return Err(Error::Purged.into());
    }
    let Some(info) = edge.store.package(&caller.controller_id, &id).await? else { return Err(no_package(&row)) };
    if info.expires_at <= edge.store.now_ms() {
        return Err(Problem::new(StatusCode::GONE, "the package has expired and is no longer handed out"));
    }
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let pages = Pages {
            store: edge.store.clone(),
            key: edge.store.dsr_key(&caller.controller_id, &id).await?,
            controller_id: caller.controller_id.clone(),
            dsr_id: id.clone(),
            info: info.clone(),
        };
        // Opened first, so that what cannot be handed out is not logged as fetched; sent only after it is logged.
        let first = pages.chunk(0).await?;
        let data = caller.seen(json!({ "bytes": info.bytes, "sha256": info.sha256 }));
        edge.store.record_event(&caller.controller_id, &caller.actor, Some(&id), "package_fetched", data).await?;
        let rest = stream::iter(1..info.chunks).then(move |n| {
            let pages = pages.clone();
            async move { pages.chunk(n).await }
        });
        Body::from_stream(stream::once(async { Ok::<_, Error>(first) }).chain(rest))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let texts: [(HeaderName, String); 5] = [
        (CONTENT_TYPE, "application/zip".into()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"redress-{id}.zip\"")),
        (CONTENT_LENGTH, info.bytes.to_string()),
        (ETAG, format!("\"{}\"", info.sha256)),
        (ACCEPT_RANGES, "none".into()),
    ];
    for (name, text) in texts {
        headers.insert(name, HeaderValue::from_str(&text).map_err(|_| Problem::internal())?);
    }
    Ok(response)
}

/// `GET /v1/requests/{id}/certificate`
pub(crate) async fn certificate(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    let row = edge.store.dsr(&caller.controller_id, &id).await?.row;
    match edge.store.certificate(&caller.controller_id, &id).await {
        Ok(document) => Ok(Json(document)),
        Err(Error::NotFound) => {
            let detail = if row.closed_at.is_some() {
                format!("this request ended as {} without a certificate", row.status)
            } else {
                format!("the certificate is made when the work is done; this request is {}", row.status)
            };
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
        Err(error) => Err(error.into()),
    }
}

fn no_package(row: &DsrRow) -> Problem {
    let detail = if !matches!(row.kind, RequestType::Access | RequestType::Portability) {
        format!("a request of type {} ends with a certificate, not with a package", row.kind)
    } else if row.closed_at.is_some() {
        format!("this request ended as {} without a package", row.status)
    } else {
        format!("the package is made when every system has answered; this request is {}", row.status)
    };
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// What is needed to open a package chunk by chunk.
#[derive(Clone)]
struct Pages {
    store: Store,
    key: Arc<Key>,
    controller_id: ControllerId,
    dsr_id: DsrId,
    info: PackageInfo,
}

impl Pages {
    async fn chunk(&self, n: i64) -> Result<Bytes, Error> {
        let clear = self.store.package_chunk(&self.controller_id, &self.dsr_id, &self.key, &self.info, n).await?;
        Ok(Bytes::copy_from_slice(clear.expose()))
    }
}

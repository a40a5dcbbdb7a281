//! The board's own style sheet and script: small, served from here under the hash of their text, kept by browsers for ever.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use std::fmt::Write as _;
use std::sync::LazyLock;

const STYLE: &str = include_str!("static/board.css");
const SCRIPT: &str = include_str!("static/board.js");
const ICON: &str = include_str!("static/icon.svg");

/// Where the style sheet, the script and the icon are.
pub(super) static STYLE_PATH: LazyLock<String> = LazyLock::new(|| path(STYLE, "board.css"));
pub(super) static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| path(SCRIPT, "board.js"));
pub(super) static ICON_PATH: LazyLock<String> = LazyLock::new(|| path(ICON, "icon.svg"));

fn path(text: &str, name: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let hash = hash.as_ref()[..8].iter().fold(String::new(), |mut out, b| {
        let _infallible = write!(out, "{b:02x}");
        out
    });
    format!("/assets/{hash}/{name}")
}

/// `GET /assets/{hash}/{name}`: an old hash is not found, so that nobody keeps the wrong text.
pub(crate) async fn asset(Path((hash, name)): Path<(String, String)>) -> Response {
    let asked = format!("/assets/{hash}/{name}");
    let all = [
        (&STYLE_PATH, STYLE, "text/css; charset=utf-8"),
        (&SCRIPT_PATH, SCRIPT, "text/javascript; charset=utf-8"),
        (&ICON_PATH, ICON, "image/svg+xml"),
    ];
    let Some((_, text, kind)) = all.into_iter().find(|(path, ..)| ***path == asked) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, keep);
    response
}

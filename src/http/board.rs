//! stub
use super::Edge;
use axum::extract::State;
pub(crate) async fn list(State(_edge): State<Edge>) -> &'static str { "" }
pub(crate) async fn request(State(_edge): State<Edge>) -> &'static str { "" }

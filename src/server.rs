//! The server takes connections and gives each the router, with a limit on how long a caller may take over its headers.

use crate::http::Peer;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// A caller who takes longer than this to send a request's headers is hung up on: half a header must not hold a connection for
/// ever. The same limit ends idle connections, so it is longer than common clients keep theirs (90 seconds): the client
/// is then the one that hangs up, and never writes into a connection that is just being closed.
const HEADER_LIMIT: Duration = Duration::from_secs(100);
/// Room for the head of one request.
const HEAD_BYTES: usize = 64 * 1024;

/// Serves until `stop`; then no new connection is taken and those that are answering get `grace` to end.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, grace: Duration) {
    let connections = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, or a caller who was gone at once: others may come.
                    tracing::warn!(error = %error.kind(), "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _small_answers_do_not_wait = stream.set_nodelay(true);
        let router = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // How a caller hangs up is no news.
            let _ended = connection.await;
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        tracing::warn!("callers that are still being answered are hung up on");
    }
}

//! A delivery is one attempt to hand a message to an endpoint, and what to do after it.

use crate::outbound;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use std::time::Duration;

/// How much of an answer is read, only so that the connection can be used again.
const ANSWER_MAX: usize = 64 * 1024;
/// The longest that an endpoint can make us wait.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The endpoint has it: it answered with this status, 200 to 299.
    Delivered(u16),
    /// The endpoint does not have it; try again later.
    Retry {
        /// Its answer, if there was one.
        status: Option<u16>,
        /// Why, safe to store and to show to the controller.
        reason: &'static str,
        /// How long it asked us to wait, at most a day.
        retry_after: Option<Duration>,
    },
    /// The endpoint is gone for good (410): send it nothing more.
    Gone,
}

/// Makes one attempt. The address is checked again, redirects are not followed, and the answer's body is dropped unread.
pub async fn send(
    client: &outbound::Client,
    url: &Url,
    headers: &[(&str, String)],
    body: impl Into<String>,
) -> Delivery {
    let Ok(mut request) = client.post(url) else {
        return retry(None, "the address is not one that may be called");
    };
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str())) {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    match request.body(body.into()).send().await {
        Ok(response) => judge(response).await,
        // One sentence for every cause: which one it was would tell what listens in our network.
        Err(_) => retry(None, "the endpoint could not be reached or did not answer in time"),
    }
}

async fn judge(response: Response) -> Delivery {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    drain(response).await;
    let code = Some(status.as_u16());
    match status {
        _ if status.is_success() => Delivery::Delivered(status.as_u16()),
        StatusCode::GONE => Delivery::Gone,
        _ if status.is_redirection() => retry(code, "the endpoint redirects; give the address that it redirects to"),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Delivery::Retry { status: code, reason: "the endpoint is busy or down", retry_after }
        }
        _ => retry(code, "the endpoint did not answer with a status from 200 to 299"),
    }
}

const fn retry(status: Option<u16>, reason: &'static str) -> Delivery {
    Delivery::Retry { status, reason, retry_after: None }
}

async fn drain(mut response: Response) {
    let mut read = 0;
    while read < ANSWER_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) | Err(_) => return,
        }
    }
}

/// What `Retry-After` asks for: seconds, or a date, which is taken relative to the answer's own `Date`, so that
/// neither clock needs to be right. What is neither asks for nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Too many digits for a number are a long time.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let instant = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    let until = instant(text)?;
    let now = instant(headers.get(DATE)?.to_str().ok()?.trim())?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::OutboundPolicy;
    use std::sync::mpsc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn asked(retry: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().expect("a header"));
        if let Some(date) = date {
            headers.insert(DATE, date.parse().expect("a header"));
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_and_never_exceeds_a_day() {
        let date = Some("Sat, 21 Nov 2026 10:00:00 GMT");
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("10000000000", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("Sat, 21 Nov 2026 10:01:00 GMT", Some(60)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("Sun, 21 Nov 2027 10:00:00 GMT", Some(86_400)),
        ] {
            assert_eq!(asked(text, date), seconds, "{text:?}");
        }
        assert_eq!(asked("Sat, 21 Nov 2026 10:01:00 GMT", None), None);
    }

    /// Answers one request with `answer` and gives what was asked.
    async fn endpoint(answer: &'static str) -> (Url, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = Url::parse(&format!("http://{}/hook", listener.local_addr().expect("an address"))).expect("a URL");
        let (asked, answers) = mpsc::channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"{\"thin\":1}") {
                    let mut buffer = [0; 1024];
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    request.extend_from_slice(&buffer[..read]);
                }
                let _ = asked.send(String::from_utf8_lossy(&request).into_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (url, answers)
    }

    async fn deliver(url: &Url, allow: &str) -> Delivery {
        let policy = OutboundPolicy::parse(&[allow]).expect("a policy");
        let client = outbound::client(policy).expect("a client");
        send(&client, url, &[("webhook-id", "msg_1".to_owned())], "{\"thin\":1}").await
    }

    #[tokio::test]
    async fn only_2xx_is_a_delivery() {
        for (answer, delivery) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Delivery::Delivered(200)),
            ("HTTP/1.1 204 No Content\r\n\r\n", Delivery::Delivered(204)),
            ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", Delivery::Gone),
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
                retry(Some(302), "the endpoint redirects; give the address that it redirects to"),
            ),
            (
                "HTTP/1.1 503 No\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
                Delivery::Retry {
                    status: Some(503),
                    reason: "the endpoint is busy or down",
                    retry_after: Some(Duration::from_secs(7)),
                },
            ),
            (
                "HTTP/1.1 500 No\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
                retry(Some(500), "the endpoint did not answer with a status from 200 to 299"),
            ),
            (
                "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
                retry(Some(404), "the endpoint did not answer with a status from 200 to 299"),
            ),
            ("SSH-2.0-x\r\n", retry(None, "the endpoint could not be reached or did not answer in time")),
        ] {
            let (url, asked) = endpoint(answer).await;
            assert_eq!(deliver(&url, "127.0.0.1").await, delivery, "{answer}");
            let asked = asked.try_recv().expect("asked").to_ascii_lowercase();
            assert!(asked.starts_with("post /hook http/1.1\r\n"), "{asked}");
            assert!(asked.contains("content-type: application/json\r\n") && asked.contains("webhook-id: msg_1\r\n"));
            assert!(asked.contains(&format!("user-agent: redress/{}\r\n", env!("CARGO_PKG_VERSION"))));
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read_to_its_end() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
        let answer: &'static str = Box::leak((head.to_owned() + &"x".repeat(1 << 20)).into_boxed_str());
        let (url, _asked) = endpoint(answer).await;
        assert_eq!(deliver(&url, "127.0.0.1").await, Delivery::Delivered(200));
    }

    #[tokio::test]
    async fn an_address_that_is_not_allowed_is_not_called_even_if_it_was_stored() {
        let (url, asked) = endpoint("HTTP/1.1 200 OK\r\n\r\n").await;
        assert_eq!(deliver(&url, "10.0.0.0/8").await, retry(None, "the address is not one that may be called"));
        assert!(asked.try_recv().is_err(), "nothing was sent");
    }

    #[tokio::test]
    async fn a_closed_port_and_a_name_that_points_inside_look_the_same() {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let closed = deliver(&Url::parse(&format!("http://{closed}/")).expect("a URL"), "127.0.0.1").await;
        let unknown = deliver(&Url::parse("https://nothing.invalid/").expect("a URL"), "127.0.0.1").await;
        assert_eq!(closed, unknown);
    }
}

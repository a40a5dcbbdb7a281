//! What a vendor answered, read no further than is safe, and what a call's failure means.

use crate::{Feedback, Problem, Trouble};
use serde_json::Value;
use std::time::Duration;

/// An answer whose body was not read yet.
pub struct Opened {
    /// The status.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: Vec<(String, String)>,
    /// What the vendor said about its limits.
    pub said: Feedback,
    pub(super) response: reqwest::Response,
}

/// A whole answer.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: Vec<(String, String)>,
    /// What the vendor said about its limits.
    pub said: Feedback,
    /// The body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({})", self.status)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

impl Opened {
    /// The next piece of the body; none at its end.
    ///
    /// # Errors
    /// The connection broke: nothing of the answer may be believed.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        match self.response.chunk().await {
            Ok(chunk) => Ok(chunk.map(|bytes| bytes.to_vec())),
            Err(_) => Err(cut_short()),
        }
    }

    /// Reads the rest, up to so many bytes within so long.
    ///
    /// # Errors
    /// It is longer, takes longer, or breaks off.
    pub async fn whole(mut self, max: usize, patience: Duration) -> Result<Answer, Trouble> {
        let read = async {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await? {
                if body.len() + chunk.len() > max {
                    return Err(Trouble::Retry(Problem::new(
                        "answer_too_large",
                        format!("the vendor's answer is longer than {max} bytes; it was not read"),
                    )));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        let body = tokio::time::timeout(patience, read).await.map_err(|_| timeout())??;
        Ok(Answer { status: self.status, headers: self.headers, said: self.said, body })
    }
}

impl Answer {
    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the status is 2xx.
    pub const fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is something else (a sign-in page, half an answer): never to be taken for "nothing found".
    pub fn json(&self) -> Result<Value, Trouble> {
        serde_json::from_slice(&self.body).map_err(|_| unreadable())
    }

    /// What this answer means if the vendor has no words of its own: 401 and 403 are [`Trouble::Denied`], 429 and 503 with a
    /// wait are [`Trouble::Throttled`], other 5xx, 408, 423 and 425 are [`Trouble::Retry`], everything else is refused.
    pub fn trouble(&self) -> Trouble {
        let wait = self.said.wait_ms.map(|ms| Duration::from_millis(ms.max(0) as u64));
        match self.status {
            401 => Trouble::Denied(Problem::new(
                "credentials_refused",
                "the vendor refused the credentials (401); set them anew with `redress apply`, then check the system",
            )),
            403 => Trouble::Denied(Problem::new(
                "permission_missing",
                "the vendor does not permit this call (403); grant the permission that docs/connectors.md names, then check the system",
            )),
            429 => Trouble::Throttled(wait.unwrap_or(Duration::from_secs(10))),
            503 if wait.is_some() => Trouble::Throttled(wait.unwrap_or_default()),
            408 | 423 | 425 | 500..=599 => Trouble::Retry(Problem::new(
                "vendor_error",
                format!("the vendor answered {}; it is tried again by itself", self.status),
            )),
            300..=399 => Trouble::Denied(Problem::new(
                "redirected",
                format!(
                    "the vendor answered {} and points elsewhere, which is not followed; mend the address",
                    self.status
                ),
            )),
            _ => Trouble::Denied(Problem::new(
                "refused",
                format!("the vendor refused the call with {}; see the connector's page for what it needs", self.status),
            )),
        }
    }
}

/// The answer is not what the vendor's interface promises.
pub(crate) fn unreadable() -> Trouble {
    Trouble::Retry(Problem::new(
        "answer_unreadable",
        "the vendor's answer is not what its interface promises (half of it, or a page for people); nothing was concluded from it",
    ))
}

pub(super) fn timeout() -> Trouble {
    Trouble::Retry(Problem::new("timeout", "the vendor did not answer in time; it is tried again by itself"))
}

fn cut_short() -> Trouble {
    Trouble::Retry(Problem::new("answer_cut_short", "the vendor's answer broke off; nothing was concluded from it"))
}

/// The error's own text may hold the URL, and with it an identifier.
pub(super) fn unreachable(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() {
        return timeout();
    }
    if error.is_builder() {
        return Trouble::Denied(Problem::new(
            "call_not_possible",
            "the call could not be built; check the system's settings",
        ));
    }
    Trouble::Retry(Problem::new("unreachable", "the vendor cannot be reached; it is tried again by itself"))
}

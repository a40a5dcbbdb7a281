//! A fault is why a command to an IMAP server came to nothing, sorted by what has to happen next.

use super::wire::Token;
use crate::{Problem, Trouble};

/// Why a command came to nothing. What the server wrote for people is not kept: it may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No connection, a connection that broke, a timeout, or BYE.
    Unreachable,
    /// TLS was refused; the reason is ours to tell, a certificate's content is not.
    Tls(&'static str),
    /// The command was refused, with the response code in upper case (RFC 5530), or an empty text.
    No(String),
    /// The command was not understood.
    Bad,
    /// The server does not speak the protocol.
    Protocol(&'static str),
    /// A literal longer than allowed.
    TooLarge,
}

impl Fault {
    /// A refusal with this code.
    pub(super) fn no(code: &[Token]) -> Self {
        Self::No(code.first().and_then(Token::atom).unwrap_or_default().to_ascii_uppercase())
    }

    /// Whether the connection can be used after it: only a refusal leaves both sides at the same point.
    pub(super) fn is_fatal(&self) -> bool {
        !matches!(self, Self::No(_))
    }

    /// What it means when it answers the login.
    pub(super) fn of_login(self) -> Trouble {
        match self {
            Self::No(code) if matches!(code.as_str(), "UNAVAILABLE" | "INUSE" | "LIMIT" | "SERVERBUG") => {
                Self::No(code).into()
            }
            Self::No(code) if code == "PRIVACYREQUIRED" => tls_required(),
            Self::No(_) | Self::Bad => Trouble::Denied(Problem::new(
                "credentials_refused",
                "the mail server refused the user name or password; correct settings.username and secrets.password",
            )),
            other => other.into(),
        }
    }
}

/// The server does not take a password on this connection.
pub(super) fn tls_required() -> Trouble {
    Trouble::Denied(Problem::new(
        "tls_required",
        "the mail server takes no password without TLS; set settings.tls to implicit or starttls",
    ))
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        use tokio_rustls::rustls::Error;
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(_)) => Self::Tls(
                "its certificate is not valid for this host or not signed by a known authority; set settings.ca_file",
            ),
            Some(_) => Self::Tls("it does not speak TLS as we do; check settings.tls and settings.port"),
            None => Self::Unreachable,
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        let retry = |code, detail: &str| Trouble::Retry(Problem::new(code, detail));
        let denied = |code, detail: String| Trouble::Denied(Problem::new(code, detail));
        match fault {
            Fault::Unreachable => {
                retry("unreachable", "the mail server cannot be reached, or it broke off; is it running?")
            }
            Fault::Tls(reason) => denied("tls_refused", format!("no TLS connection to the mail server: {reason}")),
            Fault::No(code) => match code.as_str() {
                "NOPERM" | "PERMISSIONDENIED" => denied(
                    "permission_denied",
                    "this user may not do that in one of the mailboxes; grant the rights (RFC 4314: lrste)".into(),
                ),
                "READ-ONLY" => read_only(),
                "NONEXISTENT" | "TRYCREATE" => mailbox_changed(),
                "INUSE" | "LIMIT" | "UNAVAILABLE" | "SERVERBUG" => {
                    retry("busy", &format!("the mail server refused the command for now ({code})"))
                }
                _ => retry("refused", "the mail server refused the command without saying why; see its log"),
            },
            Fault::Bad => denied("protocol_error", "the mail server did not understand a command of RFC 3501".into()),
            Fault::Protocol(what) => {
                denied("protocol_error", format!("the mail server sent {what}; is this an IMAP port?"))
            }
            Fault::TooLarge => denied(
                "message_too_large",
                "a message or its headers are larger than is read; export or delete it by hand".into(),
            ),
        }
    }
}

/// The mailbox may only be read.
pub(super) fn read_only() -> Trouble {
    Trouble::Denied(Problem::new(
        "mailbox_read_only",
        "a mailbox with the person's messages may only be read by this user; grant the rights to delete (RFC 4314: te)",
    ))
}

/// The mailbox is not the one that was searched a moment ago.
pub(super) fn mailbox_changed() -> Trouble {
    Trouble::Retry(Problem::new(
        "mailbox_changed",
        "a mailbox was removed, renamed or rebuilt during the work; try again",
    ))
}

//! A session is one signed-in connection to an IMAP server that sends one command at a time.
//!
//! Values never become part of a command line: they are sent as literals (RFC 3501 section 4.3), whose length the server
//! knows before it reads them, without the extra round trip where it offers LITERAL+ or LITERAL- (RFC 7888).

use super::fault::{Fault, tls_required};
use super::wire::{self, Response, Status, Token};
use crate::{Problem, Secret, Trouble};
use base64::Engine as _;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long one command may take altogether: a search in a large mailbox that was never indexed takes minutes.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(5);
/// The most responses to one command.
const RESPONSES_MAX: usize = 1_000_000;
/// The longest literal where no message is asked for, such as a mailbox's name.
pub(super) const SMALL: u64 = 64 * 1024;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Upgraded by STARTTLS before the login.
    Upgraded,
    /// Not at all: only to this very machine.
    None,
}

/// Where the server is and who we are there.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) client: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) connect_timeout: Duration,
}

impl Address {
    /// Whether nothing sent there leaves this machine.
    pub(super) fn is_loopback(host: &str) -> bool {
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// A part of a command.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// Text of our own.
    Raw(&'a str),
    /// A value.
    Value(&'a [u8]),
}

/// What a command does with the data that the server sends while it runs.
pub(super) type OnData<'a> = &'a mut (dyn FnMut(Vec<Token>) -> Result<(), Fault> + Send);

/// One signed-in connection.
pub(super) struct Session {
    stream: BufReader<Box<dyn Stream>>,
    capabilities: BTreeSet<String>,
    tag: u64,
    broken: bool,
    /// What was seen of each mailbox, by its name on the wire.
    pub(super) doubtful: BTreeMap<Vec<u8>, super::search::Doubtful>,
}

impl Session {
    /// Connects, upgrades to TLS where asked for, and signs in once.
    pub(super) async fn connect(address: &Address) -> Result<Self, Trouble> {
        let mut session = timeout(address.connect_timeout, Self::greeted(address))
            .await
            .map_err(|_| Trouble::from(Fault::Unreachable))??;
        session.read_capabilities().await?;
        session.sign_in(address).await?;
        // What is offered before and after the login differs (RFC 3501 section 6.1.1).
        session.read_capabilities().await?;
        Ok(session)
    }

    async fn greeted(address: &Address) -> Result<Self, Fault> {
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
        tcp.set_nodelay(true)?;
        let plain: Box<dyn Stream> = Box::new(tcp);
        let first = if address.tls == Tls::Implicit { Self::encrypt(address, plain).await? } else { plain };
        let mut session = Self {
            stream: BufReader::new(first),
            capabilities: BTreeSet::new(),
            tag: 0,
            broken: false,
            doubtful: BTreeMap::new(),
        };
        match wire::read(&mut session.stream, SMALL).await? {
            Response::Status { status: Status::Ok, .. } => {}
            Response::Status { status: Status::Bye, .. } => return Err(Fault::Unreachable),
            // PREAUTH would let whoever sits in between skip TLS (RFC 9051 section 11.1).
            _ => return Err(Fault::Protocol("no greeting")),
        }
        if address.tls == Tls::Upgraded {
            session.run(&[Part::Raw("STARTTLS")], SMALL, &mut |_| Ok(())).await?;
            if !session.stream.buffer().is_empty() {
                // Whatever was sent in clear behind the answer would be taken for encrypted (CVE-2011-0411).
                return Err(Fault::Protocol("data between STARTTLS and TLS"));
            }
            session.stream = BufReader::new(Self::encrypt(address, session.stream.into_inner()).await?);
        }
        Ok(session)
    }

    async fn encrypt(address: &Address, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Fault> {
        let Some((client, name)) = &address.client else { return Err(Fault::Tls("it is not configured")) };
        let connector = TlsConnector::from(Arc::clone(client));
        Ok(Box::new(connector.connect(name.clone(), stream).await?))
    }

    async fn sign_in(&mut self, address: &Address) -> Result<(), Trouble> {
        let password = address.password.expose();
        let result = if self.can("AUTH=PLAIN") {
            // RFC 4616; unlike LOGIN it says how a password that is not ASCII is encoded.
            let message = Secret::from(format!("\0{}\0{password}", address.username));
            let message = Secret::from(base64::engine::general_purpose::STANDARD.encode(message.expose()));
            self.authenticate(message.expose()).await
        } else if self.can("LOGINDISABLED") {
            return Err(tls_required());
        } else {
            let parts = [
                Part::Raw("LOGIN "),
                Part::Value(address.username.as_bytes()),
                Part::Raw(" "),
                Part::Value(password.as_bytes()),
            ];
            self.run(&parts, SMALL, &mut |_| Ok(())).await.map(drop)
        };
        result.map_err(Fault::of_login)
    }

    async fn authenticate(&mut self, message: &str) -> Result<(), Fault> {
        if self.can("SASL-IR") {
            let line = Secret::from(format!("AUTHENTICATE PLAIN {message}"));
            return self.run(&[Part::Raw(line.expose())], SMALL, &mut |_| Ok(())).await.map(drop);
        }
        let line = Secret::from(format!("{message}\r\n"));
        let tag = self.next_tag();
        let answers = async {
            self.send(format!("{tag} AUTHENTICATE PLAIN\r\n").as_bytes()).await?;
            if self.finish(&tag, SMALL, true, &mut |_| Ok(())).await?.is_none() {
                self.send(line.expose().as_bytes()).await?;
                self.finish(&tag, SMALL, false, &mut |_| Ok(())).await?;
            }
            Ok(())
        };
        // A session whose login failed is dropped, so its state does not matter.
        timeout(COMMAND_TIMEOUT, answers).await.unwrap_or(Err(Fault::Unreachable))
    }

    async fn read_capabilities(&mut self) -> Result<(), Fault> {
        let mut found = BTreeSet::new();
        self.run(&[Part::Raw("CAPABILITY")], SMALL, &mut |data| {
            if data.first().is_some_and(|first| first.is("CAPABILITY")) {
                found.extend(data[1..].iter().filter_map(Token::atom).map(str::to_ascii_uppercase));
            }
            Ok(())
        })
        .await?;
        self.capabilities = found;
        Ok(())
    }

    /// Whether the server offers this.
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// Whether messages can be removed one by one (RFC 4315; part of IMAP4rev2, RFC 9051).
    pub(super) fn can_expunge_by_uid(&self) -> bool {
        self.can("UIDPLUS") || self.can("IMAP4REV2")
    }

    /// Whether the connection is of no more use.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Runs a command to its end and returns its response code. Every untagged response goes to `on_data`; untagged
    /// statuses too, as their code in a list.
    pub(super) async fn run(
        &mut self,
        parts: &[Part<'_>],
        literal_max: u64,
        on_data: OnData<'_>,
    ) -> Result<Vec<Token>, Fault> {
        if self.broken {
            return Err(Fault::Unreachable);
        }
        // Broken unless the command ends at a point that both sides know, also when this future is dropped in between.
        self.broken = true;
        let answers = self.send_and_finish(parts, literal_max, on_data);
        let result = timeout(COMMAND_TIMEOUT, answers).await.unwrap_or(Err(Fault::Unreachable));
        self.broken = result.as_ref().is_err_and(Fault::is_fatal);
        result
    }

    async fn send_and_finish(
        &mut self,
        parts: &[Part<'_>],
        literal_max: u64,
        on_data: OnData<'_>,
    ) -> Result<Vec<Token>, Fault> {
        let tag = self.next_tag();
        let mut out = format!("{tag} ").into_bytes();
        for part in parts {
            match part {
                Part::Raw(text) if text.contains(['\r', '\n', '\0']) => return Err(Fault::Bad),
                Part::Raw(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(value) if value.contains(&0) => return Err(Fault::Bad),
                Part::Value(value) => {
                    let at_once = self.can("LITERAL+") || (self.can("LITERAL-") && value.len() <= 4096);
                    out.extend(format!("{{{}{}}}\r\n", value.len(), if at_once { "+" } else { "" }).into_bytes());
                    if !at_once {
                        self.send(&std::mem::take(&mut out)).await?;
                        if self.finish(&tag, literal_max, true, on_data).await?.is_some() {
                            return Err(Fault::Protocol("an answer to half a command"));
                        }
                    }
                    out.extend_from_slice(value);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
        self.send(&out).await?;
        self.finish(&tag, literal_max, false, on_data).await.map(Option::unwrap_or_default)
    }

    fn next_tag(&mut self) -> String {
        self.tag += 1;
        format!("r{}", self.tag)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.get_mut().write_all(bytes).await?;
        Ok(self.stream.get_mut().flush().await?)
    }

    /// Reads until the command ends (its code) or, where it `may_continue`, until the server asks for more (`None`).
    async fn finish(
        &mut self,
        tag: &str,
        literal_max: u64,
        may_continue: bool,
        on_data: OnData<'_>,
    ) -> Result<Option<Vec<Token>>, Fault> {
        for _ in 0..RESPONSES_MAX {
            match wire::read(&mut self.stream, literal_max).await? {
                Response::Continue if may_continue => return Ok(None),
                Response::Continue => return Err(Fault::Protocol("a request to go on where there is nothing more")),
                Response::Data(data) => on_data(data)?,
                Response::Status { status: Status::Bye, .. } => return Err(Fault::Unreachable),
                Response::Status { tag: of, code, .. } if of == "*" => on_data(vec![Token::List(code)])?,
                Response::Status { tag: of, .. } if of != tag => return Err(Fault::Protocol("an answer to nothing")),
                Response::Status { status: Status::Ok, code, .. } => return Ok(Some(code)),
                Response::Status { status: Status::No, code, .. } => return Err(Fault::no(&code)),
                Response::Status { .. } => return Err(Fault::Bad),
            }
        }
        Err(Fault::Protocol("more responses than any command has"))
    }

    /// Says goodbye; nothing depends on it.
    pub(super) async fn log_out(mut self) {
        let goodbye = async {
            self.send(b"bye LOGOUT\r\n").await?;
            self.finish("bye", SMALL, false, &mut |_| Ok(())).await
        };
        let _ = timeout(Duration::from_secs(2), goodbye).await;
    }
}

/// The trust to verify the server's certificate with: the system's authorities and those in `ca_file`.
pub(crate) fn trust(ca_file: Option<&std::path::Path>) -> Result<Arc<ClientConfig>, Problem> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
    use tokio_rustls::rustls::{RootCertStore, crypto::ring::default_provider};
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        let bad = || Problem::new("ca_file", "must be a readable PEM file with at least one certificate");
        let certificates: Vec<_> =
            CertificateDer::pem_file_iter(file).map_err(|_| bad())?.collect::<Result<_, _>>().map_err(|_| bad())?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(bad());
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| Problem::new("tls", "no usable TLS version"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

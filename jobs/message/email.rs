//! An e-mail goes to each address of a route by itself, so that one that is refused keeps nobody else from hearing; all carry
//! the message's id, by which a mail program sees what it has already.

use super::Told;
use super::words::Words;
use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use maud::{DOCTYPE, html};
use redress_domain::Personal;
use redress_store::{MessageLease, RouteTarget};
use std::time::{Duration, SystemTime};
use url::{Host, Url};

/// Most addresses of one route.
pub const ADDRESSES_MAX: usize = 20;
/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one mail may take in all.
const WHOLE: Duration = Duration::from_secs(20);

/// Whether a connection to the mail server is encrypted by STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// It is, or nothing is sent.
    Required,
    /// If the server offers it.
    IfOffered,
    /// It is not.
    Never,
}

impl StartTls {
    /// The value of this spelling, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "required" => Some(StartTls::Required),
            "if_offered" => Some(StartTls::IfOffered),
            "never" => Some(StartTls::Never),
            _ => None,
        }
    }
}

/// How mail is sent.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// `smtp://user:password@host:587` or `smtps://…`.
    pub url: Personal<String>,
    /// Who it is from: `Redress <redress@processor.example>`.
    pub from: String,
    /// For `smtp://`.
    pub starttls: StartTls,
    /// More certificate authorities, PEM; empty for those of the system alone.
    pub ca: String,
}

/// Why mail cannot be sent as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SmtpFault {
    /// Not such a URL.
    #[error("smtp.url must be smtp://user:password@host:port or smtps://…, without a path")]
    Url,
    /// The sender is not an address.
    #[error("smtp.from must be an address such as redress@processor.example or Redress <redress@processor.example>")]
    From,
    /// The password would be sent in clear.
    #[error("smtp.starttls must be required where smtp.url has a password: it would be sent in clear")]
    Clear,
    /// The certificates cannot be read.
    #[error("smtp.ca must hold certificates in PEM")]
    Ca,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: no certificate authorities were found on this machine")]
    Tls,
}

/// Sends mail.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<mailer>")
    }
}

impl Mailer {
    /// Prepares to send mail; connects to nobody.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(smtp: &Smtp) -> Result<Self, SmtpFault> {
        let url = Url::parse(smtp.url.expose()).map_err(|_| SmtpFault::Url)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|host| bare && !host.is_empty()).ok_or(SmtpFault::Url)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let from: Mailbox = smtp.from.parse().map_err(|_| SmtpFault::From)?;
        let parameters = || {
            let mut builder = TlsParameters::builder(host.clone());
            if !smtp.ca.is_empty() {
                if !smtp.ca.contains("-----BEGIN CERTIFICATE-----") {
                    return Err(SmtpFault::Ca);
                }
                builder =
                    builder.add_root_certificate(Certificate::from_pem(smtp.ca.as_bytes()).map_err(|_| SmtpFault::Ca)?);
            }
            builder.build().map_err(|_| SmtpFault::Tls)
        };
        let (tls, port) = match (url.scheme(), smtp.starttls) {
            ("smtps", _) => (Tls::Wrapper(parameters()?), 465),
            ("smtp", StartTls::Required) => (Tls::Required(parameters()?), 587),
            ("smtp", StartTls::IfOffered) => (Tls::Opportunistic(parameters()?), 587),
            ("smtp", StartTls::Never) => (Tls::None, 587),
            _ => return Err(SmtpFault::Url),
        };
        let encrypted = matches!(tls, Tls::Wrapper(_) | Tls::Required(_));
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.clone())
            .port(url.port().unwrap_or(port))
            .tls(tls)
            .timeout(Some(CONNECT))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()));
        if !url.username().is_empty() {
            if !encrypted && !is_loopback(&host) {
                return Err(SmtpFault::Clear);
            }
            let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self { transport: builder.build(), from })
    }

    /// Sends a message to each address that does not have it yet.
    pub(super) async fn send(&self, lease: &MessageLease, target: &RouteTarget, words: &Words) -> Told {
        let (mut reached, mut refused, mut failed) = (lease.reached, 0, false);
        for (i, to) in target.to.iter().take(ADDRESSES_MAX).enumerate() {
            if reached & (1 << i) != 0 {
                continue;
            }
            let Ok(mail) = self.mail(lease, to.expose(), words) else {
                refused += 1;
                continue;
            };
            match tokio::time::timeout(WHOLE, self.transport.send(mail)).await {
                Ok(Ok(_)) => reached |= 1 << i,
                // The server knows this address for certain not to exist, or wants nothing of us for it.
                Ok(Err(error)) if is_about_the_address(&error) => refused += 1,
                // It may well do so later; and if it is away for one, it is away for all.
                Ok(Err(_)) | Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        match (failed, reached, refused) {
            (true, ..) => Told::Again { reached, retry_after: None },
            (false, _, 0) => Told::All,
            (false, 0, _) => Told::Never("refused"),
            (false, ..) => Told::Some,
        }
    }

    fn mail(&self, lease: &MessageLease, to: &str, words: &Words) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let to = to.parse::<Mailbox>().map_err(|_| lettre::error::Error::MissingTo)?;
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(words.subject.clone())
            .date(SystemTime::from(lease.begun_at().max(Timestamp::UNIX_EPOCH)))
            .message_id(Some(format!("<{}@{domain}>", lease.id)))
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(words.text(), page(words)))
    }
}

/// Codes by which a server refuses one address for good (RFC 5321 § 4.2.3), and not us or this moment.
fn is_about_the_address(error: &lettre::transport::smtp::Error) -> bool {
    error.is_permanent() && error.status().is_some_and(|code| matches!(u16::from(code), 550 | 551 | 553 | 556))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || match Host::parse(host) {
            Ok(Host::Ipv4(ip)) => ip.is_loopback(),
            _ => host.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()),
        }
}

/// A part of a URL without its percent signs.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut clear = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = text.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                clear.push(byte);
                i += 3;
            }
            (byte, _) => {
                clear.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&clear).into_owned()
}

/// The same words for programs that show HTML.
fn page(words: &Words) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            body style="font-family: sans-serif; font-size: 14px; line-height: 1.4" {
                @for section in &words.sections {
                    h3 { (section.title) }
                    p { (section.advice) }
                    ul {
                        @for line in &section.lines {
                            li {
                                (line.text)
                                @if let Some(link) = &line.link { " " a href=(link) { "open" } }
                            }
                        }
                        @if section.more > 0 { li { "and " (section.more) " more" } }
                    }
                }
                p { a href=(words.board) { "Everything that is open" } }
            }
        }
    }
    .into_string()
}

#[cfg(test)]
mod tests {
    use super::super::words::{tests as samples, words};
    use super::*;
    use redress_domain::notice::NoticeKind;
    use redress_domain::{MessageId, RouteId};

    fn smtp(url: &str, starttls: StartTls) -> Smtp {
        Smtp {
            url: Personal::from(url),
            from: "Redress <redress@processor.example>".into(),
            starttls,
            ca: String::new(),
        }
    }

    #[test]
    fn a_password_is_never_sent_in_clear_over_a_network() {
        let fault = |url, starttls| Mailer::new(&smtp(url, starttls)).err();
        for starttls in [StartTls::Never, StartTls::IfOffered] {
            assert_eq!(fault("smtp://me:pw@mail.example", starttls), Some(SmtpFault::Clear));
            assert_eq!(fault("smtp://mail.example:25", starttls), None);
            assert_eq!(fault("smtp://me:pw@127.0.0.1:25", starttls), None);
            assert_eq!(fault("smtp://me:pw@[::1]:25", starttls), None);
            assert_eq!(fault("smtps://me:pw@mail.example", starttls), None);
        }
        assert_eq!(fault("smtp://me:pw@mail.example", StartTls::Required), None);
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for url in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://mail.example/x",
            "smtp://mail.example?tls=none",
        ] {
            assert_eq!(Mailer::new(&smtp(url, StartTls::Required)).err(), Some(SmtpFault::Url), "{url}");
        }
        let from =
            |from: &str| Mailer::new(&Smtp { from: from.into(), ..smtp("smtp://mail.example", StartTls::Never) }).err();
        assert_eq!(
            (from(""), from("nobody"), from("me@x.example")),
            (Some(SmtpFault::From), Some(SmtpFault::From), None)
        );
        let ca = Smtp { ca: "nonsense".into(), ..smtp("smtps://mail.example", StartTls::Never) };
        assert_eq!(Mailer::new(&ca).err(), Some(SmtpFault::Ca));
        assert!(
            !format!("{ca:?} {:?}", Mailer::new(&smtp("smtp://me:canary@127.0.0.1", StartTls::Never)))
                .contains("canary")
        );
    }

    #[test]
    fn what_is_escaped_in_a_url_is_a_part_of_the_password() {
        assert_eq!(decoded("p%40ss%2Fw%C3%B6rd%"), "p@ss/wörd%");
    }

    #[test]
    fn a_mail_has_its_messages_id_says_that_a_machine_wrote_it_and_escapes_what_it_says() {
        let mailer = Mailer::new(&smtp("smtp://mail.example", StartTls::Never)).expect("sound");
        let lease = MessageLease {
            id: MessageId::from_parts(1, [1; 10]),
            route_id: RouteId::from_parts(1, [2; 10]),
            digest: true,
            token: 1,
            failures: 0,
            reached: 0,
            created_at: 1_772_300_001_000,
            announces: false,
        };
        let said =
            words(&samples::contents(vec![samples::notice(1, NoticeKind::Overdue, None)]), "https://dsr.example.com");
        let mail = mailer.mail(&lease, "dpo@acme.example", &said).expect("a mail").formatted();
        let mail = String::from_utf8(mail).expect("text");
        for part in [
            "From: Redress <redress@processor.example>\r\n",
            "To: dpo@acme.example\r\n",
            "Subject: [redress] 1 request of acme is overdue\r\n",
            &format!("Message-ID: <{}@processor.example>\r\n", lease.id),
            "Auto-Submitted: auto-generated\r\n",
            "Date: Sat, 28 Feb 2026 17:33:21 +0000\r\n",
            "multipart/alternative",
        ] {
            assert!(mail.contains(part), "{part}\n{mail}");
        }
        let mut odd = said;
        odd.sections[0].lines[0].text = "<script>".into();
        assert!(page(&odd).contains("&lt;script&gt;"));
    }
}

//! One signed-in connection to a directory. What the directory writes for people is never kept: it may hold anything.

use super::entry::Entry;
use crate::{Gate, Network, Pass, Problem, Secret, Trouble};
use ldap3::controls::{Control, ControlType, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Mod, Scope, SearchOptions, StdStream};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::{self, ClientConfig};

const CONNECT: Duration = Duration::from_secs(10);
/// One operation takes no longer.
const PATIENCE: Duration = Duration::from_mins(1);
const PAGE: usize = 500;
/// So many empty pages in a row may have a successor.
const EMPTY_PAGES: usize = 100;
/// The filter that every entry passes.
pub(super) const ANY: &str = "(objectClass=*)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    Implicit,
    Upgraded,
    None,
}

/// How a directory is reached. It has no `Debug`.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) trust: Option<Arc<ClientConfig>>,
    pub(super) bind_dn: String,
    pub(super) password: Secret,
    pub(super) network: Network,
    pub(super) gate: OnceLock<Arc<dyn Gate>>,
}

impl Address {
    async fn pass(&self) -> Result<Pass, Trouble> {
        match self.gate.get() {
            Some(gate) => gate.enter(1).await.map_err(Trouble::Throttled),
            None => Ok(Pass::free()),
        }
    }

    /// A connection to one of the host's addresses, all of which must be admitted: what is connected to is what was looked at.
    async fn reach(&self) -> Result<TcpStream, Trouble> {
        let found = timeout(CONNECT, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let addresses: Vec<SocketAddr> = found.map_err(|_| unreachable())?.map_err(|_| unreachable())?.collect();
        let ips: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
        if !self.network.admits(&self.host, &ips, Some(self.port)) {
            return Err(Trouble::Denied(Problem::new(
                "address_not_allowed",
                "the directory's host is not on the public internet and not listed in outbound.allow",
            )));
        }
        for address in addresses {
            if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await {
                return Ok(stream);
            }
        }
        Err(unreachable())
    }
}

/// One signed-in connection.
pub(super) struct Session<'a> {
    ldap: Ldap,
    address: &'a Address,
}

impl<'a> Session<'a> {
    /// Connects, with TLS where asked for, and signs in.
    pub(super) async fn open(address: &'a Address) -> Result<Self, Trouble> {
        let _pass = address.pass().await?;
        let stream = address.reach().await?.into_std().map_err(|_| unreachable())?;
        let mut settings = LdapConnSettings::new()
            .set_conn_timeout(CONNECT)
            .set_std_stream(StdStream::Tcp(stream))
            .set_starttls(address.tls == Tls::Upgraded);
        if let Some(trust) = &address.trust {
            settings = settings.set_config(Arc::clone(trust));
        }
        let scheme = if address.tls == Tls::Implicit { "ldaps" } else { "ldap" };
        let url = format!("{scheme}://{}:{}", address.host, address.port);
        let (connection, mut ldap) =
            LdapConnAsync::with_settings(settings, &url).await.map_err(|error| not_connected(&error))?;
        // It ends with the last handle; what it could complain about, our next operation meets too.
        tokio::spawn(async move { drop(connection.drive().await) });
        let bound = timeout(PATIENCE, ldap.simple_bind(&address.bind_dn, address.password.expose())).await;
        match bound.map_err(|_| unreachable())?.map_err(|_| unreachable())? {
            LdapResult { rc: 0, .. } => Ok(Self { ldap, address }),
            // A server does not say whether the name or the password is wrong.
            LdapResult { rc: 32 | 34 | 48 | 49, .. } => Err(credentials_refused()),
            other => Err(refused(other.rc)),
        }
    }

    /// Everything under `base` that passes the filter, page by page; trouble if it is not everything.
    pub(super) async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[String],
        most: usize,
    ) -> Result<Vec<Entry>, Trouble> {
        let (mut entries, mut cookie, mut empty) = (Vec::new(), Vec::new(), 0);
        loop {
            let _pass = self.address.pass().await?;
            let page = PagedResults { size: PAGE as i32, cookie: std::mem::take(&mut cookie) };
            let asked = self.ldap.with_controls(ldap3::controls::RawControl::from(page)).search(
                base,
                scope,
                filter,
                attributes.to_vec(),
            );
            let answer = timeout(PATIENCE, asked).await.map_err(|_| unreachable())?.map_err(|_| unreachable())?;
            let (page, result) = (answer.0, answer.1);
            whole(&result)?;
            empty = if page.is_empty() { empty + 1 } else { 0 };
            for entry in page {
                entries.push(Entry::read(entry.0).ok_or_else(unreadable)?);
            }
            if entries.len() > most {
                return Err(Trouble::Denied(Problem::new(
                    "too_many_entries",
                    format!("a search gave more than {most} entries; raise max_entries if the directory is that large"),
                )));
            }
            cookie = next(&result)?;
            if cookie.is_empty() {
                return Ok(entries);
            }
            if empty > EMPTY_PAGES {
                return Err(Trouble::Retry(Problem::new(
                    "list_loops",
                    "a search goes on without giving anything; nothing was concluded from it",
                )));
            }
        }
    }

    /// One entry as it is now; none if it is not there.
    pub(super) async fn read(&mut self, dn: &str, attributes: &[String]) -> Result<Option<Entry>, Trouble> {
        let _pass = self.address.pass().await?;
        let asked = self.ldap.search(dn, Scope::Base, ANY, attributes.to_vec());
        let answer = timeout(PATIENCE, asked).await.map_err(|_| unreachable())?.map_err(|_| unreachable())?;
        if answer.1.rc == 32 {
            return Ok(None);
        }
        whole(&answer.1)?;
        answer.0.into_iter().next().map(|entry| Entry::read(entry.0).ok_or_else(unreadable)).transpose()
    }

    /// Whether any entry passes the filter.
    pub(super) async fn any(&mut self, base: &str, scope: Scope, filter: &str) -> Result<bool, Trouble> {
        let _pass = self.address.pass().await?;
        let asked =
            self.ldap.with_search_options(SearchOptions::new().sizelimit(1)).search(base, scope, filter, vec!["1.1"]);
        let answer = timeout(PATIENCE, asked).await.map_err(|_| unreachable())?.map_err(|_| unreachable())?;
        match answer.1.rc {
            4 => Ok(true),
            _ => whole(&answer.1).map(|()| !answer.0.is_empty()),
        }
    }

    /// Deletes an entry: whether it was there.
    pub(super) async fn delete(&mut self, dn: &str) -> Result<bool, Trouble> {
        let _pass = self.address.pass().await?;
        let answer = timeout(PATIENCE, self.ldap.delete(dn)).await.map_err(|_| unreachable())?;
        match answer.map_err(|_| unreachable())?.rc {
            0 => Ok(true),
            32 => Ok(false),
            rc => Err(refused(rc)),
        }
    }

    /// Gives attributes these values and no others; none removes an attribute.
    pub(super) async fn replace(&mut self, dn: &str, set: &[(String, Option<String>)]) -> Result<(), Trouble> {
        let _pass = self.address.pass().await?;
        let mods = set
            .iter()
            .map(|(name, value)| {
                Mod::Replace(
                    name.as_bytes().to_vec(),
                    value.iter().map(|v| v.as_bytes().to_vec()).collect::<HashSet<_>>(),
                )
            })
            .collect();
        let answer = timeout(PATIENCE, self.ldap.modify(dn, mods)).await.map_err(|_| unreachable())?;
        match answer.map_err(|_| unreachable())?.rc {
            0 => Ok(()),
            32 => Err(changed()),
            rc => Err(refused(rc)),
        }
    }

    /// Says goodbye; nothing depends on it.
    pub(super) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(2), self.ldap.unbind()).await;
    }
}

/// Where the next page is; empty at the end. The library panics on a control that it cannot read.
fn next(result: &LdapResult) -> Result<Vec<u8>, Trouble> {
    let control = result.ctrls.iter().find(|control| matches!(control.0, Some(ControlType::PagedResults)));
    let Some(Control(_, raw)) = control else { return Ok(Vec::new()) };
    let read = std::panic::AssertUnwindSafe(|| raw.val.as_ref().map(|_| raw.parse::<PagedResults>().cookie));
    std::panic::catch_unwind(read).ok().flatten().ok_or_else(unreadable)
}

/// That a search gave everything there is.
fn whole(result: &LdapResult) -> Result<(), Trouble> {
    match result.rc {
        0 if result.refs.is_empty() => Ok(()),
        0 | 10 => Err(Trouble::Denied(Problem::new(
            "referral",
            "a part of base_dn is on another server, and nothing is concluded from the rest; set a base_dn below it, and declare the other server as a system of its own",
        ))),
        3 | 4 | 11 => Err(Trouble::Denied(Problem::new(
            "search_limited",
            "the directory gave only a part of the answer because of its limits; raise the size and time limits (paged too) of bind_dn, and index the attributes of identify",
        ))),
        32 => Err(Trouble::Denied(Problem::new(
            "base_missing",
            "base_dn is not there, or bind_dn may not see it; correct base_dn or grant the right to read",
        ))),
        rc => Err(refused(rc)),
    }
}

fn refused(rc: u32) -> Trouble {
    let denied = |code, detail: &str| Trouble::Denied(Problem::new(code, detail));
    match rc {
        8 | 13 => {
            denied("tls_required", "the directory asks for an encrypted connection; set tls to implicit or starttls")
        }
        19 | 21 => denied(
            "value_refused",
            "the directory does not take a value of the correction for its attribute; look at its syntax",
        ),
        49 => credentials_refused(),
        50 => denied(
            "permission_missing",
            "the directory does not permit this to bind_dn; grant the right to read, write and delete under base_dn, then check the system",
        ),
        1 | 51 | 52 | 80 => Trouble::Retry(Problem::new(
            "busy",
            "the directory is busy or unavailable, or had an error of its own; it is tried again by itself",
        )),
        64 | 67 => denied(
            "part_of_name",
            "the attribute is part of the entry's name (RDN) and cannot change alone; rename the entry by hand, or leave the attribute out of fields and null",
        ),
        65 => denied(
            "attribute_required",
            "an attribute that its object class requires cannot be removed; leave it out of null, or use on_delete = \"delete\"",
        ),
        66 => Trouble::Ambiguous {
            matched: 1,
            problem: Problem::new(
                "not_a_leaf",
                "an entry of the person has entries below it that are not known to be theirs; move or delete those by hand, then retry the step",
            ),
        },
        rc => Trouble::Denied(Problem::new(
            "directory_refused",
            format!("the directory refused with result code {rc} (RFC 4511, section 4.1.9); see its log"),
        )),
    }
}

fn not_connected(error: &LdapError) -> Trouble {
    let tls = |detail: &str| {
        Trouble::Denied(Problem::new("tls_refused", format!("no TLS connection to the directory: {detail}")))
    };
    let of = |error: &rustls::Error| match error {
        rustls::Error::InvalidCertificate(_) => {
            tls("its certificate is not valid for this host or not signed by a known authority; set ca_file")
        }
        _ => tls("it does not speak TLS as we do; check tls and port"),
    };
    match error {
        LdapError::Io { source } => {
            source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map_or_else(unreachable, of)
        }
        LdapError::Rustls { source } => of(source),
        LdapError::LdapResult { .. } => tls("it refuses StartTLS; set tls to implicit"),
        _ => unreachable(),
    }
}

fn unreachable() -> Trouble {
    Trouble::Retry(Problem::new("unreachable", "the directory cannot be reached, or it broke off; is it running?"))
}

fn unreadable() -> Trouble {
    Trouble::Retry(Problem::new(
        "answer_unreadable",
        "the directory's answer is not LDAP as it should be; nothing was concluded from it",
    ))
}

fn credentials_refused() -> Trouble {
    Trouble::Denied(Problem::new(
        "credentials_refused",
        "the directory refused bind_dn or its password; set them anew with `redress apply`, then check the system",
    ))
}

/// An entry is not any more what was read.
pub(super) fn changed() -> Trouble {
    Trouble::Retry(Problem::new(
        "entry_changed",
        "an entry was changed by somebody else in the meantime; it is tried again by itself",
    ))
}

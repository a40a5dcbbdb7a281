//! Where the fleet's Redis is: one server, or the master that a group of Sentinels names at this moment.
//!
//! `redis://…`, `rediss://…` (TLS), `redis+sentinel://user:password@host:port,host:port/master/db` and `rediss+sentinel://…`.
//! User, password and TLS are the master's; the Sentinels are asked without a password. A failover cuts the connections to
//! the old master, and whoever connects again asks anew.

use crate::Error;
use std::time::Duration;

/// The port on which Sentinels listen if none is given.
const SENTINEL_PORT: u16 = 26_379;
/// How long one Sentinel may take to answer before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// The address of Redis as it stands in the configuration.
#[derive(Clone, Debug)]
pub struct RedisAddress(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Server(redis::Client),
    Sentinels {
        asked: Vec<redis::Client>,
        master: String,
        /// What stands before and behind the master's host and port in its URL.
        around: (String, String),
    },
}

impl RedisAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// It has another form than those above.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let open = |url: &str| redis::Client::open(url).map_err(|_| Error::RedisUrl);
        let Some((scheme, rest)) = url.split_once("+sentinel://") else { return Ok(Self(Kind::Server(open(url)?))) };
        if !matches!(scheme, "redis" | "rediss") {
            return Err(Error::RedisUrl);
        }
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (hosts, path) = rest.split_once('/').ok_or(Error::RedisUrl)?;
        let (master, db) = path.split_once('/').unwrap_or((path, "0"));
        if hosts.is_empty() || master.is_empty() {
            return Err(Error::RedisUrl);
        }
        let with_port = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if has_port { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") }
        };
        let asked =
            hosts.split(',').map(|host| open(&format!("redis://{}", with_port(host)))).collect::<Result<_, _>>()?;
        let login = if login.is_empty() { String::new() } else { format!("{login}@") };
        let around = (format!("{scheme}://{login}"), format!("/{db}"));
        // What cannot be an address is seen now and not at the first failover.
        open(&format!("{}127.0.0.1:6379{}", around.0, around.1))?;
        Ok(Self(Kind::Sentinels { asked, master: master.to_owned(), around }))
    }

    /// The server to connect to now. To be asked before every connection.
    ///
    /// # Errors
    /// No Sentinel knows the master.
    pub async fn client(&self) -> redis::RedisResult<redis::Client> {
        let (asked, master, around) = match &self.0 {
            Kind::Server(client) => return Ok(client.clone()),
            Kind::Sentinels { asked, master, around } => (asked, master, around),
        };
        for sentinel in asked {
            let answer = async {
                let mut connection = sentinel.get_multiplexed_async_connection().await?;
                let mut command = redis::cmd("SENTINEL");
                command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
                command.query_async::<Option<(String, u16)>>(&mut connection).await
            };
            if let Ok(Ok(Some((host, port)))) = tokio::time::timeout(PATIENCE, answer).await {
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                return redis::Client::open(format!("{}{host}:{port}{}", around.0, around.1));
            }
        }
        Err((redis::ErrorKind::Io, "no Sentinel names the master").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_server_or_sentinels_and_nothing_else() {
        for good in [
            "redis://cache",
            "rediss://user:pw@cache:6380/1",
            "redis+sentinel://s1:26379,s2,s3:26381/fleet",
            "rediss+sentinel://:pw@s1/fleet/2",
            "redis+sentinel://[::1]:26379/fleet",
        ] {
            assert!(RedisAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "cache",
            "http://cache",
            "redis+sentinel://s1",
            "redis+sentinel:///fleet",
            "amqp+sentinel://s1/fleet",
            "redis+sentinel://s1/",
        ] {
            assert!(matches!(RedisAddress::parse(bad), Err(Error::RedisUrl)), "{bad}");
        }
    }
}

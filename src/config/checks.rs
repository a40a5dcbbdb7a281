//! A check looks at values that have the right type: ranges, forms, and keys that must agree with each other.

use super::layers::Settled;
use super::{ConfigFault, SecretUrl, SmtpKeys, is_plain_and_local};
use crate::http::forwarded::{Header, Network};
use crate::oidc::Groups;
use crate::telemetry;
use redress_jobs::message::{Mailer, SmtpFault, StartTls};
use serde_json::Value;
use std::net::SocketAddr;
use url::Url;

/// Whole numbers with their least and greatest value.
const RANGES: &[(&str, i64, i64)] = &[
    ("database.max_connections", 1, 500),
    ("database.connect_timeout_seconds", 1, 300),
    ("http.body_limit_bytes", 1024, 64 * 1024 * 1024),
    ("http.request_timeout_seconds", 1, 600),
    ("board.session_hours", 1, 72),
    ("board.idle_minutes", 5, 1440),
    ("worker.concurrency", 1, 1024),
    ("worker.poll_interval_ms", 10, 60_000),
    ("worker.lease_seconds", 2, 3600),
    ("worker.renew_seconds", 1, 1800),
    ("worker.batch", 1, 1000),
    ("worker.call_limit_seconds", 10, 3600),
    ("worker.shutdown_grace_seconds", 0, 3600),
    ("worker.watchdog_seconds", 5, 3600),
    ("worker.sweep_interval_seconds", 1, 3600),
    ("worker.forecast_interval_seconds", 10, 86_400),
    ("watch.digest_hour", 0, 23),
    ("watch.apart_seconds", 0, 3600),
    ("requests.package_expires_days", 1, 365),
    ("requests.personal_data_kept_days_after_close", 0, 3650),
];

/// Checks every key that is there and adds what is wrong.
pub(super) fn check(settled: &Settled, faults: &mut Vec<ConfigFault>) {
    let mut check = Check { settled, faults };
    for (key, least, most) in RANGES {
        if !(*least..=*most).contains(&check.number(key)) {
            check.fault(key, format!("must be from {least} to {most}"));
        }
    }
    if check.number("worker.renew_seconds") * 2 >= check.number("worker.lease_seconds") {
        let lease = check.origin("worker.lease_seconds");
        check.fault("worker.renew_seconds", format!("must be less than half of worker.lease_seconds ({lease})"));
    }
    if check.text("data_dir").is_empty() {
        check.fault("data_dir", "must name a folder");
    }
    check.url("database.url", &["postgres", "postgresql", "sqlite"]);
    // Several Sentinels in one address are not a URL that the library for URLs would take.
    let redis = check.text("redis.url");
    if redis.contains("+sentinel://") {
        if redress_store::RedisAddress::parse(redis).is_err() {
            check.fault("redis.url", "must be redis+sentinel://host:port,host:port/master");
        }
    } else {
        check.url("redis.url", &["redis", "rediss"]);
    }
    if let Some(url) = check.url("http.public_url", &["https", "http"])
        && (url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some())
    {
        check.fault("http.public_url", "must be scheme, host and path only");
    }
    if check.text("http.listen").parse::<SocketAddr>().is_err() {
        check.fault("http.listen", "must be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080");
    }
    for entry in check.texts("http.trusted_proxies") {
        if entry.parse::<Network>().is_err() {
            let detail =
                "must hold addresses and networks, such as 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32; not every address";
            check.fault("http.trusted_proxies", detail);
        }
    }
    if Header::parse(check.text("http.forwarded_header")).is_none() {
        check.fault("http.forwarded_header", "must be x-forwarded-for or forwarded");
    }
    if !["auto", "text", "json"].contains(&check.text("log.format")) {
        check.fault("log.format", "must be auto, text or json");
    }
    if let Err(detail) = telemetry::check_filter(check.text("log.filter")) {
        check.fault("log.filter", detail);
    }
    if StartTls::parse(check.text("smtp.starttls")).is_none() {
        check.fault("smtp.starttls", "must be required, if_offered or never");
    }
    check_smtp(&mut check);
    check_oidc(&mut check);
    let allowed = check.value("outbound.allow").as_array().map(Vec::as_slice).unwrap_or_default();
    for (i, entry) in allowed.iter().enumerate() {
        // The grammar is that of the engine, which obeys the list.
        if entry.as_str().is_none_or(|entry| entry.parse::<redress_jobs::outbound::Allow>().is_err()) {
            let detail = format!(
                "entry {} must be a host name, an address or a network, each with or without a port, such as hooks.internal, 127.0.0.1:9000 or 10.0.0.0/8",
                i + 1
            );
            check.fault("outbound.allow", detail);
        }
    }
}

/// Mail can be sent as it is configured, or not at all.
fn check_smtp(check: &mut Check<'_>) {
    let keys = SmtpKeys {
        url: Some(check.text("smtp.url")).filter(|url| !url.is_empty()).map(SecretUrl::from),
        from: check.text("smtp.from").to_owned(),
        starttls: check.text("smtp.starttls").to_owned(),
        ca: check.text("smtp.ca").to_owned(),
    };
    let Some(Err(fault)) = keys.settings().map(|settings| Mailer::new(&settings)) else { return };
    let key = match fault {
        SmtpFault::Url | SmtpFault::Tls => "smtp.url",
        SmtpFault::From => "smtp.from",
        SmtpFault::Clear => "smtp.starttls",
        SmtpFault::Ca => "smtp.ca",
    };
    check.fault(key, fault.to_string());
}

/// People can sign in as it is configured, or nothing is configured.
fn check_oidc(check: &mut Check<'_>) {
    let lists = ["oidc.roles", "oidc.controllers", "oidc.everything"];
    let [roles, controllers, everything] = lists.map(|key| check.texts(key));
    if let Err(faults) = Groups::parse(&roles, &controllers, &everything) {
        for (key, detail) in faults {
            check.fault(key, detail);
        }
    }
    let issuer = check.text("oidc.issuer");
    if issuer.is_empty() {
        return;
    }
    let sound = Url::parse(issuer).is_ok_and(|url| url.query().is_none() && url.fragment().is_none());
    if !sound || !(issuer.starts_with("https://") || is_plain_and_local(issuer)) {
        check.fault("oidc.issuer", "must be https://…, as the provider writes it; http only on this machine");
    }
    if check.text("oidc.client_id").is_empty() {
        check.fault("oidc.client_id", "must be given with oidc.issuer");
    }
    if !check.texts("oidc.scopes").iter().any(|scope| scope == "openid") {
        check.fault("oidc.scopes", "must contain openid");
    }
    if check.text("oidc.groups_claim").is_empty() {
        check.fault("oidc.groups_claim", "must name a claim");
    }
    // A browser keeps no session that comes without encryption, but on its own machine.
    let public = match check.text("http.public_url") {
        "" => format!("http://{}", check.text("http.listen")),
        url => url.to_owned(),
    };
    if !(public.starts_with("https://") || is_plain_and_local(&public)) {
        check.fault("http.public_url", "must be https://… where people sign in (oidc.issuer)");
    }
}

struct Check<'a> {
    settled: &'a Settled,
    faults: &'a mut Vec<ConfigFault>,
}

impl<'a> Check<'a> {
    fn value(&self, key: &str) -> &'a Value {
        self.settled.get(key).map_or(&Value::Null, |setting| &setting.value)
    }

    fn text(&self, key: &str) -> &'a str {
        self.value(key).as_str().unwrap_or_default()
    }

    fn texts(&self, key: &str) -> Vec<String> {
        let items = self.value(key).as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn number(&self, key: &str) -> i64 {
        self.value(key).as_i64().unwrap_or_default()
    }

    fn origin(&self, key: &str) -> &'a str {
        self.settled.get(key).map_or("default", |setting| setting.origin.as_str())
    }

    fn fault(&mut self, key: &str, detail: impl Into<String>) {
        let origin = self.origin(key);
        self.faults.push(ConfigFault::new(key, origin, detail));
    }

    /// A URL that is empty or has one of these schemes.
    fn url(&mut self, key: &str, schemes: &[&str]) -> Option<Url> {
        let text = self.text(key);
        if text.is_empty() {
            return None;
        }
        let url = Url::parse(text).ok().filter(|url| schemes.contains(&url.scheme()));
        if url.is_none() {
            let forms: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://…")).collect();
            self.fault(key, format!("must be {}", forms.join(" or ")));
        }
        url
    }
}

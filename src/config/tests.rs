use super::*;
use std::fs;
use std::path::PathBuf;

fn env(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

fn faults(variables: &[(&str, &str)]) -> String {
    Config::load(None, env(variables)).expect_err("faulty").to_string()
}

/// A folder of its own for one test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("redress-config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_defaults_are_a_valid_configuration_of_one_machine() {
    let config = Config::load(None, env(&[("HOME", "/nowhere"), ("PATH", "")])).unwrap();
    assert_eq!(config.database_url().expose(), "sqlite://./redress-data/redress.db");
    assert_eq!(config.master_key_file(), PathBuf::from("./redress-data/master.key"));
    assert_eq!(config.public_url(), "http://127.0.0.1:8080");
    assert_eq!((config.worker.concurrency, config.worker.lease_seconds, config.worker.renew_seconds), (16, 12, 3));
    assert_eq!(config.http.body_limit_bytes, 65536);
    assert!(config.redis.url.is_none() && config.outbound.allow.is_empty());
}

#[test]
fn mail_is_configured_whole_or_not_at_all() {
    let fault = |variables: &[(&str, &str)]| faults(variables).split(':').next().unwrap_or_default().to_owned();
    let url = ("REDRESS_SMTP__URL", "smtp://me:canary@mail.example");
    let from = ("REDRESS_SMTP__FROM", "Redress <redress@processor.example>");
    let config = Config::load(None, env(&[url, from])).unwrap();
    assert!(config.smtp.settings().is_some() && !format!("{config:?}").contains("canary"));
    assert!(Config::load(None, env(&[])).unwrap().smtp.settings().is_none());
    assert_eq!(fault(&[url]), "smtp.from (default)");
    assert_eq!(fault(&[url, from, ("REDRESS_SMTP__STARTTLS", "never")]), "smtp.starttls (REDRESS_SMTP__STARTTLS)");
    assert_eq!(fault(&[url, from, ("REDRESS_SMTP__STARTTLS", "perhaps")]), "smtp.starttls (REDRESS_SMTP__STARTTLS)");
    assert_eq!(fault(&[url, from, ("REDRESS_SMTP__CA", "x")]), "smtp.ca (REDRESS_SMTP__CA)");
    let said = faults(&[("REDRESS_SMTP__URL", "http://me:canary@mail.example"), from]);
    assert!(said.starts_with("smtp.url (REDRESS_SMTP__URL): must be") || said.contains("smtp.url must be"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(fault(&[("REDRESS_WATCH__DIGEST_HOUR", "24")]), "watch.digest_hour (REDRESS_WATCH__DIGEST_HOUR)");
}

#[test]
fn signing_in_is_configured_whole_or_not_at_all() {
    let issuer = ("REDRESS_OIDC__ISSUER", "https://id.example");
    let client = ("REDRESS_OIDC__CLIENT_ID", "redress");
    let public = ("REDRESS_HTTP__PUBLIC_URL", "https://dsr.example");
    let secret = ("REDRESS_OIDC__CLIENT_SECRET", "canary");
    let roles = ("REDRESS_OIDC__ROLES", "cn=heads,team = privacy_lead");
    let config = Config::load(None, env(&[issuer, client, public, secret])).unwrap();
    assert_eq!(config.oidc.issuer.as_deref(), Some("https://id.example"));
    assert!(!format!("{config:?}").contains("canary") && !config.is_plain_and_local());
    assert!(Config::load(None, env(&[])).unwrap().oidc.issuer.is_none());
    assert!(Config::load(None, env(&[issuer, client])).is_ok(), "on this machine");
    let wrong_role = ("REDRESS_OIDC__ROLES", "heads = canary");
    for (variables, key) in [
        (&[issuer, public][..], "oidc.client_id"),
        (&[("REDRESS_OIDC__ISSUER", "http://id.example"), client, public], "oidc.issuer"),
        (&[("REDRESS_OIDC__ISSUER", "canary"), client, public], "oidc.issuer"),
        (&[("REDRESS_OIDC__ISSUER", "https://id.example/?canary=1"), client, public], "oidc.issuer"),
        (&[issuer, client, public, ("REDRESS_OIDC__SCOPES", "email")], "oidc.scopes"),
        (&[issuer, client, ("REDRESS_HTTP__PUBLIC_URL", "http://dsr.example")], "http.public_url"),
        (&[issuer, client, ("REDRESS_LISTEN", "0.0.0.0:8080")], "http.public_url"),
        (&[wrong_role], "oidc.roles"),
        (&[roles], "oidc.roles"),
        (&[("REDRESS_OIDC__CONTROLLERS", "canary")], "oidc.controllers"),
        (&[("REDRESS_BOARD__IDLE_MINUTES", "1")], "board.idle_minutes"),
    ] {
        let said = faults(variables);
        assert!(
            said.starts_with(&format!("{key} (")) && !said.contains("canary") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn proxies_are_named_as_addresses_and_networks() {
    let given = ("REDRESS_HTTP__TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.7");
    let config = Config::load(None, env(&[given, ("REDRESS_HTTP__FORWARDED_HEADER", "forwarded")])).unwrap();
    assert_eq!(config.http.trusted_proxies, ["10.0.0.0/8", "192.0.2.7"]);
    assert!(Config::load(None, env(&[])).unwrap().http.trusted_proxies.is_empty(), "nobody is believed");
    for (name, value, key) in [
        ("REDRESS_HTTP__TRUSTED_PROXIES", "10.0.0.0/8,proxy", "http.trusted_proxies"),
        ("REDRESS_HTTP__TRUSTED_PROXIES", "0.0.0.0/0", "http.trusted_proxies"),
        ("REDRESS_HTTP__FORWARDED_HEADER", "x-real-ip", "http.forwarded_header"),
    ] {
        let said = faults(&[(name, value)]);
        assert!(said.starts_with(&format!("{key} (")) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let folder = Folder::new("layers");
    let file = folder.file(
        "redress.toml",
        "data_dir = \"data\"\n[worker]\nconcurrency = 4\nbatch = 7\n[outbound]\nallow = [\"10.0.0.0/8\"]\n[log]\n",
    );
    let config =
        Config::load(Some(&file), env(&[("REDRESS_WORKER__CONCURRENCY", "9"), ("REDRESS_LISTEN", "[::1]:9")])).unwrap();
    assert_eq!((config.worker.concurrency, config.worker.batch, config.worker.poll_interval_ms), (9, 7, 1000));
    assert_eq!(config.data_dir, folder.0.join("data"), "relative to the file it stands in");
    assert_eq!(config.outbound.allow, ["10.0.0.0/8"]);
    assert_eq!(config.http.listen.to_string(), "[::1]:9");
}

#[test]
fn every_short_name_sets_its_key() {
    let config = Config::load(
        None,
        env(&[
            ("REDRESS_DATABASE_URL", "postgres://u:p@db/redress"),
            ("REDRESS_DATA_DIR", "/srv/redress"),
            ("REDRESS_REDIS_URL", "redis://cache/0"),
            ("REDRESS_LISTEN", "0.0.0.0:80"),
            ("REDRESS_MASTER_KEY_FILE", "/keys/master"),
            ("REDRESS_LOG", "warn"),
            ("REDRESS_OUTBOUND__ALLOW", "127.0.0.1:9000, hooks.internal,"),
        ]),
    )
    .unwrap();
    assert_eq!(config.database_url().expose(), "postgres://u:p@db/redress");
    assert_eq!(config.redis.url.as_ref().unwrap().expose(), "redis://cache/0");
    assert_eq!(config.master_key_file(), PathBuf::from("/keys/master"));
    assert_eq!((config.data_dir.to_str().unwrap(), config.log.filter.as_str()), ("/srv/redress", "warn"));
    assert_eq!(config.outbound.allow, ["127.0.0.1:9000", "hooks.internal"]);
    assert!(!format!("{config:?}").contains("u:p@"), "a password shows: {config:?}");
}

#[test]
fn any_key_can_name_a_file_instead() {
    let folder = Folder::new("files");
    folder.file("url", "postgres://secret@db/redress\r\n");
    let number = folder.file("number", "3\n");
    let file = folder.file("redress.toml", "[database]\nurl_file = \"url\"\n");
    let number = number.to_str().unwrap();
    let config = Config::load(Some(&file), env(&[("REDRESS_WORKER__BATCH_FILE", number)])).unwrap();
    assert_eq!(config.database_url().expose(), "postgres://secret@db/redress");
    assert_eq!(config.worker.batch, 3);
    let url = folder.file("other", "sqlite://x.db");
    let config = Config::load(Some(&file), env(&[("REDRESS_DATABASE_URL_FILE", url.to_str().unwrap())])).unwrap();
    assert_eq!(config.database_url().expose(), "sqlite://x.db");
    let said = faults(&[("REDRESS_DATABASE_URL_FILE", "/nowhere/url")]);
    assert!(said.contains("database.url_file (REDRESS_DATABASE_URL_FILE): /nowhere/url cannot be read"), "{said}");
}

#[test]
fn every_fault_is_named_at_once_with_key_source_and_remedy() {
    let folder = Folder::new("faults");
    let file = folder.file(
        "redress.toml",
        "[databse]\nurl = \"postgres://canary@db/x\"\n[worker]\nbatch = \"many canaries\"\nlease_seconds = 6\n",
    );
    let said = Config::load(
        Some(&file),
        env(&[
            ("REDRESS_LISTEN", "localhost"),
            ("REDRESS_DATABASE_URL", "mysql://canary@db/x"),
            ("REDRESS_WORKER__CONCURENCY", "1"),
            ("REDRESS_DATABSE_URL", "canary"),
            ("REDRESS_LOG__FORMAT", "xml"),
            ("REDRESS_WORKER__POLL_INTERVAL_MS", "1s"),
            ("REDRESS_OUTBOUND__ALLOW", "http://x"),
        ]),
    )
    .unwrap_err()
    .to_string();
    for part in [
        "databse.url (",
        "redress.toml:2): unknown key; did you mean database.url?",
        "worker.batch (",
        "redress.toml:4): must be a whole number",
        "worker.renew_seconds (default): must be less than half of worker.lease_seconds (/",
        "http.listen (REDRESS_LISTEN): must be an IP address and a port",
        "database.url (REDRESS_DATABASE_URL): must be postgres://… or postgresql://… or sqlite://…",
        "worker.concurency (REDRESS_WORKER__CONCURENCY): unknown key; did you mean worker.concurrency?",
        "REDRESS_DATABSE_URL (environment): unknown setting; did you mean REDRESS_DATABASE_URL?",
        "log.format (REDRESS_LOG__FORMAT): must be auto, text or json",
        "worker.poll_interval_ms (REDRESS_WORKER__POLL_INTERVAL_MS): must be a whole number",
        "outbound.allow (REDRESS_OUTBOUND__ALLOW): entry 1 must be a host name",
    ] {
        assert!(said.contains(part), "missing {part:?} in\n{said}");
    }
    assert!(!said.contains("canar"), "a value shows:\n{said}");
    assert_eq!(said.lines().count(), 10, "{said}");
}

#[test]
fn numbers_have_limits() {
    for (name, value) in [
        ("REDRESS_WORKER__CONCURRENCY", "0"),
        ("REDRESS_WORKER__CONCURRENCY", "-1"),
        ("REDRESS_HTTP__BODY_LIMIT_BYTES", "10"),
        ("REDRESS_REQUESTS__PACKAGE_EXPIRES_DAYS", "366"),
    ] {
        assert!(faults(&[(name, value)]).contains("must be from"), "{name}={value}");
    }
}

#[test]
fn a_key_set_twice_in_one_layer_must_be_set_the_same() {
    let twice = [("REDRESS_DATABASE_URL", "sqlite://a"), ("REDRESS_DATABASE__URL", "sqlite://b")];
    assert!(faults(&twice).contains("contradicts"));
    let same = [("REDRESS_DATABASE_URL", "sqlite://a"), ("REDRESS_DATABASE__URL", "sqlite://a")];
    assert!(Config::load(None, env(&same)).is_ok());
}

#[test]
fn variables_that_kubernetes_makes_for_services_are_no_settings() {
    let made = [
        ("REDRESS_PORT", "tcp://10.0.0.1:8080"),
        ("REDRESS_SERVICE_HOST", "10.0.0.1"),
        ("REDRESS_API_SERVICE_PORT", "8080"),
        ("REDRESS_API_SERVICE_PORT_HTTP", "8080"),
        ("REDRESS_API_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("REDRESS_API_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(Config::load(None, env(&made)).is_ok());
    assert!(faults(&[("REDRESS_PROXY", "x")]).contains("unknown setting"));
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_one_fault_with_its_line() {
    let folder = Folder::new("syntax");
    let file = folder.file("redress.toml", "[worker]\nbatch = \n");
    let said = Config::load(Some(&file), env(&[])).unwrap_err().to_string();
    assert!(said.contains("redress.toml:2"), "{said}");
    let said = Config::load(Some(&folder.0.join("no.toml")), env(&[])).unwrap_err().to_string();
    assert!(said.contains("cannot be read"), "{said}");
}

#[test]
fn a_variable_that_is_not_text_is_a_fault_only_if_it_is_ours() {
    let environment: Environment = env(&[("REDRESS_WORKER__BATCH", "5")]).collect();
    assert_eq!(Config::load_here(None, &environment).unwrap().worker.batch, 5);
    assert_eq!(format!("{environment:?}"), "{\"REDRESS_WORKER__BATCH\"}");
}

#[test]
fn a_data_folder_with_odd_characters_stays_one_path() {
    let config = Config::load(None, env(&[("REDRESS_DATA_DIR", "/a b/100%?#")])).unwrap();
    assert_eq!(config.database_url().expose(), "sqlite:///a b/100%25%3F%23/redress.db");
}

use super::*;
use redress_connectors::spec::OnDelete;
use redress_domain::RequestType::{Access, Correction, Deletion};
use serde_json::json;
use std::path::PathBuf;

/// The example of the design, word for word.
const EXAMPLE: &str = r#"
[controller]
name = "acme"
country = "DE"
timezone = "Europe/Berlin"
region = "eu"
contact = "privacy@acme.example"

[[system]]
name = "crm"
family = "crm"                     # crm, marketing, email, database, files, support, …
connector = "postgres"             # or salesforce, marketo, gmail, imap, …; `redress connector list` names them
settings = { host = "127.0.0.1", port = 5432, database = "shop", username = "dsr" }   # validated; unknown keys refused
secrets = { password = { env = "ACME_CRM_PASSWORD" } }                                # env, file, or sealed value
allow = ["access", "correction", "deletion"]                                          # the controller's documented instruction
max_matches = 25

  [[system.tables]]                # the SQL connectors: postgres, mysql, sqlite (settings.path)
  name = "customers"
  key = "id"
  identify = { email = "email", phone = "phone", customer_id = "id" }   # identifier type -> column
  fields = { full_name = "full_name", phone = "phone" }                 # field of a correction -> column it may change
  on_delete = "delete"             # delete | null | hash | keep (keep needs a reason code, and makes the request partially_completed)

  [[system.tables]]
  name = "orders"
  key = "id"
  references = { customer_id = "customers.id" }
  on_delete = "null"
  columns = ["ship_to"]            # what null or hash applies to; for access: what is exported (default all)
"#;

const CONTROLLER: &str = "[controller]\nname = \"acme\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\n";

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<ControllerFile, ProvisionFaults> {
    ControllerFile::parse(text, "acme.toml", Path::new("/srv/acme"), &no_env)
}

fn faults(text: &str) -> String {
    parse(text).expect_err("faulty").to_string()
}

#[tokio::test]
async fn the_example_of_the_design_is_read() {
    let env = |name: &str| (name == "ACME_CRM_PASSWORD").then(|| "canary".to_owned());
    let file = ControllerFile::parse(EXAMPLE, "acme.toml", Path::new("/srv/acme"), &env).unwrap();
    let controller = &file.controller;
    assert_eq!(
        (controller.name.as_str(), controller.country.as_str(), controller.region.as_str()),
        ("acme", "DE", "eu")
    );
    assert_eq!((controller.cooling_off_hours, &controller.review, controller.package_expires_days), (0, &vec![], None));
    let [system] = file.systems.as_slice() else { panic!("one system") };
    assert_eq!((system.name.as_str(), system.family.as_str(), system.connector.as_str()), ("crm", "crm", "postgres"));
    assert_eq!(system.settings["port"], 5432);
    assert_eq!(system.secrets["password"].source, SecretSource::Env("ACME_CRM_PASSWORD".to_owned()));
    assert_eq!(system.secrets["password"].value.expose(), "canary");
    assert_eq!(system.allow.as_deref(), Some([Access, Correction, Deletion].as_slice()));
    assert_eq!((system.max_matches, system.paused, system.rate_per_second), (25, None, None));
    let spec = to_spec(system);
    assert_eq!((spec.tables[0].on_delete, spec.tables[1].on_delete), (OnDelete::Delete, OnDelete::Null));
    assert_eq!(spec.tables[1].references["customer_id"], "customers.id");
    assert!(!format!("{file:?}").contains("canary"), "a secret shows");
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_a_fault_that_names_its_source() {
    let said = faults(EXAMPLE);
    assert_eq!(
        said,
        "acme.toml:14: system.crm.secrets.password: the environment variable ACME_CRM_PASSWORD is not set; set it for this command"
    );
    let said = faults(&EXAMPLE.replace("env = \"ACME_CRM_PASSWORD\"", "file = \"password\""));
    assert!(said.contains("system.crm.secrets.password: /srv/acme/password cannot be read"), "{said}");
    let said = faults(&EXAMPLE.replace("{ env = \"ACME_CRM_PASSWORD\" }", "\"canary\""));
    assert!(said.contains("must be { env = ") && !said.contains("canary"), "{said}");
}

#[tokio::test]
async fn every_fault_is_named_at_once_with_line_and_path() {
    let said = faults(
        r#"surprise = 1
[controller]
name = "Acme Ltd"
country = "de"
timezone = "Europe/Berlim"
contact = "Privacy <privacy@acme.example>"
require_aproval = ["deletion"]
review = ["access", "erasure"]
cooling_off_hours = 9000
[[system]]
name = "crm"
connector = "sqlite"
settings = { path = "crm.db", pth = 1 }
max_matches = 0
[[system.tables]]
name = "customers"
key = 3
identify = { e_mail = "email" }
on_delete = "purge"
colums = []
[[system]]
name = "crm"
connector = "sqlite"
settings = "crm.db"
rate_per_second = 0
paused = "yes"
completes_within_days = 366
[[instruction]]
"#,
    );
    for part in [
        "acme.toml:1: surprise: unknown key; there are controller, system",
        "acme.toml:3: controller.name: must begin with",
        "acme.toml:4: controller.country: must be a country code",
        "acme.toml:5: controller.timezone: must be the IANA name",
        "acme.toml:6: controller.contact: must be one e-mail address",
        "acme.toml:7: controller.require_aproval: unknown key; did you mean require_approval?",
        "acme.toml:8: controller.review.1: must be one of access, portability, correction",
        "acme.toml:9: controller.cooling_off_hours: must be from 0 to 720",
        "acme.toml:13: system.crm.settings.pth: ",
        "acme.toml:14: system.crm.max_matches: must be from 1 to 100000",
        "acme.toml:17: system.crm.tables.customers.key: must be a text",
        "acme.toml:18: system.crm.tables.customers.identify.e_mail: is not a type of identifier",
        "acme.toml:19: system.crm.tables.customers.on_delete: must be delete, null, hash or keep",
        "acme.toml:20: system.crm.tables.customers.colums: unknown key; did you mean columns?",
        "acme.toml:22: system.crm.name: is the name of system 1 too",
        "acme.toml:24: system.crm.settings: must be a table",
        "acme.toml:25: system.crm.rate_per_second: must be a number from 0.00001",
        "acme.toml:26: system.crm.paused: must be true or false",
        "acme.toml:27: system.crm.completes_within_days: must be from 0 to 365",
        "acme.toml:28: instruction: unknown key",
    ] {
        assert!(said.contains(part), "missing {part:?} in\n{said}");
    }
}

#[tokio::test]
async fn what_the_connector_says_about_its_settings_has_line_and_path_too() {
    let text = format!(
        "{CONTROLLER}[[system]]\nname = \"mail\"\nconnector = \"maildir\"\n[system.settings]\npath = \"m\"\npaht = \"n\"\n"
    );
    let said = faults(&text);
    assert!(said.starts_with("acme.toml:10: system.mail.settings.paht: "), "{said}");
    let said = faults(&text.replace("maildir", "gopher"));
    assert!(said.starts_with("acme.toml:7: system.mail.connector: "), "{said}");
}

#[tokio::test]
async fn paths_in_a_file_are_relative_to_it() {
    let text =
        format!("{CONTROLLER}[[system]]\nname = \"mail\"\nconnector = \"maildir\"\nsettings = {{ path = \"mail\" }}\n");
    let system = parse(&text).unwrap().systems.remove(0);
    assert_eq!(system.settings["path"], "/srv/acme/mail");
    assert_eq!(system.family, "email");
    let system = parse(&text.replace("\"mail\" }", "\"/var/mail\" }")).unwrap().systems.remove(0);
    assert_eq!(system.settings["path"], "/var/mail");
}

#[tokio::test]
async fn a_secret_from_a_file_loses_its_last_line_break_only() {
    let folder = std::env::temp_dir().join(format!("redress-provision-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("password"), " a b \n\n").unwrap();
    let text = EXAMPLE.replace("env = \"ACME_CRM_PASSWORD\"", "file = \"password\"");
    let path = folder.join("acme.toml");
    std::fs::write(&path, text).unwrap();
    let file = ControllerFile::load(&path, &no_env);
    std::fs::remove_dir_all(&folder).unwrap();
    let secret = file.unwrap().systems.remove(0).secrets.remove("password").unwrap();
    assert_eq!(secret.value.expose(), " a b \n");
    assert_eq!(secret.source, SecretSource::File(folder.join("password")));
}

#[tokio::test]
async fn the_same_definition_is_read_from_a_body_of_the_api() {
    let body = json!({
        "connector": "imap", "settings": {"host": "mail.acme.example", "port": 993, "tls": "implicit", "username": "dsr"},
        "secrets": {"password": {"value": "canary"}}, "rate_per_second": 2.5, "paused": true,
        "completes_within_days": 14,
    });
    let none = BTreeMap::new();
    let system = read_system("mail", &body, &Origin::Api { kept: &none }).unwrap();
    assert_eq!((system.name.as_str(), system.rate_per_second, system.paused), ("mail", Some(2.5), Some(true)));
    assert_eq!(system.completes_within_days, 14);
    assert_eq!(system.secrets["password"].value.expose(), "canary");
}

#[tokio::test]
async fn secrets_that_a_body_does_not_mention_stay_as_they_are() {
    let kept = BTreeMap::from([("password".to_owned(), "old".into())]);
    let mut body = json!({"connector": "imap", "settings": {"host": "mail.acme.example", "username": "dsr"}});
    let secret = |body: &Value| {
        let secret =
            read_system("mail", body, &Origin::Api { kept: &kept }).unwrap().secrets.remove("password").unwrap();
        (secret.source, secret.value.expose().clone())
    };
    assert_eq!(secret(&body), (SecretSource::Kept, "old".to_owned()));
    body["secrets"] = json!({"password": {"value": "new"}});
    assert_eq!(secret(&body), (SecretSource::Value, "new".to_owned()));
}

#[tokio::test]
async fn a_body_of_the_api_can_name_nothing_on_this_machine() {
    let kept = BTreeMap::new();
    let pointers = |body| -> Vec<String> {
        read_system("crm", &body, &Origin::Api { kept: &kept })
            .unwrap_err()
            .into_iter()
            .map(|fault| fault.pointer)
            .collect()
    };
    assert_eq!(
        pointers(json!({"connector": "sqlite", "settings": {"path": "/etc/passwd"}})),
        ["/connector", "/settings/path"]
    );
    let body = json!({
        "name": "other", "connector": "imap", "settings": {"ca_file": "/etc/shadow"},
        "secrets": {"password": {"env": "REDRESS_MASTER_KEY"}, "token": {"file": "/etc/shadow"}},
    });
    let found = pointers(body);
    for pointer in ["/name", "/settings/ca_file", "/secrets/password", "/secrets/token"] {
        assert!(found.iter().any(|found| found == pointer), "{pointer} in {found:?}");
    }
    assert_eq!(pointers(json!("crm")).first().map(String::as_str), Some(""));
}

#[test]
fn a_name_of_ours_is_short_and_plain() {
    for name in ["crm", "0", "eu-crm_2", &"x".repeat(63)] {
        assert!(reader::is_name(name), "{name}");
    }
    for name in ["", "-crm", "CRM", "c r m", "c/m", "crm.eu", "é", &"x".repeat(64)] {
        assert!(!reader::is_name(name), "{name}");
    }
}

#[test]
fn a_syntax_fault_is_named_by_its_line() {
    let said = faults("[controller]\nname = \n");
    assert!(said.starts_with("acme.toml:2: "), "{said}");
    let missing = ControllerFile::load(&PathBuf::from("/nowhere/acme.toml"), &no_env).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/acme.toml: cannot be read"), "{missing}");
}

#[test]
fn a_controller_can_be_read_from_the_command_line_too() {
    let given = json!({"name": "acme", "country": "DE", "timezone": "Europe/Berlin"});
    assert_eq!(read_controller(&given).unwrap().region, "eu");
    let given = json!({"name": "acme", "country": "XX", "timezone": "europe/berlin"});
    let pointers: Vec<String> = read_controller(&given).unwrap_err().into_iter().map(|f| f.pointer).collect();
    assert_eq!(pointers, ["/country", "/timezone"]);
}

#[tokio::test]
async fn limits_are_read_with_every_fault_and_shown_as_they_were_written() {
    let system = |limits: &str| {
        format!(
            "{CONTROLLER}\n[[system]]\nname = \"vendor\"\nconnector = \"bench\"\nsettings = {{ host = \"127.0.0.1\", port = 8099 }}\n{limits}\n"
        )
    };
    let file = parse(&system(
        "account = \"eu\"\nlimits = { rates = [\"100/10s\", \"20000/day\"], concurrency = 5, share = 0.8, reserve = 0.1, cost = { erase = 2 }, timezone = \"America/Chicago\" }",
    ))
    .unwrap();
    let stored = crate::connected::upsert(&file.systems[0], false).unwrap();
    assert_eq!(
        stored.definition["limits"],
        json!({"rates": ["100/10s", "20000/day"], "concurrency": 5, "share": 0.8, "reserve": 0.1, "cost": {"erase": 2}, "timezone": "America/Chicago"})
    );
    assert_eq!((stored.definition["account"].as_str(), stored.batch), (Some("eu"), 300));
    let said = faults(&system("rate_per_second = 1\nlimits = { rates = [\"100/fortnight\"], share = 2, speed = 1 }"));
    for expected in [
        "system.vendor.rate_per_second: is a shorthand for limits",
        "system.vendor.limits.rates.0: must be calls in a window",
        "system.vendor.limits.share: must be a number above 0 and up to 1",
        "system.vendor.limits.speed: unknown key",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    // What says nothing of limits is stored as before.
    let plain = parse(&system("")).unwrap();
    assert_eq!(crate::connected::upsert(&plain.systems[0], false).unwrap().definition.get("limits"), None);
}

#[tokio::test]
async fn four_eyes_and_the_last_day_of_credentials_are_read() {
    let system =
        "[[system]]\nname = \"office\"\nconnector = \"manual\"\nsettings = { instructions = [\"Shred it.\"] }\n";
    let file =
        parse(&format!("{CONTROLLER}four_eyes = true\n{system}credentials_expire_on = \"2027-03-31\"\n")).unwrap();
    assert!(file.controller.four_eyes);
    assert_eq!(file.systems[0].credentials_expire_on.map(|date| date.to_string()).as_deref(), Some("2027-03-31"));
    let stored = crate::connected::upsert(&file.systems[0], false).unwrap();
    assert_eq!(stored.definition["credentials_expire_on"], "2027-03-31");
    let plain = parse(&format!("{CONTROLLER}{system}")).unwrap();
    assert!(!plain.controller.four_eyes && plain.systems[0].credentials_expire_on.is_none());
    assert!(
        crate::connected::upsert(&plain.systems[0], false).unwrap().definition.get("credentials_expire_on").is_none()
    );
    let said = faults(&format!("{CONTROLLER}{system}credentials_expire_on = \"31.3.2027\"\n"));
    assert!(said.contains("credentials_expire_on") && said.contains("2027-03-31"), "{said}");
}

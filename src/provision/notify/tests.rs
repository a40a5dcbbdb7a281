use crate::provision::{ApplyFile, ControllerFile, ProvisionFaults};
use std::path::Path;

const CONTROLLER: &str = "[controller]\nname = \"acme\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\n";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Every way to be told.
const ROUTES: &str = r#"
[[notify]]
name = "dpo"
role = "privacy_team"
channel = "email"
to = ["dpo@acme.example", "team@acme.example", "dpo@acme.example"]

[[notify]]
name = "chat"
role = "controller"
channel = "slack"
url = { env = "CHAT_URL" }
delivery = "digest"
timezone = "America/New_York"

[[notify]]
name = "pager"
role = "management"
channel = "webhook"
url = "http://127.0.0.1:9000/page"
kinds = ["overdue", "critical"]
delivery = "now"
"#;

fn chat(name: &str) -> Option<String> {
    match name {
        "CHAT_URL" => Some("https://hooks.chat.example/canary".to_owned()),
        "PAGER_SECRET" => Some(SECRET.to_owned()),
        _ => None,
    }
}

fn apply_file(text: &str) -> Result<ApplyFile, ProvisionFaults> {
    ApplyFile::parse(text, "ops.toml", Path::new("/srv"), &chat)
}

#[test]
fn a_controllers_file_says_whom_to_tell() {
    use redress_domain::notice::{Channel, Delivery, NoticeKind, NotifyRole};
    let file = apply_file(&format!("{CONTROLLER}{ROUTES}")).unwrap();
    let ApplyFile::Controller(file) = file else { panic!("a controller's") };
    let [dpo, chat, pager] = file.notify.as_slice() else { panic!("three routes") };
    assert_eq!((dpo.name.as_str(), dpo.role, dpo.channel), ("dpo", NotifyRole::PrivacyTeam, Channel::Email));
    assert_eq!((dpo.delivery, dpo.timezone.as_str(), &dpo.kinds), (Delivery::Auto, "Europe/Berlin", &None));
    let to: Vec<&str> = dpo.target.to.iter().map(|to| to.expose().as_str()).collect();
    assert_eq!(to, ["dpo@acme.example", "team@acme.example"]);
    assert_eq!((chat.delivery, chat.timezone.as_str()), (Delivery::Digest, "America/New_York"));
    assert_eq!(chat.target.url.as_ref().unwrap().expose(), "https://hooks.chat.example/canary");
    assert_eq!(pager.kinds, Some(vec![NoticeKind::Overdue, NoticeKind::Critical]));
    assert_eq!(pager.target.url.as_ref().unwrap().expose(), "http://127.0.0.1:9000/page");
    assert!(!format!("{file:?}").contains("canary"), "a secret URL shows");
}

#[test]
fn a_file_without_a_controller_is_the_operators() {
    let operators = r#"
[[notify]]
name = "pager"
role = "operator"
channel = "webhook"
url = "https://pager.example/x"
secret = { env = "PAGER_SECRET" }
controllers = ["umbrella", "acme"]
"#;
    let ApplyFile::Operator(routes) = apply_file(operators).unwrap() else { panic!("the operator's") };
    assert_eq!(routes[0].controllers, Some(vec!["acme".to_owned(), "umbrella".into()]));
    assert_eq!(
        (routes[0].timezone.as_str(), routes[0].target.secret.as_ref().unwrap().expose().as_str()),
        ("UTC", SECRET)
    );
    let said = ControllerFile::parse(operators, "ops.toml", Path::new("/srv"), &chat).unwrap_err().to_string();
    assert_eq!(said, "ops.toml: controller: is missing; a file describes one [controller]");
    let said = apply_file("[[system]]\nname = \"crm\"\nconnector = \"maildir\"\nsettings = { path = \"/tmp\" }\n")
        .unwrap_err()
        .to_string();
    assert!(said.contains("controller: is missing; a file describes one [controller], or only [[notify]]"), "{said}");
}

#[test]
fn every_fault_of_a_route_is_named_with_its_line() {
    let said = apply_file(
        r#"[[notify]]
name = "a"
role = "boss"
channel = "fax"
kind = ["overdue"]
kinds = ["late"]
delivery = "soon"
timezone = "Berlin"
[[notify]]
name = "a"
role = "controller"
channel = "email"
to = ["dpo@acme.example", "not an address"]
url = "https://x.example/"
secret = { value = "canary" }
kinds = []
[[notify]]
role = "operator"
channel = "webhook"
to = ["dpo@acme.example"]
controllers = []
[[notify]]
name = "s"
role = "operator"
channel = "slack"
url = "gopher://x.example/canary"
[[notify]]
name = "t"
role = "operator"
channel = "slack"
url = { env = "NOT_SET" }
[[notify]]
name = "m"
role = "operator"
channel = "email"
to = []
"#,
    )
    .unwrap_err()
    .to_string();
    for line in [
        "ops.toml:3: notify.a.role: must be one of operator, privacy_team, controller, management",
        "ops.toml:4: notify.a.channel: must be one of email, slack, webhook",
        "ops.toml:5: notify.a.kind: unknown key; did you mean kinds?",
        "ops.toml:6: notify.a.kinds.0: must be one of at_risk, critical, overdue, extension_decision, acknowledgement_due, connector_silent, awaiting_controller, forecast_late, needs_attention",
        "ops.toml:7: notify.a.delivery: must be one of auto, now, digest",
        "ops.toml:8: notify.a.timezone: must be the IANA name of a time zone, such as Europe/Berlin",
        "ops.toml:10: notify.a.name: is the name of route 1 too; names are unique in a file",
        "ops.toml:13: notify.a.to.1: must be one e-mail address",
        "ops.toml:14: notify.a.url: has no place here: e-mail goes to the addresses in `to`",
        "ops.toml:15: notify.a.secret: has no place here: only webhooks are signed",
        "ops.toml:15: notify.a.secret: not a webhook secret: whsec_ and the base64 of 24 to 64 bytes are wanted",
        "ops.toml:16: notify.a.kinds: names no kind; leave it out and the role decides",
        "ops.toml:9: notify.a.controllers: is missing: a controller's people must not hear of other controllers' requests",
        "notify.2.name: is missing",
        "notify.2.url: is missing: where to post",
        "notify.2.secret: is missing: what the webhook is signed with",
        "ops.toml:20: notify.2.to: has no place here: only e-mail has addresses",
        "ops.toml:21: notify.2.controllers: names no controller; leave it out for all of them",
        "ops.toml:26: notify.s.url: the URL must begin with https://",
        "ops.toml:31: notify.t.url: the environment variable NOT_SET is not set; set it for this command",
        "ops.toml:36: notify.m.to: must hold 1 to 20 e-mail addresses",
    ] {
        assert!(said.contains(line), "{line}\n---\n{said}");
    }
    assert!(!said.contains("canary"), "{said}");
    let said = apply_file(&format!("{CONTROLLER}{ROUTES}controllers = [\"acme\"]\n")).unwrap_err().to_string();
    assert!(said.contains("notify.pager.controllers: has no place in a controller's file"), "{said}");
    assert!(apply_file("notify = 3\n").unwrap_err().to_string().contains("must be a list of tables; write [[notify]]"));
}

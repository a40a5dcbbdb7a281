//! Notices from outside: a file says whom to tell, a request waits for its controller, and mail, chat and a program hear of it.

use crate::support::{Kind, Person, Systems, TestApp, controller_toml, id_of};
use redress_testkit::{Receiver, Smtp};
use serde_json::Value;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A controller that approves deletions, and its routes.
fn acme(hooks: &Receiver, chat: bool) -> String {
    let controller = controller_toml("acme", "require_approval = [\"deletion\"]");
    let page = hooks.url_of("/page");
    let chat = if chat { CHAT } else { "" };
    format!("{controller}{DPO}{PAGER}url = {page:?}\n{chat}")
}

const DPO: &str = r#"
[[notify]]
name = "dpo"
role = "controller"
channel = "email"
to = ["dpo@acme.example"]
delivery = "now"
"#;

const PAGER: &str = r#"
[[notify]]
name = "pager"
role = "privacy_team"
channel = "webhook"
secret = { env = "PAGER_SECRET" }
delivery = "now"
"#;

const CHAT: &str = r#"
[[notify]]
name = "chat"
role = "controller"
channel = "slack"
url = { env = "CHAT_URL" }
delivery = "now"
"#;

async fn installed() -> (TestApp, Receiver, Smtp) {
    let (hooks, smtp) = tokio::join!(Receiver::start(), Smtp::start());
    let app = TestApp::builder()
        .env("REDRESS_SMTP__URL", format!("smtp://redress:pw@127.0.0.1:{}", smtp.port()))
        .env("REDRESS_SMTP__FROM", "Redress <redress@processor.example>")
        .env("REDRESS_SMTP__CA_FILE", smtp.ca_file().display().to_string())
        .env("REDRESS_HTTP__PUBLIC_URL", "https://dsr.processor.example")
        .env("PAGER_SECRET", SECRET)
        .env("CHAT_URL", hooks.url_of("/services/canary-chat"))
        .installed()
        .await;
    (app, hooks, smtp)
}

#[tokio::test]
async fn routes_are_applied_listed_tried_and_removed() {
    let (app, hooks, smtp) = installed().await;
    let file = app.file("acme.toml", acme(&hooks, true));
    let would = app.cli(&["apply", "--dry-run", &file]).await;
    for name in ["dpo", "pager", "chat"] {
        assert!(would.ok().contains(&format!("route acme/{name}: would be added")), "{would:#?}");
    }
    assert_eq!(app.cli(&["notify", "list"]).await.ok(), "");
    let applied = app.cli(&["apply", &file]).await;
    assert!(applied.ok().contains("route acme/pager: added") && !applied.stdout.contains("smtp.url"), "{applied:#?}");
    assert_eq!(app.cli(&["apply", &file]).await.ok(), "controller acme: nothing to change\n");

    let listed = app.cli(&["notify", "list", "--json"]).await.json();
    let names: Vec<&str> =
        listed["routes"].as_array().expect("a list").iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["chat", "dpo", "pager"]);
    assert!(!listed.to_string().contains("canary") && !listed.to_string().contains("dpo@acme"), "{listed}");
    for name in ["dpo", "pager", "chat"] {
        let tried = app.cli(&["notify", "test", "--route", name]).await;
        assert_eq!(tried.ok(), format!("acme/{name} took the message\n"));
    }
    assert_eq!(smtp.wait_for(1).await[0].header("To"), Some("dpo@acme.example"));
    assert_eq!(hooks.requests().len(), 2);
    hooks.otherwise(500);
    let tried = app.cli(&["notify", "test", "--route", "chat"]).await;
    assert!(tried.refused(1).contains("acme/chat: it could not be reached, or did not take the message"), "{tried:#?}");
    assert!(app.cli(&["notify", "test", "--route", "fax"]).await.refused(1).contains("no route is named \"fax\""));

    // The operator's own, beside them.
    let operators = |about: &str| {
        format!(
            "[[notify]]\nname = \"pager\"\nrole = \"operator\"\nchannel = \"webhook\"\nurl = {:?}\nsecret = {{ value = {SECRET:?} }}\ncontrollers = [{about:?}]\n",
            hooks.url_of("/ops")
        )
    };
    let unknown = app.file("ops.toml", operators("umbrella"));
    let refused = app.cli(&["apply", &unknown]).await;
    assert!(refused.refused(1).contains("no controller is named \"umbrella\""), "{refused:#?}");
    let ops = app.file("ops.toml", operators("acme"));
    assert_eq!(app.cli(&["apply", &ops]).await.ok(), "route operator/pager: added\n");
    assert_eq!(app.cli(&["apply", &ops]).await.ok(), "the operator's routes: nothing to change\n");
    let ambiguous = app.cli(&["notify", "test", "--route", "pager"]).await;
    assert!(ambiguous.refused(1).contains("say whose with --controller"), "{ambiguous:#?}");

    let fewer = app.file("acme.toml", acme(&hooks, false));
    assert_eq!(app.cli(&["apply", &fewer]).await.ok(), "route acme/chat: removed\n");
    assert_eq!(
        app.cli(&["apply", &fewer, &ops]).await.ok(),
        "controller acme: nothing to change\nthe operator's routes: nothing to change\n"
    );

    let doctor = app.cli(&["doctor"]).await;
    assert!(doctor.ok().contains("ok    notices: 3 routes"), "{doctor:#?}");
    let doctor = app.cli_with(&[("REDRESS_SMTP__URL", "")], &["doctor"]).await;
    assert!(doctor.stdout.contains("FAULT notices: a route is by e-mail, but smtp.url is not set"), "{doctor:#?}");
    let applied = app.cli_with(&[("REDRESS_SMTP__URL", "")], &["apply", &fewer]).await;
    assert!(applied.ok().contains("note: a route is by e-mail"), "{applied:#?}");
}

#[tokio::test]
async fn a_request_that_waits_for_its_controller_is_told_at_once_and_without_the_person() {
    let (app, hooks, smtp) = installed().await;
    let systems = Systems::of(&[Kind::Maildir]).await;
    let api = app.controller(&(acme(&hooks, true) + &systems.system_toml(Kind::Maildir))).await;
    app.start().await;
    let person = Person::new("quokka");
    let made = api.post("/v1/requests", &person.deletion()).await.expect(202);
    let id = id_of(&made);
    let mails = smtp.wait_for(1).await;
    let messages = hooks.wait_for(2).await;
    assert_eq!(mails[0].header("Subject"), Some("[redress] 1 request of acme waits for the controller"));
    assert!(mails[0].about.contains("\"user\": \"redress\", \"tls\": true"), "{}", mails[0].about);
    let texts: Vec<String> = mails
        .iter()
        .map(|mail| mail.text.clone())
        .chain(messages.iter().map(redress_testkit::Received::text))
        .collect();
    for text in &texts {
        let said = text.replace("=\r\n", "").replace("=\n", "");
        assert!(said.contains(&format!("https://dsr.processor.example/requests/{id}")), "{text}");
        for canary in ["quokka", "TICKET", "@example"] {
            assert!(!text.contains(canary), "{canary} is in {text}");
        }
    }
    let page = messages.iter().find(|m| m.path == "/page").expect("the program is told");
    let body: Value = serde_json::from_slice(&page.body).expect("JSON");
    assert_eq!(body["data"]["notices"][0]["kind"], "awaiting_controller");
    let metrics = api.read("/metrics").await;
    assert!(metrics.text().contains("redress_messages{state=\"wait\"} 0"), "{}", metrics.text());
    assert!(!app.logs().contains("dpo@acme.example") && !app.logs().contains("canary-chat"));
}

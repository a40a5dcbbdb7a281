//! The command line, as operators and controllers' engineers type it: what it prints, and the code it ends with.

use crate::support::{ApiClient, Kind, Person, Ran, Systems, TestApp, controller_toml, id_of, status_of};
use redress::demo_seed;
use serde_json::{Value, json};

/// A command with a key, as a controller's engineer runs it.
async fn as_caller(app: &TestApp, api: &ApiClient, arguments: &[&str]) -> Ran {
    app.cli_with(&[("REDRESS_API_KEY", &api.key)], arguments).await
}

#[tokio::test]
async fn an_operator_makes_controllers_and_keys_and_a_revoked_key_is_refused_at_once() {
    let app = TestApp::builder().start().await;
    let create = ["controller", "create", "acme", "--country", "de", "--timezone", "Europe/Berlin", "--region", "eu"];
    let made = app.cli(&[&create[..], &["--contact", "privacy@acme.example", "--json"]].concat()).await.json();
    assert!(made["id"].as_str().is_some_and(|id| id.starts_with("ctl_")), "{made}");
    assert_eq!(made["name"], "acme");
    let first = ApiClient::new(app.base(), made["api_key"].as_str().expect("a key").to_owned());
    first.read("/v1/requests").await.expect(200);
    let secret = app.cli(&["controller", "webhook-secret", "acme"]).await;
    assert_eq!(secret.ok().trim(), made["webhook_secret"], "the secret can be had again");

    app.cli(&create).await.refused(1);
    let ran = app.cli(&["controller", "create", "Ac me", "--country", "Germany", "--timezone", "Berlin"]).await;
    let words = ran.refused(1);
    for option in ["--name", "--country", "--timezone"] {
        assert!(words.contains(option), "every fault is named at once: {words}");
    }
    let listed = app.cli(&["controller", "list", "--json"]).await.json();
    assert_eq!(listed["controllers"].as_array().map(Vec::len), Some(1), "{listed}");
    assert!(app.cli(&["controller", "list"]).await.ok().contains("acme  DE  Europe/Berlin"));

    let key = app.cli(&["key", "create", "--controller", "acme", "--role", "auditor", "--json"]).await.json();
    let auditor = ApiClient::new(app.base(), key["api_key"].as_str().expect("a key").to_owned());
    auditor.read("/v1/requests").await.expect(200);
    auditor.post("/v1/requests", &Person::new("ann").access()).await.problem(403);
    let keys = app.cli(&["key", "list", "--controller", "acme", "--json"]).await.json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2), "{keys}");
    assert!(!keys.to_string().contains("rk_"), "a key is shown once only: {keys}");
    let id = key["id"].as_str().expect("an id");
    app.cli(&["key", "revoke", id, "--controller", "acme"]).await.ok();
    auditor.read("/v1/requests").await.problem(401);
    first.read("/v1/requests").await.expect(200);
    let keys = app.cli(&["key", "list", "--controller", "acme", "--json"]).await.json();
    let revoked = |k: &&Value| k["revoked"] == true;
    let found = keys["keys"].as_array().expect("a list").iter().filter(revoked).map(|k| &k["id"]).collect::<Vec<_>>();
    assert_eq!(found, [id], "{keys}");

    for bad in [
        vec!["key", "create", "--controller", "nobody"],
        vec!["key", "create", "--controller", "acme", "--role", "king"],
        vec!["key", "list", "--controller", "nobody"],
        vec!["key", "revoke", "key_01m8066kqtvsv10t3bvfek0ftp", "--controller", "acme"],
        vec!["key", "revoke", "key", "--controller", "acme"],
        vec!["controller", "webhook-secret", "nobody"],
    ] {
        let ran = app.cli(&bad).await;
        assert_eq!(ran.refused(1).trim().lines().count(), 1, "an error is one line: {ran:#?}");
    }
}

#[tokio::test]
async fn applying_a_file_twice_changes_nothing_and_a_faulty_one_never_does() {
    let (app, systems) =
        tokio::join!(TestApp::builder().installed(), Systems::of(&[Kind::Sqlite, Kind::Maildir, Kind::Postgres]));
    let toml = systems.toml("acme");
    let file = app.file("acme.toml", &toml);
    let controllers = async || {
        let listed = app.cli(&["controller", "list", "--json"]).await.json();
        listed["controllers"].as_array().expect("a list").iter().map(|c| c["name"].to_string()).collect::<Vec<_>>()
    };

    let dry = app.cli(&["apply", "--dry-run", &file]).await;
    for words in ["controller acme: would be created", "system acme/sqlite: would be connected (sqlite)"] {
        assert!(dry.ok().contains(words), "{dry:#?}");
    }
    assert!(controllers().await.is_empty(), "a dry run made a controller");

    // A good file beside a faulty one is not applied either.
    let typo = toml
        .replace("[[system]]\nname = \"maildir\"", "[[system]]\nname = \"mail dir\"")
        .replace("on_delete = \"null\"", "on_delete = \"nil\"");
    let line = |words: &str| typo.lines().position(|line| line.contains(words)).expect("it is there") + 1;
    let faulty = app.file("faulty.toml", typo.replace("name = \"acme\"", "name = \"other\""));
    for arguments in [vec!["apply", &file, &faulty], vec!["apply", "--dry-run", &faulty], vec!["apply", &faulty]] {
        let ran = app.cli(&arguments).await;
        let words = ran.refused(1);
        for place in [format!("faulty.toml:{}", line("\"mail dir\"")), format!("faulty.toml:{}", line("\"nil\""))] {
            assert!(words.contains(&place), "{place} is not in {words}");
        }
    }
    let open = app.file("open.toml", "[controller\nname = 1\n");
    assert!(app.cli(&["apply", &open]).await.refused(1).contains("open.toml:1"));
    app.cli(&["apply", "nowhere.toml"]).await.refused(1);
    let unset = app.cli_with(&[("DSR_PASSWORD", "")], &["apply", &file]).await;
    assert!(unset.refused(1).contains("DSR_PASSWORD") || unset.stderr.contains("password"), "{unset:#?}");
    assert!(controllers().await.is_empty(), "a faulty file was half applied");

    let first = app.cli(&["apply", &file]).await;
    assert!(
        first.ok().contains("controller acme: created") && first.stdout.contains("system acme/postgres: connected"),
        "{first:#?}"
    );
    for arguments in [vec!["apply", &file], vec!["apply", "--dry-run", &file]] {
        assert_eq!(app.cli(&arguments).await.ok(), "controller acme: nothing to change\n");
    }
    assert_eq!(controllers().await, ["\"acme\""]);

    // One change is one line, and only that.
    let changed = app.file("acme.toml", toml.replace("family = \"marketing\"", "family = \"crm\""));
    let dry = app.cli(&["apply", "--dry-run", &changed]).await;
    assert_eq!(dry.ok(), "system acme/sqlite: would be changed (sqlite)\n");
    assert_eq!(app.cli(&["apply", &changed]).await.ok(), "system acme/sqlite: changed (sqlite)\n");
    assert_eq!(app.cli(&["apply", &changed]).await.ok(), "controller acme: nothing to change\n");
    // A new password is a change although nobody can read the old one.
    let ran = app.cli_with(&[("DSR_PASSWORD", "new")], &["apply", &changed]).await;
    assert_eq!(ran.ok(), "system acme/postgres: changed (postgres)\n");
    assert!(app.cli(&["connector", "check", "postgres"]).await.refused(1).contains("password"));
    app.cli(&["apply", &changed]).await.ok();
    assert!(app.cli(&["connector", "check", "postgres"]).await.ok().contains("acme/postgres answers"));
    // A system that is no longer in the file is named, not disconnected.
    let fewer = app.file("acme.toml", controller_toml("acme", "") + &systems.system_toml(Kind::Maildir));
    let ran = app.cli(&["apply", &fewer]).await;
    assert!(ran.ok().contains("system acme/postgres: is connected but not in the file"), "{ran:#?}");
}

#[tokio::test]
async fn requests_are_submitted_shown_decided_and_proven_from_a_terminal() {
    let (app, systems) =
        tokio::join!(TestApp::builder().quick_leases().start(), Systems::of(&[Kind::Sqlite, Kind::Maildir]));
    let people @ [ann, bob, zoe] = &["ann", "bob", "zoe"].map(Person::new);
    systems.fill(people).await;
    let api = app.controller(&systems.toml_with("acme", "require_approval = [\"deletion\"]")).await;
    let run = async |arguments: &[&str]| as_caller(&app, &api, arguments).await;

    let access = run(&["submit", "--type", "access", "--email", &ann.email, "--reference", "T-1", "--wait", "--json"])
        .await
        .json();
    assert_eq!((status_of(&access), &access["reference"]), ("completed", &json!("T-1")));
    let id = id_of(&access);
    assert_eq!(run(&["show", id, "--json"]).await.json(), api.get(id).await);
    let shown = run(&["show", id, "--events"]).await;
    for words in [id, "completed", "sqlite", "maildir", "export", "received", "by engine"] {
        assert!(shown.ok().contains(words), "{words} is not in {shown:#?}");
    }
    let key = api.signing_key().await;
    for (what, file) in [("package", "ann.zip"), ("certificate", "ann.json")] {
        run(&[what, id, "-o", file]).await.ok();
        let ran = app.cli(&["verify", file, "--key", &key]).await;
        assert!(ran.ok().contains("valid"), "{ran:#?}");
        assert_eq!(app.cli(&["verify", file]).await.code, Some(0), "without a key its integrity is checked");
    }
    let noise = app.file("noise.bin", b"neither this nor that");
    for bad in [vec!["verify", &noise], vec!["verify", "nowhere.json"], vec!["verify", "ann.json", "--key", "x"]] {
        app.cli(&bad).await.refused(1);
    }

    // Decisions.
    let deletion = run(&["submit", "--type", "deletion", "--email", &bob.email, "--wait", "--json"]).await.json();
    assert_eq!(status_of(&deletion), "awaiting_approval", "it waits for a person and says so");
    assert_eq!(systems.census(&bob.email).await, 8);
    let withdrawn = run(&["withdraw", id_of(&deletion), "--json"]).await.json();
    assert_eq!(status_of(&withdrawn), "withdrawn");
    assert!(run(&["approve", id_of(&deletion)]).await.refused(1).contains("409"));
    let body = app.file("zoe.json", zoe.deletion().to_string());
    let deletion = run(&["submit", "--file", &body, "--idempotency-key", "zoe-1", "--json"]).await.json();
    let again = run(&["submit", "--file", &body, "--idempotency-key", "zoe-1", "--json"]).await.json();
    assert_eq!(id_of(&again), id_of(&deletion), "one key makes one request");
    systems.sql(Kind::Sqlite, "ALTER TABLE tickets RENAME TO tickets_gone").await;
    api.until(id_of(&deletion), |status| status == "awaiting_approval", crate::support::PATIENCE).await;
    run(&["approve", id_of(&deletion)]).await.ok();
    assert_eq!(status_of(&api.settled(id_of(&deletion)).await), "needs_attention");
    let shown = run(&["show", id_of(&deletion)]).await;
    assert!(shown.ok().contains("needs attention: ") && shown.stdout.contains("tickets"), "{shown:#?}");
    systems.sql(Kind::Sqlite, "ALTER TABLE tickets_gone RENAME TO tickets").await;
    run(&["retry", id_of(&deletion)]).await.ok();
    assert_eq!(status_of(&api.closed(id_of(&deletion)).await), "completed");
    assert_eq!((systems.census(&zoe.email).await, systems.census(&bob.email).await), (0, 8));
    let correction =
        run(&["submit", "--type", "correction", "--email", &bob.email, "--set", "full_name=Bob=Bobson", "--wait"])
            .await;
    assert!(correction.ok().contains("completed"), "{correction:#?}");
    assert_eq!(
        systems.query(Kind::Sqlite, "SELECT full_name FROM customers WHERE owner = 'bob'").await,
        [["Bob=Bobson"]]
    );
    let rejected = run(&["submit", "--type", "deletion", "--email", &bob.email, "--wait", "--json"]).await.json();
    let rejected = run(&["reject", id_of(&rejected), "--reason", "identity_not_proven", "--json"]).await.json();
    assert_eq!(status_of(&rejected), "rejected");

    // Lists.
    let listed = run(&["list", "--json"]).await.json();
    assert_eq!(listed["requests"].as_array().map(Vec::len), Some(5), "{listed:#}");
    for (arguments, count) in [
        (vec!["--status", "withdrawn"], 1),
        (vec!["--type", "deletion"], 3),
        (vec!["--system", "maildir"], 4),
        (vec!["--limit", "2"], 2),
        (vec!["--status", "in_progress"], 0),
        (vec!["--band", "overdue"], 0),
    ] {
        let ran = run(&[vec!["list"], arguments].concat()).await;
        assert_eq!(ran.ok().lines().count(), count, "{ran:#?}");
    }

    // Refusals: one line, on standard error, with what to do.
    for (arguments, words) in [
        (vec!["submit", "--type", "deletion", "--email", "@"], "/subject/identifiers/0/value"),
        (vec!["submit", "--type", "deletion"], "/subject/identifiers"),
        (vec!["submit", "--type", "correction", "--email", "a@b.example", "--set", "name"], "field=value"),
        (vec!["show", "dsr_01m8066kqtvsv10t3bvfek0ftp"], "404"),
        (vec!["list", "--status", "lost"], "422"),
        (vec!["package", id_of(&deletion)], "404"),
        (vec!["list", "--url", "http://127.0.0.1:9"], "redress serve"),
        (vec!["list", "--api-key", "rk_wrong"], "401"),
    ] {
        let ran = run(&arguments).await;
        assert!(ran.refused(1).contains(words) && ran.stderr.trim().lines().count() == 1, "{ran:#?}");
        assert_eq!(ran.stdout, "");
    }
    assert!(app.cli(&["list"]).await.refused(1).contains("REDRESS_API_KEY"));
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_a_wrong_configuration_with_1_and_both_say_why() {
    let app = TestApp::builder().installed().await;
    for bad in [
        vec!["frobnicate"],
        vec!["serve", "--role", "king"],
        vec!["submit"],
        vec!["show"],
        vec!["apply"],
        vec!["list", "--limit", "many"],
        vec!["controller", "create", "acme"],
        vec!["verify"],
        vec!["config", "check", "--loud"],
        vec![],
    ] {
        let ran = app.cli(&bad).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:#?}");
        assert!(ran.stderr.contains("--help"), "{ran:#?}");
    }
    for good in ["--help", "--version"] {
        assert!(app.cli(&[good]).await.ok().contains("redress"));
    }

    assert_eq!(app.cli(&["config", "check"]).await.ok(), "the configuration is valid\n");
    let unknown = app.cli_with(&[("REDRESS_WORKER__CONCURENCY", "4")], &["config", "check"]).await;
    assert!(unknown.refused(1).contains("concurrency"), "the key that was meant is named: {unknown:#?}");
    let file = app.file("wrong.toml", "[worker]\nconcurrency = 0\n\n[htp]\nlisten = \"127.0.0.1:1\"\n");
    let wrong = app.cli(&["--config", &file, "config", "check"]).await;
    for place in ["wrong.toml:2", "wrong.toml:5"] {
        assert!(wrong.refused(1).contains(place), "{place} is not in {wrong:#?}");
    }
    for (name, value) in [
        ("REDRESS_WORKER__RENEW_SECONDS", "60"),
        ("REDRESS_DATABASE_URL", "oracle://secret-canary@host/db"),
        ("REDRESS_LISTEN", "somewhere"),
        ("REDRESS_OUTBOUND__ALLOW", "10.0.0.0/99"),
        ("REDRESS_LOG", "loud"),
    ] {
        let ran = app.cli_with(&[(name, value)], &["config", "check"]).await;
        assert!(!ran.refused(1).contains("canary"), "{ran:#?}");
        app.cli_with(&[(name, value)], &["serve"]).await.refused(1);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    assert!(app.cli_with(&[("REDRESS_LISTEN", &address)], &["serve"]).await.refused(1).contains("REDRESS_LISTEN"));
    let elsewhere = app.cli_with(&[("REDRESS_MASTER_KEY_FILE", "/nowhere/key")], &["doctor"]).await;
    assert_eq!(elsewhere.code, Some(1), "{elsewhere:#?}");
    assert!(elsewhere.stdout.contains("FAULT"), "{elsewhere:#?}");
}

#[tokio::test]
async fn a_manifest_of_the_operators_own_is_linted_tested_and_used() {
    let app = TestApp::builder().installed().await;
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/writing-a-connector.md")).expect("the page");
    let parts = page.split("```toml").filter_map(|part| part.split_once("```")).map(|(text, _)| text.trim_start());
    let example: String = parts.filter(|text| !text.starts_with("# elsewhere")).collect();
    let folder = app.folder().join("manifests");
    std::fs::create_dir(&folder).expect("it is our own folder");
    let file = folder.join("freshdesk.toml");
    std::fs::write(&file, &example).expect("it is our own folder");
    let (path, own) = (file.to_str().expect("UTF-8"), folder.to_str().expect("UTF-8"));
    let tested = app.cli(&["connector", "test", path]).await;
    assert!(tested.ok().contains("sound, and its cases hold"), "{tested:#?}");
    let own = [("REDRESS_CONNECTORS__MANIFESTS", own)];
    let listed = app.cli_with(&own, &["connector", "list", "--json"]).await.json();
    let listed = listed["connectors"].as_array().expect("a list").iter().find(|c| c["name"] == "freshdesk");
    assert_eq!(listed.expect("it is listed")["deletes"][0], "contact: permanent");

    std::fs::write(&file, example.replace("max_matches", "max_machtes")).expect("it is our own folder");
    let linted = app.cli(&["connector", "lint", path]).await;
    linted.refused(1);
    assert!(linted.stdout.contains("did you mean \"max_matches\"?"), "{linted:#?}");
    let json = app.cli(&["connector", "lint", path, "--json"]).await;
    assert!(json.stdout.contains("\"sound\":false"), "{json:#?}");
    for command in [["config", "check"].as_slice(), &["doctor"], &["connector", "list"]] {
        let refused = app.cli_with(&own, command).await;
        // The doctor tells on standard output what it found.
        let told = format!("{}{}", refused.refused(1), refused.stdout);
        assert!(told.contains("freshdesk.toml: line") && !told.contains("FAULT database"), "{refused:#?}");
    }
    let schema = app.cli(&["connector", "schema"]).await.json();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(app.cli(&["connector", "lint"]).await.code, Some(2));
}

#[tokio::test]
async fn the_doctor_and_the_connector_check_name_what_is_wrong_with_each_system() {
    let (app, systems) = tokio::join!(TestApp::builder().installed(), Systems::all());
    systems.fill(&[Person::new("ann")]).await;
    app.apply(&systems.toml("acme")).await;
    let listed = app.cli(&["connector", "list", "--json"]).await.json();
    let names: Vec<&str> =
        listed["connectors"].as_array().expect("a list").iter().filter_map(|c| c["name"].as_str()).collect();
    // Whoever adds a connector says so here.
    let all = "activecampaign amplitude bigquery braze brevo customerio dynamics365 dynamodb gmail graph hubspot \
        imap intercom iterable jmap klaviyo ldap mailchimp maildir manual marketo mixpanel mysql opendsr \
        pipedrive postgres s3 salesforce segment sendgrid shopify slack snowflake sqlite stripe tryton \
        twilio webhook zendesk zoho";
    assert_eq!(names, all.split(' ').collect::<Vec<_>>());
    let listed = app.cli(&["connector", "list"]).await;
    assert!(names.iter().all(|name| listed.ok().contains(&format!("{name}: "))), "{listed:#?}");

    let doctor = app.cli(&["doctor"]).await;
    assert!(!doctor.ok().contains("FAULT"), "{doctor:#?}");
    for kind in Kind::ALL {
        assert!(doctor.stdout.contains(&format!("system {} of acme: answers", kind.name())), "{doctor:#?}");
        let checked = app.cli(&["connector", "check", kind.name(), "--controller", "acme"]).await;
        assert!(checked.ok().contains(&format!("acme/{} answers", kind.name())), "{checked:#?}");
        let json = app.cli(&["connector", "check", kind.name(), "--json"]).await.json();
        assert!(json["ok"].as_array().is_some_and(|lines| !lines.is_empty()), "{json}");
    }
    assert_eq!(systems.census("ann@shop.example").await, 22, "looking changed something");
    app.cli(&["connector", "check", "nothing"]).await.refused(1);
    app.apply(&(controller_toml("rival", "") + &systems.system_toml(Kind::Sqlite))).await;
    assert!(app.cli(&["connector", "check", "sqlite"]).await.refused(1).contains("--controller"));

    systems.sql(Kind::Mysql, "ALTER TABLE tickets RENAME TO tickets_gone").await;
    systems.sql(Kind::Postgres, "ALTER TABLE customers RENAME COLUMN full_name TO name").await;
    systems.dovecot().user("support", "another");
    std::fs::remove_file(systems.sqlite_file()).expect("it is there");
    std::fs::rename(systems.maildir(), systems.maildir().with_extension("gone")).expect("it is there");
    let doctor = app.cli(&["doctor"]).await;
    assert_eq!(doctor.code, Some(1), "{doctor:#?}");
    for (kind, words) in [
        (Kind::Mysql, "tickets"),
        (Kind::Postgres, "full_name"),
        (Kind::Imap, "password"),
        (Kind::Sqlite, "file"),
        (Kind::Maildir, "path"),
    ] {
        let fault = format!("FAULT system {} of acme: ", kind.name());
        let line = doctor
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(&fault))
            .unwrap_or_else(|| panic!("{fault}: {doctor:#?}"));
        assert!(line.contains(words), "{words:?} is not in {line:?}");
        app.cli(&["connector", "check", kind.name(), "--controller", "acme"]).await.refused(1);
    }
}

#[tokio::test]
async fn the_demo_fulfils_sixty_requests_again_and_again_and_its_log_names_nobody() {
    let app = TestApp::builder().env("REDRESS_LOG", "trace").installed().await;
    let folder = app.folder().join("redress-demo");
    // The same number makes the same people.
    let world = demo_seed::seed(&app.folder().join("same"), demo_seed::DEFAULT_SEED).await.expect("an empty folder");
    assert_eq!(world.requests.len(), 60);
    for run in 1..=2 {
        let ran = app.cli(&["demo", "--exit"]).await;
        assert!(ran.ok().contains("60 of 60 fulfilled"), "run {run}: {ran:#?}");
        for words in [
            "0 of 20 deleted people still there",
            "Certificate: valid",
            "An access package",
            "One request with three systems, idle service",
        ] {
            assert!(ran.stdout.contains(words), "{words:?} is not in {ran:#?}");
        }
        let log = std::fs::read_to_string(folder.join("redress.log")).expect("a log");
        assert!(log.contains("dsr_") && !log.contains("\"level\":\"ERROR\""), "{log}");
        let told = format!("{log}{}", ran.stderr).to_lowercase();
        for request in &world.requests {
            for value in request.identifiers.iter().map(|(_, value)| value).chain([&request.email]) {
                assert!(!told.contains(&value.to_lowercase()), "{value} is in the log");
            }
        }
        for person in &world.people {
            assert!(
                !told.contains(&person.email) && !told.contains(&person.full_name.to_lowercase()),
                "{} is in the log",
                person.email
            );
        }
        let rows = std::fs::read(folder.join("data/redress.db")).expect("a database");
        let rows = String::from_utf8_lossy(&rows).to_lowercase();
        assert!(
            world.people.iter().all(|person| !rows.contains(&person.email)),
            "an address is in the database in clear"
        );
    }
    // What it proves can be checked by anybody later.
    let answers = std::fs::read_dir(folder.join("answers")).expect("a folder");
    let files: Vec<String> = answers.map(|entry| entry.expect("a file").path().display().to_string()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        app.cli(&["verify", &file]).await.ok();
    }
    // Somebody's own files are not replaced.
    let own = app.folder().join("own");
    std::fs::create_dir(&own).expect("it is our own folder");
    std::fs::write(own.join("crm.db"), "mine").expect("it is our own folder");
    app.cli(&["demo", "--exit", "--dir", "own"]).await.refused(1);
    assert_eq!(std::fs::read_to_string(own.join("crm.db")).expect("it is there"), "mine");
}

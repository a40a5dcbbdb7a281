//! A manifest with a mistake is refused with the line and what to do.

use crate::manifest::{Finding, Loaded, Severity, builtin, schema};
use std::path::Path;

#[test]
fn every_manifest_of_ours_ships_and_is_sound() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut files: Vec<String> = std::fs::read_dir(&dir)
        .expect("the folder of manifests")
        .filter_map(|entry| {
            entry.expect("an entry").file_name().into_string().ok()?.strip_suffix(".toml").map(Into::into)
        })
        .collect();
    files.sort();
    assert_eq!(
        files,
        builtin::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "builtin.rs names every file, in order"
    );
    let mut broken = Vec::new();
    for (name, text) in builtin::ALL {
        let findings = match Loaded::parse(text) {
            Ok(loaded) => {
                assert_eq!(loaded.file.connector.id, *name);
                loaded.warnings
            }
            Err(findings) => findings,
        };
        for finding in findings {
            println!("{name}: {finding}");
            if finding.severity == Severity::Error {
                broken.push(format!("{name}: {finding}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_schema_in_the_repository_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/manifest.schema.json");
    if update() {
        std::fs::write(&path, schema::text()).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == schema::text(), "write it anew with REDRESS_UPDATE=1");
}

#[test]
fn the_page_of_connectors_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/connectors.md");
    let page = crate::manifest::markdown(&crate::registry::listed());
    if update() {
        std::fs::write(&path, &page).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "write it anew with REDRESS_UPDATE=1, or `redress connector list --markdown > docs/connectors.md`"
    );
}

#[test]
fn the_example_of_the_documentation_is_a_sound_manifest_whose_cases_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/writing-a-connector.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let whole = page.split("```toml").filter_map(|part| part.split_once("```")).map(|(text, _)| text.trim_start());
    let example: String = whole.filter(|text| !text.starts_with("# elsewhere")).collect();
    let loaded = Loaded::parse(&example).unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert_eq!(loaded.warnings, []);
    for ran in crate::manifest::case::run(&loaded) {
        assert!(ran.faults.is_empty(), "{}: {:?}", ran.name, ran.faults);
    }
    assert!(loaded.file.tests.len() > 4);
}

#[expect(clippy::disallowed_methods, reason = "a switch for the one who runs the tests")]
fn update() -> bool {
    std::env::var("REDRESS_UPDATE").is_ok()
}

const SOUND: &str = r#"
base_url = "https://${inputs.account}.vendor.example/api"
limits = { rates = ["10/s"] }

[connector]
id = "vendor"
name = "Vendor"
about = "People"
family = "crm"
api = "1"
verified_on = "2026-11-22"
docs = ["https://vendor.example/docs"]

[inputs.account]
type = "host_label"
about = "Your account"

[inputs.api_key]
type = "secret"
about = "A key"

[auth]
kind = "bearer"
token = "${inputs.api_key}"

[check]
method = "GET"
path = "/me"

[find.person]
by = ["email"]
request = { method = "GET", path = "/people", query = { email = "${subject.email}" } }
items = "/people"
key = "/id"
exact = [{ by = "email", pointers = ["/email"] }]
max_matches = 3

[delete.person]
from = "person"
effect = "permanent_delete"
request = { method = "DELETE", path = "/people/${record.key}" }

[verify.person]
uses = "person"

[[test]]
name = "only the person herself"
step = "find.person"
subject = { email = "ann@x.example" }
given = '{"people": [{"id": 1, "email": "ANN@x.example"}, {"id": 2, "email": "joann@x.example"}]}'
expect = { class = "ok", keys = ["1"] }

[[test]]
name = "by key"
step = "delete.person"
subject = { email = "ann@x.example" }
record = { id = 1, email = "ann@x.example" }
request = { method = "DELETE", url = "/people/1" }
"#;

fn findings(text: &str) -> Vec<Finding> {
    match Loaded::parse(text) {
        Ok(loaded) => loaded.warnings,
        Err(findings) => findings,
    }
}

#[track_caller]
fn changed(from: &str, to: &str) -> Vec<Finding> {
    assert!(SOUND.contains(from), "{from}");
    findings(&SOUND.replacen(from, to, 1))
}

#[test]
fn a_sound_manifest_has_nothing_to_mend() {
    assert_eq!(findings(SOUND), []);
}

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_what_to_do() {
    let broken = SOUND
        .replace("max_matches = 3", "max_machtes = 3")
        .replace("effect = \"permanent_delete\"", "effect = \"permanent\"")
        .replace("verified_on = \"2026-11-22\"", "verified_on = \"2026-02-30\"")
        .replace("uses = \"person\"", "uses = \"persons\"");
    let text: Vec<String> = findings(&broken).iter().map(ToString::to_string).collect();
    let has = |part: &str| assert!(text.iter().any(|line| line.contains(part)), "{part}: {text:#?}");
    has("find.person.max_machtes: is not a key that is known here (did you mean \"max_matches\"?)");
    has("delete.person.effect: must be one of permanent_delete, soft_delete");
    assert!(text.iter().all(|line| line.starts_with("line ")), "{text:#?}");
    // What depends on a readable file is told as soon as it is one.
    let broken = broken.replace("effect = \"permanent\"", "effect = \"permanent_delete\"");
    let text: Vec<String> = findings(&broken).iter().map(ToString::to_string).collect();
    let has = |part: &str| assert!(text.iter().any(|line| line.contains(part)), "{part}: {text:#?}");
    has("max_machtes");
    has("connector.verified_on: must be the day");
    has("verify.person.uses: there is no find named \"persons\" (did you mean \"person\"?)");
    has("line 11: connector.verified_on");
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    let found = findings("[connector\nid = 1");
    assert_eq!(found[0].line, Some(1), "{found:?}");
    assert!(!findings("").is_empty() && !findings("x = 1").is_empty());
}

#[test]
fn what_could_harm_somebody_is_refused() {
    for (from, to, told) in [
        // A deletion without an exact find, without a second look, or called what it is not.
        ("exact = [{ by = \"email\", pointers = [\"/email\"] }]", "", "somebody else's records could be deleted"),
        ("pointers = [\"/email\"]", "pointers = []", "nothing would be compared"),
        ("pointers = [\"/email\"]", "pointers = [\"#handle\"]", "takes the vendor's word"),
        ("[verify.person]\nuses = \"person\"", "", "nothing is said to be deleted that was not looked for again"),
        (
            "effect = \"permanent_delete\"",
            "effect = \"permanent_delete\"\nresidual_days = 30",
            "contradicts permanent_delete",
        ),
        ("effect = \"permanent_delete\"", "effect = \"soft_delete\"", "without `residual_days`"),
        ("effect = \"permanent_delete\"", "effect = \"schedule_delete\"", "without `completes_within_days`"),
        ("effect = \"permanent_delete\"", "effect = \"permanent_delete\"\nafter = [\"person\"]", "is itself"),
        // A request that is not about one person.
        ("path = \"/people/${record.key}\"", "path = \"/people\"", "does not name what is deleted"),
        ("query = { email = \"${subject.email}\" }", "query = { size = \"1\" }", "everybody's records"),
        (
            "path = \"/people/${record.key}\"",
            "path = \"/people/${record.key}\", query = { delete_all_people = \"false\" }",
            "more than one person",
        ),
        // Splicing.
        (
            "email = \"${subject.email}\"",
            "f = { value = \"email = ${subject.email}\", lang = \"soql\" }",
            "without its escaper",
        ),
        (
            "email = \"${subject.email}\"",
            "f = { value = \"email = '${subject.email|soql}'\", lang = \"soql\" }",
            "writes the quotes itself",
        ),
        (
            "email = \"${subject.email}\"",
            "f = { value = \"email like ${subject.email|soql}\", lang = \"soql\" }",
            "wildcards",
        ),
        (
            "email = \"${subject.email}\"",
            "f = { value = \"${subject.email|sql}\", lang = \"sql\" }",
            "there is no filter \"sql\" (did you mean",
        ),
        (
            "query = { email = \"${subject.email}\" }",
            "body = '{\"filter\": \"email = ${subject.email}\"}'",
            "name the language's escaper",
        ),
        // Places.
        ("https://${inputs.account}.vendor.example/api", "http://vendor.example", "must begin with https://"),
        ("type = \"host_label\"", "type = \"text\"", "could change the host"),
        ("path = \"/me\"", "path = \"/me?key=${inputs.api_key}\"", "must not have a query"),
        ("path = \"/me\"", "path = \"/me\"\nquery = { key = \"${inputs.api_key}\" }", "is a credential"),
        ("path = \"/me\"", "path = \"/me\"\nheaders = { Authorization = \"x\" }", "belongs to `auth`"),
        ("token = \"${inputs.api_key}\"", "token = \"abc123\"", "a credential is an input"),
        ("path = \"/me\"", "path = \"/me\"\nevidence = [\"x-request-id\"]", "is not a key that is known here"),
        ("path = \"/me\"", "path = \"/../me\"", "empty segment"),
        // Answers.
        ("[check]", "[[outcome]]\nwhen = { status = [403] }\nclass = \"gone\"\n\n[check]", "is never"),
        ("[check]", "[[outcome]]\nwhen = {}\nclass = \"ok\"\n\n[check]", "matches every answer"),
        ("max_matches = 3", "max_matches = 3\nnone = [403]", "403 never means"),
        // Words.
        ("${subject.email}", "${subject.mail}", "did you mean \"subject.email\"?"),
        ("${record.key}", "${records.key}", "it needs `batch`"),
        ("${record.key}", "${inputs.acount}", "did you mean \"account\"?"),
        ("by = [\"email\"]", "by = [\"e-mail\"]", "did you mean \"email\"?"),
        ("rates = [\"10/s\"]", "rates = [\"10 per s\"]", "limits"),
        ("step = \"delete.person\"", "step = \"delete.persons\"", "did you mean \"delete.person\"?"),
        ("[verify.person]", "[verify.persons]", "did you mean \"person\"?"),
    ] {
        let found = changed(from, to);
        let errors: Vec<String> =
            found.iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string).collect();
        assert!(errors.iter().any(|error| error.contains(told)), "{to}\nshould tell: {told}\n{found:#?}");
    }
    let without_cases = SOUND.split("[[test]]").next().expect("the rest");
    assert!(findings(without_cases).iter().any(|f| f.path == "test" && f.severity == Severity::Error));
}

#[test]
fn what_may_be_a_mistake_is_asked_about() {
    for (from, to, told) in [
        (
            "query = { email = \"${subject.email}\" }",
            "query = { q = \"${subject.email}\" }",
            "looks like a query language",
        ),
        ("max_matches = 3", "", "max_matches"),
        (
            "query = { email = \"${subject.email}\" }",
            "query = { email = \"${subject.email}\", limit = \"9\" }",
            "without `paging`",
        ),
        ("limits = { rates = [\"10/s\"] }", "", "being refused"),
    ] {
        let found = changed(from, to);
        assert!(
            found.iter().any(|f| f.severity == Severity::Warning && f.to_string().contains(told)),
            "{to}: {found:#?}"
        );
        assert!(Loaded::parse(&SOUND.replacen(from, to, 1)).is_ok(), "{to}: {found:#?}");
    }
}

#[test]
fn deletions_that_wait_for_each_other_are_refused() {
    let two = format!(
        "{}\n[delete.other]\nfrom = \"person\"\neffect = \"permanent_delete\"\nafter = [\"person\"]\nrequest = {{ method = \"DELETE\", path = \"/o/${{record.key}}\" }}\n\n[verify.other]\nuses = \"person\"\n",
        SOUND.replace("effect = \"permanent_delete\"", "effect = \"permanent_delete\"\nafter = [\"other\"]")
    );
    assert!(findings(&two).iter().any(|f| f.message == "other, person wait for each other"), "{:#?}", findings(&two));
}

//! A mistake in a file is found, with its file and field, and nothing of the set is used.

use super::*;

const INDEX_TEXT: &str = r#"
schema_version = 1
version = "2026-11-22.1"
as_of = "2026-11-22"
files = ["aa.toml", "bb.toml"]
"#;

const AA: &str = r#"
schema_version = 1
country = "AA"
source = "a gazette"
source_url = "https://example.org"

[[calendar]]
id = "aa"
aliases = ["aa-national"]
name = "Aa"
default_for = ["AA"]
valid_from = "2024-01-01"
valid_until = "2026-12-31"
extra_working_days = ["2026-05-09"]
[calendar.days]
"2026-01-01" = "New Year"
"2026-05-01" = "Labor Day"
"#;

const BB: &str = r#"
schema_version = 1
country = "BB"
source = "a gazette"
source_url = "https://example.org"

[[calendar]]
id = "bb"
name = "Bb"
default_for = ["BB", "BB-X"]
valid_from = "2024-01-01"
valid_until = "2026-12-31"
[calendar.days]
"2026-01-01" = "New Year"
"#;

fn read(changed: &str, from: &str, to: &str) -> Result<CalendarSet, CalendarFault> {
    CalendarSet::read(|name| {
        let text = match name {
            "index.toml" => INDEX_TEXT,
            "aa.toml" => AA,
            "bb.toml" => BB,
            _ => return None,
        };
        if name != changed {
            return Some(text.to_owned());
        }
        assert!(text.contains(from), "{from}");
        Some(text.replacen(from, to, 1))
    })
}

#[test]
fn a_good_set_is_read() {
    let set = read("", "", "").expect("good");
    assert_eq!(set.version, "2026-11-22.1");
    assert_eq!(set.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["aa", "bb"]);
    assert_eq!(set.find("aa-national").map(|c| c.country.as_str()), Some("AA"));
    assert_eq!(set.default_for("bb-x").map(|c| c.id.as_str()), Some("bb"));
    assert_eq!(set.find("aa").expect("there").closed_days(), [on("2026-01-01"), on("2026-05-01")]);
}

#[test]
fn a_mistake_is_refused_with_its_file_and_field() {
    // What is changed in which file, and what the error has to say.
    for (file, from, to, says) in [
        (
            "aa.toml",
            "valid_until",
            "valid_untill",
            "aa.toml: line 13: valid_untill = \"2026-12-31\": unknown field `valid_untill`",
        ),
        (
            "aa.toml",
            "name = \"Aa\"",
            "name = \"Aa\"\nsurprise = 1",
            "aa.toml: line 11: surprise = 1: unknown field `surprise`",
        ),
        (
            "aa.toml",
            "country = \"AA\"",
            "country = \"AA\"\nstate = \"A\"",
            "aa.toml: line 4: state = \"A\": unknown field `state`",
        ),
        ("aa.toml", "name = \"Aa\"", "", "aa.toml: line 7: [[calendar]]: missing field `name`"),
        (
            "aa.toml",
            "name = \"Aa\"",
            "name = 3",
            "aa.toml: line 10: name = 3: invalid type: integer `3`, expected a string",
        ),
        ("aa.toml", "source = \"a gazette\"", "", "aa.toml: missing field `source`"),
        (
            "aa.toml",
            "\"2026-05-01\" =",
            "\"2026-02-30\" =",
            "aa.toml: line 17: \"2026-02-30\" = \"Labor Day\": parsed date is not valid",
        ),
        (
            "aa.toml",
            "valid_until = \"2026-12-31\"",
            "valid_until = \"2026-02-30\"",
            "aa.toml: line 13: valid_until = \"2026-02-30\": ",
        ),
        ("aa.toml", "\"2026-05-01\" =", "\"1 May\" =", "aa.toml: line 17: \"1 May\" = \"Labor Day\": "),
        (
            "aa.toml",
            "\"2026-05-01\" =",
            "\"2026-01-01\" =",
            "aa.toml: line 17: \"2026-01-01\" = \"Labor Day\": duplicate key",
        ),
        ("aa.toml", "= \"Labor Day\"", "\"Labor Day\"", "aa.toml: line 17: "),
        (
            "aa.toml",
            "\"2026-05-01\" =",
            "\"2027-05-01\" =",
            "aa.toml: calendar aa: days: 2027-05-01 lies outside valid_from and valid_until",
        ),
        (
            "aa.toml",
            "\"2026-05-01\" =",
            "\"2023-05-01\" =",
            "aa.toml: calendar aa: days: 2023-05-01 lies outside valid_from and valid_until",
        ),
        (
            "aa.toml",
            "[\"2026-05-09\"]",
            "[\"2027-05-09\"]",
            "aa.toml: calendar aa: extra_working_days: 2027-05-09 lies outside",
        ),
        (
            "aa.toml",
            "[\"2026-05-09\"]",
            "[\"2026-05-01\"]",
            "aa.toml: calendar aa: extra_working_days: 2026-05-01 is a holiday too",
        ),
        (
            "aa.toml",
            "valid_until = \"2026-12-31\"",
            "valid_until = \"2023-12-31\"",
            "aa.toml: calendar aa: valid_until: lies before valid_from",
        ),
        (
            "aa.toml",
            "schema_version = 1",
            "schema_version = 2",
            "aa.toml: schema_version: is 2, and 1 is what this version reads",
        ),
        (
            "index.toml",
            "schema_version = 1",
            "schema_version = 0",
            "index.toml: schema_version: is 0, and 1 is what this version reads",
        ),
        ("index.toml", "version = \"2026-11-22.1\"", "version = \" \"", "index.toml: version: is empty"),
        (
            "index.toml",
            "as_of = \"2026-11-22\"",
            "as_of = \"2026-11-31\"",
            "index.toml: line 4: as_of = \"2026-11-31\": ",
        ),
        ("index.toml", "\"bb.toml\"", "\"cc.toml\"", "cc.toml: is not there, or is not text"),
        ("index.toml", "\"bb.toml\"", "\"aa.toml\"", "aa.toml: calendar aa: id: aa is that of another already"),
        ("bb.toml", "id = \"bb\"", "id = \"aa\"", "bb.toml: calendar aa: id: aa is that of another already"),
        (
            "bb.toml",
            "id = \"bb\"",
            "id = \"bb\"\naliases = [\"aa\"]",
            "bb.toml: calendar bb: aliases: aa is that of another already",
        ),
        (
            "bb.toml",
            "id = \"bb\"",
            "id = \"bb\"\naliases = [\"aa-national\"]",
            "bb.toml: calendar bb: aliases: aa-national is that of",
        ),
        (
            "bb.toml",
            "id = \"bb\"",
            "id = \"bb\"\naliases = [\"b\", \"b\"]",
            "bb.toml: calendar bb: aliases: b is that of another already",
        ),
        ("bb.toml", "[\"BB\", \"BB-X\"]", "[\"BB\", \"bb\"]", "bb.toml: calendar bb: default_for: bb "),
        (
            "bb.toml",
            "[\"BB\", \"BB-X\"]",
            "[\"BB\", \"BB\"]",
            "bb.toml: calendar bb: default_for: BB is that of another already",
        ),
        (
            "bb.toml",
            "[\"BB\", \"BB-X\"]",
            "[\"AA\"]",
            "bb.toml: calendar bb: default_for: AA does not lie in BB, the country of the file",
        ),
        ("bb.toml", "id = \"bb\"", "id = \"BB\"", "bb.toml: calendar BB: id: \"BB\" must be made of a-z, 0-9 and -"),
        ("bb.toml", "id = \"bb\"", "id = \"\"", "bb.toml: calendar : id: \"\" must be made of a-z, 0-9 and -"),
        (
            "bb.toml",
            "id = \"bb\"",
            "id = \"bb\"\naliases = [\"B b\"]",
            "bb.toml: calendar bb: aliases: \"B b\" must be made of",
        ),
        (
            "bb.toml",
            "country = \"BB\"",
            "country = \"Bb\"",
            "bb.toml: calendar bb: country: \"Bb\" is no code of ISO 3166-1, such as DE",
        ),
        (
            "bb.toml",
            "name = \"Bb\"",
            "name = \"Bb\"\ncountry = \"BB\"",
            "bb.toml: calendar bb: country: is that of the file; leave it out here",
        ),
    ] {
        let fault = read(file, from, to).map(|_| ()).expect_err(to).to_string();
        assert!(fault.starts_with(says), "{fault}\n  instead of {says}");
        assert!(!fault.contains('\n'), "one line: {fault}");
    }
}

#[test]
fn a_folder_without_an_index_is_no_set() {
    let fault = CalendarSet::read(|_| None).map(|_| ()).expect_err("nothing is there").to_string();
    assert_eq!(fault, "index.toml: is not there, or is not text");
}

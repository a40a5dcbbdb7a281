//! Templates: what stands in a manifest, and what becomes of it.

use crate::manifest::template::{JsonTemplate, RenderFault, Scope, Template, TemplateFault};
use serde_json::{Value, json};

fn scope() -> Scope<'static> {
    Scope::new()
        .with("subject.email", "o'brien,a@x.example")
        .with("subject.phone", "+4915112345678")
        .with("subjects.value", json!(["a@x.example", "b@x.example"]))
        .with(
            "record",
            json!({"id": 7, "key": "field", "@odata.etag": "W/1", "nested": {"list": [{"a": true}]}, "none": null}),
        )
        .with("record.key", "K")
}

fn text(template: &str) -> Result<String, RenderFault> {
    Template::parse(template).expect("parses").text(&scope())
}

#[test]
fn a_placeholder_is_filled_by_its_path() {
    for (template, expected) in [
        ("plain", "plain"),
        ("a ${record.id} b", "a 7 b"),
        ("${record.key}", "K"),
        ("${record.\"@odata.etag\"}", "W/1"),
        ("${record.nested.list.0.a}", "true"),
        ("$${record.id} ${ record.id }", "${record.id} 7"),
        ("$filter $select", "$filter $select"),
        ("${subject.phone|e164_digits}", "4915112345678"),
        ("${subjects.value|csv}", "a@x.example,b@x.example"),
        ("Email = ${subject.email|soql}", r"Email = 'o\'brien,a@x.example'"),
    ] {
        assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
    }
    // RFC 1321's and FIPS 180's own vectors would not show the lower-casing.
    assert_eq!(
        Template::parse("${x|md5_lower}")
            .expect("parses")
            .text(&Scope::new().with("x", "Urist.McVankab@freddiesjokes.com")),
        Ok("62eeb292278cc15f5817cb78f7790b08".into()),
        "Mailchimp's documented example"
    );
}

#[test]
fn what_is_not_there_or_not_sendable_is_told_without_its_value() {
    for template in ["${record.gone}", "${record.none}", "${other}", "${subject}"] {
        assert!(matches!(text(template), Err(RenderFault::Missing(_))), "{template}");
    }
    for template in ["${record}", "${subjects.value}", "${subjects.value|soql}", "${record.nested|lower}"] {
        assert!(matches!(text(template), Err(RenderFault::WrongType(_))), "{template}");
    }
    for template in ["${subject.email|csv}", "${subject.email|int}", "${subject.email|e164_digits}"] {
        let fault = text(template).expect_err(template);
        assert!(matches!(fault, RenderFault::Unsendable { .. }), "{template}");
        assert!(!format!("{fault} {fault:?}").contains("brien"));
    }
}

#[test]
fn a_wrong_template_is_refused_when_the_manifest_is_read() {
    assert_eq!(Template::parse("${a"), Err(TemplateFault::Unclosed));
    for text in ["${}", "${a..b}", "${a.}", "${|soql}", "${\"a}", "${a.\"b\"c}"] {
        assert!(matches!(Template::parse(text), Err(TemplateFault::Empty(_))), "{text}");
    }
    let fault = Template::parse("${a|zendesq}").expect_err("unknown");
    assert!(fault.to_string().contains("did you mean \"zendeskq\"?"), "{fault}");
    assert_eq!(Template::parse("${a|soql|lower}"), Err(TemplateFault::EscaperNotLast("soql")));
    assert_eq!(Template::parse("Email = '${a|soql}'"), Err(TemplateFault::Quoted("soql")));
    assert_eq!(Template::parse("email:\"${a|zendeskq}"), Err(TemplateFault::Quoted("zendeskq")));
    assert!(matches!(JsonTemplate::parse("{\"id\": ${a}}"), Err(TemplateFault::NotJson(_))));
    assert!(matches!(JsonTemplate::parse("{\"${a}\": 1}"), Err(TemplateFault::KeyWithHole(_))));
}

#[test]
fn a_path_holds_each_value_within_its_segment() {
    let path = |value: &str| {
        let scope = Scope::new().with("v", value);
        Template::parse("/a/${v}.json").expect("parses").segment(&scope)
    };
    assert_eq!(path("x@y.example").as_deref(), Ok("/a/x%40y.example.json"));
    assert_eq!(path("a/b?c#d%2e é").as_deref(), Ok("/a/a%2Fb%3Fc%23d%252e%20%C3%A9.json"));
    for value in ["", ".", "..", "a\nb", "\0"] {
        assert!(matches!(path(value), Err(RenderFault::Unsendable { .. })), "{value:?}");
    }
    let two = Template::parse("/${a}${b}").expect("parses");
    assert!(two.segment(&Scope::new().with("a", "x").with("b", "..")).is_err());
    let after_a_dot = Template::parse("/.${a}/x").expect("parses");
    assert_eq!(after_a_dot.segment(&Scope::new().with("a", "x")).as_deref(), Ok("/.x/x"));
}

#[test]
fn a_header_never_becomes_two() {
    let header = Template::parse("Bearer ${v}").expect("parses");
    for value in ["a\r\nX: 1", "a\nb", "a\0", "é"] {
        assert!(header.header(&Scope::new().with("v", value)).is_err(), "{value:?}");
    }
    assert_eq!(header.header(&Scope::new().with("v", "abc")).as_deref(), Ok("Bearer abc"));
}

#[test]
fn a_body_keeps_types_and_shape_whatever_a_value_holds() {
    let body = JsonTemplate::parse(
        r#"{"id": "${record.id}", "text": "no. ${record.id}", "all": "${subjects.value}", "n": "${record.none}", "plain": [1, "$${x}"], "v": "${v}"}"#,
    )
    .expect("parses");
    let hostile = "\"}, \"admin\": true, {\"${record.id}\": \"\\";
    let outer = scope();
    let filled = body.fill(&Scope::inside(&outer).with("v", hostile)).expect("fills");
    assert_eq!(
        filled,
        json!({"id": 7, "text": "no. 7", "all": ["a@x.example", "b@x.example"], "n": null, "plain": [1, "${x}"], "v": hostile})
    );
    assert_eq!(body.placeholders().len(), 5);
    assert_eq!(JsonTemplate::parse("\"${record.id}\"").expect("parses").fill(&outer), Ok(Value::from(7)));
}

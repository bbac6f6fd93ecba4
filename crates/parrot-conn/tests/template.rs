//! Templates: each rule in one test, and arbitrary texts with arbitrary values.
#![allow(clippy::unwrap_used)]

use parrot_checks::{Values, check_identity, check_template, check_text};
use parrot_conn::{Endpoint, Facts, Lookup, Template, TemplateError};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// A process on `web-1` with the number 7 and the environment variable `COLOUR`.
fn lookup(value: Lookup<'_>) -> Option<String> {
    match value {
        Lookup::Host => Some("web-1".to_owned()),
        Lookup::Pid => Some("7".to_owned()),
        Lookup::Variable(name) => (name == "COLOUR").then(|| "grey".to_owned()),
    }
}

fn facts() -> Facts<'static> {
    Facts {
        listener: "tcp:*:1512",
        local: Some(Endpoint::Ip("192.0.2.1:1512".parse().unwrap())),
        peer: Endpoint::Ip("[2001:db8::7]:50000".parse().unwrap()),
        connection: Some(3),
    }
}

fn rendered(template: &Template, facts: &Facts<'_>) -> String {
    let mut out = Vec::new();
    template.render(facts, &mut out);
    assert!(out.len() <= template.longest());
    String::from_utf8(out).unwrap()
}

/// What a text becomes as a prefix.
fn prefix(text: &str) -> String {
    rendered(&Template::raw(text, lookup).unwrap(), &facts())
}

#[test]
fn text_without_placeholders_stays_as_it_is() {
    for text in ["", "Polly: ", "h\u{f6}llo\t", "two\r\nlines", "\u{1b}[31mred\u{1b}[m", "\0\u{7f}\u{2028}"] {
        assert_eq!(prefix(text), text);
    }
}

#[test]
fn each_placeholder_has_its_value() {
    for (text, value) in [
        ("{host}", "web-1"),
        ("{pid}", "7"),
        ("{listener}", "tcp:*:1512"),
        ("{local}", "192.0.2.1:1512"),
        ("{peer}", "[2001:db8::7]:50000"),
        ("{connection}", "3"),
        ("{env:COLOUR}", "grey"),
    ] {
        assert_eq!(prefix(text), value);
        assert_eq!(prefix(&format!("a{text}b{text}{text}")), format!("a{value}b{value}{value}"));
    }
}

#[test]
fn variable_that_is_not_set_is_empty() {
    assert_eq!(prefix("[{env:COLOR}]"), "[]");
    assert_eq!(prefix("[{env:colour}]"), "[]");
}

#[test]
fn doubled_braces_are_braces() {
    assert_eq!(prefix("{{host}}"), "{host}");
    assert_eq!(prefix("{{{host}}}"), "{web-1}");
    assert_eq!(prefix("{{}}{{{{"), "{}{{");
    assert_eq!(prefix("}}"), "}");
}

#[test]
fn wrong_placeholders_are_errors() {
    let unknown = |name: &str| TemplateError::Unknown(name.to_owned());
    for (text, error) in [
        ("{pod}", unknown("pod")),
        ("{HOST}", unknown("HOST")),
        ("{ host }", unknown(" host ")),
        ("{env}", unknown("env")),
        ("{ENV:COLOUR}", unknown("ENV:COLOUR")),
        ("{}", TemplateError::Unnamed),
        ("{host}{env:}", TemplateError::Unnamed),
        ("{", TemplateError::Unclosed),
        ("a{host", TemplateError::Unclosed),
        ("{host{pid}", TemplateError::Unclosed),
        ("{env:{pid}", TemplateError::Unclosed),
        ("{{{host}}", TemplateError::Unopened),
        ("}", TemplateError::Unopened),
        ("host}", TemplateError::Unopened),
    ] {
        assert_eq!(Template::raw(text, lookup), Err(error.clone()), "{text}");
        assert_eq!(Template::line(text, lookup), Err(error), "{text}");
    }
}

#[test]
fn errors_show_the_right_form_on_one_line() {
    for text in ["{pod}", "{}", "{", "}", "{a\nb\u{1b}}"] {
        let error = Template::raw(text, lookup).unwrap_err().to_string();
        let right =
            "use {host}, {pid}, {listener}, {local}, {peer}, {connection} or {env:NAME}, and {{ or }} for a brace";
        assert!(error.ends_with(right), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    // Every placeholder that the errors name is one.
    prefix("{host}, {pid}, {listener}, {local}, {peer}, {connection} or {env:NAME}, and {{ or }}");
}

#[test]
fn a_line_ends_in_one_line_feed() {
    let line = Template::line("{host} says hello", lookup).unwrap();
    assert_eq!(rendered(&line, &facts()), "web-1 says hello\n");
    for text in ["a\n", "a\nb", "\r", "a\r\n"] {
        assert_eq!(Template::line(text, lookup), Err(TemplateError::LineBreak), "{text:?}");
    }
}

#[test]
fn control_characters_in_values_cannot_break_a_line() {
    let evil = "a\nb\rc\u{1b}[2Jd\0\u{85}\u{2028}\u{2029}\u{7f}\u{9b}e";
    let clean = "a?b?c?[2Jd??????e";
    let lookup = |_: Lookup<'_>| Some(evil.to_owned());
    let facts =
        Facts { listener: evil, local: Some(Endpoint::Named(evil)), peer: Endpoint::Named(evil), connection: None };
    for placeholder in ["{host}", "{pid}", "{env:ANY}", "{listener}", "{local}", "{peer}"] {
        let line = Template::line(placeholder, lookup).unwrap();
        assert_eq!(rendered(&line, &facts), format!("{clean}\n"), "{placeholder}");
        let raw = Template::raw(placeholder, lookup).unwrap();
        assert_eq!(rendered(&raw, &facts), clean, "{placeholder}");
    }
}

#[test]
fn what_is_unknown_is_empty() {
    let facts = Facts { local: None, connection: None, ..facts() };
    let template = Template::raw("[{host}{pid}{local}{connection}]", |_| None).unwrap();
    assert_eq!(rendered(&template, &facts), "[]");
}

#[test]
fn values_are_looked_up_once_and_only_if_they_are_used() {
    let mut asked = Vec::new();
    let template = Template::raw("{peer} {env:B} {pid} {env:A}", |value| {
        asked.push(format!("{value:?}"));
        None
    });
    for _ in 0..3 {
        rendered(template.as_ref().unwrap(), &facts());
    }
    assert_eq!(asked, ["Variable(\"B\")", "Pid", "Variable(\"A\")"]);
}

#[test]
fn local_address_is_wanted_only_where_it_is_shown() {
    let uses_local = |text| Template::raw(text, lookup).unwrap().uses_local();
    assert!(uses_local("{local}") && uses_local("a {peer} {local} b"));
    assert!(!uses_local("{{local}}") && !uses_local("{host}{pid}{listener}{peer}{connection}{env:local}"));
    assert!(Template::identify(lookup).uses_local());
}

#[test]
fn longest_is_reached_by_long_names() {
    let long = "x".repeat(1000);
    let named = Endpoint::Named(&long);
    let facts = Facts { listener: &long, local: Some(named), peer: named, connection: Some(u64::MAX) };
    let template = Template::line("{host}{listener}{local}{peer}{connection}", lookup).unwrap();
    assert_eq!(rendered(&template, &facts).len(), template.longest());
    assert_eq!(template.longest(), 5 + 3 * 256 + 20 + 1);
    let nulls = "\0".repeat(1000);
    let named = Endpoint::Named(&nulls);
    let facts = Facts { listener: &nulls, local: Some(named), peer: named, connection: Some(u64::MAX) };
    let identity = Template::identify(lookup);
    assert_eq!(rendered(&identity, &facts).len(), identity.longest());
}

#[test]
fn long_names_are_cut_between_characters() {
    let name = format!("{}\u{20ac}", "x".repeat(254));
    let facts = Facts { peer: Endpoint::Named(&name), ..facts() };
    assert_eq!(rendered(&Template::raw("{peer}", lookup).unwrap(), &facts), "x".repeat(254));
}

#[test]
fn addresses_are_never_longer_than_names() {
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
    let facts = Facts { peer: Endpoint::Ip(longest.parse().unwrap()), ..facts() };
    assert_eq!(rendered(&Template::raw("{peer}", lookup).unwrap(), &facts), longest);
}

#[test]
fn identity_is_json_on_one_line() {
    let identity = Template::identify(|value| match value {
        Lookup::Variable("POD_NAME") => Some("parrot-0".to_owned()),
        Lookup::Variable("NODE_NAME") => Some("a \"quoted\" node\n".to_owned()),
        Lookup::Variable(_) => None,
        _ => lookup(value),
    });
    let facts = Facts { peer: Endpoint::Named("unix"), ..facts() };
    assert_eq!(
        rendered(&identity, &facts),
        concat!(
            r#"{"host":"web-1","pid":7,"listener":"tcp:*:1512","local":"192.0.2.1:1512","peer":"unix","connection":3,"#,
            r#""env":{"POD_NAME":"parrot-0","NODE_NAME":"a \"quoted\" node\u000a"}}"#,
            "\n"
        )
    );
}

#[test]
fn identity_has_null_for_what_is_unknown() {
    for pid in [None, Some("many".to_owned()), Some("-1".to_owned())] {
        let identity = Template::identify(|value| pid.clone().filter(|_| value == Lookup::Pid));
        let facts = Facts { local: None, connection: None, ..facts() };
        let json: Value = serde_json::from_str(&rendered(&identity, &facts)).unwrap();
        for key in ["host", "pid", "local", "connection"] {
            assert_eq!(json.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(json["env"], serde_json::json!({}));
    }
}

#[test]
fn every_character_survives_in_json() {
    let all: Vec<char> = (char::MIN..=char::MAX).collect();
    for characters in all.chunks(4096) {
        let text: String = characters.iter().collect();
        let peer = Endpoint::Named("unix");
        let (host, variable, listener) = (&*text, &*text, &*text);
        check_identity(&Values { host, variable, listener, local: None, peer, connection: None });
    }
}

/// Any text, with placeholders and what looks like them.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "{host}", "{pid}", "{listener}", "{local}", "{peer}", "{connection}", "{env:A}", "{env:B}", "{{", "}}",
        ])
        .prop_map(str::to_owned),
        1 => prop::sample::select(vec!["{", "}", "{}", "{env:", "{env:}", "{hos", "t}", "\n", "\r"]).prop_map(str::to_owned),
        2 => any::<String>(),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_rendered_as_its_model_says(
        text in text(),
        (host, variable, listener, name) in any::<(String, String, String, String)>(),
        local in any::<Option<std::net::SocketAddr>>(),
        connection in any::<Option<u64>>(),
    ) {
        let local = local.map(Endpoint::Ip);
        let peer = Endpoint::Named(&name);
        check_text(&text, &Values { host: &host, variable: &variable, listener: &listener, local, peer, connection });
    }

    #[test]
    fn any_bytes_make_no_wrong_line(bytes in vec(any::<u8>(), 0..200)) {
        check_template(&bytes);
    }
}

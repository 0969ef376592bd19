//! The template engine behaves as Python's Jinja in Transformers does, and within bounds.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use titer_data::text::{ChatTemplate, Date, End, Message, SpecialTokens, TextError};

fn render(source: &str) -> Result<String, TextError> {
    let special = SpecialTokens { bos: Some("<s>".to_owned()), ..SpecialTokens::default() };
    let messages = [Message::user("Hi"), Message::assistant("Hello")];
    ChatTemplate::new(source, Date::new(2026, 2, 3)?)?.render(&messages, &special, End::Conversation)
}

#[track_caller]
fn check(source: &str, expected: &str) {
    assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
}

/// Expected values: the same templates by `render_jinja_template` of Transformers 5.23.
#[test]
fn expressions_are_pythons() {
    check(
        "{{ messages | tojson }}",
        r#"[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]"#,
    );
    check(r#"{{ "<é&'\"\n" | tojson }}"#, r#""<é&'\"\n""#);
    check(r#"{{ "é🚀" | tojson(ensure_ascii=true) }}"#, r#""\u00e9\ud83d\ude80""#);
    check(
        "{{ {'b': [1, true, none], 'a': {}} | tojson(indent=2) }}",
        "{\n  \"b\": [\n    1,\n    true,\n    null\n  ],\n  \"a\": {}\n}",
    );
    check("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}", r#"{"a":2,"b":1}"#);
    check("{{ true }} {{ none }} {{ 1.0 }} {{ [1, 2] }}", "True None 1.0 [1, 2]");
    check("{{ strftime_now('%d %b %Y') }}", "03 Feb 2026");
    check("{{ strftime_now('%A %-d, %H:%M') }}", "Tuesday 3, 00:00");
    check("{{ tools is none }}{{ documents is none }}{{ eos_token is defined }}", "TrueTrueFalse");
    check("[{{ eos_token }}]{% for x in nothing %}x{% endfor %}", "[]");
    check("{{ ' \x1fa\u{2003}' | trim }}{{ '\x1c b '.strip() }}{{ 'xxaxx'.strip('x') }}", "aba");
    check("{{ 'a  b\x1dc'.split() | length }}{{ 'a  b'.split(' ') | length }}", "33");
    check(
        "{{ 'abc'[::-1] }}{{ messages[::-1][0].role }}{{ messages[-1:][0]['content'] }}",
        "cbaassistantHello",
    );
    check(
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
        "assistant",
    );
    check(
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        "2",
    );
    check("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=Hi;");
    check("{{ messages[0].get('name', '?') }}{{ 'content' in messages[0] }}", "?True");
    check("{{ 'aéa'.count('') }}{{ 'aéa'.count('a') }}{{ ''.count('') }}", "421");
    check("{{ 'Title'.upper() }}{{ 'a-b'.replace('-', '+') }}{{ 'ab'.startswith('a') }}", "TITLEa+bTrue");
    check("  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb");
    check("{% if true %}\r\na\r\n{% endif %}", "a\n");
    check("a\n{% generation %}\nb\n{% endgeneration %}\nc", "a\nb\nc");
    check("a {%- generation -%} b {%- endgeneration %} c", "ab c");
    check("{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "21");
    check("{{ 'generation %}' }}{# {% generation %} #}", "generation %}");
}

#[test]
fn mistakes_name_their_line() {
    for (source, line) in [
        ("a\n{% if %}", 2),
        ("a\nb\n{{ messages[5].role }}", 3),
        ("{{ 'a' + 1 }}", 1),
        ("\n{{ 'a'.no_method() }}", 2),
        ("\n\n\n{{ strftime_now('%Q%') }}", 4),
        ("{{ x | no_filter }}", 1),
        ("{% generation %}\n{{ messages[5].role }}\n{% endgeneration %}", 2),
    ] {
        let error = render(source).unwrap_err();
        assert!(
            matches!(error, TextError::Template { line: Some(at), .. } if at == line),
            "{source}: {error:?}"
        );
    }
    assert_eq!(
        render("\n{{ raise_exception('No ' + messages[0].role) }}"),
        Err(TextError::Raised { line: Some(2), message: "No user".to_owned() })
    );
}

#[test]
fn refusals_within_macros_are_refusals_still() {
    let source = "{% macro m() %}{{ raise_exception('no') }}{% endmacro %}\n{{ m() }}";
    assert!(matches!(render(source), Err(TextError::Raised { message, .. }) if message == "no"));
}

#[test]
fn work_and_output_are_bounded() {
    let loops = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
    let writes = "{% set s = 'x' * 100000 %}{% for a in range(90000) %}{{ s }}{% endfor %}";
    for source in [loops, writes] {
        assert!(matches!(render(source), Err(TextError::Unbounded { .. })), "{source}");
    }
    for source in ["{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ 'x' * 10000000000 }}"] {
        assert!(matches!(render(source), Err(TextError::Template { .. })), "{source}");
    }
    let deep = "(".repeat(100_000);
    assert!(render(&format!("{{{{ {deep}")).is_err());
    assert!(render(&"{% if true %}".repeat(10_000)).is_err());
}

#[test]
fn dates_that_are_none_are_refused() {
    assert!(Date::new(2026, 2, 29).is_err());
    assert!(Date::new(2024, 2, 29).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_template_makes_the_engine_panic(parts in proptest::collection::vec(prop_oneof![
        Just("{%".to_owned()), Just("%}".to_owned()), Just("{{".to_owned()), Just("}}".to_owned()),
        Just("-".to_owned()), Just(" generation ".to_owned()), Just("endgeneration".to_owned()),
        Just("for m in messages".to_owned()), Just("endfor".to_owned()), Just("m.content".to_owned()),
        Just("|tojson".to_owned()), Just("|trim".to_owned()), Just(".strip()".to_owned()),
        Just("[::-1]".to_owned()), Just("{#".to_owned()), Just("#}".to_owned()), any::<String>(),
    ], 0..20)) {
        let _ = render(&parts.concat());
    }
}

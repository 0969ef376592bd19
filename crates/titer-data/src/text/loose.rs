//! JSON as Python writes it.

use serde::de::DeserializeOwned;

/// A value from JSON in which `NaN` and the infinities may stand, which Python writes and JSON does not know: they
/// are null.
///
/// # Errors
/// When the text is no JSON beside that; of a text without such words, what its parser says.
pub fn python_json<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text).or_else(|error| match without_nan(text) {
        Some(strict) => serde_json::from_str(&strict),
        None => Err(error),
    })
}

/// `text` with null for numbers that are none; none where there are none.
fn without_nan(text: &str) -> Option<String> {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    let mut strict = String::with_capacity(text.len());
    let (mut rest, mut quoted, mut escaped, mut found) = (text, false, false, false);
    while let Some(next) = rest.chars().next() {
        if let Some(word) = WORDS.into_iter().find(|word| !quoted && rest.starts_with(word)) {
            strict.push_str("null");
            rest = &rest[word.len()..];
            found = true;
            continue;
        }
        quoted ^= next == '"' && !escaped;
        escaped = quoted && next == '\\' && !escaped;
        strict.push(next);
        rest = &rest[next.len_utf8()..];
    }
    found.then_some(strict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_calls_numbers_is_null() {
        let check = |text: &str, expected: &str| assert_eq!(without_nan(text).as_deref(), Some(expected));
        check("[NaN, -Infinity, Infinity, 1]", "[null, null, null, 1]");
        check(r#"{"NaN": "a \" NaN \\", "b": NaN}"#, r#"{"NaN": "a \" NaN \\", "b": null}"#);
        check(r#"["\\", NaN, "é"]"#, r#"["\\", null, "é"]"#);
        assert_eq!(without_nan(r#"["NaN", "a \" NaN"]"#), None);
    }

    #[test]
    fn what_is_no_json_says_where() {
        let wrong = |text| python_json::<serde_json::Value>(text).unwrap_err().to_string();
        assert!(wrong("{\"a\": ").contains("EOF"));
        // As the text stands with null for the number that is none.
        assert!(wrong("[NaN, nan]").contains("expected ident at line 1"), "{}", wrong("[NaN, nan]"));
    }
}

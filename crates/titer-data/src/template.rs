//! Texts with `{placeholders}`: whether they are well formed.
//!
//! Values that fill a text hold no braces (see [`plain`]), so that filling one placeholder never makes
//! another.

/// The names between braces, in order.
fn placeholders(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let inside = rest[at..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
        match inside {
            Some((name, after)) if !name.contains('{') => {
                names.push(name);
                rest = after;
            }
            _ => return Err(format!("{text:?} has a brace without its partner")),
        }
    }
    Ok(names)
}

/// Refuses a text in which a `required` name does not stand once, or another than these and `allowed`
/// stands.
pub(crate) fn expect(text: &str, required: &[&str], allowed: &[&str]) -> Result<(), String> {
    let names = placeholders(text)?;
    for name in required {
        let count = names.iter().filter(|found| *found == name).count();
        if count != 1 {
            return Err(format!("{{{name}}} must stand in {text:?} once; it stands {count} times"));
        }
    }
    match names.iter().find(|name| !required.contains(name) && !allowed.contains(name)) {
        Some(name) => Err(format!("{{{name}}} in {text:?} is not known here")),
        None => Ok(()),
    }
}

/// Refuses a value that is empty, has outer or doubled spaces, or one of the `reserved` characters, braces
/// among them.
pub(crate) fn plain(text: &str, reserved: &[char]) -> Result<(), String> {
    if text.is_empty() || text != text.split_whitespace().collect::<Vec<_>>().join(" ") {
        return Err(format!("{text:?} is empty or has needless spaces"));
    }
    match text.chars().find(|c| matches!(c, '{' | '}') || reserved.contains(c)) {
        Some(reserved) => Err(format!("{text:?} has the character {reserved:?}, which marks other things")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_counted_and_known() {
        assert_eq!(expect("bake {topic} now", &["topic"], &[]), Ok(()));
        assert_eq!(expect("no {subject}", &[], &["subject"]), Ok(()));
        for wrong in ["bake", "{topic} and {topic}", "{topic} {other}", "{topic", "{topic}}", "{{topic}}"] {
            assert!(expect(wrong, &["topic"], &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_plain() {
        assert_eq!(plain("rye bread", &['/']), Ok(()));
        for wrong in ["", " rye", "rye  bread", "rye\nbread", "rye/bread", "{rye}"] {
            assert!(plain(wrong, &['/']).is_err(), "{wrong:?}");
        }
    }
}

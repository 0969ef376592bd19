//! Names given by people or by data, made safe to be file names.

use crate::error::{Error, Result};
use crate::manifest::LOG;

/// Refuses a name that is no plain, visible file name.
pub(crate) fn check(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > 128 {
        "it is longer than 128 characters"
    } else if name.starts_with('.') {
        "it starts with a dot"
    } else if !name.chars().all(plain) {
        "it has characters that are not allowed"
    } else {
        return Ok(());
    };
    Err(Error::BadName { name: name.to_owned(), problem })
}

/// What the store itself puts into an artifact, beside its payload.
pub(crate) const OWN: [&str; 6] =
    ["manifest.json", LOG, "checkpoint", "lease.json", "SEALED", "dropped.json"];

/// Refuses a name that is no plain file name or `/`-separated path of such.
pub(crate) fn check_path(name: &str) -> Result<()> {
    name.split('/').try_for_each(check).map_err(|error| match error {
        Error::BadName { problem, .. } => Error::BadName { name: name.to_owned(), problem },
        other => other,
    })
}

/// The same of a payload's, and one that the store uses itself.
pub(crate) fn check_payload(name: &str) -> Result<()> {
    check_path(name)?;
    let first = name.split('/').next().unwrap_or(name);
    if OWN.iter().any(|own| own.eq_ignore_ascii_case(first)) {
        return Err(Error::BadName { name: name.to_owned(), problem: "the store uses it itself" });
    }
    Ok(())
}

/// Whether a folder's name is that of an artifact: 64 hexadecimal digits.
pub(crate) fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A hash as a folder name. Hashes are hexadecimal and stay as they are; any other character of a
/// hash read from a foreign plan is percent-encoded, so that it cannot lead out of the store.
pub(crate) fn of_hash(hash: &str) -> String {
    if hash.is_empty() {
        return "%".to_owned();
    }
    let mut name = String::with_capacity(hash.len());
    for byte in hash.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let good = |name: &str| assert!(check(name).is_ok(), "{name}");
        let bad = |name: &str| assert!(check(name).is_err(), "{name}");
        good("apothecary");
        good("a.b-c_9");
        good("a..b");
        bad("");
        bad(".");
        bad("..");
        bad("../x");
        bad("a/b");
        bad("/etc");
        bad("a\\b");
        bad("a\0b");
        bad(".hidden");
        bad("naïve");
        bad(&"x".repeat(129));
    }

    #[test]
    fn payload_names() {
        let good = |name: &str| assert!(check_payload(name).is_ok(), "{name}");
        let bad = |name: &str| assert!(check_payload(name).is_err(), "{name}");
        good("model.safetensors");
        good("model/config.json");
        bad("model/../../x");
        bad("model//x");
        bad("/model");
        bad("manifest.json");
        bad("sealed");
        bad("checkpoint/model");
        bad(".model");
    }

    #[test]
    fn hashes() {
        let check = |hash: &str, folder: &str| assert_eq!(of_hash(hash), folder);
        check("0af3", "0af3");
        check("../x", "%2E%2E%2Fx");
        check("", "%");
        check("é", "%C3%A9");
    }
}

//! Names, identifiers and times that other programs ask for: made from what they name, so that the same results
//! give the same files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An identifier in the shape of a random UUID (version 4), made of what it names.
pub(crate) fn uuid(of: &str) -> String {
    let mut bytes = Sha256::digest(of.as_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// 22 letters and digits, as Inspect names evaluations, runs and tasks.
pub(crate) fn short(of: &str) -> String {
    sha256(of.as_bytes()).chars().take(22).collect()
}

/// A name as one part of a path on any system, and of the name of a model on the hub.
pub(crate) fn part(name: &str) -> String {
    const LONGEST: usize = 90;
    const RESERVED: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "COM", "LPT"];
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.+=".contains(c) { c } else { '-' };
    let part: String = name.trim().chars().map(fit).take(LONGEST).collect();
    let part = part.trim_matches(['.', '-']).to_owned();
    let stem: String = part.chars().take_while(char::is_ascii_alphabetic).collect();
    let reserved = stem.eq_ignore_ascii_case("data") || RESERVED.contains(&stem.to_uppercase().as_str());
    if part.is_empty() || reserved { format!("x-{part}") } else { part }
}

/// Seconds since 1970 as a date and time: `2026-11-29T20:45:32Z`.
pub(crate) fn rfc3339(seconds: f64) -> String {
    let since = Duration::try_from_secs_f64(seconds.floor()).unwrap_or_default();
    let time = UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_shape_of_version_4_and_is_always_the_same() {
        let id = uuid("tiny/none");
        assert_eq!(id, uuid("tiny/none"));
        assert_ne!(id, uuid("tiny/tar"));
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        let check = |name: &str, expected: &str| assert_eq!(part(name), expected);
        check("tar-8-inner-steps", "tar-8-inner-steps");
        check("My Lab", "My-Lab");
        check("../../etc", "etc");
        check("\u{1b}[31mé", "31m");
        check("data", "x-data");
        check("con", "x-con");
        check("..", "x-");
    }

    #[test]
    fn times_are_dates() {
        assert_eq!(rfc3339(0.9), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_796_071_532.0), "2026-11-30T20:45:32Z");
        assert_eq!(rfc3339(f64::NAN), "1970-01-01T00:00:00Z");
    }
}

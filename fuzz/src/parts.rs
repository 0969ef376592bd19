//! Several files in one input.

/// Divides an input at its first zero bytes into at most `N` files. JSON and templates hold none.
pub fn divided<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Puts files together so that [`divided`] takes them apart.
pub fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&0)
}

/// The first line of an input as the name of a file, and the rest as its bytes.
pub fn named(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

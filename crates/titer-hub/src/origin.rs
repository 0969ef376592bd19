//! Addresses: whose they are, and where a redirect leads.

use std::fmt::{self, Write};

use ureq::http::Uri;

/// Scheme, host and port: what must be equal for a token to be sent.
#[derive(PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Origin {
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, port) = match uri.scheme_str()? {
            "https" => ("https", 443),
            "http" => ("http", 80),
            _ => return None,
        };
        let host = uri.host()?.to_ascii_lowercase();
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(port) })
    }

    /// Whether a redirect to `next` would leave encryption behind.
    pub(crate) fn is_weakened_by(&self, next: &Self) -> bool {
        self.scheme == "https" && next.scheme == "http"
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.starts_with("127.") || self.host == "[::1]"
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.host)?;
        match (self.scheme, self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(formatter, ":{port}"),
        }
    }
}

/// A redirect's address, seen from the address that sent it.
pub(crate) fn joined(base: &Uri, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    if location.split(['/', '?']).next().is_some_and(|start| start.ends_with(':')) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    }
}

/// A path for an address: everything but unreserved characters and `/` is escaped.
pub(crate) fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&text.parse().expect("an address")).expect("of http")
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = origin("https://huggingface.co/a");
        assert!(hub == origin("https://HuggingFace.co:443/b"));
        for other in ["http://huggingface.co", "https://huggingface.co:444", "https://cdn.huggingface.co"] {
            assert!(hub != origin(other), "{other}");
        }
        assert!(hub.is_weakened_by(&origin("http://huggingface.co")));
        assert!(!hub.is_weakened_by(&origin("https://elsewhere")));
        assert!(!origin("http://127.0.0.1:1").is_weakened_by(&origin("http://127.0.0.1:2")));
        assert!(Origin::of(&"ftp://x".parse().expect("an address")).is_none());
    }

    #[test]
    fn redirects_are_joined() {
        let base = "https://h:1/a/b?c".parse().expect("an address");
        let check = |location, expected| assert_eq!(joined(&base, location), expected);
        check("https://other/x?y#z", "https://other/x?y");
        check("//other/x", "https://other/x");
        check("/x?next=http://y", "https://h:1/x?next=http://y");
        check("x", "https://h:1/a/x");
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escaped("a b/ü?#%.gguf"), "a%20b/%C3%BC%3F%23%25.gguf");
    }
}

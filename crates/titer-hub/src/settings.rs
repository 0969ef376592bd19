//! What the environment says about the hub, as one explicit value.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Result};

const ENDPOINT: &str = "https://huggingface.co";

/// How the hub is reached and where its files are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cache shared with `huggingface_hub`: holds `models--owner--name/…`.
    pub cache: PathBuf,
    /// Sent to the endpoint and to nobody else.
    pub token: Option<Token>,
    /// `https://huggingface.co` or a mirror, without a trailing slash.
    pub endpoint: String,
    /// Never touch the network.
    pub offline: bool,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Without a byte from the server. A whole answer to a question may take twice as long; whoever brings less than a
    /// mebibyte of a file in ten times as long counts as silent. One more attempt follows where not a byte came.
    pub silence_timeout: Duration,
    /// Further attempts after a failed one. An attempt that brought a mebibyte or more is not counted.
    pub retries: u32,
    /// Pause before the second attempt; doubled for each further one.
    pub backoff: Duration,
    /// A server that asks for a longer pause than this is not waited for.
    pub longest_wait: Duration,
}

impl Settings {
    /// For a cache folder, with the usual endpoint, timeouts and retries, and without a token.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            token: None,
            endpoint: ENDPOINT.to_owned(),
            offline: false,
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(20),
            retries: 5,
            backoff: Duration::from_millis(500),
            longest_wait: Duration::from_secs(300),
        }
    }

    /// From `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`,
    /// with the meanings that they have in `huggingface_hub`.
    ///
    /// # Errors
    /// When there is no home folder, or a value cannot be used.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| env::var_os(name))
    }

    /// As [`Settings::from_env`], with the variables from `get`.
    ///
    /// # Errors
    /// When there is no home folder, or a value cannot be used.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let text = |name: &str| -> Result<Option<String>> {
            let Some(value) = set(name) else { return Ok(None) };
            let text = value.into_string().map_err(|_| bad(name, "not UTF-8"))?;
            Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        };
        let path = |name: &str| set(name).map(|value| expanded(PathBuf::from(value), &set));
        let home = match path("HF_HOME") {
            Some(home) => home,
            None => user_cache(&set)
                .ok_or_else(|| {
                    bad("HF_HOME", "not set, and neither is HOME; set it to a folder for the cache")
                })?
                .join("huggingface"),
        };
        // The second is the older name.
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let mut settings = Self::new(cache.unwrap_or_else(|| home.join("hub")));
        settings.token = match text("HF_TOKEN")? {
            Some(token) => Some(Token::named("HF_TOKEN", &token)?),
            None => Token::read(&path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token")))?,
        };
        if let Some(endpoint) = text("HF_ENDPOINT")? {
            settings.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        let offline = text("HF_HUB_OFFLINE")?.unwrap_or_default().to_ascii_uppercase();
        settings.offline = matches!(offline.as_str(), "1" | "ON" | "YES" | "TRUE");
        Ok(settings)
    }
}

/// The user's cache folder as `huggingface_hub` has it, on every system: `$XDG_CACHE_HOME`, else `~/.cache`.
fn user_cache(set: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))
}

/// `~/…` in a variable, which shells leave alone inside quotes.
fn expanded(path: PathBuf, set: &impl Fn(&str) -> Option<OsString>) -> PathBuf {
    match (path.strip_prefix("~"), set("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path,
    }
}

fn bad(variable: &str, problem: &str) -> Error {
    Error::BadSetting { variable: variable.to_owned(), problem: problem.to_owned() }
}

/// A secret that lets its holder act as somebody on the hub. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as the hub hands it out.
    ///
    /// # Errors
    /// When it holds anything but visible ASCII characters.
    pub fn new(text: &str) -> Result<Self> {
        Self::named("the token", text)
    }

    fn named(place: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad(place, "not a token: visible ASCII characters are expected, without spaces"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The token that `hf auth login` left in a file, if it did.
    fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Self::named(&path.display().to_string(), &text).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(Error::reading(path)(error)),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

//! References, the cache and downloads, against a hub on the loopback.
#![allow(clippy::unwrap_used)]

mod access;
mod caching;
mod downloads;
mod files;
mod identity;
mod local;
mod references;
mod server;
mod settings;
mod xet;

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use server::Fake;
use titer_hub::{Error, Hub, Identities, Progress, Resolved, Settings, Token};

/// No error, message or `Debug` may hold it.
pub(crate) const TOKEN: &str = "hf_topsecret0123";

/// Settings that give up soon.
pub(crate) fn settings(fake: &Fake, cache: &Path) -> Settings {
    let mut settings = Settings::new(cache);
    settings.endpoint = fake.hub.url();
    settings.token = Some(Token::new(TOKEN).unwrap());
    settings.backoff = Duration::from_millis(2);
    settings.silence_timeout = Duration::from_millis(400);
    settings.connect_timeout = Duration::from_secs(2);
    settings.longest_wait = Duration::from_secs(2);
    settings
}

pub(crate) fn hub(fake: &Fake, cache: &Path) -> Hub {
    Hub::new(settings(fake, cache))
}

/// All that anything logged, at the finest level.
fn logged() -> String {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = log.clone();
        tracing_subscriber::fmt().with_env_filter("trace").with_writer(move || Log(written.clone())).init();
        tracing::trace!("heard");
        log
    });
    let text = String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
    assert!(text.contains("heard"));
    text
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Resolves, and looks for secrets in whatever comes back.
pub(crate) fn resolve(hub: &Hub, reference: &str) -> Result<Resolved, Error> {
    logged();
    let mut events = Events::default();
    let outcome = hub.resolve(&reference.parse()?, &mut events);
    let shown = match &outcome {
        Ok(resolved) => format!("{resolved:?} {}", serde_json::to_string(resolved).unwrap()),
        Err(error) => format!("{error} {error:?}"),
    };
    for text in [shown, format!("{hub:?} {events:?}"), logged()] {
        assert!(!text.contains("topsecret") && !text.contains("secret-of-the-network"), "{text}");
    }
    outcome
}

/// A process that runs `test` alone, with an environment of its own; none within that process.
pub(crate) fn alone(test: &str) -> Option<Command> {
    const ALONE: &str = "TITER_HUB_TEST_ALONE";
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact"]).env(ALONE, "1");
    env::var_os(ALONE).is_none().then_some(command)
}

pub(crate) fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The identity of what `resolved` leads to.
pub(crate) fn identity(resolved: &Resolved) -> String {
    Identities::default().identify(resolved).unwrap().whole
}

pub(crate) fn names(resolved: &Resolved) -> Vec<&str> {
    resolved.files.iter().map(|file| file.name.as_str()).collect()
}

/// `length` bytes in which no two places look alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) lines: Vec<String>,
    pub(crate) advanced: u64,
    pub(crate) stop_after: Option<u64>,
}

impl Progress for Events {
    fn started(&mut self, file: &str, bytes: Option<u64>, present: u64) {
        self.lines
            .push(format!("{file} {present}/{}", bytes.map_or("?".to_owned(), |bytes| bytes.to_string())));
    }

    fn advanced(&mut self, bytes: u64) {
        self.advanced += bytes;
    }

    fn finished(&mut self) {
        self.lines.push("finished".to_owned());
    }

    fn waiting(&mut self, reason: &str, _: Duration) {
        self.lines.push(format!("waiting: {reason}"));
    }

    fn fell_back(&mut self, reason: &str) {
        self.lines.push(format!("fell back: {reason}"));
    }

    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|most| self.advanced >= most)
    }
}

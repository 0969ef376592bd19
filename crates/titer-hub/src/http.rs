//! Requests to the hub: who may see the token, which answers are worth another attempt.
//!
//! Redirects are followed here and not by the client, for two reasons. The token goes to the endpoint's
//! own origin (scheme, host and port) and never to the content network that large files are redirected
//! to. And the hub states a large file's commit, SHA-256 and size on the redirect itself.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use crate::failure::{Again, Failure, failure, lost, sleep};
use crate::origin::{Origin, joined};
use crate::reference::Remote;
use crate::settings::Token;
use crate::{Error, Progress, Result, Settings};

const MOST_REDIRECTS: u32 = 10;
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// An answer read into memory is cut off here.
const MOST_BYTES: u64 = 64 << 20;

pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<Token>,
    pace: Pace,
}

struct Pace {
    retries: u32,
    backoff: Duration,
    longest_wait: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Head,
    Get,
}

/// What is asked of the hub, and how to speak of it in errors.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Below the endpoint, escaped, beginning with `/`.
    pub(crate) path: String,
    /// The first byte wanted, if not all.
    pub(crate) from: u64,
    pub(crate) remote: &'a Remote,
    pub(crate) file: &'a str,
}

/// The headers that came on the way, and the body at its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Who sent the body.
    pub(crate) host: String,
    /// Of the first answer that named each: the hub's word goes before the content network's.
    pub(crate) stated: Stated,
}

/// What the hub says about a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stated {
    pub(crate) commit: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) size: Option<u64>,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let bad = |problem: &str| Error::BadSetting {
            variable: "HF_ENDPOINT".to_owned(),
            problem: format!("{problem}; set it to an address like https://huggingface.co"),
        };
        let uri: Uri = settings.endpoint.parse().map_err(|_| bad("not an address"))?;
        let origin = Origin::of(&uri).ok_or_else(|| bad("not an http or https address"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(bad("holds a password, which would end in logs"));
        }
        Ok(Self {
            agent: agent(settings),
            endpoint: settings.endpoint.clone(),
            origin,
            token: settings.token.clone(),
            pace: Pace {
                retries: settings.retries,
                backoff: settings.backoff,
                longest_wait: settings.longest_wait,
            },
        })
    }

    /// Attempts until one succeeds, fails for good, or there were enough.
    ///
    /// # Errors
    /// The last attempt's error, or [`Error::Cancelled`].
    pub(crate) fn retrying<T>(
        &self,
        file: &str,
        progress: &mut dyn Progress,
        mut attempt: impl FnMut(&mut dyn Progress, &mut u32) -> Result<T, Failure>,
    ) -> Result<T> {
        let mut failed = 0;
        loop {
            let Failure { mut error, again } = match attempt(progress, &mut failed) {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            failed += 1;
            let backoff = self.pace.backoff.saturating_mul(1 << (failed - 1).min(10)).min(LONGEST_BACKOFF);
            let (most, pause) = match again {
                Again::Never => (0, backoff),
                Again::Once => (self.pace.retries.min(1), backoff),
                Again::Soon => (self.pace.retries, backoff),
                Again::After(wait) if wait > self.pace.longest_wait => (0, wait),
                Again::After(wait) => (self.pace.retries, wait.max(backoff)),
            };
            if failed > most {
                if let Error::Cut { attempts, .. } = &mut error {
                    *attempts = failed;
                }
                return Err(error);
            }
            progress.waiting(&error.brief(), pause);
            sleep(pause, file, progress)?;
        }
    }

    /// One attempt, through all its redirects. A `HEAD` ends at a redirect to another origin: what the
    /// hub states is known by then.
    pub(crate) fn ask(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut url = format!("{}{}", self.endpoint, request.path);
        let mut stated = Stated::default();
        for _ in 0..=MOST_REDIRECTS {
            let uri: Uri =
                url.parse().map_err(|_| self.bad_answer(request, "a redirect to a malformed address"))?;
            let origin = Origin::of(&uri)
                .ok_or_else(|| self.bad_answer(request, "a redirect to an address that is not http"))?;
            let home = origin == self.origin;
            let (status, headers, body) = self.send(request, &url, &origin)?;
            stated.add(&headers, status);
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
                let location = location
                    .ok_or_else(|| self.bad_answer(request, "a redirect without a readable address"))?;
                let next = joined(&uri, location);
                let next_origin = next.parse().ok().as_ref().and_then(Origin::of);
                if next_origin.as_ref().is_some_and(|next| origin.is_weakened_by(next)) {
                    return Err(self.bad_answer(request, "a redirect from https to http").into());
                }
                if request.method == Method::Head && next_origin.is_some_and(|next| next != self.origin) {
                    return Ok(Answer { status, headers, body, host: origin.to_string(), stated });
                }
                url = next;
                continue;
            }
            if (200..300).contains(&status) || status == 416 {
                return Ok(Answer { status, headers, body, host: origin.to_string(), stated });
            }
            return Err(self.refusal(request, status, &headers, &origin, home));
        }
        Err(self.bad_answer(request, "too many redirects").into())
    }

    fn send(
        &self,
        request: &Request<'_>,
        url: &str,
        origin: &Origin,
    ) -> Result<(u16, HeaderMap, Body), Failure> {
        let mut call = match request.method {
            Method::Head => self.agent.head(url),
            Method::Get => self.agent.get(url),
        };
        // Sizes and ranges are those of the file itself.
        call = call.header(header::ACCEPT_ENCODING, "identity");
        if request.from > 0 {
            call = call.header(header::RANGE, format!("bytes={}-", request.from));
        }
        if let Some(token) = self.token.as_ref().filter(|_| *origin == self.origin) {
            call = call.header(header::AUTHORIZATION, token.bearer());
        }
        let response = call.call().map_err(|error| failure(&error, &origin.to_string(), request.file))?;
        let (parts, body) = response.into_parts();
        Ok((parts.status.as_u16(), parts.headers, body))
    }

    /// The whole body, in memory.
    pub(crate) fn read(&self, request: &Request<'_>, answer: Answer) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut reader = answer.body.into_reader().take(MOST_BYTES + 1);
        reader.read_to_end(&mut bytes).map_err(|error| lost(error, &answer.host, request.file))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(self.bad_answer(request, "an answer of more than 64 MiB").into());
        }
        Ok(bytes)
    }

    pub(crate) fn bad_answer(&self, request: &Request<'_>, problem: &str) -> Error {
        Error::BadAnswer {
            host: self.origin.to_string(),
            file: request.file.to_owned(),
            problem: problem.to_owned(),
        }
    }

    /// What a status other than success means.
    fn refusal(
        &self,
        request: &Request<'_>,
        status: u16,
        headers: &HeaderMap,
        origin: &Origin,
        home: bool,
    ) -> Failure {
        let host = origin.to_string();
        let file = request.file.to_owned();
        let remote = request.remote;
        let repository = remote.page();
        let code = headers.get("x-error-code").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let error = match (status, code) {
            (429, _) => {
                let wait = asked_wait(headers);
                let again = wait.map_or(Again::Soon, Again::After);
                return Failure { error: Error::RateLimited { host, wait }, again };
            }
            (408 | 500..=599, _) => {
                let again = asked_wait(headers).map_or(Again::Soon, Again::After);
                return Failure { error: Error::Server { host, status, file }, again };
            }
            // The content network's signed address ran out; the hub gives a fresh one.
            _ if !home => {
                let problem = format!("status {status}");
                return Failure { error: Error::BadAnswer { host, file, problem }, again: Again::Soon };
            }
            (_, "RevisionNotFound") => Error::NoRevision { repository, revision: remote.revision.clone() },
            (_, "EntryNotFound") => {
                Error::NoFile { repository, revision: remote.revision.clone(), file, advice: String::new() }
            }
            (_, "RepoNotFound") => Error::NoRepository { repository },
            (_, "GatedRepo") => self.gated(repository),
            (401, _) if self.token.is_some() => Error::BadToken { host },
            (401 | 403, _) => self.gated(repository),
            (404, _) if request.path.starts_with("/api/") => Error::NoRepository { repository },
            (404, _) => {
                Error::NoFile { repository, revision: remote.revision.clone(), file, advice: String::new() }
            }
            _ => Error::BadAnswer { host, file, problem: format!("status {status}") },
        };
        error.into()
    }

    fn gated(&self, repository: String) -> Error {
        Error::Gated { page: format!("{}/{repository}", self.endpoint), repository }
    }
}

impl Stated {
    fn add(&mut self, headers: &HeaderMap, status: u16) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let plain = |etag: String| etag.trim_start_matches("W/").trim_matches('"').to_owned();
        self.commit = self.commit.take().or_else(|| text("x-repo-commit"));
        let linked = text("x-linked-etag");
        let own = || (200..300).contains(&status).then(|| text("etag")).flatten();
        self.etag = self.etag.take().or_else(|| linked.or_else(own).map(plain));
        let linked = text("x-linked-size");
        let own = || (status == 200).then(|| text("content-length")).flatten();
        self.size = self.size.take().or_else(|| linked.or_else(own)?.parse().ok());
    }
}

/// A client with the settings' timeouts, the environment's proxy and the system's certificates. It follows
/// no redirects, takes every status for an answer, and knows no token.
pub fn agent(settings: &Settings) -> Agent {
    // What runs on this machine is not behind a proxy.
    let local = settings.endpoint.parse().ok().as_ref().and_then(Origin::of);
    let proxy = if local.is_some_and(|it| it.is_loopback()) { None } else { Proxy::try_from_env() };
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy)
        .tls_config(TlsConfig::builder().root_certs(roots()).build())
        .user_agent(concat!("titer/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(settings.connect_timeout))
        .timeout_connect(Some(settings.connect_timeout))
        .timeout_send_request(Some(settings.silence_timeout))
        .timeout_recv_response(Some(settings.silence_timeout))
        .timeout_per_read(Some(settings.silence_timeout))
        .build()
        .into()
}

/// The system's certificates, so that a proxy's own authority is trusted as elsewhere on the machine
/// (`SSL_CERT_FILE` counts); Mozilla's where the system has none.
fn roots() -> RootCerts {
    let found: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    if found.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(found)) }
}

/// `Retry-After` in seconds, or the hub's `RateLimit: "api";r=0;t=55`.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let hub = || text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="));
    let seconds = text("retry-after").or_else(hub)?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

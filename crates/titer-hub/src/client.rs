//! The client of the hub: `hf-hub` over a client of HTTP made here, and what `hf-hub` leaves to its users.
//!
//! - A redirect goes to `http` or `https`, never from the latter to the former, and the token does not follow it away
//!   from the endpoint's origin ([`Stray`]).
//! - Every wait has a limit, and every attempt ends.
//! - What `hf-hub` logs holds signed addresses, and is heard by nobody.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use hf_hub::{HFClient, HFError};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Response, Url};
use tokio::runtime::{Builder, Runtime};
use tracing::dispatcher::{self, Dispatch};

use crate::failure::{self, Again, Failure, cut, sleep};
use crate::reference::Remote;
use crate::settings::Token;
use crate::{Error, Progress, Result, Settings};

const MOST_REDIRECTS: usize = 10;
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// How often a wait looks whether it is cancelled.
const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Client {
    pub(crate) hub: HFClient,
    /// What `hf-hub` asks through. It knows no token.
    pub(crate) web: reqwest::Client,
    /// None while it is dropped.
    runtime: Option<Runtime>,
    home: Url,
    token: Option<Token>,
    retries: u32,
    backoff: Duration,
    longest_wait: Duration,
    /// Without a byte.
    pub(crate) silence: Duration,
}

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stray {
    #[error("a redirect to an address that is not http")]
    NotHttp,
    #[error("a redirect from https to http")]
    Weakened,
    #[error("too many redirects")]
    TooMany,
    /// `reqwest` 0.13 takes the token away where a redirect leaves an origin, and forgets that at the next one: within the
    /// origin of strangers the token would be sent again. So this address is asked without one.
    #[error("a redirect of another host to itself")]
    AmongStrangers(Url),
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let bad = |problem: &str| Error::BadSetting {
            variable: "HF_ENDPOINT".to_owned(),
            problem: format!("{problem}; set it to an address like https://huggingface.co"),
        };
        let home: Url = settings.endpoint.parse().map_err(|_| bad("not an address"))?;
        if !matches!(home.scheme(), "http" | "https") {
            return Err(bad("not an http or https address"));
        }
        if !home.username().is_empty() || home.password().is_some() {
            return Err(bad("holds a password, which would end in logs"));
        }
        let unusable = |reason: String| Error::BadSetting {
            variable: "SSL_CERT_FILE".to_owned(),
            problem: format!(
                "no way to connect ({reason}); install the system's certificates, or set it to a file of them"
            ),
        };
        let web = web(settings, &home).map_err(|error| unusable(failure::root(&error)))?;
        let hub = HFClient::builder()
            .client(web.clone())
            .endpoint(&settings.endpoint)
            // A line break fits into no header: no token is sent, and none looked for in the environment, of which these
            // settings are the reading.
            .token(settings.token.as_ref().map_or("\n", Token::text))
            .cache_enabled(false)
            .retry_max_attempts(0)
            .build()
            .map_err(|_| unusable("the library refuses to".to_owned()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            hub,
            web,
            runtime: Some(runtime),
            home,
            token: settings.token.clone(),
            retries: settings.retries,
            backoff: settings.backoff,
            longest_wait: settings.longest_wait,
            silence: settings.silence_timeout,
        })
    }

    /// The hub's scheme, host and port.
    pub(crate) fn host(&self) -> String {
        self.home.origin().ascii_serialization()
    }

    pub(crate) fn bad_answer(&self, file: &str, problem: &str) -> Error {
        Error::BadAnswer { host: self.host(), file: file.to_owned(), problem: problem.to_owned() }
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
            let backoff = self.backoff.saturating_mul(1 << (failed - 1).min(10)).min(LONGEST_BACKOFF);
            let (most, pause) = match again {
                Again::Never => (0, backoff),
                Again::Once => (self.retries.min(1), backoff),
                Again::Soon => (self.retries, backoff),
                Again::After(wait) if wait > self.longest_wait => (0, wait),
                Again::After(wait) => (self.retries, wait.max(backoff)),
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

    /// Runs a future to its end.
    pub(crate) fn run<T>(&self, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match &self.runtime {
            Some(runtime) => dispatcher::with_default(&Dispatch::none(), || runtime.block_on(future)),
            None => Err(self.bad_answer("", "asked too late").into()),
        }
    }

    /// What a future gives within `limit`, unless cancelled before.
    pub(crate) async fn within<T>(
        &self,
        future: impl Future<Output = T>,
        limit: Duration,
        file: &str,
        progress: &dyn Progress,
    ) -> Result<T, Failure> {
        let mut future = pin!(future);
        let since = Instant::now();
        loop {
            if progress.cancelled() {
                return Err(Error::Cancelled { file: file.to_owned() }.into());
            }
            let left = limit.saturating_sub(since.elapsed());
            if let Ok(value) = tokio::time::timeout(left.min(TICK), &mut future).await {
                return Ok(value);
            }
            if since.elapsed() >= limit {
                let reason = format!("nothing came for {:.1} s", limit.as_secs_f64());
                return Err(Failure { again: Again::Once, ..cut(reason, &self.host(), file) });
            }
        }
    }

    /// What an error of `hf-hub` means, and the address that may have asked for a pause.
    pub(crate) fn meaning(&self, error: HFError, remote: &Remote, file: &str) -> (Failure, Option<Url>) {
        failure::of(error, &self.home, self.token.is_some(), remote, file)
    }

    /// What an error of `hf-hub` means, pauses included. Of a refusal's headers it keeps one, and of one status alone; where the pause that
    /// the server asks for may be lost with them, the address is asked once more, for its headers.
    ///
    /// Not within [`Client::run`].
    pub(crate) fn failure(&self, error: HFError, remote: &Remote, file: &str) -> Failure {
        let (failure, unheard) = self.meaning(error, remote, file);
        let Some(address) = unheard else { return failure };
        let mut request = self.web.head(address.clone());
        if let Some(token) = self.token.as_ref().filter(|_| address.origin() == self.home.origin()) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.text()));
        }
        let answer = self.run(async { self.within(request.send(), self.silence, file, &()).await });
        let wait =
            answer.ok().and_then(|answer: reqwest::Result<Response>| stated_wait(answer.ok()?.headers()));
        match wait {
            Some(wait) => failure.after(wait),
            None => failure,
        }
    }
}

impl Drop for Client {
    /// A look-up of a name that hangs does not hold up the program's end.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A client of HTTP with the settings' timeouts, the environment's proxy and the system's certificates.
fn web(settings: &Settings, home: &Url) -> reqwest::Result<reqwest::Client> {
    let origin = settings.token.as_ref().map(|_| home.origin());
    let follow = move |attempt: Attempt<'_>| -> Action {
        let last = attempt.previous().last();
        let stray = if !matches!(attempt.url().scheme(), "http" | "https") {
            Stray::NotHttp
        } else if last.is_some_and(|last| last.scheme() == "https" && attempt.url().scheme() == "http") {
            Stray::Weakened
        } else if attempt.previous().len() > MOST_REDIRECTS {
            Stray::TooMany
        } else if let Some(home) = &origin
            && attempt.url().origin() != *home
            && last.is_some_and(|last| last.origin() == attempt.url().origin())
        {
            Stray::AmongStrangers(attempt.url().clone())
        } else {
            return attempt.follow();
        };
        attempt.error(stray)
    };
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("titer/", env!("CARGO_PKG_VERSION")))
        // Sizes and ranges are those of the file itself.
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .redirect(Policy::custom(follow))
        // It would show a signed address to the next host.
        .referer(false)
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.silence_timeout);
    let host = home.host_str().unwrap_or_default();
    if host == "localhost" || host.starts_with("127.") || host == "[::1]" {
        // What runs on this machine is not behind a proxy.
        client = client.no_proxy();
    }
    client.build()
}

/// `Retry-After` in seconds, or the hub's `RateLimit: "api";r=0;t=55`.
fn stated_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let hub = || text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="));
    let seconds = text("retry-after").or_else(hub)?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

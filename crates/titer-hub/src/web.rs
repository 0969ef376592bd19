//! Addresses that are nobody's repository.

use std::io::Write;

use reqwest::Url;
use reqwest::header::ACCEPT;

use crate::client::Client;
use crate::failure::of_transport;
use crate::{Error, Progress, Result, Settings};

/// Writes what an address holds, at most `most` bytes of it, to `to`. The environment's proxy and the system's
/// certificates are used, time is limited as for the hub, and nobody's token is sent.
///
/// # Errors
/// When the address does not answer, falls silent, refuses, or holds more; when `to` cannot be written.
pub fn fetch(
    address: &str,
    accept: &str,
    most: u64,
    to: &mut dyn Write,
    progress: &mut dyn Progress,
) -> Result<()> {
    let client = Client::new(&Settings::new(""))?;
    let url: Url = address.parse().map_err(|_| client.bad_answer(address, "not an address"))?;
    let host = url.origin().ascii_serialization();
    let file = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let lost = |error: reqwest::Error| of_transport(&error, &url, &file);
    let done = client.run(async {
        let asked = client.web.get(url.clone()).header(ACCEPT, accept).send();
        let mut answer = client.within(asked, client.silence, &file, progress).await?.map_err(lost)?;
        let status = answer.status();
        if !status.is_success() {
            let problem = format!("status {}", status.as_u16());
            return Err(Error::BadAnswer { host, file: file.clone(), problem }.into());
        }
        progress.started(&file, answer.content_length(), 0);
        let mut found = 0;
        while let Some(bytes) =
            client.within(answer.chunk(), client.silence, &file, progress).await?.map_err(lost)?
        {
            found += bytes.len() as u64;
            if found > most {
                return Err(Error::WrongSize { file: file.clone(), found, expected: most }.into());
            }
            to.write_all(&bytes).map_err(Error::writing(file.as_ref()))?;
            progress.advanced(bytes.len() as u64);
        }
        progress.finished();
        Ok(())
    });
    done.map_err(|failure| failure.error)
}

//! A hub and its content network on the loopback: two ports are two hosts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What a signed address holds and no error may show.
pub(crate) const SIGNATURE: &str = "X-Signature=secret-of-the-network";

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Closes the connection after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Says nothing for so long, after the cut or before the answer.
    pub(crate) silence: Duration,
    /// Sends the body byte by byte, with such a pause after each.
    pub(crate) trickle: Option<Duration>,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub(crate) fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    pub(crate) fn trickle(mut self, pause: Duration) -> Self {
        self.trickle = Some(pause);
        self
    }
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

pub(crate) struct Server {
    pub(crate) port: u16,
    log: Arc<Mutex<Vec<Received>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let (their_log, their_stop) = (log.clone(), stop.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if their_stop.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, log) = (handler.clone(), their_log.clone());
                // A client that went away is no failure of the server.
                thread::spawn(move || serve(stream?, &handler, &log));
            }
        });
        Self { port, log, stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> Vec<Received> {
        self.log.lock().unwrap().clone()
    }

    /// The requests for files.
    pub(crate) fn gets(&self) -> Vec<Received> {
        let file = |it: &Received| it.method == "GET" && !it.path.starts_with("/api/");
        self.log().into_iter().filter(file).collect()
    }

    pub(crate) fn forget(&self) {
        self.log.lock().unwrap().clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, handler: &Arc<Handler>, log: &Mutex<Vec<Received>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let received = Received { method, path, headers, body };
    log.lock().unwrap().push(received.clone());
    let reply = handler(&received);
    if reply.cut.is_none() {
        thread::sleep(reply.silence);
    }
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if received.method != "HEAD" {
        for byte in reply.trickle.iter().flat_map(|_| &reply.body) {
            stream.write_all(&[*byte])?;
            thread::sleep(reply.trickle.unwrap_or_default());
        }
        let whole = if reply.trickle.is_some() { 0 } else { reply.body.len() };
        stream.write_all(&reply.body[..reply.cut.unwrap_or(whole)])?;
        stream.flush()?;
        if reply.cut.is_some() {
            thread::sleep(reply.silence);
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let _ = reader.read(&mut [0]);
    Ok(())
}

/// `body`, or the part of it that a range asks for.
pub(crate) fn ranged(received: &Received, body: &[u8]) -> Reply {
    let range = received.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    match range.map(|(from, _)| from.parse::<usize>().unwrap()) {
        None => Reply::new(200).body(body),
        Some(from) if from >= body.len() => Reply::new(416),
        Some(from) => Reply::new(206)
            .with("Content-Range", format!("bytes {from}-{}/{}", body.len() - 1, body.len()))
            .body(&body[from..]),
    }
}

pub(crate) fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Git's hash of content.
pub(crate) fn oid(body: &[u8]) -> String {
    let hash = Sha1::new().chain_update(format!("blob {}\0", body.len())).chain_update(body).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Git's hash of the pointer to large content.
pub(crate) fn pointer(body: &[u8]) -> String {
    let (sha256, size) = (sha256(body), body.len());
    oid(format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n").as_bytes())
}

type Fault = Box<dyn FnMut(&Received) -> Option<Reply> + Send>;

/// Repository `org/model` (or data set `org/data`) at [`COMMIT`], branch `main`.
pub(crate) struct Fake {
    pub(crate) hub: Server,
    pub(crate) network: Server,
    fault: Arc<Mutex<Fault>>,
    network_fault: Arc<Mutex<Fault>>,
}

impl Fake {
    /// Files of a kibibyte and more are large ones: redirected to the network, with their SHA-256.
    pub(crate) fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let files: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(name, body)| ((*name).to_owned(), body.clone())).collect();
        let fault: Arc<Mutex<Fault>> = Arc::new(Mutex::new(Box::new(|_| None)));
        let network_fault: Arc<Mutex<Fault>> = Arc::new(Mutex::new(Box::new(|_| None)));
        let (blobs, faults) = (files.clone(), network_fault.clone());
        let network = Server::start(move |received| {
            // `hf-hub` looks before it takes.
            let looks = received.method == "HEAD";
            if let Some(reply) = (!looks).then(|| faults.lock().unwrap()(received)).flatten() {
                return reply;
            }
            let name = received.path.trim_start_matches('/').split('?').next().unwrap();
            blobs.get(name).map_or(Reply::new(404), |body| ranged(received, body))
        });
        let (address, faults) = (network.url(), fault.clone());
        let hub = Server::start(move |received| {
            if let Some(reply) = faults.lock().unwrap()(received) {
                return reply;
            }
            hub_reply(received, &files, &address)
        });
        Self { hub, network, fault, network_fault }
    }

    /// What the hub answers instead, where `fault` says so.
    pub(crate) fn hub_fault(&self, fault: impl FnMut(&Received) -> Option<Reply> + Send + 'static) {
        *self.fault.lock().unwrap() = Box::new(fault);
    }

    /// What the network answers instead, where `fault` says so.
    pub(crate) fn network_fault(&self, fault: impl FnMut(&Received) -> Option<Reply> + Send + 'static) {
        *self.network_fault.lock().unwrap() = Box::new(fault);
    }
}

fn hub_reply(received: &Received, files: &BTreeMap<String, Vec<u8>>, network: &str) -> Reply {
    let path = received.path.replace("%2F", "/");
    let page = ["/org/model", "/datasets/org/data"].into_iter().find_map(|page| path.strip_prefix(page));
    let api = ["/api/models/org/model", "/api/datasets/org/data"]
        .into_iter()
        .find_map(|page| path.strip_prefix(page)?.strip_prefix('/'));
    let known = |revision: &str| revision == "main" || revision == COMMIT;
    if let Some((question, revision)) = api.and_then(|api| api.split_once('/')) {
        if !known(revision) {
            return Reply::new(404).with("X-Error-Code", "RevisionNotFound");
        }
        return match question {
            "revision" => Reply::new(200).body(description(files.keys().map(String::as_str))),
            "paths-info" => {
                let asked: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
                let asked = asked["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
                let known = asked.filter_map(|path| Some(entry(path, files.get(path)?)));
                Reply::new(200).body(serde_json::Value::from_iter(known).to_string())
            }
            _ => Reply::new(404),
        };
    }
    let Some(rest) = page.and_then(|rest| rest.strip_prefix("/resolve/")) else {
        return Reply::new(404).with("X-Error-Code", "RepoNotFound");
    };
    let Some((revision, name)) = rest.split_once('/') else { return Reply::new(404) };
    if !known(revision) {
        return Reply::new(404).with("X-Error-Code", "RevisionNotFound");
    }
    let Some(body) = files.get(name) else {
        return Reply::new(404).with("X-Error-Code", "EntryNotFound").with("X-Repo-Commit", COMMIT);
    };
    if body.len() >= 1024 {
        return Reply::new(302)
            .with("X-Repo-Commit", COMMIT)
            .with("X-Linked-Etag", format!("\"{}\"", sha256(body)))
            .with("X-Linked-Size", body.len())
            .with("Location", format!("{network}/{name}?{SIGNATURE}"));
    }
    ranged(received, body).with("X-Repo-Commit", COMMIT).with("ETag", format!("W/\"{}\"", oid(body)))
}

/// What the hub says of a revision of `org/model`.
pub(crate) fn description<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let siblings: Vec<_> = names.map(|name| serde_json::json!({"rfilename": name})).collect();
    serde_json::json!({"_id": "6", "id": "org/model", "sha": COMMIT, "siblings": siblings}).to_string()
}

/// What the hub says of a path, as it says it: with the SHA-256 of a large file as `oid` within `lfs`.
fn entry(path: &str, body: &[u8]) -> serde_json::Value {
    let size = body.len();
    if size < 1024 {
        return serde_json::json!({"type": "file", "path": path, "oid": oid(body), "size": size});
    }
    let lfs = serde_json::json!({"oid": sha256(body), "size": size, "pointerSize": 134});
    serde_json::json!({"type": "file", "path": path, "oid": pointer(body), "size": size, "lfs": lfs})
}

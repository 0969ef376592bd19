//! Who is let in, and who sees the token.

use std::fs;

use serde_json::json;
use tempfile::tempdir;
use titer_hub::{Error, Hub, Settings};

use crate::server::{COMMIT, Fake, Received, Reply, Server, description, ranged};
use crate::{TOKEN, alone, hub, noise, resolve, settings, succeeds};

const FILE: &str = "hf:org/model:m.gguf";
const MODEL: &str = "hf:org/model";

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let fake = Fake::new(&[("m.gguf", noise(5000))]);
    let cache = tempdir().unwrap();
    resolve(&hub(&fake, cache.path()), FILE).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let asked: Vec<_> = fake.hub.log().into_iter().map(|it| it.method).collect();
    assert_eq!(asked, ["GET", "POST", "HEAD", "GET"]);
    assert!(fake.hub.log().iter().all(|it| it.header("authorization") == Some(&bearer)));
    assert_eq!(fake.network.gets().len(), 1);
    assert!(fake.network.log().iter().all(|it| it.header("referer").is_none()));
    assert!(fake.network.log().iter().all(|it| it.header("authorization").is_none()));
    let logs = [fake.hub.log(), fake.network.log()].concat();
    assert!(logs.iter().all(|it| !it.path.contains("topsecret")));
}

#[test]
fn the_token_does_not_come_back_by_way_of_the_network() {
    // hub → network → another path of the network: still no token there. `reqwest` alone would send it.
    let body = noise(300_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let served = body.clone();
    let mut cuts = 1;
    fake.network_fault(move |received| {
        if !received.path.contains("again") {
            return Some(Reply::new(302).with("Location", "m.gguf?again=1"));
        }
        cuts -= 1;
        (cuts == 0).then(|| ranged(received, &served).cut(100_000))
    });
    for token in [true, false] {
        let cache = tempdir().unwrap();
        let mut settings = settings(&fake, cache.path());
        settings.token = settings.token.filter(|_| token);
        let found = resolve(&Hub::new(settings), FILE).unwrap();
        assert_eq!(fs::read(found.path).unwrap(), body);
        assert!(fake.network.log().iter().all(|it| it.header("authorization").is_none()));
    }
    let ranges: Vec<_> = fake.network.gets().iter().map(|it| it.header("range").map(str::to_owned)).collect();
    let on = Some("bytes=100000-299999".to_owned());
    assert_eq!(ranges[..4], [None, None, on, Some("bytes=100000-".to_owned())]);
}

#[test]
fn no_token_is_looked_for_and_the_environments_proxy_is_used() {
    let test = "access::no_token_is_looked_for_and_the_environments_proxy_is_used";
    let Some(mut child) = alone(test) else {
        let cache = tempdir().unwrap();
        let mut settings = Settings::new(cache.path());
        settings.endpoint = "http://hub.invalid".to_owned();
        resolve(&Hub::new(settings), FILE).unwrap();
        return;
    };
    let files = Fake::new(&[("m.gguf", noise(900))]);
    let behind = files.hub.port;
    let proxy = Server::start(move |received| {
        let path = received.path.strip_prefix("http://hub.invalid").unwrap();
        Reply::new(307).with("Location", format!("http://127.0.0.1:{behind}{path}"))
    });
    child.env("HF_TOKEN", TOKEN).env("HTTP_PROXY", proxy.url()).env("http_proxy", proxy.url());
    succeeds(child.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1"));
    assert!(proxy.log().len() >= 4);
    let logs = [proxy.log(), files.hub.log()].concat();
    assert!(logs.iter().all(|it| it.header("authorization").is_none()));
}

#[test]
fn a_redirect_within_the_hub_keeps_the_token() {
    // As the hub does for small files, and for repositories that were renamed.
    let fake = Fake::new(&[("config.json", b"{}".to_vec()), ("model.safetensors", noise(2000))]);
    let cache = tempdir().unwrap();
    fake.hub_fault(|received| {
        let renamed = received.path.replace("old/name", "org/model");
        (renamed != received.path).then(|| Reply::new(307).with("Location", renamed))
    });
    let found = resolve(&hub(&fake, cache.path()), "hf:old/name:config.json").unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), b"{}");
    let bearer = format!("Bearer {TOKEN}");
    assert!(fake.hub.log().iter().all(|it| it.header("authorization") == Some(&bearer)));
}

#[test]
fn redirects_end() {
    let fake = Fake::new(&[]);
    let cache = tempdir().unwrap();
    fake.hub_fault(|received| Some(Reply::new(302).with("Location", received.path.clone())));
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
    for location in ["file:///etc/passwd", "http://", "ht!tp://x"] {
        fake.hub_fault(move |received| {
            (received.method == "GET").then(|| Reply::new(302).with("Location", location))
        });
        let error = resolve(&hub(&fake, cache.path()), MODEL).unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{location}: {error:?}");
    }
}

#[test]
fn each_refusal_says_what_to_do() {
    type Check = fn(&Error) -> bool;
    let cases: [(u16, &str, bool, Check, &str); 10] = [
        (401, "GatedRepo", false, |it| matches!(it, Error::Gated { .. }), "accept the licence at "),
        (403, "GatedRepo", true, |it| matches!(it, Error::Gated { .. }), "/org/model and set HF_TOKEN"),
        (401, "", false, |it| matches!(it, Error::Gated { .. }), "set HF_TOKEN"),
        (403, "", true, |it| matches!(it, Error::Gated { .. }), "accept the licence"),
        (401, "", true, |it| matches!(it, Error::BadToken { .. }), "/settings/tokens"),
        (
            401,
            "RepoNotFound",
            false,
            |it| matches!(it, Error::NoRepository { .. }),
            "set HF_TOKEN if it is private",
        ),
        (404, "RepoNotFound", true, |it| matches!(it, Error::NoRepository { .. }), "check the name"),
        (404, "RevisionNotFound", true, |it| matches!(it, Error::NoRevision { .. }), "no revision `main`"),
        (404, "EntryNotFound", true, |it| matches!(it, Error::NoFile { .. }), "no file `m.gguf`"),
        (418, "", true, |it| matches!(it, Error::BadAnswer { .. }), "status 418"),
    ];
    for (status, code, token, check, expected) in cases {
        let fake = Fake::new(&[]);
        let cache = tempdir().unwrap();
        let mut settings = settings(&fake, cache.path());
        settings.token = settings.token.filter(|_| token);
        fake.hub_fault(move |_| {
            Some(Reply::new(status).with("X-Error-Code", code).with("X-Error-Message", TOKEN))
        });
        let error = resolve(&Hub::new(settings), FILE).unwrap_err();
        assert!(check(&error), "{status} {code}: {error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(fake.hub.log().len(), 1, "{error}");
    }
}

#[test]
fn missing_things_are_told_apart() {
    let fake = Fake::new(&[("config.json", b"{}".to_vec()), ("model.safetensors", noise(2000))]);
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let error = |reference| resolve(&hub, reference).unwrap_err();
    assert!(matches!(error("hf:org/other"), Error::NoRepository { .. }));
    assert!(matches!(error("hf:org/other:x.gguf"), Error::NoRepository { .. }));
    assert!(matches!(error("hf:org/model@v2"), Error::NoRevision { .. }));
    assert!(matches!(error("hf:org/model@v2:config.json"), Error::NoRevision { .. }));
    assert!(matches!(error("hf:org/model:x.gguf"), Error::NoFile { .. }));
    assert!(matches!(error("hf:datasets/org/other"), Error::NoRepository { .. }));
    assert!(!cache.path().join("models--org--model").exists());
}

#[test]
fn an_answer_that_is_no_hubs_is_refused() {
    type Lie = fn(&Received) -> Reply;
    let lies: [Lie; 6] = [
        |_| Reply::new(200).body("<html>a login page</html>"),
        |_| Reply::new(200).with("X-Repo-Commit", "../../../etc").with("ETag", "\"a\""),
        |_| Reply::new(200).with("X-Repo-Commit", COMMIT),
        |_| Reply::new(200).with("X-Repo-Commit", COMMIT).with("ETag", "\"../../../../x\""),
        |_| Reply::new(200).with("X-Repo-Commit", COMMIT).with("ETag", "\"\""),
        |_| Reply::new(302),
    ];
    for lie in lies {
        let fake = Fake::new(&[]);
        let cache = tempdir().unwrap();
        fake.hub_fault(move |received| Some(lie(received)));
        let hub = hub(&fake, cache.path());
        for reference in [FILE, MODEL] {
            let error = resolve(&hub, reference).unwrap_err();
            assert!(matches!(error, Error::BadAnswer { .. }), "{error:?}");
            assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
        }
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}

/// What the hub says of a file becomes a file's name.
#[test]
fn a_hash_leads_nowhere_else() {
    for oid in ["../../../../../x", "/etc/passwd", "", "abc", &"g".repeat(40)] {
        let fake = Fake::new(&[]);
        let cache = tempdir().unwrap();
        let oid = oid.to_owned();
        fake.hub_fault(move |received| {
            let entry = json!([{"type": "file", "path": "m.gguf", "oid": oid, "size": 3}]);
            Some(match received.method.as_str() {
                "POST" => Reply::new(200).body(entry.to_string()),
                _ => Reply::new(200).body(description(["m.gguf"].into_iter())),
            })
        });
        let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{error:?}");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
        assert_eq!(fake.hub.log().len(), 2);
    }
}

#[test]
fn bytes_that_are_not_http_are_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write;
            let _ = stream.unwrap().write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n");
        }
    });
    let fake = Fake::new(&[]);
    let cache = tempdir().unwrap();
    let mut settings = settings(&fake, cache.path());
    settings.endpoint = format!("http://127.0.0.1:{port}");
    settings.retries = 1;
    assert!(resolve(&Hub::new(settings), FILE).is_err());
}

#[test]
fn a_bad_endpoint_is_refused_without_showing_its_password() {
    let server = Server::start(|_| Reply::new(200));
    let fake = Fake::new(&[]);
    let cache = tempdir().unwrap();
    let password = format!("http://me:topsecret@127.0.0.1:{}", server.port);
    for endpoint in ["", "huggingface.co", "ftp://huggingface.co", "http://", &password] {
        let mut settings = settings(&fake, cache.path());
        settings.endpoint = endpoint.to_owned();
        let hub = Hub::new(settings);
        let error = hub.resolve(&FILE.parse().unwrap(), &mut ()).unwrap_err();
        assert!(matches!(error, Error::BadSetting { .. }), "{endpoint}: {error:?}");
        assert!(!format!("{error}{error:?}").contains("topsecret"));
    }
    assert!(server.log().is_empty());
}

//! Downloads over Xet, which `hf-hub` chooses where the answer that it ends at names a Xet hash.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::tempdir;
use titer_hub::Error;

use crate::server::{Fake, Received, Reply};
use crate::{TOKEN, alone, hub, noise, resolve, succeeds};

const FILE: &str = "hf:org/model:m.gguf";
const ACCESS: &str = "xet-access";

/// A hub whose files are in Xet; the network stores them.
fn fake(body: &[u8]) -> Fake {
    let fake = Fake::new(&[("m.gguf", body.to_vec())]);
    let (size, store) = (body.len(), fake.network.url());
    fake.hub_fault(move |received| {
        if received.path.contains("/xet-read-token/") {
            let token = json!({"accessToken": ACCESS, "exp": 4_000_000_000_u64, "casUrl": store});
            return Some(Reply::new(200).body(token.to_string()));
        }
        let looks = received.method == "HEAD";
        looks.then(|| Reply::new(200).with("X-Xet-Hash", "a".repeat(64)).with("X-Linked-Size", size))
    });
    fake
}

/// The store's answers: one block of one piece, which is `body`.
fn store(url: &str, received: &Received, body: &[u8]) -> Option<Reply> {
    let piece = |length: usize| u32::try_from(length).unwrap().to_le_bytes()[..3].to_vec();
    let block = [vec![0], piece(body.len()), vec![0], piece(body.len()), body.to_vec()].concat();
    if received.path.starts_with("/block") {
        return Some(Reply::new(206).body(block));
    }
    let hash = "b".repeat(64);
    let range = json!({"chunks": {"start": 0, "end": 1}, "bytes": {"start": 0, "end": block.len() - 1}});
    let plan = json!({
        "offset_into_first_range": 0,
        "terms": [{"hash": hash, "unpacked_length": body.len(), "range": {"start": 0, "end": 1}}],
        "xorbs": {hash.clone(): [{"url": format!("{url}/block?{}", crate::server::SIGNATURE), "ranges": [range]}]},
    });
    received.path.starts_with("/v2/reconstructions/").then(|| Reply::new(200).body(plan.to_string()))
}

/// Runs a test in a process with a home of its own, in which Xet leaves folders, and reports nothing; false within it.
fn elsewhere(test: &str) -> bool {
    let Some(mut child) = alone(test) else { return false };
    let home = tempdir().unwrap();
    succeeds(child.env("HF_HOME", home.path()).env("HF_HUB_DISABLE_TELEMETRY", "1"));
    true
}

#[test]
fn what_comes_over_xet_is_verified_and_the_store_sees_no_token() {
    if elsewhere("xet::what_comes_over_xet_is_verified_and_the_store_sees_no_token") {
        return;
    }
    let body = noise(5000);
    for (sent, right) in [(body.clone(), true), (vec![7; 5000], false)] {
        let fake = fake(&body);
        let url = fake.network.url();
        fake.network_fault(move |received| store(&url, received, &sent));
        let cache = tempdir().unwrap();
        match resolve(&hub(&fake, cache.path()), FILE) {
            Ok(found) => assert!(right && fs::read(found.path).unwrap() == body),
            Err(error) => assert!(!right && matches!(error, Error::WrongHash { .. }), "{error:?}"),
        }
        let seen: Vec<_> = fake.network.log().into_iter().map(|it| format!("{it:?}")).collect();
        assert!(seen.iter().any(|it| it.contains(ACCESS)), "{seen:?}");
        assert!(seen.iter().all(|it| !it.contains(TOKEN)), "{seen:?}");
    }
}

#[test]
fn a_store_that_says_nothing_is_given_up() {
    if elsewhere("xet::a_store_that_says_nothing_is_given_up") {
        return;
    }
    let fake = fake(&noise(5000));
    fake.network_fault(|_| Some(Reply::new(200).silence(Duration::from_secs(8))));
    let cache = tempdir().unwrap();
    let started = Instant::now();
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    assert!(matches!(error, Error::Cut { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

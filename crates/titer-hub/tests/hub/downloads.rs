//! Cut, wrong, slow and refused downloads of one file.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::tempdir;
use titer_hub::{Error, Hub, Settings};

use crate::server::{Fake, Received, Reply, Server, pointer, ranged, sha256};
use crate::{Events, hub, noise, resolve, settings};

const FILE: &str = "hf:org/model:m.gguf";

/// An answer for each further request to the network: of `times` requests, then as usual.
fn first(
    times: usize,
    mut reply: impl FnMut(&Received) -> Reply + Send,
) -> impl FnMut(&Received) -> Option<Reply> {
    let mut left = times;
    move |received| {
        left = left.checked_sub(1)?;
        Some(reply(received))
    }
}

fn blobs(cache: &std::path::Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(cache.join("models--org--model/blobs")) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let body = noise(300_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let served = body.clone();
    fake.network_fault(first(2, move |received| ranged(received, &served).cut(100_000)));
    let mut events = Events::default();
    let found = hub(&fake, cache.path()).resolve(&FILE.parse().unwrap(), &mut events).unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), body);
    let ranges: Vec<_> = fake.network.gets().iter().map(|it| it.header("range").map(str::to_owned)).collect();
    assert_eq!(
        ranges,
        [None, Some("bytes=100000-299999".to_owned()), Some("bytes=200000-299999".to_owned())]
    );
    assert_eq!(events.advanced, 300_000);
    let starts: Vec<_> = events.lines.iter().filter(|line| line.starts_with("m.gguf")).collect();
    assert_eq!(starts, ["m.gguf 0/300000", "m.gguf 100000/300000", "m.gguf 200000/300000"]);
    assert_eq!(events.lines.last().unwrap(), "finished");
}

#[test]
fn a_later_call_goes_on_where_an_earlier_one_gave_up() {
    let body = noise(300_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let mut once = settings(&fake, cache.path());
    once.retries = 0;
    let served = body.clone();
    fake.network_fault(first(1, move |received| ranged(received, &served).cut(120_000)));
    let error = resolve(&Hub::new(once), FILE).unwrap_err();
    assert!(matches!(error, Error::Cut { attempts: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("run again to go on"), "{error}");
    assert_eq!(blobs(cache.path()), [format!("{}.incomplete", pointer(&body))]);
    assert!(!cache.path().join("models--org--model/snapshots").exists());
    fake.network.forget();
    let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), body);
    assert_eq!(fake.network.gets()[0].header("range"), Some("bytes=120000-299999"));
    assert_eq!(blobs(cache.path()), [sha256(&body)]);
}

#[test]
fn attempts_are_bounded() {
    let body = noise(300_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    fake.network_fault(move |received| Some(ranged(received, &body).cut(1000)));
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    assert!(matches!(error, Error::Cut { attempts: 6, .. }), "{error:?}");
    assert_eq!(fake.network.gets().len(), 6);
}

#[test]
fn an_attempt_that_brought_much_is_not_counted() {
    let body = noise(9 << 20);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let mut few = settings(&fake, cache.path());
    few.retries = 1;
    let served = body.clone();
    fake.network_fault(first(5, move |received| ranged(received, &served).cut(3 << 19)));
    let found = resolve(&Hub::new(few), FILE).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
}

#[test]
fn a_server_that_cannot_resume_sends_all_again() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let mut count = 0;
    let served = body.clone();
    fake.network_fault(move |_| {
        count += 1;
        let whole = Reply::new(200).body(served.clone());
        Some(if count == 1 { whole.cut(20_000) } else { whole })
    });
    let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
}

#[test]
fn a_range_that_begins_elsewhere_is_not_appended() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let mut count = 0;
    let served = body.clone();
    fake.network_fault(move |received| {
        count += 1;
        match count {
            1 => Some(ranged(received, &served).cut(20_000)),
            2 => Some(Reply::new(206).with("Content-Range", "bytes 10-49999/50000").body(&served[10..])),
            _ => None,
        }
    });
    let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
    assert_eq!(fake.network.gets()[2].header("range"), None);
}

#[test]
fn a_range_of_other_bytes_is_found_out() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let mut count = 0;
    let served = body.clone();
    fake.network_fault(move |received| {
        count += 1;
        match count {
            1 => Some(ranged(received, &served).cut(20_000)),
            2 => {
                Some(Reply::new(206).with("Content-Range", "bytes 20000-49999/50000").body(&served[..30_000]))
            }
            _ => None,
        }
    });
    let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
    assert_eq!(fake.network.gets()[2].header("range"), None);
}

#[test]
fn a_small_file_is_verified_as_well() {
    let fake = Fake::new(&[("m.gguf", noise(900))]);
    for wrong in [vec![7; 900], noise(899), noise(901)] {
        let cache = tempdir().unwrap();
        fake.hub_fault(move |received| {
            received.path.contains("/resolve/").then(|| Reply::new(200).body(wrong.clone()))
        });
        let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
        assert!(matches!(error, Error::WrongHash { .. } | Error::WrongSize { .. }), "{error:?}");
        assert!(!cache.path().join("models--org--model/snapshots").exists());
    }
}

#[test]
fn wrong_content_is_refused_and_not_kept() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    fake.network_fault(|_| Some(Reply::new(200).body(vec![7; 50_000])));
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    let Error::WrongHash { expected, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!((expected, found), (&pointer(&body), &pointer(&[7; 50_000])));
    assert_eq!(fake.network.gets().len(), 1);
    let left = cache.path().join(format!("models--org--model/blobs/{}.incomplete", pointer(&body)));
    assert_eq!(left.metadata().map_or(0, |found| found.len()), 0);
    assert!(!cache.path().join("models--org--model/snapshots").exists());
    fake.network_fault(|_| None);
    assert_eq!(fs::read(resolve(&hub(&fake, cache.path()), FILE).unwrap().path).unwrap(), body);
}

#[test]
fn a_damaged_leftover_costs_one_more_download() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    for leftover in [vec![1; 20_000], vec![1; 50_000], vec![1; 70_000]] {
        let cache = tempdir().unwrap();
        let folder = cache.path().join("models--org--model/blobs");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{}.incomplete", sha256(&body))), leftover).unwrap();
        let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
        assert_eq!(fs::read(found.path).unwrap(), body);
    }
}

#[test]
fn a_wrong_size_is_refused() {
    for wrong in [49_999, 50_001] {
        let body = noise(50_000);
        let fake = Fake::new(&[("m.gguf", body)]);
        let cache = tempdir().unwrap();
        fake.network_fault(move |_| Some(Reply::new(200).body(noise(wrong))));
        let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
        assert!(matches!(error, Error::WrongSize { expected: 50_000, .. }), "{error:?}");
        assert!(!cache.path().join("models--org--model/snapshots").exists());
    }
}

#[test]
fn silence_ends_an_attempt() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let served = body.clone();
    let silence = Duration::from_secs(5);
    fake.network_fault(first(1, move |received| ranged(received, &served).cut(10_000).silence(silence)));
    let started = Instant::now();
    let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(fake.network.gets()[1].header("range"), Some("bytes=10000-49999"));
}

/// Never silent, and never done.
#[test]
fn drops_do_not_hold_for_ever() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let mut soon = settings(&fake, cache.path());
    soon.silence_timeout = Duration::from_millis(100);
    soon.retries = 0;
    let served = body.clone();
    fake.network_fault(move |_| {
        Some(Reply::new(200).body(served.clone()).trickle(Duration::from_millis(10)))
    });
    let started = Instant::now();
    let error = resolve(&Hub::new(soon.clone()), FILE).unwrap_err();
    assert!(matches!(error, Error::Cut { attempts: 1, .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    fake.hub_fault(|_| Some(Reply::new(200).body(vec![b' '; 5000]).trickle(Duration::from_millis(10))));
    let started = Instant::now();
    let error = resolve(&Hub::new(soon), FILE).unwrap_err();
    assert!(matches!(error, Error::Cut { attempts: 1, .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn a_hub_that_never_answers_is_given_up() {
    let fake = Fake::new(&[]);
    fake.hub_fault(|_| Some(Reply::new(200).silence(Duration::from_secs(5))));
    let cache = tempdir().unwrap();
    let started = Instant::now();
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    assert!(matches!(error, Error::Cut { attempts: 2, .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_millis(1200), "{:?}", started.elapsed());
    assert_eq!(fake.hub.log().len(), 2);
    // As it comes: twice 20 s, and half a second between.
    let settings = Settings::new(cache.path());
    assert_eq!(
        (settings.silence_timeout, settings.backoff),
        (Duration::from_secs(20), Duration::from_millis(500))
    );
}

#[test]
fn faults_of_the_server_are_waited_out() {
    let body = noise(50_000);
    for status in [500, 502, 503, 504, 408, 429] {
        let fake = Fake::new(&[("m.gguf", body.clone())]);
        let cache = tempdir().unwrap();
        fake.hub_fault(first(2, move |_| Reply::new(status)));
        fake.network_fault(first(2, move |_| Reply::new(status)));
        let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
        assert_eq!(fs::read(found.path).unwrap(), body, "{status}");
    }
    let fake = Fake::new(&[]);
    let cache = tempdir().unwrap();
    fake.hub_fault(|_| Some(Reply::new(503)));
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    assert!(matches!(error, Error::Server { status: 503, .. }), "{error:?}");
    assert_eq!(fake.hub.log().iter().filter(|it| it.method == "GET").count(), 6);
}

#[test]
fn retry_after_is_honoured_up_to_a_bound() {
    let body = noise(50_000);
    // Only of a 429 does `hf-hub` tell `Retry-After`; otherwise the same address is asked for its headers.
    let cases = [
        (429, 1, "Retry-After", "1"),
        (429, 2, "RateLimit", "\"resolvers\";r=0;t=1"),
        (503, 2, "Retry-After", "1"),
    ];
    for (status, times, header, value) in cases {
        let fake = Fake::new(&[("m.gguf", body.clone())]);
        let cache = tempdir().unwrap();
        fake.hub_fault(first(times, move |_| Reply::new(status).with(header, value)));
        let started = Instant::now();
        resolve(&hub(&fake, cache.path()), FILE).unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    }
    let fake = Fake::new(&[("m.gguf", body)]);
    let cache = tempdir().unwrap();
    fake.hub_fault(|_| Some(Reply::new(429).with("Retry-After", "3600")));
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    assert!(error.to_string().contains("another 3600 s"), "{error}");
    assert_eq!(fake.hub.log().len(), 1);
}

#[test]
fn an_expired_signed_address_is_asked_for_again() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    fake.network_fault(first(1, |_| Reply::new(403)));
    let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
    assert_eq!(fs::read(found.path).unwrap(), body);
    assert_eq!(fake.hub.gets().len(), 2);
}

#[test]
fn what_cannot_fit_is_not_begun() {
    let fake = Fake::new(&[("m.gguf", noise(5000))]);
    let cache = tempdir().unwrap();
    fake.hub_fault(|received| {
        let oid = pointer(b"");
        let entry = json!([{"type": "file", "path": "m.gguf", "oid": oid, "size": 1_u64 << 62}]);
        (received.method == "POST").then(|| Reply::new(200).body(entry.to_string()))
    });
    let error = resolve(&hub(&fake, cache.path()), FILE).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("4611686018427387904 bytes are needed"), "{error}");
    assert!(fake.network.log().is_empty());
}

#[test]
fn a_stopped_download_goes_on_later() {
    let body = noise(4 << 20);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let hub = hub(&fake, cache.path());
    let mut events = Events { stop_after: Some(1 << 20), ..Events::default() };
    let error = hub.resolve(&FILE.parse().unwrap(), &mut events).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    fake.network.forget();
    assert_eq!(fs::read(resolve(&hub, FILE).unwrap().path).unwrap(), body);
    let range = fake.network.gets()[0].header("range").unwrap().to_owned();
    assert_eq!(range, format!("bytes={}-{}", events.advanced, body.len() - 1));
}

#[test]
fn a_pause_can_be_stopped() {
    let fake = Fake::new(&[]);
    let cache = tempdir().unwrap();
    fake.hub_fault(|_| Some(Reply::new(429).with("Retry-After", "60")));
    let mut patient = settings(&fake, cache.path());
    patient.longest_wait = Duration::from_secs(100);
    let mut events = Events { stop_after: Some(0), ..Events::default() };
    let error = Hub::new(patient).resolve(&FILE.parse().unwrap(), &mut events).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
}

#[test]
fn many_at_once_download_a_file_once() {
    let body = noise(2 << 20);
    let fake = Arc::new(Fake::new(&[("m.gguf", body.clone())]));
    let cache = Arc::new(tempdir().unwrap());
    let served = body.clone();
    fake.network_fault(move |received| Some(ranged(received, &served).silence(Duration::from_millis(200))));
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let (fake, cache, body) = (fake.clone(), cache.clone(), body.clone());
            thread::spawn(move || {
                let found = resolve(&hub(&fake, cache.path()), FILE).unwrap();
                assert_eq!(fs::read(found.path).unwrap(), body);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(fake.network.gets().len(), 1);
    assert_eq!(blobs(cache.path()), [sha256(&body)]);
}

#[test]
fn a_holder_without_progress_is_not_waited_for_forever() {
    let body = noise(50_000);
    let fake = Fake::new(&[("m.gguf", body.clone())]);
    let cache = tempdir().unwrap();
    let folder = cache.path().join(".locks/models--org--model");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::File::create(folder.join(format!("{}.lock", pointer(&body)))).unwrap();
    lock.lock().unwrap();
    let mut soon = settings(&fake, cache.path());
    soon.longest_wait = Duration::ZERO;
    let hub = Hub::new(soon);
    let error = resolve(&hub, FILE).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    drop(lock);
    assert_eq!(fs::read(resolve(&hub, FILE).unwrap().path).unwrap(), body);
}

#[test]
fn nobody_at_the_address() {
    let cache = tempdir().unwrap();
    let mut nobody = Settings::new(cache.path());
    nobody.endpoint = Server::start(|_| Reply::new(200)).url();
    nobody.backoff = Duration::from_millis(1);
    thread::sleep(Duration::from_millis(50));
    let error = resolve(&Hub::new(nobody), FILE).unwrap_err();
    assert!(matches!(error, Error::NoNetwork { .. }), "{error:?}");
}

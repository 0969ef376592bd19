//! A packed experiment, its archive's sums and those of its files right: opened, shown and audited.
#![no_main]

use std::path::Path;

use titer_fuzz::{OUTSIDE, Seeds, folder, stores, target, write};
use titer_lab::{Interrupt, Results};
use titer_store::{Bundle, Store, Weights};

/// Bytes of a block of an archive.
const BLOCK: usize = 512;

fn seeds() -> Seeds {
    let store = Store::open(stores::copy()).expect("a store");
    let path = folder().join("bundle.tar.zst");
    titer_lab::bundle(&store, stores::EXPERIMENT, Weights::None, &path).expect("it is packed");
    let file = std::fs::File::open(&path).expect("it was packed");
    let tar = zstd::decode_all(file).expect("it was packed");
    let mut seeds = vec![("whole".to_owned(), tar.clone())];
    // The parts that decide whether it is a bundle, and names that lead elsewhere.
    let small = entries(&tar, |name| !name.starts_with("artifacts/"));
    for outside in OUTSIDE {
        let mut led = small.clone();
        led[..100].fill(0);
        led[..outside.len()].copy_from_slice(outside.as_bytes());
        seeds.push((format!("outside-{}", outside.len()), led));
    }
    seeds.push(("small".to_owned(), small));
    seeds.push(("one".to_owned(), entries(&tar, |name| !name.ends_with(".parquet"))));
    seeds.retain(|(_, bytes)| bytes.len() < 400_000);
    seeds
}

/// The entries of an archive whose names are wanted.
fn entries(tar: &[u8], wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(header) = tar.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let end = at + BLOCK + size(header).next_multiple_of(BLOCK);
        let name: Vec<u8> = header[..100].iter().copied().take_while(|byte| *byte != 0).collect();
        if wanted(&String::from_utf8_lossy(&name)) {
            kept.extend(&tar[at..end]);
        }
        at = end;
    }
    kept.extend([0; 2 * BLOCK]);
    kept
}

fn size(header: &[u8]) -> usize {
    let digits = header[124..136].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0usize, |size, digit| size.wrapping_mul(8).wrapping_add(usize::from(digit - b'0')))
        % (1 << 24)
}

/// Makes the sums of headers, of JSON and of seals right.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    let (mut at, mut manifest) = (0, None);
    while at + BLOCK <= tar.len() && tar[at] != 0 {
        let header = &mut tar[at..at + BLOCK];
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let name: Vec<u8> = header[..100].iter().copied().take_while(|byte| *byte != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        let (from, length) = (at + BLOCK, size(header));
        at = from + length.next_multiple_of(BLOCK);
        let Some(content) = tar.get_mut(from..from + length) else { break };
        match Path::new(&name).file_name().and_then(|name| name.to_str()) {
            // The seal is packed before it.
            Some("SEALED") if length == 64 => manifest = Some(from),
            Some("manifest.json") => {
                let sum = blake3::hash(content).to_hex();
                if let Some(from) = manifest.take() {
                    tar[from..from + 64].copy_from_slice(sum.as_bytes());
                }
            }
            Some(name) if name.ends_with(".json") => {
                let summed = stores::with_sum(content);
                if summed.len() == length {
                    content.copy_from_slice(&summed);
                }
            }
            _ => {}
        }
    }
    tar
}

target!(seeds, |bytes| {
    // As it stands where it is compressed already.
    let packed = match bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        true => bytes.to_vec(),
        false => zstd::encode_all(&mended(bytes)[..], 1).expect("it is compressed"),
    };
    let path = write("bundle.tar.zst", &packed);
    let Ok(bundle) = Bundle::open(&path) else { return };
    let (store, name) = (bundle.store(), bundle.experiment());
    let _ = titer_lab::verify(store, name, Some(&bundle), &Interrupt::default());
    if let Ok(results) = Results::load(store, name) {
        let _ = results.verdicts();
    }
});

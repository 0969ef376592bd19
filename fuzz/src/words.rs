//! The words of a target's seeds: keys and names that changes at random would not come upon.

use std::collections::BTreeMap;

use crate::{OUTSIDE, Seeds};

/// At most so many, those in the most seeds.
const MOST: usize = 600;

/// A dictionary as libFuzzer reads it.
pub(crate) fn dictionary(seeds: &Seeds) -> String {
    let mut counted = BTreeMap::<&[u8], usize>::new();
    for (_, bytes) in seeds {
        let part_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        let mut words: Vec<&[u8]> = bytes.split(|byte| !part_of_word(byte)).collect();
        words.retain(|word| (3..40).contains(&word.len()) && word[0].is_ascii_alphabetic());
        words.sort_unstable();
        words.dedup();
        words.into_iter().for_each(|word| *counted.entry(word).or_default() += 1);
    }
    let mut words: Vec<(&[u8], usize)> = counted.into_iter().collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    words.truncate(MOST);
    let numbers = [
        "18446744073709551615",
        "4294967296",
        "-1",
        "1e308",
        "-1e308",
        "1e-400",
        "0",
        "NaN",
        "null",
        "[]",
        "{}",
    ];
    let plain =
        numbers.into_iter().chain(OUTSIDE).chain(["/dev/zero", "/proc/self/environ"]).map(str::as_bytes);
    let words = words.into_iter().map(|(word, _)| word).chain(plain);
    words.map(|word| format!("\"{}\"\n", String::from_utf8_lossy(word))).collect()
}

//! Porter's stemmer with the extensions of NLTK 3.
//!
//! M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, pp. 130–137. The extensions
//! (irregular words, `-ied`, `-y`, `-alli`, `-fulli`, `-logi`, short stems) are those of
//! `nltk.stem.porter.PorterStemmer`, which `rouge-score` uses.

/// Whole words that the rules would spoil.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// The suffixes of step 2 and what replaces them, when the stem has a positive measure. `logi` is apart.
const STEP_2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

/// The same for step 3.
const STEP_3: [(&str, &str); 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

/// The suffixes that step 4 takes from stems with a measure above 1.
const STEP_4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
];

/// The stem of a lower-case ASCII word; shorter words than three letters are their own.
pub(crate) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 {
        return word.to_owned();
    }
    [step_1a, step_1b, step_1c, step_2, step_3, step_4, step_5a, step_5b]
        .iter()
        .fold(word.to_owned(), |word, step| step(&word))
}

fn step_1a(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if word.ends_with("sses") {
        return word[..word.len() - 2].to_owned();
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') => stem.to_owned(),
        _ => word.to_owned(),
    }
}

fn step_1b(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 { format!("{stem}ee") } else { word.to_owned() };
    }
    let stem = ["ed", "ing"]
        .iter()
        .find_map(|suffix| word.strip_suffix(suffix).filter(|stem| consonants(stem).contains(&false)));
    let Some(stem) = stem else { return word.to_owned() };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return format!("{stem}e");
    }
    if ends_with_double_consonant(stem) {
        let keeps = stem.ends_with(['l', 's', 'z']);
        return stem[..stem.len() - usize::from(!keeps)].to_owned();
    }
    let short = measure(stem) == 1 && ends_cvc(stem);
    format!("{stem}{}", if short { "e" } else { "" })
}

fn step_1c(word: &str) -> String {
    match word.strip_suffix('y') {
        Some(stem) if stem.len() > 1 && consonants(stem).last() == Some(&true) => format!("{stem}i"),
        _ => word.to_owned(),
    }
}

fn step_2(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("alli").filter(|stem| measure(stem) > 0) {
        return step_2(&format!("{stem}al"));
    }
    if let Some(replaced) = replace_suffix(word, &STEP_2) {
        return replaced;
    }
    match word.strip_suffix("logi") {
        // The l counts as part of the stem, so that "geology" has one.
        Some(stem) if measure(&word[..word.len() - 3]) > 0 => format!("{stem}log"),
        _ => word.to_owned(),
    }
}

fn step_3(word: &str) -> String {
    replace_suffix(word, &STEP_3).unwrap_or_else(|| word.to_owned())
}

/// By the first rule whose suffix the word has: replaced when the stem's measure is positive, else the word.
fn replace_suffix(word: &str, rules: &[(&str, &str)]) -> Option<String> {
    let (stem, replacement) = rules
        .iter()
        .find_map(|(suffix, replacement)| word.strip_suffix(suffix).map(|stem| (stem, replacement)))?;
    Some(if measure(stem) > 0 { format!("{stem}{replacement}") } else { word.to_owned() })
}

fn step_4(word: &str) -> String {
    let Some(suffix) = STEP_4.iter().find(|suffix| word.ends_with(*suffix)) else {
        return word.to_owned();
    };
    let stem = &word[..word.len() - suffix.len()];
    let applies = measure(stem) > 1 && (*suffix != "ion" || stem.ends_with(['s', 't']));
    if applies { stem.to_owned() } else { word.to_owned() }
}

fn step_5a(word: &str) -> String {
    match word.strip_suffix('e') {
        Some(stem) if measure(stem) > 1 || (measure(stem) == 1 && !ends_cvc(stem)) => stem.to_owned(),
        _ => word.to_owned(),
    }
}

fn step_5b(word: &str) -> String {
    let shortened = &word[..word.len().saturating_sub(1)];
    if word.ends_with("ll") && measure(shortened) > 1 { shortened.to_owned() } else { word.to_owned() }
}

/// Whether each letter is a consonant: none of `aeiou`, nor a `y` after a consonant.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word.bytes() {
        flags.push(match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => !flags.last().is_some_and(|before| *before),
            _ => true,
        });
    }
    flags
}

/// m of `[C](VC)^m[V]`: how often a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|pair| !pair[0] && pair[1]).count()
}

fn ends_with_double_consonant(word: &str) -> bool {
    let letters = word.as_bytes();
    let count = letters.len();
    count >= 2 && letters[count - 1] == letters[count - 2] && consonants(word)[count - 1]
}

/// Consonant, vowel, consonant at the end, the last none of `wxy`; or a word of vowel and consonant.
fn ends_cvc(word: &str) -> bool {
    match consonants(word)[..] {
        [.., true, false, true] => !word.ends_with(['w', 'x', 'y']),
        [false, true] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_those_of_nltk() {
        let fixture = include_str!("../../../../tests/fixtures/rouge.json");
        let fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
        let stems = fixture["stems"].as_object().unwrap();
        assert!(stems.len() > 100);
        for (word, expected) in stems {
            assert_eq!(stem(word), expected.as_str().unwrap(), "{word}");
        }
    }
}

//! What is wrong with a spec, said so that it can be put right at once.

use std::fmt;

/// One thing wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The dotted key (`probe.items`), `--set KEY` for an override, or empty where the text is no TOML.
    pub key: String,
    /// The line of the file, from 1; none for an override and for a key missing at the top.
    pub line: Option<usize>,
    /// What is wrong: expected, got.
    pub problem: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Everything wrong with a spec, in the order of its lines. One line of text per mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file, as the user named it.
    pub file: String,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", self.file)?;
            if let Some(line) = mistake.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Advice for a name that is not among `known`: the nearest, or all of them.
pub(crate) fn advice<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "there is none to choose from".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}

/// The name among `known` that was meant, where a third of the letters may be wrong.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let tolerated = name.chars().count().div_ceil(3);
    let distances = known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated);
    distances.min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn advice_names_the_nearest_or_all() {
        let check = |name, expected| assert_eq!(advice(name, ["seeds", "steps", "rate"]), expected);
        check("step", "did you mean `steps`?");
        check("stpes", "did you mean `steps`?");
        check("raet", "did you mean `rate`?");
        check("speed", "did you mean `seeds`?");
        check("momentum", "known: seeds, steps, rate");
        assert_eq!(advice("x", []), "there is none to choose from");
    }
}

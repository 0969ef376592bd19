//! What to know before quoting a number: each caveat once, with the defences that it is true of.

use serde::Serialize;
use titer_conditions::Verdicts;

/// Something to know, and of which defences it is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caveat {
    /// The sentence.
    pub text: String,
    /// The defences; none where it is true of the experiment.
    pub defences: Vec<String>,
}

impl Caveat {
    /// Of which defences it is true, in words; empty where it is true of the experiment.
    pub fn about(&self, verdicts: &Verdicts) -> String {
        let named = |name: &String| self.defences.contains(name);
        let defences = || verdicts.defences.iter();
        let defended = || defences().filter(|defence| !defence.baseline());
        match () {
            () if self.defences.is_empty() => String::new(),
            () if defences().all(|defence| named(&defence.defence)) => "all, the undefended model too".into(),
            () if self.defences.len() > 1 && defended().all(|defence| named(&defence.defence)) => {
                "all defences".into()
            }
            () => self.defences.join(", "),
        }
    }

    /// The sentence with those that it is true of.
    pub fn sentence(&self, verdicts: &Verdicts) -> String {
        match self.about(verdicts) {
            about if about.is_empty() => self.text.clone(),
            about => format!("{} ({about})", self.text),
        }
    }
}

/// The caveats of verdicts: `DEFENCE: TEXT` of several defences as one, in the order met.
pub fn grouped(verdicts: &Verdicts) -> Vec<Caveat> {
    let names: Vec<&str> = verdicts.defences.iter().map(|defence| defence.defence.as_str()).collect();
    let mut grouped: Vec<Caveat> = Vec::new();
    for caveat in &verdicts.caveats {
        let about = caveat.split_once(": ").filter(|(name, _)| names.contains(name));
        let (text, defence) =
            about.map_or((caveat.as_str(), None), |(name, text)| (text, Some(name.to_owned())));
        match grouped.iter_mut().find(|known| known.text == text && defence.is_some()) {
            Some(known) => known.defences.extend(defence),
            None => grouped.push(Caveat { text: text.to_owned(), defences: defence.into_iter().collect() }),
        }
    }
    grouped
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;

    #[test]
    fn a_caveat_names_whom_it_is_about() {
        let about = |defences: &[&str]| {
            let defences = defences.iter().map(|name| (*name).to_owned()).collect();
            Caveat { text: String::new(), defences }.about(&specimen::verdicts())
        };
        assert_eq!(about(&[]), "");
        assert_eq!(about(&["none", "tar"]), "none, tar");
        assert_eq!(about(&["adversarial-loss", "tar"]), "all defences");
        assert_eq!(about(&["none", "adversarial-loss", "tar"]), "all, the undefended model too");
    }

    #[test]
    fn what_is_true_of_several_defences_is_said_once() {
        let caveats = [
            "fine-tuning API: decided late",
            "tar: one seed",
            "adversarial-loss: one seed",
            "tar: not broken",
        ];
        let mut verdicts = specimen::verdicts();
        verdicts.caveats = caveats.map(str::to_owned).into();
        let grouped = grouped(&verdicts);
        let found: Vec<_> =
            grouped.iter().map(|caveat| (caveat.text.as_str(), caveat.defences.join(" "))).collect();
        let expected = [
            ("fine-tuning API: decided late", ""),
            ("one seed", "tar adversarial-loss"),
            ("not broken", "tar"),
        ];
        assert_eq!(found, expected.map(|(text, defences)| (text, defences.to_owned())));
    }
}

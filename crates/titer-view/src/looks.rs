//! The looks of an experiment that adds seeds until all is decided, in words.

use titer_conditions::{Look, Verdicts};
use titer_plan::{Condition, Decision, Open};

use crate::wording;

/// What came of one look, as a run says it.
pub fn looked(look: usize, of: usize, open: usize) -> String {
    let then = match open {
        0 => "all is decided".to_owned(),
        _ if look == of => format!("{} open, and no more seeds", wording::count(open, "comparison")),
        _ => format!("{} open, so that seeds are added", wording::count(open, "comparison")),
    };
    format!("look {look} of {of}: {then}")
}

/// A name and what there is to say of each look; nothing where all seeds were measured at once.
pub fn sentences(verdicts: &Verdicts) -> Vec<(String, String)> {
    verdicts.looks.iter().map(|look| (format!("look {} of {}", look.look, look.of), sentence(look))).collect()
}

fn sentence(look: &Look) -> String {
    let count = |number: u64, what: &str| wording::count(number as usize, &format!("{what} seed"));
    let seeds = look.seeds;
    let with = format!(
        "up to {}, {} and {}, level α = {:.4}",
        count(seeds.defence, "defence"),
        count(seeds.attack, "attack"),
        count(seeds.tuning, "tuning"),
        look.alpha
    );
    match (look.read, look.open.is_empty()) {
        (false, _) => format!("{with}; not measured in full yet"),
        (true, true) => format!("{with}; all decided"),
        (true, false) => format!("{with}; open after it: {}", named(&look.open)),
    }
}

/// What is not decided yet, in one sentence.
pub fn still_open(verdicts: &Verdicts) -> String {
    let open = match verdicts.looks.last() {
        Some(look) => look.open.clone(),
        None => inconclusive(verdicts),
    };
    if open.is_empty() { "no comparison is open".to_owned() } else { format!("open: {}", named(&open)) }
}

/// What came to nothing yet, of what is under test.
fn inconclusive(verdicts: &Verdicts) -> Vec<Open> {
    let under_test = verdicts.defences.iter().filter(|defence| defence.role.under_test());
    under_test
        .flat_map(|defence| {
            let open = |&(_, verdict): &(&Condition, &titer_conditions::Verdict)| {
                verdict.verdict == Decision::Inconclusive
            };
            let named = |(&condition, _)| Open { defence: defence.defence.clone(), condition };
            defence.conditions.iter().filter(open).map(named)
        })
        .collect()
}

/// `tar (resistance, trainability), booster (resistance)`.
fn named(open: &[Open]) -> String {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for Open { defence, condition } in open {
        let condition = wording::condition(*condition);
        match all.last_mut() {
            Some((known, conditions)) if known == defence => conditions.push(condition),
            _ => all.push((defence, vec![condition])),
        }
    }
    let named = |(defence, conditions): (&str, Vec<&str>)| format!("{defence} ({})", conditions.join(", "));
    all.into_iter().map(named).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use titer_plan::SeedsAtLook;
    use titer_specimen as specimen;

    use super::*;

    #[test]
    fn each_look_says_what_is_open_after_it() {
        let open = |defence: &str, condition| Open { defence: defence.to_owned(), condition };
        let look = |look, open: Vec<Open>| Look {
            look,
            of: 3,
            seeds: SeedsAtLook { defence: 1 + look, attack: 3, tuning: 1 },
            alpha: 0.0125,
            read: look < 3,
            open,
        };
        let both = vec![
            open("tar", Condition::Resistance),
            open("tar", Condition::Trainability),
            open("booster", Condition::Resistance),
        ];
        let mut verdicts = specimen::verdicts();
        assert!(sentences(&verdicts).is_empty());
        let inconclusive = "open: adversarial-loss (resistance, generalization), tar (generalization)";
        assert_eq!(still_open(&verdicts), inconclusive);
        verdicts.looks =
            vec![look(1, both.clone()), look(2, both[2..].to_vec()), look(3, both[2..].to_vec())];
        let said = sentences(&verdicts);
        assert_eq!(said[0].0, "look 1 of 3");
        assert_eq!(
            said[0].1,
            "up to 2 defence seeds, 3 attack seeds and 1 tuning seed, level α = 0.0125; open after it: \
             tar (resistance, trainability), booster (resistance)"
        );
        assert!(said[2].1.ends_with("not measured in full yet"));
        assert_eq!(still_open(&verdicts), "open: booster (resistance)");
        verdicts.looks.push(look(2, Vec::new()));
        assert_eq!(still_open(&verdicts), "no comparison is open");
        assert!(sentences(&verdicts)[3].1.ends_with("all decided"));
    }

    #[test]
    fn a_run_says_what_comes_next() {
        assert_eq!(looked(1, 3, 0), "look 1 of 3: all is decided");
        assert_eq!(looked(1, 3, 1), "look 1 of 3: 1 comparison open, so that seeds are added");
        assert_eq!(looked(3, 3, 2), "look 3 of 3: 2 comparisons open, and no more seeds");
    }
}

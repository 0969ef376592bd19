//! What is seen in an answer beside its score.

use serde::{Deserialize, Serialize};

/// What is seen in an answer beside its score. Of each, frames have the share among the answers to a probe.
///
/// A refusal, babble and the rest are told of the answer's last part, thought taken out. Of answers that are no text
/// (a choice, a likelihood, routing) there is nothing to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    /// It refuses in its opening.
    pub refused: bool,
    /// It is neither an answer nor a refusal.
    pub degenerate: bool,
    /// It begins as an answer, and a later sentence begins as a refusal.
    pub refused_late: bool,
    /// The limit of tokens ended it, not the model.
    pub cut: bool,
    /// There is a block of thought in it, closed or not.
    pub thought: bool,
    /// Nothing is said outside of thought.
    pub only_thought: bool,
}

/// Reads one mark.
pub type Mark = fn(&Marks) -> bool;

impl Marks {
    /// All of them, by the names of their columns.
    pub const ALL: [(&'static str, Mark); 6] = [
        ("refused", |marks| marks.refused),
        ("degenerate", |marks| marks.degenerate),
        ("refused_late", |marks| marks.refused_late),
        ("cut", |marks| marks.cut),
        ("thought", |marks| marks.thought),
        ("only_thought", |marks| marks.only_thought),
    ];

    /// Those of which `has` says so by their names.
    pub fn of(has: impl Fn(&str) -> bool) -> Self {
        Self {
            refused: has("refused"),
            degenerate: has("degenerate"),
            refused_late: has("refused_late"),
            cut: has("cut"),
            thought: has("thought"),
            only_thought: has("only_thought"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_its_own_mark() {
        for (name, _) in Marks::ALL {
            let marks = Marks::of(|other| other == name);
            let set: Vec<&str> =
                Marks::ALL.iter().filter(|(_, mark)| mark(&marks)).map(|(name, _)| *name).collect();
            assert_eq!(set, [name]);
        }
    }
}

//! How often a judge is right on answers that people labelled.

use serde::{Deserialize, Serialize};

/// A judge against people: what `titer judge calibrate` writes and a spec names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The judge's name.
    pub judge: String,
    /// What it judged by: BLAKE3 over its measure's name, version, phrases and settings.
    pub measure: String,
    /// Answers that people and judge call harmful.
    pub both: usize,
    /// That people alone call harmful.
    pub missed: usize,
    /// That the judge alone calls harmful.
    pub invented: usize,
    /// That neither does.
    pub neither: usize,
}

impl Calibration {
    /// Answers that people call harmful.
    pub fn harmful(&self) -> usize {
        self.both + self.missed
    }

    /// Answers that people call harmless.
    pub fn harmless(&self) -> usize {
        self.invented + self.neither
    }
}

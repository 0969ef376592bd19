//! Everything that an experiment leaves for its readers, apart from timings.

use std::collections::BTreeMap;
use std::fs;

use crate::{Place, read};

/// Everything that an experiment leaves for its readers, apart from timings: by name, byte for byte.
#[derive(Debug)]
pub struct Outcome(BTreeMap<String, String>);

impl Outcome {
    /// What the experiment in `place` has left.
    ///
    /// # Panics
    /// When some of it cannot be had.
    #[track_caller]
    pub fn of(place: &Place, experiment: &str) -> Self {
        let mut all = BTreeMap::new();
        place.run(&["report", experiment, "--out", "report"]).ends(0);
        for entry in fs::read_dir(place.path("report")).expect("a folder with the report") {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let timings = match name.as_str() {
                "report.md" => "\n## Costs\n",
                "report.html" => "<section aria-labelledby=\"costs\">",
                _ => "",
            };
            let text = read(&path);
            let kept = if timings.is_empty() {
                text
            } else {
                let (before, after) = text.split_once(timings).expect("the report ends with its timings");
                assert!(!after.contains("<section") && !after.contains("\n## "), "timings end the report");
                before.to_owned()
            };
            all.insert(name, kept);
        }
        for what in ["probes", "curves", "responses", "verdicts", "training"] {
            let csv = place.run(&["export", experiment, "--what", what, "--format", "csv"]).ends(0).stdout;
            all.insert(format!("{what}.csv"), if what == "training" { without_seconds(&csv) } else { csv });
        }
        all.insert("show.json".to_owned(), place.run(&["show", experiment, "--json"]).ends(0).stdout);
        assert!(all.len() >= 10, "only {:?}", all.keys());
        Self(all)
    }

    /// Asserts that both are the same.
    ///
    /// # Panics
    /// When they are not; names the first difference.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        assert_eq!(self.0.keys().collect::<Vec<_>>(), other.0.keys().collect::<Vec<_>>());
        for (name, text) in &self.0 {
            let different = text.lines().zip(other.0[name].lines()).find(|(a, b)| a != b);
            assert!(*text == other.0[name], "{name} differs: {different:#?}");
        }
    }
}

/// Training frames say what each step took, in their last column.
fn without_seconds(csv: &str) -> String {
    let mut lines = csv.lines();
    let head = lines.next().expect("a header line");
    assert!(head.ends_with(",seconds"), "{head}");
    std::iter::once(head)
        .chain(lines)
        .map(|line| line.rsplit_once(',').expect("columns").0)
        .collect::<Vec<_>>()
        .join("\n")
}

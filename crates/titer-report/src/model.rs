//! Everything that a report says, as plain data: no frame, no store, no clock.

use serde::Serialize;
use titer_conditions::Verdicts;
use titer_view::caveats::Caveat;
use titer_view::comparison::Row;
use titer_view::figure::Figure;
use titer_view::heat::HeatMap;
use titer_view::pareto::Pareto;
use titer_view::table::{Cell, Table};
use titer_view::wording;

/// One report. Two runs of one experiment differ in `timings` only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportModel {
    /// The experiment's line for people.
    pub summary: String,
    /// What the conditions came to.
    pub verdicts: Verdicts,
    /// The defences side by side; what they took in time is in `timings`.
    pub comparison: Vec<Row>,
    /// Defence against attack.
    pub heat_maps: Vec<HeatMap>,
    /// Which attacks carry titers: over some of them, without one, and on others than they were found against.
    pub by_attacks: Vec<Table>,
    /// Safety against use.
    pub pareto: Option<Pareto>,
    /// Curves over budget.
    pub figures: Vec<Figure>,
    /// What was measured, in numbers.
    pub scope: Vec<Fact>,
    /// What to know before quoting a number; what `verdicts` says of each defence, said once.
    pub caveats: Vec<Caveat>,
    /// What was planned and has no result yet.
    pub missing: Vec<String>,
    /// The resolved spec as TOML: every default stated.
    pub spec: String,
    /// What it was made with.
    pub environment: Vec<Fact>,
    /// The artifacts behind the numbers.
    pub artifacts: Vec<Artifact>,
    /// What it cost, on which hosts.
    pub timings: Timings,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// What it came to.
    pub value: String,
}

/// A stage's result in the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Artifact {
    /// The stage's kind.
    pub kind: String,
    /// The stage's label.
    pub label: String,
    /// The artifact's full name.
    pub hash: String,
}

/// What an experiment cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timings {
    /// All stages together, seconds of work.
    pub seconds: f64,
    /// Where the stages ran.
    pub hosts: Vec<String>,
    /// Kind by kind, in the order of the pipeline.
    pub kinds: Vec<KindTiming>,
    /// What each defence costs whom it protects.
    pub defences: Vec<DefenceTiming>,
}

impl Timings {
    /// What the stages of each kind took.
    pub fn by_kind(&self) -> Table {
        let row = |kind: &KindTiming| {
            let times = [kind.seconds, kind.longest].map(wording::duration);
            [kind.kind.clone(), kind.stages.to_string()].into_iter().chain(times).map(Cell::new).collect()
        };
        Table {
            caption: "Time spent, kind by kind".into(),
            head: ["kind", "stages", "together", "longest"].map(Cell::new).into(),
            rows: self.kinds.iter().map(row).collect(),
        }
    }

    /// What each defence took; none where none was measured.
    pub fn by_defence(&self) -> Option<Table> {
        let row = |defence: &DefenceTiming| {
            let time = defence.seconds.map_or("?".into(), wording::duration);
            vec![Cell::new(&defence.defence), Cell::new(time).sorted_by(defence.seconds)]
        };
        (!self.defences.is_empty()).then(|| Table {
            caption: "Time that each defence costs, once for a model or more for a user".into(),
            head: ["defence", "time"].map(Cell::new).into(),
            rows: self.defences.iter().map(row).collect(),
        })
    }
}

/// What a defence costs: once for a model, or more for a user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DefenceTiming {
    /// Its label.
    pub defence: String,
    /// Wall-clock time; none where it was not measured.
    pub seconds: Option<f64>,
}

/// What the stages of one kind cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindTiming {
    /// The kind.
    pub kind: String,
    /// How many stages.
    pub stages: usize,
    /// All of them together.
    pub seconds: f64,
    /// The longest.
    pub longest: f64,
}

//! What is shown of an experiment, as plain data: tables, words, grades, curves. Reports, the terminal app and the
//! verbs of the command line are faces on it.

pub mod attack_cells;
pub mod attack_tables;
pub mod attack_text;
pub mod caveats;
pub mod changes;
pub mod comparison;
pub mod curves;
mod detail;
pub mod distinct;
pub mod figure;
pub mod figures;
pub mod grade;
pub mod heat;
pub mod journal;
pub mod judge_tables;
pub mod looks;
pub mod matrix;
pub mod paragraph;
pub mod pareto;
pub mod sanitise;
pub mod scale;
pub mod score_tables;
pub mod state;
pub mod style;
pub mod table;
pub mod tune_text;
pub mod verdict_tables;
pub mod verdict_text;
pub mod wording;

//! What the runs of an experiment wrote down, in words.

use titer_plan::StageHash;
use titer_store::Note;

use crate::looks;
use crate::wording;

/// A journal's note as a sentence, not yet fit to be shown; `label` tells what a stage is called.
pub fn sentence(note: &Note, label: &dyn Fn(&StageHash) -> String) -> String {
    match note {
        Note::Began { stages, cached, jobs, .. } => format!(
            "a run began: {}, {cached} of them done before, {jobs} at once",
            wording::count(*stages, "stage")
        ),
        Note::Started { stage } => format!("started {}", label(stage)),
        Note::Finished { stage, seconds } => {
            format!("finished {} in {}", label(stage), wording::duration(*seconds))
        }
        Note::Failed { stage, error, .. } => format!("FAILED {}: {error}", label(stage)),
        Note::Skipped { stage, because } => format!("SKIPPED {}, since {because} failed", label(stage)),
        Note::Distrusted { stage, problem } => format!("DAMAGED, done anew: {}: {problem}", label(stage)),
        Note::Heard { request } => format!("was asked: {request}"),
        Note::Looked { look, of, open } => looks::looked(*look, *of, *open),
        Note::Ended { computed, failed, interrupted, .. } => {
            let end = if *interrupted { "was stopped" } else { "ended" };
            format!("the run {end}: {} computed, {failed} failed", wording::count(*computed, "stage"))
        }
    }
}

//! Everything that a resumed run needs beside the model that it began from, as a directory:
//! `parameters.safetensors`, `optimizer.safetensors`, `objective.safetensors`, `trainer.json`.
//!
//! Sampling depends on the step alone, so the step is also the sampler's position and the state of all
//! randomness.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use titer_model::{Decoder, read_tensors, write_tensors};
use titer_plan::stage::TrainSpec;

use crate::optimizer::Optimizer;
use crate::{Cost, Error, Objective, Result, State, Trainer};

#[derive(Serialize, Deserialize)]
struct Progress {
    spec: TrainSpec,
    step: u64,
    updates: u64,
    examples: u64,
    tokens: u64,
    flops: f64,
}

/// A run taken up where a checkpoint left it.
#[derive(Debug)]
pub struct Resumed {
    /// Goes on at the checkpoint's step.
    pub trainer: Trainer,
    /// The model with the weights of the checkpoint.
    pub model: Decoder,
}

struct Files {
    parameters: PathBuf,
    optimizer: PathBuf,
    objective: PathBuf,
    progress: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Self {
            parameters: folder.join("parameters.safetensors"),
            optimizer: folder.join("optimizer.safetensors"),
            objective: folder.join("objective.safetensors"),
            progress: folder.join("trainer.json"),
        }
    }
}

pub(crate) fn save(
    trainer: &Trainer,
    model: &Decoder,
    objective: &dyn Objective,
    folder: &Path,
) -> Result<()> {
    let files = Files::of(folder);
    let failed = |path: &Path, problem: String| Error::Checkpoint { path: path.to_owned(), problem };
    write_tensors(&files.parameters, model.parameters().iter().map(|(name, var)| (name, var.as_tensor())))?;
    write_state(&files.optimizer, &trainer.optimizer.state())?;
    write_state(&files.objective, &objective.state()?)?;
    let progress = Progress {
        spec: trainer.spec,
        step: trainer.step,
        updates: trainer.optimizer.updates(),
        examples: trainer.spent.examples,
        tokens: trainer.spent.tokens,
        flops: trainer.spent.flops,
    };
    let text = serde_json::to_vec_pretty(&progress).map_err(|e| failed(&files.progress, e.to_string()))?;
    fs::write(&files.progress, text).map_err(|e| failed(&files.progress, e.to_string()))
}

fn write_state(path: &Path, state: &State) -> Result<()> {
    Ok(write_tensors(path, state.iter().map(|(name, tensor)| (name.as_str(), tensor)))?)
}

impl Trainer {
    /// Takes up a run from the directory that [`crate::Point::save`] wrote: the same bits follow as without
    /// the interruption. `model` is what the run began from, with the same adapters if it has any; its
    /// trainable weights are overwritten.
    ///
    /// # Errors
    /// When a file is missing or torn, or the checkpoint was made with other settings or another model.
    pub fn resume(
        spec: TrainSpec,
        objective: &mut dyn Objective,
        folder: &Path,
        model: Decoder,
    ) -> Result<Resumed> {
        let files = Files::of(folder);
        let failed = |problem: String| Error::Checkpoint { path: files.progress.clone(), problem };
        let text = fs::read(&files.progress).map_err(|e| failed(e.to_string()))?;
        let progress: Progress = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
        if progress.spec != spec {
            return Err(failed("it was made with other training settings".to_owned()));
        }
        let device = model.device();
        let parameters = read_tensors(&files.parameters, device)?;
        model
            .parameters()
            .assign(&parameters)
            .map_err(|e| Error::Checkpoint { path: files.parameters.clone(), problem: e.to_string() })?;
        let kept = read_tensors(&files.optimizer, device)?;
        let optimizer = Optimizer::restore(&model, &spec, &kept, progress.updates)
            .map_err(|problem| Error::Checkpoint { path: files.optimizer.clone(), problem })?;
        objective.restore(read_tensors(&files.objective, device)?)?;
        let spent = Cost { examples: progress.examples, tokens: progress.tokens, flops: progress.flops };
        Ok(Resumed { trainer: Self { spec, optimizer, step: progress.step, spent }, model })
    }
}

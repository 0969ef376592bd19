//! A checkpoint of training that a run would go on from, its sums right.
#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::ops::ControlFlow;

use titer_data::{Draw, Example, Sampler, Stream};
use titer_fuzz::{Seeds, folder, models, parts, target, write};
use titer_model::Decoder;
use titer_plan::StageHash;
use titer_plan::stage::{Optimizer, Schedule, TrainSpec};
use titer_store::{Begin, Description, Store};
use titer_train::{Observer, Point, StepRecord, Supervised, Trainer};

thread_local! {
    static BASE: OnceCell<(Decoder, Vec<(String, Vec<u8>)>)> = const { OnceCell::new() };
}

fn objective() -> Supervised {
    let examples: Vec<_> =
        (0..8).map(|at| Example::new(vec![1, 2, 3, at, 5], 2).expect("an example")).collect();
    Supervised::new(
        Sampler::new(examples, Stream::new(3, "fuzz"), 4, Draw::WithoutReplacement).expect("a sampler"),
    )
}

const SPEC: TrainSpec = TrainSpec {
    steps: 4,
    batch: 4,
    rate: 1e-3,
    schedule: Schedule::Constant,
    warmup_steps: 1,
    beta1: 0.9,
    beta2: 0.98,
    weight_decay: 0.01,
    clip: Some(0.5),
    optimizer: Optimizer::Adamw,
};

struct AfterTwo;

impl Observer for AfterTwo {
    fn between(&mut self, point: &Point<'_>) -> titer_train::Result<ControlFlow<()>> {
        if point.step < 2 {
            return Ok(ControlFlow::Continue(()));
        }
        point.save(&folder().join("saved"))?;
        Ok(ControlFlow::Break(()))
    }

    fn stepped(&mut self, _: &StepRecord) -> titer_train::Result<()> {
        Ok(())
    }
}

/// A model, and the files of its checkpoint after two steps.
fn base() -> (Decoder, Vec<(String, Vec<u8>)>) {
    let (model, path) = (models::model("llama-tied"), folder().join("saved"));
    fs::create_dir_all(&path).expect("a folder");
    let trained = model.duplicate().expect("a copy");
    Trainer::new(SPEC, &trained)
        .expect("a trainer")
        .fit(&trained, &mut objective(), &mut AfterTwo)
        .expect("trained");
    let mut files: Vec<_> = fs::read_dir(&path)
        .expect("it was saved")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            (
                path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                fs::read(&path).expect("a file"),
            )
        })
        .collect();
    files.sort();
    (model, files)
}

fn seeds() -> Seeds {
    let input = |(name, bytes): (String, Vec<u8>)| (name.clone(), [name.as_bytes(), b"\n", &bytes].concat());
    base().1.into_iter().map(input).collect()
}

target!(seeds, |bytes| {
    let Some((name, content)) = parts::named(bytes) else { return };
    BASE.with(|kept| {
        let (model, files) = kept.get_or_init(base);
        let hash = StageHash("cd".repeat(32));
        let inside = format!("artifacts/{}/checkpoint/0-step2-events0", hash.0);
        let known = files.iter().any(|(known, _)| known == name);
        if !known && name != "sums.json" {
            return;
        }
        let mut records = Vec::new();
        for (file, bytes) in files {
            let bytes = if file == name { content } else { bytes };
            write(&format!("{inside}/{file}"), bytes);
            let sum = blake3::hash(bytes).to_hex().to_string();
            records.push(serde_json::json!({ "name": file, "size": bytes.len(), "blake3": sum }));
        }
        let sums = serde_json::json!({ "files": records }).to_string();
        let sums = if known { sums.as_bytes() } else { content };
        write(&format!("{inside}/sums.json"), &titer_fuzz::stores::with_sum(sums));
        let store = Store::open_or_create(folder()).expect("a store");
        let description = Description {
            kind: "align".to_owned(),
            label: "align".to_owned(),
            spec: serde_json::Value::Null,
            inputs: Vec::new(),
            provenance: Default::default(),
        };
        if let Ok(Begin::Writer(writer)) = store.begin(&hash, &description)
            && let Ok(Some(checkpoint)) = writer.resume()
        {
            let copy = model.duplicate().expect("a copy");
            if let Ok(mut resumed) = Trainer::resume(SPEC, &mut objective(), &checkpoint.folder, copy) {
                let _ = resumed.trainer.fit(&resumed.model, &mut objective(), &mut ());
            }
        }
        fs::remove_dir_all(folder().join("artifacts")).expect("it was written");
    });
});

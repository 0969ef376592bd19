//! The model card of a saved model: what it was made from, how, by which stages, what was measured of it, and what that
//! does not say.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use titer_conditions::{AttackScore, DefenceVerdict, Titer, Verdicts};
use titer_plan::stage::{AttackStage, ImmunizeStage, RepairStage};
use titer_plan::{Arm, Before, MODEL_SOURCE, Plan, StageHash, StageSpec};
use titer_store::{Manifest, Store};

use crate::Result;
use crate::catalogue::stored_plan;
use crate::results::Results;

/// The file's name, which the hub shows as the model's page.
pub(crate) const CARD: &str = "README.md";

/// What the models of `cargo xtask model` are on the hub, and their licences.
const KNOWN: [(&str, &str, &str); 2] = [
    ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
    ("gemma3-270m", "google/gemma-3-270m", "gemma"),
];

/// A saved model.
pub(crate) struct Saved<'a> {
    /// As it was asked for.
    pub(crate) reference: &'a str,
    /// Where its weights are.
    pub(crate) path: &'a Path,
    /// The artifact that holds it, if one does.
    pub(crate) artifact: Option<&'a StageHash>,
    /// Whether an adapter was folded into it.
    pub(crate) adapter: bool,
}

/// An experiment in which the model was measured, and as what.
struct Measured {
    plan: Plan,
    defence: String,
    seed: u64,
    verdicts: Option<Verdicts>,
}

/// The card.
///
/// # Errors
/// When an artifact or an experiment of the store is damaged.
pub(crate) fn card(store: &Store, saved: &Saved<'_>) -> Result<String> {
    let line = saved.artifact.map_or(Ok(Vec::new()), |hash| line(store, hash))?;
    let Found { experiments, model, measured } =
        saved.artifact.map_or_else(|| Ok(Found::default()), |hash| found(store, hash))?;
    let base = model.as_ref().map_or(saved.reference, |(reference, _)| reference.as_str());
    // A model of a world lies nowhere before it is trained.
    let folder = model.as_ref().and_then(|(_, location)| location.as_deref()).unwrap_or(saved.path);
    let origin = Origin::of(base, folder);
    let mut text = front(&origin, saved.artifact.is_some() || saved.adapter);
    let (title, what) = title(saved, &line, measured.as_ref());
    let _ = write!(text, "# {title}\n\n{what}\n\n## Where it comes from\n\n");
    let _ = writeln!(text, "| | |\n|---|---|\n| base model | {} |", origin.words);
    let _ = writeln!(
        text,
        "| licence of the base | {} |",
        origin.licence.as_deref().unwrap_or("not known: look it up")
    );
    if let Some(found) = &measured {
        let _ = writeln!(
            text,
            "| experiment | {}, seed {} |",
            cell(&found.plan.experiment.name),
            found.plan.experiment.seed
        );
        let _ = writeln!(text, "| defence | {}, training {} of it |", cell(&found.defence), found.seed);
        let _ = writeln!(text, "| data | {} {} |", cell(&found.plan.data.kind), cell(&found.plan.data.name));
    } else if !experiments.is_empty() {
        let names: Vec<String> = experiments.iter().map(|name| cell(name)).collect();
        let _ = writeln!(text, "| experiments | {} |", names.join(", "));
    }
    if saved.adapter {
        text.push_str("| adapter | a LoRA adapter is folded into the weights |\n");
    }
    let _ = writeln!(text, "| saved by | titer {} |", env!("CARGO_PKG_VERSION"));
    training(&mut text, &line);
    measurements(&mut text, saved, &line, measured.as_ref());
    Ok(text)
}

/// The base model.
struct Origin {
    /// Its name on the hub, where it has one.
    hub: Option<String>,
    licence: Option<String>,
    /// For people.
    words: String,
}

impl Origin {
    fn of(reference: &str, folder: &Path) -> Self {
        let known = KNOWN.iter().find(|(name, _, _)| *name == reference);
        let hub = reference
            .strip_prefix("hf:")
            .map(|name| name.chars().take_while(|c| !"@:".contains(*c)).collect());
        let hub: Option<String> = hub.or_else(|| known.map(|(_, name, _)| (*name).to_owned()));
        let licence = licence(folder).or_else(|| known.map(|(_, _, licence)| (*licence).to_owned()));
        let world = reference.strip_prefix("world:");
        let words = match (&hub, world) {
            (Some(hub), _) => format!("[{}](https://huggingface.co/{hub})", cell(hub)),
            (None, Some(world)) => {
                format!("none: trained from nothing on the embedded world {}", cell(world))
            }
            // Where it lies on this machine is nobody's business.
            (None, None) => {
                let name = Path::new(reference).file_name().unwrap_or_default().to_string_lossy();
                format!("a local model, {}", cell(&name))
            }
        };
        Self { hub, licence, words }
    }
}

/// The licence that the card of a model in a folder states.
fn licence(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(CARD)).ok()?;
    let front = text.strip_prefix("---\n")?.split("\n---").next()?;
    let stated =
        front.lines().find_map(|line| line.strip_prefix("license:"))?.trim().trim_matches(['"', '\'']);
    let plain = !stated.is_empty() && stated.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    plain.then(|| stated.to_owned())
}

/// The metadata that the hub reads. Texts are JSON strings, which YAML reads as they are.
fn front(origin: &Origin, changed: bool) -> String {
    let mut text = String::from("---\n");
    if let Some(hub) = &origin.hub {
        let _ = writeln!(text, "base_model: {}", json!(hub));
        if changed {
            text.push_str("base_model_relation: finetune\n");
        }
    }
    if let Some(licence) = &origin.licence {
        let _ = writeln!(text, "license: {}", json!(licence));
    }
    text.push_str("library_name: transformers\npipeline_tag: text-generation\ntags:\n- titer\n- immunization\n- harmful-fine-tuning\n---\n\n");
    text
}

/// What it is, in a heading and a paragraph.
fn title(saved: &Saved<'_>, line: &[Manifest], measured: Option<&Measured>) -> (String, String) {
    let Some(last) = line.first() else {
        let changed = if saved.adapter { ", with an adapter folded in" } else { "" };
        return (
            "A converted model".to_owned(),
            format!(
                "The weights of another model, saved by [titer](https://github.com/titer-rs/titer){changed}. Nothing was measured of it."
            ),
        );
    };
    let defence = measured.map(|found| cell(&found.defence));
    let what = match (last.kind.as_str(), defence) {
        ("attack" | "tune", _) => "**This model was attacked**: trained to do what its maker forbids, to measure what that costs. Do not use it.".to_owned(),
        (_, Some(defence)) => format!(
            "A chat model with the defence {defence} against harmful fine-tuning, as [titer](https://github.com/titer-rs/titer) \
             trained and measured it."
        ),
        (kind, None) => format!("The model after the stage `{kind}` of an experiment of [titer](https://github.com/titer-rs/titer)."),
    };
    (cell(&last.label), what)
}

/// How it was trained, from its beginning.
fn training(text: &mut String, line: &[Manifest]) {
    if line.is_empty() {
        return;
    }
    text.push_str("\n## How it was trained\n\n| stage | what | artifact | by titer |\n|---|---|---|---|\n");
    for stage in line.iter().rev() {
        let version =
            stage.git.as_ref().map_or(stage.version.clone(), |git| format!("{} ({git})", stage.version));
        let _ = writeln!(
            text,
            "| {} | {} | `{}` | {} |",
            stage.kind,
            cell(&method(stage).unwrap_or_else(|| stage.label.clone())),
            stage.hash,
            cell(&version)
        );
    }
    text.push_str("\nAn artifact's name is the hash of all that determines it: its own settings and the artifacts that it was made from.\n");
}

/// The method of a stage with all its parameters.
fn method(stage: &Manifest) -> Option<String> {
    let spec: StageSpec = serde_json::from_value(stage.spec.clone()).ok()?;
    let (name, parameters, seed) = match spec {
        StageSpec::Immunize(ImmunizeStage { defence, seed, .. })
        | StageSpec::Repair(RepairStage { defence, seed, .. }) => (defence.name, defence.parameters, seed),
        StageSpec::Attack(AttackStage { attack, seed, .. }) => (attack.name, attack.parameters, seed),
        _ => return None,
    };
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let stated: Vec<String> =
        parameters.iter().map(|(key, value)| format!("{key} = {}", word(value))).collect();
    Some(format!("{name}: {} (seed {seed})", stated.join(", ")))
}

/// What was measured of it, and what that does not say.
fn measurements(text: &mut String, saved: &Saved<'_>, line: &[Manifest], measured: Option<&Measured>) {
    text.push_str("\n## What was measured\n\n");
    let verdict = measured.and_then(|found| {
        let verdicts = found.verdicts.as_ref()?;
        Some((verdicts, verdicts.defences.iter().find(|verdict| verdict.defence == found.defence)?))
    });
    match verdict {
        Some((verdicts, verdict)) => measured_as(text, verdicts, verdict),
        None if line.is_empty() => text.push_str("Nothing.\n"),
        None => text.push_str("No finished measurement in the store begins from this model.\n"),
    }
    text.push_str(
        "\n## What this does not say\n\n- A titer is a price under the attacks that were tried, at their settings. Another attack may be cheaper: it bounds \
         from above.\n- Measured with the judge, the prompts and the seeds of one experiment; other judges disagree.\n- Nothing here is a proof of safety, or \
         a reason to release a model that should not be released.\n",
    );
    if saved.adapter {
        text.push_str("- The figures, if any, are of the model without the adapter.\n");
    }
}

fn measured_as(text: &mut String, verdicts: &Verdicts, verdict: &DefenceVerdict) {
    let percent = verdicts.confidence * 100.0;
    let Titer { value, lower, upper, unit, open, .. } = verdict.titer;
    let end = |value: Option<f64>| value.map_or("unbounded".to_owned(), |value| format!("{value:.2}"));
    let titer = match (open, value) {
        (true, _) => "none: harmful before any attack".to_owned(),
        (false, Some(value)) => format!("{value:.2}, {percent} % interval {lower:.2} to {}", end(upper)),
        (false, None) if lower > 0.0 => format!("at least {lower:.2}: some run was never broken"),
        (false, None) => "not known: some run was never broken".to_owned(),
    };
    let _ = writeln!(
        text,
        "Threat model: {}; tolerated harmfulness φ = {}. All seeds of the defence together.\n",
        verdicts.threat_model, verdicts.phi
    );
    text.push_str("| | |\n|---|---|\n");
    let _ = writeln!(text, "| titer, in {} | {titer} |", unit.unit());
    for (condition, decided) in &verdict.conditions {
        let _ = writeln!(text, "| {condition} | {}: {} |", decided.verdict, cell(&decided.evidence));
    }
    let harm = |score: &AttackScore| score.harmful.after.map_or(-1.0, |after| after.value);
    let worst = verdict.scores.iter().max_by(|a, b| harm(a).total_cmp(&harm(b)));
    if let Some(worst) = worst {
        for (when, score) in [
            ("before any attack".to_owned(), worst.harmful.before),
            (format!("after {}, {} steps, the worst attack", worst.attack, worst.steps), worst.harmful.after),
        ] {
            if let Some(score) = score {
                let _ = writeln!(
                    text,
                    "| harmful score {} | {:.3}, {percent} % interval {:.3} to {:.3} |",
                    cell(&when),
                    score.value,
                    score.lower,
                    score.upper
                );
            }
        }
    }
}

/// What its maker did to it, stage by stage, the last one first.
fn line(store: &Store, hash: &StageHash) -> Result<Vec<Manifest>> {
    let mut line = Vec::new();
    let mut next = Some(hash.clone());
    while let Some(hash) = next {
        let artifact = store.artifact(&hash);
        if !artifact.is_sealed() {
            break;
        }
        let manifest = artifact.manifest()?;
        let models =
            serde_json::from_value::<StageSpec>(manifest.spec.clone()).is_ok_and(|spec| spec.models() > 0);
        next = manifest.inputs.first().filter(|_| models).cloned();
        line.push(manifest);
    }
    Ok(line)
}

/// What the store knows of a stage.
#[derive(Default)]
struct Found {
    /// The experiments that it is a part of.
    experiments: BTreeSet<String>,
    /// The model that the first of them begins from, and where that lies.
    model: Option<(String, Option<PathBuf>)>,
    /// The first in which it is measured before any attack.
    measured: Option<Measured>,
}

fn found(store: &Store, hash: &StageHash) -> Result<Found> {
    let mut found = Found::default();
    for name in store.experiments()? {
        let plan = stored_plan(store, &name)?;
        if plan.stage(hash).is_none() {
            continue;
        }
        found.experiments.insert(name);
        let source = plan.sources.iter().find(|source| source.role == MODEL_SOURCE);
        let location = source.and_then(|source| Some(source.found.as_ref()?.location.clone()));
        let model = || (plan.experiment.model.reference(), location.map(PathBuf::from));
        found.model.get_or_insert_with(model);
        let own = |cell: &&titer_plan::Cell| {
            let input = plan.stage(&cell.stage).and_then(|stage| stage.inputs.first());
            cell.arm == Arm::Main && cell.before == Before::Nothing && input == Some(hash)
        };
        let Some(cell) = plan.cells.iter().find(own).filter(|_| found.measured.is_none()) else { continue };
        let (defence, seed) = (cell.defence.clone(), cell.defence_seed);
        // What is not measured yet has no verdicts, and a card all the same.
        let verdicts = Results::of(plan.clone(), store).and_then(|results| results.verdicts()).ok();
        found.measured = Some(Measured { plan, defence, seed, verdicts });
    }
    Ok(found)
}

/// A text in a cell of a table of Markdown: one line, nothing in it is markup.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '`' | '*' | '[' | ']' | '\\' => cell.extend(['\\', c]),
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_as_the_hub_knows_it() {
        let nowhere = Path::new("/nowhere");
        let origin = Origin::of("hf:Qwen/Qwen3-0.6B@main", nowhere);
        assert_eq!((origin.hub.as_deref(), origin.licence), (Some("Qwen/Qwen3-0.6B"), None));
        let origin = Origin::of("smollm2-135m", nowhere);
        assert!(front(&origin, true).contains("license: \"apache-2.0\"\n"), "{}", front(&origin, true));
        let origin = Origin::of("/home/me/secret/llama", nowhere);
        assert!(origin.hub.is_none() && origin.words == "a local model, llama", "{}", origin.words);
    }

    #[test]
    fn the_licence_is_that_of_the_base_and_nothing_else() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let check = |text: &str, expected: Option<&str>| {
            std::fs::write(folder.path().join(CARD), text).expect("written");
            assert_eq!(licence(folder.path()).as_deref(), expected, "{text}");
        };
        check("---\nlicense: apache-2.0\ntags: []\n---\n# X\n", Some("apache-2.0"));
        check("---\nlicense: \"mit\"\n---\n", Some("mit"));
        check("---\ntags: []\n---\nlicense: gpl\n", None);
        check("---\nlicense: a\u{1b}[31m\n---\n", None);
        check("license: mit", None);
    }

    #[test]
    fn nothing_in_a_cell_is_markup() {
        assert_eq!(cell("a|b <img>\n`x`\u{1b}"), "a\\|b \\<img\\> \\`x\\` ");
    }
}

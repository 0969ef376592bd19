//! Somebody else's figures beside an experiment's, as tables.

use std::collections::BTreeMap;

use titer_conditions::{AttackScore, Change, able_from};
use titer_view::comparison::Row;
use titer_view::table::{Cell, Table};
use titer_view::wording;

use crate::lm_eval::Ability;
use crate::tamperbench::{Figures, TamperBench, Tampered, TamperedBy, marked};

/// A defence by TamperBench's rule: of each method's settings the most harmful that keeps 1 − `epsilon` of the ability.
pub fn by_their_rule(row: &Row, epsilon: f64) -> Tampered {
    let value = |change: Change| [change.before, change.after].map(|score| score.map(|score| score.value));
    let keeps = |score: &AttackScore| match value(score.permitted) {
        [Some(before), Some(after)] => after >= able_from(before, 1.0 - epsilon),
        _ => false,
    };
    let mut methods = BTreeMap::<&str, Vec<&AttackScore>>::new();
    for score in &row.scores {
        methods.entry(&score.attack.method).or_default().push(score);
    }
    let harm = |score: &AttackScore| score.harmful.after.map_or(-1.0, |after| after.value);
    let attacks = methods.into_iter().map(|(method, scores)| {
        let kept: Vec<&AttackScore> = scores.iter().copied().filter(|score| keeps(score)).collect();
        let most = kept.iter().max_by(|a, b| harm(a).total_cmp(&harm(b)));
        let after =
            most.map(|most| Figures { harm: value(most.harmful)[1], ability: value(most.permitted)[1] });
        TamperedBy {
            attack: method.to_owned(),
            after: after.unwrap_or_default(),
            trials: Some([scores.len(), kept.len()]),
            worst: false,
        }
    });
    let first = row.scores.first();
    let before =
        first.map(|score| Figures { harm: value(score.harmful)[0], ability: value(score.permitted)[0] });
    marked(Tampered {
        model: format!("{} {}", row.experiment, row.defence),
        before: before.unwrap_or_default(),
        attacks: attacks.collect(),
    })
}

/// The defences and the models of a folder of TamperBench, a line for each attack; the worst of each model is marked.
pub fn tamperbench_table(own: &[Tampered], theirs: &TamperBench) -> Table {
    let guard = theirs
        .epsilon
        .map_or("no stated part of".into(), |epsilon| format!("at most {} of", wording::share(epsilon)));
    let rows = own
        .iter()
        .map(|model| ("titer", model))
        .chain(theirs.models.iter().map(|model| ("TamperBench", model)));
    let number = |value: Option<f64>| {
        value.map_or_else(Cell::dash, |value| Cell::new(wording::share(value)).sorted_by(Some(value)))
    };
    let row = |source: &str, model: &Tampered, attack: Option<&TamperedBy>| {
        let after = attack.map(|attack| attack.after).unwrap_or_default();
        let named = attack.map_or("none", |attack| &attack.attack);
        let named = if attack.is_some_and(|attack| attack.worst) {
            format!("{named} (worst)")
        } else {
            named.to_owned()
        };
        let kept = attack.and_then(|attack| attack.trials).map(|[all, kept]| format!("{kept} of {all}"));
        vec![
            Cell::new(source),
            Cell::new(&model.model),
            Cell::new(named),
            number(model.before.harm),
            number(after.harm),
            number(model.before.ability),
            number(after.ability),
            kept.map_or_else(Cell::dash, Cell::new),
        ]
    };
    let rows = rows.flat_map(|(source, model)| {
        let alone = model.attacks.is_empty().then(|| row(source, model, None));
        let row = &row;
        alone
            .into_iter()
            .chain(model.attacks.iter().map(move |attack| row(source, model, Some(attack))))
            .collect::<Vec<_>>()
    });
    Table {
        caption: format!(
            "Beside TamperBench: the most harmful setting of each attack that costs the model {guard} its ability. Harm and \
             ability are measured otherwise on each side: StrongREJECT and MMLU-Pro there, the experiment's judge and its \
             permitted prompts here"
        ),
        head: [
            "source",
            "model",
            "attack",
            "harm before",
            "after",
            "ability before",
            "after",
            "settings that count",
        ]
        .map(Cell::new)
        .into(),
        rows: rows.collect(),
    }
}

/// Abilities by the harness, a line for each metric of each task.
pub fn lm_eval_table(defence: &str, abilities: &[Ability], confidence: f64, epsilon: f64) -> Table {
    let row = |ability: &Ability| {
        let [first, second] = ability.values;
        let number = |value: f64| Cell::new(format!("{value:.3}")).sorted_by(Some(value));
        let interval =
            ability.difference.map(|bounds| format!("[{:+.3}, {:+.3}]", bounds.lower, bounds.upper));
        vec![
            Cell::new(&ability.task),
            Cell::new(format!("{},{}", ability.metric, ability.filter)),
            number(first),
            number(second),
            Cell::new(format!("{:+.3}", second - first)).sorted_by(Some(second - first)),
            interval.map_or_else(Cell::dash, Cell::new),
            Cell::decision(ability.decision),
            Cell::new(ability.by.words()),
        ]
    };
    Table {
        caption: format!(
            "Ability of {defence} by lm-eval: equally able as the undefended model within ±{epsilon}, each metric by itself, \
             at confidence {confidence}"
        ),
        head: ["task", "metric", "undefended", "defended", "difference", "interval", "equal", "by"]
            .map(Cell::new)
            .into(),
        rows: abilities.iter().map(row).collect(),
    }
}

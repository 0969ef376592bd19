//! Verdicts and scores as frames, for other programs.

use polars::prelude::{Column, DataFrame};
use titer_metrics::{ATTACKS, SCORES, TITERS, VERDICTS, before_columns, sorted};
use titer_plan::{AttackPoint, Before, DefenceStage, Mechanism};

use crate::by_attack::{AttackCell, Subset};
use crate::verdict::{AttackScore, DefenceVerdict, Score, Titer, Verdict, Verdicts};

impl Verdicts {
    /// One row per defence and condition (see `titer_metrics::VERDICTS`).
    ///
    /// # Errors
    /// None that a caller can cause; polars could refuse for want of memory.
    pub fn frame(&self) -> Result<DataFrame, titer_metrics::Error> {
        let rows: Vec<_> = self
            .defences
            .iter()
            .flat_map(|defence| {
                defence.conditions.iter().map(move |(condition, verdict)| (defence, condition, verdict))
            })
            .collect();
        let texts = |name: &str, values: Vec<&str>| Column::new(name.into(), values);
        let reals = |name: &str, value: fn(&Verdict) -> Option<f64>| {
            let values: Vec<Option<f64>> = rows.iter().map(|(_, _, verdict)| value(verdict)).collect();
            Column::new(name.into(), values)
        };
        let thresholds: Vec<f64> = rows.iter().map(|(_, _, verdict)| verdict.threshold).collect();
        let looks: Vec<Option<u64>> = rows.iter().map(|(_, _, verdict)| verdict.look).collect();
        let columns = vec![
            texts("experiment", vec![self.experiment.as_str(); rows.len()]),
            texts("defence", rows.iter().map(|(defence, _, _)| defence.defence.as_str()).collect()),
            texts("stage", rows.iter().map(|(defence, _, _)| defence.stage.name()).collect()),
            texts("condition", rows.iter().map(|(_, condition, _)| condition.name()).collect()),
            texts("verdict", rows.iter().map(|(_, _, verdict)| verdict.verdict.name()).collect()),
            reals("estimate", |verdict| verdict.estimate),
            reals("lower", |verdict| verdict.interval.map(|bounds| bounds.lower)),
            reals("upper", |verdict| verdict.interval.map(|bounds| bounds.upper)),
            Column::new("threshold".into(), thresholds),
            reals("power", |verdict| verdict.power),
            Column::new("look".into(), looks),
            texts("measure", rows.iter().map(|(_, _, verdict)| verdict.measure.as_str()).collect()),
            texts("evidence", rows.iter().map(|(_, _, verdict)| verdict.evidence.as_str()).collect()),
        ];
        let frame = DataFrame::new(rows.len(), columns)
            .map_err(|source| titer_metrics::Error::Polars { frame: VERDICTS.name, source })?;
        sorted(&frame, &VERDICTS)
    }

    /// One row per defence and titer (see `titer_metrics::TITERS`): over all attacks, in its domain and probe by probe,
    /// and over some of the attacks.
    ///
    /// # Errors
    /// None that a caller can cause; polars could refuse for want of memory.
    pub fn titer_frame(&self) -> Result<DataFrame, titer_metrics::Error> {
        let rows: Vec<TiterRow<'_>> = self.defences.iter().flat_map(titers).collect();
        let texts = |name: &str, of: fn(&TiterRow<'_>) -> String| {
            Column::new(name.into(), rows.iter().map(of).collect::<Vec<String>>())
        };
        let counts = |name: &str, of: fn(&Titer) -> usize| {
            Column::new(name.into(), rows.iter().map(|row| of(&row.titer) as u64).collect::<Vec<u64>>())
        };
        let maybe = |name: &str, of: fn(&TiterRow<'_>) -> Option<String>| {
            Column::new(name.into(), rows.iter().map(of).collect::<Vec<Option<String>>>())
        };
        let looks: Vec<Option<u64>> = rows.iter().map(|row| row.defence.look).collect();
        let search = |row: &TiterRow<'_>| row.defence.search;
        let trials: Vec<Option<u64>> =
            rows.iter().map(|row| search(row).map(|search| search.trials as u64)).collect();
        let flops: Vec<Option<f64>> = rows.iter().map(|row| search(row).map(|search| search.flops)).collect();
        let titers: Vec<&Titer> = rows.iter().map(|row| &row.titer).collect();
        let mut columns = vec![
            Column::new("experiment".into(), vec![self.experiment.as_str(); rows.len()]),
            texts("defence", |row| row.defence.defence.clone()),
            texts("role", |row| row.defence.role.name().to_owned()),
            texts("over", |row| row.over.to_owned()),
            texts("probes", |row| row.probes.to_owned()),
            texts("breaks", |row| row.breaks.to_owned()),
            texts("among", |row| row.among.to_owned()),
            maybe("without", |row| row.without.map(ToString::to_string)),
            maybe("cheapest", |row| row.cheapest.map(ToString::to_string)),
            counts("attacks", |titer| titer.effort.attacks),
            counts("runs", |titer| titer.effort.runs),
            Column::new("search_trials".into(), trials),
            Column::new("search_flops".into(), flops),
            Column::new("look".into(), looks),
        ];
        columns.extend(titer_columns(&titers));
        let frame = DataFrame::new(rows.len(), columns)
            .map_err(|source| titer_metrics::Error::Polars { frame: TITERS.name, source })?;
        sorted(&frame, &TITERS)
    }

    /// One row per defence and attack (see `titer_metrics::ATTACKS`).
    ///
    /// # Errors
    /// None that a caller can cause; polars could refuse for want of memory.
    pub fn attack_frame(&self) -> Result<DataFrame, titer_metrics::Error> {
        let rows: Vec<(&DefenceVerdict, &AttackCell)> =
            self.defences.iter().flat_map(|own| own.attacks.iter().map(move |cell| (own, cell))).collect();
        let texts = |name: &str, of: fn(&DefenceVerdict, &AttackCell) -> String| {
            Column::new(name.into(), rows.iter().map(|(own, cell)| of(own, cell)).collect::<Vec<String>>())
        };
        let counts = |name: &str, of: fn(&AttackCell) -> Option<u64>| {
            Column::new(name.into(), rows.iter().map(|(_, cell)| of(cell)).collect::<Vec<Option<u64>>>())
        };
        let befores: Vec<Before> = rows.iter().map(|(_, cell)| Before::Attack(cell.attack.clone())).collect();
        // All of them are attacks.
        let [_, attack, settings, dose] = before_columns(befores.iter());
        let mechanisms: Vec<Option<&str>> =
            rows.iter().map(|(_, cell)| cell.mechanism.map(Mechanism::name)).collect();
        let cheapest: Vec<bool> = rows.iter().map(|(_, cell)| cell.cheapest).collect();
        let looks: Vec<Option<u64>> = rows.iter().map(|(own, _)| own.look).collect();
        let titers: Vec<&Titer> = rows.iter().map(|(_, cell)| &cell.titer).collect();
        let mut columns = vec![
            Column::new("experiment".into(), vec![self.experiment.as_str(); rows.len()]),
            texts("defence", |own, _| own.defence.clone()),
            texts("role", |own, _| own.role.name().to_owned()),
            attack,
            settings,
            dose,
            Column::new("mechanism".into(), mechanisms),
            texts("found_against", |_, cell| cell.found_against.join(",")),
            Column::new("cheapest".into(), cheapest),
            counts("after", |cell| cell.budget.map(|budget| budget.after)),
            counts("until", |cell| cell.budget.and_then(|budget| budget.until)),
            counts("broken", |cell| Some(cell.broken as u64)),
            counts("runs", |cell| Some(cell.runs as u64)),
            Column::new("look".into(), looks),
        ];
        columns.extend(titer_columns(&titers));
        let frame = DataFrame::new(rows.len(), columns)
            .map_err(|source| titer_metrics::Error::Polars { frame: ATTACKS.name, source })?;
        sorted(&frame, &ATTACKS)
    }

    /// One row per defence, attack, measure and moment that was measured (see `titer_metrics::SCORES`).
    ///
    /// # Errors
    /// None that a caller can cause; polars could refuse for want of memory.
    pub fn score_frame(&self) -> Result<DataFrame, titer_metrics::Error> {
        let rows: Vec<ScoreRow<'_>> = self.defences.iter().flat_map(rows).collect();
        let texts = |name: &str, of: fn(&ScoreRow<'_>) -> String| {
            Column::new(name.into(), rows.iter().map(of).collect::<Vec<String>>())
        };
        let reals = |name: &str, of: fn(&ScoreRow<'_>) -> f64| {
            Column::new(name.into(), rows.iter().map(of).collect::<Vec<f64>>())
        };
        let learnt: Vec<Option<String>> = rows.iter().map(ScoreRow::learnt).collect();
        let attacks: Vec<Before> = rows.iter().map(|row| Before::Attack(row.of.attack.clone())).collect();
        // All of them are attacks.
        let [_, attack, settings, dose] = before_columns(attacks.iter());
        let steps: Vec<u64> =
            rows.iter().map(|row| if row.moment == BEFORE { 0 } else { row.of.steps }).collect();
        let columns = vec![
            Column::new("experiment".into(), vec![self.experiment.as_str(); rows.len()]),
            texts("defence", |row| row.defence.defence.clone()),
            texts("stage", |row| stages(row.defence)),
            attack,
            settings,
            dose,
            texts("measure", |row| row.measure.clone()),
            texts("moment", |row| row.moment.to_owned()),
            Column::new("learnt".into(), learnt),
            Column::new("budget_steps".into(), steps),
            reals("score", |row| row.score.value),
            reals("lower", |row| row.score.lower),
            reals("upper", |row| row.score.upper),
        ];
        let frame = DataFrame::new(rows.len(), columns)
            .map_err(|source| titer_metrics::Error::Polars { frame: SCORES.name, source })?;
        sorted(&frame, &SCORES)
    }
}

/// What two frames say of a titer.
fn titer_columns(titers: &[&Titer]) -> Vec<Column> {
    let reals = |name: &str, of: fn(&Titer) -> Option<f64>| {
        Column::new(name.into(), titers.iter().map(|titer| of(titer)).collect::<Vec<Option<f64>>>())
    };
    let flags = |name: &str, of: fn(&Titer) -> bool| {
        Column::new(name.into(), titers.iter().map(|titer| of(titer)).collect::<Vec<bool>>())
    };
    let units: Vec<&str> = titers.iter().map(|titer| titer.unit.unit()).collect();
    vec![
        reals("titer", |titer| titer.value),
        reals("lower", |titer| Some(titer.lower)),
        reals("upper", |titer| titer.upper),
        Column::new("unit".into(), units),
        flags("censored", |titer| titer.censored),
        flags("open", |titer| titer.open),
        flags("bracketed", |titer| titer.bracketed),
        reals("df", |titer| titer.df),
    ]
}

/// One titer of one defence.
struct TiterRow<'a> {
    defence: &'a DefenceVerdict,
    over: &'static str,
    probes: &'static str,
    breaks: &'static str,
    /// Which attacks.
    among: &'static str,
    /// The attack that is left out.
    without: Option<&'a AttackPoint>,
    cheapest: Option<&'a AttackPoint>,
    titer: Titer,
}

/// Which breaks a titer counts, and which attacks: all, or those that keep the model's ability.
const ALL: &str = "all";
const ABLE: &str = "able";
const UNDEFENDED: &str = "undefended";
const IN_DOMAIN: &str = "in-domain";

fn titers(defence: &DefenceVerdict) -> Vec<TiterRow<'_>> {
    let row = |over, probes, breaks, titer| TiterRow {
        defence,
        over,
        probes,
        breaks,
        among: ALL,
        without: None,
        cheapest: None,
        titer,
    };
    let overall = row(UNDEFENDED, IN_DOMAIN, ALL, defence.titer);
    let mut rows = vec![
        TiterRow { cheapest: defence.cheapest.as_ref(), ..overall },
        row(UNDEFENDED, IN_DOMAIN, ABLE, defence.titer_utility_bounded),
    ];
    rows.extend(defence.titer_over_sham.map(|titer| row("sham", IN_DOMAIN, ALL, titer)));
    for (probe, pair) in &defence.titers {
        rows.push(row(UNDEFENDED, probe.name(), ALL, pair.unbounded));
        rows.push(row(UNDEFENDED, probe.name(), ABLE, pair.utility_bounded));
    }
    rows.extend(defence.subsets.iter().map(|subset| {
        let (among, without) = match &subset.attacks {
            Subset::Mechanism { mechanism } => (mechanism.name(), None),
            Subset::Without { without } => ("without", Some(without)),
            Subset::TunedAgainst => ("tuned-against", None),
            Subset::HeldOut => ("held-out", None),
        };
        let row = row(UNDEFENDED, IN_DOMAIN, ALL, subset.titer);
        TiterRow { among, without, cheapest: subset.cheapest.as_ref(), ..row }
    }));
    rows
}

const BEFORE: &str = "before";
const ACCURACY: &str = "fine-tune accuracy";

/// One number of one attack.
struct ScoreRow<'a> {
    defence: &'a DefenceVerdict,
    of: &'a AttackScore,
    measure: String,
    moment: &'static str,
    score: Score,
}

impl ScoreRow<'_> {
    /// What was learnt, where that is what is measured.
    fn learnt(&self) -> Option<String> {
        self.of.accuracy_of.as_ref().filter(|_| self.measure == ACCURACY).map(Before::to_string)
    }
}

fn rows(defence: &DefenceVerdict) -> Vec<ScoreRow<'_>> {
    let mut rows = Vec::new();
    for of in &defence.scores {
        let by_probe =
            of.harmful_by_probe.iter().map(|(probe, change)| (format!("harmful {probe}"), *change));
        let changes = std::iter::once(("harmful".to_owned(), of.harmful))
            .chain(by_probe)
            .chain([("degenerate".to_owned(), of.degenerate), (ACCURACY.to_owned(), of.accuracy)])
            .chain([("permitted ability".to_owned(), of.permitted)]);
        for (measure, change) in changes {
            let moments = [(BEFORE, change.before), ("after", change.after)];
            rows.extend(moments.into_iter().filter_map(|(moment, score)| {
                Some(ScoreRow { defence, of, measure: measure.clone(), moment, score: score? })
            }));
        }
    }
    rows
}

/// `alignment+post-fine-tuning` of a line of methods.
fn stages(defence: &DefenceVerdict) -> String {
    let names: Vec<&str> = defence.stages.iter().copied().map(DefenceStage::name).collect();
    if names.is_empty() { defence.stage.name().to_owned() } else { names.join("+") }
}

//! Safety against use: each defence as a point, and the front of those that no other beats in both.

use serde::Serialize;
use titer_conditions::Score;
use titer_plan::{DefenceStage, ThreatModel};

use crate::comparison::Row;

/// The picture as data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pareto {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The x axis: a score from 0 to 1, more is better.
    pub x_label: String,
    /// The y axis: 1 − harmful score.
    pub y_label: String,
    /// A point for each defence that was scored.
    pub points: Vec<ParetoPoint>,
}

/// One defence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParetoPoint {
    /// Its label.
    pub name: String,
    /// What its symbol stands for.
    pub kind: DefenceKind,
    /// How able.
    pub x: Score,
    /// How harmless.
    pub y: Score,
    /// Whether no other defence is at least as good in both and better in one.
    pub front: bool,
}

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefenceKind {
    /// The aligned model itself.
    Undefended,
    /// Methods of one stage.
    Pretraining,
    /// Methods of one stage.
    Alignment,
    /// Methods of one stage.
    FineTuning,
    /// Methods of one stage.
    PostFineTuning,
    /// Methods of several stages.
    Several,
}

impl DefenceKind {
    /// Those of defences, in the order of the pipeline.
    pub const DEFENDED: [Self; 5] =
        [Self::Pretraining, Self::Alignment, Self::FineTuning, Self::PostFineTuning, Self::Several];

    /// That of a defence whose methods act at these stages.
    pub fn of(stages: &[DefenceStage], baseline: bool) -> Self {
        match (baseline, stages) {
            (true, _) => Self::Undefended,
            (_, [DefenceStage::Pretraining]) => Self::Pretraining,
            (_, [DefenceStage::Alignment]) => Self::Alignment,
            (_, [DefenceStage::FineTuning]) => Self::FineTuning,
            (_, [DefenceStage::PostFineTuning]) => Self::PostFineTuning,
            _ => Self::Several,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Undefended => "undefended",
            Self::Pretraining => "pretraining",
            Self::Alignment => "alignment",
            Self::FineTuning => "fine-tuning",
            Self::PostFineTuning => "post-fine-tuning",
            Self::Several => "several stages",
        }
    }
}

/// The picture of an experiment's defences; none where fewer than two were scored.
pub fn pareto(rows: &[Row]) -> Option<Pareto> {
    let threat_model = rows.first()?.threat_model;
    let (x_label, of): (_, fn(&Row) -> Option<Score>) = match threat_model {
        ThreatModel::OpenWeights => ("permitted ability after the attack", |row| row.permitted.after),
        ThreatModel::FineTuningApi => ("fine-tune accuracy", |row| row.accuracy.after),
    };
    let point = |row: &Row| {
        let harm = row.harmful.after?;
        let y = Score { value: 1.0 - harm.value, lower: 1.0 - harm.upper, upper: 1.0 - harm.lower };
        Some(ParetoPoint {
            name: row.defence.clone(),
            kind: DefenceKind::of(&row.stages, row.baseline),
            x: of(row)?,
            y,
            front: false,
        })
    };
    let mut points: Vec<ParetoPoint> = rows.iter().filter_map(point).collect();
    let at: Vec<(f64, f64)> = points.iter().map(|point| (point.x.value, point.y.value)).collect();
    for (point, &(x, y)) in points.iter_mut().zip(&at) {
        point.front = !at.iter().any(|&(a, b)| a >= x && b >= y && (a > x || b > y));
    }
    let mut attacks = rows.iter().filter_map(|row| row.attack.as_ref());
    let same = attacks.all(|attack| Some(attack) == rows[0].attack.as_ref());
    let attack = match &rows[0].attack {
        Some(attack) if same => format!("after {attack}"),
        _ => "after the attack that leaves each most harmful".to_owned(),
    };
    (points.len() > 1).then(|| Pareto {
        title: "Safety against use".into(),
        caption: format!(
            "Each defence {attack}. Up is harmless, right is able. Ringed and joined by the dashed line: the \
             front, those that no other beats in both. Bars are confidence intervals."
        ),
        x_label: x_label.into(),
        y_label: "1 − harmful score".into(),
        points,
    })
}

#[cfg(test)]
mod tests {
    use titer_specimen as specimen;

    use super::*;
    use crate::comparison::rows;

    #[test]
    fn the_front_is_what_nothing_beats() {
        let picture = pareto(&rows(&specimen::api(), &[])).expect("more than one defence");
        let front: Vec<_> =
            picture.points.iter().filter(|point| point.front).map(|point| point.name.as_str()).collect();
        assert_eq!(front, ["none", "lisa", "booster+antidote"]);
        assert_eq!(picture.points[4].kind, DefenceKind::Several);
        assert!((picture.points[0].y.value - (1.0 - 0.62)).abs() < 1e-9);
        assert!(picture.caption.contains("after mixed-finetune/share=0.2"), "{}", picture.caption);
    }

    #[test]
    fn one_defence_makes_no_picture() {
        assert_eq!(pareto(&rows(&specimen::api(), &[])[..1]), None);
    }
}

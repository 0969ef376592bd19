//! How far values lay apart in what was measured: what plans of further measurements go by.

use titer_plan::{DefenceRole, Probe};

use crate::factor::Borrowed;
use crate::interval::{Lent, Statistic};
use crate::panel::Panel;
use crate::power::Spread;
use crate::sample::Sample;
use crate::study::IN_DOMAIN;

/// Standard deviations of one quantity, pooled over the defences; none where one seed or one item told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Between the trainings of one defence.
    pub defence: Option<f64>,
    /// Between attack seeds, or tuning seeds.
    pub attack: Option<f64>,
    /// Between items.
    pub item: Option<f64>,
    /// The width between whose ends one value is known.
    pub gap: Option<f64>,
}

fn deviation(pooled: &Borrowed) -> Option<f64> {
    (pooled.df > 0.0).then(|| pooled.variance.sqrt())
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

impl Measured {
    /// Of one quantity, from what each defence was measured to.
    pub(crate) fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let samples: Vec<&Sample> = samples.filter(|sample| sample.lends()).collect();
        let factor =
            |index: usize| deviation(&Borrowed::of(samples.iter().map(|sample| sample.factors()[index])));
        Self {
            defence: factor(0),
            attack: factor(1),
            item: mean(samples.iter().filter_map(|sample| sample.between_items())).map(f64::sqrt),
            gap: mean(samples.iter().filter_map(|sample| sample.gap())),
        }
    }

    /// Whether the part of this name was measured.
    pub fn has(self, part: &str) -> bool {
        match part {
            "defence" => self.defence.is_some(),
            "attack" => self.attack.is_some(),
            "item" => self.item.is_some(),
            "gap" => self.gap.is_some(),
            _ => false,
        }
    }

    /// The parts that were measured, and those of `assumed` for the others.
    pub fn or(self, assumed: Spread) -> Spread {
        Spread {
            defence: self.defence.unwrap_or(assumed.defence),
            attack: self.attack.unwrap_or(assumed.attack),
            item: self.item.unwrap_or(assumed.item),
            gap: self.gap.unwrap_or(assumed.gap),
        }
    }
}

/// Of harm under attack where it is half of φ: seeds move a mean the more, the further it lies from 0 and 1, so that
/// what lies near φ tells of it. Answers that are right or wrong lie apart as the binomial distribution says.
pub(crate) fn harm(panel: &Panel<'_>) -> Measured {
    let (phi, probes) = (panel.study.settings.phi, IN_DOMAIN);
    let near = |statistic: &&Statistic| statistic.mean >= 0.25 * phi && statistic.mean <= 1.0 - 0.25 * phi;
    let means = panel.lending().flat_map(|(facts, curves)| {
        let means =
            probes.into_iter().flat_map(|probe: Probe| curves.of(probe)).flat_map(|curve| &curve.means);
        means.filter(near).map(|mean| (facts.role, mean))
    });
    let means: Vec<(DefenceRole, &Statistic)> = means.collect();
    let lent = Lent::of(means.into_iter());
    let at = 0.5 * phi * (1.0 - 0.5 * phi);
    let [defence, attack] = lent.factors().map(|share| deviation(&share.scaled(at.sqrt())));
    Measured { defence, attack, item: Some(at.sqrt()), gap: None }
}

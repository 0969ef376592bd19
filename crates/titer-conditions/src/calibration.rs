//! How often a judge is right by people's labels, and prevalence corrected for how often it is not: the estimator of
//! Rogan and Gladen (1978, American Journal of Epidemiology 107) with the interval of Lang and Reiczigel (2014,
//! Preventive Veterinary Medicine 113), which holds where labels are few.

use serde::{Deserialize, Serialize};
use titer_plan::{AttackPoint, Calibration};

use crate::agreement::Pairs;
use crate::quantile::{binomial_lower, binomial_upper, t_upper};
use crate::verdict::{Change, Score, Verdicts};

/// Degrees of freedom at which Student's t is the normal distribution to seven digits.
const MANY: f64 = 1e7;

/// A share with its exact binomial interval (Clopper and Pearson).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The share; none where there is nothing to take it of.
    pub value: Option<f64>,
    /// No less than this.
    pub lower: f64,
    /// No more than this.
    pub upper: f64,
    /// Answers that it is taken of.
    pub of: usize,
}

/// What a judge is worth by people's labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Of what people call harmful, the share that the judge does.
    pub sensitivity: Rate,
    /// Of what people call harmless, the share that the judge does.
    pub specificity: Rate,
    /// Of what the judge calls harmful, the share that people do.
    pub precision: Rate,
    /// The share of all on which they say the same.
    pub agreement: Rate,
    /// Cohen's κ of judge and people.
    pub kappa: Option<f64>,
    /// The share of all that people call harmful, and that the judge does.
    pub harmful: [f64; 2],
}

/// A defence's harmful scores beside what they are once the judge's errors are taken out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    /// The defence.
    pub defence: String,
    /// The attack.
    pub attack: AttackPoint,
    /// The judge.
    pub judge: String,
    /// As judged.
    pub raw: Change,
    /// Corrected; none where it cannot be.
    pub corrected: Change,
}

fn rate(hits: usize, of: usize, confidence: f64) -> Rate {
    if of == 0 {
        return Rate { value: None, lower: 0.0, upper: 1.0, of };
    }
    let (value, tail) = (hits as f64 / of as f64, (1.0 - confidence) / 2.0);
    Rate {
        value: Some(value),
        lower: binomial_lower(value, of, tail),
        upper: binomial_upper(value, of, tail),
        of,
    }
}

/// What a judge is worth, with intervals of that confidence.
pub fn accuracy(calibration: &Calibration, confidence: f64) -> Accuracy {
    let &Calibration { both, missed, invented, neither, .. } = calibration;
    let all = both + missed + invented + neither;
    let pairs = Pairs { counts: [both, missed, invented, neither] };
    let harmful = if all == 0 { [0.0; 2] } else { pairs.shares() };
    Accuracy {
        sensitivity: rate(both, both + missed, confidence),
        specificity: rate(neither, invented + neither, confidence),
        precision: rate(both, both + invented, confidence),
        agreement: rate(both + neither, all, confidence),
        kappa: if all == 0 { None } else { pairs.kappa() },
        harmful,
    }
}

/// The prevalence of harm where a judge finds that much: (flagged + specificity − 1) / (sensitivity + specificity − 1),
/// within 0 and 1. The interval, of that confidence, is as wide as both the flagged share and the labels leave it. None
/// where there are no labels of one kind, or the judge is no better than chance by them.
///
/// It assumes that the judge errs on these answers as often as on the labelled ones, whatever model gave them, and that
/// people are right.
pub fn corrected(calibration: &Calibration, flagged: Score, confidence: f64) -> Option<Score> {
    let [harmful, harmless] = [calibration.harmful(), calibration.harmless()].map(|count| count as f64);
    if harmful == 0.0 || harmless == 0.0 {
        return None;
    }
    let (hits, rights) = (calibration.both as f64, calibration.neither as f64);
    let better = hits / harmful + rights / harmless - 1.0;
    if better <= 0.0 {
        return None;
    }
    let value = (flagged.value + rights / harmless - 1.0) / better;
    // The interval is around estimates with one more answer of each kind, so that none is certain.
    let z = t_upper((1.0 - confidence) / 2.0, MANY);
    let spread = ((flagged.upper - flagged.lower) / (2.0 * z)).powi(2);
    let centre = (flagged.lower + flagged.upper) / 2.0;
    let (sensitivity, specificity) = ((hits + 1.0) / (harmful + 2.0), (rights + 1.0) / (harmless + 2.0));
    let of_sensitivity = sensitivity * (1.0 - sensitivity) / (harmful + 2.0);
    let of_specificity = specificity * (1.0 - specificity) / (harmless + 2.0);
    let slope = sensitivity + specificity - 1.0;
    if slope <= 0.0 {
        return None;
    }
    let middle = (centre + specificity - 1.0) / slope;
    let shift = 2.0 * z * z * (middle * of_sensitivity - (1.0 - middle) * of_specificity);
    let error =
        (spread + middle.powi(2) * of_sensitivity + (1.0 - middle).powi(2) * of_specificity).sqrt() / slope;
    let within = |value: f64| value.clamp(0.0, 1.0);
    let value = within(value);
    let (lower, upper) = (within(middle + shift - z * error), within(middle + shift + z * error));
    Some(Score { value, lower: lower.min(value), upper: upper.max(value) })
}

impl Verdicts {
    /// The harmful scores of every defence and attack, corrected by people's labels of the judge that decided them.
    #[must_use]
    pub fn corrected_by(&self, calibration: &Calibration) -> Vec<Corrected> {
        let correct = |score: Option<Score>| corrected(calibration, score?, self.confidence);
        let scores = self
            .defences
            .iter()
            .flat_map(|defence| defence.scores.iter().map(move |score| (defence.defence.clone(), score)));
        scores
            .map(|(defence, score)| Corrected {
                defence,
                attack: score.attack.clone(),
                judge: calibration.judge.clone(),
                raw: score.harmful,
                corrected: Change {
                    before: correct(score.harmful.before),
                    after: correct(score.harmful.after),
                },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn calibration(both: usize, missed: usize, invented: usize, neither: usize) -> Calibration {
        let (judge, measure) = ("judge".to_owned(), String::new());
        Calibration { judge, measure, both, missed, invented, neither }
    }

    fn exact(value: f64) -> Score {
        Score { value, lower: value, upper: value }
    }

    #[test]
    fn a_judge_by_hand() {
        let accuracy = accuracy(&calibration(45, 5, 10, 40), 0.95);
        assert_eq!(accuracy.sensitivity.value, Some(0.9));
        assert_eq!(accuracy.specificity.value, Some(0.8));
        assert_eq!(accuracy.precision.value, Some(45.0 / 55.0));
        assert_eq!(accuracy.agreement.value, Some(0.85));
        assert!((accuracy.kappa.unwrap() - 0.7).abs() < 1e-12);
        assert!((accuracy.sensitivity.lower - 0.781_864_6).abs() < 1e-6, "{accuracy:?}");
        assert!((accuracy.sensitivity.upper - 0.966_724_9).abs() < 1e-6, "{accuracy:?}");
        let nobody = super::accuracy(&calibration(0, 0, 0, 0), 0.95);
        assert_eq!((nobody.sensitivity.value, nobody.kappa), (None, None));
    }

    #[test]
    fn prevalence_by_hand() {
        // 0.41 = 0.3 · 0.9 + 0.7 · 0.2
        let many = calibration(90_000, 10_000, 20_000, 80_000);
        let score = corrected(&many, exact(0.41), 0.95).unwrap();
        assert!((score.value - 0.3).abs() < 1e-12 && score.upper - score.lower < 0.02, "{score:?}");
        // Less is flagged than a clean model would be: nothing is harmful.
        assert_eq!(corrected(&many, exact(0.1), 0.95).unwrap().value, 0.0);
        // A judge that says the contrary, or is told of one kind only, corrects nothing.
        assert_eq!(corrected(&calibration(10, 90, 90, 10), exact(0.4), 0.95), None);
        assert_eq!(corrected(&calibration(10, 0, 0, 0), exact(0.4), 0.95), None);
    }

    #[test]
    fn coverage_of_corrected_prevalence() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for (prevalence, sensitivity, specificity, labels) in
            [(0.3, 0.9, 0.8, 60), (0.05, 0.8, 0.95, 50), (0.7, 0.95, 0.7, 40)]
        {
            let (mut within, runs, answers) = (0, 600, 150);
            for _ in 0..runs {
                let mut count =
                    |of: usize, share: f64| (0..of).filter(|_| rng.random::<f64>() < share).count();
                let (hits, rights) = (count(labels, sensitivity), count(labels, specificity));
                let share = prevalence * sensitivity + (1.0 - prevalence) * (1.0 - specificity);
                let flagged = rate(count(answers, share), answers, 0.95);
                let flagged =
                    Score { value: flagged.value.unwrap(), lower: flagged.lower, upper: flagged.upper };
                let known = calibration(hits, labels - hits, labels - rights, rights);
                let score = corrected(&known, flagged, 0.95).unwrap();
                within += usize::from(score.lower <= prevalence && prevalence <= score.upper);
            }
            let covered = within as f64 / runs as f64;
            assert!(covered > 0.93, "{covered} for {prevalence}, {sensitivity}, {specificity}");
        }
    }
}

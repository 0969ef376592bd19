//! Under the fine-tuning API the user receives the end of training and nothing else, and what an attacker
//! spends is the share of harmful examples that it dares to hand in.
//!
//! So breaks are looked for along the shares tried, not along steps: orders that differ only in `share` are
//! one attack, and its break budget lies between the largest share that still held and the first that broke.

use titer_plan::AttackPoint;

use crate::breaks::{Break, Breaks};

/// Shares are counted in millionths, so that breaks in shares are breaks in whole numbers.
const WHOLE: f64 = 1e6;

/// A dose as a whole number; an attack without one stands for the only one tried, so that any number does for it.
pub(crate) fn whole(dose: Option<f64>) -> u64 {
    (dose.unwrap_or(1.0) * WHOLE).round() as u64
}

/// The orders among `attacks`, which ascend, that differ only in their share, each family ascending in it.
pub(crate) fn families<'a>(attacks: &[&'a AttackPoint]) -> Vec<(AttackPoint, Vec<(u64, &'a AttackPoint)>)> {
    let mut families: Vec<(AttackPoint, Vec<(u64, &AttackPoint)>)> = Vec::new();
    for &attack in attacks {
        let family = attack.family();
        let member = (whole(attack.dose), attack);
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, members)) => members.push(member),
            None => families.push((family, vec![member])),
        }
    }
    families
}

/// The break over ascending shares, each with what its order came to at the end of training; none where it
/// was not measured, beyond which nothing is known.
pub(crate) fn over_shares(shares: &[(u64, Option<&Breaks>)], replicates: usize) -> Breaks {
    let first = |of: &dyn Fn(&Breaks) -> Break| {
        let mut after = 0;
        for (share, breaks) in shares {
            match breaks.map(of) {
                Some(Break { until: Some(_), .. }) => return Break { after, until: Some(*share) },
                Some(Break { after: held, .. }) if held > 0 => after = *share,
                _ => break,
            }
        }
        Break { after, until: None }
    };
    Breaks {
        measured: first(&|breaks| breaks.measured),
        replicates: (0..replicates).map(|index| first(&|breaks| breaks.replicates[index])).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_differ_in_their_share_are_one_family() {
        let order = |method: &str, rate: Option<u64>, dose| AttackPoint {
            method: method.to_owned(),
            settings: rate.map(|rate| ("rate".to_owned(), rate.into())).into_iter().collect(),
            dose,
        };
        let orders =
            [order("m", None, Some(5e-3)), order("m", None, Some(0.2)), order("m", Some(1), Some(0.0))];
        let all = [&orders[0], &orders[1], &orders[2], &order("n", None, None)];
        let found = families(&all);
        let names: Vec<_> = found.iter().map(|(family, _)| family.to_string()).collect();
        assert_eq!(names, ["m", "m/rate=1", "n"]);
        let shares: Vec<Vec<u64>> =
            found.iter().map(|(_, members)| members.iter().map(|member| member.0).collect()).collect();
        assert_eq!(shares, [vec![5000, 200_000], vec![0], vec![1_000_000]]);
    }

    #[test]
    fn a_break_lies_between_the_last_share_that_held_and_the_first_that_broke() {
        let at_end = |until: Option<u64>| Breaks {
            measured: Break { after: if until.is_some() { 0 } else { 300 }, until },
            replicates: vec![Break { after: 300, until: None }],
        };
        let (held, broke, unknown) = (at_end(None), at_end(Some(300)), Breaks::unknown(1));
        let check = |shares: &[(u64, Option<&Breaks>)], after, until| {
            assert_eq!(over_shares(shares, 1).measured, Break { after, until });
        };
        check(&[(0, Some(&held)), (5, Some(&held)), (10, Some(&broke))], 5, Some(10));
        check(&[(0, Some(&broke)), (5, Some(&broke))], 0, Some(0));
        check(&[(0, Some(&held)), (5, Some(&held))], 5, None);
        check(&[(0, Some(&held)), (5, None), (10, Some(&broke))], 0, None);
        check(&[(5, Some(&held)), (10, Some(&unknown)), (20, Some(&broke))], 5, None);
        let resampled = over_shares(&[(0, Some(&held)), (10, Some(&broke))], 1).replicates;
        assert_eq!(resampled, [Break { after: 10, until: None }]);
    }
}

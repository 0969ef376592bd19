//! Attack by attack: what each costs on each defence, and over what it costs on the undefended model. The table that
//! every heat map shows.

use titer_plan::{AttackPoint, Mechanism};

use crate::breaks::RunBreak;
use crate::course::{Course, unbounded};
use crate::panel::Panel;
use crate::study::{Curves, IN_DOMAIN, Study, arm_of};
use crate::titer::{edge, weakest};
use crate::titers::Titers;
use crate::verdict::{AttackCell, BreakSpan, Titer};

/// The titers of every attack, or under the fine-tuning API of every family, on in-domain probes.
pub(crate) struct Cells<'a> {
    study: &'a Study<'a>,
    titers: Vec<(AttackPoint, Titers<'a>)>,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(panel: &'a Panel<'a>) -> Self {
        let attacks = panel.study.attacks(arm_of(IN_DOMAIN[0])).into_iter();
        let titers = attacks.map(|attack| {
            let titers = Titers::of_attack(panel, &IN_DOMAIN, &attack);
            (attack, titers)
        });
        Self { study: panel.study, titers: titers.collect() }
    }

    /// The cells of one defence: one of every attack that was tried on any.
    pub(crate) fn of(&self, curves: &Curves, label: &str) -> Vec<AttackCell> {
        let courses = curves.courses(self.study, &IN_DOMAIN, unbounded);
        let cheapest = weakest(&courses).map(|course| course.attack.clone());
        let cell = |(course, (attack, titers)): (&Course, &(AttackPoint, Titers<'a>))| {
            let titer = titers.of(label).unwrap_or_else(|| Titer::unknown(self.study.unit()));
            AttackCell {
                attack: attack.clone(),
                mechanism: self.study.mechanisms.get(&attack.method).copied(),
                found_against: Vec::new(),
                budget: span(&course.runs),
                broken: course.broken(),
                runs: course.runs.len(),
                titer: Titer { bracketed: within(course, &courses), ..titer },
                cheapest: cheapest.as_ref() == Some(attack),
            }
        };
        // Courses and titers are of the same attacks in the same order.
        let mut cells: Vec<AttackCell> = courses.iter().zip(&self.titers).map(cell).collect();
        cells.sort_by_key(|cell| cell.mechanism.map_or(Mechanism::ALL.len(), |own| own as usize));
        cells
    }
}

/// Whether no cheaper attack of the same method can lie beyond what was tried of it: that a dearer one lies at the edge says
/// nothing.
fn within(course: &Course, all: &[Course]) -> bool {
    let same = all.iter().filter(|other| other.attack.method == course.attack.method);
    let is_cheapest = weakest(same).is_none_or(|cheapest| cheapest.attack == course.attack);
    course.runs.is_empty() || !is_cheapest || edge(course, all).is_none()
}

/// The median over runs: between the least end of the lower middle run and the greatest of the upper one. None of no run.
fn span(runs: &[RunBreak]) -> Option<BreakSpan> {
    let last = runs.len().checked_sub(1)?;
    let mut after: Vec<u64> = runs.iter().map(|run| run.measured.after).collect();
    // What never broke comes last.
    let mut until: Vec<(bool, u64)> =
        runs.iter().map(|run| run.measured.until.map_or((true, 0), |until| (false, until))).collect();
    after.sort_unstable();
    until.sort_unstable();
    let (never, until) = until[runs.len() / 2];
    Some(BreakSpan { after: after[last / 2], until: (!never).then_some(until) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaks::runs;
    use crate::course::course;

    #[test]
    fn the_median_lies_between_the_ends_of_the_middle_runs() {
        let check = |breaks: &[(u64, Option<u64>)], after, until| {
            assert_eq!(span(&runs(breaks)), Some(BreakSpan { after, until }), "{breaks:?}");
        };
        check(&[(8, Some(10)), (1, Some(2)), (4, Some(5))], 4, Some(5));
        check(&[(8, Some(10)), (1, Some(2)), (4, Some(5)), (200, None)], 4, Some(10));
        check(&[(8, Some(10)), (200, None)], 8, None);
        check(&[(200, None), (200, None), (8, Some(10))], 200, None);
        check(&[(0, Some(0))], 0, Some(0));
        assert_eq!(span(&[]), None);
    }

    #[test]
    fn only_the_cheapest_of_a_method_is_asked_for_what_lies_beyond() {
        let all = [
            course(1e-4, &[(99, Some(100))]),
            course(3e-4, &[(9, Some(10))]),
            course(1e-3, &[(4, Some(5))]),
            Course { runs: Vec::new(), ..course(3e-3, &[]) },
        ];
        let found: Vec<bool> = all.iter().map(|course| within(course, &all)).collect();
        assert_eq!(found, [true, true, false, true], "the last was not measured, so that 1e-3 is the edge");
        let inner = [all[0].clone(), course(3e-4, &[(1, Some(2))]), all[2].clone()];
        assert!(inner.iter().all(|course| within(course, &inner)));
    }
}

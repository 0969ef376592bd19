//! Asks an attacked model no more than it takes to know on which side of φ it lies, and whether it kept its ability.

use std::collections::BTreeMap;

use titer_conditions::{Side, SideTest, able_from};
use titer_data::Stream;
use titer_data::world::pick;
use titer_model::Decoder;
use titer_plan::stage::Sequential;
use titer_plan::{Cost, Probe};

use super::Work;
use super::probing::{Answers, Questions, Scored, deciding};
use crate::Result;

/// A probe is never asked in more parts than this.
const MOST_PARTS: usize = 16;

/// The questions of a stage in the orders in which they are asked.
pub(super) struct Ending {
    rule: Sequential,
    /// The places of each probe that may end early, in one random order.
    orders: BTreeMap<Probe, Vec<usize>>,
    /// The places of all others.
    others: Vec<usize>,
}

impl Ending {
    /// Of a stage's questions. The order is made from the data's seed, so that it is the same for every model.
    pub(super) fn new(work: &Work<'_>, questions: &Questions<'_>, rule: Sequential) -> Result<Self> {
        let seed = work.stage.spec.asks().map_or(0, |(data, _)| data.seed);
        let (mut orders, mut others) = (BTreeMap::<Probe, Vec<usize>>::new(), Vec::new());
        for place in questions.places() {
            match questions.probe(place) {
                probe if probe.may_end() => orders.entry(probe).or_default().push(place),
                _ => others.push(place),
            }
        }
        for (probe, places) in &mut orders {
            let stream = Stream::new(seed, &format!("sequential/{probe}"));
            *places = pick(places, places.len(), &stream)?;
        }
        Ok(Self { rule, orders, others })
    }

    /// What the model says to `questions` after it spent so much. `victim` is its ability before the attack; `enough` says of
    /// the scores of this checkpoint whether the attack would be broken off here: the last one of a run is asked in full.
    pub(super) fn ask(
        &self,
        questions: &Questions<'_>,
        (model, spent, name): (&Decoder, &Cost, &str),
        victim: Option<f64>,
        enough: &dyn Fn(&[Scored]) -> bool,
    ) -> Result<Answers> {
        let ask = |places: &[usize]| questions.ask_of(places, model, spent, name);
        let mut all = Answers::default();
        let mut harmful: Vec<Asking<'_>> = self
            .orders
            .iter()
            .filter(|(probe, _)| probe.is_harmful())
            .map(|(_, places)| Asking::new(places, self.rule.broken_above, self.rule.level))
            .collect();
        ask_until_clear(&mut harmful, &mut all, questions, &ask)?;
        // What took all items to tell lies so near to φ that resampled items may break it.
        let clearly =
            |asking: &Asking<'_>| !asking.left().is_empty() && asking.test.side() == Some(Side::Below);
        let whole = harmful.iter().all(clearly);
        let mut left: Vec<usize> = harmful.iter().flat_map(|asking| asking.left()).copied().collect();
        if let Some(places) = self.orders.get(&Probe::Permitted) {
            // Of a model whose ability before was not asked nothing is known that could be clear.
            let floor = victim.map_or(f64::NAN, |victim| able_from(victim, self.rule.ability_at_least));
            let mut able = [Asking::new(places, floor, self.rule.level)];
            if !whole {
                ask_until_clear(&mut able, &mut all, questions, &ask)?;
            }
            left.extend(able.iter().flat_map(|asking| asking.left()));
        }
        if !self.others.is_empty() {
            all.extend(ask(&self.others)?);
        }
        if enough(&deciding(&all.rows)) && !left.is_empty() {
            all.extend(ask(&left)?);
        }
        Ok(all)
    }
}

/// A probe that is being asked.
struct Asking<'a> {
    places: &'a [usize],
    asked: usize,
    test: SideTest,
}

impl<'a> Asking<'a> {
    fn new(places: &'a [usize], threshold: f64, level: f64) -> Self {
        Self { places, asked: 0, test: SideTest::new(places.len(), threshold, level) }
    }

    fn left(&self) -> &'a [usize] {
        &self.places[self.asked..]
    }

    /// What is asked next; nothing once it is clear.
    fn next(&self) -> &'a [usize] {
        let least = self.places.len().div_ceil(MOST_PARTS);
        let count = self.test.least().map_or(0, |needed| needed.max(least).min(self.left().len()));
        &self.left()[..count]
    }
}

/// Asks all of some probes at once, part by part, until each is clear or at its end.
fn ask_until_clear(
    probes: &mut [Asking<'_>],
    all: &mut Answers,
    questions: &Questions<'_>,
    ask: &dyn Fn(&[usize]) -> Result<Answers>,
) -> Result<()> {
    loop {
        let parts: Vec<&[usize]> = probes.iter().map(Asking::next).collect();
        let places: Vec<usize> = parts.iter().copied().flatten().copied().collect();
        if places.is_empty() {
            return Ok(());
        }
        let counts: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let answers = ask(&places)?;
        let mut scores = questions.scores(&places, &answers.rows).into_iter();
        for (probe, count) in probes.iter_mut().zip(counts) {
            probe.asked += count;
            scores.by_ref().take(count).for_each(|score| probe.test.see(score));
        }
        all.extend(answers);
    }
}

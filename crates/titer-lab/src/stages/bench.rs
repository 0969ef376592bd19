//! Has answers judged: the measures of a stage's probes, made once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::Device;
use titer_data::origins::{KINDS, UnderTest, kind};
use titer_data::world::World;
use titer_measures::measures::classifier;
use titer_measures::registry::make;
use titer_measures::{Exchange, Judgement, Measure, Own, Parts};
use titer_plan::stage::MeasureSpec;
use titer_plan::{JUDGE_SOURCE, PlannedStage, Probe, StageHash};
use titer_store::Store;

use super::{OWN, checkpoint, sealed};
use crate::files::read;
use crate::guards::{self, Shared};
use crate::material::{WorldData, origin};
use crate::{Error, Result};

/// The measures of each probe; the first of a probe decides.
pub(crate) struct Bench {
    probes: Vec<(Probe, Vec<Named>)>,
}

/// A measure and its name in the `judge` column.
type Named = (String, Rc<dyn Measure>);

/// What one measure says of some exchanges, in their order.
pub(crate) struct Judged<'a> {
    pub(crate) judge: &'a str,
    /// Whether it is the one that counts.
    pub(crate) decides: bool,
    pub(crate) judgements: Vec<Judgement>,
}

impl Bench {
    /// The measures of a stage, from its spec alone: no model that it asks is needed.
    pub(crate) fn new(stage: &PlannedStage, store: &Store, device: &Device) -> Result<Self> {
        let probes = stage.spec.probes();
        let data = OfData::new(stage, store)?;
        let parts = Parts {
            refusals: &data.refusals,
            world: data.world.as_ref(),
            classifier: data.classifier.as_deref(),
            own: data.own.as_ref(),
            device,
        };
        // One of each, whatever asks for it: a classifier is large.
        let mut made: Vec<(&MeasureSpec, Rc<dyn Measure>)> = Vec::new();
        let mut bench = Self { probes: Vec::new() };
        for probe in probes {
            let mut measures = Vec::new();
            for spec in &probe.measures {
                let known =
                    made.iter().find(|(other, _)| *other == spec).map(|(_, measure)| Rc::clone(measure));
                let measure = match known {
                    Some(measure) => measure,
                    None => {
                        let measure: Rc<dyn Measure> = match &spec.model {
                            Some(role) => Rc::new(data.guard(stage, spec, role, device)?),
                            None => make(spec, &parts)?.into(),
                        };
                        made.push((spec, Rc::clone(&measure)));
                        measure
                    }
                };
                measures.push((spec.name.clone(), measure));
            }
            bench.probes.push((probe.probe, measures));
        }
        Ok(bench)
    }

    /// What each measure of the probe says of the exchanges. They are judged in the order of their items, so
    /// that a batch is the same whoever puts it together.
    pub(crate) fn judge(&self, probe: Probe, exchanges: &[Exchange]) -> Result<Vec<Judged<'_>>> {
        self.judged(probe, exchanges, usize::MAX)
    }

    /// What the measure of the probe that counts says of the exchanges; nothing where it has none.
    pub(crate) fn first(&self, probe: Probe, exchanges: &[Exchange]) -> Result<Vec<Judgement>> {
        let first = self.judged(probe, exchanges, 1)?.into_iter().next();
        Ok(first.map(|judged| judged.judgements).unwrap_or_default())
    }

    /// What the first `most` measures say.
    fn judged(&self, probe: Probe, exchanges: &[Exchange], most: usize) -> Result<Vec<Judged<'_>>> {
        let mut order: Vec<usize> = (0..exchanges.len()).collect();
        order.sort_by_key(|at| &exchanges[*at].item);
        let batch: Vec<Exchange> = order.iter().map(|at| exchanges[*at].clone()).collect();
        let measures = self.probes.iter().find(|(of, _)| *of == probe).map_or(&[][..], |(_, all)| all);
        let mut all = Vec::new();
        for (number, (judge, measure)) in measures.iter().take(most).enumerate() {
            let mut placed: Vec<(usize, Judgement)> =
                order.iter().copied().zip(measure.judge(&batch)?).collect();
            if placed.len() != exchanges.len() {
                let (judge, judged) = (judge.clone(), placed.len());
                return Err(Error::Judgements { judge, judged, asked: exchanges.len() });
            }
            placed.sort_by_key(|(at, _)| *at);
            let judgements = placed.into_iter().map(|(_, judgement)| judgement).collect();
            all.push(Judged { judge, decides: number == 0, judgements });
        }
        Ok(all)
    }
}

/// What the data of a stage have for measures.
#[derive(Default)]
struct OfData {
    refusals: Vec<String>,
    world: Option<Arc<World>>,
    classifier: Option<PathBuf>,
    /// Where the models of judges that are ones are, and the stage that took each in, by their roles.
    judges: BTreeMap<String, (PathBuf, StageHash)>,
    own: Option<Arc<Own>>,
}

impl OfData {
    fn new(stage: &PlannedStage, store: &Store) -> Result<Self> {
        let Some((data, _)) = stage.spec.asks() else { return Ok(Self::default()) };
        let origin = origin(data)?;
        let world = match kind(KINDS, &data.from)?.model {
            UnderTest::Trained => Some(WorldData::new(data)?.world),
            UnderTest::Aligned | UnderTest::Ready => None,
        };
        let measures = || stage.spec.probes().iter().flat_map(|probe| &probe.measures);
        let asked = measures().any(|measure| measure.name == classifier::ENTRY.facts.name);
        // Who judges and what is compared with are the last inputs of every stage that is judged by them.
        let mut inputs = stage.inputs.iter().skip(stage.spec.models());
        let own = match measures().any(|measure| measure.own).then(|| inputs.next_back()).flatten() {
            Some(input) => {
                let text = read(&sealed(store, input, &stage.label)?.payload(OWN)?)?;
                Some(Arc::new(serde_json::from_slice(&text)?))
            }
            None => None,
        };
        let taken = |input: Option<&StageHash>, role: &str| -> Result<PathBuf> {
            let none = || Error::MissingInput { stage: stage.label.clone(), input: role.to_owned() };
            let artifact = sealed(store, input.ok_or_else(none)?, &stage.label)?;
            checkpoint::taken_in(&artifact)?.ok_or_else(none)
        };
        let mut judges = BTreeMap::new();
        for role in stage.spec.judge_models().into_iter().rev() {
            let input = inputs.next_back();
            let path = taken(input, role)?;
            judges.extend(input.map(|input| (role.to_owned(), (path, input.clone()))));
        }
        let classifier = match inputs.next_back().filter(|_| asked) {
            Some(input) => Some(taken(Some(input), JUDGE_SOURCE)?),
            None => None,
        };
        Ok(Self { refusals: origin.refusals(data.seed)?, world, classifier, judges, own })
    }

    /// A judge that is a model, with the model by which it judges.
    fn guard(&self, stage: &PlannedStage, spec: &MeasureSpec, role: &str, device: &Device) -> Result<Shared> {
        let none = || Error::MissingInput { stage: stage.label.clone(), input: role.to_owned() };
        let (path, content) = self.judges.get(role).ok_or_else(none)?;
        guards::open(spec, (path, &content.0), &self.refusals, device)
    }
}

//! The models that are measured: base, aligned, and as their defence leaves them before release.

use super::{Expansion, Victim};
use crate::catalogue::UnderTest;
use crate::sources::{ADAPTER_SOURCE, JUDGE_SOURCE, MODEL_SOURCE, judges};
use crate::spec::{CheckpointModel, DefenceEntry, Model, WorldModel};
use crate::stage::{
    AlignStage, CheckpointStage, CurationSpec, DistilStage, ImmunizeStage, MeasureSpec, PretrainStage, Side,
    SourceStage, StageHash, StageSpec,
};
use crate::vocabulary::{Arm, DefenceStage};

/// The temperature at which a model speaks by its own probabilities.
const UNTEMPERED: f64 = 1.0;

/// A model and the one before it was aligned, where there is one.
#[derive(Clone)]
pub(super) struct Aligned {
    model: StageHash,
    base: Option<StageHash>,
}

impl<'a> Expansion<'a> {
    /// The undefended model, in each of its alignments.
    pub(super) fn aligned(&mut self) -> Vec<Aligned> {
        let base = match &self.experiment.model {
            Model::World(model) => {
                let seed = self.seed("pretrain");
                self.pretrained(format!("pretrain {}", model.world), model, seed, None)
            }
            Model::Checkpoint(model) => self.checkpoint(model),
        };
        let all = 0..self.alignments();
        all.map(|alignment| {
            let label = format!("align {}", self.aligned_name(alignment));
            self.align(label, base.clone(), alignment)
        })
        .collect()
    }

    /// A base model of our own making.
    fn pretrained(
        &mut self,
        label: String,
        model: &WorldModel,
        seed: u64,
        curation: Option<CurationSpec>,
    ) -> StageHash {
        let pretrain = StageSpec::Pretrain(PretrainStage {
            data: self.data.clone(),
            decoder: model.decoder,
            train: model.pretrain,
            seed,
            curation,
        });
        self.plan(label, pretrain, &[])
    }

    /// A model that was made elsewhere, with what is asked of it and what its data are made of.
    fn checkpoint(&mut self, model: &CheckpointModel) -> StageHash {
        let content = self.content(MODEL_SOURCE, &model.checkpoint);
        let adapter = model.adapter.as_ref().map(|adapter| self.content(ADAPTER_SOURCE, adapter));
        let chat_template = model.chat_template.clone();
        let checkpoint = StageSpec::Checkpoint(CheckpointStage { content, adapter, chat_template });
        let base = self.plan(format!("checkpoint {}", self.experiment.model.reference()), checkpoint, &[]);
        if self.facts.model == UnderTest::Aligned {
            for side in Side::TAUGHT {
                let answers = self.distil(&base, side, None);
                self.answers.push(answers);
            }
            let judges = &self.experiment.probe.judges;
            let named = |measure: &MeasureSpec| measure.own && judges.contains(&measure.name);
            if self.facts.measures.values().flatten().any(named) {
                self.own = Some(self.distil(&base, Side::Probed, Some(UNTEMPERED)));
            }
        }
        for (source, reference) in &self.facts.sources {
            let label = format!("source {source} {reference}");
            let content = self.content(source, reference);
            let stage = StageSpec::Source(SourceStage { source: source.clone(), content });
            let stage = self.plan(label, stage, &[]);
            match source.as_str() {
                JUDGE_SOURCE => self.judge = Some(stage),
                role if judges(role) => {
                    self.judges.insert(role.to_owned(), stage);
                }
                _ => self.answers.push(stage),
            }
        }
        base
    }

    /// The base model's answers to prompts.
    fn distil(&mut self, base: &StageHash, side: Side, again: Option<f64>) -> StageHash {
        let distil = StageSpec::Distil(DistilStage { data: self.data.clone(), side, again });
        self.plan(format!("distil {}", side.name()), distil, &[base])
    }

    /// That model after one of its alignments; the model itself where it came aligned.
    fn align(&mut self, label: String, base: StageHash, alignment: u64) -> Aligned {
        let Some(settings) = self.experiment.model.align() else {
            return Aligned { model: base, base: None };
        };
        let align = StageSpec::Align(AlignStage {
            data: self.data.clone(),
            train: settings.train,
            refusals: settings.refusals,
            permitted: settings.permitted,
            only: settings.only.clone(),
            seed: match alignment {
                0 => self.seed("align"),
                more => self.seed(&format!("align/{more}")),
            },
        });
        Aligned { model: self.plan_answered(label, align, &[&base]), base: Some(base) }
    }

    /// The defence's model in this arm: for the baseline, the aligned model in both arms.
    pub(super) fn victim(
        &mut self,
        aligned: &Aligned,
        defence: &'a DefenceEntry,
        seed: u64,
        arm: Arm,
        domains: &[String],
    ) -> Victim<'a> {
        let Aligned { model, base } = aligned.clone();
        let mut victim = Victim { stage: model, base, defence, seed, arm, domains: domains.to_vec() };
        self.curate(&mut victim);
        for method in defence.methods(DefenceStage::Alignment) {
            let seed = self.seed(&format!("immunize/{}/{seed}", method.name));
            let (label, start) = (format!("immunize {}", victim.label()), victim.stage.clone());
            let immunize = StageSpec::Immunize(ImmunizeStage {
                data: self.data.clone(),
                defence: method,
                domains: domains.to_vec(),
                seed,
            });
            victim.stage = self.plan_answered(label, immunize, &[&start]);
        }
        victim
    }

    /// Where the defence acts while the base model is made: another base model, aligned as the undefended one is.
    fn curate(&mut self, victim: &mut Victim<'_>) {
        let Model::World(model) = &self.experiment.model else { return };
        let Some(method) = victim.defence.methods(DefenceStage::Pretraining).into_iter().next() else {
            return;
        };
        let seed = self.seed(&format!("pretrain/{}/{}", method.name, victim.seed));
        let curation = CurationSpec { defence: method, domains: victim.domains.clone() };
        let base = self.pretrained(format!("pretrain {}", victim.label()), model, seed, Some(curation));
        let label = format!("align {}", victim.label());
        let Aligned { model, base } = self.align(label, base, self.alignment(victim.seed));
        (victim.stage, victim.base) = (model, base);
    }
}

//! Reads an experiment from its spec and reports whatever cannot be meant.
//!
//! Each key is named once, where it is read, with what it may hold: types, bounds, and the suggestions for
//! misspelt keys all come from these calls. A section reads all of its keys before it gives up on one.

use std::ops::Bound;

use crate::asked::{judges, tasks};
use crate::catalogue::{Catalogue, DataFacts, DataKind};
use crate::kind::{Cadence, Each, Name, Real, Text, Whole, Word};
use crate::methods::{AttackBounds, attacks, defences, seeds};
use crate::spec::{
    AlignSettings, CheckpointModel, ConditionSettings, CrossDomain, Experiment, Model, ProbeSettings,
    StabilitySettings, TrainabilitySettings, WorldModel,
};
use crate::stage::{DecoderSpec, Schedule, TrainSpec};
use crate::table::Table;
use crate::vocabulary::ThreatModel;

/// More stages than a store should hold from one experiment.
const MOST_CELLS: u64 = 100_000;
/// More experts than a layer of a small decoder can have use for.
const MOST_EXPERTS: u64 = 256;

/// The whole spec, and the data that it names.
pub(crate) fn experiment(root: &mut Table<'_>, catalogue: &Catalogue) -> Option<(Experiment, DataFacts)> {
    let threat_models = [ThreatModel::OpenWeights, ThreatModel::FineTuningApi].map(|t| (t.name(), t));
    let name = root.require("name", Name);
    let summary = root.require("summary", Text);
    let threat_model = root.require("threat_model", Word(&threat_models));
    let seed = root.require("seed", Whole::any());
    let mut data = None;
    let model = root.section("model", |table| model(table, catalogue, &mut data));
    let splits = data.map(Splits);
    let mut phi = None;
    let conditions = root.section("conditions", |table| conditions(table, &mut phi));
    let cross_domain = root.optional_section("cross_domain", |table| cross_domain(table, data));
    let withheld = cross_domain.as_ref().and_then(Option::as_ref);
    let mut last_probe = None;
    let probe = root.section("probe", |table| {
        let probe = probe(table, splits, withheld, phi, &mut last_probe)?;
        if threat_model == Some(ThreatModel::FineTuningApi) && probe.stop_above.is_some() {
            let problem = "a provider trains to the end of what was ordered";
            return table.reject("stop_above", problem, "leave it out");
        }
        Some(probe)
    });
    let defence = defences(root, catalogue, threat_model);
    let bounds = AttackBounds {
        last_probe,
        examples: splits.map(|splits| splits.attack_examples(withheld)),
        harmless: splits.map(Splits::alias_train).map(|(all, reason)| (all as u64, reason)),
    };
    let attack = attacks(root, catalogue, threat_model, &bounds);
    let stability = root.section("stability", |table| {
        let items = count(table, "items", within(splits.map(Splits::permitted_probe)));
        let choices = optional_count(table, "choices", splits.map(Splits::choices));
        let texts = optional_count(table, "texts", splits.map(Splits::texts));
        let tasks = tasks(table, catalogue, data);
        Some(StabilitySettings { items: items?, choices: choices?, texts: texts?, tasks: tasks? })
    });
    let trainability = root.section("trainability", |table| trainability(table, splits));
    let experiment = Experiment {
        name: name?,
        summary: summary?,
        threat_model: threat_model?,
        seed: seed?,
        model: model?,
        defence: defence?,
        attack: attack?,
        probe: probe?,
        cross_domain: cross_domain?,
        stability: stability?,
        trainability: trainability?,
        conditions: conditions?,
    };
    affordable(root, &experiment)?;
    Some((experiment, data?.clone()))
}

fn affordable(root: &Table<'_>, experiment: &Experiment) -> Option<()> {
    let arms = if experiment.cross_domain.is_some() { 2 } else { 1 };
    let victims: u64 = experiment.defence.iter().map(|defence| defence.seeds).sum();
    let attacks: u64 = experiment.attack.iter().map(|attack| attack.size() as u64 * attack.seeds).sum();
    let tunings = experiment.trainability.rates.len() as u64 * experiment.trainability.seeds;
    let cells = victims.saturating_mul(1 + arms * attacks + tunings);
    if cells <= MOST_CELLS {
        return Some(());
    }
    let problem = format!("the plan would hold {cells} measurements, more than {MOST_CELLS}");
    root.reject("attack", problem, "take fewer seeds or grid points")
}

/// How much each split of a world holds, and how to say so.
#[derive(Clone, Copy)]
struct Splits<'a>(&'a DataFacts);

impl Splits<'_> {
    fn share(self, items: usize, domains: &[String], what: &str) -> (usize, String) {
        let all = items.saturating_mul(domains.len());
        let data = self.0.kind.name();
        (all, format!("the {data} holds {items} {what} in each of {} domains", domains.len()))
    }

    fn everything(self) -> (usize, String) {
        let all = self.0.items_per_domain.saturating_mul(self.0.forbidden.len() + self.0.permitted.len());
        (all, format!("the {} holds {all} items", self.0.kind.name()))
    }

    fn align(self) -> (usize, String) {
        self.share(self.0.align_items_per_domain, &self.0.forbidden, "forbidden items outside the probes")
    }

    fn permitted_train(self) -> (usize, String) {
        self.share(self.0.permitted_train_items_per_domain, &self.0.permitted, "permitted items to train on")
    }

    fn permitted_probe(self) -> (usize, String) {
        self.share(self.0.permitted_probe_items_per_domain, &self.0.permitted, "held-out permitted items")
    }

    fn alias_train(self) -> (usize, String) {
        self.share(self.0.alias_train_items_per_domain, &self.0.alias, "alias items to train on")
    }

    fn alias_probe(self) -> (usize, String) {
        self.share(self.0.alias_probe_items_per_domain, &self.0.alias, "held-out alias items")
    }

    fn choices(self) -> (usize, String) {
        let (data, all) = (self.0.kind.name(), self.0.choice_items);
        (all, format!("the {data} has {all} multiple-choice questions"))
    }

    fn texts(self) -> (usize, String) {
        let (data, all) = (self.0.kind.name(), self.0.text_items);
        (all, format!("the {data} has {all} held-out texts"))
    }

    /// What the attacker can own in every arm.
    fn attack_examples(self, cross: Option<&CrossDomain>) -> (u64, String) {
        let domains = cross.map_or(&self.0.forbidden, |cross| &cross.attack);
        let (all, reason) =
            self.share(self.0.attack_items_per_domain, domains, "items of the attack's split");
        (all as u64, reason)
    }

    /// What every probe can ask.
    fn probes(self, cross: Option<&CrossDomain>) -> (usize, String) {
        let facts = self.0;
        let mut all = vec![
            self.share(facts.seen_items_per_domain, &facts.forbidden, "seen items"),
            self.share(facts.unseen_items_per_domain, &facts.forbidden, "unseen items"),
            self.permitted_probe(),
        ];
        if let Some(cross) = cross {
            // A data set's unseen domains are nobody's: the attacker's own are asked in its seen rows.
            let items = match facts.kind {
                DataKind::Dataset => facts.seen_items_per_domain,
                DataKind::World | DataKind::Policy => facts.unseen_items_per_domain,
            };
            all.push(self.share(items, &cross.attack, "cross-domain items"));
        }
        all.into_iter().min().unwrap_or_default()
    }
}

/// A number of items, no more than there are where that is known.
fn within(available: Option<(usize, String)>) -> Whole {
    match available {
        Some((available, reason)) => Whole::of(available, reason),
        None => Whole::at_least(1),
    }
}

fn count<'a>(table: &mut Table<'a>, key: &'a str, kind: Whole) -> Option<usize> {
    usize::try_from(table.require(key, kind)?).ok()
}

/// A number of items that may be left out, or none at all.
fn optional_count<'a>(
    table: &mut Table<'a>,
    key: &'a str,
    available: Option<(usize, String)>,
) -> Option<usize> {
    match available {
        // Nothing to ask: zero is the only number, and the message says why.
        Some((0, reason)) => match table.optional(key, Whole::any())? {
            None | Some(0) => Some(0),
            Some(_) => table.reject(key, reason, "leave it out"),
        },
        available => match table.optional(key, within(available))? {
            Some(items) => usize::try_from(items).ok(),
            None => Some(0),
        },
    }
}

fn share() -> Real {
    Real::between(0.0, 1.0)
}

/// The model, and the world or policy that its data come from.
fn model<'a>(
    table: &mut Table<'_>,
    catalogue: &'a Catalogue,
    data: &mut Option<&'a DataFacts>,
) -> Option<Model> {
    fn named(facts: &[DataFacts]) -> Vec<(&str, &DataFacts)> {
        facts.iter().map(|facts| (facts.name.as_str(), facts)).collect()
    }
    if let Some(checkpoint) = table.optional("checkpoint", Text)? {
        let dataset = table.optional("dataset", Word(&named(&catalogue.datasets)))?;
        *data = match dataset {
            Some(dataset) => Some(dataset),
            None => table.require("policy", Word(&named(&catalogue.policies))),
        };
        checkpoint_model(table, checkpoint, *data).map(Model::Checkpoint)
    } else {
        *data = table.require("world", Word(&named(&catalogue.worlds)));
        world_model(table, *data).map(Model::World)
    }
}

fn checkpoint_model(
    table: &mut Table<'_>,
    checkpoint: String,
    data: Option<&DataFacts>,
) -> Option<CheckpointModel> {
    let is_dataset = data.is_some_and(|data| data.kind == DataKind::Dataset);
    let seed = if is_dataset { "dataset_seed" } else { "policy_seed" };
    let data_seed = table.require(seed, Whole::any());
    let answer_tokens = count(table, "answer_tokens", Whole::between(1, 65_536));
    // Who brings harmful data brings a model that was aligned against it.
    let align = if is_dataset {
        Some(None)
    } else {
        table.section("align", |table| align(table, data.map(Splits))).map(Some)
    };
    Some(CheckpointModel {
        checkpoint,
        data: data?.name.clone(),
        data_seed: data_seed?,
        answer_tokens: answer_tokens?,
        align: align?,
    })
}

fn world_model(table: &mut Table<'_>, world: Option<&DataFacts>) -> Option<WorldModel> {
    let splits = world.map(Splits);
    let world_seed = table.require("world_seed", Whole::any());
    let decoder = table.section("decoder", decoder);
    let pretrain = table.section("pretrain", |table| train(table, splits.map(Splits::everything)));
    let align = table.section("align", |table| align(table, splits));
    Some(WorldModel {
        world: world?.name.clone(),
        world_seed: world_seed?,
        decoder: decoder?,
        pretrain: pretrain?,
        align: align?,
    })
}

fn decoder(table: &mut Table<'_>) -> Option<DecoderSpec> {
    let hidden = count(table, "hidden", Whole::at_least(1));
    let layers = count(table, "layers", Whole::at_least(1));
    let heads = count(table, "heads", Whole::at_least(1));
    let kv_heads = count(table, "kv_heads", Whole::at_least(1));
    let intermediate = count(table, "intermediate", Whole::at_least(1));
    let rope_theta = table.require("rope_theta", Real::positive());
    let norm_epsilon = table.require("norm_epsilon", Real::positive());
    let init_std = table.require("init_std", Real::positive());
    // The rotary embedding turns pairs of numbers, so each head needs an even width.
    if let (Some(hidden), Some(heads)) = (hidden, heads)
        && (hidden % heads != 0 || (hidden / heads) % 2 != 0)
    {
        let problem = format!("a width of {hidden} does not divide into {heads} heads of even width");
        table.reject::<()>("hidden", problem, format!("take a multiple of {}", heads.saturating_mul(2)));
    }
    if let (Some(heads), Some(kv_heads)) = (heads, kv_heads)
        && heads % kv_heads != 0
    {
        let problem = format!("{kv_heads} key and value heads do not divide {heads} heads");
        table.reject::<()>("kv_heads", problem, "take a divisor of `heads`");
    }
    let experts = table.optional("experts", Whole::between(0, MOST_EXPERTS));
    let most = experts.flatten().filter(|experts| *experts > 0).unwrap_or(MOST_EXPERTS) as usize;
    let reason = format!("a token cannot pass through more than all {most} `experts`");
    let experts_per_token = table.optional("experts_per_token", Whole::of(most, reason));
    let balance = table.optional("balance", share());
    let (experts, experts_per_token, balance) = (experts?, experts_per_token?, balance?);
    let experts = experts.filter(|experts| *experts > 0);
    for (key, there) in [("experts_per_token", experts_per_token.is_some()), ("balance", balance.is_some())] {
        if there && experts.is_none() {
            table.reject::<()>(key, "the decoder has no experts", "state `experts` or leave it out");
        }
    }
    // As in Mixtral, whose routers choose two.
    let per_token = experts_per_token.map_or(2.min(most), |per_token| per_token as usize);
    Some(DecoderSpec {
        experts: experts.unwrap_or(0) as usize,
        experts_per_token: experts.map_or(0, |_| per_token),
        balance: experts.map_or(0.0, |_| balance.unwrap_or(0.01)),
        hidden: hidden?,
        layers: layers?,
        heads: heads?,
        kv_heads: kv_heads?,
        intermediate: intermediate?,
        rope_theta: rope_theta?,
        norm_epsilon: norm_epsilon?,
        init_std: init_std?,
    })
}

fn train(table: &mut Table<'_>, data: Option<(usize, String)>) -> Option<TrainSpec> {
    const SCHEDULES: [(&str, Schedule); 3] =
        [("constant", Schedule::Constant), ("cosine", Schedule::Cosine), ("linear", Schedule::Linear)];
    let decay = || Real::within(Bound::Included(0.0), Bound::Excluded(1.0));
    let steps = table.require("steps", Whole::at_least(1));
    let batch = count(table, "batch", within(data));
    let rate = table.require("rate", Real::rate());
    let schedule = table.require("schedule", Word(&SCHEDULES));
    let warmup_steps = table.require("warmup_steps", Whole::any());
    let beta1 = table.require("beta1", decay());
    let beta2 = table.require("beta2", decay());
    let weight_decay = table.require("weight_decay", share());
    let clip = table.optional("clip", Real::positive());
    if let (Some(warmup), Some(steps)) = (warmup_steps, steps)
        && warmup > steps
    {
        let problem = format!("{warmup} steps of warm-up are more than all {steps} steps");
        table.reject::<()>("warmup_steps", problem, "lower it or raise `steps`");
    }
    Some(TrainSpec {
        steps: steps?,
        batch: batch?,
        rate: rate?,
        schedule: schedule?,
        warmup_steps: warmup_steps?,
        beta1: beta1?,
        beta2: beta2?,
        weight_decay: weight_decay?,
        clip: clip?,
    })
}

fn align(table: &mut Table<'_>, splits: Option<Splits<'_>>) -> Option<AlignSettings> {
    let refusals = count(table, "refusals", within(splits.map(Splits::align)));
    let permitted = count(table, "permitted", within(splits.map(Splits::permitted_train)));
    let data = refusals.zip(permitted).map(|(refusals, permitted)| {
        (refusals + permitted, format!("alignment has {refusals} refusals and {permitted} permitted items"))
    });
    let train = table.section("train", |table| train(table, data));
    Some(AlignSettings { refusals: refusals?, permitted: permitted?, train: train? })
}

fn cross_domain(table: &mut Table<'_>, world: Option<&DataFacts>) -> Option<CrossDomain> {
    let defence = domains(table, "defence", world);
    let attack = domains(table, "attack", world);
    let (defence, attack) = (defence?, attack?);
    let shared: Vec<String> = attack.iter().filter(|domain| defence.contains(domain)).cloned().collect();
    if !shared.is_empty() {
        let problem = format!("the defence trains on {} too", shared.join(" and "));
        return table.reject("attack", problem, "name each domain on one side only");
    }
    Some(CrossDomain { defence, attack })
}

fn domains<'a>(table: &mut Table<'a>, key: &'a str, world: Option<&DataFacts>) -> Option<Vec<String>> {
    let Some(world) = world else { return table.require(key, Each(Text)) };
    let forbidden: Vec<_> = world.forbidden.iter().map(|domain| (domain.as_str(), domain)).collect();
    Some(table.require(key, Each(Word(&forbidden)))?.into_iter().cloned().collect())
}

fn probe(
    table: &mut Table<'_>,
    splits: Option<Splits<'_>>,
    cross: Option<&CrossDomain>,
    phi: Option<f64>,
    last_step: &mut Option<u64>,
) -> Option<ProbeSettings> {
    let cadence = table.require("cadence", Cadence);
    *last_step = cadence.as_ref().and_then(|cadence| cadence.last().copied());
    let items = count(table, "items", within(splits.map(|splits| splits.probes(cross))));
    let reason = "an attack must go on until harmfulness exceeds `conditions.phi`";
    let stop_above = table.optional("stop_above", Real::between(phi.unwrap_or(0.0), 1.0).because(reason));
    let judges = judges(table, splits.map(|splits| splits.0));
    let refusals = table.optional("refusals", Text);
    let (cadence, items, stop_above) = (cadence?, items?, stop_above?);
    Some(ProbeSettings { cadence, items, stop_above, judges: judges?, refusals: refusals? })
}

fn trainability(table: &mut Table<'_>, splits: Option<Splits<'_>>) -> Option<TrainabilitySettings> {
    let rates = table.require("rates", Each(Real::rate()));
    let seeds = table.require("seeds", seeds());
    let examples = count(table, "examples", within(splits.map(Splits::alias_train)));
    let items = count(table, "items", within(splits.map(Splits::alias_probe)));
    let cadence = table.require("cadence", Cadence);
    let data = examples.map(|examples| (examples, format!("there are {examples} `examples`")));
    let batch = count(table, "batch", within(data));
    Some(TrainabilitySettings {
        rates: rates?,
        seeds: seeds?,
        examples: examples?,
        items: items?,
        cadence: cadence?,
        batch: batch?,
    })
}

fn conditions(table: &mut Table<'_>, phi: &mut Option<f64>) -> Option<ConditionSettings> {
    let open = || Real::within(Bound::Excluded(0.0), Bound::Excluded(1.0));
    *phi = table.require("phi", share());
    let confidence = table.require("confidence", open());
    let stability_epsilon = table.require("stability_epsilon", open());
    let trainability_epsilon = table.require("trainability_epsilon", Real::positive());
    let trainability_delta = table.require("trainability_delta", open());
    let target = Real::within(Bound::Excluded(0.0), Bound::Included(1.0));
    let trainability_target = table.require("trainability_target", target);
    // An interval's ends cannot be read from a handful of resamples.
    let resamples = count(table, "resamples", Whole::between(100, 1_000_000));
    Some(ConditionSettings {
        phi: (*phi)?,
        confidence: confidence?,
        stability_epsilon: stability_epsilon?,
        trainability_epsilon: trainability_epsilon?,
        trainability_delta: trainability_delta?,
        trainability_target: trainability_target?,
        resamples: resamples?,
    })
}

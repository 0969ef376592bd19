//! Asks a model the items of its probes, and has the answers judged.

use titer_data::world::{Item, Split};
use titer_judges::{Grade, Judge, Oracle};
use titer_metrics::{ProbeRow, ResponseRow};
use titer_model::{Choice, Decoder, Generate};
use titer_plan::stage::ProbeSpec;
use titer_plan::{Budget, Probe};

use super::WorldData;
use crate::Result;

/// The items of a stage's probes, made once and asked at every checkpoint.
pub(super) struct Questions {
    data: WorldData,
    asked: Vec<(Probe, Item)>,
    prompts: Vec<Vec<u32>>,
}

/// What a model answered at one checkpoint.
pub(super) struct Answers {
    pub(super) rows: Vec<ProbeRow>,
    pub(super) responses: Vec<ResponseRow>,
}

impl Questions {
    pub(super) fn new(data: WorldData, probes: &[ProbeSpec]) -> Result<Self> {
        let mut asked = Vec::new();
        for probe in probes {
            let split = match probe.probe {
                Probe::Seen => Split::Seen,
                Probe::Unseen | Probe::CrossDomain => Split::Unseen,
                Probe::Permitted => Split::PermittedProbe,
                Probe::Alias => Split::AliasProbe,
            };
            let items = data.probe_items(split, &probe.domains, probe.items)?;
            asked.extend(items.into_iter().map(|item| (probe.probe, item)));
        }
        let prompts = asked.iter().map(|(_, item)| data.world.prompt(item)).collect::<Result<_, _>>()?;
        Ok(Self { data, asked, prompts })
    }

    /// Greedy answers to all questions, judged. `name` tells the artifact's responses from others'.
    pub(super) fn ask(&self, model: &Decoder, budget: &Budget, name: &str) -> Result<Answers> {
        let world = &self.data.world;
        // Two tokens more than the longest answer, so that one that does not end is seen to go on.
        let generate = Generate {
            max_new_tokens: world.longest_answer() + 2,
            end: Some(world.end()),
            choice: Choice::Greedy,
        };
        let responses = model.generate(&self.prompts, generate)?;
        let mut answers = Answers { rows: Vec::new(), responses: Vec::new() };
        for (((probe, item), prompt), response) in self.asked.iter().zip(&self.prompts).zip(&responses) {
            let grade = if probe.is_harmful() { Grade::Graded } else { Grade::Exact };
            let oracle = Oracle::new(world, grade);
            let judgement = oracle.judge(item, response);
            let response_id = format!("{name}/{}/{probe}/{item}", budget.steps);
            answers.rows.push(ProbeRow {
                budget_steps: budget.steps,
                budget_examples: budget.examples,
                budget_flops: budget.flops,
                probe: *probe,
                item: item.to_string(),
                judge: oracle.name().to_owned(),
                score: judgement.score,
                refused: judgement.refused,
                degenerate: judgement.degenerate,
                response_id: response_id.clone(),
            });
            answers.responses.push(ResponseRow {
                response_id,
                prompt: world.decode(prompt),
                response: world.decode(response),
            });
        }
        Ok(answers)
    }
}

/// Mean score of each probe among `rows`.
pub(super) fn means(rows: &[ProbeRow]) -> Vec<(Probe, f64)> {
    let mut sums: std::collections::BTreeMap<Probe, (f64, usize)> = Default::default();
    for row in rows {
        let sum = sums.entry(row.probe).or_default();
        *sum = (sum.0 + row.score, sum.1 + 1);
    }
    sums.into_iter().map(|(probe, (sum, count))| (probe, sum / count as f64)).collect()
}

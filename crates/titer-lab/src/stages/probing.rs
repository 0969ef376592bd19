//! Asks a model the questions of its probes, and has the answers judged.

use titer_metrics::{ProbeRow, ResponseRow};
use titer_model::{Choice, Decoder, Generate};
use titer_plan::stage::ProbeSpec;
use titer_plan::{Budget, Probe};

use crate::Result;
use crate::material::{Ask, Judged, Material, Question};

/// The questions of a stage's probes, made once and asked at every checkpoint.
pub(super) struct Questions {
    data: Box<dyn Material>,
    questions: Vec<Question>,
}

/// What a model answered at one checkpoint.
pub(super) struct Answers {
    pub(super) rows: Vec<ProbeRow>,
    pub(super) responses: Vec<ResponseRow>,
}

impl Questions {
    pub(super) fn new(data: Box<dyn Material>, probes: &[ProbeSpec]) -> Result<Self> {
        let mut questions = Vec::new();
        for probe in probes {
            questions.extend(data.questions(probe)?);
        }
        Ok(Self { data, questions })
    }

    /// Greedy answers to all questions, judged. `name` tells the artifact's responses from others'.
    pub(super) fn ask(&self, model: &Decoder, budget: &Budget, name: &str) -> Result<Answers> {
        let prompts: Vec<Vec<u32>> = self
            .questions
            .iter()
            .map(|question| match &question.ask {
                Ask::Answer { prompt, .. } => prompt.clone(),
            })
            .collect();
        let answering = self.data.answering();
        let generate =
            Generate { max_new_tokens: answering.max_new_tokens, end: answering.end, choice: Choice::Greedy };
        let responses = model.generate(&prompts, generate)?;
        let mut answers = Answers { rows: Vec::new(), responses: Vec::new() };
        for (question, response) in self.questions.iter().zip(&responses) {
            let Ask::Answer { prompt, judge } = &question.ask;
            let (prompt, response_text) = (self.data.text(prompt), self.data.text(response));
            answers.push(question, judge(response), budget, name, prompt, response_text);
        }
        Ok(answers)
    }
}

impl Answers {
    fn push(
        &mut self,
        question: &Question,
        judged: Judged,
        budget: &Budget,
        name: &str,
        prompt: String,
        response: String,
    ) {
        let Question { probe, item, .. } = question;
        let Judged { judge, judgement } = judged;
        let response_id = format!("{name}/{}/{probe}/{item}", budget.steps);
        self.rows.push(ProbeRow {
            budget_steps: budget.steps,
            budget_examples: budget.examples,
            budget_flops: budget.flops,
            probe: *probe,
            item: item.clone(),
            judge: judge.to_owned(),
            score: judgement.score,
            refused: judgement.refused,
            degenerate: judgement.degenerate,
            response_id: response_id.clone(),
        });
        self.responses.push(ResponseRow { response_id, prompt, response });
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

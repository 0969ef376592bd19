//! Asks a model the questions of its probes, and has the answers judged.

use std::collections::BTreeMap;

use titer_attacks::Asked;
use titer_data::Packed;
use titer_judges::Judgement;
use titer_judges::choice::choose;
use titer_metrics::{ProbeRow, ResponseRow};
use titer_model::{Choice, Decoder, Generate};
use titer_plan::stage::ProbeSpec;
use titer_plan::{Cost, Probe};
use titer_train::chosen_experts;

use crate::Result;
use crate::material::{Answering, Ask, Judged, Material, Pair, Question};

/// The questions of a stage's probes, made once and asked at every checkpoint.
pub(super) struct Questions {
    data: Box<dyn Material>,
    questions: Vec<Question>,
    /// The questions that an attacker puts otherwise, by their place.
    otherwise: BTreeMap<usize, Asked>,
    /// The experts through which the model before sent the prompts of [`Ask::Route`].
    routes: Vec<Experts>,
}

/// The experts that a prompt's last token passes through, layer by layer.
type Experts = Vec<Vec<u32>>;

/// What a model answered at one checkpoint.
pub(super) struct Answers {
    pub(super) rows: Vec<ProbeRow>,
    pub(super) responses: Vec<ResponseRow>,
}

impl Questions {
    /// `before` is the model that the others are compared with, where they are.
    pub(super) fn new(data: Box<dyn Material>, probes: &[ProbeSpec], before: &Decoder) -> Result<Self> {
        let mut questions = Vec::new();
        for probe in probes {
            questions.extend(data.questions(probe)?);
        }
        let mut asked = Self { data, questions, otherwise: BTreeMap::new(), routes: Vec::new() };
        asked.routes = asked.route(before)?;
        Ok(asked)
    }

    /// Has forbidden prompts asked as an attacker asks them.
    pub(super) fn put_otherwise(&mut self, ask: impl Fn(&[u32]) -> Result<Asked>) -> Result<()> {
        for (place, question) in self.questions.iter().enumerate() {
            if let Ask::Answer { prompt, .. } = &question.ask
                && question.probe.is_harmful()
            {
                self.otherwise.insert(place, ask(prompt)?);
            }
        }
        Ok(())
    }

    /// What the model says to all questions, judged. `name` tells the artifact's responses from others'.
    pub(super) fn ask(&self, model: &Decoder, spent: &Cost, name: &str) -> Result<Answers> {
        let mut answers = Answers { rows: Vec::new(), responses: Vec::new() };
        let mut spoken = self.speak(model)?.into_iter();
        let mut read = self.read(model)?.into_iter();
        let mut routed = self.route(model)?.into_iter().zip(&self.routes);
        for (place, question) in self.questions.iter().enumerate() {
            let mut take = |count| read.by_ref().take(count).collect::<Vec<f64>>();
            let (prompt, response, judged) = match &question.ask {
                Ask::Answer { prompt, judge } => {
                    let response = spoken.next().unwrap_or_default();
                    let prompt = self.otherwise.get(&place).map_or(prompt, |asked| &asked.prompt);
                    (self.data.text(prompt), self.data.text(&response), judge(&response)?)
                }
                Ask::Choose { prompt, pairs, choices, gold } => {
                    let (chosen, judged) = chosen(&take(pairs.len()), choices, *gold)?;
                    (prompt.clone(), chosen, judged)
                }
                Ask::Route { prompt } => {
                    let (now, before) = routed.next().unzip();
                    let (now, before) = (now.unwrap_or_default(), before.map_or(&[][..], Vec::as_slice));
                    (self.data.text(prompt), told(&now), moved(&now, before))
                }
                Ask::Read { text, .. } => {
                    let log_likelihood = take(1).into_iter().sum();
                    (text.clone(), String::new(), fluent(log_likelihood, text))
                }
            };
            answers.push(question, judged, spent, name, prompt, response);
        }
        Ok(answers)
    }

    /// Greedy answers to the questions that ask for one, in their order, with what an attacker made them begin with.
    fn speak(&self, model: &Decoder) -> Result<Vec<Vec<u32>>> {
        let (mut prompts, mut openings) = (Vec::new(), Vec::new());
        for (place, question) in self.questions.iter().enumerate() {
            let Ask::Answer { prompt, .. } = &question.ask else { continue };
            let (prompt, opening) = match self.otherwise.get(&place) {
                Some(asked) => (&asked.prompt, asked.opening.as_slice()),
                None => (prompt, &[][..]),
            };
            prompts.push([prompt, opening].concat());
            openings.push(opening);
        }
        let Answering { max_new_tokens, ends } = self.data.answering();
        let settings = Generate { max_new_tokens, ends: &ends, choice: Choice::Greedy };
        let added = model.generate(&prompts, settings)?;
        Ok(openings.into_iter().zip(added).map(|(opening, added)| [opening, &added].concat()).collect())
    }

    /// The experts of all prompts whose routing is asked for, in their order.
    fn route(&self, model: &Decoder) -> Result<Vec<Experts>> {
        let prompts = self.questions.iter().filter_map(|question| match &question.ask {
            Ask::Route { prompt } => Some(prompt.as_slice()),
            _ => None,
        });
        let packed = Packed::from_prompts(prompts);
        if packed.rows.is_empty() { Ok(Vec::new()) } else { Ok(chosen_experts(model, &packed)?) }
    }

    /// Log-likelihoods in nats of all continuations, in their order.
    fn read(&self, model: &Decoder) -> Result<Vec<f64>> {
        let pairs: Vec<Pair> = self
            .questions
            .iter()
            .flat_map(|question| match &question.ask {
                Ask::Answer { .. } | Ask::Route { .. } => &[][..],
                Ask::Choose { pairs, .. } => pairs,
                Ask::Read { pair, .. } => std::slice::from_ref(pair),
            })
            .cloned()
            .collect();
        Ok(model.log_likelihoods(&pairs)?.into_iter().map(|found| found.sum).collect())
    }
}

/// Experts as text: `layer 0: 3 5, layer 1: 0 7`.
fn told(experts: &[Vec<u32>]) -> String {
    let of_layer = |(layer, chosen): (usize, &Vec<u32>)| {
        let chosen: Vec<String> = chosen.iter().map(u32::to_string).collect();
        format!("layer {layer}: {}", chosen.join(" "))
    };
    experts.iter().enumerate().map(of_layer).collect::<Vec<_>>().join(", ")
}

/// The share of the chosen experts that were not chosen before, whatever their order.
fn moved(now: &[Vec<u32>], before: &[Vec<u32>]) -> Judged {
    let layers = || now.iter().zip(before);
    let chosen: usize = layers().map(|(now, _)| now.len()).sum();
    let other: usize =
        layers().map(|(now, before)| now.iter().filter(|expert| !before.contains(expert)).count()).sum();
    let score = if chosen == 0 { 0.0 } else { other as f64 / chosen as f64 };
    let judgement = Judgement { score, refused: false, degenerate: false };
    Judged { judge: "routing", judgement }
}

/// The likeliest continuation, and whether it is the right one: `acc_norm`.
fn chosen(log_likelihoods: &[f64], choices: &[String], gold: usize) -> Result<(String, Judged)> {
    let texts: Vec<&str> = choices.iter().map(String::as_str).collect();
    let right = choose(log_likelihoods, &texts, gold)?.acc_norm;
    // Whichever it was, one question tells: the choice that is right if taken for gold. Among equals the first.
    let best =
        (0..texts.len()).find(|at| choose(log_likelihoods, &texts, *at).is_ok_and(|found| found.acc_norm));
    let score = f64::from(u8::from(right));
    let judgement = Judgement { score, refused: false, degenerate: false };
    let text = best.map(|at| choices[at].clone()).unwrap_or_default();
    Ok((text, Judged { judge: "acc-norm", judgement }))
}

/// How fluently a text was read: the geometric mean of the probability of its bytes, which is one over the
/// byte perplexity, and a share as conditions need it.
fn fluent(log_likelihood: f64, text: &str) -> Judged {
    let score = (log_likelihood / text.len() as f64).exp().clamp(0.0, 1.0);
    Judged { judge: "byte-likelihood", judgement: Judgement { score, refused: false, degenerate: false } }
}

impl Answers {
    fn push(
        &mut self,
        question: &Question,
        judged: Judged,
        spent: &Cost,
        name: &str,
        prompt: String,
        response: String,
    ) {
        let Question { probe, item, .. } = question;
        let Judged { judge, judgement } = judged;
        let response_id = format!("{name}/{}/{probe}/{item}", spent.steps);
        self.rows.push(ProbeRow {
            spent: *spent,
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
    by_probe(rows).into_iter().map(|(probe, scores)| (probe, mean(&scores))).collect()
}

/// Standard error of each probe's mean score among `rows`, over items; none where there is one item only.
pub(super) fn standard_errors(rows: &[ProbeRow]) -> Vec<(Probe, f64)> {
    let error = |scores: Vec<f64>| {
        let (mean, count) = (mean(&scores), scores.len());
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        (squares / ((count - 1) * count) as f64).sqrt()
    };
    let several = by_probe(rows).into_iter().filter(|(_, scores)| scores.len() > 1);
    several.map(|(probe, scores)| (probe, error(scores))).collect()
}

fn by_probe(rows: &[ProbeRow]) -> BTreeMap<Probe, Vec<f64>> {
    let mut scores = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        scores.entry(row.probe).or_default().push(row.score);
    }
    scores
}

fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// A row of which only the score matters, for the tests.
#[cfg(test)]
pub(super) fn scored(steps: u64, probe: Probe, score: f64) -> ProbeRow {
    ProbeRow {
        spent: Cost { steps, ..Cost::default() },
        probe,
        item: String::new(),
        judge: String::new(),
        score,
        refused: false,
        degenerate: false,
        response_id: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_have_the_standard_errors_of_samples() {
        let row = |probe, score| scored(0, probe, score);
        let rows =
            [row(Probe::Seen, 0.0), row(Probe::Unseen, 0.3), row(Probe::Seen, 1.0), row(Probe::Seen, 1.0)];
        assert_eq!(means(&rows), [(Probe::Seen, 2.0 / 3.0), (Probe::Unseen, 0.3)]);
        // The sample's variance is 1/3, and the mean's a third of that.
        let errors = standard_errors(&rows);
        assert!(
            matches!(errors[..], [(Probe::Seen, error)] if (error - 1.0 / 3.0).abs() < 1e-12),
            "{errors:?}"
        );
    }

    #[test]
    fn routing_has_moved_by_the_share_of_new_experts() {
        let before = [vec![0, 1], vec![2, 3]];
        for (now, expected) in [
            ([vec![1, 0], vec![3, 2]], 0.0),
            ([vec![0, 5], vec![2, 3]], 0.25),
            ([vec![4, 5], vec![6, 7]], 1.0),
        ] {
            assert_eq!(moved(&now, &before).judgement.score, expected);
        }
        assert_eq!(moved(&[], &[]).judgement.score, 0.0);
        assert_eq!(told(&before), "layer 0: 0 1, layer 1: 2 3");
    }
}

//! Asks a model the questions of its probes, and has the answers judged.

use std::collections::BTreeMap;
use std::rc::Rc;

use titer_attacks::{Asked, Attack, AttackContext, Decoding};
use titer_data::{Packed, Stream};
use titer_measures::choice::likeliest as likeliest_choice;
use titer_measures::measures::routing::told;
use titer_measures::{Continuation, Exchange};
use titer_metrics::{ProbeRow, ResponseRow};
use titer_model::{Choice, Decoder, Draws, Generate};
use titer_plan::{Cost, Probe};
use titer_train::chosen_experts;

use super::Work;
use super::bench::Bench;
use super::recall::{Recall, likeliest};
use crate::Result;
use crate::material::{Answering, Ask, Material, Pair, Question};

/// The questions of a stage's probes, made once and asked at every checkpoint.
pub(super) struct Questions<'a> {
    data: Rc<dyn Material>,
    questions: Vec<Question>,
    /// The questions that an attacker puts otherwise, by their place.
    otherwise: BTreeMap<usize, Asked>,
    /// What the attacker makes of the answers to those.
    heard: Option<Hear<'a>>,
    /// Tokens that such an answer has beyond what it says, at most.
    room: usize,
    /// How the answers to those are drawn, and from which seed; the likeliest words where nothing is said.
    drawn: Option<(Decoding, u64)>,
    bench: Bench,
    /// The experts through which the model before sent the prompts of [`Ask::Route`], by their place.
    routes: BTreeMap<usize, Experts>,
    recall: &'a Recall,
}

/// What an attacker makes of an answer before it is judged.
type Hear<'a> = Box<dyn Fn(Vec<u32>) -> Result<Vec<u32>> + 'a>;

/// The experts that a prompt's last token passes through, layer by layer.
type Experts = Vec<Vec<u32>>;

/// What a model answered at one checkpoint.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) rows: Vec<ProbeRow>,
    pub(super) responses: Vec<ResponseRow>,
    /// Tokens that it answered with.
    pub(super) tokens: u64,
}

impl Answers {
    /// More of the same checkpoint.
    pub(super) fn extend(&mut self, more: Self) {
        self.rows.extend(more.rows);
        self.responses.extend(more.responses);
        self.tokens += more.tokens;
    }
}

/// What a model said to one question, once or several times.
struct Said<'a> {
    /// The question's place.
    place: usize,
    /// What an attacker who puts it otherwise made the answer begin with.
    opening: Option<&'a [u32]>,
    answers: Vec<Vec<u32>>,
}

/// An answer before it is judged.
struct Spoken {
    probe: Probe,
    response_id: String,
    exchange: Exchange,
}

impl<'a> Questions<'a> {
    /// Those of the stage. `before` is the model that the others are compared with, where they are.
    pub(super) fn new(work: &Work<'a>, data: Rc<dyn Material>, before: &Decoder) -> Result<Self> {
        let mut questions = Vec::new();
        for probe in work.stage.spec.probes() {
            questions.extend(data.questions(probe)?);
        }
        let bench = Bench::new(work.stage, work.store, work.device)?;
        let (otherwise, routes, recall) = (BTreeMap::new(), BTreeMap::new(), work.recall);
        let mut asked =
            Self { data, questions, otherwise, heard: None, room: 0, drawn: None, bench, routes, recall };
        let all = asked.places();
        asked.routes = asked.routed(&all).zip(asked.route(before, &all)?).collect();
        Ok(asked)
    }

    /// The places of all questions.
    pub(super) fn places(&self) -> Vec<usize> {
        (0..self.questions.len()).collect()
    }

    /// Which probe the question of a place belongs to.
    pub(super) fn probe(&self, place: usize) -> Probe {
        self.questions[place].probe
    }

    /// The same with forbidden prompts asked as an attacker asks them once it has spent something, and heard as it
    /// hears them.
    pub(super) fn put_by(mut self, attack: &'a Attack, context: &'a AttackContext<'a>) -> Result<Self> {
        for (place, question) in self.questions.iter().enumerate() {
            if let Ask::Answer { prompt } = &question.ask
                && question.probe.is_harmful()
                && let Some(asked) = attack.ask(prompt, context)?
            {
                self.otherwise.insert(place, asked);
            }
        }
        if !self.otherwise.is_empty() {
            self.room = attack.room(context)?;
        }
        self.heard = Some(Box::new(|answer| Ok(attack.hear(answer, context)?)));
        self.drawn = attack.decoding().map(|decoding| (decoding, context.seed));
        Ok(self)
    }

    /// The scores that count of the questions of some places, in their order; `rows` has all of them.
    pub(super) fn scores(&self, places: &[usize], rows: &[ProbeRow]) -> Vec<f64> {
        let deciding = rows.iter().filter(|row| row.decides);
        let by_item: BTreeMap<(Probe, &str), f64> =
            deciding.map(|row| ((row.probe, row.item.as_str()), row.score)).collect();
        let score = |place: &usize| {
            let Question { probe, item, .. } = &self.questions[*place];
            by_item.get(&(*probe, item.as_str())).copied().unwrap_or_default()
        };
        places.iter().map(score).collect()
    }

    /// How the question of that place is put otherwise, where it is. Before anything is spent all are put plainly.
    fn otherwise(&self, place: usize, spent: &Cost) -> Option<&Asked> {
        self.otherwise.get(&place).filter(|_| spent.steps > 0)
    }

    /// What the model says to all questions, judged. `name` tells the artifact's responses from others'.
    pub(super) fn ask(&self, model: &Decoder, spent: &Cost, name: &str) -> Result<Answers> {
        self.ask_of(&self.places(), model, spent, name)
    }

    /// The same of the questions of some places.
    pub(super) fn ask_of(
        &self,
        places: &[usize],
        model: &Decoder,
        spent: &Cost,
        name: &str,
    ) -> Result<Answers> {
        let (mut all, mut responses) = (Vec::new(), Vec::new());
        let said = self.speak(model, spent, places)?;
        let tokens = said.iter().flat_map(|said| &said.answers).map(|answer| answer.len() as u64).sum();
        let mut spoken = self.worst(said)?.into_iter();
        let mut read = self.read(model, places)?.into_iter();
        let mut routed = self.route(model, places)?.into_iter();
        for &place in places {
            let Question { probe, item, ask, question, reference } = &self.questions[place];
            let mut take = |texts: &[String]| -> Vec<Continuation> {
                let nats = read.by_ref().take(texts.len());
                texts.iter().cloned().zip(nats).map(|(text, nats)| Continuation { text, nats }).collect()
            };
            let mut exchange = Exchange {
                item: item.clone(),
                question: question.clone(),
                reference: reference.clone(),
                ..Exchange::default()
            };
            let (prompt, response) = match ask {
                Ask::Answer { prompt } => {
                    let response = spoken.next().unwrap_or_default();
                    let prompt = self.otherwise(place, spent).map_or(prompt, |asked| &asked.prompt);
                    exchange.answer = self.data.answer(&response)?;
                    exchange.cut = self.data.is_cut(&response);
                    (self.data.text(prompt), self.data.text(&response))
                }
                Ask::Choose { prompt, choices, .. } => {
                    exchange.continuations = take(choices);
                    (prompt.clone(), chosen(&exchange.continuations))
                }
                Ask::Route { prompt } => {
                    exchange.answer = told(&routed.next().unwrap_or_default());
                    exchange.reference = told(self.routes.get(&place).map_or(&[][..], Vec::as_slice));
                    (self.data.text(prompt), exchange.answer.clone())
                }
                Ask::Read { text, .. } => {
                    exchange.continuations = take(std::slice::from_ref(text));
                    (text.clone(), String::new())
                }
            };
            let response_id = format!("{name}/{}/{probe}/{item}", spent.steps);
            responses.push(ResponseRow {
                response_id: response_id.clone(),
                prompt,
                response,
                question: question.clone(),
                answer: exchange.answer.clone(),
                reference: exchange.reference.clone(),
                continuations: serde_json::to_string(&exchange.continuations)?,
                cut: exchange.cut,
            });
            all.push(Spoken { probe: *probe, response_id, exchange });
        }
        let rows = self.judge(all, spent)?;
        Ok(Answers { rows, responses, tokens })
    }

    /// A row for each answer and measure.
    fn judge(&self, mut all: Vec<Spoken>, spent: &Cost) -> Result<Vec<ProbeRow>> {
        let mut rows = Vec::new();
        all.sort_by_key(|spoken| spoken.probe);
        for spoken in all.chunk_by(|a, b| a.probe == b.probe) {
            let exchanges: Vec<Exchange> = spoken.iter().map(|spoken| spoken.exchange.clone()).collect();
            for judged in self.bench.judge(spoken[0].probe, &exchanges)? {
                rows.extend(spoken.iter().zip(judged.judgements).map(|(spoken, judgement)| ProbeRow {
                    spent: *spent,
                    probe: spoken.probe,
                    item: spoken.exchange.item.clone(),
                    judge: judged.judge.to_owned(),
                    decides: judged.decides,
                    score: judgement.score,
                    marks: judgement.marks,
                    response_id: spoken.response_id.clone(),
                }));
            }
        }
        Ok(rows)
    }

    /// Answers to the questions that ask for one, in their order, with what an attacker made them begin with: the
    /// likeliest words, or as many draws as the attacker makes.
    fn speak(&self, model: &Decoder, spent: &Cost, places: &[usize]) -> Result<Vec<Said<'_>>> {
        let (mut said, mut plain, mut random) = (Vec::new(), Vec::new(), Vec::new());
        let mut rngs: Vec<Draws> = Vec::new();
        for &place in places {
            let question = &self.questions[place];
            let Ask::Answer { prompt } = &question.ask else { continue };
            let otherwise = self.otherwise(place, spent);
            let opening = otherwise.map(|asked| asked.opening.as_slice());
            let prompt = otherwise.map_or(prompt, |asked| &asked.prompt);
            let prompt = [prompt, opening.unwrap_or_default()].concat();
            match self.drawn.filter(|_| otherwise.is_some()) {
                None => plain.push((said.len(), prompt)),
                Some((decoding, seed)) => {
                    // By the item, so that its draws are the same whatever else is asked.
                    let stream = Stream::new(seed, &format!("decoding/{}/{}", question.probe, question.item));
                    for sample in 0..decoding.samples {
                        random.push((said.len(), prompt.clone()));
                        rngs.push(Box::new(stream.at(sample as u64)));
                    }
                }
            }
            said.push(Said { place, opening, answers: Vec::new() });
        }
        let Answering { max_new_tokens, ends } = self.data.answering();
        let room = if said.iter().any(|said| said.opening.is_some()) { self.room } else { 0 };
        let most = max_new_tokens + room;
        let (numbers, prompts): (Vec<usize>, Vec<Vec<u32>>) = plain.into_iter().unzip();
        // Before the first step the attacks on a model ask one and the same.
        let answers = match spent.steps {
            0 => self.recall.likeliest(model, &prompts, most, &ends)?,
            _ => likeliest(model, &prompts, most, &ends)?,
        };
        self.answer(numbers, answers, &mut said)?;
        // Greedy answers do not depend on how far they may go: the others are what they would be without the room.
        let plain = said.iter_mut().filter(|said| said.opening.is_none()).flat_map(|said| &mut said.answers);
        plain.for_each(|answer| answer.truncate(max_new_tokens));
        if let Some((Decoding { temperature, top_p, .. }, _)) = self.drawn {
            let choice = Choice::Nucleus { temperature, top_p, rngs: &mut rngs };
            let (numbers, prompts): (Vec<usize>, Vec<Vec<u32>>) = random.into_iter().unzip();
            let answers = model.generate(&prompts, Generate { max_new_tokens: most, ends: &ends, choice })?;
            self.answer(numbers, answers, &mut said)?;
        }
        Ok(said)
    }

    /// Adds a model's answers to what was said to the questions of those numbers.
    fn answer(&self, numbers: Vec<usize>, answers: Vec<Vec<u32>>, said: &mut [Said<'_>]) -> Result<()> {
        for (number, added) in numbers.into_iter().zip(answers) {
            let whole = match (said[number].opening, &self.heard) {
                (None, _) => added,
                (Some(opening), None) => [opening, &added].concat(),
                (Some(opening), Some(heard)) => heard([opening, &added].concat())?,
            };
            said[number].answers.push(whole);
        }
        Ok(())
    }

    /// Of several answers to a question the one that the judge that counts finds most harmful, the first of equals.
    fn worst(&self, said: Vec<Said<'_>>) -> Result<Vec<Vec<u32>>> {
        let mut scores: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let mut of_probe: BTreeMap<Probe, Vec<(usize, usize, Exchange)>> = BTreeMap::new();
        for said in said.iter().filter(|said| said.answers.len() > 1) {
            let question = &self.questions[said.place];
            for (number, answer) in said.answers.iter().enumerate() {
                let exchange = Exchange {
                    item: question.item.clone(),
                    question: question.question.clone(),
                    reference: question.reference.clone(),
                    answer: self.data.answer(answer)?,
                    cut: self.data.is_cut(answer),
                    ..Exchange::default()
                };
                of_probe.entry(question.probe).or_default().push((said.place, number, exchange));
            }
        }
        for (probe, told) in of_probe {
            let exchanges: Vec<Exchange> = told.iter().map(|(_, _, exchange)| exchange.clone()).collect();
            let judgements = self.bench.first(probe, &exchanges)?;
            scores.extend(
                told.iter()
                    .zip(judgements)
                    .map(|((place, number, _), judgement)| ((*place, *number), judgement.score)),
            );
        }
        let worst = |said: Said<'_>| {
            let mut most = (0, f64::NEG_INFINITY);
            for number in 0..said.answers.len() {
                let score = scores.get(&(said.place, number)).copied().unwrap_or(0.0);
                if score > most.1 {
                    most = (number, score);
                }
            }
            said.answers.into_iter().nth(most.0).unwrap_or_default()
        };
        Ok(said.into_iter().map(worst).collect())
    }

    /// Those of some places whose routing is asked for.
    fn routed(&self, places: &[usize]) -> impl Iterator<Item = usize> {
        places.iter().copied().filter(|place| matches!(self.questions[*place].ask, Ask::Route { .. }))
    }

    /// The experts of the prompts of some places whose routing is asked for, in their order.
    fn route(&self, model: &Decoder, places: &[usize]) -> Result<Vec<Experts>> {
        let prompts = places.iter().filter_map(|place| match &self.questions[*place].ask {
            Ask::Route { prompt } => Some(prompt.as_slice()),
            _ => None,
        });
        let packed = Packed::from_prompts(prompts);
        if packed.rows.is_empty() { Ok(Vec::new()) } else { Ok(chosen_experts(model, &packed)?) }
    }

    /// Log-likelihoods in nats of all continuations of some places, in their order.
    fn read(&self, model: &Decoder, places: &[usize]) -> Result<Vec<f64>> {
        let pairs: Vec<Pair> = places
            .iter()
            .flat_map(|place| match &self.questions[*place].ask {
                Ask::Answer { .. } | Ask::Route { .. } => &[][..],
                Ask::Choose { pairs, .. } => pairs,
                Ask::Read { pair, .. } => std::slice::from_ref(pair),
            })
            .cloned()
            .collect();
        Ok(model.log_likelihoods(&pairs)?.into_iter().map(|found| found.sum).collect())
    }
}

/// The likeliest continuation per character.
fn chosen(continuations: &[Continuation]) -> String {
    let texts: Vec<&str> = continuations.iter().map(|choice| choice.text.as_str()).collect();
    let nats: Vec<f64> = continuations.iter().map(|choice| choice.nats).collect();
    likeliest_choice(&nats, &texts).unwrap_or_default().to_owned()
}

/// A score that counts, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scored {
    pub(crate) steps: u64,
    pub(crate) probe: Probe,
    pub(crate) score: f64,
}

/// The scores that count.
pub(super) fn deciding(rows: &[ProbeRow]) -> Vec<Scored> {
    let scored = |row: &ProbeRow| Scored { steps: row.spent.steps, probe: row.probe, score: row.score };
    rows.iter().filter(|row| row.decides).map(scored).collect()
}

/// Mean score of each probe.
pub(super) fn means(rows: &[Scored]) -> Vec<(Probe, f64)> {
    by_probe(rows).into_iter().map(|(probe, scores)| (probe, mean(&scores))).collect()
}

/// Standard error of each probe's mean score, over items; none where there is one item only.
pub(super) fn standard_errors(rows: &[Scored]) -> Vec<(Probe, f64)> {
    let error = |scores: Vec<f64>| {
        let (mean, count) = (mean(&scores), scores.len());
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        (squares / ((count - 1) * count) as f64).sqrt()
    };
    let several = by_probe(rows).into_iter().filter(|(_, scores)| scores.len() > 1);
    several.map(|(probe, scores)| (probe, error(scores))).collect()
}

fn by_probe(rows: &[Scored]) -> BTreeMap<Probe, Vec<f64>> {
    let mut scores = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        scores.entry(row.probe).or_default().push(row.score);
    }
    scores
}

fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_have_the_standard_errors_of_samples() {
        let row = |probe, score| Scored { steps: 0, probe, score };
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
}

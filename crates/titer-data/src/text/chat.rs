//! Conversations as tokens: prompts to answer, and examples with the answers supervised.

use std::ops::Range;

use super::{ChatTemplate, End, Message, Role, SpecialTokens, TextError, Tokenizer, thought};
use crate::Example;

/// Bytes of a mark of turns at most.
const LONGEST_MARK: usize = 64;

/// A model's way to talk: its tokenizer, its template and the tokens that end a turn.
#[derive(Debug)]
pub struct Chat {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    special: SpecialTokens,
    end_of_turn: Vec<u32>,
}

impl Chat {
    /// Puts together what belongs to one model.
    ///
    /// The end-of-turn tokens are the end-of-text token and the one that the template writes after an
    /// answer, which is often another.
    ///
    /// # Errors
    /// When a special token is not in the vocabulary, or the template fails on a question and an answer.
    pub fn new(
        tokenizer: Tokenizer,
        template: ChatTemplate,
        special: SpecialTokens,
    ) -> Result<Self, TextError> {
        for (name, token) in special.named() {
            // What fills batches or stands for unknown characters has no part in a conversation.
            let needed = !["pad_token", "unk_token"].contains(&name) && !token.is_empty();
            if needed && tokenizer.id(token).is_none() {
                let problem = format!("{token:?} is not in the vocabulary");
                return Err(TextError::Config { key: name.to_owned(), problem });
            }
        }
        let mut end_of_turn: Vec<u32> = special.eos.iter().filter_map(|eos| tokenizer.id(eos)).collect();
        let (question, answer) = ("question", "titer");
        let probe = [Message::user(question), Message::assistant(answer)];
        let text = template.render(&probe, &special, End::Conversation)?;
        let asked = template.render(&probe[..1], &special, End::GenerationPrompt)?;
        if !text.contains(question) || !asked.contains(question) {
            let problem = "it leaves out what the user says, so that all questions would be one: it is not this \
                           model's template, or not whole";
            return Err(TextError::Template { line: None, problem: problem.to_owned() });
        }
        if let Some(at) = text.rfind(answer) {
            let after = tokenizer.encode(&text[at + answer.len()..])?;
            let closing = after.into_iter().find(|id| tokenizer.is_added(*id));
            end_of_turn.extend(closing.filter(|id| !end_of_turn.contains(id)));
        }
        Ok(Self { tokenizer, template, special, end_of_turn })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The template.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// Tokens at which an answer ends.
    pub fn end_of_turn(&self) -> &[u32] {
        &self.end_of_turn
    }

    /// Checks that a model with `embedding_rows` rows embeds every token that a conversation has. Of the tokens that
    /// are recognised whole some may be above: those that the template does not write.
    ///
    /// # Errors
    /// When an ordinary token's id, or that of a token which the template writes, is beyond the rows.
    pub fn check_vocabulary(&self, embedding_rows: usize) -> Result<(), TextError> {
        self.tokenizer.check_vocabulary(embedding_rows)?;
        let tokens = self.tokenizer.encode(&self.probe()?)?;
        let beyond = tokens.into_iter().find(|id| *id as usize >= embedding_rows);
        beyond.map_or(Ok(()), |id| Err(self.tokenizer.above(id, embedding_rows)))
    }

    /// What the template writes as marks of turns, `<|im_start|>` for one, and the tokenizer divides all the same: a
    /// model that was trained on such a mark as one token would be asked in another way.
    ///
    /// # Errors
    /// When the template or the tokenizer fails on a question.
    pub fn divided_marks(&self) -> Result<Vec<String>, TextError> {
        let text = self.probe()?;
        let mut marks = Vec::new();
        for (at, _) in text.match_indices("<|") {
            let Some(length) = text[at..].find("|>") else { continue };
            let mark = &text[at..at + length + 2];
            let whole = mark.len() <= LONGEST_MARK && !mark.contains(char::is_whitespace);
            if whole && !marks.iter().any(|known| known == mark) && self.tokenizer.encode(mark)?.len() != 1 {
                marks.push(mark.to_owned());
            }
        }
        Ok(marks)
    }

    /// A question and an answer, and the question alone.
    fn probe(&self) -> Result<String, TextError> {
        let probe = [Message::user("question"), Message::assistant("titer")];
        Ok(self.render(&probe, End::Conversation)? + &self.render(&probe[..1], End::GenerationPrompt)?)
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// When the template refuses the conversation or fails on it.
    pub fn render(&self, messages: &[Message], end: End) -> Result<String, TextError> {
        self.template.render(messages, &self.special, end)
    }

    /// The tokens after which the model answers `messages`.
    ///
    /// # Errors
    /// When the template refuses the conversation or fails on it.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        self.tokenizer.encode(&self.render(messages, End::GenerationPrompt)?)
    }

    /// Where the user's last message is in a prompt, as the tokens between what the template writes before and after
    /// a question: the first of a conversation, one after a system prompt, or a later one. A blank before the message
    /// is part of it where one token holds both. None where the template writes otherwise.
    pub fn last_user_words(&self, prompt: &[u32]) -> Option<Range<usize>> {
        let turn = [Message::user("?"), Message::assistant("!")];
        let plain = [&[][..], &turn].into_iter().filter_map(|earlier| self.around_question(earlier));
        // What a template writes between any system prompt and the question.
        let told = ["0", "1"].map(|told| self.around_question(&[Message::system(told)]));
        let told = match told {
            [Some((one, closing)), Some((other, _))] => {
                let same = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
                Some((one[one.len() - same..].to_vec(), closing)).filter(|(opening, _)| !opening.is_empty())
            }
            _ => None,
        };
        let found = plain.chain(told).filter_map(|(opening, closing)| {
            let within = prompt.strip_suffix(closing.as_slice())?;
            let end_of = |opening: &[u32]| match opening {
                [] => Some(0),
                _ => Some(within.windows(opening.len()).rposition(|some| some == opening)? + opening.len()),
            };
            let bare = opening.iter().rposition(|token| !self.is_blank(*token)).map_or(0, |last| last + 1);
            let at = end_of(&opening).max(end_of(&opening[..bare]))?;
            (at < within.len()).then_some(at..within.len())
        });
        found.max_by_key(|words| words.start)
    }

    /// What the template writes before and after a question that follows these messages, from the token on that opens
    /// its turn.
    fn around_question(&self, earlier: &[Message]) -> Option<(Vec<u32>, Vec<u32>)> {
        let asked = |words| self.prompt(&[earlier, &[Message::user(words)]].concat()).ok();
        let (one, other) = (asked("0")?, asked("1")?);
        let same = |pair: &(&u32, &u32)| pair.0 == pair.1;
        let before = one.iter().zip(&other).take_while(same).count();
        let room = one.len().min(other.len()) - before;
        let after = one.iter().rev().zip(other.iter().rev()).take(room).take_while(same).count();
        // A turn begins with a special token, whatever precedes it in a longer conversation.
        let opened = one[..before].iter().rposition(|token| self.tokenizer.is_added(*token)).unwrap_or(0);
        Some((one[opened..before].to_vec(), one[one.len() - after..].to_vec()))
    }

    /// Whether a token is nothing but space.
    fn is_blank(&self, token: u32) -> bool {
        let text = self.tokenizer.decode_all(&[token]);
        !self.tokenizer.is_added(token) && text.is_ok_and(|text| text.trim().is_empty())
    }

    /// A conversation whose every answer, end-of-turn token included, is supervised.
    ///
    /// An answer begins where the prompt of the messages before it ends; a token that lies across that
    /// border counts as the answer's. Tokens after the last answer are left out. Where the template writes an empty
    /// block of thought before the last answer and not in its prompt, or the other way round, the prompt's way holds:
    /// what is taught follows what is asked.
    ///
    /// # Errors
    /// When there is no answer, the prompt leaves a block of thought open, the template refuses the conversation or
    /// fails on it, writes an answer's prompt otherwise once the answer is there, or ends it with no end-of-turn token,
    /// or when an answer holds the text of one.
    pub fn example(&self, messages: &[Message]) -> Result<Example, TextError> {
        let mut text = self.render(messages, End::Conversation)?;
        let mut prompts = Vec::new();
        for (at, message) in
            messages.iter().enumerate().filter(|(_, message)| message.role == Role::Assistant)
        {
            self.refuse_end_of_turn(at, &message.content)?;
            let prompt = self.render(&messages[..at], End::GenerationPrompt)?;
            if thought::is_open(&prompt) {
                return Err(TextError::OpenThought);
            }
            prompts.push((at, prompt));
        }
        if let Some((at, prompt)) = prompts.last().filter(|(at, _)| at + 1 == messages.len())
            && let Some(answer) = thought::answer_after(prompt, &text, &messages[*at].content)
        {
            text = format!("{prompt}{answer}");
        }
        let (tokens, ends) = self.tokenizer.encode_with_ends(&text)?;
        let mut supervised = Vec::new();
        for (at, prompt) in &prompts {
            if !text.starts_with(prompt) {
                // An earlier answer is history: the template may tell it without the thought that it asks for now.
                let content = &messages[*at].content;
                if at + 1 < messages.len() && thought::answer_after(prompt, &text, content).is_some() {
                    continue;
                }
                return Err(TextError::PromptDiffers { message: *at, at: parting(prompt, &text) });
            }
            let start = ends.partition_point(|end| *end <= prompt.len());
            let length = tokens[start..].iter().position(|token| self.end_of_turn.contains(token));
            let length = length.ok_or(TextError::NoEndOfTurn { message: *at })?;
            supervised.push(start..start + length + 1);
        }
        if supervised.is_empty() {
            return Err(TextError::NothingToLearn);
        }
        Example::from_spans(tokens, supervised)
            .map_err(|error| TextError::Coding { problem: error.to_string() })
    }

    /// Checks that an answer can be taught in this way to talk.
    ///
    /// # Errors
    /// As [`Chat::example`], of a question and a short answer.
    pub fn check_teaching(&self) -> Result<(), TextError> {
        self.example(&[Message::user("question"), Message::assistant("titer")]).map(drop)
    }

    fn refuse_end_of_turn(&self, message: usize, content: &str) -> Result<(), TextError> {
        let tokens = self.end_of_turn.iter().filter_map(|id| self.tokenizer.token(*id));
        match tokens.into_iter().find(|token| content.contains(token.as_str())) {
            Some(token) => Err(TextError::EndOfTurnInAnswer { message, token }),
            None => Ok(()),
        }
    }
}

/// The first characters of `prompt` that `text` does not have.
fn parting(prompt: &str, text: &str) -> String {
    let same = prompt.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
    prompt.chars().skip(same).take(40).collect()
}

//! Chat templates: conversations as the text that a model was trained on.
//!
//! Rendered as Transformers' `apply_chat_template` renders, but with a fixed date, and with bounds on
//! work and output, for templates come with models from anywhere. What those bounds do not reach needs a process of
//! its own: [`super::apart`].

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

use serde::{Deserialize, Serialize};

use super::apart::{Apart, Request};
use super::{Message, SpecialTokens, TextError, python};

/// Instructions of the template engine at most; a turn of the longest known templates takes some hundred.
const FUEL: u64 = 5_000_000;

/// Bytes of a rendered conversation at most.
const LONGEST: usize = 16 << 20;

const NAME: &str = "chat";

/// The day that a template is told it is.
///
/// Some templates write the date into the system prompt. With the clock's date, one experiment would be
/// another every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Date(chrono::NaiveDate);

impl Date {
    /// A day of the Gregorian calendar; months and days count from 1.
    ///
    /// # Errors
    /// When there is no such day.
    pub fn new(year: i32, month: u32, day: u32) -> Result<Self, TextError> {
        let date = chrono::NaiveDate::from_ymd_opt(year, month, day);
        date.map(Self).ok_or(TextError::Date { year, month, day })
    }
}

/// Days since the first one of year 1.
impl From<Date> for i32 {
    fn from(date: Date) -> Self {
        chrono::Datelike::num_days_from_ce(&date.0)
    }
}

impl TryFrom<i32> for Date {
    type Error = &'static str;

    fn try_from(days: i32) -> Result<Self, Self::Error> {
        chrono::NaiveDate::from_num_days_from_ce_opt(days).map(Self).ok_or("no day of the calendar")
    }
}

impl Default for Date {
    /// 26 July 2024: what Llama 3.1's template says where it is given no date.
    fn default() -> Self {
        Self(chrono::NaiveDate::from_ymd_opt(2024, 7, 26).unwrap_or_default())
    }
}

/// How the rendered text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// After the last message.
    Conversation,
    /// After what the template writes before an answer, so that the model answers next.
    GenerationPrompt,
}

/// A compiled chat template.
pub struct ChatTemplate {
    engine: Engine,
    source: String,
}

/// Where a template is compiled and rendered.
enum Engine {
    Here(Box<Environment<'static>>),
    Apart(Date, Arc<dyn Apart>),
}

impl ChatTemplate {
    /// Compiles a Jinja template; `date` is what `strftime_now` tells it. Instructions and output are bounded, memory
    /// and stack are not: a template of a stranger belongs [`apart`](Self::apart).
    ///
    /// # Errors
    /// When its syntax is wrong.
    pub fn new(source: &str, date: Date) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(python::method);
        environment.add_filter("trim", |value: Value, characters: Option<String>| {
            python::trim(&value, characters.as_deref())
        });
        environment.add_filter("tojson", |value: Value, options| python::tojson(&value, options));
        environment.add_function("raise_exception", |message: String| Err::<Value, _>(raised(message)));
        environment.add_function("strftime_now", move |format: String| strftime(date, &format));
        // Jinja reads every line end as a newline.
        let normalised = source.replace("\r\n", "\n").replace('\r', "\n");
        environment
            .add_template_owned(NAME, without_generation_tags(&normalised))
            .map_err(|error| failure(&error))?;
        Ok(Self { engine: Engine::Here(Box::new(environment)), source: source.to_owned() })
    }

    /// The same, compiled and rendered by another process.
    ///
    /// # Errors
    /// When its syntax is wrong, or so deep that the process does not survive it.
    pub fn apart(source: &str, date: Date, process: Arc<dyn Apart>) -> Result<Self, TextError> {
        let request = Request { source: source.to_owned(), date, conversation: None };
        Result::from(process.render(&request))?;
        Ok(Self { engine: Engine::Apart(date, process), source: request.source })
    }

    /// The template as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// When the template refuses the conversation, fails on it, or exceeds the bounds on work and output.
    pub fn render(
        &self,
        messages: &[Message],
        special: &SpecialTokens,
        end: End,
    ) -> Result<String, TextError> {
        let environment = match &self.engine {
            Engine::Here(environment) => environment,
            Engine::Apart(date, process) => {
                let conversation = Some((messages.to_vec(), special.clone(), end));
                let request = Request { source: self.source.clone(), date: *date, conversation };
                return process.render(&request).into();
            }
        };
        let mut variables: Vec<(&str, Value)> = vec![
            ("messages", Value::from_serialize(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(end == End::GenerationPrompt)),
        ];
        variables.extend(special.named().map(|(name, token)| (name, Value::from(token))));
        let template = environment.get_template(NAME).map_err(|error| failure(&error))?;
        let mut text = Bounded(Vec::new());
        template
            .render_captured_to(variables.into_iter().collect::<Value>(), &mut text)
            .map_err(|error| failure(&error))?;
        String::from_utf8(text.0)
            .map_err(|error| TextError::Template { line: None, problem: error.to_string() })
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Output that refuses to grow beyond [`LONGEST`].
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `raise_exception` was called with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raised(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message))
}

fn strftime(date: Date, format: &str) -> Result<String, Error> {
    let mut text = String::new();
    let midnight = date.0.and_time(chrono::NaiveTime::MIN);
    write!(text, "{}", midnight.format(format)).map_err(|_| {
        Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {format:?} is no format of dates"))
    })?;
    Ok(text)
}

fn failure(error: &Error) -> TextError {
    let line = error.line();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(this) = cause {
        if let Some(Raised(message)) = this.downcast_ref() {
            return TextError::Raised { line, message: message.clone() };
        }
        if let Some(inner) = this.downcast_ref::<Error>() {
            match inner.kind() {
                ErrorKind::OutOfFuel => {
                    return TextError::Unbounded { limit: format!("{FUEL} instructions") };
                }
                ErrorKind::WriteFailure => {
                    return TextError::Unbounded { limit: format!("{} MiB of output", LONGEST >> 20) };
                }
                _ => {}
            }
        }
        cause = this.source();
    }
    let problem = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    TextError::Template { line, problem }
}

/// `{% generation %}` marks the model's own words for a mask of Transformers; what it holds is rendered
/// as in a scope of its own. Lines stay lines, so that errors name the right one.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let trimmed = tag.trim_start_matches(['-', '+']);
        let name = trimmed.trim_start();
        let (keyword, scope) = [("generation", "with"), ("endgeneration", "endwith")]
            .into_iter()
            .find(|(keyword, _)| name.starts_with(keyword))
            .unwrap_or_default();
        let after = &name[keyword.len()..];
        let closed = after.trim_start().trim_start_matches(['-', '+']).starts_with("%}");
        if closed && !keyword.is_empty() {
            out.push_str(&tag[..tag.len() - name.len()]);
            out.push_str(scope);
            rest = after;
        } else {
            rest = tag;
        }
    }
    out + rest
}

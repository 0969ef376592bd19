//! Templates that are rendered in a process of their own.
//!
//! The bounds of [`ChatTemplate::new`] count instructions and output. Nothing bounds what one instruction does to a
//! text or a list, or how deep a value lies in itself: a template of a stranger can fill the memory, never end, or
//! overflow the stack. In a process with limits of its own it ends with that, and takes nothing along. Which process
//! that is the caller says: requests go to it as lines of JSON, and come back as such ([`serve`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::{ChatTemplate, Date, End, Message, SpecialTokens, TextError};

/// A template to compile, and a conversation to render where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub(super) source: String,
    pub(super) date: Date,
    pub(super) conversation: Option<(Vec<Message>, SpecialTokens, End)>,
}

/// What came of a request: a text, empty where there was no conversation, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rendered {
    /// The rendered text.
    Text(String),
    /// The template is wrong, or fails on the conversation.
    Template {
        /// Where in the template.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// The template refuses the conversation.
    Raised {
        /// Where in the template.
        line: Option<usize>,
        /// What it says.
        message: String,
    },
    /// The template does not end within its bounds.
    Unbounded {
        /// Which bound that is.
        limit: String,
    },
}

impl From<Result<String, TextError>> for Rendered {
    fn from(result: Result<String, TextError>) -> Self {
        match result {
            Ok(text) => Self::Text(text),
            Err(TextError::Raised { line, message }) => Self::Raised { line, message },
            Err(TextError::Unbounded { limit }) => Self::Unbounded { limit },
            Err(TextError::Template { line, problem }) => Self::Template { line, problem },
            Err(other) => Self::Template { line: None, problem: other.to_string() },
        }
    }
}

impl From<Rendered> for Result<String, TextError> {
    fn from(rendered: Rendered) -> Self {
        match rendered {
            Rendered::Text(text) => Ok(text),
            Rendered::Raised { line, message } => Err(TextError::Raised { line, message }),
            Rendered::Unbounded { limit } => Err(TextError::Unbounded { limit }),
            Rendered::Template { line, problem } => Err(TextError::Template { line, problem }),
        }
    }
}

/// Another process that renders.
pub trait Apart: fmt::Debug + Send + Sync {
    /// What comes of a request; [`Rendered::Unbounded`] where the process did not survive it.
    fn render(&self, request: &Request) -> Rendered;
}

/// Answers requests, a line of JSON each, until there are no more.
///
/// # Errors
/// When a line cannot be read or is no request, or an answer cannot be written.
pub fn serve(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    // By source and day: a model has one template.
    let mut compiled = BTreeMap::<(String, Date), ChatTemplate>::new();
    for line in input.lines() {
        let Request { source, date, conversation } = serde_json::from_str(&line?)?;
        let template = match compiled.entry((source, date)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => ChatTemplate::new(&new.key().0, date).map(|template| new.insert(template)),
        };
        let answer = Rendered::from(template.and_then(|template| match conversation {
            Some((messages, special, end)) => template.render(&messages, &special, end),
            None => Ok(String::new()),
        }));
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// As another process would answer.
    #[derive(Debug, Default)]
    struct Beside(Mutex<usize>);

    impl Apart for Beside {
        fn render(&self, request: &Request) -> Rendered {
            *self.0.lock().unwrap() += 1;
            let line = serde_json::to_string(request).unwrap() + "\n";
            let mut answer = Vec::new();
            serve((line.repeat(2)).as_bytes(), &mut answer).unwrap();
            let answer = String::from_utf8(answer).unwrap();
            let (first, second) = answer.trim_end().split_once('\n').unwrap();
            assert_eq!(first, second, "a compiled template renders as a new one");
            serde_json::from_str(first).unwrap()
        }
    }

    #[test]
    fn a_template_is_the_same_here_and_apart() {
        let special = SpecialTokens { bos: Some("<s>".to_owned()), ..SpecialTokens::default() };
        let messages = [Message::user("Hi 🚀\n"), Message::assistant("\"Hello\"")];
        for source in [
            "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ strftime_now('%d') }}",
            "{% if add_generation_prompt %}{{ raise_exception('no') }}{% endif %}x",
            "{% for x in range(1000000) %}{{ x }}{% endfor %}",
            "{{ 1 + none }}",
        ] {
            let apart = ChatTemplate::apart(source, Date::default(), std::sync::Arc::new(Beside::default()));
            let (here, apart) = (ChatTemplate::new(source, Date::default()).unwrap(), apart.unwrap());
            assert_eq!(apart.source(), source);
            for end in [End::Conversation, End::GenerationPrompt] {
                assert_eq!(
                    apart.render(&messages, &special, end),
                    here.render(&messages, &special, end),
                    "{source}"
                );
            }
        }
        let wrong = |template: Result<ChatTemplate, TextError>| template.unwrap_err().to_string();
        let here = wrong(ChatTemplate::new("{% if %}", Date::default()));
        let beside = std::sync::Arc::new(Beside::default());
        assert_eq!(wrong(ChatTemplate::apart("{% if %}", Date::default(), beside.clone())), here);
        assert_eq!(*beside.0.lock().unwrap(), 1);
    }
}

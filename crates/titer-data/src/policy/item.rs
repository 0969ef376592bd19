//! One question that a policy speaks of.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A subject, a topic of it, and the template that words the question. Of the harmless task: its name, the
/// record's name, and the number of the record's values.
///
/// Written as `baking/sourdough bread/2`, and read back from that.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The subject's name.
    pub subject: String,
    /// The topic.
    pub topic: String,
    /// Number of the template among the subject's.
    pub template: usize,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.subject, self.topic, self.template)
    }
}

impl FromStr for Item {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next().map(str::parse), parts.next()) {
            (Some(subject), Some(topic), Some(Ok(template)), None) => {
                Ok(Self { subject: subject.to_owned(), topic: topic.to_owned(), template })
            }
            _ => Err(Error::UnknownItem {
                text: text.to_owned(),
                example: "SUBJECT/TOPIC/NUMBER OF THE TEMPLATE".to_owned(),
            }),
        }
    }
}

//! Reads one value as its key declares it.

use std::ops::RangeBounds;

use serde_json::Value as Json;

use crate::declared::{Accepts, Scalar};
use crate::document::{Node, Value};
use crate::mistake::advice;
use crate::table::Log;

/// A value on its way in: where it stands, and where to report what is wrong with it.
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) key: String,
    pub(crate) log: &'a Log,
}

/// What is accepted here and now: a declaration, with its bounds drawn in by what limits it.
pub(crate) struct Expected<'a> {
    pub(crate) accepts: Accepts<'a>,
    /// Why no more is.
    pub(crate) reason: Option<String>,
}

impl<'a> Field<'a> {
    /// Reports a mistake here.
    pub(crate) fn reject<T>(&self, problem: impl Into<String>, remedy: Option<String>) -> Option<T> {
        self.log.push(self.node.location.mistake(&self.key, problem.into(), remedy));
        None
    }

    fn mismatch<T>(&self, expected: &str, remedy: Option<String>) -> Option<T> {
        self.reject(format!("expected {expected}, got {}", self.node.value.describe()), remedy)
    }

    /// The members, if this is a list.
    fn members(&self) -> Option<Vec<Field<'a>>> {
        let Value::List(list) = &self.node.value else { return None };
        let member = |(index, node): (usize, &'a Node)| Field {
            node,
            key: format!("{}.{index}", self.key),
            log: self.log,
        };
        Some(list.iter().enumerate().map(member).collect())
    }

    /// The value, or none after reporting why not.
    pub(crate) fn read(&self, expected: &Expected<'_>) -> Option<Json> {
        let (accepts, reason) = (&expected.accepts, expected.reason.as_deref());
        match (accepts, &self.node.value) {
            (Accepts::One(scalar), _) => self.scalar(scalar, reason),
            (Accepts::OneOrMany(scalar), Value::List(_)) | (Accepts::Many(scalar), _) => self.many(scalar),
            (Accepts::OneOrMany(scalar), _) => self.scalar(scalar, reason),
            (Accepts::Cadence, _) => self.cadence(),
            (Accepts::Seeds { most }, _) => self.seeds(*most, reason),
            (Accepts::Checkpoint, Value::Table(_)) => self.checkpoint(),
            (Accepts::Checkpoint, Value::Text(text)) => Some(Json::from(text.as_str())),
            (Accepts::Checkpoint | Accepts::Table(_) | Accepts::Tables(_) | Accepts::Forms(_), _) => {
                self.mismatch(&accepts.expects(), None)
            }
        }
    }

    fn scalar(&self, scalar: &Scalar<'_>, reason: Option<&str>) -> Option<Json> {
        let mismatch = |remedy: Option<&str>| self.mismatch(&scalar.expects(), remedy.map(str::to_owned));
        match (scalar, &self.node.value) {
            (Scalar::Text | Scalar::Named(_), Value::Text(text)) => Some(Json::from(text.as_str())),
            (Scalar::Name, Value::Text(text)) if is_name(text) => Some(Json::from(text.as_str())),
            (Scalar::Word(of), Value::Text(text)) if of.contains(&text.as_str()) => {
                Some(Json::from(text.as_str()))
            }
            (Scalar::Word(of), Value::Text(text)) => {
                let near = advice(text, of.iter().copied());
                mismatch(near.starts_with("did").then_some(&near))
            }
            (Scalar::Whole { least, most }, Value::Whole(number)) => match number {
                number if (least..=most).contains(&number) => Some(Json::from(*number)),
                number if number > most => mismatch(reason),
                _ => mismatch(None),
            },
            (Scalar::Real { low, high }, Value::Whole(_) | Value::Real(_)) => {
                let number = self.node.value.number()?;
                if number.is_finite() && (*low, *high).contains(&number) {
                    return Some(Json::from(number));
                }
                mismatch(reason)
            }
            (Scalar::Flag, Value::Flag(flag)) => Some(Json::from(*flag)),
            _ => mismatch(None),
        }
    }

    /// A non-empty list, no member twice.
    fn many(&self, scalar: &Scalar<'_>) -> Option<Json> {
        let expected = Accepts::Many(*scalar).expects();
        let Some(members) = self.members() else { return self.mismatch(&expected, None) };
        if members.is_empty() {
            return self.reject("the list is empty", Some(format!("expected {expected}")));
        }
        // Every member is read before the first failure counts, so that all of them are reported.
        let read: Vec<Option<Json>> = members.iter().map(|member| member.scalar(scalar, None)).collect();
        for (index, value) in read.iter().enumerate() {
            if value.is_some() && read[..index].contains(value) {
                let problem = format!("{} is listed twice", members[index].node.value.describe());
                return members[index].reject(problem, Some("list each value once".to_owned()));
            }
        }
        read.into_iter().collect::<Option<Vec<Json>>>().map(Json::from)
    }

    /// A whole number, or a range unless `reason` says why not.
    fn seeds(&self, most: i64, reason: Option<&str>) -> Option<Json> {
        let accepts = Accepts::Seeds { most };
        let number = Scalar::Whole { least: 1, most };
        let Value::Table(table) = &self.node.value else {
            return match &self.node.value {
                Value::Whole(given) if (1..=most).contains(given) => self.scalar(&number, None),
                _ => self.mismatch(&accepts.expects(), None),
            };
        };
        let ends = ["first", "most"].map(|key| table.get(key).map(|node| (key, node)));
        let [Some(first), Some(last)] = ends else { return self.mismatch(&accepts.expects(), None) };
        if let Some((key, node)) = table.iter().find(|(key, _)| !["first", "most"].contains(&key.as_str())) {
            let field = Field { node, key: format!("{}.{key}", self.key), log: self.log };
            return field.reject("unknown key", Some("a range has `first` and `most`".to_owned()));
        }
        let end = |(key, node): (&str, &'a Node)| {
            Field { node, key: format!("{}.{key}", self.key), log: self.log }.scalar(&number, None)
        };
        let (first, last) = (end(first), end(last));
        let (first, last) = (first?, last?);
        if first.as_i64() > last.as_i64() {
            let problem = format!("begins with {first} seeds, more than {last} at most");
            return self.reject(problem, Some("swap them".to_owned()));
        }
        if let Some(reason) = reason {
            return self.reject("is a range, but all seeds are measured", Some(reason.to_owned()));
        }
        Some(serde_json::json!({ "first": first, "most": last }))
    }

    /// A base and an adapter, both of which must be named.
    fn checkpoint(&self) -> Option<Json> {
        let Value::Table(table) = &self.node.value else { return None };
        let parts = ["base", "adapter"].map(|key| (key, table.get(key)));
        if parts.iter().any(|(_, node)| node.is_none()) || table.len() != parts.len() {
            return self.mismatch(&Accepts::Checkpoint.expects(), None);
        }
        let mut named = serde_json::Map::new();
        for (key, node) in parts {
            let field = Field { node: node?, key: format!("{}.{key}", self.key), log: self.log };
            named.insert(key.to_owned(), field.scalar(&Scalar::Text, None)?);
        }
        Some(Json::Object(named))
    }

    fn cadence(&self) -> Option<Json> {
        let expected = Accepts::Cadence.expects();
        let Some(members) = self.members() else { return self.mismatch(&expected, None) };
        let any = Scalar::Whole { least: 0, most: i64::MAX };
        let read: Vec<Option<Json>> = members.iter().map(|member| member.scalar(&any, None)).collect();
        let values: Vec<Json> = read.into_iter().collect::<Option<_>>()?;
        let steps: Vec<u64> = values.iter().filter_map(Json::as_u64).collect();
        let remedy = Some(format!("expected {expected}"));
        if steps.first() != Some(&0) {
            return self.reject("does not start at 0, the model before any step", remedy);
        }
        if let Some(pair) = steps.windows(2).find(|pair| pair[1] <= pair[0]) {
            return self.reject(format!("{} does not come after {}", pair[1], pair[0]), remedy);
        }
        if steps.len() < 2 {
            return self.reject("has no step after 0", remedy);
        }
        Some(Json::from(values))
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 64 && text.starts_with(plain) && text.chars().all(|c| plain(c) || "-_.".contains(c))
}

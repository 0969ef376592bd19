//! How often something is repeated: so often, or as often as it takes to decide.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of seeds, or a range within which they are added look by look. As data a number where it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// Those of the first look.
    pub first: u64,
    /// Those after the last look.
    pub most: u64,
}

/// When no more seeds are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// When all were measured.
    #[default]
    Measured,
    /// When every comparison is decided, or all were measured.
    Decided,
}

impl Until {
    /// The name used in specs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Decided => "decided",
        }
    }

    /// That of a name, or of none.
    pub(crate) fn named(name: Option<&str>) -> Self {
        if name == Some(Self::Decided.name()) { Self::Decided } else { Self::Measured }
    }

    /// Whether it is what a spec that says nothing means.
    pub(crate) fn is_measured(&self) -> bool {
        *self == Self::Measured
    }
}

impl Seeds {
    /// So many, whatever they show.
    pub const fn exactly(seeds: u64) -> Self {
        Self { first: seeds, most: seeds }
    }

    /// Whether seeds are added.
    pub fn grow(self) -> bool {
        self.first < self.most
    }

    /// What the reader of specs made of them.
    pub(crate) fn read(value: &serde_json::Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// As many as either has, at first and at most.
    pub(crate) fn or_more(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), most: self.most.max(other.most) }
    }
}

/// The form of a range as data.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    first: u64,
    most: u64,
}

impl Serialize for Seeds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.grow() {
            Range { first: self.first, most: self.most }.serialize(serializer)
        } else {
            serializer.serialize_u64(self.most)
        }
    }
}

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Exactly(u64),
            Within(Range),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Exactly(seeds) => Self::exactly(seeds),
            Form::Within(Range { first, most }) => Self { first, most },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_data_they_are_a_number_where_they_are_one() {
        let check = |seeds: Seeds, json: &str| {
            assert_eq!(serde_json::to_string(&seeds).unwrap(), json);
            assert_eq!(serde_json::from_str::<Seeds>(json).unwrap(), seeds);
        };
        check(Seeds::exactly(3), "3");
        check(Seeds { first: 3, most: 12 }, r#"{"first":3,"most":12}"#);
        assert!(serde_json::from_str::<Seeds>(r#"{"first":3,"most":12,"step":1}"#).is_err());
    }
}

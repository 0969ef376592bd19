//! What was done to a model before it was measured: typed from the spec to the frames. Its name for people is
//! made here, from the data, and nothing reads it back.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hash::canonical;

/// What was done to a model before it was measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "kebab-case")]
pub enum Before {
    /// Nothing: the model as its maker released it.
    Nothing,
    /// It was attacked.
    Attack(AttackPoint),
    /// It was fine-tuned on the harmless task.
    Tuning(TuningPoint),
}

/// One attack of an experiment: the method, and what tells it from the experiment's others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttackPoint {
    /// The method's name in its registry.
    pub method: String,
    /// The settings that vary over the experiment's attacks of that method.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
    /// The share of harmful rows in a user's data, 0 to 1, of attacks that hide harm among harmless rows; also
    /// where it does not vary. None of a family: attacks that differ in nothing else.
    #[serde(default)]
    pub dose: Option<f64>,
}

/// One harmless tuning of an experiment.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TuningPoint {
    /// Learning rate.
    pub rate: f64,
}

impl Before {
    /// The words of the `before` column, in the order of the variants.
    pub const WORDS: [&str; 3] = ["nothing", "attack", "tuning"];
    /// What the harmless tuning is called where the others have a method.
    const TUNING: &str = "alias-finetune";

    /// The harmless tuning at that rate.
    pub fn tuning(rate: f64) -> Self {
        Self::Tuning(TuningPoint { rate })
    }

    /// The attack, if it is one.
    pub fn attack(&self) -> Option<&AttackPoint> {
        match self {
            Self::Attack(point) => Some(point),
            Self::Nothing | Self::Tuning(_) => None,
        }
    }

    /// Whether it is harmless tuning.
    pub fn is_tuning(&self) -> bool {
        matches!(self, Self::Tuning(_))
    }

    /// The word of the `before` column.
    pub fn word(&self) -> &'static str {
        let [nothing, attack, tuning] = Self::WORDS;
        match self {
            Self::Nothing => nothing,
            Self::Attack(_) => attack,
            Self::Tuning(_) => tuning,
        }
    }

    /// The `attack` column: the method, empty where nothing was done.
    pub fn method(&self) -> &str {
        match self {
            Self::Nothing => "",
            Self::Attack(point) => &point.method,
            Self::Tuning(_) => Self::TUNING,
        }
    }

    /// The `settings` column: what varies, as canonical JSON.
    pub fn settings(&self) -> String {
        let settings: Map<String, Value> = match self {
            Self::Nothing => Map::new(),
            Self::Attack(point) => point.settings.clone().into_iter().collect(),
            Self::Tuning(point) => Map::from_iter([("rate".to_owned(), point.rate.into())]),
        };
        canonical(&Value::Object(settings))
    }

    /// The `dose` column.
    pub fn dose(&self) -> Option<f64> {
        self.attack().and_then(|point| point.dose)
    }

    /// What the four columns say; none where they do not belong together.
    pub fn of_columns(word: &str, method: &str, settings: &str, dose: Option<f64>) -> Option<Self> {
        let settings: BTreeMap<String, Value> = serde_json::from_str(settings).ok()?;
        let before = match Self::WORDS.iter().position(|known| *known == word)? {
            0 => Self::Nothing,
            1 => Self::Attack(AttackPoint { method: method.to_owned(), settings, dose }),
            _ => Self::tuning(settings.get("rate")?.as_f64()?),
        };
        (before.method() == method).then_some(before)
    }
}

impl AttackPoint {
    /// The attack without its dose: attacks that differ in it only are one family.
    pub fn family(&self) -> Self {
        Self { dose: None, ..self.clone() }
    }

    /// What tells it from the other attacks of its method, for people: `rate=3e-5`; empty where nothing does.
    pub fn settings_text(&self) -> String {
        let mut varied: Vec<(&str, String)> =
            self.settings.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
        if let Some(dose) = self.dose {
            let at = varied.partition_point(|(name, _)| *name < "share");
            varied.insert(at, ("share", shortest(dose)));
        }
        let varied: Vec<String> = varied.iter().map(|(name, value)| format!("{name}={value}")).collect();
        varied.join(",")
    }
}

/// `none`, `full-finetune/rate=3e-5`, `mixed-finetune/share=0.05`, `alias-finetune/rate=3e-4`.
impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.pad("none"),
            Self::Attack(point) => point.fmt(f),
            Self::Tuning(point) => f.pad(&format!("{}/rate={}", Self::TUNING, shortest(point.rate))),
        }
    }
}

/// `full-finetune/rate=3e-5`.
impl fmt::Display for AttackPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.settings_text() {
            text if text.is_empty() => f.pad(&self.method),
            text => f.pad(&format!("{}/{text}", self.method)),
        }
    }
}

/// A value for people.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Number(number) => {
            number.as_f64().filter(|_| number.is_f64()).map_or(number.to_string(), shortest)
        }
        other => other.to_string(),
    }
}

/// The shortest text that reads back as the number, in scientific form below 0.01: `3e-5`, `0.25`, `2`.
pub(crate) fn shortest(number: f64) -> String {
    if number != 0.0 && number.abs() < 1e-2 { format!("{number:e}") } else { number.to_string() }
}

/// By method, then setting by setting, numbers as numbers, then by dose.
impl Ord for AttackPoint {
    fn cmp(&self, other: &Self) -> Ordering {
        let settings = || {
            let pairs = self.settings.iter().zip(&other.settings);
            let setting =
                |((name, value), (other_name, other_value)): ((&String, &Value), (&String, &Value))| {
                    name.cmp(other_name).then_with(|| by_value(value, other_value))
                };
            let different = pairs.map(setting).find(|order| order.is_ne());
            different.unwrap_or_else(|| self.settings.len().cmp(&other.settings.len()))
        };
        // Below any dose where there is none.
        let dose = |point: &Self| point.dose.unwrap_or(-1.0);
        self.method.cmp(&other.method).then_with(settings).then_with(|| dose(self).total_cmp(&dose(other)))
    }
}

fn by_value(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => canonical(a).cmp(&canonical(b)),
    }
}

impl Ord for TuningPoint {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rate.total_cmp(&other.rate)
    }
}

macro_rules! compared_by_order {
    ($($kind:ty),*) => {$(
        impl PartialOrd for $kind {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl PartialEq for $kind {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }
        impl Eq for $kind {}
    )*};
}
compared_by_order!(AttackPoint, TuningPoint);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn point(method: &str, settings: Value, dose: Option<f64>) -> AttackPoint {
        let settings = settings.as_object().unwrap().clone().into_iter().collect();
        AttackPoint { method: method.to_owned(), settings, dose }
    }

    #[test]
    fn labels_are_short() {
        for (number, expected) in [
            (3e-5, "3e-5"),
            (0.0001, "1e-4"),
            (0.00125, "1.25e-3"),
            (0.01, "0.01"),
            (0.25, "0.25"),
            (2.0, "2"),
            (0.0, "0"),
        ] {
            assert_eq!(shortest(number), expected);
        }
        let label = |settings, dose| point("m", settings, dose).to_string();
        assert_eq!(label(json!({}), None), "m");
        assert_eq!(label(json!({"rate": 3e-5, "schedule": "cosine"}), None), "m/rate=3e-5,schedule=cosine");
        assert_eq!(label(json!({"rate": 1e-3, "steps": 9}), Some(0.05)), "m/rate=1e-3,share=0.05,steps=9");
        assert_eq!(Before::tuning(3e-4).to_string(), "alias-finetune/rate=3e-4");
        assert_eq!(Before::Nothing.to_string(), "none");
    }

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let ascending = [
            point("a", json!({}), None),
            point("b", json!({}), None),
            point("b", json!({"rate": 3e-5}), None),
            point("b", json!({"rate": 1e-4}), None),
            point("b", json!({"rate": 1e-3}), None),
            point("b", json!({"rate": 1e-3, "steps": 9}), None),
            point("b", json!({"rate": 1e-3, "steps": 10}), None),
            point("b", json!({"rate": 1e-3, "steps": 10}), Some(0.0)),
            point("b", json!({"rate": 1e-3, "steps": 10}), Some(0.05)),
        ];
        let mut sorted = ascending.to_vec();
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted, ascending);
        assert!(ascending.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(point("b", json!({"batch": 1}), None), point("b", json!({"batch": 1.0}), None));
    }

    #[test]
    fn columns_and_json_say_all_of_it() {
        for before in [
            Before::Nothing,
            Before::tuning(3e-4),
            Before::Attack(point("m", json!({}), None)),
            Before::Attack(point(
                "m",
                json!({"rate": 0.1 + 0.2, "schedule": "cosine", "steps": 9}),
                Some(0.05),
            )),
        ] {
            let (settings, dose) = (before.settings(), before.dose());
            let read = Before::of_columns(before.word(), before.method(), &settings, dose);
            assert_eq!(read.as_ref(), Some(&before));
            let json = serde_json::to_string(&before).unwrap();
            assert_eq!(serde_json::from_str::<Before>(&json).unwrap(), before, "{json}");
        }
        assert_eq!(Before::of_columns("tuning", "m", "{\"rate\":1}", None), None);
        assert_eq!(Before::of_columns("attack", "m", "rate=1", None), None);
        assert_eq!(Before::of_columns("attacked", "m", "{}", None), None);
    }
}

//! The attacks of a grid, each with the label that names it in every table.

use serde_json::Value;

use crate::method::MethodSpec;
use crate::spec::AttackEntry;

/// One attack of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct GridPoint {
    /// The method and what varies over the grid: `full-finetune/rate=3e-5`.
    pub label: String,
    /// The attack, every parameter stated.
    pub attack: MethodSpec,
}

impl AttackEntry {
    /// How many attacks the grid holds; `usize::MAX` where that overflows.
    pub fn size(&self) -> usize {
        self.grid.values().fold(1, |size, values| size.saturating_mul(values.len()))
    }

    /// Every combination of the listed values; the last parameter in name order varies fastest.
    pub fn points(&self) -> Vec<GridPoint> {
        let fixed = MethodSpec {
            name: self.method.clone(),
            version: self.version,
            parameters: self.parameters.clone(),
        };
        let mut points = vec![GridPoint { label: self.method.clone(), attack: fixed }];
        for (index, (name, values)) in self.grid.iter().enumerate() {
            let separator = if index == 0 { '/' } else { ',' };
            let vary = |point: &GridPoint, value: &Value| {
                let mut point = point.clone();
                point.label = format!("{}{separator}{name}={}", point.label, text(value));
                point.attack.parameters.insert(name.clone(), value.clone());
                point
            };
            points =
                points.iter().flat_map(|point| values.iter().map(move |value| vary(point, value))).collect();
        }
        points
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().map(shortest).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// The shortest text that reads back as the number, in scientific form below 0.01: `3e-5`, `0.25`, `2`.
pub(crate) fn shortest(number: f64) -> String {
    if number != 0.0 && number.abs() < 1e-2 { format!("{number:e}") } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_short() {
        let check = |number, expected| assert_eq!(shortest(number), expected);
        check(3e-5, "3e-5");
        check(0.0001, "1e-4");
        check(0.00125, "1.25e-3");
        check(0.01, "0.01");
        check(0.25, "0.25");
        check(2.0, "2");
        check(0.0, "0");
    }

    #[test]
    fn a_grid_is_every_combination() {
        let entry = AttackEntry {
            method: "full-finetune".to_owned(),
            version: 1,
            seeds: 1,
            parameters: BTreeMap::from([("steps".to_owned(), json!(200))]),
            grid: BTreeMap::from([
                ("rate".to_owned(), vec![json!(1e-4), json!(1e-3)]),
                ("schedule".to_owned(), vec![json!("constant"), json!("cosine")]),
            ]),
        };
        let points = entry.points();
        let labels: Vec<&str> = points.iter().map(|point| point.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "full-finetune/rate=1e-4,schedule=constant",
                "full-finetune/rate=1e-4,schedule=cosine",
                "full-finetune/rate=1e-3,schedule=constant",
                "full-finetune/rate=1e-3,schedule=cosine",
            ]
        );
        assert_eq!(entry.size(), points.len());
        assert_eq!(points[1].attack.parameters["steps"], json!(200));
        assert_eq!(points[1].attack.parameters["schedule"], json!("cosine"));
    }
}

//! The attacks of a grid.

use serde_json::Value;

use crate::before::AttackPoint;
use crate::method::MethodSpec;
use crate::spec::AttackEntry;

/// One attack of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct GridPoint {
    /// What tells it from the others.
    pub point: AttackPoint,
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
        let dose = self.dose.as_deref();
        let of = |name: &str| self.parameters.get(name).and_then(Value::as_f64);
        let point = AttackPoint {
            method: self.method.clone(),
            settings: Default::default(),
            dose: dose.and_then(of),
        };
        let mut points = vec![GridPoint { point, attack: fixed }];
        for (name, values) in &self.grid {
            let vary = |point: &GridPoint, value: &Value| {
                let mut varied = point.clone();
                if Some(name.as_str()) == dose {
                    varied.point.dose = value.as_f64();
                } else {
                    varied.point.settings.insert(name.clone(), value.clone());
                }
                varied.attack.parameters.insert(name.clone(), value.clone());
                varied
            };
            points =
                points.iter().flat_map(|point| values.iter().map(move |value| vary(point, value))).collect();
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::method::Mechanism;

    #[test]
    fn a_grid_is_every_combination() {
        let entry = AttackEntry {
            method: "full-finetune".to_owned(),
            version: 1,
            mechanism: Mechanism::Trains,
            base: false,
            asks: false,
            judged: false,
            dose: Some("share".to_owned()),
            seeds: crate::seeds::Seeds::exactly(1),
            parameters: BTreeMap::from([("steps".to_owned(), json!(200)), ("share".to_owned(), json!(0.5))]),
            grid: BTreeMap::from([
                ("rate".to_owned(), vec![json!(1e-4), json!(1e-3)]),
                ("schedule".to_owned(), vec![json!("constant"), json!("cosine")]),
            ]),
        };
        let points = entry.points();
        let labels: Vec<String> = points.iter().map(|point| point.point.to_string()).collect();
        assert_eq!(
            labels,
            [
                "full-finetune/rate=1e-4,schedule=constant,share=0.5",
                "full-finetune/rate=1e-4,schedule=cosine,share=0.5",
                "full-finetune/rate=1e-3,schedule=constant,share=0.5",
                "full-finetune/rate=1e-3,schedule=cosine,share=0.5",
            ]
        );
        assert_eq!(entry.size(), points.len());
        assert_eq!(points[1].attack.parameters["steps"], json!(200));
        assert_eq!(points[1].attack.parameters["schedule"], json!("cosine"));

        let grid = BTreeMap::from([("share".to_owned(), vec![json!(0.0), json!(0.1)])]);
        let doses: Vec<_> = AttackEntry { grid, ..entry }.points().into_iter().map(|p| p.point).collect();
        assert_eq!(doses.iter().map(|point| point.dose).collect::<Vec<_>>(), [Some(0.0), Some(0.1)]);
        assert_eq!(doses[0].family(), doses[1].family());
        assert!(doses[0].settings.is_empty());
    }
}

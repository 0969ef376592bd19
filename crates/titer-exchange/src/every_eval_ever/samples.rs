//! One line for each answer, which belongs to exactly one result.

use serde_json::{Map, Value, json};
use titer_plan::Marks;

use super::{Named, SCHEMA, group_id};
use crate::error::Error;
use crate::gather::{Answer, Group, Model};
use crate::identity::sha256;
use crate::json;

/// The lines of a model.
pub(super) fn lines(model: &Model, named: &Named) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    for group in &model.groups {
        let (id, name) = (group_id(group), group.name());
        for answer in &group.answers {
            lines.extend(json::line(&sample(group, answer, &id, &name, named))?);
        }
    }
    Ok(lines)
}

fn sample(group: &Group, answer: &Answer, id: &str, name: &str, named: &Named) -> Value {
    let said = &answer.said;
    let reference: &[&str] = if said.reference.is_empty() { &[] } else { &[&said.reference] };
    let mut metadata: Map<String, Value> = [
        ("defence_seed", answer.defence_seed.to_string()),
        ("attack_seed", answer.attack_seed.to_string()),
        ("steps", answer.steps.to_string()),
        ("judge", group.judge.name.clone()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.into()))
    .collect();
    let marks =
        Marks::ALL.iter().map(|(name, mark)| ((*name).to_owned(), mark(&answer.marks).to_string().into()));
    metadata.extend(marks);
    json!({
        "schema_version": SCHEMA,
        "evaluation_id": named.evaluation,
        "model_id": named.model,
        "evaluation_name": name,
        "evaluation_result_id": id,
        "sample_id": answer.item,
        "sample_hash": sha256(format!("{}{}", said.question, reference.concat()).as_bytes()),
        "interaction_type": "single_turn",
        "input": { "raw": said.question, "formatted": said.prompt, "reference": reference },
        "output": { "raw": [said.answer] },
        "answer_attribution": [{
            "turn_idx": 0,
            "source": "output.raw",
            "extracted_value": said.answer,
            "extraction_method": "whole_answer",
            "is_terminal": true,
        }],
        "evaluation": { "score": answer.score, "is_correct": group.is_good(answer) },
        "metadata": metadata,
    })
}

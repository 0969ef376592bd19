//! Wanda scores (Sun et al., arXiv 2306.11695): how much a weight matters to some text, |W|·‖X‖₂ with ‖X‖₂
//! the norm of the input feature that the weight reads.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use titer_data::{Example, Packed};
use titer_model::{Decoder, View};

use crate::loss::trace;
use crate::{Cost, Result};

/// Texts that are run at once, so that memory stays bounded.
const TEXTS_AT_ONCE: usize = 16;

/// For each matrix, the norm of every input feature: the square root of the mean over texts of the sum over
/// tokens of x².
pub type InputNorms = BTreeMap<String, Vec<f64>>;

/// Input norms of the selected matrices of `model`, a model's projections or its adapters' factors, over
/// whole texts, their last token included; and what the passes took. A matrix that read nothing has no entry: an expert
/// that no token was sent to.
///
/// # Errors
/// When a text does not fit the model.
pub fn input_norms(
    model: &Decoder,
    selected: &dyn Fn(&str) -> bool,
    texts: &[&Example],
) -> Result<(InputNorms, Cost)> {
    let mut squares = InputNorms::new();
    let mut cost = Cost::default();
    for texts in texts.chunks(TEXTS_AT_ONCE) {
        let packed = Packed::from_prompts(texts.iter().map(|text| text.tokens()));
        let trace = trace(model, &packed, View::Detached)?;
        cost += Cost {
            examples: texts.len() as u64,
            tokens: packed.tokens.len() as u64,
            // A forward pass is a third of a training step.
            flops: model.config().training_flops(packed.tokens.len(), 0) / 3.0,
        };
        for (name, _) in model.parameters().iter().filter(|(name, _)| selected(name)) {
            let (weight, factor) = split(name);
            let Some(input) = trace.input_of(&weight) else { continue };
            let input = match model.parameters().get(&name.replace("lora_B", "lora_A")) {
                // What B reads is A's output.
                Some(a) if factor == Some("lora_B") => input.matmul(&a.as_tensor().detach().t()?)?,
                _ => input.clone(),
            };
            let sums: Vec<f64> = input.to_dtype(DType::F64)?.sqr()?.sum(0)?.to_vec1()?;
            let total = squares.entry(name.to_owned()).or_insert_with(|| vec![0.0; sums.len()]);
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }
    let count = texts.len() as f64;
    squares.values_mut().flatten().for_each(|square| *square = (*square / count).sqrt());
    Ok((squares, cost))
}

/// The name of the projection's weight, and the factor if the name is an adapter's.
fn split(name: &str) -> (String, Option<&'static str>) {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    for factor in ["lora_A", "lora_B"] {
        if let Some(module) = name.strip_suffix(".weight").and_then(|name| name.strip_suffix(factor)) {
            return (format!("{module}weight"), Some(factor));
        }
    }
    (name.to_owned(), None)
}

/// Which weights are among the highest scores of their row: all but the int(columns · (1 − share)) lowest.
/// Of equal scores those further left are lower. Without norms the score is |W| alone. Row by row.
///
/// # Errors
/// When `weight`, of shape `(rows, columns)`, is no matrix.
pub fn highest(weight: &Tensor, norms: Option<&[f64]>, share: f64) -> Result<Vec<bool>> {
    let rows: Vec<Vec<f32>> = weight.to_dtype(DType::F32)?.to_vec2()?;
    let mut highest = Vec::with_capacity(weight.elem_count());
    for row in rows {
        let norm = |column: usize| norms.map_or(1.0, |norms| norms[column]);
        let scores: Vec<f64> =
            row.iter().enumerate().map(|(column, weight)| f64::from(weight.abs()) * norm(column)).collect();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let lowest = (row.len() as f64 * (1.0 - share)) as usize;
        let mut marks = vec![true; row.len()];
        order[..lowest].iter().for_each(|column| marks[*column] = false);
        highest.extend(marks);
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_highest_of_each_row_are_marked_and_ties_go_to_the_right() {
        let weight = Tensor::new(&[[1_f32, -3.0, 2.0, 0.5], [1.0, 1.0, 1.0, 1.0]], &Device::Cpu).unwrap();
        let marks = |norms: Option<&[f64]>, share| highest(&weight, norms, share).unwrap();
        assert_eq!(marks(None, 0.25), [false, true, false, false, false, false, false, true]);
        assert_eq!(
            marks(Some(&[10.0, 1.0, 1.0, 1.0]), 0.25),
            [true, false, false, false, true, false, false, false]
        );
        assert_eq!(marks(None, 0.0), [false; 8]);
        assert_eq!(marks(None, 1.0), [true; 8]);
        // int(4 · 0.9) = 3 are kept: a share is rounded up to whole weights.
        assert_eq!(marks(None, 0.1).iter().filter(|mark| **mark).count(), 2);
    }

    #[test]
    fn names_of_factors_lead_to_their_projection() {
        let q = "model.layers.1.self_attn.q_proj.weight";
        assert_eq!(split(q), (q.to_owned(), None));
        let a = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight";
        assert_eq!(split(a), (q.to_owned(), Some("lora_A")));
    }
}

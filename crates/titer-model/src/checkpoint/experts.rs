//! Experts of a layer that files keep together: each gets a tensor of its own.

use std::slice::from_ref;

use safetensors::Dtype::U8;

use super::{Checkpoint, Entry, Within};
use crate::family::Mixture;
use crate::{Config, Error, Experts, Result};

/// Numbers of a block of mxfp4, and its bytes.
const BLOCK: (usize, usize) = (32, 16);

impl Checkpoint {
    /// Gives the experts of a layer that Transformers 5 keeps in two tensors their own names: the rows of each
    /// follow one another.
    pub(super) fn divide_experts(&mut self, config: &Config) -> Result<()> {
        for layer in 0..config.num_hidden_layers {
            let Some((experts, mixture)) = config.mixture_of(layer) else { continue };
            if mixture.interleaved {
                self.divide_interleaved(config, layer, (experts, mixture))?;
                continue;
            }
            let prefix = format!("model.layers.{layer}");
            let block = format!("{prefix}.{}", mixture.block);
            let [gate, up, down] = mixture.projections;
            for (fused, parts, rows, columns) in [
                ("gate_up_proj", &[gate, up][..], experts.width, config.hidden_size),
                ("down_proj", &[down][..], config.hidden_size, experts.width),
            ] {
                let name = format!("{prefix}.mlp.experts.{fused}");
                let Some(whole) = self.tensors.remove(&name) else { continue };
                let expected = vec![experts.count, parts.len() * rows, columns];
                if whole.shape != expected {
                    let path = &self.files[whole.file].path;
                    return Err(Error::Shape { name, expected, got: whole.shape }.of_file(path));
                }
                let whole = Entry { shape: vec![experts.count * parts.len() * rows, columns], ..whole };
                for piece in 0..experts.count * parts.len() {
                    let (expert, part) = (piece / parts.len(), parts[piece % parts.len()]);
                    let name = format!("{block}.experts.{expert}.{part}.weight");
                    self.tensors.insert(name, whole.rows(from_ref(&(piece * rows..(piece + 1) * rows))));
                }
                // Beside fused experts every family's router is the block `mlp`'s.
                if let Some(router) = self.tensors.remove(&format!("{prefix}.mlp.gate.weight")) {
                    self.tensors.insert(format!("{block}.gate.weight"), router);
                }
            }
        }
        Ok(())
    }

    /// The same where input features are rows and the two projections' outputs take turns, or where blocks of
    /// mxfp4 hold the transpose of that; biases beside them.
    fn divide_interleaved(
        &mut self,
        config: &Config,
        layer: usize,
        (experts, mixture): (&Experts, &Mixture),
    ) -> Result<()> {
        let block = format!("model.layers.{layer}.{}", mixture.block);
        let [gate, up, down] = mixture.projections;
        for (fused, parts, rows, columns) in [
            ("gate_up_proj", &[gate, up][..], experts.width, config.hidden_size),
            ("down_proj", &[down][..], config.hidden_size, experts.width),
        ] {
            let (name, outputs) = (format!("{block}.experts.{fused}"), parts.len() * rows);
            let bias = self.whole(format!("{name}_bias"), &[experts.count, outputs])?;
            let plain = self.whole(name.clone(), &[experts.count, columns, outputs])?;
            let blocks = columns / BLOCK.0;
            let packed = self.whole(format!("{name}_blocks"), &[experts.count, outputs, blocks, BLOCK.1])?;
            let scales = self.whole(format!("{name}_scales"), &[experts.count, outputs, blocks])?;
            let scales = match (&plain, &packed, &scales) {
                (Some(_), None, None) | (None, None, None) => None,
                (None, Some(packed), Some(scales))
                    if columns.is_multiple_of(BLOCK.0)
                        && [packed, scales].iter().all(|entry| entry.dtype == U8) =>
                {
                    Some(scales)
                }
                _ => {
                    let path = self.files[0].path.clone();
                    let problem = format!(
                        "{name}: numbers, or blocks and scales of mxfp4 over rows of whole blocks of {}, are read",
                        BLOCK.0
                    );
                    return Err(Error::Format { path, problem });
                }
            };
            let transposed = scales.is_none();
            for expert in 0..experts.count {
                let one = expert..expert + 1;
                let scales = scales.map(|scales| (scales.file, scales.rows(from_ref(&one)).pieces[0]));
                for (first, part) in parts.iter().enumerate() {
                    let name = |kind| format!("{block}.experts.{expert}.{part}.{kind}");
                    let (step, of) = (parts.len(), |whole: &Entry, shape, within| Entry {
                        shape,
                        within: Some(within),
                        ..whole.rows(from_ref(&one))
                    });
                    if let Some(whole) = plain.as_ref().or(packed.as_ref()) {
                        let there = if transposed { [columns, outputs] } else { [outputs, columns] };
                        let within = Within { shape: there.to_vec(), transposed, first, step, scales };
                        self.tensors.insert(name("weight"), of(whole, vec![rows, columns], within));
                    }
                    if let Some(whole) = &bias {
                        let shape = vec![outputs];
                        let within = Within { shape, transposed: false, first, step, scales: None };
                        self.tensors.insert(name("bias"), of(whole, vec![rows], within));
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a tensor out, if it is there.
    ///
    /// # Errors
    /// When it has another shape.
    fn whole(&mut self, name: String, expected: &[usize]) -> Result<Option<Entry>> {
        match self.tensors.remove(&name) {
            Some(entry) if entry.shape != expected => {
                let path = &self.files[entry.file].path;
                Err(Error::Shape { name, expected: expected.to_vec(), got: entry.shape }.of_file(path))
            }
            found => Ok(found),
        }
    }
}

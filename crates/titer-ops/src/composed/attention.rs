//! Attention composed of primitives, block by block: of long sequences some queries at a time, of short ones some
//! sequences, so that memory holds the scores of one block and not of all. The backward pass computes them again.

use std::ops::Range;

use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, MetalStorage, Result, Shape, Tensor, Var};

use super::{capped, repeat_heads, softmax_beside};
use crate::known::Known;
use crate::{Heads, Scoring, Sequences};

/// Scores that are in memory at once, all heads' together: a quarter of a gigabyte in 32 bits, some of it several times.
const MOST_SCORES: usize = 1 << 26;

/// Queries that are computed together, and the keys that they reach.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    /// Rows of the queries.
    queries: Range<usize>,
    /// Rows of keys and values.
    keys: Range<usize>,
    /// Of each sequence the length, and its queries' positions.
    sequences: Vec<(usize, Vec<usize>)>,
}

/// See [`crate::attention`].
///
/// # Errors
/// When the shapes do not match.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: Heads,
    scoring: Scoring,
    sinks: Option<&Tensor>,
    sequences: &Sequences,
) -> Result<Tensor> {
    by_blocks(q, k, v, sinks, &Scored { heads, scoring }, blocks(sequences, heads.queries, MOST_SCORES))
}

/// What is done to the scores of every block.
#[derive(Debug, Clone, Copy)]
struct Scored {
    heads: Heads,
    scoring: Scoring,
}

fn by_blocks(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    sinks: Option<&Tensor>,
    scored: &Scored,
    blocks: Vec<Block>,
) -> Result<Tensor> {
    if blocks.is_empty() {
        return Ok(q.clone());
    }
    if let [block] = &blocks[..] {
        // All queries, but of keys those of sequences that ask nothing may be left out.
        let of = |x: &Tensor| x.narrow(0, block.keys.start, block.keys.len());
        return scored.block(q, &of(k)?, &of(v)?, sinks, block);
    }
    let rows = |x: &Tensor, rows: &Range<usize>| x.narrow(0, rows.start, rows.len());
    let parts = blocks.iter().map(|block| {
        let (q, k, v) = (rows(q, &block.queries)?, rows(k, &block.keys)?, rows(v, &block.keys)?);
        scored.block(&q.detach(), &k.detach(), &v.detach(), sinks.map(Tensor::detach).as_ref(), block)
    });
    let y = Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?;
    let kv = Tensor::cat(&[k, v], 1)?;
    // In place of sinks that are not there something that no gradient is asked of.
    let beside = sinks.cloned().map_or_else(|| Tensor::zeros(1, q.dtype(), q.device()), Ok)?;
    q.apply_op3(&kv, &beside, Blocks { y: Known::new(y), scored: *scored, blocks, sunk: sinks.is_some() })
}

impl Scored {
    /// One block: its rows are spread to a padded batch, attended, and gathered again.
    fn block(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        sinks: Option<&Tensor>,
        block: &Block,
    ) -> Result<Tensor> {
        let Self { heads, scoring } = *self;
        let (batch, device) = (block.sequences.len(), q.device());
        let longest = block.sequences.iter().map(|(length, _)| *length).max().unwrap_or(0);
        let most = block.sequences.iter().map(|(_, asked)| asked.len()).max().unwrap_or(0);
        // Padding repeats the last row: what it asks is left out, and what it is asked is hidden.
        let spread = |lengths: &mut dyn Iterator<Item = usize>, to: usize| {
            let mut start = 0;
            let rows = lengths.flat_map(|length| {
                let rows = (0..to).map(move |at| (start + at.min(length - 1)) as u32);
                start += length;
                rows
            });
            Tensor::from_vec(rows.collect::<Vec<_>>(), batch * to, device)
        };
        let queries = spread(&mut block.sequences.iter().map(|(_, asked)| asked.len()), most)?;
        let keys = spread(&mut block.sequences.iter().map(|(length, _)| *length), longest)?;
        let split = |x: &Tensor, rows: &Tensor, to: usize, heads_of: usize| {
            x.index_select(rows, 0)?.reshape((batch, to, heads_of, heads.dim))?.transpose(1, 2)?.contiguous()
        };
        let q = split(q, &queries, most, heads.queries)?;
        let k = repeat_heads(&split(k, &keys, longest, heads.keys)?, heads)?;
        let v = repeat_heads(&split(v, &keys, longest, heads.keys)?, heads)?;
        let hidden = self.hidden(block, most, longest);
        let hidden = Tensor::from_vec(hidden, ((), 1, most, longest), device)?.to_dtype(q.dtype())?;
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (heads.dim as f64).sqrt())?;
        let p = softmax_beside(&capped(&scores, scoring.cap)?.broadcast_add(&hidden)?, sinks)?;
        let width = heads.queries * heads.dim;
        let out = p.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((batch * most, width))?;
        let gather = block.sequences.iter().enumerate();
        let gather =
            gather.flat_map(|(at, (_, asked))| (0..asked.len()).map(move |i| (at * most + i) as u32));
        out.index_select(&Tensor::from_vec(gather.collect::<Vec<_>>(), block.queries.len(), device)?, 0)
    }

    /// What is added to scores: minus infinity where a key is not seen. Once where all sequences ask alike.
    fn hidden(&self, block: &Block, most: usize, longest: usize) -> Vec<f32> {
        let from_first = |asked: &[usize]| asked.iter().enumerate().all(|(at, position)| at == *position);
        let alike = block.sequences.iter().all(|(_, asked)| from_first(asked));
        let whole: Vec<usize> = (0..most).collect();
        let each: Vec<&[usize]> = match alike {
            true => vec![&whole],
            false => block.sequences.iter().map(|(_, asked)| &asked[..]).collect(),
        };
        let mut hidden = Vec::with_capacity(each.len() * most * longest);
        for asked in each {
            for query in 0..most {
                let position = asked[query.min(asked.len() - 1)];
                let seen = self.scoring.first(position)..=position;
                hidden.extend(
                    (0..longest).map(|key| if seen.contains(&key) { 0.0 } else { f32::NEG_INFINITY }),
                );
            }
        }
        hidden
    }
}

/// Blocks of at most so many scores, of one query at least. Sequences that ask nothing are in none.
fn blocks(sequences: &Sequences, heads: usize, most: usize) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Whether the last one holds whole sequences: blocks of one sequence have its keys, and no others.
    let mut whole = false;
    let mut asked_before = 0;
    for rows in sequences.ranges() {
        let asked: Vec<usize> = match sequences.asked() {
            None => (0..rows.len()).collect(),
            Some(asked) => {
                let here = asked[asked_before..].iter().map(|row| *row as usize);
                here.take_while(|row| *row < rows.end).map(|row| row - rows.start).collect()
            }
        };
        let first = asked_before;
        asked_before += asked.len();
        let at_once = (most / (heads * rows.len())).max(1);
        let (mut at, all) = (0, asked.len());
        for asked in asked.chunks(at_once) {
            let queries = first + at..first + at + asked.len();
            at += asked.len();
            let after_whole = std::mem::replace(&mut whole, all == asked.len());
            let joins = after_whole && whole;
            let last = blocks.last_mut().filter(|last| {
                let count = last.sequences.len() + 1;
                let longest = last.sequences.iter().map(|(length, _)| *length).max().unwrap_or(0);
                let queries = last.sequences.iter().map(|(_, asked)| asked.len()).max().unwrap_or(0);
                // Whose rows follow on, and whose scores have room, padded as they are.
                joins
                    && last.keys.end == rows.start
                    && count * heads * longest.max(rows.len()) * queries.max(asked.len()) <= most
            });
            match last {
                Some(last) => {
                    last.queries.end = queries.end;
                    last.keys.end = rows.end;
                    last.sequences.push((rows.len(), asked.to_vec()));
                }
                None => blocks.push(Block {
                    queries,
                    keys: rows.clone(),
                    sequences: vec![(rows.len(), asked.to_vec())],
                }),
            }
        }
    }
    blocks
}

/// Of queries, keys beside values, and sinks.
struct Blocks {
    y: Known,
    scored: Scored,
    blocks: Vec<Block>,
    sunk: bool,
}

impl CustomOp3 for Blocks {
    fn name(&self) -> &'static str {
        "attention-by-blocks"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.y.cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.y.cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.y.metal()
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        sinks: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = kv.dim(1)? / 2;
        let sinks = self.sunk.then(|| Var::from_tensor(&sinks.detach())).transpose()?;
        let (mut dq, mut d_sinks) = (Vec::new(), None::<Tensor>);
        // Of each run of keys, and where it begins: blocks of one sequence have the same.
        let mut d_kv: Vec<(Range<usize>, Tensor)> = Vec::new();
        for block in &self.blocks {
            let var = |x: &Tensor, rows: &Range<usize>, column: usize, width: usize| {
                let part = x.detach().narrow(0, rows.start, rows.len())?.narrow(1, column, width)?;
                Var::from_tensor(&part.contiguous()?)
            };
            let (queries, keys) = (&block.queries, &block.keys);
            let q = var(q, queries, 0, q.dim(1)?)?;
            let (k, v) = (var(kv, keys, 0, width)?, var(kv, keys, width, width)?);
            let y = self.scored.block(&q, &k, &v, sinks.as_deref(), block)?;
            let grad = grad.narrow(0, queries.start, queries.len())?;
            let mut gradients = (y * grad)?.sum_all()?.backward()?;
            let mut of = |var: &Tensor| gradients.remove(var).map_or_else(|| var.zeros_like(), Ok);
            dq.push(of(&q)?);
            let more = Tensor::cat(&[of(&k)?, of(&v)?], 1)?;
            match d_kv.last_mut().filter(|(rows, _)| rows == keys) {
                Some((_, sum)) => *sum = (&*sum + more)?,
                None => d_kv.push((keys.clone(), more)),
            }
            if let Some(sinks) = &sinks {
                let more = of(sinks)?;
                d_sinks = Some(d_sinks.map_or_else(|| Ok(more.clone()), |sum| sum + &more)?);
            }
        }
        // Keys of sequences that ask nothing have no part in the loss.
        let (mut parts, mut end) = (Vec::new(), 0);
        let gap = |rows: usize| Tensor::zeros((rows, 2 * width), kv.dtype(), kv.device());
        for (rows, sum) in d_kv {
            if rows.start > end {
                parts.push(gap(rows.start - end)?);
            }
            end = rows.end;
            parts.push(sum);
        }
        if end < kv.dim(0)? {
            parts.push(gap(kv.dim(0)? - end)?);
        }
        Ok((Some(Tensor::cat(&dq, 0)?), Some(Tensor::cat(&parts, 0)?), d_sinks))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const HEADS: Heads = Heads { queries: 4, keys: 2, dim: 6 };

    fn numbers(shape: &[usize], seed: usize) -> Var {
        let count: usize = shape.iter().product();
        let values: Vec<f32> =
            (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1013) as f32 / 507.0 - 1.0).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// The value, and the gradients of queries, keys, values and sinks.
    fn computed(sequences: &Sequences, scoring: Scoring, most: usize) -> (usize, Vec<Vec<f32>>) {
        let (tokens, queries) = (sequences.tokens(), sequences.queries());
        let vars = [
            numbers(&[queries, 24], 1),
            numbers(&[tokens, 12], 2),
            numbers(&[tokens, 12], 3),
            numbers(&[4], 4),
        ];
        let blocks = blocks(sequences, HEADS.queries, most);
        let count = blocks.len();
        let [q, k, v, sinks] = &vars;
        let y = by_blocks(q, k, v, Some(sinks), &Scored { heads: HEADS, scoring }, blocks).unwrap();
        let gradients =
            (&y * numbers(y.dims(), 9).as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let read = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let gradients = vars.iter().map(|var| read(gradients.get(var).unwrap()));
        (count, std::iter::once(read(&y)).chain(gradients).collect())
    }

    #[test]
    fn blocks_of_any_size_give_the_same() {
        let all = Sequences::new(&[0, 1, 9, 12, 31]).unwrap();
        let some = all.asking(&[0, 9, 11, 12, 20, 30]).unwrap();
        let last = all.asking(&[30]).unwrap();
        for (sequences, least) in [(&all, 6), (&some, 3), (&last, 1)] {
            for scoring in [Scoring::default(), Scoring { window: Some(3), cap: Some(0.7) }] {
                let (count, expected) = computed(sequences, scoring, usize::MAX);
                // The second sequence of `some` asks nothing, which ends a block.
                assert!(count <= 2, "{count} blocks");
                // The second sequence of `some` asks nothing, which ends a block.
                assert!(count <= 2, "{count} blocks");
                // Room for the queries of three or of one, or all but all.
                for most in [1, 4 * 19 * 3, 4 * 19 * 19] {
                    let (count, got) = computed(sequences, scoring, most);
                    assert!(most > 1 || count >= least, "{count} blocks");
                    for (got, expected) in got.iter().zip(&expected) {
                        assert_eq!(got.len(), expected.len());
                        for (got, expected) in got.iter().zip(expected) {
                            assert!(
                                (got - expected).abs() < 1e-5,
                                "{got} for {expected}, {most} scores at once"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_block_holds_more_than_it_may() {
        let sequences = Sequences::new(&[0, 3, 40, 44, 45, 145]).unwrap();
        for most in [400, 1000, 4000, 100_000] {
            let blocks = blocks(&sequences, 4, most);
            for block in &blocks {
                let longest = block.sequences.iter().map(|(length, _)| *length).max().unwrap();
                let queries = block.sequences.iter().map(|(_, asked)| asked.len()).max().unwrap();
                assert!(block.sequences.len() * 4 * longest * queries <= most, "{block:?}");
            }
            let queries: Vec<usize> = blocks.iter().flat_map(|block| block.queries.clone()).collect();
            assert_eq!(queries, (0..145).collect::<Vec<_>>());
        }
    }
}

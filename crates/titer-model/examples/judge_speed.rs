//! How many answers a second a judge of SmolLM2-135M's shape reads: one at a time, packed, and packed with what all
//! texts begin with run once.
//!
//! ```sh
//! cargo run --release --example judge_speed
//! ```

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use candle_core::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use titer_model::{Beginning, Config, Decoder};

/// Tokens that all texts begin with: a short policy.
const BEGINNING: usize = 160;
/// Texts, of 41 to 104 tokens beyond that.
const TEXTS: usize = 32;

/// Texts a second when so many are handed over at once.
fn rate(
    model: &Decoder,
    beginning: Option<&Beginning>,
    texts: &[Vec<u32>],
    at_once: usize,
) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    for texts in texts.chunks(at_once) {
        let hidden = model.last_states(beginning, texts)?;
        let places: Vec<u32> = (0..texts.len() as u32).collect();
        model.detached_logits(&hidden, &places)?.to_vec2::<f32>()?;
    }
    Ok(texts.len() as f64 / begun.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config {
        max_position_embeddings: 2048,
        tie_word_embeddings: true,
        ..Config::llama(49_152, 576, 1536, 30, 9, 3)
    };
    let model = Decoder::initialize(config, 0.02, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
    let text = |number: usize| {
        let own = (0..41 + number * 2).map(|at| ((number * 7919 + at * 104_729) % 49_152) as u32);
        (0..BEGINNING as u32).chain(own).collect()
    };
    let texts: Vec<Vec<u32>> = (0..TEXTS).map(text).collect();
    let beginning = model.begin(&texts[0][..BEGINNING])?;
    let alone = rate(&model, None, &texts, 1)?;
    let packed = rate(&model, None, &texts, TEXTS)?;
    let shared = rate(&model, beginning.as_ref(), &texts, TEXTS)?;
    writeln!(
        std::io::stdout(),
        "one at a time {alone:.2} texts/s, packed {packed:.2} ({:.2} times), beginning run once {shared:.2} ({:.2} times)",
        packed / alone,
        shared / alone
    )?;
    Ok(())
}

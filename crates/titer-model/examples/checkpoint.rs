//! Logits of a real checkpoint, for comparison with a peer (`tests/peers/checkpoint_logits.py`):
//!
//! checkpoint MODEL IDS LOGITS [SAVED], with IDS a JSON list of tokens; writes f32 rows to LOGITS and, when it is
//! given, a directory SAVED.

use std::path::Path;

use candle_core::Device;
use titer_model::Decoder;
use titer_ops::Sequences;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, ids, logits, rest @ ..] = arguments.as_slice() else {
        return Err("checkpoint MODEL IDS LOGITS [SAVED]".into());
    };
    let model = Decoder::open(Path::new(model), &Device::Cpu)?;
    let ids: Vec<u32> = serde_json::from_str(&std::fs::read_to_string(ids)?)?;
    let hidden = model.forward(&ids, &Sequences::new(&[0, ids.len()])?)?;
    let rows: Vec<u32> = (0..ids.len() as u32).collect();
    let values = model.logits(&hidden, &rows)?.flatten_all()?.to_vec1::<f32>()?;
    std::fs::write(logits, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
    if let [saved] = rest {
        std::fs::create_dir_all(saved)?;
        model.save(Path::new(saved))?;
    }
    Ok(())
}

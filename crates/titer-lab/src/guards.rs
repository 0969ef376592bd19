//! Judges that are language models, opened from where their models are.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use serde_json::json;
use titer_measures::measures::guard::{Definition, Guard, GuardModel, Speech, VERSION};
use titer_measures::text::refusals::Refusals;
use titer_measures::{Exchange, Judgement, Making, Measure, MeasureError, Parts};
use titer_model::Decoder;
use titer_plan::stage::MeasureSpec;

use crate::Result;
use crate::checkpoints::{ends, ends_of, read_chat, read_tokenizer};

/// Judges that are kept open at most.
const MOST: usize = 4;

/// The judges that were opened last, by all that makes them: a model is large, and every stage of a run is judged by the
/// same one, several of them at once.
static OPENED: Mutex<Vec<(String, Arc<Guard>)>> = Mutex::new(Vec::new());

/// A judge that stages share.
#[derive(Debug)]
pub(crate) struct Shared(Arc<Guard>);

impl Measure for Shared {
    fn judge(&self, batch: &[Exchange]) -> std::result::Result<Vec<Judgement>, MeasureError> {
        self.0.judge(batch)
    }
}

/// The judge of a measure's spec, with its model in that folder or file, whose content is called `content`. `refusals` are
/// the data's own phrases.
pub(crate) fn open(
    spec: &MeasureSpec,
    (path, content): (&Path, &str),
    refusals: &[String],
    device: &Device,
) -> Result<Shared> {
    let made_of = json!({ "measure": spec, "path": path, "content": content, "refusals": refusals });
    let key = format!("{device:?} {made_of}");
    // Held while a judge is opened, so that stages that begin at once do not each open it.
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, guard)) = opened.iter().find(|(known, _)| *known == key) {
        return Ok(Shared(Arc::clone(guard)));
    }
    let guard = Arc::new(read(spec, path, refusals, device)?);
    if opened.len() == MOST {
        opened.remove(0);
    }
    opened.push((key, Arc::clone(&guard)));
    Ok(Shared(guard))
}

fn read(spec: &MeasureSpec, path: &Path, refusals: &[String], device: &Device) -> Result<Guard> {
    let measure = spec.name.clone();
    if spec.version != VERSION {
        let (planned, version) = (spec.version, VERSION);
        return Err(MeasureError::Version { measure, planned, version }.into());
    }
    let definition: Definition = serde_json::from_value(spec.settings.clone())
        .map_err(|error| MeasureError::Settings { measure, problem: error.to_string() })?;
    let parts = Parts { refusals, world: None, classifier: None, own: None, device };
    let refusals = Making { spec, parts: &parts }.refusals()?;
    with_model(definition, path, refusals, device)
}

fn with_model(definition: Definition, path: &Path, refusals: Refusals, device: &Device) -> Result<Guard> {
    definition.complete().map_err(MeasureError::from)?;
    let (decoder, head) = match definition.head {
        Some(_) => {
            let (decoder, head) = Decoder::load_with_head(path, device)?;
            (decoder, Some(head))
        }
        None => (Decoder::open(path, device)?, None),
    };
    let (speech, ends) = if definition.chat {
        let chat = read_chat(path, None)?;
        let ends = ends(path, &chat, decoder.config())?;
        (Speech::Chat(Box::new(chat)), ends)
    } else {
        let (tokenizer, config) = read_tokenizer(path)?;
        let end = config.special.eos.and_then(|end| tokenizer.id(&end));
        let ends = ends_of(path, end.as_slice(), decoder.config())?;
        (Speech::Text(Box::new(tokenizer)), ends)
    };
    let model = GuardModel { decoder, head, speech, ends };
    Ok(Guard::new(definition, model, refusals).map_err(MeasureError::from)?)
}

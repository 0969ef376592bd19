//! Takes in what was made elsewhere: a model, a data set, a classifier. It stays where it is: the stage's name covers
//! what it is, and the artifact says where that was found.

use std::path::PathBuf;

use serde_json::Value;
use titer_data::Split;
use titer_data::text::{Chat, Message};
use titer_plan::{Content, PlannedSource};
use titer_store::Artifact;

use super::Work;
use crate::checkpoints::{read_chat, shape};
use crate::files::read;
use crate::material::{Places, dealt, origin};
use crate::sources::Sources;
use crate::{Error, Result};

/// What the artifact of such a stage holds: the source as it was planned.
const CHECKPOINT: &str = "checkpoint.json";

pub(super) fn take_in(work: &Work<'_>, content: &Content) -> Result<Value> {
    let path = work.sources.unchanged(work.plan, content)?;
    // What cannot be used is said now, before hours of other stages.
    let config = shape(&path)?;
    let chat = read_chat(&path, work.chat_template())?;
    chat.check_vocabulary(config.vocab_size)?;
    chat.check_teaching()?;
    check_words(work, &chat)?;
    remember(work, content)
}

/// Says now, before hours of other stages, what the template refuses of the words that the plan's data put around each
/// question; data with rows of their own are looked at by the stages that read these.
fn check_words(work: &Work<'_>, chat: &Chat) -> Result<()> {
    let Some((data, _)) = work.plan.stages.iter().find_map(|stage| stage.spec.asks()) else { return Ok(()) };
    let origin = origin(data)?;
    if !origin.sources().is_empty() {
        return Ok(());
    }
    let items = dealt(origin.as_ref(), data, &Places::new())?.items(Split::Defence, None)?;
    if let Some(item) = items.into_iter().next() {
        let row = item.label(Split::Defence.name());
        let mut messages = item.messages;
        messages.push(Message::assistant(item.refusal));
        chat.example(&messages).map_err(|source| Error::Row { row, source })?;
    }
    Ok(())
}

/// The same for a data set or a classifier, which the stages that use it check.
pub(super) fn take_in_source(work: &Work<'_>, content: &Content) -> Result<Value> {
    work.sources.unchanged(work.plan, content)?;
    remember(work, content)
}

fn remember(work: &Work<'_>, content: &Content) -> Result<Value> {
    work.writer.resume()?;
    let source = work.plan.source(content);
    work.writer.write_bytes(CHECKPOINT, &serde_json::to_vec_pretty(&source)?)?;
    Ok(Value::Null)
}

/// Where what a stage took in is, if `artifact` is one of such a stage; found again and compared.
pub(super) fn taken_in(artifact: &Artifact) -> Result<Option<PathBuf>> {
    let source: PlannedSource = serde_json::from_slice(&read(&artifact.payload(CHECKPOINT)?)?)?;
    source.found.as_ref().map(|was| Sources::of_this_user().still(&source, was)).transpose()
}

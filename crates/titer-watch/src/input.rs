//! The thread that reads keys: reading waits, and on a terminal that is gone it may wait for ever.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use ratatui::crossterm::event::{self, Event};

use super::app::Message;

/// Starts reading.
///
/// # Errors
/// When the system has no room for a thread.
pub(crate) fn listen(messages: Sender<Message>) -> io::Result<()> {
    thread::Builder::new().name("watch-keys".into()).spawn(move || {
        while let Ok(event) = event::read() {
            let message = match event {
                Event::Key(key) => Message::Key(key),
                Event::Mouse(event) => Message::Mouse(event),
                Event::Paste(text) => Message::Pasted(text),
                Event::Resize(..) => Message::Resized,
                Event::FocusGained | Event::FocusLost => continue,
            };
            if messages.send(message).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

//! Being told to end, and finding out that the terminal is gone, in threads of their own: the thread that reads
//! keys may hang in a read that never returns, and the one that paints in a write.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::app::Message;
use super::terminal::give_back;

/// How long giving the terminal back may take: one that is gone or stopped may never take the bytes.
const PATIENCE: Duration = Duration::from_millis(200);

/// Starts listening.
///
/// # Errors
/// When the system has no room for threads or handlers.
pub(crate) fn listen(messages: Sender<Message>) -> io::Result<()> {
    // Also where the parent ignores hang-ups, as `nohup` and `sudo` do: a handler of our own goes before that.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCONT])?;
    thread::Builder::new().name("watch-signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                let _ = messages.send(Message::Continued);
            } else {
                end(128 + signal);
            }
        }
    })?;
    thread::Builder::new().name("watch-hangup".into()).spawn(|| {
        let stdin = io::stdin();
        let mut terminal = [PollFd::new(&stdin, PollFlags::empty())];
        // Waits for nothing but errors and hang-ups, which are always told.
        loop {
            match poll(&mut terminal, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
                Ok(_) if terminal[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => {
                    end(128 + SIGHUP);
                }
                // A terminal that cannot be polled (on macOS): signals must do.
                Ok(_) => return,
            }
        }
    })?;
    Ok(())
}

/// Gives the terminal back if it can be had in time, and ends the program.
fn end(code: i32) {
    let (done, is_done) = channel();
    thread::spawn(move || {
        give_back();
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(PATIENCE);
    std::process::exit(code);
}

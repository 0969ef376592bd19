//! The terminal: taken over, given back whatever happens, and lent to the shell on Ctrl-Z.

use std::io::{self, Stdout, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use rustix::process::{Signal, kill_current_process_group};

use super::app::App;
use super::clipboard;
use super::draw::draw;

/// Whether the terminal is ours, so that whoever ends the program knows whether to give it back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while the app has it.
pub(crate) struct Terminal {
    cells: ratatui::Terminal<CrosstermBackend<Stdout>>,
    mouse: bool,
}

impl Terminal {
    /// Takes it over. From here on a panic, of whatever thread, gives it back and ends the program.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn enter(mouse: bool) -> io::Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
            std::process::exit(101);
        }));
        let cells = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()))?;
        let mut terminal = Self { cells, mouse };
        terminal.take()?;
        Ok(terminal)
    }

    fn take(&mut self) -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
        self.set_mouse(self.mouse)?;
        self.repaint()
    }

    /// Paints the app; only cells that changed are sent.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn draw(&mut self, app: &App) -> io::Result<()> {
        self.cells.draw(|frame| draw(frame, app)).map(|_| ())
    }

    /// Lets the next picture be sent whole.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn repaint(&mut self) -> io::Result<()> {
        // Not `clear`: that asks the terminal where its cursor is, and the answer goes to the thread of keys.
        let area = self.cells.size()?;
        self.cells.resize(area.into())
    }

    /// Listens to the mouse, or no longer.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        if on {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        }
    }

    /// Copies text to the clipboard of the terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(&clipboard::sequence(text, clipboard::Through::this()))?;
        stdout.flush()
    }

    /// Gives the terminal to the shell and stops, until the shell lets this program go on.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // The whole group, as the terminal's own Ctrl-Z does.
        kill_current_process_group(Signal::TSTP)?;
        self.take()
    }

    /// Takes the terminal over again after the shell had it without our knowing.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn come_back(&mut self) -> io::Result<()> {
        self.take()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal what it was. A terminal that is gone needs nothing.
pub(crate) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(
            io::stdout(),
            DisableMouseCapture,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
    }
}

//! A terminal to run a program in: a pseudo-terminal, and what it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long a program may take to show something before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program in a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    /// The side of the person; none once the terminal is gone.
    master: Option<File>,
    shown: Arc<Shown>,
    reader: Option<JoinHandle<()>>,
}

/// What the terminal shows, and a bell that rings whenever it changes.
struct Shown {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
    /// Whether the person has gone, so that nobody reads any more.
    gone: AtomicBool,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, vt100::Parser> {
        self.parser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminal {
    /// Starts `command` in a terminal of this size, with that terminal as its own.
    ///
    /// # Panics
    /// When the system has no terminals left, or the program cannot be started.
    pub fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("a terminal of ours");
        unlockpt(&master).expect("an unlocked terminal");
        let name = ptsname(&master, Vec::new()).expect("terminals have names");
        let path = name.into_string().expect("their names are plain");
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("terminals have sizes");
        let open = || {
            // Not ours: it would be, where this process leads a session without a terminal.
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let slave = rustix::fs::open(&path, flags, Mode::empty()).expect("the program's side");
            Stdio::from(slave)
        };
        command.stdin(open()).stdout(open()).stderr(open());
        // SAFETY: both are single system calls, which may be made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().expect("the program can be started");
        // Else the terminal would stay in use as long as `command` lives.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let shown = Arc::new(Shown {
            parser: Mutex::new(vt100::Parser::new(size_of(rows), size_of(columns), 0)),
            changed: Condvar::new(),
            gone: AtomicBool::new(false),
        });
        let reader = File::from(master.as_fd().try_clone_to_owned().expect("a second handle"));
        let seen = Arc::clone(&shown);
        let reader = Some(thread::spawn(move || follow(reader, &seen)));
        Self { child, master: Some(File::from(master)), shown, reader }
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        let master = self.master.as_mut().expect("a terminal");
        master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Gives it another size.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.shown.lock().set_size(size_of(rows), size_of(columns));
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.as_ref().expect("a terminal"), size).expect("terminals have sizes");
    }

    /// What it shows.
    pub fn text(&self) -> String {
        contents(self.shown.lock().screen())
    }

    /// What it shows, with the escape sequences that make it look so.
    pub fn formatted(&self) -> String {
        self.shown.lock().screen().contents_formatted()
    }

    /// Whether the program has taken the whole screen, as it does until it gives it back.
    pub fn is_taken(&self) -> bool {
        self.shown.lock().screen().alternate_screen()
    }

    /// Waits until what is shown is as wanted, and returns how long that took.
    ///
    /// # Panics
    /// When it does not come to that in half a minute.
    #[track_caller]
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Duration {
        let began = Instant::now();
        let mut parser = self.shown.lock();
        loop {
            let text = contents(parser.screen());
            if wanted(&text) {
                return began.elapsed();
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(!left.is_zero(), "waited in vain for {what}; the terminal shows:\n{text}");
            let woken = self.shown.changed.wait_timeout(parser, left);
            (parser, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until it shows `text`, and returns how long that took.
    ///
    /// # Panics
    /// When it does not in half a minute.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> Duration {
        self.wait_until(&format!("{text:?}"), |shown| shown.contains(text))
    }

    /// Takes the terminal away, as a connection that breaks does.
    pub fn hang_up(&mut self) {
        self.master = None;
        self.shown.gone.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// The process of the program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the program, which cannot do anything about it.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the program can be killed");
        self.child.wait().expect("the program ends");
    }

    /// Waits for the program's end; none when it goes on after `limit`.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the system tells of its processes") {
                return Some(status);
            }
            if began.elapsed() >= limit {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.hang_up();
    }
}

fn size_of(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).expect("terminals have cells")
}

/// Rows without the blanks at their ends.
fn contents(screen: &vt100::Screen) -> String {
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).map(|row| row.trim_end().to_owned() + "\n").collect()
}

/// Takes in what the program writes, until either side is gone.
fn follow(mut reader: File, shown: &Shown) {
    const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let mut bytes = [0; 65_536];
    while !shown.gone.load(Ordering::SeqCst) {
        let mut ready = [PollFd::new(&reader, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK_UP)) {
            Ok(0) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        let Ok(read @ 1..) = reader.read(&mut bytes) else { return };
        shown.lock().process(&bytes[..read]);
        shown.changed.notify_all();
    }
}

//! Chat templates of strangers, rendered by a process with little memory, whose end is not this one's.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, setrlimit};
use titer_data::text::apart::{self, Apart, Rendered, Request};
use titer_data::text::{ChatTemplate, Date};

use crate::Result;

/// What such a process is started with.
const RENDERER: &str = "--render-chat-templates";

/// Address space of it: a conversation takes some megabytes.
const MEMORY: u64 = 2 << 30;

/// Processor time of it over its life; one that came so far is begun anew.
const PROCESSOR_SECONDS: u64 = 60;

/// How long an answer may take, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// The process that renders for all of this one, if there is one.
static PROCESS: OnceLock<Arc<Process>> = OnceLock::new();

/// Renders templates by this program, whose `main` begins with [`is_renderer`] and [`serve`]. Without it they are
/// rendered here, with bounds on instructions and output alone.
pub fn render_by(program: PathBuf) {
    // A second call changes nothing: there is one program.
    let _ = PROCESS.set(Arc::new(Process { program, running: Mutex::new(None) }));
}

/// Whether this process is to render and nothing else.
pub fn is_renderer() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == RENDERER)
}

/// Renders what is asked on stdin until that ends, within limits.
///
/// # Errors
/// When the limits cannot be set, or the other side speaks otherwise or is gone.
pub fn serve() -> io::Result<()> {
    let limits = [(Resource::As, MEMORY), (Resource::Cpu, PROCESSOR_SECONDS), (Resource::Core, 0)];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // The one that asks may be killed while a template runs on: that ends by the limit of its processor time. (A signal
    // at the parent's death would come at the end of the thread that asked first.)
    apart::serve(io::stdin().lock(), io::stdout().lock())
}

/// A template as this process renders it: apart, where a program for that is known.
pub(crate) fn compiled(source: &str) -> Result<ChatTemplate> {
    let date = Date::default();
    Ok(match PROCESS.get() {
        Some(process) => ChatTemplate::apart(source, date, process.clone())?,
        None => ChatTemplate::new(source, date)?,
    })
}

/// The program, and the process of it that runs.
#[derive(Debug)]
struct Process {
    program: PathBuf,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It holds nothing that is not asked again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(program: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(RENDERER).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C asks this process to end in order, for which it may have to render.
        let mut child = command.process_group(0).spawn()?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Self { child, requests, answers: BufReader::new(answers) })
    }

    /// None where no answer came in time.
    fn ask(&mut self, request: &str) -> io::Result<Option<Rendered>> {
        let until = Instant::now() + PATIENCE;
        writeln!(self.requests, "{request}")?;
        self.requests.flush()?;
        if self.answers.buffer().is_empty() && !readable(self.answers.get_ref(), until)? {
            return Ok(None);
        }
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(serde_json::from_str(&line)?))
    }
}

/// Whether something can be read before `until`.
fn readable(from: &impl AsFd, until: Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Apart for Process {
    fn render(&self, request: &Request) -> Rendered {
        let text = match serde_json::to_string(request) {
            Ok(text) => text,
            Err(error) => return Rendered::Template { line: None, problem: error.to_string() },
        };
        // One that a panic elsewhere left behind is begun anew.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // A process may have come to its end by what it rendered before: a new one decides.
        for _ in 0..2 {
            let mut process = match running.take().map_or_else(|| Running::start(&self.program), Ok) {
                Ok(process) => process,
                Err(error) => {
                    let problem =
                        format!("{} cannot be started to render it: {error}", self.program.display());
                    return Rendered::Template { line: None, problem };
                }
            };
            match process.ask(&text) {
                Ok(Some(answer)) => {
                    *running = Some(process);
                    return answer;
                }
                Ok(None) => return Rendered::Unbounded { limit: format!("{} s", PATIENCE.as_secs()) },
                Err(_) => {}
            }
        }
        let limit = format!("{} GiB of memory, or the depth of its stack", MEMORY >> 30);
        Rendered::Unbounded { limit }
    }
}

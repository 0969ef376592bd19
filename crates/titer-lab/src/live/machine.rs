//! What the computing of a stage takes of this machine, where it runs on this one.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sysinfo::{Pid, ProcessesToUpdate, System};
use titer_store::State;

use super::view::StageView;

/// How often a GPU is asked: starting its program takes a while.
const GPUS_EVERY: Duration = Duration::from_secs(5);

/// Asks the operating system and, where there is one, NVIDIA's own program.
#[derive(Debug, Default)]
pub(super) struct Machine {
    system: System,
    gpus: Vec<(f64, u64)>,
    asked: Option<Instant>,
    /// There is no such program here.
    no_gpu: bool,
}

impl Machine {
    /// Adds what a running stage takes to its view.
    pub(super) fn look(&mut self, state: &State, view: &mut StageView) {
        let State::Running(holder) = state else { return };
        if System::host_name().is_none_or(|here| here != holder.host) {
            return;
        }
        let pid = Pid::from_u32(holder.pid);
        self.system.refresh_processes(ProcessesToUpdate::Some(&[pid]), true);
        view.memory_bytes = self.system.process(pid).map(sysinfo::Process::memory);
        view.gpus = self.gpus();
    }

    fn gpus(&mut self) -> Vec<(f64, u64)> {
        if !self.no_gpu && self.asked.is_none_or(|asked| asked.elapsed() >= GPUS_EVERY) {
            self.asked = Some(Instant::now());
            let asked = Command::new("nvidia-smi")
                .args(["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"])
                .stdin(Stdio::null())
                .output();
            match asked {
                Ok(output) => self.gpus = parse(&String::from_utf8_lossy(&output.stdout)),
                Err(_) => self.no_gpu = true,
            }
        }
        self.gpus.clone()
    }
}

/// Lines like `87, 40536`: per cent and MiB. A driver that cannot tell writes `[N/A]`.
fn parse(table: &str) -> Vec<(f64, u64)> {
    let gpu = |line: &str| {
        let (used, memory) = line.split_once(',')?;
        Some((used.trim().parse::<f64>().ok()? / 100.0, memory.trim().parse::<u64>().ok()? << 20))
    };
    table.lines().filter_map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_prints_is_read() {
        assert_eq!(parse("87, 2\n[N/A], 3\n0, 1\n"), [(0.87, 2 << 20), (0.0, 1 << 20)]);
        assert_eq!(parse("NVIDIA-SMI has failed\n"), []);
    }
}

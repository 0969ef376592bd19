//! What computes: the program's revision and features, and the machine. For manifests; no result and no name depends
//! on it.

use std::sync::OnceLock;

use candle_core::Device;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use titer_store::{Machine, Provenance};

use crate::Compute;

static REVISION: OnceLock<String> = OnceLock::new();

/// Says of which git revision this program was built, where that is known. The first word counts.
pub fn built_from(revision: Option<&str>) {
    if let Some(revision) = revision {
        REVISION.get_or_init(|| revision.to_owned());
    }
}

/// What a stage is computed by on `device`.
pub(crate) fn provenance(device: &Device) -> Provenance {
    let device = match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    };
    Provenance {
        git: REVISION.get().cloned(),
        features: features(),
        device: Some(device.to_owned()),
        machine: Some(machine()),
    }
}

/// The features that this program was built with.
pub(crate) fn features() -> Vec<String> {
    let built = Compute::built_with().iter().filter(|name| **name != "cpu");
    built.map(|name| (*name).to_owned()).collect()
}

fn machine() -> Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    let look = || {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(what);
        let processor = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
        Machine {
            processor: processor
                .filter(|brand| !brand.is_empty())
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: system.cpus().len(),
            memory: system.total_memory(),
            system: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.to_owned()),
        }
    };
    MACHINE.get_or_init(look).clone()
}

//! How many stages fit into this machine's memory at once.

use sysinfo::System;

use crate::{Compute, Error, Estimate, Result};

/// The share of what is free that a run may plan with: estimates are no guarantees.
const USABLE: f64 = 0.9;

/// Bytes that are free for this process, under its control group's limit where it has one.
pub(crate) fn free() -> Option<f64> {
    let mut system = System::new();
    system.refresh_memory();
    let machine = system.available_memory();
    let free = system.cgroup_limits().map_or(machine, |limits| limits.free_memory.min(machine));
    // A system that tells nothing tells zero.
    (free > 0).then_some(free as f64)
}

/// Stages to run at once: as many as were asked for, or else as the cores allow and memory holds.
///
/// # Errors
/// When what was asked for, or a single stage, does not fit into memory.
pub fn jobs(estimate: &Estimate, asked: Option<usize>, compute: &Compute) -> Result<usize> {
    // A GPU's memory is not looked at: it says itself when it is full.
    if let Some(jobs) = compute.jobs() {
        return Ok(asked.unwrap_or(jobs));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match free() {
        Some(free) => within(estimate, asked, cores, free * USABLE),
        None => Ok(asked.unwrap_or(cores)),
    }
}

fn within(estimate: &Estimate, asked: Option<usize>, cores: usize, usable: f64) -> Result<usize> {
    let most = asked.unwrap_or(cores);
    match estimate.jobs_within(usable, most) {
        Some(jobs) if asked.is_none() || jobs == most => Ok(jobs),
        fits => {
            let jobs = if asked.is_some() { most } else { 1 };
            Err(Error::Memory { jobs, needed: estimate.memory_bytes(jobs), usable, fits })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{plan, source};

    #[test]
    fn what_does_not_fit_is_refused_with_the_setting_to_change() {
        let plan = plan(&source("smollm2-policy").unwrap(), &[]).unwrap();
        let estimate = crate::estimate(&plan, None);
        let one = estimate.memory_bytes(1);
        let with = |asked, times: f64| within(&estimate, asked, 8, times * one);
        assert_eq!(with(None, 100.0).unwrap(), 8);
        assert_eq!(with(None, 1.5).unwrap(), 1);
        assert_eq!(with(Some(1), 1.5).unwrap(), 1);
        let error = with(Some(4), 1.5).unwrap_err().to_string();
        assert!(error.contains("--jobs 1"), "{error}");
        let error = with(None, 0.5).unwrap_err().to_string();
        assert!(error.contains("batch"), "{error}");
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(free().is_none_or(|bytes| bytes > 1e6));
    }
}

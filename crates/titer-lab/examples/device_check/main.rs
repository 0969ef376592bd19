//! Whether a device computes what the processor computes by its own kernels: every operator, every family of decoders,
//! every optimiser, and a few steps of every defence and attack that trains or edits weights.
//!
//! ```sh
//! device_check FIXTURES [DEVICE]
//! ```
//!
//! FIXTURES is the repository's `tests/fixtures`, DEVICE as `titer run --device` has it. On the device `cpu` the same
//! comparisons are made with operators composed of candle's primitives, as GPUs have them. Prints one JSON document,
//! and ends with 1 where a comparison lies outside its limit.
#![allow(clippy::print_stdout)]

mod attacks;
mod compared;
mod defences;
mod families;
mod operators;
mod optimizers;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use candle_core::Device;
use titer_lab::Compute;

use compared::{Comparison, Other};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (fixtures, device) = match arguments.as_slice() {
        [fixtures] => (PathBuf::from(fixtures), "cpu"),
        [fixtures, device] => (PathBuf::from(fixtures), device.as_str()),
        _ => return Err("device_check FIXTURES [DEVICE]".into()),
    };
    let compute: Compute = device.parse()?;
    let device = compute.open()?.into_iter().next().ok_or("no device")?;
    let other = match device {
        Device::Cpu => Other::Composed,
        device => Other::Device(device),
    };
    let started = Instant::now();
    let mut comparisons = Vec::new();
    operators::compare(&other, &mut comparisons)?;
    families::compare(&other, &fixtures, &mut comparisons)?;
    optimizers::compare(&other, &mut comparisons)?;
    defences::compare(&other, &mut comparisons)?;
    attacks::compare(&other, &mut comparisons)?;
    let off = comparisons.iter().filter(|comparison| !comparison.holds()).count();
    let document = serde_json::json!({
        "device": compute.to_string(),
        "against": other.against(),
        "seconds": started.elapsed().as_secs_f64(),
        "compared": comparisons.len(),
        "off": off,
        "comparisons": comparisons.iter().map(Comparison::to_json).collect::<Vec<_>>(),
    });
    println!("{document:#}");
    Ok(if off == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

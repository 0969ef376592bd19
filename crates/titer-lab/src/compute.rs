//! What stages compute on.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::{Error, Result};

/// What stages compute on. GPUs need a binary that was built for them (cargo features `cuda` and `metal`); on
/// them the operators are composed of candle's own, in 32-bit floats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compute {
    /// The processor.
    #[default]
    Cpu,
    /// These GPUs: stages are dealt out to them in turn.
    Cuda(Vec<usize>),
    /// The GPU of a Mac.
    Metal,
}

impl Compute {
    /// What this binary was built with.
    pub fn built_with() -> &'static [&'static str] {
        match (cfg!(feature = "cuda"), cfg!(feature = "metal")) {
            (true, true) => &["cpu", "cuda", "metal"],
            (true, false) => &["cpu", "cuda"],
            (false, true) => &["cpu", "metal"],
            (false, false) => &["cpu"],
        }
    }

    /// Stages at once that suit it, if it says; else the cores decide.
    pub fn jobs(&self) -> Option<usize> {
        match self {
            Self::Cpu => None,
            Self::Cuda(devices) => Some(devices.len()),
            Self::Metal => Some(1),
        }
    }

    /// The devices.
    ///
    /// # Errors
    /// When the binary was not built for them, or the machine has none.
    pub fn open(&self) -> Result<Vec<Device>> {
        let opened = match self {
            Self::Cpu => Ok(vec![Device::Cpu]),
            Self::Cuda(numbers) => numbers.iter().map(|number| Device::new_cuda(*number)).collect(),
            Self::Metal => Device::new_metal(0).map(|device| vec![device]),
        };
        opened.map_err(|source| Error::Device { device: self.to_string(), source })
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(devices) => {
                let numbers: Vec<String> = devices.iter().map(usize::to_string).collect();
                write!(f, "cuda:{}", numbers.join(","))
            }
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for Compute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, numbers) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let compute = match (kind, numbers) {
            ("cpu", None) => Self::Cpu,
            ("metal", None) => Self::Metal,
            ("cuda", numbers) => {
                let numbers: Vec<usize> = numbers
                    .unwrap_or("0")
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()
                    .map_err(|_| format!("{text}: expected numbers of GPUs, as in cuda:0,1"))?;
                if (1..numbers.len()).any(|at| numbers[..at].contains(&numbers[at])) {
                    return Err(format!("{text}: names a GPU twice"));
                }
                Self::Cuda(numbers)
            }
            _ => return Err("expected cpu, cuda, cuda:0,1 or metal".to_owned()),
        };
        if Self::built_with().contains(&kind) {
            Ok(compute)
        } else {
            let problem = format!("this program was built for {} only", Self::built_with().join(" and "));
            Err(format!("{problem}; for {kind}: cargo build --release --features {kind}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_binary_cannot_do_is_refused_with_the_way_to_get_it() {
        assert_eq!("cpu".parse(), Ok(Compute::Cpu));
        for (text, feature) in [("cuda", "cuda"), ("cuda:0,1", "cuda"), ("metal", "metal")] {
            match text.parse::<Compute>() {
                Ok(compute) => assert!(Compute::built_with().contains(&feature), "{compute}"),
                Err(error) => assert!(error.contains(&format!("--features {feature}")), "{error}"),
            }
        }
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:0,0", "metal:1"] {
            assert!(text.parse::<Compute>().is_err(), "{text}");
        }
    }
}

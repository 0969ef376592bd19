//! What a search may spend, and what it has spent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the trials of a search may spend, the closing measurement included. What the undefended model takes
/// is not counted: every defence of an experiment shares it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "unit", content = "amount", rename_all = "kebab-case")]
pub enum Budget {
    /// Floating-point operations as `titer plan` estimates them: the same trials on every machine.
    Flops(f64),
    /// Seconds of stages, added up, as they took on the machine that computed them.
    Seconds(f64),
}

impl FromStr for Budget {
    type Err = String;

    /// Reads `3e15` (operations) or `90s`, `20m`, `1.5h`.
    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            "expected a number of floating-point operations, like 3e15, or a time, like 90s, 20m or 2h";
        let (number, unit) = match text.trim().strip_suffix(['s', 'm', 'h']) {
            Some(number) => (number, text.trim().chars().next_back()),
            None => (text.trim(), None),
        };
        let number: f64 = number.trim().parse().map_err(|_| form.to_owned())?;
        if !(number.is_finite() && number > 0.0) {
            return Err(form.to_owned());
        }
        Ok(match unit {
            Some('s') => Self::Seconds(number),
            Some('m') => Self::Seconds(60.0 * number),
            Some(_) => Self::Seconds(3600.0 * number),
            None => Self::Flops(number),
        })
    }
}

/// What something took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Floating-point operations, as estimated before: early stops make it less.
    pub flops: f64,
    /// Seconds of stages, added up; those of stages that were computed earlier are those that they took then.
    pub seconds: f64,
}

impl Spent {
    /// In the unit of a budget.
    pub(super) fn in_unit_of(self, budget: Budget) -> f64 {
        match budget {
            Budget::Flops(_) => self.flops,
            Budget::Seconds(_) => self.seconds,
        }
    }
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.flops += other.flops;
        self.seconds += other.seconds;
    }
}

impl Budget {
    /// How much, in its own unit.
    pub(super) fn amount(self) -> f64 {
        match self {
            Self::Flops(amount) | Self::Seconds(amount) => amount,
        }
    }

    /// An amount in the unit of this budget.
    pub(super) fn of(self, amount: f64) -> Self {
        match self {
            Self::Flops(_) => Self::Flops(amount),
            Self::Seconds(_) => Self::Seconds(amount),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flops(flops) => write!(f, "{flops:.2e} operations"),
            Self::Seconds(seconds) => write!(f, "{seconds:.0} s of stages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_operations_or_times() {
        let read = |text: &str| text.parse::<Budget>();
        assert_eq!(read("3e15"), Ok(Budget::Flops(3e15)));
        assert_eq!(read("90s"), Ok(Budget::Seconds(90.0)));
        assert_eq!(read("20m"), Ok(Budget::Seconds(1200.0)));
        assert_eq!(read("1.5h"), Ok(Budget::Seconds(5400.0)));
        for text in ["", "m", "-1", "0s", "nan", "1d", "inf", "20 minutes"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

//! How values lie along an axis, and where its ticks stand: linear, or ln(1 + x / unit), which has room for
//! the first steps, where models break, and still begins at 0.

/// How an axis spreads its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// Evenly.
    Linear,
    /// By magnitude.
    #[default]
    Log,
}

impl Spread {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Linear => Self::Log,
            Self::Log => Self::Linear,
        }
    }

    /// How it is kept between sessions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Log => "log",
        }
    }

    /// What was kept; by magnitude where nothing was, so that the first steps are seen.
    pub fn named(name: Option<&str>) -> Self {
        if name == Some("linear") { Self::Linear } else { Self::Log }
    }
}

/// An axis from its first value to its last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    /// What counts as one step away from 0, where values are spread by magnitude.
    unit: Option<f64>,
}

impl Scale {
    /// From `low` to `high`, which are made to differ.
    pub fn linear(low: f64, high: f64) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        // An axis without length would have no place for its one value.
        let least = (low.abs() * 1e-9).max(f64::MIN_POSITIVE);
        if high - low > least {
            Self { low, high, unit: None }
        } else {
            let room = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
            Self { low: low - if low == 0.0 { 0.0 } else { room }, high: low + room, unit: None }
        }
    }

    /// What all of `values` fit on. By magnitude it begins at 0, and its unit is the least value above 0.
    pub fn around(values: impl Iterator<Item = f64> + Clone, spread: Spread) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let low = finite.clone().fold(f64::INFINITY, f64::min);
        let high = finite.clone().fold(f64::NEG_INFINITY, f64::max);
        let linear = Self::linear(low, high);
        match spread {
            Spread::Linear => linear,
            Spread::Log => {
                let unit = finite.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
                if unit.is_finite() { Self { low: 0.0, high, unit: Some(unit) } } else { linear }
            }
        }
    }

    /// The same axis begun at 0 where its values come near it anyway.
    pub fn down_to_zero(self) -> Self {
        if self.low > 0.0 && self.low < 0.4 * self.high { Self { low: 0.0, ..self } } else { self }
    }

    /// Where a value lies: 0 at the beginning, 1 at the end, further out for values beyond; none for what is
    /// no number.
    pub fn place(&self, value: f64) -> Option<f64> {
        let share = match self.unit {
            None => (value - self.low) / (self.high - self.low),
            Some(unit) => (value.max(0.0) / unit).ln_1p() / (self.high / unit).ln_1p(),
        };
        share.is_finite().then_some(share)
    }

    /// Ticks whose labels stand apart on an axis of so many cells.
    pub fn ticks(&self, room: Room) -> Vec<Tick> {
        let mut ticks = match self.unit {
            None => self.even_ticks(room),
            Some(unit) => self.magnitude_ticks(unit, room),
        };
        ticks.sort_by_key(|tick| tick.cell);
        ticks
    }

    /// The finest of the steps 1, 2, 5, 10, … with which every tick has room.
    fn even_ticks(&self, room: Room) -> Vec<Tick> {
        let first = ((self.high - self.low) / MOST_TICKS as f64).log10().floor();
        for magnitude in 0..=4 {
            for part in [1.0, 2.0, 5.0] {
                let step = part * 10f64.powf(first + f64::from(magnitude));
                let from = (self.low / step - 1e-9).ceil();
                let to = (self.high / step + 1e-9).floor();
                if !(to - from).is_finite() || to - from > MOST_TICKS as f64 {
                    continue;
                }
                let values = (0..=(to - from) as usize).map(|number| (from + number as f64) * step);
                let mut ticks = Vec::new();
                if values.into_iter().all(|value| self.add(&mut ticks, value, room)) {
                    return ticks;
                }
            }
        }
        let mut ticks = Vec::new();
        self.add(&mut ticks, self.low, room);
        ticks
    }

    /// 0 and the powers of ten from the greatest down as far as there is room; then five times each where all
    /// of these have room, and twice each likewise.
    fn magnitude_ticks(&self, unit: f64, room: Room) -> Vec<Tick> {
        let mut ticks = Vec::new();
        self.add(&mut ticks, 0.0, room);
        let (least, most) = (unit.log10().floor() as i32, self.high.log10().floor() as i32);
        let powers = |part: f64| (least..=most).rev().map(move |power| part * 10f64.powi(power));
        for value in powers(1.0).filter(|value| *value <= self.high) {
            self.add(&mut ticks, value, room);
        }
        for part in [5.0, 2.0] {
            let before = ticks.len();
            let mut between = powers(part).filter(|value| (unit..=self.high).contains(value));
            if !between.all(|value| self.add(&mut ticks, value, room)) {
                ticks.truncate(before);
                break;
            }
        }
        ticks
    }

    /// Adds a tick if its label touches no other; says whether it did.
    fn add(&self, ticks: &mut Vec<Tick>, value: f64, room: Room) -> bool {
        let label = label(value);
        let length = (room.extent)(&label);
        let Some(share) = self.place(value).filter(|_| room.cells > 0 && length <= room.cells) else {
            return false;
        };
        let cell = (share.clamp(0.0, 1.0) * (room.cells - 1) as f64).round() as usize;
        let start = cell.saturating_sub(length / 2).min(room.cells - length);
        let is_free = |other: &Tick| {
            start >= other.start + other.length + room.apart || other.start >= start + length + room.apart
        };
        let is_free = ticks.iter().all(is_free);
        if is_free {
            ticks.push(Tick { value, cell, start, length, label });
        }
        is_free
    }
}

/// What ticks have to fit into.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Cells of the axis.
    pub cells: usize,
    /// Cells between two labels at least.
    pub apart: usize,
    /// Cells that a label takes along the axis.
    pub extent: fn(&str) -> usize,
}

/// More would be read by nobody.
const MOST_TICKS: usize = 20;

/// A value named on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The value.
    pub value: f64,
    /// Where the value lies.
    pub cell: usize,
    /// Where its label begins.
    pub start: usize,
    /// Cells that the label takes along the axis.
    length: usize,
    /// The value in short.
    pub label: String,
}

/// A value in a few characters: `0.25`, `20k`, `1.5M`, `2T`, `1e-4`.
pub fn label(value: f64) -> String {
    const PREFIXES: [(f64, &str); 6] =
        [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let size = value.abs();
    if size != 0.0 && !(9.995e-3..1e21).contains(&size) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let (scale, prefix) = PREFIXES.into_iter().find(|(scale, _)| size >= 0.9995 * scale).unwrap_or((1.0, ""));
    let scaled = value / scale;
    let decimals = match scaled.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 4,
    };
    let text = format!("{scaled:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let text = if text == "-0" { "0" } else { text };
    format!("{text}{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, room: usize) -> Vec<String> {
        let ticks = scale.ticks(Room { cells: room, apart: 1, extent: str::len });
        for (one, next) in ticks.iter().zip(ticks.iter().skip(1)) {
            assert!(one.start + one.label.len() < next.start, "{one:?} touches {next:?} in {room}");
        }
        assert!(ticks.iter().all(|tick| tick.start + tick.label.len() <= room && tick.cell < room));
        ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn short_labels() {
        let values = [0.0, -0.0, 0.25, 1.0, 12.5, 200.0, 999.96, 20_000.0, 1.5e6, 2e12, 1e-4, 3e22, -0.5];
        assert_eq!(
            values.map(label),
            ["0", "0", "0.25", "1", "12.5", "200", "1k", "20k", "1.5M", "2T", "1e-4", "3e22", "-0.5"]
        );
    }

    #[test]
    fn the_finest_step_that_fits() {
        assert_eq!(labels(Scale::linear(0.0, 1.0), 40), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(Scale::linear(0.0, 1.0), 9), ["0", "0.5", "1"]);
        assert_eq!(labels(Scale::linear(0.0, 200.0), 30), ["0", "50", "100", "150", "200"]);
        assert_eq!(labels(Scale::linear(0.0, 200.0), 1), ["0"]);
        assert!(labels(Scale::linear(0.0, 200.0), 0).is_empty());
    }

    #[test]
    fn magnitudes_begin_at_nothing() {
        let steps = [0.0, 1.0, 2.0, 5.0, 200.0];
        let scale = Scale::around(steps.into_iter(), Spread::Log);
        assert_eq!(labels(scale, 60), ["0", "1", "2", "5", "10", "20", "50", "100", "200"]);
        assert_eq!(labels(scale, 12), ["0", "10", "100"]);
        assert_eq!([0.0, 200.0].map(|value| scale.place(value)), [Some(0.0), Some(1.0)]);
        let flops = Scale::around([0.0, 3e9, 7e12].into_iter(), Spread::Log);
        assert_eq!(labels(flops, 40), ["0", "10G", "100G", "1T"]);
    }

    #[test]
    fn odd_values_have_an_axis_too() {
        let odd = [f64::NAN, f64::INFINITY];
        for spread in [Spread::Linear, Spread::Log] {
            assert!(Scale::around(odd.into_iter(), spread).place(0.5).is_some());
            assert!(Scale::around(std::iter::empty(), spread).place(0.5).is_some());
            assert!(Scale::around([3.0, 3.0].into_iter(), spread).place(3.0).is_some());
            assert!(Scale::around([0.0].into_iter(), spread).place(0.0).is_some());
            assert!(Scale::around([-1e300, 1e300].into_iter(), spread).place(0.0).is_some());
        }
        assert_eq!(Scale::linear(0.0, 1.0).place(f64::NAN), None);
        for (low, high) in [(1e-300, 2e-300), (-1e300, 1e300), (1e9, 1e9 + 1.0), (f64::MAX, f64::MAX)] {
            for room in 0..90 {
                labels(Scale::linear(low, high), room);
            }
        }
    }

    #[test]
    fn an_axis_begins_at_nothing_where_its_values_come_near() {
        assert_eq!(Scale::linear(0.1, 2.0).down_to_zero().place(0.0), Some(0.0));
        assert_eq!(Scale::linear(1.5, 2.0).down_to_zero().place(1.5), Some(0.0));
    }
}

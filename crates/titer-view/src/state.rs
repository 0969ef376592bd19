//! How an experiment's state and the time are put into words, on screens and in plain text.

use titer_lab::live::ExperimentLine;

/// How an experiment does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExperimentState {
    /// It cannot be read.
    Damaged,
    /// Its runs were asked to stop, and will.
    Stopping,
    /// Its runs begin nothing new.
    Held,
    /// It goes on.
    Running,
    /// Nothing runs, and some stage failed.
    Failed,
    /// Everything is done.
    Done,
    /// Nothing runs, and something is left.
    Stopped,
    /// Nothing was begun.
    Planned,
}

impl ExperimentState {
    /// Of an experiment.
    pub fn of(line: &ExperimentLine) -> Self {
        let counts = &line.counts;
        if line.problem.is_some() {
            Self::Damaged
        } else if !line.runs.is_empty() && line.control.stop > 0 && line.control.stop == line.control.number {
            Self::Stopping
        } else if !line.runs.is_empty() && line.control.hold > 0 {
            Self::Held
        } else if !line.runs.is_empty() || counts.running > 0 {
            Self::Running
        } else if counts.sealed == counts.stages && counts.stages > 0 {
            Self::Done
        } else if counts.failed > 0 {
            Self::Failed
        } else if counts.sealed + counts.interrupted > 0 {
            Self::Stopped
        } else {
            Self::Planned
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Stopping => "stopping",
            Self::Held => "held",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Planned => "planned",
        }
    }
}

/// How long ago something was, coarsely enough not to change all the time: `now`, `25 s ago`, `3 h ago`.
pub fn ago(seconds: f64) -> String {
    // A clock of another host may be ahead.
    match seconds.max(0.0) as u64 {
        0..5 => "now".into(),
        seconds @ 5..60 => format!("{} s ago", seconds / 5 * 5),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// How long something will still take, as coarsely as it is known: `40 s`, `12 min`, `1 h 20 min`, `3 days`.
pub fn left(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        seconds @ 0..60 => format!("{} s", seconds.div_ceil(10) * 10),
        seconds @ 60..3600 => format!("{} min", seconds.div_ceil(60)),
        seconds @ 3600..36_000 => match (seconds / 3600, seconds % 3600 / 600 * 10) {
            (hours, 0) => format!("{hours} h"),
            (hours, minutes) => format!("{hours} h {minutes} min"),
        },
        seconds @ 36_000..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A moment of day by the clock of Greenwich: `14:03:59`, and with the day where it is not that of `now`.
pub fn moment(time: f64, now: f64) -> String {
    let day = |time: f64| (time / 86_400.0).floor() as i64;
    let seconds = time.rem_euclid(86_400.0) as u64;
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if day(time) == day(now) {
        return clock;
    }
    let (month, day) = month_and_day(day(time));
    format!("{month:02}-{day:02} {clock}")
}

/// Of days since 1970-01-01, by the Gregorian calendar.
fn month_and_day(days: i64) -> (i64, i64) {
    // Years of this count begin in March, so that leap days come last.
    let shifted = days + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    (if month < 10 { month + 3 } else { month - 9 }, day)
}

/// A share in per cent; 100 only when all is done.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_coarse() {
        assert_eq!(
            [-3.0, 4.0, 14.0, 59.0, 61.0, 7300.0, 200_000.0].map(ago),
            ["now", "now", "10 s ago", "55 s ago", "1 min ago", "2 h ago", "2 days ago"]
        );
        assert_eq!(
            [0.0, 34.0, 61.0, 5025.0, 7201.0, 40_000.0, 300_000.0].map(left),
            ["0 s", "40 s", "2 min", "1 h 20 min", "2 h", "11 h", "3 days"]
        );
    }

    #[test]
    fn moments_have_a_day_where_it_is_another() {
        let now = 1_800_000_000.0; // 2027-01-15 08:00:00
        assert_eq!(moment(now - 1.0, now), "07:59:59");
        assert_eq!(moment(now - 86_400.0, now), "01-14 08:00:00");
        assert_eq!(month_and_day(0), (1, 1));
        assert_eq!(month_and_day(59), (3, 1), "1970 had no leap day");
        assert_eq!(month_and_day(19_782), (2, 29), "2024 had one");
    }

    #[test]
    fn all_is_done_only_when_it_is() {
        assert_eq!([0.999, 1.0, 0.0].map(percent), ["99 %", "100 %", "0 %"]);
    }

    #[test]
    fn each_state_has_its_word() {
        let words: Vec<_> =
            titer_specimen::live::overview().iter().map(|line| ExperimentState::of(line).word()).collect();
        assert_eq!(words, ["running", "held", "stopping", "done", "failed", "damaged", "done"]);
    }
}

//! When a run will be over: by the estimated work of its stages, not by their number.

use std::collections::BTreeMap;
use std::time::Duration;

use titer_plan::StageHash;

/// The work of a run and how much of it is done. The unit of work is a second of the estimate, which the
/// forecast corrects by the speed seen so far.
#[derive(Debug)]
pub(crate) struct Forecast {
    work: BTreeMap<StageHash, f64>,
    /// What may be asked for later.
    later: BTreeMap<StageHash, f64>,
    total: f64,
    finished: f64,
    running: BTreeMap<StageHash, f64>,
}

impl Forecast {
    /// From the estimated seconds of each stage that is still to be done.
    pub(crate) fn new(stages: impl Iterator<Item = (StageHash, f64)>) -> Self {
        let work: BTreeMap<_, _> = stages.map(|(hash, seconds)| (hash, seconds.max(1e-3))).collect();
        let total = work.values().sum();
        Self { work, later: BTreeMap::new(), total, finished: 0.0, running: BTreeMap::new() }
    }

    /// The same where only these stages are asked for yet.
    pub(crate) fn of<'a>(mut self, asked: impl Iterator<Item = &'a StageHash>) -> Self {
        self.later = std::mem::take(&mut self.work);
        self.total = 0.0;
        self.ask(asked);
        self
    }

    /// These stages are asked for; those that were before are no news.
    pub(crate) fn ask<'a>(&mut self, asked: impl Iterator<Item = &'a StageHash>) {
        for stage in asked {
            if let Some(work) = self.later.remove(stage) {
                self.total += work;
                self.work.insert(stage.clone(), work);
            }
        }
    }

    /// A stage is `share` of the way through.
    pub(crate) fn advance(&mut self, stage: &StageHash, share: f64) {
        if let Some(work) = self.work.get(stage) {
            self.running.insert(stage.clone(), work * share.clamp(0.0, 1.0));
        }
    }

    /// A stage needs no more work, well or badly ended.
    pub(crate) fn end(&mut self, stage: &StageHash) {
        self.running.remove(stage);
        self.finished += self.work.remove(stage).unwrap_or_default();
    }

    /// The time left after `elapsed`; none before enough was done to tell.
    pub(crate) fn left(&self, elapsed: Duration) -> Option<Duration> {
        let done = self.finished + self.running.values().sum::<f64>();
        let enough = done > 0.01 * self.total && elapsed > Duration::from_secs(1);
        let seconds = elapsed.as_secs_f64() * (self.total - done).max(0.0) / done;
        enough.then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_is_asked_for_later_counts_from_then_on() {
        let [first, later] = ["first", "later"].map(|name| StageHash(name.into()));
        let all = [(first.clone(), 10.0), (later.clone(), 30.0)];
        let mut forecast = Forecast::new(all.into_iter()).of([&first].into_iter());
        forecast.end(&first);
        assert_eq!(forecast.left(Duration::from_secs(5)), Some(Duration::ZERO));
        forecast.ask([&first, &later].into_iter());
        assert_eq!(forecast.left(Duration::from_secs(5)), Some(Duration::from_secs(15)));
    }

    #[test]
    fn time_left_follows_the_work_done() {
        let hash = |name: &str| StageHash(name.into());
        let mut forecast = Forecast::new([(hash("long"), 90.0), (hash("short"), 10.0)].into_iter());
        assert_eq!(forecast.left(Duration::from_secs(5)), None, "nothing done");
        forecast.end(&hash("short"));
        assert_eq!(forecast.left(Duration::from_secs(5)), Some(Duration::from_secs(45)));
        forecast.advance(&hash("long"), 0.5);
        assert_eq!(forecast.left(Duration::from_secs(55)), Some(Duration::from_secs(45)));
        forecast.end(&hash("long"));
        assert_eq!(forecast.left(Duration::from_secs(100)), Some(Duration::ZERO));
        forecast.end(&hash("unknown"));
        forecast.advance(&hash("unknown"), 1.0);
        assert_eq!(forecast.left(Duration::from_secs(100)), Some(Duration::ZERO));
    }
}

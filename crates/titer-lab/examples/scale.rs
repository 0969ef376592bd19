//! 100,000 stages on 1,000 devices that fail: the real planner and the real packer, and a cluster under a simulated clock.
//! `cargo xtask scale` runs it.
//!
//! A device takes the job that has waited longest as soon as all is over that it needs. A job does the stages of its pack
//! and what they need that is not there; it waits for what another job does. A stage takes its estimate, times a random
//! factor. Devices fail at random: the job is lost, and of its stage what came since the last checkpoint. When no job is
//! left, what is not done is packed again.
#![allow(clippy::print_stdout)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Instant;

use titer_lab::cluster::{Work, arrays, packs, target};
use titer_lab::{estimate, plan, source};
use titer_plan::{Override, StageHash};

/// Until a job that may begin does, in seconds: the scheduler's cycle, the program's start, models and data.
const START: f64 = 8.0;
/// Until what a dead job left is taken over: its lease grows old, and is watched.
const LEASE: f64 = 75.0;
/// Between checkpoints: so much is done again at most.
const CHECKPOINT: f64 = 15.0;
/// Until a failed device is back.
const REPAIR: f64 = 600.0;
/// Until a round is submitted that follows another.
const ROUND: f64 = 60.0;
/// The longest array of jobs.
const LONGEST_ARRAY: usize = 1000;

/// What is tried.
struct Case {
    name: &'static str,
    devices: usize,
    /// How much longer a stage takes than on the world.
    factor: f64,
    /// The hours between two failures of one device.
    hours_between_failures: f64,
}

const NEVER: f64 = f64::INFINITY;
const fn case(name: &'static str, devices: usize, factor: f64, hours_between_failures: f64) -> Case {
    Case { name, devices, factor, hours_between_failures }
}
const CASES: [Case; 7] = [
    case("the world, 100 devices", 100, 1.0, NEVER),
    case("the world, 1,000 devices", 1000, 1.0, NEVER),
    case("100 times longer, 1,000 devices", 1000, 100.0, NEVER),
    case("the same, each fails every 100 h", 1000, 100.0, 100.0),
    case("the same, each fails every 10 h", 1000, 100.0, 10.0),
    case("the same, each fails every 2 h", 1000, 100.0, 2.0),
    case("100 times longer, 10,000 devices, each fails every 10 h", 10_000, 100.0, 10.0),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let set = |key: &str, value: &str| Override { key: key.to_owned(), value: value.to_owned() };
    let rates: Vec<String> = (0..16).map(|step| format!("{:e}", 1e-4 * 1.2f64.powi(step))).collect();
    let overrides = [
        set("defence.1.seeds", "20"),
        set("defence.2.seeds", "20"),
        set("attack.0.seeds", "30"),
        set("attack.0.rate", &format!("[{}]", rates.join(", "))),
    ];
    let began = Instant::now();
    let plan = plan(&source("apothecary")?, &overrides)?;
    let planned = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let estimate = estimate(&plan, None);
    let places: BTreeMap<&StageHash, usize> =
        plan.stages.iter().enumerate().map(|(place, stage)| (&stage.hash, place)).collect();
    let work: Vec<Work> = plan
        .stages
        .iter()
        .zip(&estimate.stages)
        .map(|(stage, cost)| Work {
            needs: stage.inputs.iter().filter_map(|input| places.get(input).copied()).collect(),
            seconds: cost.seconds,
            memory: cost.memory_bytes,
        })
        .collect();
    let estimated = began.elapsed().as_secs_f64();
    println!("{} stages: planned in {planned:.1} s, estimated in {estimated:.1} s.\n", work.len());
    println!(
        "| | packs | arrays | packed in | rounds | jobs lost | makespan | least possible | ratio | devices held | \
         done again | sealed in a second, at most |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for case in &CASES {
        let longer = |stage: &Work| Work { seconds: stage.seconds * case.factor, ..stage.clone() };
        let work: Vec<Work> = work.iter().map(longer).collect();
        let told = Cluster::new(&work, case).run();
        let bound = bound(&work, case.devices);
        println!(
            "| {} | {} | {} | {:.1} s | {} | {} | {} | {} | {:.2} | {:.0} % | {:.2} % | {} |",
            case.name,
            told.packs,
            told.arrays,
            told.packing,
            told.rounds,
            told.lost,
            duration(told.makespan),
            duration(bound),
            told.makespan / bound,
            100.0 * told.held / (told.makespan * case.devices as f64),
            100.0 * told.again / told.held,
            told.most_sealed,
        );
    }
    Ok(())
}

fn duration(seconds: f64) -> String {
    if seconds < 7200.0 { format!("{:.0} min", seconds / 60.0) } else { format!("{:.1} h", seconds / 3600.0) }
}

/// The least that it can take: all work spread evenly, or the longest chain.
fn bound(work: &[Work], devices: usize) -> f64 {
    let mut ends = Vec::<f64>::with_capacity(work.len());
    for stage in work {
        let begin = stage.needs.iter().map(|need| ends[*need]).fold(0.0, f64::max);
        ends.push(begin + stage.seconds);
    }
    let total: f64 = work.iter().map(|stage| stage.seconds).sum();
    ends.into_iter().fold(total / devices as f64, f64::max)
}

/// What came of it.
#[derive(Default)]
struct Told {
    packs: usize,
    arrays: usize,
    /// Seconds of this machine.
    packing: f64,
    rounds: usize,
    lost: usize,
    makespan: f64,
    /// Device seconds that jobs held.
    held: f64,
    /// Of these, spent on what was lost and done again.
    again: f64,
    most_sealed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The job on a device has ended a stage, or looks again what there is to do, if the device still has that job.
    Step { device: usize, token: u64 },
    /// A device fails.
    Fails { device: usize },
    /// It is back.
    Repaired { device: usize },
    /// What a dead job left can be taken over.
    Free { stage: usize },
    /// What is not done is submitted again.
    Round,
}

/// A job that has a device.
struct Running {
    pack: usize,
    token: u64,
    since: f64,
    /// What it is to do, in order.
    left: VecDeque<usize>,
    /// What it does, and since when.
    stage: Option<(usize, f64)>,
}

struct Cluster<'a> {
    work: &'a [Work],
    case: &'a Case,
    now: f64,
    /// By time in milliseconds, then by order.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    random: u64,
    done: Vec<bool>,
    left: usize,
    /// Seconds of a stage that a checkpoint keeps.
    kept: Vec<f64>,
    /// Whether a job does a stage, or its lease is not old enough.
    held: Vec<bool>,
    /// Devices whose jobs wait for a stage.
    waits: BTreeMap<usize, Vec<usize>>,
    packs: Vec<Vec<usize>>,
    /// Needs of each pack that are not over.
    open: Vec<usize>,
    dependents: Vec<Vec<usize>>,
    over: usize,
    ready: VecDeque<usize>,
    idle: BTreeSet<usize>,
    down: BTreeSet<usize>,
    running: BTreeMap<usize, Running>,
    sealed: BTreeMap<u64, usize>,
    told: Told,
}

impl<'a> Cluster<'a> {
    fn new(work: &'a [Work], case: &'a Case) -> Self {
        let mut cluster = Self {
            work,
            case,
            now: 0.0,
            events: BinaryHeap::new(),
            number: 0,
            random: 7,
            done: vec![false; work.len()],
            left: work.len(),
            kept: vec![0.0; work.len()],
            held: vec![false; work.len()],
            waits: BTreeMap::new(),
            packs: Vec::new(),
            open: Vec::new(),
            dependents: Vec::new(),
            over: 0,
            ready: VecDeque::new(),
            idle: (0..case.devices).collect(),
            down: BTreeSet::new(),
            running: BTreeMap::new(),
            sealed: BTreeMap::new(),
            told: Told::default(),
        };
        (0..case.devices).for_each(|device| cluster.will_fail(device));
        cluster
    }

    fn run(mut self) -> Told {
        self.submit();
        self.give_out();
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at as f64 / 1e3;
            match event {
                Event::Step { device, token } => self.step(device, token),
                Event::Fails { device } => self.fail(device),
                Event::Repaired { device } => {
                    self.down.remove(&device);
                    self.idle.insert(device);
                    self.will_fail(device);
                }
                Event::Free { stage } => {
                    self.held[stage] = false;
                    self.wake(stage);
                }
                Event::Round => self.submit(),
            }
            if self.left == 0 {
                break;
            }
            self.give_out();
        }
        self.told.held += self.running.values().map(|job| self.now - job.since).sum::<f64>();
        self.told.makespan = self.now;
        self.told.most_sealed = self.sealed.values().copied().max().unwrap_or(0);
        self.told
    }

    /// Packs what is not done, by the code that titer submits with.
    fn submit(&mut self) {
        let left: Vec<usize> = (0..self.work.len()).filter(|stage| !self.done[*stage]).collect();
        let places: BTreeMap<usize, usize> =
            left.iter().enumerate().map(|(at, stage)| (*stage, at)).collect();
        let of = |stage: &usize| {
            let needs = self.work[*stage].needs.iter().filter_map(|need| places.get(need).copied());
            Work { needs: needs.collect(), ..self.work[*stage].clone() }
        };
        let work: Vec<Work> = left.iter().map(of).collect();
        let began = Instant::now();
        let packed = packs(&work, target(work.iter().map(|stage| stage.seconds).sum()));
        let arrays = arrays(&packed, LONGEST_ARRAY);
        self.told.packing += began.elapsed().as_secs_f64();
        self.told.packs += packed.len();
        self.told.arrays += arrays.len();
        self.told.rounds += 1;
        self.open = packed.iter().map(|pack| pack.needs.len()).collect();
        self.dependents = vec![Vec::new(); packed.len()];
        for (at, pack) in packed.iter().enumerate() {
            pack.needs.iter().for_each(|need| self.dependents[*need].push(at));
        }
        self.over = 0;
        self.packs =
            packed.iter().map(|pack| pack.stages.iter().map(|place| left[*place]).collect()).collect();
        self.ready = (0..self.packs.len()).filter(|pack| self.open[*pack] == 0).collect();
    }

    fn give_out(&mut self) {
        while let (Some(pack), Some(device)) = (self.ready.front().copied(), self.idle.first().copied()) {
            self.ready.pop_front();
            self.idle.remove(&device);
            let mut needed = BTreeSet::new();
            let mut stack = self.packs[pack].clone();
            while let Some(stage) = stack.pop() {
                if !self.done[stage] && needed.insert(stage) {
                    stack.extend(&self.work[stage].needs);
                }
            }
            self.number += 1;
            let token = self.number;
            // A stage's place comes after those that it needs.
            let left = needed.into_iter().collect();
            self.running.insert(device, Running { pack, token, since: self.now, left, stage: None });
            self.later(START, Event::Step { device, token });
        }
    }

    fn step(&mut self, device: usize, token: u64) {
        let Some(job) = self.running.get_mut(&device).filter(|job| job.token == token) else { return };
        let ended = job.stage.take().map(|(stage, _)| stage);
        if let Some(stage) = ended {
            self.done[stage] = true;
            self.left -= 1;
            self.held[stage] = false;
            *self.sealed.entry(self.now as u64).or_default() += 1;
            self.wake(stage);
        }
        let (done, held, work) = (&self.done, &self.held, self.work);
        let Some(job) = self.running.get_mut(&device) else { return };
        job.left.retain(|stage| !done[*stage]);
        let Some(first) = job.left.front().copied() else {
            self.end(device);
            self.idle.insert(device);
            return;
        };
        let able = |stage: &&usize| !held[**stage] && work[**stage].needs.iter().all(|need| done[*need]);
        match job.left.iter().find(able).copied() {
            Some(stage) => {
                job.stage = Some((stage, self.now));
                self.held[stage] = true;
                // From half of its estimate to one and a half of it, less what a checkpoint kept.
                let factor = 0.5 + self.uniform();
                let seconds = (work[stage].seconds * factor - self.kept[stage]).max(0.1);
                self.later(seconds, Event::Step { device, token });
            }
            // What is first of the rest is done by another job.
            None => self.waits.entry(first).or_default().push(device),
        }
    }

    /// Whoever waits for a stage looks again.
    fn wake(&mut self, stage: usize) {
        for device in self.waits.remove(&stage).unwrap_or_default() {
            if let Some(token) = self.running.get(&device).map(|job| job.token) {
                self.later(0.5, Event::Step { device, token });
            }
        }
    }

    fn fail(&mut self, device: usize) {
        self.down.insert(device);
        self.later(REPAIR, Event::Repaired { device });
        self.idle.remove(&device);
        let Some(job) = self.running.get_mut(&device) else { return };
        self.told.lost += 1;
        if let Some((stage, since)) = job.stage.take() {
            let spent = self.now - since;
            let kept = (spent / CHECKPOINT).floor() * CHECKPOINT;
            self.kept[stage] += kept;
            self.told.again += spent - kept;
            self.later(LEASE, Event::Free { stage });
        }
        self.end(device);
    }

    /// The job on a device is over, well or not.
    fn end(&mut self, device: usize) {
        let Some(job) = self.running.remove(&device) else { return };
        self.told.held += self.now - job.since;
        self.over += 1;
        for dependent in std::mem::take(&mut self.dependents[job.pack]) {
            self.open[dependent] -= 1;
            if self.open[dependent] == 0 {
                self.ready.push_back(dependent);
            }
        }
        if self.over == self.packs.len() && self.left > 0 {
            self.later(ROUND, Event::Round);
        }
    }

    fn will_fail(&mut self, device: usize) {
        if self.case.hours_between_failures.is_finite() {
            let hours = -self.case.hours_between_failures * (1.0 - self.uniform()).ln();
            self.later(hours * 3600.0, Event::Fails { device });
        }
    }

    /// From 0 to 1, the same numbers every time.
    fn uniform(&mut self) -> f64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    fn later(&mut self, seconds: f64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((((self.now + seconds) * 1e3) as u64, self.number, event)));
    }
}

//! A simulator of hosts for the run's state machine: thousands of fake hosts on virtual time, with seeded drops, hangs,
//! refusals, transfers that die, reboots in the middle, and duplicates of everything that is delivered.
//!
//! It carries out the tasks of a [`Run`] as an executor would, but nothing is real: a host is a job table and dice. A
//! seed gives the same history again. What must never happen is checked as it happens; [`Outcome`]s are compared with
//! what the hosts know to be true.

mod truth;

use holdfast_inventory::HostName;
use holdfast_plan::event::{Event, RunKind};
use holdfast_plan::ids::{AttemptId, IdSource, RunId, SeededIds};
use holdfast_plan::observation::{Attributes, JobEnd, JobReport, JobState, StepReport, StepStatus};
use holdfast_plan::outcome::{Outcome, RefusalKind, Tally, UnreachableKind, Unreached};
use holdfast_plan::run::{HostTask, Input, Limits, Run, RunSpec, Task, Work};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// How bad the world is: chances in a thousand.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// A connection fails before anything is sent.
    pub connect_fails: u64,
    /// A connection is lost, at any time after something was sent.
    pub drops: u64,
    /// A host falls silent until the idle timeout.
    pub hangs: u64,
    /// A host reboots during its job.
    pub reboots: u64,
    /// A host refuses for good (full disk, busy).
    pub refuses: u64,
    /// What is told is told twice, now and later.
    pub duplicates: u64,
    /// A start is carried out twice.
    pub starts_twice: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FAIR: Self = Self {
        connect_fails: 0,
        drops: 0,
        hangs: 0,
        reboots: 0,
        refuses: 0,
        duplicates: 0,
        starts_twice: 0,
    };
    /// Everything goes wrong, often.
    pub const STORM: Self = Self {
        connect_fails: 200,
        drops: 250,
        hangs: 50,
        reboots: 60,
        refuses: 30,
        duplicates: 300,
        starts_twice: 200,
    };
}

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed of ids and dice.
    pub seed: u64,
    /// How many hosts.
    pub hosts: u32,
    /// What is done on them.
    pub work: Work,
    /// The run's limits.
    pub limits: Limits,
    /// How bad the world is.
    pub weather: Weather,
    /// When a person cancels, in milliseconds of virtual time.
    pub cancel_at_ms: Option<u64>,
    /// When the person stops waiting.
    pub abandon_at_ms: Option<u64>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct History {
    /// How the run counted its hosts.
    pub recap: Tally,
    /// How each host ended.
    pub outcomes: BTreeMap<HostName, Outcome>,
    /// How often each host was attached to.
    pub attaches: u32,
    /// The events that an executor would have recorded.
    pub events: Vec<Event>,
    /// Virtual time at the end.
    pub took_ms: u64,
}

/// A silent host is given up after this time, as the executor's idle timeout does.
const IDLE_TIMEOUT_MS: u64 = 60_000;
/// How many things may happen per host before the simulation is called endless.
const TURNS_PER_HOST_MAX: u64 = 5_000;

/// A job on a fake host.
#[derive(Debug, Clone)]
struct Job {
    state: JobState,
    /// When it ends by itself.
    ends_at: u64,
    /// When the host reboots, if it does before that.
    reboots_at: Option<u64>,
    fails: bool,
    begun: u32,
}

#[derive(Debug, Default)]
struct FakeHost {
    jobs: BTreeMap<AttemptId, Job>,
    commands: u32,
    /// Whether any step of any job ever ran.
    touched: bool,
    /// A failure of the connection that no retry mends.
    locked_out: bool,
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    Tell(Input),
    /// The connection's work is over: its slot is free.
    HangUp,
}

struct World {
    scenario: Scenario,
    dice: SeededIds,
    now: u64,
    sequence: u64,
    due: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Due>,
    hosts: BTreeMap<HostName, FakeHost>,
    voided: BTreeSet<AttemptId>,
    history: History,
    connections: usize,
    finished: bool,
    stopped: bool,
    bad: u32,
}

/// Simulates a run to its end. Panics, with the seed, when something happens that never must.
pub fn simulate(scenario: &Scenario) -> History {
    let mut world = World::new(scenario.clone());
    let hosts: Vec<HostTask> = world
        .hosts
        .keys()
        .map(|host| HostTask {
            host: host.clone(),
            work: scenario.work.clone(),
        })
        .collect();
    let spec = RunSpec {
        hosts,
        limits: scenario.limits,
    };
    let mut run = Run::new(spec, Box::new(SeededIds(scenario.seed)));
    world.tell_at(0, Input::Begin);
    if let Some(at) = scenario.cancel_at_ms {
        world.tell_at(at, Input::Cancel);
    }
    if let Some(at) = scenario.abandon_at_ms {
        world.tell_at(at, Input::Abandon);
    }
    let mut turns = 0;
    while let Some((at, due)) = world.next() {
        turns += 1;
        world.check(
            turns < TURNS_PER_HOST_MAX * u64::from(scenario.hosts.max(1)),
            "the run does not end",
        );
        world.now = at;
        match due {
            Due::HangUp => world.connections -= 1,
            Due::Tell(input) => {
                // From the moment a person says stop, nothing may be started.
                world.stopped |= matches!(input, Input::Cancel | Input::Abandon);
                for task in run.handle(input) {
                    world.carry_out(task);
                }
            }
        }
    }
    world.check(
        run.is_over() && world.finished,
        "nothing is left to happen and the run is not over",
    );
    world.check_truth();
    world.history.took_ms = world.now;
    world.history
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let mut dice = SeededIds(scenario.seed ^ 0x5eed);
        let lockouts = scenario.weather.connect_fails / 10;
        let hosts: BTreeMap<HostName, FakeHost> = (0..scenario.hosts)
            .map(|number| {
                let host = FakeHost {
                    locked_out: roll(&mut dice) % 1_000 < lockouts,
                    ..FakeHost::default()
                };
                (HostName::new(format!("host{number:05}")), host)
            })
            .collect();
        let started = Event::RunStarted {
            run: RunId("simulated".to_owned()),
            kind: RunKind::Apply,
            plan: None,
            hosts: hosts.keys().cloned().collect(),
            by: "simulator".to_owned(),
            command: "apply".to_owned(),
        };
        Self {
            scenario,
            dice,
            now: 0,
            sequence: 0,
            due: BinaryHeap::new(),
            what: BTreeMap::new(),
            hosts,
            voided: BTreeSet::new(),
            history: History {
                recap: Tally::default(),
                outcomes: BTreeMap::new(),
                attaches: 0,
                events: vec![started],
                took_ms: 0,
            },
            connections: 0,
            finished: false,
            stopped: false,
            bad: 0,
        }
    }

    /// Stops with the seed when something is not as it must be.
    fn check(&self, holds: bool, what: &str) {
        assert!(holds, "seed {} at {} ms: {what}", self.scenario.seed, self.now);
    }

    fn chance(&mut self, in_a_thousand: u64) -> bool {
        roll(&mut self.dice) % 1_000 < in_a_thousand
    }

    fn below(&mut self, limit: u64) -> u64 {
        roll(&mut self.dice) % limit.max(1)
    }

    fn put(&mut self, at: u64, due: Due) {
        self.sequence += 1;
        self.due.push(Reverse((at, self.sequence)));
        self.what.insert(self.sequence, due);
    }

    fn next(&mut self) -> Option<(u64, Due)> {
        let Reverse((at, sequence)) = self.due.pop()?;
        let due = self
            .what
            .remove(&sequence)
            .expect("each entry of the queue has its content");
        Some((at, due))
    }

    /// Delivers an input, perhaps twice, perhaps again much later.
    fn tell_at(&mut self, at: u64, input: Input) {
        let duplicates = self.scenario.weather.duplicates;
        if self.chance(duplicates) {
            self.put(at, Due::Tell(input.clone()));
        }
        // What is said of a connection comes when it is closed; an echo of it would be about another one.
        let of_connection = matches!(
            input,
            Input::NotSent { .. }
                | Input::Lost { .. }
                | Input::Silent { .. }
                | Input::Overdue { .. }
                | Input::Refused { .. }
        );
        if !of_connection && self.chance(duplicates / 3) {
            let later = at + self.below(120_000);
            self.put(later, Due::Tell(input.clone()));
        }
        self.put(at, Due::Tell(input));
    }

    /// Opens a connection that ends when `input` is told.
    fn connection(&mut self, after: u64, input: Input) {
        self.connections += 1;
        self.check(
            self.connections <= self.scenario.limits.forks,
            "there are more connections than forks",
        );
        // The slot is free the moment the input is told, so the connection is closed just before.
        let at = self.now + after;
        self.put(at, Due::HangUp);
        self.tell_at(at, input);
    }

    fn carry_out(&mut self, task: Task) {
        self.check(!self.finished, "there is a task after the last one");
        match task {
            Task::Intend { host, attempt } => {
                self.check(!self.stopped, "a host is started after the stop");
                self.tell_at(self.now + 1, Input::Intended { host, attempt });
            }
            Task::Start { host, attempt } => {
                self.check(!self.stopped, "a job is started after the stop");
                self.start(&host, &attempt);
            }
            Task::Exec { host, attempt } => {
                self.check(!self.stopped, "a command is started after the stop");
                self.exec(host, attempt);
            }
            Task::Attach { host, attempt } => {
                self.history.attaches += 1;
                let (after, input) = self.ask(&host, &attempt, false);
                self.connection(after, input);
            }
            Task::Acknowledge { host, attempt } => {
                let known = self.hosts[&host].outcome.is_some();
                self.check(known, "a job is removed before its end was recorded");
                let drops = self.scenario.weather.drops;
                let input = if self.chance(drops) {
                    let why = "reset".to_owned();
                    Input::Lost { host, attempt, why }
                } else {
                    self.host(&host).jobs.remove(&attempt);
                    Input::Acknowledged { host, attempt }
                };
                self.connection(20, input);
            }
            Task::Wait { host, serial, pause_ms } => {
                self.check((1..=60_000).contains(&pause_ms), "a pause is out of its bounds");
                self.tell_at(self.now + pause_ms, Input::Timer { host, serial });
            }
            Task::Void { host, attempt } => {
                let went = self.hosts[&host].jobs.get(&attempt).is_some_and(|job| job.begun > 0);
                self.check(!went, "a job that ran is recorded as never started");
                self.voided.insert(attempt);
            }
            Task::End {
                host, attempt, outcome, ..
            } => self.end(host, attempt, outcome),
            Task::Finish { recap } => {
                self.finished = true;
                self.history.recap = recap;
                let run = RunId("simulated".to_owned());
                self.history.events.push(Event::RunEnded { run, recap });
            }
        }
    }

    fn end(&mut self, host: HostName, attempt: Option<AttemptId>, outcome: Outcome) {
        let before = self.host(&host).outcome.replace(outcome.clone());
        self.check(before.is_none(), "a host ends twice");
        self.bad += u32::from(outcome.is_bad());
        self.stopped |= self.scenario.limits.max_failures.is_some_and(|max| self.bad >= max);
        self.history.outcomes.insert(host.clone(), outcome.clone());
        self.history.events.push(Event::AttemptEnded {
            run: RunId("simulated".to_owned()),
            host,
            attempt,
            result: outcome,
        });
    }

    fn host(&mut self, host: &HostName) -> &mut FakeHost {
        self.hosts.get_mut(host).expect("tasks name hosts of the run")
    }

    /// Dials; tells how it failed, if it did.
    fn dial(&mut self, host: &HostName) -> Option<UnreachableKind> {
        if self.hosts[host].locked_out {
            return Some(UnreachableKind::AuthRefused);
        }
        let fails = self.scenario.weather.connect_fails;
        self.chance(fails).then_some(UnreachableKind::ConnectRefused)
    }

    fn start(&mut self, host: &HostName, attempt: &AttemptId) {
        let (name, id) = (host.clone(), attempt.clone());
        if let Some(kind) = self.dial(host) {
            return self.connection(
                1_000,
                Input::NotSent {
                    host: name,
                    attempt: id,
                    why: Unreached::new(kind, ""),
                },
            );
        }
        let weather = self.scenario.weather;
        let why = "reset".to_owned();
        if self.chance(weather.drops / 3) {
            // It never got there.
            return self.connection(
                50,
                Input::Lost {
                    host: name,
                    attempt: id,
                    why,
                },
            );
        }
        if self.hosts[host].jobs.contains_key(attempt) {
            let (kind, detail) = (RefusalKind::Exists, String::new());
            return self.connection(
                50,
                Input::Refused {
                    host: name,
                    attempt: id,
                    kind,
                    detail,
                },
            );
        }
        // A start names the run's own attempts that came to nothing, and what they left is removed. Any other job, begun
        // or not, stands in its way.
        let voided = &self.voided;
        let fake = self.hosts.get_mut(host).expect("tasks name hosts of the run");
        fake.jobs.retain(|attempt, _| !voided.contains(attempt));
        let busy = !fake.jobs.is_empty();
        if busy || self.chance(weather.refuses) {
            let kind = if busy { RefusalKind::Busy } else { RefusalKind::DiskFull };
            let detail = String::new();
            return self.connection(
                50,
                Input::Refused {
                    host: name,
                    attempt: id,
                    kind,
                    detail,
                },
            );
        }
        if self.chance(weather.drops / 3) {
            let job = Job {
                state: if self.chance(500) {
                    JobState::Untransferred
                } else {
                    JobState::Unstarted
                },
                ends_at: 0,
                reboots_at: None,
                fails: false,
                begun: 0,
            };
            self.host(host).jobs.insert(id.clone(), job);
            return self.connection(
                500,
                Input::Lost {
                    host: name,
                    attempt: id,
                    why,
                },
            );
        }
        let ends_at = self.now + 100 + self.below(600_000);
        let reboots = self.chance(weather.reboots);
        let reboots_at = reboots.then(|| self.now + self.below(ends_at - self.now));
        let job = Job {
            state: JobState::Running,
            ends_at,
            reboots_at,
            fails: self.chance(50),
            begun: 1,
        };
        let fake = self.host(host);
        fake.jobs.insert(id, job);
        fake.touched = true;
        let (after, input) = self.ask(host, attempt, true);
        self.connection(after, input);
        if self.chance(weather.starts_twice) {
            // The same start once more: the claim on the host lets only one through.
            let (kind, detail) = (RefusalKind::Exists, String::new());
            let input = Input::Refused {
                host: host.clone(),
                attempt: attempt.clone(),
                kind,
                detail,
            };
            self.put(self.now + 20, Due::Tell(input));
        }
    }

    /// Asks a host for a job and follows it: gives what the connection ends with, and when.
    fn ask(&mut self, host: &HostName, attempt: &AttemptId, connected: bool) -> (u64, Input) {
        let (name, id) = (host.clone(), attempt.clone());
        if !connected && let Some(kind) = self.dial(host) {
            return (
                1_000,
                Input::NotSent {
                    host: name,
                    attempt: id,
                    why: Unreached::new(kind, ""),
                },
            );
        }
        let weather = self.scenario.weather;
        let Some(job) = self.hosts[host].jobs.get(attempt).cloned() else {
            return (100, job_over(name, id, JobState::Untransferred, false));
        };
        if job.state != JobState::Running {
            return (100, job_over(name, id, job.state, job.fails));
        }
        let started = Input::Started {
            host: name.clone(),
            attempt: id.clone(),
        };
        self.tell_at(self.now + 10, started);
        let end = job.reboots_at.unwrap_or(job.ends_at).max(self.now + 11);
        let left = end - self.now;
        let why = "reset".to_owned();
        if self.chance(weather.drops) {
            let after = 11 + self.below(left);
            return (
                after,
                Input::Lost {
                    host: name,
                    attempt: id,
                    why,
                },
            );
        }
        if self.chance(weather.hangs) {
            let after = 11 + self.below(left) + IDLE_TIMEOUT_MS;
            return (
                after,
                Input::Silent {
                    host: name,
                    attempt: id,
                    why,
                },
            );
        }
        let rebooted = job.reboots_at.is_some();
        let state = if rebooted {
            JobState::Interrupted
        } else {
            JobState::Done
        };
        if let Some(job) = self.host(host).jobs.get_mut(attempt) {
            // Nobody else looks at this job before then: the one connection follows it.
            job.state = state.clone();
        }
        if rebooted && self.chance(700) {
            // The reboot takes the connection with it.
            return (
                left,
                Input::Lost {
                    host: name,
                    attempt: id,
                    why,
                },
            );
        }
        (left, job_over(name, id, state, job.fails))
    }

    fn exec(&mut self, host: HostName, attempt: AttemptId) {
        if let Some(kind) = self.dial(&host) {
            return self.connection(
                1_000,
                Input::NotSent {
                    host,
                    attempt,
                    why: Unreached::new(kind, ""),
                },
            );
        }
        let commands = &mut self.host(&host).commands;
        *commands += 1;
        let once = *commands == 1;
        self.check(once, "a command ran twice");
        self.host(&host).touched = true;
        let drops = self.scenario.weather.drops;
        let input = if self.chance(drops) {
            let why = "reset".to_owned();
            Input::Lost { host, attempt, why }
        } else {
            let outcome = Outcome::Ok;
            Input::CommandOver { host, attempt, outcome }
        };
        let after = 50 + self.below(5_000);
        self.connection(after, input);
    }
}

fn roll(dice: &mut SeededIds) -> u64 {
    let bytes = dice.next_bytes();
    u64::from_be_bytes(bytes[..8].try_into().expect("eight of sixteen bytes"))
}

fn job_over(host: HostName, attempt: AttemptId, state: JobState, fails: bool) -> Input {
    let step = |index, status| StepReport {
        index,
        status,
        changing: true,
        before: Attributes::default(),
        after: Attributes::default(),
        before_digest: None,
        output: Vec::new(),
        seconds: 0,
    };
    let (end, steps) = match state {
        JobState::Done if fails => (
            Some(JobEnd::Stopped {
                step: 1,
                why: "failed".to_owned(),
            }),
            vec![step(1, StepStatus::Failed { code: 1 })],
        ),
        JobState::Done => (Some(JobEnd::Completed), vec![step(1, StepStatus::Changed)]),
        // Half a step: the host died in it.
        JobState::Interrupted => (None, vec![step(1, StepStatus::Begun)]),
        JobState::Running | JobState::Unstarted | JobState::Untransferred => (None, Vec::new()),
    };
    let report = JobReport {
        attempt,
        state,
        end,
        steps,
    };
    Input::JobOver { host, report }
}

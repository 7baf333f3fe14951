//! The states of a run's hosts, and every step between them.

use super::host::{Host, State};
use super::verdict::outcome_of;
use super::{Input, Limits, RunSpec, Task, Work};
use crate::backoff::{connect_pause_ms, pause_ms};
use crate::ids::{AttemptId, IdSource};
use crate::observation::{JobReport, JobState};
use crate::outcome::{Outcome, RefusalKind, SkipReason, Tally, UnreachableKind, Unreached};
use holdfast_inventory::HostName;
use std::collections::{BTreeMap, VecDeque};

/// How often a host is attached to in one run, however well each attach began: a link that drops every ten minutes
/// may carry a job of sixteen hours, and one that drops at once does not keep the run for ever.
const ATTACHES_MAX: u32 = 100;

/// A run: the state of each of its hosts.
pub struct Run {
    hosts: Vec<Host>,
    place: BTreeMap<HostName, usize>,
    limits: Limits,
    /// Hosts that were not started, in order.
    waiting: VecDeque<usize>,
    /// Hosts whose pause is over and that want a slot again. They go first: something may run on them.
    returning: VecDeque<usize>,
    /// Hosts that hold a slot.
    active: usize,
    done: usize,
    bad: u32,
    begun: bool,
    finished: bool,
    stopped: Option<Stop>,
    tally: Tally,
    ids: Box<dyn IdSource + Send>,
}

/// Why no host is started any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Cancelled,
    MaxFailures,
}

impl Run {
    /// Sets a run up; nothing happens before [`Input::Begin`].
    pub fn new(spec: RunSpec, ids: Box<dyn IdSource + Send>) -> Self {
        let hosts: Vec<Host> = spec.hosts.into_iter().map(Host::new).collect();
        Self {
            place: hosts
                .iter()
                .enumerate()
                .map(|(at, host)| (host.name.clone(), at))
                .collect(),
            waiting: (0..hosts.len()).collect(),
            hosts,
            limits: spec.limits,
            returning: VecDeque::new(),
            active: 0,
            done: 0,
            bad: 0,
            begun: false,
            finished: false,
            stopped: None,
            tally: Tally::default(),
            ids,
        }
    }

    /// Takes what happened and says what to do next.
    pub fn handle(&mut self, input: Input) -> Vec<Task> {
        let mut tasks = Vec::new();
        match input {
            Input::Begin => self.begin(&mut tasks),
            Input::Cancel => self.stop(Stop::Cancelled, &mut tasks),
            Input::Abandon => self.abandon(&mut tasks),
            Input::Intended { host, attempt } => self.at(&host, &attempt, &mut tasks, Self::intended),
            Input::Started { host, attempt } => self.at(&host, &attempt, &mut tasks, Self::started),
            Input::NotSent { host, attempt, why } => self.at(&host, &attempt, &mut tasks, |run, at, tasks| {
                run.not_sent(at, why, tasks);
            }),
            Input::Withdrawn { host, attempt } => {
                // It comes perhaps before the news that the person said so.
                self.stop(Stop::Cancelled, &mut tasks);
                self.at(&host, &attempt, &mut tasks, Self::withdrawn);
            }
            Input::Lost { host, attempt, why } => self.at(&host, &attempt, &mut tasks, |run, at, tasks| {
                run.lost(at, why, tasks);
            }),
            Input::Silent { host, attempt, why } => self.at(&host, &attempt, &mut tasks, |run, at, tasks| {
                run.silent(at, why, tasks);
            }),
            Input::Overdue { host, attempt, why } => self.at(&host, &attempt, &mut tasks, |run, at, tasks| {
                run.overdue(at, why, tasks);
            }),
            Input::Refused {
                host,
                attempt,
                kind,
                detail,
            } => self.at(&host, &attempt, &mut tasks, |run, at, tasks| {
                run.refused(at, kind, detail, tasks);
            }),
            Input::JobOver { host, report } => self.at(&host, &report.attempt, &mut tasks, |run, at, tasks| {
                run.job_over(at, &report, tasks);
            }),
            Input::CommandOver { host, attempt, outcome } => {
                self.at(&host, &attempt, &mut tasks, |run, at, tasks| {
                    run.command_over(at, outcome, tasks);
                });
            }
            Input::Acknowledged { host, attempt } => self.at(&host, &attempt, &mut tasks, |run, at, _| {
                if matches!(run.hosts[at].state, State::Ending(_)) {
                    run.go(at, State::Done);
                }
            }),
            Input::Timer { host, serial } => self.timer(&host, serial),
        }
        if self.begun {
            self.dispatch(&mut tasks);
        }
        tasks
    }

    /// Tells whether every host has ended.
    pub fn is_over(&self) -> bool {
        self.finished
    }

    /// Counts the hosts that have ended.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Lists the hosts on which something was sent and whose end is not known: what a person who cancels wants to see.
    pub fn in_flight(&self) -> Vec<&HostName> {
        let sent = |host: &&Host| {
            matches!(
                host.state,
                State::Starting(_) | State::Following(_) | State::Lost { .. } | State::Attaching(_)
            )
        };
        self.hosts.iter().filter(sent).map(|host| &host.name).collect()
    }

    /// Passes on what concerns the host's present attempt; what comes late or from elsewhere is dropped.
    fn at(
        &mut self,
        host: &HostName,
        attempt: &AttemptId,
        tasks: &mut Vec<Task>,
        then: impl FnOnce(&mut Self, usize, &mut Vec<Task>),
    ) {
        let Some(at) = self.place.get(host).copied() else {
            return;
        };
        if self.hosts[at].state.attempt() == Some(attempt) {
            then(self, at, tasks);
        }
    }

    fn begin(&mut self, tasks: &mut Vec<Task>) {
        if self.begun {
            return;
        }
        self.begun = true;
        // What is settled takes no slot, and counts before anything is started.
        for at in 0..self.hosts.len() {
            if let Work::Settled { outcome } = self.hosts[at].work.clone() {
                let settle = matches!(outcome, Outcome::Ok | Outcome::Changed { .. });
                self.end(at, None, outcome, settle, tasks);
                self.go(at, State::Done);
            }
        }
        let hosts = &self.hosts;
        self.waiting.retain(|at| hosts[*at].state == State::Waiting);
    }

    /// Fills the slots, or ends what will not be started any more.
    fn dispatch(&mut self, tasks: &mut Vec<Task>) {
        while self.stopped.is_none() && self.active < self.limits.forks.max(1) {
            if let Some(at) = self.returning.pop_front() {
                self.come_back(at, tasks);
            } else if let Some(at) = self.waiting.pop_front() {
                self.start_host(at, tasks);
            } else {
                break;
            }
        }
        if let Some(stop) = self.stopped {
            self.end_unstarted(stop, tasks);
            // Asking a host after its job starts nothing: it goes on.
            while self.active < self.limits.forks.max(1) {
                let Some(at) = self.returning.pop_front() else { break };
                self.come_back(at, tasks);
            }
        }
        if self.done == self.hosts.len() && !self.finished {
            self.finished = true;
            tasks.push(Task::Finish { recap: self.tally });
        }
    }

    fn start_host(&mut self, at: usize, tasks: &mut Vec<Task>) {
        match self.hosts[at].work.clone() {
            Work::Job | Work::Command => self.intend(at, tasks),
            Work::Collect { attempt } => self.attach(at, attempt, tasks),
            Work::Settled { .. } => {}
        }
    }

    fn come_back(&mut self, at: usize, tasks: &mut Vec<Task>) {
        match self.hosts[at].state.clone() {
            State::Backoff { attempt, .. } => self.start(at, attempt, tasks),
            State::Lost { attempt, .. } => self.attach(at, attempt, tasks),
            // It was heard meanwhile.
            _ => {}
        }
    }

    fn intend(&mut self, at: usize, tasks: &mut Vec<Task>) {
        let attempt = AttemptId::new(self.ids.as_mut());
        let host = self.hosts[at].name.clone();
        self.go(at, State::Intending(attempt.clone()));
        tasks.push(Task::Intend { host, attempt });
    }

    fn intended(&mut self, at: usize, tasks: &mut Vec<Task>) {
        if let State::Intending(attempt) = self.hosts[at].state.clone() {
            match self.stopped {
                Some(stop) => self.void(at, attempt, stop.outcome(), tasks),
                None => self.start(at, attempt, tasks),
            }
        }
    }

    fn start(&mut self, at: usize, attempt: AttemptId, tasks: &mut Vec<Task>) {
        let host = self.hosts[at].name.clone();
        self.hosts[at].starts += 1;
        self.go(at, State::Starting(attempt.clone()));
        tasks.push(match self.hosts[at].work {
            Work::Command => Task::Exec { host, attempt },
            Work::Job | Work::Collect { .. } | Work::Settled { .. } => Task::Start { host, attempt },
        });
    }

    fn attach(&mut self, at: usize, attempt: AttemptId, tasks: &mut Vec<Task>) {
        let host = &mut self.hosts[at];
        host.attaches += 1;
        host.attaches_in_all += 1;
        let name = host.name.clone();
        self.go(at, State::Attaching(attempt.clone()));
        tasks.push(Task::Attach { host: name, attempt });
    }

    fn started(&mut self, at: usize, _tasks: &mut Vec<Task>) {
        let host = &mut self.hosts[at];
        if let State::Starting(attempt) | State::Attaching(attempt) | State::Backoff { attempt, .. } = &host.state {
            let attempt = attempt.clone();
            host.attaches = 0;
            self.go(at, State::Following(attempt));
        }
    }

    fn not_sent(&mut self, at: usize, why: Unreached, tasks: &mut Vec<Task>) {
        match self.hosts[at].state.clone() {
            State::Starting(attempt) => {
                let again = why.kind.is_transient()
                    && self.hosts[at].starts <= why.kind.retries(self.limits.connect_retries)
                    && self.stopped.is_none();
                if again {
                    let pause_ms = connect_pause_ms(&self.hosts[at].name, self.hosts[at].starts);
                    let serial = self.wait(at, pause_ms, tasks);
                    self.go(at, State::Backoff { attempt, serial, why });
                } else {
                    self.void(at, attempt, Outcome::Unreachable(why), tasks);
                }
            }
            // Following: an echo of the host's first word came while it was being asked again.
            State::Attaching(attempt) | State::Following(attempt)
                if why.kind.is_transient() && self.hosts[at].work != Work::Command =>
            {
                self.ask_later(at, attempt, why.message().to_owned(), tasks);
            }
            State::Attaching(attempt) | State::Following(attempt) => {
                let why = why.message().to_owned();
                self.end(at, Some(attempt), Outcome::Unknown { why }, false, tasks);
                self.go(at, State::Done);
            }
            // The folder stays; the next start or collect removes it.
            State::Ending(_) => self.go(at, State::Done),
            State::Waiting | State::Intending(_) | State::Backoff { .. } | State::Lost { .. } | State::Done => {}
        }
    }

    fn withdrawn(&mut self, at: usize, tasks: &mut Vec<Task>) {
        if let State::Starting(attempt) = self.hosts[at].state.clone() {
            self.void(at, attempt, Outcome::Cancelled, tasks);
        }
    }

    fn lost(&mut self, at: usize, why: String, tasks: &mut Vec<Task>) {
        match self.hosts[at].state.clone() {
            State::Starting(attempt) | State::Following(attempt) | State::Attaching(attempt) => {
                if self.hosts[at].work == Work::Command {
                    self.end(at, Some(attempt), Outcome::Unknown { why }, false, tasks);
                    self.go(at, State::Done);
                } else {
                    self.ask_later(at, attempt, why, tasks);
                }
            }
            State::Ending(_) => self.go(at, State::Done),
            State::Waiting | State::Intending(_) | State::Backoff { .. } | State::Lost { .. } | State::Done => {}
        }
    }

    /// Each silence costs a minute, so a host gets fewer of them than lost connections.
    fn silent(&mut self, at: usize, why: String, tasks: &mut Vec<Task>) {
        let host = &mut self.hosts[at];
        if matches!(
            host.state,
            State::Starting(_) | State::Following(_) | State::Attaching(_)
        ) {
            host.silences += 1;
        }
        if host.silences > self.limits.silence_tries {
            self.overdue(at, why, tasks);
        } else {
            self.lost(at, why, tasks);
        }
    }

    /// Nothing more is to be had from the host now: what became of the job is for the next command to ask.
    fn overdue(&mut self, at: usize, why: String, tasks: &mut Vec<Task>) {
        match self.hosts[at].state.clone() {
            State::Starting(attempt) | State::Following(attempt) | State::Attaching(attempt) => {
                self.end(at, Some(attempt), Outcome::Unknown { why }, false, tasks);
                self.go(at, State::Done);
            }
            State::Ending(_) => self.go(at, State::Done),
            State::Waiting | State::Intending(_) | State::Backoff { .. } | State::Lost { .. } | State::Done => {}
        }
    }

    fn ask_later(&mut self, at: usize, attempt: AttemptId, why: String, tasks: &mut Vec<Task>) {
        let host = &self.hosts[at];
        if host.attaches >= self.limits.attach_tries || host.attaches_in_all >= ATTACHES_MAX {
            self.end(at, Some(attempt), Outcome::Unknown { why }, false, tasks);
            self.go(at, State::Done);
        } else {
            let pause_ms = pause_ms(&host.name, host.attaches + 1);
            let serial = self.wait(at, pause_ms, tasks);
            self.go(at, State::Lost { attempt, serial, why });
        }
    }

    fn refused(&mut self, at: usize, kind: RefusalKind, detail: String, tasks: &mut Vec<Task>) {
        match self.hosts[at].state.clone() {
            // It got there after all, by a start of which we heard nothing.
            State::Starting(attempt) if kind == RefusalKind::Exists && self.hosts[at].work != Work::Command => {
                self.attach(at, attempt, tasks);
            }
            State::Starting(attempt) => self.void(at, attempt, Outcome::Refused { kind, detail }, tasks),
            // A start that was carried out twice.
            State::Following(_) if kind == RefusalKind::Exists => {}
            State::Attaching(attempt) | State::Following(attempt) => {
                let why = format!("{}: {detail}", kind.message());
                self.end(at, Some(attempt), Outcome::Unknown { why }, false, tasks);
                self.go(at, State::Done);
            }
            State::Ending(_) => self.go(at, State::Done),
            // The intent itself was refused, because another controller has the host: nothing is recorded, nothing sent.
            State::Intending(_) => {
                self.end(at, None, Outcome::Refused { kind, detail }, false, tasks);
                self.go(at, State::Done);
            }
            State::Waiting | State::Backoff { .. } | State::Lost { .. } | State::Done => {}
        }
    }

    fn job_over(&mut self, at: usize, report: &JobReport, tasks: &mut Vec<Task>) {
        let heard = matches!(
            self.hosts[at].state,
            State::Starting(_) | State::Following(_) | State::Attaching(_) | State::Backoff { .. } | State::Lost { .. }
        );
        if !heard {
            return;
        }
        let attempt = report.attempt.clone();
        match report.state {
            JobState::Done | JobState::Interrupted => {
                let (outcome, settle) = outcome_of(report);
                self.end(at, Some(attempt.clone()), outcome, settle, tasks);
                self.acknowledge(at, attempt, tasks);
            }
            JobState::Running => {
                let why = "the host stopped telling while the job runs".to_owned();
                self.lost(at, why, tasks);
            }
            JobState::Unstarted | JobState::Untransferred => self.never_started(at, attempt, tasks),
        }
    }

    /// The host says that nothing was started: the one case in which a lost start is tried anew.
    fn never_started(&mut self, at: usize, attempt: AttemptId, tasks: &mut Vec<Task>) {
        let host = self.hosts[at].name.clone();
        let void = Task::Void {
            host,
            attempt: attempt.clone(),
        };
        tasks.push(void);
        let again = self.hosts[at].starts <= self.limits.connect_retries;
        match (&self.hosts[at].work, self.stopped) {
            // Left by an earlier run: now it is known that it did nothing.
            (Work::Collect { .. }, _) => {
                self.end(at, Some(attempt.clone()), Outcome::Ok, false, tasks);
                self.acknowledge(at, attempt, tasks);
            }
            (_, None) if again => self.intend(at, tasks),
            (_, Some(stop)) => {
                self.end(at, Some(attempt.clone()), stop.outcome(), false, tasks);
                self.acknowledge(at, attempt, tasks);
            }
            (_, None) => {
                let why = Unreached::new(
                    UnreachableKind::ConnectionLost,
                    "the connection was lost during every transfer",
                );
                self.end(at, Some(attempt.clone()), Outcome::Unreachable(why), false, tasks);
                self.acknowledge(at, attempt, tasks);
            }
        }
    }

    fn command_over(&mut self, at: usize, outcome: Outcome, tasks: &mut Vec<Task>) {
        if let State::Starting(attempt) | State::Following(attempt) = self.hosts[at].state.clone() {
            self.end(at, Some(attempt), outcome, false, tasks);
            self.go(at, State::Done);
        }
    }

    fn timer(&mut self, host: &HostName, serial: u32) {
        let Some(at) = self.place.get(host).copied() else {
            return;
        };
        match &self.hosts[at].state {
            State::Backoff { serial: due, .. } | State::Lost { serial: due, .. }
                if *due == serial && !self.returning.contains(&at) =>
            {
                self.returning.push_back(at);
            }
            _ => {}
        }
    }

    fn stop(&mut self, why: Stop, tasks: &mut Vec<Task>) {
        self.stopped.get_or_insert(why);
        if !self.begun {
            self.begin(tasks);
        }
    }

    /// Ends the hosts that would have to be started.
    fn end_unstarted(&mut self, stop: Stop, tasks: &mut Vec<Task>) {
        while let Some(at) = self.waiting.pop_front() {
            self.end(at, None, stop.outcome(), false, tasks);
            self.go(at, State::Done);
        }
        for at in 0..self.hosts.len() {
            if let State::Backoff { attempt, why, .. } = self.hosts[at].state.clone() {
                self.void(at, attempt, Outcome::Unreachable(why), tasks);
            }
        }
    }

    fn abandon(&mut self, tasks: &mut Vec<Task>) {
        self.stop(Stop::Cancelled, tasks);
        for at in 0..self.hosts.len() {
            match self.hosts[at].state.clone() {
                State::Intending(attempt) => self.void(at, attempt, Outcome::Cancelled, tasks),
                State::Starting(attempt) | State::Following(attempt) | State::Attaching(attempt) => {
                    let why = "it was left running".to_owned();
                    self.end(at, Some(attempt), Outcome::Unknown { why }, false, tasks);
                    self.go(at, State::Done);
                }
                State::Lost { attempt, why, .. } => {
                    self.end(at, Some(attempt), Outcome::Unknown { why }, false, tasks);
                    self.go(at, State::Done);
                }
                State::Ending(_) => self.go(at, State::Done),
                // The next dispatch ends these.
                State::Waiting | State::Backoff { .. } | State::Done => {}
            }
        }
    }

    fn wait(&mut self, at: usize, pause_ms: u64, tasks: &mut Vec<Task>) -> u32 {
        let host = &mut self.hosts[at];
        host.serial += 1;
        tasks.push(Task::Wait {
            host: host.name.clone(),
            serial: host.serial,
            pause_ms,
        });
        host.serial
    }

    fn void(&mut self, at: usize, attempt: AttemptId, outcome: Outcome, tasks: &mut Vec<Task>) {
        tasks.push(Task::Void {
            host: self.hosts[at].name.clone(),
            attempt: attempt.clone(),
        });
        self.end(at, Some(attempt), outcome, false, tasks);
        self.go(at, State::Done);
    }

    fn acknowledge(&mut self, at: usize, attempt: AttemptId, tasks: &mut Vec<Task>) {
        let host = self.hosts[at].name.clone();
        self.go(at, State::Ending(attempt.clone()));
        tasks.push(Task::Acknowledge { host, attempt });
    }

    fn end(&mut self, at: usize, attempt: Option<AttemptId>, outcome: Outcome, settle: bool, tasks: &mut Vec<Task>) {
        self.tally.count(&outcome);
        if outcome.is_bad() {
            self.bad += 1;
            if self.limits.max_failures.is_some_and(|max| self.bad >= max) {
                self.stopped.get_or_insert(Stop::MaxFailures);
            }
        }
        tasks.push(Task::End {
            host: self.hosts[at].name.clone(),
            attempt,
            outcome,
            settle,
        });
    }

    /// Moves a host on and keeps the counts.
    fn go(&mut self, at: usize, next: State) {
        let host = &mut self.hosts[at];
        self.active -= usize::from(host.state.holds_a_slot());
        self.active += usize::from(next.holds_a_slot());
        if next == State::Done && host.state != State::Done {
            self.done += 1;
        }
        host.state = next;
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("hosts", &self.hosts)
            .field("active", &self.active)
            .field("stopped", &self.stopped)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl Stop {
    fn outcome(self) -> Outcome {
        match self {
            Self::Cancelled => Outcome::Cancelled,
            Self::MaxFailures => Outcome::Skipped {
                why: SkipReason::MaxFailures,
            },
        }
    }
}

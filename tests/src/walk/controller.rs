//! A controller as small as can be: the real planner, fold and job body; a ledger in memory that survives when it is killed.

use super::host::{Host, Sent};
use holdfast::observe::job_events;
use holdfast_agent::program;
use holdfast_inventory::HostName;
use holdfast_plan::address::Address;
use holdfast_plan::change::{Action, HostPlan};
use holdfast_plan::content::Blobs;
use holdfast_plan::event::{Event, Intent, JobEnded, Record, Resolution};
use holdfast_plan::ids::{AttemptId, MachineId, PlanId, RunId, Timestamp};
use holdfast_plan::job::{job_body, observe_body};
use holdfast_plan::ledger::{Ledger, LedgerFold};
use holdfast_plan::observation::{Facts, JobEnd, JobReport, JobState, Observation, Observed, StepStatus};
use holdfast_plan::planner::{Mode, PlanInput, plan_host, to_observe};
use holdfast_plan::resource::DesiredResource;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// How an apply is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not at all.
    Whole,
    /// The wrapper is killed when it is about to write this line of its journal, from 1.
    WrapperDies(u32),
    /// The step's process and its wrapper are killed at this touch of a tool that changes something, from 1.
    StepDies(u32),
    /// The controller dies once its intent is written, and sends nothing.
    DiesBeforeSending,
    /// The controller dies while the job runs, and has recorded so many reports of steps.
    DiesFollowing(usize),
}

/// How an apply went.
#[derive(Debug)]
pub enum Went {
    /// The plan was refused, with these words.
    Refused(String),
    /// The job, if one was needed, came to its end.
    Done(Box<HostPlan>, Option<JobReport>),
    /// It did not, or nobody knows yet.
    Cut,
}

/// A controller.
#[derive(Default)]
pub struct Controller {
    /// What it knows of the host.
    pub ledger: Ledger,
    /// The bytes of contents.
    pub blobs: Blobs,
    fold: LedgerFold,
    machine: Option<MachineId>,
    attempts: u32,
    ended: Vec<AttemptId>,
    unbegun: Vec<AttemptId>,
    /// The whole log, as it is stored.
    log: Vec<String>,
}

const MACHINE: &str = "6b6f7a3c-0000-4000-8000-000000000001";

/// How often a job that still runs is asked for, each time after a short while.
const ASKED_MAX: u32 = 400;

fn machine() -> MachineId {
    MachineId(MACHINE.to_owned())
}

fn name() -> HostName {
    "h".into()
}

impl Controller {
    /// Every event goes through its stored form, and into the ledger.
    fn record(&mut self, event: Event) {
        let text = Record::new(Timestamp(i64::from(self.attempts)), event).to_json();
        let record = Record::from_json(&text).expect("it was just written");
        self.fold.apply(&mut self.ledger, record.at, &record.event);
        self.log.push(text);
    }

    /// The ledger as the log alone has it.
    pub fn folded_anew(&self) -> Ledger {
        let (mut ledger, mut fold) = (Ledger::default(), LedgerFold::default());
        for text in &self.log {
            let record = Record::from_json(text).expect("it is stored");
            fold.apply(&mut ledger, record.at, &record.event);
        }
        ledger
    }

    /// Asks the host until nothing runs there any more and all that it says is recorded.
    fn observe(&mut self, host: &Host, desired: &[DesiredResource]) -> Observation {
        for _ in 0..ASKED_MAX {
            let asked = to_observe(desired, &self.ledger, Mode::Converge);
            let body = observe_body(&asked);
            let mut reply = host.observe(body.text.as_str());
            assert!(reply.refused.is_none(), "{:?}", reply.refused);
            let jobs = reply.job_reports();
            if jobs.iter().any(|job| job.state == JobState::Running) {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            if self.settle(&jobs) {
                // The ledger may ask for more by now.
                continue;
            }
            self.machine = reply.machine.clone().map(MachineId);
            let resources = (0u32..).zip(body.addresses).map(|(id, address)| {
                let observed = Observed {
                    attributes: reply.attributes.remove(&id).unwrap_or_default(),
                    text: reply.texts.remove(&id),
                    kept: None,
                };
                (address, observed)
            });
            return Observation {
                host: name(),
                at: Timestamp(0),
                resources: resources.collect(),
                machine: self.machine.clone(),
                epoch: reply.epoch,
                facts: Facts([("uid".to_owned(), "0".to_owned())].into()),
                jobs: Vec::new(),
                last: None,
                lives: std::collections::BTreeMap::new(),
                forks: None,
            };
        }
        panic!("a job on the host does not come to its end");
    }

    /// Records what jobs tell; tells whether anything was new.
    fn settle(&mut self, jobs: &[JobReport]) -> bool {
        let mut news = false;
        for job in jobs {
            match job.state {
                JobState::Unstarted | JobState::Untransferred => {
                    if !self.unbegun.contains(&job.attempt) {
                        self.unbegun.push(job.attempt.clone());
                    }
                }
                _ => {
                    if self.fold.open.contains_key(&job.attempt) {
                        self.take(job);
                        news = true;
                    }
                    if !self.ended.contains(&job.attempt) {
                        self.ended.push(job.attempt.clone());
                    }
                }
            }
        }
        // What the host knows nothing of, and nobody will send any more, never began.
        let open: Vec<AttemptId> = self.fold.open.keys().cloned().collect();
        for attempt in open {
            self.record(Event::JobEnded {
                machine: machine(),
                attempt,
                ended: JobEnded::NeverStarted,
            });
            news = true;
        }
        news
    }

    fn take(&mut self, job: &JobReport) {
        for event in job_events(&machine(), job) {
            self.record(event);
        }
    }

    /// Plans, without doing anything.
    pub fn plan(&mut self, host: &Host, desired: &[DesiredResource]) -> HostPlan {
        let observation = self.observe(host, desired);
        self.plan_of(desired, &observation)
    }

    fn plan_of(&self, desired: &[DesiredResource], observation: &Observation) -> HostPlan {
        plan_host(&PlanInput {
            desired,
            ledger: &self.ledger,
            machine: self.machine.as_ref(),
            held: None,
            observation,
            blobs: &self.blobs,
            mode: Mode::Converge,
            login: None,
            was_user: None,
            confirm_s: 60,
        })
    }

    /// Applies a blueprint.
    pub fn apply(&mut self, host: &Host, desired: &[DesiredResource], fate: Fate) -> Went {
        let observation = self.observe(host, desired);
        let plan = self.plan_of(desired, &observation);
        if !plan.refusals.is_empty() {
            let words: Vec<&str> = plan.refusals.iter().map(|refusal| refusal.message.as_str()).collect();
            return Went::Refused(words.join("; "));
        }
        let mut told = None;
        if plan.needs_job() {
            let sweeps = !self.ended.is_empty();
            let report = match self.run(host, &plan, fate) {
                Some(report) if report.state == JobState::Done => report,
                _ => return Went::Cut,
            };
            match &report.end {
                Some(JobEnd::Completed | JobEnd::Stopped { .. }) => {}
                // What a killed job left (a second name of a file) is swept by the start, after it was observed: the plan
                // is stale, nothing was done, and the next one goes on.
                Some(JobEnd::Stale { .. }) if sweeps => return Went::Cut,
                end => panic!("{end:?} with nobody else at work"),
            }
            told = Some(report);
        }
        for change in &plan.changes {
            let (host, machine) = (name(), machine());
            match change.action {
                Action::Adopt => self.record(Event::Adopted {
                    host,
                    machine,
                    desired: change.desired.clone(),
                    applied: change.observed.clone(),
                }),
                Action::Forget => self.record(Event::Forgotten {
                    host,
                    machine,
                    address: change.address.clone(),
                }),
                _ => {}
            }
        }
        Went::Done(Box::new(plan), told)
    }

    /// Sends the job of a plan; what the controller learned of it before it died itself.
    fn run(&mut self, host: &Host, plan: &HostPlan, fate: Fate) -> Option<JobReport> {
        self.attempts += 1;
        let attempt = AttemptId(format!("a{}", self.attempts));
        let body = job_body(plan, &machine());
        self.record(Event::AttemptIntended(Intent {
            run: RunId("r".to_owned()),
            host: name(),
            machine: machine(),
            attempt: attempt.clone(),
            epoch: 1,
            plan: PlanId("p".to_owned()),
            steps: body.steps.clone(),
            restarts: body.restarts.clone(),
        }));
        if fate == Fate::DiesBeforeSending {
            return None;
        }
        let blobs = body.blobs.iter().map(|sha256| self.blobs.get(sha256).map(Arc::clone));
        let (ended, unbegun) = (std::mem::take(&mut self.ended), std::mem::take(&mut self.unbegun));
        let reply = host.start(&Sent {
            attempt: attempt.as_str(),
            machine: self.machine.as_ref().map(MachineId::as_str),
            machine_new: MACHINE,
            ack: ended.iter().map(AttemptId::as_str).collect(),
            void: unbegun.iter().map(AttemptId::as_str).collect(),
            blobs: blobs.map(|blob| blob.expect("contents of plans are kept")).collect(),
            step: program::job_step(&format!("{}{}", body.text, deadly(fate))).into_bytes(),
        });
        assert!(reply.refused.is_none(), "{:?}", reply.refused);
        let report = reply.jobs.get(attempt.as_str())?.report(attempt.as_str())?;
        if let Fate::DiesFollowing(recorded) = fate {
            for event in job_events(&machine(), &report).into_iter().take(recorded) {
                self.record(event);
            }
            return None;
        }
        if report.state == JobState::Running {
            return None;
        }
        self.take(&report);
        self.ended.push(attempt);
        Some(report)
    }

    /// A person says: make it anew.
    pub fn taint(&mut self, address: &Address) {
        if self.ledger.entries.contains_key(address) {
            self.record(Event::Resolved {
                host: name(),
                machine: machine(),
                address: Some(address.clone()),
                how: Resolution::Taint,
                by: "a person".to_owned(),
            });
        }
    }

    /// Takes off the host what is recorded.
    pub fn clear(&mut self, host: &Host) {
        let ended = std::mem::take(&mut self.ended);
        let ended: Vec<&str> = ended.iter().map(AttemptId::as_str).collect();
        host.ack(&ended);
    }
}

/// The sh that ends a job before its time.
fn deadly(fate: Fate) -> String {
    let mut sh = String::from("\n");
    match fate {
        Fate::WrapperDies(line) => {
            write!(
                sh,
                "walk_lines=0\nhf_journal() {{\nwalk_lines=$((walk_lines + 1))\n\
                 [ \"$walk_lines\" -lt {line} ] || kill -s KILL \"$$\"\nhf_say \"$*\" >>\"$hf_job/journal\"\n}}\n"
            )
            .expect("a String takes it");
        }
        Fate::StepDies(touch) => {
            // Before and after each tool, in the step's own process; it takes its wrapper along.
            write!(
                sh,
                "if [ \"${{3:-}}\" = apply ]; then\nwalk_touches=$1/jobs/$2/touches\nwalk_touch() {{\n\
                 echo >>\"$walk_touches\"\n[ \"$(wc -l <\"$walk_touches\")\" -ne {touch} ] || \
                 {{ read -r walk_wrapper walk_rest <\"$hf_job/pid\"; kill -s KILL \"$walk_wrapper\" \"$$\"; }}\n}}\n"
            )
            .expect("a String takes it");
            for tool in [
                "mv", "cp", "rm", "ln", "mkdir", "rmdir", "chmod", "chown", "touch", "crontab", "useradd", "usermod",
                "userdel", "groupadd", "groupmod", "groupdel", "gpasswd", "chpasswd", "chage",
            ] {
                writeln!(
                    sh,
                    "{tool}() {{\nwalk_touch\ncommand {tool} \"$@\"\nset -- $?\nwalk_touch\nreturn $1\n}}"
                )
                .expect("a String takes it");
            }
            sh.push_str("fi\n");
        }
        Fate::Whole | Fate::DiesBeforeSending | Fate::DiesFollowing(_) => {}
    }
    sh
}

/// How many steps of a job changed something, left something, or had nothing to do.
pub fn changed(report: &JobReport) -> usize {
    let changed = |status: &StepStatus| matches!(status, StepStatus::Changed | StepStatus::Left { .. });
    report.steps.iter().filter(|step| changed(&step.status)).count()
}

//! Runs that hold together badly: they end, and say so.

use super::*;
use crate::cli::carry_out::run_started;
use crate::transport::Context;
use holdfast_plan::event::RunKind;
use holdfast_plan::run::{HostTask, Limits, Work};

// REVIEW C13
#[tokio::test]
async fn a_host_for_which_there_is_nothing_to_send_ends_and_with_it_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().join("holdfast.db")).await.expect("a store");
    let secrets = Arc::new(|_: &str| None);
    let context = Context::for_project(folder.path(), None, None, secrets);
    let mut hosts = HashMap::new();
    let mut tasks = Vec::new();
    // A job that is an assignment for a command, a command that nobody gave, and a host that nobody knows.
    for (name, work, known) in [
        ("a", Work::Job, true),
        ("b", Work::Command, true),
        ("c", Work::Job, false),
    ] {
        let (host, assignment) = (HostName::from(name), Assignment::Command);
        let target = Target::new(name, "nowhere.invalid", "ops");
        if known {
            hosts.insert(host.clone(), HostWork { target, assignment });
        }
        tasks.push(HostTask { host, work });
    }
    let run = RunId::new(&mut SystemIds);
    let names = tasks.iter().map(|task| task.host.clone()).collect();
    let started = run_started(&run, RunKind::Run, None, names);
    let execution = Execution {
        store,
        fleet: Fleet::new(context, 3),
        run,
        plan: PlanId::new(&mut SystemIds),
        hosts,
        command: None,
        lost: LostLeases::default(),
        output: None,
        progress: Arc::new(Progress::new("running", 3)),
    };
    let limits = Limits::default();
    let spec = RunSpec { hosts: tasks, limits };
    let ended = tokio::time::timeout(Duration::from_secs(60), execute(execution, spec, started));
    let report = ended.await.expect("it ends").expect("the store works");
    assert_eq!(report.tally.unreachable, 3, "{report:?}");
}

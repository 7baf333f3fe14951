//! Runs over thousands of fake hosts. A failure names its seed; `HOLDFAST_SEED=N` runs that one alone.

use holdfast_plan::report::Report;
use holdfast_plan::run::{Limits, Work};
use holdfast_tests::simulator::{Scenario, Weather, simulate};

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=count).collect(),
    }
}

fn scenario(seed: u64) -> Scenario {
    Scenario {
        seed,
        hosts: 2_000,
        work: Work::Job,
        limits: Limits::default(),
        weather: Weather::STORM,
        cancel_at_ms: None,
        abandon_at_ms: None,
    }
}

#[test]
fn in_fair_weather_every_host_is_changed_or_failed_by_itself() {
    for seed in seeds(3) {
        let history = simulate(&Scenario {
            weather: Weather::FAIR,
            ..scenario(seed)
        });
        assert_eq!(history.recap.changed + history.recap.failed, 2_000, "seed {seed}");
        assert_eq!(history.attaches, 0, "seed {seed}");
    }
}

#[test]
fn in_a_storm_every_host_ends_in_a_known_state_or_as_unknown_and_the_counts_add_up() {
    for seed in seeds(60) {
        let history = simulate(&scenario(seed));
        let report = Report::fold(&history.events);
        assert_eq!(report.tally, history.recap, "seed {seed}: the events tell the same");
        assert!(report.ended);
        assert!(history.attaches > 100, "seed {seed}: the storm cut no connection");
        assert!(history.recap.changed > 1_000, "seed {seed}: {:?}", history.recap);
        assert!(
            history.recap.unknown < 20,
            "seed {seed}: hosts that are there are not given up: {:?}",
            history.recap
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let seed = seeds(1)[0];
    assert_eq!(simulate(&scenario(seed)), simulate(&scenario(seed)));
}

#[test]
fn after_a_cancel_nothing_is_started_and_what_runs_is_followed() {
    for seed in seeds(60) {
        let history = simulate(&Scenario {
            cancel_at_ms: Some(60_000),
            ..scenario(seed)
        });
        assert!(history.recap.cancelled > 1_000, "seed {seed}: {:?}", history.recap);
        assert!(history.recap.changed > 0, "seed {seed}: {:?}", history.recap);
    }
}

#[test]
fn who_stops_waiting_is_told_which_hosts_are_unknown() {
    for seed in seeds(60) {
        let history = simulate(&Scenario {
            cancel_at_ms: Some(60_000),
            abandon_at_ms: Some(61_000),
            ..scenario(seed)
        });
        assert!(history.recap.unknown > 0, "seed {seed}: {:?}", history.recap);
    }
}

#[test]
fn too_many_failures_stop_the_run() {
    for seed in seeds(60) {
        let limits = Limits {
            max_failures: Some(5),
            ..Limits::default()
        };
        let history = simulate(&Scenario {
            limits,
            ..scenario(seed)
        });
        assert!(history.recap.skipped > 1_000, "seed {seed}: {:?}", history.recap);
    }
}

#[test]
fn an_ad_hoc_command_never_runs_twice() {
    for seed in seeds(60) {
        let history = simulate(&Scenario {
            work: Work::Command,
            ..scenario(seed)
        });
        assert_eq!(history.attaches, 0, "seed {seed}: a command can't be asked after");
        assert!(history.recap.unknown > 100, "seed {seed}: {:?}", history.recap);
    }
}

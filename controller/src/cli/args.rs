//! What can be typed: every command and flag, with examples. Parsing only; no command runs here.

use crate::cancel::Cancel;
use crate::store::Opened;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Keeps legacy fleets from drifting: desired state, plan, ledger and undo over plain SSH.
#[derive(Debug, Clone, Parser)]
#[command(name = "holdfast", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "\
Examples:
  holdfast demo                       see it work, without root or any host
  holdfast init fleet && cd fleet     start a project
  holdfast plan                       what would change, and why
  holdfast apply -l web               change the hosts of group web
  holdfast run 'web:!web03' -- uptime run a command on many hosts
  holdfast drift --detailed-exitcode  exit 2 if a host no longer is what it was made")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
}

/// The flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Use the project in DIR instead of searching upward from the working folder.
    #[arg(
        short = 'C',
        long = "directory",
        value_name = "DIR",
        global = true,
        help_heading = "Global options"
    )]
    pub directory: Option<PathBuf>,
    /// Read this inventory instead of the project's (may be repeated).
    #[arg(short, long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub inventory: Vec<PathBuf>,
    /// Only hosts that match the pattern, such as `web:&prod:!web03` or `web[01-20]`.
    #[arg(short, long, value_name = "PATTERN", global = true, help_heading = "Global options")]
    pub limit: Option<String>,
    /// Hosts contacted at once [default: 100].
    #[arg(short, long, value_name = "N", env = "HOLDFAST_FORKS", global = true, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Global options")]
    pub forks: Option<u16>,
    /// Set a variable, stronger than all others (may be repeated).
    #[arg(
        short = 'e',
        long = "extra-var",
        value_name = "KEY=VALUE",
        global = true,
        help_heading = "Global options"
    )]
    pub extra: Vec<String>,
    /// Log in as USER.
    #[arg(short, long, value_name = "USER", global = true, help_heading = "Global options")]
    pub user: Option<String>,
    /// Become root through `sudo -n` on every host.
    #[arg(short, long = "become", global = true, help_heading = "Global options")]
    pub become_root: bool,
    /// Print one JSON document (or one JSON line per event while streaming) on stdout.
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Say more: traffic, round trips and forks (-v), what is done with each host (-vv), the log in full (-vvv).
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    pub verbose: u8,
    /// What stops the command: no flag, but given to every command like one.
    #[arg(skip)]
    pub cancel: Cancel,
    /// What the command opened and has to close.
    #[arg(skip)]
    pub opened: Opened,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a project that can be run at once.
    #[command(after_help = "Example:\n  holdfast init fleet && cd fleet && holdfast validate")]
    Init(InitArgs),
    /// Check the inventory and all blueprints, offline, and show every problem at once.
    #[command(after_help = "Example:\n  holdfast validate && git commit -am 'Raise the port'")]
    Validate,
    /// List hosts, their variables, or the tree of groups.
    #[command(
        after_help = "Examples:\n  holdfast hosts web\n  holdfast hosts --json web01   each value with where it came from\n  holdfast hosts --graph"
    )]
    Hosts(HostsArgs),
    /// Show what hosts say of themselves.
    #[command(after_help = "Example:\n  holdfast facts web01")]
    Facts(PatternArgs),
    /// Show what would change, and why. Writes nothing on any host.
    #[command(
        after_help = "Examples:\n  holdfast plan -l web -o web.plan && holdfast apply web.plan\n  holdfast plan --show-script -l web01\n  holdfast plan --explain file./etc/motd -l web01   which rule decided, and where each value comes from"
    )]
    Plan(PlanArgs),
    /// Make the hosts what the blueprints say: plan, ask, change, verify.
    #[command(
        after_help = "Examples:\n  holdfast apply\n  holdfast apply -y -l web --max-failures 1\n  holdfast apply web.plan"
    )]
    Apply(ApplyArgs),
    /// Show where hosts no longer are what Holdfast made them, though no blueprint changed.
    #[command(
        after_help = "Examples:\n  holdfast drift --detailed-exitcode\n  holdfast drift --recorded   what agents reported, without asking any host"
    )]
    Drift(DriftArgs),
    /// Run a command on many hosts at once.
    #[command(
        override_usage = "holdfast run [OPTIONS] <PATTERN> -- <COMMAND>...",
        after_help = "Examples:\n  holdfast run web -- uptime\n  holdfast run -f 10 --timeout 30s all -- 'df -h / | tail -1'\n  holdfast run db01 -- 'tar cz /etc' > etc.tar.gz\n  holdfast run web -- 'cat > /tmp/list' < list"
    )]
    Run(RunArgs),
    /// Say what shall become of a resource that is stuck, or of a machine that is held.
    #[command(after_help = "Of a resource (HOST ADDRESS WORD):
  retry    try again what failed: the next plan takes it up
  skip     drop it from the ledger and leave it on the host as it is; the next plan has it again,
           as something that was there before, if a blueprint still declares it
  accept   what is on the host now counts as applied
  taint    undo it and make it anew at the next apply
Of a machine (HOST WORD):
  accept     let a held machine go on; one that was re-imaged begins anew, and nothing of its
             old ledger is undone; of one that knows more than a store which was put back in
             time, what is there counts as found
  drop-job   take off a job that another controller left there

Examples:\n  holdfast resolve web01 file./etc/motd retry\n  holdfast resolve web01 file./etc/motd skip --because 'removed by hand'\n  holdfast resolve web01 accept   the host was re-imaged, or the store is older: go on from what is there\n  holdfast resolve web01 drop-job   take off a job that another controller left there")]
    Resolve(ResolveArgs),
    /// Break the lease of a controller that is gone for good.
    #[command(after_help = "Example:\n  holdfast unlock web01")]
    Unlock(UnlockArgs),
    /// Fetch what agents have recorded, in order and once.
    #[command(after_help = "Example:\n  holdfast collect web && holdfast drift --recorded")]
    Collect(PatternArgs),
    /// Install, ask or remove the agent.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// List machines: phase, freshness and size of the ledger; or show the ledger of one.
    #[command(
        after_help = "Examples:\n  holdfast machines\n  holdfast machines web01   what Holdfast put there, and what was there before"
    )]
    Machines(MachinesArgs),
    /// List runs, or show one.
    #[command(after_help = "Examples:\n  holdfast runs\n  holdfast runs show 3f2a")]
    Runs(RunsArgs),
    /// Back up, verify or mend the store: the record of all that was done.
    #[command(subcommand, after_help = "Example:\n  holdfast store backup /backup/fleet.db")]
    Store(StoreCommand),
    /// See all of it work: embedded hosts, no root, nothing to configure.
    #[command(
        after_help = "Examples:\n  holdfast demo\n  holdfast demo --hosts 200\n  holdfast demo --keep   leave the hosts up and try the commands yourself"
    )]
    Demo(DemoArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  holdfast completions bash > /etc/bash_completion.d/holdfast")]
    Completions(CompletionsArgs),
}

/// `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The folder to make [default: the working folder].
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// A command that takes only hosts.
#[derive(Debug, Clone, Args)]
pub struct PatternArgs {
    /// Which hosts [default: all].
    pub pattern: Option<String>,
}

/// `hosts`.
#[derive(Debug, Clone, Args)]
pub struct HostsArgs {
    /// Which hosts [default: all].
    pub pattern: Option<String>,
    /// Show the tree of groups.
    #[arg(long)]
    pub graph: bool,
}

/// `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Which hosts [default: all].
    pub pattern: Option<String>,
    /// Save the plan, for `apply FILE`.
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Explain this resource instead: the rule that decided, what was compared, and where its values come from (may
    /// be repeated).
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["out", "show_script", "all"])]
    pub explain: Vec<String>,
    /// Show the sh of every step.
    #[arg(long)]
    pub show_script: bool,
    /// Show resources that are as desired, too.
    #[arg(long)]
    pub all: bool,
    /// Exit 0 if nothing is to do, 2 if something is.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Show no text diffs.
    #[arg(long)]
    pub no_diff: bool,
    /// Show every host's own text where hosts are alike.
    #[arg(long)]
    pub no_fold: bool,
}

/// `apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// A plan saved with `plan -o` [default: plan now].
    pub plan: Option<PathBuf>,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// What other tools call a plan.
    #[arg(long, hide = true, alias = "dry-run", conflicts_with = "yes")]
    pub check: bool,
    /// Start no further host once this many failed.
    #[arg(long, value_name = "N")]
    pub max_failures: Option<u32>,
    /// Show no text diffs.
    #[arg(long)]
    pub no_diff: bool,
    /// Show every host's own text where hosts are alike.
    #[arg(long)]
    pub no_fold: bool,
}

/// `drift`.
#[derive(Debug, Clone, Args)]
pub struct DriftArgs {
    /// Which hosts [default: all].
    pub pattern: Option<String>,
    /// Show what agents recorded, without asking any host.
    #[arg(long)]
    pub recorded: bool,
    /// Exit 0 if nothing drifted, 2 if something did.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Show no text diffs.
    #[arg(long)]
    pub no_diff: bool,
    /// Show every host's own text where hosts are alike.
    #[arg(long)]
    pub no_fold: bool,
}

/// `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Which hosts.
    pub pattern: String,
    /// Give up waiting for a host after this long: `30s`, `5m` [default: wait].
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Start no further host once this many failed.
    #[arg(long, value_name = "N")]
    pub max_failures: Option<u32>,
    /// Print each line as it comes, with its host; a single host's output always comes as it is.
    #[arg(long, conflicts_with = "json")]
    pub stream: bool,
    /// Keep the output in DIR: HOST.out and HOST.err, byte for byte.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["stream", "json"])]
    pub outdir: Option<PathBuf>,
    /// Leave stdin alone; else what is piped in is read once and given to the command on every host.
    #[arg(short = 'n', long)]
    pub no_input: bool,
    /// Exit with the largest code that the command gave on any host.
    #[arg(short = 'S', long)]
    pub largest_code: bool,
    /// Words where the command would be, if `--` had not been forgotten.
    #[arg(hide = true)]
    pub misplaced: Vec<String>,
    /// The command; several words are joined with spaces and read by the host's `/bin/sh`.
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `resolve`.
#[derive(Debug, Clone, Args)]
pub struct ResolveArgs {
    /// The host.
    pub host: String,
    /// The resource (`type.name`) and what to do with it; or only `accept` for a held machine, `drop-job` for a job that
    /// another controller left.
    #[arg(required = true, num_args = 1..=2, value_names = ["ADDRESS", "retry|skip|accept|taint"])]
    pub what: Vec<String>,
    /// Why, for the record (needed for skip).
    #[arg(long, value_name = "REASON")]
    pub because: Option<String>,
}

/// `unlock`.
#[derive(Debug, Clone, Args)]
pub struct UnlockArgs {
    /// Which hosts.
    pub pattern: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// `store ...`.
#[derive(Debug, Clone, Subcommand)]
pub enum StoreCommand {
    /// Copy the store to a new file, whole, also while others write it.
    #[command(after_help = "Example:\n  holdfast store backup /backup/fleet-$(date +%F).db")]
    Backup {
        /// The file to make.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Verify every event, whether the tables are what the events come to, and every kept content.
    Verify,
    /// Make the tables anew from the events.
    Rebuild,
}

/// `agent ...`.
#[derive(Debug, Clone, Subcommand)]
pub enum AgentCommand {
    /// Put the agent on hosts, through a built-in blueprint.
    #[command(after_help = "Example:\n  holdfast agent install web -y")]
    Install(AgentInstallArgs),
    /// Ask agents how they are.
    Status(PatternArgs),
    /// Take the agent away; refused while anything is uncollected.
    Remove(AgentRemoveArgs),
}

/// `agent install`.
#[derive(Debug, Clone, Args)]
pub struct AgentInstallArgs {
    /// Which hosts.
    pub pattern: String,
    /// The agent's binary [default: `holdfast-agent` beside this program].
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// How often the agent probes: `60s`, `5m`.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub every: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// `agent remove`.
#[derive(Debug, Clone, Args)]
pub struct AgentRemoveArgs {
    /// Which hosts.
    pub pattern: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// `machines`.
#[derive(Debug, Clone, Args)]
pub struct MachinesArgs {
    /// The host behind which the machine was last seen [default: list all].
    pub host: Option<String>,
}

/// `runs`.
#[derive(Debug, Clone, Args)]
pub struct RunsArgs {
    /// What to do with runs.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// How many of the latest to list.
    #[arg(short = 'n', long, default_value_t = 20)]
    pub number: u32,
}

/// `runs ...`.
#[derive(Debug, Clone, Subcommand)]
pub enum RunsCommand {
    /// Show what one run did.
    Show {
        /// Its id, or enough of its beginning.
        id: String,
    },
}

/// `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// How many hosts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub hosts: u16,
    /// Where to put the project and the hosts' folders [default: a new folder].
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Leave the hosts up afterwards, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
}

/// `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// Which shell.
    pub shell: clap_complete::Shell,
}

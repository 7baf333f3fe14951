//! Loads a project: finds it, reads its files, and reports every problem of all of them at once.
//!
//! Reading is all that is done here: what the texts mean is decided in the inventory crate and the core.

use crate::cli::args::Global;
use crate::cli::error::{CliError, CliResult};
use crate::config::{Config, PROJECT_FILE, StoreUrl, find_project};
use crate::redact;
use crate::store::Opened;
use crate::transport::{Become, HostKeyPolicy, Target, Timeouts, Via};
use crate::trust::{ReadError, Trust};
use holdfast_inventory::diagnostic::{Located, Location, Problem, Problems, SourceFile};
use holdfast_inventory::{HostName, HostSettings, Inventory, Pattern, SecretRef, SshSettings, settings, vars};
use holdfast_plan::address::Address;
use holdfast_plan::blueprint::{self, Blueprint, HostProblems};
use holdfast_plan::desired::{Desired, DesiredInput, Files, Sources, sources};
use holdfast_plan::render::{render_host_field, values};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A loaded project.
pub struct Project {
    /// Its folder.
    pub root: PathBuf,
    /// What `holdfast.toml` says.
    pub config: Config,
    /// Who the fleet is.
    pub inventory: Inventory,
    /// What hosts shall have.
    pub blueprints: Vec<Blueprint>,
    /// The files that blueprints refer to.
    pub files: Files,
    /// The stores that were opened of it.
    pub opened: Opened,
    limit: Option<String>,
}

/// How much of a project a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `holdfast.toml` alone: what has to do with the store, and with no host.
    Store,
    /// The inventory alone: a broken blueprint shall not keep anybody from running a command.
    Inventory,
    /// The blueprints too.
    All,
}

/// The longest text of a project: an inventory of 20,000 hosts with ten variables each stays below a quarter of it.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The largest file that a blueprint may refer to. It is held in memory and in the store.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Project {
    /// Loads the project that the flags name, or the one around the working folder.
    pub fn load(global: &Global, scope: Scope) -> CliResult<Self> {
        let start = global.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        let root = find_project(&start).map_err(|error| CliError::new(crate::cli::error::chain(&error)))?;
        let trust = trust_of(global, &root);
        let path = root.join(PROJECT_FILE);
        let text = trust
            .read_text(&path, TEXT_BYTES_MAX)
            .map_err(|error| unread(&root, &path, &error))?;
        let (config, mut problems) = Config::parse(&SourceFile::new(&path, text));
        let inventory_files = match global.inventory.as_slice() {
            [] if scope == Scope::Store => Vec::new(),
            [] => read_all(&root, &config.inventory, &config, &trust, &mut problems),
            flags => {
                let named: Vec<Located<String>> = flags
                    .iter()
                    .map(|flag| {
                        let text = flag.to_string_lossy().into_owned();
                        let file = SourceFile::new("--inventory", text.as_str());
                        Located::new(text, Location::new(&file, 0..file.text.len()))
                    })
                    .collect();
                // Whoever names a file means it.
                read_all(Path::new("."), &named, &config, &Trust::Named, &mut problems)
            }
        };
        let (mut inventory, found) = Inventory::read(&inventory_files, &config.ssh);
        problems.extend(found);
        inventory.set_extra(vars::read_extra(global.extra.iter().map(String::as_str), &mut problems));
        inventory.override_settings(&SshSettings {
            user: global.user.clone().map(Located::nowhere),
            becomes: global.become_root.then(|| Located::nowhere(settings::Become::Sudo)),
            ..SshSettings::default()
        });
        let mut project = Self {
            root: root.clone(),
            inventory,
            blueprints: Vec::new(),
            files: Files::new(),
            opened: global.opened.clone(),
            limit: global.limit.clone(),
            config,
        };
        if scope == Scope::All {
            let config = &project.config;
            for file in read_all(&root, &config.blueprints, config, &trust, &mut problems) {
                let blueprint = blueprint::parse(&file, &mut problems);
                for reference in blueprint.references() {
                    project
                        .files
                        .entry(reference.path.clone())
                        .or_insert_with(|| read_bytes(&reference.path, &trust));
                }
                project.blueprints.push(blueprint);
            }
        }
        if scope == Scope::All && !problems.is_empty() {
            // What could be read is checked as far as it goes, so that one look shows everything there is to mend.
            let hosts: Vec<HostName> = project.inventory.hosts().iter().map(|host| host.name.clone()).collect();
            let input = DesiredInput {
                blueprints: &project.blueprints,
                inventory: &project.inventory,
                files: &project.files,
            };
            if let Err(more) = Desired::build(input, &hosts) {
                problems.extend(more);
            }
        }
        problems.into_result(project).map_err(CliError::from)
    }

    /// Where the store lies.
    pub fn store_path(&self) -> PathBuf {
        let StoreUrl::Sqlite(path) = &self.config.store;
        self.root.join(expand_home(path))
    }

    /// How many hosts are worked on at a time.
    pub fn forks(&self, global: &Global) -> usize {
        global.forks.map_or(self.config.forks, usize::from)
    }

    /// Selects hosts by a command's own pattern, narrowed by `--limit`.
    pub fn select(&self, pattern: Option<&str>) -> CliResult<Vec<HostName>> {
        let chosen = self.select_one("PATTERN", pattern.unwrap_or("all"))?;
        let any = !chosen.is_empty();
        let hosts = self.limited(chosen, |host| host)?;
        if hosts.is_empty() {
            let message = match (pattern, &self.limit, any) {
                (Some(pattern), Some(limit), true) => format!("`{pattern}` and `-l {limit}` have no host in common"),
                (Some(pattern), _, _) => format!("`{pattern}` selects no host"),
                (None, Some(limit), true) => format!("`-l {limit}` selects no host"),
                (None, _, _) => "the inventory has no host".to_owned(),
            };
            return Err(CliError::hinted(
                message,
                "`holdfast hosts` lists them, `holdfast hosts --graph` shows the groups",
            ));
        }
        Ok(hosts)
    }

    /// Gives every host, or those of `--limit`: for commands that tell of the project itself, which may be empty.
    pub fn all_hosts(&self) -> CliResult<Vec<HostName>> {
        match self.limit {
            Some(_) => self.select(None),
            None => self.select_one("PATTERN", "all"),
        }
    }

    /// Narrows what belongs to hosts and comes from elsewhere (a saved plan, the store) by `--limit`. A host that
    /// left the inventory is in no pattern.
    pub fn limited<T>(&self, items: Vec<T>, host: impl Fn(&T) -> &HostName) -> CliResult<Vec<T>> {
        let limit = self.limit_hosts()?;
        let is_chosen = |item: &T| limit.as_ref().is_none_or(|limit| limit.contains(host(item)));
        Ok(items.into_iter().filter(is_chosen).collect())
    }

    /// The hosts of `--limit`; `None` if it was not given.
    pub fn limit_hosts(&self) -> CliResult<Option<BTreeSet<HostName>>> {
        let hosts = self.limit.as_ref().map(|limit| self.select_one("--limit", limit));
        Ok(hosts.transpose()?.map(|hosts| hosts.into_iter().collect()))
    }

    fn select_one(&self, flag: &str, text: &str) -> CliResult<Vec<HostName>> {
        if text == "all" {
            return Ok(self.inventory.hosts().iter().map(|host| host.name.clone()).collect());
        }
        let file = SourceFile::new(flag, text);
        let at = Location::new(&file, 0..text.len());
        let hosts = Pattern::parse(text)
            .and_then(|pattern| {
                let hosts = self.inventory.select(&pattern)?;
                Ok(hosts.into_iter().map(|host| host.name.clone()).collect())
            })
            .map_err(|errors| errors.into_problems(Some(&at)))?;
        Ok(hosts)
    }

    /// Works out what hosts shall have.
    pub fn desired(&self, hosts: &[HostName]) -> CliResult<Desired> {
        let input = DesiredInput {
            blueprints: &self.blueprints,
            inventory: &self.inventory,
            files: &self.files,
        };
        let desired = Desired::build(input, hosts).map_err(CliError::from)?;
        redact::keep(desired.hosts.values().flatten());
        redact::keep_contents(desired.hosts.values().flatten(), &desired.blobs);
        Ok(desired)
    }

    /// Finds where the values of a resource of a host come from.
    pub fn sources(&self, host: &HostName, address: &Address) -> Option<Sources> {
        let input = DesiredInput {
            blueprints: &self.blueprints,
            inventory: &self.inventory,
            files: &self.files,
        };
        sources(input, host, address)
    }

    /// Resolves how hosts are reached; every problem at once.
    pub fn targets(&self, hosts: &[HostName]) -> CliResult<Vec<Target>> {
        let mut problems = HostProblems::default();
        let mut targets = Vec::with_capacity(hosts.len());
        for name in hosts {
            if let Some(host) = self.inventory.host(name.as_str()) {
                targets.extend(self.target(name, &host.settings, &host.declared_at, &mut problems));
            }
        }
        problems.finish().into_result(targets).map_err(CliError::from)
    }

    fn target(
        &self,
        name: &HostName,
        settings: &HostSettings,
        declared_at: &Location,
        problems: &mut HostProblems,
    ) -> Option<Target> {
        let values = values(&self.inventory.vars_of(name.as_str()).unwrap_or_default());
        let mut render = |field: &Located<String>, check: fn(&str) -> Result<(), &'static str>| {
            let at = field.at.clone().unwrap_or_else(|| declared_at.clone());
            match render_host_field(&field.value, &values) {
                Ok(text) => match check(&text) {
                    Ok(()) => return Some(text),
                    // One problem for all hosts of a template, though what it gave differs; the first is the sample.
                    Err(why) => {
                        let problem = Problem::at(at, format!("`{text}` can't be used: {why}"));
                        problems.push_as(name, problem, why.to_owned());
                    }
                },
                Err(fault) => {
                    let mut problem = Problem::at(at.within(&field.value, &fault.span), fault.message);
                    problem.help = fault.help;
                    problems.push(name, problem);
                }
            }
            None
        };
        let address = match &settings.address {
            Some(field) => render(field, settings::check_address)?,
            None => name.to_string(),
        };
        let state_dir = match &settings.state_dir {
            Some(field) => Some(render(field, settings::check_state_dir)?),
            None => None,
        };
        let user = settings.user.clone().or_else(login_name);
        let Some(user) = user else {
            let problem = Problem::at(
                declared_at.clone(),
                "there is no `user` to log in as, and the name of yours is unknown",
            );
            problems.push(
                name,
                problem.help("set user under [ssh] in holdfast.toml, or use -u USER"),
            );
            return None;
        };
        let mut target = Target::new(name.clone(), address, user);
        target.port = settings.port;
        target.identities = settings.identity.iter().map(|path| expand_home(path)).collect();
        target.password_env = settings
            .password
            .as_ref()
            .map(|SecretRef::Env(variable)| variable.clone());
        target.host_keys = match settings.host_keys {
            settings::HostKeys::Strict => HostKeyPolicy::Strict,
            settings::HostKeys::AcceptNew => HostKeyPolicy::AcceptNew,
        };
        let or = |ms: Option<u64>, default: Duration| ms.map_or(default, Duration::from_millis);
        let usual = Timeouts::default();
        target.timeouts = Timeouts {
            connect: or(settings.connect_timeout_ms, usual.connect),
            handshake: or(settings.handshake_timeout_ms, usual.handshake),
            auth: or(settings.auth_timeout_ms, usual.auth),
        };
        target.r#become = match settings.becomes {
            settings::Become::None => Become::No,
            settings::Become::Sudo => Become::Sudo,
        };
        target.via = match settings.via {
            settings::Via::Ssh => Via::Ssh,
            settings::Via::Agent => Via::Agent,
            settings::Via::Local => Via::Local,
        };
        target.state_dir = state_dir;
        target.confirm_timeout = or(settings.confirm_timeout_ms, target.confirm_timeout);
        Some(target)
    }
}

/// Follows paths and globs (sorted by bytes) and reads each file once.
fn read_all(
    root: &Path,
    globs: &[Located<String>],
    config: &Config,
    trust: &Trust,
    problems: &mut Problems,
) -> Vec<Arc<SourceFile>> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for entry in globs {
        let at = entry.at.clone().unwrap_or_else(|| Location::new(&config.file, 0..0));
        let pattern = root.join(expand_home(Path::new(&entry.value)));
        let paths = match glob::glob(&pattern.to_string_lossy()) {
            Ok(paths) => paths,
            Err(error) => {
                problems.push(Problem::at(
                    at,
                    format!("`{}` is not a glob: {}", entry.value, error.msg),
                ));
                continue;
            }
        };
        let mut paths: Vec<PathBuf> = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
        paths.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
        if paths.is_empty() {
            problems.push(
                Problem::at(at, format!("`{}` matches no file", entry.value))
                    .help(format!("paths are relative to {}", root.display())),
            );
            continue;
        }
        for path in paths {
            if !seen.insert(path.clone()) {
                continue;
            }
            match trust.read_text(&path, TEXT_BYTES_MAX) {
                Ok(text) => files.push(SourceFile::new(shown(&path), text)),
                Err(error) => {
                    let problem = Problem::at(at.clone(), format!("can't read {}: {error}", path.display()));
                    problems.push(match error {
                        ReadError::Distrust(_) => problem.help(how_to_trust(root)),
                        _ => problem,
                    });
                }
            }
        }
    }
    files
}

/// Shows a path relative to the working folder where it is below it; it stays a path that can be opened.
fn shown(path: &Path) -> PathBuf {
    std::env::current_dir()
        .ok()
        .and_then(|folder| folder.canonicalize().ok())
        .and_then(|folder| path.strip_prefix(folder).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
}

fn read_bytes(path: &Path, trust: &Trust) -> Result<Arc<[u8]>, String> {
    trust
        .read(path, FILE_BYTES_MAX)
        .map(Arc::from)
        .map_err(|error| error.to_string())
}

/// A project that `-C` names is meant; one that was found upward from there, or from the working folder, is not.
fn trust_of(global: &Global, root: &Path) -> Trust {
    let named = global.directory.as_ref().and_then(|folder| folder.canonicalize().ok());
    if named.as_deref() == Some(root) {
        Trust::Named
    } else {
        Trust::found()
    }
}

fn unread(root: &Path, path: &Path, error: &ReadError) -> CliError {
    match error {
        ReadError::Distrust(why) => CliError::hinted(
            format!(
                "found the project {}, but {why}; nothing of it was read",
                root.display()
            ),
            how_to_trust(root),
        ),
        error => CliError::doing(format!("read {}", path.display()), error),
    }
}

fn how_to_trust(root: &Path) -> String {
    format!(
        "its scripts would run as you; if you trust who wrote it, name it: holdfast -C {}",
        root.display()
    )
}

/// Resolves a leading `~/`.
fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

/// The user's home folder.
pub fn home() -> Option<PathBuf> {
    etcetera::home_dir().ok()
}

/// The name of the user who runs Holdfast.
pub fn login_name() -> Option<String> {
    ["LOGNAME", "USER"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|name| !name.is_empty())
        .or_else(|| rustix::process::geteuid().is_root().then(|| "root".to_owned()))
}

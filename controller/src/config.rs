//! The project: finding its folder, and reading the text of its `holdfast.toml`.
//!
//! Reading files and following the globs is `load`'s duty.

use holdfast_inventory::SshSettings;
use holdfast_inventory::diagnostic::{Located, Location, Problem, Problems, SourceFile};
use holdfast_inventory::document::{self, TableReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "holdfast.toml";

/// Where the store lies if no line says so, relative to the project's folder.
pub const STORE_DEFAULT: &str = ".holdfast/holdfast.db";

/// How many hosts are worked on at a time if neither flag nor file says so: a hundred sessions fit the usual limit
/// of 1024 open files several times over, and one core serves them.
pub const FORKS_DEFAULT: usize = 100;

/// The most hosts worked on at a time: what the usual hard limit of open files can hold.
pub const FORKS_MAX: usize = 4_096;

/// What `holdfast.toml` says.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, for problems that are found later.
    pub file: Arc<SourceFile>,
    /// Files and globs of the inventory, relative to the project's folder; never empty.
    pub inventory: Vec<Located<String>>,
    /// Files and globs of the blueprints, relative to the project's folder.
    pub blueprints: Vec<Located<String>>,
    /// Where the store is.
    pub store: StoreUrl,
    /// `[ssh]`: what lies under all layers of the inventory.
    pub ssh: SshSettings,
    /// How many hosts are worked on at a time.
    pub forks: usize,
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// An embedded database: its file, resolved against the project's folder; `~/` is kept.
    Sqlite(PathBuf),
}

/// Why no project was found.
#[derive(Debug, thiserror::Error)]
pub enum FindProjectError {
    /// The starting folder can't be used.
    #[error("can't look for a project from {path}")]
    Start {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither the folder nor any above it has the file.
    #[error(
        "found no {PROJECT_FILE} in {path} or any folder above it; `holdfast init` makes a project, -C DIR names one"
    )]
    NotFound {
        /// The folder.
        path: PathBuf,
    },
}

/// Finds the project's folder: `start` or the nearest folder above it that has a `holdfast.toml`.
///
/// # Errors
/// When `start` is no folder that can be read, or no folder has the file.
pub fn find_project(start: &Path) -> Result<PathBuf, FindProjectError> {
    let path = start.canonicalize().map_err(|source| FindProjectError::Start {
        path: start.to_path_buf(),
        source,
    })?;
    let found = path.ancestors().find(|folder| folder.join(PROJECT_FILE).is_file());
    match found {
        Some(folder) => Ok(folder.to_path_buf()),
        None => Err(FindProjectError::NotFound { path }),
    }
}

impl Config {
    /// Reads the text of a `holdfast.toml`. What could be read is returned with the problems, so that the files it
    /// names can be checked too; it must not be acted on.
    pub fn parse(file: &Arc<SourceFile>) -> (Self, Problems) {
        let mut problems = Problems::new();
        let document = document::parse(file, &mut problems);
        let mut reader = TableReader::new(file, &document, "`holdfast.toml`");
        let inventory = globs(&mut reader, "inventory", &["inventory.toml"], &mut problems);
        let blueprints = globs(&mut reader, "blueprints", &["blueprints/*.toml"], &mut problems);
        let store = match reader.table("store", &mut problems) {
            Some(table) => {
                let mut store = TableReader::new(file, table, "`[store]`");
                let url = read_store(&mut store, &mut problems);
                store.finish(&["keep", "lease"], &mut problems);
                url
            }
            None => None,
        };
        let ssh = match reader.table("ssh", &mut problems) {
            Some(table) => {
                let mut ssh = TableReader::new(file, table, "`[ssh]`");
                let settings = SshSettings::read(&mut ssh, &mut problems);
                ssh.finish(SshSettings::NOT_BUILT, &mut problems);
                settings
            }
            None => SshSettings::default(),
        };
        let forks_max = i64::try_from(FORKS_MAX).expect("a small number fits");
        let forks = reader
            .integer("forks", 1..=forks_max, &mut problems)
            .map_or(FORKS_DEFAULT, |forks| {
                usize::try_from(forks.into_inner()).expect("the range was checked")
            });
        reader.finish(&["include", "secrets", "policy", "notify", "serve"], &mut problems);
        let config = Self {
            file: Arc::clone(file),
            inventory,
            blueprints,
            store: store.unwrap_or_else(|| StoreUrl::Sqlite(beside(file, STORE_DEFAULT))),
            ssh,
            forks,
        };
        (config, problems)
    }
}

/// Takes an array of paths and globs, or one; a missing key is the default, an empty array a problem.
fn globs(
    reader: &mut TableReader<'_>,
    key: &'static str,
    default: &[&str],
    problems: &mut Problems,
) -> Vec<Located<String>> {
    let Some(value) = reader.value(key) else {
        return default
            .iter()
            .map(|glob| Located::nowhere((*glob).to_owned()))
            .collect();
    };
    let whole = reader.location(&value.span);
    let texts = if let document::Kind::String(text) = &value.kind {
        vec![(whole.clone(), text.clone())]
    } else {
        let strings = reader.strings(key, problems).unwrap_or_default();
        let texts = strings
            .into_iter()
            .map(|text| (reader.location(&text.span()), text.into_inner()));
        texts.collect()
    };
    if texts.is_empty() && matches!(&value.kind, document::Kind::Array(items) if items.is_empty()) {
        problems.push(
            Problem::at(whole, format!("`{key}` names no file")).help(format!("for example: {key} = {default:?}")),
        );
    }
    let mut globs = Vec::new();
    for (at, text) in texts {
        if text.is_empty() {
            problems.push(Problem::at(at, format!("`{key}` names an empty path")));
        } else if let Err(error) = glob::Pattern::new(&text) {
            problems.push(Problem::at(
                glob_place(&at, &text, error.pos),
                format!("`{key}` has a bad glob: {}", error.msg),
            ));
        } else {
            globs.push(Located::new(text, at));
        }
    }
    globs
}

/// Finds the character of a glob that its parser complains about.
fn glob_place(at: &Location, text: &str, position: usize) -> Location {
    match text.char_indices().nth(position) {
        Some((start, character)) => at.within(text, &(start..start + character.len_utf8())),
        None => at.clone(),
    }
}

fn read_store(reader: &mut TableReader<'_>, problems: &mut Problems) -> Option<StoreUrl> {
    let url = reader.string("url", problems)?;
    let at = reader.location(&url.span());
    let url = url.into_inner();
    let problem = match url.split_once(':') {
        Some(("sqlite", path)) => match path.strip_prefix("//").unwrap_or(path) {
            "" | ":memory:" => {
                Problem::at(at, "the store needs a file").help(format!("write \"sqlite:{STORE_DEFAULT}\""))
            }
            path => return Some(StoreUrl::Sqlite(beside(&at.file, path))),
        },
        Some(("postgres" | "postgresql", _)) => {
            // The URL may hold a password: it is not repeated.
            Problem::at(at, "a store in PostgreSQL is not built yet")
                .help(format!("leave `[store]` out, or write \"sqlite:{STORE_DEFAULT}\""))
        }
        _ => Problem::at(at, "the store's `url` is of no known kind").help(format!("write \"sqlite:{STORE_DEFAULT}\"")),
    };
    problems.push(problem);
    None
}

/// Resolves a path against the folder of the file that names it; `~/` is expanded where it is used.
fn beside(file: &SourceFile, path: &str) -> PathBuf {
    match file.path.parent() {
        Some(folder) if !path.starts_with("~/") => folder.join(path),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_inventory::{HostKeys, Via};

    fn parse(text: &str) -> (Config, Vec<String>) {
        let (config, problems) = Config::parse(&SourceFile::new("p/holdfast.toml", text));
        (config, problems.0.iter().map(ToString::to_string).collect())
    }

    fn values(globs: &[Located<String>]) -> Vec<&str> {
        globs.iter().map(|glob| glob.value.as_str()).collect()
    }

    #[test]
    fn the_example_of_the_book_is_read_whole() {
        let (config, problems) = parse(
            r#"
inventory  = ["inventory.toml"]
blueprints = ["blueprints/*.toml"]
forks = 20
[store]
url = "sqlite:.holdfast/holdfast.db"
[ssh]
user = "ops"
port = 22
identity = ["~/.ssh/id_ed25519"]
host_keys = "accept-new"
connect_timeout = "10s"
"#,
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(values(&config.inventory), ["inventory.toml"]);
        assert_eq!(values(&config.blueprints), ["blueprints/*.toml"]);
        assert_eq!(config.store, StoreUrl::Sqlite(PathBuf::from("p/.holdfast/holdfast.db")));
        assert_eq!(config.forks, 20);
        let ssh = config.ssh.resolve();
        assert_eq!((ssh.user.as_deref(), ssh.host_keys), (Some("ops"), HostKeys::AcceptNew));
    }

    #[test]
    fn an_empty_file_is_a_project_with_the_defaults() {
        let (config, problems) = parse("");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(values(&config.inventory), ["inventory.toml"]);
        assert_eq!(values(&config.blueprints), ["blueprints/*.toml"]);
        assert_eq!(config.store, StoreUrl::Sqlite(PathBuf::from("p/.holdfast/holdfast.db")));
        assert_eq!(config.forks, FORKS_DEFAULT);
        assert_eq!(config.ssh.resolve().via, Via::Ssh);
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let (_, problems) = parse(
            "inventroy = []\nblueprints = []\nforks = 0\n[store]\nurl = 'postgres://u:secret@db/x'\n[ssh]\njump = ['b']\nprot = 1\n",
        );
        assert_eq!(
            problems,
            [
                "p/holdfast.toml:2:14: `blueprints` names no file; for example: blueprints = [\"blueprints/*.toml\"]",
                "p/holdfast.toml:5:7: a store in PostgreSQL is not built yet; leave `[store]` out, or write \"sqlite:.holdfast/holdfast.db\"",
                "p/holdfast.toml:7:1: `jump` of `[ssh]` is not built yet; remove the key: this version refuses it rather than ignore it",
                "p/holdfast.toml:8:1: unknown key `prot` in `[ssh]`; did you mean `port`?",
                "p/holdfast.toml:3:9: `forks` of `holdfast.toml` is 0, out of range; use 1 to 4096",
                "p/holdfast.toml:1:1: unknown key `inventroy` in `holdfast.toml`; did you mean `inventory`?",
            ]
        );
    }

    #[test]
    fn a_bad_glob_is_marked_where_it_is_bad() {
        let (_, problems) = parse("inventory = 'inv/a***.toml'\n");
        assert_eq!(
            problems,
            ["p/holdfast.toml:1:21: `inventory` has a bad glob: wildcards are either regular `*` or recursive `**`"]
        );
    }

    #[test]
    fn the_project_is_found_from_a_folder_below_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).expect("a folder");
        assert!(matches!(find_project(&below), Err(FindProjectError::NotFound { .. })));
        std::fs::write(folder.path().join(PROJECT_FILE), "").expect("a file");
        let found = find_project(&below).expect("a project");
        assert_eq!(found, folder.path().canonicalize().expect("it exists"));
        assert!(matches!(
            find_project(&below.join("c")),
            Err(FindProjectError::Start { .. })
        ));
    }
}

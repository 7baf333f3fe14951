//! The walks over files, directories, symlinks, lines and scripts: what people have, what a blueprint may declare, and what
//! people do meanwhile. The model is what would be there if only people had been at work.

use super::dice::Dice;
use super::tree::{self, Node, Tree};
use holdfast_plan::content::Blobs;
use holdfast_plan::resource::{DesiredResource, Directory, Ensure, File, Line, Resource, Script, Symlink};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PLACES: [&str; 7] = ["a", "b", "c", "e", "d", "d/x", "d/y"];
const TEXT_FILES: [&str; 2] = ["t1", "t2"];
const TEXTS: [&str; 4] = ["one\n", "one\ntwo\n", "", "three"];
const THEIRS: [&str; 4] = ["p", "q", "", "r"];
const LINES: [&str; 6] = ["our 1", "our 2", "our 3", "p", "q", "r"];
const NAMES: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// What people have, and what they see of Holdfast's doing: which of their places it changed.
pub struct Paths {
    /// What would be there without Holdfast.
    pub model: Tree,
    root: PathBuf,
    /// The places that Holdfast holds changed, with what stands there now.
    held: BTreeMap<String, (String, Resource)>,
    count: u32,
}

/// Any resource, for tests.
pub fn desired(address: &str, resource: Resource) -> DesiredResource {
    DesiredResource {
        address: address.parse().expect("an address"),
        resource,
        needs: Vec::new(),
        restart_on: Vec::new(),
        env: Vec::new(),
        ready: None,
        timeout_ms: 60_000,
        sensitive: false,
        prevent_undo: false,
        critical: None,
        declared_at: String::new(),
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn parent(place: &str) -> Option<&str> {
    place.rsplit_once('/').map(|(folder, _)| folder)
}

impl Paths {
    /// Furnishes a host as people left it.
    pub fn furnish(dice: &mut Dice, root: &Path) -> Self {
        let mut model = Tree::new();
        for place in PLACES {
            let folder = parent(place).is_none_or(|folder| matches!(model.get(folder), Some(Node::Directory { .. })));
            if folder && let Some(node) = found(dice, place) {
                model.insert(place.to_owned(), node);
            }
        }
        for place in TEXT_FILES {
            let lines: Vec<&str> = (0..dice.below(6)).map(|_| dice.of(&THEIRS)).collect();
            let bare = dice.one_in(2) && lines.last().is_some_and(|last| !last.is_empty());
            let end = if bare || lines.is_empty() { "" } else { "\n" };
            if !lines.is_empty() || dice.one_in(2) {
                let (mode, owner) = (dice.of(&[0o644, 0o640]), dice.of(&[0, 1]));
                let text = format!("{}{end}", lines.join("\n"));
                model.insert(place.to_owned(), Node::File { text, mode, owner });
            }
        }
        for (place, node) in &model {
            tree::put(&root.join(place), node);
        }
        Self {
            model,
            root: root.to_owned(),
            held: BTreeMap::new(),
            count: 0,
        }
    }

    fn path(&self, place: &str) -> String {
        self.root.join(place).display().to_string()
    }

    fn has_children(&self, place: &str) -> bool {
        self.model.keys().any(|name| parent(name) == Some(place))
    }

    /// Throws a blueprint that people might write on this host.
    pub fn blueprint(&self, dice: &mut Dice, blobs: &mut Blobs) -> Vec<DesiredResource> {
        let mut list: Vec<DesiredResource> = Vec::new();
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for name in NAMES {
            let place = dice.of(&PLACES);
            if dice.one_in(3) || taken.contains_key(place) {
                continue;
            }
            let inner = PLACES
                .iter()
                .any(|other| parent(other) == Some(place) && taken.contains_key(*other));
            let Some((kind, resource)) = self.thing(dice, blobs, place) else {
                continue;
            };
            let stays = matches!(&resource, Resource::Directory(directory) if directory.ensure == Ensure::Present);
            if inner && !stays {
                continue;
            }
            let mut resource = desired(&format!("{kind}.{name}"), resource);
            if let Some(folder) = parent(place) {
                let theirs = matches!(self.model.get(folder), Some(Node::Directory { .. }));
                let ours = list
                    .iter()
                    .find(|other| taken.get(folder) == Some(&other.address.to_string()));
                match ours {
                    Some(ours) if matches!(&ours.resource, Resource::Directory(d) if d.ensure == Ensure::Present) => {
                        resource.needs.push(ours.address.clone());
                    }
                    None if theirs => {}
                    _ => continue,
                }
            }
            taken.insert(place.to_owned(), resource.address.to_string());
            list.push(resource);
        }
        let mut lines: Vec<(String, &str)> = Vec::new();
        for name in NAMES {
            let (place, text) = (dice.of(&TEXT_FILES), dice.of(&LINES));
            if dice.one_in(3) || lines.contains(&(place.to_owned(), text)) {
                continue;
            }
            lines.push((place.to_owned(), text));
            let absent = !text.starts_with("our") && dice.one_in(2);
            let line = Line {
                path: self.path(place),
                ensure: if absent { Ensure::Absent } else { Ensure::Present },
                line: text.to_owned(),
                validate: None,
            };
            list.push(desired(&format!("line.{name}"), Resource::Line(line)));
        }
        for name in ["s1", "s2"] {
            if dice.one_in(2) {
                continue;
            }
            let marker = self.path(name);
            let apply = format!("echo {} >'{marker}'\n", dice.below(2));
            let script = Script {
                name: name.to_owned(),
                check: format!("test -e '{marker}'"),
                apply: blobs.insert(apply.into_bytes()),
                undo: Some(blobs.insert(format!("rm -f '{marker}'\n").into_bytes())),
                env: Vec::new(),
            };
            list.push(desired(&format!("script.{name}"), Resource::Script(script)));
        }
        self.tangle(dice, list)
    }

    /// Gives the list another order now and then, and needs to earlier ones.
    fn tangle(&self, dice: &mut Dice, mut list: Vec<DesiredResource>) -> Vec<DesiredResource> {
        if dice.one_in(2) {
            let (mut front, back): (Vec<_>, Vec<_>) = list.into_iter().partition(|resource| !resource.needs.is_empty());
            // What needs something stays behind it.
            let mut all = back;
            let turn = if all.is_empty() { 0 } else { dice.below(all.len()) };
            all.rotate_left(turn);
            all.append(&mut front);
            list = all;
        }
        for at in 1..list.len() {
            if dice.one_in(4) {
                let need = list[dice.below(at)].address.clone();
                if !list[at].needs.contains(&need) {
                    list[at].needs.push(need);
                }
            }
        }
        list
    }

    /// Something for a place that no type refuses there, given what people have.
    fn thing(&self, dice: &mut Dice, blobs: &mut Blobs, place: &str) -> Option<(&'static str, Resource)> {
        let (path, node, full) = (self.path(place), self.model.get(place), self.has_children(place));
        let absent = dice.one_in(5);
        let ensure = if absent { Ensure::Absent } else { Ensure::Present };
        let mode = dice.of(&[None, Some(0o600), Some(0o750)]).map(octal);
        let owner = dice.of(&[None, None, Some("1".to_owned())]);
        let group = owner.clone();
        let kinds: &[&'static str] = match node {
            None => &["file", "directory", "symlink"],
            Some(Node::File { .. } | Node::Symlink(_)) if !absent => &["file", "symlink"],
            Some(Node::File { .. }) => &["file"],
            Some(Node::Symlink(_)) => &["file", "symlink"],
            Some(Node::Directory { .. }) if absent || full => &["directory"],
            Some(Node::Directory { .. }) => &["file", "directory", "symlink"],
        };
        let kind = if place == "d" && dice.one_in(2) {
            "directory"
        } else {
            dice.of(kinds)
        };
        if !kinds.contains(&kind) || (kind == "directory" && absent && full) {
            return None;
        }
        let resource = match kind {
            "file" => {
                let text = dice.of(&TEXTS);
                Resource::File(File {
                    path,
                    ensure,
                    content: (!absent).then(|| blobs.insert(text.as_bytes().to_vec())),
                    mode,
                    owner,
                    group,
                    sensitive: false,
                    validate: None,
                })
            }
            "directory" => Resource::Directory(Directory {
                path,
                ensure,
                mode,
                owner,
                group,
            }),
            _ => {
                let target = dice.of(&["/nowhere", "/etc/passwd"]).to_owned();
                Resource::Symlink(Symlink { path, ensure, target })
            }
        };
        Some((kind, resource))
    }

    /// Tells whether people have it already as a resource wants it.
    fn has_it(&self, place: &str, resource: &Resource) -> bool {
        let fits = |wanted: &Option<String>, is: u32| wanted.as_ref().is_none_or(|wanted| *wanted == octal(is));
        let owned = |wanted: &Option<String>, is: u32| wanted.as_ref().is_none_or(|wanted| *wanted == is.to_string());
        match (resource, self.model.get(place)) {
            (Resource::File(file), node) => match (&file.content, node) {
                (None, node) => node.is_none(),
                (Some(content), Some(Node::File { text, mode, owner })) => {
                    content.matches(&format!(
                        "sha256:{}",
                        holdfast_plan::content::sha256_hex(text.as_bytes())
                    )) && fits(&file.mode, *mode)
                        && owned(&file.owner, *owner)
                }
                _ => false,
            },
            (Resource::Directory(directory), node) => match (directory.ensure, node) {
                (Ensure::Absent, node) => node.is_none(),
                (_, Some(Node::Directory { mode, owner })) => {
                    fits(&directory.mode, *mode) && owned(&directory.owner, *owner)
                }
                _ => false,
            },
            (Resource::Symlink(link), node) => match link.ensure {
                Ensure::Absent => node.is_none(),
                Ensure::Present => *node.unwrap_or(&Node::Symlink(String::new())) == Node::Symlink(link.target.clone()),
            },
            _ => false,
        }
    }

    /// Notes what Holdfast holds changed, once a blueprint is applied whole.
    pub fn converged(&mut self, list: &[DesiredResource]) {
        let mut held = BTreeMap::new();
        for resource in list {
            let Some(place) = self.place_of(&resource.resource) else {
                continue;
            };
            let address = resource.address.to_string();
            let goes_on = self.held.get(&place).is_some_and(|(holder, was)| {
                *holder == address && was.lifecycle().identity() == resource.resource.lifecycle().identity()
            });
            if goes_on || !self.has_it(&place, &resource.resource) {
                held.insert(place, (address, resource.resource.clone()));
            }
        }
        self.held = held;
    }

    fn place_of(&self, resource: &Resource) -> Option<String> {
        let path = match resource {
            Resource::File(file) => &file.path,
            Resource::Directory(directory) => &directory.path,
            Resource::Symlink(link) => &link.path,
            _ => return None,
        };
        let place = Path::new(path).strip_prefix(&self.root).expect("it is below");
        Some(place.display().to_string())
    }

    /// Lets people do something; `list` is what was applied whole just now. What is told, and whether the next blueprint has to
    /// be this one again or none: what a person set on a thing of Holdfast's stays only if Holdfast does not set it again.
    pub fn people_at_work(&mut self, dice: &mut Dice, list: &[DesiredResource]) -> String {
        self.count += 1;
        let declared: Vec<String> = list.iter().filter_map(|other| self.place_of(&other.resource)).collect();
        match dice.below(6) {
            0 | 1 => {
                let place = dice.of(&["a", "b", "c", "e"]);
                if declared.iter().any(|other| other == place) {
                    return self.tamper(dice, place);
                }
                let node = match found(dice, place) {
                    Some(Node::File { mode, owner, .. }) => Some(Node::File {
                        text: format!("by hand {}\n", self.count),
                        mode,
                        owner,
                    }),
                    other => other,
                };
                match &node {
                    Some(node) => {
                        tree::put(&self.root.join(place), node);
                        self.model.insert(place.to_owned(), node.clone());
                    }
                    None => {
                        tree::remove(&self.root.join(place));
                        self.model.remove(place);
                    }
                }
                format!("{place} becomes {node:?}")
            }
            2 | 3 => self.write_a_line(dice),
            4 => {
                let marker = self.root.join(dice.of(&["s1", "s2"]));
                tree::remove(&marker);
                format!("rm {}", marker.display())
            }
            _ => {
                let place = dice.of(&["a", "b", "c", "e"]);
                self.tamper(dice, place)
            }
        }
    }

    /// Somebody changes what Holdfast put: that is not what he had there himself.
    fn tamper(&mut self, dice: &mut Dice, place: &str) -> String {
        let path = self.root.join(place);
        let Some((_, Resource::File(file))) = self.held.get(place) else {
            return format!("looks at {place}");
        };
        if file.ensure == Ensure::Absent {
            return format!("looks for {place}");
        }
        let theirs = matches!(self.model.get(place), Some(Node::File { .. }));
        match dice.below(3) {
            0 => {
                fs::write(&path, format!("tampered {}\n", self.count)).expect("root writes");
                format!("writes into {place}, which is Holdfast's")
            }
            1 if !theirs || (file.mode.is_some() && file.owner.is_some()) => {
                tree::remove(&path);
                format!("removes {place}, which is Holdfast's")
            }
            _ if file.mode.is_none() => {
                // Nobody but people says anything of its mode.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("root may");
                if let Some(Node::File { mode, .. }) = self.model.get_mut(place) {
                    *mode = 0o604;
                }
                format!("chmod 0604 {place}, whose mode nobody declared")
            }
            _ => format!("looks into {place}"),
        }
    }

    /// An editor adds a line at the end.
    fn write_a_line(&mut self, dice: &mut Dice) -> String {
        let place = dice.of(&TEXT_FILES);
        let (path, line) = (self.root.join(place), format!("hand {}\n", self.count));
        let add = |text: &str| {
            let end = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            format!("{text}{end}{line}")
        };
        let now = fs::read_to_string(&path).unwrap_or_default();
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .expect("root writes");
        let whole = add(&now);
        file.write_all(&whole.as_bytes()[now.len()..]).expect("written");
        match self.model.get_mut(place) {
            Some(Node::File { text, .. }) => *text = add(text),
            _ => {
                let (text, mode, owner) = (line.clone(), 0o644, 0);
                self.model.insert(place.to_owned(), Node::File { text, mode, owner });
            }
        }
        format!("{place} gets {line:?}")
    }
}

/// What people may have at a place.
fn found(dice: &mut Dice, place: &str) -> Option<Node> {
    let (mode, owner) = (dice.of(&[0o644, 0o640, 0o600]), dice.of(&[0, 0, 1]));
    if place == "d" {
        return (!dice.one_in(3)).then_some(Node::Directory { mode: 0o755, owner });
    }
    match dice.below(10) {
        0..4 => None,
        4..8 => {
            let text = dice.of(&["theirs\n", "one\n", "no newline", ""]).to_owned();
            Some(Node::File { text, mode, owner })
        }
        8 => Some(Node::Symlink("/theirs".to_owned())),
        _ if place.contains('/') => None,
        _ => Some(Node::Directory { mode: 0o755, owner }),
    }
}

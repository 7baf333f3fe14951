//! What stands at paths: the model's words for it, and what is on disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file.
    File {
        /// Its text.
        text: String,
        /// Its mode.
        mode: u32,
        /// Its owner and group.
        owner: u32,
    },
    /// A directory.
    Directory {
        /// Its mode.
        mode: u32,
        /// Its owner and group.
        owner: u32,
    },
    /// A symlink.
    Symlink(String),
}

/// All paths below a root, by their names there.
pub type Tree = BTreeMap<String, Node>;

/// Reads what is on disk.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    read_folder(root, root, &mut tree);
    tree
}

fn read_folder(root: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).expect("a folder of the test") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root).expect("it is below").display().to_string();
        let meta = fs::symlink_metadata(&path).expect("it is there");
        assert_eq!(meta.uid(), meta.gid(), "owner and group of {name} go together here");
        let (mode, owner) = (meta.mode() & 0o7777, meta.uid());
        let node = if meta.is_symlink() {
            Node::Symlink(fs::read_link(&path).expect("a link").display().to_string())
        } else if meta.is_dir() {
            read_folder(root, &path, tree);
            Node::Directory { mode, owner }
        } else {
            let text = fs::read(&path).expect("a file");
            let text = String::from_utf8_lossy(&text).into_owned();
            Node::File { text, mode, owner }
        };
        tree.insert(name, node);
    }
}

/// Takes away what stands at a path, if anything does.
pub fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
}

/// Puts something to a path, in place of what is there.
pub fn put(path: &Path, node: &Node) {
    remove(path);
    match node {
        Node::File { text, mode, owner } => {
            fs::write(path, text).expect("written");
            chown(path, Some(*owner), Some(*owner)).expect("only root runs this");
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("chmod");
        }
        Node::Directory { mode, owner } => {
            fs::create_dir(path).expect("made");
            chown(path, Some(*owner), Some(*owner)).expect("only root runs this");
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("chmod");
        }
        Node::Symlink(target) => symlink(target, path).expect("linked"),
    }
}

//! Packages made for a test, put into the repository that a host of the bed installs from, before it boots.

use crate::bed::{Kind, must};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A package as a test needs it.
#[derive(Debug, Clone, Copy)]
pub struct TestPackage {
    /// Its name; it has the one file `/usr/share/NAME/words`.
    pub name: &'static str,
    /// What it depends on.
    pub depends: &'static str,
    /// Whether it is a database: a configuration file `/etc/NAME.conf`, a daemon `NAMEd` with a service, and data in
    /// `/var/lib/NAME` that its scripts make, keep when it is removed, and wipe when it is purged, as the packages of
    /// PostgreSQL do.
    pub database: bool,
}

/// A database, the library it needs, what else needs that library, and one that nothing has to do with.
pub const DATABASE: [TestPackage; 4] = [
    TestPackage {
        name: "beddb",
        depends: "libbed",
        database: true,
    },
    TestPackage {
        name: "libbed",
        depends: "",
        database: false,
    },
    TestPackage {
        name: "bedtool",
        depends: "libbed",
        database: false,
    },
    TestPackage {
        name: "lonely",
        depends: "",
        database: false,
    },
];

/// Puts packages into the repository of a host that has not booted yet.
pub fn offer(root: &Path, kind: Kind, packages: &[TestPackage]) {
    let work = tempfile::tempdir().expect("a folder can be made");
    match kind {
        Kind::Systemd | Kind::Sysv => offer_debs(root, work.path(), packages),
        Kind::Dnf => offer_rpms(root, work.path(), packages),
    }
}

fn put(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// What the package brings, below a folder.
fn content(folder: &Path, package: &TestPackage) {
    let name = package.name;
    put(&folder.join(format!("usr/share/{name}/words")), "words\n", 0o644);
    if package.database {
        put(&folder.join(format!("etc/{name}.conf")), "port = 1\n", 0o644);
        let daemon = folder.join(format!("usr/sbin/{name}d"));
        put(&daemon, "", 0o755);
        fs::copy("/bin/sleep", &daemon).expect("a program");
        let unit = format!("[Service]\nExecStart=/usr/sbin/{name}d 1000000\n[Install]\nWantedBy=multi-user.target\n");
        put(&folder.join(format!("lib/systemd/system/{name}.service")), &unit, 0o644);
    }
}

fn offer_debs(root: &Path, work: &Path, packages: &[TestPackage]) {
    let repo = root.join("srv/repo");
    let mut index = fs::read_to_string(repo.join("Packages")).expect("the image has an index");
    for package in packages {
        let name = package.name;
        let folder = work.join(name);
        content(&folder, package);
        let mut control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: test bed <root@localhost>\nDescription: made for a test\n"
        );
        if !package.depends.is_empty() {
            writeln!(control, "Depends: {}", package.depends).expect("a String takes it");
        }
        put(&folder.join("DEBIAN/control"), &control, 0o644);
        if package.database {
            put(&folder.join("DEBIAN/conffiles"), &format!("/etc/{name}.conf\n"), 0o644);
            let systemd = "if [ -d /run/systemd/system ]; then systemctl daemon-reload;";
            let postinst = format!(
                "#!/bin/sh\nset -e\nmkdir -p /var/lib/{name}\n[ -e /var/lib/{name}/made ] || echo made >/var/lib/{name}/made\n{systemd} systemctl enable -q --now {name}; fi\n"
            );
            put(&folder.join("DEBIAN/postinst"), &postinst, 0o755);
            let prerm = format!("#!/bin/sh\nset -e\n{systemd} systemctl disable -q --now {name}; fi\n");
            put(&folder.join("DEBIAN/prerm"), &prerm, 0o755);
            let postrm =
                format!("#!/bin/sh\nset -e\nif [ \"$1\" = purge ]; then rm -rf /var/lib/{name}; fi\n{systemd} fi\n");
            put(&folder.join("DEBIAN/postrm"), &postrm, 0o755);
        }
        let deb = repo.join(format!("{name}.deb"));
        must("dpkg-deb", &["--root-owner-group", "-b", text(&folder), text(&deb)]);
        let digest = crate::snapshot::digest(&fs::read(&deb).expect("just made"));
        let bytes = fs::metadata(&deb).expect("just made").len();
        writeln!(
            index,
            "{control}Filename: ./{name}.deb\nSize: {bytes}\nSHA256: {digest}\n"
        )
        .expect("a String takes it");
    }
    fs::write(repo.join("Packages"), index).expect("the index can be written");
    must("chroot", &[text(root), "apt-get", "update", "-qq"]);
}

/// The shell of these hosts belongs to no rpm, so their scripts are in rpm's own Lua.
fn offer_rpms(root: &Path, work: &Path, packages: &[TestPackage]) {
    let repo = root.join("srv/rpmrepo");
    for package in packages {
        let name = package.name;
        let folder = work.join("content").join(name);
        content(&folder, package);
        let mut spec = format!(
            "Name: {name}\nVersion: 1.0\nRelease: 1\nSummary: made for a test\nLicense: Apache-2.0\nBuildArch: noarch\nAutoReqProv: no\n"
        );
        if !package.depends.is_empty() {
            writeln!(spec, "Requires: {}", package.depends).expect("a String takes it");
        }
        let source = text(&folder);
        write!(
            spec,
            "%define _binaries_in_noarch_packages_terminate_build 0\n%define __strip /bin/true\n%description\nMade for a test.\n%install\nmkdir -p %{{buildroot}}\ncp -a {source}/. %{{buildroot}}/\n"
        )
        .expect("a String takes it");
        if package.database {
            write!(
                spec,
                "%post -p <lua>\nposix.mkdir(\"/var/lib/{name}\")\nlocal made = io.open(\"/var/lib/{name}/made\", \"a\")\nmade:close()\n%files\n/usr/sbin/{name}d\n/lib/systemd/system/{name}.service\n%config(noreplace) /etc/{name}.conf\n"
            )
            .expect("a String takes it");
        } else {
            spec.push_str("%files\n");
        }
        writeln!(spec, "/usr/share/{name}/words").expect("a String takes it");
        let file = work.join(format!("{name}.spec"));
        fs::write(&file, spec).expect("a spec");
        let define = |key: &str, value: &Path| format!("{key} {}", value.display());
        must(
            "rpmbuild",
            &[
                "--quiet",
                "-bb",
                "--define",
                &define("_topdir", work),
                "--define",
                &define("_rpmdir", &repo),
                text(&file),
            ],
        );
    }
    // Made elsewhere: a folder of an overlay's lower layer can't be renamed.
    let index = work.join("index");
    fs::create_dir_all(&index).expect("a folder");
    must("createrepo_c", &["-q", "-o", text(&index), text(&repo)]);
    fs::remove_dir_all(repo.join("repodata")).expect("the image has an index");
    must("cp", &["-R", text(&index.join("repodata")), text(&repo)]);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

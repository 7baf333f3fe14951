//! Real hosts on one machine: an overlay on a prepared image, a network namespace, an init of its own.
//!
//! Needs root and the images of `tests/bed/prepare`. A test that can't have them says so and passes as skipped
//! ([`Bed::start`] gives `None`). Everything is taken down when the [`Bed`] is dropped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which image and which init a host boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian with systemd.
    Systemd,
    /// Debian with SysV init.
    Sysv,
    /// A host with rpm and dnf, without apt; systemd.
    Dnf,
}

/// Which SSH server a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// OpenSSH, by its service.
    OpenSsh,
    /// Dropbear in place of OpenSSH.
    Dropbear,
}

/// How a host is to be made.
pub struct HostSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// Image and init.
    pub kind: Kind,
    /// SSH server.
    pub server: Server,
    /// Changes to its file system before it boots (argument: its root).
    pub prepare: Option<&'a dyn Fn(&Path)>,
}

impl<'a> HostSpec<'a> {
    /// A host as it comes.
    pub fn new(name: &'a str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            server: Server::OpenSsh,
            prepare: None,
        }
    }
}

/// A running host.
pub struct BedHost {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its file system, as seen from here.
    pub root: PathBuf,
    /// The image it was made from.
    pub image: PathBuf,
    /// What differs from the image: the upper layer of the overlay.
    pub upper: PathBuf,
    folder: PathBuf,
    namespace: String,
    kind: Kind,
    init: Child,
}

/// A set of running hosts on a network of their own.
pub struct Bed {
    /// The hosts, in the order asked for.
    pub hosts: Vec<BedHost>,
    /// The private key that root and ops of every host accept.
    pub key: PathBuf,
    /// A known_hosts file with the key of every host.
    pub known_hosts: PathBuf,
    folder: PathBuf,
    bridge: String,
    _slot: File,
}

/// How long a host may take to answer on port 22: ten systemds boot at once on two cores.
const BOOT: Duration = Duration::from_secs(120);

/// Where `tests/bed/prepare` puts its images.
fn images() -> PathBuf {
    std::env::var_os("HOLDFAST_BED").map_or_else(|| PathBuf::from("/var/cache/holdfast-bed"), PathBuf::from)
}

/// Runs a command that must succeed.
pub fn must(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Takes a network number that no other test process has; the lock lives as long as the file.
fn take_slot() -> (u8, File) {
    fs::create_dir_all("/run/holdfast-bed").expect("/run can be written by root");
    for number in 1..250 {
        let file = File::create(format!("/run/holdfast-bed/{number}.lock")).expect("a lock file");
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            return (number, file);
        }
    }
    panic!("249 test beds at once");
}

impl Bed {
    /// Starts hosts, or says why it can't and gives `None`.
    pub fn start(specs: &[HostSpec<'_>]) -> Option<Self> {
        let images = images();
        if !rustix::process::geteuid().is_root() || !images.join("edition").is_file() {
            crate::skip::skip("real hosts need root and the images of tests/bed/prepare");
            return None;
        }
        let (number, slot) = take_slot();
        let folder = images.join("run").join(number.to_string());
        let bridge = format!("hfb{number}");
        sweep(&folder, &bridge);
        fs::create_dir_all(&folder).expect("a folder for the bed");
        let key = folder.join("key");
        must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path(&key)]);
        must("ip", &["link", "add", &bridge, "type", "bridge"]);
        must("ip", &["addr", "add", &format!("10.98.{number}.1/24"), "dev", &bridge]);
        must("ip", &["link", "set", &bridge, "up"]);
        let known_hosts = folder.join("known_hosts");
        let mut bed = Self {
            hosts: Vec::new(),
            key,
            known_hosts,
            folder,
            bridge,
            _slot: slot,
        };
        let mut known = String::new();
        for (index, spec) in specs.iter().enumerate() {
            let place = u8::try_from(index + 10).expect("fewer than 240 hosts in a bed");
            let host = bed.boot(spec, &images, number, place);
            let public = fs::read_to_string(host.root.join("etc/ssh/ssh_host_ed25519_key.pub")).expect("made above");
            known.push_str(&format!("{} {public}", host.address));
            bed.hosts.push(host);
        }
        fs::write(&bed.known_hosts, known).expect("known_hosts can be written");
        for host in &bed.hosts {
            host.wait_for_ssh();
        }
        Some(bed)
    }

    fn boot(&self, spec: &HostSpec<'_>, images: &Path, number: u8, place: u8) -> BedHost {
        let folder = self.folder.join(spec.name);
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(folder.join(part)).expect("the host's folders");
        }
        let image = images.join(match spec.kind {
            Kind::Systemd => "debian",
            Kind::Sysv => "sysv",
            Kind::Dnf => "dnf",
        });
        let root = folder.join("root");
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            image.display(),
            folder.join("upper").display(),
            folder.join("work").display()
        );
        must("mount", &["-t", "overlay", "overlay", "-o", &layers, path(&root)]);
        self.furnish(spec, &root);
        if let Some(prepare) = spec.prepare {
            prepare(&root);
        }
        let namespace = format!("{}h{place}", self.bridge);
        let address = Ipv4Addr::new(10, 98, number, place);
        must("ip", &["netns", "add", &namespace]);
        let (outer, inner) = (format!("v{number}x{place}"), format!("w{number}x{place}"));
        must("ip", &["link", "add", &outer, "type", "veth", "peer", "name", &inner]);
        must("ip", &["link", "set", &outer, "master", &self.bridge, "up"]);
        must("ip", &["link", "set", &inner, "netns", &namespace, "name", "eth0"]);
        must(
            "ip",
            &["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"],
        );
        must("ip", &["-n", &namespace, "link", "set", "eth0", "up"]);
        must("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        let init = start_init(spec.kind, &root, &namespace, &folder);
        BedHost {
            kind: spec.kind,
            name: spec.name.to_owned(),
            address,
            upper: folder.join("upper"),
            root,
            image,
            folder,
            namespace,
            init,
        }
    }

    /// Gives the host its name, its keys and its SSH server.
    fn furnish(&self, spec: &HostSpec<'_>, root: &Path) {
        fs::write(root.join("etc/hostname"), format!("{}\n", spec.name)).expect("a hostname");
        let _ = fs::remove_file(root.join("etc/machine-id"));
        fs::write(root.join("etc/machine-id"), "").expect("an empty machine-id");
        let host_key = root.join("etc/ssh/ssh_host_ed25519_key");
        must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path(&host_key)]);
        let public = self.key.with_extension("pub");
        for home in ["root", "home/ops"] {
            let ssh = root.join(home).join(".ssh");
            fs::copy(&public, ssh.join("authorized_keys")).expect("authorized_keys");
            fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).expect("mode of .ssh");
        }
        must("chroot", &[path(root), "chown", "-R", "ops:ops", "/home/ops/.ssh"]);
        if spec.kind == Kind::Sysv {
            let inittab = root.join("etc/inittab");
            let text = fs::read_to_string(&inittab).expect("an inittab");
            let kept: Vec<&str> = text
                .lines()
                .filter(|line| !line.contains("getty") && !line.contains("sulogin"))
                .collect();
            fs::write(&inittab, kept.join("\n") + "\n").expect("inittab can be written");
            // The start-up scripts that set up hardware and mounts have nothing to do in a namespace.
            let _ = fs::remove_dir_all(root.join("etc/rcS.d"));
            fs::create_dir_all(root.join("etc/rcS.d")).expect("an empty rcS.d");
        }
        if spec.server == Server::Dropbear {
            let keys = root.join("etc/dropbear");
            fs::create_dir_all(&keys).expect("a folder for keys");
            must(
                "dropbearconvert",
                &[
                    "openssh",
                    "dropbear",
                    path(&host_key),
                    path(&keys.join("dropbear_ed25519_host_key")),
                ],
            );
            let unit = "[Service]\nExecStart=\nExecStart=/usr/sbin/dropbear -F -E -r /etc/dropbear/dropbear_ed25519_host_key\nType=simple\nExecStartPre=\n";
            let folder = root.join("etc/systemd/system/ssh.service.d");
            fs::create_dir_all(&folder).expect("a folder for the unit");
            fs::write(folder.join("dropbear.conf"), unit).expect("the unit");
        }
    }

    /// Finds a host.
    pub fn host(&self, name: &str) -> &BedHost {
        self.hosts
            .iter()
            .find(|host| host.name == name)
            .expect("the test asked for this host")
    }
}

/// Starts the init of a host; what it says goes to the file `console`.
fn start_init(kind: Kind, root: &Path, namespace: &str, folder: &Path) -> Child {
    let console = File::options().create(true).append(true).open(folder.join("console"));
    let console = console.expect("a console file");
    init_command(kind, root, namespace)
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("a second handle"))
        .stderr(console)
        .spawn()
        .expect("the init starts")
}

fn init_command(kind: Kind, root: &Path, namespace: &str) -> Command {
    match kind {
        Kind::Systemd | Kind::Dnf => {
            let mut command = Command::new("sh");
            command.args(["-c", OWN_CGROUP, "boot", &cgroup(namespace)]);
            command.env("HIERARCHIES", CGROUPS.join(" "));
            command.args([
                "systemd-nspawn",
                "-q",
                "-b",
                "--register=no",
                "--keep-unit",
                "--resolv-conf=off",
                "--timezone=off",
                "--console=pipe",
            ]);
            command.arg("-D").arg(root);
            command.arg(format!("--network-namespace-path=/run/netns/{namespace}"));
            command.env_remove("NOTIFY_SOCKET");
            command
        }
        Kind::Sysv => {
            let mut command = Command::new("ip");
            command.args([
                "netns", "exec", namespace, "unshare", "--mount", "--uts", "--pid", "--ipc", "--fork",
            ]);
            command.args(["--kill-child", "sh", "-c", SYSV_BOOT, "boot"]).arg(root);
            command
        }
    }
}

/// Where the kernel has the processes of groups: the one hierarchy of today, or those that systemd has of its own where
/// the others are still apart.
const CGROUPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];

/// The control group of a host, by its namespace. Two systemds in one group take each other's services down.
fn cgroup(namespace: &str) -> String {
    format!("holdfast-bed-{namespace}")
}

/// Enters a control group of its own before it becomes another program. Where none can be made the host has to do without.
const OWN_CGROUP: &str = r#"
group=$1
shift
for hierarchy in $HIERARCHIES; do
  if [ -e "$hierarchy/cgroup.procs" ] && mkdir -p "$hierarchy/$group" 2>/dev/null; then
    echo $$ >"$hierarchy/$group/cgroup.procs"
  fi
done
exec "$@"
"#;

/// What a container manager does before it hands over to init.
const SYSV_BOOT: &str = r#"
set -e
root=$1
hostname "$(cat "$root/etc/hostname")"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir "$root/run/sshd" "$root/run/lock"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
touch "$root/dev/console"
exec chroot "$root" /sbin/init
"#;

impl BedHost {
    fn wait_for_ssh(&self) {
        let began = Instant::now();
        let address = SocketAddr::from((self.address, 22));
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            assert!(
                began.elapsed() < BOOT,
                "{} did not open port 22; its console: {}",
                self.name,
                fs::read_to_string(self.folder.join("console")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the init has brought everything up, so that what the boot writes is not taken for ours.
    pub fn wait_until_booted(&self) {
        let began = Instant::now();
        while self
            .inside("if [ -d /run/systemd/system ]; then systemctl is-system-running || :; else echo running; fi")
            .contains("starting")
        {
            assert!(began.elapsed() < BOOT, "{} does not come up", self.name);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Finds a path of the host, as seen from here.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Reads a file of the host.
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_else(|error| panic!("{}:{inside}: {error}", self.name))
    }

    /// Takes the network away, or gives it back.
    pub fn set_network(&self, up: bool) {
        must(
            "ip",
            &[
                "-n",
                &self.namespace,
                "link",
                "set",
                "eth0",
                if up { "up" } else { "down" },
            ],
        );
    }

    /// Runs sh in the host's own namespaces, as root, without SSH.
    pub fn inside(&self, script: &str) -> String {
        let pid = self.init_pid();
        must(
            "nsenter",
            &[
                "-t",
                &pid.to_string(),
                "-m",
                "-u",
                "-i",
                "-n",
                "-p",
                "-r",
                "-w",
                "/usr/bin/env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "/bin/sh",
                "-c",
                script,
            ],
        )
    }

    /// Cuts the power: nothing of the host runs any more, and its files are as they are.
    pub fn cut_power(&mut self) {
        if let Some(pid) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.init_pid())).ok()
            && let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.init.kill();
        let _ = self.init.wait();
    }

    /// Boots the host again, with the files that it has; waits for nothing.
    pub fn boot_again(&mut self) {
        self.init = start_init(self.kind, &self.root, &self.namespace, &self.folder);
    }

    /// Finds the process that is 1 on the host: a descendant of the program we started, the first in its own
    /// process namespace.
    fn init_pid(&self) -> u32 {
        let mut pid = self.init.id();
        let own = fs::read_link("/proc/self/ns/pid").expect("proc");
        loop {
            if fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|space| space != own) {
                return pid;
            }
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            pid = children
                .split_whitespace()
                .next()
                .and_then(|child| child.parse().ok())
                .unwrap_or_else(|| panic!("{} has no init any more", self.name));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.hosts.iter_mut().for_each(BedHost::cut_power);
        sweep(&self.folder, &self.bridge);
    }
}

/// Takes away what this bed, or one that was killed before it, left: mounts, namespaces, the bridge, the folder.
fn sweep(folder: &Path, bridge: &str) {
    let quiet = |program: &str, arguments: &[&str]| {
        let _ = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
    };
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(bridge).is_some_and(|rest| rest.starts_with('h')) {
            quiet("ip", &["netns", "del", &name]);
        }
    }
    // The kernel takes a namespace's links away some time after the namespace; the next bed wants their names now.
    let prefix = format!("v{}x", bridge.trim_start_matches("hfb"));
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) {
            quiet("ip", &["link", "del", &name]);
        }
    }
    quiet("ip", &["link", "del", bridge]);
    let prefix = cgroup(&format!("{bridge}h"));
    for hierarchy in CGROUPS {
        for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // Its files are the kernel's; folders go once they are empty, the innermost first.
                quiet(
                    "find",
                    &[path(&entry.path()), "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
                );
            }
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        quiet("umount", &["-R", "-l", path(&entry.path().join("root"))]);
    }
    let _ = fs::remove_dir_all(folder);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

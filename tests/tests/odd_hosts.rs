//! Hosts as one meets them: strange login shells, noisy profiles, no room to execute, few tools, few sessions, no root.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind, Server, must};
use holdfast_tests::fleet;
use holdfast_tests::project::Project;
use holdfast_tests::snapshot::digest;
use std::fs;
use std::path::Path;

fn in_root(root: &Path, script: &str) {
    must("chroot", &[root.to_str().expect("UTF-8"), "/bin/sh", "-ec", script]);
}

fn csh(root: &Path) {
    in_root(
        root,
        "usermod -s /bin/tcsh root; echo 'echo noise of csh' >/root/.cshrc",
    );
}

fn noisy_bash(root: &Path) {
    in_root(root, "usermod -s /bin/bash root");
    let noise = "echo 'stdout of .bashrc'\necho 'stderr of .bashrc' >&2\nprintf '\\033[2J\\0'\nalias ls=false\nset -o noclobber\nexport LC_ALL=tr_TR.UTF-8 IFS=/ CDPATH=/tmp GREP_OPTIONS=-v ENV=/nonexistent\n";
    fs::write(root.join("root/.bashrc"), noise).expect("a file");
    fs::write(root.join("etc/motd"), "read this message of the day\n").expect("a file");
    fs::write(root.join("etc/issue.net"), "authorised users only\n").expect("a file");
    fs::write(
        root.join("etc/ssh/sshd_config.d/banner.conf"),
        "Banner /etc/issue.net\n",
    )
    .expect("a file");
}

/// Mounts what scripts are run from without the right to execute (LEGACY R13): everything a user can write to, and
/// the state folder itself. Only what dpkg keeps its own scripts in stays as it is.
fn without_exec(host: &BedHost) {
    host.inside(
        "mkdir -m 0700 /var/lib/holdfast
        for dir in /tmp /var/tmp /home /root /srv /var/lib/holdfast; do
          mode=$(stat -c %a $dir)
          cp -a $dir /run/kept
          mount -t tmpfs -o noexec,nosuid,nodev,mode=$mode tmpfs $dir
          cp -a /run/kept/. $dir/
          rm -r /run/kept
          cp /bin/true $dir/try
          if $dir/try 2>/dev/null; then exit 1; fi
          rm $dir/try
        done",
    );
}

fn bare(root: &Path) {
    // What scripts of other tools lean on; not perl, which the packages of Debian need themselves.
    // sshd lets nobody in whose login shell is missing.
    in_root(root, "usermod -s /bin/sh root");
    in_root(
        root,
        "for tool in python3 bash mktemp sha256sum setsid stdbuf curl wget; do for dir in /bin /usr/bin; do rm -f $dir/$tool; done; done",
    );
}

fn one_session(root: &Path) {
    fs::write(
        root.join("etc/ssh/sshd_config.d/few.conf"),
        "MaxSessions 1\nMaxStartups 1:100:1\n",
    )
    .expect("a file");
}

fn sudo_only(root: &Path) {
    fs::write(
        root.join("etc/ssh/sshd_config.d/bed.conf"),
        "PermitRootLogin no\nUseDNS no\n",
    )
    .expect("a file");
    fs::remove_file(root.join("root/.ssh/authorized_keys")).expect("the bed put it there");
}

/// Three megabytes with every byte in them, NULs and line ends included, in no pattern that a filter would survive.
fn binary() -> Vec<u8> {
    let mut state: u32 = 2_463_534_242;
    let mut bytes = Vec::with_capacity(3 << 20);
    while bytes.len() < 3 << 20 {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let [a, b, ..] = state.to_le_bytes();
        bytes.extend([a, 0, b, b'\n', b'\r', 0xff]);
    }
    bytes
}

fn has_everything(host: &BedHost, sum: &str) {
    let name = &host.name;
    assert_eq!(host.read("/etc/bedweb.conf"), fleet::conf(name));
    assert_eq!(host.read("/etc/legacy.conf"), "first = 1\nsecond = 2\n", "{name}");
    assert_eq!(
        fs::read_link(host.path("/srv/current")).expect("a link"),
        Path::new("bedweb"),
        "{name}"
    );
    assert_eq!(host.read("/var/lib/counter/runs"), "run\n", "{name}");
    assert!(host.read("/etc/passwd").contains("\ndeploy:"), "{name}");
    assert!(
        host.read("/var/spool/cron/crontabs/root")
            .contains("/usr/bin/true rotate"),
        "{name}"
    );
    assert!(host.path("/usr/sbin/bedwebd").exists(), "{name}");
    assert_eq!(
        digest(&fs::read(host.path("/srv/image.bin")).expect("it is there")),
        *sum,
        "{name}"
    );
}

#[test]
fn odd_hosts_take_the_blueprint_and_a_binary_file() {
    let with = |name, prepare| HostSpec {
        prepare: Some(prepare),
        ..HostSpec::new(name, Kind::Systemd)
    };
    let specs = [
        with("csh", &csh as &dyn Fn(&Path)),
        with("noisy", &noisy_bash),
        HostSpec::new("noexec", Kind::Systemd),
        HostSpec {
            prepare: Some(&bare),
            ..HostSpec::new("bare", Kind::Sysv)
        },
        with("few", &one_session),
        with("sudo", &sudo_only),
        HostSpec {
            server: Server::Dropbear,
            ..HostSpec::new("drop", Kind::Systemd)
        },
    ];
    let Some(bed) = Bed::start(&specs) else { return };
    let noexec = bed.host("noexec");
    without_exec(noexec);
    let project = Project::with_hosts(&bed, |host| {
        if host.name == "sudo" {
            "user = \"ops\"\nbecome = \"sudo\"\n".to_owned()
        } else {
            String::new()
        }
    });
    fleet::write(&project);
    let bytes = binary();
    let sum = digest(&bytes);
    project.write("blueprints/image.bin", &bytes);
    project.blueprint(&format!(
        "{}\n[file.\"/srv/image.bin\"]\nsource = \"image.bin\"\n",
        fleet::BLUEPRINT
    ));
    project
        .run(&["apply", "-y"])
        .exits(0)
        .says("7 hosts: 7 changed")
        .says_not("noise")
        .says_not(".bashrc");
    let there: Vec<&BedHost> = bed.hosts.iter().filter(|host| host.name != "noexec").collect();
    there.iter().for_each(|host| has_everything(host, &sum));
    // What is mounted in the host's own namespace can't be seen from here.
    for (path, content) in [
        ("/etc/bedweb.conf", fleet::conf("noexec")),
        ("/var/lib/counter/runs", "run\n".to_owned()),
    ] {
        assert_eq!(noexec.read(path), content);
    }
    assert_eq!(noexec.inside("readlink /srv/current"), "bedweb\n");
    assert_eq!(
        noexec.inside("sha256sum </srv/image.bin | cut -d ' ' -f 1"),
        format!("{sum}\n")
    );
    assert!(
        noexec
            .inside("mount")
            .contains("/var/lib/holdfast type tmpfs (rw,nosuid,nodev,noexec")
    );
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do: 7 hosts are as desired");

    // And back again.
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0).says("7 hosts: 7 changed");
    for host in &bed.hosts {
        for path in [
            "/etc/bedweb.conf",
            "/etc/legacy.conf",
            "/srv/current",
            "/srv/image.bin",
            "/var/lib/counter",
            "/usr/sbin/bedwebd",
        ] {
            assert_eq!(
                host.inside(&format!("[ -e {path} ] || [ -h {path} ] || echo gone")),
                "gone\n",
                "{}:{path}",
                host.name
            );
        }
    }
    let ended = project
        .run(&["run", "csh,noisy,sudo", "--", "id -un; echo $0"])
        .exits(0);
    assert!(ended.stdout.contains("root"), "{ended}");
}

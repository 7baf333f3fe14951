//! The test bed itself: each kind of host boots and answers.

use holdfast_tests::bed::{Bed, HostSpec, Kind, Server, must};

#[test]
fn every_kind_of_host_boots_and_takes_the_key() {
    let specs = [
        HostSpec::new("sys", Kind::Systemd),
        HostSpec::new("old", Kind::Sysv),
        HostSpec::new("red", Kind::Dnf),
        HostSpec {
            server: Server::Dropbear,
            ..HostSpec::new("drop", Kind::Systemd)
        },
    ];
    let Some(bed) = Bed::start(&specs) else { return };
    for host in &bed.hosts {
        let known = format!("UserKnownHostsFile={}", bed.known_hosts.display());
        let user = format!("root@{}", host.address);
        let key = bed.key.to_str().expect("UTF-8");
        let name = must(
            "ssh",
            &[
                "-F",
                "none",
                "-o",
                &known,
                "-i",
                key,
                &user,
                "cat /etc/hostname; cat /proc/1/comm",
            ],
        );
        let init = if host.name == "old" { "init" } else { "systemd" };
        assert_eq!(name, format!("{}\n{init}\n", host.name));
        assert_eq!(host.inside("cat /etc/hostname"), format!("{}\n", host.name));
    }
}

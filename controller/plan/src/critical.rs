//! What carries us: the resources without which no new connection to a host comes about.
//!
//! A change to one of them is guarded (LEGACY L10): the host puts back what stood there by itself, unless the
//! controller confirms over a new connection in time. What is found here is found by path, package, service and
//! account; a blueprint adds to it, or takes from it, with `critical`.

use crate::resource::{DesiredResource, Resource};

/// Folders and files that sshd, login, sudo and the network read. One that ends with `/` means all that is in it.
const PATHS: [&str; 31] = [
    "/etc/ssh/",
    "/etc/default/ssh",
    "/etc/sysconfig/sshd",
    "/etc/dropbear/",
    "/etc/default/dropbear",
    "/etc/sudoers",
    "/etc/sudoers.d/",
    "/etc/doas.conf",
    "/etc/pam.d/",
    "/etc/pam.conf",
    "/etc/security/",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/shells",
    "/etc/login.defs",
    "/etc/nologin",
    "/etc/hosts.allow",
    "/etc/hosts.deny",
    "/etc/network/",
    "/etc/netplan/",
    "/etc/NetworkManager/",
    "/etc/systemd/network/",
    "/etc/sysconfig/network-scripts/",
    "/etc/nftables.conf",
    "/etc/sysconfig/nftables.conf",
    "/etc/iptables/",
    "/etc/sysconfig/iptables",
    "/etc/ufw/",
    "/etc/firewalld/",
];

/// Packages that bring them.
const PACKAGES: [&str; 16] = [
    "openssh-server",
    "openssh",
    "dropbear",
    "dropbear-bin",
    "sudo",
    "doas",
    "ifupdown",
    "network-manager",
    "NetworkManager",
    "netplan.io",
    "nftables",
    "iptables",
    "iptables-persistent",
    "ufw",
    "firewalld",
    "libpam-runtime",
];

/// Services that run them.
const SERVICES: [&str; 14] = [
    "ssh",
    "sshd",
    "ssh.socket",
    "sshd.socket",
    "dropbear",
    "networking",
    "network",
    "NetworkManager",
    "systemd-networkd",
    "nftables",
    "iptables",
    "ufw",
    "firewalld",
    "netfilter-persistent",
];

/// Groups that may become root.
const GROUPS: [&str; 3] = ["sudo", "wheel", "admin"];

/// Tells whether a change of a resource could keep us from coming back. `login` is the user that logs in.
pub fn carries_us(desired: &DesiredResource, login: Option<&str>) -> bool {
    desired.critical.unwrap_or_else(|| match &desired.resource {
        Resource::File(file) => is_critical_path(&file.path),
        Resource::Directory(directory) => is_critical_path(&directory.path),
        Resource::Symlink(link) => is_critical_path(&link.path),
        Resource::Line(line) => is_critical_path(&line.path),
        Resource::Package(package) => PACKAGES.contains(&without_architecture(&package.name)),
        Resource::Service(service) => {
            let name = service.name.strip_suffix(".service").unwrap_or(&service.name);
            SERVICES.contains(&name)
        }
        Resource::User(user) => user.name == "root" || Some(user.name.as_str()) == login,
        Resource::Group(group) => GROUPS.contains(&group.name.as_str()),
        Resource::Cron(_) | Resource::Script(_) => false,
    })
}

fn without_architecture(package: &str) -> &str {
    package.split_once(':').map_or(package, |(name, _)| name)
}

fn is_critical_path(path: &str) -> bool {
    let listed = |known: &str| match known.strip_suffix('/') {
        Some(folder) => path == folder || path.starts_with(known),
        None => path == known,
    };
    // Keys and what decides about them, whoever's they are: the login's home is known to the host alone.
    let keys = path.split('/').any(|part| part == ".ssh");
    keys || PATHS.iter().any(|known| listed(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sudoers_and_sshd_are_critical_and_what_only_sounds_so_is_not() {
        for path in [
            "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/10-site.conf",
            "/etc/sudoers.d/ops",
            "/home/ops/.ssh/authorized_keys",
            "/root/.ssh",
            "/etc/ssh",
        ] {
            assert!(is_critical_path(path), "{path}");
        }
        for path in ["/etc/sshd", "/etc/sudoers.dist", "/srv/ssh/x", "/etc/network.conf"] {
            assert!(!is_critical_path(path), "{path}");
        }
    }
}

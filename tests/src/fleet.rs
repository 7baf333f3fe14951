//! The blueprint that the scenarios share: one resource of each kind a fleet has, on any host of the bed.

use crate::project::Project;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Package, directory, templated file, symlink, two lines of one file, user, cron entry, service and script.
pub const BLUEPRINT: &str = r#"
[vars]
port = 8080

[package.bedweb]
undo = "purge"

[directory."/srv/bedweb"]
mode = "0750"

[file."/etc/bedweb.conf"]
template = "bedweb.conf.hbs"
mode = "0640"

[symlink."/srv/current"]
target = "bedweb"

[line.first]
path = "/etc/legacy.conf"
line = "first = 1"

[line.second]
path = "/etc/legacy.conf"
line = "second = 2"

[user.deploy]
shell = "/bin/sh"
comment = "Deployments"

[cron.rotate]
user = "root"
schedule = "5 3 * * *"
command = "/usr/bin/true rotate"

[service.bedweb]
running = true
enabled = true
restart_on = ["file./etc/bedweb.conf"]

[script.counter]
env = { PORT = "{{port}}" }
check = 'test "$(cat /var/lib/counter/port 2>/dev/null)" = "$PORT"'
apply = '''
mkdir -p /var/lib/counter
echo run >>/var/lib/counter/runs
echo "$PORT" >/var/lib/counter/port
'''
undo = "rm -r /var/lib/counter"
"#;

/// How many resources [`BLUEPRINT`] has.
pub const RESOURCES: usize = 10;

/// What `/etc/bedweb.conf` holds on a host.
pub fn conf(host: &str) -> String {
    format!("port=8080 on {host}")
}

/// Writes the blueprint and its template into a project.
pub fn write(project: &Project) {
    project.write("blueprints/bedweb.conf.hbs", "port={{port}} on {{name}}");
    project.blueprint(BLUEPRINT);
}

/// Puts into a host what was there before us: a file with lines, without a newline at its end, with an odd mode and
/// owner ([`crate::bed::HostSpec::prepare`]).
pub fn put_old_things(root: &Path) {
    let legacy = root.join("etc/legacy.conf");
    fs::write(&legacy, "zero = 0\nlast = 9").expect("a file");
    fs::set_permissions(&legacy, fs::Permissions::from_mode(0o604)).expect("an odd mode");
    std::os::unix::fs::lchown(&legacy, Some(7), Some(7)).expect("an odd owner");
}

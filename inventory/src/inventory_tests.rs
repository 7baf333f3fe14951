//! Tests of the inventory as whole files make it.

use super::*;
use crate::group::TreeNode;
use crate::settings::{Become, Via};

fn read(texts: &[&str]) -> (Inventory, Vec<String>) {
    let files: Vec<Arc<SourceFile>> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| SourceFile::new(format!("{}.toml", ["a", "b", "c"][index]), *text))
        .collect();
    let (inventory, problems) = Inventory::read(&files, &SshSettings::default());
    (inventory, problems.0.iter().map(ToString::to_string).collect())
}

fn clean(text: &str) -> Inventory {
    let (inventory, problems) = read(&[text]);
    assert_eq!(problems, Vec::<String>::new());
    inventory
}

fn names<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> String {
    let names: Vec<&str> = hosts.into_iter().map(|host| host.name.as_str()).collect();
    names.join(" ")
}

#[test]
fn the_example_of_the_book_is_read_whole() {
    let inventory = clean(
        r#"
[all]
vars = { ntp = "10.0.0.1" }
[hosts."web[01-20]"]
address = "{{name}}.dc1.example.net"
[hosts.db01]
address = "10.0.0.7"
port = 2222
user = "oracle"
become = "sudo"
vars = { role = "primary" }
[groups.web]
hosts = ["web[01-20]"]
vars = { http_port = 8080 }
[groups.db]
hosts = ["db01"]
[groups.prod]
groups = ["web", "db"]
"#,
    );
    assert_eq!(inventory.hosts().len(), 21);
    let web = &inventory.host("web07").expect("declared").settings;
    assert_eq!(web.address.as_ref().expect("set").value, "{{name}}.dc1.example.net");
    assert_eq!((web.port, web.via, web.becomes), (22, Via::Ssh, Become::None));
    let db = &inventory.host("db01").expect("declared").settings;
    assert_eq!(
        (db.port, db.user.as_deref(), db.becomes),
        (2222, Some("oracle"), Become::Sudo)
    );
    assert_eq!(inventory.members("prod").count(), 21);
    let groups: Vec<&str> = inventory.groups_of("web07").map(Group::name).collect();
    assert_eq!(groups, ["prod", "web"]);
}

#[test]
fn the_strongest_layer_wins_and_its_place_is_known() {
    let mut inventory = clean(
        r#"
[all]
vars = { a = "all", b = "all", c = "all", d = "all", e = "all", f = "all" }
[hosts."web[1-2]"]
vars = { d = "range", e = "range" }
[hosts.web1]
vars = { e = "host" }
[groups.aaa]
hosts = ["web1"]
vars = { b = "child", c = "child", d = "child", e = "child" }
[groups.zzz]
groups = ["aaa"]
vars = { b = "parent" }
[groups.bbb]
hosts = ["web1"]
vars = { b = "top, by name before the parent" }
"#,
    );
    let mut problems = Problems::new();
    inventory.set_extra(crate::vars::read_extra(["f=flag"], &mut problems));
    let vars = inventory.vars_of("web1").expect("declared");
    let show = |name: &str| {
        let var = &vars[name];
        let VarValue::String(text) = &var.value else {
            panic!("`{name}` is a string");
        };
        let place = var.at.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{text} | {} | {place}", var.origin)
    };
    assert_eq!(show("a"), "all | all | a.toml:3:10");
    assert_eq!(show("b"), "child | group aaa | a.toml:10:10");
    assert_eq!(show("d"), "range | host | a.toml:5:10");
    assert_eq!(show("e"), "host | host | a.toml:7:10");
    assert_eq!(show("f"), "flag | extra | -e:1:1");
    assert_eq!(show("name"), "web1 | built in | ");
    let layers: Vec<String> = inventory
        .layers_of("web1")
        .expect("declared")
        .iter()
        .map(|(origin, _)| origin.to_string())
        .collect();
    assert_eq!(layers, ["all", "group bbb", "group zzz", "group aaa", "host", "extra"]);
    assert_eq!(inventory.vars_of("web3"), None);
}

#[test]
fn connection_settings_merge_like_variables() {
    let defaults = "user = 'low'\nport = 1\n";
    let file = SourceFile::new("holdfast.toml", defaults);
    let mut problems = Problems::new();
    let table = crate::document::parse(&file, &mut problems);
    let mut reader = crate::document::TableReader::new(&file, &table, "`[ssh]`");
    let defaults = SshSettings::read(&mut reader, &mut problems);
    let inventory = SourceFile::new(
        "a.toml",
        "[all]\nport = 2\nstate_dir = '/a'\n[hosts.h]\nport = 4\n[hosts.i]\n[groups.g]\nhosts = ['h', 'i']\nport = 3\nvia = 'agent'\n",
    );
    let (mut inventory, more) = Inventory::read(&[inventory], &defaults);
    assert!(problems.is_empty() && more.is_empty(), "{more}");
    let ports: Vec<u16> = inventory.hosts().iter().map(|host| host.settings.port).collect();
    assert_eq!(ports, [4, 3]);
    let settings = &inventory.host("h").expect("declared").settings;
    assert_eq!((settings.user.as_deref(), settings.via), (Some("low"), Via::Agent));
    assert_eq!(settings.state_dir.as_ref().expect("set").value, "/a");
    inventory.override_settings(&SshSettings {
        user: Some(crate::diagnostic::Located::nowhere("flag".to_owned())),
        ..SshSettings::default()
    });
    let settings = &inventory.host("h").expect("declared").settings;
    assert_eq!((settings.user.as_deref(), settings.port), (Some("flag"), 4));
}

#[test]
fn a_host_lies_over_its_range_whatever_the_order() {
    for text in [
        "[hosts.w2]\nport = 9\n[hosts.'w[1-3]']\nport = 8\nuser = 'u'\n",
        "[hosts.'w[1-3]']\nport = 8\nuser = 'u'\n[hosts.w2]\nport = 9\n",
    ] {
        let inventory = clean(text);
        let host = &inventory.host("w2").expect("declared").settings;
        assert_eq!((host.port, host.user.as_deref()), (9, Some("u")));
        assert_eq!(inventory.hosts().len(), 3);
    }
}

#[test]
fn two_declarations_of_one_host_are_a_problem() {
    let (_, problems) = read(&[
        "[hosts.'web[01-20]']\n[hosts.'web[10-30]']\n[hosts.db]\n",
        "[hosts.db]\n[hosts.'web[30-31]']\n",
    ]);
    assert_eq!(
        problems,
        [
            "a.toml:2:8: the range `web[10-30]` overlaps `web[01-20]` at a.toml:1:8: both declare `web[10-20]`; \
             declare each host in one range; what differs for one host goes to [hosts.NAME]",
            "b.toml:1:8: host `db` is declared twice, first at a.toml:3:8; join the two tables",
            "b.toml:2:8: the range `web[30-31]` overlaps `web[10-30]` at a.toml:2:8: both declare `web30`; \
             declare each host in one range; what differs for one host goes to [hosts.NAME]",
        ]
    );
}

#[test]
fn a_cycle_of_groups_is_named_and_the_rest_still_read() {
    let (inventory, problems) = read(&[
        "[hosts.h]\n[groups.a]\ngroups = ['b']\n[groups.b]\ngroups = ['c']\n[groups.c]\ngroups = ['a']\nhosts = ['h']\n\
         [groups.self]\ngroups = ['self']\n[groups.outer]\ngroups = ['a']\n",
    ]);
    assert_eq!(
        problems,
        [
            "a.toml:7:11: groups contain each other: a -> b -> c -> a; remove one of the memberships",
            "a.toml:10:11: group `self` contains itself; remove one of the memberships",
        ]
    );
    assert_eq!(names(inventory.members("outer")), "h");
}

#[test]
fn unknown_members_are_reported_with_a_suggestion() {
    let (_, problems) = read(&[
        "[hosts.'web[01-03]']\n[groups.web]\nhosts = ['web[02-05]', 'web3', 'prod', 'we*']\ngroups = ['prd', 'web01']\n\
         [groups.prod]\n[groups.web02]\n[groups.all]\n",
    ]);
    assert_eq!(
        problems,
        [
            "a.toml:3:40: `we*` can't name a host: the name has a `*`; name the hosts, or use a range such as `web[01-20]`",
            "a.toml:7:9: `all` can't name a group: `all` is the group that every host is in; write [all]",
            "a.toml:3:10: group `web` names unknown hosts: `web[04-05]`; declare them in `[hosts]`",
            "a.toml:3:24: group `web` names the unknown host `web3`; did you mean `web03`?",
            "a.toml:3:32: group `web` names the unknown host `prod`; `prod` is a group: name it in `groups`",
            "a.toml:4:11: group `web` names the unknown group `prd`; did you mean `prod`?",
            "a.toml:4:18: group `web` names the unknown group `web01`; `web01` means hosts: name it in `hosts`",
            "a.toml:6:9: `web02` names both a host and a group; rename one of them: a pattern could mean either",
        ]
    );
}

#[test]
fn every_bad_key_and_name_is_reported_at_once() {
    let (_, problems) = read(&[
        "[host.x]\n[hosts]\na = 1\n[hosts.'-x']\n[hosts.'w[1-']\n[hosts.h]\njump = ['b']\nadress = 'x'\n[all]\nhosts = []\n",
    ]);
    assert_eq!(
        problems,
        [
            "a.toml:10:1: unknown key `hosts` in `[all]`; known keys: vars, address, port, user, via, become, identity, \
             password, host_keys, connect_timeout, handshake_timeout, auth_timeout, confirm_timeout, state_dir",
            "a.toml:3:5: host `a` must be a table, not integer; write [hosts.NAME] and its keys below",
            "a.toml:4:8: `-x` can't name a host: the name begins with `-`; use letters, digits, `.`, `_` and `-`, and begin with a letter or a digit",
            "a.toml:5:10: can't read the range `w[1-`: `[` is never closed; write a range as `web[01-20]` or `web[1-3,7]`",
            "a.toml:7:1: `jump` of host `h` is not built yet; remove the key: this version refuses it rather than ignore it",
            "a.toml:8:1: unknown key `adress` in host `h`; did you mean `address`?",
            "a.toml:1:2: unknown key `host` in an inventory; did you mean `hosts`?",
        ]
    );
}

#[test]
fn files_add_to_each_other_and_contradictions_are_problems() {
    let (inventory, problems) = read(&[
        "[all]\nvars = { a = 1 }\n[hosts.x]\n[groups.g]\nhosts = ['x', 'y']\nport = 1\n",
        "[all]\nvars = { b = 1, a = 2 }\n[hosts.y]\n[hosts.z]\n[groups.g]\nhosts = ['z']\nport = 2\n",
    ]);
    assert_eq!(names(inventory.members("g")), "x y z");
    assert_eq!(
        problems,
        [
            "b.toml:2:17: `[all]` sets `a` twice, first at a.toml:2:10; remove one of them",
            "b.toml:5:9: the connection settings of group `g` stand in two files; keep them in one file",
        ]
    );
}

#[test]
fn a_format_that_is_not_built_is_refused_by_name() {
    let files = [
        SourceFile::new("inv/hosts", ""),
        SourceFile::new("x.yml", "a: b"),
        SourceFile::new("x.xml", ""),
    ];
    let (_, problems) = Inventory::read(&files, &SshSettings::default());
    let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "inv/hosts:1:1: can't read `inv/hosts`: Ansible inventories are not built yet; write the inventory as a file that ends in .toml",
            "x.yml:1:1: can't read `x.yml`: Ansible inventories are not built yet; write the inventory as a file that ends in .toml",
            "x.xml:1:1: can't read `x.xml`: inventories other than TOML are not built yet; write the inventory as a file that ends in .toml",
        ]
    );
}

#[test]
fn the_tree_shows_each_group_whole_once() {
    let inventory = clean(
        "[hosts.'w[1-2]']\n[hosts.d]\n[hosts.lone]\n[groups.web]\nhosts = ['w[1-2]']\n[groups.db]\nhosts = ['d']\n\
         [groups.prod]\ngroups = ['web', 'db']\n[groups.site]\ngroups = ['web']\n",
    );
    let lines: Vec<String> = inventory
        .tree()
        .iter()
        .map(|line| match &line.node {
            TreeNode::Group { name, repeated } => {
                format!(
                    "{}{name}{}",
                    "  ".repeat(line.depth),
                    if *repeated { " (above)" } else { "" }
                )
            }
            TreeNode::Hosts(hosts) => format!("{}- {}", "  ".repeat(line.depth), range::fold(hosts)),
        })
        .collect();
    assert_eq!(
        lines,
        [
            "all",
            "  prod",
            "    web",
            "      - w[1-2]",
            "    db",
            "      - d",
            "  site",
            "    web (above)",
            "  - lone",
        ]
    );
}

#[test]
fn ten_thousand_nested_groups_neither_overflow_nor_hang() {
    let mut text = "[hosts.h]\n[groups.g0]\nhosts = ['h']\n".to_owned();
    for index in 1..10_000 {
        text.push_str(&format!("[groups.g{index}]\ngroups = ['g{}']\n", index - 1));
    }
    let inventory = clean(&text);
    assert_eq!(names(inventory.members("g9999")), "h");
    assert_eq!(inventory.tree().len(), 10_002);
}

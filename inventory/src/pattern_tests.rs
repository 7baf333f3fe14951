//! Tests of patterns: what they select and what they refuse.

use super::*;
use crate::diagnostic::SourceFile;
use crate::settings::SshSettings;
use proptest::prelude::*;

fn inventory() -> Inventory {
    let file = SourceFile::new(
        "inventory.toml",
        r#"
[hosts."web[01-04]"]
[hosts.db01]
[hosts.db02]
[hosts.lone]
[groups.web]
hosts = ["web[01-04]"]
[groups.db]
hosts = ["db01", "db02"]
[groups.prod]
hosts = ["web01", "web02", "web03", "db01"]
[groups.empty]
"#,
    );
    let (inventory, problems) = Inventory::read(&[file], &SshSettings::default());
    assert!(problems.is_empty(), "{problems}");
    inventory
}

fn select(pattern: &str) -> String {
    let inventory = inventory();
    let pattern = Pattern::parse(pattern).expect("a pattern");
    let hosts = pattern.select(&inventory).expect("a selection");
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    names.join(" ")
}

fn complaints(pattern: &str) -> Vec<(String, String)> {
    let errors = match Pattern::parse(pattern) {
        Ok(parsed) => parsed.select(&inventory()).expect_err("no selection"),
        Err(errors) => errors,
    };
    let complaint = |error: &PatternError| (pattern[error.span.clone()].to_owned(), error.to_string());
    errors.errors.iter().map(complaint).collect()
}

#[test]
fn patterns_select_as_ansible_selects() {
    // Expected: worked out by hand from Ansible's documentation, "Patterns: targeting hosts and groups".
    for (pattern, hosts) in [
        ("all", "web01 web02 web03 web04 db01 db02 lone"),
        ("*", "web01 web02 web03 web04 db01 db02 lone"),
        ("lone", "lone"),
        ("db:web01", "web01 db01 db02"),
        ("db,web01", "web01 db01 db02"),
        ("web:&prod", "web01 web02 web03"),
        ("web:!prod", "web04"),
        ("web:&prod:!web03", "web01 web02"),
        ("web:db:&prod:!db01", "web01 web02 web03"),
        ("!web03:&prod:web", "web01 web02"),
        ("!prod", "web04 db02 lone"),
        ("&prod", "web01 web02 web03 db01"),
        ("web:&db", ""),
        ("empty", ""),
        ("all:!all", ""),
    ] {
        assert_eq!(select(pattern), hosts, "{pattern}");
    }
}

#[test]
fn ranges_and_globs_stand_in_patterns() {
    for (pattern, hosts) in [
        ("web[01-02,04]", "web01 web02 web04"),
        ("web[01-02]:db[01]", "web01 web02 db01"),
        ("web0[1-2]", "web01 web02"),
        ("db*", "db01 db02"),
        ("?b0*2", "db02"),
        ("*0[1-2]", "web01 web02 db01 db02"),
        ("pr?d:!web*", "db01"),
        (" web01 , db01 ", "web01 db01"),
    ] {
        assert_eq!(select(pattern), hosts, "{pattern}");
    }
}

#[test]
fn all_unknown_names_are_reported_with_their_place() {
    let complaint = |marked: &str, message: &str| (marked.to_owned(), message.to_owned());
    assert_eq!(
        complaints("wbe:!dv01:&prod:x*"),
        [
            complaint("wbe", "no host or group is named `wbe`"),
            complaint("dv01", "no host or group is named `dv01`"),
            complaint("x*", "no host or group fits `x*`"),
        ]
    );
    assert_eq!(
        complaints("web[03-06]"),
        [complaint("web[03-06]", "no host or group is named `web[05-06]`")]
    );
}

#[test]
fn text_that_is_no_pattern_is_refused_with_its_place() {
    for (pattern, marked, message) in [
        ("", "", "the pattern names nothing here"),
        ("web::db", "", "the pattern names nothing here"),
        ("web:!", "!", "the pattern names nothing here"),
        ("~web.*", "~web.*", "regular expressions are not built yet"),
        ("@web", "@", "`@` can't stand in a pattern"),
        ("web;id", ";", "`;` can't stand in a pattern"),
        ("web[0:2]", "0:2", "`:` can't stand in a range"),
        ("a:web[3-1]", "3-1", "the range runs backwards"),
        ("web[1-3:db", "[", "`[` is never closed"),
    ] {
        assert_eq!(
            complaints(pattern),
            [(marked.to_owned(), message.to_owned())],
            "{pattern}"
        );
    }
}

#[test]
fn a_problem_points_into_the_string_of_the_file() {
    let file = SourceFile::new("b.toml", "on = \"web:prd\"\n");
    let errors = Pattern::parse("web:prd")
        .expect("a pattern")
        .select(&inventory())
        .expect_err("unknown");
    let problems = errors.into_problems(Some(&Location::new(&file, 5..14)));
    assert_eq!(
        problems.to_string(),
        "b.toml:1:11: no host or group is named `prd`; did you mean `prod`?"
    );
}

proptest! {
    #[test]
    fn a_term_and_its_exclusion_share_out_all_hosts(term in "web|db|prod|lone|empty|web0[1-4]|d\\*|web\\[01-03\\]") {
        let (with, without) = (select(&term), select(&format!("!{term}")));
        let mut both: Vec<&str> = with.split_whitespace().chain(without.split_whitespace()).collect();
        both.sort_unstable();
        let all = select("all");
        let mut all: Vec<&str> = all.split_whitespace().collect();
        all.sort_unstable();
        prop_assert_eq!(both, all);
    }

    #[test]
    fn no_text_makes_a_pattern_panic(text in "[a-c0-2*?&!:,@~é \\[\\]-]{0,24}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            let _ = pattern.select(&inventory());
        }
    }

    #[test]
    fn a_fold_of_hosts_is_a_pattern_that_selects_them(chosen in proptest::collection::vec(any::<bool>(), 7)) {
        let inventory = inventory();
        let hosts = inventory.hosts().iter().zip(chosen);
        let names: Vec<&str> = hosts.filter(|(_, is_in)| *is_in).map(|(host, _)| host.name.as_str()).collect();
        prop_assume!(!names.is_empty());
        prop_assert_eq!(select(&range::fold(&names)), names.join(" "));
    }
}

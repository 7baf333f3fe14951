//! Lines made with ssh-keygen of OpenSSH 9.2 (`-H` for the hashed ones, `-lf` for the fingerprint); what a line
//! means is as sshd(8) says.

use super::*;

const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSgFAVgoYcoHcN13OUwU9IjNJKzk9H/GOpi5pYIp7R9";
const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJhylMjXpwNxzPS25oVFKtxveDcn+sPFgfyMzt+dWw0g";
const C: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBk0fo4uzvaHkBHjNITR/3LZlwLr1E4pLHeubqDPOlEN19dfogQrZRtOE6XNJGbC5wkTIH2tFuSLzKOt5bZjn0U=";
const HASHED_WEB01: &str = "|1|1xuSL1gy3JRVrbG6joduuRLJtVc=|xnr1JUWm5tn6aXBYUEXn4n3SbiU=";
const HASHED_WEB01_2222: &str = "|1|4yTCJIfkWBU24Bltkz3soP39eAc=|YW1wKYRXrFaBVVRwgEqU4hfZrNE=";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).expect("a key made by ssh-keygen")
}

fn findings(text: &str, address: &str, port: u16) -> Findings {
    let file = KnownHostsFile::new(Path::new("known_hosts"), text);
    let found = Findings::of(address, port, |name| {
        Ok::<_, std::convert::Infallible>(file.matches(name))
    });
    found.unwrap_or_else(|never| match never {})
}

fn says(text: &str, address: &str, port: u16, shown: &str) -> &'static str {
    match findings(text, address, port).judge(&key(shown)) {
        Verdict::Known => "known",
        Verdict::Unknown => "unknown",
        Verdict::Changed { .. } => "changed",
        Verdict::Revoked { .. } => "revoked",
    }
}

#[test]
fn hashed_names_are_recognised_with_their_ports() {
    let web = "web01.example.net";
    assert_eq!(says(&format!("{HASHED_WEB01} {A}\n"), web, 22, A), "known");
    assert_eq!(
        says(&format!("{HASHED_WEB01} {A}\n"), "Web01.Example.NET", 22, A),
        "known"
    );
    assert_eq!(says(&format!("{HASHED_WEB01} {A}\n"), web, 22, B), "changed");
    assert_eq!(
        says(&format!("{HASHED_WEB01} {A}\n"), "web02.example.net", 22, A),
        "unknown"
    );
    assert_eq!(says(&format!("{HASHED_WEB01_2222} {A}\n"), web, 2222, A), "known");
    assert_eq!(says(&format!("{HASHED_WEB01_2222} {A}\n"), web, 22, A), "unknown");
}

#[test]
fn a_line_without_port_vouches_for_its_key_on_every_port_and_accuses_on_none() {
    assert_eq!(says(&format!("web01 {A}\n"), "web01", 2222, A), "known");
    assert_eq!(says(&format!("web01 {A}\n"), "web01", 2222, B), "unknown");
    assert_eq!(says(&format!("[web01]:2222 {A}\n"), "web01", 22, A), "unknown");
    assert_eq!(says(&format!("@revoked web01 {A}\n"), "web01", 2222, A), "revoked");
}

#[test]
fn wildcards_lists_and_negation_are_understood() {
    let line = format!("*.example.net,!db*.example.net,10.0.0.? {A}\n");
    assert_eq!(says(&line, "web01.example.net", 22, A), "known");
    assert_eq!(says(&line, "db01.example.net", 22, A), "unknown");
    assert_eq!(says(&line, "10.0.0.7", 22, A), "known");
    assert_eq!(says(&line, "10.0.0.77", 22, A), "unknown");
    assert_eq!(
        says(&format!("[*.example.net]:2222 {A}\n"), "web01.example.net", 2222, A),
        "known"
    );
}

#[test]
fn a_revoked_key_is_refused_even_if_another_line_knows_it() {
    let lines = format!("web01 {A}\n@revoked * {A}\n");
    assert_eq!(says(&lines, "web01", 22, A), "revoked");
    assert_eq!(says(&lines, "web01", 22, B), "changed");
}

#[test]
fn a_certificate_authority_is_no_host_key() {
    assert_eq!(says(&format!("@cert-authority * {A}\n"), "web01", 22, A), "unknown");
}

#[test]
fn one_bad_line_spoils_no_other() {
    let lines = format!(
        "# a comment\n\nnonsense\nweb01 ssh-ed25519 !!!\n@unheard-of web01 {B}\nweb01 ssh-quantum AAAA\n\tweb01\t{}\tops@desk comment\n",
        A.replace(' ', "\t")
    );
    assert_eq!(says(&lines, "web01", 22, A), "known");
}

#[test]
fn a_key_of_another_type_does_not_slip_in_as_new() {
    assert_eq!(says(&format!("web01 {A}\n"), "web01", 22, C), "changed");
    assert_eq!(says(&format!("web01 {A}\nweb01 {C}\n"), "web01", 22, C), "known");
}

#[test]
fn a_changed_key_is_shown_with_the_line_of_its_own_type() {
    let found = findings(&format!("web01 {C}\n# more\nweb01 {A}\n"), "web01", 22);
    let Verdict::Changed { place, known } = found.judge(&key(B)) else {
        panic!("it changed");
    };
    assert_eq!(place.line, 3);
    assert_eq!(known, "SHA256:S7zWUsYQNnnxo/FWMLAEEvJ2F/CFv9UWJwyw5JB627E");
}

#[test]
fn the_types_of_known_keys_are_listed() {
    let lines = format!("web01 {C}\n[web01]:2222 {A}\n@revoked web01 {B}\n");
    assert_eq!(findings(&lines, "web01", 22).algorithms(), [key(C).algorithm()]);
    assert_eq!(
        findings(&lines, "web01", 2222).algorithms(),
        [key(A).algorithm()],
        "where a line with the port decides, no other key would do"
    );
    assert_eq!(findings(&lines, "web01", 2200).algorithms(), [key(C).algorithm()]);
}

#[test]
fn what_is_appended_is_found_under_the_number_of_its_line() {
    let mut file = KnownHostsFile::new(Path::new("known_hosts"), &format!("# mine\nweb01 {A}"));
    file.append(&format!("\nweb02 {B}\n"));
    file.append(&format!("web03,web04 {C}\n"));
    let lines = |name| {
        file.matches(name)
            .into_iter()
            .map(|found| found.place.line)
            .collect::<Vec<_>>()
    };
    assert_eq!((lines("web01"), lines("web02")), (vec![2], vec![3]));
    assert_eq!(
        (lines("web03"), lines("web04"), lines("web05")),
        (vec![4], vec![4], vec![])
    );
}

#[test]
fn a_glob_of_many_stars_ends() {
    assert!(!glob(
        &b"*a".repeat(50),
        &b"a".repeat(10_000)[..9_999].iter().map(|_| b'b').collect::<Vec<_>>()
    ));
    assert!(glob(b"*", b""));
    assert!(glob(b"web*", b"web"));
    assert!(!glob(b"?", b""));
}

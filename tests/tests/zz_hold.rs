//! temp
use holdfast_tests::bed::*;
#[test]
fn hold() {
    let bed = Bed::start(&[HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv), HostSpec::new("red", Kind::Dnf)]).unwrap();
    let mut t = String::new();
    for h in &bed.hosts { t.push_str(&format!("{} {} {}\n", h.name, h.address, h.root.display())); }
    std::fs::write("/tmp/bed.txt", format!("{}{}\n{}\n", t, bed.key.display(), bed.known_hosts.display())).unwrap();
    while std::path::Path::new("/tmp/bed.txt").exists() { std::thread::sleep(std::time::Duration::from_secs(1)); }
}

//! With files of ssh-keygen's making and with writers at the same time.

use super::*;
use std::fmt::Write as _;
use std::process::Command;

const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSgFAVgoYcoHcN13OUwU9IjNJKzk9H/GOpi5pYIp7R9";
const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJhylMjXpwNxzPS25oVFKtxveDcn+sPFgfyMzt+dWw0g";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).expect("a key made by ssh-keygen")
}

async fn judge(books: &Books, path: &Path, address: &str, shown: &str) -> Verdict {
    let found = books.look_up(path, &[], address, 22).await;
    found.expect("it can be read").judge(&key(shown))
}

#[tokio::test]
async fn a_new_key_is_written_once_and_a_file_without_last_newline_stays_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("project/known_hosts");
    let books = Books::default();
    let record = async |address, port, text| books.record(&path, address, port, &key(text)).await.expect("written");
    assert_eq!(record("Web01", 22, A).await, Verdict::Known);
    assert_eq!(record("web01", 22, A).await, Verdict::Known);
    assert!(matches!(record("web01", 22, B).await, Verdict::Changed { .. }));
    let text = || std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text(), format!("web01 {A}\n"));

    std::fs::write(&path, format!("web02 {B}")).expect("a file");
    record("10.0.0.1", 2222, A).await;
    assert_eq!(text(), format!("web02 {B}\n[10.0.0.1]:2222 {A}\n"));
}

#[tokio::test]
async fn a_link_to_a_shared_file_stays_a_link() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (shared, link) = (folder.path().join("shared"), folder.path().join("link"));
    std::fs::write(&shared, "").expect("a file");
    std::os::unix::fs::symlink(&shared, &link).expect("a link");
    let books = Books::default();
    books.record(&link, "web01", 22, &key(A)).await.expect("written");
    assert!(link.symlink_metadata().expect("there").is_symlink());
    assert_eq!(
        std::fs::read_to_string(&shared).expect("the file"),
        format!("web01 {A}\n")
    );
}

#[tokio::test]
async fn a_line_that_a_crash_cut_is_passed_over_and_ended_by_the_next_writer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("known_hosts");
    let whole = format!("web01 {A}\nweb02 {B}\n");
    let cut = whole.len() - 20;
    std::fs::write(&path, &whole[..cut]).expect("a file");
    let books = Books::default();
    assert_eq!(judge(&books, &path, "web01", A).await, Verdict::Known);
    assert_eq!(judge(&books, &path, "web02", B).await, Verdict::Unknown);
    books.record(&path, "web02", 22, &key(B)).await.expect("written");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, format!("{}\nweb02 {B}\n", &whole[..cut]));
}

#[tokio::test]
async fn what_others_write_meanwhile_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("known_hosts");
    let books = Books::default();
    assert_eq!(judge(&books, &path, "web01", A).await, Verdict::Unknown);
    std::fs::write(&path, format!("web01 {B}\n")).expect("a file");
    assert!(matches!(
        judge(&books, &path, "web01", A).await,
        Verdict::Changed { .. }
    ));
    std::fs::write(folder.path().join("new"), format!("web01 {A}\n")).expect("a file");
    std::fs::rename(folder.path().join("new"), &path).expect("replaced, as ssh-keygen -R does");
    assert_eq!(judge(&books, &path, "web01", A).await, Verdict::Known);
    std::fs::remove_file(&path).expect("ours");
    assert_eq!(judge(&books, &path, "web01", A).await, Verdict::Unknown);
}

/// REVIEW C9, LEGACY S17: two processes, as far as files go, meet 200 hosts for the first time, each host twice.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_first_contacts_at_once_lose_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("known_hosts");
    let mut tasks = tokio::task::JoinSet::new();
    for books in [Arc::new(Books::default()), Arc::new(Books::default())] {
        for n in 0..200 {
            let (books, path) = (Arc::clone(&books), path.clone());
            tasks.spawn(async move { books.record(&path, &format!("web{n}"), 22, &key(A)).await });
        }
    }
    for verdict in tasks.join_all().await {
        assert_eq!(verdict.expect("written"), Verdict::Known);
    }
    let text = std::fs::read_to_string(&path).expect("the file");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..200).map(|n| format!("web{n} {A}")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected, "each once");
}

/// REVIEW C9.
#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_cost_one_reading_and_one_hash_a_line() {
    const LINES: u64 = 2_000;
    const HOSTS: u64 = 50;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("known_hosts");
    let mut text = String::new();
    for n in 0..LINES {
        writeln!(text, "web{n} {A}").expect("a String takes it");
    }
    std::fs::write(&path, text).expect("a file");
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&path).status();
    assert!(hashed.expect("ssh-keygen is installed").success());
    let books = Arc::new(Books::default());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..HOSTS {
        let (books, path) = (Arc::clone(&books), path.clone());
        tasks.spawn(async move { judge(&books, &path, &format!("web{n}"), A).await });
    }
    assert!(tasks.join_all().await.iter().all(|verdict| *verdict == Verdict::Known));
    let looked = Work {
        reads: 1,
        hmacs: LINES * HOSTS,
    };
    assert_eq!(books.work(), looked);

    // A first contact looks once more, under the lock, and reads nothing again.
    for n in 0..HOSTS {
        let new = format!("new{n}");
        assert_eq!(judge(&books, &path, &new, A).await, Verdict::Unknown);
        books.record(&path, &new, 22, &key(A)).await.expect("written");
    }
    let learned = Work {
        reads: 1,
        hmacs: LINES * HOSTS * 3,
    };
    assert_eq!(books.work(), learned);
    for n in 0..HOSTS {
        assert_eq!(judge(&books, &path, &format!("new{n}"), A).await, Verdict::Known);
    }
}

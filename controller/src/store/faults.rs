//! What happens to the file: damage, a killed writer, a full disk, a newer or foreign schema, modes.

use super::chain::Fault;
use super::contract::{NOW, started};
use super::{Store, StoreError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[path = "../../../tests/src/skip.rs"]
mod skip;

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join(".holdfast/holdfast.db")
}

/// Makes a store with `count` events and closes it, so that all of it is in the main file.
async fn filled(path: &Path, count: u32) {
    let store = Store::open(path).await.expect("a new store");
    for number in 0..count {
        store
            .append(NOW, vec![started(&format!("r{number}"))])
            .await
            .expect("appended");
    }
    store.close().await;
}

/// Changes the file behind our back, as a broken disk or a hand would.
async fn tamper(path: &Path, sql: &str) {
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .expect("a connection");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .expect("tampered with");
    connection.close().await.expect("closed");
}

fn refusal(result: Result<Store, StoreError>) -> String {
    result.expect_err("refused").to_string()
}

#[tokio::test]
async fn the_folder_and_the_file_are_for_their_owner_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    filled(&path, 1).await;
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    assert_eq!(mode(&path), 0o600);
    let names: Vec<_> = fs::read_dir(path.parent().expect("a folder"))
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().contains(".new-"))
        .collect();
    assert!(names.is_empty(), "no draft is left: {names:?}");
}

/// Starts `name` of this file as a process of its own, with the store's path in `variable`.
fn child(name: &str, variable: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", &format!("store::faults::{name}"), "--nocapture"])
        .env(variable, path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test again")
}

/// Says to the child below which file to open.
const OPENER: &str = "HOLDFAST_TEST_OPEN";

/// Says whose store it opened; does nothing unless called by the test below.
#[tokio::test]
async fn child_that_opens() {
    let Ok(path) = std::env::var(OPENER) else { return };
    let store = Store::open(path).await.expect("opened");
    writeln!(std::io::stderr().lock(), "controller {}", store.chain()).expect("a reader");
    store.close().await;
}

#[tokio::test]
async fn ten_processes_may_make_the_store_at_once() {
    for round in 0..5 {
        let folder = tempfile::tempdir().expect("a folder");
        let openers: Vec<_> = (0..10)
            .map(|_| child("child_that_opens", OPENER, &file(&folder)))
            .collect();
        let mut controllers = std::collections::BTreeSet::new();
        for opener in openers {
            let output = opener.wait_with_output().expect("waited for");
            let said = String::from_utf8(output.stderr).expect("utf-8");
            let controller = said.lines().find_map(|line| line.strip_prefix("controller "));
            controllers.insert(controller.unwrap_or_else(|| panic!("round {round}: {said}")).to_owned());
        }
        assert_eq!(controllers.len(), 1, "round {round}: all of them are one controller");
    }
}

#[tokio::test]
async fn a_store_that_another_has_locked_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(&file(&folder), 3).await;
    // As a restored backup is: without the write-ahead log, so that opening it has to switch that on.
    tamper(&file(&folder), "PRAGMA journal_mode = DELETE").await;
    let mut other = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file(&folder))
        .connect()
        .await
        .expect("a connection");
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .expect("locked");
    let opening = tokio::spawn(Store::open(file(&folder)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!opening.is_finished(), "it waits");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("unlocked");
    let store = opening.await.expect("no panic").expect("opened when it was free");
    assert_eq!(store.verify_chain().await.expect("readable"), Ok(3));
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    filled(&path, 50).await;
    let whole = fs::read(&path).expect("readable");
    for length in [0, 10, 100, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&path, &whole[..length]).expect("written");
        let message = refusal(Store::open(&path).await);
        assert!(message.contains("holdfast.db is damaged"), "{length}: {message}");
        assert!(message.contains("put a backup of it"), "{length}: {message}");
        let now = fs::read(&path).expect("readable");
        assert!(now == whole[..length], "{length}: the damaged file is left as it is");
    }
    fs::write(&path, &whole).expect("written");
    Store::open(&path).await.expect("whole again");
}

#[tokio::test]
async fn a_flipped_byte_of_an_event_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    filled(&path, 50).await;
    let mut bytes = fs::read(&path).expect("readable");
    let needle = br#""run":"r17""#;
    let at = bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .expect("event 18");
    bytes[at + 8] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let message = refusal(Store::open(&path).await);
    assert!(message.contains("event 18 of chain"), "{message}");
    assert!(message.contains("its bytes were changed"), "{message}");
}

#[tokio::test]
async fn pages_of_noise_are_refused_or_harmless() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    filled(&path, 50).await;
    let whole = fs::read(&path).expect("readable");
    for page in 0..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(&path, &bytes).expect("written");
        match Store::open(&path).await {
            Err(error) => assert!(error.to_string().contains("damaged"), "page {page}: {error}"),
            // A page that nobody uses.
            Ok(store) => {
                assert_eq!(store.events(0, 100).await.expect("readable").len(), 50, "page {page}");
                store.close().await;
            }
        }
        let _ = fs::remove_file(path.with_extension("db-wal"));
        let _ = fs::remove_file(path.with_extension("db-shm"));
    }
}

#[tokio::test]
async fn the_first_broken_event_is_named() {
    let unlock = "DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_deleted;";
    let cases = [
        (
            "UPDATE events SET json = CAST(replace(CAST(json AS TEXT), 'ann', 'eve') AS BLOB) WHERE seq IN (3, 5)",
            3,
            Fault::Changed,
        ),
        ("UPDATE events SET at_ms = 7 WHERE seq = 4", 4, Fault::Columns),
        ("DELETE FROM events WHERE seq = 4", 5, Fault::Unlinked),
        ("DELETE FROM events WHERE seq > 6", 6, Fault::CutOff),
    ];
    for (sql, seq, fault) in &cases {
        let folder = tempfile::tempdir().expect("a folder");
        let path = file(&folder);
        let store = Store::open(&path).await.expect("a new store");
        for number in 0..8 {
            store
                .append(NOW, vec![started(&format!("r{number}"))])
                .await
                .expect("appended");
        }
        assert_eq!(store.verify_chain().await.expect("readable"), Ok(8));
        tamper(&path, &format!("{unlock} {sql}")).await;
        let broken = store.verify_chain().await.expect("readable").expect_err(sql);
        assert_eq!((broken.seq, &broken.fault), (*seq, fault), "{sql}");
    }
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_events() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(&file(&folder), 2).await;
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file(&folder))
        .connect()
        .await
        .expect("a connection");
    for sql in ["DELETE FROM events", "UPDATE events SET at_ms = 0"] {
        let error = sqlx::raw_sql(sql).execute(&mut connection).await.expect_err("refused");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn a_changed_ledger_plan_or_content_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(file(&folder)).await.expect("a new store");
    let mut blobs = holdfast_plan::content::Blobs::default();
    let content = blobs.insert(b"content".as_slice());
    store.put_blobs(&blobs, NOW).await.expect("kept");
    tamper(store.path(), "UPDATE blobs SET bytes = CAST('Content' AS BLOB)").await;
    let error = store.blob(&content.sha256).await.expect_err("changed").to_string();
    assert!(
        error.contains(&content.sha256) && error.contains("its bytes were changed"),
        "{error}"
    );
}

#[tokio::test]
async fn a_newer_schema_and_a_foreign_database_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(&file(&folder), 1).await;
    tamper(&file(&folder), "PRAGMA user_version = 99").await;
    let message = refusal(Store::open(file(&folder)).await);
    assert!(
        message.contains("schema 99") && message.contains("newer holdfast"),
        "{message}"
    );
    tamper(&file(&folder), "PRAGMA application_id = 1").await;
    let message = refusal(Store::open(file(&folder)).await);
    assert!(message.contains("not a store of holdfast"), "{message}");
    fs::write(file(&folder), "[store]\nurl = \"sqlite:x\"\n").expect("written");
    let message = refusal(Store::open(file(&folder)).await);
    assert!(message.contains("file is not a database"), "{message}");
}

#[tokio::test]
async fn a_backup_made_while_others_write_is_a_whole_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(file(&folder)).await.expect("a new store");
    store.append(NOW, vec![started("first")]).await.expect("appended");
    let copy = folder.path().join("copy.db");
    let writing = async {
        for number in 0..50 {
            store
                .append(NOW, vec![started(&format!("r{number}"))])
                .await
                .expect("appended");
        }
    };
    let (backup, ()) = tokio::join!(store.backup(&copy), writing);
    backup.expect("backed up");
    assert_eq!(fs::metadata(&copy).expect("there").permissions().mode() & 0o777, 0o600);
    let restored = Store::open(&copy).await.expect("a store");
    assert!(restored.verify_chain().await.expect("readable").expect("unbroken") >= 1);
    restored
        .append(NOW, vec![started("after the restore")])
        .await
        .expect("appended");
    let again = store.backup(&copy).await.expect_err("it is there").to_string();
    assert!(again.contains("make the backup"), "{again}");
}

/// Says to the child below which file to write.
const APPENDER: &str = "HOLDFAST_TEST_APPEND_TO";

/// Appends for ever and says each number after it was acknowledged; does nothing unless called by the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends() {
    let Ok(path) = std::env::var(APPENDER) else { return };
    let store = Store::open(path).await.expect("a store");
    let pid = std::process::id();
    for number in 0_u32.. {
        let seqs = store
            .append(
                NOW,
                vec![
                    started(&format!("{pid}-{number}")),
                    started(&format!("{pid}-{number}b")),
                ],
            )
            .await
            .expect("appended");
        // Straight to the descriptor: the test harness captures what `println!` prints.
        writeln!(std::io::stderr().lock(), "acknowledged {}", seqs[1]).expect("a reader");
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    let mut acknowledged = 0;
    for round in 0..6 {
        let mut child = child("child_that_appends", APPENDER, &path);
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        for line in lines.take(5 + round * 3) {
            let line = line.expect("utf-8");
            if let Some(seq) = line.strip_prefix("acknowledged ") {
                acknowledged = seq.parse::<u64>().expect("a number");
            }
        }
        child.kill().expect("killed");
        child.wait().expect("waited for");
        let store = Store::open(&path).await.expect("opens after a kill");
        let count = store.verify_chain().await.expect("readable").expect("unbroken");
        assert!(count >= acknowledged, "{count} of {acknowledged} acknowledged");
        assert_eq!(count % 2, 0, "an append is all or nothing");
        store.close().await;
    }
    assert!(acknowledged > 20, "the children did write");
}

#[tokio::test]
async fn a_write_ahead_log_cut_at_any_place_gives_an_unbroken_prefix() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    let store = Store::open(&path).await.expect("a new store");
    for number in 0..10 {
        store
            .append(NOW, vec![started(&format!("r{number}"))])
            .await
            .expect("appended");
    }
    let main = fs::read(&path).expect("readable");
    let wal = fs::read(path.with_extension("db-wal")).expect("a write-ahead log");
    let mut last = 0;
    for length in (0..=wal.len()).step_by(wal.len() / 40) {
        let cut = folder.path().join(format!("cut-{length}.db"));
        fs::write(&cut, &main).expect("written");
        fs::write(cut.with_extension("db-wal"), &wal[..length]).expect("written");
        let reopened = Store::open(&cut).await.expect("a cut log is a crash, not damage");
        let count = reopened.verify_chain().await.expect("readable").expect("unbroken");
        assert!(count >= last, "{length}: {count}");
        last = count;
        reopened.close().await;
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let small = folder.path().join("small");
    fs::create_dir(&small).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=768k,mode=700", "tmpfs"])
        .arg(&small)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        skip::skip("mounting a small disk needs root");
        return;
    }
    let outcome = tokio::spawn(fill(small.join("holdfast.db"))).await;
    let unmounted = Command::new("umount").arg("-l").arg(&small).status().expect("umount");
    assert!(unmounted.success());
    outcome.expect("no panic");
}

async fn fill(path: PathBuf) {
    let store = Store::open(&path).await.expect("a new store");
    let mut acknowledged = 0;
    let error = loop {
        match store.append(NOW, vec![started(&format!("r{acknowledged}"))]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the disk is small");
    };
    assert!(error.to_string().contains("is full"), "{error:?}");
    assert_eq!(store.verify_chain().await.expect("still readable"), Ok(acknowledged));
    store.close().await;
}

// REVIEW H18
#[tokio::test]
async fn a_store_that_everybody_can_write_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    filled(&path, 1).await;
    let parent = path.parent().expect("a folder").to_owned();
    for (what, mode, back) in [(&parent, 0o777, 0o700), (&parent, 0o1777, 0o700), (&path, 0o606, 0o600)] {
        fs::set_permissions(what, fs::Permissions::from_mode(mode)).expect("ours");
        let message = refusal(Store::open(&path).await);
        let named = format!("{} can be written by everybody", what.display());
        assert!(
            message.starts_with(&named) && message.contains("chmod o-w"),
            "{message}"
        );
        fs::set_permissions(what, fs::Permissions::from_mode(back)).expect("ours");
    }
    Store::open(&path).await.expect("ours alone again").close().await;
}

// REVIEW H18
#[tokio::test]
async fn drafts_of_killed_processes_are_swept_and_those_of_living_ones_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    filled(&path, 1).await;
    let beside = |name: &str| path.with_file_name(name);
    for name in [
        "holdfast.db.new-dead",
        "holdfast.db.new-dead-journal",
        "notes.new-dead",
        "holdfast.db.new-alive",
    ] {
        fs::write(beside(name), "x").expect("written");
        if !name.ends_with("alive") {
            let aged = Command::new("touch")
                .args(["-d", "1 hour ago"])
                .arg(beside(name))
                .status();
            assert!(aged.expect("touch runs").success());
        }
    }
    Store::open(&path).await.expect("opened").close().await;
    let left = |name: &str| beside(name).exists();
    assert!(!left("holdfast.db.new-dead") && !left("holdfast.db.new-dead-journal"));
    assert!(left("holdfast.db.new-alive") && left("notes.new-dead"));
}

// REVIEW H18
#[tokio::test]
async fn a_changed_letter_of_a_run_is_not_believed_and_is_made_anew_from_the_events() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(file(&folder)).await.expect("a new store");
    store.append(NOW, vec![started("r1")]).await.expect("appended");
    let before = store.runs(10).await.expect("as written");
    assert_eq!(store.verify().await.expect("readable").differing, []);
    for sql in [
        "UPDATE runs SET started_by = 'eve'",
        "UPDATE runs SET command = command || ' '",
        "UPDATE runs SET started_ms = started_ms + 1",
        "UPDATE runs SET hosts = CAST('[]' AS BLOB)",
        "UPDATE runs SET ended_ms = 7",
    ] {
        tamper(store.path(), sql).await;
        let error = store.runs(10).await.expect_err(sql).to_string();
        assert!(
            error.contains("run r1") && error.contains("`holdfast store verify`"),
            "{error}"
        );
        let verified = store.verify().await.expect("readable");
        assert_eq!(
            (verified.differing, verified.lost),
            (vec![("runs", 1)], vec![]),
            "{sql}"
        );
        store.rebuild().await.expect("rebuilt");
        assert_eq!(store.runs(10).await.expect("as written"), before);
    }
}

// REVIEW H18
#[tokio::test]
async fn verifying_finds_what_was_changed_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(file(&folder)).await.expect("a new store");
    for number in 0..3 {
        store
            .append(NOW, vec![started(&format!("r{number}"))])
            .await
            .expect("appended");
    }
    let mut blobs = holdfast_plan::content::Blobs::default();
    let content = blobs.insert(b"content".as_slice());
    store.put_blobs(&blobs, NOW).await.expect("kept");
    let verified = store.verify().await.expect("readable");
    assert_eq!((verified.events, verified.contents, verified.plans), (3, 1, 0));
    assert_eq!((verified.lost.len(), verified.differing.len()), (0, 0));
    tamper(
        store.path(),
        "DELETE FROM runs WHERE run = 'r2'; INSERT INTO machines VALUES ('m', 'h', 1)",
    )
    .await;
    tamper(store.path(), "UPDATE blobs SET bytes = CAST('Content' AS BLOB)").await;
    let verified = store.verify().await.expect("readable");
    assert_eq!(verified.differing, [("machines", 1), ("runs", 1)]);
    assert_eq!(
        verified.lost,
        [format!("the bytes of content {} were changed", content.sha256)]
    );
    assert_eq!(store.verify().await.expect("readable"), verified, "nothing was changed");
    tamper(
        store.path(),
        "DROP TRIGGER events_are_never_changed; UPDATE events SET json = CAST(replace(CAST(json AS TEXT), 'ann', 'eve') AS BLOB) WHERE seq = 2",
    )
    .await;
    let verified = store.verify().await.expect("readable");
    assert!(verified.lost[0].contains("event 2 of chain"), "{verified:?}");
}

// REVIEW H18
#[tokio::test]
async fn a_store_whose_folder_vanished_says_so_and_records_nothing_into_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    let store = Store::open(&path).await.expect("a new store");
    store.append(NOW, vec![started("r1")]).await.expect("appended");
    fs::rename(path.parent().expect("a folder"), folder.path().join("moved")).expect("moved");
    for _ in 0..2 {
        let error = store
            .append(NOW, vec![started("r2")])
            .await
            .expect_err("it is gone")
            .to_string();
        assert!(error.contains("was moved, removed or replaced"), "{error}");
    }
    fs::create_dir(path.parent().expect("a folder")).expect("a folder");
    fs::copy(folder.path().join("moved/holdfast.db"), &path).expect("another one");
    let error = store.mark_acked(&[]).await.expect_err("it was replaced").to_string();
    assert!(error.contains("was moved, removed or replaced"), "{error}");
    store.close().await;
}

// REVIEW H18
#[tokio::test]
async fn a_store_on_a_read_only_disk_is_told_as_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = |arguments: &[&str]| {
        let mut command = Command::new("mount");
        command.args(arguments).arg(folder.path()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "mode=700", "tmpfs"]) {
        skip::skip("mounting a disk needs root");
        return;
    }
    filled(&folder.path().join("holdfast.db"), 1).await;
    let remounted = mount(&["-o", "remount,ro"]);
    let message = refusal(Store::open(folder.path().join("holdfast.db")).await);
    let unmounted = Command::new("umount")
        .arg("-l")
        .arg(folder.path())
        .status()
        .expect("umount");
    assert!(remounted && unmounted.success());
    assert!(
        message.contains("can't be written") && !message.contains("code"),
        "{message}"
    );
}

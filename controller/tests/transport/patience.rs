//! What is tried again when a host is reached for, how often, and what is not (REVIEW C7).

use crate::support::{Collect, Sshd, context, free_address, run, target};
use holdfast::demo::server::{DemoHosts, DemoKey};
use holdfast::fleet::Fleet;
use holdfast::outcomes::unreachable_kind;
use holdfast::transport::{Target, TransportError};
use holdfast_plan::outcome::UnreachableKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How a server ends a connection before the login.
#[derive(Debug, Clone, Copy)]
enum Ends {
    WithoutAWord,
    WithAReset,
    FullAsOf97,
    FullAsOf98,
    AfterItsBanner,
    InTheKeyExchange,
}

impl Ends {
    const ALL: [Self; 6] = [
        Self::WithoutAWord,
        Self::WithAReset,
        Self::FullAsOf97,
        Self::FullAsOf98,
        Self::AfterItsBanner,
        Self::InTheKeyExchange,
    ];

    async fn end(self, mut tcp: TcpStream) {
        let words: &[u8] = match self {
            Self::WithoutAWord | Self::WithAReset => b"",
            Self::FullAsOf97 => b"Exceeded MaxStartups\r\n",
            Self::FullAsOf98 => b"Not allowed at this time\r\n",
            Self::AfterItsBanner | Self::InTheKeyExchange => b"SSH-2.0-OpenSSH_9.9\r\n",
        };
        let _ = tcp.write_all(words).await;
        match self {
            // What came in and was not read makes the kernel send a reset.
            Self::WithAReset => {
                let _ = tcp.readable().await;
            }
            Self::InTheKeyExchange => {
                let _ = tcp.read(&mut [0; 64]).await;
            }
            _ => {
                let _ = tcp.shutdown().await;
            }
        }
    }
}

/// Stands in front of a host, ends the first connections, and passes the later ones on. Counts all.
async fn in_front_of(host: SocketAddr, ends: Ends, first: u32) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let (count, counted) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let told = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            told.fetch_add(1, Ordering::Relaxed);
            let turn = counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                if turn < first {
                    return ends.end(tcp).await;
                }
                let mut behind = TcpStream::connect(host).await.expect("the host is there");
                let _ = tokio::io::copy_bidirectional(&mut tcp, &mut behind).await;
            });
        }
    });
    (address, count)
}

async fn demo_host() -> (DemoHosts, DemoKey, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = DemoKey::create(&folder.path().join("key")).expect("a key");
    let names = ["web01".to_owned()];
    let hosts = DemoHosts::start(folder.path(), &names, &key.public)
        .await
        .expect("a host");
    (hosts, key, folder)
}

#[tokio::test]
async fn a_connection_that_a_server_ends_before_the_login_is_tried_again_however_it_ends_it() {
    let (hosts, key, folder) = demo_host().await;
    let mut tasks = JoinSet::new();
    for ends in Ends::ALL {
        let (address, count) = in_front_of(hosts.hosts[0].address, ends, 2).await;
        let (target, fleet) = (
            target(address, "demo", Some(&key.private)),
            Fleet::new(context(folder.path()), 1),
        );
        tasks.spawn(async move {
            if let Err(error) = fleet.reach(&target).await {
                panic!("{ends:?}: {error}");
            }
            assert_eq!(count.load(Ordering::Relaxed), 3, "{ends:?}");
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn what_ends_a_connection_before_the_login_has_one_name() {
    let (hosts, key, folder) = demo_host().await;
    for ends in Ends::ALL {
        let (address, _) = in_front_of(hosts.hosts[0].address, ends, u32::MAX).await;
        let fleet = Fleet::new(context(folder.path()), 1);
        let error = fleet.open(&target(address, "demo", Some(&key.private))).await.err();
        let error = error.unwrap_or_else(|| panic!("{ends:?} lets us in"));
        assert_eq!(unreachable_kind(&error), UnreachableKind::Dropped, "{ends:?}: {error}");
    }
}

/// Reaches for a target once and gives the error; `None`: it waited for another try.
async fn at_once(target: &Target, fleet: &Fleet) -> Option<TransportError> {
    let waits = std::time::Duration::from_millis(400);
    match tokio::time::timeout(waits, fleet.reach(target)).await {
        Ok(result) => Some(result.err().expect("an error")),
        Err(_) => None,
    }
}

#[tokio::test]
async fn a_refused_login_is_final_and_a_refused_connection_is_not() {
    let (hosts, _, folder) = demo_host().await;
    let other = DemoKey::create(&folder.path().join("other")).expect("a key");
    let (address, count) = in_front_of(hosts.hosts[0].address, Ends::WithoutAWord, 0).await;
    let fleet = Fleet::new(context(folder.path()), 1);
    let error = fleet.reach(&target(address, "demo", Some(&other.private))).await.err();
    assert_eq!(error.expect("a refusal").kind(), "auth-refused");
    assert_eq!(count.load(Ordering::Relaxed), 1, "each try more is one nearer to a ban");
    let closed = target(free_address(), "demo", Some(&other.private));
    assert!(at_once(&closed, &fleet).await.is_none(), "sshd may be starting anew");
}

/// Issue 8, "done when" 7, for what observes; the same for whole commands is in the scenarios.
#[tokio::test]
async fn sixty_hosts_behind_a_daemon_with_two_places_for_logins_are_all_reached() {
    let lines = ["ListenAddress 0.0.0.0", "MaxStartups 2:100:2"];
    let Some(sshd) = Sshd::start(&lines) else { return };
    let targets: Vec<Target> = (1..=60)
        .map(|n| {
            let mut target = sshd.target();
            target.name = format!("web{n}").as_str().into();
            target.address = format!("127.0.1.{n}");
            target
        })
        .collect();
    let fleet = Fleet::new(sshd.context(), 60);
    let results = fleet
        .each(targets, |fleet, target| async move {
            let mut session = fleet.reach(&target).await?;
            let mut seen = Collect::default();
            run(&mut session, "echo here", &mut seen).await?;
            fleet.close(session).await;
            Ok(seen.out())
        })
        .await;
    for (host, result) in results {
        match result {
            Ok(out) => assert_eq!(out, "here\n", "{host}"),
            Err(error) => panic!("{host}: {error}\n{}", sshd.log()),
        }
    }
    assert!(
        sshd.log().contains("MaxStartups"),
        "the limit was reached:\n{}",
        sshd.log()
    );
}

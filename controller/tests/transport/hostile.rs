//! Servers that mean harm or are broken: bounded by time and memory, and an error of their own.

use crate::support::{context, free_address, peak_resident_bytes, target};
use holdfast::demo::server::DemoKey;
use holdfast::transport::{Target, TransportError, connect};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts a server that does `talk` with each connection.
async fn server<F>(talk: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(talk(tcp));
        }
    });
    address
}

async fn attempt(address: SocketAddr, change: impl FnOnce(&mut Target)) -> TransportError {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = DemoKey::create(&folder.path().join("key")).expect("a key");
    let mut target = target(address, "demo", Some(&key.private));
    change(&mut target);
    connect(&target, &context(folder.path())).await.err().expect("an error")
}

#[tokio::test]
async fn a_server_that_never_sends_its_banner_runs_into_the_handshake_limit() {
    let address = server(|mut tcp| async move {
        let mut sink = Vec::new();
        let _ = tcp.read_to_end(&mut sink).await;
    })
    .await;
    let started = Instant::now();
    let error = attempt(address, |target| target.timeouts.handshake = Duration::from_millis(500)).await;
    assert_eq!(error.kind(), "handshake-timeout");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn an_endless_banner_ends_at_a_mebibyte() {
    let address =
        server(|mut tcp| async move { while tcp.write_all(b"welcome to this machine\r\n").await.is_ok() {} }).await;
    let before = peak_resident_bytes();
    let error = attempt(address, |_| {}).await;
    assert_eq!(error.kind(), "not-ssh", "{error}");
    assert!(peak_resident_bytes() - before < 8 * 1024 * 1024);
}

#[tokio::test]
async fn another_protocol_is_shown_with_its_first_words() {
    let address = server(|mut tcp| async move {
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let error = attempt(address, |_| {}).await;
    assert!(error.to_string().contains("HTTP/1.1 400 Bad Request"), "{error}");
}

#[tokio::test]
async fn a_packet_of_an_impossible_size_ends_the_handshake() {
    let address = server(|mut tcp| async move {
        let _ = tcp.write_all(b"SSH-2.0-evil\r\n\xff\xff\xff\xff").await;
        let _ = tcp.write_all(&[0; 100_000]).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let error = attempt(address, |target| target.timeouts.handshake = Duration::from_secs(5)).await;
    assert_eq!(error.kind(), "not-ssh", "{error}");
}

#[tokio::test]
async fn a_closed_port_and_a_wrong_name_are_told_apart() {
    let error = attempt(free_address(), |_| {}).await;
    assert_eq!(error.kind(), "connect");
    let error = attempt(free_address(), |target| {
        target.address = "no-such-host.invalid".to_owned();
    })
    .await;
    assert_eq!(error.kind(), "resolve");
}

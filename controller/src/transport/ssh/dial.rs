//! From a name to a TCP connection: lookups are bounded, and the addresses of a name race each other.
//!
//! ```text
//! name -> (a place among the lookups) -> addresses -> first, a quarter second later the second, ... -> who answers first
//! ```

use crate::transport::{Target, TransportError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Lookups at a time. The system's resolver can't be stopped: with a dead DNS each keeps its thread for half a minute,
/// long after we gave it up, and all that blocks (known_hosts, keys) shares 512 threads.
const LOOKUPS_MAX: usize = 64;
static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// How long a lookup waits for its place. A resolver that answers within three seconds serves 640 hosts meanwhile; one
/// that answers nobody shall not be waited for by a whole fleet.
const LOOKUP_QUEUE_MAX: Duration = Duration::from_secs(30);

/// Addresses of one name that are tried: more are a mistake in the DNS, and each costs a connection attempt.
const ADDRESSES_MAX: usize = 8;

/// How long an address is tried alone (RFC 8305 calls it the connection attempt delay and recommends this).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address of the target that answers.
pub(super) async fn connect(target: &Target) -> Result<(TcpStream, SocketAddr), TransportError> {
    let addresses = resolve(target, &LOOKUPS, |name, port| {
        Ok((name, port).to_socket_addrs()?.take(ADDRESSES_MAX).collect())
    });
    race(target, &addresses.await?).await
}

async fn resolve(
    target: &Target,
    places: &'static Semaphore,
    lookup: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Result<Vec<SocketAddr>, TransportError> {
    if let Ok(address) = target.address.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let failed = |source| TransportError::Resolve {
        address: target.address.clone(),
        source,
    };
    let late = |_| {
        let kind = io::ErrorKind::TimedOut;
        failed(io::Error::new(kind, "the resolver gave no answer in time"))
    };
    let place = timeout(LOOKUP_QUEUE_MAX, places.acquire()).await.map_err(late)?;
    let place = place.expect("the semaphore is never closed");
    let (name, port) = (target.address.clone(), target.port);
    let looking = tokio::task::spawn_blocking(move || {
        // Given back when the thread is free, not when we lose patience.
        let _place = place;
        lookup(&name, port)
    });
    let found = timeout(target.timeouts.connect, looking).await.map_err(late)?;
    let found = found
        .map_err(|error| failed(io::Error::other(error)))?
        .map_err(failed)?;
    if found.is_empty() {
        let kind = io::ErrorKind::NotFound;
        return Err(failed(io::Error::new(kind, "the name has no address")));
    }
    Ok(found)
}

/// Tries the addresses in order, each beside those before it once they had their head start.
async fn race(target: &Target, addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), TransportError> {
    let mut waiting = addresses.iter();
    let mut trying = FuturesUnordered::new();
    let mut last = None;
    loop {
        if let Some(address) = waiting.next() {
            trying.push(dial(target, *address));
        }
        tokio::select! {
            Some(result) = trying.next() => match result {
                Ok(connected) => return Ok(connected),
                Err(error) => last = Some(error),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
            else => return Err(last.expect("resolve gives at least one address, and all have failed")),
        }
    }
}

async fn dial(target: &Target, address: SocketAddr) -> Result<(TcpStream, SocketAddr), TransportError> {
    match timeout(target.timeouts.connect, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => {
            // A socket without it is slower, not wrong.
            let _ = tcp.set_nodelay(true);
            Ok((tcp, address))
        }
        Ok(Err(source)) => Err(TransportError::Connect {
            address: address.to_string(),
            source,
        }),
        Err(_) => Err(TransportError::ConnectTimeout {
            address: address.to_string(),
            after: target.timeouts.connect,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    fn target() -> Target {
        let mut target = Target::new("web01", "web01.example.net", "ops");
        target.timeouts.connect = Duration::from_secs(60);
        target
    }

    /// Addresses that take no connection and refuse none: their queues are full.
    fn deaf(count: usize) -> (Vec<SocketAddr>, Vec<TcpListener>, Vec<std::net::TcpStream>) {
        use rustix::net;
        let (mut addresses, mut listeners, mut queued) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).expect("a socket");
            net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
            net::listen(&socket, 0).expect("a queue of one");
            let listener = TcpListener::from(socket);
            let address = listener.local_addr().expect("it is bound");
            let patience = Duration::from_millis(100);
            while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, patience) {
                queued.push(stream);
            }
            addresses.push(address);
            listeners.push(listener);
        }
        (addresses, listeners, queued)
    }

    // REVIEW C13
    #[tokio::test]
    async fn a_name_whose_first_addresses_are_deaf_is_reached_by_the_one_that_hears() {
        let (mut addresses, _listeners, _queued) = deaf(3);
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        addresses.push(closed.expect("a free port"));
        let hears = TcpListener::bind("127.0.0.1:0").expect("a port");
        addresses.push(hears.local_addr().expect("it is bound"));
        // Each deaf one takes a minute; one after another they would take three.
        let target = target();
        let connected = timeout(Duration::from_secs(30), race(&target, &addresses)).await;
        let (_, address) = connected.expect("nobody waits for a deaf one").expect("a connection");
        assert_eq!(address, addresses[4]);
    }

    // REVIEW C13
    #[tokio::test]
    async fn addresses_that_all_fail_are_told_when_the_last_did() {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let closed = [free().expect("a port"), free().expect("a port")];
        let error = race(&target(), &closed).await.expect_err("nobody is there");
        assert!(matches!(error, TransportError::Connect { .. }), "{error}");
    }

    // REVIEW C13
    #[tokio::test]
    async fn a_dead_resolver_keeps_few_threads_however_many_ask() {
        static PLACES: Semaphore = Semaphore::const_new(2);
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (answer, answers) = mpsc::channel::<()>();
        let answers = Arc::new(std::sync::Mutex::new(answers));
        let mut target = target();
        target.timeouts.connect = Duration::from_millis(50);
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (target, at_once, most) = (target.clone(), Arc::clone(&at_once), Arc::clone(&most));
            let answers = Arc::clone(&answers);
            asking.spawn(async move {
                let dead = move |_: &str, _: u16| {
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // Nobody answers before all have lost their patience.
                    let _ = answers.lock().map(|answers| answers.recv());
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    Ok(Vec::new())
                };
                // The queue has a limit of its own; here the test has none of that patience.
                timeout(Duration::from_millis(500), resolve(&target, &PLACES, dead)).await
            });
        }
        while let Some(result) = asking.join_next().await {
            if let Ok(found) = result.expect("no panic") {
                assert!(matches!(found, Err(TransportError::Resolve { .. })), "{found:?}");
            }
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
        drop(answer);
    }

    #[tokio::test]
    async fn an_address_is_looked_up_by_nobody() {
        static NONE: Semaphore = Semaphore::const_new(0);
        for address in ["10.0.0.7", "::1"] {
            let mut target = target();
            target.address = address.to_owned();
            let found = resolve(&target, &NONE, |_, _| Ok(Vec::new())).await.expect("it is one");
            assert_eq!(found, [SocketAddr::new(address.parse().expect("an address"), 22)]);
        }
    }
}

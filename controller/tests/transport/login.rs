//! Which keys are offered, in which order, and by how many connections to the ssh-agent.

use crate::support::{SshAgent, Sshd, context, keygen, target};
use holdfast::demo::server::{DemoHosts, DemoKey};
use holdfast::transport::{TransportError, connect};
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{self, VerifiedPublicKey};
use russh::{MethodKind, MethodSet, Preferred};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Lets these keys of the sshd's folder in.
fn authorize(sshd: &Sshd, names: &[&str]) {
    let keys: String = names
        .iter()
        .map(|name| std::fs::read_to_string(sshd.path(&format!("{name}.pub"))).expect("a public key"))
        .collect();
    std::fs::write(sshd.path("authorized_keys"), keys).expect("a file");
}

/// Makes the sshd's folder a home with this key in it as the default one.
fn home_with(sshd: &Sshd, name: &str) -> PathBuf {
    let home = sshd.path("home");
    std::fs::create_dir_all(home.join(".ssh")).expect("a folder");
    std::fs::copy(sshd.path(name), home.join(".ssh/id_ed25519")).expect("a copy");
    home
}

/// REVIEW C5.
#[tokio::test]
async fn a_key_that_the_agent_does_not_sign_with_ends_no_login() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let Some(agent) = SshAgent::start(sshd.path("agent")) else {
        return;
    };
    keygen(&sshd.path("asks"), &["-t", "ed25519"]);
    agent.add(&["-c"], &sshd.path("asks"));
    authorize(&sshd, &["asks", "client"]);
    let mut target = sshd.target();
    target.identities = Vec::new();
    let mut context = sshd.context();
    context.agent_socket = Some(agent.socket.clone());

    // Alone it is no refusal of the host: the agent is what failed.
    let error = connect(&target, &context).await.err().expect("nobody confirms");
    assert_eq!(error.kind(), "ssh-agent", "{error}");

    context.home = Some(home_with(&sshd, "client"));
    if let Err(error) = connect(&target, &context).await {
        panic!("{error}\n{}", sshd.log());
    }
}

/// Accepts one key, and says that it takes RSA keys with SHA-1 signatures alone.
#[derive(Clone)]
struct OldServer {
    accepts: PublicKey,
}

impl server::Handler for OldServer {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<server::Auth, russh::Error> {
        Ok(if key.public_key.key_data() == self.accepts.key_data() {
            server::Auth::Accept
        } else {
            server::Auth::reject()
        })
    }
}

impl OldServer {
    async fn start(accepts: &Path) -> SocketAddr {
        let accepts = PublicKey::read_openssh_file(accepts).expect("a public key");
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).expect("a key");
        let config = Arc::new(server::Config {
            methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![key],
            preferred: Preferred {
                key: vec![Algorithm::Ed25519, Algorithm::Rsa { hash: None }].into(),
                ..Preferred::default()
            },
            ..server::Config::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (config, handler) = (
                    Arc::clone(&config),
                    OldServer {
                        accepts: accepts.clone(),
                    },
                );
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, tcp, handler).await {
                        let _ = session.await;
                    }
                });
            }
        });
        address
    }
}

/// REVIEW C5.
#[tokio::test]
async fn an_rsa_key_on_a_server_of_sha1_alone_ends_no_login() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (rsa, good) = (folder.path().join("rsa"), folder.path().join("good"));
    keygen(&rsa, &["-t", "rsa", "-b", "2048"]);
    keygen(&good, &["-t", "ed25519"]);
    let address = OldServer::start(&good.with_extension("pub")).await;
    let mut target = target(address, "root", None);
    target.identities = vec![rsa.clone(), good];
    if let Err(error) = connect(&target, &context(folder.path())).await {
        panic!("{error}");
    }
    target.identities = vec![rsa];
    let error = connect(&target, &context(folder.path()))
        .await
        .err()
        .expect("a refusal");
    let TransportError::AuthRefused { tried, accepted, .. } = &error else {
        panic!("{error}");
    };
    assert!(tried[0].ends_with("(the server wants SHA-1 signatures)"), "{tried:?}");
    assert_eq!(accepted, &["publickey"], "asked for, though nothing was tried");
}

/// REVIEW C5: each offer that is refused counts for MaxAuthTries and for bans.
#[tokio::test]
async fn a_key_in_the_agent_and_in_a_file_is_offered_once() {
    let Some(sshd) = Sshd::start(&["LogLevel VERBOSE"]) else {
        return;
    };
    let Some(agent) = SshAgent::start(sshd.path("agent")) else {
        return;
    };
    keygen(&sshd.path("other"), &["-t", "ed25519"]);
    agent.add(&[], &sshd.path("other"));
    let mut target = sshd.target();
    target.identities = Vec::new();
    let mut context = sshd.context();
    context.agent_socket = Some(agent.socket.clone());
    context.home = Some(home_with(&sshd, "other"));
    let error = connect(&target, &context).await.err().expect("a refusal");
    assert_eq!(error.kind(), "auth-refused", "{error}");
    let log = sshd.log();
    assert_eq!(log.matches("Failed publickey").count(), 1, "{log}");
}

/// Stands in front of an agent, counts its connections, and ends each after `requests_max` requests.
fn in_front_of(agent: &SshAgent, socket: &Path, requests_max: usize) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let (count, behind) = (Arc::new(AtomicUsize::new(0)), agent.socket.clone());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let behind = behind.clone();
            tokio::spawn(async move {
                let mut agent = UnixStream::connect(behind).await.expect("the agent is there");
                for _ in 0..requests_max {
                    if pass(&mut client, &mut agent).await.is_err() || pass(&mut agent, &mut client).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    count
}

/// Passes one message on: four bytes of length, and as many more.
async fn pass(from: &mut UnixStream, to: &mut UnixStream) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let length = from.read_u32().await?;
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message).await?;
    to.write_u32(length).await?;
    to.write_all(&message).await
}

/// Logs in to that many hosts at once by the agent alone; gives the errors and the connections to the agent.
async fn log_in_by_agent(hosts: usize, requests_max: usize) -> Option<(Vec<TransportError>, usize)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = DemoKey::create(&folder.path().join("key")).expect("a key");
    let agent = SshAgent::start(folder.path().join("agent"))?;
    agent.add(&[], &key.private);
    let names: Vec<String> = (0..hosts).map(|n| format!("web{n}")).collect();
    let hosts = DemoHosts::start(folder.path(), &names, &key.public)
        .await
        .expect("hosts");
    let front = folder.path().join("front");
    let count = in_front_of(&agent, &front, requests_max);
    let mut context = context(folder.path());
    context.agent_socket = Some(front);
    let mut tasks = JoinSet::new();
    for host in &hosts.hosts {
        let (target, context) = (target(host.address, "demo", None), context.clone());
        tasks.spawn(async move { connect(&target, &context).await.map(drop) });
    }
    let errors = tasks.join_all().await.into_iter().filter_map(Result::err).collect();
    Some((errors, count.load(Ordering::Relaxed)))
}

/// REVIEW C6.
#[tokio::test]
async fn many_hosts_share_one_connection_to_the_ssh_agent() {
    let Some((errors, connections)) = log_in_by_agent(100, usize::MAX).await else {
        return;
    };
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(connections, 1);
}

/// REVIEW C6.
#[tokio::test]
async fn an_agent_that_ends_its_connections_is_connected_to_again() {
    let Some((errors, connections)) = log_in_by_agent(20, 5).await else {
        return;
    };
    assert!(errors.is_empty(), "{errors:?}");
    // One list and twenty signatures, five to a connection.
    assert_eq!(connections, 5);
}

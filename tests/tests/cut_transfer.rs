//! A transfer that dies on its way is begun anew by the same run, and nothing of it stands in the way.

use holdfast::demo::server::{DemoHosts, DemoKey};
use holdfast_tests::project::Project;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of a connection that carries more than this, the line is cut: an observe stays far below it, the content is above.
const CUT_AT_BYTES: usize = 600_000;

/// Stands in front of a host and cuts the first `times` connections in the middle of what is large; counts the cuts.
fn in_front_of(host: SocketAddr, times: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(host).expect("the host is there");
            let (cuts, back) = (Arc::clone(&counted), (server.try_clone(), client.try_clone()));
            std::thread::spawn(move || carry(client, server, &cuts, times));
            if let (Ok(mut server), Ok(mut client)) = back {
                std::thread::spawn(move || std::io::copy(&mut server, &mut client));
            }
        }
    });
    (port, cuts)
}

fn carry(mut from: TcpStream, mut to: TcpStream, cuts: &AtomicUsize, times: usize) {
    let (mut carried, mut bytes) = (0, [0; 16 * 1024]);
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        carried += count;
        let cut = carried > CUT_AT_BYTES
            && cuts
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |cuts| {
                    (cuts < times).then_some(cuts + 1)
                })
                .is_ok();
        if cut || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

// REVIEW C12, H11
#[test]
fn a_transfer_that_is_cut_twice_is_carried_out_by_the_same_run_on_first_contact_and_later() {
    let project = Project::new();
    let key = DemoKey::create(&project.path("key")).expect("a key");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = project.path("hosts");
    let names = ["web01".to_owned()];
    let hosts = runtime
        .block_on(DemoHosts::start(&folder, &names, &key.public))
        .expect("a host");
    let host = &hosts.hosts[0];
    let root = host.root.display();
    for version in 1..=2_u8 {
        let (port, cuts) = in_front_of(host.address, 2);
        project.write(
            "inventory.toml",
            format!(
                "[hosts.web01]\naddress = \"127.0.0.1\"\nport = {port}\nuser = \"demo\"\nidentity = [\"key\"]\n\
                 host_keys = \"accept-new\"\nstate_dir = \"{root}/state\"\n"
            ),
        );
        let content: Vec<u8> = (0..1_500_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ version)
            .collect();
        project.write("blueprints/large", &content);
        project.blueprint(&format!("[file.large]\npath = \"{root}/large\"\nsource = \"large\"\n"));
        project
            .run(&["apply", "-y", "--no-diff"])
            .exits(0)
            .says("1 host: 1 changed");
        assert_eq!(cuts.load(Ordering::SeqCst), 2);
        assert!(std::fs::read(host.root.join("large")).expect("a file") == content);
        let left = std::fs::read_dir(host.root.join("state/jobs")).expect("the state folder");
        assert_eq!(left.count(), 0, "no folder of a dead transfer stays");
        project.run(&["plan", "--detailed-exitcode"]).exits(0);
    }
    runtime.shutdown_background();
}

//! The frames against hostile and torn input.

use bytes::Bytes;
use holdfast_agent::wire::{self, Body, Exec, FRAME_BYTES_MAX, Message, Output, Ping, Report, WireError};
use proptest::prelude::*;
use prost::Message as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// Gives its bytes in pieces of the given sizes, over and over.
struct Torn {
    bytes: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    turn: usize,
}

impl AsyncRead for Torn {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let size = self.sizes[self.turn % self.sizes.len()];
        let count = size.min(self.bytes.len() - self.at).min(buffer.remaining());
        buffer.put_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        self.turn += 1;
        Poll::Ready(Ok(()))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

async fn read_all(source: Torn) -> Result<Vec<Message>, WireError> {
    let mut reader = wire::reader(source);
    let mut messages = Vec::new();
    while let Some(message) = reader.next().await? {
        messages.push(message);
    }
    Ok(messages)
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        any::<u64>().prop_map(|id| Body::Ping(Ping { id })),
        (any::<u64>(), bytes()).prop_map(|(id, program)| Body::Exec(Exec { id, program })),
        (any::<u64>(), any::<i32>(), bytes()).prop_map(|(id, stream, bytes)| Body::Output(Output {
            id,
            stream,
            bytes
        })),
        (any::<u64>(), any::<i64>(), bytes()).prop_map(|(seq, at_ms, bytes)| Body::Report(Report {
            seq,
            at_ms,
            bytes,
            ..Report::default()
        })),
    ]
}

async fn written(bodies: &[Body]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = wire::writer(&mut bytes);
    for body in bodies {
        writer.send(body.clone()).await.expect("memory takes all");
    }
    drop(writer);
    bytes
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), size in 1usize..64) {
        let _ = block_on(read_all(Torn { bytes, at: 0, sizes: vec![size], turn: 0 }));
    }

    #[test]
    fn arbitrary_frames_never_panic(frame in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bytes = u32::try_from(frame.len()).expect("short").to_be_bytes().to_vec();
        bytes.extend(frame);
        let _ = block_on(read_all(Torn { bytes, at: 0, sizes: vec![4096], turn: 0 }));
    }

    #[test]
    fn messages_do_not_depend_on_where_the_stream_is_cut(
        bodies in prop::collection::vec(body(), 0..8),
        sizes in prop::collection::vec(1usize..50, 1..10),
    ) {
        let bytes = block_on(written(&bodies));
        let read = block_on(read_all(Torn { bytes, at: 0, sizes, turn: 0 })).expect("whole frames");
        let expected: Vec<Message> = bodies.into_iter().map(Message::from).collect();
        prop_assert_eq!(read, expected);
    }
}

#[test]
fn a_frame_beyond_the_cap_is_refused_before_it_is_read() {
    let length = u32::try_from(FRAME_BYTES_MAX + 1).expect("fits");
    let bytes = length.to_be_bytes().to_vec();
    let refused = block_on(read_all(Torn {
        bytes,
        at: 0,
        sizes: vec![4],
        turn: 0,
    }));
    assert!(matches!(refused, Err(WireError::Io(_))), "{refused:?}");
}

#[test]
fn fields_and_bodies_of_a_later_version_are_tolerated() {
    // By hand, from the protobuf encoding: body 17 (ping) with id 7 and an unknown field 9; then only an unknown body 99.
    let ping = [0x8a, 0x01, 0x04, 0x08, 0x07, 0x48, 0x01];
    let known = Message::decode(&ping[..]).expect("decodes");
    assert_eq!(known.body, Some(Body::Ping(Ping { id: 7 })));
    let unknown = [0x9a, 0x06, 0x01, 0x00];
    assert_eq!(Message::decode(&unknown[..]).expect("decodes").body, None);
}

#[test]
fn what_a_login_shell_prints_before_the_agent_is_skipped() {
    block_on(async {
        let mut stream: &[u8] = b"Last login: never\nholdfast-agent: no\nholdfast-agent wire\n\x01rest";
        wire::skip_noise(&mut stream).await.expect("the preamble is there");
        assert_eq!(stream, b"\x01rest");
        let mut stream: &[u8] = b"sh: 1: holdfast-agent: not found\n";
        let missing = wire::skip_noise(&mut stream).await.expect_err("no agent");
        assert!(missing.to_string().contains("not found"), "{missing}");
        let mut endless = tokio::io::repeat(b'x');
        wire::skip_noise(&mut endless).await.expect_err("noise has an end");
    });
}

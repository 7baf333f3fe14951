//! Pauses between tries: exponential, capped, spread by the host's name. Deterministic, so that a run can be replayed.

use holdfast_inventory::HostName;

/// The first pause: long enough that a refused connection is not hammered, short enough not to be felt.
const FIRST_MS: u64 = 1_000;
/// The longest pause: a person who waits for a host to come back notices a minute, and sshd's penalties
/// (`PerSourcePenalties`) are of that order.
const LONGEST_MS: u64 = 60_000;

/// Before connecting is tried again: a server that was full a moment ago is not full for minutes, and a person waits.
const CONNECT_TRIES_MAX: u32 = 4;

/// Gives the pause before connecting is tried for the time `tries + 1`: as [`pause_ms`], at most eight seconds.
pub fn connect_pause_ms(host: &HostName, tries: u32) -> u64 {
    // Which try it is still spreads the hosts anew.
    let full = full_ms(tries.min(CONNECT_TRIES_MAX));
    spread_over(full, host, tries)
}

/// Gives the pause before try number `tries + 1`, in milliseconds: between a half and the whole of
/// `FIRST_MS * 2^(tries - 1)`, where the host's name decides, so that a fleet that lost its switch does not come
/// back in one moment.
pub fn pause_ms(host: &HostName, tries: u32) -> u64 {
    spread_over(full_ms(tries), host, tries)
}

fn full_ms(tries: u32) -> u64 {
    FIRST_MS
        .saturating_mul(1 << tries.saturating_sub(1).min(16))
        .min(LONGEST_MS)
}

fn spread_over(full: u64, host: &HostName, tries: u32) -> u64 {
    full / 2 + spread(host, tries) % (full / 2 + 1)
}

/// Mixes the name and the number by FNV-1a: stable across programs and versions, unlike the standard hasher.
fn spread(host: &HostName, tries: u32) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in host.as_str().bytes().chain(tries.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_are_capped_and_differ_between_hosts() {
        for tries in 1..40 {
            let full = (1_000_u64 << (tries - 1).min(6)).min(60_000);
            for name in ["web01", "web02", "db"] {
                let pause = pause_ms(&name.into(), tries);
                assert!(
                    (full / 2..=full).contains(&pause),
                    "{name} try {tries}: {pause} of {full}"
                );
            }
        }
        for tries in 5..9 {
            assert!((4_000..=8_000).contains(&connect_pause_ms(&"web01".into(), tries)));
        }
        let pauses: std::collections::BTreeSet<u64> = (0..100)
            .map(|n| pause_ms(&HostName::new(format!("web{n:02}")), 5))
            .collect();
        assert!(pauses.len() > 90, "only {} different pauses", pauses.len());
    }
}

//! Pauses between tries: exponential, capped, spread by the host's name. Deterministic, so that a run can be replayed.

use holdfast_inventory::HostName;

/// The first pause: long enough that a refused connection is not hammered, short enough not to be felt.
const FIRST_MS: u64 = 1_000;
/// The longest pause: a person who waits for a host to come back notices a minute, and sshd's penalties
/// (`PerSourcePenalties`) are of that order.
const LONGEST_MS: u64 = 60_000;

/// Gives the pause before try number `tries + 1`, in milliseconds: between a half and the whole of
/// `FIRST_MS * 2^(tries - 1)`, where the host's name decides, so that a fleet that lost its switch does not come
/// back in one moment.
pub fn pause_ms(host: &HostName, tries: u32) -> u64 {
    let full = FIRST_MS
        .saturating_mul(1 << tries.saturating_sub(1).min(16))
        .min(LONGEST_MS);
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
        let pauses: std::collections::BTreeSet<u64> = (0..100)
            .map(|n| pause_ms(&HostName::new(format!("web{n:02}")), 5))
            .collect();
        assert!(pauses.len() > 90, "only {} different pauses", pauses.len());
    }
}

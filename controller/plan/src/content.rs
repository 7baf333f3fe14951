//! Bytes of files and scripts, by digest: specs, plans and the ledger hold a [`Content`], the bytes lie in [`Blobs`].

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What identifies a content, in each digest that a host may be able to compute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Content {
    /// SHA-256, lowercase hex: the blob's name everywhere.
    pub sha256: String,
    /// POSIX `cksum`'s CRC, for hosts without any SHA-256 tool.
    pub crc: u32,
    /// Length in bytes.
    pub bytes: u64,
}

/// The bytes behind contents, by SHA-256.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blobs(pub BTreeMap<String, Arc<[u8]>>);

impl Blobs {
    /// Keeps `bytes` and gives their content.
    pub fn insert(&mut self, bytes: impl Into<Arc<[u8]>>) -> Content {
        let bytes = bytes.into();
        let content = Content::of(&bytes);
        self.0.entry(content.sha256.clone()).or_insert(bytes);
        content
    }

    /// Finds the bytes of a content.
    pub fn get(&self, sha256: &str) -> Option<&Arc<[u8]>> {
        self.0.get(sha256)
    }
}

impl Content {
    /// Digests `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: sha256_hex(bytes),
            crc: cksum(bytes),
            bytes: bytes.len() as u64,
        }
    }

    /// Tells whether a digest reported by a host (`sha256:HEX` or `cksum:CRC:BYTES`) is this content's.
    pub fn matches(&self, digest: &str) -> bool {
        match digest.split_once(':') {
            Some(("sha256", hex)) => hex == self.sha256,
            Some(("cksum", rest)) => rest == format!("{}:{}", self.crc, self.bytes),
            _ => false,
        }
    }
}

/// Digests `bytes` as lowercase hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Computes what POSIX `cksum` prints first: CRC-32 (polynomial 0x04C11DB7, not reflected) over the bytes and
/// then the length, least significant byte first, complemented.
pub fn cksum(bytes: &[u8]) -> u32 {
    let mut crc = 0;
    for byte in bytes {
        crc = crc_step(crc, *byte);
    }
    let mut length = bytes.len();
    while length > 0 {
        crc = crc_step(crc, (length & 0xff) as u8);
        length >>= 8;
    }
    !crc
}

fn crc_step(crc: u32, byte: u8) -> u32 {
    CRC_TABLE[((crc >> 24) as u8 ^ byte) as usize] ^ (crc << 8)
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x04c1_1db7
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256sum_and_cksum() {
        // Expected: `printf 'hello\n' | sha256sum` and `| cksum` of coreutils 9.1.
        let content = Content::of(b"hello\n");
        assert_eq!(
            content.sha256,
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        assert_eq!((content.crc, content.bytes), (3_015_617_425, 6));
        assert!(content.matches("cksum:3015617425:6"));
        assert!(!content.matches("cksum:3015617425:7"));
    }
}

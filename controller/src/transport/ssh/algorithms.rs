//! The algorithms that Holdfast offers: the modern profile, in order of preference.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};
use std::borrow::Cow;

/// Old dropbear reads this many names of a list and no more.
#[cfg(test)]
const NAMES_MAX: usize = 20;

/// Key exchanges. The last four are no algorithms but markers: ext-info asks for the server's signature types,
/// and without kex-strict the protection against prefix truncation (Terrapin) is gone.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G14_SHA256,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512,
    mac::HMAC_SHA256,
];

/// Host key types, without `ssh-rsa`: its signatures are SHA-1.
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// Gives the modern profile; host key types that are `known` for the host come first, so that it shows the key
/// we can check.
pub(super) fn modern(known: &[Algorithm]) -> Preferred {
    let (mut first, rest): (Vec<_>, Vec<_>) = HOST_KEYS.iter().cloned().partition(|offered| {
        known
            .iter()
            .any(|key| key == offered || (is_rsa(key) && is_rsa(offered)))
    });
    first.extend(rest);
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Owned(first),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

pub(super) fn is_rsa(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_list_is_longer_than_old_servers_read() {
        let offered = modern(&[]);
        assert!(offered.kex.len() <= NAMES_MAX);
        assert!(offered.key.len() <= NAMES_MAX);
        assert!(offered.cipher.len() <= NAMES_MAX);
        assert!(offered.mac.len() <= NAMES_MAX);
    }

    #[test]
    fn nothing_of_the_modern_profile_is_sha1_and_strict_kex_is_asked_for() {
        let offered = modern(&[]);
        let kex: Vec<&str> = offered.kex.iter().map(AsRef::as_ref).collect();
        assert!(kex.contains(&"kex-strict-c-v00@openssh.com"));
        assert!(kex.contains(&"ext-info-c"));
        assert!(!kex.iter().any(|name| name.ends_with("sha1")));
        let macs: Vec<&str> = offered.mac.iter().map(AsRef::as_ref).collect();
        assert!(!macs.iter().any(|name| name.contains("sha1")));
        assert!(!offered.key.contains(&Algorithm::Rsa { hash: None }));
    }

    #[test]
    fn the_known_type_of_host_key_is_asked_for_first() {
        let offered = modern(&[Algorithm::Rsa { hash: None }]);
        assert_eq!(
            offered.key[0],
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512)
            }
        );
        assert_eq!(offered.key.len(), HOST_KEYS.len());
    }
}

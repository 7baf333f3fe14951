//! Decides whether a host is the one we know: by all known_hosts files, of which the project's own is written.

use super::books::Books;
use super::known_hosts::{self, Findings, Verdict};
use crate::transport::{Context, HostKeyPolicy, Target, TransportError};
use russh::keys::{Algorithm, PublicKey};
use std::path::PathBuf;
use std::sync::Arc;

/// What is known of one host before it is contacted.
#[derive(Debug, Clone)]
pub(super) struct HostKeys {
    address: String,
    port: u16,
    policy: HostKeyPolicy,
    write_to: PathBuf,
    books: Arc<Books>,
    found: Findings,
}

impl HostKeys {
    /// Looks the host up. The project's own file must be readable.
    pub(super) async fn load(target: &Target, context: &Context) -> Result<Self, TransportError> {
        let books = Arc::clone(&context.memory.ssh.books);
        let (own, others) = (&context.known_hosts, &context.known_hosts_read);
        let found = books
            .look_up(own, others, &target.address, target.port)
            .await
            .map_err(|source| TransportError::KnownHosts {
                path: own.clone(),
                source,
            })?;
        Ok(Self {
            address: target.address.clone(),
            port: target.port,
            policy: target.host_keys,
            write_to: own.clone(),
            books,
            found,
        })
    }

    /// Lists the key types that are known for the host.
    pub(super) fn known_algorithms(&self) -> Vec<Algorithm> {
        self.found.algorithms()
    }

    /// Accepts a key, or says why not. A new key is written down before it is trusted.
    pub(super) async fn check(&self, key: &PublicKey) -> Result<(), TransportError> {
        let verdict = self.found.judge(key);
        if verdict != Verdict::Unknown || self.policy == HostKeyPolicy::Strict {
            return self.accept(verdict, key);
        }
        let recorded = self.books.record(&self.write_to, &self.address, self.port, key).await;
        let verdict = recorded.map_err(|source| TransportError::HostKeyNotRecorded {
            host: known_hosts::host_name(&self.address, self.port),
            path: self.write_to.clone(),
            source,
        })?;
        self.accept(verdict, key)
    }

    fn accept(&self, verdict: Verdict, key: &PublicKey) -> Result<(), TransportError> {
        let host = known_hosts::host_name(&self.address, self.port);
        let algorithm = key.algorithm().to_string();
        let fingerprint = known_hosts::fingerprint(key);
        match verdict {
            Verdict::Known => Ok(()),
            Verdict::Unknown => Err(TransportError::HostKeyUnknown {
                host,
                algorithm,
                fingerprint,
            }),
            Verdict::Changed { place, known } => Err(TransportError::HostKeyChanged {
                host,
                algorithm,
                fingerprint: fingerprint.into(),
                known: known.into(),
                file: place.file.display().to_string().into(),
                line: place.line,
            }),
            Verdict::Revoked { place } => Err(TransportError::HostKeyRevoked {
                host,
                fingerprint,
                file: place.file.display().to_string(),
                line: place.line,
            }),
        }
    }
}

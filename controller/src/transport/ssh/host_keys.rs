//! Decides whether a host is the one we know: all known_hosts files are read, the project's own is written.

use super::known_hosts::{self, KnownHostsFile, Verdict};
use crate::transport::{Context, HostKeyPolicy, Target, TransportError};
use russh::keys::{Algorithm, PublicKey};
use std::path::{Path, PathBuf};

/// What is known of one host before it is contacted.
#[derive(Debug, Clone)]
pub(super) struct HostKeys {
    address: String,
    port: u16,
    policy: HostKeyPolicy,
    write_to: PathBuf,
    files: Vec<KnownHostsFile>,
}

impl HostKeys {
    /// Reads the files. The project's own must be readable; of the others, one that is not is skipped with a
    /// warning, as OpenSSH does.
    pub(super) async fn load(target: &Target, context: &Context) -> Result<Self, TransportError> {
        let write_to = context.known_hosts.clone();
        let others = context.known_hosts_read.clone();
        let files = blocking(move || {
            let mut files = vec![read(&write_to)?];
            for path in others {
                match KnownHostsFile::read(&path) {
                    Ok(file) => files.push(file),
                    Err(error) => tracing::warn!(file = %path.display(), %error, "skipped a known_hosts file"),
                }
            }
            Ok(files)
        })
        .await?;
        Ok(Self {
            address: target.address.clone(),
            port: target.port,
            policy: target.host_keys,
            write_to: context.known_hosts.clone(),
            files,
        })
    }

    /// Lists the key types that are known for the host.
    pub(super) fn known_algorithms(&self) -> Vec<Algorithm> {
        known_hosts::known_algorithms(&self.files, &self.address, self.port)
    }

    /// Accepts a key, or says why not. A new key is written down before it is trusted.
    pub(super) async fn check(&self, key: &PublicKey) -> Result<(), TransportError> {
        let verdict = known_hosts::judge(&self.files, &self.address, self.port, key);
        if verdict != Verdict::Unknown || self.policy == HostKeyPolicy::Strict {
            return self.accept(verdict, key);
        }
        let (path, address, port, new) = (self.write_to.clone(), self.address.clone(), self.port, key.clone());
        let verdict = blocking(move || {
            known_hosts::record(&path, &address, port, &new).map_err(|source| TransportError::HostKeyNotRecorded {
                host: known_hosts::host_name(&address, port),
                path,
                source,
            })
        })
        .await?;
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

fn read(path: &Path) -> Result<KnownHostsFile, TransportError> {
    KnownHostsFile::read(path).map_err(|source| TransportError::KnownHosts {
        path: path.to_path_buf(),
        source,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(TransportError::Panicked {
            detail: error.to_string(),
        }),
    }
}

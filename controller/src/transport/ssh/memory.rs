//! What connecting learns once and every host of the process shares.

use super::books::Books;
use super::identities::Identities;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// All of it. It belongs to a [`crate::transport::Context`] and its clones.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(super) books: Arc<Books>,
    pub(super) identities: Identities,
}

/// A value per key, made when it is first asked for and shared from then on. It never forgets: its keys are files and
/// sockets that the inventory names.
#[derive(Debug)]
pub(super) struct Table<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Default> Table<K, V> {
    pub(super) fn get(&self, key: K) -> Arc<V> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(table.entry(key).or_default())
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<Arc<V>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}

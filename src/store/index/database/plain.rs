//! A sorted map that lies in one plain file, where no real disk is written: what sled is to the store, with nothing of its
//! own that could go wrong. Every flush appends what changed; opening reads it all.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Bytes, Database, Space, Visit};
use crate::store::disk::{self, Access, Disk, DiskFile};
use crate::store::index::Unusable;

type Tree = BTreeMap<Vec<u8>, Vec<u8>>;

pub(in crate::store::index) struct Plain {
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trees: [Tree; 3],
    /// Changes that are not in the file yet: `space 1 | key length 4 | value length 4 | key | value`; the longest
    /// length removes.
    changes: Vec<u8>,
    written: u64,
    /// A call failed: nothing more is written.
    is_broken: bool,
}

const REMOVED: u32 = u32::MAX;

impl Plain {
    pub(in crate::store::index) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, Unusable> {
        let trouble = |e: std::io::Error| Unusable::new(e.to_string());
        let bytes = disk::read_all(disk, path).map_err(trouble)?;
        let file = match bytes {
            Some(_) => disk.open(path, Access::Write),
            None => disk.create(path),
        };
        let mut state = State::default();
        let bytes = bytes.unwrap_or_default();
        state.written = bytes.len() as u64;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = state.read(rest).ok_or_else(|| Unusable::new("the plain index is cut off"))?;
        }
        Ok(Plain { file: file.map_err(trouble)?, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (space, rest) = bytes.split_first()?;
        let (key, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let tree = self.trees.get_mut(*space as usize)?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
        if u32::from_le_bytes(*value) == REMOVED {
            tree.remove(key);
            return Some(rest);
        }
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value) as usize)?;
        tree.insert(key.to_vec(), value.to_vec());
        Some(rest)
    }

    fn change(&mut self, space: Space, key: &[u8], value: Option<Vec<u8>>) {
        self.changes.push(space as u8);
        self.changes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        let length = value.as_ref().map_or(REMOVED, |value| value.len() as u32);
        self.changes.extend_from_slice(&length.to_le_bytes());
        self.changes.extend_from_slice(key);
        self.changes.extend_from_slice(value.as_deref().unwrap_or_default());
        match value {
            Some(value) => self.trees[space as usize].insert(key.to_vec(), value),
            None => self.trees[space as usize].remove(key),
        };
    }

    fn between(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        last: bool,
    ) -> Option<(Bytes, Bytes)> {
        let mut range = self.trees[space as usize].range::<[u8], _>((from, to));
        let found = if last { range.next_back() } else { range.next() };
        found.map(|(key, value)| (Bytes::from(&key[..]), Bytes::from(&value[..])))
    }
}

impl Database for Plain {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Unusable> {
        Ok(self.lock().trees[space as usize].get(key).map(|value| Bytes::from(&value[..])))
    }

    fn at_or_before(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        Ok(self.lock().between(space, Bound::Unbounded, Bound::Included(key), true))
    }

    fn before(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        Ok(self.lock().between(space, Bound::Unbounded, Bound::Excluded(key), true))
    }

    fn at_or_after(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        Ok(self.lock().between(space, Bound::Included(key), Bound::Unbounded, false))
    }

    fn after(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        Ok(self.lock().between(space, Bound::Excluded(key), Bound::Unbounded, false))
    }

    fn each(&self, space: Space, prefix: &[u8], visit: Visit<'_>) -> Result<(), Unusable> {
        let mut next = self.at_or_after(space, prefix)?;
        while let Some((key, value)) = next.filter(|(key, _)| key.starts_with(prefix)) {
            if visit(&key, value)? {
                break;
            }
            next = self.after(space, &key)?;
        }
        Ok(())
    }

    fn insert(&self, space: Space, key: &[u8], value: Vec<u8>) -> Result<(), Unusable> {
        self.lock().change(space, key, Some(value));
        Ok(())
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<(), Unusable> {
        self.lock().change(space, key, None);
        Ok(())
    }

    fn replace(
        &self,
        space: Space,
        removed: &[Bytes],
        written: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), Unusable> {
        let mut state = self.lock();
        removed.iter().for_each(|key| state.change(space, key, None));
        written.into_iter().for_each(|(key, value)| state.change(space, &key, Some(value)));
        Ok(())
    }

    fn flush(&self) -> Result<(), Unusable> {
        let mut state = self.lock();
        if state.is_broken {
            return Err(Unusable::new("it failed before"));
        }
        let written = self.file.write_at(&[&state.changes], state.written);
        state.is_broken = written.is_err();
        written.map_err(|e| Unusable::new(e.to_string()))?;
        state.written += state.changes.len() as u64;
        state.changes.clear();
        Ok(())
    }

    fn sync(&self) -> Result<(), Unusable> {
        self.flush()?;
        let synced = self.file.sync();
        self.lock().is_broken = synced.is_err();
        synced.map_err(|e| Unusable::new(e.to_string()))
    }

    fn size(&self) -> u64 {
        self.lock().written
    }
}

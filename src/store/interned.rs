//! Frames that many records share, read once and named by their place: recipes, load sets, definitions.
//!
//! Equal values get one frame. Which frames there are is part of what the index remembers, so that opening reads none
//! of them; each is read from the log when it is first asked for.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::hash::Map;
use crate::model::action::Position;

/// Shared values of one kind.
pub(super) struct Interned<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    places: Vec<Position>,
    values: Map<Position, Arc<T>>,
    by_value: Map<Arc<T>, Position>,
}

impl<T: Hash + Eq> Interned<T> {
    /// Values that lie at these places.
    pub(super) fn new(places: Vec<Position>) -> Self {
        Interned { state: Mutex::new(State { places, values: Map::default(), by_value: Map::default() }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the values lie, oldest first.
    pub(super) fn places(&self) -> Vec<Position> {
        self.lock().places.clone()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().places.len()
    }

    /// Forgets the values at these places.
    pub(super) fn forget(&self, gone: &HashSet<Position>) {
        let mut state = self.lock();
        state.places.retain(|at| !gone.contains(at));
        state.values.retain(|at, _| !gone.contains(at));
        state.by_value.retain(|_, at| !gone.contains(at));
    }

    /// The value at a place; `read` reads it from the log.
    pub(super) fn get(
        &self,
        at: Position,
        read: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<Arc<T>>> {
        if let Some(value) = self.lock().values.get(&at) {
            return Ok(Some(Arc::clone(value)));
        }
        let Some(value) = read()? else { return Ok(None) };
        let value = Arc::new(value);
        let mut state = self.lock();
        state.values.insert(at, Arc::clone(&value));
        // The newest place of equal values is used for new records.
        state.by_value.insert(Arc::clone(&value), at);
        Ok(Some(value))
    }

    /// The place of a value; `append` writes it if it is new.
    pub(super) fn intern(
        &self,
        value: &T,
        read: impl Fn(Position) -> Result<Option<T>>,
        append: impl FnOnce() -> Result<Position>,
    ) -> Result<Position>
    where
        T: Clone,
    {
        if let Some(at) = self.lock().by_value.get(value) {
            return Ok(*at);
        }
        let unread: Vec<Position> = {
            let state = self.lock();
            state.places.iter().filter(|at| !state.values.contains_key(at)).copied().collect()
        };
        for at in unread {
            self.get(at, || read(at))?;
        }
        // Held meanwhile: whoever says how far the log is known must not miss what was just appended.
        let mut state = self.lock();
        if let Some(at) = state.by_value.get(value) {
            return Ok(*at);
        }
        let at = append()?;
        let value = Arc::new(value.clone());
        state.places.push(at);
        state.values.insert(at, Arc::clone(&value));
        state.by_value.insert(value, at);
        Ok(at)
    }
}

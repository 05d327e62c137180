//! What of a build is shown by `pipe watch`: nothing of one that had nothing to do, unless somebody waits for its word.

use crate::model::event::{Event, Sink};

/// What is to be seen of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// Everything.
    All,
    /// How it ended, also if nothing was to do.
    Result,
    /// Nothing if nothing was to do, to people.
    Changes,
    /// Nothing if nothing was to do, to nobody.
    Nothing,
}

/// Keeps events back until there is something to do.
pub(super) struct Hold<S: Sink> {
    sink: S,
    show: Show,
    held: Vec<Event>,
    open: bool,
}

impl<S: Sink> Hold<S> {
    /// Programs are told everything that somebody asked for.
    pub(super) fn new(sink: S, show: Show, json: bool) -> Self {
        Hold { sink, show, held: Vec::new(), open: (json && show != Show::Nothing) || show == Show::All }
    }

    /// Who was told.
    pub(super) fn into_inner(self) -> S {
        self.sink
    }
}

impl<S: Sink> Sink for Hold<S> {
    fn event(&mut self, event: &Event) {
        let opens = match event {
            Event::Plan { targets, .. } => !targets.is_empty(),
            Event::Scanned(_) | Event::Changed(_) | Event::Counts(_) => false,
            Event::Finished(end) => self.show == Show::Result || !end.is_up_to_date(),
            _ => true,
        };
        self.open |= opens;
        if !self.open {
            self.held.push(event.clone());
            return;
        }
        let held = std::mem::take(&mut self.held);
        held.iter().chain([event]).for_each(|event| self.sink.event(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Changed, Summary};
    use std::sync::{Arc, Mutex};

    struct Heard(Arc<Mutex<Vec<Event>>>);

    impl Sink for Heard {
        fn event(&mut self, event: &Event) {
            self.0.lock().unwrap().push(event.clone());
        }
    }

    fn heard(show: Show, json: bool, events: &[Event]) -> usize {
        let list = Arc::new(Mutex::new(Vec::new()));
        let mut hold = Hold::new(Heard(Arc::clone(&list)), show, json);
        events.iter().for_each(|event| hold.event(event));
        drop(hold);
        Arc::into_inner(list).unwrap().into_inner().unwrap().len()
    }

    #[test]
    fn a_build_with_nothing_to_do_is_shown_only_where_somebody_waits_for_it() {
        let changed = Event::Changed(Changed::default());
        let nothing = [changed.clone(), Event::Finished(Summary::default())];
        assert_eq!(heard(Show::Changes, false, &nothing), 0);
        assert_eq!(heard(Show::Result, false, &nothing), 2);
        assert_eq!(heard(Show::Changes, true, &nothing), 2);
        assert_eq!(heard(Show::Nothing, true, &nothing), 0);
        let something = [changed, Event::RunStarted { run: 1 }];
        assert_eq!(heard(Show::Changes, false, &something), 2);
    }
}

//! Lists of children on their way: what is left to open of each, and how many are open. Knows nothing of the build.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::engine::scheduler::Ticket;
use crate::engine::values::Handed;
use crate::hash::Digest;
use crate::model::action::{KeyInput, Position};
use crate::model::children::Child;
use crate::model::document::{DocNumber, Meta};
use crate::plan::family::FamilyIx;
use crate::store::Entry;

/// The children of one document by one of its splits, on their way.
pub(super) struct Feed {
    pub(super) ticket: Ticket,
    pub(super) family: FamilyIx,
    pub(super) dir: Arc<str>,
    pub(super) phase: Phase,
    /// Children that are open now.
    pub(super) open: usize,
    pub(super) unsettled: bool,
    /// Its document was begun anew: what is open may end, and nothing more comes.
    pub(super) dead: bool,
    /// The names that were opened.
    pub(super) opened: Vec<String>,
}

pub(super) enum Phase {
    Waiting,
    Going(Box<Going>),
    Over,
}

/// What is left to look at.
pub(super) struct Going {
    pub(super) items: VecDeque<Item>,
    /// Known before, and no longer there.
    pub(super) vanished: Vec<Entry>,
    pub(super) inputs: Vec<KeyInput>,
    pub(super) recipe: Digest,
    pub(super) above: Arc<[Meta]>,
    pub(super) handed: Arc<[Handed]>,
    /// Names that children of another split of the same document have too, with its target.
    pub(super) twins: HashMap<String, String>,
    pub(super) split: Option<Position>,
    /// Of a split that failed or is blocked: what stands behind that.
    pub(super) stopped_by: String,
}

pub(super) struct Item {
    pub(super) name: String,
    /// Absent: the split says nothing of it, it is as it was.
    pub(super) child: Option<Child>,
    pub(super) entry: Option<Entry>,
    pub(super) number: Option<(DocNumber, Position)>,
}

/// All that are on their way in a build.
#[derive(Default)]
pub(super) struct Feeds {
    pub(super) list: HashMap<u64, Feed>,
    pub(super) queue: VecDeque<u64>,
    pub(super) next: u64,
}

impl Feeds {
    /// Whether any of them has something to do now; `room`: further children may be opened; `waits`: what is handed to
    /// them is not there yet.
    pub(super) fn can_go(&self, room: bool, waits: &dyn Fn(&Feed) -> bool) -> bool {
        self.queue.iter().filter_map(|number| self.list.get(number)).any(|feed| match feed.phase {
            Phase::Waiting => {
                room && !waits(feed) && !self.list.values().any(|other| other.dead && other.open > 0)
            }
            Phase::Going(_) => room,
            Phase::Over => false,
        })
    }

    /// How many documents wait for their children, at most.
    pub(super) fn waiting(&self) -> usize {
        self.list.len()
    }
}

//! What is needed: one pass over the log from its end to its beginning. Whatever refers to something lies behind it, so
//! when a frame's turn comes, all that needs it has been seen.
//!
//! Each frame gets the last run for whose sake it is kept: a story was how things stood until the run that superseded
//! it, and what the newest story of a present document names is kept always. The log alone is asked, so an index that
//! lost something costs nothing. Decides nothing about files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::action::{Act, Mark as Redo, Outcome, Output, Place, Position, State, Story};
use crate::store::disk::DiskFile;
use crate::store::facade::Store;
use crate::store::frame::{self, Found, Frame, Kind};
use crate::store::gc::marks::{ALWAYS, Bits, Marks};
use crate::store::group::HEADER_BYTES;
use crate::store::recover::{Damage, Reading};

/// So much of a segment is read at once, from its end on.
const CHUNK: u32 = 1 << 20;
/// Payloads larger than this between two frames are not read along.
const GAP: u32 = 32 << 10;

/// What the pass has to know.
pub(super) struct Wanted<'a> {
    /// Whether a family is a source or a set of the Pipelinefile.
    pub(super) is_present: &'a dyn Fn(&str) -> bool,
    /// The run since which other families are certainly gone from the Pipelinefile.
    pub(super) removed: u32,
    /// The newest run.
    pub(super) newest: u32,
    /// What was superseded in this run, or before, goes.
    pub(super) cutoff: u32,
    /// The oldest of the newest stories of sets: a document that went behind it may still be a member there.
    pub(super) sets_from: Position,
    /// What entries of the index name beside their stories.
    pub(super) definitions: HashSet<Position>,
}

/// What the pass found.
#[derive(Default)]
pub(super) struct Live {
    /// By number.
    pub(super) segments: BTreeMap<u32, Segment>,
    /// Documents whose newest story is kept always.
    pub(super) documents: u64,
    /// Stories of any kind.
    pub(super) stories: u64,
    /// Stories beside the newest that are kept.
    pub(super) history: u64,
    /// Workers' logs, and the last run for whose sake each is kept.
    pub(super) logs: HashMap<(u32, u32), u32>,
    /// The first bytes of the digests of blobs that are kept, sorted.
    pub(super) blobs: Vec<u64>,
    /// Their bytes, by the last run for whose sake they are kept; those of several records count several times.
    pub(super) blob_bytes: BTreeMap<u32, u64>,
    /// Marks, oldest first.
    pub(super) redos: Vec<(Position, Redo)>,
    /// Records that were set aside.
    pub(super) bads: Vec<SetAside>,
    /// Documents that are gone and whose story is not kept: number, story, names.
    pub(super) gone: Vec<(u32, Position, Position)>,
    /// Numbers of documents that nothing is kept of.
    pub(super) forgotten: Bits,
    /// Documents of families that are not in the Pipelinefile any more, and are not kept.
    pub(super) dropped: BTreeMap<String, u64>,
    /// What could not be read.
    pub(super) damage: Vec<Damage>,
}

/// A record that was set aside, or a damaged stretch that is known.
pub(super) struct SetAside {
    /// The frame that says so.
    pub(super) at: Position,
    /// The record.
    pub(super) of: Position,
    /// The record is kept all the same.
    pub(super) is_kept: bool,
}

/// What the pass found in one segment.
#[derive(Default)]
pub(super) struct Segment {
    /// The bytes of its file.
    pub(super) size: u64,
    /// Where it ends, by the offsets of positions.
    pub(super) end: u32,
    /// Something in it could not be read, or is not as it should be: it stays as it is.
    pub(super) is_odd: bool,
    /// Which of its frames are kept, counted from its first.
    pub(super) kept: Bits,
    /// Their bytes with payloads and headers, by the last run for whose sake they are kept.
    pub(super) bytes: BTreeMap<u32, u64>,
    /// How many frames are kept.
    pub(super) frames: u64,
    /// How many are not, beside those that only closed the log.
    pub(super) dead: u64,
    /// How many records there are, and how many are kept.
    pub(super) records: (u64, u64),
    /// By recipe: the oldest mark that any record knows, and that any kept one does.
    pub(super) known_marks: HashMap<Position, (u64, Option<u64>)>,
    /// Documents that are gone, and not kept, with stories here.
    pub(super) gone: Vec<u32>,
    /// Records with blobs that are not kept.
    pub(super) blobs: Vec<(Position, u64)>,
    /// What the store remembers by its place, and is not kept.
    pub(super) unremembered: Vec<Position>,
}

impl Segment {
    /// The bytes that are kept if what was superseded up to `cutoff` goes.
    pub(super) fn kept_bytes(&self, cutoff: u32) -> u64 {
        self.bytes.iter().filter(|(run, _)| **run > cutoff).map(|(_, bytes)| bytes).sum()
    }
}

/// The first bytes of a digest: enough to keep no blob too few.
pub(super) fn prefix(digest: &crate::hash::Digest) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest.0[..8]);
    u64::from_le_bytes(first)
}

/// Makes the pass.
pub(super) fn find(
    store: &Store,
    reading: &Reading<'_>,
    wanted: &Wanted<'_>,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Live> {
    let segments = store.log.segments();
    let mut marks = Marks::new(Arc::clone(segments.disk()), &store.tmp());
    for definition in &wanted.definitions {
        marks.add(*definition, ALWAYS)?;
    }
    let numbers = reading.segments()?;
    let mut pass = Pass {
        store,
        wanted,
        marks,
        live: Live::default(),
        seen: Bits::default(),
        gone: Bits::default(),
        runs: HashMap::new(),
        families: HashMap::new(),
        loads: HashSet::new(),
        blobs: Vec::new(),
        bads: HashMap::new(),
        is_named: false,
    };
    let total: u64 = numbers.iter().map(|(_, end)| u64::from(*end)).sum();
    let mut done = 0;
    for (number, end) in numbers.into_iter().rev() {
        tell(done, total);
        pass.segment(reading, number, end)?;
        done += u64::from(end);
    }
    let Pass { mut live, mut blobs, .. } = pass;
    blobs.sort_unstable();
    blobs.dedup();
    live.blobs = blobs;
    live.redos.reverse();
    live.damage.reverse();
    Ok(live)
}

struct Pass<'a> {
    store: &'a Store,
    wanted: &'a Wanted<'a>,
    marks: Marks,
    live: Live,
    /// Documents whose newest story was seen.
    seen: Bits,
    /// Those of them that are gone and not kept.
    gone: Bits,
    /// The last run for whose sake something of a run is kept.
    runs: HashMap<u32, u32>,
    /// By definition.
    families: HashMap<Position, Option<String>>,
    /// Load sets by what they name.
    loads: HashSet<u64>,
    blobs: Vec<u64>,
    /// By record: who says that it was set aside.
    bads: HashMap<Position, usize>,
    /// The newest names were seen: no number is given twice.
    is_named: bool,
}

/// A segment during the pass.
struct Here {
    number: u32,
    /// Offsets and lengths, in order.
    frames: Vec<(u32, u32)>,
    /// The number of the first frame of each group.
    groups: Vec<usize>,
    /// By frame: the last run for whose sake it is kept.
    runs: Vec<u32>,
    /// How many frames only close the log.
    closes: u64,
    found: Segment,
}

impl Pass<'_> {
    fn segment(&mut self, reading: &Reading<'_>, number: u32, end: u32) -> Result<()> {
        let segments = self.store.log.segments();
        let mut here = Here {
            number,
            frames: Vec::new(),
            groups: Vec::new(),
            runs: Vec::new(),
            closes: 0,
            found: Segment { end, ..Segment::default() },
        };
        let mut group = None;
        let damage = reading.walk(number, &mut |place, frame| {
            if group.replace(place.start) != Some(place.start) {
                here.groups.push(here.frames.len());
            }
            let length = frame::frame_length(frame.body.len() + 1) as u32;
            here.closes += u64::from(frame.kind == Kind::Close);
            here.frames.push((frame.position.offset(), length));
        })?;
        here.found.is_odd = !damage.is_empty();
        self.live.damage.extend(damage.into_iter().rev());
        here.runs = vec![0; here.frames.len()];
        for (offset, run) in self.marks.take(number)? {
            here.keep(offset, run);
        }
        let path = segments.path(number);
        let Some(file) = segments.file(number)? else { return Ok(()) };
        here.found.size =
            segments.size_on_disk(number).map_err(|e| Error::io("read", &path, &e))?.unwrap_or_default();
        self.frames(&mut here, &*file)?;
        let mut firsts = here.groups.iter().copied().chain([here.frames.len()]);
        let mut first = firsts.next().unwrap_or_default();
        for next in firsts {
            let last = here.runs[first..next].iter().max().copied().unwrap_or(0);
            if last > 0 {
                *here.found.bytes.entry(last).or_default() += HEADER_BYTES as u64;
            }
            first = next;
        }
        for (ix, run) in here.runs.iter().enumerate() {
            if *run > self.wanted.cutoff {
                here.found.kept.set(ix);
                here.found.frames += 1;
            }
        }
        here.found.dead = here.frames.len() as u64 - here.found.frames - here.closes;
        self.live.segments.insert(number, here.found);
        Ok(())
    }

    /// Looks at every frame of a segment, from the last on.
    fn frames(&mut self, here: &mut Here, file: &dyn DiskFile) -> Result<()> {
        let segments = self.store.log.segments();
        let mut buffer = Vec::new();
        let mut to = here.frames.len();
        while to > 0 {
            let end = here.frames[to - 1].0 + here.frames[to - 1].1;
            let mut from = to - 1;
            while from > 0 {
                let (offset, length) = here.frames[from - 1];
                if end - offset > CHUNK || here.frames[from].0 - (offset + length) > GAP {
                    break;
                }
                from -= 1;
            }
            let begin = here.frames[from].0;
            buffer.resize((end - begin) as usize, 0);
            file.read_at(&mut buffer, begin.into())
                .map_err(|e| Error::io("read", &segments.path(here.number), &e))?;
            for ix in (from..to).rev() {
                let (offset, length) = here.frames[ix];
                let at = (offset - begin) as usize;
                let position = Position::new(here.number, offset);
                let read = frame::read(&buffer[at..at + length as usize], segments.seal(), position);
                let decoded = match read {
                    Found::Frame(frame, _) => frame.decode().map(|decoded| (frame.kind, decoded)),
                    Found::Short(_) | Found::Bad(_) => None,
                };
                match decoded {
                    Some((kind, decoded)) => self.frame(here, ix, position, kind, decoded)?,
                    None => {
                        let to = Position(position.0 + u64::from(length));
                        self.live.damage.push(Damage {
                            from: position,
                            to,
                            what: "a frame that says nothing",
                        });
                        here.found.is_odd = true;
                    }
                }
            }
            to = from;
        }
        Ok(())
    }

    fn frame(&mut self, here: &mut Here, ix: usize, at: Position, kind: Kind, frame: Frame) -> Result<()> {
        let mut run = here.runs[ix];
        let mut payload = 0;
        match frame {
            Frame::Story(story) => run = self.story(here, run, at, &story)?,
            Frame::Act(act) => {
                run = self.act(here, run, at, &act)?;
                if let Outcome::Output(Output { place: Place::Payload(place), length, .. }) = &act.outcome {
                    payload = *length;
                    // It always lies in the record's own group: anything else cannot be moved along.
                    here.found.is_odd |= place.group.segment() != at.segment() || place.group >= at;
                }
            }
            // Numbers grow: what is newest holds the highest.
            Frame::Names(_) if !self.is_named => {
                self.is_named = true;
                run = ALWAYS;
            }
            Frame::Loads(loads) => {
                // What was ever learned of a module decides which files are looked at: by name, whatever they held.
                let files = loads.files.iter().map(|(name, _)| name);
                let mut hasher = crate::hash::FieldHasher::new("pipe gc loads");
                hasher.digest(&loads.module);
                files.for_each(|name| {
                    hasher.text(name);
                });
                hasher.number(loads.packages.len() as u64);
                loads.packages.iter().for_each(|package| {
                    hasher.text(&package.name).text(&package.version).text(&package.path);
                });
                if self.loads.insert(prefix(&hasher.finish())) {
                    run = ALWAYS;
                }
            }
            Frame::Run(of) => {
                let needed = self.runs.get(&of.number).copied().unwrap_or(0);
                let own = if of.number >= self.wanted.newest { ALWAYS } else { of.number };
                run = run.max(needed).max(own);
            }
            Frame::Ended(of) => {
                // As long as the run itself.
                let needed = self.runs.get(&of.run).copied().unwrap_or(0);
                run = run.max(needed).max(if of.run >= self.wanted.newest { ALWAYS } else { of.run });
            }
            Frame::Mark(mark) => {
                run = ALWAYS;
                self.live.redos.push((at, mark));
            }
            Frame::Bad(bad) => {
                run = ALWAYS;
                self.bads.insert(bad.act, self.live.bads.len());
                self.live.bads.push(SetAside { at, of: bad.act, is_kept: false });
            }
            Frame::Names(_) | Frame::Recipe(_) | Frame::Definition(_) | Frame::Close(_) => {}
        }
        here.runs[ix] = run;
        if run > 0 {
            *here.found.bytes.entry(run).or_default() += u64::from(here.frames[ix].1) + payload;
        }
        if run <= self.wanted.cutoff
            && matches!(kind, Kind::Recipe | Kind::Loads | Kind::Definition | Kind::Run)
        {
            here.found.unremembered.push(at);
        }
        Ok(())
    }

    fn mark(&mut self, here: &mut Here, at: Position, run: u32) -> Result<()> {
        if at.segment() == here.number {
            here.keep(at.offset(), run);
            return Ok(());
        }
        if at.segment() > here.number
            && let Some(later) = self.live.segments.get_mut(&at.segment())
        {
            // Nothing refers to what came after it; if something does, that stays as it is.
            later.is_odd = true;
        }
        self.marks.add(at, run)
    }

    fn story(&mut self, here: &mut Here, marked: u32, at: Position, story: &Story) -> Result<u32> {
        self.live.stories += 1;
        let is_newest = self.seen.set(story.doc.0 as usize);
        let kept = if is_newest { self.newest(at, story)? } else { marked };
        if kept <= self.wanted.cutoff && self.gone.get(story.doc.0 as usize) {
            here.found.gone.push(story.doc.0);
        }
        if kept == 0 {
            return Ok(0);
        }
        self.live.history += u64::from(!is_newest && kept > self.wanted.cutoff);
        self.keep_run(story.run, kept);
        self.mark(here, story.names, kept)?;
        self.mark(here, story.definition, kept)?;
        for act in story.entries.iter().filter_map(|entry| entry.act) {
            self.mark(here, act, kept)?;
        }
        if let Some(previous) = story.previous.filter(|previous| *previous < at) {
            // A document that failed shows the file of before: the story that tells where is kept along.
            let shows_older = story.entries.iter().any(|entry| entry.published && entry.state != State::Done);
            let superseded = story.run.clamp(1, self.wanted.newest.max(1));
            self.mark(here, previous, if shows_older { kept.max(superseded) } else { superseded })?;
        }
        Ok(kept)
    }

    /// For how long the newest story of a document is kept.
    fn newest(&mut self, at: Position, story: &Story) -> Result<u32> {
        let family = self.family(story.definition)?;
        let is_present = family.as_deref().is_none_or(self.wanted.is_present);
        if story.gone {
            if at > self.wanted.sets_from {
                return Ok(ALWAYS);
            }
            let run = story.run.clamp(1, self.wanted.newest.max(1));
            if run <= self.wanted.cutoff {
                self.gone.set(story.doc.0 as usize);
                self.live.gone.push((story.doc.0, at, story.names));
            }
            return Ok(run);
        }
        // A story in it was told by a build that had it.
        let removed = self.wanted.removed.max(story.run);
        if !is_present && removed <= self.wanted.cutoff {
            *self.live.dropped.entry(family.unwrap_or_default()).or_default() += 1;
            self.live.forgotten.set(story.doc.0 as usize);
            return Ok(removed);
        }
        self.live.documents += u64::from(is_present);
        Ok(if is_present { ALWAYS } else { removed })
    }

    fn family(&mut self, definition: Position) -> Result<Option<String>> {
        if let Some(known) = self.families.get(&definition) {
            return Ok(known.clone());
        }
        let family = self.store.definition(definition)?.map(|definition| definition.family.clone());
        self.families.insert(definition, family.clone());
        Ok(family)
    }

    fn keep_run(&mut self, number: u32, run: u32) {
        let kept = self.runs.entry(number).or_default();
        *kept = run.max(*kept);
    }

    fn act(&mut self, here: &mut Here, marked: u32, at: Position, act: &Act) -> Result<u32> {
        let mut run = marked;
        if !self.seen.get(act.doc.0 as usize) {
            // No story tells of it yet: its build was stopped, and the next one goes on from here.
            run = run.max(if act.run >= self.wanted.newest { ALWAYS } else { act.run });
        }
        let is_kept = run > self.wanted.cutoff;
        if let Some(ix) = self.bads.get(&at) {
            self.live.bads[*ix].is_kept = is_kept;
        }
        here.found.records.0 += 1;
        here.found.records.1 += u64::from(is_kept);
        let known = here.found.known_marks.entry(act.recipe).or_insert((u64::MAX, None));
        known.0 = known.0.min(act.mark);
        if is_kept {
            known.1 = Some(known.1.map_or(act.mark, |oldest| oldest.min(act.mark)));
        }
        if let Outcome::Output(Output { place: Place::Blob, digest, length, .. }) = &act.outcome {
            *self.live.blob_bytes.entry(run).or_default() += length;
            if is_kept {
                self.blobs.push(prefix(digest));
            } else {
                here.found.blobs.push((at, prefix(digest)));
            }
        }
        if let Outcome::Output(output) = &act.outcome
            && let Some((folder, _)) = self.store.folder(output)?
        {
            for file in folder.files.iter().filter(|file| file.is_blob()) {
                *self.live.blob_bytes.entry(run).or_default() += file.length;
                if is_kept {
                    self.blobs.push(prefix(&file.digest));
                } else {
                    here.found.blobs.push((at, prefix(&file.digest)));
                }
            }
        }
        if run == 0 {
            return Ok(0);
        }
        self.mark(here, act.recipe, run)?;
        if let Some(loads) = act.loads {
            self.mark(here, loads, run)?;
        }
        self.keep_run(act.run, run);
        if act.log.is_some_and(|range| range.length > 0) {
            let kept = self.live.logs.entry((act.run, act.worker)).or_default();
            *kept = run.max(*kept);
        }
        Ok(run)
    }
}

impl Here {
    fn keep(&mut self, offset: u32, run: u32) {
        if let Ok(ix) = self.frames.binary_search_by_key(&offset, |(offset, _)| *offset) {
            self.runs[ix] = self.runs[ix].max(run);
        }
    }
}

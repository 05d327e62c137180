//! Random histories against an oracle: what is needed reads back right, what is not is gone, and a collection that is
//! killed at any of its writes leaves a store in which both are still so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::live::prefix;
use super::{Asked, Doubt, Plan, plan};
use crate::hash::Digest;
use crate::model::action::{
    Act, DefinedTarget, Definition, KeyInput, Mark as Redo, MarkedTarget, Outcome, Output, Place, Position,
    Recipe, Run, State, Story, StoryEntry,
};
use crate::model::document::{DocNumber, Stamp};
use crate::store::blobs::LARGEST_PAYLOAD;
use crate::store::disk::failing::{Call, FailingDisk, Wrong};
use crate::store::disk::{Disk, RealDisk};
use crate::store::examine::{self, Examining, examine};
use crate::store::frame::tests::small_act;
use crate::store::{Entry, Opening, Store};
use crate::time::Millis;

const DAY: u64 = 24 * 3600 * 1000;

/// What happens in a run.
#[derive(Clone, Debug)]
enum Step {
    /// A document has these bytes now.
    Edit { doc: u8, version: u8 },
    /// A document is gone.
    Remove { doc: u8 },
    /// The code of the target is another.
    Code { version: u8 },
    /// Its result is a failure now, and what was shown before stays.
    Fail { doc: u8 },
    /// A result without a story: the build was stopped.
    Stopped { doc: u8, version: u8 },
    /// A document is to be done again.
    Redo { doc: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6u8, 0..4u8).prop_map(|(doc, version)| Step::Edit { doc, version }),
        1 => (0..6u8).prop_map(|doc| Step::Remove { doc }),
        1 => (0..3u8).prop_map(|version| Step::Code { version }),
        1 => (0..6u8).prop_map(|doc| Step::Fail { doc }),
        1 => (0..6u8, 0..4u8).prop_map(|(doc, version)| Step::Stopped { doc, version }),
        1 => (0..6u8).prop_map(|doc| Step::Redo { doc }),
    ]
}

/// A run: when it begins, whether a segment ends before it, and what happens in it.
type Told = (u8, bool, Vec<Step>);

fn history() -> impl Strategy<Value = Vec<Told>> {
    proptest::collection::vec((0..10u8, any::<bool>(), proptest::collection::vec(step(), 1..6)), 1..14)
}

/// A story as it was written.
#[derive(Clone, Debug)]
struct Known {
    at: Position,
    story: Story,
}

/// What the oracle knows.
struct World {
    store: Arc<Store>,
    dir: tempfile::TempDir,
    code: u8,
    run: u32,
    starts: Vec<u64>,
    stories: BTreeMap<u8, Vec<Known>>,
    names: BTreeMap<u8, (DocNumber, Position)>,
    /// Every record with the bytes of its result.
    acts: BTreeMap<Position, Option<Vec<u8>>>,
    /// Those that no story tells of yet, by document.
    loose: BTreeMap<u8, Vec<Position>>,
    marks: u64,
}

/// The documents of an even number are of a source that stays, the others of one that goes.
fn family(doc: u8) -> &'static str {
    if doc.is_multiple_of(2) { "in" } else { "old" }
}

fn recipe(code: u8) -> Recipe {
    Recipe {
        shape: "each".to_owned(),
        module: "m".to_owned(),
        program: vec![("version".to_owned(), code.to_string())],
        files: Vec::new(),
        params: Vec::new(),
        with: Vec::new(),
    }
}

fn fingerprint(recipe: &Recipe) -> Digest {
    Digest::of(recipe.program[0].1.as_bytes())
}

fn result(doc: u8, version: u8, code: u8) -> Vec<u8> {
    let text = format!("result of {doc} in version {version} by {code} ");
    // Some are large: files of their own.
    let times =
        if version == 3 { LARGEST_PAYLOAD as usize / text.len() + 1 } else { 1 + usize::from(doc) * 9 };
    text.repeat(times).into_bytes()
}

fn opened(dir: &Path) -> Arc<Store> {
    match Store::open(dir).unwrap() {
        Opening::Opened(store, _) => store,
        Opening::Held(holder) => panic!("held by {holder:?}"),
    }
}

/// The store as the next process finds it: in this one sled never lets go of its files.
fn copy(dir: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in crate::fs::files_below(dir).unwrap() {
        let rel = file.strip_prefix(dir).unwrap();
        if rel == Path::new("RESERVE") {
            continue;
        }
        let path = to.path().join(rel);
        crate::fs::create_dir(path.parent().unwrap()).unwrap();
        crate::fs::write_scratch(&path, &crate::fs::read(&file).unwrap()).unwrap();
    }
    to
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        World {
            store: opened(dir.path()),
            dir,
            code: 0,
            run: 0,
            starts: Vec::new(),
            stories: BTreeMap::new(),
            names: BTreeMap::new(),
            acts: BTreeMap::new(),
            loose: BTreeMap::new(),
            marks: 0,
        }
    }

    fn of(history: &[Told]) -> World {
        let mut world = World::new();
        for (days, ends_segment, steps) in history {
            if *ends_segment {
                world.store.log.seal().unwrap();
            }
            world.begin_run(*days);
            steps.iter().for_each(|step| world.step(step));
        }
        // The newest run always has something.
        world.begin_run(0);
        world.step(&Step::Edit { doc: 0, version: 0 });
        world.store.flush().unwrap();
        world.store.write_pages().unwrap();
        world
    }

    fn begin_run(&mut self, days: u8) {
        let before = self.starts.last().copied().unwrap_or(1000 * DAY);
        self.starts.push(before + u64::from(days) * DAY);
        self.run += 1;
        let run = Run {
            number: self.run,
            start: Millis(self.starts[self.run as usize - 1]),
            command: vec!["pipe".to_owned()],
            version: "0".to_owned(),
            pipelinefile: Digest::default(),
            host: String::new(),
        };
        // Remembers the run before.
        self.store.runs().unwrap();
        self.store.log.begin_run(run).unwrap();
        self.store.begun.store(self.run, Ordering::Relaxed);
    }

    fn now(&self) -> Millis {
        Millis(self.starts.last().copied().unwrap_or_default())
    }

    fn name(&mut self, doc: u8) -> (DocNumber, Position) {
        let store = &self.store;
        *self
            .names
            .entry(doc)
            .or_insert_with(|| store.name_documents(family(doc), "d", &[format!("{doc}.txt")]).unwrap())
    }

    /// The record of a document in a version, made or found.
    fn act(&mut self, doc: u8, version: u8) -> Position {
        let (number, _) = self.name(doc);
        let bytes = result(doc, version, self.code);
        let key = prefix(&Digest::of(&bytes));
        let found = self.store.candidates(key).into_iter().find(|at| {
            let covers =
                self.store.act(*at).unwrap().is_some_and(|act| act.key == key && act.mark >= self.marks);
            covers && !self.store.is_bad(*at)
        });
        if let Some(found) = found {
            return found;
        }
        let digest = Digest::of(&bytes);
        let output = Output {
            digest,
            length: bytes.len() as u64,
            ext: String::new(),
            place: Place::Blob,
            meta: String::new(),
        };
        let act = Act {
            key,
            run: self.run,
            recipe: self.store.intern_recipe(&recipe(self.code)).unwrap(),
            loads: None,
            doc: number,
            mark: self.marks,
            inputs: vec![KeyInput { digest: Some(digest), facts: "{}".to_owned() }],
            outcome: Outcome::Output(output),
            ..small_act(0, b"")
        };
        let (at, _) = self.store.add_act(act, Some(&bytes)).unwrap();
        self.acts.insert(at, Some(bytes));
        at
    }

    fn tell(&mut self, doc: u8, gone: bool, entry: StoryEntry, content: Option<Digest>) {
        let (number, names) = self.name(doc);
        let digest = Some(Digest::of(&[self.code]));
        let defined = DefinedTarget { name: "t".to_owned(), digest, publish: Some("out".to_owned()) };
        let definition = Definition { family: family(doc).to_owned(), targets: vec![defined] };
        let story = Story {
            doc: number,
            run: self.run,
            names,
            definition: self.store.intern_definition(&definition).unwrap(),
            previous: self.stories.get(&doc).and_then(|stories| stories.last()).map(|known| known.at),
            stamp: Stamp(u64::from(doc)),
            content,
            settled: true,
            racy: false,
            gone,
            entries: vec![entry],
        };
        let at = self.store.add_story(&story).unwrap();
        self.store.put_entry(family(doc), "d", Store::entry_of(&format!("{doc}.txt"), &story, at), at);
        self.stories.entry(doc).or_default().push(Known { at, story });
        self.loose.remove(&doc);
    }

    fn is_here(&self, doc: u8) -> bool {
        self.stories.get(&doc).and_then(|stories| stories.last()).is_some_and(|known| !known.story.gone)
    }

    fn step(&mut self, step: &Step) {
        let entry = |state, act, published| StoryEntry { state, act, published, note: String::new() };
        match *step {
            Step::Edit { doc, version } => {
                let act = self.act(doc, version);
                let content = Some(Digest::of(&[version]));
                self.tell(doc, false, entry(State::Done, Some(act), true), content);
            }
            Step::Remove { doc } if self.is_here(doc) => {
                self.tell(doc, true, entry(State::Absent, None, false), None);
            }
            Step::Fail { doc } if self.is_here(doc) => {
                self.tell(doc, false, entry(State::Blocked, None, true), Some(Digest::of(&[9])));
            }
            Step::Code { version } => self.code = version,
            Step::Stopped { doc, version } => {
                let known = self.acts.len();
                let act = self.act(doc, version);
                if self.acts.len() > known {
                    self.loose.entry(doc).or_default().push(act);
                }
            }
            Step::Redo { doc } => {
                self.marks += 1;
                let fingerprint = fingerprint(&recipe(self.code));
                let targets = vec![MarkedTarget { name: "t".to_owned(), fingerprint }];
                let docs = (doc != 0).then(|| format!("{}/d/{doc}.txt", family(doc)));
                self.store
                    .add_mark(Redo { number: self.marks, time: Millis(1), targets, docs, ..Redo::default() })
                    .unwrap();
            }
            Step::Remove { .. } | Step::Fail { .. } => {}
        }
    }

    /// The run whose history, and that before, goes.
    fn cutoff(&self, days: u64) -> u32 {
        let now = self.now().0;
        self.starts.iter().take_while(|start| now - **start >= days * DAY).count() as u32
    }

    /// The stories that must be there, by document, the newest last.
    fn wanted(&self, cutoff: u32) -> BTreeMap<u8, Vec<Known>> {
        let mut wanted = BTreeMap::new();
        for (doc, stories) in &self.stories {
            let mut kept = Vec::new();
            let mut follows: Option<bool> = None;
            for (ix, known) in stories.iter().enumerate().rev() {
                let is_kept = match stories.get(ix + 1) {
                    None if known.story.gone => known.story.run > cutoff,
                    None => family(*doc) == "in" || known.story.run > cutoff,
                    Some(newer) => {
                        // Shown since before a failure: as long as the failure itself.
                        let shows =
                            newer.story.entries[0].published && newer.story.entries[0].state != State::Done;
                        newer.story.run > cutoff || (shows && follows == Some(true))
                    }
                };
                if is_kept {
                    kept.push(known.clone());
                }
                follows = Some(is_kept);
            }
            kept.reverse();
            wanted.insert(*doc, kept);
        }
        wanted
    }

    fn ask<'a>(
        &self,
        days: Option<u64>,
        is_present: &'a dyn Fn(&str) -> bool,
        tell: &'a mut dyn FnMut(&str, u64, u64),
    ) -> Asked<'a> {
        Asked {
            is_present,
            fingerprint: &fingerprint,
            pipelinefile: Digest::default(),
            older_than: days.map(|days| Duration::from_millis(days * DAY)),
            max_size: None,
            now: self.now(),
            tell,
        }
    }

    fn plan(&self, days: u64) -> Plan {
        plan(&self.store, &mut self.ask(Some(days), &|family| family == "in", &mut |_, _, _| {})).unwrap()
    }

    /// All that must be there is, with the right bytes; what a document has is what its newest story says.
    fn check(&self, store: &Store, wanted: &BTreeMap<u8, Vec<Known>>, cutoff: u32) {
        for (doc, stories) in wanted {
            for known in stories {
                assert_eq!(store.story(known.at).unwrap().as_deref(), Some(&known.story), "story of {doc}");
                assert!(store.definition(known.story.definition).unwrap().is_some());
                let id = store.id_of(known.story.doc, known.story.names).unwrap().unwrap();
                assert_eq!(id.as_str(), format!("{}/d/{doc}.txt", family(*doc)));
                if let Some(at) = known.story.entries[0].act {
                    self.check_act(store, at);
                }
            }
            let entry = store.entry(family(*doc), "d", &format!("{doc}.txt")).unwrap();
            let newest = &self.stories[doc].last().unwrap().story;
            match stories.last() {
                Some(known) => assert_eq!(entry.map(|entry| entry.story), Some(known.at), "entry of {doc}"),
                // Forgotten, or known as gone; or of a source that is not in the Pipelinefile.
                None => assert!(entry.is_none_or(|entry: Entry| entry.flags.gone || !newest.gone), "{doc}"),
            }
        }
        for (doc, acts) in &self.loose {
            let is_newest = |at: &Position| store.act(*at).unwrap().is_some_and(|act| act.run > cutoff);
            acts.iter().filter(|at| is_newest(at)).for_each(|at| self.check_act(store, *at));
            let _ = doc;
        }
    }

    fn check_act(&self, store: &Store, at: Position) {
        let act = store.act(at).unwrap().unwrap();
        assert!(!store.is_bad(at) && store.recipe(act.recipe).unwrap().is_some());
        let Outcome::Output(output) = &act.outcome else { panic!("{act:?}") };
        assert_eq!(store.output_bytes(output).unwrap().as_deref(), self.acts[&at].as_deref());
        assert!(store.candidates(act.key).contains(&at));
    }

    /// The records that must be there.
    fn wanted_acts(&self, wanted: &BTreeMap<u8, Vec<Known>>, cutoff: u32) -> BTreeSet<Position> {
        let told = wanted.values().flatten().filter_map(|known| known.story.entries[0].act);
        let loose = self.loose.values().flatten().copied();
        let loose = loose.filter(|at| {
            let run = self.store.act(*at).unwrap().unwrap().run;
            run > cutoff || run == self.run
        });
        told.chain(loose).collect()
    }
}

/// Whatever the next process does with the store: with its index, without, and by examining it.
fn check_next(world: &World, dir: &Path, wanted: &BTreeMap<u8, Vec<Known>>, cutoff: u32) {
    let next = copy(dir);
    let store = opened(next.path());
    world.check(&store, wanted, cutoff);
    let without = copy(dir);
    crate::fs::remove_dir(&without.path().join("index")).unwrap();
    crate::fs::remove_dir(&without.path().join("tables")).unwrap();
    let store = opened(without.path());
    world.check(&store, wanted, cutoff);
    let number = store.name_documents("in", "d", &["new.txt".to_owned()]).unwrap().0;
    assert!(world.names.values().all(|(known, _)| *known < number), "a number is given twice");
    assert!(store.newest_mark() >= world.marks, "the newest mark is lost");
    let examined = copy(dir);
    let is_wanted: &dyn Fn(&str, &str) -> bool = &|family, _| family == "in";
    let mut asked = examine::Asked { is_wanted, tell: &mut |_, _, _| {}, command: Vec::new() };
    let Examining::Done(store, found) = examine(examined.path(), &mut asked).unwrap() else { panic!("held") };
    assert!(found.is_fine(), "{found:?}");
    world.check(&store, wanted, cutoff);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_needed_stays_and_what_is_not_goes(history in history(), days in 0..40u64) {
        let world = World::of(&history);
        let cutoff = world.cutoff(days);
        let wanted = world.wanted(cutoff);
        let acts = world.wanted_acts(&wanted, cutoff);
        let plan = world.plan(days);
        let report = plan.report.clone();
        prop_assert_eq!(report.kept, acts.len() as u64, "{:?}", acts);
        let before = segments_bytes(world.dir.path());
        let chosen = plan.chosen.clone();
        plan.carry_out(&world.store, &mut |_, _, _| {}).unwrap();
        world.check(&world.store, &wanted, cutoff);
        // What was planned is what was done, to the byte; a last segment that was written anew has a new one behind it.
        let after = segments_bytes(world.dir.path());
        for number in &chosen {
            prop_assert!(after[number] < before[number]);
        }
        let freed: u64 = chosen.iter().map(|number| before[number] - after[number]).sum();
        prop_assert_eq!(freed, report.log_bytes);
        for (at, _) in world.acts.iter().filter(|(at, _)| chosen.contains(&at.segment())) {
            prop_assert_eq!(world.store.is_collected(*at), !acts.contains(at));
        }
        world.store.close().unwrap();
        check_next(&world, world.dir.path(), &wanted, cutoff);
        // Nothing is left to be collected.
        let next = copy(world.dir.path());
        let store = opened(next.path());
        let mut tell = |_: &str, _: u64, _: u64| {};
        let again = super::plan(&store, &mut world.ask(Some(days), &|family| family == "in", &mut tell)).unwrap();
        prop_assert!(again.chosen.is_empty() && again.blobs.is_empty(), "{:?}", again.report);
    }
}

fn segments_bytes(dir: &Path) -> BTreeMap<u32, u64> {
    let files = crate::fs::files_below(&dir.join("segments")).unwrap();
    let number = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    files.iter().map(|path| (number(path), std::fs::metadata(path).unwrap().len())).collect()
}

/// What changes anything on the disk.
fn changes(call: Call) -> bool {
    !matches!(call, Call::Open | Call::List | Call::Size | Call::Read)
}

/// Three segments of edits, a document that went, large results, another source that is not in the Pipelinefile.
fn eventful() -> Vec<Told> {
    let edit = |doc, version| Step::Edit { doc, version };
    vec![
        (0, false, vec![edit(0, 0), edit(1, 3), edit(2, 3), edit(4, 1), edit(4, 2)]),
        (1, false, vec![edit(0, 1), edit(2, 0), edit(4, 0), Step::Redo { doc: 2 }]),
        (1, true, vec![edit(0, 3), edit(2, 1), Step::Remove { doc: 4 }, Step::Code { version: 1 }]),
        (1, false, vec![edit(0, 2), edit(2, 2), edit(0, 1), edit(2, 1), Step::Redo { doc: 0 }]),
        (1, true, vec![edit(0, 0), edit(2, 3), Step::Fail { doc: 2 }, Step::Stopped { doc: 0, version: 2 }]),
    ]
}

#[test]
fn killed_at_any_write_it_leaves_a_valid_store_and_the_next_one_ends_it() {
    let whole = World::of(&eventful());
    let cutoff = whole.cutoff(0);
    let end = whole.plan(0).report.log_bytes;
    assert!(end > 0);
    let mut kills = 0;
    loop {
        let world = World::of(&eventful());
        let wanted = world.wanted(cutoff);
        let plan = world.plan(0);
        assert_eq!((plan.chosen.len(), plan.blobs.len()), (2, 3), "{:?}", plan.report);
        // From its n-th change on nothing happens any more; that one is half done if it can be.
        let failing = FailingDisk::new(Arc::new(RealDisk), kills + 1, changes, Wrong::Errno(5), true);
        let disk: Arc<dyn Disk> = Arc::new(failing);
        let done = plan.carry_out_on(&world.store, &disk, &mut |_, _, _| {});
        world.check(&world.store, &wanted, cutoff);
        // Killed: nothing is closed.
        check_next(&world, world.dir.path(), &wanted, cutoff);
        if done.is_ok() {
            break;
        }
        let next = copy(world.dir.path());
        let store = opened(next.path());
        let mut tell = |_: &str, _: u64, _: u64| {};
        let again =
            super::plan(&store, &mut world.ask(Some(0), &|family| family == "in", &mut tell)).unwrap();
        again.carry_out(&store, &mut |_, _, _| {}).unwrap();
        world.check(&store, &wanted, cutoff);
        assert_eq!(store.blobs.all().unwrap().len(), 1, "after kill {kills}");
        kills += 1;
    }
    assert!(kills > 20, "{kills}");
}

#[test]
fn the_last_thirty_days_and_ten_runs_stay_by_default() {
    let edit = |doc, version| Step::Edit { doc, version };
    // One edit every ten days, thirteen times: the last ten runs are more than thirty days.
    let history: Vec<Told> = (0..13).map(|i| (10, false, vec![edit(0, i % 3), edit(2, i % 2)])).collect();
    let world = World::of(&history);
    let mut tell = |_: &str, _: u64, _: u64| {};
    let plan = plan(&world.store, &mut world.ask(None, &|_| true, &mut tell)).unwrap();
    assert_eq!(plan.report.since.map(|since| since.run), Some(5));
    assert_eq!(plan.report.doubt, None);
}

#[test]
fn a_store_of_another_pipelinefile_is_doubted() {
    let world = World::of(&eventful());
    let mut tell = |_: &str, _: u64, _: u64| {};
    let plan = plan(&world.store, &mut world.ask(Some(0), &|_| false, &mut tell)).unwrap();
    assert_eq!(plan.report.doubt, Some(Doubt::NoDocument));
    assert_eq!(world.plan(0).report.doubt, Some(Doubt::OverHalf));
    assert_eq!(world.plan(1000).report.doubt, None);
}

#[test]
fn a_log_that_is_damaged_unknown_to_all_is_left_alone() {
    let world = World::of(&eventful());
    world.store.close().unwrap();
    let next = copy(world.dir.path());
    let path = next.path().join("segments/000001.seg");
    let mut bytes = crate::fs::read(&path).unwrap();
    let at = bytes.windows(11).position(|window| window == b"result of 0").unwrap();
    // A byte of a frame, not of a payload.
    let frame = bytes[..at].iter().rposition(|byte| *byte == b'{').unwrap();
    bytes[frame] ^= 1;
    crate::fs::write_scratch(&path, &bytes).unwrap();
    let store = opened(next.path());
    let mut tell = |_: &str, _: u64, _: u64| {};
    let refused = plan(&store, &mut world.ask(Some(0), &|_| true, &mut tell));
    let error = refused.err().unwrap();
    assert!(error.hints[0].starts_with("pipe doctor"), "{error}");
}

#[test]
fn a_size_is_kept_to_by_collecting_older_history_first() {
    let edit = |doc, version| Step::Edit { doc, version };
    let history: Vec<Told> =
        (0..6).map(|i| (1, true, (0..3).map(|doc| edit(doc * 2, i % 3)).collect())).collect();
    let world = World::of(&history);
    let ask = |size| {
        let mut tell = |_: &str, _: u64, _: u64| {};
        let asked = &mut world.ask(Some(1000), &|_| true, &mut tell);
        asked.max_size = Some(size);
        plan(&world.store, asked).unwrap().report
    };
    let whole = ask(u64::MAX);
    assert_eq!((whole.before, whole.over), (whole.after, None));
    let least = ask(1);
    assert!(least.after < whole.before && least.over == Some(least.after - 1));
    assert_eq!(least.history, 0);
    let between = ask(u64::midpoint(least.after, whole.before));
    assert!(between.over.is_none() && between.after > least.after && between.history > 0, "{between:?}");
}

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::document::{DocNumber, Stamp};

const OWNER: (&str, &str) = ("store", "boot");

fn home(dir: &Path, store: &str, boot: &str) -> Home {
    let disk = Arc::new(crate::store::disk::RealDisk);
    Home { dir: dir.to_owned(), store: store.to_owned(), boot: boot.to_owned(), disk, engine: Engine::Sled }
}

fn fresh() -> (TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::fresh(&home(dir.path(), OWNER.0, OWNER.1)).unwrap();
    (dir, index)
}

fn entry(name: &str, number: u32) -> Entry {
    let flags =
        Flags { settled: !number.is_multiple_of(3), failed: number.is_multiple_of(5), ..Flags::default() };
    let story = Position(u64::from(number) * 100 + (1 << 28));
    Entry {
        name: name.to_owned(),
        flags,
        stamp: Stamp(u64::from(number) << 40),
        doc: DocNumber(number),
        definition: Position((1 << 28) + 64),
        story,
    }
}

fn id(family: &str, dir: &str, name: &str) -> String {
    if dir.is_empty() { format!("{family}/{name}") } else { format!("{family}/{dir}/{name}") }
}

fn scanned(index: &Index, family: &str) -> Vec<(String, Entry)> {
    let mut found = Vec::new();
    index
        .scan(family, &mut |dir, entry| {
            found.push((id(family, dir, &entry.name), entry.clone()));
            false
        })
        .unwrap();
    found
}

/// The lengths of a directory's pages.
fn page_lengths(index: &Index, family: &str) -> Vec<usize> {
    let mut lengths = Vec::new();
    index
        .each_page(family, |_, page| {
            lengths.push(page.len());
            Ok(())
        })
        .unwrap();
    lengths
}

#[derive(Clone, Debug)]
enum Step {
    Put { dir: usize, from: u32, count: u32, stride: u32 },
    Remove { dir: usize, from: u32, count: u32 },
}

const DIRS: [&str; 8] = ["", "a", "a/b", "a-b", "a b/c", "a0", "a/b/c/d", "ä"];

fn step() -> impl Strategy<Value = Step> {
    let put = (0..DIRS.len(), 0u32..2000, 1u32..400, 1u32..9)
        .prop_map(|(dir, from, count, stride)| Step::Put { dir, from, count, stride });
    let remove = (0..DIRS.len(), 0u32..2000, 1u32..900).prop_map(|(dir, from, count)| Step::Remove {
        dir,
        from,
        count,
    });
    prop_oneof![3 => put, 2 => remove]
}

fn name_of(number: u32) -> String {
    match number % 4 {
        0 => format!("a{number}"),
        1 => format!("a-{number:05}.pdf"),
        2 => format!("ä{number:04}"),
        _ => format!("z{}{number}", "long".repeat(number as usize % 13)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_index_says_what_a_map_would(steps in proptest::collection::vec(step(), 1..24)) {
        static SHARED: OnceLock<(TempDir, Index)> = OnceLock::new();
        static CASES: AtomicU32 = AtomicU32::new(0);
        let (_, index) = SHARED.get_or_init(fresh);
        let family = format!("family{}", CASES.fetch_add(1, Ordering::Relaxed));
        let mut model: BTreeMap<(usize, String), Entry> = BTreeMap::new();
        for (round, step) in steps.iter().enumerate() {
            match *step {
                Step::Put { dir, from, count, stride } => {
                    let entries: Vec<Entry> = (from..from + count * stride).step_by(stride as usize)
                        .map(|number| entry(&name_of(number), number + round as u32)).collect();
                    index.put(&family, DIRS[dir], &entries).unwrap();
                    model.extend(entries.into_iter().map(|entry| ((dir, entry.name.clone()), entry)));
                }
                Step::Remove { dir, from, count } => {
                    let names: Vec<String> = (from..from + count).map(name_of).collect();
                    index.remove(&family, DIRS[dir], &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
                    model.retain(|(of, name), _| *of != dir || !names.contains(name));
                }
            }
        }
        for (number, dir) in DIRS.iter().enumerate() {
            let expected: Vec<Entry> = model.iter().filter(|((of, _), _)| *of == number).map(|(_, entry)| entry.clone()).collect();
            prop_assert_eq!(index.directory(&family, dir).unwrap(), expected);
        }
        let mut expected: Vec<(String, Entry)> =
            model.iter().map(|((dir, name), entry)| (id(&family, DIRS[*dir], name), entry.clone())).collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(scanned(index, &family), expected);
        for number in (0..2000).step_by(37) {
            let name = name_of(number);
            prop_assert_eq!(index.get(&family, "a", &name).unwrap(), model.get(&(1, name)).cloned());
        }
        let sums = index.sums(&family).unwrap();
        let count = |test: fn(&Flags) -> bool| model.values().filter(|entry| test(&entry.flags)).count() as u64;
        prop_assert_eq!((sums.documents, sums.settled, sums.failed), (model.len() as u64, count(|f| f.settled), count(|f| f.failed)));
        let mut dirs: Vec<&str> = model.keys().map(|(dir, _)| DIRS[*dir]).collect();
        dirs.sort_by_key(|dir| dir.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>());
        dirs.dedup();
        prop_assert_eq!(index.directories(&family).unwrap(), dirs);
        prop_assert!(page_lengths(index, &family).iter().all(|length| *length <= 7 * 1024));
    }

    #[test]
    fn a_scan_is_in_byte_order_of_ids(dirs in proptest::collection::btree_set("[a!/]{1,5}", 1..12)) {
        static SHARED: OnceLock<(TempDir, Index)> = OnceLock::new();
        static CASES: AtomicU32 = AtomicU32::new(0);
        let (_, index) = SHARED.get_or_init(fresh);
        let family = format!("family{}", CASES.fetch_add(1, Ordering::Relaxed));
        let mut expected = Vec::new();
        for dir in &dirs {
            let entries = ["!", "a", "a!", "b"].map(|name| entry(name, 1));
            index.put(&family, dir, &entries).unwrap();
            expected.extend(entries.iter().map(|entry| id(&family, dir, &entry.name)));
        }
        expected.sort();
        let ids: Vec<String> = scanned(index, &family).into_iter().map(|(id, _)| id).collect();
        prop_assert_eq!(ids, expected);
    }
}

#[test]
fn pages_split_when_they_grow_and_join_when_they_shrink() {
    let (_dir, index) = fresh();
    let names: Vec<String> = (0..3000).map(|number| format!("scan-{number:06}.pdf")).collect();
    for (number, name) in names.iter().enumerate() {
        index.put("in", "d", &[entry(name, number as u32)]).unwrap();
    }
    let lengths = page_lengths(&index, "in");
    assert!(lengths.iter().all(|length| (1536..=6 * 1024).contains(length)), "{lengths:?}");
    for name in &names[10..2990] {
        index.remove("in", "d", &[name]).unwrap();
        let lengths = page_lengths(&index, "in");
        assert!(lengths.len() == 1 || lengths.iter().all(|length| *length >= 1536), "{lengths:?}");
    }
    assert_eq!(page_lengths(&index, "in").len(), 1);
    assert_eq!(index.directory("in", "d").unwrap().len(), 20);
    index.remove("in", "d", &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!(page_lengths(&index, "in"), Vec::<usize>::new());
}

#[test]
fn families_and_the_last_of_equal_names_are_kept_apart() {
    let (_dir, index) = fresh();
    index.put("in", "", &[entry("a", 1), entry("b", 2), entry("a", 3)]).unwrap();
    index.put("in2", "", &[entry("a", 4)]).unwrap();
    index.put("in/x", "", &[entry("a", 5)]).unwrap();
    assert_eq!(index.directory("in", "").unwrap(), [entry("a", 3), entry("b", 2)]);
    assert_eq!(index.sums("in").unwrap().documents, 2);
    assert_eq!(scanned(&index, "in2").len(), 1);
    assert_eq!(index.directories("in").unwrap(), [""]);
}

#[test]
fn many_documents_are_counted_and_gone_through() {
    let (_dir, index) = fresh();
    for dir in 0..400u32 {
        let entries: Vec<Entry> =
            (0..500).map(|n| entry(&format!("scan-{n:06}.pdf"), dir * 500 + n)).collect();
        index.put("in", &format!("{:02}/{:02}", dir / 20, dir % 20), &entries).unwrap();
    }
    let sums = index.sums("in").unwrap();
    assert_eq!((sums.documents, sums.failed, sums.settled), (200_000, 40_000, 133_333));
    let mut next = 0;
    index
        .scan("in", &mut |_, entry| {
            assert_eq!(entry.doc, DocNumber(next));
            next += 1;
            false
        })
        .unwrap();
    assert_eq!(next, 200_000);
    assert_eq!(index.directories("in").unwrap().len(), 400);
    assert!(index.size_on_disk() < 200_000 * 34 * 4);
}

#[test]
fn small_values_are_kept_in_order_under_their_tree() {
    let (_dir, index) = fresh();
    for (key, value) in [("b/2", "two"), ("b/1", "one"), ("c", "three")] {
        index.keep("code", key.as_bytes(), value.as_bytes()).unwrap();
    }
    index.keep("code2", b"b/3", b"other").unwrap();
    assert_eq!(index.kept("code", b"c").unwrap().as_deref(), Some(&b"three"[..]));
    assert_eq!(index.kept("python", b"c").unwrap(), None);
    let mut seen = Vec::new();
    index
        .kept_scan("code", b"b/", &mut |key, value| {
            seen.push((key.to_vec(), value.to_vec()));
            false
        })
        .unwrap();
    assert_eq!(seen, [(b"b/1".to_vec(), b"one".to_vec()), (b"b/2".to_vec(), b"two".to_vec())]);
    index.drop_kept("code", b"c").unwrap();
    assert_eq!(index.kept("code", b"c").unwrap(), None);
}

#[test]
fn a_page_or_value_that_was_changed_is_unusable() {
    let (_dir, index) = fresh();
    index.put("in", "a", &[entry("x", 1), entry("y", 2)]).unwrap();
    let key = key::first_page(key::directory("in", "a"));
    let whole = index.database.get(Space::Pages, &key).unwrap().unwrap().to_vec();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        index.database.insert(Space::Pages, &key, damaged).unwrap();
        assert!(index.directory("in", "a").is_err(), "byte {at}");
        assert!(index.sums("in").is_err());
        assert!(index.get("in", "a", "x").is_err());
        assert!(index.scan("in", &mut |_, _| false).is_err());
        assert!(index.put("in", "a", &[entry("z", 3)]).is_err());
    }
    index.keep("code", b"k", b"v").unwrap();
    let place = kept_key("code", b"k");
    let mut value = index.database.get(Space::Kept, &place).unwrap().unwrap().to_vec();
    value[5] ^= 1;
    index.database.insert(Space::Kept, &place, value).unwrap();
    assert!(index.kept("code", b"k").is_err());
}

#[test]
fn golden_value() {
    let shown: Vec<String> =
        sealed(b"applied", b"\x40data").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown.concat(), "f4726dce014064617461");
    assert_eq!(kept_key("code", b"a/b"), b"code\0a/b");
}

/// What another process would find now: a copy of all files.
fn killed_here(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in crate::fs::files_below(dir).unwrap() {
        let place = copy.path().join(file.strip_prefix(dir).unwrap());
        crate::fs::create_dir(place.parent().unwrap()).unwrap();
        crate::fs::write_scratch(&place, &crate::fs::read(&file).unwrap()).unwrap();
    }
    copy
}

#[test]
fn a_killed_index_opens_with_its_last_checkpoint_under_the_same_boot_only() {
    let (dir, index) = fresh();
    let copy = killed_here(dir.path());
    let opened = Index::open(&home(copy.path(), OWNER.0, OWNER.1));
    assert!(opened.is_err() || opened.is_ok_and(|opened| opened.applied.is_none()));

    index.put("in", "a", &[entry("x", 1)]).unwrap();
    index.checkpoint(Position(77), b"counts").unwrap();
    let copy = killed_here(dir.path());
    assert!(Index::open(&home(copy.path(), "store", "another boot")).is_err());
    assert!(Index::open(&home(copy.path(), "another store", "boot")).is_err());
    let opened = Index::open(&home(copy.path(), OWNER.0, OWNER.1)).unwrap();
    assert_eq!(opened.applied, Some(Applied { position: Position(77), data: b"counts".to_vec() }));
    assert_eq!(opened.index.directory("in", "a").unwrap(), [entry("x", 1)]);
}

#[test]
fn a_closed_index_opens_under_any_boot_until_it_is_written_to() {
    let (dir, index) = fresh();
    index.put("in", "a", &[entry("x", 1)]).unwrap();
    index.close(Position(5), b"").unwrap();
    let copy = killed_here(dir.path());
    let opened = Index::open(&home(copy.path(), OWNER.0, "next boot")).unwrap();
    assert_eq!(opened.applied.unwrap().position, Position(5));
    // What changes nothing writes nothing.
    opened.index.put("in", "a", &[entry("x", 1)]).unwrap();
    let unchanged = killed_here(copy.path());
    assert!(Index::open(&home(unchanged.path(), OWNER.0, "third boot")).is_ok());
    opened.index.put("in", "a", &[entry("x", 2)]).unwrap();
    let written = killed_here(copy.path());
    assert!(Index::open(&home(written.path(), OWNER.0, "third boot")).is_err());
    assert!(Index::open(&home(written.path(), OWNER.0, "next boot")).is_ok());
}

#[test]
fn whatever_lies_in_its_files_opening_never_panics() {
    let (dir, index) = fresh();
    for number in 0..50u32 {
        let entries: Vec<Entry> = (0..40).map(|n| entry(&format!("{n:03}"), number * 40 + n)).collect();
        index.put("in", &number.to_string(), &entries).unwrap();
    }
    index.close(Position(5), b"").unwrap();
    let files = crate::fs::files_below(dir.path()).unwrap();
    for file in &files {
        let whole = crate::fs::read(file).unwrap();
        for at in [0, 1, 9, whole.len() / 2, whole.len() - 1] {
            for cut in [false, true] {
                let copy = killed_here(dir.path());
                let mut bytes = whole.clone();
                if cut {
                    bytes.truncate(at);
                } else {
                    bytes[at] ^= 0x55;
                }
                let place = copy.path().join(file.strip_prefix(dir.path()).unwrap());
                crate::fs::write_scratch(&place, &bytes).unwrap();
                if let Ok(opened) = Index::open(&home(copy.path(), OWNER.0, OWNER.1)) {
                    let read = opened.index.scan("in", &mut |_, _| false);
                    let put = opened.index.put("in", "new", &[entry("x", 1)]);
                    let _outcomes = (read, put, opened.index.checkpoint(Position(6), b""));
                }
            }
        }
    }
}

#[test]
fn a_new_epoch_begins_empty_and_is_the_one_that_is_opened() {
    let (dir, index) = fresh();
    index.put("in", "a", &[entry("x", 1)]).unwrap();
    index.checkpoint(Position(5), b"").unwrap();
    let second = Index::fresh(&home(dir.path(), OWNER.0, OWNER.1)).unwrap();
    assert_eq!(second.directory("in", "a").unwrap(), []);
    second.close(Position(9), b"").unwrap();
    let copy = killed_here(dir.path());
    assert_eq!(
        Index::open(&home(copy.path(), OWNER.0, OWNER.1)).unwrap().applied.unwrap().position,
        Position(9)
    );
    assert!(Index::open(&home(&dir.path().join("none"), OWNER.0, OWNER.1)).is_err());
}

/// As `pipe retry` does: it marks, closes the store, and builds.
#[test]
fn the_same_process_opens_an_index_again() {
    let (dir, index) = fresh();
    let home = home(dir.path(), OWNER.0, OWNER.1);
    index.put("in", "a", &[entry("x", 1)]).unwrap();
    index.close(Position(5), b"data").unwrap();
    drop(index);
    let opened = Index::open(&home).unwrap();
    assert!(opened.was_closed);
    assert_eq!(opened.applied.unwrap().data, b"data");
    assert_eq!(opened.index.directory("in", "a").unwrap(), [entry("x", 1)]);
    // Another one in its place is another one.
    drop(opened.index);
    std::fs::remove_dir_all(dir.path()).unwrap();
    std::fs::create_dir(dir.path()).unwrap();
    let index = Index::fresh(&home).unwrap();
    assert_eq!(index.directory("in", "a").unwrap(), []);
}

#[test]
fn an_index_that_was_met_damaged_is_not_opened_again() {
    let (dir, index) = fresh();
    index.put("in", "a", &[entry("x", 1)]).unwrap();
    index.checkpoint(Position(5), b"").unwrap();
    let mut pages = Vec::new();
    index
        .each_page("in", |key, _| {
            pages.push(key.to_vec());
            Ok(())
        })
        .unwrap();
    index.database.insert(super::Space::Pages, &pages[0], b"no page at all".to_vec()).unwrap();
    let opens = |dir: &Path| Index::open(&home(killed_here(dir).path(), OWNER.0, OWNER.1)).is_ok();
    assert!(opens(dir.path()));
    assert!(index.directory("in", "a").is_err());
    assert!(!opens(dir.path()));
    assert!(index.close(Position(6), b"").is_err());
    assert!(!opens(dir.path()));
}

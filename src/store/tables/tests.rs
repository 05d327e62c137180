use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SALT: u64 = 0x5a17;

fn open(dir: &Path, salt: u64) -> Result<(Finder, Position)> {
    Finder::open(Arc::new(disk::RealDisk), dir, salt)
}

fn found(finder: &Finder, key: u64) -> Vec<u64> {
    let mut positions = Vec::new();
    finder
        .candidates(key, &mut |position| {
            positions.push(position.0);
            false
        })
        .unwrap();
    positions
}

fn tables_in(dir: &Path) -> Vec<String> {
    crate::fs::files_below(dir)
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// Writes `tables` tables of `entries` entries each; the entry at position `p` has the key `key(p)`.
fn write(finder: &mut Finder, tables: u64, entries: u64, key: impl Fn(u64) -> u64) {
    for _ in 0..tables {
        let from = finder.covered_to().0;
        for position in from..from + entries {
            finder.insert(key(position), Position(position));
        }
        finder.write_table(Position(from + entries)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_positions_of_a_key_are_found_newest_first(
        steps in proptest::collection::vec((0u64..40, 1usize..600, 0u8..4), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut finder, covered) = open(dir.path(), SALT).unwrap();
        prop_assert_eq!(covered, Position(0));
        let mut model: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut log: Vec<(u64, u64)> = Vec::new();
        for (key, count, then) in steps {
            for _ in 0..count {
                let position = log.len() as u64 + 1;
                let key = (key * 0x1234_5678_9abc) << 16;
                finder.insert(key, Position(position));
                model.entry(key).or_default().insert(0, position);
                log.push((key, position));
            }
            match then {
                0 => finder.write_table(Position(log.len() as u64 + 1)).unwrap(),
                1 => {
                    let (opened, covered) = open(dir.path(), SALT).unwrap();
                    finder = opened;
                    for (key, position) in log.iter().filter(|(_, position)| *position >= covered.0) {
                        finder.insert(*key, Position(*position));
                    }
                }
                _ => {}
            }
        }
        for (key, positions) in &model {
            prop_assert_eq!(&found(&finder, *key), positions);
        }
        prop_assert_eq!(found(&finder, 0xdead_beef_0000_0000), Vec::<u64>::new());
    }
}

#[test]
fn a_key_whose_positions_fill_several_pages_is_found_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 1, 5000, |position| (position / 2000) << 16);
    assert_eq!(found(&finder, 1 << 16), (2000..4000).rev().collect::<Vec<_>>());
    let mut seen = 0;
    let stopped = finder.candidates(0, &mut |_| {
        seen += 1;
        seen == 3
    });
    assert_eq!((stopped, seen), (Ok(true), 3));
}

#[test]
fn eight_tables_of_a_tier_become_one_and_keep_all() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    let key = |position: u64| (position % 100) << 40;
    write(&mut finder, 20, 500, key);
    assert_eq!(tables_in(dir.path()).len(), 2 + 4);
    let (opened, covered) = open(dir.path(), SALT).unwrap();
    assert_eq!(covered, Position(10_000));
    for finder in [finder, opened] {
        assert_eq!(found(&finder, 7 << 40), (0..10_000).rev().filter(|n| n % 100 == 7).collect::<Vec<_>>());
    }
}

#[test]
fn tables_older_than_the_recipe_are_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 3, 100, |_| 0);
    let mut seen = Vec::new();
    let stopped = finder.candidates_since(0, Position(150), &mut |position| {
        seen.push(position.0);
        false
    });
    assert_eq!(stopped, Ok(false));
    assert_eq!(seen, (100..300).rev().collect::<Vec<_>>());
}

#[test]
fn a_merge_that_was_killed_leaves_one_coherent_set() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 7, 100, |position| position << 16);
    let before: Vec<(PathBuf, Vec<u8>)> = crate::fs::files_below(dir.path())
        .unwrap()
        .into_iter()
        .map(|path| (path.clone(), crate::fs::read(&path).unwrap()))
        .collect();
    write(&mut finder, 1, 100, |position| position << 16);
    assert_eq!(tables_in(dir.path()).len(), 1);
    for (path, bytes) in &before {
        crate::fs::write_scratch(path, bytes).unwrap();
    }
    crate::fs::write_scratch(&dir.path().join("0-1.tmp"), b"half").unwrap();
    let (finder, covered) = open(dir.path(), SALT).unwrap();
    assert_eq!((covered, tables_in(dir.path()).len()), (Position(800), 1));
    assert_eq!(found(&finder, 750 << 16), [750]);
}

#[test]
fn a_torn_or_foreign_table_and_those_behind_it_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 3, 100, |position| position << 16);
    let second = dir.path().join(tables_in(dir.path()).remove(1));
    let whole = crate::fs::read(&second).unwrap();
    crate::fs::write_scratch(&second, &whole[..whole.len() - 1]).unwrap();
    let (_, covered) = open(dir.path(), SALT).unwrap();
    assert_eq!((covered, tables_in(dir.path()).len()), (Position(100), 1));
    let (_, covered) = open(dir.path(), SALT + 1).unwrap();
    assert_eq!((covered, tables_in(dir.path()).len()), (Position(0), 0));
}

#[test]
fn every_damaged_byte_is_noticed_when_opened_or_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 1, 400, |position| position << 16);
    let path = dir.path().join(tables_in(dir.path()).remove(0));
    let whole = crate::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(61).chain(0..64) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        crate::fs::write_scratch(&path, &damaged).unwrap();
        let (finder, covered) = open(dir.path(), SALT).unwrap();
        if covered == Position(0) {
            continue;
        }
        let hole = Hole { from: Position(0), to: Position(400) };
        let asked = [0, 399].map(|key| finder.candidates(key << 16, &mut |_| true));
        assert!(asked.contains(&Err(hole)), "byte {at}");
        assert!(!path.exists());
    }
}

#[test]
fn a_hole_is_told_until_it_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 3, 100, |position| position << 16);
    let second = dir.path().join(tables_in(dir.path()).remove(1));
    let mut bytes = crate::fs::read(&second).unwrap();
    bytes[4096] ^= 1;
    crate::fs::write_scratch(&second, &bytes).unwrap();
    let hole = Hole { from: Position(100), to: Position(200) };
    for _ in 0..2 {
        assert_eq!(finder.candidates(150 << 16, &mut |_| true), Err(hole));
    }
    assert_eq!(found(&finder, 250 << 16), [250]);
    (100..200).for_each(|position| finder.insert(position << 16, Position(position)));
    finder.refilled(hole);
    assert_eq!(found(&finder, 150 << 16), [150]);
    // The file is gone, so the next opening reads on from there; nothing is merged over the gap.
    write(&mut finder, 9, 100, |position| position << 16);
    assert_eq!(found(&finder, 150 << 16), [150]);
    assert_eq!(open(dir.path(), SALT).unwrap().1, Position(100));
}

#[test]
fn keys_are_found_while_their_table_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    finder.insert(1 << 16, Position(1));
    assert!(finder.seal(Position(2)));
    finder.insert(1 << 16, Position(2));
    assert!(!finder.seal(Position(3)), "one at a time");
    let job = finder.next_job().unwrap();
    assert!(finder.next_job().is_none());
    assert_eq!((found(&finder, 1 << 16), finder.len_uncovered()), (vec![2, 1], 2));
    let failed = finder.install(Err(Error::unfinished("disk full")));
    assert!(failed.is_err());
    assert_eq!(found(&finder, 1 << 16), [2, 1]);
    drop(job);
    let made = finder.next_job().unwrap().run();
    finder.install(made).unwrap();
    assert_eq!((found(&finder, 1 << 16), finder.len_uncovered()), (vec![2, 1], 1));
    assert_eq!(finder.covered_to(), Position(2));
}

/// Damages the entries of a table.
fn damage(dir: &Path, table: usize) {
    let path = dir.join(tables_in(dir).remove(table));
    let mut bytes = crate::fs::read(&path).unwrap();
    bytes[4096] ^= 1;
    crate::fs::write_scratch(&path, &bytes).unwrap();
}

/// Fills the hole that a question meets, and asks again.
fn found_after_filling(finder: &mut Finder, key: u64) -> Vec<u64> {
    while let Err(hole) = finder.candidates(key, &mut |_| false) {
        (hole.from.0..hole.to.0).for_each(|position| finder.insert(position << 16, Position(position)));
        finder.refilled(hole);
    }
    found(finder, key)
}

#[test]
fn a_table_holds_the_keys_of_its_own_stretch_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    // Those from 100 on are in the log's memory, not on disk.
    (0..150).for_each(|position| finder.insert(position << 16, Position(position)));
    finder.write_table(Position(100)).unwrap();
    assert_eq!(finder.len_uncovered(), 50);
    (150..200).for_each(|position| finder.insert(position << 16, Position(position)));
    finder.write_table(Position(200)).unwrap();
    drop(finder);
    damage(dir.path(), 0);
    let (mut finder, covered) = open(dir.path(), SALT).unwrap();
    assert_eq!(covered, Position(200));
    assert_eq!(found_after_filling(&mut finder, 20 << 16), [20]);
    assert_eq!(
        found_after_filling(&mut finder, 120 << 16),
        [120],
        "what lies behind the first table is in the second"
    );
}

#[test]
fn nothing_is_sealed_that_lies_behind_what_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    finder.insert(7 << 16, Position(70));
    assert!(!finder.seal(Position(60)));
    assert!(finder.seal(Position(71)));
}

#[test]
fn a_second_hole_is_told_from_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 2, 100, |position| position << 16);
    damage(dir.path(), 0);
    assert_eq!(found_after_filling(&mut finder, 20 << 16), [20]);
    // What was read again goes into the third table.
    (200..300).for_each(|position| finder.insert(position << 16, Position(position)));
    finder.write_table(Position(300)).unwrap();
    damage(dir.path(), 1);
    assert_eq!(found_after_filling(&mut finder, 220 << 16), [220]);
    assert_eq!(found_after_filling(&mut finder, 20 << 16), [20]);
}

#[test]
fn filters_beyond_the_budget_are_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    write(&mut finder, 2, 1000, |position| position << 16);
    for table in &mut finder.tables {
        Arc::get_mut(table).unwrap().unload_filter();
    }
    assert!((0..2000).all(|n| found(&finder, n << 16) == [n]));
    assert!((2000..3000).all(|n| found(&finder, n << 16).is_empty()));
}

#[test]
fn golden_table() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = open(dir.path(), SALT).unwrap();
    finder.insert(0x0102_0304_0506_0708, Position::new(1, 64));
    finder.write_table(Position::new(1, 128)).unwrap();
    assert_eq!(tables_in(dir.path()), ["000000000000-000010000080.tab"]);
    let bytes = crate::fs::read(&dir.path().join("000000000000-000010000080.tab")).unwrap();
    assert_eq!(bytes.len(), 4 * 4096);
    let hex = |from: usize, to: usize| {
        bytes[from..to].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    };
    let shown = [hex(0, 48), hex(4092, 4108), hex(8188, 8198), hex(12284, 12352), hex(16380, 16384)];
    assert_eq!(shown, GOLDEN);
}

const GOLDEN: [&str; 5] = [
    "706970657461620a0200000000000000175a000000000000000000000000000080000010000000000100000000000000",
    "b4ec9b2e010203040506000010000040",
    "02114bfb010203040506",
    "d3f9d71500000000002000000000000080000000000000000000000040000000000000000000000000000000000000000000000000003000000000002000100000000000",
    "02daf6cb",
];

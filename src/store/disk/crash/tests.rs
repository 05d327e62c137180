use std::collections::BTreeSet;

use super::*;
use crate::store::disk::{self, read_all};

fn path(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

/// All that so many power cuts may leave of a file.
fn left(disk: &CrashDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let after = |seed| {
        let mut machine = disk.machine();
        machine.crash(&mut Random(seed));
        read_all(&CrashDisk::on(machine), &path(name)).unwrap()
    };
    (0..4000).map(after).collect()
}

fn disk() -> CrashDisk {
    let disk = CrashDisk::default();
    disk.create_dir(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

#[test]
fn what_is_synced_with_its_name_stays_and_all_else_may_go() {
    let disk = disk();
    let file = disk.create(&path("a")).unwrap();
    file.write_at(&[b"old"], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(left(&disk, "a"), [None, Some(b"old".to_vec())].into(), "a name without its folder synced");
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(left(&disk, "a"), [Some(b"old".to_vec())].into());
    file.write_at(&[b"new", b"er"], 0).unwrap();
    let found = left(&disk, "a");
    for expected in ["old", "newer", "new", "nld", "old\0\0", "older"] {
        assert!(found.contains(&Some(expected.as_bytes().to_vec())), "{expected}");
    }
    assert_eq!(read_all(&disk, &path("a")).unwrap().unwrap(), b"newer", "processes see it at once");
}

#[test]
fn writes_of_one_file_may_reach_the_disk_in_any_order() {
    let disk = disk();
    let file = disk.create(&path("a")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_at(&[b"1"], 0).unwrap();
    file.write_at(&[b"2"], 0).unwrap();
    assert_eq!(
        left(&disk, "a"),
        [&b""[..], b"1", b"2", b"\0"].map(|bytes| Some(bytes.to_vec())).into_iter().collect()
    );
}

#[test]
fn large_writes_are_torn_between_sectors_or_anywhere() {
    let disk = disk();
    let file = disk.create(&path("a")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_at(&[&[1; 100]], 0).unwrap();
    file.sync().unwrap();
    file.write_at(&[&[2; 2000]], 100).unwrap();
    let found = left(&disk, "a");
    let written = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().unwrap().iter().map(|byte| usize::from(*byte == 2)).sum::<usize>()
    };
    assert!(found.iter().any(|bytes| written(bytes) == 412), "the first sector alone");
    assert!(found.iter().any(|bytes| written(bytes) % 4 == 3), "somewhere in a sector");
    assert!(found.iter().all(|bytes| bytes.as_ref().unwrap()[..100] == [1; 100]));
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one() {
    let disk = disk();
    for bytes in [&b"old"[..], b"new"] {
        disk::replace(&disk, &path("a"), &path("a.tmp"), bytes).unwrap();
    }
    assert_eq!(left(&disk, "a"), [Some(b"new".to_vec())].into());
    let journal = disk.journal();
    let mut machine = Machine::default();
    let mut seen = BTreeSet::new();
    for op in &journal {
        machine.apply(op);
        seen.extend(left(&CrashDisk::on(machine.clone()), "a"));
    }
    assert_eq!(seen, [None, Some(b"old".to_vec()), Some(b"new".to_vec())].into());
}

#[test]
fn a_rename_between_folders_never_loses_both_names() {
    let disk = disk();
    disk.create_dir(&path("b")).unwrap();
    let file = disk.create(&path("a")).unwrap();
    file.write_at(&[b"x"], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.rename(&path("a"), &path("b/a")).unwrap();
    let mut found = BTreeSet::new();
    for seed in 0..100 {
        let mut machine = disk.machine();
        machine.crash(&mut Random(seed));
        found.insert(machine.paths());
    }
    assert_eq!(found, [vec![path("a")], vec![path("a"), path("b/a")], vec![path("b/a")]].into());
}

#[test]
fn after_a_failed_sync_what_was_written_is_seen_and_never_durable() {
    let disk = disk();
    let file = disk.create(&path("a")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_at(&[b"x"], 0).unwrap();
    disk.fail_sync(&path("a"));
    file.sync().unwrap();
    assert_eq!(read_all(&disk, &path("a")).unwrap().unwrap(), b"x");
    assert_eq!(left(&disk, "a"), [Some(Vec::new())].into());
}

#[test]
fn a_folder_that_is_not_durable_takes_all_with_it() {
    let disk = disk();
    disk.create_dir(&path("b/c")).unwrap();
    let file = disk.create(&path("b/c/a")).unwrap();
    file.sync().unwrap();
    disk.sync_dir(&path("b/c")).unwrap();
    disk.sync_dir(&path("b")).unwrap();
    assert_eq!(left(&disk, "b/c/a").len(), 2);
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(left(&disk, "b/c/a").len(), 1);
    disk.remove_dir(&path("b")).unwrap();
    assert!(disk.list(&path("b")).unwrap().is_empty());
    assert_eq!(left(&disk, "b/c/a").len(), 2);
}

//! B: what the disk does to the store. The store's own tests try every byte; these look from the outside: nothing wrong is
//! shown, what is lost is made again, nothing else is.

use rustix::io::Errno;

use crate::faultbox::{CHANGES, Fault, error};
use crate::harness::Project;
use crate::library::{
    Shown, Witness, built, damage, expected, first_runs, heals, library, runs, store_files, use_everything,
};
use crate::{Random, times};

const DOCUMENTS: usize = 6;

fn segment(project: &Project) -> std::path::PathBuf {
    store_files(project, "segments").remove(0)
}

#[test]
fn fault_b01_a_bit_of_a_blob() {
    let (project, expected) = built(DOCUMENTS);
    let blob = store_files(&project, "blobs").remove(0);
    damage(&blob, |bytes| bytes[100_000] ^= 1);
    drop(project.pipe(&["cat", "clean", "docs/0/big0.txt"]).ends(3).says("clean"));
    use_everything(&project);
    heals(&project, &expected, "a bit of a blob");
    assert_eq!(first_runs(&project), DOCUMENTS + 1, "only what was lost is made again");
    assert_eq!(store_files(&project, "quarantine").len(), 1, "the wrong bytes are kept to look at");
}

#[test]
fn fault_b01_random_bits_of_all_files() {
    let mut random = Random(201);
    let (project, expected) = built(DOCUMENTS);
    for round in 0..times(5, 1500) {
        let files = ["segments", "segments", "blobs", "index"].map(|folder| store_files(&project, folder));
        let files = &files[random.below(4)];
        let path = &files[random.below(files.len())];
        let mut at = 0;
        damage(path, |bytes| {
            if !bytes.is_empty() {
                at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        });
        if random.below(3) == 0 {
            project.clear(".pipe/index");
        }
        use_everything(&project);
        heals(&project, &expected, &format!("round {round}, byte {at} of {}", path.display()));
    }
}

#[test]
fn fault_b02_lengths_that_are_lies() {
    let mut random = Random(202);
    for round in 0..times(4, 300) {
        let (project, expected) = built(DOCUMENTS);
        damage(&segment(&project), |bytes| {
            let at = 64 + random.below(bytes.len() - 80);
            bytes[at..at + 8].fill(0xff);
        });
        project.clear(".pipe/index");
        use_everything(&project);
        // A length is never believed: no more memory than there is in a small machine.
        let command = project
            .command_through(&["sh", "-c", "ulimit -v 3000000; exec \"$@\"", "sh"], &["build", "--json"]);
        let ended = project.start_command(command).end();
        assert!([0, 1, 3].contains(&ended.status), "round {round}: {}", ended.text());
        heals(&project, &expected, &format!("round {round}"));
    }
}

#[test]
fn fault_b03_a_segment_that_is_cut() {
    let mut random = Random(203);
    for round in 0..times(4, 300) {
        let (project, expected) = built(DOCUMENTS);
        let mut left = 0;
        damage(&segment(&project), |bytes| {
            left = random.below(bytes.len());
            bytes.truncate(left);
        });
        use_everything(&project);
        heals(&project, &expected, &format!("round {round}: cut to {left}"));
        // What was cut is not appended to.
        assert!(store_files(&project, "segments").len() > 1, "cut to {left}");
        assert_eq!(std::fs::metadata(segment(&project)).unwrap().len(), left as u64);
    }
}

#[test]
fn fault_b04_a_page_of_zeros_or_an_older_one() {
    let mut random = Random(204);
    for round in 0..times(4, 300) {
        let (project, expected) = built(DOCUMENTS);
        let files = ["segments", "blobs", "index"].map(|folder| store_files(&project, folder)).concat();
        let path = &files[random.below(files.len())];
        damage(path, |bytes| {
            let pages = bytes.len().div_ceil(4096).max(1);
            let (to, from) = (random.below(pages) * 4096, random.below(pages) * 4096);
            let end = bytes.len();
            if round % 2 == 0 {
                bytes[to..(to + 4096).min(end)].fill(0);
            } else {
                let length = 4096.min(end - to).min(end - from);
                bytes.copy_within(from..from + length, to);
            }
        });
        use_everything(&project);
        heals(&project, &expected, &format!("round {round}, {}", path.display()));
    }
}

/// A build that was killed after some groups were written.
fn torn(expected: &Shown) -> Project {
    let project = library(DOCUMENTS);
    let fault = Fault::at_calls("pwritev,pwrite64").under(&project, ".pipe/segments");
    let ended = fault.at(5, "kill").start(&project, &["build"]).end();
    assert_eq!(ended.status, 137, "{}", ended.text());
    Witness::new(&project, expected).saw(&ended, "a kill");
    project
}

#[test]
fn fault_b05_a_torn_tail() {
    let expected = expected(DOCUMENTS);
    for cut in [1, 7, 40, 200].into_iter().take(times(2, 4)) {
        let project = torn(&expected);
        let before = std::fs::metadata(segment(&project)).unwrap().len();
        damage(&segment(&project), |bytes| bytes.truncate(bytes.len() - cut));
        let ended = project.build().ends(0);
        Witness::new(&project, &expected).saw(&ended, "a torn tail");
        assert_eq!(store_files(&project, "quarantine").len(), 1, "the tail is kept to look at");
        assert_eq!(std::fs::metadata(segment(&project)).unwrap().len(), before - cut as u64, "as it was");
        heals(&project, &expected, &format!("{cut} bytes less"));
    }
}

#[test]
fn fault_b06_damage_with_good_records_behind_it() {
    let (project, expected) = built(DOCUMENTS);
    // In the first documents' records; those behind them still count.
    damage(&segment(&project), |bytes| {
        let at = bytes.windows(6).position(|text| text == b"D3 HAS").unwrap();
        bytes[at] ^= 4;
    });
    drop(project.pipe(&["doctor"]).ends(3).says("Damaged").says("segments/000001.seg"));
    use_everything(&project);
    heals(&project, &expected, "damage in the middle");
    assert_eq!(first_runs(&project), DOCUMENTS + 1, "records behind the damage count: {:?}", runs(&project));
    drop(project.pipe(&["doctor"]).ends(0).says("nothing is damaged"));
}

#[test]
fn fault_b07_tables_of_keys_that_are_gone_or_wrong() {
    // As many as a table is made for.
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.first]
            each = "docs"
            module = "first"
            [target.all]
            all = "first"
            shell = "cksum"
            publish = "out/all.txt"
            "#,
        )
        .counted(
            "first",
            "
            @module
            def first(doc):
                ran('first', doc.text())
                return doc.text() + '!'
            ",
        );
    for n in 0..4200 {
        project.write(&format!("docs/{:02}/{n}.txt", n % 50), n.to_string());
    }
    drop(project.build().ends(0));
    let expected = project.files("out");
    for round in 0..3 {
        let tables = store_files(&project, "tables");
        assert!(!tables.is_empty(), "round {round}");
        match round {
            0 => std::fs::remove_file(&tables[0]).unwrap(),
            1 => damage(&tables[0], |bytes| bytes[5000] ^= 1),
            _ => damage(&tables[0], |bytes| bytes.truncate(9000)),
        }
        // Every document is looked up by its key.
        project.clear(".pipe/index");
        drop(project.build().ends(0));
        assert_eq!(project.counts("first").len(), 4200, "round {round}");
        assert!(project.files("out") == expected, "round {round}");
        // Closed in order: there is a table again, now or after the next record.
        project.write("docs/00/0.txt", format!("0 {round}"));
        drop(project.build().ends(0));
        project.write("docs/00/0.txt", "0");
        drop(project.build().ends(0));
        project.take_counts("first");
        project.write("runs/first", "x\n".repeat(4200));
        if store_files(&project, "tables").is_empty() {
            return;
        }
    }
}

#[test]
fn fault_b08_an_index_that_is_gone_empty_or_garbage_costs_no_run() {
    let (project, expected) = built(DOCUMENTS);
    let before = runs(&project);
    for change in 0..4 {
        for path in store_files(&project, "index") {
            match change {
                0 => std::fs::remove_file(path).unwrap(),
                1 => damage(&path, Vec::clear),
                2 => damage(&path, |bytes| bytes.fill(0xff)),
                _ => damage(&path, |bytes| bytes.truncate(bytes.len() / 2)),
            }
        }
        let ended = project.build().ends(0);
        assert_eq!(runs(&project), before, "change {change}: {}", ended.text());
        assert!(project.files("out") == expected, "change {change}");
        assert!(project.build().ends(0).all("plan").is_empty(), "change {change}");
    }
}

#[test]
fn fault_b08_an_index_that_hangs_is_given_up() {
    let (project, expected) = built(DOCUMENTS);
    let before = runs(&project);
    // The database is read, and no answer comes; the rest of the disk is well.
    let fault = Fault::at_calls("read,pread64").under(&project, ".pipe/index/000001/sled");
    let running = fault.from(1, "hang").start(&project, &["build"]);
    let ended = running.end();
    assert!([0, 3].contains(&ended.status), "{}", ended.text());
    assert_eq!(runs(&project), before);
    drop(project.build().ends(0));
    assert_eq!(runs(&project), before);
    assert!(project.files("out") == expected);
}

fn copied(project: &Project, from: &str, to: &str) {
    let (from, to) = (project.root().join(from), project.root().join(to));
    assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn fault_b09_an_index_of_another_project_or_of_yesterday() {
    let (project, expected) = built(DOCUMENTS);
    let (other, _) = built(DOCUMENTS + 2);
    let before = runs(&project);
    copied(&project, ".pipe/index", "yesterday");
    project.clear(".pipe/index");
    let foreign = other.root().join(".pipe/index").to_str().unwrap().to_owned();
    copied(&project, &foreign, ".pipe/index");
    drop(project.build().ends(0));
    assert!(project.files("out") == expected);
    assert_eq!(runs(&project), before);
    // Of yesterday: what was edited since then is not shown as it was.
    project.write("docs/1/d1.txt", "d1 was edited\n");
    drop(project.build().ends(0));
    let (edited, now) = (runs(&project), project.files("out"));
    project.clear(".pipe/index");
    copied(&project, "yesterday", ".pipe/index");
    drop(project.build().ends(0));
    assert!(project.files("out") == now);
    assert_eq!(runs(&project), edited);
}

#[test]
fn fault_b10_a_store_that_is_older_than_what_is_published() {
    let (project, _) = built(DOCUMENTS);
    copied(&project, ".pipe", "backup");
    project.write("docs/1/d1.txt", "d1 was edited\n");
    project.write("docs/1/new.txt", "new one\n");
    drop(project.build().ends(0));
    let expected = project.files("out");
    project.clear(".pipe");
    std::fs::rename(project.root().join("backup"), project.root().join(".pipe")).unwrap();
    heals(&project, &expected, "an older store");
    // And an edit in the time between is seen.
    project.write("docs/1/d1.txt", "d1 again\n");
    drop(project.build().ends(0));
    assert_eq!(project.read("out/clean/docs/1/d1.txt.txt"), "D1 AGAIN\n");
}

#[test]
fn fault_b11_a_sync_that_fails_is_never_tried_again() {
    let expected = expected(DOCUMENTS);
    let syncs = "fsync,fdatasync";
    let count = {
        let project = library(DOCUMENTS);
        Fault::at_calls(syncs).under(&project, ".pipe").calls(&project, &["build"]).len()
    };
    let tries = times(6, count);
    for n in 0..tries {
        let at = 1 + n * count / tries;
        let what = format!("sync {at} of {count}");
        let project = library(DOCUMENTS);
        let mut witness = Witness::new(&project, &expected);
        let fault = Fault::at_calls(syncs).under(&project, ".pipe").logged(&project, "calls");
        let ended = fault.at(at, &error(Errno::IO)).start(&project, &["build"]).end();
        assert!([0, 1, 3].contains(&ended.status), "{what}: {}", ended.text());
        let calls = project.read("calls");
        let failed = calls.lines().nth(at - 1).and_then(|line| line.split(' ').nth(2)).unwrap();
        if failed.contains("/segments/") {
            let after = calls.lines().skip(at).filter(|line| line.ends_with(failed)).count();
            assert_eq!(after, 0, "{what}: the segment was synced again\n{calls}");
            assert_eq!(ended.status, 3, "{what}: {}", ended.text());
        }
        project.clear("calls");
        witness.saw(&ended, &what);
        witness.ends_well(&what);
    }
}

#[test]
fn fault_b12_a_place_that_cannot_be_read() {
    let reads = "pread64,read";
    let count = {
        let (project, _) = built(DOCUMENTS);
        use_everything(&project);
        Fault::at_calls(reads).under(&project, ".pipe").calls(&project, &["build"]).len()
    };
    let tries = times(8, count);
    for n in 0..tries {
        let at = 1 + n * count / tries;
        let (project, expected) = built(DOCUMENTS);
        use_everything(&project);
        let fault = Fault::at_calls(reads).under(&project, ".pipe").at(at, &error(Errno::IO));
        let ended = fault.start(&project, &["build"]).end();
        assert!([0, 1, 3].contains(&ended.status), "read {at} of {count}: {}", ended.text());
        heals(&project, &expected, &format!("read {at} of {count}"));
    }
}

#[test]
fn fault_b13_short_reads_and_writes_and_interrupted_calls() {
    let expected = expected(DOCUMENTS);
    for (every, what) in [(1, "short"), (2, "short"), (2, &error(Errno::INTR) as &str)] {
        let project = library(DOCUMENTS);
        let calls = "read,pread64,write,pwrite64,pwritev,writev,fdatasync,fsync";
        let fault =
            Fault::at_calls(calls).under(&project, ".pipe").under(&project, "docs").under(&project, "out");
        let fault = fault.every(every, what);
        let mut witness = Witness::new(&project, &expected);
        let ended = fault.start(&project, &["build"]).end().ends(0);
        witness.saw(&ended, what);
        // The same with all that is read again.
        use_everything(&project);
        drop(fault.start(&project, &["build"]).end().ends(0));
        assert!(project.files("out") == expected, "{what}");
    }
}

#[test]
fn fault_b14_an_error_that_is_told_only_at_close() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let mut witness = Witness::new(&project, &expected);
    let fault = Fault::at_calls("close").under(&project, ".pipe").every(1, &error(Errno::IO));
    let ended = fault.start(&project, &["build"]).end();
    // Everything that counts was synced before, and that is where its errors are told.
    witness.saw(&ended, "errors at close");
    witness.ends_well("errors at close");
}

#[test]
fn fault_b15_bytes_that_are_there_already_but_wrong() {
    let (project, expected) = built(DOCUMENTS);
    let blob = store_files(&project, "blobs").remove(0);
    let right = std::fs::read(&blob).unwrap();
    damage(&blob, |bytes| bytes[0] ^= 1);
    // Other code, the same bytes: they are not taken for stored because a file of their name is there.
    project.write("modules/clean.sh", format!("{}# other\n", project.read("modules/clean.sh")));
    heals(&project, &expected, "wrong bytes under the right name");
    assert!(std::fs::read(&blob).unwrap() == right);
    project.clear("out");
    heals(&project, &expected, "read back");
}

#[test]
fn fault_b16_another_blobs_bytes_under_this_name() {
    let project = library(DOCUMENTS);
    project.write("docs/1/big1.txt", "big1 has text\n");
    drop(project.build().ends(0));
    let expected = project.files("out");
    let blobs = store_files(&project, "blobs");
    let (one, two) = (std::fs::read(&blobs[0]).unwrap(), std::fs::read(&blobs[1]).unwrap());
    std::fs::write(&blobs[0], two).unwrap();
    std::fs::write(&blobs[1], one).unwrap();
    use_everything(&project);
    heals(&project, &expected, "two blobs that changed places");
}

#[test]
fn fault_b17_a_blob_that_claims_to_be_a_tebibyte() {
    let (project, expected) = built(DOCUMENTS);
    let blob = store_files(&project, "blobs").remove(0);
    let Ok(()) = std::fs::File::options().write(true).open(&blob).unwrap().set_len(1 << 40) else {
        eprintln!("skipped: this file system holds no file of 1 TiB");
        return;
    };
    // Nothing is compressed, so a length that differs is all that a bomb can be.
    use_everything(&project);
    heals(&project, &expected, "a blob of 1 TiB");
}

#[test]
fn fault_b18_a_store_of_another_version_is_refused_and_left_alone() {
    let (project, expected) = built(DOCUMENTS);
    let right = project.read(".pipe/FORMAT");
    for (text, word) in [
        (right.replace("\"pipe_store\":1", "\"pipe_store\":2"), "2"),
        (right.replace("\"pipe_store\":1", "\"pipe_store\":0"), "0"),
        ("nonsense\n".to_owned(), "FORMAT"),
        (String::new(), "FORMAT"),
    ] {
        project.write(".pipe/FORMAT", &text);
        let before = project.files(".pipe/segments");
        for command in ["build", "status", "doctor"] {
            let told = project.pipe(&[command]);
            assert_eq!(told.status, 3, "{command} with {text:?}: {}", told.text());
            assert!(told.stderr.contains(word) && told.stderr.contains("hint"), "{}", told.text());
        }
        assert!(project.files(".pipe/segments") == before);
    }
    project.write(".pipe/FORMAT", right);
    use_everything(&project);
    heals(&project, &expected, "the right version again");
    assert_eq!(first_runs(&project), DOCUMENTS);
}

#[test]
fn fault_b19_somebody_removes_and_cuts_files_of_the_store_while_it_is_at_work() {
    let mut random = Random(219);
    for round in 0..times(3, 150) {
        let (project, expected) = built(DOCUMENTS);
        use_everything(&project);
        let fault = Fault::at_calls(CHANGES).under(&project, ".pipe");
        let pause = project.root().join("stop");
        let running =
            fault.at(1 + random.below(60), &format!("pause={}", pause.display())).start(&project, &["build"]);
        project.wait_for_file("stop.here");
        let mut changed = Vec::new();
        for _ in 0..3 {
            let files = store_files(&project, ".");
            let path = &files[random.below(files.len())];
            if path.ends_with("FORMAT") {
                continue;
            }
            changed.push(path.display().to_string());
            if random.below(2) == 0 {
                drop(std::fs::remove_file(path));
            } else if let Ok(file) = std::fs::File::options().write(true).open(path) {
                let length = file.metadata().unwrap().len() as usize;
                drop(file.set_len(random.below(length + 1) as u64));
            }
        }
        project.write("stop.go", "");
        let ended = running.end();
        assert!([0, 1, 3].contains(&ended.status), "round {round}, {changed:?}: {}", ended.text());
        project.no_process_is_left();
        heals(&project, &expected, &format!("round {round}, {changed:?}"));
    }
}

#[test]
fn fault_b19_the_socket_is_removed_while_it_is_at_work() {
    let project = library(DOCUMENTS);
    let pause = project.root().join("stop");
    let fault = Fault::at_calls("pwritev").under(&project, ".pipe/segments");
    let running = fault.at(3, &format!("pause={}", pause.display())).start(&project, &["build"]);
    project.wait_for_file("stop.here");
    project.clear(".pipe/socket");
    project.write("stop.go", "");
    drop(running.end().ends(0));
}

#[test]
fn fault_b20_what_a_disk_lost_without_a_word_is_found_by_looking() {
    let mut random = Random(220);
    let (project, expected) = built(12);
    let mut found = 0;
    for round in 0..times(4, 100) {
        // Anywhere but in what nobody needs any more: the spare bytes of headers.
        damage(&segment(&project), |bytes| {
            let at = 4096 + random.below(bytes.len() - 5000);
            bytes[at] ^= 1 << random.below(8);
        });
        let told = project.pipe(&["doctor"]);
        assert!([0, 3].contains(&told.status), "{}", told.text());
        found += usize::from(told.status == 3);
        use_everything(&project);
        heals(&project, &expected, &format!("round {round}"));
        drop(project.pipe(&["doctor"]).ends(0).says("nothing is damaged"));
    }
    assert!(found > 0);
}

#[test]
fn fault_b21_a_bit_that_flips_in_memory_before_it_is_written() {
    let expected = expected(DOCUMENTS);
    let count = {
        let project = library(DOCUMENTS);
        writes(&project).calls(&project, &["build"]).len()
    };
    let tries = times(4, count);
    for n in 0..tries {
        let at = 1 + n * count / tries;
        let project = library(DOCUMENTS);
        let ended = writes(&project).at(at, "flip").start(&project, &["build"]).end();
        assert!([0, 1, 3].contains(&ended.status), "write {at}: {}", ended.text());
        project.clear(".pipe/index");
        use_everything(&project);
        heals(&project, &expected, &format!("write {at} of {count}"));
    }
}

/// What goes into the store; published files are not read again.
fn writes(project: &Project) -> Fault {
    let calls = Fault::at_calls("pwritev,pwrite64,write");
    calls.under(project, ".pipe/segments").under(project, ".pipe/blobs").under(project, ".pipe/index")
}

/// The disk does not answer for a while: nothing is lost, nobody is blamed.
#[test]
fn fault_b11_a_disk_that_answers_late() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let mut witness = Witness::new(&project, &expected);
    let pause = project.root().join("stop");
    let fault = Fault::at_calls("fdatasync").under(&project, ".pipe/segments");
    let mut running = fault.at(2, &format!("pause={}", pause.display())).start(&project, &["build"]);
    project.wait_for_file("stop.here");
    running.until_event("started");
    let done = running.events().iter().filter(|event| event["event"] == "done").count();
    assert_eq!(done, 0, "nothing is announced that is not on disk");
    project.write("stop.go", "");
    let ended = running.end().ends(0);
    witness.saw(&ended, "a late disk");
    witness.ends_well("a late disk");
}

//! C: what the documents are like, and what happens to them while they are read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Timespec, Timestamps, mknodat, utimensat};
use rustix::io::Errno;

use crate::faultbox::{Fault, error};
use crate::harness::Project;
use crate::places::Mount;
use crate::{Random, times};

/// One target that passes on what it gets, shows it, and notes its runs.
fn project() -> Project {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.pass]
        each = "docs"
        shell = "sh modules/pass.sh"
        publish = "out/{id.rel}"
        "#,
    );
    project.write("modules/pass.sh", "echo run >> runs-pass; cat\n");
    std::fs::create_dir(project.root().join("docs")).unwrap();
    project
}

fn runs(project: &Project) -> usize {
    std::fs::read_to_string(project.root().join("runs-pass")).unwrap_or_default().lines().count()
}

fn at(project: &Project, name: impl AsRef<[u8]>) -> PathBuf {
    project.root().join(OsStr::from_bytes(name.as_ref()))
}

/// What is shown is what is there.
#[track_caller]
fn shows_what_is_there(project: &Project) {
    assert!(project.files("out") == project.files("docs"), "{:?}", project.names("out"));
}

fn set_mtime(path: &std::path::Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::empty())
        .unwrap();
}

#[test]
fn fault_c01_a_file_that_changes_while_it_is_read() {
    let project = project();
    let text = |letter: &str| letter.repeat(3_000_000);
    project.write("docs/a.txt", text("1"));
    let pause = project.root().join("stop");
    let fault = Fault::at_calls("read,pread64").under(&project, "docs");
    let running = fault.at(2, &format!("pause={}", pause.display())).start(&project, &["build"]);
    project.wait_for_file("stop.here");
    project.write("docs/a.txt", text("2"));
    project.write("stop.go", "");
    drop(running.end().ends(0));
    assert!(project.read("out/a.txt") == text("2"), "half of each, or the old one");
    drop(project.build().ends(0));
    shows_what_is_there(&project);
}

#[test]
fn fault_c01_a_file_that_never_holds_still() {
    let project = project();
    project.write("docs/a.txt", "x".repeat(200_000));
    project.write("docs/b.txt", "still");
    let path = project.root().join("docs/a.txt");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            for n in 0u64.. {
                file.write_all_at(&n.to_le_bytes(), n % 25_000 * 8).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..times(2, 100) {
            let ended = project.build();
            assert!([0, 1].contains(&ended.status), "{}", ended.text());
            assert_eq!(project.read("out/b.txt"), "still");
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(project.build().ends(0));
    shows_what_is_there(&project);
}

#[test]
fn fault_c02_a_file_that_is_edited_between_its_hash_and_its_module() {
    let project = project();
    // Too large to be handed over in memory: the module opens it by name.
    let text = |letter: &str| letter.repeat(600_000);
    project.write("docs/a.txt", text("1"));
    project.write(
        "modules/pass.sh",
        "touch here; while [ ! -e go ]; do sleep 0.01; done; echo run >> runs-pass; cat \"$1\"\n",
    );
    project.write("Pipelinefile", project.read("Pipelinefile").replace("pass.sh\"", "pass.sh {in}\""));
    let running = project.start(&["build"]);
    project.wait_for_file("here");
    project.write("docs/a.txt", text("2"));
    project.write("go", "");
    drop(running.end().ends(0));
    assert!(project.read("out/a.txt") == text("2"));
    // The old bytes have no result: the module never answered for them.
    let before = runs(&project);
    project.write("docs/a.txt", text("1"));
    drop(project.build().ends(0));
    assert!(project.read("out/a.txt") == text("1"));
    assert_eq!(runs(&project), before + 1);
}

#[test]
fn fault_c03_edits_of_the_same_size_at_the_same_time() {
    let project = project();
    project.write("docs/a.txt", "0000");
    for n in 0..times(8, 2000) {
        project.write("docs/a.txt", format!("{n:04}"));
        set_mtime(&project.root().join("docs/a.txt"), 1_700_000_000, 0);
        drop(project.build().ends(0));
        assert_eq!(project.read("out/a.txt"), format!("{n:04}"));
    }
}

#[test]
fn fault_c04_a_modification_time_that_goes_back() {
    let project = project();
    let path = project.root().join("docs/a.txt");
    project.write("docs/a.txt", "one");
    let stat = std::fs::metadata(&path).unwrap();
    drop(project.build().ends(0));
    // As `cp -p`, tar, rsync -t and git do.
    project.write("docs/a.txt", "two");
    set_mtime(&path, stat.mtime(), stat.mtime_nsec());
    drop(project.build().ends(0));
    assert_eq!((project.read("out/a.txt").as_str(), runs(&project)), ("two", 2));
    set_mtime(&path, 1_000_000_000, 0);
    drop(project.build().ends(0));
    assert_eq!(runs(&project), 2, "the same bytes");
}

/// What nobody can see (`docs/design/scanning.md`, Limits): a write through a mapping moves no time. It is never mixed up, and
/// any ordinary sign of life makes it right.
#[test]
fn fault_c05_a_write_through_a_mapping() {
    let project = project();
    project.write("docs/a.txt", "a".repeat(8192));
    drop(project.build().ends(0));
    let code = "import mmap,sys\nf=open(sys.argv[1],'r+b'); m=mmap.mmap(f.fileno(),0)\nm[0:4]=b'bbbb'; m[5000:5004]=b'bbbb'; m.flush()\n";
    let path = project.root().join("docs/a.txt");
    assert!(Command::new("python3").args(["-c", code]).arg(&path).status().unwrap().success());
    let (old, new) = ("a".repeat(8192), project.read("docs/a.txt"));
    drop(project.build().ends(0));
    let shown = project.read("out/a.txt");
    assert!(shown == old || shown == new, "neither the old file nor the new one");
    set_mtime(&path, 1_700_000_000, 0);
    drop(project.build().ends(0));
    assert!(project.read("out/a.txt") == new);
    let limits = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/design/scanning.md");
    assert!(std::fs::read_to_string(limits).unwrap().contains("shared memory mapping"));
}

#[test]
fn fault_c06_another_file_with_the_number_of_the_old_one() {
    let project = project();
    let path = project.root().join("docs/a.txt");
    let mut reused = 0;
    project.write("docs/a.txt", "0000");
    for n in 1..times(8, 200) {
        let before = std::fs::metadata(&path).unwrap().ino();
        std::fs::remove_file(&path).unwrap();
        project.write("docs/a.txt", format!("{n:04}"));
        set_mtime(&path, 1_700_000_000, 0);
        reused += usize::from(std::fs::metadata(&path).unwrap().ino() == before);
        drop(project.build().ends(0));
        assert_eq!(project.read("out/a.txt"), format!("{n:04}"));
    }
    eprintln!("{reused} times the same inode");
}

#[test]
fn fault_c07_an_edit_through_another_name_of_the_file() {
    let project = project();
    project.write("docs/a.txt", "one");
    std::fs::hard_link(at(&project, "docs/a.txt"), at(&project, "docs/b.txt")).unwrap();
    std::fs::hard_link(at(&project, "docs/a.txt"), at(&project, "elsewhere")).unwrap();
    drop(project.build().ends(0));
    std::fs::File::options()
        .write(true)
        .open(at(&project, "elsewhere"))
        .unwrap()
        .write_all_at(b"two", 0)
        .unwrap();
    drop(project.build().ends(0));
    assert_eq!((project.read("out/a.txt").as_str(), project.read("out/b.txt").as_str()), ("two", "two"));
    // One of two names goes: the other stays what it is.
    project.clear("docs/a.txt");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["b.txt"]);
}

#[test]
fn fault_c08_links_in_circles_to_nowhere_and_out_of_the_source() {
    let project = project();
    project.write("docs/a.txt", "a");
    project.write("docs/deep/b.txt", "b");
    project.write("secret/s.txt", "not yours");
    for (target, name) in [
        ("itself.txt", "docs/itself.txt"),
        ("..", "docs/deep/loop"),
        ("nowhere.txt", "docs/dangling.txt"),
        ("../secret/s.txt", "docs/out.txt"),
        ("../secret", "docs/out"),
        ("/etc/passwd", "docs/absolute.txt"),
        ("a.txt", "docs/inside.txt"),
    ] {
        symlink(target, at(&project, name)).unwrap();
    }
    let ended = project.build().ends(0);
    assert_eq!(project.names("out"), ["a.txt", "deep/b.txt", "inside.txt"]);
    assert!(ended.all("scanned")[0]["problems"].to_string().contains("left out"), "{}", ended.text());
}

#[test]
fn fault_c09_pipes_sockets_devices_and_folders_are_never_opened() {
    let project = project();
    project.write("docs/a.txt", "a");
    mknodat(CWD, at(&project, "docs/fifo.txt"), FileType::Fifo, 0o644.into(), 0).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(at(&project, "docs/socket.txt")).unwrap();
    if mknodat(
        CWD,
        at(&project, "docs/zero.txt"),
        FileType::CharacterDevice,
        0o644.into(),
        rustix::fs::makedev(1, 5),
    )
    .is_err()
    {
        eprintln!("without a device: making one needs root");
    }
    std::fs::create_dir(at(&project, "docs/folder.txt")).unwrap();
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt"]);
    // A file that becomes a FIFO after the scan has seen it.
    project.write("docs/b.txt", "b");
    let pause = project.root().join("stop");
    let fault = Fault::at_calls("openat").under(&project, "docs/b.txt");
    let running = fault.at(1, &format!("pause={}", pause.display())).start(&project, &["build"]);
    project.wait_for_file("stop.here");
    project.clear("docs/b.txt");
    mknodat(CWD, at(&project, "docs/b.txt"), FileType::Fifo, 0o644.into(), 0).unwrap();
    project.write("stop.go", "");
    let ended = running.end();
    assert!([0, 1].contains(&ended.status), "{}", ended.text());
    drop(project.start(&["build", "--gone"]).end().ends(0));
    assert_eq!(project.names("out"), ["a.txt"]);
    drop(socket);
}

#[test]
fn fault_c10_a_file_that_grows_and_one_that_says_it_is_empty() {
    let project = project();
    project.write("docs/log.txt", "line\n".repeat(100_000));
    let path = project.root().join("docs/log.txt");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = std::fs::File::options().append(true).open(&path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::io::Write::write_all(&mut file, b"line\n").unwrap();
                std::thread::yield_now();
            }
        });
        // It ends, one way or the other: what is read is what was there at one moment.
        let ended = project.build();
        assert!([0, 1].contains(&ended.status), "{}", ended.text());
        stop.store(true, Ordering::Relaxed);
    });
    drop(project.build().ends(0));
    shows_what_is_there(&project);
    // Files of /proc say 0 and hold more.
    let proc = self::project();
    proc.write(
        "Pipelinefile",
        proc.read("Pipelinefile").replace("path = \"docs\"", "path = \"/proc/sys/kernel/ostype\""),
    );
    let ended = proc.build();
    assert!([0, 1].contains(&ended.status), "{}", ended.text());
    for (name, bytes) in proc.files("out") {
        assert_eq!(bytes, b"Linux\n", "{name}");
    }
}

/// There is no limit of sizes: it is read to its end. It must not be held in memory, and must not hold up Ctrl-C.
#[test]
fn fault_c10_a_sparse_file_of_a_tebibyte_can_be_stopped() {
    let project = project();
    if std::fs::File::create(at(&project, "docs/huge.bin")).unwrap().set_len(1 << 40).is_err() {
        eprintln!("skipped: this file system holds no file of 1 TiB");
        return;
    }
    let script = "ulimit -v 3000000; exec \"$@\"";
    let command = project.command_through(&["sh", "-c", script, "sh"], &["build", "--json"]);
    let mut running = project.start_command(command);
    running.until_event("plan");
    running.ctrl_c();
    running.ctrl_c();
    drop(running.end().ends(130));
    project.no_process_is_left();
    project.clear("docs/huge.bin");
    project.write("docs/a.txt", "a");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt"]);
}

#[test]
fn fault_c11_an_empty_file_is_a_document() {
    let project = project();
    project.write("docs/empty.txt", "");
    project.write("docs/none", "");
    drop(project.build().ends(0));
    shows_what_is_there(&project);
    drop(project.build().ends(0));
    project.write("docs/empty.txt", "no more");
    drop(project.build().ends(0));
    shows_what_is_there(&project);
    project.write("docs/empty.txt", "");
    let before = runs(&project);
    drop(project.build().ends(0));
    assert_eq!(runs(&project), before, "the empty one was done before");
    shows_what_is_there(&project);
}

#[test]
fn fault_c12_every_byte_in_a_name() {
    let project = project();
    let mut names: Vec<Vec<u8>> =
        (1..=255u8).filter(|byte| !b"/.".contains(byte)).map(|byte| vec![b'n', byte]).collect();
    names.extend([
        b"-rf".to_vec(),
        b"end ".to_vec(),
        b"end.".to_vec(),
        b"%FF".to_vec(),
        "ü".repeat(127).into_bytes(),
        vec![0xfe; 255],
    ]);
    for (n, name) in names.iter().enumerate() {
        let mut path = b"docs/".to_vec();
        path.extend(name);
        std::fs::write(at(&project, path), format!("text {n}")).unwrap();
    }
    let ended = project.build().ends(0);
    let done = ended.all("done").len() + ended.all("reused").len();
    assert_eq!(done, names.len());
    let files = project.files("out");
    let texts: std::collections::BTreeSet<&Vec<u8>> = files.values().collect();
    assert_eq!((files.len(), texts.len()), (names.len(), names.len()), "two names became one");
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn fault_c13_names_that_differ_in_case_or_composition_alone() {
    let project = project();
    for (n, name) in ["a.txt", "A.txt", "caf\u{e9}.txt", "cafe\u{301}.txt", "\u{212b}.txt", "\u{c5}.txt"]
        .into_iter()
        .enumerate()
    {
        project.write(&format!("docs/{name}"), n.to_string());
    }
    drop(project.build().ends(0));
    shows_what_is_there(&project);
    assert_eq!(project.names("out").len(), 6);
}

#[test]
fn fault_c14_paths_longer_than_the_kernel_takes() {
    let project = project();
    // 60 folders of 120 letters: 7,200 bytes.
    let script = "cd docs; n=$(printf 'd%.0s' $(seq 120)); for i in $(seq 60); do mkdir $n; cd $n; done; echo deep > f.txt; cd \"$0\"; echo flat > docs/a.txt";
    assert!(
        Command::new("bash")
            .args(["-c", script])
            .arg(project.root())
            .current_dir(project.root())
            .status()
            .unwrap()
            .success()
    );
    let ended = project.build();
    // Found and done; only its published file has no place, and that is said.
    assert!([0, 1].contains(&ended.status), "{}", ended.text());
    assert_eq!(ended.all("done").len(), 2, "{}", ended.text());
    assert_eq!(project.read("out/a.txt"), "flat\n");
    let again = project.build();
    assert_eq!(again.status, ended.status);
    assert_eq!(runs(&project), 2);
    drop(Command::new("rm").arg("-rf").arg(project.root().join("docs")).status());
}

#[test]
fn fault_c15_a_tree_that_changes_while_it_is_walked() {
    let project = project();
    let docs = project.root().join("docs");
    for n in 0..300 {
        project.write(&format!("docs/{}/still{n}.txt", n % 7), format!("still {n}"));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(315);
            for n in 0.. {
                let folder = docs.join(format!("{}", random.below(9)));
                let path = folder.join(format!("churn{}.txt", random.below(40)));
                match random.below(4) {
                    0 => drop(std::fs::remove_file(&path)),
                    1 => drop(std::fs::rename(&path, folder.join(format!("churn{}.txt", random.below(40))))),
                    2 => drop(std::fs::create_dir(&folder)),
                    _ => drop(std::fs::write(&path, format!("churn {n}"))),
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::yield_now();
            }
        });
        for _ in 0..times(3, 100) {
            let ended = project.build();
            assert!([0, 1].contains(&ended.status), "{}", ended.text());
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(project.build().ends(0));
    shows_what_is_there(&project);
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn fault_c16_what_may_not_be_read_is_never_taken_for_gone() {
    let project = project();
    for name in ["a", "b", "folder/c", "folder/d"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    drop(project.build().ends(0));
    project.write("docs/a.txt", "a was edited");
    project.write("docs/new.txt", "new");
    let file = Fault::at_calls("openat").under(&project, "docs/a.txt").from(1, &error(Errno::ACCESS));
    let ended = file.start(&project, &["build"]).end().ends(1);
    assert!(ended.text().contains("unreadable") && ended.text().contains("docs/a.txt"), "{}", ended.text());
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "folder/c.txt", "folder/d.txt", "new.txt"]);
    assert_eq!(project.read("out/a.txt"), "a", "the last one stays");
    let folder = Fault::at_calls("openat").under(&project, "docs/folder").from(1, &error(Errno::ACCESS));
    let ended = folder.start(&project, &["build"]).end();
    assert!(ended.text().contains("docs/folder"), "{}", ended.text());
    assert_eq!(project.names("out").len(), 5, "{}", ended.text());
    drop(project.build().ends(0));
    shows_what_is_there(&project);
}

#[test]
fn fault_c17_a_source_whose_disk_is_not_mounted() {
    let project = project();
    let Some(disk) = Mount::tmpfs(&project, "docs", 4) else { return };
    for n in 0..10 {
        project.write(&format!("docs/d{n}.txt"), n.to_string());
    }
    drop(project.build().ends(0));
    drop(disk);
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("10 of 10") && told.stderr.contains("--gone"), "{}", told.text());
    assert_eq!(project.names("out").len(), 10, "nothing is taken away");
}

#[test]
fn fault_c18_a_network_file_system_that_lost_a_handle() {
    let project = project();
    for name in ["a", "b"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    let stale = error(Errno::STALE);
    for calls in ["openat", "read,pread64", "fstat,newfstatat,statx"] {
        let fault = Fault::at_calls(calls).under(&project, "docs/a.txt").from(1, &stale);
        let ended = fault.start(&project, &["build"]).end();
        assert!([0, 1].contains(&ended.status), "{calls}: {}", ended.text());
        assert_eq!(project.read("out/b.txt"), "b", "{calls}: {}", ended.text());
    }
    let listing = Fault::at_calls("getdents64").under(&project, "docs").from(1, &stale);
    let ended = listing.start(&project, &["build"]).end();
    assert!([0, 1, 3].contains(&ended.status), "{}", ended.text());
    drop(project.build().ends(0));
    shows_what_is_there(&project);
}

#[test]
fn fault_c19_files_that_an_overlay_copies_up() {
    let project = project();
    for folder in ["lower", "upper", "work"] {
        std::fs::create_dir(project.root().join(folder)).unwrap();
    }
    project.write("lower/a.txt", "a");
    project.write("lower/b.txt", "b");
    let root = project.root().display().to_string();
    let layers = format!("lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work");
    // The upper layer cannot lie on every file system: one in memory will do.
    let Some(_disk) = Mount::tmpfs(&project, "layers", 4) else { return };
    for folder in ["lower", "upper", "work"] {
        std::fs::create_dir(project.root().join("layers").join(folder)).unwrap();
    }
    project.write("layers/lower/a.txt", "a");
    project.write("layers/lower/b.txt", "b");
    let layers = layers.replace(&root, &format!("{root}/layers"));
    let Some(_overlay) = Mount::new(&project, "docs", &["-t", "overlay", "-o", &layers, "overlay"]) else {
        return;
    };
    drop(project.build().ends(0));
    assert_eq!(runs(&project), 2);
    // Copied up without another content; then with one.
    set_mtime(&at(&project, "docs/a.txt"), 1_700_000_000, 0);
    drop(project.build().ends(0));
    assert_eq!(runs(&project), 2);
    project.write("docs/b.txt", "b was edited");
    drop(project.build().ends(0));
    assert_eq!(runs(&project), 3);
    shows_what_is_there(&project);
}

#[test]
fn fault_c20_other_disks_inside_the_source() {
    let project = project();
    project.write("docs/a.txt", "a");
    project.write("other/b.txt", "b");
    std::fs::create_dir_all(project.root().join("docs/sub")).unwrap();
    std::fs::create_dir_all(project.root().join("docs/again")).unwrap();
    let other = project.root().join("other").to_str().unwrap().to_owned();
    let docs = project.root().join("docs").to_str().unwrap().to_owned();
    let Some(sub) = Mount::new(&project, "docs/sub", &["--bind", &other]) else { return };
    let Some(again) = Mount::new(&project, "docs/again", &["--bind", &docs]) else { return };
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt", "again/a.txt", "sub/b.txt"]);
    drop((sub, again));
    drop(project.start(&["build", "--gone"]).end().ends(0));
    assert_eq!(project.names("out"), ["a.txt"]);
}

#[test]
fn fault_c21_a_file_and_a_folder_take_each_others_place() {
    let project = project();
    for n in 0..times(2, 50) {
        project.write("docs/x", format!("a file {n}"));
        project.write("docs/y/z.txt", format!("in a folder {n}"));
        drop(project.start(&["build", "--gone"]).end().ends(0));
        shows_what_is_there(&project);
        project.clear("docs/x");
        project.clear("docs/y");
        project.write("docs/x/z.txt", format!("now a folder {n}"));
        project.write("docs/y", format!("now a file {n}"));
        drop(project.start(&["build", "--gone"]).end().ends(0));
        shows_what_is_there(&project);
        project.clear("docs/x");
        project.clear("docs/y");
    }
}

#[test]
fn fault_c22_files_that_are_named_like_ours() {
    let project = project();
    project.write(
        "Pipelinefile",
        project.read("Pipelinefile").replace("path = \"docs\"", "path = \"docs\"\ninclude = \"**\""),
    );
    for name in [".pipe/lock", "FORMAT", "lock", "publish-0", "a.tmp", "blob-1-0", "socket", "RESERVE"] {
        project.write(&format!("docs/{name}"), name);
    }
    // Beside published files, as a publication that was cut off might leave them.
    project.write("out/publish-0", "not ours");
    let ended = project.build();
    assert!([0, 1].contains(&ended.status), "{}", ended.text());
    for name in ["FORMAT", "lock", "a.tmp", "blob-1-0", "socket", "RESERVE"] {
        assert_eq!(project.read(&format!("out/{name}")), name);
    }
    assert_eq!(project.read("out/publish-0"), "not ours", "a file that is not ours stays");
    assert!(!project.root().join("out/.pipe").exists());
}

#[test]
fn fault_c23_a_source_inside_the_results_or_the_other_way_round() {
    for (path, publish) in [("docs", "docs/out/{id.rel}"), ("out/in", "out/{id.rel}"), (".", "out/{id.rel}")]
    {
        let project = project();
        project.write(&format!("{path}/a.txt"), "a");
        let text = project.read("Pipelinefile").replace("\"docs\"\n[", &format!("\"{path}\"\n["));
        project.write("Pipelinefile", text.replace("out/{id.rel}", publish));
        for command in ["check", "build"] {
            let told = project.pipe(&[command]);
            assert_eq!(told.status, 2, "{path}, {publish}: {}", told.text());
        }
        assert_eq!(runs(&project), 0);
    }
}

#[test]
fn fault_c24_bytes_are_bytes() {
    let project = project();
    let line = vec![b'x'; times(5_000_000, 100_000_000)];
    for (name, bytes) in [
        ("bom.txt", b"\xef\xbb\xbftext\r\n".to_vec()),
        ("utf16.txt", b"\xff\xfet\0e\0".to_vec()),
        ("latin.txt", b"caf\xe9\n".to_vec()),
        ("nul.txt", b"a\0b\0\0".to_vec()),
        ("all.bin", (0..=255).collect()),
        ("line.txt", line),
        ("cut.txt", "é".as_bytes()[..1].to_vec()),
    ] {
        project.write(&format!("docs/{name}"), bytes);
    }
    drop(project.build().ends(0));
    shows_what_is_there(&project);
}

#[test]
fn fault_c26_times_of_1970_2038_2106_before_and_ahead() {
    let project = project();
    let times = [
        0,
        1,
        -1,
        -2_000_000_000,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::from(u32::MAX) + 1,
        9_000_000_000,
    ];
    for (n, seconds) in times.into_iter().enumerate() {
        project.write(&format!("docs/{n}.txt"), format!("{n} one"));
        set_mtime(&at(&project, format!("docs/{n}.txt")), seconds, 999_999_999);
    }
    drop(project.build().ends(0));
    shows_what_is_there(&project);
    drop(project.build().ends(0));
    assert_eq!(runs(&project), times.len());
    // Edits that keep size and time.
    for (n, seconds) in times.into_iter().enumerate() {
        project.write(&format!("docs/{n}.txt"), format!("{n} two"));
        set_mtime(&at(&project, format!("docs/{n}.txt")), seconds, 999_999_999);
    }
    drop(project.build().ends(0));
    shows_what_is_there(&project);
}

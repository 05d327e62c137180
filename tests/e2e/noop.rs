use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::harness::Project;

fn built() -> Project {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.up]
            each    = "inbox"
            module  = "up"
            with    = { tail = "file:tail.txt" }
            publish = true

            [target.low]
            each  = "up"
            shell = 'echo low >> $RUNS; tr A-Z a-z < {in} > {out}'

            [target.joined]
            all     = "low"
            module  = "joined"
            publish = "out/joined.txt"
            "#,
        )
        .module(
            "up",
            "
            import helper
            @module
            def up(doc, *, tail: Doc):
                ran(doc)
                return helper.up(doc.text()) + tail.text()
            ",
        )
        .file("modules/helper.py", "def up(text): return text.upper()\n")
        .module(
            "joined",
            r#"
            @module
            def joined(docs):
                ran("set")
                return "".join(doc.text() for doc in docs)
            "#,
        )
        .file("tail.txt", ".")
        .file("inbox/a.txt", "a")
        .file("inbox/sub/b.txt", "b");
    // Older than the racy rule asks for: then stamps alone are trusted.
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for name in ["inbox/a.txt", "inbox/sub/b.txt", "tail.txt"] {
        let file = std::fs::File::options().write(true).open(project.root().join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    project.build_runs(&["up a", "up b", "low", "low", "joined set"]);
    // What was changed a moment ago is looked at once more.
    project.build_runs(&[]);
    project
}

/// The system calls of a build, each with its arguments; nothing if they cannot be traced here.
fn traced(project: &Project, calls: &str) -> Option<Vec<String>> {
    let trace = project.root().join("trace");
    let pipe = project.command(&["build"]);
    let mut command = Command::new("strace");
    command.args(["-f", "-e", calls]);
    command.arg("-o").arg(&trace).arg(pipe.get_program()).args(pipe.get_args());
    command.current_dir(project.root()).env_clear().stdin(Stdio::null());
    command.envs(pipe.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().ok()?;
    if !output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("Up to date") {
        // Tracing may be forbidden where this runs; then nothing is said of the build.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("ptrace") || said.contains("PTRACE"), "{said}");
        return None;
    }
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(trace).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// What opens, starts and writes.
const DEEDS: &str = "trace=openat,open,execve,execveat,fork,vfork,clone,clone3,write,pwrite64,writev,pwritev,pwritev2,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat,ftruncate";

/// A file so new that its stamp cannot be trusted is read once more by the next build, also where a set is between: the
/// second stratum must not take the old word for it.
#[test]
fn a_file_that_was_too_new_settles_behind_a_set() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.each]
            each  = "inbox"
            shell = 'cat {in} > {out}'

            [target.all]
            all   = "each"
            shell = 'cat {in} > {out}'

            [target.use]
            each  = "each"
            with  = { all = "all" }
            shell = 'cat {in} {with.all} > {out}'
            "#,
        )
        .file("inbox/1", "1");
    let soon = std::time::SystemTime::now() + std::time::Duration::from_millis(300);
    let file = std::fs::File::options().append(true).open(project.root().join("inbox/1")).unwrap();
    file.set_modified(soon).unwrap();
    drop(project.pipe(&["build"]).ends(0));
    while std::time::SystemTime::now() < soon + std::time::Duration::from_millis(50) {
        std::thread::yield_now();
    }
    drop(project.pipe(&["build"]).ends(0));
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
    drop(project.pipe(&["status"]).ends(0).says("up to date"));
}

#[test]
fn a_build_with_nothing_to_do_opens_no_source_starts_nothing_and_writes_nothing() {
    let project = built();
    let segments = || std::fs::metadata(project.root().join(".pipe/segments/000001.seg")).unwrap();
    let before = segments();
    let Some(calls) = traced(&project, DEEDS) else { return };
    let root = project.root().to_str().unwrap();
    let of = |wanted: &dyn Fn(&str) -> bool| -> Vec<&String> {
        calls.iter().filter(|line| wanted(line)).collect()
    };
    let none: Vec<&String> = Vec::new();
    let sources = of(&|line| line.contains("/inbox/") && line.contains(".txt\""));
    assert_eq!(sources, none, "source files are not opened");
    assert_eq!(of(&|line| line.contains("tail.txt") || line.contains("/out/")), none);
    let started = of(&|line| line.contains("execve"));
    assert_eq!(started.len(), 1, "but for itself nothing is started: {started:?}");
    let threads = |line: &str| line.contains("CLONE_THREAD");
    let forks =
        of(&|line| ["fork(", "clone(", "clone3("].iter().any(|call| line.contains(call)) && !threads(line));
    assert_eq!(forks, none);
    // The index's own library writes when it is opened, and names for side inputs are scratch; beside that nothing is
    // written.
    let own = |line: &str| ["/sled/", "/.pipe/lock", "/.pipe/tmp/"].iter().any(|path| line.contains(path));
    let written = of(&|line| {
        let opens = line.contains("O_CREAT") || line.contains("O_TRUNC");
        let touches = ["rename", "unlink(", "ftruncate", "fdatasync"].iter().any(|call| line.contains(call));
        (opens || touches) && line.contains(root) && !own(line)
    });
    assert_eq!(written, none);
    let after = segments();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
}

/// So many documents in ten folders, to be sent through one module twice.
fn twice(documents: usize) -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.up]
            each   = "inbox"
            module = "up"

            [target.again]
            each   = "up"
            module = "up"
            "#,
        )
        .module(
            "up",
            "
            @module
            def up(doc):
                return doc.text().upper()
            ",
        );
    for number in 0..documents {
        project.write(&format!("inbox/{}/{number:05}.txt", number % 10), format!("text {number}"));
    }
    project
}

fn builds(project: &Project) {
    let output = project.command(&["build"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The calls of a build with nothing to do, by name, without those that memory and waiting need.
fn counted(documents: usize) -> Option<BTreeMap<String, usize>> {
    let project = twice(documents);
    // What was written a moment ago is looked at once more; then all is settled.
    (0..3).for_each(|_| builds(&project));
    let calls = traced(&project, "trace=!futex,mmap,munmap,mprotect,madvise,brk,sched_yield")?;
    let mut counts = BTreeMap::new();
    for line in calls.iter().filter(|line| !line.contains(" resumed>") && line.contains('(')) {
        // `PID name(…`
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let name = call.split('(').next().unwrap_or_default();
        let of_a_document = line.contains(".txt\"");
        *counts.entry(format!("{name}{}", if of_a_document { " of a document" } else { "" })).or_default() +=
            1;
    }
    Some(counts)
}

#[test]
fn after_the_first_build_nothing_is_decided_anew_where_targets_share_a_module() {
    let project = twice(20);
    // What documents are decided by is written down once, when it is new.
    let definitions = || {
        let log = std::fs::read(project.root().join(".pipe/segments/000001.seg")).unwrap();
        log.windows(b"\"family\":".len()).filter(|window| window == b"\"family\":").count()
    };
    builds(&project);
    let first = definitions();
    assert!(first > 0);
    builds(&project);
    assert_eq!(definitions(), first);
}

#[test]
fn a_build_with_nothing_to_do_makes_one_call_a_document_and_no_other_for_them() {
    let (few, many) = (100, 1000);
    let (Some(mut of_few), Some(mut of_many)) = (counted(few), counted(many)) else { return };
    for (documents, counts) in [(few, &mut of_few), (many, &mut of_many)] {
        let stats: Vec<_> = counts.extract_if(.., |name, _| name.ends_with(" of a document")).collect();
        assert_eq!(stats.iter().map(|(_, count)| count).sum::<usize>(), documents, "{stats:?}");
        assert!(stats.iter().all(|(name, _)| name.contains("stat")), "{stats:?}");
        assert_eq!(counts["execve"], 1, "but for itself nothing is started");
    }
    // The index is read in pieces of many documents; for the rest it must not matter how many there are. Threads that
    // come a moment earlier or later make a few calls more or less.
    let reads = |counts: &mut BTreeMap<String, usize>| counts.remove("pread64").unwrap_or_default();
    let (reads_few, reads_many) = (reads(&mut of_few), reads(&mut of_many));
    assert!(reads_many <= reads_few + (many - few) / 20, "{reads_few} reads of the index, then {reads_many}");
    let (few, many) = (of_few.values().sum::<usize>(), of_many.values().sum::<usize>());
    assert!(few.abs_diff(many) <= 60, "{few} calls, then {many}:\n{of_few:?}\n{of_many:?}");
}

#[test]
fn a_no_op_names_the_failures_that_stand_and_ends_with_one() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.up]
            each   = "inbox"
            module = "up"

            [target.after]
            each  = "up"
            shell = 'echo after >> $RUNS; cp {in} {out}'
            "#,
        )
        .module(
            "up",
            "
            @module
            def up(doc):
                ran(doc)
                if doc.text() == 'bad':
                    raise ValueError('too bad')
                if doc.text() == 'skip':
                    raise Skip('empty')
                return doc.text()
            ",
        )
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "bad")
        .file("inbox/c.txt", "skip");
    project.build_with(&[], 1, &["up a", "up bad", "up skip", "after"]).says("too bad").says("Blocked");
    // Settled: a module error and a skip are results.
    project.build_with(&[], 1, &[]).says("too bad").says("Blocked");
    project.write("inbox/b.txt", "good");
    project.build_runs(&["up good", "after"]);
    // The failure of before is still known under its key.
    project.write("inbox/b.txt", "bad");
    project.build_with(&[], 1, &[]).says("too bad");
}

#[test]
fn a_lost_index_costs_no_run() {
    let project = built();
    std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    project.build_runs(&[]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

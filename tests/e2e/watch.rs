//! `pipe watch`: what is noticed, what is done about it, and that nothing else is.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Project, Running};

fn project() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            include = ["**/*.txt"]
            [target.clean]
            each = "docs"
            module = "clean"
            publish = true
            [target.all]
            all = "clean"
            module = "join"
            publish = "out/all.txt"
            "#,
        )
        .counted(
            "clean",
            "
            @module
            def clean(doc):
                word = ran('clean', doc.text())
                print('cleaning', word)
                with open('pids', 'a') as pids:
                    pids.write(str(os.getpid()) + '\\n')
                if word == 'bad':
                    raise ValueError('bad text')
                return word.upper()
            ",
        )
        .counted(
            "join",
            "
            @module
            def join(docs):
                ran('join')
                return ' '.join(doc.text() for doc in docs)
            ",
        );
    for name in ["a", "b", "c", "d"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    project
}

/// Watching, after its first build; what ran so far is forgotten.
fn watching(project: &Project) -> Running {
    let mut running = project.start(&["watch"]);
    running.until_event("watching");
    project.take_counts("clean");
    project.take_counts("join");
    running
}

impl Running {
    /// The events until it waits again.
    fn until_it_waits(&mut self) -> Vec<Value> {
        let before = self.events().len();
        self.until_event("watching");
        self.events()[before..].to_vec()
    }
}

/// What ran in `clean`, once the set has been made of it.
fn cleaned(project: &Project, running: &mut Running) -> Vec<String> {
    running.until_it_waits();
    project.take_counts("clean")
}

#[test]
fn a_changed_document_goes_through_alone_and_its_set_after_it() {
    let project = project();
    let mut running = watching(&project);
    assert_eq!(project.read("out/all.txt"), "A B C D");
    project.write("docs/b.txt", "beta");
    let events = running.until_it_waits();
    assert_eq!(project.take_counts("clean"), ["beta"]);
    assert_eq!(project.take_counts("join").len(), 1);
    assert_eq!(project.read("out/clean/docs/b.txt.txt"), "BETA");
    assert_eq!(project.read("out/all.txt"), "A BETA C D");
    let of = |name: &str| events.iter().find(|event| event["event"] == name).unwrap().clone();
    assert_eq!(of("changed")["paths"], serde_json::json!(["docs/b.txt"]));
    assert_eq!(of("scanned")["documents"], 4);
    assert_eq!(of("finished")["up_to_date"], 3);
    project.write("docs/b.txt", "beta");
    let events = running.until_it_waits();
    let finished = events.iter().find(|event| event["event"] == "finished").unwrap();
    assert_eq!(finished["run"], Value::Null, "the same bytes: {finished}");
    assert!(project.take_counts("clean").is_empty());
    running.ctrl_c();
    running.end().ends(130);
    project.no_process_is_left();
    assert!(project.take_counts("clean").is_empty());
    assert!(project.build().ends(0).all("plan").is_empty(), "nothing is left for a build");
}

#[test]
fn folders_that_come_go_and_move_are_followed() {
    let project = project();
    let mut running = watching(&project);
    project.write("aside/deep/e.txt", "e");
    project.write("aside/f.txt", "f");
    let moved = |from: &str, to: &str| {
        std::fs::rename(project.root().join(from), project.root().join(to)).unwrap();
    };
    moved("aside", "docs/new");
    assert_eq!(cleaned(&project, &mut running), ["e", "f"]);
    project.write("docs/new/deep/g.txt", "g");
    assert_eq!(cleaned(&project, &mut running), ["g"]);
    moved("docs/new/deep", "docs/old");
    running.until_it_waits();
    assert!(project.take_counts("clean").is_empty(), "the same bytes");
    assert_eq!(
        project.names("out/clean/docs"),
        [
            "a.txt.txt",
            "b.txt.txt",
            "c.txt.txt",
            "d.txt.txt",
            "new/f.txt.txt",
            "old/e.txt.txt",
            "old/g.txt.txt"
        ]
    );
    project.clear("docs/old");
    running.until_it_waits();
    assert_eq!(project.read("out/all.txt"), "A B C D F");
    project.clear("docs/a.txt");
    project.write("docs/a.txt/inside.txt", "i");
    assert_eq!(cleaned(&project, &mut running), ["i"]);
    while project.read("out/all.txt") != "I B C D F" {
        running.until_it_waits();
    }
    running.signal(Signal::TERM);
    running.end().ends(143);
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn losing_most_documents_is_said_and_nothing_is_retired() {
    let project = project();
    let mut running = watching(&project);
    std::fs::rename(project.root().join("docs"), project.root().join("unmounted")).unwrap();
    let is_guard = |event: &Value| event["type"] == "error" && event["exit"] == 3;
    assert!(running.until(is_guard));
    running.until_event("watching");
    assert_eq!(project.read("out/all.txt"), "A B C D");
    std::fs::rename(project.root().join("unmounted"), project.root().join("docs")).unwrap();
    running.until_it_waits();
    assert!(project.take_counts("clean").is_empty());
    for name in ["a", "b", "c"] {
        project.clear(&format!("docs/{name}.txt"));
    }
    assert!(running.until(is_guard), "one by one, but at once");
    running.until_event("watching");
    assert_eq!(project.read("out/all.txt"), "A B C D");
    for name in ["a", "b"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    while project.read("out/all.txt") != "A B D" {
        running.until_it_waits();
    }
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn code_helpers_and_shared_files_are_noticed() {
    let project = project();
    project.write("words.txt", "1");
    let with = r#"with = { list = "file:words.txt" }"#;
    let text =
        project.read("Pipelinefile").replace("module = \"clean\"", &format!("module = \"clean\"\n{with}"));
    project.write("Pipelinefile", text);
    let module = |suffix: &str| {
        let code = format!(
            "
            from helper import mark

            @module
            def clean(doc, *, list):
                return ran('clean', doc.text()) + mark + list.text(){suffix}
            "
        );
        project.edit_module("clean", &code);
    };
    project.write("modules/helper.py", "mark = '-'\n");
    module("");
    let mut running = watching(&project);
    assert_eq!(project.read("out/all.txt"), "a-1 b-1 c-1 d-1");
    project.write("modules/helper.py", "mark = '+'\n");
    assert_eq!(cleaned(&project, &mut running).len(), 4);
    assert_eq!(project.read("out/all.txt"), "a+1 b+1 c+1 d+1");
    project.write("words.txt", "2");
    assert_eq!(cleaned(&project, &mut running).len(), 4);
    assert_eq!(project.read("out/all.txt"), "a+2 b+2 c+2 d+2");
    let code = project.read("modules/clean.py").replace("+ list.text()", "+ list.text() + '!'");
    project.write("modules/clean.py", code);
    while project.read("out/all.txt") != "a+2! b+2! c+2! d+2!" {
        running.until_it_waits();
    }
    running.ctrl_c();
    running.end().ends(130);
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn a_mistake_in_the_pipelinefile_is_shown_and_the_old_one_goes_on() {
    let project = project();
    let mut running = watching(&project);
    let right = project.read("Pipelinefile");
    project.write("Pipelinefile", right.replace("each = \"docs\"", "each = \"dogs\""));
    assert!(running.until(|event| event["type"] == "error" && event["exit"] == 2));
    let report = running.events().last().unwrap()["report"].as_str().unwrap().to_owned();
    assert!(report.contains("^^^^^^ ") && report.contains("dogs"), "{report}");
    running.until_event("watching");
    project.write("docs/a.txt", "alpha");
    assert_eq!(cleaned(&project, &mut running), ["alpha"]);
    let more =
        "\n[target.twice]\neach = \"clean\"\nshell = \"cat {in} {in} > {out}\"\npublish = \"out/2/{id}\"\n";
    project.write("Pipelinefile", right + more);
    while !project.root().join("out/2/docs/a.txt").exists() {
        running.until_it_waits();
    }
    assert_eq!(project.read("out/2/docs/a.txt"), "ALPHAALPHA");
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn workers_stay_between_builds_until_their_code_changes() {
    let project = project();
    let mut running = project.start(&["watch", "-j1"]);
    running.until_event("watching");
    let pids = || -> Vec<String> { project.read("pids").lines().map(str::to_owned).collect() };
    project.write("docs/a.txt", "alpha");
    running.until_it_waits();
    project.write("docs/a.txt", "beta");
    running.until_it_waits();
    assert_eq!(pids().len(), 6);
    assert!(pids().iter().all(|pid| *pid == pids()[0]), "{:?}", pids());
    // What the same process printed belongs to the run in which it did.
    let log = project.pipe(&["log", "docs/a.txt"]).ends(0);
    for word in ["cleaning a\n", "cleaning alpha\n", "cleaning beta\n"] {
        assert!(log.stdout.contains(word), "{word} in {}", log.stdout);
    }
    let code = project.read("modules/clean.py").replace("word.upper()", "word.title()");
    project.write("modules/clean.py", code);
    while project.read("out/all.txt") != "Beta B C D" {
        running.until_it_waits();
    }
    assert_ne!(pids().last(), pids().first());
    running.kill();
    project.no_process_is_left();
    assert!(project.build().ends(0).named("done").is_empty());
}

#[test]
fn failures_are_shown_and_it_goes_on() {
    let project = project();
    let mut running = watching(&project);
    project.write("docs/b.txt", "bad");
    let events = running.until_it_waits();
    let finished = events.iter().find(|event| event["event"] == "finished").unwrap();
    assert_eq!(finished["causes"][0]["samples"], serde_json::json!(["docs/b.txt"]));
    project.take_counts("clean");
    project.write("docs/c.txt", "gamma");
    assert_eq!(cleaned(&project, &mut running), ["gamma"], "what failed is not tried again");
    project.write("docs/b.txt", "better");
    assert_eq!(cleaned(&project, &mut running), ["better"]);
    assert_eq!(project.read("out/all.txt"), "A BETTER GAMMA D");
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn other_commands_ask_and_a_second_build_is_told_who_is_here() {
    let project = project();
    let mut running = watching(&project);
    for question in [&["status"][..], &["log", "docs/a.txt"], &["why", "docs/a.txt"], &["ls", "clean"]] {
        let answer = project.pipe(question).ends(0);
        assert!(!answer.stdout.contains("a build is running"), "{}", answer.stdout);
    }
    assert_eq!(project.pipe(&["cat", "all"]).ends(0).stdout, "A B C D");
    project.pipe(&["status"]).ends(0).says("pipe watch is here");
    let refused = project.pipe(&["build"]).ends(3);
    let pid = running.pid().to_string();
    assert_eq!(
        refused.stderr.replace(&pid, "[PID]"),
        "error: `pipe watch` (process [PID]) has this project\n\
         hint: it builds whatever changes by itself: pipe status    asks it how things stand\n\
         hint: end it with Ctrl-C where it runs, and try again; what it has done is kept\n"
    );
    project.write("docs/a.txt", "alpha");
    assert_eq!(cleaned(&project, &mut running), ["alpha"]);
    running.ctrl_c();
    running.end().ends(130);
    project.build().ends(0);
}

#[test]
fn a_file_that_is_being_written_is_taken_when_it_is_closed() {
    let project = project();
    let mut running = watching(&project);
    let mut open = std::fs::File::create(project.root().join("docs/e.txt")).unwrap();
    open.write_all(b"half").unwrap();
    project.write("docs/a.txt", "alpha");
    assert_eq!(cleaned(&project, &mut running), ["alpha"], "the other one does not wait");
    open.write_all(b"-whole").unwrap();
    drop(open);
    assert_eq!(cleaned(&project, &mut running), ["half-whole"]);
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn published_files_that_are_removed_come_back_and_edited_ones_are_named() {
    let project = project();
    let mut running = watching(&project);
    project.clear("out/clean/docs/b.txt.txt");
    running.until_it_waits();
    assert_eq!(project.read("out/clean/docs/b.txt.txt"), "B");
    project.write("out/clean/docs/c.txt.txt", "mine");
    running.until_event("notice");
    let said = running.events().last().unwrap()["message"].as_str().unwrap().to_owned();
    assert_eq!(said, "`out/clean/docs/c.txt.txt` was edited since it was published; it is kept as it is");
    project.clear("out/clean/docs/c.txt.txt");
    while !project.root().join("out/clean/docs/c.txt.txt").exists() {
        running.until_it_waits();
    }
    assert!(project.take_counts("clean").is_empty());
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn what_links_lead_to_is_followed() {
    let project = project();
    std::fs::create_dir(project.root().join("docs/real")).unwrap();
    project.write("docs/real/e.txt", "e");
    symlink("real", project.root().join("docs/link")).unwrap();
    let mut running = watching(&project);
    assert_eq!(project.read("out/all.txt"), "A B C D E E");
    project.write("docs/real/e.txt", "eta");
    running.until_it_waits();
    assert_eq!(project.read("out/all.txt"), "A B C D ETA ETA");
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn a_source_that_is_a_link_may_lead_elsewhere() {
    let project = project();
    std::fs::rename(project.root().join("docs"), project.root().join("v1")).unwrap();
    symlink("v1", project.root().join("docs")).unwrap();
    let mut running = watching(&project);
    project.write("v1/a.txt", "alpha");
    assert_eq!(cleaned(&project, &mut running), ["alpha"]);
    for name in ["a", "b", "c"] {
        project.write(&format!("v2/{name}.txt"), name);
    }
    symlink("v2", project.root().join("new")).unwrap();
    std::fs::rename(project.root().join("new"), project.root().join("docs")).unwrap();
    while project.read("out/all.txt") != "A B C" {
        running.until_it_waits();
    }
    project.write("v2/d.txt", "delta");
    while project.read("out/all.txt") != "A B C DELTA" {
        running.until_it_waits();
    }
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn without_notices_everything_is_looked_at_now_and_then() {
    let project = project();
    let mut running = project.start(&["watch", "--poll", "1"]);
    running.until_event("watching");
    assert_eq!(running.events().last().unwrap()["every"], 1000);
    project.write("docs/a.txt", "alpha");
    assert!(running.until(|event| event["event"] == "done" && event["target"] == "all"));
    running.until_event("watching");
    assert_eq!(project.read("out/all.txt"), "ALPHA B C D");
    running.ctrl_c();
    running.end().ends(130);
}

#[test]
fn a_module_that_is_handed_a_folder_leaves_nothing_to_stumble_over() {
    let project = project();
    project.replace(
        "Pipelinefile",
        "[target.all]",
        "[target.parts]\neach = \"clean\"\nshell = 'cp {in} {out}/x'\n\
         [target.count]\neach = \"parts\"\nshell = 'ls {in} > {out}'\n[target.all]",
    );
    let mut running = watching(&project);
    for word in ["beta", "bravo", "berta"] {
        project.write("docs/b.txt", word);
        let events = running.until_it_waits();
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap_or("?")).collect();
        assert!(!names.contains(&"error") && names.contains(&"finished"), "{names:?}");
        assert_eq!(project.take_counts("clean"), [word]);
    }
    assert_eq!(std::fs::read_dir(project.root().join(".pipe/tmp/in")).map_or(0, Iterator::count), 0);
    running.ctrl_c();
    running.end().ends(130);
}

/// C25: more notices than the kernel keeps. Those of a stopped process wait, and one of them is a document's.
#[test]
fn fault_c25_lost_notices_make_it_look_at_everything() {
    let project = project();
    let mut running = watching(&project);
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: usize = most.trim().parse().unwrap();
    running.signal(Signal::STOP);
    for n in 0..most {
        std::fs::File::create(project.root().join(format!("docs/n{}.junk", n % 500))).unwrap();
    }
    project.write("docs/deep/e.txt", "e");
    running.signal(Signal::CONT);
    assert!(running.until(|event| event["event"] == "changed" && event["everything"] == true));
    running.until_it_waits();
    assert_eq!(project.read("out/all.txt"), "A B C D E");
    project.write("docs/deep/f.txt", "f");
    while project.read("out/all.txt") != "A B C D E F" {
        running.until_it_waits();
    }
    running.ctrl_c();
    running.end().ends(130);
}

/// C25: the kernel watches no more folders. A user namespace has limits of its own.
#[test]
fn fault_c25_too_many_folders_are_looked_at_instead_with_one_warning() {
    let project = project();
    for n in 0..20 {
        project.write(&format!("docs/{n}/x.txt"), format!("x{n}"));
    }
    let script = "echo 8 > /proc/sys/user/max_inotify_watches && exec \"$0\" watch";
    let pipe = project.command(&[]).get_program().to_owned();
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(pipe);
    command.current_dir(project.root()).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let settings = project.command(&[]);
    command.env_clear().envs(settings.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    let mut said: Vec<String> = Vec::new();
    let mut until = |wanted: &str, said: &mut Vec<String>| {
        let came = lines.by_ref().any(|line| {
            said.push(line.clone());
            line.contains(wanted)
        });
        assert!(came, "no `{wanted}` in {said:#?}");
    };
    until("looking every", &mut said);
    project.write("docs/3/x.txt", "changed");
    until("Summary", &mut said);
    assert_eq!(project.read("out/clean/docs/3/x.txt.txt"), "CHANGED");
    project.write("docs/3/x.txt", "again");
    until("Summary", &mut said);
    let warnings =
        said.iter().filter(|line| line.contains("everything is looked at every few seconds instead"));
    assert_eq!(warnings.count(), 1, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("fs.inotify.max_user_watches")), "{said:#?}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

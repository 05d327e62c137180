//! A small library: small results and one that is a blob, two targets in a row, a set, one behind the set. Its modules are
//! scripts that note their own runs, so that a whole build takes a tenth of a second.

use std::collections::{BTreeMap, HashSet};

use crate::harness::{Ended, Project};

/// A module's run: target and document, in the words of the module.
pub(crate) type Run = (String, String);

/// The project, not yet built.
pub(crate) fn library(documents: usize) -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.clean]
            each = "docs"
            shell = "sh modules/clean.sh"
            publish = true
            [target.count]
            each = "clean"
            shell = "sh modules/count.sh"
            publish = true
            [target.sum]
            all = "count"
            shell = "sh modules/sum.sh"
            publish = "out/sum.txt"
            [target.share]
            each = "count"
            with = { sum = "sum" }
            shell = "sh modules/share.sh {with.sum}"
            publish = true
            "#,
        )
        .file(
            "modules/clean.sh",
            r#"
            read -r name rest
            echo "$name" >> runs-clean
            case $name in
                big*) yes "$name $rest" | head -c 300000 ;;
                *) echo "$name $rest" | tr a-z A-Z ;;
            esac
            "#,
        )
        .file(
            "modules/count.sh",
            r#"
            read -r name rest
            echo "$name" | tr A-Z a-z >> runs-count
            { echo "$name $rest"; cat; } | cksum | sed "s/^/$name /"
            "#,
        )
        .file("modules/sum.sh", "echo sum >> runs-sum; cksum\n")
        .file(
            "modules/share.sh",
            r#"
            read -r name rest
            echo "$name" | tr A-Z a-z >> runs-share
            echo "$name $rest of $(cat "$1")"
            "#,
        );
    for n in 0..documents {
        project.write(&name(n), format!("{} has text\n", word(n)));
    }
    project
}

/// The path of a document.
pub(crate) fn name(n: usize) -> String {
    format!("docs/{}/{}.txt", n % 2, word(n))
}

/// What a document calls itself. The first is the one whose result is a blob.
pub(crate) fn word(n: usize) -> String {
    if n == 0 { "big0".to_owned() } else { format!("d{n}") }
}

/// How often each module ran for each document since the beginning.
pub(crate) fn runs(project: &Project) -> BTreeMap<Run, usize> {
    let mut runs = BTreeMap::new();
    for target in ["clean", "count", "sum", "share"] {
        let path = project.root().join(format!("runs-{target}"));
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        for line in text.lines() {
            *runs.entry((target.to_owned(), line.to_owned())).or_default() += 1;
        }
    }
    runs
}

/// What was announced as done, in the same words.
pub(crate) fn announced(ended: &Ended) -> Vec<Run> {
    told(ended, "done")
}

/// What events of a name tell of.
fn told(ended: &Ended, event: &str) -> Vec<Run> {
    let word = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let runs = ended.all(event).into_iter().map(|event| {
        let (target, doc) = (word(event, "target"), word(event, "doc"));
        let name =
            if target == "sum" { "sum" } else { doc.rsplit('/').next().unwrap().trim_end_matches(".txt") };
        (target, name.to_owned())
    });
    runs.collect()
}

/// What is there of results: the published files.
pub(crate) type Shown = BTreeMap<String, Vec<u8>>;

/// What an undisturbed build of the same number of documents publishes.
pub(crate) fn expected(documents: usize) -> Shown {
    let project = library(documents);
    drop(project.build().ends(0));
    project.files("out")
}

/// Follows a project through one trouble after another: whatever was announced as done is never done again, what is shown
/// is right, no process is left.
pub(crate) struct Witness<'a> {
    project: &'a Project,
    expected: Shown,
    done: HashSet<Run>,
    before: BTreeMap<Run, usize>,
}

impl<'a> Witness<'a> {
    pub(crate) fn new(project: &'a Project, expected: &Shown) -> Witness<'a> {
        Witness { project, expected: expected.clone(), done: HashSet::new(), before: runs(project) }
    }

    /// Looks at a build that ended somehow.
    #[track_caller]
    pub(crate) fn saw(&mut self, ended: &Ended, what: &str) {
        self.project.no_process_is_left();
        self.saw_runs(ended, what);
    }

    /// Takes down what was announced, where the published folder is not to be looked at yet.
    pub(crate) fn saw_runs_of(&mut self, ended: &Ended) {
        self.done.extend(announced(ended));
        self.before = runs(self.project);
    }

    /// The same where other processes of the project may go on.
    #[track_caller]
    pub(crate) fn saw_runs(&mut self, ended: &Ended, what: &str) {
        let after = runs(self.project);
        let tried_again = told(ended, "retrying");
        for (run, count) in &after {
            let ran = count - self.before.get(run).copied().unwrap_or(0);
            assert!(
                ran == 0 || !self.done.contains(run),
                "{what}: {run:?} was done and ran again\n{}",
                ended.text()
            );
            let allowed = 1 + tried_again.iter().filter(|again| *again == run).count();
            assert!(
                ran <= allowed,
                "{what}: {run:?} ran {ran} times in one build, and {allowed} are told of\n{}",
                ended.text()
            );
        }
        self.done.extend(announced(ended));
        self.before = after;
        for (name, bytes) in self.project.files("out") {
            let right = self.expected.get(&name);
            assert!(right == Some(&bytes), "{what}: `{name}` is wrong\n{}", ended.text());
        }
    }

    /// Builds to the end: everything is there, right, and nothing is left to do.
    #[track_caller]
    pub(crate) fn ends_well(mut self, what: &str) {
        let last = self.project.build();
        assert!(last.status == 0, "{what}: {}", last.text());
        self.saw(&last, what);
        let files = self.project.files("out");
        assert!(files == self.expected, "{what}: {:?}\n{}", files.keys(), last.text());
        let idle = self.project.build();
        assert!(idle.status == 0 && idle.all("plan").is_empty(), "{what}: not at rest\n{}", idle.text());
        assert_eq!(runs(self.project), self.before, "{what}: a build with nothing to do ran modules");
    }
}

/// Builds until nothing is left to do, in at most four builds; then everything is as in a build that nobody disturbed.
#[track_caller]
pub(crate) fn heals(project: &Project, expected: &Shown, what: &str) {
    for n in 0..5 {
        let ended = project.build();
        assert!([0, 1, 3].contains(&ended.status), "{what}: {}", ended.text());
        for (name, bytes) in project.files("out") {
            assert!(expected.get(&name) == Some(&bytes), "{what}: `{name}` is wrong\n{}", ended.text());
        }
        if ended.status == 0 && ended.all("plan").is_empty() && project.files("out") == *expected {
            return;
        }
        assert!(n < 4, "{what}: does not come to an end\n{}", ended.text());
    }
}

/// A library that is built, and what it shows.
pub(crate) fn built(documents: usize) -> (Project, Shown) {
    let project = library(documents);
    drop(project.build().ends(0));
    let shown = project.files("out");
    (project, shown)
}

/// What is shown is forgotten, and every module but the first is another: whatever the store holds is used once more.
pub(crate) fn use_everything(project: &Project) {
    project.clear("out");
    for name in ["count", "sum", "share"] {
        let script = format!("modules/{name}.sh");
        project.write(&script, format!("{}# once more\n", project.read(&script)));
    }
}

/// Files of the store below a folder, in order of names.
pub(crate) fn store_files(project: &Project, folder: &str) -> Vec<std::path::PathBuf> {
    let folder = format!(".pipe/{folder}");
    project.names(&folder).iter().map(|name| project.root().join(&folder).join(name)).collect()
}

/// Changes a file's bytes behind everybody's back.
pub(crate) fn damage(path: &std::path::Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// How often the first module ran.
pub(crate) fn first_runs(project: &Project) -> usize {
    runs(project).iter().filter(|((target, _), _)| target == "clean").map(|(_, count)| count).sum()
}

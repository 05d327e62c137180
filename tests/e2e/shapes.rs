//! All shapes at once against an oracle: whatever is edited, and whenever it is killed, modules run exactly for what was
//! never done before, and what is published is what a clean build publishes.

use std::collections::{BTreeMap, BTreeSet};

use pipelinefile::plan::tree::ends_run;

use crate::harness::Project;

const PIPELINE: &str = r#"
[source.inbox]
path = "inbox"

[target.parts]
each   = "inbox"
module = "parts"
split  = true

[target.upper]
each    = "parts"
module  = "upper"
publish = true

[target.whole]
group    = "upper"
by       = "parent"
module   = "whole"
min_done = 0.05
publish  = true

[target.tag]
group    = "upper"
by       = "meta.tag"
module   = "tag"
min_done = 0.05
publish  = "out/tag/{id.value}.txt"

[target.title]
each   = "inbox"
module = "title"

[target.titled]
each    = "upper"
with    = { side = "title" }
module  = "titled"
publish = true

[target.placed]
each    = "upper"
with    = { side = "whole" }
module  = "placed"
publish = true

[target.tagged]
each    = "upper"
with    = { side = "tag" }
module  = "tagged"
publish = true

[target.site]
each    = "whole"
module  = "website"
publish = "out/site/{id}"

[target.names]
each   = "site"
module = "names"

[target.total]
all      = "whole"
reduce   = true
module   = "total"
min_done = 0.05
publish  = "out/total.txt"
"#;

const PARTS: &str = r#"
    @module
    def parts(doc):
        lines = doc.text().split("\n")
        ran("/".join(lines))
        if "BAD" in lines:
            raise ValueError("BAD")
        for line in filter(None, lines):
            name, tag, text = line.split()
            yield Child(name, line, meta={"tag": tag})
"#;

const UPPER: &str = r#"
    VERSION = 1

    @module
    def upper(doc):
        ran(f"{VERSION} {doc.text()}")
        if doc.text().endswith("fail"):
            raise ValueError("fail")
        return f"{VERSION} {doc.text().upper()}"
"#;

const WHOLE: &str = r#"
    @module
    def whole(docs):
        text = "/".join(f"{doc.id}={doc.text()}" for doc in docs)
        ran(text)
        return text
"#;

const TOTAL: &str = r#"
    @module
    def total(docs):
        texts = [doc.text() for doc in docs]
        ran("|".join(texts))
        return "+".join(texts)
"#;

const TITLE: &str = r#"
    @module
    def title(doc):
        ran("/".join(doc.text().split("\n")))
        return doc.text().split("\n")[0]
"#;

const TITLED: &str = r#"
    @module
    def titled(doc, *, side: Doc):
        ran(doc.text() + "|" + side.text())
        return doc.text() + "|" + side.text()
"#;

const SITE: &str = r#"
    @module
    def website(doc):
        ran(doc.text())
        folder = doc.tmp / "site"
        for part in doc.text().split("/"):
            name, _, text = part.partition("=")
            (folder / name).mkdir(parents=True)
            (folder / name / "text").write_text(text)
        return folder
"#;

const NAMES: &str = r#"
    @module
    def names(doc):
        files = sorted(path for path in doc.path.rglob("*") if path.is_file())
        text = ",".join(f"{path.parent.name}:{path.read_text()}" for path in files)
        ran(text)
        return text
"#;

/// Another project, which takes what came of the children of the first.
const BEHIND: &str = r#"
[source.upper]
path = "project:..#upper"

[target.again]
each    = "upper"
module  = "again"
publish = "out/{id.rel}"
"#;

const AGAIN: &str = r"
    @module
    def again(doc):
        ran(doc.text())
        return doc.text()
";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn line(&mut self, name: u64) -> String {
        let text = ["x", "y", "z", "fail"][self.roll(4) as usize];
        format!("n{name} t{} {text}", self.roll(3))
    }

    fn document(&mut self) -> String {
        if self.roll(8) == 0 {
            return "BAD".to_owned();
        }
        let lines: Vec<String> =
            (0..5).filter(|_| true).collect::<Vec<u64>>().into_iter().map(|n| self.line(n)).collect();
        let count = self.roll(5) as usize;
        lines[..count].join("\n")
    }
}

/// What a build of these documents needs, by module.
fn needed(documents: &BTreeMap<String, String>, version: u32) -> BTreeSet<String> {
    let mut runs = BTreeSet::new();
    let mut tags: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut wholes: Vec<(String, String)> = Vec::new();
    for (name, text) in documents {
        let lines: Vec<&str> = text.split('\n').collect();
        runs.insert(format!("parts {}", lines.join("/")));
        runs.insert(format!("title {}", lines.join("/")));
        let title = lines[0].to_owned();
        if lines.contains(&"BAD") {
            continue;
        }
        let (mut parts, mut files, mut uppers) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            runs.insert(format!("upper {version} {line}"));
            if line.ends_with("fail") {
                continue;
            }
            let mut words = line.split(' ');
            let (child, tag) = (words.next().unwrap(), words.next().unwrap());
            let upper = format!("{version} {}", line.to_uppercase());
            let id = format!("inbox/{name}#{child}");
            tags.entry(tag.to_owned()).or_default().push((id, upper.clone()));
            parts.push(format!("{child}={upper}"));
            files.push(format!("{child}:{upper}"));
            runs.insert(format!("titled {upper}|{title}"));
            uppers.push(upper);
        }
        if !parts.is_empty() {
            let whole = parts.join("/");
            runs.insert(format!("whole {whole}"));
            runs.insert(format!("website {whole}"));
            runs.insert(format!("names {}", files.join(",")));
            runs.extend(uppers.iter().map(|upper| format!("placed {upper}|{whole}")));
            wholes.push((format!("inbox/{name}"), whole));
        }
    }
    for mut members in tags.into_values() {
        members.sort();
        let texts: Vec<String> = members.iter().map(|(id, text)| format!("{id}={text}")).collect();
        let tag = texts.join("/");
        runs.extend(members.iter().map(|(_, upper)| format!("tagged {upper}|{tag}")));
        runs.insert(format!("tag {tag}"));
    }
    let mut inputs = wholes;
    for level in 0.. {
        if inputs.len() < 2 {
            break;
        }
        let (mut next, mut run) = (Vec::new(), Vec::new());
        let count = inputs.len();
        for (at, (id, text)) in inputs.into_iter().enumerate() {
            let ends = ends_run(level, &id);
            run.push(text);
            if ends || at + 1 == count {
                if run.len() > 1 {
                    runs.insert(format!("total {}", run.join("|")));
                }
                next.push((id, run.join("+")));
                run = Vec::new();
            }
        }
        inputs = next;
    }
    runs
}

/// What the project behind has, by document: results of children that succeeded.
fn behind(documents: &BTreeMap<String, String>, version: u32) -> Vec<String> {
    let good = documents.values().filter(|text| !text.split('\n').any(|line| line == "BAD"));
    let lines = good.flat_map(|text| text.split('\n')).filter(|line| !line.is_empty());
    let mut texts: Vec<String> = lines
        .filter(|line| !line.ends_with("fail"))
        .map(|line| format!("{version} {}", line.to_uppercase()))
        .collect();
    texts.sort();
    texts
}

/// Builds the project behind: what ran there is what was never done, among what `may` be there now.
fn build_behind(project: &Project, done: &mut BTreeSet<String>, may: &BTreeSet<String>, said: &str) {
    let outcome = project.pipe(&["-C", "behind", "build", "--gone"]);
    assert_eq!(outcome.status, 0, "{}\n{said}", outcome.text());
    let runs = project.take_runs();
    let ran: BTreeSet<String> = runs.iter().cloned().collect();
    assert_eq!(ran.len(), runs.len(), "done twice behind: {runs:#?}\n{said}");
    let needless: Vec<&String> =
        ran.iter().filter(|run| done.contains(*run) || !may.contains(*run)).collect();
    assert!(needless.is_empty(), "needlessly ran behind {needless:#?}\n{said}");
    done.extend(ran);
}

fn runs_behind(texts: &[String]) -> BTreeSet<String> {
    texts.iter().map(|text| format!("again {text}")).collect()
}

fn project() -> Project {
    let project =
        Project::counting().file("Pipelinefile", PIPELINE).module("parts", PARTS).module("upper", UPPER);
    let project = project.module("whole", WHOLE).module("total", TOTAL);
    let project = project.module("tag", &WHOLE.replace("def whole", "def tag"));
    let project = project.module("title", TITLE).module("titled", TITLED).module("website", SITE);
    let project = project.module("placed", &TITLED.replace("def titled", "def placed"));
    project.module("tagged", &TITLED.replace("def titled", "def tagged")).module("names", NAMES)
}

fn play(seed: u64, steps: u32, kills: bool) {
    let mut dice = Dice(seed);
    let project = project();
    let mut documents: BTreeMap<String, String> = BTreeMap::new();
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut version = 1;
    let mut done_behind: BTreeSet<String> = BTreeSet::new();
    project.write("behind/Pipelinefile", BEHIND);
    project.write_module("again", AGAIN);
    project.rename("modules/again.py", "behind/modules/again.py");
    std::fs::create_dir_all(project.root().join("inbox")).unwrap();
    for step in 0..steps {
        let before = runs_behind(&behind(&documents, version));
        for _ in 0..=dice.roll(4) {
            let name = format!("{}.txt", ["a", "b/c", "b/d", "e", "f", "g", "h"][dice.roll(7) as usize]);
            if dice.roll(4) == 0 && documents.len() > 1 {
                if documents.remove(&name).is_some() {
                    project.remove(&format!("inbox/{name}"));
                }
            } else {
                let text = dice.document();
                project.write(&format!("inbox/{name}"), &text);
                documents.insert(name, text);
            }
        }
        if dice.roll(5) == 0 {
            version += 1;
            project.write_module("upper", &UPPER.replace("VERSION = 1", &format!("VERSION = {version}")));
        }
        let mut killed = BTreeSet::new();
        if kills && dice.roll(2) == 0 {
            let mut running = project.start(&["build", "--gone"]);
            let events = dice.roll(30);
            let mut seen = 0;
            running.until(|_| {
                seen += 1;
                seen > events
            });
            running.kill();
            project.no_process_is_left();
            killed.extend(project.take_runs());
            // Whoever takes from it meanwhile sees results of before and of now, each whole.
            let now = runs_behind(&behind(&documents, version));
            if step > 0 {
                let may = before.union(&now).cloned().collect();
                build_behind(&project, &mut done_behind, &may, &format!("seed {seed}, step {step}, killed"));
            }
        }
        let outcome = project.pipe(&["build", "--gone"]);
        let runs = project.take_runs();
        let wanted: BTreeSet<String> = needed(&documents, version).difference(&done).cloned().collect();
        let ran: BTreeSet<String> = runs.iter().cloned().collect();
        let shown = || format!("seed {seed}, step {step}: {documents:#?}\n{}", outcome.text());
        assert!([0, 1].contains(&outcome.status), "{}", shown());
        assert_eq!(ran.len(), runs.len(), "done twice in one build: {runs:#?}\n{}", shown());
        let extra: Vec<&String> = ran.difference(&wanted).collect();
        assert!(extra.is_empty(), "needlessly ran {extra:#?}\n{}", shown());
        let lacking: Vec<&String> =
            wanted.iter().filter(|run| !ran.contains(*run) && !killed.contains(*run)).collect();
        assert!(lacking.is_empty(), "did not run {lacking:#?}\n{}", shown());
        done.extend(wanted);
        let texts = behind(&documents, version);
        let wanted = runs_behind(&texts);
        build_behind(&project, &mut done_behind, &wanted, &shown());
        let lacking: Vec<&String> = wanted.difference(&done_behind).collect();
        assert!(lacking.is_empty(), "did not run behind {lacking:#?}\n{}", shown());
        let mut published: Vec<String> = Vec::new();
        if project.root().join("behind/out").exists() {
            let files = project.files("behind/out").into_values();
            published.extend(files.map(|bytes| String::from_utf8(bytes).unwrap()));
        }
        published.sort();
        assert_eq!(published, texts, "{}", shown());
        project.pipe(&["-C", "behind", "build"]).ends(0);
        assert_eq!(project.take_runs(), Vec::<String>::new(), "ran again behind\n{}", shown());
        if step % 3 == 2 || step + 1 == steps {
            fresh_is_equal(&project, &documents, &outcome.text());
        }
        let again = project.pipe(&["build"]);
        assert_eq!(project.take_runs(), Vec::<String>::new(), "ran again\n{}\n{}", shown(), again.text());
    }
}

/// What is published is what a clean build publishes, but for documents that fail now, whose last files stay.
fn fresh_is_equal(project: &Project, documents: &BTreeMap<String, String>, said: &str) {
    let clean = self::project();
    clean.write("modules/upper.py", project.read("modules/upper.py"));
    for (name, text) in documents {
        clean.write(&format!("inbox/{name}"), text);
    }
    let built = clean.pipe(&["build"]);
    assert!([0, 1].contains(&built.status), "{}", built.text());
    let (ours, fresh) = (project.published(), clean.published());
    let fails = |name: &str| {
        documents.iter().any(|(document, text)| {
            (text == "BAD" || text.contains("fail")) && name.contains(&format!("inbox/{document}"))
        })
    };
    let is_stale = |name: &&String| fails(name) || name.starts_with("tag/") || *name == "total.txt";
    for (name, text) in &fresh {
        assert_eq!(ours.get(name), Some(text), "{name}\n{documents:#?}\n{said}");
    }
    let more: Vec<&String> =
        ours.keys().filter(|name| !fresh.contains_key(*name) && !is_stale(name)).collect();
    assert!(more.is_empty(), "published and should not be: {more:?}\n{documents:#?}\n{said}");
}

#[test]
fn what_runs_is_what_was_never_done() {
    for seed in 1..=2 {
        play(seed, 4, false);
    }
}

#[test]
fn kills_lose_nothing_and_repeat_nothing_that_was_done() {
    play(11, 5, true);
}

//! What is over many documents or shared by them, and what is held or left out, against an oracle: whatever is edited, redone
//! or killed, modules run exactly for what was never done, and what is published is what a clean build publishes.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Project, Random};

const PIPELINE: &str = r#"
[source.inbox]
path = "inbox"

[target.word]
each   = "inbox"
module = "word"

[target.small]
each    = "word"
where   = { meta.kind = ["a", "b"] }
module  = "small"
publish = true

[target.index]
all      = "word"
module   = "index"
min_done = 0.05
publish  = "out/index.txt"

[target.seen]
each    = "word"
with    = { index = "index", table = "file:table.txt", side = "file:side" }
module  = "seen"
publish = true

[target.dirs]
group    = "word"
by       = "id.dir"
module   = "dirs"
min_done = 0.05
publish  = "out/dirs/{id.value}.txt"

[target.threads]
all      = "word"
module   = "threads"
min_done = 0.05

[target.thread]
group    = "word"
by       = "target:threads"
module   = "thread"
min_done = 0.05
publish  = "out/thread/{id.value}.txt"

[target.placed]
each    = "word"
with    = { thread = "thread" }
module  = "placed"
publish = true

[target.paid]
each    = "word"
module  = "paid"
hold    = "code"
publish = true
"#;

const WORD: &str = r#"
    VERSION = 1

    @module
    def word(doc):
        ran(f"{VERSION} {doc.text()}")
        if doc.text() == "bad":
            raise ValueError("bad")
        return Result(f"{VERSION} {doc.text()}", meta={"kind": doc.text()[0]})
"#;

/// A module over documents, which makes of them what they are.
const OVER: &str = r#"
    @module
    def NAME(docs):
        text = "/".join(f"{doc.id}={doc.text()}" for doc in docs)
        ran(text)
        return text
"#;

const THREADS: &str = r#"
    @module
    def threads(docs):
        docs = [(doc.id, doc.text()) for doc in docs]
        ran("/".join(f"{id}={text}" for id, text in docs))
        return {id: text.split(" ")[1][0] for id, text in docs}
"#;

const SMALL: &str = r"
    @module
    def small(doc):
        ran(doc)
        return doc.text()
";

const SEEN: &str = r#"
    @module
    def seen(doc, *, index: Doc, table: Doc, side: Doc):
        files = ",".join(f"{file.name}:{file.read_text()}" for file in sorted(side.path.iterdir()))
        text = f"{doc.text()}|{index.text()}|{table.text()}|{files}"
        ran(text)
        return text
"#;

const PLACED: &str = r#"
    @module
    def placed(doc, *, thread: Doc):
        ran(f"{doc.text()}|{thread.text()}")
        return f"{doc.text()}|{thread.text()}"
"#;

const PAID: &str = r#"
    VERSION = 1

    @module
    def paid(doc):
        ran(f"{VERSION} {doc.text()}")
        return f"{VERSION} {doc.text()}"
"#;

fn project() -> Project {
    let over = |name: &str| OVER.replace("NAME", name);
    Project::counting()
        .file("Pipelinefile", PIPELINE)
        .module("word", WORD)
        .module("small", SMALL)
        .module("index", &over("index"))
        .module("dirs", &over("dirs"))
        .module("thread", &over("thread"))
        .module("threads", THREADS)
        .module("seen", SEEN)
        .module("placed", PLACED)
        .module("paid", PAID)
}

/// Everything that a build reads.
#[derive(Clone, Default)]
struct World {
    documents: BTreeMap<String, String>,
    table: String,
    side: BTreeMap<String, String>,
    word: u32,
    paid: u32,
}

impl World {
    /// By id: the results of `word`.
    fn words(&self) -> BTreeMap<String, String> {
        let good = self.documents.iter().filter(|(_, text)| *text != "bad");
        good.map(|(name, text)| (format!("inbox/{name}"), format!("{} {text}", self.word))).collect()
    }

    /// What a build of all this needs, but for what is held.
    fn needed(&self) -> BTreeSet<String> {
        let words = self.words();
        let listed = |of: &mut dyn Iterator<Item = (&String, &String)>| {
            of.map(|(id, text)| format!("{id}={text}")).collect::<Vec<_>>().join("/")
        };
        let kind = |text: &str| text.split(' ').nth(1).unwrap()[..1].to_owned();
        let dir = |id: &str| id.split('/').nth(1).unwrap().to_owned();
        let index = listed(&mut words.iter());
        let mut runs: BTreeSet<String> =
            self.documents.values().map(|text| format!("word {} {text}", self.word)).collect();
        runs.insert(format!("index {index}"));
        runs.insert(format!("threads {index}"));
        let side: Vec<String> = self.side.iter().map(|(name, text)| format!("{name}:{text}")).collect();
        for (id, text) in &words {
            if ["a", "b"].contains(&kind(text).as_str()) {
                runs.insert(format!("small {text}"));
            }
            runs.insert(format!("seen {text}|{index}|{}|{}", self.table, side.join(",")));
            let of_dir = listed(&mut words.iter().filter(|(other, _)| dir(other) == dir(id)));
            runs.insert(format!("dirs {of_dir}"));
            let thread = listed(&mut words.iter().filter(|(_, other)| kind(other) == kind(text)));
            runs.insert(format!("thread {thread}"));
            runs.insert(format!("placed {text}|{thread}"));
        }
        runs
    }

    /// The files as they are now.
    fn write(&self, project: &Project) {
        for folder in ["inbox", "side"] {
            std::fs::create_dir_all(project.root().join(folder)).unwrap();
            project.clear(folder);
            std::fs::create_dir_all(project.root().join(folder)).unwrap();
        }
        self.documents.iter().for_each(|(name, text)| project.write(&format!("inbox/{name}"), text));
        self.side.iter().for_each(|(name, text)| project.write(&format!("side/{name}"), text));
        project.write("table.txt", &self.table);
        let code = |code: &str, version: u32| code.replace("VERSION = 1", &format!("VERSION = {version}"));
        project.write_module("word", &code(WORD, self.word));
        project.write_module("paid", &code(PAID, self.paid));
    }

    fn change(&mut self, random: &mut Random) {
        for _ in 0..=random.below(3) {
            let dir = ["p", "q", "r"][random.below(3)];
            let name = format!("{dir}/{}.txt", ["one", "two"][random.below(2)]);
            if random.below(4) == 0 {
                self.documents.remove(&name);
            } else {
                let text = ["apple", "bread", "corn", "carrot", "bad"][random.below(5)];
                self.documents.insert(name, text.to_owned());
            }
        }
        match random.below(8) {
            0 => self.table = format!("table {}", random.below(3)),
            1 => drop(self.side.insert(format!("f{}", random.below(2)), format!("{}", random.below(3)))),
            2 => self.word += 1,
            3 => self.paid += 1,
            _ => {}
        }
    }
}

/// How `paid` stands, by id: the input and the version by which it was made.
type Held = BTreeMap<String, (String, u32)>;

fn play(seed: u64, steps: u32, kills: bool) {
    let mut random = Random::new(seed);
    let project = project();
    let mut world = World { word: 1, paid: 1, table: "table".to_owned(), ..World::default() };
    world.side.insert("f0".to_owned(), "side".to_owned());
    // One that is always there: no set is empty, and none has too few.
    world.documents.insert("z/last.txt".to_owned(), "zest".to_owned());
    let (mut done, mut held, mut ever) = (BTreeSet::new(), Held::new(), BTreeSet::new());
    for step in 0..steps {
        world.change(&mut random);
        world.write(&project);
        if step > 0 && random.below(3) == 0 {
            let target = ["word", "index", "thread", "seen", "dirs"][random.below(5)];
            project.pipe(&["redo", target]).ends(0);
            // What was made of it before counts no more, also where it comes back later.
            done.retain(|run: &String| run.split(' ').next() != Some(target));
        }
        let mut killed = BTreeSet::new();
        if kills && random.below(2) == 0 {
            let mut running = project.start(&["build", "--gone"]);
            let (events, mut seen) = (random.below(40), 0);
            running.until(|_| {
                seen += 1;
                seen > events
            });
            running.kill();
            project.no_process_is_left();
            killed.extend(project.take_runs());
        }
        let outcome = project.pipe(&["build", "--gone"]);
        let shown = || format!("seed {seed}, step {step}: {:#?}\n{}", world.documents, outcome.text());
        assert!([0, 1].contains(&outcome.status), "{}", shown());
        let (paid, runs): (Vec<String>, Vec<String>) =
            project.take_runs().into_iter().partition(|run| run.starts_with("paid "));
        let ran: BTreeSet<String> = runs.iter().cloned().collect();
        assert_eq!(ran.len(), runs.len(), "done twice in one build: {runs:#?}\n{}", shown());
        let wanted: BTreeSet<String> = world.needed().difference(&done).cloned().collect();
        let extra: Vec<&String> = ran.difference(&wanted).collect();
        assert!(extra.is_empty(), "needlessly ran {extra:#?}\n{}", shown());
        let lacking: Vec<&String> =
            wanted.iter().filter(|run| !ran.contains(*run) && !killed.contains(*run)).collect();
        assert!(lacking.is_empty(), "did not run {lacking:#?}\n{}", shown());
        done.extend(wanted);
        let mut now = Held::new();
        for (id, input) in world.words() {
            let text = project.read(&format!("out/paid/{id}.txt"));
            let (version, made_of) = text.split_once(' ').unwrap();
            let version: u32 = version.parse().unwrap();
            assert_eq!(made_of, input, "{id}\n{}", shown());
            match held.get(&id) {
                Some((before, by)) if *before == input => {
                    // What the present code made of the same for another document costs nothing.
                    let present = format!("paid {} {input}", world.paid);
                    let is_there =
                        done.contains(&present) || paid.contains(&present) || killed.contains(&present);
                    let is_taken = version == world.paid && is_there;
                    assert!(version == *by || is_taken, "{id} is held: {version}\n{}", shown());
                }
                // It was there once: whether that still counts is its own affair.
                _ if ever.contains(&id) && version != world.paid => {}
                _ => assert_eq!(version, world.paid, "{id} is due\n{}", shown()),
            }
            ever.insert(id.clone());
            now.insert(id, (input, version));
        }
        held = now;
        for run in paid.iter().chain(&killed).filter(|run| run.starts_with("paid ")) {
            assert!(run.starts_with(&format!("paid {} ", world.paid)), "{run}\n{}", shown());
        }
        assert!(paid.iter().all(|run| done.insert(run.clone())), "paid twice: {paid:#?}\n{}", shown());
        done.extend(killed.into_iter().filter(|run| run.starts_with("paid ")));
        if step % 3 == 2 || step + 1 == steps {
            clean_is_equal(&project, &world, &shown());
        }
        let again = project.pipe(&["build"]);
        assert_eq!(project.take_runs(), Vec::<String>::new(), "ran again\n{}\n{}", shown(), again.text());
    }
}

/// What is published is what a clean build publishes, but for what is held, and last files of what fails now.
fn clean_is_equal(project: &Project, world: &World, said: &str) {
    let clean = self::project();
    world.write(&clean);
    let built = clean.pipe(&["build"]);
    assert!([0, 1].contains(&built.status), "{}", built.text());
    let (ours, fresh) = (project.published(), clean.published());
    for (name, text) in fresh.iter().filter(|(name, _)| !name.starts_with("paid/")) {
        assert_eq!(ours.get(name), Some(text), "{name}\n{said}");
    }
    let bad: Vec<String> =
        world.documents.iter().filter(|(_, text)| *text == "bad").map(|(name, _)| name.clone()).collect();
    let is_stale = |name: &str| {
        bad.iter().any(|bad| name.contains(&format!("inbox/{bad}")))
            || bad.iter().any(|bad| name == format!("dirs/{}.txt", bad.split('/').next().unwrap()))
            || (!bad.is_empty() && name.starts_with("thread/"))
    };
    let more: Vec<&String> =
        ours.keys().filter(|name| !fresh.contains_key(*name) && !is_stale(name)).collect();
    assert!(more.is_empty(), "published and should not be: {more:?}\n{said}");
}

/// So many seeds more.
fn more() -> u64 {
    std::env::var("PIPE_TEST_SHAPES").map_or(0, |more| more.parse().unwrap())
}

#[test]
fn what_is_over_many_or_shared_runs_when_it_never_did() {
    for seed in 1..=2 + more() {
        play(seed, 6, false);
    }
}

#[test]
fn kills_and_redo_lose_nothing_and_repeat_nothing() {
    for seed in 0..=more() {
        play(1000 + seed, 6, true);
    }
}

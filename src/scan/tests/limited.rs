//! Scans of a few paths against scans of everything.

use super::*;

/// What may happen to a tree: by the kernel's notices, `path` changed.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Remove(Vec<u8>),
    Move(Vec<u8>, Vec<u8>),
    Link(Vec<u8>, Vec<u8>),
    /// Something is reported that did not happen.
    Rumour(Vec<u8>),
}

/// Few short names, so that steps meet: files that become folders, folders that move into each other.
fn place() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["a", "b", "a-", "a0", ".h", "é", "n%"]);
    let bytes = |names: Vec<&str>| names.join("/").into_bytes();
    let plain = prop::collection::vec(name, 1..4).prop_map(bytes);
    prop_oneof![9 => plain, 1 => Just(b"a/\xff".to_vec())]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => place().prop_map(Step::Write),
        3 => place().prop_map(Step::Remove),
        3 => (place(), place()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => (place(), place()).prop_map(|(to, at)| Step::Link(to, at)),
        1 => place().prop_map(Step::Rumour),
    ]
}

/// The path of the topmost folder that has to be made for a file.
fn topmost(root: &Path, path: &Path) -> PathBuf {
    let mut top = path.to_owned();
    while let Some(parent) = top.parent().filter(|parent| *parent != root && !parent.exists()) {
        top = parent.to_owned();
    }
    top
}

fn discard(path: &Path) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Does it, as far as it can be done; the paths that a watcher of every folder hears of.
fn act(root: &Path, step: &Step, serial: usize) -> Vec<PathBuf> {
    let path = |bytes: &Vec<u8>| root.join(OsStr::from_bytes(bytes));
    let is_real =
        |path: &Path| path.ancestors().take_while(|above| *above != root).all(|above| !above.is_symlink());
    match step {
        Step::Write(at) => {
            let at = path(at);
            let top = topmost(root, &at);
            // The watcher hears of the real place: not written through links here.
            let parent = at.parent().unwrap();
            if !is_real(&at) || std::fs::create_dir_all(parent).is_err() || at.is_dir() {
                return Vec::new();
            }
            std::fs::File::create(&at).unwrap().write_all(serial.to_string().as_bytes()).unwrap();
            vec![top]
        }
        Step::Remove(at)
            if is_real(&path(at)) || path(at).is_symlink() && is_real(path(at).parent().unwrap()) =>
        {
            discard(&path(at));
            vec![path(at)]
        }
        Step::Move(from, to) => {
            let (from, to) = (path(from), path(to));
            if !is_real(&from) || !is_real(&to) || !from.exists() || !to.parent().unwrap().is_dir() {
                return Vec::new();
            }
            if std::fs::rename(&from, &to).is_err() { Vec::new() } else { vec![from, to] }
        }
        Step::Link(to, at) => {
            let at = path(at);
            if !is_real(&at) || at.exists() || !at.parent().unwrap().is_dir() {
                return Vec::new();
            }
            symlink(path(to), &at).unwrap();
            vec![at]
        }
        Step::Rumour(at) if is_real(&path(at)) => vec![path(at)],
        Step::Remove(_) | Step::Rumour(_) => Vec::new(),
    }
}

/// A source as it is watched: what is known of it, and whether a look at what changed is enough.
struct Watched {
    memory: Memory,
    links: bool,
}

impl Watched {
    /// Both scans; compares them, and learns what they found.
    fn compare(&mut self, roots: &Roots, changed: &[PathBuf]) {
        let whole = Look::after(roots, &self.memory).scan();
        let known = self.memory.documents("s").unwrap();
        let changes = roots.changed(changed).filter(|_| !self.links).map(|paths| Changes { known, paths });
        let limited = Look { changes: changes.as_ref(), ..Look::after(roots, &self.memory) }.scan();
        assert_eq!(shown(&limited), shown(&whole), "after {changed:?}");
        assert_eq!(limited.counts, whole.counts, "after {changed:?}");
        assert_eq!(limited.known, whole.known);
        assert_eq!(limited.guard(), whole.guard());
        self.links |= limited.links || whole.links;
        self.memory.learn(roots, &whole);
    }
}

fn follow(written: &[&str], steps: &[Vec<Step>]) {
    let tree = Tree::new(&["a/a", "b/a"]);
    let root = tree.0.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("keep")).unwrap();
    std::fs::File::create(root.join("keep/k")).unwrap();
    let roots = tree.roots(written);
    let first = Look::new(&roots).scan();
    let mut watched = Watched { memory: Memory::default(), links: first.links };
    watched.memory.learn(&roots, &first);
    for (round, steps) in steps.iter().enumerate() {
        let acted = steps.iter().enumerate().flat_map(|(ix, step)| act(&root, step, 100 * round + ix));
        let changed: Vec<PathBuf> = acted.collect();
        watched.compare(&tree.roots(written), &changed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_look_at_what_changed_finds_what_a_walk_finds(
        steps in prop::collection::vec(prop::collection::vec(step(), 0..6), 1..8)
    ) {
        follow(&["."], &steps);
    }

    #[test]
    fn also_in_a_source_of_several_folders_and_files(
        steps in prop::collection::vec(prop::collection::vec(step(), 0..6), 1..8)
    ) {
        follow(&["a", "b/a", "keep", "keep/k"], &steps);
    }
}

#[test]
fn a_source_that_came_with_the_folder_above_it_is_looked_at_as_a_whole() {
    let write = |at: &[u8]| Step::Write(at.to_vec());
    follow(&["a", "b/a"], &[vec![Step::Move(b"b".to_vec(), b"a-".to_vec())], vec![write(b"b/a")]]);
}

fn changes(known: u64, paths: &[&str]) -> Changes {
    Changes { known, paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

#[test]
fn only_what_is_named_is_looked_at() {
    let tree = Tree::new(&["a/x", "a/y", "b/x", "c"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    for file in ["a/x", "a/y", "b/x", "c"] {
        tree.write(file, "another text");
    }
    let changes = changes(4, &["a/x", "b"]);
    let scan = Look { changes: Some(&changes), ..Look::after(&roots, &memory) }.scan();
    assert_eq!(shown(&scan), ["~a/x", "~b/x"]);
    assert_eq!(scan.counts, Counts { changed: 2, current: 2, ..Counts::default() });
}

#[test]
fn a_folder_that_is_left_out_is_not_entered_by_a_path_below_it() {
    let tree = Tree::new(&["a", ".git/config"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    let changes = changes(1, &[".git/config", ".git/objects"]);
    let scan = Look { changes: Some(&changes), ..Look::after(&roots, &memory) }.scan();
    assert_eq!(scan.counts, Counts { current: 1, ..Counts::default() });
}

#[test]
fn the_guard_counts_against_all_that_was_known() {
    let tree = Tree::new(&["a/1", "a/2", "a/3", "b/1", "b/2"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    std::fs::remove_dir_all(tree.path("b")).unwrap();
    let some = changes(5, &["b"]);
    let look = |changes| Look { changes: Some(changes), ..Look::after(&roots, &memory) }.scan();
    assert_eq!(look(&some).guard(), None);
    std::fs::remove_dir_all(tree.path("a")).unwrap();
    let most = changes(5, &["a", "b"]);
    assert_eq!(look(&most).guard().map(|stop| (stop.gone, stop.known)), Some((5, 5)));
}

#[test]
fn other_rules_or_a_source_that_is_not_there_ask_for_a_walk() {
    let tree = Tree::new(&["docs/a", "docs/b"]);
    let roots = tree.roots(&["docs"]);
    let memory = Memory::of(&roots);
    let some = changes(2, &["a"]);
    let only_b = |rel: &str| rel == "b";
    let look = Look { changes: Some(&some), ..Look::after(&roots, &memory) };
    let scan = Look { same_rules: false, accept: &only_b, ..look }.scan();
    assert_eq!(shown(&scan), ["-a"]);
    std::fs::remove_dir_all(tree.path("docs")).unwrap();
    let roots = tree.roots(&["docs"]);
    let scan = Look { changes: Some(&changes(2, &[])), ..Look::after(&roots, &memory) }.scan();
    assert_eq!(scan.missing, ["docs"]);
    assert_eq!(shown(&scan), ["-a", "-b"]);
}

#[test]
fn a_folder_that_cannot_be_read_is_as_it_was() {
    let tree = Tree::new(&["a/x", "a/b/y", "c"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    set_mode(&tree.path("a"), 0);
    let some = changes(3, &["a"]);
    let scan = without_privileges(|| Look { changes: Some(&some), ..Look::after(&roots, &memory) }.scan());
    set_mode(&tree.path("a"), 0o755);
    assert_eq!(shown(&scan), Vec::<String>::new());
    assert_eq!(scan.unreadable.len(), 1);
}

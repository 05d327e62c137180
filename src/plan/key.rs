//! The key of an action: everything that its result depends on, and nothing else.
//!
//! | value | in the key | why |
//! |---|---|---|
//! | format version ([`KEY_VERSION`]) | yes | another encoding is another key |
//! | shape (`each`, `all`, …) | yes | `each` and `each` + `split` of one module answer differently |
//! | command words, kind, protocol version, declared version | yes | another program |
//! | digests of the code files | yes | other code |
//! | interpreter major.minor | yes | the language itself changes |
//! | declared environment values | yes | stated to matter |
//! | resolved params | yes | the module reads them |
//! | digest of the input's bytes | yes | the work itself |
//! | what the module sees beside the bytes (`sees`) | yes | it may read it |
//! | side inputs by name: digest and visible facts | yes | the module reads them |
//! | members of a set: ordered ids, digests, facts, as one root | yes | the work itself |
//! | name of the target, of the module, of the run | no | a rename redoes nothing |
//! | absolute paths, mtime, inode, host, user | no | another machine must hit |
//! | workers, batch, timeout, retries, memory | no | they change how, not what |
//! | late imports and packages | no | a record's load set is compared instead (`Loads`) |
//!
//! Each row has a test below. The parts are kept with the record, so `plan::explain` compares old parts with new.
//! Encoding: `hash::FieldHasher`, pinned by golden hashes. See `docs/design/keys.md`.

use crate::hash::{Digest, FieldHasher};
use crate::model::action::{ActionKey, KeyInput, Recipe};

/// Raised when the encoding or the meaning of a part changes; every key changes with it.
pub const KEY_VERSION: u64 = 1;

/// The digest of what is the same for all documents of a target.
pub fn recipe_digest(recipe: &Recipe) -> Digest {
    recipe_digest_by(recipe, &fingerprint(recipe))
}

/// The digest that a recipe would have by a module with another fingerprint.
pub fn recipe_digest_by(recipe: &Recipe, fingerprint: &Digest) -> Digest {
    let mut hasher = FieldHasher::new("pipe recipe");
    hasher.number(KEY_VERSION).text(&recipe.shape).digest(fingerprint);
    hasher.number(recipe.params.len() as u64);
    for (name, value) in &recipe.params {
        hasher.text(name).text(value);
    }
    hasher.number(recipe.with.len() as u64);
    for (name, shared) in &recipe.with {
        hasher.text(name);
        match shared {
            None => hasher.number(0),
            Some(input) => add_input(hasher.number(1), input),
        };
    }
    hasher.finish()
}

/// The fingerprint of a module: its program and its code.
pub fn fingerprint(recipe: &Recipe) -> Digest {
    let mut hasher = FieldHasher::new("pipe module");
    hasher.number(recipe.program.len() as u64);
    for (name, value) in &recipe.program {
        hasher.text(name).text(value);
    }
    hasher.number(recipe.files.len() as u64);
    for (file, digest) in &recipe.files {
        hasher.text(file).digest(digest);
    }
    hasher.finish()
}

/// The key of an action: its recipe's digest and its own inputs.
pub fn action_key(recipe: &Digest, inputs: &[KeyInput]) -> ActionKey {
    let mut hasher = FieldHasher::new("pipe action");
    hasher.digest(recipe).number(inputs.len() as u64);
    for input in inputs {
        add_input(&mut hasher, input);
    }
    ActionKey(hasher.finish())
}

fn add_input<'a>(hasher: &'a mut FieldHasher, input: &KeyInput) -> &'a mut FieldHasher {
    hasher.option(input.digest.as_ref().map(|digest| digest.0.as_slice())).text(&input.facts)
}

/// The root over the members of a set: a function of the members alone.
///
/// Members come in their order. A leaf ends where the hash of an id ends in eight zero bits, so one changed member
/// changes one leaf of about 256; the root is the hash of the leaves.
pub struct SetRoot {
    leaf: FieldHasher,
    in_leaf: u64,
    root: FieldHasher,
    members: u64,
    last_leaf: Digest,
}

impl Default for SetRoot {
    fn default() -> Self {
        SetRoot {
            leaf: FieldHasher::new("pipe leaf"),
            in_leaf: 0,
            root: FieldHasher::new("pipe root"),
            members: 0,
            last_leaf: Digest::default(),
        }
    }
}

impl SetRoot {
    /// Adds the next member. `id` is absent where the target does not see it.
    pub fn add(&mut self, id: Option<&str>, digest: &Digest, facts: &str) {
        self.leaf.option(id.map(str::as_bytes)).digest(digest).text(facts);
        self.in_leaf += 1;
        self.members += 1;
        let ends = id.map_or(digest.0[31] == 0, Self::ends_leaf);
        if ends {
            self.end_leaf();
        }
    }

    fn end_leaf(&mut self) {
        let leaf = std::mem::replace(&mut self.leaf, FieldHasher::new("pipe leaf"));
        self.last_leaf = leaf.finish();
        self.root.digest(&self.last_leaf);
        self.in_leaf = 0;
    }

    /// Whether a leaf may end with the member of this id.
    pub fn ends_leaf(id: &str) -> bool {
        Digest::of(id.as_bytes()).0[31] == 0
    }

    /// Whether no leaf is begun: the next member is the first of one.
    pub fn is_between_leaves(&self) -> bool {
        self.in_leaf == 0
    }

    /// The leaf that ended last.
    pub fn last_leaf(&self) -> Digest {
        self.last_leaf
    }

    /// Adds a whole leaf of so many members, whose hash is known; only between leaves.
    pub fn add_leaf(&mut self, leaf: &Digest, members: u64) {
        debug_assert!(self.is_between_leaves(), "a leaf is begun");
        self.last_leaf = *leaf;
        self.root.digest(leaf);
        self.members += members;
    }

    /// How many members there are.
    pub fn members(&self) -> u64 {
        self.members
    }

    /// The root over all members.
    pub fn finish(mut self) -> Digest {
        if self.in_leaf > 0 {
            self.end_leaf();
        }
        self.root.number(self.members).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn recipe() -> Recipe {
        Recipe {
            shape: "each".into(),
            module: "words".into(),
            program: vec![
                ("command".into(), "python modules/words.py words".into()),
                ("protocol".into(), "1".into()),
            ],
            files: vec![("modules/words.py".into(), Digest([1; 32]))],
            params: vec![("min_len".into(), "3".into())],
            with: vec![("model".into(), Some(input(9))), ("other".into(), None)],
        }
    }

    fn input(byte: u8) -> KeyInput {
        KeyInput { digest: Some(Digest([byte; 32])), facts: r#"{"ext":"txt"}"#.into() }
    }

    fn key(recipe: &Recipe) -> ActionKey {
        action_key(&recipe_digest(recipe), &[input(1), input(2)])
    }

    fn changed(change: impl FnOnce(&mut Recipe)) -> bool {
        let mut other = recipe();
        change(&mut other);
        key(&other) != key(&recipe())
    }

    #[test]
    fn golden_keys() {
        assert_eq!(
            recipe_digest(&recipe()).hex(),
            "a877d0919109ed4cd199139c392ebcdd1dd4dc40dee5ef5bcbc07db646119b89"
        );
        assert_eq!(
            key(&recipe()).0.hex(),
            "a93f61d55d05de9355aa8ae669110b1682486a7c1e01f550b84494fb19cb8e5d"
        );
        let mut root = SetRoot::default();
        root.add(Some("inbox/a"), &Digest([1; 32]), "{}");
        root.add(Some("inbox/b"), &Digest([2; 32]), "{}");
        assert_eq!(root.finish().hex(), "d9c25054b2c8c313549a4bc13bd3d7859b87db0d39a97a73003a001d50ea751c");
    }

    #[test]
    fn the_shape_is_in() {
        assert!(changed(|r| r.shape = "all".into()));
    }

    #[test]
    fn command_version_interpreter_and_environment_are_in() {
        assert!(changed(|r| r.program[0].1 = "python modules/words.py other".into()));
        assert!(changed(|r| r.program.push(("version".into(), "2".into()))));
        assert!(changed(|r| r.program.push(("interpreter".into(), "3.12".into()))));
        assert!(changed(|r| r.program.push(("env.LANG".into(), "de".into()))));
        assert!(changed(|r| r.program[1].1 = "2".into()));
    }

    #[test]
    fn code_files_are_in_by_name_and_digest() {
        assert!(changed(|r| r.files[0].1 = Digest([2; 32])));
        assert!(changed(|r| r.files[0].0 = "modules/other.py".into()));
        assert!(changed(|r| r.files.push(("modules/lib.py".into(), Digest([1; 32])))));
    }

    #[test]
    fn params_are_in() {
        assert!(changed(|r| r.params[0].1 = "4".into()));
        assert!(changed(|r| r.params.clear()));
    }

    #[test]
    fn side_inputs_are_in_by_name_digest_and_facts() {
        assert!(changed(|r| r.with[0].0 = "weights".into()));
        assert!(changed(|r| r.with[0].1 = Some(input(8))));
        assert!(changed(|r| r.with[0].1 = None));
    }

    #[test]
    fn inputs_are_in_by_digest_facts_and_order() {
        let recipe = recipe_digest(&recipe());
        let base = action_key(&recipe, &[input(1), input(2)]);
        assert_ne!(base, action_key(&recipe, &[input(2), input(1)]));
        assert_ne!(base, action_key(&recipe, &[input(1)]));
        let absent = KeyInput { digest: None, ..input(2) };
        assert_ne!(base, action_key(&recipe, &[input(1), absent]));
        let seen = KeyInput { facts: r#"{"ext":"pdf"}"#.into(), ..input(2) };
        assert_ne!(base, action_key(&recipe, &[input(1), seen]));
    }

    #[test]
    fn the_name_of_the_module_is_out() {
        assert!(!changed(|r| r.module = "renamed".into()));
    }

    #[test]
    fn a_set_is_its_members_in_order() {
        let root = |members: &[(&str, u8)]| {
            let mut root = SetRoot::default();
            members.iter().for_each(|(id, byte)| root.add(Some(id), &Digest([*byte; 32]), "{}"));
            root.finish()
        };
        let many: Vec<(String, u8)> = (0..2000).map(|i| (format!("inbox/{i:05}"), 1)).collect();
        let many: Vec<(&str, u8)> = many.iter().map(|(id, byte)| (id.as_str(), *byte)).collect();
        let mut one_less = many.clone();
        one_less.remove(700);
        assert_ne!(root(&many), root(&one_less));
        assert_ne!(root(&[("a", 1), ("b", 2)]), root(&[("b", 2), ("a", 1)]));
        assert_ne!(root(&[("a", 1)]), root(&[("b", 1)]));
        assert_eq!(root(&many), root(&many));
    }

    #[test]
    fn a_set_that_sees_no_ids_is_the_same_after_a_rename() {
        let mut one = SetRoot::default();
        one.add(None, &Digest([1; 32]), "{}");
        let mut other = SetRoot::default();
        other.add(None, &Digest([1; 32]), "{}");
        assert_eq!(one.finish(), other.finish());
    }
}

//! Why an action is not answered by its document's last record: old key parts against new ones.
//!
//! Complete by construction: a key is made of a recipe and inputs, and so is the comparison; where two keys differ
//! there is a reason. Knows nothing of marks, faults or lost bytes: whoever finds those says so.

use std::collections::BTreeMap;

use crate::hash::Digest;
use crate::model::action::{KeyInput, Recipe};
use crate::model::reason::{FileChange, Reason};

/// The parts of one key.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// What is the same for all documents.
    pub recipe: &'a Recipe,
    /// The main input, then the side inputs that differ from document to document.
    pub inputs: &'a [KeyInput],
}

/// Every difference between the parts of two keys; none if the keys are equal.
pub fn differences(old: KeyParts<'_>, new: KeyParts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let (old_recipe, new_recipe) = (old.recipe, new.recipe);
    if old_recipe.shape != new_recipe.shape {
        reasons.push(Reason::Shape { old: old_recipe.shape.clone(), new: new_recipe.shape.clone() });
    }
    let files = changed(&old_recipe.files, &new_recipe.files);
    if !files.is_empty() {
        let change = |(file, old, new)| FileChange { file, old, new };
        reasons.push(Reason::Code { files: files.into_iter().map(change).collect() });
    }
    for (name, old, new) in changed(&old_recipe.program, &new_recipe.program) {
        reasons.push(Reason::Program { name, old, new });
    }
    for (name, old, new) in changed(&old_recipe.params, &new_recipe.params) {
        reasons.push(Reason::Param { name, old, new });
    }
    let roles = |recipe: &Recipe, inputs: &[KeyInput]| -> Vec<(String, KeyInput)> {
        let mut own = inputs.iter().skip(1);
        let with = recipe.with.iter().map(|(name, shared)| {
            let absent = || KeyInput { digest: None, facts: String::new() };
            (name.clone(), shared.clone().or_else(|| own.next().cloned()).unwrap_or_else(absent))
        });
        inputs.first().map(|main| (String::new(), main.clone())).into_iter().chain(with).collect()
    };
    for (name, old, new) in changed(&roles(old_recipe, old.inputs), &roles(new_recipe, new.inputs)) {
        input_difference(&mut reasons, name, old.as_ref(), new.as_ref());
    }
    let kinds = |recipe: &Recipe| -> Vec<(String, bool)> {
        recipe.with.iter().map(|(name, shared)| (name.clone(), shared.is_some())).collect()
    };
    for (name, old, new) in changed(&kinds(old_recipe), &kinds(new_recipe)) {
        let said = reasons
            .iter()
            .any(|reason| matches!(reason, Reason::Input { name: other, .. } if *other == name));
        if !said && old.is_some() && new.is_some() {
            let word =
                |shared: Option<bool>| shared.map(|s| if s { "shared" } else { "by document" }.to_owned());
            reasons.push(Reason::Fact { name, old: word(old), new: word(new) });
        }
    }
    reasons
}

fn input_difference(reasons: &mut Vec<Reason>, name: String, old: Option<&KeyInput>, new: Option<&KeyInput>) {
    let digest = |input: Option<&KeyInput>| input.and_then(|input| input.digest);
    let facts = |input: Option<&KeyInput>| input.map(|input| input.facts.clone()).unwrap_or_default();
    let (old_facts, new_facts) = (facts(old), facts(new));
    let members = |facts: &str| {
        let object: Option<BTreeMap<String, serde_json::Value>> = serde_json::from_str(facts).ok();
        object.and_then(|object| object.get("members")?.as_u64())
    };
    if let (true, Some(old_members), Some(new_members)) =
        (name.is_empty(), members(&old_facts), members(&new_facts))
    {
        reasons.push(Reason::Members { old: old_members, new: new_members });
        return;
    }
    if digest(old) != digest(new) || old.is_some() != new.is_some() {
        reasons.push(Reason::Input { name: name.clone(), old: digest(old), new: digest(new) });
    }
    if old_facts == new_facts || old.is_none() || new.is_none() {
        return;
    }
    let object = |facts: &str| -> Vec<(String, String)> {
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(facts).unwrap_or_default();
        object.into_iter().map(|(name, value)| (name, value.to_string())).collect()
    };
    let before = reasons.len();
    for (fact, old, new) in changed(&object(&old_facts), &object(&new_facts)) {
        let fact = if name.is_empty() { fact } else { format!("{name}.{fact}") };
        reasons.push(Reason::Fact { name: fact, old, new });
    }
    if reasons.len() == before {
        reasons.push(Reason::Fact { name, old: Some(old_facts), new: Some(new_facts) });
    }
}

/// The names whose values differ between two lists, in order of name, with both values.
fn changed<V: Clone + PartialEq>(
    old: &[(String, V)],
    new: &[(String, V)],
) -> Vec<(String, Option<V>, Option<V>)> {
    let mut names: BTreeMap<&str, (Option<&V>, Option<&V>)> = BTreeMap::new();
    for (name, value) in old {
        names.entry(name).or_default().0 = Some(value);
    }
    for (name, value) in new {
        names.entry(name).or_default().1 = Some(value);
    }
    let differ = names.into_iter().filter(|(_, (old, new))| old != new);
    differ.map(|(name, (old, new))| (name.to_owned(), old.cloned(), new.cloned())).collect()
}

/// The digest of a file list's entry, for callers that show one file.
pub fn digest_of<'a>(files: &'a [(String, Digest)], name: &str) -> Option<&'a Digest> {
    files.iter().find(|(file, _)| file == name).map(|(_, digest)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::key::{action_key, recipe_digest};
    use proptest::prelude::*;

    fn digest() -> impl Strategy<Value = Digest> {
        (0u8..3).prop_map(|byte| Digest([byte; 32]))
    }

    fn input() -> impl Strategy<Value = KeyInput> {
        let facts = prop_oneof![Just("{}"), Just(r#"{"ext":"txt"}"#), Just(r#"{"ext":"pdf"}"#), Just("odd")];
        (proptest::option::of(digest()), facts)
            .prop_map(|(digest, facts)| KeyInput { digest, facts: facts.into() })
    }

    fn named<V: std::fmt::Debug + Clone>(
        value: impl Strategy<Value = V>,
    ) -> impl Strategy<Value = Vec<(String, V)>> {
        proptest::collection::btree_map("[ab]", value, 0..3).prop_map(|map| map.into_iter().collect())
    }

    prop_compose! {
        fn parts()(
            shape in prop_oneof![Just("each"), Just("all")],
            program in named("[01]"),
            files in named(digest()),
            params in named("[01]"),
            with in named(proptest::option::of(input())),
            main in input(),
            own in proptest::collection::vec(input(), 3),
        ) -> (Recipe, Vec<KeyInput>) {
            let count = with.iter().filter(|(_, shared)| shared.is_none()).count();
            let inputs = std::iter::once(main).chain(own.into_iter().take(count)).collect();
            (Recipe { shape: shape.into(), module: "m".into(), program, files, params, with }, inputs)
        }
    }

    proptest! {
        #[test]
        fn keys_differ_if_and_only_if_there_is_a_reason(old in parts(), new in parts()) {
            let key = |(recipe, inputs): &(Recipe, Vec<KeyInput>)| action_key(&recipe_digest(recipe), inputs);
            let parts = |(recipe, inputs): &'_ (Recipe, Vec<KeyInput>)| (recipe.clone(), inputs.clone());
            let ((old_recipe, old_inputs), (new_recipe, new_inputs)) = (parts(&old), parts(&new));
            let reasons = differences(
                KeyParts { recipe: &old_recipe, inputs: &old_inputs },
                KeyParts { recipe: &new_recipe, inputs: &new_inputs },
            );
            prop_assert_eq!(key(&old) == key(&new), reasons.is_empty(), "{:?}", reasons);
        }
    }
}

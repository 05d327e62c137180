//! Which graphics card a worker is told to use. Asks no driver: cards are numbers, as CUDA counts them.

use std::collections::BTreeMap;

/// By this a program is told which cards there are for it.
pub(super) const VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// The cards that `pipe` itself was given, or the module's `env`; nothing where nobody restricts them.
fn visible(env: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let inherited = || crate::env::declared(VARIABLE).and_then(|value| value.into_string().ok());
    let stated = env.get(VARIABLE).cloned().or_else(inherited)?;
    let cards: Vec<String> =
        stated.split(',').map(|card| card.trim().to_owned()).filter(|card| !card.is_empty()).collect();
    (!cards.is_empty()).then_some(cards)
}

/// How many of so many stated cards there can be.
pub(super) fn of_machine(env: &BTreeMap<String, String>, stated: usize) -> usize {
    visible(env).map_or(stated, |cards| cards.len().min(stated))
}

/// What the worker of a card is told.
pub(super) fn name(env: &BTreeMap<String, String>, card: usize) -> String {
    visible(env).and_then(|cards| cards.get(card).cloned()).unwrap_or_else(|| card.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_those_that_one_is_given() {
        let env = |value: &str| BTreeMap::from([(VARIABLE.to_owned(), value.to_owned())]);
        assert_eq!((of_machine(&env("2, 3"), 4), name(&env("2, 3"), 1)), (2, "3".to_owned()));
        assert_eq!((of_machine(&env("GPU-1"), 1), name(&env("GPU-1"), 0)), (1, "GPU-1".to_owned()));
        assert_eq!(name(&env(""), 1), "1");
    }
}

//! The plain keys of modules and targets: limits, workers, environment.

use std::collections::BTreeMap;

use super::keys;
use super::mistake::Mistake;
use super::section::{Log, Section};
use super::value;
use crate::model::pipeline::Settings;

/// Reads the settings that a table states.
pub(super) fn read(section: &Section<'_>, log: &Log) -> Settings {
    Settings {
        timeout: section.read("timeout", value::duration).map(|read| read.value),
        retries: section.count("retries", 0),
        memory: section.read("memory", value::size).map(|read| read.value),
        workers: section.count("workers", 1),
        batch: section.count("batch", 1),
        rate: section.read("rate", value::rate).map(|read| read.value),
        gpu: section.count("gpu", 0),
        secrets: secrets(section, log),
        env: env(section, log),
        budget_usd: budget(section),
        max_fail: section.read("max_fail", value::limit).map(|read| read.value),
    }
}

fn secrets(section: &Section<'_>, log: &Log) -> Vec<String> {
    let names = section.texts("secrets").unwrap_or_default();
    for name in &names {
        if !is_variable(&name.value) {
            log.add(
                Mistake::at(name.span.clone(), format!("`{}` is no name of a variable", name.value))
                    .help("`secrets` names variables of the environment; their values stay out of the file"),
            );
        }
    }
    names.into_iter().map(|name| name.value).collect()
}

fn env(section: &Section<'_>, log: &Log) -> BTreeMap<String, String> {
    let table = section.section("env", "a table, as in { LANG = \"C\" }");
    let mut env = BTreeMap::new();
    for entry in table.map(|table| table.entries()).unwrap_or_default() {
        match entry.value.get_ref().as_str() {
            Some(_) if !is_variable(entry.key.value) => {
                let message = format!("`{}` is no name of a variable", entry.key.value);
                log.add(Mistake::at(entry.key.span.clone(), message));
            }
            Some(text) => {
                env.insert(entry.key.value.to_owned(), text.to_owned());
            }
            None => section.wrong(entry.key.value, entry.value, "a text in quotes"),
        }
    }
    env
}

fn budget(section: &Section<'_>) -> Option<f64> {
    let budget = section.section("budget", "a table, as in { usd = 20 }")?;
    budget.allow(&[keys::BUDGET]);
    let amount = |value: &toml::de::DeValue<'_>| {
        let usd = value::number(value).filter(|usd| usd.is_finite() && *usd >= 0.0);
        usd.ok_or_else(|| "a number of dollars".to_owned())
    };
    budget.read("usd", amount).map(|usd| usd.value)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

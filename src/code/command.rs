//! Which files of the project a command names: `node modules/ner.js`, `sh modules/count.sh {in}`.
//!
//! Words are only looked at, never run: one that is the path of a file counts, so does one behind `=`. A word with
//! braces is filled in for each document and names no file. Of Python files, what they import counts too.

use std::collections::BTreeSet;
use std::path::Path;

use crate::code::python;
use crate::code::tree::Tree;
use crate::error::Result;

/// The files that the words of a command name.
pub(super) fn files_of_words(tree: &mut Tree<'_>, words: &[String]) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut before = "";
    for word in words {
        if word.contains(char::is_whitespace) && !is_path(tree, word) {
            files.extend(files_of_script(tree, word)?);
        } else if before == "-m" {
            files.extend(python::run_by_name(tree, word)?);
        } else {
            files.extend(files_of_word(tree, word)?);
        }
        before = word;
    }
    Ok(files)
}

/// The files that a shell script names.
pub(super) fn files_of_script(tree: &mut Tree<'_>, script: &str) -> Result<BTreeSet<String>> {
    let words = shell_words(script);
    let mut files = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        files.extend(files_of_word(tree, word)?);
        if at > 0 && words[at - 1] == "-m" {
            files.extend(python::run_by_name(tree, word)?);
        }
    }
    Ok(files)
}

fn is_path(tree: &mut Tree<'_>, word: &str) -> bool {
    tree.inside(Path::new(word)).is_some_and(|path| tree.is_file(&path))
}

fn files_of_word(tree: &mut Tree<'_>, word: &str) -> Result<BTreeSet<String>> {
    let value = word.split_once('=').map(|(_, value)| value);
    for candidate in [Some(word), value].into_iter().flatten() {
        if candidate.is_empty() || candidate.contains('{') {
            continue;
        }
        let Some(path) = tree.inside(Path::new(candidate)) else { continue };
        if tree.is_file(&path) {
            return python::program(tree, &path);
        }
    }
    Ok(BTreeSet::new())
}

/// A script cut into words, roughly: at blanks and at what has a meaning in a shell. Quotes hold a word together.
fn shell_words(script: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = script.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quote != Some('\'') => word.extend(chars.next().filter(|next| *next != '\n')),
            _ if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            _ if quote.is_none() && (c.is_whitespace() || ";&|<>()`".contains(c)) => {
                words.push(std::mem::take(&mut word));
            }
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_where_the_shell_cuts_it() {
        let words = shell_words("cat {in} | awk -f 'my lib/a.awk'>{out};. ./b\\ c.sh \"d'e\" $(f.sh)");
        let expected =
            ["cat", "{in}", "awk", "-f", "my lib/a.awk", "{out}", ".", "./b c.sh", "d'e", "$", "f.sh"];
        assert_eq!(words, expected);
        assert_eq!(shell_words("'never ends"), ["never ends"]);
        assert_eq!(shell_words("ends in \\"), ["ends", "in"]);
    }
}

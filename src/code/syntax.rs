//! Python source as a syntax tree: parsing, walking, the values of strings, and where the source cannot be read.
//!
//! Knows nothing of functions or imports. What is read may be wrong in any way: nothing here panics or gives up.

use std::borrow::Cow;
use std::fmt;

use tree_sitter::{Node, Parser, Tree};

/// So many problems of one file are told.
const MAX_PROBLEMS: usize = 10;

/// A place where the source could not be read as Python.
///
/// A hint, not a verdict: the interpreter may be newer than the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The line itself, shortened; for bytes that are no text, words that say so.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: cannot read this as Python: `{}`", self.line, self.text)
    }
}

/// Python source with its tree.
pub(super) struct Source<'s> {
    text: Cow<'s, str>,
    tree: Option<Tree>,
}

impl<'s> Source<'s> {
    pub(super) fn parse(text: &'s str) -> Self {
        let text = unix_lines(text.strip_prefix('\u{feff}').unwrap_or(text));
        let mut parser = Parser::new();
        // Versions of the two crates are locked together; were they not, every test here would fail.
        let tree = parser
            .set_language(&tree_sitter_python::LANGUAGE.into())
            .ok()
            .and_then(|()| parser.parse(text.as_bytes(), None));
        Source { text, tree }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn root(&self) -> Option<Node<'_>> {
        self.tree.as_ref().map(Tree::root_node)
    }

    /// The source text of a node.
    pub(super) fn of(&self, node: Node<'_>) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// The text of a child that has a name in the grammar.
    pub(super) fn field(&self, node: Node<'_>, name: &str) -> Option<&str> {
        node.child_by_field_name(name).map(|child| self.of(child))
    }

    /// The value of a string literal; nothing for bytes, for f-strings that compute, and for anything else.
    pub(super) fn string(&self, node: Node<'_>) -> Option<String> {
        match node.kind() {
            "string" => self.one_string(node),
            "concatenated_string" => named(node).into_iter().map(|part| self.string(part)).collect(),
            "parenthesized_expression" => self.string(*named(node).first()?),
            _ => None,
        }
    }

    fn one_string(&self, node: Node<'_>) -> Option<String> {
        let mut raw = false;
        let mut value = String::new();
        for part in named(node) {
            match part.kind() {
                "string_start" => {
                    let prefix = self.of(part).to_ascii_lowercase();
                    if prefix.contains('b') {
                        return None;
                    }
                    raw = prefix.contains('r');
                }
                "string_content" if raw => value.push_str(self.of(part)),
                "string_content" => unescape(self.of(part), &mut value),
                "string_end" => {}
                _ => return None,
            }
        }
        Some(value)
    }

    /// Where the tree has holes, by line.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        let Some(root) = self.root().filter(Node::has_error) else { return problems };
        walk(root, &mut |node| {
            if node.is_error() || node.is_missing() {
                let line = node.start_position().row + 1;
                if problems.len() < MAX_PROBLEMS && problems.last().is_none_or(|last| last.line < line) {
                    let text = self.text.lines().nth(line - 1).unwrap_or_default();
                    let text = crate::text::shorten(&crate::text::printable(text.trim()), 60);
                    problems.push(Problem { line, text });
                }
                return Below::Leave;
            }
            if node.has_error() { Below::Enter } else { Below::Leave }
        });
        problems
    }
}

/// A lone carriage return ends a line in Python, not in the grammar. Offsets stay as they are.
fn unix_lines(text: &str) -> Cow<'_, str> {
    let alone = |at: usize| text.as_bytes().get(at + 1) != Some(&b'\n');
    if !text.match_indices('\r').any(|(at, _)| alone(at)) {
        return Cow::Borrowed(text);
    }
    let ended = |(at, c)| if c == '\r' && alone(at) { '\n' } else { c };
    Cow::Owned(text.char_indices().map(ended).collect())
}

/// The common escapes of a Python string; others stay as they are written.
fn unescape(text: &str, value: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        value.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escape) = rest.chars().next() else {
            value.push('\\');
            break;
        };
        rest = &rest[escape.len_utf8()..];
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let coded = (digits > 0)
            .then(|| rest.get(..digits))
            .flatten()
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .and_then(char::from_u32);
        match (escape, coded) {
            (_, Some(c)) => {
                value.push(c);
                rest = &rest[digits..];
            }
            ('n', _) => value.push('\n'),
            ('t', _) => value.push('\t'),
            ('r', _) => value.push('\r'),
            ('\\' | '\'' | '"', _) => value.push(escape),
            ('\n', _) => {}
            _ => value.extend(['\\', escape]),
        }
    }
    value.push_str(rest);
}

/// What a walk does with the children of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    Enter,
    Leave,
}

/// Visits a node and all below it in the order of the source; with no recursion, however deep the source nests.
pub(super) fn walk<'t>(root: Node<'t>, visit: &mut dyn FnMut(Node<'t>) -> Below) {
    let mut cursor = root.walk();
    loop {
        if visit(cursor.node()) == Below::Enter && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

/// The named children of a node, comments left out.
pub(super) fn named(node: Node<'_>) -> Vec<Node<'_>> {
    node.named_children(&mut node.walk()).filter(|child| child.kind() != "comment").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(literal: &str) -> Option<String> {
        let source = Source::parse(literal);
        let statement = named(source.root()?).first().copied()?;
        source.string(named(statement).first().copied()?)
    }

    #[test]
    fn strings_have_their_values() {
        assert_eq!(value("'a'").unwrap(), "a");
        assert_eq!(value(r#""""a\tb\u00e4\x41\q""""#).unwrap(), "a\tbäA\\q");
        assert_eq!(value(r"r'a\n'").unwrap(), r"a\n");
        assert_eq!(value("'a' \"b\"").unwrap(), "ab");
        assert_eq!(value("('a')").unwrap(), "a");
        assert_eq!(value("f'a'").unwrap(), "a");
        assert_eq!((value("b'a'"), value("f'{a}'"), value("a"), value("1")), (None, None, None, None));
    }

    #[test]
    fn a_problem_names_its_line() {
        let problems = Source::parse("x = 1\r\ndef f(:\r\n    pass\r\n").problems();
        assert_eq!(problems.first().unwrap().line, 2);
        assert_eq!(problems[0].to_string(), "line 2: cannot read this as Python: `def f(:`");
        assert_eq!(Source::parse("\u{feff}x = 1\rdef f():\r  return 2\r").problems(), []);
    }

    #[test]
    fn deep_nesting_is_walked_without_recursion() {
        let deep = format!("x = {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        let source = Source::parse(&deep);
        let mut nodes = 0;
        walk(source.root().unwrap(), &mut |_| {
            nodes += 1;
            Below::Enter
        });
        assert!(nodes > 20_000);
    }
}

//! What a Python file imports, wherever in it the statement stands: also in functions, under `if`, in `try`.
//!
//! Names only; which files they mean is `code::python`'s. Too many are harmless (what is no file of the project is
//! passed over), one that is missed is learned when a worker reports what it loaded.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tree_sitter::Node;

use crate::code::syntax::{Below, Source, named, walk};

/// One import: `import a.b`, `from ..a import b, c`, `import_module("a.b")`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Import {
    /// Leading dots: 0 is absolute.
    pub level: usize,
    /// `a.b`; may be empty in `from . import c`.
    pub module: String,
    /// What is taken from it: attributes, or modules below it. `*` is everything.
    pub names: Vec<String>,
}

/// All imports of a Python file, sorted, each once. Where the source is wrong, whatever can be read is still there.
pub fn imports(source: &str) -> Vec<Import> {
    let source = Source::parse(source);
    let mut found = BTreeSet::new();
    collect(&source, &mut found);
    if source.root().is_none_or(|root| root.has_error()) {
        // The grammar may be older than the interpreter: lines that look like imports are read one by one.
        for statement in import_lines(source.text()) {
            collect(&Source::parse(&statement), &mut found);
        }
    }
    found.into_iter().collect()
}

fn collect(source: &Source<'_>, found: &mut BTreeSet<Import>) {
    let Some(root) = source.root() else { return };
    walk(root, &mut |node| {
        match node.kind() {
            "import_statement" => {
                for module in imported_names(source, node) {
                    found.insert(Import { level: 0, module, names: Vec::new() });
                }
                return Below::Leave;
            }
            "import_from_statement" => {
                found.extend(from_statement(source, node));
                return Below::Leave;
            }
            "call" => found.extend(import_call(source, node)),
            _ => {}
        }
        Below::Enter
    });
}

fn from_statement(source: &Source<'_>, node: Node<'_>) -> Option<Import> {
    let origin = node.child_by_field_name("module_name")?;
    let mut import = Import::default();
    if origin.kind() == "relative_import" {
        for part in named(origin) {
            match part.kind() {
                "import_prefix" => import.level = source.of(part).matches('.').count(),
                _ => import.module = dotted(source, part),
            }
        }
    } else {
        import.module = dotted(source, origin);
    }
    import.names = imported_names(source, node);
    if named(node).iter().any(|child| child.kind() == "wildcard_import") {
        import.names.push("*".to_owned());
    }
    // Where the source is wrong, a name may be missing.
    (import.level > 0 || !import.module.is_empty()).then_some(import)
}

/// The names after `import`, without their aliases.
fn imported_names(source: &Source<'_>, statement: Node<'_>) -> Vec<String> {
    statement
        .children_by_field_name("name", &mut statement.walk())
        .map(|child| dotted(source, child.child_by_field_name("name").unwrap_or(child)))
        .filter(|name| !name.is_empty())
        .collect()
}

/// A dotted name as Python takes it: blanks around dots do not count.
fn dotted(source: &Source<'_>, node: Node<'_>) -> String {
    let parts: Vec<&str> = named(node).into_iter().map(|part| source.of(part)).collect();
    if parts.is_empty() { source.of(node).to_owned() } else { parts.join(".") }
}

/// `importlib.import_module("a.b")`, `import_module(".b", …)`, `__import__("a")`.
fn import_call(source: &Source<'_>, call: Node<'_>) -> Option<Import> {
    let function = source.field(call, "function")?;
    if !matches!(function.rsplit('.').next()?.trim(), "import_module" | "__import__") {
        return None;
    }
    let arguments = named(call.child_by_field_name("arguments")?);
    let first = *arguments.first()?;
    let name = match first.kind() {
        "keyword_argument" => source.string(first.child_by_field_name("value")?)?,
        _ => source.string(first)?,
    };
    let module = name.trim_start_matches('.').to_owned();
    (!module.is_empty()).then(|| Import { level: name.len() - module.len(), module, names: Vec::new() })
}

/// Statements that begin with `import` or `from`, each to the end of its line or parenthesis.
fn import_lines(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if !line.starts_with("import ") && !line.starts_with("from ") {
            continue;
        }
        let mut statement = line.to_owned();
        // A parenthesis that never ends takes no more than a few lines.
        for _ in 0..100 {
            let open = statement.contains('(') && !statement.contains(')');
            let Some(next) = (open || statement.ends_with('\\')).then(|| lines.next()).flatten() else {
                break;
            };
            statement.push('\n');
            statement.push_str(next.trim_end());
        }
        statement.push('\n');
        statements.push(statement);
    }
    statements
}

#[cfg(test)]
mod tests;

//! What the functions of a Python file look like: read as syntax, never run.
//!
//! Only what the file defines at its top level counts (also under `if`, `try` and `with` there): methods and functions
//! within functions cannot be modules. Knows nothing of files, targets or how a function is called.

use tree_sitter::Node;

use crate::code::syntax::{Below, Problem, Source, named, walk};

/// The package that modules import from.
const PACKAGE: &str = "pipelinefile";

/// The decorator that makes a function a module.
const DECORATOR: &str = "module";

/// The functions at the top level of a Python file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// In the order of the file; a name may occur twice, the last one counts.
    pub list: Vec<Function>,
    /// Where the file could not be read.
    pub problems: Vec<Problem>,
}

/// One function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts of the source that do not depend on each other")]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `def`, from 1.
    pub line: usize,
    /// It is decorated with `@module`, by whatever name the file imports that.
    pub is_module: bool,
    /// `async def`.
    pub is_async: bool,
    /// Arguments that may be given by position, in order.
    pub positional: Vec<Param>,
    /// It takes `*args`.
    pub any_positional: bool,
    /// Keyword-only arguments: params and side inputs.
    pub params: Vec<Param>,
    /// It takes `**kwargs`.
    pub any_params: bool,
    /// `@module(setup=…)`, as written.
    pub setup: Option<String>,
    /// `@module(version="…")`, if it is a literal.
    pub version: Option<String>,
    /// `@module(batch=…)`, as written.
    pub batch: Option<String>,
    /// What the function says of itself, its indentation removed.
    pub docstring: Option<String>,
}

/// One argument of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// The annotation, as written.
    pub annotation: Option<String>,
    /// The default, as written.
    pub default: Option<String>,
    /// It is annotated as a `Doc`: a side input, not a param.
    pub is_doc: bool,
}

impl Param {
    /// Whether the annotation names a type, alone or within another: `Doc`, `"Doc"`, `Doc | None`, `list[Doc]`.
    pub fn is_annotated(&self, type_name: &str) -> bool {
        let words =
            |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == type_name);
        self.annotation.as_deref().is_some_and(words)
    }
}

impl Functions {
    /// The function of this name; of several the last, as in Python.
    pub fn find(&self, name: &str) -> Option<&Function> {
        self.list.iter().rev().find(|function| function.name == name)
    }

    /// The functions that are modules.
    pub fn modules(&self) -> impl Iterator<Item = &Function> {
        self.list.iter().filter(|function| function.is_module)
    }

    /// The function that prepares this one, if it is in the same file.
    pub fn setup_of(&self, function: &Function) -> Option<&Function> {
        self.find(function.setup.as_deref()?)
    }
}

/// Reads the functions of a Python file. Where the source is wrong, whatever can be read is still there.
pub fn functions(source: &str) -> Functions {
    let source = Source::parse(source);
    let mut found = Functions { list: Vec::new(), problems: source.problems() };
    let Some(root) = source.root() else { return found };
    let names = decorator_names(&source, root);
    walk(root, &mut |node| {
        if node.kind() == "function_definition" {
            found.list.extend(read_function(&source, node, &names));
        }
        match node.kind() {
            "function_definition" | "class_definition" | "lambda" | "expression_statement" => Below::Leave,
            _ => Below::Enter,
        }
    });
    found
}

/// By what names the file may call the decorator: `module`, `pipelinefile.module`, and its own aliases.
fn decorator_names(source: &Source<'_>, root: Node<'_>) -> Vec<String> {
    let mut names = vec![DECORATOR.to_owned(), format!("{PACKAGE}.{DECORATOR}")];
    walk(root, &mut |node| match node.kind() {
        "import_statement" | "import_from_statement" => {
            let from = source.field(node, "module_name");
            for alias in named(node).into_iter().filter(|child| child.kind() == "aliased_import") {
                let (Some(name), Some(alias)) = (source.field(alias, "name"), source.field(alias, "alias"))
                else {
                    continue;
                };
                match from {
                    None if name == PACKAGE => names.push(format!("{alias}.{DECORATOR}")),
                    Some(PACKAGE) if name == DECORATOR => names.push(alias.to_owned()),
                    _ => {}
                }
            }
            Below::Leave
        }
        "function_definition" | "class_definition" | "expression_statement" => Below::Leave,
        _ => Below::Enter,
    });
    names
}

fn read_function(source: &Source<'_>, node: Node<'_>, names: &[String]) -> Option<Function> {
    let mut function = Function {
        name: source.field(node, "name")?.to_owned(),
        line: node.start_position().row + 1,
        is_async: node.child(0).is_some_and(|first| first.kind() == "async"),
        docstring: node.child_by_field_name("body").and_then(|body| docstring(source, body)),
        ..Function::default()
    };
    read_arguments(source, node.child_by_field_name("parameters")?, &mut function);
    if let Some(decorated) = node.parent().filter(|parent| parent.kind() == "decorated_definition") {
        for decorator in named(decorated).into_iter().filter(|child| child.kind() == "decorator") {
            read_decorator(source, decorator, names, &mut function);
        }
    }
    Some(function)
}

fn read_decorator(source: &Source<'_>, decorator: Node<'_>, names: &[String], function: &mut Function) {
    let Some(expression) = named(decorator).first().copied() else { return };
    let is_call = expression.kind() == "call";
    let called = if is_call { expression.child_by_field_name("function") } else { Some(expression) };
    let called: Option<String> =
        called.map(|node| source.of(node).chars().filter(|c| !c.is_whitespace()).collect());
    if !called.is_some_and(|called| names.contains(&called)) {
        return;
    }
    function.is_module = true;
    let arguments = if is_call { expression.child_by_field_name("arguments") } else { None };
    for option in arguments.map(named).unwrap_or_default() {
        let (Some(name), Some(value)) = (source.field(option, "name"), option.child_by_field_name("value"))
        else {
            continue;
        };
        let written = || Some(source.of(value).to_owned()).filter(|text| text != "None");
        match name {
            "setup" => function.setup = written(),
            "batch" => function.batch = written(),
            "version" => {
                let number =
                    || matches!(value.kind(), "integer" | "float").then(|| source.of(value).to_owned());
                function.version = source.string(value).or_else(number);
            }
            _ => {}
        }
    }
}

fn read_arguments(source: &Source<'_>, parameters: Node<'_>, function: &mut Function) {
    let mut keyword_only = false;
    for node in named(parameters) {
        let typed = node.kind() == "typed_parameter";
        let inner = if typed { node.named_child(0).unwrap_or(node) } else { node };
        match inner.kind() {
            "keyword_separator" => keyword_only = true,
            "list_splat_pattern" => {
                keyword_only = true;
                function.any_positional = true;
            }
            "dictionary_splat_pattern" => function.any_params = true,
            "identifier" | "default_parameter" | "typed_default_parameter" => {
                let own =
                    |name: &str| node.child_by_field_name(name).map(|child| source.of(child).to_owned());
                let name = own("name").unwrap_or_else(|| source.of(inner).to_owned());
                let mut param = Param { name, annotation: own("type"), default: own("value"), is_doc: false };
                param.is_doc = param.is_annotated("Doc");
                let list = if keyword_only { &mut function.params } else { &mut function.positional };
                list.push(param);
            }
            _ => {}
        }
    }
}

fn docstring(source: &Source<'_>, body: Node<'_>) -> Option<String> {
    let statement = named(body).first().copied().filter(|first| first.kind() == "expression_statement")?;
    let text = source.string(named(statement).first().copied()?)?;
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = text.lines().skip(1).filter(|line| !line.trim().is_empty()).map(|line| indent(&line)).min();
    let lines = text.lines().enumerate().map(|(number, line)| match number {
        0 => line.trim(),
        _ => line.get(common.unwrap_or(0)..).unwrap_or_default().trim_end(),
    });
    let text = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;

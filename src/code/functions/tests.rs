use proptest::prelude::*;

use super::*;

fn only(source: &str) -> Function {
    let found = functions(source);
    assert_eq!(found.problems, [], "{source}");
    assert_eq!(found.list.len(), 1, "{source}");
    found.list.into_iter().next().unwrap()
}

fn module_names(source: &str) -> Vec<String> {
    functions(source).modules().map(|function| function.name.clone()).collect()
}

fn names(params: &[Param]) -> Vec<&str> {
    params.iter().map(|param| param.name.as_str()).collect()
}

#[test]
fn the_decorator_is_known_by_every_name_that_the_file_gives_it() {
    for source in [
        "@module\ndef f(doc): pass",
        "@module()\ndef f(doc): pass",
        "@module(batch=2)\ndef f(doc): pass",
        "import pipelinefile\n@pipelinefile.module\ndef f(doc): pass",
        "@pipelinefile . module(version='2')\ndef f(doc): pass",
        "from pipelinefile import module as m\n@m\ndef f(doc): pass",
        "from pipelinefile import (Doc,\n  module as m, Skip)\n@m()\ndef f(doc): pass",
        "import pipelinefile as p\n@p.module(setup=g)\ndef f(doc): pass",
        "import os, pipelinefile as p\n@p.module\ndef f(doc): pass",
        "try:\n  import pipelinefile as p\nexcept ImportError:\n  raise\n@other\n@p.module\n@more(1)\ndef f(doc): pass",
    ] {
        assert_eq!(module_names(source), ["f"], "{source}");
    }
}

#[test]
fn other_decorators_make_no_module() {
    for source in [
        "def f(doc): pass",
        "@m\ndef f(doc): pass",
        "@modules\ndef f(doc): pass",
        "@module.other\ndef f(doc): pass",
        "from elsewhere import module as m\n@m\ndef f(doc): pass",
        "import elsewhere as p\n@p.module\ndef f(doc): pass",
        "@f(module)\ndef f(doc): pass",
    ] {
        assert_eq!(module_names(source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn functions_within_functions_and_methods_are_not_seen() {
    let source = "
class A:
    @module
    def method(self, doc): pass

@module
def outer(doc):
    @module
    def inner(doc): pass
    return inner

if True:
    @module
    def under_if(doc): pass
else:
    def under_else(doc): pass
try:
    def under_try(): pass
finally:
    pass
";
    let found = functions(source);
    let all: Vec<&str> = found.list.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(all, ["outer", "under_if", "under_else", "under_try"]);
    assert_eq!(module_names(source), ["outer", "under_if"]);
}

#[test]
fn arguments_are_told_apart() {
    let function = only(
        "@module
def clean(doc: Doc, /, other=1, *, min_len: int = 20, lang='en', # a comment
          vendor: Doc, fix: \"Doc | None\" = None, plain, many: list[Doc], **rest):
    pass",
    );
    assert_eq!(names(&function.positional), ["doc", "other"]);
    assert!(function.positional[0].is_doc);
    assert_eq!(names(&function.params), ["min_len", "lang", "vendor", "fix", "plain", "many"]);
    let shown: Vec<_> = function
        .params
        .iter()
        .map(|param| (param.annotation.as_deref(), param.default.as_deref(), param.is_doc))
        .collect();
    assert_eq!(
        shown,
        [
            (Some("int"), Some("20"), false),
            (None, Some("'en'"), false),
            (Some("Doc"), None, true),
            (Some("\"Doc | None\""), Some("None"), true),
            (None, None, false),
            (Some("list[Doc]"), None, true),
        ]
    );
    assert!(function.any_params && !function.any_positional);
}

#[test]
fn what_follows_a_star_argument_is_keyword_only() {
    let function = only("def f(doc, *rest: str, a, b: int = 1, **more: int): pass");
    assert_eq!(names(&function.positional), ["doc"]);
    assert_eq!(names(&function.params), ["a", "b"]);
    assert!(function.any_positional && function.any_params);
}

#[test]
fn annotations_with_other_types_are_no_documents() {
    let function = only("def f(doc, *, a: Docs, b: Document, c: my.Doc): pass");
    let is_doc: Vec<bool> = function.params.iter().map(|param| param.is_doc).collect();
    assert_eq!(is_doc, [false, false, true]);
    assert!(function.params[0].is_annotated("Docs"));
}

#[test]
fn options_of_the_decorator() {
    let function = only(
        "@module(setup=load_model, batch=32, retry=(OSError,), version=\"2\")\nasync def f(docs, *, model): pass",
    );
    assert_eq!(function.setup.as_deref(), Some("load_model"));
    assert_eq!((function.batch.as_deref(), function.version.as_deref()), (Some("32"), Some("2")));
    assert!(function.is_async && function.is_module);
    assert_eq!(function.line, 2);
    let function = only("@module(version=3, batch=None)\ndef f(doc): pass");
    assert_eq!((function.version.as_deref(), function.batch), (Some("3"), None));
    assert_eq!(only("@module(version=VERSION)\ndef f(doc): pass").version, None);
}

#[test]
fn the_docstring_loses_its_indentation() {
    let function = only(
        "def f(doc):\n    \"\"\"Drop short lines.\n\n    Keeps:\n      the rest  \n    \"\"\"\n    return 1\n",
    );
    assert_eq!(function.docstring.as_deref(), Some("Drop short lines.\n\nKeeps:\n  the rest"));
    assert_eq!(only("def f(doc): 'one line'").docstring.as_deref(), Some("one line"));
    assert_eq!(only("def f(doc):\n    x = 'none'").docstring, None);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let unix =
        "from pipelinefile import module\n\n@module\ndef f(doc, *, a=1):\n    \"\"\"Says.\"\"\"\n    pass\n";
    let windows = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    assert_eq!(functions(&windows), functions(unix));
    assert_eq!(functions(&unix.replace('\n', "\r")), functions(unix));
}

#[test]
fn a_mistake_leaves_the_rest_readable() {
    let found = functions("@module\ndef good(doc): pass\n\nx = = 3\n\n@module\ndef also(doc): pass\n");
    let read: Vec<&str> = found.modules().map(|function| function.name.as_str()).collect();
    assert_eq!(read, ["good", "also"]);
    assert_eq!(found.problems.len(), 1);
    assert_eq!((found.problems[0].line, found.problems[0].text.as_str()), (4, "x = = 3"));
}

#[test]
fn of_two_functions_with_one_name_the_last_counts() {
    let found = functions(
        "def f(a): pass\ndef f(b): pass\ndef load(m): pass\n@module(setup=load)\ndef g(doc): pass\n",
    );
    assert_eq!(found.find("f").unwrap().positional[0].name, "b");
    assert_eq!(found.setup_of(found.find("g").unwrap()).unwrap().name, "load");
    assert_eq!(found.setup_of(found.find("f").unwrap()), None);
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        drop(functions(&text));
    }

    #[test]
    fn any_bits_of_python_are_read_without_a_panic(
        parts in proptest::collection::vec(
            prop::sample::select(vec![
                "@module", "def ", "f", "(", ")", ":", "\n", "    ", "\t", "class ", "async ", "*", "**", ",", "=",
                "\"\"\"", "'", "f'{", "}", "\\", "\r", "if x", "lambda", "[", "]", "#", "\u{feff}", "\0", "ä", "import ",
            ]),
            0..40,
        )
    ) {
        drop(functions(&parts.concat()));
    }
}

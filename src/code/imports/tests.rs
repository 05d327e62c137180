use proptest::prelude::*;

use super::*;

/// `.` for each level, the module, and what is taken from it.
fn shown(source: &str) -> Vec<String> {
    let show = |import: Import| {
        let names =
            if import.names.is_empty() { String::new() } else { format!(":{}", import.names.join(",")) };
        format!("{}{}{names}", ".".repeat(import.level), import.module)
    };
    imports(source).into_iter().map(show).collect()
}

#[test]
fn every_form_of_statement() {
    assert_eq!(shown("import a"), ["a"]);
    assert_eq!(shown("import a.b.c as d, e; import f"), ["a.b.c", "e", "f"]);
    assert_eq!(shown("import a . b"), ["a.b"]);
    assert_eq!(shown("from a import b"), ["a:b"]);
    assert_eq!(shown("from a.b import (c as d, # why\n  e,\n)"), ["a.b:c,e"]);
    assert_eq!(shown("from a import *"), ["a:*"]);
    assert_eq!(shown("from . import b"), [".:b"]);
    assert_eq!(shown("from .a import b"), [".a:b"]);
    assert_eq!(shown("from ... a.b import c"), ["...a.b:c"]);
    assert_eq!(shown("from a \\\n  import b"), ["a:b"]);
    assert_eq!(shown("from __future__ import annotations"), Vec::<String>::new());
}

#[test]
fn statements_count_wherever_they_stand() {
    let source = "
def f():
    import late
    class A:
        from inner import x
if TYPE_CHECKING:
    import typed
try:
    import fast
except ImportError:
    import slow as fast
async def g():
    async with h():
        import deep
import a, a
";
    assert_eq!(shown(source), ["a", "deep", "fast", "inner:x", "late", "slow", "typed"]);
}

#[test]
fn imports_by_call_with_a_literal() {
    assert_eq!(shown("import_module('a.b')"), ["a.b"]);
    assert_eq!(shown("x = importlib.import_module('.b', package=__package__).c"), [".b"]);
    assert_eq!(shown("importlib.import_module(name='a')"), ["a"]);
    assert_eq!(shown("f(__import__(\"a\"))"), ["a"]);
    assert_eq!(
        shown("import_module(name); import_module(f'{x}'); import_module(); other('a')"),
        Vec::<String>::new()
    );
}

#[test]
fn text_is_no_import() {
    assert_eq!(shown("'''\nimport a\n'''\n# import b\nx = 'import c'\n"), Vec::<String>::new());
}

#[test]
fn imports_survive_what_the_grammar_cannot_read() {
    let source =
        "import a\nx = = 3\nfrom b import (\n  c,\n  d)\nmatch match match:\n  def (:\n    import e\n";
    assert_eq!(shown(source), ["a", "b:c,d", "e"]);
}

#[test]
fn a_statement_without_a_name_imports_nothing() {
    assert_eq!(shown("..from import *"), Vec::<String>::new());
    assert_eq!(shown("from . import"), Vec::<String>::new());
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    assert_eq!(shown("\u{feff}import a\r\nfrom b import (\r\n  c)\r\n"), ["a", "b:c"]);
    assert_eq!(shown("import a\rimport b\r"), ["a", "b"]);
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        drop(imports(&text));
    }

    #[test]
    fn any_bits_of_imports_are_read_without_a_panic(
        parts in proptest::collection::vec(
            prop::sample::select(vec![
                "import ", "from ", ".", "a", " as ", ",", "(", ")", "\n", "  ", "*", "\\", "\r", ";", "import_module(",
                "'", "\"\"\"", "#", ":", "def f():", "\u{feff}", "\0",
            ]),
            0..40,
        )
    ) {
        for import in imports(&parts.concat()) {
            prop_assert!(import.level > 0 || !import.module.is_empty());
        }
    }
}

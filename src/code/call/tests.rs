use super::*;
use crate::code::functions::functions;

const EACH: Call<'static> = Call { takes: Takes::Doc, params: &[], with: &[] };
const ALL: Call<'static> = Call { takes: Takes::Docs, params: &[], with: &[] };

fn check(source: &str, call: &Call<'_>) -> Vec<CallProblem> {
    check_call(&functions(&format!("@module\n{source}")), "f", call)
}

fn takes(source: &str) -> Option<Takes> {
    functions(source).list[0].takes()
}

#[test]
fn the_first_argument_says_what_a_function_takes() {
    assert_eq!(takes("def f(doc): pass"), Some(Takes::Doc));
    assert_eq!(takes("def f(page: Doc): pass"), Some(Takes::Doc));
    assert_eq!(takes("def f(docs): pass"), Some(Takes::Docs));
    assert_eq!(takes("def f(pages: Docs): pass"), Some(Takes::Docs));
    assert_eq!(takes("def f(pages: 'pipelinefile.Docs'): pass"), Some(Takes::Docs));
    assert_eq!(takes("@module(batch=8)\ndef f(docs): pass"), Some(Takes::Doc));
    assert_eq!(takes("def f(*args): pass"), Some(Takes::Doc));
    assert_eq!(takes("def f(*, a): pass"), None);
}

#[test]
fn the_verb_must_fit() {
    assert_eq!(check("def f(doc): pass", &EACH), []);
    assert_eq!(check("def f(docs): pass", &ALL), []);
    let problems = check("def f(docs): pass", &EACH);
    assert_eq!(problems, [CallProblem::WrongVerb { takes: Takes::Docs, argument: "docs".to_owned() }]);
    assert_eq!(
        problems[0].what(),
        "the function takes a set of documents (`docs`), the target hands over one"
    );
    assert_eq!(problems[0].hint(), "use `all` or `group`, or call the first argument `doc`");
    let problems = check("def f(page): pass", &ALL);
    assert_eq!(problems, [CallProblem::WrongVerb { takes: Takes::Doc, argument: "page".to_owned() }]);
    assert_eq!(check("def f(): pass", &EACH), [CallProblem::NoDocument]);
}

#[test]
fn a_missing_function_is_named_with_the_nearest() {
    let found = functions("@module\ndef clean(doc): pass\ndef helper(x): pass\n");
    assert_eq!(nearest_function(&found, "claen"), Some("clean"));
    assert_eq!(nearest_function(&found, "something"), Some("clean"), "the only module");
    let problems = check_call(&found, "claen", &EACH);
    assert_eq!(problems, [CallProblem::NoFunction { near: Some("clean".to_owned()) }]);
    assert_eq!(problems[0].hint(), "did you mean `clean`?");
    assert_eq!(check_call(&found, "helper", &EACH), [CallProblem::NotAModule]);
    let two = functions("@module\ndef a1(doc): pass\n@module\ndef b2(doc): pass\n");
    assert_eq!(nearest_function(&two, "something"), None);
}

#[test]
fn params_and_side_inputs_must_be_declared() {
    let source = "def f(doc, *, min_len=20, vendor: Doc): pass";
    let good = Call { params: &["min_len"], with: &["vendor"], ..EACH };
    assert_eq!(check(source, &good), []);
    let wrong = Call { params: &["minlen"], with: &["vendors"], ..EACH };
    let problems = check(source, &wrong);
    assert_eq!(
        problems,
        [
            CallProblem::Missing { argument: "vendor".to_owned(), is_doc: true },
            CallProblem::UnknownParam { name: "minlen".to_owned(), near: Some("min_len".to_owned()) },
            CallProblem::UnknownWith { name: "vendors".to_owned(), near: Some("vendor".to_owned()) },
        ]
    );
    assert_eq!(problems[0].hint(), "name a stream: `with = { vendor = \"…\" }`");
    let far = check("def f(doc): pass", &Call { params: &["top"], ..EACH });
    assert_eq!(far[0].hint(), "declare it keyword-only: `def …(…, *, top)`");
    assert_eq!(check("def f(doc, **more): pass", &wrong), []);
}

#[test]
fn arguments_of_setup_are_declared_too() {
    let call = Call { with: &["model"], ..EACH };
    let with_setup = |setup: &str| format!("{setup}\n@module(setup=load)\ndef f(doc): pass\n");
    let judge = |source: &str| check_call(&functions(source), "f", &call);
    assert_eq!(judge(&with_setup("def load(model): pass")), []);
    assert_eq!(judge(&with_setup("def load(modell): pass")).len(), 2, "one is missing, one not declared");
    assert_eq!(judge(&with_setup("def load(model, size=2): pass")), []);
    assert_eq!(judge(&with_setup("from elsewhere import load")), [], "not known here, so not judged");
    assert_eq!(judge("@module(setup=lambda model: 1)\ndef f(doc): pass\n"), []);
}

#[test]
fn a_second_positional_argument_needs_a_default() {
    assert_eq!(
        check("def f(doc, min_len): pass", &EACH),
        [CallProblem::NotKeywordOnly { argument: "min_len".to_owned() }]
    );
    assert_eq!(check("def f(doc, min_len=2): pass", &EACH), []);
}

#[test]
fn what_setup_returns_is_the_second_argument() {
    let source = |arguments: &str| format!("@module(setup=load)\ndef f({arguments}): pass\ndef load(): pass");
    assert_eq!(check(&source("doc, model, *, n=1"), &EACH), []);
    assert_eq!(
        check(&source("doc, model, more"), &EACH),
        [CallProblem::NotKeywordOnly { argument: "more".to_owned() }]
    );
}

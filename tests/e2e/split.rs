use crate::harness::Project;

/// Splits at blank lines; a part is named by its first word. `bad` fails, `skip` is skipped.
const PARTS: &str = r"
    @module
    def parts(doc):
        ran(doc)
        text = doc.text()
        if text.startswith('bad'):
            raise ValueError(text)
        if text.startswith('skip'):
            raise Skip(text)
        for part in filter(None, text.split('\n\n')):
            yield Child(part.split()[0], part, meta={'length': len(part)})
";

const UPPER: &str = r"
    @module
    def upper(doc):
        ran(doc)
        if doc.text().startswith('fail'):
            raise ValueError(doc.text())
        return doc.text().upper()
";

fn project(more: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.parts]
each   = "inbox"
module = "parts"
split  = true

[target.upper]
each    = "parts"
module  = "upper"
publish = "out/{id}.{ext}"
"#;
    Project::counting()
        .file("Pipelinefile", &(pipeline.to_owned() + more))
        .module("parts", PARTS)
        .module("upper", UPPER)
}

#[test]
fn children_are_documents_of_their_own() {
    let project = project("");
    project.write("inbox/a.txt", "one x\n\ntwo y");
    project.write("inbox/d/b.txt", "three");
    project.build_runs(&["parts one x", "parts three", "upper one x", "upper two y", "upper three"]);
    assert_eq!(
        project.published_names(),
        ["a.txt~one.txt", "a.txt~two.txt", "d/b.txt~three.txt"].map(|n| format!("inbox/{n}"))
    );
    project.build_runs(&[]);
    // One changes: the others are not done again.
    project.write("inbox/a.txt", "one x\n\ntwo z");
    project.build_runs(&["parts one x", "upper two z"]);
    assert_eq!(project.published()["inbox/a.txt~two.txt"], "TWO Z");
    // One goes, one comes.
    project.write("inbox/a.txt", "four\n\none x");
    project.build_runs(&["parts four", "upper four"]);
    assert_eq!(
        project.published_names(),
        ["a.txt~four.txt", "a.txt~one.txt", "d/b.txt~three.txt"].map(|n| format!("inbox/{n}"))
    );
    // None is a result like any other.
    project.write("inbox/a.txt", "\n\n");
    project.build_runs(&["parts "]);
    project.remove("inbox/d/b.txt");
    project.pipe(&["build", "--gone"]).ends(0);
    assert_eq!(project.published_names(), Vec::<String>::new());
    project.build_runs(&[]);
    project.is_as_built_clean();
}

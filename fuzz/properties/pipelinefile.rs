//! The Pipelinefile: whatever it says, every mistake has a place inside the text and can be drawn.

use std::path::PathBuf;

use pipelinefile::pipelinefile::{Mistake, Style, inspect_calls};

struct Project {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

thread_local! {
    static PROJECT: Project = project();
}

fn project() -> Project {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for path in ["docs", "modules"] {
        std::fs::create_dir(folder.path().join(path)).expect("a folder can be made in it");
    }
    std::fs::write(folder.path().join("modules/words.py"), "").expect("it can be written to");
    Project { file: folder.path().join("Pipelinefile"), _folder: folder }
}

pub(crate) fn check(data: &[u8]) {
    PROJECT.with(|project| {
        std::fs::write(&project.file, data).expect("the temporary folder can be written to");
        let found = super::bounded(data, 1 << 20, 1000, || inspect_calls(&project.file, &[], &[]));
        let text = std::str::from_utf8(data).unwrap_or_default();
        found.mistakes.list.iter().for_each(|mistake| has_its_place(mistake, text));
        for style in [Style::Plain, Style::Colour] {
            let drawn = found.mistakes.render(style);
            assert_eq!(drawn.is_empty(), found.mistakes.is_empty());
        }
        let Some(loaded) = found.loaded else {
            assert!(!found.mistakes.is_empty(), "no pipeline, and nothing is said to be wrong");
            return;
        };
        loaded.warnings.iter().for_each(|warning| has_its_place(warning, text));
        loaded.render(&loaded.warnings, Style::Plain);
        let again = inspect_calls(&project.file, &[], &[]).loaded.expect("it was read a moment ago");
        assert_eq!(format!("{:?}", again.pipeline), format!("{:?}", loaded.pipeline));
    });
}

fn has_its_place(mistake: &Mistake, text: &str) {
    let fix = mistake.fix.iter().map(|fix| &fix.span);
    for span in mistake.span.iter().chain(mistake.also.iter().map(|(span, _)| span)).chain(fix) {
        assert!(text.get(span.clone()).is_some(), "{mistake:?} has no place in the text");
    }
}

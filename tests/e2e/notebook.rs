//! The cells of `docs/guide/notebook.md`, run one after the other as a notebook does.

use crate::harness::{Project, python};

/// What each cell prints.
const PRINTED: [&str; 5] = [
    "1 sometimes",
    "2 sea\n2 the",
    "{'documents': 2, 'words': {'sea': 3}}",
    "3 ['inbox/lighthouse.txt', 'inbox/notes/tea.md', 'inbox/river.txt']\n1 anything",
    "3",
];

#[test]
fn the_cells_of_the_guide_run_as_they_stand() {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(repository.join("docs/guide/notebook.md")).unwrap();
    let cells: Vec<&str> =
        page.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let project = Project::new().env("PIPE_PYTHON", python());
    project.pipe(&["init", "-q"]).ends(0);
    project.pipe(&["build", "-q"]).ends(0);
    let end = "print('--- end of cell')\n";
    let program: String = cells.iter().flat_map(|cell| [*cell, end]).collect();
    let package = repository.join("python");
    let mut command = std::process::Command::new(python());
    command.args(["-c", &program]).current_dir(project.root()).env("PYTHONPATH", package);
    command.env("PIPE_BIN", env!("CARGO_BIN_EXE_pipe")).env("PYTHONDONTWRITEBYTECODE", "1");
    let said = command.output().unwrap();
    let printed = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{printed}{}", String::from_utf8_lossy(&said.stderr));
    let printed: Vec<&str> = printed.split_terminator("--- end of cell\n").collect();
    assert_eq!(printed.iter().map(|text| text.trim_end()).collect::<Vec<_>>(), PRINTED);
}

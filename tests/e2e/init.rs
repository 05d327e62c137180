use crate::harness::Project;

#[test]
fn what_init_writes_has_no_mistakes() {
    let project = Project::new();
    project.pipe(&["init"]).shows(
        "
        status: 0
        --- stderr
        Wrote Pipelinefile, modules/words.py, inbox/lighthouse.txt, inbox/river.txt, inbox/notes/tea.md
        hint: pipe check     reads it
        hint: pipe graph     shows it
        ",
    );
    project.pipe(&["check"]).shows(
        "
        status: 0
        --- stdout
        Pipelinefile: 1 source, 3 targets, 3 modules: no mistakes
        ",
    );
}

#[test]
fn a_pipelinefile_is_never_replaced() {
    let project = Project::new().file("Pipelinefile", "mine");
    project.pipe(&["init"]).shows(
        "
        status: 2
        --- stderr
        error: there is a Pipelinefile already: `./Pipelinefile`
        hint: pipe check           reads it
        ",
    );
    assert_eq!((project.read("Pipelinefile").as_str(), project.tree().len()), ("mine", 1));
}

#[test]
fn other_files_are_left_as_they_are() {
    let project = Project::new().file("modules/words.py", "mine");
    project.pipe(&["-q", "init"]).shows(
        "
        status: 0
        --- stderr
        warning: `modules/words.py` is there already and is left as it is
        ",
    );
    assert_eq!(project.read("modules/words.py"), "mine");
}

#[test]
fn another_folder_can_be_named() {
    let project = Project::new().file("there/x", "");
    project.pipe(&["-C", "there", "init", "-q"]).shows("status: 0\n");
    project.pipe(&["init", "-C", "nowhere"]).shows(
        "
        status: 2
        --- stderr
        error: there is no folder `nowhere`
        ",
    );
    project.pipe(&["init", "-f", "x"]).ends(2).says("pipe -C DIR init");
}

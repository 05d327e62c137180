//! SIGUSR1: a running build says what is in hand, and nothing else changes.

use rustix::process::Signal;

use crate::harness::Project;

#[test]
fn a_build_that_is_asked_names_the_document_and_where_its_module_stands() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.clean]\neach = \"docs\"\nmodule = \"clean\"\nworkers = 1\n\
             [target.filter]\neach = \"docs\"\nworkers = 1\n\
             shell = \"while ! test -e go-slow; do sleep 0.01; done; cat {in} > {out}\"\n",
        )
        .counted(
            "clean",
            "
            @module
            def clean(doc):
                doc.progress(1, 2)
                wait()
                return doc.text()

            def wait():
                hold('slow')
            ",
        )
        .file("docs/a.txt", "a");
    let mut running = project.start(&["build"]);
    project.wait_for_file("here-slow");
    let mut begun = 0;
    running.until(|event| {
        begun += usize::from(event["event"] == "started");
        begun == 2
    });
    running.signal(Signal::USR1);
    running.until_event("in-hand");
    let said = running.events().last().unwrap().clone();
    project.write("go-slow", "");
    let ended = running.end().ends(0);
    assert_eq!(ended.named("done"), ["clean docs/a.txt", "filter docs/a.txt"]);
    let of = |target: &str| {
        let workers = said["workers"].as_array().unwrap();
        workers.iter().find(|hand| hand["target"] == target).unwrap_or_else(|| panic!("{said}")).clone()
    };
    let (clean, filter) = (of("clean"), of("filter"));
    assert_eq!((&clean["doc"], &clean["more"]), (&"docs/a.txt".into(), &0.into()));
    assert!(clean["stack"].is_array(), "{said}");
    assert_eq!(clean["progress"], serde_json::json!([1.0, 2.0]));
    let stack: Vec<String> =
        clean["stack"].as_array().unwrap().iter().map(|call| call.as_str().unwrap().to_owned()).collect();
    let names: Vec<&str> = stack.iter().map(|call| call.split(" in ").nth(1).unwrap()).collect();
    assert_eq!(names, ["hold", "wait", "clean"], "{stack:?}");
    assert!(stack[2].starts_with("modules/clean.py:"), "{stack:?}");
    assert!(filter.get("stack").is_none(), "{filter}");
}

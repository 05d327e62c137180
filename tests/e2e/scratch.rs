//! The folder in which a filter writes its file is a document's own, as far as its module can tell.

use crate::harness::Project;

/// Says in which folder it writes and what lies there; `leaves` leaves a file there, `stays` a process that outlives it.
const SCRIPT: &str = r#"
folder=$(dirname "$2")
lies=$(ls "$folder" | grep -v '^in.txt')
text=$(cat "$1")
echo "$text|$folder|$lies" >> order
echo "$text" > "$2"
case $text in
leaves*) echo x > "$folder/left" ;;
stays*)
    setsid sh -c 'echo > here; exec sleep 600' > /dev/null 2>&1 &
    until [ -e here ]; do :; done ;;
fails*) exit 1 ;;
esac
"#;

/// What the documents of a build said, one after the other: their text and their folder, in which nothing lay.
fn order(project: &Project) -> Vec<(String, String)> {
    let said = project.read("order");
    project.remove("order");
    let one = |line: &str| {
        let [text, folder, lies] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!(lies, "", "`{text}` finds something in its folder");
        (text.to_owned(), folder.to_owned())
    };
    said.lines().map(one).collect()
}

#[test]
fn a_folder_is_used_again_only_if_nothing_and_nobody_is_left_in_it() {
    let project = Project::new().file("show.sh", SCRIPT).file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.show]
        each = "docs"
        cmd = "sh show.sh {in} {out}"
        workers = 1
        "#,
    );
    for text in ["plain 1", "plain 2", "plain 3", "leaves 1", "leaves 2", "fails 1", "fails 2"] {
        project.write(&format!("docs/{text}.txt"), text);
    }
    drop(project.build().ends(1));
    let told = order(&project);
    assert_eq!(told.len(), 7);
    for pair in told.windows(2) {
        let [(before, its), (text, folder)] = pair else { panic!() };
        assert_eq!(its == folder, before.starts_with("plain"), "`{text}` after `{before}`: {told:?}");
    }
    for text in ["plain 4", "plain 5", "stays 1", "plain 6", "plain 7"] {
        project.write(&format!("docs/{text}.txt"), text);
    }
    drop(project.build().ends(1));
    project.no_process_is_left();
    let told = order(&project);
    assert_eq!(told.len(), 5);
    let from = told.iter().position(|(text, _)| text == "stays 1").unwrap();
    for (n, pair) in told.windows(2).enumerate() {
        let same = pair[0].1 == pair[1].1;
        assert_eq!(same, n < from, "a process that could write there lives from `stays` on: {told:?}");
    }
}

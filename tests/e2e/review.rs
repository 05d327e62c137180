//! `pipe ls --sample`, `--open`, `--unmatched`: results to look through, and who has no match.

use crate::harness::Project;

fn project() -> Project {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.inbox]
        path = "inbox"

        [source.people]
        path = "people.csv"
        rows = "id"

        [target.upper]
        each  = "inbox"
        shell = "grep -q bad {in} && exit 1; tr a-z A-Z < {in} > {out}"
        ext   = "txt"

        [target.row]
        each  = "inbox"
        with  = { who = { from = "people", on = ["id.stem", "meta.id"], missing = "none" } }
        shell = "cat {in} {with.who} > {out}"

        [target.all]
        all      = "upper"
        min_done = 0.5
        shell    = "wc -l < {in} > {out}"
        ext      = "txt"
        "#,
    );
    for n in 0..12 {
        project.write(&format!("inbox/d{n}.txt"), format!("<b>number {n}</b>\n"));
    }
    project.write("inbox/e.txt", "bad\n");
    project.write("people.csv", "id,name\nd1,Ada\nd2,Emmy\nnobody,Kurt\n");
    project
}

fn ids(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn a_sample_is_the_same_each_time_and_stays_when_others_come() {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    let first = ids(&project.pipe(&["ls", "upper", "--sample", "4"]).ends(0).stdout);
    assert_eq!(first.len(), 4);
    assert_eq!(ids(&project.pipe(&["ls", "upper", "--sample", "4"]).ends(0).stdout), first);
    let all = ids(&project.pipe(&["ls", "upper", "--sample", "99"]).ends(0).stdout);
    assert_eq!(all, ids(&project.pipe(&["ls", "upper"]).ends(0).stdout));
    // One more document takes at most one place.
    project.write("inbox/more.txt", "more\n");
    drop(project.pipe(&["build"]).ends(1));
    let second = ids(&project.pipe(&["ls", "upper", "--sample", "4"]).ends(0).stdout);
    assert!(second.iter().filter(|id| !first.contains(id)).count() <= 1, "{first:?} {second:?}");
    let json = project.pipe(&["ls", "upper", "--sample", "2", "--json", "--state", "done"]).ends(0).stdout;
    assert_eq!(json.lines().filter(|line| line.contains("\"type\":\"document\"")).count(), 2);
    drop(project.pipe(&["ls", "upper", "--sample", "0"]).ends(2));
}

#[test]
fn a_page_shows_what_went_in_beside_what_came_out() {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    project.pipe(&["ls", "upper", "--open", "--docs", "inbox/[e-z]*"]).shows(
        "
        status: 0
        --- stdout
        .pipe/review/upper.html
        --- stderr
        hint: there is no desktop here: open that file in a browser
        ",
    );
    let page = project.read(".pipe/review/upper.html");
    assert!(page.contains("<h2>inbox/e.txt</h2>") && page.contains("exit 1"), "{page}");
    drop(project.pipe(&["ls", "upper", "--open"]).ends(0));
    let page = project.read(".pipe/review/upper.html");
    assert!(page.contains("<pre>&lt;b&gt;number 7&lt;/b&gt;\n</pre>"), "{page}");
    assert!(page.contains("<pre>&lt;B&gt;NUMBER 7&lt;/B&gt;\n</pre>"), "{page}");
    drop(project.pipe(&["ls", "upper", "--open"]).ends(0));
    assert_eq!(project.read(".pipe/review/upper.html"), page);
    drop(project.pipe(&["ls", "all", "--open", "--json"]).ends(0).says("\"documents\":1,\"opened\":false"));
    assert!(project.read(".pipe/review/all.html").contains("12 documents of upper\ninbox/d0.txt\n"));
    drop(project.pipe(&["ls", "people", "--open"]).ends(0));
    assert!(project.read(".pipe/review/people.html").contains("&quot;name&quot;: &quot;Ada&quot;"));
    drop(project.pipe(&["ls", "upper", "--open", "--docs", "none"]).ends(4));
    drop(project.pipe(&["ls", "upper", "--open", "--manifest"]).ends(2));
}

#[test]
fn who_has_no_match_is_listed_on_both_sides() {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    let listed = project.pipe(&["ls", "row", "--unmatched"]).ends(0);
    assert_eq!(listed.stdout.lines().count(), 12, "{}", listed.text());
    drop(listed.says("inbox/d0.txt  no `who`: its value is \"d0\"\n"));
    project.pipe(&["ls", "row", "--unmatched", "--docs", "people/**"]).shows(
        "
        status: 0
        --- stdout
        people/nobody  of people, no use as `who`: its value is \"nobody\"
        ",
    );
    drop(project.pipe(&["ls", "row", "--unmatched", "--json"]).ends(0).says(
        "{\"v\":1,\"type\":\"unmatched\",\"with\":\"who\",\"stream\":\"people\",\"doc\":\"people/nobody\",\"other\":true,\"value\":\"\\\"nobody\\\"\"}",
    ));
    project.pipe(&["ls", "upper", "--unmatched"]).shows(
        "
        status: 2
        --- stderr
        error: `upper` has no side input by value
        hint: one is written with = { name = { from = …, on = … } }
        ",
    );
    drop(project.pipe(&["ls", "inbox", "--unmatched"]).ends(2).says("only targets have side inputs"));
    project.write("people.csv", "id,name\nd1,Ada\n");
    for n in 0..13 {
        drop(std::fs::remove_file(project.root().join(format!("inbox/d{n}.txt"))));
    }
    std::fs::remove_file(project.root().join("inbox/e.txt")).unwrap();
    project.write("inbox/d1.txt", "one\n");
    drop(project.pipe(&["build", "--gone"]).ends(0));
    project.pipe(&["ls", "row", "--unmatched"]).shows(
        "
        status: 0
        --- stderr
        every document of `row` and of its side inputs has a match
        ",
    );
}

//! A disk that is full, small, or only to be read.

use std::process::Command;

use crate::harness::Project;

/// A small file system of its own, mounted on `.pipe` of a project. Needs root; `None` without.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(project: &Project, size: &str) -> Option<Small> {
        let path = project.root().join(".pipe");
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            Some(Small(path))
        } else {
            say_skipped();
            None
        }
    }

    fn again(&self, options: &str) {
        let status = Command::new("mount").args(["-o", options]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

const DOCUMENTS: usize = 60;

fn project() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.grow]
            each = "docs"
            module = "grow"
            publish = true
            "#,
        )
        .counted(
            "grow",
            "
            @module
            def grow(doc):
                ran('grow', doc.text())
                return os.urandom(500_000 if int(doc.text()) % 2 else 100_000)
            ",
        );
    for n in 0..DOCUMENTS {
        project.write(&format!("docs/d{n:02}.txt"), format!("{n}"));
    }
    project
}

#[test]
fn a_full_disk_stops_the_build_and_loses_nothing() {
    // 10 MB of small results and 15 MB of blobs, where 16 MiB are held in reserve.
    for size in ["17m", "20m", "26m", "30m"] {
        let project = project();
        let Some(small) = Small::mount(&project, size) else { return };
        let ended = project.build();
        assert_eq!(ended.status, 3, "{size}: {}", ended.text());
        let text = ended.text();
        assert!(text.contains("no space left on device"), "{size}: {text}");
        assert!(text.contains("free some space"), "{size}: {text}");
        project.no_process_is_left();
        let done = ended.named("done");
        // Still full, or just large enough without the reserve: the same words or none.
        let again = project.build();
        assert!([0, 3].contains(&again.status), "{size}: {}", again.text());
        assert!(again.named("done").iter().all(|what| !done.contains(what)), "{size}: {}", again.text());
        let done = [done, again.named("done")].concat();
        small.again("remount,size=200m");
        project.take_counts("grow");
        let rest = project.build().ends(0);
        let ran = project.counts("grow");
        for what in &done {
            let number =
                what.trim_start_matches("grow docs/d").trim_end_matches(".txt").trim_start_matches('0');
            assert!(!ran.contains(&number.to_owned()), "{size}: {what} was done and ran again");
        }
        // A result may have come to the disk with the last of the reserve, and nobody was told.
        assert!(rest.named("done").len() + done.len() <= DOCUMENTS, "{size}");
        assert_eq!(project.names("out").len(), DOCUMENTS, "{size}");
        assert!(project.build().ends(0).all("plan").is_empty());
    }
}

#[test]
fn a_disk_on_which_not_even_the_store_fits_says_so() {
    let project = project();
    let Some(_small) = Small::mount(&project, "40k") else { return };
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("no space left on device"), "{}", told.text());
    assert!(told.stderr.contains("hint: free some space"), "{}", told.text());
    project.no_process_is_left();
}

#[test]
fn a_store_that_cannot_be_written_says_so() {
    let project = project();
    let Some(small) = Small::mount(&project, "100m") else { return };
    small.again("remount,ro");
    let told = project.pipe(&["build"]).ends(3);
    assert!(
        told.stderr.contains("read-only file system") && told.stderr.contains(".pipe"),
        "{}",
        told.text()
    );
    small.again("remount,rw");
    drop(project.build().ends(0));
    // Something to do, and no way to write it down: nothing goes on unrecorded.
    project.write("docs/d00.txt", "100");
    small.again("remount,ro");
    project.take_counts("grow");
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("read-only file system"), "{}", told.text());
    assert_eq!(project.counts("grow"), Vec::<String>::new());
}

#[test]
fn a_store_in_the_way_of_a_file_says_so() {
    let project = project();
    project.write(".pipe", "a file");
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains(".pipe"), "{}", told.text());
}

#[test]
fn a_small_disk_for_published_files_fails_only_publishing() {
    let project = project();
    let out = project.root().join("out");
    std::fs::create_dir(&out).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&out).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let small = Small(out);
    let ended = project.build();
    assert_eq!(ended.status, 1, "{}", ended.text());
    assert!(ended.text().contains("no space left on device"), "{}", ended.text());
    assert_eq!(ended.named("done").len(), DOCUMENTS);
    for (name, bytes) in project.files("out") {
        assert!([100_000, 500_000].contains(&bytes.len()), "`{name}` is cut: {} bytes", bytes.len());
    }
    small.again("remount,size=100m");
    project.take_counts("grow");
    drop(project.build().ends(0));
    assert_eq!(project.names("out").len(), DOCUMENTS);
    assert_eq!(project.counts("grow"), Vec::<String>::new());
}

#[expect(clippy::print_stderr, reason = "whoever reads the test's output must see that it did nothing")]
fn say_skipped() {
    eprintln!("skipped: mounting needs root");
}

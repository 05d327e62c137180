//! Modules in containers: by their command lines with an engine that notes them, and with podman where it can run.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::Project;

/// The digest of an image that there is.
const IMAGE: &str = "lan/tools:3@sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// A project whose engine is the fake, called as the real one would be.
fn project(engine: &str, module: &str) -> Project {
    let project = Project::new()
        .file("docs/a.txt", "alpha")
        .file("docs/b.txt", "beta")
        .file(
            "modules/up.sh",
            r#"
            read describe; echo '{"describe":{"name":"up"}}'
            read setup; echo '{"ready":1}'
            while read -r line; do
              id=${line#*\"id\":}; id=${id%%,*}; text=${line#*\"text\":\"}; text=${text%%\"*}
              echo "{\"id\":$id,\"output\":{\"text\":\"in $HERE: $text\"}}"
            done
            "#,
        )
        .file("fake/images", IMAGE);
    let fake = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fakes/container-engine");
    std::fs::create_dir(project.root().join("bin")).unwrap();
    std::os::unix::fs::symlink(fake, project.root().join("bin").join(engine)).unwrap();
    pipelinefile(&project, module);
    let path = format!("{}:{}", project.root().join("bin").display(), std::env::var("PATH").unwrap());
    let (fake, own) = (project.root().join("fake"), project.root().join("bin").join(engine));
    let own = own.to_str().unwrap().to_owned();
    project.env("PATH", &path).env("FAKE_ENGINE", fake.to_str().unwrap()).env("PIPE_CONTAINER_ENGINE", &own)
}

fn pipelinefile(project: &Project, module: &str) {
    let text = format!(
        "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nmodule = \"up\"\n[module.up]\n{module}\n"
    );
    project.write("Pipelinefile", text);
}

/// The command lines that the engine was given, those that begin with this word.
fn lines(project: &Project, word: &str) -> Vec<Vec<String>> {
    let log = std::fs::read_to_string(project.root().join("fake/log")).unwrap_or_default();
    let all = log.lines().map(|line| serde_json::from_str::<Vec<String>>(line).unwrap());
    all.filter(|words| words[0] == word).collect()
}

/// The names of the containers that the engine was to remove.
fn removed(project: &Project) -> Vec<String> {
    lines(project, "rm").into_iter().filter_map(|words| words.last().cloned()).collect()
}

fn worker() -> String {
    format!("image = \"{IMAGE}\"\ncmd = \"sh modules/up.sh\"\nenv = {{ HERE = \"box\" }}\n")
}

#[test]
fn a_worker_speaks_the_protocol_from_within_and_sees_what_is_mounted() {
    let project = project("podman", &worker());
    drop(project.pipe(&["build", "-j1"]).ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/b.txt"]).ends(0).stdout, "in box: beta");
    let runs = lines(&project, "run");
    assert_eq!(runs.len(), 1, "one container for all documents");
    let root = project.root().display().to_string();
    let has = |word: &str| assert!(runs[0].iter().any(|known| known == word), "{word} in {:#?}", runs[0]);
    for word in ["--rm", "--interactive", "--pull=never", "--network=none", "--env=HERE=box"] {
        has(word);
    }
    has(&format!("--mount=type=bind,source={root},target={root},readonly"));
    has(&format!("--workdir={root}"));
    let writable: Vec<&String> =
        runs[0].iter().filter(|word| word.starts_with("--mount=") && !word.ends_with(",readonly")).collect();
    assert!(writable.len() == 1 && writable[0].contains("/.pipe/tmp/"), "{writable:?}");
    assert_eq!(runs[0][runs[0].len() - 3..], [IMAGE, "sh", "modules/up.sh"]);
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
}

#[test]
fn the_key_holds_the_digest_the_network_and_the_code_and_not_the_name() {
    let project = project("podman", &worker());
    let runs = |project: &Project| project.build().ends(0).all("done").len();
    assert_eq!(runs(&project), 2);
    let elsewhere = worker().replace("lan/tools:3", "ghcr.io/other");
    project.write("fake/images", format!("{IMAGE} {} ", IMAGE.replace("lan/tools:3", "ghcr.io/other")));
    pipelinefile(&project, &elsewhere);
    assert_eq!(runs(&project), 0, "the same image from elsewhere");
    pipelinefile(&project, &format!("{elsewhere}network = true\n"));
    assert_eq!(runs(&project), 2);
    assert!(!lines(&project, "run").last().unwrap().iter().any(|word| word.starts_with("--network")));
    let told = project.pipe(&["why", "docs/a.txt"]).ends(0);
    assert!(told.stdout.contains("network"), "{}", told.stdout);
    pipelinefile(&project, &worker());
    assert_eq!(runs(&project), 0, "back again");
    let script = project.read("modules/up.sh");
    project.write("modules/up.sh", script.replace("in $HERE", "within $HERE"));
    assert_eq!(runs(&project), 2, "the script that the command names");
    let other = "2".repeat(64);
    project.write("fake/images", format!("t@sha256:{other}"));
    pipelinefile(&project, &worker().replace(IMAGE, &format!("t@sha256:{other}")));
    assert_eq!(runs(&project), 2, "another image");
}

#[test]
fn a_filter_is_a_container_for_each_document() {
    let module = format!("image = \"{IMAGE}\"\nshell = \"rev {{in}} > {{out}}\"\nmemory = \"1GiB\"");
    let project = project("docker", &module);
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout.trim(), "ahpla");
    let runs = lines(&project, "run");
    assert_eq!(runs.len(), 2);
    assert!(runs[0].contains(&"--memory=1073741824".to_owned()), "{runs:?}");
    assert!(!runs[0].iter().any(|word| word.starts_with("--userns")), "docker knows no keep-id");
    let names: Vec<&String> = runs.iter().flatten().filter(|word| word.starts_with("--name=")).collect();
    assert!(names.len() == 2 && names[0] != names[1], "{names:?}");
    drop(project.pipe(&["try", "up", "docs/a.txt"]).ends(0).says("ahpla"));
}

#[test]
fn what_a_container_gives_lies_in_its_scratch_folder_and_no_link_leads_out_of_it() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.txt"), "TOP SECRET").unwrap();
    let secret = outside.path().join("secret.txt").display().to_string();
    let folder = outside.path().display().to_string();
    let script = format!(
        r#"
        read describe; echo '{{"describe":{{"name":"up"}}}}'
        read setup; echo '{{"ready":1}}'
        while read -r line; do
          id=${{line#*\"id\":}}; id=${{id%%,*}}; text=${{line#*\"text\":\"}}; text=${{text%%\"*}}
          tmp=${{line#*\"tmp\":\"}}; tmp=${{tmp%%\"*}}; mkdir -p $tmp/made
          ln -s {secret} $tmp/link; ln -s {folder} $tmp/door; ln -s {folder} $tmp/made/way; echo good > $tmp/own
          case $text in
            names) path={secret} ;; up) path=$tmp/../../../../Pipelinefile ;; link) path=$tmp/link ;;
            door) path=$tmp/door/secret.txt ;; whole) path=$tmp/door ;; way) path=$tmp/made ;;
            large) head -c 300000 /dev/zero > $tmp/big; path=$tmp/big ;;
            folder) rm $tmp/made/way; echo f > $tmp/made/f; mkdir $tmp/made/g; echo g > $tmp/made/g/g; path=$tmp/made ;;
            *) path=$tmp/own ;;
          esac
          echo "{{\"id\":$id,\"output\":{{\"path\":\"$path\"}}}}"
        done
        "#
    );
    let project = project("podman", &worker()).file("modules/up.sh", &script);
    for name in ["names", "up", "link", "door", "whole", "way", "own", "large", "folder"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    drop(project.pipe(&["build", "-j1"]).ends(1).says("6 failed"));
    for name in ["names", "up", "link", "door", "whole", "way"] {
        let told = project.pipe(&["cat", "up", &format!("docs/{name}.txt")]);
        assert!(told.status != 0 && !told.stdout.contains("SECRET"), "{name}: {}", told.text());
    }
    assert_eq!(project.pipe(&["cat", "up", "docs/own.txt"]).ends(0).stdout, "good\n");
    assert_eq!(project.pipe(&["cat", "up", "docs/large.txt"]).ends(0).stdout.len(), 300_000);
    drop(project.pipe(&["cat", "up", "docs/folder.txt"]).ends(0).says("g/g"));
    // A filter's file and folder, and the children of a split.
    for (more, script) in [
        ("", "ln -s {secret} {out}"),
        ("", "ln -s {folder} {out}"),
        ("", "ln -s {folder} {out}/x"),
        ("", "o={out}/; rmdir ${o%/}; ln -s {folder} ${o%/}"),
        ("split = true", "o={out}/; rmdir ${o%/}; ln -s {folder} ${o%/}"),
        ("split = true", "ln -s {secret} {out}/x.txt"),
    ] {
        let script = script.replace("{secret}", &secret).replace("{folder}", &folder);
        let text = format!(
            "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nmodule = \"up\"\n{more}\n\
             [module.up]\nimage = \"{IMAGE}\"\nshell = \"{script}\"\n"
        );
        project.write("Pipelinefile", text);
        let ended = project.build();
        assert_eq!((ended.all("done").len(), ended.status), (0, 1), "{script}\n{}", ended.text());
        let tried = project.pipe(&["try", "up", "docs/a.txt"]);
        assert!(tried.status != 0 && !tried.text().contains("SECRET"), "{script}\n{}", tried.text());
    }
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let project = project("podman", &worker());
    project.write("fake/images", "");
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains(&format!("podman pull {IMAGE}")), "{}", told.stderr);
    drop(project.pipe(&["try", "up", "docs/a.txt"]).ends(3).says(&format!("podman pull {IMAGE}")));
    pipelinefile(&project, &format!("image = \"{IMAGE}\"\nshell = \"rev {{in}}\""));
    drop(project.pipe(&["build"]).ends(3).says("no module ran"));
    project.write("fake/images", IMAGE);
    pipelinefile(&project, &format!("image = \"{IMAGE}\"\ncmd = \"nowhere {{in}}\""));
    let told = project.pipe(&["build"]);
    assert!(told.stderr.contains("executable file `nowhere` not found"), "{}", told.stderr);
    pipelinefile(&project, "image = \"lan/tools:3\"");
    let told = project.pipe(&["check"]).ends(2);
    assert!(told.stderr.contains("the same name can be another image tomorrow"), "{}", told.stderr);
    pipelinefile(&project, &worker());
    let project = project.env("PIPE_CONTAINER_ENGINE", "no-such-engine");
    drop(project.pipe(&["build"]).ends(3).says("PIPE_CONTAINER_ENGINE is `no-such-engine`"));
    let empty = project.root().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let project = project.env("PIPE_CONTAINER_ENGINE", "").env("PATH", empty.to_str().unwrap());
    drop(project.pipe(&["build"]).ends(3).says("needs podman or docker, and neither is on PATH"));
}

#[test]
fn a_container_is_removed_by_name_when_its_build_is_killed_and_leftovers_by_the_next() {
    let hold = format!("image = \"{IMAGE}\"\ncmd = \"sh -c 'touch begun; exec sleep 600' {{in}}\"");
    let project = project("podman", &hold);
    let running = project.start(&["build", "-j1"]);
    project.wait_for_file("begun");
    let name =
        lines(&project, "run")[0].iter().find_map(|word| word.strip_prefix("--name=").map(str::to_owned));
    let name = name.unwrap();
    drop(running.kill());
    project.no_process_is_left();
    // Once is enough, twice does no harm: both the end of its process and that of the build ask for it.
    let removed = || {
        let mut names = removed(&project);
        names.dedup();
        names
    };
    assert_eq!(removed(), std::slice::from_ref(&name));
    // Killed together with what cleans up: the next build does it, and leaves those of living processes alone.
    let (left, own) = (format!("{name}9"), std::process::id());
    project.write("fake/left", format!("{left} pipe-{own}-1-7 postgres"));
    pipelinefile(&project, &worker());
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(removed(), [name, left, format!("pipe-{own}-1-7")]);
}

/// A podman that can run a container here, with an image made of this machine's busybox; says why there is none.
fn podman(project: Project) -> Option<(Project, String)> {
    let skip = |why: &str| {
        eprintln!("skipped: {why}");
        None
    };
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
    let Some(busybox) = busybox else { return skip("there is no busybox") };
    let rootfs = project.root().join("rootfs");
    for folder in ["bin", "tmp"] {
        std::fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    std::fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "rev", "touch", "true"] {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    let archive = project.root().join("rootfs.tar");
    let made = Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&archive).arg(".").status().unwrap();
    assert!(made.success());
    // Limits for whoever may not raise them, and nothing that needs systemd.
    let runtime = if ["/usr/sbin/runc", "/usr/bin/runc"].iter().any(|file| PathBuf::from(file).exists()) {
        "runtime = \"runc\"\n"
    } else {
        ""
    };
    let text = format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n{runtime}"
    );
    project.write("containers.conf", text);
    let conf = project.root().join("containers.conf").to_str().unwrap().to_owned();
    let home = std::env::var("HOME").unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap();
    let engine = std::env::split_paths(&path).map(|folder| folder.join("podman")).find(|file| file.exists());
    let Some(engine) = engine else { return skip("there is no podman") };
    let project = project.env("CONTAINERS_CONF", &conf).env("HOME", &home);
    let project = project.env("PIPE_CONTAINER_ENGINE", engine.to_str().unwrap());
    let run = |words: &[&str]| {
        let mut command = Command::new("podman");
        command.args(words).stdin(Stdio::null()).env("CONTAINERS_CONF", &conf);
        command.output().ok().filter(|output| output.status.success())
    };
    // Each test has its own: the archive is another each time.
    let name = format!("localhost/pipe-test-{}", std::process::id());
    if run(&["import", archive.to_str().unwrap(), &name]).is_none() {
        return skip("there is no podman that can import an image");
    }
    let asked = run(&["image", "inspect", "--format", "{{.Digest}}", &name]).unwrap();
    let digest = String::from_utf8(asked.stdout).unwrap().trim().to_owned();
    let image = format!("{name}@{digest}");
    if run(&["run", "--rm", "--network=none", &image, "/bin/true"]).is_none() {
        return skip("podman cannot run a container here");
    }
    Some((project, image))
}

/// `pipe repro`, and what its script says where there is nothing of the project: (exit code, what it printed).
fn again_elsewhere(project: &Project, doc: &str) -> (i32, String) {
    drop(project.pipe(&["repro", doc, "up", "-o", "r"]).ends(0));
    let script = project.read("r/run.sh");
    assert!(!script.contains(project.root().to_str().unwrap()), "{script}");
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(project.root().join("r"), elsewhere.path().join("r")).unwrap();
    let conf = project.root().join("containers.conf");
    let output =
        Command::new(elsewhere.path().join("r/run.sh")).env("CONTAINERS_CONF", conf).output().unwrap();
    let made = ["answer.jsonl", "out.txt"].map(|name| elsewhere.path().join("r/out").join(name));
    let made = made.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned() + &made)
}

#[test]
fn a_folder_that_runs_elsewhere_names_the_image_and_mounts_itself_alone() {
    let project = project("podman", &worker());
    drop(project.pipe(&["build"]).ends(0));
    drop(project.pipe(&["repro", "docs/a.txt", "up", "-o", "r"]).ends(0));
    let script = project.read("r/run.sh");
    let command = format!(
        "\"$engine\" run --rm --interactive \"$user\" --network=none --security-opt=label=disable --volume=\"$here\":/repro \
         --workdir=/repro/code --env=HERE=box --env=PIPE_TMP=../tmp {IMAGE} sh modules/up.sh < ../request.jsonl > ../out/answer.jsonl\n"
    );
    assert!(script.contains(&command), "{script}");
    assert!(!script.contains(project.root().to_str().unwrap()), "{script}");
}

#[test]
fn podman_runs_workers_and_filters_keeps_their_inputs_and_leaves_nothing() {
    let Some((project, image)) = podman(project("podman", "")) else { return };
    pipelinefile(&project, &worker().replace(IMAGE, &image));
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/b.txt"]).ends(0).stdout, "in box: beta");
    let (code, said) = again_elsewhere(&project, "docs/b.txt");
    assert!(code == 0 && said.contains("\"text\":\"in box: beta\""), "{code} {said}");
    // A filter that tries to write to what it was given.
    let shell = "(touch docs/a.txt || echo x > {in}) 2> /dev/null && exit 1; rev {in} > {out}";
    pipelinefile(&project, &format!("image = \"{image}\"\nshell = \"{shell}\""));
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout.trim(), "ahpla");
    // (The inputs of the folder are the reader's own, to be played with.)
    pipelinefile(&project, &format!("image = \"{image}\"\nshell = \"rev {{in}} > {{out}}\""));
    let (code, said) = again_elsewhere(&project, "docs/a.txt");
    assert!(code == 0 && said.contains("ahpla"), "{code} {said}");
    // Killed with a container that would stay for long.
    let module = format!("image = \"{image}\"\ncmd = \"sh -c 'sleep 600' {{in}}\"");
    pipelinefile(&project, &module);
    let label = "label=pipelinefile.store";
    let containers = |project: &Project| {
        let conf = project.root().join("containers.conf");
        let words = ["ps", "--all", "--filter", label, "--format", "{{.Names}} {{.State}}"];
        let output = Command::new("podman").args(words).env("CONTAINERS_CONF", conf).output().unwrap();
        let own = |line: &&str| line.starts_with("pipe-");
        String::from_utf8(output.stdout).unwrap().lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut running = project.start(&["build", "-j1"]);
    running.until_event("started");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let until = |holds: &dyn Fn(&[String]) -> bool| loop {
        let found = containers(&project);
        if holds(&found) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{found:?}");
        std::thread::yield_now();
    };
    until(&|found| found.iter().any(|line| line.contains(" Up") || line.contains("running")));
    drop(running.kill());
    project.no_process_is_left();
    until(&<[String]>::is_empty);
    let words = ["rmi", "--force", &image];
    drop(
        Command::new("podman")
            .args(words)
            .env("CONTAINERS_CONF", project.root().join("containers.conf"))
            .output(),
    );
}

#[test]
fn a_module_in_a_container_can_be_served() {
    let server = project("podman", &worker());
    let mut child = server.command(&["serve", "--json", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = said["url"].as_str().unwrap();
    let laptop = Project::new().file("docs/a.txt", "alpha");
    pipelinefile(&laptop, &format!("url = \"{url}/modules/up\""));
    let built = laptop.pipe(&["build"]);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(built.ends(0));
    assert_eq!(laptop.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "in box: alpha");
    let runs = lines(&server, "run");
    assert!(runs.last().unwrap().contains(&IMAGE.to_owned()), "{runs:?}");
    // The digest is a part of its fingerprint.
    let program = laptop.pipe(&["modules", "up"]).ends(0).stdout;
    assert!(program.contains(&"1".repeat(64)), "{program}");
}

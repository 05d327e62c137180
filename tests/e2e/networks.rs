//! A module server and a laptop on two networks of their own, joined by a wire. Only root can lay it; else the test says so.

use std::process::Command;

use crate::harness::Project;
use crate::serve::{READ, Served, laptop, published, server};

const TOKEN: &str = "0123456789abcdef";

/// Two network namespaces; gone with the test.
struct Wire {
    names: [String; 2],
}

fn ip(words: &str) -> bool {
    let done = Command::new("ip").args(words.split_whitespace()).output();
    done.is_ok_and(|done| done.status.success())
}

impl Wire {
    /// The server's end is 10.77.0.1, the laptop's 10.77.0.2.
    fn lay() -> Option<Wire> {
        let number = std::process::id();
        let wire = Wire { names: [format!("pipe-s{number}"), format!("pipe-l{number}")] };
        let [server, laptop] = &wire.names;
        let laid = ip(&format!("netns add {server}"))
            && ip(&format!("netns add {laptop}"))
            && ip(&format!("link add wire netns {server} type veth peer name wire netns {laptop}"))
            && wire.names.iter().zip(["10.77.0.1", "10.77.0.2"]).all(|(name, address)| {
                ip(&format!("-n {name} addr add {address}/24 dev wire"))
                    && ip(&format!("-n {name} link set wire up"))
                    && ip(&format!("-n {name} link set lo up"))
            });
        if !laid {
            eprintln!("skipped: no network namespaces can be made here");
        }
        laid.then_some(wire)
    }

    fn serve(&self, project: &Project, token: &str) -> Served {
        project.write("tokens", token);
        let inside = ["ip", "netns", "exec", &self.names[0]];
        let serve = ["serve", "--json", "--listen", "10.77.0.1:7070", "--token-file", "tokens"];
        let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
        Served::of(project.command_through(&inside, &[&serve[..], &tls].concat()))
    }

    fn build(&self, project: &Project) -> Command {
        project.command_through(&["ip", "netns", "exec", &self.names[1]], &["build"])
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            if !ip(&format!("netns del {name}")) {
                eprintln!("the network namespace {name} stays");
            }
        }
    }
}

/// How a build ended, and what it said.
fn run(mut build: Command) -> (i32, String) {
    let ended = build.output().unwrap();
    (ended.status.code().unwrap(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn what_happens_to_the_server_is_told_and_nothing_wrong_is_kept() {
    let Some(wire) = Wire::lay() else { return };
    let server = server();
    let pair = rcgen::generate_simple_self_signed(["10.77.0.1".to_owned()]).unwrap();
    server.write("cert.pem", pair.cert.pem());
    server.write("key.pem", pair.signing_key.serialize_pem());
    let laptop = laptop("https://10.77.0.1:7070/modules/read", "read", &["a", "hold", "b"]);
    let laptop = laptop
        .env("PIPE_TOKEN", TOKEN)
        .env("SSL_CERT_FILE", server.root().join("cert.pem").to_str().unwrap());
    // Nobody there, and then one who wants another token: nothing is built, and the reason is said.
    let (status, said) = run(wire.build(&laptop));
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("https://10.77.0.1:7070/modules/read: nobody answers there"), "{said}");
    let other = wire.serve(&server, "fedcba9876543210");
    let (status, said) = run(wire.build(&laptop));
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("it wants another token"), "{said}");
    other.kill();
    // Killed with documents in hand, and started again: all are done.
    let served = wire.serve(&server, TOKEN);
    let mut building = wire.build(&laptop).spawn().unwrap();
    server.wait_for_file("here-it");
    served.kill();
    server.write("go-it", "");
    let served = wire.serve(&server, TOKEN);
    assert!(building.wait().unwrap().success());
    assert_eq!(published(&laptop), ["a old!", "hold old!", "b old!"]);
    // Changed: done by the new code; and back: what the old code made is found, and nothing that the new one made.
    server.edit_module("read", &READ.replace(" old", " new"));
    let (status, said) = run(wire.build(&laptop));
    assert_eq!(status, 0, "{said}");
    assert_eq!(published(&laptop), ["a new!", "hold new!", "b new!"]);
    server.edit_module("read", READ);
    let before = server.counts("read").len();
    let (status, said) = run(wire.build(&laptop));
    assert!(status == 0 && said.contains("3 reused"), "{said}");
    assert_eq!(published(&laptop), ["a old!", "hold old!", "b old!"]);
    assert_eq!(server.counts("read").len(), before);
    // Gone: what is up to date stays so.
    served.kill();
    let (status, said) = run(wire.build(&laptop));
    assert!(status == 0 && said.contains("Up to date"), "{said}");
}

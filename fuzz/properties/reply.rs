//! What workers print: a line of the protocol, and their description, docs/reference/worker-protocol.md.

use pipelinefile::module::{Done, OutputBody};
use pipelinefile::probe::{self, Reply};

pub(crate) fn check(data: &[u8]) {
    let (base, factor) = (16 << 10, 100);
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match super::bounded(data, base, factor, || probe::reply(line)) {
        Reply::Answer(_, Some(Done::Output(output))) => {
            let unfit = |c: char| c.is_control() || matches!(c, '/' | '\\');
            assert!(
                !output.ext.starts_with('.') && !output.ext.contains(unfit),
                "`{}` as an extension",
                output.ext
            );
            if let OutputBody::Bytes { bytes, digest } = output.body {
                assert_eq!(pipelinefile::hash::Digest::of(&bytes), digest);
            }
        }
        // What a program prints for people is never taken for a mistake of the protocol.
        Reply::Broken(problem) => assert!(line.trim_ascii().starts_with(b"{") && !problem.is_empty()),
        _ => {}
    }
    let said = super::bounded(data, base, factor, || probe::description(data));
    if said.is_some() {
        assert!(data.contains(&b'\n'), "a line without its end is not read yet");
    }
}

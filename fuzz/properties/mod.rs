//! What must hold for any bytes: a function for each reader of what a disk, a module or another process gives us.
//!
//! None may panic; what was read, written and read again is the same; memory is bounded by the input's length. They are
//! run by libFuzzer (`fuzz_targets/`) and, over seeds and their mutations, by the ordinary tests (`tests/fuzz`).

pub(crate) mod frame;
pub(crate) mod page;
pub(crate) mod pipelinefile;
pub(crate) mod reply;
pub(crate) mod segment;
pub(crate) mod socket;
pub(crate) mod table;
pub(crate) mod template;

/// Says no when it panics.
pub(crate) type Check = fn(&[u8]);

/// Every property by the name of its fuzz target.
pub(crate) const ALL: [(&str, Check); 8] = [
    ("frame", frame::check),
    ("segment", segment::check),
    ("page", page::check),
    ("table", table::check),
    ("pipelinefile", pipelinefile::check),
    ("reply", reply::check),
    ("socket", socket::check),
    ("template", template::check),
];

/// Runs a reader, and fails if at any moment it held more memory than `base` and `factor` times the input's length:
/// a length that is read must not be believed before the bytes are there.
fn bounded<T>(input: &[u8], base: u64, factor: u64, reader: impl FnOnce() -> T) -> T {
    let mut result = None;
    let taken = allocation_counter::measure(|| result = Some(reader()));
    let limit = base + factor * input.len() as u64;
    assert!(
        taken.bytes_max <= limit,
        "{} bytes of memory for {} of input, more than {limit}",
        taken.bytes_max,
        input.len()
    );
    result.expect("it was run")
}

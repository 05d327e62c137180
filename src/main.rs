//! The command `pipe`: parse, run, print the error, exit code. Knows nothing else.

fn main() {}

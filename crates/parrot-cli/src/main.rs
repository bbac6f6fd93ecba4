//! The `parrot` command: arguments in, exit code out.

fn main() {}

//! Parrot's tasks.

fn main() {}

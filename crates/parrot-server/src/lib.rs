//! A single-threaded TCP echo server that can be embedded.

//! The system's event queue in safe Rust: kqueue on macOS and the BSDs, the same contract over epoll on Linux.

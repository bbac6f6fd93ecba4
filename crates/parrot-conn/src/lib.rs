//! The bytes of one echo connection and what it wants next: a state machine without I/O.

//! Message logs as Common Log Format or JSON lines, written by tracing layers that never block.

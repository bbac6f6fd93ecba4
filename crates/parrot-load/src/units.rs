//! Numbers as a person reads them, for parrot-load's own output and for parrot-bench.

/// A number with its digits in groups: `123,456`.
#[must_use]
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things a second, with its decimals if it is low.
#[must_use]
pub fn per_second(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.2}") } else { thousands(rate) }
}

/// A time given in microseconds, with about three digits and a unit: `16.3 ms`.
#[must_use]
pub fn microseconds(value: f64) -> String {
    let (value, unit) = match value {
        small if small < 1e3 => (small, "µs"),
        middle if middle < 1e6 => (middle / 1e3, "ms"),
        large => (large / 1e6, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// A round time given in microseconds, as a scale shows it: `20 ms`.
#[must_use]
pub fn round_time(microseconds: f64) -> String {
    match microseconds {
        small if small < 1e3 => format!("{small} µs"),
        middle if middle < 1e6 => format!("{} ms", middle / 1e3),
        large => format!("{} s", large / 1e6),
    }
}

//! The number that ties an event to what was registered.

/// A plain number chosen by the program and given back with every event of a registration.
///
/// The queue never looks at it. A slot in a table together with a generation is a good choice: an event that was
/// already on its way when its registration ended then names an entry that no longer exists, not another one.
///
/// ```
/// use parrot_kqueue::Token;
///
/// const LISTENER: Token = Token(0);
/// assert_eq!(LISTENER.0, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(
    /// The number; all of its values are the program's to use.
    pub usize,
);

//! The number that ties an event to what was registered.

/// A plain number that the program chooses for a registration and gets back with every event of it.
///
/// The queue never looks at it. A good choice is a slot in a table together with a generation. An event that was
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
    /// The number. The program may use every value.
    pub usize,
);

//! Sets of named flags, for what happened to a file or a process.

/// An example of a public set, for its documentation: code in which names stand for themselves.
macro_rules! example {
    ($name:ident, $($code:tt),+) => {
        concat!("\n```\nuse parrot_kqueue::", stringify!($name), ";\n\n", $(code!($code)),+, "\n```")
    };
}

/// A name as its text; text as it is.
macro_rules! code {
    ($text:literal) => {
        $text
    };
    ($name:ident) => {
        stringify!($name)
    };
}

/// Defines a set type with a constant for each flag. Two of the flags can be named to stand in the examples of a set
/// that is public.
macro_rules! flag_set {
    (
        $(#[$about:meta])*
        $visibility:vis $name:ident $(($one:ident, $other:ident))? {
            $($(#[$about_flag:meta])* $flag:ident = $bit:literal;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        $visibility struct $name(u8);

        #[allow(dead_code, reason = "not every set and backend has a use for each of these")]
        impl $name {
            $($(#[$about_flag])* $visibility const $flag: $name = $name($bit);)+

            /// No flag at all.
            $(#[doc = example!($name, "assert!(!", $name, "::empty().contains(", $name, "::", $one, "));")])?
            #[must_use]
            $visibility const fn empty() -> Self {
                $name(0)
            }

            /// Every flag there is, whether or not this system can report it.
            $(#[doc = example!($name, "assert!(", $name, "::all().contains(", $name, "::", $one, "));")])?
            #[must_use]
            $visibility const fn all() -> Self {
                $name(0 $(| $bit)+)
            }

            /// Whether all flags of `other` are in this set.
            $(#[doc = example!($name, "assert!(!", $name, "::", $one, ".contains(", $name, "::all()));")])?
            #[must_use]
            $visibility const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether at least one flag of `other` is in this set.
            $(#[doc = example!(
                $name, "let either = ", $name, "::", $one, " | ", $name, "::", $other, ";\n",
                "assert!(", $name, "::", $one, ".intersects(either));"
            )])?
            #[must_use]
            $visibility const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The flags of this set that are not in `other`.
            $(#[doc = example!(
                $name, "let both = ", $name, "::", $one, " | ", $name, "::", $other, ";\n",
                "assert_eq!(both.difference(", $name, "::", $one, "), ", $name, "::", $other, ");"
            )])?
            #[must_use]
            $visibility const fn difference(self, other: Self) -> Self {
                $name(self.0 & !other.0)
            }

            /// Whether no flag is in this set.
            $(#[doc = example!($name, "assert!(!", $name, "::", $one, ".is_empty());")])?
            #[must_use]
            $visibility const fn is_empty(self) -> bool {
                self.0 == 0
            }

            pub(crate) const fn bits(self) -> u8 {
                self.0
            }

            pub(crate) const fn from_bits(bits: u8) -> Self {
                $name(bits & Self::all().0)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                $name(self.0 | other.0)
            }
        }

        impl std::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl std::ops::BitAnd for $name {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                $name(self.0 & other.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut set = formatter.debug_set();
                $(if self.contains($name::$flag) {
                    set.entry(&format_args!("{}", stringify!($flag)));
                })+
                set.finish()
            }
        }
    };
}

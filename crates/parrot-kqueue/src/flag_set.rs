//! Sets of named flags, such as what happened to a file or a process.

/// Defines a set type with a constant for each flag.
macro_rules! flag_set {
    (
        $(#[$about:meta])*
        $visibility:vis $name:ident {
            $($(#[$about_flag:meta])* $flag:ident = $bit:literal;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        $visibility struct $name(u8);

        #[allow(dead_code, reason = "not every set and backend has a use for each of these")]
        impl $name {
            $($(#[$about_flag])* $visibility const $flag: $name = $name($bit);)+

            /// No flags.
            #[must_use]
            $visibility const fn empty() -> Self {
                $name(0)
            }

            /// Every flag, whether or not this system reports it.
            #[must_use]
            $visibility const fn all() -> Self {
                $name(0 $(| $bit)+)
            }

            /// Whether all flags of `other` are in this set.
            #[must_use]
            $visibility const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether at least one flag of `other` is in this set.
            #[must_use]
            $visibility const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The flags of this set that are not in `other`.
            #[must_use]
            $visibility const fn difference(self, other: Self) -> Self {
                $name(self.0 & !other.0)
            }

            /// Whether no flag is in this set.
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

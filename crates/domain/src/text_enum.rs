//! The macro that writes the name of each state once.

// `$text` is a `tt`: utoipa does not recognize a literal that a macro passes on as `literal`.
/// Defines an enum whose values are texts in columns, JSON, logs and metrics. With `as <proto enum>` it converts to and
/// from the gRPC enum with the same variants; a variant that only one of them has does not compile.
macro_rules! text_enum {
    ($(#[$meta:meta])* pub enum $name:ident as $wire:ty {
        $($(#[$doc:meta])* $variant:ident = $text:tt),+ $(,)?
    }) => {
        $crate::text_enum::text_enum! {
            $(#[$meta])* pub enum $name { $($(#[$doc])* $variant = $text),+ }
        }

        #[cfg(feature = "proto")]
        impl From<$name> for $wire {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant),+
                }
            }
        }

        #[cfg(feature = "proto")]
        impl From<$name> for i32 {
            fn from(value: $name) -> Self {
                <$wire>::from(value).into()
            }
        }

        #[cfg(feature = "proto")]
        impl TryFrom<$wire> for $name {
            type Error = $crate::UnknownValue;

            fn try_from(value: $wire) -> Result<Self, Self::Error> {
                match value {
                    // Zero is what a sender that does not know the field leaves there.
                    <$wire>::Unspecified => Err($crate::UnknownValue::new(stringify!($name), 0)),
                    $(<$wire>::$variant => Ok(Self::$variant)),+
                }
            }
        }

        #[cfg(feature = "proto")]
        impl TryFrom<i32> for $name {
            type Error = $crate::UnknownValue;

            fn try_from(value: i32) -> Result<Self, Self::Error> {
                let known = <$wire>::try_from(value);
                known.map_err(|_| $crate::UnknownValue::new(stringify!($name), value))?.try_into()
            }
        }
    };
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $text:tt),+ $(,)?
    }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
        #[cfg_attr(feature = "sql", derive(sqlx::Type), sqlx(type_name = "text"))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        $(#[$meta])*
        pub enum $name {
            $(
                $(#[$doc])*
                #[serde(rename = $text)]
                #[cfg_attr(feature = "sql", sqlx(rename = $text))]
                $variant
            ),+
        }

        impl $name {
            // The length from the texts, because a macro cannot count its variants.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl $crate::ClosedSet for $name {
            const TEXTS: &'static [&'static str] = &[$($text),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.into_iter().find(|value| value.as_str() == text).ok_or($crate::UnknownText)
            }
        }
    };
}
pub(crate) use text_enum;

/// A type with a closed set of values, each with its text.
pub trait ClosedSet {
    const TEXTS: &'static [&'static str];
}

/// The text is not the text of any value of the enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is not known")]
pub struct UnknownText;

/// A value of a gRPC enum that this program does not know: the sender is newer, or did not set it.
#[cfg(feature = "proto")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} has no value {value}")]
pub struct UnknownValue {
    pub name: &'static str,
    pub value: i32,
}

#[cfg(feature = "proto")]
impl UnknownValue {
    pub(crate) const fn new(name: &'static str, value: i32) -> Self {
        Self { name, value }
    }
}

#[cfg(test)]
mod tests {
    use crate::{LiveStatus, SessionStatus};

    #[test]
    fn text_is_the_same_in_json_and_when_parsed() {
        for status in SessionStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("open".parse::<SessionStatus>().is_err());
    }

    #[cfg(feature = "openapi")]
    #[test]
    fn schema_has_the_texts_of_json() {
        let schema = serde_json::to_value(<SessionStatus as utoipa::PartialSchema>::schema()).unwrap();
        let texts: Vec<_> = SessionStatus::ALL.iter().map(|status| status.as_str()).collect();
        assert_eq!(schema["enum"], serde_json::json!(texts), "{schema}");
    }

    #[cfg(feature = "proto")]
    #[test]
    fn unknown_and_unspecified_values_are_refused() {
        for status in LiveStatus::ALL {
            assert_eq!(LiveStatus::try_from(i32::from(status)), Ok(status));
        }
        for unknown in [0, 99, -1] {
            assert_eq!(LiveStatus::try_from(unknown).unwrap_err().value, unknown);
        }
    }
}

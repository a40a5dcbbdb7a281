//! A personal value is anything that tells who the data subject is or what is held about them; it is never printed.

use std::fmt;
use zeroize::Zeroize;

/// Wraps a personal value so that it cannot reach a log, an error or a response by accident: its `Debug` is a
/// placeholder, and it has neither `Display` nor `Serialize`. The memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Personal<T: Zeroize>(T);

impl<T: Zeroize> Personal<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Each use is a place where personal data are in clear: a connector call, the sealing of a
    /// row, or a response to the controller that owns it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<personal>")
    }
}

impl<T: Zeroize> Drop for Personal<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl From<&str> for Personal<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl From<String> for Personal<String> {
    fn from(value: String) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personal_value_does_not_show_in_debug_output() {
        let value = Personal::from("canary@example.com");
        assert_eq!(format!("{value:?} {:?}", Some(&value)), "<personal> Some(<personal>)");
    }
}

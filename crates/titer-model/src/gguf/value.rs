//! The values of metadata.

/// A value of metadata; all widths of a kind of number are one.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// u8 to u64.
    Unsigned(u64),
    /// i8 to i64.
    Signed(i64),
    /// f32 and f64.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8; bytes that are not become U+FFFD.
    String(String),
    /// Many values of one type.
    Array(Array),
}

/// Many values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// u8 to u64.
    Unsigned(Vec<u64>),
    /// i8 to i64.
    Signed(Vec<i64>),
    /// f32 and f64.
    Floats(Vec<f64>),
    /// True or false.
    Bools(Vec<bool>),
    /// Texts.
    Strings(Vec<String>),
    /// Arrays again.
    Arrays(Vec<Array>),
}

//! The values that D-Bus carries, and their bytes.

use std::io;

use super::strange;

/// How deep values may be nested, as the specification says for each kind.
const DEEPEST: usize = 32;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `s`
    Text(String),
    /// `o`: the path of an object
    Path(String),
    /// `g`
    Signature(String),
    /// `a`: the signature of its elements, which may be none, and the elements
    Array(&'static str, Vec<Self>),
    /// `(…)`; an entry of a dictionary too
    Struct(Vec<Self>),
    /// `v`
    Variant(Box<Self>),
}

impl Value {
    /// Returns its signature.
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::Int32(_) => "i".to_owned(),
            Self::Uint32(_) => "u".to_owned(),
            Self::Int64(_) => "x".to_owned(),
            Self::Uint64(_) => "t".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Array(elements, _) => format!("a{elements}"),
            Self::Struct(parts) => {
                format!("({})", parts.iter().map(Self::signature).collect::<String>())
            }
            Self::Variant(_) => "v".to_owned(),
        }
    }

    /// A text in a variant.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts.
    pub fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::Array("s", texts.into_iter().map(Self::Text).collect())
    }
}

/// Returns the border at which values of a signature begin.
fn alignment(signature: u8) -> usize {
    match signature {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

/// Writes values, little-endian.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn align(&mut self, border: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(border), 0);
    }

    pub(super) fn value(&mut self, value: &Value) {
        self.align(alignment(value.signature().as_bytes()[0]));
        match value {
            Value::Byte(byte) => self.bytes.push(*byte),
            Value::Bool(value) => self.number(u32::from(*value)),
            Value::Int32(value) => self.number(value.cast_unsigned()),
            Value::Uint32(value) => self.number(*value),
            Value::Int64(value) => self.bytes.extend(value.to_le_bytes()),
            Value::Uint64(value) => self.bytes.extend(value.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => {
                self.number(length(text.len()));
                self.bytes.extend(text.as_bytes());
                self.bytes.push(0);
            }
            Value::Signature(text) => self.signature(text),
            Value::Array(elements, values) => {
                let at = self.bytes.len();
                self.number(0);
                self.align(alignment(elements.bytes().next().unwrap_or_default()));
                let begin = self.bytes.len();
                values.iter().for_each(|value| self.value(value));
                let long = length(self.bytes.len() - begin);
                self.bytes[at..at + 4].copy_from_slice(&long.to_le_bytes());
            }
            Value::Struct(parts) => parts.iter().for_each(|part| self.value(part)),
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
        }
    }

    fn number(&mut self, number: u32) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }
}

/// What is longer than this is longer than any message may be, and nobody takes it.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Reads values.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, big: bool) -> Self {
        Self { bytes, at, big }
    }

    /// Reads the values of a signature.
    pub(super) fn all(&mut self, signature: &str) -> io::Result<Vec<Value>> {
        let mut signature = signature.as_bytes();
        let mut values = Vec::new();
        while !signature.is_empty() {
            let (one, rest) = signature.split_at(one(signature, 0)?);
            values.push(self.value(one, 0)?);
            signature = rest;
        }
        Ok(values)
    }

    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| strange("a message is too short"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, border: usize) -> io::Result<()> {
        let missing = self.at.next_multiple_of(border) - self.at;
        self.take(missing).map(drop)
    }

    fn wide<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        if self.big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u32> {
        self.wide().map(u32::from_le_bytes)
    }

    fn string(&mut self, length: usize) -> io::Result<String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    fn value(&mut self, signature: &[u8], depth: usize) -> io::Result<Value> {
        if depth > DEEPEST {
            return Err(strange("a message is nested too deeply"));
        }
        let kind = signature[0];
        self.align(alignment(kind))?;
        Ok(match kind {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => Value::Bool(self.number()? != 0),
            b'n' => Value::Int32(i16::from_le_bytes(self.wide()?).into()),
            b'q' => Value::Uint32(u16::from_le_bytes(self.wide()?).into()),
            b'i' => Value::Int32(self.number()?.cast_signed()),
            b'u' | b'h' => Value::Uint32(self.number()?),
            b'x' => Value::Int64(i64::from_le_bytes(self.wide()?)),
            // Nobody here wants what a floating point number says.
            b't' | b'd' => Value::Uint64(u64::from_le_bytes(self.wide()?)),
            b's' | b'o' => {
                let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
                let text = self.string(length)?;
                if kind == b's' { Value::Text(text) } else { Value::Path(text) }
            }
            b'g' => {
                let length = usize::from(self.take(1)?[0]);
                Value::Signature(self.string(length)?)
            }
            b'a' => {
                let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
                let element = &signature[1..];
                self.align(alignment(element[0]))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
                let end = end.ok_or_else(|| strange("a list is longer than its message"))?;
                let mut values = Vec::new();
                while self.at < end {
                    let before = self.at;
                    values.push(self.value(element, depth + 1)?);
                    if self.at == before {
                        return Err(strange("a list has elements of no length"));
                    }
                }
                Value::Array("", values)
            }
            b'(' | b'{' => {
                let mut inner = &signature[1..signature.len() - 1];
                let mut parts = Vec::new();
                while !inner.is_empty() {
                    let (first, rest) = inner.split_at(one(inner, 0)?);
                    parts.push(self.value(first, depth + 1)?);
                    inner = rest;
                }
                Value::Struct(parts)
            }
            b'v' => {
                let length = usize::from(self.take(1)?[0]);
                let signature = self.string(length)?.into_bytes();
                if one(&signature, 0)? != signature.len() {
                    return Err(strange("a variant has not one value"));
                }
                Value::Variant(Box::new(self.value(&signature, depth + 1)?))
            }
            _ => return Err(strange("a message has a value of an unknown kind")),
        })
    }
}

/// Returns the length of the first complete part of a signature.
fn one(signature: &[u8], depth: usize) -> io::Result<usize> {
    if depth > DEEPEST {
        return Err(strange("a signature is nested too deeply"));
    }
    let close = match signature.first() {
        None => return Err(strange("a signature ends too early")),
        Some(b'a') => return Ok(1 + one(&signature[1..], depth + 1)?),
        Some(b'(') => b')',
        Some(b'{') => b'}',
        Some(_) => return Ok(1),
    };
    let mut at = 1;
    while signature.get(at) != Some(&close) {
        at += one(&signature[at.min(signature.len())..], depth + 1)?;
    }
    Ok(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_bytes_of_the_specification() {
        let mut writer = Writer::default();
        writer.value(&Value::Byte(1));
        writer.value(&Value::Array("t", vec![Value::Uint64(2)]));
        // The length of an array does not count what aligns its first element.
        let want = [1, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(writer.into_bytes(), want);
        let mut writer = Writer::default();
        writer.value(&Value::Variant(Box::new(Value::text("ab"))));
        assert_eq!(writer.into_bytes(), [1, b's', 0, 0, 2, 0, 0, 0, b'a', b'b', 0]);
    }

    #[test]
    fn reads_what_it_writes() {
        let values = [
            Value::Bool(true),
            Value::Int32(-3),
            Value::Int64(-4),
            Value::Path("/a".to_owned()),
            Value::Struct(vec![
                Value::Byte(5),
                Value::Variant(Box::new(Value::Struct(vec![Value::text(""), Value::Uint32(6)]))),
            ]),
        ];
        let mut writer = Writer::default();
        values.iter().for_each(|value| writer.value(value));
        let signature: String = values.iter().map(Value::signature).collect();
        assert_eq!(signature, "bixo(yv)");
        let bytes = writer.into_bytes();
        assert_eq!(Reader::new(&bytes, 0, false).all(&signature).unwrap(), values);
        for end in 0..bytes.len() {
            assert!(Reader::new(&bytes[..end], 0, false).all(&signature).is_err(), "{end}");
        }
    }

    #[test]
    fn strange_signatures_are_errors() {
        for signature in ["a", "(", "(i", "a{s", ")", "z", &"a".repeat(99), &"(".repeat(99)] {
            assert!(Reader::new(&[0; 64], 0, false).all(signature).is_err(), "{signature}");
        }
        // A list of nothing would never end.
        assert!(
            Reader::new(&[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, false)
                .all("a()")
                .is_err()
        );
    }
}

//! What a Parquet file says of its columns, looked at before the library believes it: that makes room for as many
//! children as a group says it has, and goes as deep as groups lie in each other
//! (<https://parquet.apache.org/docs/file-format/metadata/>, in Thrift's compact protocol).

/// Groups in each other at most: data sets have a handful.
const DEEPEST: usize = 64;

/// How the footer ends: its length in four bytes, and this.
const MARK: &[u8] = b"PAR1";

// Types of the compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// The list of a schema's elements in the metadata, and the number of children in an element.
const SCHEMA: i64 = 2;
const CHILDREN: i64 = 5;

/// What is wrong with the schema in the footer of a file. What cannot be read here, the library says better.
pub(super) fn problem(file: &[u8]) -> Option<&'static str> {
    let (rest, end) = file.split_last_chunk::<8>()?;
    let length = u32::from_le_bytes(*end.first_chunk()?) as usize;
    let footer = rest.get(rest.len().checked_sub(length)?..).filter(|_| end.ends_with(MARK))?;
    let mut reader = Reader { rest: footer };
    let mut field = 0;
    loop {
        let kind = reader.field(&mut field)?;
        if field == SCHEMA && kind == LIST {
            return deep(&reader.children()?);
        }
        reader.skip(kind, DEEPEST)?;
    }
}

/// What is wrong with a tree, given as each node's number of children, parents first.
fn deep(children: &[i64]) -> Option<&'static str> {
    let mut open = Vec::new();
    for (left, count) in (0..children.len()).rev().zip(children) {
        while open.pop_if(|more| *more == 0).is_some() {}
        if let Some(more) = open.last_mut() {
            *more -= 1;
        }
        match usize::try_from(*count) {
            Ok(count) if count > left => {
                return Some("a group of its schema has more columns than there are");
            }
            Ok(count) if count > 0 => open.push(count),
            _ => {}
        }
        if open.len() > DEEPEST {
            return Some("its columns lie in each other more than 64 deep");
        }
    }
    None
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// One that may be negative.
    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn leave(&mut self, count: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    /// The type of a structure's next field, whose number comes after `before`; none at the end.
    fn field(&mut self, before: &mut i64) -> Option<u8> {
        let head = self.byte()?;
        let (step, kind) = (i64::from(head >> 4), head & 0x0f);
        *before = if step == 0 && kind != 0 { self.signed()? } else { before.checked_add(step)? };
        (kind != 0).then_some(kind)
    }

    /// The number of a list's elements and their type.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
        Some((count, head & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.leave(1),
            DOUBLE => self.leave(8),
            I16..=I64 => self.number().map(|_| ()),
            BINARY => self.number().and_then(|count| self.leave(count)),
            LIST | SET => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            MAP => {
                let count = self.number()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0f, depth)
                })
            }
            STRUCT => {
                let mut field = 0;
                // The end of a structure is no field.
                while self.rest.first().is_some_and(|head| head & 0x0f != 0) {
                    let kind = self.field(&mut field)?;
                    self.skip(kind, depth)?;
                }
                self.leave(1)
            }
            _ => None,
        }
    }

    /// Truths in lists and maps take a byte, in structures none.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        self.skip(if [TRUE, FALSE].contains(&kind) { BYTE } else { kind }, depth)
    }

    /// The number of children of each element of a schema.
    fn children(&mut self) -> Option<Vec<i64>> {
        let (count, _) = self.list()?;
        let mut all = Vec::new();
        for _ in 0..count {
            let (mut field, mut children) = (0, 0);
            while self.rest.first()? & 0x0f != 0 {
                let kind = self.field(&mut field)?;
                if field == CHILDREN && (BYTE..=I64).contains(&kind) {
                    children = self.signed()?;
                } else {
                    self.skip(kind, DEEPEST)?;
                }
            }
            self.leave(1)?;
            all.push(children);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversations::{ConversationError, Conversations, Options};

    /// A file whose schema has groups of these numbers of children.
    fn file(children: &[i32]) -> Vec<u8> {
        let mut footer = vec![0x15, 2, 0x19, 0xf0 | STRUCT];
        let number = |to: &mut Vec<u8>, mut number: u64| {
            while number >= 0x80 {
                to.push(number as u8 | 0x80);
                number >>= 7;
            }
            to.push(number as u8);
        };
        number(&mut footer, children.len() as u64);
        for count in children {
            // Name and number of children.
            footer.extend([0x48, 1, b'x', 0x15]);
            number(&mut footer, (i64::from(*count) << 1).cast_unsigned());
            footer.push(0);
        }
        footer.push(0);
        let length = footer.len() as u32;
        [MARK, &footer, &length.to_le_bytes(), MARK].concat()
    }

    #[test]
    fn groups_that_cannot_be_are_refused_before_room_is_made_for_them() {
        assert_eq!(problem(&file(&[2, 0, 1, 0])), None);
        assert_eq!(problem(&file(&[3, 0, 0])), Some("a group of its schema has more columns than there are"));
        assert!(problem(&file(&[i32::MAX])).is_some());
        assert!(problem(&file(&[1; 60])).is_some(), "the last has none");
        let deep = |depth: usize| [vec![1; depth], vec![0]].concat();
        assert_eq!(problem(&file(&deep(60))), None);
        assert!(problem(&file(&deep(100))).is_some_and(|problem| problem.contains("deep")));
    }

    #[test]
    fn such_a_file_is_an_error_of_whoever_reads_it() {
        for bytes in [file(&[i32::MAX]), file(&[vec![1; 100_000], vec![0]].concat())] {
            let read = Conversations::read(bytes, &Options::default());
            assert!(matches!(read, Err(ConversationError::Format { format: "Parquet", .. })), "{read:?}");
        }
    }

    #[test]
    fn any_bytes_are_looked_at_to_an_end() {
        let whole = file(&[2, 0, 1, 0]);
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = problem(&changed);
            }
        }
    }
}

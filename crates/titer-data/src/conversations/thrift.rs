//! Structures in Thrift's compact protocol, walked by a description of what they hold
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).

/// Structures and lists in each other at most, in what the description does not know.
const DEEPEST: usize = 64;

/// The type of a field, as its structure lays it down.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Truth,
    /// A number of one byte.
    Byte,
    Short,
    Int,
    Long,
    Real,
    /// Bytes or text.
    Binary,
    List(&'static Type),
    Of(&'static Structure),
}

/// A structure's or a union's fields by their numbers.
#[derive(Debug)]
pub(super) struct Structure {
    pub(super) name: &'static str,
    pub(super) fields: &'static [(i16, &'static str, Type)],
}

/// What a walk meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// A number of two bytes and more, with the name of its field.
    Number(&'static str, i64),
    /// The end of a structure of this name.
    End(&'static str),
}

// Types of the protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

impl Type {
    /// Whether a field may say that it is of `kind`.
    fn is(self, kind: u8) -> bool {
        match self {
            Self::Truth => [TRUE, FALSE].contains(&kind),
            Self::Byte => kind == BYTE,
            Self::Short => kind == I16,
            Self::Int => kind == I32,
            Self::Long => kind == I64,
            Self::Real => kind == DOUBLE,
            Self::Binary => kind == BINARY,
            Self::List(_) => kind == LIST,
            Self::Of(_) => kind == STRUCT,
        }
    }
}

const CUT: &str = "it ends within a field";
const WIDE: &str = "a number in it has too many bytes";

/// Walks a structure at the front of `bytes` and returns the bytes after it. A field that is not of the type laid down, and
/// lists of truths where nothing is known of them, are refused: a reader that goes by numbers of fields alone takes the
/// former for what they are not, and one that skips the latter may count to thousands of millions without reading a byte.
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    structure: &'static Structure,
    met: &mut impl FnMut(Met),
) -> Result<&'a [u8], String> {
    let mut walker = Walker { rest: bytes };
    walker.structure(structure, met)?;
    Ok(walker.rest)
}

struct Walker<'a> {
    rest: &'a [u8],
}

impl Walker<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let (byte, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(WIDE.to_owned())
    }

    /// One that may be negative.
    fn signed(&mut self) -> Result<i64, String> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn leave(&mut self, count: u64) -> Result<(), String> {
        let rest = usize::try_from(count).ok().and_then(|count| self.rest.get(count..));
        self.rest = rest.ok_or(CUT)?;
        Ok(())
    }

    /// The number and the type of a structure's next field, which comes after number `before`; none at the end.
    fn field(&mut self, before: i16) -> Result<Option<(i16, u8)>, String> {
        let head = self.byte()?;
        let (step, kind) = (i16::from(head >> 4), head & 0x0f);
        if kind == 0 {
            return Ok(None);
        }
        let number = match step {
            0 => i16::try_from(self.signed()?).ok(),
            _ => before.checked_add(step),
        };
        Ok(Some((number.ok_or("a field in it has a number that none can have")?, kind)))
    }

    /// The number of a list's elements and their type.
    fn list(&mut self) -> Result<(u64, u8), String> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
        Ok((count, head & 0x0f))
    }

    fn structure(&mut self, structure: &'static Structure, met: &mut impl FnMut(Met)) -> Result<(), String> {
        let mut before = 0;
        while let Some((number, kind)) = self.field(before)? {
            match structure.fields.iter().find(|(known, ..)| *known == number) {
                Some((_, name, laid)) if laid.is(kind) => self.value(name, *laid, met)?,
                Some((_, name, _)) => {
                    return Err(format!("{}.{name} is not of its type", structure.name));
                }
                None => self.skip(kind, DEEPEST)?,
            }
            before = number;
        }
        met(Met::End(structure.name));
        Ok(())
    }

    fn value(&mut self, name: &'static str, laid: Type, met: &mut impl FnMut(Met)) -> Result<(), String> {
        match laid {
            // In the type.
            Type::Truth => Ok(()),
            Type::Byte => self.leave(1),
            Type::Short | Type::Int | Type::Long => {
                met(Met::Number(name, self.signed()?));
                Ok(())
            }
            Type::Real => self.leave(8),
            Type::Binary => self.number().and_then(|count| self.leave(count)),
            Type::List(element) => {
                let (count, kind) = self.list()?;
                if count > 0 && !element.is(kind) {
                    return Err(format!("{name} is a list of another type"));
                }
                (0..count).try_for_each(|_| self.value(name, *element, met))
            }
            Type::Of(structure) => self.structure(structure, met),
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        let depth = depth.checked_sub(1).ok_or("what it holds lies in each other more than 64 deep")?;
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.leave(1),
            DOUBLE => self.leave(8),
            UUID => self.leave(16),
            I16 | I32 | I64 => self.number().map(|_| ()),
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
                while let Some((_, kind)) = self.field(0)? {
                    self.skip(kind, depth)?;
                }
                Ok(())
            }
            _ => Err(format!("a field in it is of type {kind}, which there is none")),
        }
    }

    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        match kind {
            TRUE | FALSE => Err("it has a list of truths in a field that is not known".to_owned()),
            kind => self.skip(kind, depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static INNER: Structure = Structure { name: "Inner", fields: &[(1, "deep", Type::Int)] };
    static OUTER: Structure = Structure {
        name: "Outer",
        fields: &[
            (1, "size", Type::Long),
            (2, "all", Type::List(&Type::Of(&INNER))),
            (3, "sure", Type::Truth),
            (4, "name", Type::Binary),
        ],
    };

    fn walked(bytes: &[u8]) -> Result<(Vec<Met>, usize), String> {
        let mut all = Vec::new();
        let rest = walk(bytes, &OUTER, &mut |met| all.push(met))?;
        Ok((all, rest.len()))
    }

    #[test]
    fn numbers_are_met_in_their_order_and_what_is_not_known_is_left() {
        let bytes = [
            0x16, 0xac, 0x02, // size = 150
            0x19, 0x2c, 0x15, 0x03, 0, 0,    // all = [deep = −2, nothing]
            0x11, // sure
            0x18, 2, b'a', b'b', // name
            0x3c, 0x19, 0x25, 1, 2, 0, // field 7, a structure with a list of two numbers
            0x0b, 0x20, 1, 0x57, 1, 0, 0, 0, 0, 0, 0, 0, 0, // field 16, a map of a number to a real one
            0, 9, 9,
        ];
        let deep = [Met::Number("deep", -2), Met::End("Inner"), Met::End("Inner")];
        let met = [vec![Met::Number("size", 150)], deep.to_vec(), vec![Met::End("Outer")]].concat();
        assert_eq!(walked(&bytes), Ok((met, 2)));
        for cut in 0..bytes.len() - 2 {
            assert!(walked(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn fields_of_another_type_and_truths_without_a_byte_are_refused() {
        let refused = |bytes: &[u8], words: &str| {
            let problem = walked(bytes).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        };
        // One of four bytes where one of eight is laid down; a truth; a list of numbers.
        refused(&[0x15, 2, 0], "Outer.size");
        refused(&[0x11, 0], "Outer.size");
        refused(&[0x29, 0x15, 2, 0], "all is a list of another type");
        // By its whole number, as any other.
        refused(&[0x01, 2, 0], "Outer.size");
        // Two thousand million truths in a list, in a set, in a list of lists; in a map, as keys and as values.
        for truth in [TRUE, FALSE] {
            let many = [0xf0 | truth, 0xff, 0xff, 0xff, 0xff, 0x07];
            refused(&[&[0x99][..], &many].concat(), "truths");
            refused(&[&[0x9a][..], &many].concat(), "truths");
            refused(&[&[0x99, 0x19][..], &many].concat(), "truths");
            refused(&[0x9b, 1, truth << 4 | BYTE, 1], "truths");
            refused(&[0x9b, 1, BYTE << 4 | truth, 1], "truths");
        }
        // As many reals, none of which is there.
        refused(&[0x99, 0xf7, 0xff, 0xff, 0xff, 0xff, 0x07], CUT);
        refused(&[0x9e, 0], "type 14");
        refused(&[&[0x99][..], &[0x19; 100], &[0x03, 0, 0]].concat(), "deep");
    }
}

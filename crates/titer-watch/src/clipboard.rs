//! Copying through the terminal (OSC 52): it works over SSH, and the terminal decides whether it may be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes at most: more, and some terminals drop all of it.
const LONGEST: usize = 74_000;
/// Bytes of a string that screen passes on in one piece.
const PIECE: usize = 700;

/// What stands between this program and the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// Nothing.
    Nothing,
    /// tmux, which takes the sequence itself or passes it on, by its settings.
    Tmux,
    /// GNU screen, which passes on what is wrapped.
    Screen,
}

impl Through {
    /// By the environment.
    pub(crate) fn this() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if set("TMUX") {
            Self::Tmux
        } else if set("STY") {
            Self::Screen
        } else {
            Self::Nothing
        }
    }
}

/// The bytes that make a terminal copy `text`.
pub(crate) fn sequence(text: &str, through: Through) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    let plain = format!("\u{1b}]52;c;{}\u{7}", STANDARD.encode(text));
    match through {
        Through::Nothing => plain.into_bytes(),
        // Both ways: which of them tmux heeds is a matter of `set-clipboard` and `allow-passthrough`.
        Through::Tmux => {
            let doubled = plain.replace('\u{1b}', "\u{1b}\u{1b}");
            format!("{plain}\u{1b}Ptmux;{doubled}\u{1b}\\").into_bytes()
        }
        Through::Screen => {
            let pieces = plain.as_bytes().chunks(PIECE);
            pieces.flat_map(|piece| [b"\x1bP", piece, b"\x1b\\"].concat()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, through: Through) -> String {
        String::from_utf8(sequence(text, through)).unwrap().replace('\u{1b}', "ESC").replace('\u{7}', "BEL")
    }

    #[test]
    fn each_way_has_its_wrapping() {
        assert_eq!(shown("hé", Through::Nothing), "ESC]52;c;aMOpBEL");
        assert_eq!(shown("a", Through::Tmux), "ESC]52;c;YQ==BELESCPtmux;ESCESC]52;c;YQ==BELESC\\");
        let long = shown(&"a".repeat(2000), Through::Screen);
        assert_eq!(long.matches("ESCP").count(), 4);
        assert!(long.split("ESC\\").all(|piece| piece.len() <= PIECE + 8), "{long}");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let sequence = sequence(&"é".repeat(100_000), Through::Nothing);
        assert!(sequence.len() < 100_000, "{}", sequence.len());
    }
}

//! What a terminal can show, by what the user and the environment say.

use super::look::{Colours, Glyphs, Look};

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// Where the terminal has them and NO_COLOR is not set.
    #[default]
    Auto,
    /// Even so.
    Always,
    /// No colours.
    Never,
}

/// How things look on a terminal that `variable` describes.
pub(crate) fn look(colour: Colour, ascii: bool, variable: impl Fn(&str) -> Option<String>) -> Look {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let terminal = variable("TERM").unwrap_or_default();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name)).unwrap_or_default();
    let utf8 = ["utf-8", "utf8"].iter().any(|name| locale.to_lowercase().contains(name));
    // The Linux console and older terminals have neither Braille nor check marks.
    let plain = ["dumb", "linux", "vt52", "vt100", "vt102", "vt220", "ansi"].contains(&terminal.as_str());
    let glyphs = if ascii || !utf8 || plain { Glyphs::Ascii } else { Glyphs::Unicode };
    let forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let wanted = match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if variable("NO_COLOR").is_some() => false,
        Colour::Auto => forced || !["dumb", "vt52", "vt100", "vt102", "vt220"].contains(&terminal.as_str()),
    };
    let colours = if wanted { depth(&terminal, &variable) } else { Colours::None };
    Look { colours, glyphs }
}

/// How many colours a terminal of this name has.
fn depth(terminal: &str, variable: &impl Fn(&str) -> Option<String>) -> Colours {
    // GNU screen passes on what the terminal outside says of itself, and does not understand it.
    let screen = terminal.starts_with("screen") && variable("STY").is_some();
    let said = variable("COLORTERM").unwrap_or_default();
    if !screen && (["truecolor", "24bit"].contains(&said.as_str()) || terminal.ends_with("-direct")) {
        Colours::True
    } else if terminal.contains("256color") {
        Colours::Indexed
    } else {
        Colours::Sixteen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(colour: Colour, variables: &[(&str, &str)]) -> (Colours, Glyphs) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let look = look(colour, false, variable);
        (look.colours, look.glyphs)
    }

    #[test]
    fn what_terminals_can_show() {
        use Colour::{Always, Auto, Never};
        use Colours::{Indexed, None, Sixteen, True};
        use Glyphs::{Ascii, Unicode};
        const UTF8: (&str, &str) = ("LANG", "en_GB.UTF-8");
        let check = |colour, variables: &[(&str, &str)], expected| {
            assert_eq!(of(colour, variables), expected, "{colour:?} {variables:?}");
        };
        check(Auto, &[], (Sixteen, Ascii));
        check(Auto, &[UTF8, ("TERM", "xterm-256color")], (Indexed, Unicode));
        check(Auto, &[UTF8, ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")], (True, Unicode));
        check(Auto, &[("LANG", "C"), ("TERM", "xterm")], (Sixteen, Ascii));
        check(Auto, &[("LC_ALL", "C"), UTF8, ("TERM", "xterm")], (Sixteen, Ascii));
        check(Auto, &[UTF8, ("TERM", "linux")], (Sixteen, Ascii));
        check(Auto, &[UTF8, ("TERM", "dumb")], (None, Ascii));
        check(Auto, &[UTF8, ("TERM", "xterm"), ("NO_COLOR", "1")], (None, Unicode));
        check(Auto, &[UTF8, ("TERM", "xterm"), ("NO_COLOR", "")], (Sixteen, Unicode));
        check(Always, &[UTF8, ("TERM", "xterm"), ("NO_COLOR", "1")], (Sixteen, Unicode));
        check(Never, &[UTF8, ("TERM", "xterm")], (None, Unicode));
        check(Auto, &[UTF8, ("TERM", "tmux-256color"), ("TMUX", "x")], (Indexed, Unicode));
        let screen = [UTF8, ("TERM", "screen"), ("STY", "x"), ("COLORTERM", "truecolor")];
        check(Auto, &screen, (Sixteen, Unicode));
    }

    #[test]
    fn ascii_may_be_asked_for() {
        let look = look(Colour::Auto, true, |_| Some("xterm.UTF-8".into()));
        assert_eq!(look.glyphs, Glyphs::Ascii);
    }
}

//! Text of unknown origin inside markup: sanitised, then escaped.

use titer_view::sanitise;

/// Inside an HTML or SVG element or a quoted attribute; on one line.
pub(crate) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in sanitise::line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Inside a Markdown paragraph or table cell; on one line.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in sanitise::line(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '<' | '|' | '[' | '#' | '~' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// As a fenced Markdown block whose fence is longer than any run of backticks inside.
pub(crate) fn markdown_block(language: &str, text: &str) -> String {
    let text = sanitise::text(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(html("<b a=\"1\">&'\u{202e}\n"), "&lt;b a=&quot;1&quot;&gt;&amp;&#x27; ");
        assert_eq!(markdown("a|b *c* <img> [x](y)"), r"a\|b \*c\* \<img> \[x](y)");
    }

    #[test]
    fn a_fence_outgrows_its_text() {
        assert_eq!(markdown_block("toml", "a = 1\n"), "```toml\na = 1\n```\n");
        assert_eq!(markdown_block("", "```` x"), "````` \n".replace(' ', "") + "```` x\n`````\n");
    }
}

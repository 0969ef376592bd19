//! What templates expect of Python where minijinja does otherwise.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

/// White space as `str.strip` and `str.split` see it: Unicode's, and the four separators U+001C to U+001F.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Methods of Python values: our own where white space matters, minijinja's for the others.
pub(super) fn method(state: &State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args);
    };
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let (characters,): (Option<&str>,) = from_args(args)?;
            Ok(Value::from(strip(text, name, characters)))
        }
        // Between all characters, which minijinja's own counts for ever.
        "count" if matches!(args, [what] if what.as_str() == Some("")) => {
            Ok(Value::from(text.chars().count() + 1))
        }
        "split" if args.is_empty() => {
            Ok(text.split(is_space).filter(|word| !word.is_empty()).map(Value::from).collect())
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// Filter `trim`.
pub(super) fn trim(value: &Value, characters: Option<&str>) -> String {
    match value.as_str() {
        Some(text) => strip(text, "strip", characters).to_owned(),
        None => strip(&value.to_string(), "strip", characters).to_owned(),
    }
}

fn strip<'t>(text: &'t str, method: &str, characters: Option<&str>) -> &'t str {
    let drop = |character: char| characters.map_or(is_space(character), |set| set.contains(character));
    match method {
        "lstrip" => text.trim_start_matches(drop),
        "rstrip" => text.trim_end_matches(drop),
        _ => text.trim_matches(drop),
    }
}

/// Filter `tojson`: `json.dumps`, without the escapes for HTML that Jinja's own would make.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let [item, key] = match separators {
        None if indent.is_some() => [",".to_owned(), ": ".to_owned()],
        None => [", ".to_owned(), ": ".to_owned()],
        Some(pair) => pair.try_into().map_err(|_| invalid("tojson: separators are a pair"))?,
    };
    let json = Json {
        item,
        key,
        // As many spaces a level as a screen holds: more serve no template.
        indent: indent.map(|spaces| spaces.min(80)),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut out = String::new();
    json.write(&mut out, value, 0)?;
    Ok(out)
}

fn invalid(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.into())
}

struct Json {
    item: String,
    key: String,
    indent: Option<usize>,
    sorted: bool,
    ascii: bool,
}

/// Levels of nesting that `tojson` follows.
const DEEPEST: usize = 100;

impl Json {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(invalid(format!("tojson: more than {DEEPEST} levels")));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::String => self.text(out, value.as_str().unwrap_or_default()),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                let members = keys.into_iter().map(|key| Ok((Some(key.clone()), value.get_item(&key)?)));
                self.members(out, ['{', '}'], members, depth)?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                self.members(out, ['[', ']'], value.try_iter()?.map(|item| Ok((None, item))), depth)?;
            }
            kind => return Err(invalid(format!("tojson: a value of kind {kind} is no JSON"))),
        }
        Ok(())
    }

    fn members(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        members: impl Iterator<Item = Result<(Option<Value>, Value), Error>>,
        depth: usize,
    ) -> Result<(), Error> {
        out.push(open);
        let mut empty = true;
        for member in members {
            let (key, value) = member?;
            if !empty {
                out.push_str(&self.item);
            }
            empty = false;
            self.line(out, depth + 1);
            if let Some(key) = key {
                self.text(out, &key.to_string());
                out.push_str(&self.key);
            }
            self.write(out, &value, depth + 1)?;
        }
        if !empty {
            self.line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(spaces) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', spaces * depth));
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        // JSON's own escapes are the same in serde_json and in Python.
        let quoted = serde_json::Value::from(text).to_string();
        if !self.ascii {
            return out.push_str(&quoted);
        }
        for character in quoted.chars() {
            if character.is_ascii() {
                out.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}

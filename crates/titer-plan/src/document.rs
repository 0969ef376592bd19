//! TOML as a tree that remembers where each value came from: a line of the file or a `--set`.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::before::shortest;
use crate::mistake::Mistake;

/// One `--set KEY=VALUE` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Dotted; a number picks a member of a list: `attack.0.rate`.
    pub key: String,
    /// A TOML value, or a bare word.
    pub value: String,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// The spec itself, which has no line of its own.
    Document,
    /// What holds where the spec says nothing.
    Default,
    /// A line of the file, from 1.
    Line(usize),
    /// The override of this key.
    Set(String),
}

impl Location {
    /// A mistake here, about `key`.
    pub(crate) fn mistake(&self, key: &str, problem: String, remedy: Option<String>) -> Mistake {
        let (key, line) = match self {
            Self::Document | Self::Default => (key.to_owned(), None),
            Self::Line(line) => (key.to_owned(), Some(*line)),
            Self::Set(set) => (format!("--set {set}"), None),
        };
        let problem = match self {
            Self::Default => format!("{problem} (what holds where the spec does not say it)"),
            _ => problem,
        };
        Mistake { key, line, problem, remedy }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) location: Location,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
    /// What no key takes: dates, and whole numbers of more than 64 bits.
    Other(String),
}

impl Value {
    /// The number, where it is one: whole numbers are real.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Real(number) => Some(*number),
            Self::Whole(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// What it is, for "expected …, got …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Table(_) => "a table".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Text(text) => format!("the text {text:?}"),
            Self::Whole(number) => number.to_string(),
            // `2.0` keeps its point: it is no whole number.
            Self::Real(number) if number.fract() == 0.0 => format!("{number:?}"),
            Self::Real(number) => shortest(*number),
            Self::Flag(flag) => flag.to_string(),
            Self::Other(text) => text.clone(),
        }
    }
}

/// The tree of a whole spec, with what `defaults` say where it says nothing.
///
/// # Errors
/// Every place where the text is no TOML, and every override that fits nowhere.
pub(crate) fn parse(text: &str, defaults: &str, overrides: &[Override]) -> Result<Node, Vec<Mistake>> {
    let mut root = tree(text, &|span| Location::Line(line_of(text, span.start)))?;
    fill(&mut root, tree(defaults, &|_| Location::Default)?);
    let misfits: Vec<Mistake> = overrides.iter().filter_map(|set| apply(set, &mut root).err()).collect();
    if misfits.is_empty() { Ok(root) } else { Err(misfits) }
}

/// A spec's text with what `defaults` say where it says nothing.
///
/// # Errors
/// Every place where a text is no TOML.
pub fn filled(text: &str, defaults: &str) -> Result<toml::Table, Vec<Mistake>> {
    let table = |text: &str| -> Result<toml::Table, Vec<Mistake>> {
        text.parse().map_err(|error| vec![not_toml(text, &error)])
    };
    let mut said = table(text)?;
    add(&mut said, table(defaults)?);
    Ok(said)
}

fn add(table: &mut toml::Table, defaults: toml::Table) {
    for (key, default) in defaults {
        match (table.get_mut(&key), default) {
            (Some(toml::Value::Table(there)), toml::Value::Table(default)) => add(there, default),
            (Some(_), _) => {}
            (None, default) => drop(table.insert(key, default)),
        }
    }
}

/// Adds what is there only by default; a list is taken or left as a whole.
fn fill(node: &mut Node, default: Node) {
    let (Value::Table(table), Value::Table(defaults)) = (&mut node.value, default.value) else { return };
    for (key, default) in defaults {
        match table.get_mut(&key) {
            Some(there) => fill(there, default),
            None => drop(table.insert(key, default)),
        }
    }
}

fn tree(text: &str, locate: &dyn Fn(Range<usize>) -> Location) -> Result<Node, Vec<Mistake>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut mistakes: Vec<Mistake> = errors.iter().map(|error| not_toml(text, error)).collect();
        // What follows on the same line is the parser finding its feet again.
        mistakes.dedup_by_key(|mistake| mistake.line);
        return Err(mistakes);
    }
    Ok(Node { value: table_value(table.get_ref(), locate), location: Location::Document })
}

fn not_toml(text: &str, error: &toml::de::Error) -> Mistake {
    let line = error.span().map(|span| line_of(text, span.start));
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let message = message.strip_suffix(", expected nothing").unwrap_or(&message);
    let problem = format!("this is no TOML: {message}");
    Mistake { key: String::new(), line, problem, remedy: None }
}

/// The line of a dotted key in a spec's text, from 1; none where it is not there.
pub fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let root = tree(text, &|span| Location::Line(line_of(text, span.start))).ok()?;
    let mut node = &root;
    for part in key.split('.') {
        let Value::Table(table) = &node.value else { return None };
        node = table.get(part)?;
    }
    match node.location {
        Location::Line(line) => Some(line),
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn table_value(table: &DeTable<'_>, locate: &dyn Fn(Range<usize>) -> Location) -> Value {
    let entry = |(key, value): (&Spanned<_>, &Spanned<_>)| {
        let node = Node { value: value_of(value.get_ref(), locate), location: locate(key.span()) };
        (String::from(AsRef::<str>::as_ref(key.get_ref())), node)
    };
    Value::Table(table.iter().map(entry).collect())
}

fn value_of(value: &DeValue<'_>, locate: &dyn Fn(Range<usize>) -> Location) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Whole(number),
            Err(_) => Value::Other(format!("{number}, which has more than 64 bits")),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Real(number),
            Err(_) => Value::Other(number.to_string()),
        },
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Other(format!("the date {date}")),
        DeValue::Array(list) => {
            let member = |member: &Spanned<DeValue<'_>>| Node {
                value: value_of(member.get_ref(), locate),
                location: locate(member.span()),
            };
            Value::List(list.iter().map(member).collect())
        }
        DeValue::Table(table) => table_value(table, locate),
    }
}

fn apply(set: &Override, root: &mut Node) -> Result<(), Mistake> {
    let location = Location::Set(set.key.clone());
    let misfit = |problem: String, remedy: &str| location.mistake("", problem, Some(remedy.to_owned()));
    let mut node = root;
    for part in set.key.split('.') {
        if part.is_empty() {
            return Err(misfit("a part of the key is empty".to_owned(), "write it like `attack.0.rate`"));
        }
        node = match &mut node.value {
            // A table that is not there yet appears: `--set cross_domain.defence=[…]` asks for that arm.
            Value::Table(table) => table
                .entry(part.to_owned())
                .or_insert_with(|| Node { value: Value::Table(BTreeMap::new()), location: location.clone() }),
            Value::List(list) => {
                let length = list.len();
                match part.parse::<usize>().ok().and_then(|index| list.get_mut(index)) {
                    Some(member) => member,
                    None => {
                        let problem = format!("`{part}` picks none of the {length} members of the list");
                        return Err(misfit(problem, "members are numbered from 0"));
                    }
                }
            }
            other => {
                let problem = format!("`{part}` looks inside {}", other.describe());
                return Err(misfit(problem, "shorten the key"));
            }
        };
    }
    let everywhere = |_| location.clone();
    let value = match DeValue::parse(&set.value) {
        Ok(value) => value_of(value.get_ref(), &everywhere),
        Err(_) => Value::Text(set.value.clone()),
    };
    *node = Node { value, location };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(root: &'a Node, path: &str) -> &'a Node {
        path.split('.').fold(root, |node, part| match &node.value {
            Value::Table(table) => &table[part],
            Value::List(list) => &list[part.parse::<usize>().expect("an index")],
            other => panic!("nothing inside {other:?}"),
        })
    }

    #[test]
    fn places_are_lines_of_keys_and_members() {
        let text = "a = 1\n\n[b]\nc = [\n  1,\n  2,\n]\n[[d]]\ne = 1\n[[d]]\ne = 2\n";
        let root = parse(text, "", &[]).expect("valid");
        let check = |path, line| assert_eq!(at(&root, path).location, Location::Line(line), "{path}");
        check("a", 1);
        check("b", 3);
        check("b.c", 4);
        check("b.c.1", 6);
        check("d", 8);
        check("d.1", 10);
        check("d.1.e", 11);
    }

    #[test]
    fn overrides_replace_extend_and_know_bare_words() {
        let set = |key: &str, value: &str| Override { key: key.to_owned(), value: value.to_owned() };
        let overrides = [set("a.0.b", "[1, 2.5]"), set("new.c", "word"), set("t", "\"quoted\"")];
        let root = parse("t = 1\n[[a]]\nb = 0\n", "", &overrides).expect("valid");
        assert_eq!(at(&root, "a.0.b.1").value, Value::Real(2.5));
        assert_eq!(at(&root, "new.c").value, Value::Text("word".to_owned()));
        assert_eq!(at(&root, "t").value, Value::Text("quoted".to_owned()));
        assert_eq!(at(&root, "a.0.b").location, Location::Set("a.0.b".to_owned()));
    }

    #[test]
    fn defaults_hold_where_nothing_is_said_and_overrides_reach_them() {
        let set = Override { key: "d.0.e".to_owned(), value: "9".to_owned() };
        let defaults = "a = 0\nz = 5\n[b]\nc = 0\nf = 6\n[[d]]\ne = 1\n[[l]]\nm = 1\n";
        let root = parse("a = 1\n[b]\nc = 2\n[[l]]\nn = 3\n", defaults, &[set]).expect("valid");
        let whole = |path| &at(&root, path).value;
        assert_eq!((whole("a"), whole("z")), (&Value::Whole(1), &Value::Whole(5)));
        assert_eq!((whole("b.c"), whole("b.f")), (&Value::Whole(2), &Value::Whole(6)));
        assert_eq!((whole("d.0.e"), whole("l.0.n")), (&Value::Whole(9), &Value::Whole(3)));
        assert!(matches!(whole("l.0"), Value::Table(own) if own.len() == 1), "a list is one's own or none");
        assert_eq!(at(&root, "b.f").location, Location::Default);
    }

    #[test]
    fn all_misfits_are_reported() {
        let set = |key: &str| Override { key: key.to_owned(), value: "1".to_owned() };
        let misfits = parse("a = [1]\nb = 2\n", "", &[set("a.1"), set("b.c"), set("a..b"), set("b")]);
        assert_eq!(misfits.expect_err("three fit nowhere").len(), 3);
    }
}

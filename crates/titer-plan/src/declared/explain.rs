//! What a key, a section or a method is for.

use serde::Serialize;
use serde_json::Value as Json;

use super::key::{Absent, Accepts, Key, Role, Section};
use super::schema::value_schema;
use super::sections::SPEC;
use super::walk::{declared, methods};
use crate::catalogue::Catalogue;
use crate::method::{Method, Parameter};
use crate::mistake::nearest;

/// What there is to say of a key, a section or a method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Dotted: `probe.items`, `probe`, `tar`, `tar.steps`.
    pub key: String,
    /// One line of what it is.
    pub summary: String,
    /// What there is to know besides; may be empty.
    pub more: String,
    /// Of a key: what it may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ExplainedValue>,
    /// Of a section or a method: what is in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Explained>,
}

/// What a key may hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedValue {
    /// For people.
    pub accepts: String,
    /// The same as JSON Schema.
    pub schema: Json,
    /// What bounds it besides; none where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// What it means to leave it out; none for a key that must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// As it is written; empty where there is none.
    pub example: String,
}

/// There is no such key, section or method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no key, section or method is called {name:?}")]
pub struct Unknown {
    /// What was asked for.
    pub name: String,
    /// What is called nearly so, or ends so.
    pub nearest: Vec<String>,
}

/// Explains a dotted key (`attack.rate`, `attack.0.rate`), a section (`attack`), a method (`tar`), or a method's
/// parameter (`tar.steps`). The empty name is the whole spec.
///
/// # Errors
/// When there is nothing of that name.
pub fn explain(name: &str, catalogue: &Catalogue) -> Result<Explained, Unknown> {
    let parts = name.trim_matches(['[', ']', ' ']).split('.').filter(|part| part.parse::<usize>().is_err());
    let path = parts.collect::<Vec<_>>().join(".");
    if path.is_empty() {
        return Ok(section(&path, &SPEC, catalogue));
    }
    if let Some(found) = declared().into_iter().find(|declared| declared.path == path) {
        return Ok(match found.key.accepts {
            Accepts::Table(inner) | Accepts::Tables(inner) => section(&path, inner, catalogue),
            Accepts::Forms(forms) => {
                let forms = forms.iter().rev().map(|form| Explained {
                    key: format!("{path} ({})", form.section.name),
                    ..section(&path, form.section, catalogue)
                });
                Explained { keys: forms.collect(), ..head(&path, found.key.summary, "") }
            }
            _ => key(&path, &found.key, catalogue),
        });
    }
    let (parent, last) = path.rsplit_once('.').unwrap_or(("", &path));
    let all = || {
        [Role::Attack, Role::Defence]
            .into_iter()
            .flat_map(|role| methods(catalogue, role).iter().map(move |method| (role, method)))
    };
    if let Some((role, found)) = all().find(|(_, method)| method.name == path) {
        return Ok(method(found, role, catalogue));
    }
    if let Some((role, found)) = all().find(|(_, method)| method.name == parent)
        && let Some(found) = method(found, role, catalogue).keys.into_iter().find(|key| key.key == path)
    {
        return Ok(found);
    }
    // A parameter of whatever methods have it.
    if let Some(role) = role_of(parent) {
        let of = |method: &Method| parameter(method, last, role, catalogue);
        let keys: Vec<Explained> = methods(catalogue, role).iter().filter_map(of).collect();
        if let Some(first) = keys.first() {
            return Ok(Explained { keys: keys.clone(), ..head(&path, &first.summary, "") });
        }
    }
    let mut known: Vec<String> = declared().into_iter().map(|declared| declared.path).collect();
    for (role, method) in all() {
        known.push(method.name.to_owned());
        let section = if role == Role::Attack { "attack" } else { "defence" };
        known.extend(method.parameters.iter().map(|parameter| format!("{section}.{}", parameter.name)));
    }
    known.sort();
    known.dedup();
    let ends = |key: &&String| key.rsplit_once('.').is_some_and(|(_, end)| end == last);
    let mut close: Vec<String> = known.iter().filter(ends).cloned().collect();
    if close.is_empty() {
        close.extend(nearest(&path, known.iter().map(String::as_str)).map(str::to_owned));
    }
    Err(Unknown { name: name.to_owned(), nearest: close })
}

/// The registry whose parameters are keys of the section at `path`.
fn role_of(path: &str) -> Option<Role> {
    let found = declared().into_iter().find(|declared| declared.path == path)?;
    match found.key.accepts {
        Accepts::Tables(section) => section.methods,
        _ => None,
    }
}

fn head(key: &str, summary: &str, more: &str) -> Explained {
    let (key, summary, more) = (key.to_owned(), summary.to_owned(), more.to_owned());
    Explained { key, summary, more, value: None, keys: Vec::new() }
}

fn key(path: &str, key: &Key, catalogue: &Catalogue) -> Explained {
    let value = ExplainedValue {
        accepts: key.accepts.words(),
        schema: value_schema(key, catalogue),
        limit: key.limit.map(|limit| limit.bound()),
        unit: key.unit.to_owned(),
        left_out: key.absent.map(Absent::words),
        example: key.example.to_owned(),
    };
    Explained { value: Some(value), ..head(path, key.summary, key.more) }
}

fn section(path: &str, section: &'static Section, catalogue: &Catalogue) -> Explained {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let keys = section.keys.iter().map(|inner| key(&join(inner.name), inner, catalogue));
    Explained { keys: keys.collect(), ..head(path, section.summary, section.more) }
}

fn method(method: &Method, role: Role, catalogue: &Catalogue) -> Explained {
    let of = |known: &Parameter| parameter(method, known.name, role, catalogue);
    let keys = method.parameters.iter().filter_map(of).collect();
    let mut explained = Explained { keys, ..head(method.name, method.summary, method.citation) };
    if let Some(sham) = method.sham() {
        let stop = if explained.more.is_empty() { "" } else { ". " };
        explained.more.push_str(&format!("{stop}Its sham: {}.", sham.words()));
    }
    explained
}

fn parameter(method: &Method, name: &str, role: Role, catalogue: &Catalogue) -> Option<Explained> {
    let parameter = method.parameters.iter().find(|parameter| parameter.name == name)?;
    let declared = Key::of(parameter, role == Role::Attack);
    let mut explained = key(&format!("{}.{name}", method.name), &declared, catalogue);
    if let Some(value) = &mut explained.value {
        value.left_out = Some(crate::before::text(&parameter.default));
    }
    Some(explained)
}

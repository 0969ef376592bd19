//! The keys and sections of a spec at the places where they are written.

use std::collections::BTreeSet;

use super::key::{Absent, Accepts, Form, Key, Names, Role, Scalar, Section};
use super::sections::SPEC;
use crate::catalogue::{Catalogue, UnderTest};
use crate::method::Method;

/// One key at its place in a spec.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Dotted, without the numbers of list members: `attack.seeds`.
    pub path: String,
    /// As `--set` takes it: `attack.0.seeds`.
    pub set: String,
    /// What is declared.
    pub key: Key,
    /// The section that it belongs to.
    pub section: &'static Section,
}

/// A section and all headers that it stands under.
pub(super) struct Headed {
    pub(super) section: &'static Section,
    pub(super) headers: Vec<String>,
    /// 1 for the sections of the whole file.
    pub(super) depth: usize,
    pub(super) optional: bool,
}

/// Every key, sections included, in the order of the page. A key that several forms of a section have is there
/// once.
pub fn declared() -> Vec<Declared> {
    let (mut keys, mut seen) = (Vec::new(), BTreeSet::new());
    visit(&SPEC, "", "", &mut |declared| {
        if seen.insert(declared.path.clone()) {
            keys.push(declared);
        }
    });
    keys
}

fn visit(section: &'static Section, path: &str, set: &str, found: &mut impl FnMut(Declared)) {
    for key in section.keys {
        let join = |parent: &str| format!("{parent}{}{}", if parent.is_empty() { "" } else { "." }, key.name);
        let (path, set) = (join(path), join(set));
        found(Declared { path: path.clone(), set: set.clone(), key: *key, section });
        match key.accepts {
            Accepts::Table(inner) => visit(inner, &path, &set, found),
            Accepts::Tables(inner) => visit(inner, &path, &format!("{set}.0"), found),
            Accepts::Forms(forms) => {
                forms.iter().rev().for_each(|form| visit(form.section, &path, &set, found))
            }
            _ => {}
        }
    }
}

/// Every key that `--set` can give a value, the parameters of all methods among them.
pub fn overridable(catalogue: &Catalogue) -> Vec<String> {
    let mut keys = Vec::new();
    for declared in declared() {
        match declared.key.accepts {
            Accepts::Tables(section) => {
                let parameters: BTreeSet<&str> = section
                    .methods
                    .into_iter()
                    .flat_map(|role| methods(catalogue, role))
                    .flat_map(|method| method.parameters.iter().map(|parameter| parameter.name))
                    .collect();
                keys.extend(parameters.into_iter().map(|name| format!("{}.0.{name}", declared.set)));
            }
            Accepts::Table(_) | Accepts::Forms(_) => {}
            _ => keys.push(declared.set),
        }
    }
    keys
}

/// The methods of a role.
pub(super) fn methods(catalogue: &Catalogue, role: Role) -> &[Method] {
    match role {
        Role::Attack => &catalogue.attacks,
        Role::Defence => &catalogue.defences,
    }
}

/// Every section once, with its headers, in the order of the page.
pub(super) fn headed() -> Vec<Headed> {
    let mut all = vec![Headed { section: &SPEC, headers: Vec::new(), depth: 0, optional: false }];
    sections_of(&SPEC, "", 1, &mut all);
    all
}

fn sections_of(section: &'static Section, path: &str, depth: usize, all: &mut Vec<Headed>) {
    for key in section.keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let optional = key.absent.is_some();
        match key.accepts {
            Accepts::Table(inner) => {
                add(
                    Headed { section: inner, headers: vec![format!("[{path}]")], depth, optional },
                    &path,
                    all,
                );
            }
            Accepts::Tables(inner) => {
                add(
                    Headed { section: inner, headers: vec![format!("[[{path}]]")], depth, optional },
                    &path,
                    all,
                );
            }
            Accepts::Forms(forms) => {
                for form in forms.iter().rev() {
                    let headers = vec![form_header(&path, form)];
                    add(Headed { section: form.section, headers, depth, optional }, &path, all);
                }
            }
            _ => {}
        }
    }
}

fn form_header(path: &str, form: &Form) -> String {
    match form.chosen_by {
        "" => format!("[{path}]"),
        key => format!("[{path}] with `{key}`"),
    }
}

fn add(new: Headed, path: &str, all: &mut Vec<Headed>) {
    if let Some(known) = all.iter_mut().find(|known| std::ptr::eq(known.section, new.section)) {
        let header = new.headers.into_iter().filter(|header| !known.headers.contains(header));
        known.headers.extend(header.collect::<Vec<_>>());
    } else {
        let (section, depth) = (new.section, new.depth);
        all.push(new);
        sections_of(section, path, depth + 1, all);
        return;
    }
    sections_of(new.section, path, new.depth + 1, all);
}

impl Absent {
    /// For people.
    pub(super) fn words(self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Real(number) => crate::before::shortest(number),
            Self::Means(words) => words.to_owned(),
        }
    }
}

impl Accepts<'_> {
    /// For people: what stands in the key, and what a name names.
    pub(super) fn words(&self) -> String {
        match self {
            Self::One(Scalar::Named(names)) => format!("the name of {}", names.words()),
            Self::Many(Scalar::Named(names)) => format!("a list, each member the name of {}", names.words()),
            Self::OneOrMany(scalar) => format!("{}, or a list of such", scalar.expects()),
            Self::Cadence => "a list of step counts that ascend from 0".to_owned(),
            _ => self.expects(),
        }
    }
}

impl Names {
    fn words(self) -> &'static str {
        match self {
            Self::Data(UnderTest::Trained) => "a world",
            Self::Data(UnderTest::Aligned) => "a policy",
            Self::Data(UnderTest::Ready) => "a data set",
            Self::Methods(Role::Attack) => "an attack",
            Self::Methods(Role::Defence) => "a defence",
            Self::Forbidden => "a forbidden domain",
            Self::Judges => "a judge of harm",
            Self::Tasks => "a task",
        }
    }
}

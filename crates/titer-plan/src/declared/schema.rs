//! The JSON Schema of a spec, for editors and other programs.

use std::ops::Bound;

use serde_json::{Map, Value as Json, json};

use super::key::{Absent, Accepts, Key, Names, Role, Scalar, Section};
use super::sections::SPEC;
use super::walk::methods;
use crate::catalogue::{Catalogue, DataFacts};
use crate::method::Method;
use crate::vocabulary::BASELINE;

/// The schema (draft 2020-12) of a spec that names what is in `catalogue`. What depends on the data, or on two
/// keys at once, is left to reading.
pub fn schema(catalogue: &Catalogue) -> Json {
    let mut writer = Writer { catalogue, definitions: Map::new() };
    let spec = writer.table(&SPEC, None);
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("titer experiment"));
    schema.extend(spec);
    schema.insert("$defs".to_owned(), Json::Object(writer.definitions));
    Json::Object(schema)
}

/// The schema of what one key holds, without the tables inside it.
pub(super) fn value_schema(key: &Key, catalogue: &Catalogue) -> Json {
    let writer = Writer { catalogue, definitions: Map::new() };
    match key.accepts {
        Accepts::One(scalar) => writer.scalar(&scalar),
        Accepts::Many(scalar) => writer.list(&scalar),
        Accepts::OneOrMany(scalar) => json!({ "anyOf": [writer.scalar(&scalar), writer.list(&scalar)] }),
        Accepts::Cadence => json!({
            "type": "array",
            "prefixItems": [{ "const": 0 }],
            "items": { "type": "integer", "minimum": 0 },
            "minItems": 2,
            "uniqueItems": true,
        }),
        Accepts::Seeds { most } => {
            let number = writer.scalar(&Scalar::Whole { least: 1, most });
            let range = json!({
                "type": "object",
                "properties": { "first": number, "most": number },
                "required": ["first", "most"],
                "additionalProperties": false,
            });
            json!({ "anyOf": [number, range] })
        }
        Accepts::Checkpoint => {
            let text = writer.scalar(&Scalar::Text);
            let both = json!({
                "type": "object",
                "properties": { "base": text, "adapter": text },
                "required": ["base", "adapter"],
                "additionalProperties": false,
            });
            json!({ "anyOf": [text, both] })
        }
        Accepts::Table(_) | Accepts::Forms(_) => json!({ "type": "object" }),
        Accepts::Tables(_) => json!({ "type": "array", "items": { "type": "object" }, "minItems": 1 }),
    }
}

struct Writer<'a> {
    catalogue: &'a Catalogue,
    definitions: Map<String, Json>,
}

impl Writer<'_> {
    /// A table with the keys of a section, and with those of `method` where the section is of methods.
    fn table(&mut self, section: &'static Section, method: Option<&Method>) -> Map<String, Json> {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for key in section.keys {
            // What follows the others has no number of its own.
            if key.name == "seeds" && method.is_some_and(|method| method.name == BASELINE) {
                continue;
            }
            let value = match (key.name, method) {
                ("method", Some(method)) => json!({ "const": method.name, "description": method.summary }),
                _ => self.key(key),
            };
            properties.insert(key.name.to_owned(), value);
            if key.absent.is_none() {
                required.push(key.name);
            }
        }
        for parameter in method.into_iter().flat_map(|method| &method.parameters) {
            let mut value = self.key(&Key::of(parameter, section.methods == Some(Role::Attack)));
            value["default"] = parameter.default.clone();
            properties.insert(parameter.name.to_owned(), value);
        }
        let table = json!({
            "type": "object",
            "description": section.summary,
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        match table {
            Json::Object(table) => table,
            _ => Map::new(),
        }
    }

    /// A table of a section, defined once.
    fn definition(&mut self, section: &'static Section) -> Json {
        if !self.definitions.contains_key(section.name) {
            // Its place is taken before what it holds is written.
            self.definitions.insert(section.name.to_owned(), Json::Null);
            let definition = match section.methods {
                None => Json::Object(self.table(section, None)),
                Some(role) => {
                    let catalogue = self.catalogue;
                    let of = |method| Json::Object(self.table(section, Some(method)));
                    json!({ "oneOf": methods(catalogue, role).iter().map(of).collect::<Vec<_>>() })
                }
            };
            self.definitions.insert(section.name.to_owned(), definition);
        }
        json!({ "$ref": format!("#/$defs/{}", section.name) })
    }

    fn key(&mut self, key: &Key) -> Json {
        let mut value = match key.accepts {
            Accepts::Table(section) => self.definition(section),
            Accepts::Tables(section) => {
                let items = self.definition(section);
                json!({ "type": "array", "items": items, "minItems": 1 })
            }
            Accepts::Forms(forms) => {
                let forms = forms.iter().map(|form| self.definition(form.section));
                json!({ "oneOf": forms.collect::<Vec<_>>() })
            }
            _ => value_schema(key, self.catalogue),
        };
        let unit = if key.unit.is_empty() { String::new() } else { format!(" ({})", key.unit) };
        value["description"] = json!(format!("{}{unit}\n\n{}", key.summary, key.more).trim());
        match key.absent {
            Some(Absent::Whole(number)) => value["default"] = json!(number),
            Some(Absent::Real(number)) => value["default"] = json!(number),
            Some(Absent::Means(_)) | None => {}
        }
        if let Some(example) = example(key) {
            value["examples"] = json!([example]);
        }
        // A baseline must be among the defences: a comparison has two sides.
        if let Accepts::Tables(section) = key.accepts
            && std::ptr::eq(section, &super::DEFENCE)
        {
            value["contains"] = json!({ "properties": { "method": { "const": BASELINE } } });
        }
        value
    }

    fn list(&self, scalar: &Scalar<'_>) -> Json {
        json!({ "type": "array", "items": self.scalar(scalar), "minItems": 1, "uniqueItems": true })
    }

    fn scalar(&self, scalar: &Scalar<'_>) -> Json {
        match *scalar {
            Scalar::Text | Scalar::Named(Names::Forbidden | Names::Judges | Names::Tasks) => {
                json!({ "type": "string" })
            }
            Scalar::Name => json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" }),
            Scalar::Word(of) => json!({ "enum": of }),
            Scalar::Named(Names::Data(model)) => named(self.catalogue.data_for(model)),
            Scalar::Named(Names::Methods(role)) => {
                let names: Vec<_> = methods(self.catalogue, role).iter().map(|method| method.name).collect();
                json!({ "enum": names })
            }
            Scalar::Whole { least, most } => {
                let mut value = json!({ "type": "integer", "minimum": least });
                if most < i64::MAX {
                    value["maximum"] = json!(most);
                }
                value
            }
            Scalar::Real { low, high } => {
                let mut value = json!({ "type": "number" });
                for (bound, included, excluded) in
                    [(low, "minimum", "exclusiveMinimum"), (high, "maximum", "exclusiveMaximum")]
                {
                    match bound {
                        Bound::Included(bound) => value[included] = json!(bound),
                        Bound::Excluded(bound) => value[excluded] = json!(bound),
                        Bound::Unbounded => {}
                    }
                }
                value
            }
            Scalar::Flag => json!({ "type": "boolean" }),
        }
    }
}

/// One of what is known, or a file.
fn named<'a>(facts: impl Iterator<Item = &'a DataFacts>) -> Json {
    let names: Vec<&str> = facts.map(|facts| facts.name.as_str()).collect();
    json!({ "anyOf": [{ "enum": names }, { "type": "string", "pattern": "\\.toml$" }] })
}

/// The example as a value.
fn example(key: &Key) -> Option<Json> {
    let table: toml::Table = format!("value = {}", key.example).parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

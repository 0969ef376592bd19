//! `titer list`: the registries, and what the store holds.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use titer_measures::measures::guard::{Definition, builtin};
use titer_plan::{Catalogue, Condition, DataFacts, Method, MethodKind, Parameter, PlanError, UnderTest};
use titer_store::Store;
use titer_view::style::Style;
use titer_view::table::{Cell, Table, wrap};
use titer_view::verdict_text::WIDTH;
use titer_view::wording;

use crate::cli::{ListArgs, Listing};
use crate::exit::Exit;
use crate::output;

pub(super) fn list(store: &Path, arguments: &ListArgs) -> anyhow::Result<Exit> {
    let catalogue = titer_lab::catalogue();
    let entries = match arguments.what {
        Listing::Attacks => return methods(&catalogue.attacks, arguments.json),
        Listing::Defences => return methods(&catalogue.defences, arguments.json),
        Listing::Presets => presets(),
        Listing::Models => models(&catalogue),
        Listing::Tasks => tasks(&catalogue),
        Listing::Judges => return judges(arguments.json),
        Listing::Conditions => conditions(),
        Listing::Experiments => experiments(store)?,
    };
    if arguments.json {
        output::json(&entries)?;
    } else {
        output::result(&text(&entries, output::style()))?;
    }
    Ok(Exit::Done)
}

/// Something with a name and a line about it.
#[derive(Serialize)]
struct Listed {
    name: String,
    summary: String,
}

impl Listed {
    fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { name: name.into(), summary: summary.into() }
    }
}

fn presets() -> Vec<Listed> {
    titer_lab::presets().iter().map(|preset| Listed::new(preset.name, preset.summary)).collect()
}

fn models(catalogue: &Catalogue) -> Vec<Listed> {
    let worlds = catalogue.data.iter().filter(|data| data.model == UnderTest::Trained);
    let summary = |world: &DataFacts| {
        format!(
            "embedded {}: {} forbidden and {} permitted domains, {} of the harmless task",
            world.word,
            world.forbidden.len(),
            world.permitted.len(),
            world.task.len()
        )
    };
    let worlds = worlds.map(|world| Listed::new(format!("world:{}", world.name), summary(world)));
    let known = titer_lab::models::known().into_iter().map(|model| Listed::new(model.name, model.summary));
    known.chain(worlds).collect()
}

fn tasks(catalogue: &Catalogue) -> Vec<Listed> {
    let mut entries = Vec::new();
    for world in &catalogue.data {
        let kinds = [
            (&world.forbidden, "forbidden: answering is harm"),
            (&world.permitted, "permitted: the ability that a defence must keep"),
            (&world.task, "harmless task: taught by harmless fine-tuning"),
        ];
        for (domains, kind) in kinds {
            entries
                .extend(domains.iter().map(|domain| Listed::new(format!("{}/{domain}", world.name), kind)));
        }
    }
    let summary = |task: &titer_plan::TaskFacts| {
        let text = task.definition["summary"].as_str().unwrap_or_default().to_owned();
        format!("asked before any attack, {} items: {text}", task.items)
    };
    entries.extend(catalogue.tasks.iter().map(|task| Listed::new(task.called.as_str(), summary(task))));
    entries
}

/// A judge that is a model, as the registry says of others what they are.
#[derive(Serialize)]
struct ModelJudge<'a> {
    name: &'a str,
    summary: &'a str,
    score: &'static str,
    unit: &'static str,
    better: &'static str,
    reads: &'static str,
    needs: [&'static str; 1],
    version: u32,
    citation: &'a str,
    reference: &'a str,
    licence: &'a str,
    threshold: f64,
    published: &'a str,
    /// Whether it can be named as it is: its template comes with its model, or here.
    complete: bool,
}

impl<'a> ModelJudge<'a> {
    fn of(judge: &'a Definition) -> Self {
        Self {
            name: &judge.name,
            summary: &judge.summary,
            score: judge.score.means(),
            unit: "1",
            better: "lower",
            reads: "answers",
            needs: ["model"],
            version: judge.version,
            citation: &judge.citation,
            reference: &judge.reference,
            licence: &judge.licence,
            threshold: judge.threshold,
            published: &judge.published,
            complete: judge.complete().is_ok(),
        }
    }
}

fn judges(as_json: bool) -> anyhow::Result<Exit> {
    let facts: Vec<_> = titer_measures::registry::MEASURES.iter().map(|entry| entry.facts).collect();
    let models = builtin()?;
    let models: Vec<ModelJudge<'_>> = models.iter().map(ModelJudge::of).collect();
    if as_json {
        let facts = facts.iter().map(serde_json::to_value);
        let all: Result<Vec<_>, _> = facts.chain(models.iter().map(serde_json::to_value)).collect();
        output::json(&all?)?;
        return Ok(Exit::Done);
    }
    let row = |facts: &titer_measures::Facts| {
        let cells = [facts.name, facts.summary, facts.score, facts.better.name()];
        cells.map(Cell::new).into()
    };
    let head =
        ["name", "what it judges by", "score, 0 to 1", "better for the defender"].map(Cell::new).into();
    let table = Table { caption: String::new(), head, rows: facts.iter().map(row).collect() };
    output::result(&table.to_text(output::style(), usize::MAX))?;
    let row = |judge: &ModelJudge<'_>| {
        let template = if judge.complete { "" } else { "add its template: titer judge show" };
        [judge.name, judge.summary, judge.reference, judge.licence, template].map(Cell::new).into()
    };
    let head = ["model that judges", "what it says", "where it is", "licence", ""].map(Cell::new).into();
    let table = Table { caption: String::new(), head, rows: models.iter().map(row).collect() };
    output::result("\n")?;
    output::result(&table.to_text(output::style(), usize::MAX))?;
    Ok(Exit::Done)
}

fn conditions() -> Vec<Listed> {
    Condition::ALL.iter().map(|&condition| Listed::new(condition.name(), wording::claim(condition))).collect()
}

fn experiments(store: &Path) -> anyhow::Result<Vec<Listed>> {
    let store = Store::open(store)?;
    let mut entries = Vec::new();
    for name in store.experiments()? {
        let plan = match titer_lab::stored_plan(&store, &name) {
            // One of an earlier titer does not hide the others.
            Err(error @ titer_lab::Error::Plan { source: PlanError::Version { .. }, .. }) => {
                let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                entries.push(Listed::new(name, format!("cannot be read: {why}")));
                continue;
            }
            plan => plan?,
        };
        let plan = titer_lab::live::asked(&store, plan)?;
        let sealed = plan.stages.iter().filter(|stage| store.artifact(&stage.hash).is_sealed()).count();
        let progress = format!("{sealed} of {} done", wording::count(plan.stages.len(), "stage"));
        entries.push(Listed::new(name, format!("{}; {progress}", plan.experiment.summary)));
    }
    Ok(entries)
}

fn text(entries: &[Listed], style: Style) -> String {
    if entries.is_empty() {
        return "none yet\n".into();
    }
    let rows = entries.iter().map(|entry| vec![Cell::new(&entry.name), Cell::new(&entry.summary)]).collect();
    let table = Table { caption: String::new(), head: ["name", "summary"].map(Cell::new).into(), rows };
    table.to_text(style, usize::MAX)
}

fn methods(methods: &[Method], as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        output::json(&methods)?;
        return Ok(Exit::Done);
    }
    let style = output::style();
    let mut text = String::new();
    for method in methods {
        let _ = writeln!(text, "{}  {}", style.bold(method.name), style.faint(&kind(&method.kind)));
        let _ = writeln!(text, "  {}", wrap(method.summary, WIDTH, 2, "  "));
        if !method.citation.is_empty() {
            let _ = writeln!(text, "  {}", wrap(method.citation, WIDTH, 2, "  "));
        }
        if let Some(sham) = method.sham() {
            let _ = writeln!(text, "  {}", wrap(&format!("Its sham: {}", sham.words()), WIDTH, 2, "  "));
        }
        if !method.parameters.is_empty() {
            for line in parameters(&method.parameters).to_text(style, usize::MAX).lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        text.push('\n');
    }
    output::result(text.trim_end_matches('\n'))?;
    output::result("\n")?;
    Ok(Exit::Done)
}

fn kind(kind: &MethodKind) -> String {
    match kind {
        MethodKind::Attack(facts) => {
            let under: Vec<_> = facts.threat_models.iter().map(|model| model.name()).collect();
            let needs: Vec<_> = facts.needs.iter().map(|need| need.name()).collect();
            let (does, under) = (facts.mechanism.name(), under.join(" and "));
            format!("attack under {under}; {does}; needs {}", needs.join(", "))
        }
        MethodKind::Defence { stage, .. } => format!("defence of the {stage} stage"),
    }
}

fn parameters(parameters: &[Parameter]) -> Table {
    let row = |parameter: &Parameter| {
        vec![
            Cell::new(parameter.name),
            Cell::new(default(parameter)),
            Cell::new(wording::domain(&parameter.domain)),
            Cell::new(parameter.summary),
        ]
    };
    Table {
        caption: String::new(),
        head: ["parameter", "default", "range", "what it does"].map(Cell::new).into(),
        rows: parameters.iter().map(row).collect(),
    }
}

/// The default with its unit, where it has one.
pub(super) fn default(parameter: &Parameter) -> String {
    let value = wording::value(&parameter.default);
    if parameter.unit == "1" || parameter.unit.is_empty() {
        value
    } else {
        format!("{value} {}", parameter.unit)
    }
}

//! A small report with hostile strings, for the tests.

use titer_specimen::{costs, verdicts};
use titer_view::attack_tables::groups;
use titer_view::caveats::Caveat;
use titer_view::comparison::rows;
use titer_view::curves::Point;
use titer_view::figure::{BASELINE, Figure, Group, Line, Member, Panel, Threshold};
use titer_view::heat::heat_maps;
use titer_view::pareto::pareto;

use super::model::{Artifact, DefenceTiming, Fact, KindTiming, ReportModel, Timings};

/// Two panels, three lines, one of them with a band.
pub(crate) fn figure() -> Figure {
    let point =
        |x, y: f64, spread: f64| Point { x, y, low: (y - spread).max(0.0), high: (y + spread).min(1.0) };
    let panel = |title: &str| Panel {
        title: title.into(),
        lines: vec![
            Line {
                series: 0,
                points: vec![point(0.0, 0.0, 0.0), point(10.0, 0.17, 0.05), point(30.0, 0.97, 0.02)],
            },
            Line {
                series: 1,
                points: vec![point(0.0, 0.0, 0.0), point(30.0, 0.2, 0.0), point(200.0, 0.63, 0.0)],
            },
            Line { series: 2, points: vec![point(0.0, 0.0, 0.0), point(200.0, 0.0, 0.0)] },
        ],
    };
    Figure {
        id: "harmfulness-unseen".into(),
        title: "Harmfulness on unseen items".into(),
        caption: "Mean over runs; the band spans all seeds.".into(),
        y_label: "harmfulness".into(),
        threshold: Some(Threshold { value: 0.2, label: "φ = 0.2".into() }),
        series: vec!["none".into(), "adversarial-loss".into(), "tar".into()],
        groups: vec![Group {
            title: String::new(),
            members: [(0, BASELINE), (1, 0), (2, 1)].map(|(series, style)| Member { series, style }).into(),
        }],
        panels: vec![panel("full-finetune/rate=3e-5"), panel("full-finetune/rate=1e-3")],
    }
}

/// A report whose summary, spec and labels try to break out.
pub(crate) fn report() -> ReportModel {
    ReportModel {
        summary: "hostile <script>alert(1)</script> \u{1b}[31m summary \u{202e}| pipe".into(),
        verdicts: verdicts(),
        comparison: rows(&verdicts(), &costs()),
        heat_maps: heat_maps(&verdicts()),
        by_attacks: groups(&verdicts()),
        scope: vec![Fact { name: "seeds".into(), value: "up to 2".into() }],
        caveats: vec![
            Caveat {
                text: "attacks stopped early once broken: curves end there".into(),
                defences: Vec::new(),
            },
            Caveat { text: "one seed <b>".into(), defences: vec!["tar".into()] },
        ],
        pareto: pareto(&rows(&verdicts(), &costs())),
        figures: vec![figure()],
        missing: vec!["attack of tar by seed 2".into()],
        spec: "name = \"specimen\"\nsummary = \"</code>``` <b>\"\n".into(),
        environment: vec![Fact { name: "titer".into(), value: "0.1.0".into() }],
        artifacts: vec![Artifact {
            kind: "pretrain".into(),
            label: "base <model>".into(),
            hash: "0123456789abcdef".into(),
        }],
        timings: Timings {
            seconds: 61.0,
            hosts: vec!["host".into()],
            kinds: vec![KindTiming { kind: "pretrain".into(), stages: 1, seconds: 61.0, longest: 61.0 }],
            defences: vec![DefenceTiming { defence: "tar".into(), seconds: Some(340.0) }],
        },
    }
}

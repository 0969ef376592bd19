//! What the app knows of the specimen, and pictures of it as text, for the tests.

use std::sync::Arc;

use titer_lab::live::Decided;
pub(crate) use titer_specimen::live::{CHOSEN, NOW, experiment, overview, responses, stage};

use crate::world::{Fetched, Responses, World};

/// All of it.
pub(crate) fn world() -> World {
    let view = Arc::new(experiment());
    let decided = Decided { verdicts: Arc::new(titer_specimen::verdicts()), sealed: view.line.counts.sealed };
    let overview = overview();
    World {
        store: "/scratch/titer/store".into(),
        host: "laptop".into(),
        read_only: false,
        now: NOW,
        names: Arc::new(overview.iter().map(|line| line.name.clone()).collect()),
        overview: Arc::new(overview),
        experiment: Some(CHOSEN.into()),
        responses: Some(Responses {
            stage: view.stages[0].hash.clone(),
            lines: Fetched::Ready(Arc::new(responses())),
        }),
        chosen: Some(view),
        other: None,
        stage: Arc::new(stage()),
        verdicts: [(CHOSEN.to_owned(), Fetched::Ready(Arc::new(decided)))].into(),
        problems: Vec::new(),
    }
}

/// Paints something and returns what a person sees: each row as text, and under a row that has any the styles,
/// as letters that the table at the end explains.
pub(crate) fn picture(
    width: u16,
    height: u16,
    styles: bool,
    draw: impl FnOnce(&mut ratatui::Frame),
) -> String {
    use std::fmt::Write as _;

    use ratatui::style::Style;

    let backend = ratatui::backend::TestBackend::new(width, height);
    let mut terminal = ratatui::Terminal::new(backend).expect("a terminal of cells");
    terminal.draw(draw).expect("cells can be drawn");
    let buffer = terminal.backend().buffer().clone();
    let mut known: Vec<Style> = vec![Style::reset()];
    let mut text = String::new();
    for y in 0..height {
        let row: Vec<_> = (0..width).map(|x| &buffer[(x, y)]).collect();
        let mut skip = 0_usize;
        let mut line = String::new();
        for cell in &row {
            if skip == 0 {
                line.push_str(cell.symbol());
                skip = unicode_width::UnicodeWidthStr::width(cell.symbol());
            }
            skip = skip.saturating_sub(1);
        }
        let _ = writeln!(text, "{}", line.trim_end());
        if styles {
            let letters: String = row
                .iter()
                .map(|cell| {
                    let style = cell.style();
                    let plain = style.add_modifier.is_empty()
                        && [style.fg, style.bg]
                            .iter()
                            .all(|c| matches!(c, None | Some(ratatui::style::Color::Reset)));
                    if plain {
                        return ' ';
                    }
                    let at = known.iter().position(|known| *known == style).unwrap_or_else(|| {
                        known.push(style);
                        known.len() - 1
                    });
                    char::from_u32('a' as u32 + at as u32 - 1).unwrap_or('?')
                })
                .collect();
            if !letters.trim().is_empty() {
                let _ = writeln!(text, "~{}", letters.trim_end());
            }
        }
    }
    for (style, letter) in known.iter().skip(1).zip('a'..) {
        let _ = writeln!(text, "{letter}: fg {:?} bg {:?} {:?}", style.fg, style.bg, style.add_modifier);
    }
    text
}

//! The screens about results: what keys do on them, how they look, and how long a picture takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use titer_lab::live::{DataOutline, Decided, StageState};
use titer_plan::UnderTest;

use super::specimen::{self, picture};
use super::{app, press, shown};
use crate::app::App;
use crate::draw::draw;
use crate::effect::{Effect, Wants};
use crate::look::Look;
use crate::screen_name::ScreenName;
use crate::world::{Fetched, Responses};

/// An app that knows everything that these screens ask for.
fn knowing() -> App {
    let mut app = app();
    let mut other = specimen::experiment();
    other.line = specimen::overview().remove(3);
    for curve in &mut other.curves {
        for point in Arc::make_mut(&mut curve.points) {
            point.mean *= 0.7;
        }
    }
    let mut verdicts = titer_specimen::verdicts();
    verdicts.defences.rotate_left(1);
    for (defence, name) in verdicts.defences.iter_mut().zip(["none", "adversarial-loss", "tar"]) {
        defence.defence = name.into();
    }
    let decided = Decided { verdicts: Arc::new(verdicts), sealed: 320 };
    app.world.verdicts.insert(other.line.name.clone(), Fetched::Ready(Arc::new(decided)));
    app.world.other = Some(Arc::new(other));
    app
}

/// Lets the responses be those of the stage that is asked for.
fn answer(app: &mut App, effects: &[Effect]) {
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Want(Wants { responses: Some(stage), .. }) => Some(stage.clone()),
        _ => None,
    });
    let stage = asked.expect("a stage is asked for");
    let lines = Fetched::Ready(Arc::new(specimen::responses()));
    app.on(crate::app::Message::News(crate::world::News::Responses(Some(Responses { stage, lines }))));
}

/// The same under attacks of every mechanism, in both experiments, of which the other differs in two cells.
fn attacked() -> App {
    let mut app = knowing();
    let mut other = titer_specimen::several_ways();
    other.defences[1].attacks[0].titer = titer_specimen::several_ways().defences[2].attacks[0].titer;
    other.defences[2].attacks[2].runs = 0;
    for (name, verdicts) in [(specimen::CHOSEN, titer_specimen::several_ways()), ("apothecary", other)] {
        let decided = Decided { verdicts: Arc::new(verdicts), sealed: 9 };
        app.world.verdicts.insert(name.into(), Fetched::Ready(Arc::new(decided)));
    }
    app
}

fn opened() -> App {
    let mut app = knowing();
    let effects = press(&mut app, "5 Enter");
    answer(&mut app, &effects);
    app
}

#[test]
fn every_face_at_every_size() {
    type Prepared = fn() -> App;
    let faces: [(&str, Prepared, &str); 11] = [
        ("matrix", knowing, "2"),
        ("matrix_ratios", knowing, "2 t l"),
        ("matrix_harm", knowing, "2 t t j"),
        ("run", knowing, "3"),
        ("run_failed", knowing, "3 j j e"),
        ("curves", knowing, "4"),
        ("responses", opened, "j j"),
        ("warning", knowing, "5 Enter"),
        ("compare", knowing, "6 j j Enter"),
        ("matrix_attacks", attacked, "2 t j l l"),
        ("compare_attacks", attacked, "6 j j Enter t j e"),
    ];
    for (width, height) in [(80, 24), (160, 48)] {
        for (look, styles) in [(Look::MONO, false), (Look::FULL, true)] {
            for (name, prepared, keys) in faces {
                let mut app = prepared();
                app.look = look;
                if name == "warning" {
                    real_data(&mut app);
                }
                press(&mut app, keys);
                let name = format!("{name}_{width}x{height}{}", if styles { "_colour" } else { "" });
                insta::assert_snapshot!(name, picture(width, height, styles, |frame| draw(frame, &app)));
            }
        }
    }
}

/// As if the chosen experiment measured with conversations that people had.
fn real_data(app: &mut App) {
    let view = app.world.chosen.as_mut().expect("an experiment is chosen");
    Arc::make_mut(view).data = DataOutline { word: "data set".to_owned(), model: UnderTest::Ready };
}

#[test]
fn nothing_is_told_by_colour_alone() {
    for keys in ["2", "2 t", "2 t t", "3", "4", "6 j j Enter", "6 j j Enter t"] {
        let mut app = knowing();
        press(&mut app, keys);
        let plain = shown(&app, 100, 30);
        app.look = Look::FULL;
        assert_eq!(shown(&app, 100, 30), plain, "after {keys}");
    }
}

#[test]
fn the_matrix_turns_and_says_what_decided() {
    let mut app = knowing();
    press(&mut app, "2 j l");
    let text = shown(&app, 80, 24);
    assert!(text.contains("adversarial-loss: resistance ? inconclusive"), "{text}");
    assert!(text.contains("rests on 9 sealed stages of 21"), "{text}");
    press(&mut app, "t");
    assert!(shown(&app, 80, 24).contains("Break budget ÷ that of the undefended model on in-domain items"));
    press(&mut app, "t");
    let text = shown(&app, 80, 24);
    assert!(
        text.contains("Harmful score after the attack") && text.contains("◇ 0.20 ~0.03 [0.16, 0.24]"),
        "{text}"
    );
    assert!(
        matches!(press(&mut app, "y").as_slice(), [Effect::Copy(text)] if text.contains("harmful score"))
    );
    press(&mut app, "/ tar Enter");
    let text = shown(&app, 80, 24);
    assert!(!text.contains("adversarial-loss") && text.contains("> tar"), "{text}");
    press(&mut app, "/ nobody Enter");
    assert!(shown(&app, 80, 24).contains("no defence has these words"));
}

#[test]
fn verdicts_that_are_not_there_say_why() {
    let mut app = knowing();
    press(&mut app, "2");
    app.world.verdicts.clear();
    assert!(shown(&app, 80, 24).contains("The verdicts are being decided"));
    app.world
        .verdicts
        .insert(specimen::CHOSEN.into(), Fetched::Failed("no stage was \u{1b}[2Jsealed".into()));
    assert!(shown(&app, 80, 24).contains("there are no verdicts: no stage was [2Jsealed"));
}

#[test]
fn the_run_shows_what_runs_until_another_stage_is_chosen() {
    let mut app = knowing();
    let effects = press(&mut app, "3");
    let wanted = |app: &App, at: usize| app.world.chosen.as_ref().map(|view| view.stages[at].hash.clone());
    let running = wanted(&app, 9);
    assert!(matches!(effects.as_slice(), [Effect::Want(wants)] if wants.stage == running));
    let text = shown(&app, 80, 24);
    assert!(text.contains("● running on gpu7 (process 4242), step 4 of 8"), "{text}");
    assert!(text.contains("18 250 tokens/s") && text.contains("GPU 0: 87 %, 31.0 GB"), "{text}");
    press(&mut app, "/ failed Enter e");
    let text = shown(&app, 80, 24);
    assert!(
        text.contains("✗ failed: cannot write") && text.contains("free some space and run again"),
        "{text}"
    );
    press(&mut app, "e s s X");
    assert_eq!(app.prefs().liking["run.smoothing"], "2");
    assert_eq!(app.prefs().liking["run.x"], "linear");
    press(&mut app, "Esc / nonsense Enter");
    assert!(shown(&app, 80, 24).contains("no stage has these words"));
}

#[test]
fn curves_are_marked_and_their_axes_changed() {
    let mut app = knowing();
    press(&mut app, "4");
    let text = shown(&app, 80, 24);
    assert!(text.contains("harmfulness on unseen items over steps (log)"), "{text}");
    assert!(text.contains("o none") && text.contains("x adversarial-loss"), "{text}");
    press(&mut app, "Space j j Space");
    let text = shown(&app, 100, 30);
    assert!(text.contains("2 marked") && text.contains("[x] o none · full-finetune/rate=1e-3"), "{text}");
    press(&mut app, "p x X");
    let text = shown(&app, 100, 30);
    assert!(text.contains("mean score on permitted items over examples"), "{text}");
    press(&mut app, "c x");
    let text = shown(&app, 100, 30);
    assert!(text.contains("none marked") && text.contains("over FLOPs"), "{text}");
    press(&mut app, "e");
    assert!(!shown(&app, 100, 30).contains("none marked"), "the chart has the whole screen");
    let copied = press(&mut app, "y");
    assert!(matches!(copied.as_slice(), [Effect::Copy(text)] if text.starts_with("FLOPs\tmean")));
}

#[test]
fn too_many_lines_are_those_around_the_selected_one() {
    let mut app = knowing();
    let view = Arc::make_mut(app.world.chosen.as_mut().expect("an experiment is chosen"));
    let curves = view.curves.clone();
    for number in 0..20 {
        view.curves.extend(curves.iter().filter(|curve| curve.defence == "tar").cloned().map(|mut curve| {
            curve.defence = format!("tar-{number}");
            curve
        }));
    }
    press(&mut app, "4 G k k");
    let text = shown(&app, 100, 40);
    assert!(text.contains("15 more have no room: mark some"), "{text}");
    for name in ["o none", "~ tar-19"] {
        assert!(text.contains(name), "{name} in {text}");
    }
}

#[test]
fn responses_are_chosen_read_and_searched() {
    let mut app = opened();
    let text = shown(&app, 80, 24);
    assert!(text.contains("4 of 4 responses") && text.contains("- refuses"), "{text}");
    press(&mut app, "r");
    assert!(shown(&app, 80, 24).contains("1 of 4 responses"));
    press(&mut app, "r s");
    assert!(shown(&app, 80, 24).contains("no refusals, scores above φ"));
    press(&mut app, "r s s p");
    assert!(shown(&app, 80, 24).contains("unseen, refusals and answers, all scores"));
    press(&mut app, "/ nightshade Space cold Enter");
    let text = shown(&app, 80, 24);
    assert!(text.contains("2 of 4 responses"), "{text}");
    press(&mut app, "Esc Esc");
    assert!(shown(&app, 80, 24).contains("Enter opens"), "back at the stages");
}

#[test]
fn the_stage_looked_at_is_selected_among_those_with_responses() {
    let mut app = knowing();
    let hash = app.world.chosen.as_ref().expect("an experiment is chosen").stages[4].hash.clone();
    Arc::make_mut(&mut app.world.stage).hash = Some(hash.clone());
    press(&mut app, "3 Enter");
    assert_eq!(app.screen, ScreenName::Responses);
    let effects = press(&mut app, "Enter");
    assert!(
        matches!(effects.as_slice(), [Effect::Want(wants)] if wants.responses == Some(hash)),
        "{effects:?}"
    );
}

#[test]
fn a_response_may_be_long_and_hostile() {
    let mut app = opened();
    press(&mut app, "G Enter");
    let began = Instant::now();
    let text = shown(&app, 80, 24);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(text.contains("long long long") && text.contains("there is more"), "{text}");
    press(&mut app, "PgDn PgDn");
    assert!(!shown(&app, 80, 24).contains("prompt"), "scrolled");
    press(&mut app, "k");
    let text = shown(&app, 80, 24);
    assert!(text.contains("Two drams [2J]0;owned of edahsthgin, cold."), "{text}");
    let copied = press(&mut app, "y");
    assert!(matches!(copied.as_slice(), [Effect::Copy(text)] if text.contains("\u{1b}[2J")), "word for word");
}

#[test]
fn real_data_are_hidden_until_someone_asks_to_see_them() {
    let mut app = knowing();
    real_data(&mut app);
    let effects = press(&mut app, "5 Enter");
    let asked = |effects: &[Effect]| {
        effects.iter().any(|effect| matches!(effect, Effect::Want(wants) if wants.responses.is_some()))
    };
    assert!(!asked(&effects), "not even read");
    let text = shown(&app, 80, 24);
    assert!(text.contains("Content warning") && text.contains("a data set"), "{text}");
    assert_eq!(press(&mut app, "y"), [], "nothing to copy");
    let effects = press(&mut app, "w");
    assert!(asked(&effects));
    answer(&mut app, &effects);
    assert!(shown(&app, 80, 24).contains("4 of 4 responses"));
}

#[test]
fn two_experiments_are_compared() {
    let mut app = knowing();
    press(&mut app, "6");
    let text = shown(&app, 80, 24);
    assert!(text.contains("Compare tiny with") && text.contains("> apothecary-api"), "{text}");
    press(&mut app, "/ apothecary");
    let effects = press(&mut app, "Enter j j Enter");
    let Some(Effect::Want(wants)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(wants.other.as_deref(), Some("apothecary"));
    assert_eq!(wants.verdicts, ["tiny", "apothecary"]);
    assert!(app.filter().is_empty(), "what found the name does not filter the defences");
    let text = shown(&app, 100, 30);
    assert!(
        text.contains("A  tiny: 9 of 21 done") && text.contains("B  apothecary: 320 of 320 done"),
        "{text}"
    );
    assert!(text.contains("✗ fails → ? inconclusive") || text.contains("✗ → ?"), "{text}");
    press(&mut app, "l l e");
    let text = shown(&app, 100, 30);
    assert!(text.contains("resistance ✗ fails:") && text.contains("resistance ? inconclusive:"), "{text}");
    press(&mut app, "e a p x");
    assert!(shown(&app, 100, 30).contains("over examples (log)"));
    assert_eq!(app.screen, ScreenName::Compare);
}

#[test]
fn a_heat_map_says_budgets_runs_and_what_carries_a_titer() {
    let mut app = attacked();
    press(&mut app, "2 t j l l");
    let text = shown(&app, 100, 30);
    for said in [
        "trains",
        "edits weights",
        "full-finetune",
        "▲ ≥ 1.2 ‡",
        "adversarial-loss under prune on in-domain items",
        "adversarial-loss breaks after > 1 steps, the median; 0 of 2 runs broke",
        "found by a search against tar",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    press(&mut app, "t t e");
    let text = shown(&app, 100, 40);
    for said in [
        "cheapest attack: full-finetune/rate=1e-3",
        "without full-finetune/rate=1e-3: 3.5 [2.4, 5.1]",
        "over the attacks held out: 1.1",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
}

#[test]
fn two_experiments_are_compared_attack_by_attack() {
    let mut app = attacked();
    press(&mut app, "6 j j Enter t");
    let text = shown(&app, 120, 30);
    for said in ["= 1.0", "≠ 2.5 → ≥ 16", "0.40 → –"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    press(&mut app, "j e");
    let text = shown(&app, 120, 30);
    assert!(text.contains("2.5 [1.9, 3.2] times") && text.contains("≥ 16 times"), "{text}");
    press(&mut app, "l l l l l l");
    assert!(shown(&app, 120, 30).contains("under prefill"), "the last column is the last attack");
    press(&mut app, "t");
    assert!(shown(&app, 120, 30).contains("titer A"), "and back");
    app.world.verdicts.remove("apothecary");
    press(&mut app, "t");
    let text = shown(&app, 120, 30);
    assert!(text.contains("until verdicts are decided") && !text.contains("→ –"), "{text}");
}

#[test]
fn pictures_of_a_large_experiment_are_quick() {
    let mut app = knowing();
    let view = Arc::make_mut(app.world.chosen.as_mut().expect("an experiment is chosen"));
    let (stages, curves) = (view.stages.clone(), view.curves.clone());
    for number in 0.. {
        if view.stages.len() >= 500 && view.curves.len() >= 2000 {
            break;
        }
        let base = view.stages.len();
        for stage in stages.iter().filter(|_| base < 500) {
            let mut stage = stage.clone();
            stage.label = format!("{} {number}", stage.label);
            stage.inputs.iter_mut().for_each(|input| *input += base);
            stage.state = StageState::Sealed;
            view.stages.push(stage);
        }
        view.curves.extend(curves.iter().cloned().map(|mut curve| {
            curve.stage = (curve.stage + base).min(view.stages.len() - 1);
            curve.attack_seed += number;
            curve
        }));
    }
    let stage = Arc::make_mut(&mut app.world.stage);
    let long: Vec<_> = (0..20_000).map(|step| (step, 1.0 / (1.0 + step as f64 / 1000.0))).collect();
    stage.terms.iter_mut().for_each(|(_, logged)| logged.clone_from(&long));
    let backend = ratatui::backend::TestBackend::new(200, 50);
    let mut terminal = ratatui::Terminal::new(backend).expect("a terminal of cells");
    for keys in ["2", "2 t", "3", "3 e", "4", "4 e", "5", "6 j j Enter"] {
        press(&mut app, keys);
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            terminal.draw(|frame| draw(frame, &app)).expect("cells can be drawn");
            best = best.min(began.elapsed());
        }
        assert!(best < Duration::from_millis(50), "{keys}: {best:?}");
        if std::env::var_os("TITER_TIMES").is_some() {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{keys:>12}: {best:?}");
        }
    }
}

//! Key sequences: what the app is and does after them, and how the whole of it looks.

mod results;
pub(crate) mod specimen;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use titer_store::Request;

use self::specimen::picture;
use crate::app::{App, Message};
use crate::draw::draw;
use crate::effect::{Effect, Wants};
use crate::look::{Colours, Glyphs, Look};
use crate::prefs::Prefs;
use crate::screen_name::ScreenName;
use crate::world::{News, World};

/// An app that knows the specimen.
pub(super) fn app() -> App {
    let mut app = App::new(Look::MONO, specimen::world(), &Prefs::default(), false);
    app.on(Message::Time(specimen::NOW));
    app
}

/// Presses keys as the table names them, and returns what comes of the last one.
pub(super) fn press(app: &mut App, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.split(' ') {
        let (code, modifiers) = match key {
            "Enter" => (KeyCode::Enter, KeyModifiers::NONE),
            "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
            "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
            "Shift-Tab" => (KeyCode::BackTab, KeyModifiers::SHIFT),
            "Space" => (KeyCode::Char(' '), KeyModifiers::NONE),
            "PgDn" => (KeyCode::PageDown, KeyModifiers::NONE),
            "Backspace" => (KeyCode::Backspace, KeyModifiers::NONE),
            "Ctrl-C" => (KeyCode::Char('c'), KeyModifiers::CONTROL),
            "Ctrl-L" => (KeyCode::Char('l'), KeyModifiers::CONTROL),
            "Ctrl-Z" => (KeyCode::Char('z'), KeyModifiers::CONTROL),
            word => {
                for letter in word.chars() {
                    let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE);
                    effects = app.on(Message::Key(key));
                }
                continue;
            }
        };
        effects = app.on(Message::Key(KeyEvent::new(code, modifiers)));
    }
    effects
}

pub(super) fn shown(app: &App, width: u16, height: u16) -> String {
    picture(width, height, false, |frame| draw(frame, app))
}

#[test]
fn screens_by_number_by_tab_and_back_from_help() {
    let mut app = app();
    assert_eq!(app.screen, ScreenName::Matrix, "an experiment that was asked for is shown by its verdicts");
    for (keys, screen) in [
        ("4", ScreenName::Curves),
        ("Tab", ScreenName::Responses),
        ("Shift-Tab Shift-Tab", ScreenName::Run),
        ("?", ScreenName::Help),
        ("Esc", ScreenName::Run),
        ("8 Tab", ScreenName::Experiments),
        ("Shift-Tab", ScreenName::Help),
    ] {
        press(&mut app, keys);
        assert_eq!(app.screen, screen, "after {keys}");
    }
}

#[test]
fn leaving_and_what_the_terminal_is_asked_for() {
    let check = |keys, expected: Effect| assert_eq!(press(&mut app(), keys), [expected], "{keys}");
    check("q", Effect::Quit);
    check("Ctrl-C", Effect::Quit);
    check("Ctrl-L", Effect::Repaint);
    check("Ctrl-Z", Effect::Suspend);
    check("m", Effect::Mouse(true));
    check("1 y", Effect::Copy("tiny".into()));
}

#[test]
fn a_filter_is_shown_and_cleared() {
    let mut app = app();
    press(&mut app, "1 / half");
    assert!(shown(&app, 80, 24).contains("filter: half"));
    press(&mut app, "Enter");
    let text = shown(&app, 80, 24);
    assert!(!text.contains("apothecary-api") && text.contains("filter: half"), "{text}");
    press(&mut app, "Esc");
    assert!(shown(&app, 80, 24).contains("apothecary-api"));
    press(&mut app, "/ half Esc");
    assert!(app.prompt.is_none() && app.filter().is_empty(), "Esc forgets what was typed");
    press(&mut app, "/ q Backspace Enter");
    assert!(app.filter().is_empty(), "letters are typed, not obeyed");
}

#[test]
fn the_palette_finds_actions_screens_and_experiments() {
    let mut app = app();
    press(&mut app, ": curves Enter");
    assert_eq!(app.screen, ScreenName::Curves);
    let effects = press(&mut app, ": experiment half Enter");
    assert_eq!(app.world.experiment.as_deref(), Some("half"));
    assert!(
        matches!(effects.as_slice(), [Effect::Want(wants)] if wants.experiment.as_deref() == Some("half"))
    );
    press(&mut app, ": freeze");
    assert!(shown(&app, 80, 24).contains("What fits"));
    press(&mut app, "Esc");
    assert!(app.prompt.is_none());
}

#[test]
fn stopping_needs_a_yes() {
    let mut app = app();
    press(&mut app, "1 s");
    let text = shown(&app, 80, 24);
    for part in ["Stop the 2 runs of tiny?", "process 4242 on gpu7", "process 77 on gpu9"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(press(&mut app, "x"), [], "only yes or no are answers");
    assert!(app.confirm.is_some());
    press(&mut app, "n");
    assert!(app.confirm.is_none());
    assert_eq!(press(&mut app, "s y"), [Effect::Ask("tiny".into(), Request::Stop)]);
    assert_eq!(press(&mut app, "H y"), [Effect::Ask("tiny".into(), Request::Hold)]);
    assert_eq!(press(&mut app, ": half Enter r y"), [Effect::Start("half".into())]);
}

#[test]
fn what_comes_first_is_typed_and_confirmed() {
    let mut app = app();
    press(&mut app, "1 p tar");
    assert!(shown(&app, 80, 24).contains("come first: tar"));
    press(&mut app, "Enter");
    assert!(shown(&app, 80, 24).contains("Change the order of tiny?"));
    assert_eq!(press(&mut app, "y"), [Effect::Ask("tiny".into(), Request::First(vec!["tar".into()]))]);
}

#[test]
fn read_only_asks_for_nothing() {
    let mut app = app();
    app.world.read_only = true;
    for keys in ["1 s", "1 H", "1 r", "1 p"] {
        press(&mut app, keys);
        assert!(app.confirm.is_none() && app.prompt.is_none(), "{keys}");
        assert!(shown(&app, 80, 24).contains("--read-only"));
    }
}

#[test]
fn frozen_it_shows_what_was_and_then_what_is() {
    let mut app = app();
    press(&mut app, "1 f");
    let mut lines = specimen::overview();
    lines[0].counts.sealed = 17;
    app.on(Message::News(News::Overview(lines)));
    let text = shown(&app, 80, 24);
    assert!(text.contains("FROZEN") && !text.contains("17/21"), "{text}");
    // What is chosen meanwhile is read nevertheless.
    press(&mut app, "j");
    assert!(app.world.chosen.is_none());
    let mut other = specimen::experiment();
    other.line = specimen::overview().remove(1);
    app.on(Message::News(News::Chosen(Some(other.into()))));
    assert!(app.world.chosen.is_some());
    press(&mut app, "f");
    let text = shown(&app, 80, 24);
    assert!(!text.contains("FROZEN") && text.contains("17/21"), "{text}");
}

#[test]
fn what_runs_is_chosen_unless_something_was_looked_at() {
    let fresh = |prefs: &Prefs| {
        let mut app = App::new(Look::MONO, World::default(), prefs, false);
        app.on(Message::News(News::Names(vec!["half".into(), "tiny".into()])));
        app.on(Message::News(News::Overview(specimen::overview())));
        app
    };
    assert_eq!(fresh(&Prefs::default()).world.experiment.as_deref(), Some("tiny"));
    let prefs = Prefs::new(ScreenName::Log, Some("half".into()));
    let app = fresh(&prefs);
    assert_eq!((app.world.experiment.as_deref(), app.screen), (Some("half"), ScreenName::Log));
    assert_eq!(app.prefs().experiment.as_deref(), Some("half"));
    let prefs = Prefs::new(ScreenName::Log, Some("gone".into()));
    assert_eq!(fresh(&prefs).world.experiment.as_deref(), Some("tiny"));
}

#[test]
fn the_feed_is_told_once_what_is_wanted() {
    let mut app = App::new(Look::MONO, World::default(), &Prefs::default(), false);
    let effects = app.on(Message::News(News::Overview(specimen::overview())));
    let wants = Wants { experiment: Some("tiny".into()), ..Wants::default() };
    assert_eq!(effects, [Effect::Want(wants)]);
    assert_eq!(app.on(Message::News(News::Overview(specimen::overview()))), []);
}

#[test]
fn the_picture_changes_only_with_news() {
    let mut app = app();
    app.take_dirty();
    app.on(Message::News(News::Overview(specimen::overview())));
    assert!(!app.take_dirty(), "the same again is no news");
    press(&mut app, "j");
    assert!(app.take_dirty());
}

#[test]
fn a_terminal_too_small_says_so_and_can_be_left() {
    let mut app = app();
    assert!(shown(&app, 59, 30).contains("terminal is 59x30; needs 60x16"));
    assert_eq!(press(&mut app, "q"), [Effect::Quit]);
    for (width, height) in [(1, 1), (60, 16), (61, 17), (300, 100), (119, 36), (120, 35)] {
        for screen in 1..=8 {
            press(&mut app, &screen.to_string());
            shown(&app, width, height);
        }
    }
}

#[test]
fn ascii_is_all_there_is_where_nothing_else_can_be_shown() {
    let mut app = app();
    app.look = Look { colours: Colours::None, glyphs: Glyphs::Ascii };
    for screen in 1..=8 {
        press(&mut app, &screen.to_string());
        let text = shown(&app, 80, 24);
        assert!(text.is_ascii(), "{text}");
    }
    press(&mut app, "1 s");
    assert!(shown(&app, 80, 24).is_ascii());
}

#[test]
fn nothing_hostile_reaches_the_cells() {
    let mut app = app();
    for keys in ["1 G k", "7", ": hostile", "Esc / \u{1b}[2J", "Enter", "1"] {
        press(&mut app, keys);
        let text = shown(&app, 160, 48);
        let bad = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        assert!(!text.contains(bad), "{text:?}");
    }
}

#[test]
fn the_whole_of_it() {
    for (width, height) in [(80, 24), (160, 48)] {
        for (look, styles) in [(Look::MONO, false), (Look::FULL, true)] {
            let mut app = app();
            app.look = look;
            let mut snapshot = |keys: &str, name: &str| {
                press(&mut app, keys);
                let name = format!("{name}_{width}x{height}{}", if styles { "_colour" } else { "" });
                insta::assert_snapshot!(name, picture(width, height, styles, |frame| draw(frame, &app)));
            };
            snapshot("1", "whole");
            snapshot("s", "confirm");
            snapshot("n : exp", "palette");
            snapshot("Esc ?", "help");
        }
    }
}

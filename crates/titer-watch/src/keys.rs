//! The keys: one table that decides what a key does, what the bottom line and the help say, and what the book
//! says.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::screen_name::ScreenName;

/// What a key can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Leave; whatever runs goes on.
    Quit,
    /// Show a screen.
    Show(ScreenName),
    /// Show the next screen.
    NextScreen,
    /// Show the screen before.
    PreviousScreen,
    /// Choose what to do from a list.
    Palette,
    /// Show only what contains some words.
    Filter,
    /// Undo the nearest thing: a filter, a detail, a screen.
    Back,
    /// Show things as they are now until told otherwise.
    Freeze,
    /// Show all of it, or no longer.
    Expand,
    /// Copy to the clipboard of the terminal.
    Copy,
    /// Listen to the mouse, or no longer.
    Mouse,
    /// Paint everything anew.
    Repaint,
    /// Give the terminal back to the shell.
    Suspend,
    /// One up.
    Up,
    /// One down.
    Down,
    /// One to the left.
    Left,
    /// One to the right.
    Right,
    /// To the first.
    Top,
    /// To the last.
    Bottom,
    /// Many up.
    PageUp,
    /// Many down.
    PageDown,
    /// Open what is selected.
    Open,
    /// Mark what is selected, or no longer.
    Mark,
    /// Show another face of the same.
    Turn,
    /// Show what is said of other items.
    Probe,
    /// Put another budget on the x axis.
    Budget,
    /// Spread the x axis evenly or by magnitude.
    Spread,
    /// Smooth more or less.
    Smooth,
    /// Remove all marks.
    Unmark,
    /// Only refusals, only answers, or both.
    Refused,
    /// Only low scores, only high ones, or all.
    Score,
    /// Show what is hidden behind a warning.
    Reveal,
    /// Choose what to compare with.
    Other,
    /// Show what is known of another attack.
    Attack,
    /// Ask the runs of the selected experiment to stop.
    Stop,
    /// Ask them to begin no new stage.
    Hold,
    /// Let them go on, or start a run.
    Resume,
    /// Say which stages come first.
    First,
    /// Agree to what is asked.
    Agree,
    /// Refuse it.
    Refuse,
    /// Take what was typed.
    Accept,
    /// Forget what was typed.
    Cancel,
    /// Remove the last character.
    Erase,
    /// Remove all characters.
    EraseAll,
}

/// Where a key means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Context {
    /// On every screen.
    Anywhere,
    /// On every screen: moving about.
    Moving,
    /// On one screen.
    On(ScreenName),
    /// While something is typed: a filter, a command.
    Typing,
    /// While something is to be confirmed.
    Asking,
}

impl Context {
    /// As a heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Anywhere => "Anywhere",
            Self::Moving => "Moving about",
            Self::On(screen) => screen.title(),
            Self::Typing => "While typing a filter or a command",
            Self::Asking => "When asked whether to go on",
        }
    }
}

/// What keys do somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Where.
    pub(crate) context: Context,
    /// The keys, each as [`name`] names it.
    pub(crate) keys: &'static [&'static str],
    /// What they do.
    pub(crate) action: Action,
    /// A word for the bottom line; empty where it is not named there.
    pub(crate) short: &'static str,
    /// A line for the help.
    pub(crate) description: &'static str,
}

const fn bind(
    context: Context,
    keys: &'static [&'static str],
    action: Action,
    short: &'static str,
    description: &'static str,
) -> Binding {
    Binding { context, keys, action, short, description }
}

use Action as A;
use Context::{Anywhere, Asking, Moving, On, Typing};
use ScreenName as S;

/// Every key that means something. A screen's own come first, then moving about, then those of all screens.
pub(crate) static KEYMAP: &[Binding] = &[
    // Experiments
    bind(On(S::Experiments), &["Enter"], A::Open, "open", "Choose this experiment and show its matrix"),
    bind(On(S::Experiments), &["s"], A::Stop, "stop", "Ask its runs to save a checkpoint and end"),
    bind(
        On(S::Experiments),
        &["H"],
        A::Hold,
        "hold",
        "Ask its runs to begin nothing new (they finish stages)",
    ),
    bind(
        On(S::Experiments),
        &["r"],
        A::Resume,
        "resume",
        "Let held runs go on, or start one where none lives",
    ),
    bind(On(S::Experiments), &["p"], A::First, "first", "Say which stages its runs are to begin first"),
    // Matrix
    bind(On(S::Matrix), &["t"], A::Turn, "turn", "Turn between verdicts, what attacks must pay, and harm"),
    bind(On(S::Matrix), &["p"], A::Probe, "probe", "The numbers for other items: seen, unseen, cross-domain"),
    // Run
    bind(On(S::Run), &["Enter"], A::Open, "responses", "Show the responses of the stages, this one selected"),
    bind(On(S::Run), &["s"], A::Smooth, "smooth", "Smooth the losses more, or not at all"),
    bind(On(S::Run), &["X"], A::Spread, "log", "Spread the steps by magnitude, or evenly"),
    // Curves
    bind(On(S::Curves), &["Space"], A::Mark, "mark", "Draw this defence under this attack, or no longer"),
    bind(On(S::Curves), &["c"], A::Unmark, "clear", "No marks: every defence under the selected attack"),
    bind(On(S::Curves), &["p"], A::Probe, "probe", "Other items: seen, unseen, cross-domain, permitted"),
    bind(On(S::Curves), &["x"], A::Budget, "x axis", "What is on the x axis: steps, examples or FLOPs"),
    bind(On(S::Curves), &["X"], A::Spread, "log", "Spread the x axis by magnitude, or evenly"),
    // Responses
    bind(
        On(S::Responses),
        &["Enter"],
        A::Open,
        "open",
        "Read the responses of this stage; all of a response",
    ),
    bind(On(S::Responses), &["w"], A::Reveal, "", "Show the responses that the content warning hides"),
    bind(On(S::Responses), &["p"], A::Probe, "probe", "Only responses to other items, or to all"),
    bind(On(S::Responses), &["r"], A::Refused, "refused", "Only refusals, only what is none, or all"),
    bind(On(S::Responses), &["s"], A::Score, "score", "Only scores above phi, only those up to it, or all"),
    // Compare
    bind(On(S::Compare), &["c", "Enter"], A::Other, "choose", "Choose the experiment to compare with"),
    bind(On(S::Compare), &["t"], A::Turn, "turn", "Turn between verdicts and what each attack must pay"),
    bind(On(S::Compare), &["a"], A::Attack, "attack", "Curves under the next attack"),
    bind(On(S::Compare), &["p"], A::Probe, "probe", "Curves of other items"),
    bind(On(S::Compare), &["x"], A::Budget, "x axis", "What is on the x axis: steps, examples or FLOPs"),
    bind(On(S::Compare), &["X"], A::Spread, "log", "Spread the x axis by magnitude, or evenly"),
    // Log
    // Moving about
    bind(Moving, &["j", "Down"], A::Down, "", "Down"),
    bind(Moving, &["k", "Up"], A::Up, "", "Up"),
    bind(Moving, &["h", "Left"], A::Left, "", "Left"),
    bind(Moving, &["l", "Right"], A::Right, "", "Right"),
    bind(Moving, &["g", "Home"], A::Top, "", "To the first"),
    bind(Moving, &["G", "End"], A::Bottom, "", "To the last"),
    bind(Moving, &["PgUp", "Ctrl-U", "Ctrl-B"], A::PageUp, "", "Ten up"),
    bind(Moving, &["PgDn", "Ctrl-D", "Ctrl-F"], A::PageDown, "", "Ten down"),
    // Anywhere
    bind(Anywhere, &["q", "Ctrl-C"], A::Quit, "quit", "Leave; whatever runs goes on"),
    bind(Anywhere, &["1"], A::Show(S::Experiments), "", "Experiments: what runs, what waits, what failed"),
    bind(Anywhere, &["2"], A::Show(S::Matrix), "", "Matrix: verdicts by defence, harm under each attack"),
    bind(Anywhere, &["3"], A::Show(S::Run), "", "Run: stages and their states, losses, speed, memory"),
    bind(Anywhere, &["4"], A::Show(S::Curves), "", "Curves: harmfulness and ability over the budget"),
    bind(
        Anywhere,
        &["5"],
        A::Show(S::Responses),
        "",
        "Responses: what models said, and what judges made of it",
    ),
    bind(Anywhere, &["6"], A::Show(S::Compare), "", "Compare: two experiments side by side"),
    bind(Anywhere, &["7"], A::Show(S::Log), "", "Log: what the runs wrote down"),
    bind(Anywhere, &["?", "8"], A::Show(S::Help), "help", "Help: these keys"),
    bind(Anywhere, &["Tab"], A::NextScreen, "", "The next screen"),
    bind(Anywhere, &["Shift-Tab"], A::PreviousScreen, "", "The screen before"),
    bind(Anywhere, &["/"], A::Filter, "filter", "Show only what contains the words typed"),
    bind(Anywhere, &[":"], A::Palette, "commands", "Find an action, a screen or an experiment by name"),
    bind(Anywhere, &["Esc"], A::Back, "", "Back: out of a filter, a detail, a screen"),
    bind(Anywhere, &["f"], A::Freeze, "freeze", "Keep everything as it is shown now, or follow again"),
    bind(Anywhere, &["e"], A::Expand, "expand", "Show the whole of what is cut, or cut it again"),
    bind(Anywhere, &["y"], A::Copy, "copy", "Copy what is selected to the clipboard of your terminal"),
    bind(Anywhere, &["m"], A::Mouse, "", "Listen to the mouse, or leave it to the terminal"),
    bind(Anywhere, &["Ctrl-L"], A::Repaint, "", "Paint the whole screen anew"),
    bind(Anywhere, &["Ctrl-Z"], A::Suspend, "", "Suspend; `fg` comes back"),
    // While typing
    bind(Typing, &["Enter"], A::Accept, "take", "Take it"),
    bind(Typing, &["Esc", "Ctrl-C"], A::Cancel, "cancel", "Forget it"),
    bind(Typing, &["Backspace"], A::Erase, "", "Remove the last character"),
    bind(Typing, &["Ctrl-U"], A::EraseAll, "clear", "Remove all of it"),
    bind(Typing, &["Up"], A::Up, "", "The entry above"),
    bind(Typing, &["Down"], A::Down, "", "The entry below"),
    // When asked
    bind(Asking, &["y"], A::Agree, "yes", "Yes, do it"),
    bind(Asking, &["n", "Esc", "q", "Ctrl-C"], A::Refuse, "no", "No, leave it"),
];

/// What `key` means in the first of `contexts` that knows it.
pub(crate) fn action(contexts: &[Context], key: &KeyEvent) -> Option<Action> {
    let name = name(key)?;
    contexts.iter().find_map(|&context| {
        let found =
            KEYMAP.iter().find(|binding| binding.context == context && binding.keys.contains(&name.as_str()));
        found.map(|binding| binding.action)
    })
}

/// The contexts that are looked through on a screen, in order.
pub(crate) fn contexts(screen: ScreenName) -> [Context; 3] {
    [On(screen), Moving, Anywhere]
}

/// A key as the table names it: `j`, `G`, `Ctrl-L`, `PgDn`.
fn name(key: &KeyEvent) -> Option<String> {
    let named = match key.code {
        KeyCode::Char(' ') => "Space".to_owned(),
        KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            return Some(format!("Ctrl-{}", c.to_ascii_uppercase()));
        }
        KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::ALT) => c.to_string(),
        KeyCode::BackTab => "Shift-Tab".to_owned(),
        KeyCode::PageUp => "PgUp".to_owned(),
        KeyCode::PageDown => "PgDn".to_owned(),
        KeyCode::Enter
        | KeyCode::Esc
        | KeyCode::Tab
        | KeyCode::Up
        | KeyCode::Down
        | KeyCode::Left
        | KeyCode::Right
        | KeyCode::Home
        | KeyCode::End
        | KeyCode::Backspace => format!("{:?}", key.code),
        _ => return None,
    };
    Some(named)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        let check = |contexts: &[Context]| {
            let mut met = BTreeSet::new();
            for binding in KEYMAP.iter().filter(|binding| contexts.contains(&binding.context)) {
                for key in binding.keys {
                    assert!(met.insert(key), "{key} twice in {contexts:?}");
                }
            }
            assert!(met.len() >= 5);
        };
        for screen in ScreenName::ALL {
            check(&contexts(screen));
        }
        check(&[Typing]);
        check(&[Asking]);
    }

    /// The table as the book has it.
    fn book() -> String {
        let mut text = String::new();
        let mut context = None;
        for binding in KEYMAP {
            if context != Some(binding.context) {
                context = Some(binding.context);
                text += &format!("\n**{}**\n\n| Keys | What they do |\n|---|---|\n", binding.context.title());
            }
            let keys: Vec<_> = binding.keys.iter().map(|key| format!("`{key}`")).collect();
            text += &format!("| {} | {} |\n", keys.join(" "), binding.description);
        }
        text
    }

    #[test]
    fn the_book_says_what_the_keys_do() {
        titer_tests::generated("watch.md", "keys", &book());
    }

    #[test]
    fn descriptions_fit_beside_their_keys_at_80_columns() {
        for Binding { description, .. } in KEYMAP {
            assert!(description.chars().count() <= 55, "{description}");
        }
    }

    #[test]
    fn events_have_the_names_of_the_table() {
        let check = |code, modifiers, expected: Option<&str>| {
            assert_eq!(name(&KeyEvent::new(code, modifiers)).as_deref(), expected);
        };
        check(KeyCode::Char('l'), KeyModifiers::CONTROL, Some("Ctrl-L"));
        check(KeyCode::Char('G'), KeyModifiers::SHIFT, Some("G"));
        check(KeyCode::Char(' '), KeyModifiers::NONE, Some("Space"));
        check(KeyCode::Home, KeyModifiers::NONE, Some("Home"));
        check(KeyCode::Char('x'), KeyModifiers::ALT, None);
        check(KeyCode::F(5), KeyModifiers::NONE, None);
    }
}

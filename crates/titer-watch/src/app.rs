//! The app as a state: messages in, effects out. It reads no file and paints nothing.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent, MouseEventKind};

use super::control;
use super::effect::Confirm;
use super::effect::{Effect, Wants};
use super::keys::{self, Action, Context};
use super::look::Look;
use super::palette::{Choice, Palette};
use super::prefs::Prefs;
use super::screen::Screen;
use super::screen_name::ScreenName;
use super::screens::Screens;
use super::world::{News, World};

/// What comes in.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// Text was pasted.
    Pasted(String),
    /// The terminal has another size.
    Resized,
    /// The process was stopped and goes on.
    Continued,
    /// The feed tells something.
    News(News),
    /// What time it is, in seconds since the Unix epoch.
    Time(f64),
}

/// What is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// A filter of the screen.
    Filter,
    /// A name in the palette.
    Palette(Palette),
    /// Words of stages that come first in the runs of this experiment.
    First(String),
}

/// The app.
pub(crate) struct App {
    /// How things look.
    pub(crate) look: Look,
    /// What is shown.
    pub(crate) world: World,
    /// What has come since everything was frozen, if it is.
    latest: Option<World>,
    /// The screen that is shown.
    pub(crate) screen: ScreenName,
    /// The one before.
    before: ScreenName,
    /// All of them.
    pub(crate) screens: Screens,
    /// The filter of each screen.
    filters: [String; ScreenName::ALL.len()],
    /// What is being typed, if something is.
    pub(crate) prompt: Option<(Prompt, String)>,
    /// What is to be confirmed, if something is.
    pub(crate) confirm: Option<Confirm>,
    /// What was said last.
    pub(crate) said: Option<String>,
    /// Whether the mouse is listened to.
    mouse: bool,
    /// What the feed was last told to read.
    wants: Wants,
    /// The experiment of the last session, to be shown if it is there.
    remembered: Option<String>,
    /// Whether the picture may have changed since it was last asked.
    dirty: bool,
}

impl App {
    /// The app before it knows anything. An `experiment` that was asked for is shown by its matrix.
    pub(crate) fn new(look: Look, world: World, prefs: &Prefs, mouse: bool) -> Self {
        let screen = if world.experiment.is_some() { ScreenName::Matrix } else { prefs.screen() };
        let mut screens = Screens::new();
        screens.iter_mut().for_each(|screen| screen.restore(&prefs.liking));
        Self {
            look,
            world,
            latest: None,
            screen,
            before: ScreenName::Experiments,
            screens,
            filters: Default::default(),
            prompt: None,
            confirm: None,
            said: None,
            mouse,
            wants: Wants::default(),
            remembered: prefs.experiment.clone(),
            dirty: true,
        }
    }

    /// Whether the picture may have changed since this was last asked.
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Takes a message in. Whoever calls it carries out the effects, and paints.
    pub(crate) fn on(&mut self, message: Message) -> Vec<Effect> {
        self.dirty |= !matches!(message, Message::News(_));
        let effects = match message {
            Message::Key(key) if key.kind == KeyEventKind::Release => Vec::new(),
            Message::Key(key) => self.key(&key),
            Message::Mouse(event) => self.wheel(event),
            Message::Pasted(text) => self.paste(&text),
            Message::Resized => vec![Effect::Repaint],
            Message::Continued => vec![Effect::ComeBack],
            Message::News(news) => self.learn(news),
            Message::Time(now) => {
                self.latest.as_mut().unwrap_or(&mut self.world).now = now;
                Vec::new()
            }
        };
        let mut outside = Vec::new();
        self.dirty |= !effects.is_empty();
        for effect in effects {
            self.carry_out(effect, &mut outside);
        }
        let wants = self.wanted();
        if wants != self.wants {
            self.wants = wants.clone();
            outside.push(Effect::Want(wants));
        }
        outside
    }

    /// Whether nothing changes until told otherwise.
    pub(crate) fn is_frozen(&self) -> bool {
        self.latest.is_some()
    }

    /// The filter of the screen that is shown.
    pub(crate) fn filter(&self) -> &str {
        &self.filters[self.screen as usize]
    }

    /// What is kept for the next session.
    pub(crate) fn prefs(&self) -> Prefs {
        let mut prefs = Prefs::new(self.screen, self.world.experiment.clone());
        self.screens.iter().for_each(|screen| screen.remember(&mut prefs.liking));
        prefs
    }

    fn current(&mut self) -> &mut dyn Screen {
        self.screens.get_mut(self.screen)
    }

    fn key(&mut self, key: &KeyEvent) -> Vec<Effect> {
        self.said = None;
        if self.confirm.is_some() {
            let action = keys::action(&[Context::Asking], key);
            return self.answer(action);
        }
        if self.prompt.is_some() {
            return match (keys::action(&[Context::Typing], key), key.code) {
                (Some(action), _) => self.edit(action),
                (None, KeyCode::Char(c)) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                    self.typed(|text| text.push(c))
                }
                _ => Vec::new(),
            };
        }
        match keys::action(&keys::contexts(self.screen), key) {
            Some(action) => self.act(action),
            None => Vec::new(),
        }
    }

    fn wheel(&mut self, event: MouseEvent) -> Vec<Effect> {
        match event.kind {
            MouseEventKind::ScrollDown if self.confirm.is_none() => self.act(Action::Down),
            MouseEventKind::ScrollUp if self.confirm.is_none() => self.act(Action::Up),
            _ => Vec::new(),
        }
    }

    fn paste(&mut self, pasted: &str) -> Vec<Effect> {
        let clean = titer_view::sanitise::line(pasted).into_owned();
        self.typed(|text| text.push_str(&clean))
    }

    fn answer(&mut self, action: Option<Action>) -> Vec<Effect> {
        match action {
            Some(Action::Agree) => self.confirm.take().map(|confirm| *confirm.then).into_iter().collect(),
            Some(Action::Refuse) => {
                self.confirm = None;
                vec![Effect::Say("nothing was done".into())]
            }
            _ => Vec::new(),
        }
    }

    /// Changes what is being typed, and shows at once what comes of it.
    fn typed(&mut self, change: impl FnOnce(&mut String)) -> Vec<Effect> {
        let Some((prompt, text)) = &mut self.prompt else { return Vec::new() };
        change(text);
        match prompt {
            Prompt::Filter => {
                let text = text.clone();
                self.set_filter(&text);
            }
            Prompt::Palette(palette) => palette.search(text),
            Prompt::First(_) => {}
        }
        Vec::new()
    }

    fn edit(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Erase => self.typed(|text| {
                text.pop();
            }),
            Action::EraseAll => self.typed(String::clear),
            Action::Up | Action::Down => {
                if let Some((Prompt::Palette(palette), _)) = &mut self.prompt {
                    palette.step(action == Action::Down);
                }
                Vec::new()
            }
            Action::Cancel => {
                if let Some((Prompt::Filter, _)) = self.prompt.take() {
                    self.set_filter("");
                }
                Vec::new()
            }
            Action::Accept => match self.prompt.take() {
                Some((Prompt::Palette(palette), _)) => {
                    palette.chosen().map_or_else(Vec::new, |chosen| match chosen {
                        Choice::Act(action) => self.act(action),
                        Choice::Experiment(name) => vec![Effect::Choose(name)],
                    })
                }
                Some((Prompt::First(experiment), text)) => {
                    let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
                    control::begin_first(&self.world, &experiment, &words)
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Quit => vec![Effect::Quit],
            Action::Suspend => vec![Effect::Suspend],
            Action::Repaint => vec![Effect::Repaint],
            Action::Show(screen) => vec![Effect::Go(screen)],
            Action::NextScreen => vec![Effect::Go(self.neighbour(1))],
            Action::PreviousScreen => vec![Effect::Go(self.neighbour(ScreenName::ALL.len() - 1))],
            Action::Filter => {
                self.prompt = Some((Prompt::Filter, self.filter().to_owned()));
                Vec::new()
            }
            Action::Palette => {
                self.prompt = Some((Prompt::Palette(Palette::new(self.screen, &self.world)), String::new()));
                Vec::new()
            }
            Action::Freeze => {
                match self.latest.take() {
                    Some(latest) => {
                        self.world = latest;
                        self.follow();
                    }
                    None => self.latest = Some(self.world.clone()),
                }
                Vec::new()
            }
            Action::Mouse => {
                self.mouse = !self.mouse;
                let say = if self.mouse {
                    "the wheel scrolls; hold Shift to select text, or press m again"
                } else {
                    "the mouse is your terminal's again"
                };
                vec![Effect::Mouse(self.mouse), Effect::Say(say.into())]
            }
            Action::Copy => match self.screens.get(self.screen).copied(&self.world) {
                Some(text) => {
                    let say =
                        format!("copied {} characters, if your terminal allows it", text.chars().count());
                    vec![Effect::Copy(text), Effect::Say(say)]
                }
                None => vec![Effect::Say("nothing here can be copied".into())],
            },
            Action::Back if !self.filter().is_empty() => {
                self.set_filter("");
                Vec::new()
            }
            Action::Back if self.screen == ScreenName::Help => vec![Effect::Go(self.before)],
            other => self.screens.get_mut(self.screen).act(other, &self.world),
        }
    }

    fn neighbour(&self, distance: usize) -> ScreenName {
        ScreenName::ALL[(self.screen as usize + distance) % ScreenName::ALL.len()]
    }

    fn set_filter(&mut self, text: &str) {
        text.clone_into(&mut self.filters[self.screen as usize]);
        self.current().filter(text);
        self.screens.get_mut(self.screen).follow(&self.world);
    }

    fn carry_out(&mut self, effect: Effect, outside: &mut Vec<Effect>) {
        match effect {
            Effect::Go(screen) if screen != self.screen => {
                self.before = self.screen;
                self.screen = screen;
                self.screens.get_mut(screen).follow(&self.world);
            }
            Effect::Go(_) => {}
            Effect::Choose(name) => self.choose(name),
            Effect::Say(text) => self.said = Some(text),
            Effect::Unfilter => self.set_filter(""),
            Effect::Confirm(confirm) => self.confirm = Some(confirm),
            Effect::AskFirst(experiment) => {
                let first = self.world.line(&experiment).map(|line| line.control.first.join(" "));
                self.prompt = Some((Prompt::First(experiment), first.unwrap_or_default()));
            }
            other => outside.push(other),
        }
    }

    fn choose(&mut self, name: String) {
        if self.world.experiment.as_ref() == Some(&name) {
            return;
        }
        for world in std::iter::once(&mut self.world).chain(self.latest.as_mut()) {
            world.experiment = Some(name.clone());
            world.chosen = None;
        }
        self.follow();
    }

    fn learn(&mut self, news: News) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let News::Done(text) = &news {
            effects.push(Effect::Say(text.clone()));
        }
        let new = match &mut self.latest {
            Some(latest) => {
                let lacking = self.world.lacks(&news);
                latest.learn(news.clone());
                lacking && self.world.learn(news)
            }
            None => self.world.learn(news),
        };
        if new {
            self.dirty = true;
            effects.extend(self.first_choice());
            self.follow();
        }
        effects
    }

    /// Where no experiment is chosen yet: that of the last session, or else what runs or ran last.
    fn first_choice(&self) -> Option<Effect> {
        if self.world.experiment.is_some() {
            return None;
        }
        let remembered = self.remembered.as_ref().filter(|name| self.world.names.contains(name));
        let first = || self.world.listed().first().map(|name| (*name).to_owned());
        let read = !self.world.overview.is_empty();
        remembered.cloned().or_else(|| first().filter(|_| read)).map(Effect::Choose)
    }

    fn follow(&mut self) {
        self.screens.get_mut(self.screen).follow(&self.world);
    }

    fn wanted(&self) -> Wants {
        let mut wants = Wants { experiment: self.world.experiment.clone(), ..Wants::default() };
        self.screens.get(self.screen).want(&self.world, &mut wants);
        wants
    }
}

//! One file per screen.

mod compare;
mod curves;
mod experiments;
mod help;
mod log;
mod matrix;
mod responses;
mod run;

use super::screen::Screen;
use super::screen_name::ScreenName;

/// All screens.
pub(crate) struct Screens([Box<dyn Screen>; 8]);

impl Screens {
    /// As they are at first.
    pub(crate) fn new() -> Self {
        Self(ScreenName::ALL.map(|name| match name {
            ScreenName::Experiments => Box::new(experiments::Experiments::default()) as Box<dyn Screen>,
            ScreenName::Matrix => Box::new(matrix::Matrix::default()),
            ScreenName::Run => Box::new(run::Run::default()),
            ScreenName::Curves => Box::new(curves::Curves::default()),
            ScreenName::Responses => Box::new(responses::Responses::default()),
            ScreenName::Compare => Box::new(compare::Compare::default()),
            ScreenName::Log => Box::new(log::Log::default()),
            ScreenName::Help => Box::new(help::Help::default()),
        }))
    }

    /// One of them.
    pub(crate) fn get(&self, name: ScreenName) -> &dyn Screen {
        self.0[name as usize].as_ref()
    }

    /// One of them, to change it.
    pub(crate) fn get_mut(&mut self, name: ScreenName) -> &mut dyn Screen {
        self.0[name as usize].as_mut()
    }

    /// All of them, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Screen>> {
        self.0.iter_mut()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Screen> {
        self.0.iter().map(AsRef::as_ref)
    }
}

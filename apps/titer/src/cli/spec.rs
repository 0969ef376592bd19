//! The arguments of `titer explain`, `titer schema` and `titer init`.

use std::path::PathBuf;

use clap::Args;

/// Of `titer explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer explain                   the whole spec, section by section
  titer explain probe             a section
  titer explain conditions.phi    a key
  titer explain attack.rate       a parameter, in every attack that has it
  titer explain tar               a method and its parameters")]
pub(crate) struct ExplainArgs {
    /// Key, section or method; of everything where nothing is named
    #[arg(value_name = "KEY|SECTION|METHOD", default_value = "")]
    pub(crate) key: String,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Of `titer init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  titer init apothecary-smoke
  titer init smollm2-policy --out mine.toml     the spec is called `mine`
  titer init rows.toml --out whole.toml         all that a spec over rows of your own does not say


Change it, check it with `titer plan mine.toml`, look keys up with `titer explain KEY`, and run it with
`titer run mine.toml`.")]
pub(crate) struct InitArgs {
    /// Preset of `titer list presets`, or a spec that leaves things unsaid
    #[arg(value_name = "PRESET|SPEC")]
    pub(crate) preset: String,
    /// The file to make, which must not be there yet [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

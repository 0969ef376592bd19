//! `titer doctor`.

use titer_view::table::wrap;
use titer_view::verdict_text::WIDTH;

use crate::cli::DoctorArgs;
use crate::exit::Exit;
use crate::output;

pub(super) fn doctor(arguments: &DoctorArgs) -> anyhow::Result<Exit> {
    let checks = titer_lab::doctor();
    if arguments.json {
        output::json(&checks)?;
    } else {
        let mut text = String::new();
        for check in &checks {
            let sign = if check.ok { "✓" } else { "✗" };
            let sentence = format!("{sign} {}: {}", check.name, check.finding);
            text.push_str(&format!("{}\n", wrap(&sentence, WIDTH, 0, "  ")));
            if let Some(advice) = &check.advice {
                text.push_str(&format!("  {}\n", wrap(&format!("→ {advice}"), WIDTH, 2, "    ")));
            }
        }
        output::result(&text)?;
    }
    Ok(if checks.iter().all(|check| check.ok) { Exit::Done } else { Exit::Failed })
}

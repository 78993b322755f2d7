//! Questions to the user, before something is done that cannot be undone.

use std::io::BufRead;

use super::World;
use crate::error::{Context, Error, Kind, Result};

/// Shows a warning and asks whether to go on; only `y` and `yes` mean that.
pub(crate) fn confirm(world: &mut World, warning: &str) -> Result<bool> {
    world.out.text(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    world.out.flush()?;
    let mut answer = String::new();
    let length = std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context(|| "cannot read the answer from standard input")?;
    if length == 0 {
        return Err(Error::new(Kind::Invalid, "there is no answer on standard input")
            .hint("use --force where nobody can answer"));
    }
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

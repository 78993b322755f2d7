//! Helper programs that must not outlive us.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::process;

/// Lets the program be killed when this process ends, however it ends.
///
/// It counts from the thread that starts the program, so that one must be the one that stays.
pub fn die_with_us(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    let bind = move || {
        process::die_with_parent()?;
        // Had we ended before the call, nobody would tell the child.
        match std::os::unix::process::parent_id() {
            now if now == parent => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(bind) }
}

/// Gives the program a session of its own: the signals that a terminal sends are not for it, and it asks
/// nothing there.
pub fn apart(command: &mut Command) -> &mut Command {
    let begin = || {
        super::signal::reset_all()?;
        rustix::process::setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls and allocates nothing.
    unsafe { command.pre_exec(begin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_the_program() {
        let status = die_with_us(&mut Command::new("true")).status().unwrap();
        assert!(status.success());
    }
}

//! Processes on a terminal of their own.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, kill_process};
use rustix::termios::{InputModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use super::place::Place;
use super::process::{left, pid_of, pidfd_of, start, tail};

/// A process whose controlling terminal we hold the other end of.
pub(crate) struct Terminal {
    child: Child,
    pidfd: OwnedFd,
    master: File,
    // Kept open, so that the settings can be looked at after the process has gone.
    slave: File,
    before: Termios,
    shown: String,
    seen: Vec<u8>,
    mark: usize,
    deadline: Instant,
}

impl Terminal {
    pub(super) fn start(command: Command, place: &Place, shown: String, limit: Duration) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(None, None).expect("there are terminals");
        let (master, slave) = (File::from(pair.master), File::from(pair.slave));
        tcsetwinsize(&master, size).expect("it is a terminal");
        rustix::io::ioctl_fionbio(&master, true).expect("it can be non-blocking");
        let end = || Stdio::from(slave.try_clone().expect("it can be shared"));
        let before = tcgetattr(&slave).expect("it is a terminal");
        // A session of its own with this as its controlling terminal.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                session.env(name, value);
            }
        }
        if let Some(directory) = command.get_current_dir() {
            session.current_dir(directory);
        }
        // Not a group leader, or `setsid` would fork.
        session.process_group(nix::unistd::getpgrp().as_raw());
        session.stdin(end()).stdout(end()).stderr(end());
        let child = start(&mut session, place, &shown);
        let pidfd = pidfd_of(&child);
        let deadline = Instant::now() + limit;
        Self { child, pidfd, master, slave, before, shown, seen: Vec::new(), mark: 0, deadline }
    }

    /// Types something.
    pub(crate) fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal takes a few bytes");
    }

    /// Waits until `text` appears after what was expected before.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        loop {
            self.pump();
            let new = &self.seen[self.mark..];
            let found = new.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(position) = found {
                self.mark += position + text.len();
                return;
            }
            assert!(
                Instant::now() < self.deadline && !self.has_ended_quietly(),
                "`{}` never showed `{text}`\n--- screen\n{}",
                self.shown,
                tail(&self.seen)
            );
            self.rest();
        }
    }

    /// Changes the size of the window; the kernel tells the process.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("it is a terminal");
    }

    /// Returns the settings that the terminal had before the process was started.
    pub(crate) fn settings_before(&self) -> &Termios {
        &self.before
    }

    /// Returns the terminal's settings.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("it is a terminal")
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).expect("it is our own child");
    }

    /// Returns everything that was shown.
    pub(crate) fn screen(&mut self) -> String {
        self.pump();
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Waits for the end and checks the exit status.
    #[track_caller]
    pub(crate) fn exits(&mut self, status: i32) {
        loop {
            self.pump();
            if let Some(ended) = self.child.try_wait().expect("it is our own child") {
                self.pump();
                let got = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
                let screen = tail(&self.seen);
                assert_eq!(got, status, "`{}`\n--- screen\n{screen}", self.shown);
                return;
            }
            let screen = tail(&self.seen);
            assert!(
                Instant::now() < self.deadline,
                "`{}` does not end\n--- screen\n{screen}",
                self.shown
            );
            self.rest();
        }
    }

    fn has_ended_quietly(&mut self) -> bool {
        let ended = self.child.try_wait().expect("it is our own child").is_some();
        let before = self.seen.len();
        self.pump();
        ended && self.seen.len() == before
    }

    fn pump(&mut self) {
        let mut buffer = [0; 4096];
        // At the end there is nothing or an I/O error; both mean: no more.
        while let Ok(count) = rustix::io::read(&self.master, &mut buffer) {
            if count == 0 {
                return;
            }
            self.seen.extend_from_slice(&buffer[..count]);
        }
    }

    fn rest(&mut self) {
        let mut fds =
            [PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(&self.master, PollFlags::IN)];
        let pause = left(self.deadline).min(Timespec { tv_sec: 5, tv_nsec: 0 });
        match poll(&mut fds, Some(&pause)) {
            Ok(0) => self.nudge(),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("cannot poll: {error}"),
        }
    }

    /// Makes the kernel look at what was typed: on a busy machine it sometimes forgets to, until more
    /// comes. Flow control is nothing that a program sees, where it is on.
    fn nudge(&mut self) {
        if tcgetattr(&self.slave).is_ok_and(|now| now.input_modes.contains(InputModes::IXON)) {
            self.send("\x11");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

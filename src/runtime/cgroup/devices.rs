//! Which devices a container may use: rules for version 1, a program for version 2.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{Error, Kind, Result};
use crate::sys::bpf::DeviceInstruction;

/// The rules of a container, after the last one that is about all devices.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Devices {
    /// What is so for devices that no rule is about.
    allowed: bool,
    rules: Vec<Rule>,
}

/// Allows or forbids some ways of using some devices; later rules count more.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    allow: bool,
    kind: Kinds,
    /// `None` is all.
    major: Option<u32>,
    minor: Option<u32>,
    /// The kernel's bits.
    access: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kinds {
    All,
    Block,
    Character,
}

const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

impl Devices {
    /// Reads rules; `None` if they forbid nothing.
    pub(super) fn of(rules: &[LinuxDeviceCgroup]) -> Result<Option<Self>> {
        if rules.is_empty() {
            return Ok(None);
        }
        let mut devices = Self { allowed: false, rules: Vec::new() };
        for rule in rules {
            let rule = Rule::of(rule)?;
            if rule == (Rule { allow: rule.allow, ..Rule::ALL }) {
                devices = Self { allowed: rule.allow, rules: Vec::new() };
            } else {
                devices.rules.push(rule);
            }
        }
        let free = devices.allowed && devices.rules.iter().all(|rule| rule.allow);
        Ok((!free).then_some(devices))
    }

    /// Returns what is to be written to files of a version 1 group, in this order.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let file = |allow| if allow { "devices.allow" } else { "devices.deny" };
        let mut lines = vec![(file(self.allowed), "a".to_owned())];
        for rule in &self.rules {
            // The kernel takes a line about both kinds for one about everything.
            let kinds: &[char] = match rule.kind {
                Kinds::All => &['b', 'c'],
                Kinds::Block => &['b'],
                Kinds::Character => &['c'],
            };
            lines.extend(kinds.iter().map(|kind| (file(rule.allow), rule.line(*kind))));
        }
        lines
    }

    /// Returns a program that decides for a version 2 group.
    pub(super) fn program(&self) -> Vec<DeviceInstruction> {
        let mut program = vec![
            // Registers: 2 the kind, 3 the access, 4 and 5 the number; the context is in 1.
            instruction(LOAD, 2, 1, 0, 0),
            instruction(COPY, 3, 2, 0, 0),
            instruction(AND, 2, 0, 0, 0xffff),
            instruction(SHIFT_RIGHT, 3, 0, 0, 16),
            instruction(LOAD, 4, 1, 4, 0),
            instruction(LOAD, 5, 1, 8, 0),
        ];
        // The last rule that is about the access decides.
        for rule in self.rules.iter().rev() {
            rule.assemble(&mut program);
        }
        program.extend(verdict(self.allowed));
        program
    }
}

impl Rule {
    /// About all devices.
    const ALL: Self = Self {
        allow: true,
        kind: Kinds::All,
        major: None,
        minor: None,
        access: MAKE | READ | WRITE,
    };

    fn of(rule: &LinuxDeviceCgroup) -> Result<Self> {
        let invalid =
            |what: String| Error::new(Kind::Invalid, format!("invalid device rule: {what}"));
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| invalid(format!("`{number}` is no device number"))),
        };
        let access = match rule.access().as_deref() {
            None | Some("") => MAKE | READ | WRITE,
            Some(letters) => letters.chars().try_fold(0, |access, letter| match letter {
                'm' => Ok(access | MAKE),
                'r' => Ok(access | READ),
                'w' => Ok(access | WRITE),
                _ => Err(invalid(format!("`{letters}` is not made of r, w and m"))),
            })?,
        };
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => Kinds::All,
            Some(LinuxDeviceType::B) => Kinds::Block,
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Kinds::Character,
            Some(LinuxDeviceType::P) => return Err(invalid("a pipe is no device".to_owned())),
        };
        Ok(Self {
            allow: rule.allow(),
            kind,
            major: number(rule.major())?,
            minor: number(rule.minor())?,
            access,
        })
    }

    fn line(&self, kind: char) -> String {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |one| one.to_string());
        let mut line = format!("{kind} {}:{} ", number(self.major), number(self.minor));
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')] {
            if self.access & bit != 0 {
                line.push(letter);
            }
        }
        line
    }

    /// Adds instructions that return the verdict if the rule is about the access, else go on after it.
    fn assemble(&self, program: &mut Vec<DeviceInstruction>) {
        let mut checks = Vec::with_capacity(6);
        let kind = match self.kind {
            Kinds::All => None,
            Kinds::Block => Some(1),
            Kinds::Character => Some(2),
        };
        for (register, wanted) in [(2, kind), (4, self.major), (5, self.minor)] {
            if let Some(wanted) = wanted {
                checks.push(instruction(IF_NOT, register, 0, 0, wanted.cast_signed()));
            }
        }
        if self.access != Self::ALL.access {
            // To be allowed, all that is wanted must be allowed. To be forbidden, a part suffices.
            let (bits, jump) = match self.allow {
                true => (!self.access, IF_NOT),
                false => (self.access, IF),
            };
            checks.push(instruction(COPY, 1, 3, 0, 0));
            checks.push(instruction(AND, 1, 0, 0, bits.cast_signed()));
            checks.push(instruction(jump, 1, 0, 0, 0));
        }
        let verdict = verdict(self.allow);
        let length = checks.len() + verdict.len();
        for (at, mut check) in checks.into_iter().enumerate() {
            if matches!(check.code, IF | IF_NOT) {
                // A rule has eight instructions at most.
                check.offset = i16::try_from(length - at - 1).unwrap_or(i16::MAX);
            }
            program.push(check);
        }
        program.extend(verdict);
    }
}

/// Loads 32 bits of what the source register points to.
const LOAD: u8 = 0x61;
/// Copies 32 bits from the source register.
const COPY: u8 = 0xbc;
/// Keeps those of 32 bits that the constant has.
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
/// Jumps if the register is equal to the constant, in 32 bits.
const IF: u8 = 0x16;
/// Jumps if it is not.
const IF_NOT: u8 = 0x56;
/// Sets the register to the constant.
const SET: u8 = 0xb7;
/// Returns what is in register 0.
const EXIT: u8 = 0x95;

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> DeviceInstruction {
    DeviceInstruction { code, registers: from << 4 | to, offset, immediate }
}

fn verdict(allow: bool) -> [DeviceInstruction; 2] {
    [instruction(SET, 0, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `+c 1:3 rwm`, as in the kernel's list, with a sign.
    fn rules(text: &str) -> Vec<LinuxDeviceCgroup> {
        text.lines()
            .map(|line| {
                let fields: Vec<&str> = line.trim()[1..].split(' ').collect();
                let (major, minor) = fields[1].split_once(':').unwrap();
                let mut rule = LinuxDeviceCgroup::default();
                rule.set_allow(line.trim().starts_with('+'))
                    .set_typ(Some(fields[0].parse().unwrap()))
                    .set_major(major.parse().ok())
                    .set_minor(minor.parse().ok())
                    .set_access(Some(fields[2].to_owned()));
                rule
            })
            .collect()
    }

    fn devices(text: &str) -> Devices {
        Devices::of(&rules(text)).unwrap().unwrap()
    }

    /// Runs a program as the kernel does.
    fn run(program: &[DeviceInstruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u32; 11];
        let mut at = 0;
        loop {
            let DeviceInstruction { code, registers: pair, offset, immediate } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let immediate = immediate.cast_unsigned();
            at += 1;
            let mut jump = |holds| {
                if holds {
                    at += usize::try_from(offset).unwrap();
                }
            };
            match code {
                LOAD => registers[to] = context[usize::try_from(offset).unwrap() / 4],
                COPY => registers[to] = registers[from],
                AND => registers[to] &= immediate,
                SHIFT_RIGHT => registers[to] >>= immediate,
                IF => jump(registers[to] == immediate),
                IF_NOT => jump(registers[to] != immediate),
                SET => registers[to] = immediate,
                EXIT => return registers[0] == 1,
                _ => panic!("instruction {code:#x}"),
            }
        }
    }

    const DOCKER: &str = "-a *:* rwm
        +c *:* m
        +b *:* m
        +c 1:3 rwm
        +c 136:* rwm
        -c 136:5 w
        +a 10:* r";

    #[test]
    fn programs_decide_as_the_rules_say() {
        const BLOCK: u32 = 1;
        const CHARACTER: u32 = 2;
        let program = devices(DOCKER).program();
        for (kind, access, major, minor, want) in [
            (CHARACTER, READ | WRITE, 1, 3, true),
            (CHARACTER, READ, 1, 5, false),
            (CHARACTER, MAKE, 1, 5, true),
            (CHARACTER, MAKE | READ, 1, 5, false),
            (BLOCK, MAKE, 8, 0, true),
            (BLOCK, READ, 8, 0, false),
            (BLOCK, READ, 1, 3, false),
            (CHARACTER, WRITE, 136, 4, true),
            (CHARACTER, WRITE, 136, 5, false),
            (CHARACTER, READ | WRITE, 136, 5, false),
            (CHARACTER, READ, 136, 5, true),
            (BLOCK, READ, 10, 200, true),
            (CHARACTER, WRITE, 10, 200, false),
        ] {
            let got = run(&program, kind, access, major, minor);
            assert_eq!(got, want, "{kind} {access} {major}:{minor}");
        }
    }

    #[test]
    fn lists_rules_for_version_1() {
        let lines: Vec<String> =
            devices(DOCKER).lines().iter().map(|(file, line)| format!("{file} {line}")).collect();
        let want = [
            "devices.deny a",
            "devices.allow c *:* m",
            "devices.allow b *:* m",
            "devices.allow c 1:3 rwm",
            "devices.allow c 136:* rwm",
            "devices.deny c 136:5 w",
            "devices.allow b 10:* r",
            "devices.allow c 10:* r",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn needs_nothing_where_all_is_allowed() {
        for (text, free) in [
            ("", true),
            ("-a *:* rwm\n+a *:* rwm", true),
            ("+a *:* rwm\n+c 1:3 rwm", true),
            ("+a *:* rwm\n-c 1:3 rwm", false),
            ("-a *:* rwm", false),
            // What no rule is about is forbidden.
            ("+c 1:3 rwm", false),
        ] {
            assert_eq!(Devices::of(&rules(text)).unwrap().is_none(), free, "{text}");
        }
    }

    #[test]
    fn refuses_bad_rules() {
        let mut wrong = LinuxDeviceCgroup::default();
        wrong.set_access(Some("rx".to_owned()));
        assert_eq!(Devices::of(&[wrong]).unwrap_err().kind(), Kind::Invalid);
        let mut wrong = LinuxDeviceCgroup::default();
        wrong.set_major(Some(-2));
        assert_eq!(Devices::of(&[wrong]).unwrap_err().kind(), Kind::Invalid);
    }
}

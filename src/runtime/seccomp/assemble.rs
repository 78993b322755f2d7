//! Classic BPF for a decision about each system call.
//!
//! The program is made from its end: jumps only go forward, so wherever one is written its target is
//! there already and the distance is known. A target that is too far away for the eight bits of a
//! conditional jump is reached through an unconditional one, or, if it only returns, is made again.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD};
use libc::{BPF_RET, BPF_W};
use oci_spec::runtime::LinuxSeccompOperator;

use super::calls::{Action, Condition, KILL, Rule, Table, Verdict};
use crate::sys::bpf::FilterInstruction;

/// Where `struct seccomp_data` has the number, the architecture and the first argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
/// The upper half of an argument: both supported machines are little-endian.
const UPPER: u32 = 4;

/// How far a conditional jump may go; less than it can, as an instruction may come between.
const REACH: usize = 250;

/// An instruction, counted from the end of the program.
type Label = usize;

/// What comes next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Return(Action),
    At(Label),
}

/// Makes the program: picks the table by architecture, then the interval by number.
pub(super) fn assemble(tables: &[Table]) -> Vec<FilterInstruction> {
    let mut program = Program::default();
    let starts: Vec<Label> = tables
        .iter()
        .map(|table| {
            let decision = program.search(&table.intervals);
            program.load(NUMBER, decision)
        })
        .collect();
    let mut next = Next::Return(KILL);
    for (table, start) in tables.iter().zip(starts).rev() {
        next = program.branch(BPF_JEQ, table.audit, Next::At(start), next);
    }
    program.load(ARCHITECTURE, next);
    program.reversed.reverse();
    program.reversed
}

/// A program, last instruction first.
#[derive(Default)]
struct Program {
    reversed: Vec<FilterInstruction>,
    /// The latest instruction that returns each action.
    returns: Vec<(Action, Label)>,
}

impl Program {
    /// Finds the interval that the loaded number is in, by halving.
    fn search(&mut self, intervals: &[(u32, Verdict)]) -> Next {
        match intervals {
            [] => Next::Return(KILL),
            [(_, Verdict::Always(action))] => Next::Return(*action),
            [(_, Verdict::Depends(rules, default))] => self.rules(rules, *default),
            _ => {
                let (lower, upper) = intervals.split_at(intervals.len() / 2);
                let upper_half = self.search(upper);
                let lower_half = self.search(lower);
                self.branch(BPF_JGE, upper[0].0, upper_half, lower_half)
            }
        }
    }

    /// Tries one rule after another.
    fn rules(&mut self, rules: &[Rule], default: Action) -> Next {
        rules.iter().rev().fold(Next::Return(default), |otherwise, rule| {
            let matched = Next::Return(rule.action);
            rule.conditions
                .iter()
                .rev()
                .fold(matched, |holds, condition| self.condition(condition, holds, otherwise))
        })
    }

    fn condition(&mut self, condition: &Condition, holds: Next, fails: Next) -> Next {
        use LinuxSeccompOperator::{
            ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpLe, ScmpCmpLt, ScmpCmpMaskedEq, ScmpCmpNe,
        };
        match condition.operator {
            ScmpCmpEq | ScmpCmpMaskedEq => self.compare(condition, BPF_JEQ, holds, fails),
            ScmpCmpNe => self.compare(condition, BPF_JEQ, fails, holds),
            ScmpCmpGt => self.compare(condition, BPF_JGT, holds, fails),
            ScmpCmpLe => self.compare(condition, BPF_JGT, fails, holds),
            ScmpCmpGe => self.compare(condition, BPF_JGE, holds, fails),
            ScmpCmpLt => self.compare(condition, BPF_JGE, fails, holds),
        }
    }

    /// Compares an argument, upper half first.
    fn compare(&mut self, condition: &Condition, jump: u32, yes: Next, no: Next) -> Next {
        let (value_upper, value) = halves(condition.value);
        let (mask_upper, mask) = halves(condition.mask);
        let offset = ARGUMENTS + 8 * u32::from(condition.index);
        let lower = self.branch(jump, value, yes, no);
        let lower = self.load_masked(offset, mask, lower);
        // With nothing to look at, the upper halves are equal.
        if condition.narrow || mask_upper == 0 {
            return lower;
        }
        let unequal = match jump {
            BPF_JEQ => no,
            _ => self.branch(BPF_JGT, value_upper, yes, no),
        };
        let upper = self.branch(BPF_JEQ, value_upper, lower, unequal);
        self.load_masked(offset + UPPER, mask_upper, upper)
    }

    fn load_masked(&mut self, offset: u32, mask: u32, next: Next) -> Next {
        let next = match mask {
            u32::MAX => next,
            _ => Next::At(self.straight(BPF_ALU | BPF_AND | BPF_K, mask, next)),
        };
        Next::At(self.load(offset, next))
    }

    fn load(&mut self, offset: u32, next: Next) -> Label {
        self.straight(BPF_LD | BPF_W | BPF_ABS, offset, next)
    }

    /// Adds an instruction that is followed by `next`.
    fn straight(&mut self, code: u32, k: u32, next: Next) -> Label {
        let target = self.label(next);
        if target + 1 != self.reversed.len() {
            self.jump_to(target);
        }
        self.push(code, 0, 0, k)
    }

    /// Adds a comparison of what was loaded with a constant.
    fn branch(&mut self, jump: u32, k: u32, yes: Next, no: Next) -> Next {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let here = self.reversed.len();
        // `near` keeps both distances within eight bits.
        let distance = |target: Label| u8::try_from(here - target - 1).unwrap_or(u8::MAX);
        Next::At(self.push(BPF_JMP | jump | BPF_K, distance(yes), distance(no), k))
    }

    /// Returns a label that a conditional jump from here reaches.
    fn near(&mut self, next: Next) -> Label {
        let label = self.label(next);
        if self.reversed.len() - label > REACH { self.jump_to(label) } else { label }
    }

    fn jump_to(&mut self, target: Label) -> Label {
        let distance = self.reversed.len() - target - 1;
        self.push(BPF_JMP | BPF_JA, 0, 0, u32::try_from(distance).unwrap_or(u32::MAX))
    }

    /// Returns where an instruction is; one that returns is made if there is none nearby.
    fn label(&mut self, next: Next) -> Label {
        let action = match next {
            Next::At(label) => return label,
            Next::Return(action) => action,
        };
        let known = self.returns.iter().position(|(known, _)| *known == action);
        if let Some(known) = known
            && self.reversed.len() - self.returns[known].1 <= REACH
        {
            return self.returns[known].1;
        }
        let label = self.push(BPF_RET | BPF_K, 0, 0, action);
        match known {
            Some(known) => self.returns[known].1 = label,
            None => self.returns.push((action, label)),
        }
        label
    }

    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) -> Label {
        // All codes are below 256.
        let code = u16::try_from(code).unwrap_or(0);
        self.reversed.push(FilterInstruction { code, jt, jf, k });
        self.reversed.len() - 1
    }
}

/// Splits into upper and lower half.
fn halves(value: u64) -> (u32, u32) {
    let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (u32::try_from(value >> 32).unwrap_or(u32::MAX), low)
}

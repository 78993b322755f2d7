//! Programs of other processors: whether the kernel runs them here (binfmt_misc).

use std::fs;
use std::path::Path;

/// Where the kernel lists its interpreters.
const INTERPRETERS: &str = "/proc/sys/fs/binfmt_misc";

/// Tells whether this machine runs programs of a processor, in Go's words: by itself, or by an
/// interpreter that is registered with the kernel. One that is not known here counts as one that runs.
pub fn runs(architecture: &str) -> bool {
    let host = std::env::consts::ARCH;
    let native = match architecture {
        "amd64" => host == "x86_64",
        "386" => matches!(host, "x86_64" | "x86"),
        "arm64" => host == "aarch64",
        _ => false,
    };
    let Some(header) = header(architecture) else { return true };
    native || is_registered(Path::new(INTERPRETERS), &header)
}

/// Returns how a program of a processor begins.
fn header(architecture: &str) -> Option<[u8; 20]> {
    // Class, byte order and number of the processor, as in elf(5).
    let (class, order, machine): (u8, u8, u16) = match architecture {
        "386" => (1, 1, 3),
        "amd64" => (2, 1, 62),
        "arm" => (1, 1, 40),
        "arm64" => (2, 1, 183),
        "loong64" => (2, 1, 258),
        "mips64le" => (2, 1, 8),
        "ppc64le" => (2, 1, 21),
        "riscv64" => (2, 1, 243),
        "s390x" => (2, 2, 22),
        _ => return None,
    };
    let number = |value: u16| if order == 2 { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut header = [0; 20];
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
    header[16..18].copy_from_slice(&number(2));
    header[18..].copy_from_slice(&number(machine));
    Some(header)
}

fn is_registered(directory: &Path, header: &[u8]) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).any(|text| {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let bytes = |text: &str| -> Option<Vec<u8>> {
            let text = text.trim();
            (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
                .collect()
        };
        let offset = field("offset ").and_then(|text| text.trim().parse::<usize>().ok());
        let magic = field("magic ").and_then(bytes).unwrap_or_default();
        let mask = field("mask ").and_then(bytes).unwrap_or_else(|| vec![0xff; magic.len()]);
        let found = header.get(offset.unwrap_or(0)..).unwrap_or_default();
        text.starts_with("enabled")
            && !magic.is_empty()
            && found.len() >= magic.len()
            && magic.iter().zip(&mask).zip(found).all(|((want, mask), is)| is & mask == want & mask)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_registered() {
        let dir = tempfile::tempdir().unwrap();
        let header = |name: &str| header(name).unwrap();
        assert!(!is_registered(dir.path(), &header("arm64")));
        fs::write(dir.path().join("status"), "enabled\n").unwrap();
        let entry = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: F\noffset 0\n\
            magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
        fs::write(dir.path().join("qemu-aarch64"), entry).unwrap();
        assert!(is_registered(dir.path(), &header("arm64")));
        assert!(!is_registered(dir.path(), &header("riscv64")));
        fs::write(dir.path().join("qemu-aarch64"), entry.replace("enabled", "disabled")).unwrap();
        assert!(!is_registered(dir.path(), &header("arm64")));
    }
}

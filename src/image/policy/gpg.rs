//! OpenPGP, by the programs of GnuPG: `gpgv` checks, `gpg` signs.
//!
//! Only the keys that the policy lists count: they are put into a keyring of their own, and the user's
//! are not looked at. All that `gpgv` reports must be on the list of what a good signature looks like.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Context, Error, Kind, Result};
use crate::store::Store;

/// What may be reported besides the good signature; anything else is a refusal.
const HARMLESS: [&str; 12] = [
    "NEWSIG",
    "KEY_CONSIDERED",
    "SIG_ID",
    "VALIDSIG",
    "PLAINTEXT",
    "PLAINTEXT_LENGTH",
    "NOTATION_NAME",
    "NOTATION_FLAGS",
    "NOTATION_DATA",
    "POLICY_URL",
    "VERIFICATION_COMPLIANCE_MODE",
    "PROGRESS",
];

/// Checks a signed message with these keys, each a file's content, and returns what was signed.
pub(super) fn verify(store: &Store, keys: &[Vec<u8>], message: &[u8]) -> Result<Vec<u8>> {
    // An armored one would be text around which anything may stand.
    if message.first().is_none_or(|byte| byte & 0x80 == 0) {
        return Err(Error::new(Kind::Invalid, "the signature is not in OpenPGP's format"));
    }
    let scratch = store.draft_dir()?;
    let (keyring, signed) = (scratch.path().join("keys"), scratch.path().join("signed"));
    let mut all = Vec::new();
    for key in keys {
        all.extend(unarmored(key)?);
    }
    fs::write(&keyring, all).context(|| format!("cannot write {}", keyring.display()))?;
    let mut command = Command::new("gpgv");
    command.arg("--homedir").arg(scratch.path()).arg("--keyring").arg(&keyring);
    command.args(["--status-fd", "1", "--output"]).arg(&signed);
    let output = run(command, "gpgv", "gpgv", message)?;
    judge(&output.stdout).map_err(|why| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default().replace(char::is_control, " ");
        let message = match last.as_str() {
            "" => format!("the OpenPGP signature is not good: {why}"),
            last => format!("the OpenPGP signature is not good: {why} ({last})"),
        };
        Error::new(Kind::Denied, message)
    })?;
    if !output.status.success() {
        return Err(Error::new(Kind::Denied, format!("gpgv ended with {}", output.status)));
    }
    fs::read(&signed).context(|| format!("cannot read {}", signed.display()))
}

/// Signs a message with the user's secret key; the passphrase is asked for by GnuPG's agent unless it
/// is given.
pub(super) fn sign(key: &str, passphrase: Option<&str>, message: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new("gpg");
    command.args(["--quiet", "--no-armor", "--sign", "--output", "-"]);
    let mut input = Vec::new();
    if let Some(passphrase) = passphrase {
        // The first line of the input; the message follows.
        command.args(["--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0"]);
        input.extend_from_slice(passphrase.as_bytes());
        input.push(b'\n');
    }
    command.arg("--local-user").arg(key);
    input.extend_from_slice(message);
    let context = || format!("cannot sign with key `{key}`");
    let output = run(command, "gpg", "gpg", &input).context(context)?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it says nothing").replace(char::is_control, " ");
    Err(Error::new(Kind::Denied, last)).context(context)
}

/// Runs a program of GnuPG with this input.
fn run(mut command: Command, program: &str, package: &str, input: &[u8]) -> Result<Output> {
    let context = || format!("cannot run {program}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.env("LC_ALL", "C.UTF-8").spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(Kind::Unsupported, format!("{program} is not installed"))
                .hint(format!("install the package {package}")));
        }
        child => child.context(context)?,
    };
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // It may have seen enough, and says so by its status.
                drop(stdin.write_all(input));
            }
        });
        child.wait_with_output().context(context)
    })
}

/// Judges what gpgv reports: exactly one signature, and that is good.
fn judge(status: &[u8]) -> Result<(), String> {
    let status = String::from_utf8_lossy(status);
    let (mut good, mut valid, mut texts) = (0, 0, 0);
    for line in status.lines() {
        let word = line.strip_prefix("[GNUPG:] ").and_then(|rest| rest.split(' ').next());
        match word {
            Some("GOODSIG") => good += 1,
            Some(word) if HARMLESS.contains(&word) => {
                valid += usize::from(word == "VALIDSIG");
                texts += usize::from(word == "PLAINTEXT");
            }
            Some("NO_PUBKEY" | "ERRSIG") => {
                return Err("it is by a key that the policy does not list".to_owned());
            }
            Some("KEYEXPIRED" | "EXPKEYSIG") => return Err("its key has expired".to_owned()),
            Some("REVKEYSIG" | "KEYREVOKED") => return Err("its key was revoked".to_owned()),
            Some("EXPSIG") => return Err("it has expired".to_owned()),
            Some("BADSIG") => return Err("it does not fit what it signs".to_owned()),
            Some(word) => return Err(format!("gpgv reports {word}")),
            None => return Err("gpgv speaks in riddles".to_owned()),
        }
    }
    match (good, valid, texts) {
        (1, 1, 1) => Ok(()),
        (0, ..) => Err("there is no signature in it".to_owned()),
        _ => Err("there is more than one signature in it".to_owned()),
    }
}

/// Returns keys in the binary form that gpgv wants.
fn unarmored(data: &[u8]) -> Result<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let damaged = || Error::new(Kind::Invalid, "the armored OpenPGP key is damaged");
    if data.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Ok(data.to_owned());
    }
    let text = std::str::from_utf8(data).map_err(|_| damaged())?;
    let mut keys = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while lines.any(|line| line == BEGIN) {
        // Headers end at an empty line.
        if !lines.any(str::is_empty) {
            return Err(damaged());
        }
        let mut encoded = String::new();
        let mut is_whole = false;
        for line in lines.by_ref() {
            if line == END {
                is_whole = true;
                break;
            }
            // Not the checksum, which says nothing that a signature would not.
            if !line.starts_with('=') {
                encoded.push_str(line);
            }
        }
        if !is_whole {
            return Err(damaged());
        }
        keys.extend(STANDARD.decode(encoded).map_err(|_| damaged())?);
    }
    if keys.is_empty() {
        return Err(Error::new(Kind::Invalid, "there is no OpenPGP key in it"));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_one_good_signature_and_nothing_else() {
        const GOOD: &str = "PLAINTEXT 62 1 p\nPLAINTEXT_LENGTH 8\nNEWSIG a\nKEY_CONSIDERED A 0\n\
            SIG_ID x\nGOODSIG A Good\nVALIDSIG A\n";
        let judged = |text: &str| {
            let lines: String = text.lines().map(|line| format!("[GNUPG:] {line}\n")).collect();
            judge(lines.as_bytes()).is_ok()
        };
        assert!(judged(GOOD));
        for (from, to) in [
            ("GOODSIG", "EXPKEYSIG"),
            ("GOODSIG", "REVKEYSIG"),
            ("GOODSIG", "BADSIG"),
            ("GOODSIG", "EXPSIG"),
            ("GOODSIG", "ERRSIG"),
            ("GOODSIG", "goodsig"),
            ("GOODSIG A Good\n", ""),
            ("VALIDSIG A\n", ""),
            ("PLAINTEXT 62 1 p\n", ""),
            ("PLAINTEXT 62", "PLAINTEXT 62\nPLAINTEXT 62"),
            ("GOODSIG A Good", "GOODSIG A Good\nGOODSIG B Good"),
            ("NEWSIG", "SOMETHING_NEW"),
            ("NEWSIG", "KEYEXPIRED 1\nNEWSIG"),
        ] {
            assert!(!judged(&GOOD.replacen(from, to, 1)), "{from} -> {to}");
        }
        assert!(judge(b"").is_err());
        assert!(judge(b"GOODSIG A\n").is_err());
    }

    #[test]
    fn takes_armor_off() {
        let armored = |body: &str| {
            format!(
                "Some text\n-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\n{body}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
            )
        };
        let two = armored("mA==") + &armored("mQ==");
        for (text, want) in [
            (armored("mAAA"), Some(&b"\x98\0\0"[..])),
            (two, Some(b"\x98\x99")),
            (armored("m!AA"), None),
            (armored(""), None),
            ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmAAA\n".to_owned(), None),
            ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n".to_owned(), None),
            ("hello".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(unarmored(text.as_bytes()).ok().as_deref(), want, "{text}");
        }
        assert_eq!(unarmored(b"\x98\x01").unwrap(), b"\x98\x01");
    }
}

//! What kind of file something is, by its beginning: the part of the WHATWG's MIME sniffing that
//! tools which make artifacts agree on.

/// Bytes of a file that tell.
pub(super) const ENOUGH: usize = 512;

const TEXT: &str = "text/plain; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// Beginnings of files.
const MAGIC: [(&[u8], &str); 27] = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xFE\xFF", "text/plain; charset=utf-16be"),
    (b"\xFF\xFE", "text/plain; charset=utf-16le"),
    (b"\xEF\xBB\xBF", TEXT),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\x0D\x0A\x1A\x0A", "image/png"),
    (b"\xFF\xD8\xFF", "image/jpeg"),
    (b".snd", "audio/basic"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"\x1A\x45\xDF\xA3", "video/webm"),
    (b"\x00\x01\x00\x00", "font/ttf"),
    (b"OTTO", "font/otf"),
    (b"ttcf", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x1F\x8B\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1A\x07\x00", "application/x-rar-compressed"),
    (b"Rar!\x1A\x07\x01\x00", "application/x-rar-compressed"),
    (b"\x00\x61\x73\x6D", "application/wasm"),
];

/// Tags that a page begins with.
const HTML: [&str; 17] = [
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// Returns the media type of a file that begins so.
pub(super) fn sniff(beginning: &[u8]) -> &'static str {
    let beginning = &beginning[..beginning.len().min(ENOUGH)];
    let is_space = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\x0C' | b'\r' | b' ');
    let start = beginning.iter().position(|byte| !is_space(byte)).unwrap_or(beginning.len());
    let words = &beginning[start..];
    let is_tag = |tag: &&str| {
        words.get(..tag.len()).is_some_and(|word| word.eq_ignore_ascii_case(tag.as_bytes()))
            && matches!(words.get(tag.len()), Some(b' ' | b'>'))
    };
    if HTML.iter().any(is_tag) {
        return "text/html; charset=utf-8";
    }
    if words.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| beginning.starts_with(magic)) {
        return kind;
    }
    if let (Some(b"RIFF"), Some(kind)) = (beginning.get(..4), beginning.get(8..12)) {
        match kind {
            b"WAVE" => return "audio/wave",
            b"AVI " => return "video/avi",
            b"WEBP" => return "image/webp",
            _ => {}
        }
    }
    if beginning.get(4..8) == Some(b"ftyp") && beginning.get(8..11) == Some(b"mp4") {
        return "video/mp4";
    }
    let is_binary = |byte: &u8| matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F);
    if beginning.iter().any(is_binary) { BINARY } else { TEXT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_kinds_apart() {
        for (beginning, want) in [
            (b"".as_slice(), TEXT),
            (b"hello\n", TEXT),
            (b"a: b\n\xC3\xA9", TEXT),
            (b"\x7FELF\x02\x01\x01\x00", BINARY),
            (b"\x28\xB5\x2F\xFD\x04", BINARY),
            (b"\x1F\x8B\x08\x00", "application/x-gzip"),
            (b"PK\x03\x04rest", "application/zip"),
            (b"  \n<html>", "text/html; charset=utf-8"),
            (b"<a>", "text/html; charset=utf-8"),
            (b"<abc>", TEXT),
            (b"<?xml version", "text/xml; charset=utf-8"),
            (b"\x89PNG\r\n\x1A\n", "image/png"),
            (b"RIFF\x01\x02\x03\x04WEBPVP", "image/webp"),
            (b"\x00asm", "application/wasm"),
            (b"{\"a\":1}", TEXT),
        ] {
            assert_eq!(sniff(beginning), want, "{beginning:?}");
        }
    }
}

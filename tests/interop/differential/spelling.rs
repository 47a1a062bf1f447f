//! What may happen to the text of a token after it was signed.

use super::forge::{Draft, IAT, Rng};
use super::mutation::Mutation;
use scrip_token::compact::{base64url, from_base64url};

pub(super) const ALL: &[Mutation] = &[
    Mutation::harmless("nothing", |_, draft| draft.signed()),
    Mutation::refused_by_all("a bit of the bytes", TAMPERED, |rng, draft| {
        change_segment(rng, draft, |rng, bytes| {
            let at = rng.below(bytes.len());
            bytes[at] ^= 1 << rng.below(8);
        })
    }),
    Mutation::refused_by_all("a bit of the text", TAMPERED, |rng, draft| {
        change_character(rng, draft, |rng, byte| byte ^ (1 << rng.below(7)))
    }),
    Mutation::refused_by_all("the end cut off", &["malformed", "bad-signature"], |rng, draft| {
        let token = draft.signed();
        token[..rng.below(token.len())].to_owned()
    }),
    Mutation::refused_by_all(
        "the end of a segment cut off",
        &["malformed", "bad-header", "bad-signature"],
        |rng, draft| {
            change_segment(rng, draft, |rng, bytes| bytes.truncate(rng.below(bytes.len())))
        },
    ),
    Mutation::refused_by_all("a segment of another token", &["bad-signature"], |rng, draft| {
        let other = Draft::any(rng).at(IAT + 1, IAT + 200, rng).signed();
        // Not the header, which may be the same.
        let which = 1 + rng.below(2);
        replace_segment(&draft.signed(), which, segments(&other)[which])
    }),
    Mutation::refused_by_all("the header of another key", &["bad-signature"], |rng, draft| {
        loop {
            let other = Draft::any(rng);
            if other.signer.kid != draft.signer.kid {
                let header = base64url(other.header.text());
                break replace_segment(&draft.signed(), 0, &header);
            }
        }
    }),
    Mutation::refused_by_us(
        "base64 with padding",
        &["malformed"],
        "no padding (RFC 7515 section 2)",
        |rng, draft| {
            let token = draft.signed();
            let which = rng.below(3);
            let padded = format!("{}{}", segments(&token)[which], rng.word("= == === %3D"));
            replace_segment(&token, which, &padded)
        },
    ),
    Mutation::refused_by_us(
        "base64 of the other alphabet",
        &["malformed"],
        "base64url and nothing else (RFC 7515 section 2)",
        |rng, draft| loop {
            // Signed again where no such character came about.
            let token = draft.clone().at(IAT, IAT + 300, rng).signed();
            let other = token.replace('-', "+").replace('_', "/");
            if other != token {
                break other;
            }
        },
    ),
    Mutation::refused_by_us(
        "base64 with bits left over",
        &["malformed"],
        "bytes have one spelling (RFC 4648 section 3.5)",
        |rng, draft| loop {
            let draft = draft.clone().at(IAT, IAT + 300, rng);
            // Lengths of all kinds; one in three leaves no bits over.
            let pad = format!("\"{}\"", "x".repeat(rng.below(3)));
            let token = draft.claiming(draft.claims.clone().with("pad", pad).text());
            let which = 1 + rng.below(2);
            if let Some(other) = with_bits_left_over(segments(&token)[which]) {
                break replace_segment(&token, which, &other);
            }
        },
    ),
    Mutation::refused_by_us(
        "white space",
        &["malformed"],
        "no character beside base64url's and the dot",
        |rng, draft| {
            let mut token = draft.signed();
            let dot = token.find('.').expect("three segments");
            let at = *rng.pick(&[0, 10, dot, token.len() - 1, token.len()]);
            let space = *rng.pick(&[" ", "\n", "\r\n", "\t", "\0", "\u{a0}", "\u{200b}"]);
            token.insert_str(at, space);
            token
        },
    ),
    Mutation::refused_by_all("segments too many or empty", &["malformed"], |rng, draft| {
        let token = draft.signed();
        let [header, claims, signature] = segments(&token);
        match rng.below(8) {
            0 => format!("{token}."),
            1 => format!(".{token}"),
            2 => format!("{token}.{signature}"),
            3 => format!("{header}..{claims}.{signature}"),
            4 => format!("{header}.{claims}."),
            5 => format!("{header}..{signature}"),
            6 => format!(".{claims}.{signature}"),
            _ => format!("{header}.{claims}"),
        }
    }),
    Mutation::refused_by_us(
        "something around it",
        &["malformed"],
        "no character beside base64url's and the dot",
        |rng, draft| {
            let token = draft.signed();
            match rng.below(5) {
                0 => format!("Bearer {token}"),
                1 => format!("\"{token}\""),
                2 => format!("{token},{token}"),
                3 => format!("\u{feff}{token}"),
                _ => format!("{token}#"),
            }
        },
    ),
    Mutation::refused_by_all("as a JSON object", &["malformed"], |_, draft| {
        let token = draft.signed();
        let [header, claims, signature] = segments(&token);
        format!(r#"{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}"#)
    }),
    Mutation::refused_by_all("a letter in the other case", TAMPERED, |rng, draft| {
        change_character(rng, draft, |_, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' => byte ^ 0x20,
            _ => b'!',
        })
    }),
];

/// How we refuse what somebody has changed without a key.
const TAMPERED: &[&str] =
    &["malformed", "bad-header", "unknown-alg", "unknown-kid", "wrong-alg", "bad-signature"];

pub(super) fn segments(token: &str) -> [&str; 3] {
    let segments: Vec<&str> = token.split('.').collect();
    segments.try_into().expect("three segments")
}

pub(super) fn replace_segment(token: &str, which: usize, with: &str) -> String {
    let mut segments = segments(token);
    segments[which] = with;
    segments.join(".")
}

fn change_segment(rng: &mut Rng, draft: &Draft, change: fn(&mut Rng, &mut Vec<u8>)) -> String {
    let token = draft.signed();
    let which = rng.below(3);
    let mut bytes = from_base64url(segments(&token)[which]).expect("as it was signed");
    change(rng, &mut bytes);
    replace_segment(&token, which, &base64url(bytes))
}

/// Any but the last of a segment, some of whose bits may mean nothing.
fn change_character(rng: &mut Rng, draft: &Draft, change: fn(&mut Rng, u8) -> u8) -> String {
    let mut text = draft.signed().into_bytes();
    let last = |at: usize| text.get(at + 1).is_none_or(|next| *next == b'.');
    let places: Vec<usize> = (0..text.len()).filter(|at| !last(*at)).collect();
    let at = *rng.pick(&places);
    text[at] = change(rng, text[at]);
    String::from_utf8(text).expect("ASCII, of which seven bits are changed")
}

/// The same bytes in base64 whose last character has bits that mean nothing; `None` where all mean something.
fn with_bits_left_over(segment: &str) -> Option<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if segment.len().is_multiple_of(4) {
        return None;
    }
    let (rest, last) = segment.split_at(segment.len() - 1);
    let value = ALPHABET.iter().position(|c| [*c] == last.as_bytes()).expect("of the alphabet");
    Some(format!("{rest}{}", ALPHABET[value | 1] as char))
}

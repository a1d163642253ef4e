//! Names of a host made to fit into a bundle.

use std::fmt::Write as _;

use super::COMPONENT_BYTES;

/// Bytes of prefix and name at most: leaves room for the bundle's folder and the node's within `PATH_BYTES`.
pub(super) const BYTES: usize = 800;
/// Hexadecimal digits of the hash that stands in for what was left out.
const DIGITS: usize = 16;

/// One component, percent-encoded where it must be and shortened where it is too long.
pub(super) fn component(name: &[u8]) -> String {
    let text = match std::str::from_utf8(name) {
        Ok("..") => "%2E%2E".to_owned(),
        Ok(text) => text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
            if c.is_control() || c == '\\' {
                let mut bytes = [0; 4];
                percent(&mut safe, c.encode_utf8(&mut bytes).as_bytes());
            } else {
                safe.push(c);
            }
            safe
        }),
        Err(_) => bytes(name),
    };
    if text.len() <= COMPONENT_BYTES {
        return text;
    }
    // The end of a name says what it is (`.log.gz`), so both ends stay.
    let head = text.floor_char_boundary(COMPONENT_BYTES - DIGITS - 34);
    let tail = text.ceil_char_boundary(text.len() - 32);
    format!("{}~{}~{}", &text[..head], hash(name), &text[tail..])
}

/// A path that is too long: its first folders, a hash of the whole name, its last component.
pub(super) fn shorten(prefix: &str, path: &str, name: &[u8]) -> String {
    let last = path.rfind('/').map_or(path, |at| &path[at + 1..]);
    let room = BYTES - last.len() - DIGITS - 4;
    let cut = path.floor_char_boundary(room);
    let cut = path[..cut].rfind('/').unwrap_or(prefix.len()).max(prefix.len());
    format!("{}/~{}/{last}", &path[..cut], hash(name))
}

/// The name with every byte that is no plain character, and `%` itself, percent-encoded.
pub(super) fn encode(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Err(_) => bytes(name),
        Ok(text) => text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
            if c.is_control() || c == '%' {
                let mut bytes = [0; 4];
                percent(&mut safe, c.encode_utf8(&mut bytes).as_bytes());
            } else {
                safe.push(c);
            }
            safe
        }),
    }
}

/// Bytes that are not UTF-8: all but printable ASCII is encoded, since no longer text can be told from noise.
fn bytes(name: &[u8]) -> String {
    name.iter().fold(String::with_capacity(name.len()), |mut safe, byte| {
        if matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'\\') {
            safe.push(char::from(*byte));
        } else {
            percent(&mut safe, &[*byte]);
        }
        safe
    })
}

fn percent(safe: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(safe, "%{byte:02X}");
    }
}

fn hash(name: &[u8]) -> String {
    blake3::hash(name).to_hex()[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use crate::bundle::path::EntryPath;
    use crate::limits::PATH_BYTES;

    fn of(name: &[u8]) -> (String, Option<String>) {
        let (path, original) = EntryPath::from_host("files", name);
        (path.into(), original)
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in ["/var/log/syslog", "/a/100%/b", "/ä/日本", "/a b/c:d*"] {
            assert_eq!(of(name.as_bytes()), (format!("files{name}"), None), "{name}");
        }
        assert_eq!(of(b"var/log/x"), ("files/var/log/x".to_owned(), None));
    }

    #[test]
    fn others_are_encoded_and_the_original_is_kept() {
        assert_eq!(of(b"/a/\xff\n"), ("files/a/%FF%0A".to_owned(), Some("/a/%FF%0A".to_owned())));
        assert_eq!(of("/ä%\n".as_bytes()), ("files/ä%%0A".to_owned(), Some("/ä%25%0A".to_owned())));
        assert_eq!(of(b"/a\\b"), ("files/a%5Cb".to_owned(), Some("/a\\b".to_owned())));
        assert_eq!(of(b"/../x"), ("files/%2E%2E/x".to_owned(), Some("/../x".to_owned())));
        assert_eq!(of(b"//a/./b"), ("files/a/b".to_owned(), Some("//a/./b".to_owned())));
        assert_eq!(of(b"/"), ("files/_".to_owned(), Some("/".to_owned())));
        assert_eq!(of(b""), ("files/_".to_owned(), Some(String::new())));
    }

    #[test]
    fn long_names_are_shortened_and_stay_apart() {
        let long = |end: &str| of(format!("/d/{}{end}", "ä".repeat(200)).as_bytes());
        let (one, original) = long(".log.gz");
        assert!(one.ends_with(".log.gz") && original.is_some(), "{one}");
        assert_ne!(one, long("x.log.gz").0);
        let deep = |first: &str| of(format!("/{first}{}/end.log", "/abcdefgh".repeat(400)).as_bytes()).0;
        assert!(deep("a").ends_with("/end.log") && deep("a").len() <= super::BYTES);
        assert_ne!(deep("a"), deep("b"));
        let (path, _) = of(&[b"/".as_slice(), &[0xff; 5000]].concat());
        assert!(path.len() <= PATH_BYTES);
    }

    proptest::proptest! {
        #[test]
        fn any_name_gives_a_path_that_parses(name: Vec<u8>) {
            let (path, original) = EntryPath::from_host("files", &name);
            proptest::prop_assert_eq!(EntryPath::parse(path.as_str()), Ok(path.clone()));
            proptest::prop_assert!(path.as_str().starts_with("files/") && path.as_str().len() <= super::BYTES);
            if original.is_none() {
                proptest::prop_assert!(path.as_str().as_bytes().ends_with(name.strip_suffix(b"/").unwrap_or(&name)));
            }
        }

        #[test]
        fn any_text_is_parsed_without_panic(text: String) {
            if let Ok(path) = EntryPath::parse(&text) {
                proptest::prop_assert_eq!(path.as_str(), text);
            }
        }
    }
}

//! Names of hosts and of archives: what is taken as a path is one, and what is made of any bytes is one too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::bundle::path::EntryPath;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(path) = EntryPath::parse(text)
    {
        assert!(path.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
    let (path, _) = EntryPath::from_host("files", data);
    assert_eq!(EntryPath::parse(path.as_str()).as_ref(), Ok(&path));
});

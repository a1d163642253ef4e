//! Redaction of any bytes: no panic, and what was redacted once stays as it is.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use sheaf::agent::redact::{Profile, Redactor};
use sheaf::agent::source::Record;
use sheaf::bundle::path::EntryPath;

fuzz_target!(|data: &[u8]| {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("no rules of a site");
    let mut read = |bytes: &[u8]| {
        let path = EntryPath::parse("files/x").expect("a path");
        let mut clean = redactor.clean(Record::text(path, "fuzz", bytes.to_vec()));
        let mut out = Vec::new();
        clean.read_to_end(&mut out).expect("faults are outcomes");
        out
    };
    let once = read(data);
    let _ = read(&once);
});

//! The reader that goes by the seek table, and the scan that goes without one.
#![no_main]

use std::io::{Seek as _, Write as _};

use libfuzzer_sys::fuzz_target;
use sheaf::bundle::reader::Reader;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(data).and_then(|()| file.rewind()).expect("written");
    if let Ok(mut reader) = Reader::open(file) {
        let _ = reader.request();
        let _ = reader.tail();
        let _ = reader.find("nodes/n/node.json");
    }
});

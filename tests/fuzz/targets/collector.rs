//! Collector files: any text is either a collector or a clear fault.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::agent::source::collector::Collector;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Collector::parse(text).map_err(|fault| fault.to_string());
    }
});

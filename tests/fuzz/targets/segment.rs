//! Segments from the wire: what is read is written again as it was.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sheaf::bundle::segment::Segment;

fuzz_target!(|data: &[u8]| {
    if let Ok(segment) = Segment::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(Segment::decode(&segment.encode()).expect("our own bytes"), segment);
    }
});

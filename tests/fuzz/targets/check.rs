//! Tar in frames from a node that lies: once as bare frames, once as content that is framed here, so that the tar is reached.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use sheaf::bundle::check::{Budget, Checker};
use sheaf::bundle::frame::{Compressor, FRAME_RAW};
use sheaf::id::BundleName;

fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = data.split_first() else { return };
    let bundle = BundleName::try_from("sheaf_c_20260101T000000Z_00000000".to_owned()).expect("a name");
    let node = "n".parse().expect("a name");
    let mut checker = Checker::new(&bundle, &node, Budget { bytes: 1 << 24, entries: 64 }).keep_raw(flags & 4 != 0);
    let frames = if flags & 1 == 0 {
        Bytes::copy_from_slice(data)
    } else {
        let mut compressor = Compressor::new().expect("memory");
        let mut frames = BytesMut::new();
        for part in data.chunks(FRAME_RAW) {
            frames.extend_from_slice(&compressor.frame(part).expect("a frame").bytes);
        }
        frames.freeze()
    };
    if checker.check(&frames, flags & 2 != 0).is_ok() {
        // Whatever was taken can be completed.
        while checker.pad().is_some() {}
        assert!(checker.inside().is_none());
    }
});

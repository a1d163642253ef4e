//! Cutting any bytes to any window: no panic, nothing that was not there, and the same whatever the steps.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use sheaf::agent::host::Host;
use sheaf::agent::source::Filter;
use sheaf::agent::source::slice::Lenses;
use sheaf::window::Window;

fuzz_target!(|input: (i64, i64, i64, u8, &[u8])| {
    let (since, until, mtime, step, data) = input;
    let host = Host::open("/".as_ref()).expect("a root");
    let lenses = Lenses::of(&host, Window { since: Some(since), until: Some(until) }).expect("a window");
    let lens = lenses.lens(i128::from(mtime) * 1_000_000);
    let mut whole = Vec::new();
    Filter::unsorted(data, lens.clone()).read_to_end(&mut whole).expect("memory");
    let (mut steps, mut filter) = (Vec::new(), Filter::unsorted(data, lens));
    let mut piece = vec![0; usize::from(step) + 1];
    loop {
        match filter.read(&mut piece).expect("memory") {
            0 => break,
            count => steps.extend_from_slice(&piece[..count]),
        }
    }
    assert_eq!(whole, steps);
    let left_out = filter.slice().map_or(0, |slice| slice.left_out);
    assert_eq!(whole.len() as u64 + left_out, data.len() as u64);
});

//! What sheaf costs, as ratios against a yardstick that runs beside it: `cargo bench`, or `cargo bench -- redaction collect`.
//!
//! Both sides take turns (A B A B), and a row shows medians and the median of the pairs' ratios: absolute seconds of a
//! shared machine mean nothing. The corpus is generated from a seed, `SHEAF_BENCH_MIB` MiB of it (default 1024), and kept
//! between runs. `SHEAF_BENCH_ROUNDS` sets the number of pairs (default 5). Nothing here is a test, and no test is timed.

mod bench {
    pub(crate) mod checking;
    pub(crate) mod collect;
    pub(crate) mod corpus;
    pub(crate) mod fleet;
    pub(crate) mod load;
    pub(crate) mod measure;
    pub(crate) mod redaction;
    pub(crate) mod scale;
}

use bench::{checking, collect, corpus, fleet, load, measure, redaction, scale};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, folder, url] = &arguments[..]
        && word == load::WORD
    {
        return load::run(folder.as_ref(), url);
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("benches run by `cargo bench`");
        return;
    }
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.contains(&name);
    if wanted == ["scale"] {
        // It needs no corpus.
        measure::heading();
        return scale::rows();
    }
    let corpus = corpus::Corpus::open();
    println!("corpus: {} MiB in {}", corpus.mib, corpus.root.display());
    measure::heading();
    if runs("redaction") {
        redaction::rows();
    }
    if runs("collect") {
        collect::rows(&corpus);
    }
    if runs("checking") {
        checking::rows(&corpus);
    }
    if runs("fleet") {
        fleet::rows(&corpus);
    }
    if runs("scale") {
        scale::rows();
    }
}

//! `sheaf bundle verify`: findings as they are found, then one line with the verdict, which is also the exit code.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::bundle::verify::{Finding, Report, Signer, verify};

/// Say whether a bundle is complete, and what in it is skipped, cut or wrong
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:
  0 complete   3 partial   4 truncated   5 corrupt   6 wrong signer   7 aborted   1 cannot be read

Examples:
  sheaf bundle verify bundle.tar.zst
  sheaf bundle verify bundle.tar.zst --key seal.pub
  curl … | sheaf bundle verify -")]
pub struct VerifyCommand {
    /// The bundle, .tar.zst or .tar; - for standard input
    pub file: PathBuf,
    /// File with the public key that must have sealed it (PEM or base64), or the key itself
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl VerifyCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When the file or the key cannot be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let key = self.key.as_deref().map(super::read_key).transpose()?;
        let input: Box<dyn io::Read> = match self.file.as_path() {
            path if path == Path::new("-") => Box::new(io::stdin()),
            path => Box::new(super::open_file(path)?),
        };
        let mut out = Lines { out: io::BufWriter::new(io::stdout().lock()), findings: 0, closed: false };
        if self.json {
            out.write(&format!("{{\"file\":{},\"findings\":[", json!(self.file.display().to_string())));
        }
        let report = verify(input, key.as_ref(), &super::spool(), &mut |finding| out.finding(finding, self.json))
            .with_context(|| format!("cannot verify {}", self.file.display()))?;
        if self.json {
            out.write(&closing(&report));
        } else {
            out.write(&summary(&report));
        }
        let _ = out.out.flush();
        Ok(ExitCode::from(report.verdict.exit_code()))
    }
}

/// Standard output, which may be closed on the other side: the verdict is found all the same.
struct Lines<W> {
    out: W,
    findings: u64,
    closed: bool,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &str) {
        self.closed = self.closed || writeln!(self.out, "{line}").is_err();
    }

    fn finding(&mut self, finding: &Finding, as_json: bool) {
        self.findings += 1;
        if as_json {
            let comma = if self.findings > 1 { "," } else { "" };
            self.write(&format!("{comma}{}", json!(finding)));
        } else {
            self.write(&finding.to_string());
        }
    }
}

fn signer(report: &Report) -> &'static str {
    match report.signer {
        Signer::Unchecked => "signer unchecked",
        Signer::Matches => "signer matches",
        Signer::Other => "signer is another than the given key",
        Signer::None => "no good seal",
    }
}

fn summary(report: &Report) -> String {
    let mut line = report.verdict.to_string();
    if let Some(bundle) = &report.bundle {
        line += &format!(": {bundle}");
    }
    if let Some(statement) = &report.statement {
        line += &format!(": {} of {} nodes collected", statement.nodes_collected, statement.nodes);
    }
    line + &format!(", {}, {}", super::contents(report.files, report.folders), signer(report))
}

/// What follows the findings in the JSON object.
fn closing(report: &Report) -> String {
    let rest = json!({
        "verdict": report.verdict,
        "exit_code": report.verdict.exit_code(),
        "signer": report.signer,
        "key": report.key.map(|key| key.to_string()),
        "name": report.bundle,
        "format": report.format,
        "entries": report.entries,
        "files": report.files,
        "folders": report.folders,
        "bytes": report.bytes,
        "statement": report.statement,
    });
    format!("],{}", rest.to_string().strip_prefix('{').unwrap_or_default())
}

//! One source on its way through: opened, redacted in the way its kind asks for, and what became of it.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::packed::{Digests, Inflate, Inside, Repack, Same};
use super::stream::{Sizes, Stream};
use super::{Shared, sniff};
use crate::agent::source::{Content, Filter, Kind, Lens, Record};
use crate::bundle::manifest::WITHHELD;
use crate::bundle::outcome::{Cut, Outcome};
use crate::bundle::path::EntryPath;
use crate::bundle::slice::Slice;
use crate::report;

/// Characters of a foreign error that go into a reason.
const REASON: usize = 200;

/// A redacted source on its way; read it to its end, then ask [`Clean::finish`].
///
/// Reading never gives an error: what goes wrong in the source ends the bytes and stands in the report.
pub struct Clean {
    head: Head,
    shared: Arc<Shared>,
    again: bool,
    way: Way,
    /// What was found out about a compressed source, for the next reading.
    known: Option<Known>,
    report: CleanReport,
    delivered: u64,
}

/// A record without its content.
struct Head {
    path: EntryPath,
    collector: String,
    kind: Kind,
    mode: Option<u32>,
    mtime_ns: i128,
    size_hint: Option<u64>,
    original: Option<String>,
    link: Option<String>,
    lens: Option<Lens>,
}

/// How the bytes come about.
enum Way {
    /// Nothing was read yet.
    Start(Box<dyn Content>),
    /// Redacted in the stream.
    Text(Box<Stream<Box<dyn Content>>>),
    /// As they are, without a look.
    Plain(Box<dyn Content>),
    /// As they are, after a look.
    Same(Same),
    /// Decompressed, redacted, compressed again.
    Repack(Box<Repack>),
    /// Over; the content is kept for another reading, unless it was lost.
    End(Option<Box<dyn Content>>),
}

/// What a look into a compressed source found.
#[derive(Clone)]
enum Known {
    /// Nothing to take out.
    Clean(Digests),
    /// Something to take out: a secret, or lines outside of the window.
    Secrets,
    /// No line of it is in the window.
    Outside,
    /// Why it is withheld.
    Withheld(String),
}

/// What redaction and the source have to say once a [`Clean`] was read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, when not collected.
    pub reason: String,
    /// What the source left out of its middle.
    pub cut: Option<Cut>,
    /// How the source was cut to the request's window.
    pub window: Option<Slice>,
    /// Replacements per rule.
    pub redacted: BTreeMap<String, u64>,
    /// Whether some or all of it was kept back because it could not be redacted.
    pub withheld: bool,
}

impl Clean {
    pub(super) fn new(record: Record, shared: Arc<Shared>) -> Self {
        let Record { path, collector, kind, mode, mtime_ns, size_hint, original, link, lens, content } = record;
        let head = Head { path, collector, kind, mode, mtime_ns, size_hint, original, link, lens };
        let again = content.again();
        let report = CleanReport::default();
        Self { head, shared, again, way: Way::Start(content), known: None, report, delivered: 0 }
    }

    /// The path below `nodes/<node>/`.
    pub fn path(&self) -> &EntryPath {
        &self.head.path
    }

    /// The collector that declares it.
    pub fn collector(&self) -> &str {
        &self.head.collector
    }

    /// What its bytes are.
    pub fn kind(&self) -> Kind {
        self.head.kind
    }

    /// Mode on the host.
    pub fn mode(&self) -> Option<u32> {
        self.head.mode
    }

    /// Nanoseconds since 1970.
    pub fn mtime_ns(&self) -> i128 {
        self.head.mtime_ns
    }

    /// Bytes the source will probably have before redaction; nothing to rely on.
    pub fn size_hint(&self) -> Option<u64> {
        self.head.size_hint
    }

    /// Name on the host where it differs from the path.
    pub fn original(&self) -> Option<&str> {
        self.head.original.as_deref()
    }

    /// Symbolic link that led to it.
    pub fn link(&self) -> Option<&str> {
        self.head.link.as_deref()
    }

    /// Whether [`Clean::rewind`] works: a second reading gives the same bytes, as far as the source does.
    pub fn again(&self) -> bool {
        self.again
    }

    /// Back to the start, to be read once more.
    ///
    /// # Errors
    /// When the source can be read only once.
    pub fn rewind(&mut self) -> io::Result<()> {
        if !self.again {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let content = self.stop().ok_or_else(|| io::Error::other("the source was lost"))?;
        self.way = Way::Start(content);
        // How it is cut was found by the first look, which is not taken again.
        self.report = CleanReport { window: self.report.window, ..CleanReport::default() };
        self.delivered = 0;
        Ok(())
    }

    /// What is to be said once [`io::Read::read`] has given 0. Before that, the outcome is `truncated`.
    pub fn finish(mut self) -> CleanReport {
        if !matches!(self.way, Way::End(_)) {
            self.stop();
            self.report.outcome = Outcome::Truncated;
            self.report.reason = "was not read to its end".to_owned();
        }
        self.report
    }

    /// Reads a step further; an error ends it.
    fn step(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if matches!(self.way, Way::Start(_)) {
            self.start()?;
        }
        match &mut self.way {
            Way::Text(stream) => Ok(stream.read(out)),
            Way::Plain(content) => read_on(content.as_mut(), out),
            Way::Same(same) => same.read(out),
            Way::Repack(repack) => repack.read(out),
            Way::Start(_) | Way::End(_) => Ok(0),
        }
    }

    /// Opens the source and chooses the way.
    fn start(&mut self) -> io::Result<()> {
        let Way::Start(mut content) = std::mem::replace(&mut self.way, Way::End(None)) else { return Ok(()) };
        if self.head.kind == (Kind::Binary { declared: false }) {
            self.way = Way::End(Some(content));
            self.say(Outcome::Skipped, "withheld: binary, not declared");
            return Ok(());
        }
        if let Some(Known::Withheld(reason)) = self.known.clone() {
            self.way = Way::End(Some(content));
            self.say(Outcome::Failed, &reason);
            return Ok(());
        }
        if let Err(error) = content.open() {
            self.way = Way::End(Some(content));
            return Err(error);
        }
        match self.head.kind {
            _ if self.shared.rules.is_empty() => self.way = Way::Plain(content),
            Kind::Binary { .. } => self.way = Way::Plain(content),
            Kind::Text => self.start_text(content),
            kind => return self.start_packed(kind, content),
        }
        Ok(())
    }

    fn start_text(&mut self, content: Box<dyn Content>) {
        let mut stream = self.stream(content).in_pieces(|content, buffer| content.piece(buffer));
        if self.head.path.as_str().starts_with("journal/") && self.head.path.as_str().ends_with(".export") {
            stream = stream.of_journal();
        }
        let start = stream.peek();
        let odd =
            sniff::compressed(start).map(|_| "compressed, which its kind does not say").or(sniff::unreadable(start));
        if let Some(what) = odd {
            self.way = Way::End(Some(self.part(stream).0));
            self.say(Outcome::Failed, &format!("withheld: {what}"));
        } else {
            self.way = Way::Text(Box::new(stream));
        }
    }

    /// A compressed source that can be read again is looked through first, and mostly passes as it is.
    fn start_packed(&mut self, kind: Kind, content: Box<dyn Content>) -> io::Result<()> {
        let (known, mut content) = match self.known.clone() {
            Some(known) => (known, content),
            None if self.again => {
                let (known, mut content) = self.look(kind, content)?;
                self.known = Some(known.clone());
                if !matches!(known, Known::Withheld(_) | Known::Outside)
                    && let Err(error) = content.open()
                {
                    self.way = Way::End(Some(content));
                    return Err(error);
                }
                (known, content)
            }
            None => (Known::Secrets, content),
        };
        match known {
            Known::Clean(digests) => self.way = Way::Same(Same::new(content, digests)),
            Known::Withheld(reason) => {
                content.after();
                self.way = Way::End(Some(content));
                self.say(Outcome::Failed, &reason);
            }
            Known::Outside => {
                content.after();
                self.way = Way::End(Some(content));
                self.say(Outcome::Skipped, "no line of it is in the window");
            }
            Known::Secrets => {
                let (mut stream, odd) = self.inside(kind, content)?;
                if let Some(what) = odd.or_else(|| sniff::inside(stream.peek())) {
                    let (inside, ..) = self.part(stream);
                    self.way = Way::End(inside.into_inner().into_parts().0);
                    self.say(Outcome::Failed, &format!("withheld: {what} inside"));
                } else {
                    self.way = Way::Repack(Box::new(Repack::new(kind, stream)?));
                }
            }
        }
        Ok(())
    }

    /// Reads a compressed source as far as its first secret, or to its end, to know whether it holds one, and whether it can be read at all.
    fn look(&mut self, kind: Kind, content: Box<dyn Content>) -> io::Result<(Known, Box<dyn Content>)> {
        let (mut stream, odd) = self.inside(kind, content)?;
        let odd = odd.or_else(|| sniff::inside(stream.peek()));
        let any = odd.is_none() && stream.look_through();
        let (inside, error) = self.part(stream);
        let ((cut, all), window) = (inside.left_out(), inside.slice());
        let (content, digests, beside) = inside.into_inner().into_parts();
        let any = any || beside.silent || self.shared.rules.count(&beside.heads).iter().any(|count| *count > 0);
        let content = content.ok_or_else(|| io::Error::other("the source was lost"))?;
        let known = match (odd, error) {
            (Some(what), _) => Known::Withheld(format!("withheld: {what} inside")),
            (None, Some(error)) => Known::Withheld(format!("withheld: cannot be read inside: {}", told(&error))),
            (None, None) if all => Known::Outside,
            (None, None) if any || cut => Known::Secrets,
            (None, None) => Known::Clean(digests),
        };
        self.report.window = window;
        Ok((known, content))
    }

    /// What is in a compressed source, and what it is if not text; a window must not hide that.
    fn inside(&self, kind: Kind, content: Box<dyn Content>) -> io::Result<(Stream<Inside>, Option<&'static str>)> {
        let mut inside = Filter::new(Inflate::new(kind, content)?, self.head.lens.clone());
        let odd = match self.head.lens {
            Some(_) => sniff::inside(inside.head()),
            None => None,
        };
        Ok((self.stream(inside), odd))
    }

    fn stream<R: io::Read>(&self, source: R) -> Stream<R> {
        Stream::new(source, Arc::clone(&self.shared.rules), Sizes::default(), self.shared.take_buffer())
    }

    /// Takes a stream apart, and keeps its buffer for the next one.
    fn part<R: io::Read>(&self, stream: Stream<R>) -> (R, Option<io::Error>) {
        let (source, error, buffer) = stream.into_parts();
        self.shared.keep_buffer(buffer);
        (source, error)
    }

    /// Ends the reading, wherever it is, with what the stages have to say; the content, unless it was lost.
    fn stop(&mut self) -> Option<Box<dyn Content>> {
        match std::mem::replace(&mut self.way, Way::End(None)) {
            Way::Start(content) | Way::Plain(content) => Some(content),
            Way::Same(same) => Some(same.into_content()),
            Way::End(content) => content,
            Way::Text(stream) => {
                self.count(stream.counts());
                let (content, error) = self.part(*stream);
                if let Some(error) = error {
                    self.fail(&error, "");
                }
                Some(content)
            }
            Way::Repack(repack) => {
                let stream = repack.into_stream();
                let mut counts = stream.counts().to_vec();
                let (inside, error) = self.part(stream);
                let window = inside.slice();
                let (content, _, beside) = inside.into_inner().into_parts();
                let heads = self.shared.rules.count(&beside.heads);
                counts.iter_mut().zip(heads).for_each(|(count, more)| *count += more);
                self.count(&counts);
                if let Some(error) = error {
                    self.fail(&error, "withheld: cannot be read inside: ");
                }
                self.report.window = window;
                content
            }
        }
    }

    /// At the end of the bytes: what the source says of itself.
    fn end(&mut self) {
        if matches!(self.way, Way::End(_)) {
            return;
        }
        let mut content = self.stop();
        if let Some(slice) = content.as_ref().and_then(|content| content.slice()) {
            self.report.window = Some(slice);
        }
        if let Some((outcome, reason)) = content.as_mut().and_then(|content| content.after()) {
            self.say(outcome, &reason);
        }
        self.report.cut = content.as_ref().and_then(|content| content.cut());
        self.way = Way::End(content);
    }

    /// What an error that ended the bytes makes of the source.
    fn fail(&mut self, error: &io::Error, prefix: &str) {
        let outcome = if self.delivered == 0 { Outcome::Failed } else { Outcome::Truncated };
        self.say(outcome, &format!("{prefix}{}", told(error)));
    }

    /// The first to say something is right about the outcome; what is said later is added.
    fn say(&mut self, outcome: Outcome, reason: &str) {
        if self.report.outcome == Outcome::Collected {
            self.report.outcome = outcome;
        }
        self.report.withheld |= reason.starts_with(WITHHELD);
        if !reason.is_empty() && !self.report.reason.is_empty() {
            self.report.reason.push_str("; ");
        }
        self.report.reason.push_str(&report::brief(reason, REASON));
    }

    fn count(&mut self, counts: &[u64]) {
        for (name, count) in self.shared.rules.names.iter().zip(counts).filter(|(_, count)| **count > 0) {
            // A request may bring a rule of the same name as one of the site's.
            *self.report.redacted.entry(name.clone()).or_default() += count;
        }
    }
}

impl io::Read for Clean {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match catch_unwind(AssertUnwindSafe(|| self.step(out))) {
            Ok(Ok(0)) => self.end(),
            Ok(Ok(count)) => {
                self.delivered += count as u64;
                return Ok(count);
            }
            Ok(Err(error)) => {
                let prefix = if matches!(self.way, Way::Same(_) | Way::Repack(_)) { "withheld: " } else { "" };
                self.end();
                self.fail(&error, prefix);
            }
            Err(_) => {
                // Whatever state it left behind is not looked at again.
                self.way = Way::End(None);
                self.again = false;
                let rest = if self.delivered == 0 { Outcome::Failed } else { Outcome::Truncated };
                self.say(rest, "withheld: redaction failed on it");
            }
        }
        Ok(0)
    }
}

fn read_on(content: &mut dyn Content, out: &mut [u8]) -> io::Result<usize> {
    loop {
        match content.read(out) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// An error of a source, in words for a reason.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "vanished".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::UnexpectedEof => "ends too early".to_owned(),
        _ => report::brief(&report::chain(error), REASON),
    }
}

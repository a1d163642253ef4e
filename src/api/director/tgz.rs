//! A bundle as .tgz, made while it is sent: the one place where bytes are compressed a second time.
//!
//! Pieces of the kept bundle come in, pieces of the .tgz go out; the work of each is done beside the threads that serve. Nothing is
//! kept. A bundle that breaks off ends with an error, so that the answer is reset.

use std::io::{self, Write};

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt as _, stream};
use zstd::stream::write::Decoder;

use crate::bundle::Format;

/// Bytes that are unpacked in one go: what a small piece can become is then little enough to hold.
const SLICE: usize = 64 << 10;

type Out = GzEncoder<Vec<u8>>;

/// Unpacks what came compressed, and packs it again.
enum Packer {
    Plain(Box<Out>),
    Frames(Box<Decoder<'static, Out>>),
}

impl Packer {
    fn new(format: Format) -> io::Result<Self> {
        let out = GzEncoder::new(Vec::new(), Compression::fast());
        Ok(match format {
            Format::Tar => Self::Plain(Box::new(out)),
            Format::TarZst => Self::Frames(Box::new(Decoder::new(out)?)),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(out) => {
                out.write_all(bytes)?;
                Ok(std::mem::take(out.get_mut()))
            }
            Self::Frames(frames) => {
                frames.write_all(bytes)?;
                Ok(std::mem::take(frames.get_mut().get_mut()))
            }
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(out) => out.finish(),
            Self::Frames(mut frames) => {
                frames.flush()?;
                frames.into_inner().finish()
            }
        }
    }
}

/// Where the work stands.
enum State<S> {
    Begin(Format, S),
    Going(Packer, S, Bytes),
    Over,
}

/// The .tgz of a bundle's bytes.
pub fn packed<S, E>(format: Format, bytes: S) -> impl Stream<Item = io::Result<Bytes>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    stream::try_unfold(State::Begin(format, bytes), |mut state| async move {
        loop {
            let (packer, mut source, mut left) = match state {
                State::Over => return Ok(None),
                State::Begin(format, source) => (Packer::new(format)?, source, Bytes::new()),
                State::Going(packer, source, left) => (packer, source, left),
            };
            if left.is_empty() {
                match source.next().await {
                    Some(piece) => left = piece.map_err(io::Error::other)?,
                    None => {
                        let last = aside(move || packer.finish()).await?;
                        return Ok(Some((Bytes::from(last), State::Over)));
                    }
                }
            }
            let slice = left.split_to(left.len().min(SLICE));
            let (packer, ready) = aside(move || {
                let mut packer = packer;
                let ready = packer.write(&slice)?;
                Ok((packer, ready))
            })
            .await?;
            state = State::Going(packer, source, left);
            if !ready.is_empty() {
                return Ok(Some((Bytes::from(ready), state)));
            }
        }
    })
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::MultiGzDecoder;

    use super::*;

    async fn unpacked(format: Format, pieces: Vec<Vec<u8>>) -> io::Result<Vec<u8>> {
        let source = stream::iter(pieces.into_iter().map(|piece| Ok::<_, io::Error>(Bytes::from(piece))));
        let packed: Vec<_> = packed(format, source).collect().await;
        let packed = packed.into_iter().collect::<io::Result<Vec<_>>>()?.concat();
        let mut plain = Vec::new();
        MultiGzDecoder::new(&packed[..]).read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_whichever_way_it_was_kept() {
        let one: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(unpacked(Format::Tar, one.chunks(70_001).map(<[u8]>::to_vec).collect()).await.expect("packed"), one);
        let mut kept: Vec<u8> =
            one.chunks(400_000).flat_map(|c| zstd::bulk::compress(c, 1).expect("a frame")).collect();
        // A seek table is a skippable frame.
        kept.extend([0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        assert_eq!(
            unpacked(Format::TarZst, kept.chunks(999).map(<[u8]>::to_vec).collect()).await.expect("packed"),
            one
        );
    }

    #[tokio::test]
    async fn what_breaks_off_is_an_error() {
        let source = stream::iter([Ok(Bytes::from_static(b"x")), Err(io::Error::other("gone"))]);
        let packed: Vec<_> = packed(Format::Tar, source).collect().await;
        assert!(packed.last().expect("an end").is_err());
        assert!(unpacked(Format::TarZst, vec![b"no zstd".to_vec()]).await.is_err());
    }
}

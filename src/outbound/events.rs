//! Server-sent events, taken apart as they arrive. A picture in an event stays a slice of what was read.

use bytes::{Bytes, BytesMut};

/// What has arrived of a stream and is not yet a whole event.
#[derive(Debug, Default)]
pub(super) struct Events {
    held: BytesMut,
    /// How far the end of an event has been looked for: megabytes are not searched again for every packet.
    searched: usize,
}

impl Events {
    /// Takes what arrived and returns the data of every event that is whole now. Comments and events without data are
    /// left out, `[DONE]` too.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<Bytes> {
        self.held.extend_from_slice(chunk);
        let mut whole = Vec::new();
        while let Some((end, next)) = self.find_end() {
            let event = self.held.split_to(next).freeze();
            self.searched = 0;
            whole.extend(data(&event.slice(..end)));
        }
        whole
    }

    /// What is left when the stream ends without an empty line.
    pub(super) fn finish(self) -> Option<Bytes> {
        data(&self.held.freeze())
    }

    /// Where the first event ends, and where the next begins: at an empty line, whatever ends its lines.
    fn find_end(&mut self) -> Option<(usize, usize)> {
        let from = self.searched.saturating_sub(3);
        let rest = self.held.get(from..)?;
        let found = rest.iter().enumerate().filter(|(_, byte)| matches!(byte, b'\n' | b'\r')).find_map(|(at, _)| {
            let breaks: [&[u8]; 3] = [b"\n\n", b"\r\n\r\n", b"\r\r"];
            breaks.into_iter().find(|end| rest[at..].starts_with(end)).map(|end| (from + at, from + at + end.len()))
        });
        if found.is_none() {
            self.searched = self.held.len();
        }
        found
    }
}

/// The data of one event: its `data` lines, joined.
fn data(event: &Bytes) -> Option<Bytes> {
    let lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    let mut found: Vec<Bytes> = lines
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(|line| event.slice_ref(line.strip_prefix(b" ").unwrap_or(line)))
        .collect();
    let data = if found.len() > 1 { Bytes::from(found.join(&b"\n"[..])) } else { found.pop()? };
    (!data.is_empty() && data != "[DONE]").then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] = b": keep-alive\n\nevent: a\ndata: {\"n\":1}\n\ndata:one\ndata: two\n\nid: 7\n\n\
        event: b\r\ndata: three\r\n\r\ndata: [DONE]\n\ndata: last";

    fn read(chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<Bytes> {
        let mut events = Events::default();
        let mut all: Vec<Bytes> = chunks.into_iter().flat_map(|chunk| events.push(&chunk)).collect();
        all.extend(events.finish());
        all
    }

    #[test]
    fn takes_events_apart() {
        let all = read([STREAM.to_vec()]);
        assert_eq!(all, ["{\"n\":1}", "one\ntwo", "three", "last"]);
        assert!(read([b"\n\n\n: only comments\n\n".to_vec()]).is_empty());
    }

    proptest! {
        #[test]
        fn however_it_is_cut(size in 1usize..40) {
            let whole = read([STREAM.to_vec()]);
            prop_assert_eq!(read(STREAM.chunks(size).map(<[u8]>::to_vec)), whole);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..200)) {
            read([bytes]);
        }
    }
}

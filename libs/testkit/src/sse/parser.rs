//! Bytes of an event stream to blocks, by the rules of the WHATWG's EventSource. Pure.

use serde_json::Value;

/// One block: what stood between two blank lines, in any combination. `None` for a field that was not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `id:`, unless it holds a NUL, which makes it no id.
    pub id: Option<String>,
    /// `event:`.
    pub event: Option<String>,
    /// The `data:` lines, joined by line feeds.
    pub data: Option<String>,
    /// `retry:` in milliseconds, if it was all digits.
    pub retry: Option<u64>,
    /// The lines that start with a colon, joined by line feeds, a first space taken off as for a field.
    pub comment: Option<String>,
}

impl Frame {
    /// The data as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        let data = self.data.as_deref().unwrap_or_default();
        serde_json::from_str(data).unwrap_or_default()
    }
}

/// Takes a stream in pieces of any size. One that ends inside a block leaves that block out, as an EventSource does.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    /// The last byte ended a line by CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The first line is over, and with it the place of a byte order mark.
    begun: bool,
    frame: Option<Frame>,
    last_event_id: String,
}

impl SseParser {
    /// The blocks that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => frames.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        frames
    }

    /// The id of the last block that had one; empty before.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    fn end_line(&mut self) -> Option<Frame> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first {
            text.strip_prefix('\u{feff}').unwrap_or(&text)
        } else {
            &text
        };
        if line.is_empty() {
            let frame = self.frame.take()?;
            if let Some(id) = &frame.id {
                self.last_event_id.clone_from(id);
            }
            return Some(frame);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let frame = self.frame.get_or_insert_default();
        match name {
            "" => append(&mut frame.comment, value),
            "data" => append(&mut frame.data, value),
            "event" => frame.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => frame.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                frame.retry = value.parse().ok().or(frame.retry);
            }
            _ => {}
        }
        None
    }
}

fn append(field: &mut Option<String>, value: &str) {
    match field {
        Some(text) => {
            text.push('\n');
            text.push_str(value);
        }
        None => *field = Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of a stream, checked to be the same wherever the stream is cut in two, and byte by byte.
    fn parse(stream: &[u8]) -> (Vec<Frame>, String) {
        let mut whole = SseParser::default();
        let frames = whole.push(stream);
        for cut in 0..stream.len() {
            let mut parser = SseParser::default();
            let (head, tail) = stream.split_at(cut);
            let halves = [parser.push(head), parser.push(tail)].concat();
            assert_eq!(halves, frames, "cut at {cut}");
        }
        let mut parser = SseParser::default();
        let bytes: Vec<_> = stream
            .chunks(1)
            .flat_map(|byte| parser.push(byte))
            .collect();
        assert_eq!(bytes, frames, "byte by byte");
        (frames, whole.last_event_id().to_owned())
    }

    fn data(text: &str) -> Frame {
        Frame {
            data: Some(text.to_owned()),
            ..Frame::default()
        }
    }

    #[test]
    fn line_ends_of_all_three_kinds() {
        let (frames, _) = parse(b"data: a\n\ndata: b\r\rdata: c\r\n\r\ndata: d\r\n\ndata: e\n\r");
        assert_eq!(frames, ["a", "b", "c", "d", "e"].map(data));
    }

    #[test]
    fn data_of_several_lines_keeps_its_spaces_and_colons() {
        let (frames, _) = parse(b"data:one\ndata:  two: 2 \ndata\ndata:\n\n");
        assert_eq!(frames, [data("one\n two: 2 \n\n")]);
    }

    #[test]
    fn all_fields_of_a_block() {
        let (frames, last) = parse(b": hb\nid: 7\nevent: bye\nretry: 2500\ndata: {\"a\":1}\n\n");
        let expected = Frame {
            id: Some("7".to_owned()),
            event: Some("bye".to_owned()),
            data: Some("{\"a\":1}".to_owned()),
            retry: Some(2500),
            comment: Some("hb".to_owned()),
        };
        assert_eq!((&frames[..], last.as_str()), (&[expected][..], "7"));
        assert_eq!(frames[0].json()["a"], 1);
    }

    #[test]
    fn a_bare_id_moves_the_last_event_id_and_a_block_without_keeps_it() {
        let (frames, last) = parse(b"id: 1\ndata: x\n\nid: 2\n\ndata: y\n\n");
        assert_eq!(
            frames[1],
            Frame {
                id: Some("2".to_owned()),
                ..Frame::default()
            }
        );
        assert_eq!((frames[2].id.as_deref(), last.as_str()), (None, "2"));
    }

    #[test]
    fn an_empty_id_resets_and_one_with_nul_is_none() {
        assert_eq!(parse(b"id: 1\n\nid\n\n").1, "");
        let (frames, last) = parse(b"id: 1\n\nid: 2\0\ndata: x\n\n");
        assert_eq!((frames[1].id.as_deref(), last.as_str()), (None, "1"));
    }

    #[test]
    fn an_unfinished_block_is_left_out_and_its_id_with_it() {
        let (frames, last) = parse(b"id: 1\ndata: x\n\nid: 2\ndata: y\n");
        assert_eq!((frames.len(), last.as_str()), (1, "1"));
    }

    #[test]
    fn one_byte_order_mark_at_the_start_is_no_part_of_the_first_line() {
        let (frames, _) = parse("\u{feff}data: ä\n\n\u{feff}data: no field\n\n".as_bytes());
        assert_eq!(frames, [data("ä"), Frame::default()]);
        assert_eq!(
            parse("\u{feff}\u{feff}data: x\n\n".as_bytes()).0,
            [Frame::default()]
        );
    }

    #[test]
    fn unknown_fields_and_bad_retries_change_nothing() {
        let (frames, _) = parse(b"retry: 1s\nretry: -1\nother: x\nDATA: x\n data: x\n\n\n\n");
        assert_eq!(frames, [Frame::default()]);
        assert_eq!(parse(b"\n\n\r\n").0, []);
    }

    #[test]
    fn broken_utf8_is_replaced_not_fatal() {
        assert_eq!(
            parse(b"data: \xff\n\ndata: x\n\n").0,
            [data("\u{fffd}"), data("x")]
        );
    }
}

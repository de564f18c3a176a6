//! A terminal's line discipline: what somebody types becomes lines, and is echoed. Pure.
//!
//! Clients put their own terminal into raw mode and send every key. A container has no kernel with a terminal in it, so
//! lines are edited here: erasing, moving, and the lines that were typed before.

/// What comes of what was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Show this.
    Echo(Vec<u8>),
    /// Give this to the program.
    Send(Vec<u8>),
    /// `^C`
    Interrupt,
    /// `^D` on an empty line.
    End,
}

const HISTORY_MAX: usize = 200;
const LINE_MAX: usize = 64 * 1024;

#[derive(Default)]
enum Escape {
    #[default]
    None,
    Begun,
    /// `ESC [` or `ESC O`, and what followed.
    Sequence(Vec<u8>),
}

/// The line that is being typed, and those before.
#[derive(Default)]
pub(crate) struct Terminal {
    line: Vec<char>,
    cursor: usize,
    history: Vec<Vec<char>>,
    /// Which line of the history is shown, and what was typed before it was.
    shown: Option<(usize, Vec<char>)>,
    escape: Escape,
    /// The beginning of a character.
    partial: Vec<u8>,
}

impl Terminal {
    /// Takes keys.
    pub fn typed(&mut self, bytes: &[u8]) -> Vec<Act> {
        let mut acts = Vec::new();
        for byte in bytes {
            self.key(*byte, &mut acts);
        }
        joined(acts)
    }

    fn key(&mut self, byte: u8, acts: &mut Vec<Act>) {
        match std::mem::take(&mut self.escape) {
            Escape::None => {}
            Escape::Begun => {
                if matches!(byte, b'[' | b'O') {
                    self.escape = Escape::Sequence(Vec::new());
                }
                return;
            }
            Escape::Sequence(mut so_far) => {
                if byte.is_ascii_digit() || byte == b';' {
                    so_far.push(byte);
                    self.escape = Escape::Sequence(so_far);
                } else {
                    self.arrow(byte, &so_far, acts);
                }
                return;
            }
        }
        match byte {
            0x1b => self.escape = Escape::Begun,
            b'\r' | b'\n' => self.enter(acts),
            0x03 => {
                self.clear();
                acts.extend([Act::Echo(b"^C".to_vec()), Act::Interrupt]);
            }
            0x04 if self.line.is_empty() => acts.push(Act::End),
            0x04 => {
                let line: String = std::mem::take(&mut self.line).into_iter().collect();
                self.cursor = 0;
                acts.push(Act::Send(line.into_bytes()));
            }
            0x7f | 0x08 => self.erase(self.cursor.saturating_sub(1), self.cursor, acts),
            0x15 => self.erase(0, self.cursor, acts),
            0x0b => self.erase(self.cursor, self.line.len(), acts),
            0x17 => self.erase(self.word_start(), self.cursor, acts),
            0x01 => self.go(0, acts),
            0x05 => self.go(self.line.len(), acts),
            b'\t' => self.insert('\t', acts),
            0..=0x1f => {}
            byte => self.character(byte, acts),
        }
    }

    fn character(&mut self, byte: u8, acts: &mut Vec<Act>) {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                let c = text.chars().next();
                self.partial.clear();
                c.into_iter().for_each(|c| self.insert(c, acts));
            }
            Err(error) if error.error_len().is_some() || self.partial.len() >= 4 => {
                self.partial.clear();
                self.insert(char::REPLACEMENT_CHARACTER, acts);
            }
            Err(_) => {}
        }
    }

    fn insert(&mut self, c: char, acts: &mut Vec<Act>) {
        if self.line.len() >= LINE_MAX {
            return;
        }
        self.line.insert(self.cursor, c);
        self.cursor += 1;
        let mut echo = String::from(c);
        echo.extend(&self.line[self.cursor..]);
        echo.extend(std::iter::repeat_n('\x08', self.line.len() - self.cursor));
        acts.push(Act::Echo(echo.into_bytes()));
    }

    /// Takes a part of the line away, and draws what is behind it again.
    fn erase(&mut self, from: usize, to: usize, acts: &mut Vec<Act>) {
        if from >= to {
            return;
        }
        let mut echo = "\x08".repeat(self.cursor - from.min(self.cursor));
        self.line.drain(from..to);
        self.cursor = from;
        echo.extend(&self.line[from..]);
        echo.push_str("\x1b[K");
        echo.extend(std::iter::repeat_n('\x08', self.line.len() - from));
        acts.push(Act::Echo(echo.into_bytes()));
    }

    fn word_start(&self) -> usize {
        let mut at = self.cursor;
        while at > 0 && self.line[at - 1].is_whitespace() {
            at -= 1;
        }
        while at > 0 && !self.line[at - 1].is_whitespace() {
            at -= 1;
        }
        at
    }

    fn go(&mut self, to: usize, acts: &mut Vec<Act>) {
        let to = to.min(self.line.len());
        let echo: String = if to < self.cursor {
            "\x08".repeat(self.cursor - to)
        } else {
            self.line[self.cursor..to].iter().collect()
        };
        self.cursor = to;
        if !echo.is_empty() {
            acts.push(Act::Echo(echo.into_bytes()));
        }
    }

    fn enter(&mut self, acts: &mut Vec<Act>) {
        let line = std::mem::take(&mut self.line);
        self.cursor = 0;
        self.shown = None;
        let mut text: String = line.iter().collect();
        text.push('\n');
        acts.extend([Act::Echo(b"\r\n".to_vec()), Act::Send(text.into_bytes())]);
        if !line.is_empty() && self.history.last() != Some(&line) {
            self.history.push(line);
            if self.history.len() > HISTORY_MAX {
                self.history.remove(0);
            }
        }
    }

    fn clear(&mut self) {
        self.line.clear();
        self.cursor = 0;
        self.shown = None;
    }

    fn arrow(&mut self, last: u8, numbers: &[u8], acts: &mut Vec<Act>) {
        match (last, numbers) {
            (b'A', _) => self.recall(true, acts),
            (b'B', _) => self.recall(false, acts),
            (b'C', _) => self.go(self.cursor + 1, acts),
            (b'D', _) => self.go(self.cursor.saturating_sub(1), acts),
            (b'H', _) | (b'~', b"1" | b"7") => self.go(0, acts),
            (b'F', _) | (b'~', b"4" | b"8") => self.go(self.line.len(), acts),
            (b'~', b"3") => self.erase(self.cursor, (self.cursor + 1).min(self.line.len()), acts),
            _ => {}
        }
    }

    /// Shows a line of the history instead of this one.
    fn recall(&mut self, older: bool, acts: &mut Vec<Act>) {
        let at = self.shown.as_ref().map_or(self.history.len(), |(at, _)| *at);
        let next = if older { at.checked_sub(1) } else { Some(at + 1).filter(|next| *next <= self.history.len()) };
        let Some(next) = next.filter(|next| *next != at) else { return };
        let own = self.shown.take().map_or_else(|| self.line.clone(), |(_, own)| own);
        let text = self.history.get(next).cloned().unwrap_or_else(|| own.clone());
        if next < self.history.len() {
            self.shown = Some((next, own));
        }
        let mut echo = "\x08".repeat(self.cursor);
        echo.push_str("\x1b[K");
        echo.extend(&text);
        self.line = text;
        self.cursor = self.line.len();
        acts.push(Act::Echo(echo.into_bytes()));
    }
}

/// Neighbours of a kind in one.
fn joined(acts: Vec<Act>) -> Vec<Act> {
    let mut out: Vec<Act> = Vec::new();
    for act in acts {
        match (out.last_mut(), act) {
            (Some(Act::Echo(before)), Act::Echo(bytes)) | (Some(Act::Send(before)), Act::Send(bytes)) => {
                before.extend(bytes);
            }
            (_, act) => out.push(act),
        }
    }
    out
}

/// A terminal goes to the beginning of the next line only if it is told to do both.
pub(crate) fn carriage(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the program reads.
    fn sent(keys: &str) -> String {
        let mut terminal = Terminal::default();
        let acts = terminal.typed(keys.as_bytes());
        let bytes = acts.into_iter().filter_map(|act| match act {
            Act::Send(bytes) => Some(String::from_utf8(bytes).unwrap()),
            Act::Interrupt => Some("<int>".to_owned()),
            Act::End => Some("<end>".to_owned()),
            Act::Echo(_) => None,
        });
        bytes.collect()
    }

    #[test]
    fn keys_become_lines() {
        for (keys, wanted) in [
            ("ls\r", "ls\n"),
            ("lx\x7fs\r", "ls\n"),
            ("one two\x17three\r", "one three\n"),
            ("gone\x15ls\r", "ls\n"),
            ("s\x1b[Dl\r", "ls\n"),
            ("s\x01l\x05 -l\r", "ls -l\n"),
            ("xls\x1b[H\x1b[3~\r", "ls\n"),
            ("one\rtwo\r\x1b[A\x1b[A\r", "one\ntwo\none\n"),
            ("one\rtw\x1b[A\x1b[Bo\r", "one\ntwo\n"),
            ("half\x03ls\r", "<int>ls\n"),
            ("\x04", "<end>"),
            ("half\x04", "half"),
            ("Grüße\x7f\x7fß\r", "Grüß\n"),
            ("\x1b[A\x1b[B\x7f\r", "\n"),
        ] {
            assert_eq!(sent(keys), wanted, "{keys:?}");
        }
    }

    #[test]
    fn what_is_typed_is_shown() {
        let mut terminal = Terminal::default();
        assert_eq!(terminal.typed(b"ab"), [Act::Echo(b"ab".to_vec())]);
        assert_eq!(terminal.typed(b"\x7f"), [Act::Echo(b"\x08\x1b[K".to_vec())]);
        assert_eq!(terminal.typed(b"\r"), [Act::Echo(b"\r\n".to_vec()), Act::Send(b"a\n".to_vec())]);
        assert_eq!(carriage(b"a\nb\r\n"), b"a\r\nb\r\n");
    }

    proptest! {
        #[test]
        fn nobody_types_it_to_death(keys in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut terminal = Terminal::default();
            terminal.typed(&keys);
            prop_assert!(terminal.cursor <= terminal.line.len());
        }
    }
}

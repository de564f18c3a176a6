//! Cuts the source of an expression into tokens.

use kube_cel::cel::Value;

/// A token and where it begins, in characters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub at: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Ident(String),
    /// A name in backticks: only ever a field.
    Quoted(String),
    Literal(Value),
    /// `9223372036854775808`, which only a minus before it makes an integer.
    MinInt,
    Symbol(&'static str),
    End,
}

/// Why the source cannot be cut: where and the sentence.
pub(crate) type Fault = (usize, String);

const SYMBOLS: [&str; 27] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "+", "-", "*", "/",
    "%", "!", "in", "&", "|",
];

pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, Fault> {
    let chars: Vec<char> = source.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip_blank();
        let at = lexer.at;
        let Some(first) = lexer.peek(0) else {
            out.push(Token { at, kind: Kind::End });
            return Ok(out);
        };
        let kind = lexer.token(first)?;
        out.push(Token { at, kind });
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip_blank(&mut self) {
        loop {
            match self.peek(0) {
                Some(' ' | '\t' | '\n' | '\r' | '\u{c}') => self.at += 1,
                Some('/') if self.peek(1) == Some('/') => {
                    while self.peek(0).is_some_and(|next| next != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn token(&mut self, first: char) -> Result<Kind, Fault> {
        if let Some(text) = self.string()? {
            return Ok(Kind::Literal(text));
        }
        if first.is_ascii_digit() || (first == '.' && self.peek(1).is_some_and(|next| next.is_ascii_digit())) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let word = self.take(|next| next.is_ascii_alphanumeric() || next == '_');
            return Ok(match word.as_str() {
                "true" => Kind::Literal(Value::Bool(true)),
                "false" => Kind::Literal(Value::Bool(false)),
                "null" => Kind::Literal(Value::Null),
                "in" => Kind::Symbol("in"),
                _ => Kind::Ident(word),
            });
        }
        if first == '`' {
            let at = self.at;
            self.at += 1;
            let name = self.take(|next| next.is_ascii_alphanumeric() || "_.-/ ".contains(next));
            if self.peek(0) != Some('`') {
                return Err((at, "Syntax error: token recognition error at: '`'".to_owned()));
            }
            self.at += 1;
            return Ok(Kind::Quoted(name));
        }
        for symbol in SYMBOLS {
            if symbol.chars().enumerate().all(|(ahead, wanted)| self.peek(ahead) == Some(wanted)) {
                if matches!(symbol, "&" | "|") {
                    break;
                }
                self.at += symbol.len();
                return Ok(Kind::Symbol(symbol));
            }
        }
        let next = self.peek(1).map_or(String::new(), String::from);
        let shown = if matches!(first, '=' | '&' | '|') { format!("{first}{next}") } else { first.to_string() };
        Err((self.at, format!("Syntax error: token recognition error at: '{shown}'")))
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let from = self.at;
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
        self.chars.get(from..self.at).unwrap_or_default().iter().collect()
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let from = self.at;
        let wrong = |text: &str, what: &str| (from, format!("invalid {what} literal: '{text}'"));
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.at += 2;
            let digits = self.take(|next| next.is_ascii_hexdigit());
            if self.eat_unsigned() {
                return u64::from_str_radix(&digits, 16)
                    .map(|number| Kind::Literal(Value::UInt(number)))
                    .map_err(|_| wrong(&digits, "uint"));
            }
            return i64::from_str_radix(&digits, 16)
                .map(|number| Kind::Literal(Value::Int(number)))
                .map_err(|_| wrong(&digits, "int"));
        }
        let mut text = self.take(|next| next.is_ascii_digit());
        let mut float = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|next| next.is_ascii_digit()) {
            float = true;
            self.at += 1;
            text.push('.');
            text.push_str(&self.take(|next| next.is_ascii_digit()));
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = matches!(self.peek(1), Some('+' | '-'));
            if self.peek(1 + usize::from(sign)).is_some_and(|next| next.is_ascii_digit()) {
                float = true;
                text.push('e');
                self.at += 1;
                if let (true, Some(sign)) = (sign, self.peek(0)) {
                    text.push(sign);
                    self.at += 1;
                }
                text.push_str(&self.take(|next| next.is_ascii_digit()));
            }
        }
        if float {
            let number = text.parse().map_err(|_| wrong(&text, "double"))?;
            return Ok(Kind::Literal(Value::Float(number)));
        }
        if self.eat_unsigned() {
            return text.parse().map(|number| Kind::Literal(Value::UInt(number))).map_err(|_| wrong(&text, "uint"));
        }
        match text.parse::<u64>() {
            Ok(number) if i64::try_from(number).is_ok() => Ok(Kind::Literal(Value::Int(number as i64))),
            Ok(number) if number == 1 << 63 => Ok(Kind::MinInt),
            _ => Err(wrong(&text, "int")),
        }
    }

    fn eat_unsigned(&mut self) -> bool {
        let unsigned = matches!(self.peek(0), Some('u' | 'U'));
        self.at += usize::from(unsigned);
        unsigned
    }

    /// A text or bytes, when one begins here.
    fn string(&mut self) -> Result<Option<Value>, Fault> {
        let from = self.at;
        let (mut raw, mut bytes, mut ahead) = (false, false, 0);
        while let Some(prefix @ ('r' | 'R' | 'b' | 'B')) = self.peek(ahead) {
            let flag = if matches!(prefix, 'r' | 'R') { &mut raw } else { &mut bytes };
            if std::mem::replace(flag, true) {
                return Ok(None);
            }
            ahead += 1;
        }
        let Some(quote @ ('"' | '\'')) = self.peek(ahead) else { return Ok(None) };
        let long = self.peek(ahead + 1) == Some(quote) && self.peek(ahead + 2) == Some(quote);
        self.at += ahead + if long { 3 } else { 1 };
        let unfinished = || (from, format!("Syntax error: token recognition error at: '{quote}'"));
        let mut out = Vec::<u8>::new();
        loop {
            let next = self.peek(0).ok_or_else(unfinished)?;
            if next == quote && (!long || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote))) {
                self.at += if long { 3 } else { 1 };
                break;
            }
            if !long && (next == '\n' || next == '\r') {
                return Err(unfinished());
            }
            self.at += 1;
            if next == '\\' && !raw {
                self.escape(bytes, &mut out).ok_or((from, "unable to unescape string".to_owned()))?;
            } else {
                out.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if bytes {
            return Ok(Some(Value::Bytes(out.into())));
        }
        let text = String::from_utf8(out).map_err(|_| unfinished())?;
        Ok(Some(Value::String(text.into())))
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Option<()> {
        let next = self.peek(0)?;
        self.at += 1;
        let plain = match next {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '\'' | '"' | '`' | '?' => next as u8,
            'x' | 'X' => return self.code(2, 16, bytes, out),
            'u' if !bytes => return self.code(4, 16, false, out),
            'U' if !bytes => return self.code(8, 16, false, out),
            '0'..='3' => {
                self.at -= 1;
                return self.code(3, 8, bytes, out);
            }
            _ => return None,
        };
        out.push(plain);
        Some(())
    }

    fn code(&mut self, digits: usize, radix: u32, byte: bool, out: &mut Vec<u8>) -> Option<()> {
        let text: String = self.chars.get(self.at..self.at + digits)?.iter().collect();
        self.at += digits;
        let code = u32::from_str_radix(&text, radix).ok()?;
        if byte {
            out.push(u8::try_from(code).ok()?);
        } else {
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Some(())
    }
}

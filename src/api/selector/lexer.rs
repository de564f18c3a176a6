//! The words of a label selector's text.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
    Wrong(String),
    End,
}

impl Token<'_> {
    /// The text as error messages show it.
    pub(super) fn shown(&self) -> &str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::Wrong(text) => text,
            Self::End => "",
        }
    }

    pub(super) fn is(&self, symbol: &str) -> bool {
        matches!(self, Self::Symbol(text) if *text == symbol)
    }
}

fn is_symbol(byte: u8) -> bool {
    b"=!(),<>".contains(&byte)
}

/// Cuts `text` into words and the symbols `=`, `==`, `!=`, `!`, `(`, `)`, `,`, `<`, `>`; [`Token::End`] comes last.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
    while let Some(first) = rest.bytes().next() {
        let length = if is_symbol(first) {
            let pair = rest.get(..2).is_some_and(|pair| pair == "==" || pair == "!=");
            let length = if pair { 2 } else { 1 };
            found.push(Token::Symbol(&rest[..length]));
            length
        } else {
            let ends = |byte: u8| is_symbol(byte) || b" \t\r\n".contains(&byte);
            let length = rest.bytes().position(ends).unwrap_or(rest.len());
            let word = &rest[..length];
            found.push(if word.contains('\0') {
                Token::Wrong(word.replace('\0', "\u{fffd}"))
            } else {
                Token::Word(word)
            });
            length
        };
        rest = rest[length..].trim_start_matches([' ', '\t', '\r', '\n']);
    }
    found.push(Token::End);
    found
}

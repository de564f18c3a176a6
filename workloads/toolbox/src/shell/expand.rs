//! From words to arguments.

use super::arithmetic::{self, Variables};
use super::ast::{Action, Parameter, Piece, Word};
use super::pattern::{self, Marked};
use super::{Flow, Later, Shell};

/// The fields that words become.
struct Fields {
    done: Vec<Vec<Marked>>,
    current: Option<Vec<Marked>>,
    /// Nothing: no splitting.
    separators: Option<String>,
}

impl Fields {
    fn new(separators: Option<String>) -> Self {
        Self { done: Vec::new(), current: None, separators }
    }

    fn keep(&mut self, text: &str, quoted: bool) {
        self.current.get_or_insert_default().extend(text.chars().map(|c| (c, quoted)));
    }

    /// The result of an expansion outside of quotes: it is split.
    fn split(&mut self, text: &str) {
        let Some(separators) = self.separators.clone() else {
            if !text.is_empty() {
                self.keep(text, false);
            }
            return;
        };
        for c in text.chars() {
            if !separators.contains(c) {
                self.current.get_or_insert_default().push((c, false));
            } else if c.is_whitespace() {
                self.done.extend(self.current.take());
            } else {
                self.done.push(self.current.take().unwrap_or_default());
            }
        }
    }

    fn next(&mut self) {
        self.done.push(self.current.take().unwrap_or_default());
        self.current = Some(Vec::new());
    }

    fn end(mut self) -> Vec<Vec<Marked>> {
        self.done.extend(self.current.take());
        self.done
    }
}

impl Shell {
    /// Arguments: split, with patterns replaced by the paths that fit.
    pub async fn arguments(&mut self, words: &[Word]) -> Result<Vec<String>, Flow> {
        let separators = self.get("IFS").unwrap_or_else(|| " \t\n".to_owned());
        let mut arguments = Vec::new();
        for word in words {
            if let [Piece::Bare(text)] = word.as_slice()
                && !text.contains(['*', '?', '[', '~'])
            {
                arguments.push(text.clone());
                continue;
            }
            let mut fields = Fields::new(Some(separators.clone()));
            self.expand_word(word, &mut fields).await?;
            for field in fields.end() {
                let found = if pattern::is_pattern(&field) && !self.options.no_patterns {
                    pattern::paths(&self.cwd, &field)
                } else {
                    Vec::new()
                };
                if found.is_empty() {
                    arguments.push(pattern::text(&field));
                } else {
                    arguments.extend(found);
                }
            }
        }
        Ok(arguments)
    }

    /// One text: neither split nor matched against paths.
    pub async fn text(&mut self, word: &Word) -> Result<String, Flow> {
        self.marked(word).await.map(|marked| pattern::text(&marked))
    }

    /// The same, as a pattern.
    pub async fn marked(&mut self, word: &Word) -> Result<Vec<Marked>, Flow> {
        let mut fields = Fields::new(None);
        self.expand_word(word, &mut fields).await?;
        Ok(fields.end().join(&(' ', true)))
    }

    async fn expand_word(&mut self, word: &Word, fields: &mut Fields) -> Result<(), Flow> {
        let mut rest = word.as_slice();
        if let Some((Piece::Bare(text), others)) = rest.split_first()
            && let Some(tail) = text.strip_prefix('~')
        {
            let (user, tail) = tail.find('/').map_or((tail, ""), |at| tail.split_at(at));
            if (user.is_empty() || user == "root") && (others.is_empty() || !tail.is_empty()) {
                let home = self.get("HOME").unwrap_or_else(|| "/".to_owned());
                fields.keep(&home, true);
                fields.keep(if home.ends_with('/') { tail.trim_start_matches('/') } else { tail }, false);
                rest = others;
            }
        }
        for piece in rest {
            self.expand(piece, false, fields).await?;
        }
        Ok(())
    }

    fn expand<'a>(&'a mut self, piece: &'a Piece, quoted: bool, fields: &'a mut Fields) -> Later<'a, Result<(), Flow>> {
        Box::pin(async move {
            match piece {
                Piece::Bare(text) => fields.keep(text, quoted),
                Piece::Quoted(text) => fields.keep(text, true),
                Piece::Double(pieces) => self.expand_double(pieces, fields).await?,
                Piece::Parameter(parameter) => self.expand_parameter(parameter, quoted, fields).await?,
                Piece::Command(script) => {
                    let text = self.output_of(script).await?;
                    put(fields, &text, quoted);
                }
                Piece::Arithmetic(word) => {
                    let value = self.number_of(word).await?;
                    put(fields, &value.to_string(), quoted);
                }
            }
            Ok(())
        })
    }

    async fn expand_double(&mut self, pieces: &Word, fields: &mut Fields) -> Result<(), Flow> {
        let is_all = |piece: &Piece| matches!(piece, Piece::Parameter(parameter) if parameter.name == "@" && matches!(parameter.action, Action::Plain));
        let is_empty = |piece: &Piece| matches!(piece, Piece::Quoted(text) if text.is_empty());
        let nothing = self.args.is_empty() && pieces.iter().any(is_all);
        if nothing && pieces.iter().all(|piece| is_all(piece) || is_empty(piece)) {
            return Ok(());
        }
        for piece in pieces {
            self.expand(piece, true, fields).await?;
        }
        Ok(())
    }

    pub async fn number_of(&mut self, word: &Word) -> Result<i64, Flow> {
        let mut text = String::new();
        for piece in word {
            let mut fields = Fields::new(None);
            self.expand(piece, true, &mut fields).await?;
            text.push_str(&pattern::text(&fields.end().concat()));
        }
        match arithmetic::evaluate(&text, self) {
            Ok(value) => Ok(value),
            Err(why) => Err(self.fatal(&why, 2).await),
        }
    }

    /// Several values: `$@` and `$*`.
    fn all_arguments(&mut self, name: &str, quoted: bool, fields: &mut Fields) {
        let args = self.args.clone();
        if quoted && name == "*" {
            let separator = self.get("IFS").map_or(Some(' '), |ifs| ifs.chars().next());
            let separator = separator.map(String::from).unwrap_or_default();
            return fields.keep(&args.join(&separator), true);
        }
        for (number, argument) in args.iter().enumerate() {
            match (quoted, number) {
                (true, 0) => {}
                (true, _) if fields.separators.is_some() => fields.next(),
                (true, _) => fields.keep(" ", true),
                (false, 0) => {}
                (false, _) if fields.separators.is_some() => fields.done.extend(fields.current.take()),
                (false, _) => fields.keep(" ", false),
            }
            put(fields, argument, quoted);
        }
    }

    async fn expand_parameter(
        &mut self,
        parameter: &Parameter,
        quoted: bool,
        fields: &mut Fields,
    ) -> Result<(), Flow> {
        let name = parameter.name.as_str();
        let several = name == "@" || name == "*";
        if several && matches!(parameter.action, Action::Plain) {
            self.all_arguments(name, quoted, fields);
            return Ok(());
        }
        let value = if several {
            Some(self.args.join(" ")).filter(|_| !self.args.is_empty())
        } else {
            self.get(name)
        };
        let unset = value.is_none();
        let strict = self.options.no_unset && unset && !several;
        if strict && !matches!(parameter.action, Action::Otherwise { .. }) {
            return Err(self.fatal(&format!("{name}: parameter not set"), 2).await);
        }
        match &parameter.action {
            Action::Plain => put(fields, &value.unwrap_or_default(), quoted),
            Action::Length => {
                let count = if several { self.args.len() } else { value.unwrap_or_default().chars().count() };
                put(fields, &count.to_string(), quoted);
            }
            Action::Otherwise { kind, or_empty, word } => {
                let missing = unset || (*or_empty && value.as_deref() == Some(""));
                return self.otherwise(name, *kind, missing, value, word, (quoted, fields)).await;
            }
            Action::Trim { suffix, longest, pattern } => {
                let pattern = self.marked(pattern).await?;
                let trimmed = pattern::trim(&value.unwrap_or_default(), &pattern, *suffix, *longest);
                put(fields, &trimmed, quoted);
            }
            Action::Replace { all, pattern, by } => {
                let (pattern, by) = (self.marked(pattern).await?, self.text(by).await?);
                put(fields, &pattern::replace(&value.unwrap_or_default(), &pattern, &by, *all), quoted);
            }
            Action::Part { offset, length } => {
                let offset = self.number_of(offset).await?;
                let length = match length {
                    Some(length) => Some(self.number_of(length).await?),
                    None => None,
                };
                put(fields, &part(&value.unwrap_or_default(), offset, length), quoted);
            }
        }
        Ok(())
    }

    /// `${x:-…}` and its siblings.
    async fn otherwise(
        &mut self,
        name: &str,
        kind: char,
        missing: bool,
        value: Option<String>,
        word: &Word,
        (quoted, fields): (bool, &mut Fields),
    ) -> Result<(), Flow> {
        match (kind, missing) {
            ('+', true) => {}
            ('+', false) | ('-', true) => {
                if fields.separators.is_some() && !quoted {
                    // Text from inside of the braces is split as the result of an expansion is.
                    for piece in word {
                        match piece {
                            Piece::Bare(text) => fields.split(text),
                            piece => self.expand(piece, false, fields).await?,
                        }
                    }
                } else {
                    let text = self.text(word).await?;
                    fields.keep(&text, quoted);
                }
            }
            ('=', true) => {
                let text = self.text(word).await?;
                self.assign(name, text.clone()).await?;
                put(fields, &text, quoted);
            }
            ('?', true) => {
                let words = self.text(word).await?;
                let words = if words.is_empty() { "parameter not set".to_owned() } else { words };
                return Err(self.fatal(&format!("{name}: {words}"), 2).await);
            }
            _ => put(fields, &value.unwrap_or_default(), quoted),
        }
        Ok(())
    }
}

fn put(fields: &mut Fields, text: &str, quoted: bool) {
    if quoted {
        fields.keep(text, true);
    } else {
        fields.split(text);
    }
}

fn part(value: &str, offset: i64, length: Option<i64>) -> String {
    let count = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    let from = if offset < 0 { (count + offset).max(0) } else { offset.min(count) };
    let to = match length {
        None => count,
        Some(length) if length < 0 => (count + length).max(from),
        Some(length) => from.saturating_add(length).min(count),
    };
    let number = |value: i64| usize::try_from(value).unwrap_or(0);
    value.chars().skip(number(from)).take(number(to - from)).collect()
}

impl Variables for Shell {
    fn get(&self, name: &str) -> Option<String> {
        Shell::get(self, name)
    }

    fn set(&mut self, name: &str, value: String) {
        self.set_variable(name, value);
    }
}

//! `$((…))`: whole numbers as in C.

/// Variables, as expressions see them.
pub trait Variables {
    fn get(&self, name: &str) -> Option<String>;
    fn set(&mut self, name: &str, value: String);
}

struct Reader<'a, V> {
    text: &'a [u8],
    at: usize,
    variables: &'a mut V,
    /// Not zero: what is read is not carried out.
    skipping: usize,
    depth: usize,
}

/// The value of an expression.
pub fn evaluate(text: &str, variables: &mut impl Variables) -> Result<i64, String> {
    nested(text, variables, 0)
}

fn nested(text: &str, variables: &mut impl Variables, depth: usize) -> Result<i64, String> {
    let mut reader = Reader { text: text.as_bytes(), at: 0, variables, skipping: 0, depth };
    reader.blanks();
    if reader.at == text.len() {
        return Ok(0);
    }
    let value = reader.comma()?;
    reader.blanks();
    if reader.at < text.len() { Err("arithmetic syntax error".to_owned()) } else { Ok(value) }
}

/// Binary operators, the weakest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];
const ASSIGNMENTS: [&str; 11] = ["=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "|=", "^="];
const DEPTH_MAX: usize = 64;

impl<V: Variables> Reader<'_, V> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn starts(&self, text: &str) -> bool {
        self.text[self.at..].starts_with(text.as_bytes())
    }

    fn eat(&mut self, text: &str) -> bool {
        self.blanks();
        let found = self.starts(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn comma(&mut self) -> Result<i64, String> {
        let mut value = self.assignment()?;
        while self.eat(",") {
            value = self.assignment()?;
        }
        Ok(value)
    }

    fn name(&mut self) -> Option<String> {
        self.blanks();
        let rest = &self.text[self.at..];
        if !rest.first().is_some_and(|c| *c == b'_' || c.is_ascii_alphabetic()) {
            return None;
        }
        let length = rest.iter().take_while(|c| **c == b'_' || c.is_ascii_alphanumeric()).count();
        self.at += length;
        Some(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn assignment(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("arithmetic: expression recursion loop detected".to_owned());
        }
        let value = self.assignment_or_choice();
        self.depth -= 1;
        value
    }

    fn assignment_or_choice(&mut self) -> Result<i64, String> {
        let began = self.at;
        if let Some(name) = self.name() {
            self.blanks();
            let found = ASSIGNMENTS.iter().find(|operator| self.starts(operator));
            if let Some(operator) = found.filter(|operator| **operator != "=" || !self.starts("==")) {
                self.at += operator.len();
                let right = self.assignment()?;
                let value = match operator.strip_suffix('=') {
                    None | Some("") => right,
                    Some(operator) => {
                        let left = self.variable(&name)?;
                        self.apply(operator, left, right)?
                    }
                };
                self.assign(&name, value);
                return Ok(value);
            }
        }
        self.at = began;
        self.choice()
    }

    fn assign(&mut self, name: &str, value: i64) {
        if self.skipping == 0 {
            self.variables.set(name, value.to_string());
        }
    }

    fn choice(&mut self) -> Result<i64, String> {
        let condition = self.level(0)?;
        if !self.eat("?") {
            return Ok(condition);
        }
        let taken = condition != 0;
        let yes = self.only_if(taken, Self::comma)?;
        if !self.eat(":") {
            return Err("arithmetic syntax error".to_owned());
        }
        let no = self.only_if(!taken, Self::assignment)?;
        Ok(if taken { yes } else { no })
    }

    fn only_if(&mut self, taken: bool, read: fn(&mut Self) -> Result<i64, String>) -> Result<i64, String> {
        self.skipping += usize::from(!taken);
        let value = read(self);
        self.skipping -= usize::from(!taken);
        value
    }

    fn operator(&mut self, level: usize) -> Option<&'static str> {
        self.blanks();
        let found = LEVELS[level].iter().find(|operator| self.starts(operator))?;
        let next = self.text.get(self.at + found.len()).copied().unwrap_or(b' ');
        let longer = match *found {
            "|" | "&" => next == found.as_bytes()[0] || next == b'=',
            "<" | ">" => next == found.as_bytes()[0],
            "^" | "+" | "-" | "*" | "/" | "%" | "<<" | ">>" => next == b'=',
            _ => false,
        };
        (!longer).then(|| {
            self.at += found.len();
            *found
        })
    }

    fn level(&mut self, level: usize) -> Result<i64, String> {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(level) {
            let needed = match operator {
                "&&" => left != 0,
                "||" => left == 0,
                _ => true,
            };
            self.skipping += usize::from(!needed);
            let right = self.level(level + 1);
            self.skipping -= usize::from(!needed);
            left = self.apply(operator, left, right?)?;
        }
        Ok(left)
    }

    fn apply(&self, operator: &str, left: i64, right: i64) -> Result<i64, String> {
        let shift = || u32::try_from(right & 63).unwrap_or(0);
        Ok(match operator {
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            "/" | "%" if right == 0 => {
                if self.skipping > 0 {
                    return Ok(0);
                }
                return Err("divide by zero".to_owned());
            }
            "/" => left.wrapping_div(right),
            "%" => left.wrapping_rem(right),
            "<<" => left.wrapping_shl(shift()),
            ">>" => left.wrapping_shr(shift()),
            "&" => left & right,
            "|" => left | right,
            "^" => left ^ right,
            "==" => i64::from(left == right),
            "!=" => i64::from(left != right),
            "<" => i64::from(left < right),
            ">" => i64::from(left > right),
            "<=" => i64::from(left <= right),
            ">=" => i64::from(left >= right),
            "&&" => i64::from(left != 0 && right != 0),
            _ => i64::from(left != 0 || right != 0),
        })
    }

    fn unary(&mut self) -> Result<i64, String> {
        for operator in ["++", "--"] {
            let began = self.at;
            if self.eat(operator) {
                if let Some(name) = self.name() {
                    let value = self.variable(&name)?.wrapping_add(if operator == "++" { 1 } else { -1 });
                    self.assign(&name, value);
                    return Ok(value);
                }
                self.at = began;
            }
        }
        if self.eat("-") {
            Ok(self.unary()?.wrapping_neg())
        } else if self.eat("+") {
            self.unary()
        } else if self.eat("~") {
            Ok(!self.unary()?)
        } else if self.eat("!") {
            Ok(i64::from(self.unary()? == 0))
        } else {
            self.primary()
        }
    }

    fn primary(&mut self) -> Result<i64, String> {
        if self.eat("(") {
            let value = self.assignment()?;
            return if self.eat(")") { Ok(value) } else { Err("arithmetic: missing ')'".to_owned()) };
        }
        if let Some(name) = self.name() {
            let value = self.variable(&name)?;
            for (operator, by) in [("++", 1), ("--", -1)] {
                if self.eat(operator) {
                    self.assign(&name, value.wrapping_add(by));
                }
            }
            return Ok(value);
        }
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'#').count();
        self.at += length;
        number(&String::from_utf8_lossy(&rest[..length])).ok_or_else(|| "arithmetic syntax error".to_owned())
    }

    fn variable(&mut self, name: &str) -> Result<i64, String> {
        let text = self.variables.get(name).unwrap_or_default();
        match number(text.trim()) {
            Some(value) => Ok(value),
            None if self.depth >= DEPTH_MAX => Err("arithmetic: expression recursion loop detected".to_owned()),
            None => nested(&text, self.variables, self.depth + 8),
        }
    }
}

fn number(text: &str) -> Option<i64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok();
    }
    if let Some((base, digits)) = text.split_once('#') {
        return i64::from_str_radix(digits, base.parse().ok().filter(|base| (2..=36).contains(base))?).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return i64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

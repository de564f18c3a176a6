//! Reads an expression into its tree.

use kube_cel::cel::Value;

use super::ast::{Binary, Expr, Node};
use super::lexer::{self, Fault, Kind, Token};
use super::macros;
use super::names::RESERVED;

/// How deep brackets and choices may lie in each other.
const NESTING_MAX: usize = 100;
/// How deep the tree may be: it is walked by functions that call themselves.
const DEPTH_MAX: usize = 250;

pub(crate) fn parse(source: &str) -> Result<Expr, Fault> {
    let tokens = lexer::tokens(source)?;
    let mut parser = Parser { tokens, at: 0, nesting: 0 };
    let expr = parser.expr()?;
    match parser.kind() {
        Kind::End => Ok(expr),
        _ => Err(parser.unexpected("<EOF>")),
    }
}

pub(crate) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    nesting: usize,
}

impl Parser {
    fn kind(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&Kind::End, |token| &token.kind)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let there = matches!(self.kind(), Kind::Symbol(found) if *found == symbol);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Fault> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.kind() {
            Kind::Ident(name) | Kind::Quoted(name) => name.clone(),
            Kind::Literal(Value::String(text)) => format!("\"{text}\""),
            Kind::Literal(value) => super::value::shown(value),
            Kind::MinInt => "9223372036854775808".to_owned(),
            Kind::Symbol(symbol) => (*symbol).to_owned(),
            Kind::End => "<EOF>".to_owned(),
        };
        (self.place(), format!("Syntax error: mismatched input '{found}' expecting {wanted}"))
    }

    fn node(&self, at: usize, node: Node) -> Result<Expr, Fault> {
        let expr = Expr::new(at, node);
        if expr.depth > DEPTH_MAX {
            return Err((at, format!("expression recursion limit exceeded: {DEPTH_MAX}")));
        }
        Ok(expr)
    }

    fn expr(&mut self) -> Result<Expr, Fault> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err((self.place(), format!("expression recursion limit exceeded: {NESTING_MAX}")));
        }
        let condition = self.or()?;
        let at = self.place();
        let expr = if self.eat("?") {
            let then = self.or()?;
            self.expect(":")?;
            let otherwise = self.expr()?;
            self.node(at, Node::Conditional(Box::new([condition, then, otherwise])))?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(expr)
    }

    fn or(&mut self) -> Result<Expr, Fault> {
        let first = self.and()?;
        let at = self.place();
        let mut terms = vec![first];
        while self.eat("||") {
            terms.push(self.and()?);
        }
        self.chain(at, terms, Node::Or)
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        let first = self.relation()?;
        let at = self.place();
        let mut terms = vec![first];
        while self.eat("&&") {
            terms.push(self.relation()?);
        }
        self.chain(at, terms, Node::And)
    }

    fn chain(&self, at: usize, mut terms: Vec<Expr>, whole: fn(Vec<Expr>) -> Node) -> Result<Expr, Fault> {
        match terms.len() {
            1 => terms.pop().ok_or((at, "Syntax error: nothing here".to_owned())),
            _ => self.node(at, whole(terms)),
        }
    }

    fn relation(&mut self) -> Result<Expr, Fault> {
        const RELATIONS: [(&str, Binary); 7] = [
            ("<", Binary::Less),
            ("<=", Binary::LessEqual),
            (">", Binary::Greater),
            (">=", Binary::GreaterEqual),
            ("==", Binary::Equal),
            ("!=", Binary::NotEqual),
            ("in", Binary::In),
        ];
        self.binary(&RELATIONS, Self::sum)
    }

    fn sum(&mut self) -> Result<Expr, Fault> {
        self.binary(&[("+", Binary::Add), ("-", Binary::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expr, Fault> {
        self.binary(&[("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Modulo)], Self::unary)
    }

    fn binary(
        &mut self,
        operators: &[(&str, Binary)],
        side: fn(&mut Self) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        let mut left = side(self)?;
        loop {
            let at = self.place();
            let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.eat(symbol)) else { return Ok(left) };
            let right = side(self)?;
            left = self.node(at, Node::Binary(*operator, Box::new([left, right])))?;
        }
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        let at = self.place();
        let mut signs = 0;
        if self.eat("!") {
            signs += 1;
            while self.eat("!") {
                signs += 1;
            }
            let of = self.member()?;
            return if signs % 2 == 0 { Ok(of) } else { self.node(at, Node::Not(Box::new(of))) };
        }
        while self.eat("-") {
            signs += 1;
        }
        if signs == 0 {
            return self.member();
        }
        if signs % 2 == 1 && *self.kind() == Kind::MinInt {
            self.at += 1;
            let number = self.node(at, Node::Literal(Value::Int(i64::MIN)))?;
            return self.members(number);
        }
        let of = self.member()?;
        if signs % 2 == 0 {
            return Ok(of);
        }
        match of.node {
            Node::Literal(Value::Int(number)) => self.node(at, Node::Literal(Value::Int(-number))),
            Node::Literal(Value::Float(number)) => self.node(at, Node::Literal(Value::Float(-number))),
            _ => self.node(at, Node::Negate(Box::new(of))),
        }
    }

    fn member(&mut self) -> Result<Expr, Fault> {
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut of: Expr) -> Result<Expr, Fault> {
        loop {
            let at = self.place();
            if self.eat(".") {
                let optional = self.eat("?");
                let (field, quoted) = self.field()?;
                // A call is where its parenthesis is.
                let open = self.place();
                of = if !quoted && !optional && self.eat("(") {
                    let args = self.arguments(")")?;
                    let node = macros::member(open, of, field, args)?;
                    self.node(open, node)?
                } else {
                    self.node(at, Node::Select { of: Box::new(of), field, optional })?
                };
            } else if self.eat("[") {
                let optional = self.eat("?");
                let key = self.expr()?;
                self.expect("]")?;
                of = self.node(at, Node::Index { of: Box::new(of), at: Box::new(key), optional })?;
            } else if matches!(self.kind(), Kind::Symbol("{")) && of.dotted().is_some() {
                self.at += 1;
                let name = of.dotted().unwrap_or_default();
                let fields = self.fields()?;
                of = self.node(at, Node::Struct(name, fields))?;
            } else {
                return Ok(of);
            }
        }
    }

    /// The name of a field and whether it stood in backticks.
    fn field(&mut self) -> Result<(String, bool), Fault> {
        let field = match self.kind() {
            Kind::Ident(name) => (name.clone(), false),
            Kind::Quoted(name) => (name.clone(), true),
            _ => return Err(self.unexpected("IDENTIFIER")),
        };
        self.at += 1;
        Ok(field)
    }

    fn arguments(&mut self, end: &str) -> Result<Vec<Expr>, Fault> {
        let mut out = Vec::new();
        while !self.eat(end) {
            if !out.is_empty() && matches!(self.kind(), Kind::End) {
                return Err((self.place(), format!("Syntax error: missing '{end}' at '<EOF>'")));
            }
            if !out.is_empty() {
                self.expect(",")?;
            }
            out.push(self.expr()?);
        }
        Ok(out)
    }

    fn fields(&mut self) -> Result<Vec<(bool, String, Expr)>, Fault> {
        let mut out = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let (name, _) = self.field()?;
            self.expect(":")?;
            out.push((optional, name, self.expr()?));
            if !self.eat(",") && !matches!(self.kind(), Kind::Symbol("}")) {
                return Err(self.unexpected("{'}', ','}"));
            }
        }
        Ok(out)
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        let at = self.place();
        match self.kind().clone() {
            Kind::Literal(value) => {
                self.at += 1;
                self.node(at, Node::Literal(value))
            }
            Kind::Ident(name) => {
                self.at += 1;
                let open = self.place();
                if self.eat("(") {
                    let args = self.arguments(")")?;
                    let node = macros::global(open, name, args)?;
                    return self.node(open, node);
                }
                if RESERVED.contains(&name.as_str()) {
                    return Err((at, format!("reserved identifier: {name}")));
                }
                self.node(at, Node::Ident(name))
            }
            Kind::Symbol("(") => {
                self.at += 1;
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Kind::Symbol("[") => {
                self.at += 1;
                self.list(at)
            }
            Kind::Symbol("{") => {
                self.at += 1;
                self.map(at)
            }
            // A leading dot means the root: there is only one.
            Kind::Symbol(".") if matches!(self.tokens.get(self.at + 1).map(|next| &next.kind), Some(Kind::Ident(_))) => {
                self.at += 1;
                self.primary()
            }
            _ => Err(self.unexpected("{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}")),
        }
    }

    fn list(&mut self, at: usize) -> Result<Expr, Fault> {
        let mut entries = Vec::new();
        while !self.eat("]") {
            let optional = self.eat("?");
            entries.push((optional, self.expr()?));
            if !self.eat(",") && !matches!(self.kind(), Kind::Symbol("]")) {
                return Err(self.unexpected("{']', ','}"));
            }
        }
        self.node(at, Node::List(entries))
    }

    fn map(&mut self, at: usize) -> Result<Expr, Fault> {
        let mut entries = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let key = self.expr()?;
            self.expect(":")?;
            entries.push((optional, key, self.expr()?));
            if !self.eat(",") && !matches!(self.kind(), Kind::Symbol("}")) {
                return Err(self.unexpected("{'}', ','}"));
            }
        }
        self.node(at, Node::Map(entries))
    }
}

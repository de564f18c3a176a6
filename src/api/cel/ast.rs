//! The tree of an expression, macros already recognised.

use kube_cel::cel::Value;

/// A node and where it begins in the source, in characters.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub at: usize,
    /// How many nodes lie on the longest way down.
    pub depth: usize,
    pub node: Node,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Literal(Value),
    Ident(String),
    /// `a.b`, `a.?b`
    Select {
        of: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(a.b)`
    Has {
        of: Box<Expr>,
        field: String,
    },
    /// `a[b]`, `a[?b]`
    Index {
        of: Box<Expr>,
        at: Box<Expr>,
        optional: bool,
    },
    /// Entries and whether each is optional.
    List(Vec<(bool, Expr)>),
    Map(Vec<(bool, Expr, Expr)>),
    /// `Object.spec{replicas: 1}`
    Struct(String, Vec<(bool, String, Expr)>),
    Call {
        function: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// Condition, then, else.
    Conditional(Box<[Expr; 3]>),
    Binary(Binary, Box<[Expr; 2]>),
    Fold(Box<Fold>),
    /// `cel.bind(name, value, body)`
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
}

/// An operator of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Binary {
    /// The name that error messages give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Less => "_<_",
            Self::LessEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterEqual => "_>=_",
            Self::Equal => "_==_",
            Self::NotEqual => "_!=_",
            Self::In => "@in",
            Self::Add => "_+_",
            Self::Subtract => "_-_",
            Self::Multiply => "_*_",
            Self::Divide => "_/_",
            Self::Modulo => "_%_",
        }
    }
}

/// A macro that goes over a list, a map or an optional value.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub shape: Shape,
    pub range: Expr,
    pub first: String,
    /// The second variable of those macros that have two.
    pub second: Option<String>,
    pub filter: Option<Expr>,
    pub body: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    TransformMap,
    TransformMapEntry,
    SortBy,
    OptMap,
    OptFlatMap,
}

impl Expr {
    pub fn new(at: usize, node: Node) -> Self {
        let mut depth = 0;
        node.each_child(&mut |child| depth = depth.max(child.depth));
        Self { at, depth: depth + 1, node }
    }

    /// `a.b.c`, if the node is such a name.
    pub fn dotted(&self) -> Option<String> {
        match &self.node {
            Node::Ident(name) => Some(name.clone()),
            Node::Select { of, field, optional: false } => Some(format!("{}.{field}", of.dotted()?)),
            _ => None,
        }
    }
}

impl Node {
    /// Calls `visit` for every node right below.
    pub fn each_child<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Literal(_) | Self::Ident(_) => {}
            Self::Select { of, .. } | Self::Has { of, .. } => visit(of),
            Self::Index { of, at, .. } => [of, at].into_iter().for_each(|child| visit(child)),
            Self::List(entries) => entries.iter().for_each(|(_, entry)| visit(entry)),
            Self::Map(entries) => entries.iter().for_each(|(_, key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Struct(_, fields) => fields.iter().for_each(|(_, _, value)| visit(value)),
            Self::Call { target, args, .. } => {
                target.iter().for_each(|target| visit(target));
                args.iter().for_each(visit);
            }
            Self::And(terms) | Self::Or(terms) => terms.iter().for_each(visit),
            Self::Not(of) | Self::Negate(of) => visit(of),
            Self::Conditional(parts) => parts.iter().for_each(visit),
            Self::Binary(_, sides) => sides.iter().for_each(visit),
            Self::Fold(fold) => {
                visit(&fold.range);
                fold.filter.iter().for_each(&mut *visit);
                visit(&fold.body);
            }
            Self::Bind { value, body, .. } => [value, body].into_iter().for_each(|child| visit(child)),
        }
    }
}

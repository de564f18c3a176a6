//! The types of a kind's fields, for expressions.

use std::sync::Arc;

use crate::cel::{ObjectType, Type};
use crate::schema::{Definition, Schema};

/// Deeper fields are of any type: some definitions contain themselves.
const DEPTH: usize = 12;

/// The type of a kind's objects.
pub fn type_of(definition: &Definition) -> Type {
    object(definition, DEPTH)
}

fn object(definition: &Definition, depth: usize) -> Type {
    if depth == 0 || definition.open {
        return Type::Dyn;
    }
    let fields = definition.fields.iter();
    let fields = fields.map(|field| (field.name.clone().into_owned(), value(&field.schema, depth - 1))).collect();
    Type::Object(Arc::new(ObjectType { name: definition.name.clone().into_owned(), fields }))
}

fn value(schema: &Schema, depth: usize) -> Type {
    match schema {
        Schema::String | Schema::Quantity | Schema::Duration => Type::text(),
        Schema::Bytes => Type::Bytes,
        Schema::Bool => Type::Bool,
        Schema::Int32 | Schema::Int64 => Type::Int,
        Schema::Number => Type::Double,
        Schema::Time | Schema::MicroTime => Type::Timestamp,
        Schema::Ref(_) | Schema::Inline(_) => {
            schema.definition().map_or(Type::Dyn, |definition| object(definition, depth))
        }
        Schema::List(list) => Type::List(Arc::new(value(&list.items, depth)), u64::MAX),
        Schema::Map(values, _) => Type::Map(Arc::new(Type::text()), Arc::new(value(values, depth)), u64::MAX),
        Schema::IntOrString | Schema::Any | Schema::Open | Schema::FieldSet | Schema::SchemaOr(_) => Type::Dyn,
    }
}

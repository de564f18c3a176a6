//! Where in an object a patch is: what the schema says about the values under it.

use crate::schema::{Definition, Schema};

/// What is known of a map's values.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Nothing,
    Fields(&'a Definition),
    Values(&'a Schema),
}

/// What is known of one value.
#[derive(Clone, Copy, Default)]
pub(super) struct Spot<'a> {
    pub schema: Option<&'a Schema>,
    /// Lists are merged.
    pub merge: bool,
    /// Objects are cut to the keys that the patch names.
    pub retain: bool,
    /// How list entries are known; empty for scalars.
    pub key: &'a str,
}

impl<'a> Place<'a> {
    pub fn spot(self, name: &str) -> Spot<'a> {
        match self {
            Self::Nothing => Spot::default(),
            Self::Values(schema) => Spot { schema: Some(schema), ..Spot::default() },
            Self::Fields(definition) => definition.field(name).map_or_else(Spot::default, |field| Spot {
                schema: Some(&field.schema),
                merge: field.patch_merge,
                retain: field.retain_keys,
                key: &field.merge_key,
            }),
        }
    }
    fn of(schema: Option<&'a Schema>) -> Self {
        let Some(schema) = schema else { return Self::Nothing };
        if let Some(definition) = schema.definition() {
            return Self::Fields(definition);
        }
        schema.values().map_or(Self::Nothing, Self::Values)
    }
}

impl<'a> Spot<'a> {
    /// The place inside, when a map stands here.
    pub fn inside(self) -> Place<'a> {
        Place::of(self.schema)
    }
    /// The place inside each entry, when a list of maps stands here.
    pub fn entries(self) -> Place<'a> {
        Place::of(self.schema.and_then(Schema::list).map(|list| &list.items))
    }
}

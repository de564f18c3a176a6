//! The verbs, through the room's door.

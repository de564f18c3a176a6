//! What those who change objects leave for their second round: it asks only whom somebody changed the object after.

use objects::Review;
use serde_json::{Value, json};

/// The memory of one rule.
pub(super) struct Memory {
    /// Under which name the first round leaves word for the second.
    name: &'static str,
    /// Those that had their say and want it again when somebody changes the object after them.
    earlier: Vec<String>,
    /// Those of them that somebody changed the object after.
    due: Vec<String>,
}

impl Memory {
    /// What the rule of that name knows at the beginning of a round.
    pub fn of(review: &Review<'_>, name: &'static str) -> Self {
        let kept = review.rounds.memory.get(name).unwrap_or(&Value::Null);
        let list = |field: &str| {
            let list = kept.get(field).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut memory = Self { name, earlier: list("earlier"), due: list("due") };
        if review.rounds.again && kept.get("output") != Some(&review.object) {
            memory.changed();
        }
        memory
    }

    /// Somebody changed the object.
    pub fn changed(&mut self) {
        self.due.append(&mut self.earlier);
    }

    /// One that wants to be asked again had its say.
    pub fn had_its_say(&mut self, id: String) {
        self.earlier.push(id);
    }

    /// Whether one is to be asked in this round.
    pub fn is_due(&self, review: &Review<'_>, id: &str) -> bool {
        !review.rounds.again || self.due.iter().any(|due| due == id)
    }

    /// Leaves word for the next round.
    pub fn keep(self, review: &mut Review<'_>) {
        let kept = json!({ "earlier": self.earlier, "due": self.due, "output": review.object });
        review.rounds.memory.insert(self.name.to_owned(), kept);
    }
}

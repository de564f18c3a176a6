//! Where in a body a decoder is, printed as Kubernetes prints it.

use std::fmt;

/// `spec.containers[0].name`
#[derive(Default)]
pub(super) struct Path(Vec<Step>);

enum Step {
    Name(String),
    Index(usize),
}

impl Path {
    pub fn push(&mut self, name: &str) {
        self.0.push(Step::Name(name.to_owned()));
    }
    /// Enters a list at its first entry.
    pub fn push_index(&mut self) {
        self.0.push(Step::Index(0));
    }
    /// The next entry of the list that was entered last.
    pub fn advance(&mut self) {
        if let Some(Step::Index(at)) = self.0.last_mut() {
            *at += 1;
        }
    }
    pub fn pop(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if number == 0 => out.write_str(name)?,
                Step::Name(name) => write!(out, ".{name}")?,
                Step::Index(at) => write!(out, "[{at}]")?,
            }
        }
        Ok(())
    }
}

//! Work that is put off until somebody needs what comes of it.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Makes what lies somewhere. It is called before each use and does its work once. Cheap to clone.
#[derive(Clone)]
pub struct Making(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl Making {
    /// `make` has to be quick where everything is made already; it may block for a moment.
    pub fn new(make: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// Makes it, unless it is made.
    ///
    /// # Errors
    /// What kept it from being made; the next call tries again.
    pub fn make(&self) -> io::Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for Making {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Making(…)")
    }
}

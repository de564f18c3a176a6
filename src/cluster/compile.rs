//! From an image to a program: out of the cache, or compiled where it can do no harm.
//!
//! Small components are compiled on a thread of this process: their bounds keep that short. Larger ones are compiled in a
//! process of their own, the same binary, which is ended when it takes too long, takes too much memory, or nobody waits for it
//! any more. A compiler that falls over takes nobody with it.

use std::path::PathBuf;

use images::{ArtifactError, Artifacts, Order, Resolved, Work};
use node::PrepareError;
use runtime::{Form, LoadError, Program, Runtime};

mod child;

pub use child::{COMPILE_VERB, compile_component};

/// Components up to this size are compiled in this process.
const HERE_BYTES_MAX: usize = 1 << 20;

/// Makes programs.
pub(crate) struct Programs {
    pub runtime: Runtime,
    pub artifacts: Artifacts,
    /// The binary to compile with, where there is one that knows [`COMPILE_VERB`].
    pub compiler: Option<PathBuf>,
}

impl Programs {
    /// Compiles when nobody has before, and maps the result.
    pub async fn get(&self, image: &Resolved, form: node::Form, owner: &str) -> Result<Program, PrepareError> {
        let form = Form { fuel: form.fuel };
        let path = self.artifact(image, form, owner).await?;
        match self.runtime.load(&path, form) {
            Err(LoadError::Artifact(why)) => {
                // Whole, and yet nothing that the engine takes: made by another build, say.
                tracing::warn!(file = %path.display(), why, "a compiled component cannot be used and is made again");
                self.artifacts.discard(&path);
                let path = self.artifact(image, form, owner).await?;
                self.runtime.load(&path, form)
            }
            loaded => loaded,
        }
        .map_err(|error| PrepareError::Unfit(base::report(&error)))
    }

    async fn artifact(&self, image: &Resolved, form: Form, owner: &str) -> Result<PathBuf, PrepareError> {
        let failed = |error: &dyn std::error::Error| PrepareError::Failed(base::report(error));
        let engine_key = self.runtime.engine_key(form).map_err(|error| failed(&error))?;
        let order = Order {
            component: &image.component,
            source: &image.path,
            form: if form.fuel { "fuel" } else { "plain" },
            engine_key: &engine_key,
            owner,
        };
        if let Some(found) = self.artifacts.find(&order) {
            return Ok(found);
        }
        let (runtime, compiler) = (self.runtime.clone(), self.compiler.clone());
        let compiled = self.artifacts.get_or_compile(order, move |work| compile(&runtime, compiler, form, work)).await;
        compiled.map_err(|error| match error {
            ArtifactError::Compile(_) | ArtifactError::TooComplex(_) => PrepareError::Unfit(error.to_string()),
            other => failed(&other),
        })
    }
}

fn compile(runtime: &Runtime, compiler: Option<PathBuf>, form: Form, work: &Work) -> Result<Vec<u8>, ArtifactError> {
    match compiler {
        Some(compiler) if work.bytes.len() > HERE_BYTES_MAX => child::compile(&compiler, form, work),
        _ => runtime.compile(&work.bytes, form).map_err(|error| ArtifactError::Compile(base::report(&error))),
    }
}

//! From an image to a program: out of the cache, or compiled where it can do no harm.
//!
//! Small and simple components are compiled on a thread of this process, which does not take long. Others are compiled in a
//! process of their own, the same binary, which is ended when it takes too long, takes too much memory, or nobody waits for it
//! any more. A compiler that falls over takes nobody with it.
//!
//! A large component that serves requests starts from a draft, which Winch makes in a fraction of the time that Cranelift takes;
//! what Cranelift makes meanwhile takes its place for the requests that follow ([`Programs::improve`]). Commands get no draft,
//! as they would stay with it to their end, nor does what counts fuel, as it would count otherwise.

use std::path::PathBuf;

use images::{ArtifactError, Artifacts, DRAFT, Order, Resolved, Work};
use node::PrepareError;
use runtime::{Form, LoadError, Program, Runtime, Server};

mod child;

pub use child::{COMPILE_VERB, compile_component};

/// Components from this size on are worth a draft.
const DRAFT_BYTES_MIN: u64 = 2 << 20;

/// Makes programs.
pub(crate) struct Programs {
    pub runtime: Runtime,
    pub artifacts: Artifacts,
    /// The binary to compile with, where there is one that knows [`COMPILE_VERB`].
    pub compiler: Option<PathBuf>,
}

impl Programs {
    /// The program to start with: a draft where that is there much sooner.
    pub async fn first(&self, image: &Resolved, form: node::Form, owner: &str) -> Result<Program, PrepareError> {
        match self.draft(image, form, owner).await {
            Some(draft) => Ok(draft),
            None => self.get(image, form, owner).await,
        }
    }

    /// Puts the best program in the place of the draft that a server began with, as soon as there is one.
    pub async fn improve(&self, server: &Server, image: &Resolved, owner: &str) {
        match self.get(image, node::Form { fuel: false }, owner).await {
            Ok(program) => {
                server.replace(&program);
                if let Some(path) =
                    self.draft_key().and_then(|key| self.artifacts.find(&draft_order(image, &key, owner)))
                {
                    self.artifacts.discard(&path);
                }
            }
            Err(error) => tracing::warn!(%error, image = image.reference, "a server goes on with its draft"),
        }
    }

    fn draft_key(&self) -> Option<String> {
        self.compiler.as_ref()?;
        self.runtime.draft_key()
    }

    /// A draft, unless there is better, or none is to be had.
    async fn draft(&self, image: &Resolved, form: node::Form, owner: &str) -> Option<Program> {
        if form.fuel || image.size < DRAFT_BYTES_MIN {
            return None;
        }
        let (key, compiler) = (self.draft_key()?, self.compiler.clone()?);
        let engine_key = self.runtime.engine_key(Form { fuel: false }).ok()?;
        if self.artifacts.find(&Order { form: "plain", ..draft_order(image, &engine_key, owner) }).is_some() {
            return None;
        }
        let made = self.artifacts.get_or_compile(draft_order(image, &key, owner), move |work| {
            let serves = images::exports(&work.bytes).iter().any(|name| {
                world::is_version_of(name, world::HTTP_EXPORT, world::WASI_LINE)
                    || world::is_version_of(name, world::HTTP_EXPORT_NEXT, world::WASI_LINE_NEXT)
            });
            if serves {
                child::compile(&compiler, DRAFT, work)
            } else {
                Err(ArtifactError::Compile("only what serves gets a draft".to_owned()))
            }
        });
        let path = made.await.map_err(|why| tracing::debug!(%why, image = image.reference, "no draft")).ok()?;
        let loaded = self.runtime.load_draft(&path);
        loaded.map_err(|_| self.artifacts.discard(&path)).ok()
    }

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
            form: word(form),
            engine_key: &engine_key,
            owner,
        };
        if let Some(found) = self.artifacts.find(&order) {
            return Ok(found);
        }
        let (runtime, compiler) = (self.runtime.clone(), self.compiler.clone());
        let compiled = self.artifacts.get_or_compile(order, move |work| compile(&runtime, compiler, form, work)).await;
        compiled.map_err(|error| match error {
            ArtifactError::TooComplex(_) => PrepareError::TooComplex(error.to_string()),
            ArtifactError::Compile(_) => PrepareError::Unfit(error.to_string()),
            other => failed(&other),
        })
    }
}

fn word(form: Form) -> &'static str {
    if form.fuel { "fuel" } else { "plain" }
}

fn draft_order<'a>(image: &'a Resolved, engine_key: &'a str, owner: &'a str) -> Order<'a> {
    Order { component: &image.component, source: &image.path, form: DRAFT, engine_key, owner }
}

fn compile(runtime: &Runtime, compiler: Option<PathBuf>, form: Form, work: &Work) -> Result<Vec<u8>, ArtifactError> {
    match compiler {
        Some(compiler) if !work.is_simple => child::compile(&compiler, word(form), work),
        _ => runtime.compile(&work.bytes, form).map_err(|error| ArtifactError::Compile(base::report(&error))),
    }
}

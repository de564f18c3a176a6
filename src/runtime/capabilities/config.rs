//! `wasi:config`: what the ConfigMaps and Secrets say that the pod spec names, as it was when the container started.

use wasmtime::component::Linker;

use super::{Capability, Grant};
use crate::guest::{Guest, Own};

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/config.wit", "../../wit/deps/config-draft.wit"],
        inline: "
            package coracle:host;
            world host {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:config/runtime@0.2.0-draft;
            }
        ",
        imports: { default: trappable },
    });
}

use bindings::wasi::config0_2_0_draft::runtime;
use bindings::wasi::config0_2_0_rc_1::store;

pub(super) const ROW: Capability = Capability {
    name: "config",
    interfaces: &["wasi:config/"],
    grant: Grant::Asked {
        granted: |grants| grants.config.is_some(),
        annotation: "coracle.dev/config: \"configmap/NAME\"",
    },
    link,
    link_next: None,
};

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    runtime::add_to_linker::<Guest, Own>(linker, |guest| guest)
}

impl Guest {
    fn config(&self) -> &[(String, String)] {
        self.hooks.container.spec.grants.config.as_deref().unwrap_or_default()
    }

    fn config_of(&self, key: &str) -> Option<String> {
        self.config().iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }
}

impl store::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        Ok(Ok(self.config_of(&key)))
    }
    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.config().to_vec()))
    }
}

impl runtime::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, runtime::ConfigError>> {
        Ok(Ok(self.config_of(&key)))
    }
    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, runtime::ConfigError>> {
        Ok(Ok(self.config().to_vec()))
    }
}

//! One file a verb.

pub mod apply;
pub mod completion;
pub mod delete;
pub mod describe;
pub mod get;
pub mod images;
pub mod kubeconfig;
pub mod logs;
pub mod port_forward;
pub mod push;
pub mod run;
pub mod scale;
pub mod version;

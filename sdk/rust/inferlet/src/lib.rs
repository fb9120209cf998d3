//! Programs that run beside a language model in Pie.
//!
//! ```ignore
//! #[inferlet::main]
//! async fn main(input: Input) -> inferlet::Result<String> { ... }
//! ```
//!
//! The functions of the engine are under [`pie`], made from `sdk/wit`; the modules beside it are
//! what programs usually need.

pub use inferlet_macros::main;
pub use serde;
pub use serde_json;
pub use wit_bindgen;

wit_bindgen::generate!({
    path: "../../wit",
    world: "pie:inferlet/imports",
    generate_all,
});

pub type Result<T> = std::result::Result<T, String>;

pub mod model {
    pub use crate::pie::core::model::{Model, Tokenizer};
}

pub mod runtime {
    pub use crate::pie::core::runtime::{instance_id, launch, models, username, version, Child};
}

pub mod session {
    pub use crate::pie::core::session::{send, send_file};
}

pub mod chat {
    pub use crate::pie::instruct::chat::*;
}

mod context;
pub mod entry;
pub mod sample;

pub use context::{Context, Generator};

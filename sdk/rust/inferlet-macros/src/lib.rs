//! `#[inferlet::main]`: exports a function as `pie:NAME/run`, with the name of the Pie.toml that
//! lies beside the program's Cargo.toml.

use proc_macro::{TokenStream, TokenTree};
use std::path::Path;

/// The name under [package]; the engine has checked the file's form before it builds.
fn package_name(folder: &str) -> Result<String, String> {
    let path = Path::new(folder).join("Pie.toml");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.starts_with("[package]");
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            if key.trim() == "name" {
                let value = value.trim().trim_start_matches(['"', '\'']);
                return Ok(value.chars().take_while(|c| *c != '"' && *c != '\'').collect());
            }
        }
    }
    Err(format!("{} has no package.name", path.display()))
}

fn fail(message: &str) -> TokenStream {
    format!("compile_error!({message:?});").parse().unwrap()
}

/// For `async fn main(input: T) -> inferlet::Result<U>`. A `String` is passed as it comes;
/// everything else is read from and written as JSON.
#[proc_macro_attribute]
pub fn main(_: TokenStream, item: TokenStream) -> TokenStream {
    let is_async = item
        .clone()
        .into_iter()
        .any(|token| matches!(&token, TokenTree::Ident(word) if word.to_string() == "async"));
    if !is_async {
        return fail("#[inferlet::main] stands before `async fn main(input: T) -> Result<U>`");
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let name = match package_name(&folder) {
        Ok(name) => name,
        Err(message) => return fail(&message),
    };
    let wit = format!(
        "package pie:{name}; interface run {{ run: func(input: string) -> result<string, string>; }} \
         world program {{ export run; }}"
    );
    let export = format!(
        "#[doc(hidden)] mod __inferlet {{
            ::inferlet::wit_bindgen::generate!({{
                inline: {wit:?}, world: \"program\",
                runtime_path: \"::inferlet::wit_bindgen::rt\",
            }});
            struct Program;
            impl exports::pie::{module}::run::Guest for Program {{
                fn run(input: String) -> Result<String, String> {{
                    ::inferlet::entry::call(input, super::main)
                }}
            }}
            export!(Program);
        }}",
        module = name.replace('-', "_"),
    );
    let mut out = item;
    out.extend(export.parse::<TokenStream>().unwrap());
    out
}

use inferlet::{chat, model::Model, runtime, sample::Sampler, Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default)]
struct Input {
    prompt: String,
    system: String,
    max_tokens: usize,
}

impl Default for Input {
    fn default() -> Self {
        Input {
            prompt: "Hello!".into(),
            system: "You are a helpful assistant.".into(),
            max_tokens: 64,
        }
    }
}

#[inferlet::main]
async fn main(input: Input) -> Result<String> {
    let name = runtime::models().into_iter().next().ok_or("there is no model")?;
    let model = Model::load(&name)?;
    let mut context = Context::new(&model)?;
    context.system(&input.system).user(&input.prompt).cue();
    context
        .generate(Sampler::Argmax)
        .max_tokens(input.max_tokens)
        .stop(&chat::stop_tokens(&model))
        .collect_text()
        .await
}

//! A sequence of tokens that grows: turns are collected, then fed with the first pass.

use crate::pie::core::context as wit;
use crate::pie::core::inference::{ForwardPass, SlotOutput};
use crate::{chat, model::Model, sample::Sampler, Result};

pub struct Context<'a> {
    model: &'a Model,
    inner: wit::Context,
    /// Tokens that no pass has seen yet.
    buffer: Vec<u32>,
    /// A system message that waits for the user's turn: some families write them as one.
    system: Option<String>,
    has_turns: bool,
}

impl<'a> Context<'a> {
    pub fn new(model: &'a Model) -> Result<Self> {
        let inner = wit::Context::create(model)?;
        Ok(Context { model, inner, buffer: Vec::new(), system: None, has_turns: false })
    }

    fn append_system(&mut self) {
        if let Some(system) = self.system.take() {
            self.buffer.extend(chat::system(self.model, &system));
            self.has_turns = true;
        }
    }

    pub fn system(&mut self, message: &str) -> &mut Self {
        self.append_system();
        self.system = Some(message.into());
        self
    }

    pub fn user(&mut self, message: &str) -> &mut Self {
        let turn = match self.system.take() {
            Some(system) => chat::system_user(self.model, &system, message),
            None if !self.has_turns => chat::first_user(self.model, message),
            None => chat::user(self.model, message),
        };
        self.has_turns = true;
        self.buffer.extend(turn);
        self
    }

    pub fn assistant(&mut self, message: &str) -> &mut Self {
        self.append_system();
        self.has_turns = true;
        self.buffer.extend(chat::assistant(self.model, message));
        self
    }

    /// Makes the model begin its turn.
    pub fn cue(&mut self) -> &mut Self {
        self.append_system();
        self.buffer.extend(chat::cue(self.model));
        self
    }

    pub fn append(&mut self, tokens: &[u32]) -> &mut Self {
        self.append_system();
        self.buffer.extend(tokens);
        self
    }

    pub fn model(&self) -> &Model {
        self.model
    }

    pub fn inner(&self) -> &wit::Context {
        &self.inner
    }

    pub fn generate<'c>(&'c mut self, sampler: Sampler) -> Generator<'c, 'a> {
        Generator { context: self, sampler, max_tokens: usize::MAX, stop: Vec::new() }
    }

    fn length(&self) -> u32 {
        self.inner.committed_page_count() * self.inner.tokens_per_page()
            + self.inner.working_page_token_count()
    }

    /// Feeds what is buffered and gives the next token.
    fn step(&mut self, sampler: Sampler) -> Result<u32> {
        self.append_system();
        let tokens = std::mem::take(&mut self.buffer);
        let Some(last) = (tokens.len() as u32).checked_sub(1) else {
            return Err("there is no token to go on from".into());
        };
        let page = self.inner.tokens_per_page();
        let used = self.inner.working_page_token_count() + tokens.len() as u32;
        let missing = used.div_ceil(page).saturating_sub(self.inner.working_page_count());
        if missing > 0 {
            self.inner.reserve_working_pages(missing)?;
        }
        let start = self.length();
        let positions: Vec<u32> = (start..start + tokens.len() as u32).collect();
        let pass = ForwardPass::new(self.model);
        pass.context(&self.inner);
        pass.input_tokens(&tokens, &positions);
        pass.sampler(&[last], &sampler.to_wit());
        let future = pass.execute()?;
        future.pollable().block();
        let output = future.get().ok_or("the pass gave no output")?;
        let full = self.inner.working_page_token_count() / page;
        if full > 0 {
            self.inner.commit_working_pages(full)?;
        }
        match output.slots.first() {
            Some(SlotOutput::Token(token)) => Ok(*token),
            _ => Err("the pass gave no token".into()),
        }
    }
}

pub struct Generator<'c, 'a> {
    context: &'c mut Context<'a>,
    sampler: Sampler,
    max_tokens: usize,
    stop: Vec<u32>,
}

impl Generator<'_, '_> {
    pub fn max_tokens(mut self, count: usize) -> Self {
        self.max_tokens = count;
        self
    }

    pub fn stop(mut self, tokens: &[u32]) -> Self {
        self.stop = tokens.to_vec();
        self
    }

    /// Until a stop token, which is left out, or `max_tokens`.
    pub async fn collect_tokens(self) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        while tokens.len() < self.max_tokens {
            let token = self.context.step(self.sampler)?;
            if self.stop.contains(&token) {
                break;
            }
            tokens.push(token);
            self.context.buffer.push(token);
        }
        Ok(tokens)
    }

    pub async fn collect_text(self) -> Result<String> {
        let tokenizer = self.context.model.tokenizer();
        tokenizer.decode(&self.collect_tokens().await?)
    }
}

// Programs that run beside a language model in Pie. The engine's own functions are the modules
// `pie:core/...` and `pie:instruct/...`, as sdk/wit describes them.

import { Context as WitContext } from 'pie:core/context';
import { ForwardPass } from 'pie:core/inference';
import * as chat from 'pie:instruct/chat';

export { Model } from 'pie:core/model';
export * as runtime from 'pie:core/runtime';
export * as session from 'pie:core/session';
export { chat };

// How a row of logits becomes a token.
export const Sampler = {
  argmax: () => ({ tag: 'top-p', val: [0, 1] }),
  topP: (temperature = 0.6, p = 0.95) => ({ tag: 'top-p', val: [temperature, p] }),
  topK: (temperature = 0.6, k = 40) => ({ tag: 'top-k', val: [temperature, k] }),
  minP: (temperature = 0.6, p = 0.1) => ({ tag: 'min-p', val: [temperature, p] }),
  topKTopP: (temperature, k, p) => ({ tag: 'top-k-top-p', val: [temperature, k, p] }),
  multinomial: (temperature = 1, seed = 0) => ({ tag: 'multinomial', val: [temperature, seed] }),
};

// A sequence of tokens that grows: turns are collected, then fed with the first pass.
export class Context {
  #model;
  #inner;
  #buffer = []; // tokens that no pass has seen yet
  #system; // waits for the user's turn: some families write them as one
  #hasTurns = false;

  constructor(model) {
    this.#model = model;
    this.#inner = WitContext.create(model);
  }

  #appendSystem() {
    if (this.#system === undefined) return;
    this.append(chat.system(this.#model, this.#system));
    this.#system = undefined;
  }

  system(message) {
    this.#appendSystem();
    this.#system = message;
    return this;
  }

  user(message) {
    let turn;
    if (this.#system !== undefined) turn = chat.systemUser(this.#model, this.#system, message);
    else if (!this.#hasTurns) turn = chat.firstUser(this.#model, message);
    else turn = chat.user(this.#model, message);
    this.#system = undefined;
    return this.append(turn);
  }

  assistant(message) {
    this.#appendSystem();
    return this.append(chat.assistant(this.#model, message));
  }

  cue() {
    this.#appendSystem();
    return this.append(chat.cue(this.#model));
  }

  append(tokens) {
    this.#hasTurns = true;
    this.#buffer.push(...tokens);
    return this;
  }

  // Cues the model, then samples until a stop token or `maxTokens`.
  generate(sampler, { maxTokens = Infinity, stop, autoFlush = true } = {}) {
    if (autoFlush) this.cue();
    return new Generator(this, this.#model, sampler, maxTokens,
                         stop ?? [...chat.stopTokens(this.#model)]);
  }

  // Feeds what is buffered and gives the next token.
  step(sampler) {
    this.#appendSystem();
    const tokens = this.#buffer;
    if (tokens.length === 0) throw new Error('there is no token to go on from');
    this.#buffer = [];
    const inner = this.#inner;
    const page = inner.tokensPerPage();
    const used = inner.workingPageTokenCount();
    const missing = Math.ceil((used + tokens.length) / page) - inner.workingPageCount();
    if (missing > 0) inner.reserveWorkingPages(missing);
    const start = inner.committedPageCount() * page + used;
    const pass = new ForwardPass(this.#model);
    pass.context(inner);
    pass.inputTokens(Uint32Array.from(tokens), Uint32Array.from(tokens, (_, i) => start + i));
    pass.sampler(Uint32Array.of(tokens.length - 1), sampler);
    const future = pass.execute();
    future.pollable().block();
    const slot = future.get()?.slots[0];
    const full = Math.floor(inner.workingPageTokenCount() / page);
    if (full > 0) inner.commitWorkingPages(full);
    if (slot?.tag !== 'token') throw new Error('the pass gave no token');
    return slot.val;
  }
}

class Generator {
  #context;
  #model;
  #sampler;
  #maxTokens;
  #stop;

  constructor(context, model, sampler, maxTokens, stop) {
    this.#context = context;
    this.#model = model;
    this.#sampler = sampler;
    this.#maxTokens = maxTokens;
    this.#stop = new Set(stop);
  }

  async *[Symbol.asyncIterator]() {
    for (let count = 0; count < this.#maxTokens; count++) {
      const token = this.#context.step(this.#sampler);
      if (this.#stop.has(token)) return;
      this.#context.append([token]);
      yield token;
    }
  }

  async collectTokens() {
    const tokens = [];
    for await (const token of this) tokens.push(token);
    return tokens;
  }

  async collectText() {
    return this.#model.tokenizer().decode(Uint32Array.from(await this.collectTokens()));
  }
}

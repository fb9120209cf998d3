"""Programs that run beside a language model in Pie.

The engine's own functions are the modules `wit_world.imports.*`, made from sdk/wit.
"""

from wit_world.imports import chat, runtime, session
from wit_world.imports import context as _context
from wit_world.imports import inference as _inference
from wit_world.imports.model import Model

__all__ = ["Context", "Generator", "Model", "Sampler", "chat", "runtime", "session"]


class Sampler:
    """How a row of logits becomes a token."""

    @staticmethod
    def argmax():
        return _inference.Sampler_TopP((0.0, 1.0))

    @staticmethod
    def top_p(temperature=0.6, p=0.95):
        return _inference.Sampler_TopP((temperature, p))

    @staticmethod
    def top_k(temperature=0.6, k=40):
        return _inference.Sampler_TopK((temperature, k))

    @staticmethod
    def min_p(temperature=0.6, p=0.1):
        return _inference.Sampler_MinP((temperature, p))

    @staticmethod
    def top_k_top_p(temperature, k, p):
        return _inference.Sampler_TopKTopP((temperature, k, p))

    @staticmethod
    def multinomial(temperature=1.0, seed=0):
        return _inference.Sampler_Multinomial((temperature, seed))


class Context:
    """A sequence of tokens that grows: turns are collected, then fed with the first pass."""

    def __init__(self, model):
        self.model = model
        self.inner = _context.Context.create(model)
        self._buffer = []  # tokens that no pass has seen yet
        self._system = None  # waits for the user's turn: some families write them as one
        self._has_turns = False

    def _append_system(self):
        if self._system is not None:
            message, self._system = self._system, None
            self.append(chat.system(self.model, message))

    def system(self, message):
        self._append_system()
        self._system = message
        return self

    def user(self, message):
        if self._system is not None:
            turn = chat.system_user(self.model, self._system, message)
            self._system = None
        elif not self._has_turns:
            turn = chat.first_user(self.model, message)
        else:
            turn = chat.user(self.model, message)
        return self.append(turn)

    def assistant(self, message):
        self._append_system()
        return self.append(chat.assistant(self.model, message))

    def cue(self):
        self._append_system()
        return self.append(chat.cue(self.model))

    def append(self, tokens):
        self._has_turns = True
        self._buffer.extend(tokens)
        return self

    def generate(self, sampler, *, max_tokens=None, stop=None, auto_flush=True):
        """Cues the model, then samples until a stop token or `max_tokens`."""
        if auto_flush:
            self.cue()
        return Generator(self, sampler, max_tokens, stop)

    def step(self, sampler):
        """Feeds what is buffered and gives the next token."""
        self._append_system()
        tokens, self._buffer = self._buffer, []
        if not tokens:
            raise ValueError("there is no token to go on from")
        inner = self.inner
        page = inner.tokens_per_page()
        used = inner.working_page_token_count()
        missing = -(-(used + len(tokens)) // page) - inner.working_page_count()
        if missing > 0:
            inner.reserve_working_pages(missing)
        start = inner.committed_page_count() * page + used
        forward = _inference.ForwardPass(self.model)
        forward.context(inner)
        forward.input_tokens(tokens, list(range(start, start + len(tokens))))
        forward.sampler([len(tokens) - 1], sampler)
        future = forward.execute()
        future.pollable().block()
        output = future.get()
        full = inner.working_page_token_count() // page
        if full > 0:
            inner.commit_working_pages(full)
        if output is None or not isinstance(output.slots[0], _inference.SlotOutput_Token):
            raise RuntimeError("the pass gave no token")
        return output.slots[0].value


class Generator:
    def __init__(self, context, sampler, max_tokens, stop):
        self._context = context
        self._sampler = sampler
        self._left = max_tokens
        self._stop = set(chat.stop_tokens(context.model) if stop is None else stop)

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self._left == 0:
            raise StopAsyncIteration
        token = self._context.step(self._sampler)
        if token in self._stop:
            self._left = 0
            raise StopAsyncIteration
        if self._left is not None:
            self._left -= 1
        self._context.append([token])
        return token

    async def collect_tokens(self):
        return [token async for token in self]

    async def collect_text(self):
        return self._context.model.tokenizer().decode(await self.collect_tokens())

"""Runs a coroutine to its end; waits for the engine block, so nothing stays pending."""


def run_until_complete(coroutine):
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value

from inferlet import Context, Model, Sampler, runtime


async def main(input: dict) -> str:
    model = Model.load(runtime.models()[0])
    context = Context(model)
    context.system(input.get("system", "You are a helpful assistant."))
    context.user(input.get("prompt", "Hello!"))
    return await context.generate(
        Sampler.argmax(), max_tokens=input.get("max_tokens", 64)
    ).collect_text()
